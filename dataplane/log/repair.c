/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/log/repair.h"

#include "dataplane/log/log_private.h"

void
lp_log_end(const struct lp_log *log, struct lp_log_end *ret_end)
{
    ret_end->lsn = log->recovery.committed.lsn;
    ret_end->segment = log->recovery.committed.segment;
    ret_end->offset = log->recovery.committed.offset;
}

bool
lp_log_cut(const struct lp_log *log, uint32_t generation, uint8_t *ret_slot, uint64_t *ret_offset)
{
    struct log_root root = log->root;
    if (log->state != LP_LOG_DAMAGED || root.generation_count == 0) {
        return false;
    }
    root.generation = LP_MAX(root.generation, generation);
    if (!log_root_advance(&root, log->recovery.committed.lsn)) {
        return false;
    }
    root.segment_next = LP_MAX(root.segment_next, log->segments.number_next);
    root.number++;
    log_root_write(ret_slot, &root);
    *ret_offset = root.number % 2 * LOG_ROOT_SLOT_BYTES;
    return true;
}
