/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files that there are to LP_LOG_OPEN, in phases:
 *
 *   FORMAT_FILE -> FORMAT_ROOT ----------------------------\
 *   READ_ROOT -> BATCHES -> BEYOND -> WRITE_ROOT -> OVER (LP_LOG_OPEN)
 *                    \---------\-> LP_LOG_DAMAGED
 *
 * Nothing is written before WRITE_ROOT: who dies before that finds the same
 * again.  README.md says what counts as a batch, and what as damage.
 */
#include <string.h>

#include "dataplane/log/log_private.h"

/* --- the end ------------------------------------------------------------- */

/* The root with this run's generation is on disk: now batches may be written. */
static void
open_log(struct lp_log *log)
{
    const struct log_cursor *from = &log->recovery.committed;
    log->recovery.phase = LOG_RECOVERY_OVER;
    log->root_state = LOG_ROOT_REST;
    log->state = LP_LOG_OPEN;
    log->sealed = from->lsn - 1;
    log->submitted = log->sealed;
    log->durable = log->sealed;
    log->durable_place.segment = from->segment;
    log->durable_place.unit = (uint32_t)(from->offset / LP_LOG_UNIT_BYTES);
    log->previous_crc = from->previous_crc;
    log->segment = from->segment;
    log->offset = from->offset;
    log->segment_there = false;
    log->segments.number_next = log->root.segment_next;
    log_segments_drop_after(log, from->segment);
}

/* The next run begins behind what was committed. */
static void
write_root(struct lp_log *log)
{
    struct log_root *root = &log->root;
    if (!log_root_advance(root, log->recovery.committed.lsn)) {
        log_damaged(log, LP_ERR_NO_SPACE, LOG_ROOT_FILE, 0,
                    "there were too many runs without a checkpoint");
        return;
    }
    root->segment_next = LP_MAX(root->segment_next, log->segments.number_next);
    log->recovery.phase = LOG_RECOVERY_WRITE_ROOT;
    log_root_want(log);
}

/* --- a batch ------------------------------------------------------------- */

/* Where `r` looks is a batch that says it is the next one. */
static bool
is_expected(const struct lp_log *log, const struct log_batch_header *header)
{
    const struct log_recovery *r = &log->recovery;
    return header->shard == log->options.shard && header->segment == r->segment &&
           header->offset == r->offset && header->lsn == r->expected.lsn &&
           header->generation == log_root_generation_of(&log->root, r->expected.lsn);
}

/* Its records, to who asked for them.  False: they make no sense. */
static bool
deliver(struct lp_log *log, const struct log_batch_header *header, const uint8_t *data)
{
    const struct lp_log_hooks *hooks = &log->options.hooks;
    uint32_t at = LOG_BATCH_HEADER_BYTES;
    for (uint32_t i = 0; i < header->records; i++) {
        struct lp_log_record record;
        const bool split = log_record_split(lp_bytes_of(data + at, header->bytes - at),
                                            log_batch_place(header, at), &record);
        LP_ASSERT(split); /* log_batch_whole() has seen it */
        if (!hooks->record(hooks->context, &record)) {
            log_damaged(log, LP_ERR_BAD_RECORD, header->segment, header->offset + at,
                        "a record makes no sense");
            return false;
        }
        at += log_record_bytes(record.content.size);
    }
    if (!header->continues && !hooks->commit(hooks->context)) {
        log_damaged(log, LP_ERR_BAD_RECORD, header->segment, header->offset,
                    "the records of a batch make no sense together");
        return false;
    }
    return true;
}

static void
advance(struct lp_log *log, const struct log_batch_header *header, uint32_t crc)
{
    struct log_recovery *r = &log->recovery;
    const uint32_t bytes = log_padded(header->bytes);
    r->expected.lsn++;
    r->expected.previous_crc = crc;
    r->expected.segment = r->segment;
    r->expected.offset = r->offset + bytes;
    r->offset = r->expected.offset;
    if (!header->continues) {
        r->committed = r->expected;
    }
    r->broken = false;
    log->checkpoint.written += bytes;
}

/* --- the next batch ------------------------------------------------------ */

static void
look_at(struct lp_log *log, const struct log_segment *segment, uint64_t offset)
{
    struct log_recovery *r = &log->recovery;
    r->segment = segment->number;
    r->offset = offset;
    log_window_seek(log, segment, offset);
}

/* It is not here: then where the next segment begins; else it is nowhere. */
static void
look_further(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    const struct log_segment *next = log_segment_after(log, r->segment);
    if (next) {
        look_at(log, next, 0);
        return;
    }
    r->phase = LOG_RECOVERY_BEYOND;
    r->segment = r->expected.segment;
    r->offset = r->expected.offset;
    const struct log_segment *segment = log_segment_find(log, r->segment);
    if (segment) {
        look_at(log, segment, r->offset);
    }
}

static void
found_broken(struct log_recovery *r, uint64_t offset)
{
    if (r->broken) {
        return;
    }
    r->broken = true;
    r->broken_segment = r->segment;
    r->broken_offset = offset;
}

/* A header that is not whole, but was that of the next batch, as most of it says. */
static bool
was_expected(const struct lp_log *log, const uint8_t *block)
{
    const struct log_recovery *r = &log->recovery;
    struct lp_reader reader = lp_reader_of(block, LOG_BATCH_HEADER_BYTES);
    uint32_t like = lp_reader_u64le(&reader) == LOG_BATCH_MAGIC;
    (void)lp_reader_u64le(&reader);
    like += lp_reader_u32le(&reader) == r->segment;
    (void)lp_reader_u32le(&reader);
    like += lp_reader_u64le(&reader) == r->offset;
    like += lp_reader_u64le(&reader) == r->expected.lsn;
    return like >= 3;
}

/* One batch.  False: its bytes are not there yet. */
static bool
batches_step(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    const struct log_segment *segment = log_segment_find(log, r->segment);
    if (!segment || r->offset + LP_DISK_ALIGN_BYTES > segment->bytes) {
        look_further(log);
        return true;
    }
    const uint8_t *block = log_window_at(log, r->offset, LP_DISK_ALIGN_BYTES);
    if (!block) {
        return false;
    }
    struct log_batch_header header;
    uint32_t crc;
    if (!log_batch_header_parse(lp_bytes_of(block, LP_DISK_ALIGN_BYTES), log->seed, &header,
                                &crc)) {
        if (was_expected(log, block)) {
            found_broken(r, r->offset);
        }
        look_further(log);
        return true;
    }
    if (!is_expected(log, &header) || log_padded(header.bytes) > segment->bytes - r->offset) {
        look_further(log);
        return true;
    }
    const uint8_t *data = log_window_at(log, r->offset, log_padded(header.bytes));
    if (!data) {
        return false;
    }
    uint64_t bad;
    if (header.previous_crc != r->expected.previous_crc || !log_batch_whole(&header, data, &bad)) {
        found_broken(r, header.previous_crc != r->expected.previous_crc ? r->offset : bad);
        look_further(log);
        return true;
    }
    if (deliver(log, &header, data)) {
        advance(log, &header, crc);
    }
    return log->state == LP_LOG_RECOVERING;
}

/* --- the root ------------------------------------------------------------ */

static void
batches_begin(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    const struct log_root *root = &log->root;
    r->phase = LOG_RECOVERY_BATCHES;
    r->expected.lsn = root->checkpoint.lsn;
    r->expected.previous_crc = root->checkpoint.previous_crc;
    r->expected.segment = root->checkpoint.segment;
    r->expected.offset = root->checkpoint.offset;
    r->committed = r->expected;
    r->segment = r->expected.segment;
    r->offset = r->expected.offset;
    log->seed = log_salt_seed(root->salt);
    const struct log_segment *segment = log_segment_find(log, r->segment);
    if (segment) {
        look_at(log, segment, r->offset);
    }
    for (uint32_t i = 0; i < log->segments.count; i++) {
        if (log->segments.at[i].number >= r->segment) {
            r->total += log->segments.at[i].bytes;
        }
    }
}

static void
format(struct lp_log *log)
{
    struct log_root *root = &log->root;
    memset(root, 0, sizeof(*root));
    root->shard = log->options.shard;
    root->salt = log->options.salt;
    root->checkpoint.lsn = 1;
    root->segment_next = 1;
    log->seed = log_salt_seed(root->salt);
    log->recovery.committed.lsn = 1;
    write_root(log);
}

/* Both slots were read. */
static void
root_choose(struct lp_log *log)
{
    struct log_root other;
    bool found = false;
    for (uint32_t slot = 0; slot < 2; slot++) {
        const struct lp_bytes bytes =
            lp_bytes_of(log->root_data + slot * LOG_ROOT_SLOT_BYTES, LOG_ROOT_SLOT_BYTES);
        if (log_root_parse(bytes, slot, log->options.shard, &other) &&
            (!found || other.number > log->root.number)) {
            log->root = other;
            found = true;
        }
    }
    if (found) {
        batches_begin(log);
    } else if (log->segments.count == 0) {
        format(log);
    } else {
        log_damaged(log, LP_ERR_BAD_RECORD, LOG_ROOT_FILE, 0, "neither copy of the root is whole");
    }
}

void
log_recover_root_completed(struct lp_log *log, enum lp_err err)
{
    struct log_recovery *r = &log->recovery;
    r->sent = false;
    if (r->phase == LOG_RECOVERY_WRITE_ROOT) {
        if (err != LP_OK) {
            log_fence(log, err, LOG_ROOT_FILE, log->root.number % 2 * LOG_ROOT_SLOT_BYTES,
                      "the root could not be written");
            return;
        }
        open_log(log);
        return;
    }
    /* A slot that cannot be read is as one that was being written: the other one counts. */
    if (err != LP_OK && r->attempts < LOG_READ_ATTEMPTS) {
        r->attempts++;
        return;
    }
    r->attempts = 0;
    if (err != LP_OK) {
        memset(log->root_data + r->slot * LOG_ROOT_SLOT_BYTES, 0, LOG_ROOT_SLOT_BYTES);
    }
    r->slot++;
    if (r->slot == 2) {
        root_choose(log);
    }
}

void
log_recover_file_created(struct lp_log *log, enum lp_err err)
{
    log->recovery.sent = false;
    if (err != LP_OK) {
        log_fence(log, err, LOG_ROOT_FILE, 0, "the root's file could not be made");
        return;
    }
    format(log);
}

/* --- steps --------------------------------------------------------------- */

void
log_recover_begin(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    r->phase = LOG_RECOVERY_READ_ROOT;
    if (r->root_bytes == 0 && log->segments.count == 0) {
        r->phase = LOG_RECOVERY_FORMAT_FILE;
    } else if (r->root_bytes == 0) {
        log_damaged(log, LP_ERR_NOT_FOUND, LOG_ROOT_FILE, 0, "the root is missing");
    } else if (r->root_bytes < LOG_ROOT_BYTES) {
        log_damaged(log, LP_ERR_BAD_RECORD, LOG_ROOT_FILE, r->root_bytes, "the root is cut off");
    }
}

void
log_recover_step(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    bool more = true;
    while (more && log->state == LP_LOG_RECOVERING) {
        if (r->phase == LOG_RECOVERY_BATCHES) {
            more = batches_step(log);
        } else if (r->phase == LOG_RECOVERY_BEYOND) {
            more = log_beyond_step(log);
            if (more && r->phase == LOG_RECOVERY_WRITE_ROOT) {
                write_root(log);
                more = false;
            }
        } else {
            more = false;
        }
    }
}

void
log_recover_submit(struct lp_log *log)
{
    struct log_recovery *r = &log->recovery;
    if (r->phase == LOG_RECOVERY_FORMAT_FILE && !r->sent) {
        struct lp_disk_op op = {
            .kind = LP_DISK_CREATE, .file = LOG_ROOT_FILE, .bytes = LOG_ROOT_BYTES};
        r->sent = log_submit(log, &op, LOG_FOR_SEGMENT, LOG_ROOT_FILE);
    } else if (r->phase == LOG_RECOVERY_READ_ROOT && !r->sent) {
        struct lp_disk_op op = {
            .kind = LP_DISK_READ,
            .file = LOG_ROOT_FILE,
            .offset = r->slot * LOG_ROOT_SLOT_BYTES,
            .data = log->root_data + r->slot * LOG_ROOT_SLOT_BYTES,
            .bytes = LOG_ROOT_SLOT_BYTES,
        };
        r->sent = log_submit(log, &op, LOG_FOR_ROOT, r->slot);
    } else if (r->phase == LOG_RECOVERY_WRITE_ROOT) {
        log_root_submit(log);
    } else {
        log_window_submit(log);
    }
}

void
lp_log_progress(const struct lp_log *log, uint64_t *ret_done, uint64_t *ret_total)
{
    const struct log_recovery *r = &log->recovery;
    *ret_total = r->total;
    *ret_done = log->recovery.phase == LOG_RECOVERY_OVER ? r->total
                                                         : LP_MIN(log->stats.bytes_read, r->total);
}
