/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_input.c - bytes that came in and are not used up yet.
 *
 * The transport lends what it received for one turn only, so what the protocol
 * leaves is copied, into blocks of at most one span.  Mostly that is a piece of
 * a frame: it and what completes it are kept in one piece.  Much is kept when
 * the connection was made to wait: what had been on its way comes all the same.
 * It is memory set aside (base/memory.h): the wait may be for memory.
 */
#include <lepus/protocol.h>
#include <string.h>

#include "dataplane/broker/broker.h"
#include "dataplane/broker/connection_private.h"
#include "dataplane/broker/connection_turn.h"

#define INPUT_DATA_MAX (LP_SPAN_BYTES - (uint32_t)sizeof(struct lp_input_chunk))

/*
 * Read from the socket only while nobody holds input back, and not much is kept:
 * a protocol that works in portions must not be outrun by its peer.  What it
 * left because it wants more is no reason to stop.
 */
void
connection_receive_update(struct lp_connection *connection)
{
    struct lp_transport *transport = &connection->broker->transport;
    uint32_t mark = connection->receiving_stopped ? LP_INPUT_FULL_BYTES / 4 : LP_INPUT_FULL_BYTES;
    if (connection->broker->aside_full) {
        mark = 1;
    }
    const bool stop =
        connection->pauses != 0 || (!connection->input_wanted && connection->input_bytes >= mark);
    if (connection->close_sent || stop == connection->receiving_stopped) {
        return;
    }
    connection->receiving_stopped = stop;
    if (stop) {
        transport->ops->receive_stop(transport->self, connection->stream);
    } else {
        transport->ops->receive_start(transport->self, connection->stream);
    }
}

static struct lp_input_chunk *
chunk_make(struct lp_memory *memory, uint32_t data_bytes)
{
    const uint64_t bytes = lp_memory_block_bytes(sizeof(struct lp_input_chunk) + data_bytes);
    struct lp_input_chunk *chunk = lp_memory_alloc(memory, bytes);
    if (!chunk) {
        return NULL;
    }
    lp_memory_aside(memory, bytes);
    *chunk = (struct lp_input_chunk){.room = (uint32_t)(bytes - sizeof(*chunk))};
    return chunk;
}

static void
chunk_free(struct lp_memory *memory, struct lp_input_chunk *chunk)
{
    void *block = chunk;
    lp_memory_aside_end(memory, sizeof(*chunk) + chunk->room);
    lp_memory_release(memory, &block);
}

static uint32_t
chunk_left(const struct lp_input_chunk *chunk)
{
    return chunk->used - chunk->from;
}

static void
chunk_put(struct lp_input_chunk *chunk, const uint8_t *data, uint32_t bytes)
{
    LP_ASSERT(bytes <= chunk->room - chunk->used);
    memcpy(chunk->data + chunk->used, data, bytes);
    chunk->used += bytes;
}

static void
chunk_append(struct lp_connection *connection, struct lp_input_chunk *chunk)
{
    if (connection->input_tail) {
        connection->input_tail->next = chunk;
    } else {
        connection->input_head = chunk;
    }
    connection->input_tail = chunk;
}

void
connection_input_free(struct lp_connection *connection)
{
    while (connection->input_head) {
        struct lp_input_chunk *chunk = connection->input_head;
        connection->input_head = chunk->next;
        chunk_free(connection->broker->memory, chunk);
    }
    connection->input_tail = NULL;
    connection->input_bytes = 0;
}

/* Room for `bytes` more in the one chunk, whose bytes move to its front or to a larger one. */
static bool
only_chunk_grow(struct lp_connection *connection, uint32_t bytes)
{
    struct lp_memory *memory = connection->broker->memory;
    struct lp_input_chunk *chunk = connection->input_head;
    const uint32_t left = chunk_left(chunk);
    if (chunk->room - chunk->used >= bytes) {
        return true;
    }
    /* Moved at most once for each half of the block that was used up: linear in all. */
    if (chunk->room - left >= bytes && chunk->from >= chunk->room / 2) {
        memmove(chunk->data, chunk->data + chunk->from, left);
        chunk->from = 0;
        chunk->used = left;
        return true;
    }
    const uint32_t want = left + bytes;
    struct lp_input_chunk *larger =
        chunk_make(memory, LP_MIN(LP_MAX(want, 2 * left), INPUT_DATA_MAX));
    if (!larger) {
        larger = chunk_make(memory, want); /* memory is short: no more than it takes */
    }
    if (!larger) {
        return false;
    }
    chunk_put(larger, chunk->data + chunk->from, left);
    chunk_free(memory, chunk);
    connection->input_head = larger;
    connection->input_tail = larger;
    return true;
}

/* Keep what the protocol did not use up, behind what is kept already. */
static bool
input_keep(struct lp_connection *connection, const uint8_t *data, uint32_t bytes)
{
    if (bytes > LP_INPUT_MAX_BYTES - connection->input_bytes) {
        return false;
    }
    struct lp_input_chunk *tail = connection->input_tail;
    const bool only = tail && tail == connection->input_head;
    if (only && bytes <= INPUT_DATA_MAX && chunk_left(tail) <= INPUT_DATA_MAX - bytes) {
        if (!only_chunk_grow(connection, bytes)) {
            return false;
        }
        tail = connection->input_tail;
    }
    connection->input_bytes += bytes;
    connection->input_wanted = false; /* there is more than it has seen */
    while (bytes > 0) {
        if (!tail || tail->used == tail->room) {
            tail = chunk_make(connection->broker->memory, LP_MIN(bytes, INPUT_DATA_MAX));
            if (!tail) {
                return false; /* the connection is dropped, with what was kept */
            }
            chunk_append(connection, tail);
        }
        const uint32_t piece = LP_MIN(bytes, tail->room - tail->used);
        chunk_put(tail, data, piece);
        data += piece;
        bytes -= piece;
    }
    return true;
}

/* The first `bytes` that are kept are done with. */
static void
input_took(struct lp_connection *connection, uint32_t bytes)
{
    struct lp_input_chunk *head = connection->input_head;
    LP_ASSERT(bytes <= chunk_left(head));
    head->from += bytes;
    connection->input_bytes -= bytes;
    if (head->from < head->used) {
        return;
    }
    connection->input_head = head->next;
    if (!head->next) {
        connection->input_tail = NULL;
    }
    chunk_free(connection->broker->memory, head);
}

/* A frame runs over the first chunk's end: make it and the next one chunk. */
static void
input_join(struct lp_connection *connection)
{
    struct lp_memory *memory = connection->broker->memory;
    struct lp_input_chunk *first = connection->input_head;
    struct lp_input_chunk *second = first->next;
    struct lp_input_chunk *joined = chunk_make(memory, chunk_left(first) + chunk_left(second));
    if (!joined) {
        return; /* tried again next turn */
    }
    chunk_put(joined, first->data + first->from, chunk_left(first));
    chunk_put(joined, second->data + second->from, chunk_left(second));
    joined->next = second->next;
    connection->input_head = joined;
    if (!joined->next) {
        connection->input_tail = joined;
    }
    chunk_free(memory, first);
    chunk_free(memory, second);
}

static bool
connection_takes_input(const struct lp_connection *connection)
{
    return !connection->closing && !connection->ended && !connection->close_sent &&
           connection->pauses == 0;
}

/* The protocol has stopped, and not to go on later: what it left is too little for it. */
static bool
input_is_wanted(const struct lp_connection *connection)
{
    return connection_takes_input(connection) && !lp_list_linked(&connection->in_resume);
}

void
lp_connection_input_kept(struct lp_connection *connection)
{
    if (connection->input_bytes == 0 || !connection_takes_input(connection)) {
        return;
    }
    const struct lp_input_chunk *head = connection->input_head;
    const bool more = head->next != NULL;
    const uint32_t left = chunk_left(head);
    const uint32_t used = connection->protocol->input(connection, head->data + head->from, left);
    input_took(connection, used);
    const bool wanted = input_is_wanted(connection);
    connection->input_wanted = wanted && !more;
    if (wanted && more) {
        if (used < left) {
            input_join(connection); /* it wants more than the first chunk has */
        }
        lp_connection_again(connection);
    }
    connection_receive_update(connection);
}

void
lp_connection_received(struct lp_connection *connection, const uint8_t *data, uint32_t bytes)
{
    struct lp_broker *broker = connection->broker;
    connection->received_bytes += bytes;
    connection->received_ns = broker->now_ns;
    broker->stats->bytes_received += bytes;
    if (connection->closing || connection->ended || connection->close_sent) {
        return;
    }
    const bool had = connection->input_bytes > 0;
    bool wanted = false;
    uint32_t used = 0;
    if (!had && connection_takes_input(connection)) {
        used = connection->protocol->input(connection, data, bytes);
        LP_ASSERT(used <= bytes);
        wanted = input_is_wanted(connection);
    }
    if (used == bytes) {
        return;
    }
    if (!input_keep(connection, data + used, bytes - used)) {
        lp_connection_drop(connection);
        return;
    }
    connection->input_wanted = wanted;
    if (had) {
        lp_connection_input_kept(connection);
    }
    connection_receive_update(connection);
}
