/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair.h - for an operator's tool: where a log ends, and the root of one that
 * is to end before its damage.
 *
 *   Runs on   the tool's thread; nothing here writes
 */
#pragma once

#include "dataplane/log/log.h"

struct lp_log_end {
    uint64_t lsn; /* the first one that does not count; those before it do */
    uint32_t segment;
    uint64_t offset;
};

/* Of a recovery that is over, or that wants to write: as far as it came. */
void lp_log_end(const struct lp_log *log, struct lp_log_end *ret_end);

/*
 * The root with which the next run takes `ret_end` of a damaged log for its end:
 * LP_DISK_ALIGN_BYTES bytes, and where in the root's file they go.
 * `generation`: of the newest batch that there is.  False: no recovery came to
 * look for batches, or the root has no room.
 */
LP_MUST_CHECK bool lp_log_cut(const struct lp_log *log, uint32_t generation, uint8_t *ret_slot,
                              uint64_t *ret_offset);
