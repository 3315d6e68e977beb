/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The expected batch is not there: is it the end of the log, or damage?
 *
 * What lies beyond says so.  Batches are in flight LP_LOG_BATCHES at a time and
 * each says what was durable when it was sealed; the root knows of more.  A
 * header is proof enough: it was written where it lies, by this log.
 */
#include <string.h>

#include "dataplane/log/log_private.h"

void
log_beyond_header(struct lp_log *log, const struct log_batch_header *header)
{
    struct log_recovery *r = &log->recovery;
    const uint64_t lsn = r->expected.lsn;
    if (header->generation > log->root.generation) {
        /* That run had a root of its own before it wrote: it is gone. */
        log_damaged(log, LP_ERR_BAD_RECORD, LOG_ROOT_FILE, 0,
                    "the last copy of the root is lost: batches are newer than the one there is");
        return;
    }
    if (header->lsn <= lsn || header->generation < log_root_generation_of(&log->root, lsn)) {
        return;
    }
    if (!r->later || header->lsn < r->later_lsn) {
        r->later = true;
        r->later_lsn = header->lsn;
        r->later_segment = header->segment;
        r->later_offset = header->offset;
    }
    if (header->durable >= lsn || header->lsn - lsn >= LP_LOG_BATCHES) {
        r->damage = true;
    }
}

/* Segments that were made since the root was written were made one after the other: is one missing?
 * Its number, or 0. */
static uint32_t
missing_segment(struct lp_log *log)
{
    uint32_t next = log->root.segment_next;
    const struct log_segment *segment = log_segment_after(log, next - 1);
    const struct log_segment *end = log->segments.at + log->segments.count;
    while (segment && segment < end && segment->number == next) {
        segment++;
        next++;
    }
    return segment && segment < end ? next : 0;
}

/*
 * Where the expected batch was: what is left of one says it itself.  Else it was
 * behind the last one, unless there is no room; or where the next segment
 * begins, when the first one later is the second of that segment.
 */
static void
report(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    uint32_t number = r->expected.segment;
    uint64_t offset = r->expected.offset;
    const struct log_segment *segment = log_segment_find(log, number);
    const struct log_segment *next = log_segment_after(log, number);
    const bool no_room = !segment || offset + LP_DISK_ALIGN_BYTES > segment->bytes;
    if (r->broken) {
        number = r->broken_segment;
        offset = r->broken_offset;
    } else if (r->later && r->later_segment > number && r->later_offset > 0 &&
               r->later_lsn == r->expected.lsn + 1) {
        number = r->later_segment;
        offset = 0;
    } else if (no_room && next) {
        number = next->number;
        offset = 0;
    }
    log_damaged(log, log->window.unread ? LP_ERR_IO : LP_ERR_BAD_RECORD, number, offset,
                r->broken ? "a batch that was acknowledged is damaged"
                          : "a batch that was acknowledged is damaged or missing");
}

static void
verdict(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    const uint32_t missing = missing_segment(log);
    if (missing != 0 && !r->broken) {
        log_damaged(log, LP_ERR_NOT_FOUND, missing, 0, "a segment is missing");
        return;
    }
    if (r->damage || r->expected.lsn <= log->root.durable) {
        report(log);
        return;
    }
    r->phase = LOG_RECOVERY_WRITE_ROOT;
}

bool
log_beyond_step(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    const struct log_segment *segment = log_segment_find(log, r->segment);
    if (!segment || r->offset + LP_DISK_ALIGN_BYTES > segment->bytes) {
        segment = log_segment_after(log, r->segment);
        if (!segment) {
            verdict(log);
            return true;
        }
        r->segment = segment->number;
        r->offset = 0;
        log_window_seek(log, segment, 0);
        return true;
    }
    const uint8_t *block = log_window_at(log, r->offset, LP_DISK_ALIGN_BYTES);
    if (!block) {
        return false;
    }
    struct log_batch_header header;
    uint32_t crc;
    if (log_batch_header_parse(lp_bytes_of(block, LP_DISK_ALIGN_BYTES), log->seed, &header, &crc) &&
        header.shard == log->options.shard && header.segment == r->segment &&
        header.offset == r->offset) {
        log_beyond_header(log, &header);
    }
    r->offset += LP_DISK_ALIGN_BYTES;
    return true;
}
