/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.c - a stream's life, bytes out, and why reading stops.
 */
#include "dataplane/broker/connection.h"

#include <lepus/protocol.h>
#include <string.h>

#include "dataplane/broker/broker.h"
#include "dataplane/broker/connection_private.h"
#include "dataplane/broker/connection_turn.h"

/* Chunks of output: a small first one for idle connections, larger when it goes on. */
#define OUTPUT_SMALL_BYTES 1024u
#define OUTPUT_LARGE_BYTES (16u * 1024u)

static void
connection_stream_close(struct lp_connection *connection)
{
    struct lp_transport *transport = &connection->broker->transport;
    if (connection->close_sent) {
        return;
    }
    connection->close_sent = true;
    transport->ops->close(transport->self, connection->stream);
}

/* ---- output ---- */

static void
output_free(struct lp_connection *connection)
{
    while (connection->output_head) {
        void *block = connection->output_head;
        connection->output_head = connection->output_head->next;
        lp_memory_release(connection->broker->memory, &block);
    }
    connection->output_tail = NULL;
    connection->output_bytes = 0;
}

static bool
connection_writable(const struct lp_connection *connection)
{
    return !connection->ended && !connection->close_sent;
}

/* A tail chunk with at least `bytes` of room. */
static struct lp_output_chunk *
output_chunk(struct lp_connection *connection, uint32_t bytes)
{
    struct lp_output_chunk *tail = connection->output_tail;
    if (tail && tail->room - tail->used >= bytes) {
        return tail;
    }
    const bool small = !tail && bytes <= OUTPUT_SMALL_BYTES - sizeof(struct lp_output_chunk);
    const uint32_t block_bytes = small ? OUTPUT_SMALL_BYTES : OUTPUT_LARGE_BYTES;
    struct lp_output_chunk *chunk = lp_memory_alloc(connection->broker->memory, block_bytes);
    if (!chunk) {
        return NULL;
    }
    chunk->next = NULL;
    chunk->sent = 0;
    chunk->used = 0;
    chunk->room = block_bytes - (uint32_t)sizeof(struct lp_output_chunk);
    if (tail) {
        tail->next = chunk;
    } else {
        connection->output_head = chunk;
    }
    connection->output_tail = chunk;
    return chunk;
}

void
lp_connection_output_look(struct lp_connection *connection)
{
    if (!lp_list_linked(&connection->in_flush)) {
        lp_list_push_back(&connection->broker->connections_flush, &connection->in_flush);
    }
    if (connection->output_bytes >= LP_OUTPUT_FULL_BYTES) {
        connection->output_was_full = true;
    }
    if (connection->output_bytes >= LP_OUTPUT_PAUSE_BYTES) {
        lp_connection_pause(connection, LP_PAUSE_OUTPUT);
    }
}

uint8_t *
lp_connection_reserve(struct lp_connection *connection, uint32_t bytes)
{
    LP_ASSERT(bytes <= LP_OUTPUT_RESERVE_MAX);
    if (!connection_writable(connection)) {
        return NULL;
    }
    struct lp_output_chunk *chunk = output_chunk(connection, bytes);
    if (!chunk) {
        lp_connection_drop(connection);
        return NULL;
    }
    return chunk->data + chunk->used;
}

bool
lp_connection_write(struct lp_connection *connection, const void *data, uint32_t bytes)
{
    const uint8_t *from = data;
    if (!connection_writable(connection)) {
        return false;
    }
    while (bytes > 0) {
        struct lp_output_chunk *chunk = output_chunk(connection, 1);
        if (!chunk) {
            lp_connection_drop(connection);
            return false;
        }
        const uint32_t piece = LP_MIN(bytes, chunk->room - chunk->used);
        memcpy(chunk->data + chunk->used, from, piece);
        lp_connection_commit(connection, piece);
        from += piece;
        bytes -= piece;
    }
    return true;
}

/* Hand what waits to the transport, as one gathered send. */
static void
output_send(struct lp_connection *connection)
{
    struct lp_transport *transport = &connection->broker->transport;
    struct lp_iovec pieces[LP_TRANSPORT_IOV_MAX];
    uint32_t count = 0;
    for (struct lp_output_chunk *chunk = connection->output_head;
         chunk && count < LP_TRANSPORT_IOV_MAX; chunk = chunk->next) {
        if (chunk->used > chunk->sent) {
            pieces[count].data = chunk->data + chunk->sent;
            pieces[count].bytes = chunk->used - chunk->sent;
            count++;
        }
    }
    if (count > 0) {
        connection->sending =
            transport->ops->send(transport->self, connection->stream, pieces, count);
    }
}

/* As output_send() does. */
uint64_t
lp_connection_flush_position(const struct lp_connection *connection)
{
    uint64_t position = connection->sent_bytes;
    uint32_t count = 0;
    if (connection->sending || connection->close_sent || connection->ended) {
        return position;
    }
    for (const struct lp_output_chunk *chunk = connection->output_head;
         chunk && count < LP_TRANSPORT_IOV_MAX; chunk = chunk->next) {
        position += chunk->used - chunk->sent;
        count += chunk->used > chunk->sent;
    }
    return position;
}

void
lp_connection_flush(struct lp_connection *connection)
{
    lp_list_remove(&connection->in_flush);
    if (connection->sending || connection->close_sent) {
        return;
    }
    if (connection->output_bytes > 0 && !connection->ended) {
        output_send(connection);
    } else if (connection->closing || connection->ended) {
        connection_stream_close(connection);
    }
}

void
lp_connection_sent(struct lp_connection *connection, uint32_t bytes)
{
    struct lp_broker *broker = connection->broker;
    connection->sending = false;
    connection->sent_bytes += bytes;
    connection->sent_ns = broker->now_ns;
    broker->stats->bytes_sent += bytes;
    LP_ASSERT(bytes <= connection->output_bytes);
    connection->output_bytes -= bytes;
    while (bytes > 0) {
        struct lp_output_chunk *head = connection->output_head;
        LP_ASSERT(head != NULL); /* output_bytes counts what is in the chunks */
        const uint32_t piece = LP_MIN(bytes, head->used - head->sent);
        head->sent += piece;
        bytes -= piece;
        if (head->sent < head->used) {
            break;
        }
        connection->output_head = head->next;
        if (!head->next) {
            connection->output_tail = NULL;
        }
        void *block = head;
        lp_memory_release(broker->memory, &block);
    }
    if (connection->output_bytes < LP_OUTPUT_FULL_BYTES / 2) {
        lp_connection_resume(connection, LP_PAUSE_OUTPUT);
        if (connection->output_was_full) {
            connection->output_was_full = false;
            connection->protocol->output_ready(connection);
        }
    }
    if (!lp_list_linked(&connection->in_flush) &&
        (connection->output_bytes > 0 || connection->closing)) {
        lp_list_push_back(&broker->connections_flush, &connection->in_flush);
    }
}

/* ---- pausing ---- */

void
lp_connection_pause(struct lp_connection *connection, enum lp_pause why)
{
    connection->pauses = (uint8_t)(connection->pauses | (unsigned)why);
    connection_receive_update(connection);
}

void
lp_connection_resume(struct lp_connection *connection, enum lp_pause why)
{
    if (!(connection->pauses & why)) {
        return;
    }
    connection->pauses = (uint8_t)(connection->pauses & ~(unsigned)why);
    if (why == LP_PAUSE_MEMORY && !connection->close_sent) {
        connection->protocol->held(connection, false);
    }
    connection_receive_update(connection);
    if (connection->pauses == 0 && !connection->close_sent) {
        lp_connection_again(connection);
    }
}

void
lp_connection_again(struct lp_connection *connection)
{
    if (!lp_list_linked(&connection->in_resume)) {
        lp_list_push_back(&connection->broker->connections_resume, &connection->in_resume);
    }
}

/* ---- who it is ---- */

bool
lp_connection_identity(const struct lp_connection *connection,
                       struct lp_transport_identity *ret_identity)
{
    const struct lp_transport *transport = &connection->broker->transport;
    return transport->ops->identity != NULL &&
           transport->ops->identity(transport->self, connection->stream, ret_identity);
}

/* ---- closing ---- */

void
lp_connection_close(struct lp_connection *connection)
{
    if (connection->closing || connection->close_sent) {
        return;
    }
    connection->closing = true;
    if (!lp_list_linked(&connection->in_flush)) {
        lp_list_push_back(&connection->broker->connections_flush, &connection->in_flush);
    }
}

void
lp_connection_drop(struct lp_connection *connection)
{
    /* Buffers stay until CLOSED: a send may be in flight. */
    connection->ended = true;
    connection_stream_close(connection);
}

void
lp_connection_closed(struct lp_connection *connection)
{
    struct lp_broker *broker = connection->broker;
    connection->ended = true;
    connection->close_sent = true;
    connection->stream = LP_HANDLE_NONE;
    lp_list_remove(&connection->in_flush);
    lp_list_remove(&connection->in_resume);
    lp_list_remove(&connection->in_paused);
    connection_promise_end(connection);
    output_free(connection);
    connection_input_free(connection);
    broker->stats->connections_closed++;
    connection->protocol->gone(connection);
}

void
lp_connection_release(struct lp_connection *connection)
{
    struct lp_broker *broker = connection->broker;
    LP_ASSERT(connection->stream == LP_HANDLE_NONE);
    LP_ASSERT(!connection->output_head && !connection->input_head);
    LP_ASSERT(connection->unfinished == 0);
    /* The protocol may have asked for another go after gone(). */
    lp_list_remove(&connection->in_flush);
    lp_list_remove(&connection->in_resume);
    lp_list_remove(&connection->in_paused);
    lp_access_fini(&connection->access, broker->memory);
    if (connection->state) {
        void *block = connection->state;
        lp_memory_release(broker->memory, &block);
    }
    lp_pool_release(&broker->connections, connection->self);
}

bool
lp_connection_open(struct lp_broker *broker, const struct lp_protocol *protocol,
                   const struct lp_transport_event *event)
{
    struct lp_transport *transport = &broker->transport;
    lp_handle self;
    struct lp_connection *connection =
        broker->stopping || broker->refusing ? NULL : lp_pool_alloc(&broker->connections, &self);
    if (!connection) {
        return false;
    }
    connection->self = self;
    connection->broker = broker;
    connection->protocol = protocol;
    connection->stream = event->stream;
    connection->id = ((uint64_t)broker->shard << 48) | ++broker->next_connection;
    connection->peer = event->peer;
    connection->local = event->local;
    connection->received_ns = broker->now_ns;
    connection->sent_ns = broker->now_ns;
    connection->state = lp_memory_alloc(broker->memory, protocol->connection_bytes);
    if (!connection->state) {
        lp_pool_release(&broker->connections, self);
        return false;
    }
    memset(connection->state, 0, protocol->connection_bytes);
    transport->ops->attach(transport->self, event->stream, self);
    if (!protocol->open(connection)) {
        connection->stream = LP_HANDLE_NONE; /* the caller closes it */
        output_free(connection);
        lp_connection_release(connection);
        return false;
    }
    broker->stats->connections_opened++;
    return true;
}
