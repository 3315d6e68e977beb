/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading back.  Reads have buffers of their own and are few, so that they
 * neither take a batch's buffer nor fill the disk's queue before it.
 */
#include "dataplane/log/log_private.h"

bool
lp_log_read(struct lp_log *log, struct lp_log_place place, uint32_t bytes, uint64_t user)
{
    LP_ASSERT(bytes > 0 && bytes <= LP_LOG_READ_BYTES - LP_DISK_ALIGN_BYTES);
    if (log->reads_busy == LP_LOG_READS || log->recovery.phase != LOG_RECOVERY_OVER) {
        return false;
    }
    struct log_segment *segment = log_segment_find(log, place.segment);
    LP_ASSERT(segment && lp_log_place_before(place, log->durable_place));
    struct log_read *read = log->reads;
    while (read->busy) {
        read++;
    }
    const uint64_t at = (uint64_t)place.unit * LP_LOG_UNIT_BYTES;
    LP_ASSERT(at < segment->bytes);
    segment->reads++;
    log->reads_busy++;
    read->busy = true;
    read->sent = false;
    read->place = place;
    read->bytes = (uint32_t)LP_MIN(bytes, segment->bytes - at);
    read->user = user;
    return true;
}

static uint32_t
skipped(const struct log_read *read)
{
    return (uint32_t)((uint64_t)read->place.unit * LP_LOG_UNIT_BYTES % LP_DISK_ALIGN_BYTES);
}

void
log_read_submit(struct lp_log *log)
{
    for (uint32_t i = 0; i < LP_LOG_READS && log->reads_busy > 0; i++) {
        struct log_read *read = &log->reads[i];
        if (!read->busy || read->sent) {
            continue;
        }
        struct lp_disk_op op = {
            .kind = LP_DISK_READ,
            .file = read->place.segment,
            .offset = (uint64_t)read->place.unit * LP_LOG_UNIT_BYTES - skipped(read),
            .data = read->data,
            .bytes = log_padded(skipped(read) + read->bytes),
        };
        if (!log_submit(log, &op, LOG_FOR_READ, i)) {
            return;
        }
        read->sent = true;
        log->stats.bytes_read += op.bytes;
    }
}

void
log_read_completed(struct lp_log *log, uint32_t index, enum lp_err err)
{
    struct log_read *read = &log->reads[index];
    LP_ASSERT(read->busy && read->sent);
    struct lp_log_fault fault = {
        .err = err,
        .segment = read->place.segment,
        .offset = (uint64_t)read->place.unit * LP_LOG_UNIT_BYTES,
        .what = err == LP_OK ? "" : "the log could not be read",
    };
    const struct lp_bytes data =
        lp_bytes_of(read->data + skipped(read), err == LP_OK ? read->bytes : 0);
    const struct lp_log_hooks *hooks = &log->options.hooks;
    hooks->read(hooks->context, read->user, data, &fault);
    /* Only now: the hook may have begun other reads. */
    struct log_segment *segment = log_segment_find(log, read->place.segment);
    LP_ASSERT(segment && segment->reads > 0);
    segment->reads--;
    read->busy = false;
    log->reads_busy--;
}
