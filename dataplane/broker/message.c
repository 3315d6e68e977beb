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

struct lp_message *
lp_message_make(struct lp_pool *messages, const struct lp_message_parts *parts,
                lp_handle *ret_handle)
{
    LP_ASSERT(parts->exchange.size <= UINT8_MAX);
    LP_ASSERT(parts->key.size <= UINT8_MAX);
    const uint64_t head_bytes =
        (uint64_t)parts->exchange.size + parts->key.size + parts->properties.size;

    /* Above the watermark nothing new is taken in; what is under way may be finished. */
    if (!lp_memory_promise(messages->memory, parts->body_bytes)) {
        return NULL;
    }
    struct lp_chunk *chunk;
    if (head_bytes + sizeof(struct lp_chunk) > LP_CHUNK_BYTES_MAX) {
        /* Large properties: one block, so that they stay contiguous; the body has its own chunks.
         */
        chunk = lp_memory_alloc(messages->memory, sizeof(*chunk) + head_bytes);
        if (chunk) {
            chunk->next = NULL;
            chunk->used = 0;
            chunk->room = (uint32_t)head_bytes;
        }
    } else {
        chunk = chunk_make(messages->memory, head_bytes + parts->body_bytes);
    }
    if (!chunk) {
        lp_memory_promise_end(messages->memory, parts->body_bytes);
        return NULL;
    }
    lp_handle handle;
    struct lp_message *message = lp_pool_alloc(messages, &handle);
    if (!message) {
        void *block = chunk;
        lp_memory_release(messages->memory, &block);
        lp_memory_promise_end(messages->memory, parts->body_bytes);
        return NULL;
    }
    struct lp_writer writer = lp_writer_of(chunk->data, chunk->room);
    lp_writer_copy(&writer, parts->exchange.data, parts->exchange.size);
    lp_writer_copy(&writer, parts->key.data, parts->key.size);
    lp_writer_copy(&writer, parts->properties.data, parts->properties.size);
    LP_ASSERT(!writer.failed);
    chunk->used = (uint32_t)head_bytes;

    message->protocol = parts->protocol;
    message->flags = parts->flags;
    message->priority = parts->priority;
    message->expiration_ms = parts->expiration_ms;
    message->exchange_bytes = (uint8_t)parts->exchange.size;
    message->key_bytes = (uint8_t)parts->key.size;
    message->properties_bytes = parts->properties.size;
    message->body_bytes = parts->body_bytes;
    message->head = chunk;
    message->tail = chunk;
    *ret_handle = handle;
    return message;
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
    lp_memory_promise_end(messages->memory, body.size);
    return true;
}

void
lp_message_free(struct lp_pool *messages, lp_handle handle)
{
    struct lp_message *message = lp_pool_get(messages, handle);
    LP_ASSERT(message);
    LP_ASSERT(message->loans == 0);
    lp_memory_promise_end(messages->memory, message->body_bytes - message->body_have);
    struct lp_chunk *chunk = message->head;
    while (chunk) {
        void *block = chunk;
        chunk = chunk->next;
        lp_memory_release(messages->memory, &block);
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
