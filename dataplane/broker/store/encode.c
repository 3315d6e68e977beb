/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode.c - what was noted becomes records, in order; what is not wanted any
 * more by then is passed over.
 */
#include <string.h>

#include "dataplane/broker/store/store_private.h"

/* Beside a message that is too large for one record: what may be tied to it. */
#define CHAIN_EXTRA_BYTES (64u * 1024u)

/* ---- batches ---- */

bool
store_room(struct lp_store *store, uint32_t bytes, uint64_t chain_bytes)
{
    if (store->open) {
        if (lp_log_room(store->log) >= bytes) {
            return true;
        }
        store_seal(store);
    }
    store->open = lp_log_begin(store->log, chain_bytes);
    return store->open;
}

/* What was encoded is durable with this batch. */
static void
sealed_note(struct lp_store *store, uint64_t lsn)
{
    store->sealed_end = store->encode_next;
    const uint32_t at =
        (store->sealed_first + store->sealed_count) % (uint32_t)LP_COUNT_OF(store->sealed);
    if (store->sealed_count > 0) {
        struct store_sealed *last =
            &store->sealed[(at + LP_COUNT_OF(store->sealed) - 1) % LP_COUNT_OF(store->sealed)];
        if (last->lsn == lsn) { /* it was empty */
            last->end = store->encode_next;
            return;
        }
    }
    LP_ASSERT(store->sealed_count < LP_COUNT_OF(store->sealed));
    store->sealed[at] = (struct store_sealed){lsn, store->encode_next};
    store->sealed_count++;
}

void
store_seal(struct lp_store *store)
{
    const bool continues = store->chained || store->stream.message;
    const uint64_t lsn = lp_log_seal(store->log, continues);
    store->open = false;
    store->chain_open = continues;
    if (!continues) { /* else what is in it counts with the batch that ends the chain */
        sealed_note(store, lsn);
    }
}

void
store_sealed_unwritten(struct lp_store *store)
{
    const bool whole = !store->open && !store->chain_open && !store->chained;
    if (whole && store->sealed_end < store->encode_next &&
        store->ops.first_open < store->encode_next) {
        sealed_note(store, lp_log_sealed(store->log));
    }
}

struct lp_log_place
store_put(struct lp_store *store, enum store_kind kind, const void *content, uint32_t bytes)
{
    struct lp_log_place place;
    uint8_t *at = lp_log_record(store->log, (uint8_t)kind, bytes, &place);
    memcpy(at, content, bytes);
    return place;
}

/* ---- messages ---- */

/* Copy what comes next of the message, at most `bytes`; all of its body in one go or piece by
 * piece. */
static uint8_t *
stream_copy_body(struct store_stream *stream, uint8_t *to, uint32_t bytes)
{
    while (bytes > 0) {
        const struct lp_bytes piece = lp_message_body_next(&stream->body, bytes);
        LP_ASSERT(piece.size > 0);
        memcpy(to, piece.data, piece.size);
        to += piece.size;
        bytes -= piece.size;
        stream->done += piece.size;
    }
    return to;
}

/* Of bytes that lie together, `from` on of the whole message. */
static uint32_t
stream_copy(struct store_stream *stream, uint8_t *to, uint32_t room, struct lp_bytes part,
            uint64_t from)
{
    if (stream->done < from || stream->done >= from + part.size) {
        return 0;
    }
    const uint32_t at = (uint32_t)(stream->done - from);
    const uint32_t bytes = LP_MIN(part.size - at, room);
    memcpy(to, part.data + at, bytes);
    stream->done += bytes;
    return bytes;
}

static void
stream_write(struct store_stream *stream, uint8_t *to, uint32_t bytes)
{
    const struct lp_message *message = stream->message;
    const struct lp_bytes head = lp_bytes_of(message->data, lp_message_head_bytes(message));
    const struct lp_bytes annotations = lp_message_annotations(message);
    uint32_t done = stream_copy(stream, to, bytes, head, 0);
    done += stream_copy(stream, to + done, bytes - done, annotations, head.size);
    (void)stream_copy_body(stream, to + done, bytes - done);
}

static struct store_message_head
message_head(const struct lp_store *store, const struct lp_message *message, uint32_t queue,
             const struct lp_entry *entry)
{
    const struct store_item item = store_item_of(store->broker, entry);
    return (struct store_message_head){
        .queue = queue,
        .body_bytes = message->body_bytes,
        .position = entry->position,
        .expires_ms = item.expires_ms,
        .head_bytes = lp_message_head_bytes(message),
        .annotations_bytes = lp_message_annotations(message).size,
        .protocol = message->protocol,
        .message_flags = message->flags,
        .priority = message->priority,
        .level = item.level,
        .flags = item.flags,
        .moved = entry->place.segment != 0,
        .returns = item.returns,
    };
}

/* The first record of a message, or its only one.  False: no room now. */
static bool
message_begin(struct lp_store *store, const struct lp_message *message, uint32_t queue,
              const struct lp_entry *entry)
{
    struct store_stream *stream = &store->stream;
    const struct store_message_head head = message_head(store, message, queue, entry);
    const uint64_t bytes = (uint64_t)head.head_bytes + head.annotations_bytes + head.body_bytes;
    const uint64_t all = bytes + sizeof(head);
    const bool whole = all <= LP_LOG_RECORD_BYTES_MAX;
    const uint32_t first = (uint32_t)LP_MIN(all, (uint64_t)LP_LOG_RECORD_BYTES_MAX);
    if (!whole && store->open) {
        store_seal(store); /* all of it in one segment */
    }
    if (!store_room(store, first, whole ? all : all + all / 64 + CHAIN_EXTRA_BYTES)) {
        return false;
    }
    struct lp_log_place place;
    uint8_t *at =
        lp_log_record(store->log, entry->brief ? STORE_BRIEF : STORE_MESSAGE, first, &place);
    memcpy(at, &head, sizeof(head));
    stream->message = message;
    stream->bytes = bytes;
    stream->done = 0;
    stream->record_bytes = (uint32_t)lp_log_record_bytes(first);
    stream->body = lp_message_body(message);
    stream->place = place;
    stream_write(stream, at + sizeof(head), first - (uint32_t)sizeof(head));
    return true;
}

/* The rest of it.  False: no room now; it goes on later. */
static bool
message_go_on(struct lp_store *store)
{
    struct store_stream *stream = &store->stream;
    while (stream->done < stream->bytes) {
        const uint64_t left = stream->bytes - stream->done;
        const uint32_t bytes = (uint32_t)LP_MIN(left, (uint64_t)LP_LOG_RECORD_BYTES_MAX);
        if (!store_room(store, bytes, bytes)) { /* all of it had room when it began */
            return false;
        }
        struct lp_log_place place;
        stream_write(stream, lp_log_record(store->log, STORE_MORE, bytes, &place), bytes);
        stream->record_bytes += (uint32_t)lp_log_record_bytes(bytes);
    }
    return true;
}

/* Its message was the last one written, and the entry that it was written for still has it. */
static bool
is_last(const struct lp_store *store, const struct lp_entry *entry)
{
    const struct store_last *last = &store->last;
    if (last->message != entry->message || last->owner != entry->owner) {
        return false;
    }
    const struct lp_entry *other = lp_pool_get(&store->broker->entries, last->entry);
    return other && other->message == entry->message && other->owner == entry->owner &&
           other->place.segment == last->place.segment && other->place.unit == last->place.unit;
}

static void
entry_placed(struct lp_store *store, struct lp_entry *entry, struct lp_log_place place,
             uint32_t record_bytes)
{
    if (entry->brief) { /* it counts already */
        lp_store_resident(store->broker, -(int64_t)lp_store_resident_bytes(entry));
    }
    entry->place = place;
    entry->record_bytes = record_bytes;
    lp_log_hold(store->log, place, record_bytes);
    lp_store_resident(store->broker, (int64_t)lp_store_resident_bytes(entry));
}

static bool
encode_enqueue_again(struct lp_store *store, uint32_t queue, struct lp_entry *entry)
{
    struct store_enqueue record = {
        .queue = queue,
        .position = entry->position,
        .item = store_item_of(store->broker, entry),
    };
    record.item.place = store->last.place;
    record.item.record_bytes = store->last.record_bytes;
    if (!entry->brief) {
        if (!store_room(store, sizeof(record), sizeof(record))) {
            return false;
        }
        (void)store_put(store, STORE_ENQUEUE, &record, sizeof(record));
    }
    entry_placed(store, entry, store->last.place, store->last.record_bytes);
    return true;
}

static bool
encode_enqueue(struct lp_store *store, const struct store_op *op)
{
    struct lp_broker *broker = store->broker;
    struct lp_entry *entry = lp_pool_get(&broker->entries, op->entry);
    LP_ASSERT(entry && (entry->flags & LP_ENTRY_STORED) != 0);
    if (!store->stream.message) {
        if (is_last(store, entry)) {
            return encode_enqueue_again(store, op->queue, entry);
        }
        const struct lp_message *message =
            lp_message_of(broker->mesh.fabric->messages[entry->owner], entry->message);
        if (!message_begin(store, message, op->queue, entry)) {
            return false;
        }
    }
    if (!message_go_on(store)) {
        return false;
    }
    const struct store_stream *stream = &store->stream;
    entry_placed(store, entry, stream->place, stream->record_bytes);
    store->last = (struct store_last){entry->message, op->entry, entry->place, entry->record_bytes,
                                      entry->owner};
    store->stream.message = NULL;
    return true;
}

static bool
encode_small(struct lp_store *store, enum store_kind kind, const void *record, uint32_t bytes)
{
    if (!store_room(store, bytes, bytes)) {
        return false;
    }
    (void)store_put(store, kind, record, bytes);
    return true;
}

/* ---- moving ---- */

/* Is it still what it was when that was noted? */
static bool
move_counts(const struct lp_store *store, const struct lp_entry *entry)
{
    return entry && (entry->flags & LP_ENTRY_STORED) != 0 &&
           (entry->state <= LP_ENTRY_UNACKED || entry->state == LP_ENTRY_DELAYED) &&
           entry->message != LP_HANDLE_NONE && entry->place.segment == store->move.segment;
}

/* Another entry's message that was moved just now is this one's, too. */
static bool
move_again(struct lp_store *store, const struct store_op *op, const struct lp_entry *entry)
{
    struct store_enqueue record = {
        .queue = op->queue,
        .moved = 1,
        .position = entry->position,
        .item = store_item_of(store->broker, entry),
    };
    record.item.place = store->last.place;
    record.item.record_bytes = store->last.record_bytes;
    return entry->brief || encode_small(store, STORE_ENQUEUE, &record, sizeof(record));
}

static bool
move_message(struct lp_store *store, const struct store_op *op, const struct lp_entry *entry)
{
    struct store_stream *stream = &store->stream;
    const struct lp_message *message =
        lp_message_of(store->broker->mesh.fabric->messages[entry->owner], entry->message);
    if ((!stream->message && !message_begin(store, message, op->queue, entry)) ||
        !message_go_on(store)) {
        return false;
    }
    stream->message = NULL;
    store->last = (struct store_last){entry->message, op->entry, stream->place,
                                      stream->record_bytes, entry->owner};
    return true;
}

static bool
encode_move(struct lp_store *store, const struct store_op *op)
{
    struct lp_entry *entry = lp_pool_get(&store->broker->entries, op->entry);
    if (!move_counts(store, entry)) {
        store->stream.message = NULL;
        return true;
    }
    /* The last one may be this entry itself, where it is now. */
    const bool again = !store->stream.message && is_last(store, entry) &&
                       store->last.place.segment != store->move.segment;
    if (!(again ? move_again(store, op, entry) : move_message(store, op, entry))) {
        return false;
    }
    const struct store_last *last = &store->last;
    lp_log_let_go(store->log, entry->place, entry->record_bytes);
    lp_store_resident(store->broker, (int64_t)last->record_bytes - (int64_t)entry->record_bytes);
    entry->place = last->place;
    entry->record_bytes = last->record_bytes;
    lp_log_hold(store->log, entry->place, entry->record_bytes);
    store->broker->stats->log_bytes_copied += entry->record_bytes;
    return true;
}

/* ---- the others ---- */

static bool
encode_acks(struct lp_store *store, const struct store_op *op)
{
    const struct store_acks record = {op->queue, (uint32_t)op->count, op->position};
    return encode_small(store, STORE_ACKS, &record, sizeof(record));
}

/* Of one that has not been written, or has left again, nothing need be known. */
static bool
encode_return(struct lp_store *store, const struct store_op *op)
{
    const struct lp_entry *entry = lp_pool_get(&store->broker->entries, op->entry);
    if (!entry || (entry->flags & LP_ENTRY_STORED) == 0 || entry->place.segment == 0) {
        return true;
    }
    const struct store_enqueue record = {
        .queue = op->queue,
        .position = op->position,
        .item = store_item_of(store->broker, entry),
    };
    return encode_small(store, STORE_RETURN, &record, sizeof(record));
}

static bool
encode_op(struct lp_store *store, const struct store_op *op)
{
    switch ((enum store_op_kind)op->kind) {
    case STORE_OP_NONE:
        store->stream.message = NULL; /* what was written of it counts for nothing */
        return true;
    case STORE_OP_ENQUEUE:
    case STORE_OP_BRIEF:
        return encode_enqueue(store, op);
    case STORE_OP_ACKS:
        return encode_acks(store, op);
    case STORE_OP_RETURN:
        return encode_return(store, op);
    case STORE_OP_GIVEN: {
        const struct store_given record = {op->queue, 0, op->position};
        return encode_small(store, STORE_GIVEN, &record, sizeof(record));
    }
    case STORE_OP_DROP: {
        return encode_small(store, STORE_DROP, &op->queue, sizeof(op->queue));
    }
    case STORE_OP_MOVE:
        return encode_move(store, op);
    case STORE_OP_UNPAGE: {
        const struct store_unpage record = {op->queue, 0, op->position};
        return encode_small(store, STORE_UNPAGE, &record, sizeof(record));
    }
    }
    return true;
}

bool
store_encode(struct lp_store *store)
{
    while (store->encode_next < store->ops.next) {
        struct store_op *op = lp_window_get(&store->ops, store->encode_next);
        LP_ASSERT(op);
        if (!encode_op(store, op)) {
            return false;
        }
        store->chained = (op->flags & STORE_OP_TIED) != 0;
        const uint64_t number = store->encode_next++;
        if ((op->flags & STORE_OP_WAITS) == 0) {
            lp_window_close(&store->ops, number);
        }
    }
    return true;
}
