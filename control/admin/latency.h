/* SPDX-License-Identifier: Apache-2.0 */
/* latency.h - what shards counted of a queue's latencies, added up. */
#pragma once

#include <lepus/latency.h>

#include "control/admin/admin_internal.h"

struct latency_times {
    uint64_t count, sum_ns, min_ns, max_ns;
    uint64_t bucket[LP_LATENCY_BUCKETS];
};

struct latency_queue {
    struct latency_queue *next;
    uint32_t id;
    uint32_t shards; /* that have it */
    uint64_t measured, missed;
    struct latency_times times[LP_LATENCY_COUNT];
};

/* ---- latency_text.c ---- */

/* So many thousandths of what was counted took no longer than this. */
uint64_t latency_at(const struct latency_times *times, uint32_t per_mille);
/* For people; the caller frees it. */
char *latency_text(const struct latency_queue *queue, struct lp_bytes name);
json_t *latency_json(const struct latency_queue *queue, struct lp_bytes name,
                     struct lp_bytes vhost);
