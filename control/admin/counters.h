/* SPDX-License-Identifier: Apache-2.0 */
/* counters.h - what shards count in pages of their own, as a table of name, sum and meaning. */
#pragma once

#include "control/admin/admin_internal.h"

struct admin_counter {
    const char *name;
    const char *text; /* what it counts */
    size_t offset;    /* of a uint64_t in the shard's counters */
};

/* A shard's counters, or NULL when it has none. */
typedef const void *admin_counters_fn(const struct lp_control *control, uint32_t shard);

/* Answer with the sums over all shards: a line each, and an object. */
void admin_counters_say(struct admin_task *task, const struct admin_counter *table, size_t count,
                        admin_counters_fn *counters_of);
