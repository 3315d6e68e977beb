/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batch that is open, those that are on their way, and how far they got.
 *
 * Invariants: durable <= submitted <= sealed <= durable + LP_LOG_BATCHES, and
 * every buffer outside of that range is free, but for the open one.
 */
#include <string.h>

#include "dataplane/log/crc32c.h"
#include "dataplane/log/log_private.h"

/* A batch of a chain is sealed when the next record does not fit: it holds at least so much. */
#define CHAIN_BATCH_BYTES_MIN (LP_LOG_BATCH_BYTES - LP_LOG_RECORD_BYTES_MAX - 4096u)

static struct log_buffer *
buffer_of(struct lp_log *log, uint64_t lsn)
{
    return &log->buffers[lsn % LP_LOG_BATCHES];
}

/* What a chain takes of its segment, at most: padding and headers, and an empty batch to end it. */
static uint64_t
chain_room(uint64_t chain_bytes)
{
    const uint64_t batches = chain_bytes / CHAIN_BATCH_BYTES_MIN + 2;
    return chain_bytes + batches * (LP_DISK_ALIGN_BYTES + LOG_BATCH_HEADER_BYTES);
}

bool
lp_log_begin(struct lp_log *log, uint64_t chain_bytes)
{
    LP_ASSERT(!log->open);
    LP_ASSERT(chain_bytes <= LP_LOG_CHAIN_BYTES_MAX);
    struct log_buffer *buffer = buffer_of(log, log->sealed + 1);
    if (log->state != LP_LOG_OPEN || log->closing != LOG_CLOSING_NOT ||
        buffer->state != LOG_BUFFER_FREE) {
        return false;
    }
    /* A chain goes on where it began as long as there is room for what was said of it. */
    if (!log_segment_room(log, chain_room(chain_bytes))) {
        return false;
    }
    const uint64_t left = log->segment_bytes - log->offset;
    LP_ASSERT(left >= LP_DISK_ALIGN_BYTES);
    buffer->state = LOG_BUFFER_OPEN;
    log->open = true;
    log->data = buffer->data;
    log->fill = LOG_BATCH_HEADER_BYTES;
    log->limit = (uint32_t)LP_MIN(left, LP_LOG_BATCH_BYTES);
    log->records = 0;
    log->records_crc = 0;
    log->pending = 0;
    return true;
}

uint32_t
lp_log_room(const struct lp_log *log)
{
    LP_ASSERT(log->open);
    const uint32_t left = log->limit - log->fill;
    return left <= LOG_RECORD_HEADER_BYTES
               ? 0
               : LP_MIN(left - LOG_RECORD_HEADER_BYTES, LP_LOG_RECORD_BYTES_MAX);
}

static inline struct lp_log_place
place_in_batch(const struct lp_log *log, uint32_t at)
{
    const struct lp_log_place place = {log->segment,
                                       (uint32_t)((log->offset + at) / LP_LOG_UNIT_BYTES)};
    return place;
}

/* The content of the last record is there now. */
static inline void
pending_finish(struct lp_log *log)
{
    if (log->pending == 0) {
        return;
    }
    uint8_t *at = log->data + log->pending;
    uint64_t header;
    memcpy(&header, at, sizeof(header));
    header = log_record_header(place_in_batch(log, log->pending), (uint32_t)(header >> 32),
                               at + LOG_RECORD_HEADER_BYTES);
    memcpy(at, &header, sizeof(header));
    log->records_crc = lp_crc32c(log->records_crc, at, sizeof(header));
    log->pending = 0;
}

uint8_t *
lp_log_record(struct lp_log *log, uint8_t kind, uint32_t bytes, struct lp_log_place *ret_place)
{
    const uint32_t total = log_record_bytes(bytes);
    LP_ASSERT(log->open && kind != 0 && bytes <= LP_LOG_RECORD_BYTES_MAX);
    LP_ASSERT(total <= log->limit - log->fill);
    pending_finish(log);
    uint8_t *at = log->data + log->fill;
    /* The last unit first: what the content leaves of it stays zero. */
    memset(at + total - LP_LOG_UNIT_BYTES, 0, LP_LOG_UNIT_BYTES);
    const uint64_t header = log_record_length(kind, bytes);
    memcpy(at, &header, sizeof(header));
    *ret_place = place_in_batch(log, log->fill);
    log->pending = log->fill;
    log->fill += total;
    log->records++;
    return at + LOG_RECORD_HEADER_BYTES;
}

/* The header, which makes the batch whole. */
static void
header_finish(struct lp_log *log, bool continues)
{
    const struct log_batch_header header = {
        .shard = log->options.shard,
        .segment = log->segment,
        .generation = log->root.generation,
        .offset = log->offset,
        .lsn = log->sealed,
        .durable = log->durable,
        .bytes = log->fill,
        .records = log->records,
        .previous_crc = log->previous_crc,
        .records_crc = log->records_crc,
        .continues = continues,
    };
    log->previous_crc = log_batch_header_write(log->data, &header, log->seed);
}

uint64_t
lp_log_seal(struct lp_log *log, bool continues)
{
    LP_ASSERT(log->open);
    log->open = false;
    struct log_buffer *buffer = buffer_of(log, log->sealed + 1);
    LP_ASSERT(buffer->state == LOG_BUFFER_OPEN);
    /* An empty one is needed where it ends a chain. */
    if (log->records == 0 && (continues || !log->chained)) {
        buffer->state = LOG_BUFFER_FREE;
        return log->sealed;
    }
    pending_finish(log);
    log->sealed++;
    log->chained = continues;
    header_finish(log, continues);
    /* Whole blocks: the next batch must not touch one that was acknowledged. */
    const uint32_t bytes = log_padded(log->fill);
    memset(log->data + log->fill, 0, bytes - log->fill);
    buffer->state = LOG_BUFFER_SEALED;
    buffer->bytes = bytes;
    buffer->segment = log->segment;
    buffer->offset = log->offset;
    log->offset += bytes;
    log->checkpoint.written += bytes;
    log->stats.batches++;
    log->stats.bytes_written += bytes;
    log->stats.bytes_records += log->fill - LOG_BATCH_HEADER_BYTES;
    return log->sealed;
}

void
log_batch_submit(struct lp_log *log)
{
    while (log->submitted < log->sealed) {
        struct log_buffer *buffer = buffer_of(log, log->submitted + 1);
        LP_ASSERT(buffer->state == LOG_BUFFER_SEALED);
        struct lp_disk_op op = {
            .kind = LP_DISK_WRITE,
            .file = buffer->segment,
            .offset = buffer->offset,
            .data = buffer->data,
            .bytes = buffer->bytes,
        };
        if (!log_submit(log, &op, LOG_FOR_BATCH, (uint32_t)(buffer - log->buffers))) {
            return;
        }
        buffer->state = LOG_BUFFER_FLYING;
        log->submitted++;
    }
}

void
log_batch_completed(struct lp_log *log, uint32_t index, enum lp_err err)
{
    struct log_buffer *buffer = &log->buffers[index];
    LP_ASSERT(buffer->state == LOG_BUFFER_FLYING);
    buffer->state = LOG_BUFFER_WRITTEN;
    if (err != LP_OK) {
        log_fence(log, err, buffer->segment, buffer->offset, "a batch could not be written");
    }
    if (log->state != LP_LOG_OPEN) {
        return;
    }
    /* Only what nothing is missing before. */
    while (log->durable < log->submitted) {
        buffer = buffer_of(log, log->durable + 1);
        if (buffer->state != LOG_BUFFER_WRITTEN) {
            return;
        }
        buffer->state = LOG_BUFFER_FREE;
        log->durable++;
        log->durable_place.segment = buffer->segment;
        log->durable_place.unit = (uint32_t)((buffer->offset + buffer->bytes) / LP_LOG_UNIT_BYTES);
    }
}

uint64_t
lp_log_durable(const struct lp_log *log)
{
    return log->durable;
}

struct lp_log_place
lp_log_durable_place(const struct lp_log *log)
{
    return log->durable_place;
}

uint64_t
lp_log_sealed(const struct lp_log *log)
{
    return log->sealed;
}

void
log_batch_check(const struct lp_log *log)
{
    LP_ASSERT(log->durable <= log->submitted && log->submitted <= log->sealed);
    LP_ASSERT(log->sealed - log->durable <= LP_LOG_BATCHES);
    for (uint64_t lsn = log->durable + 1; lsn <= log->durable + LP_LOG_BATCHES; lsn++) {
        const struct log_buffer *buffer = &log->buffers[lsn % LP_LOG_BATCHES];
        if (lsn <= log->submitted) {
            LP_ASSERT(buffer->state == LOG_BUFFER_FLYING || buffer->state == LOG_BUFFER_WRITTEN);
        } else if (lsn <= log->sealed) {
            LP_ASSERT(buffer->state == LOG_BUFFER_SEALED);
        } else if (lsn == log->sealed + 1 && log->open) {
            LP_ASSERT(buffer->state == LOG_BUFFER_OPEN);
        } else {
            LP_ASSERT(buffer->state == LOG_BUFFER_FREE);
        }
    }
    LP_ASSERT(log->offset % LP_DISK_ALIGN_BYTES == 0);
    if (log->segment_there) {
        LP_ASSERT(log->offset <= log->segment_bytes);
    }
    if (log->open) {
        LP_ASSERT(log->fill <= log->limit && log->limit <= log->segment_bytes - log->offset);
    }
}
