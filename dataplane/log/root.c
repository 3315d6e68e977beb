/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root: two slots, written in turn, so that one is always whole.
 */
#include <string.h>

#include "dataplane/log/log_private.h"

void
log_root_want(struct lp_log *log)
{
    LP_ASSERT(log->root_state == LOG_ROOT_REST);
    log->root.number++;
    log->root_state = LOG_ROOT_WANTED;
}

void
log_root_submit(struct lp_log *log)
{
    if (log->root_state != LOG_ROOT_WANTED) {
        return;
    }
    const uint32_t slot = (uint32_t)(log->root.number % 2);
    uint8_t *data = log->root_data + slot * LOG_ROOT_SLOT_BYTES;
    log_root_write(data, &log->root);
    struct lp_disk_op op = {
        .kind = LP_DISK_WRITE,
        .file = LOG_ROOT_FILE,
        .offset = slot * LOG_ROOT_SLOT_BYTES,
        .data = data,
        .bytes = LOG_ROOT_SLOT_BYTES,
    };
    if (log_submit(log, &op, LOG_FOR_ROOT, slot)) {
        log->root_state = LOG_ROOT_FLYING;
    }
}

void
log_root_trim(struct log_root *root)
{
    uint32_t first = 0;
    while (first + 1 < root->generation_count &&
           root->generations[first + 1].lsn <= root->checkpoint.lsn) {
        first++;
    }
    root->generation_count -= first;
    memmove(root->generations, root->generations + first,
            root->generation_count * sizeof(root->generations[0]));
}

bool
log_root_advance(struct log_root *root, uint64_t lsn)
{
    log_root_trim(root);
    /* One that has written nothing that counts is not needed to tell batches apart. */
    while (root->generation_count > 0 && root->generations[root->generation_count - 1].lsn >= lsn) {
        root->generation_count--;
    }
    if (root->generation_count == LOG_GENERATIONS_MAX || root->generation >= LOG_GENERATION_MAX) {
        return false;
    }
    root->generation++;
    root->generations[root->generation_count].generation = root->generation;
    root->generations[root->generation_count].lsn = lsn;
    root->generation_count++;
    root->durable = lsn - 1;
    root->closed = false;
    return true;
}
