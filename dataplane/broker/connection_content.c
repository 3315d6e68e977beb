/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_content.c - which contents may begin to arrive.
 *
 * Above the watermark none begins: its connection waits, with the content's
 * header unread, until memory is below again (C102).  Below it, those that have
 * begun must not need more than there is: half of each in memory and nobody
 * able to finish would stop them all for good.  So each is promised its bytes
 * before it begins.  Who was promised much and sends little loses the promise:
 * it goes on as well as it can.
 *
 * Frames of several channels may alternate on a connection: a content that has
 * begun goes on only when the next channel's has begun as well.  That one is
 * let in without a promise when it cannot have one.
 */
#include <lepus/protocol.h>

#include "dataplane/broker/broker.h"
#include "dataplane/broker/connection_private.h"

/* A promise is looked at when it is so old, and stays when so many bytes came since. */
#define PROMISE_NS          1000000000u
#define PROMISE_BYTES_LEAST (256u * 1024u)
/* Connections that one who finds no room looks at. */
#define PROMISE_LOOKS 64u

static bool
promise_fits(const struct lp_broker *broker, uint64_t bytes)
{
    const uint64_t room = lp_memory_room_bytes(broker->memory);
    return broker->contents_promised_bytes <= room &&
           bytes <= room - broker->contents_promised_bytes;
}

static void
promise_make(struct lp_connection *connection, uint64_t bytes)
{
    if (connection->promised_bytes == 0) {
        connection->promised_ns = connection->broker->now_ns;
        connection->promised_received = connection->received_bytes;
    }
    connection->promised_bytes += bytes;
    connection->broker->contents_promised_bytes += bytes;
}

static void
promise_less(struct lp_connection *connection, uint64_t bytes)
{
    const uint64_t less = LP_MIN(bytes, connection->promised_bytes);
    LP_ASSERT(less <= connection->broker->contents_promised_bytes);
    connection->promised_bytes -= less;
    connection->broker->contents_promised_bytes -= less;
}

void
connection_promise_end(struct lp_connection *connection)
{
    promise_less(connection, connection->promised_bytes);
}

/* Some of the promises: kept, or taken back. */
static void
promises_review(struct lp_broker *broker)
{
    for (uint32_t looks = 0; looks < PROMISE_LOOKS; looks++) {
        lp_handle handle;
        struct lp_connection *connection =
            lp_pool_next(&broker->connections, &broker->promise_cursor, &handle);
        if (!connection) {
            broker->promise_cursor = 0;
            return;
        }
        if (connection->promised_bytes == 0 ||
            broker->now_ns - connection->promised_ns < PROMISE_NS) {
            continue;
        }
        if (connection->received_bytes - connection->promised_received < PROMISE_BYTES_LEAST) {
            connection_promise_end(connection);
        }
        connection->promised_ns = broker->now_ns;
        connection->promised_received = connection->received_bytes;
    }
}

/* Hold the connection back until memory is below the watermark and there is no alarm. */
static void
connection_hold(struct lp_connection *connection)
{
    struct lp_broker *broker = connection->broker;
    if ((connection->pauses & LP_PAUSE_MEMORY) != 0) {
        return;
    }
    broker->stats->publishers_paused++;
    lp_connection_pause(connection, LP_PAUSE_MEMORY);
    connection->protocol->held(connection, true);
    lp_list_push_back(&broker->connections_paused, &connection->in_paused);
}

/* One begins behind others of its connection. */
static LP_COLD enum lp_content
content_amid(struct lp_connection *connection, uint64_t bytes)
{
    struct lp_broker *broker = connection->broker;
    const struct lp_memory *memory = broker->memory;
    const uint64_t waits = lp_memory_aside_bytes(memory) + broker->contents_arrived_bytes;
    /* What is whole can be consumed: to wait for that is safe. */
    if (lp_memory_used_bytes(memory) > lp_memory_watermark_bytes(memory) + waits) {
        return LP_CONTENT_LATER;
    }
    if (promise_fits(broker, bytes)) {
        promise_make(connection, bytes);
    }
    connection->unfinished++;
    return LP_CONTENT_BEGUN;
}

/* The first of its connection finds no room below the watermark. */
static LP_COLD enum lp_content
content_tight(struct lp_connection *connection, uint64_t bytes)
{
    struct lp_broker *broker = connection->broker;
    if (broker->held || lp_memory_pressed(broker->memory)) {
        connection_hold(connection);
        return LP_CONTENT_HELD;
    }
    promises_review(broker);
    /* One at a time gets in, however large. */
    if (broker->contents_promised_bytes > 0 && !promise_fits(broker, bytes)) {
        return LP_CONTENT_LATER;
    }
    promise_make(connection, bytes);
    connection->unfinished++;
    return LP_CONTENT_BEGUN;
}

bool
lp_connection_content_fits(const struct lp_connection *connection, uint64_t bytes)
{
    return connection->unfinished == 0 && !connection->broker->held &&
           promise_fits(connection->broker, bytes + 1);
}

enum lp_content
lp_connection_content_begin(struct lp_connection *connection, uint64_t bytes)
{
    if (LP_UNLIKELY(connection->unfinished > 0)) {
        return content_amid(connection, bytes);
    }
    /* One byte more: an empty one needs room, too. */
    if (LP_UNLIKELY(connection->broker->held || !promise_fits(connection->broker, bytes + 1))) {
        return content_tight(connection, bytes);
    }
    promise_make(connection, bytes);
    connection->unfinished = 1;
    return LP_CONTENT_BEGUN;
}

void
lp_connection_content_arrived(struct lp_connection *connection, uint64_t bytes)
{
    connection->broker->contents_arrived_bytes += bytes;
    /* Which of its contents was promised is not remembered: when one ends, the rest goes on. */
    promise_less(connection, bytes);
}

void
lp_connection_content_end(struct lp_connection *connection, uint64_t arrived, uint64_t rest)
{
    struct lp_broker *broker = connection->broker;
    LP_ASSERT(connection->unfinished > 0);
    connection->unfinished--;
    if (arrived > 0) {
        LP_ASSERT(broker->contents_arrived_bytes >= arrived);
        broker->contents_arrived_bytes -= arrived;
    }
    if (connection->unfinished > 0) {
        promise_less(connection, rest);
        return;
    }
    LP_ASSERT(broker->contents_promised_bytes >= connection->promised_bytes);
    broker->contents_promised_bytes -= connection->promised_bytes;
    connection->promised_bytes = 0;
}
