/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From where recovery begins, and the end of a run: what is done when batches
 * have become durable, and when a root has.
 */
#include "dataplane/log/log_private.h"

/* So many segments of full size between two checkpoints: 256 MiB, usually. */
#define DUE_SEGMENTS 4u
/* Or this many that could go, if they are worth it. */
#define DUE_IDLE 4u
/* The root lists the runs since the last one. */
#define DUE_GENERATIONS 16u

void
lp_log_checkpoint_begin(struct lp_log *log)
{
    struct log_checkpoint *checkpoint = &log->checkpoint;
    LP_ASSERT(checkpoint->state == LOG_CHECKPOINT_NONE);
    LP_ASSERT(!log->open && !log->chained);
    const struct log_cursor from = {
        .lsn = log->sealed + 1,
        .previous_crc = log->previous_crc,
        .segment = log->segment,
        .offset = log->offset,
    };
    checkpoint->from = from;
    checkpoint->state = LOG_CHECKPOINT_BEGUN;
    checkpoint->written = 0;
    for (uint32_t i = 0; i < log->segments.count; i++) {
        struct log_segment *segment = &log->segments.at[i];
        segment->free_then = segment->state == LOG_SEGMENT_FULL && segment->held_bytes == 0 &&
                             segment->number < from.segment;
    }
}

void
lp_log_checkpoint_end(struct lp_log *log, uint64_t lsn)
{
    struct log_checkpoint *checkpoint = &log->checkpoint;
    LP_ASSERT(checkpoint->state == LOG_CHECKPOINT_BEGUN);
    LP_ASSERT(lsn <= log->sealed);
    checkpoint->state = LOG_CHECKPOINT_ENDED;
    /* Recovery needs the checksum of the batch before: that one must be there, too. */
    checkpoint->lsn = LP_MAX(lsn, checkpoint->from.lsn - 1);
}

bool
lp_log_checkpointing(const struct lp_log *log)
{
    return log->checkpoint.state != LOG_CHECKPOINT_NONE;
}

bool
lp_log_checkpoint_due(const struct lp_log *log)
{
    if (log->state != LP_LOG_OPEN || log->closing != LOG_CLOSING_NOT ||
        log->checkpoint.state != LOG_CHECKPOINT_NONE) {
        return false;
    }
    return log->checkpoint.written >= DUE_SEGMENTS * log->options.segment_bytes ||
           (log->segments.idle >= DUE_IDLE &&
            log->segments.idle_bytes >= log->options.segment_bytes) ||
           log->root.generation_count > DUE_GENERATIONS;
}

static void
root_of_now(struct lp_log *log)
{
    log->root.durable = log->durable;
    log->root.segment_next = log->segments.number_next;
    log_root_want(log);
}

void
log_checkpoint_step(struct lp_log *log)
{
    struct log_checkpoint *checkpoint = &log->checkpoint;
    if (log->root_state != LOG_ROOT_REST) {
        return;
    }
    if (checkpoint->state == LOG_CHECKPOINT_ENDED && log->durable >= checkpoint->lsn) {
        log->root.checkpoint.segment = checkpoint->from.segment;
        log->root.checkpoint.offset = checkpoint->from.offset;
        log->root.checkpoint.lsn = checkpoint->from.lsn;
        log->root.checkpoint.previous_crc = checkpoint->from.previous_crc;
        log_root_trim(&log->root);
        checkpoint->state = LOG_CHECKPOINT_ROOT;
        root_of_now(log);
        return;
    }
    if (log->closing == LOG_CLOSING_BATCHES && log->durable == log->sealed) {
        log->closing = LOG_CLOSING_ROOT;
        log->root.closed = true;
        root_of_now(log);
    }
}

/* The checkpoint is on disk: nothing will ask for these any more. */
static void
free_segments(struct lp_log *log)
{
    for (uint32_t i = 0; i < log->segments.count; i++) {
        struct log_segment *segment = &log->segments.at[i];
        if (segment->free_then && segment->held_bytes == 0) {
            LP_ASSERT(segment->state == LOG_SEGMENT_FULL);
            log_segment_state_set(log, segment, LOG_SEGMENT_DOOMED);
        }
        segment->free_then = false;
    }
}

void
log_root_completed(struct lp_log *log, enum lp_err err)
{
    if (err != LP_OK) {
        log_fence(log, err, LOG_ROOT_FILE, log->root.number % 2 * LOG_ROOT_SLOT_BYTES,
                  "the root could not be written");
        return;
    }
    log->root_state = LOG_ROOT_REST;
    if (log->state != LP_LOG_OPEN) {
        return;
    }
    if (log->checkpoint.state == LOG_CHECKPOINT_ROOT) {
        log->checkpoint.state = LOG_CHECKPOINT_NONE;
        log->stats.checkpoints++;
        free_segments(log);
    } else if (log->closing == LOG_CLOSING_ROOT) {
        log->closing = LOG_CLOSING_DONE;
    }
}

void
lp_log_close_begin(struct lp_log *log)
{
    LP_ASSERT(!log->open);
    if (log->closing == LOG_CLOSING_NOT) {
        log->closing = LOG_CLOSING_BATCHES;
    }
}

bool
lp_log_closed(const struct lp_log *log)
{
    return log->closing == LOG_CLOSING_DONE || log->state == LP_LOG_FENCED ||
           log->state == LP_LOG_DAMAGED;
}
