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
    chunk->used = 0;
    chunk->room = (uint32_t)(bytes - sizeof(struct lp_chunk));
    return chunk;
}

/* The first chunk: names and properties, which stay contiguous, and room for some of the body. */
static struct lp_chunk *
head_make(struct lp_memory *memory, const struct lp_message_parts *parts)
{
    const uint64_t head_bytes =
        (uint64_t)parts->exchange.size + parts->key.size + parts->properties.size;
    struct lp_chunk *chunk;
    if (LP_UNLIKELY(head_bytes + sizeof(struct lp_chunk) > LP_CHUNK_BYTES_MAX ||
                    parts->body_moves)) {
        /* One block of the right size; the body has its own chunks. */
        chunk = lp_memory_alloc(memory, sizeof(*chunk) + head_bytes);
        if (chunk) {
            chunk->next = NULL;
            chunk->room = (uint32_t)head_bytes;
        }
    } else {
        chunk = chunk_make(memory, head_bytes + parts->body_bytes);
    }
    if (!chunk) {
        return NULL;
    }
    struct lp_writer writer = lp_writer_of(chunk->data, chunk->room);
    lp_writer_copy(&writer, parts->exchange.data, parts->exchange.size);
    lp_writer_copy(&writer, parts->key.data, parts->key.size);
    lp_writer_copy(&writer, parts->properties.data, parts->properties.size);
    LP_ASSERT(!writer.failed);
    chunk->used = (uint32_t)head_bytes;
    return chunk;
}

static bool
annotations_make(struct lp_memory *memory, struct lp_bytes annotations, struct lp_chunk **ret_chunk)
{
    struct lp_chunk *chunk = lp_memory_alloc(memory, sizeof(*chunk) + (uint64_t)annotations.size);
    if (!chunk) {
        return false;
    }
    chunk->next = NULL;
    chunk->used = annotations.size;
    chunk->room = annotations.size;
    memcpy(chunk->data, annotations.data, annotations.size);
    *ret_chunk = chunk;
    return true;
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

struct lp_message *
lp_message_make(struct lp_pool *messages, const struct lp_message_parts *parts,
                lp_handle *ret_handle)
{
    LP_ASSERT(parts->exchange.size <= UINT8_MAX);
    LP_ASSERT(parts->key.size <= UINT8_MAX);
    struct lp_chunk *annotations = NULL;
    lp_handle handle;

    struct lp_chunk *head = head_make(messages->memory, parts);
    struct lp_message *message = NULL;
    if (head && (LP_LIKELY(parts->annotations.size == 0) ||
                 annotations_make(messages->memory, parts->annotations, &annotations))) {
        message = lp_pool_alloc(messages, &handle);
    }
    if (!message) {
        chunks_release(messages->memory, head);
        chunks_release(messages->memory, annotations);
        return NULL;
    }
    message->protocol = parts->protocol;
    message->flags = parts->flags;
    message->priority = parts->priority;
    message->expiration_ms = parts->expiration_ms;
    message->exchange_bytes = (uint8_t)parts->exchange.size;
    message->key_bytes = (uint8_t)parts->key.size;
    message->properties_bytes = parts->properties.size;
    message->body_bytes = parts->body_bytes;
    message->head = head;
    message->tail = head;
    message->annotations = annotations;
    *ret_handle = handle;
    return message;
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
    struct lp_reader reader = lp_reader_of(message->annotations->data, message->annotations->used);
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
 */
static bool
message_grow(struct lp_memory *memory, struct lp_message *message, uint32_t bytes)
{
    const uint64_t to_come = message->body_bytes - message->body_have;
    uint64_t room = message->tail->room - message->tail->used;
    struct lp_chunk *first = NULL;
    struct lp_chunk *last = NULL;
    while (room < bytes) {
        struct lp_chunk *chunk = chunk_make(memory, to_come - room);
        if (!chunk) {
            while (first) {
                void *block = first;
                first = first->next;
                lp_memory_release(memory, &block);
            }
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
    message->tail->next = first;
    return true;
}

bool
lp_message_append(struct lp_pool *messages, struct lp_message *message, struct lp_bytes body)
{
    LP_ASSERT(message->loans == 0);
    LP_ASSERT(body.size <= message->body_bytes - message->body_have);
    if (!message_grow(messages->memory, message, body.size)) {
        return false;
    }
    uint32_t done = 0;
    while (done < body.size) {
        struct lp_chunk *tail = message->tail;
        const uint32_t piece = LP_MIN(tail->room - tail->used, body.size - done);
        if (piece == 0) {
            LP_ASSERT(tail->next);
            message->tail = tail->next;
            continue;
        }
        memcpy(tail->data + tail->used, body.data + done, piece);
        tail->used += piece;
        done += piece;
    }
    message->body_have += body.size;
    return true;
}

bool
lp_message_copy_body(struct lp_pool *messages, struct lp_message *message,
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
    LP_ASSERT(message->loans == 0 && message->body_have == 0 && message->head == message->tail);
    LP_ASSERT(from->loans == 1 && from->body_have == from->body_bytes);
    LP_ASSERT(message->body_bytes == from->body_bytes);
    struct lp_chunk *chunk = from->head;
    const uint32_t before = lp_message_body(from).offset;
    memmove(chunk->data, chunk->data + before, chunk->used - before);
    chunk->used -= before;
    message->head->next = chunk;
    message->tail = from->tail;
    message->body_have = from->body_have;
    from->head = NULL; /* it is freed with the loan, and looked at no more */
    from->tail = NULL;
}

void
lp_message_free(struct lp_pool *messages, lp_handle handle)
{
    struct lp_message *message = lp_pool_get(messages, handle);
    LP_ASSERT(message);
    LP_ASSERT(message->loans == 0);
    chunks_release(messages->memory, message->head);
    if (LP_UNLIKELY(message->annotations)) {
        chunks_release(messages->memory, message->annotations);
    }
    lp_pool_release(messages, handle);
}

void
lp_message_unlend(struct lp_pool *messages, lp_handle handle, uint32_t count)
{
    struct lp_message *message = lp_pool_get(messages, handle);
    LP_ASSERT(message);
    LP_ASSERT(message->loans >= count);
    message->loans -= count;
    if (message->loans == 0) {
        lp_message_free(messages, handle);
    }
}
