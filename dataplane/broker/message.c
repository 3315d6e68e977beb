/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/message.h"

static struct lp_chunk *
chunk_make(struct lp_memory *memory, uint64_t content_bytes)
{
    const uint64_t want = sizeof(struct lp_chunk) + content_bytes;
    const uint64_t bytes = LP_MIN(want, (uint64_t)LP_CHUNK_BYTES_MAX);
    struct lp_chunk *chunk = lp_memory_alloc(memory, bytes);
    if (!chunk) {
        return NULL;
    }
    chunk->next = NULL;
    chunk->last = chunk;
    chunk->total = 0;
    chunk->used = 0;
    chunk->room = (uint32_t)(bytes - sizeof(struct lp_chunk));
    return chunk;
}

/* What of the body is in the message's own block. */
static uint32_t
body_inline_bytes(uint32_t head_bytes, uint64_t body_bytes)
{
    const uint32_t most = LP_CHUNK_BYTES_MAX - (uint32_t)sizeof(struct lp_message);
    const uint32_t room = head_bytes < most ? most - head_bytes : 0;
    return (uint32_t)LP_MIN(body_bytes, (uint64_t)room);
}

/* Room for annotations; they are not there yet. */
static struct lp_chunk *
annotations_make(struct lp_memory *memory, uint32_t bytes)
{
    struct lp_chunk *chunk = lp_memory_alloc(memory, sizeof(*chunk) + (uint64_t)bytes);
    if (!chunk) {
        return NULL;
    }
    chunk->next = NULL;
    chunk->used = 0;
    chunk->room = bytes;
    return chunk;
}

static uint32_t
annotations_fill(struct lp_chunk *chunk, struct lp_bytes bytes)
{
    const uint32_t taken = LP_MIN(chunk->room - chunk->used, bytes.size);
    if (taken > 0) {
        memcpy(chunk->data + chunk->used, bytes.data, taken);
        chunk->used += taken;
    }
    return taken;
}

static void
chunks_release(struct lp_memory *memory, struct lp_chunk *chunk)
{
    while (chunk) {
        void *block = chunk;
        chunk = chunk->next;
        lp_memory_release(memory, &block);
    }
}

/* What comes before the properties; gives what is behind it. */
static inline uint8_t *
names_write(struct lp_message *message, const struct lp_message_parts *parts)
{
    uint8_t *to = message->data;
    if (LP_UNLIKELY(parts->flags & LP_MESSAGE_EXPIRES)) {
        memcpy(to, &parts->expiration_ms, sizeof(parts->expiration_ms));
        to += sizeof(parts->expiration_ms);
    }
    to = lp_put_u8(to, (uint8_t)parts->exchange.size);
    to = lp_put_bytes(to, parts->exchange.data, parts->exchange.size);
    to = lp_put_u8(to, (uint8_t)parts->key.size);
    return lp_put_bytes(to, parts->key.data, parts->key.size);
}

/* All but the body, for which the block was made large enough; gives what is behind it. */
static inline uint8_t *
head_write(struct lp_message *message, const struct lp_message_parts *parts)
{
    return lp_put_bytes(names_write(message, parts), parts->properties.data,
                        parts->properties.size);
}

/* A message whose block has room for `body_inline` bytes of its body. */
static inline struct lp_message *
block_make(struct lp_messages *messages, const struct lp_message_parts *parts, uint32_t head_bytes,
           uint32_t body_inline, lp_handle *ret_handle)
{
    struct lp_message *message =
        lp_memory_alloc(messages->memory, sizeof(*message) + (uint64_t)head_bytes + body_inline);
    if (LP_UNLIKELY(!message)) {
        return NULL;
    }
    messages->used++;
    messages->generation = (uint16_t)(messages->generation + 2u);
    message->loans = 0;
    message->protocol = parts->protocol;
    message->flags = parts->flags;
    message->priority = parts->priority;
    message->exchange_bytes = (uint8_t)parts->exchange.size;
    message->key_bytes = (uint8_t)parts->key.size;
    message->generation = messages->generation;
    message->properties_bytes = parts->properties.size;
    message->used = head_bytes;
    message->body_bytes = (uint32_t)parts->body_bytes;
    message->annotated = false;
    message->more = NULL;
    *ret_handle = lp_handle_make(lp_memory_index(messages->memory, message), message->generation);
    return message;
}

static inline uint32_t
parts_head_bytes(const struct lp_message_parts *parts)
{
    LP_ASSERT(parts->exchange.size <= UINT8_MAX && parts->key.size <= UINT8_MAX);
    LP_ASSERT(parts->body_bytes <= UINT32_MAX);
    const uint32_t expires = (parts->flags & LP_MESSAGE_EXPIRES) != 0 ? sizeof(uint64_t) : 0;
    return expires + 2u + parts->exchange.size + parts->key.size + parts->properties.size;
}

/* With room for all that is not its body; nothing of that is there yet. */
static struct lp_message *
message_make(struct lp_messages *messages, const struct lp_message_parts *parts,
             lp_handle *ret_handle)
{
    const uint32_t head_bytes = parts_head_bytes(parts);
    const struct lp_message *from = parts->body_from;
    const uint32_t body_inline = from ? from->used - lp_message_head_bytes(from)
                                      : body_inline_bytes(head_bytes, parts->body_bytes);
    struct lp_chunk *annotations = NULL;
    if (LP_UNLIKELY(parts->annotations.size > 0)) {
        annotations = annotations_make(messages->memory, parts->annotations.size);
        if (!annotations) {
            return NULL;
        }
    }
    struct lp_message *message = block_make(messages, parts, head_bytes, body_inline, ret_handle);
    if (!message) {
        chunks_release(messages->memory, annotations);
        return NULL;
    }
    message->annotated = annotations != NULL;
    message->more = annotations;
    return message;
}

struct lp_message *
lp_message_make(struct lp_messages *messages, const struct lp_message_parts *parts,
                lp_handle *ret_handle)
{
    struct lp_message *message = message_make(messages, parts, ret_handle);
    if (!message) {
        return NULL;
    }
    if (LP_UNLIKELY(message->annotated)) {
        (void)annotations_fill(message->more, parts->annotations);
    }
    (void)head_write(message, parts);
    return message;
}

/* ---- piece by piece ---- */

struct lp_message *
lp_message_begin(struct lp_messages *messages, const struct lp_message_parts *parts,
                 lp_handle *ret_handle)
{
    struct lp_message *message = message_make(messages, parts, ret_handle);
    if (message) {
        message->used = (uint32_t)(names_write(message, parts) - message->data);
    }
    return message;
}

bool
lp_message_fill(struct lp_messages *messages, struct lp_message *message, struct lp_bytes bytes)
{
    const uint32_t head_bytes = lp_message_head_bytes(message);
    if (message->used < head_bytes) {
        const uint32_t taken = LP_MIN(head_bytes - message->used, bytes.size);
        (void)lp_put_bytes(message->data + message->used, bytes.data, taken);
        message->used += taken;
        bytes = lp_bytes_of(bytes.data + taken, bytes.size - taken);
    }
    if (message->annotated) {
        const uint32_t taken = annotations_fill(message->more, bytes);
        bytes = lp_bytes_of(bytes.data + taken, bytes.size - taken);
    }
    return bytes.size == 0 || lp_message_append(messages, message, bytes);
}

uint64_t
lp_message_to_come(const struct lp_message *message)
{
    const uint32_t head_bytes = lp_message_head_bytes(message);
    const uint64_t annotations = message->annotated ? message->more->room - message->more->used : 0;
    return message->used < head_bytes
               ? head_bytes - message->used + annotations + message->body_bytes
               : annotations + message->body_bytes - lp_message_body_have(message);
}

void
lp_annotation_write(struct lp_writer *writer, enum lp_annotation which, struct lp_bytes content)
{
    if (content.size > 0) {
        lp_writer_u8(writer, (uint8_t)which);
        lp_writer_long_le(writer, content);
    }
}

struct lp_bytes
message_annotation(const struct lp_message *message, enum lp_annotation which)
{
    struct lp_bytes found = {0};
    struct lp_reader reader = lp_reader_of_bytes(lp_message_annotations(message));
    while (lp_reader_left(&reader) > 0 && !reader.failed) {
        const uint8_t tag = lp_reader_u8(&reader);
        const struct lp_bytes section = lp_reader_long_le(&reader);
        if (tag == which) {
            found = section;
        }
    }
    LP_ASSERT(!reader.failed); /* we wrote it */
    return found;
}

/* Take the chunks for `bytes` more bytes before any is written, so that append is all or nothing.
 * They go behind those that are there; `room` bytes need none. */
static bool
message_grow(struct lp_memory *memory, struct lp_message *message, uint32_t bytes, uint64_t room)
{
    const uint64_t to_come = message->body_bytes - lp_message_body_have(message);
    struct lp_chunk *first = NULL;
    struct lp_chunk *last = NULL;
    while (room < bytes) {
        struct lp_chunk *chunk = chunk_make(memory, to_come - room);
        if (!chunk) {
            chunks_release(memory, first);
            return false;
        }
        if (last) {
            last->next = chunk;
        } else {
            first = chunk;
        }
        last = chunk;
        room += chunk->room;
    }
    if (!first) {
        return true;
    }
    struct lp_chunk *chunks = lp_message_chunks(message);
    if (chunks) {
        LP_ASSERT(chunks->last);
        chunks->last->next = first;
    } else if (message->annotated) {
        message->more->next = first;
    } else {
        message->more = first;
    }
    return true;
}

/* Room in the message's block for what of its body is still to come. */
static uint32_t
inline_room(const struct lp_message *message)
{
    const uint32_t head = lp_message_head_bytes(message);
    return head + body_inline_bytes(head, message->body_bytes) - message->used;
}

/* To the chunks; message_grow() has seen to it that there is room. */
static void
chunks_append(struct lp_message *message, struct lp_bytes body)
{
    struct lp_chunk *chunks = lp_message_chunks(message);
    uint32_t done = 0;
    while (done < body.size) {
        struct lp_chunk *last = chunks->last;
        const uint32_t piece = LP_MIN(last->room - last->used, body.size - done);
        if (piece == 0) {
            LP_ASSERT(last->next);
            chunks->last = last->next;
            continue;
        }
        memcpy(last->data + last->used, body.data + done, piece);
        last->used += piece;
        done += piece;
    }
    chunks->total += body.size;
}

bool
lp_message_append(struct lp_messages *messages, struct lp_message *message, struct lp_bytes body)
{
    LP_ASSERT(message->loans == 0);
    LP_ASSERT(body.size <= message->body_bytes - lp_message_body_have(message));
    const struct lp_chunk *chunks = lp_message_chunks(message);
    const struct lp_chunk *last = chunks ? chunks->last : NULL;
    const uint32_t here = LP_MIN(inline_room(message), body.size);
    const uint64_t room = (uint64_t)here + (last ? last->room - last->used : 0);
    if (room < body.size && !message_grow(messages->memory, message, body.size, room)) {
        return false;
    }
    if (here > 0) {
        memcpy(message->data + message->used, body.data, here);
        message->used += here;
    }
    if (here < body.size) {
        chunks_append(message, lp_bytes_of(body.data + here, body.size - here));
    }
    return true;
}

struct lp_message *
lp_message_whole(struct lp_messages *messages, const struct lp_message_parts *parts,
                 struct lp_bytes body, lp_handle *ret_handle)
{
    LP_ASSERT(parts->body_bytes == body.size && parts->annotations.size == 0);
    const uint32_t head_bytes = parts_head_bytes(parts);
    const uint32_t body_inline = body_inline_bytes(head_bytes, body.size);
    struct lp_message *message = block_make(messages, parts, head_bytes, body_inline, ret_handle);
    if (!message) {
        return NULL;
    }
    uint8_t *to = head_write(message, parts);
    if (LP_UNLIKELY(body_inline < body.size)) {
        if (!lp_message_append(messages, message, body)) {
            lp_message_free(messages, *ret_handle);
            return NULL;
        }
        return message;
    }
    (void)lp_put_bytes(to, body.data, body.size);
    message->used += body.size;
    return message;
}

bool
lp_message_copy_body(struct lp_messages *messages, struct lp_message *message,
                     const struct lp_message *from)
{
    struct lp_message_body body = lp_message_body(from);
    struct lp_bytes piece;
    while ((piece = lp_message_body_next(&body, LP_CHUNK_BYTES_MAX)).size > 0) {
        if (!lp_message_append(messages, message, piece)) {
            return false;
        }
    }
    return true;
}

void
lp_message_move_body(struct lp_message *message, struct lp_message *from)
{
    LP_ASSERT(message->loans == 0 && lp_message_body_have(message) == 0);
    LP_ASSERT(from->loans == 1 && lp_message_body_have(from) == from->body_bytes);
    LP_ASSERT(message->body_bytes == from->body_bytes);
    const uint32_t head = lp_message_head_bytes(from);
    struct lp_chunk **to = message->annotated ? &message->more->next : &message->more;
    struct lp_chunk **chunks = from->annotated ? &from->more->next : &from->more;
    memcpy(message->data + message->used, from->data + head, from->used - head);
    message->used += from->used - head;
    *to = *chunks;
    *chunks = NULL; /* it is freed with the loan, and looked at no more */
}

/* It has no loans. */
static inline void
message_end(struct lp_messages *messages, struct lp_message *message)
{
    LP_ASSERT(message->loans == 0);
    if (LP_UNLIKELY(message->more != NULL)) {
        chunks_release(messages->memory, message->more);
    }
    message->generation = 0;
    messages->used--;
    void *block = message;
    lp_memory_release(messages->memory, &block);
}

void
lp_message_free(struct lp_messages *messages, lp_handle handle)
{
    message_end(messages, lp_message_of(messages, handle));
}

void
lp_message_unlend(struct lp_messages *messages, lp_handle handle, uint32_t count)
{
    struct lp_message *message = lp_message_of(messages, handle);
    LP_ASSERT(message->loans >= count);
    message->loans -= count;
    if (message->loans == 0) {
        message_end(messages, message);
    }
}
