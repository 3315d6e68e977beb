/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_list.c - listings: what this shard knows of queues, connections,
 * channels and consumers, a row each, and of latencies, some rows each.
 *
 * A listing is a cursor over a pool.  What comes or goes while it is under way
 * may or may not be in it.
 */
#include <lepus/control_records.h>
#include <string.h>

#include "dataplane/broker/connection.h"
#include "dataplane/broker/queue.h"
#include "dataplane/broker/session.h"
#include "dataplane/shard/shard_private.h"

/* A consumer's arguments are cut to what protocols keep of them. */
#define ROW_BYTES_MAX 5120u
/* Buckets of a histogram that one row tells of. */
#define ROW_BUCKETS    320u
#define ROWS_A_LATENCY ((LP_LATENCY_BUCKETS + ROW_BUCKETS - 1u) / ROW_BUCKETS)
#define ROWS_A_QUEUE   (LP_LATENCY_COUNT * ROWS_A_LATENCY)
LP_STATIC_ASSERT(ROW_BUCKETS * 10u + 64u <= ROW_BYTES_MAX, "a row of latencies fits");

void
shard_list_begin(struct lp_shard *shard, const struct lp_control_record *record)
{
    if (shard->listing_count == SHARD_LISTINGS_MAX) {
        return; /* the control process has one outstanding at a time, and times out */
    }
    shard->listing[shard->listing_count++] =
        (struct shard_listing){.sequence = record->sequence, .type = record->type};
}

/* ---- rows; false: not one that is listed ---- */

static bool
row_queue(const struct lp_queue *queue, struct lp_writer *writer)
{
    struct lp_queue_counts counts = {0};
    if (queue->reply_key != 0) {
        return false; /* nobody knows of it */
    }
    queue->type->counts(queue, &counts);
    lp_writer_u32le(writer, queue->id);
    lp_writer_u64le(writer, counts.ready);
    lp_writer_u64le(writer, counts.unacked);
    lp_writer_u32le(writer, counts.consumers);
    lp_writer_u64le(writer, counts.bytes);
    lp_writer_u8(writer, 0);
    lp_writer_u64le(writer, counts.unacked_bytes);
    lp_writer_u64le(writer, counts.persistent);
    lp_writer_u16le(writer, counts.sole_shard);
    lp_writer_u64le(writer, counts.sole);
    lp_writer_u64le(writer, counts.persistent_bytes);
    lp_writer_u64le(writer, counts.paged_out);
    lp_writer_u64le(writer, counts.paged_out_bytes);
    return true;
}

static bool
row_connection(const struct lp_connection *connection, struct lp_writer *writer)
{
    struct lp_protocol_row row = {0};
    connection->protocol->row(connection, &row);
    lp_writer_u64le(writer, connection->id);
    lp_writer_u16le(writer, row.channels);
    lp_writer_u64le(writer, connection->received_bytes);
    lp_writer_u64le(writer, connection->sent_bytes);
    lp_writer_u8(writer, row.state);
    return true;
}

static bool
row_channel(const struct lp_session *session, struct lp_writer *writer)
{
    struct lp_session_row row = {0};
    if (session->closing) {
        return false;
    }
    session->ops->describe(session->owner, &row);
    lp_writer_u64le(writer, session->connection);
    lp_writer_u16le(writer, row.channel);
    lp_writer_u32le(writer, row.consumers);
    lp_writer_u64le(writer, session->unacked.open_count);
    lp_writer_u64le(writer, session->confirms.open_count);
    lp_writer_u64le(writer, session->tx ? session->tx->publish_count : 0);
    lp_writer_u64le(writer, session->tx ? session->tx->settle_count : 0);
    lp_writer_u32le(writer, row.prefetch);
    lp_writer_u32le(writer, session->prefetch_shared);
    lp_writer_u8(writer, session->tx != NULL);
    lp_writer_u8(writer, session->confirming);
    lp_writer_u8(writer, 0);
    return true;
}

static bool
row_consumer(const struct lp_consumer *consumer, struct lp_writer *writer)
{
    struct lp_consumer_row row = {0};
    const struct lp_session *session = consumer->session;
    if (consumer->state != LP_CONSUMER_ACTIVE || !consumer->user || consumer->reply ||
        session->closing) {
        return false;
    }
    struct lp_session_row channel = {0};
    session->ops->describe(session->owner, &channel);
    session->ops->describe_consumer(consumer->user, &row);
    lp_writer_u32le(writer, consumer->queue_id);
    lp_writer_u64le(writer, session->connection);
    lp_writer_u16le(writer, channel.channel);
    lp_writer_short(writer, row.tag);
    lp_writer_u8(writer, !consumer->no_ack);
    lp_writer_u32le(writer, row.prefetch);
    lp_writer_u8(writer, row.exclusive);
    lp_writer_long_le(writer, row.arguments);
    lp_writer_u64le(writer, consumer->self);
    return true;
}

/* Of `buckets` from `from` on: those that have counted, behind how many they are. */
static uint32_t
row_buckets(const struct lp_latency_times *times, uint32_t from, struct lp_writer *writer)
{
    const uint32_t to = LP_MIN(from + ROW_BUCKETS, LP_LATENCY_BUCKETS);
    uint32_t count = 0;
    for (uint32_t i = from; i < to; i++) {
        count += times->bucket[i] > 0;
    }
    lp_writer_u16le(writer, (uint16_t)count);
    for (uint32_t i = from; i < to && count > 0; i++) {
        if (times->bucket[i] > 0) {
            lp_writer_u16le(writer, (uint16_t)i);
            lp_writer_u64le(writer, times->bucket[i]);
        }
    }
    return count;
}

/* The `row`-th of a queue's.  What is to be added up once is in the first of its kind. */
static bool
row_latency(const struct lp_stamps *stamps, uint32_t row, struct lp_writer *writer)
{
    const uint32_t part = row % ROWS_A_LATENCY;
    const bool first = part == 0;
    const struct lp_latency_times *times = &stamps->times[row / ROWS_A_LATENCY];
    lp_writer_u32le(writer, stamps->queue_id);
    lp_writer_u8(writer, (uint8_t)(row / ROWS_A_LATENCY));
    lp_writer_u8(writer, row == 0);
    lp_writer_u64le(writer, row == 0 ? stamps->measured : 0);
    lp_writer_u64le(writer, row == 0 ? stamps->missed : 0);
    lp_writer_u64le(writer, first ? times->count : 0);
    lp_writer_u64le(writer, first ? times->sum_ns : 0);
    lp_writer_u64le(writer, first ? times->min_ns : 0);
    lp_writer_u64le(writer, first ? times->max_ns : 0);
    return row_buckets(times, part * ROW_BUCKETS, writer) > 0 || first;
}

/* The cursor counts rows, those of places without a queue as well: no place ever moves. */
static const void *
latency_next(const struct lp_stamping *stamping, uint32_t *cursor, struct lp_writer *writer,
             bool *ret_listed)
{
    uint32_t place = *cursor / ROWS_A_QUEUE;
    while (place < LP_STAMPED_QUEUES_MAX && !stamping->queue[place]) {
        *cursor = ++place * ROWS_A_QUEUE;
    }
    if (place == LP_STAMPED_QUEUES_MAX) {
        *ret_listed = false;
        return NULL;
    }
    *ret_listed = row_latency(stamping->queue[place], *cursor % ROWS_A_QUEUE, writer);
    ++*cursor;
    return stamping->queue[place];
}

/* ---- a listing ---- */

/* The next item from the cursor on; NULL: that was all.  `ret_listed`: its row is written. */
static const void *
list_next(const struct lp_broker *broker, const struct shard_listing *listing, uint32_t *cursor,
          struct lp_writer *writer, bool *ret_listed)
{
    lp_handle handle;
    const void *item;
    switch (listing->type) {
    case LP_CONTROL_LIST_QUEUES:
        item = lp_pool_next(&broker->queues, cursor, &handle);
        *ret_listed = item && row_queue(item, writer);
        return item;
    case LP_CONTROL_LIST_CONNECTIONS:
        item = lp_pool_next(&broker->connections, cursor, &handle);
        *ret_listed = item && row_connection(item, writer);
        return item;
    case LP_CONTROL_LIST_CHANNELS:
        item = lp_pool_next(&broker->sessions, cursor, &handle);
        *ret_listed = item && row_channel(item, writer);
        return item;
    case LP_CONTROL_LIST_LATENCY:
        return latency_next(&broker->stamping, cursor, writer, ret_listed);
    default:
        LP_ASSERT(listing->type == LP_CONTROL_LIST_CONSUMERS);
        item = lp_pool_next(&broker->consumers, cursor, &handle);
        *ret_listed = item && row_consumer(item, writer);
        return item;
    }
}

static uint16_t
row_type(uint16_t listing)
{
    switch (listing) {
    case LP_CONTROL_LIST_QUEUES:
        return LP_CONTROL_ROW_QUEUE;
    case LP_CONTROL_LIST_CONNECTIONS:
        return LP_CONTROL_ROW_CONNECTION;
    case LP_CONTROL_LIST_CHANNELS:
        return LP_CONTROL_ROW_CHANNEL;
    case LP_CONTROL_LIST_LATENCY:
        return LP_CONTROL_ROW_LATENCY;
    default:
        return LP_CONTROL_ROW_CONSUMER;
    }
}

/* False: the ring has no room. */
static bool
list_end(struct lp_shard *shard)
{
    if (!lp_link_tell(&shard->broker.link, LP_CONTROL_ROWS_END, shard->listing[0].sequence,
                      lp_bytes_of(NULL, 0))) {
        return false;
    }
    shard->listing_count--;
    memmove(&shard->listing[0], &shard->listing[1],
            shard->listing_count * sizeof(shard->listing[0]));
    return true;
}

uint32_t
shard_list_step(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    struct shard_listing *listing = &shard->listing[0];
    for (uint32_t count = 0; count < SHARD_ROWS_BUDGET; count++) {
        uint8_t payload[ROW_BYTES_MAX];
        struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
        uint32_t cursor = listing->cursor;
        bool listed;
        if (!list_next(broker, listing, &cursor, &writer, &listed)) {
            return count + (list_end(shard) ? 1 : 0);
        }
        LP_ASSERT(!writer.failed);
        if (listed && !lp_link_tell(&broker->link, row_type(listing->type), listing->sequence,
                                    lp_writer_bytes(&writer))) {
            return count;
        }
        listing->cursor = cursor;
    }
    return SHARD_ROWS_BUDGET;
}
