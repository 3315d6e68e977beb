/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_control.c - what the control process says to a shard, and what the
 * shard owes it.
 *
 * Answers go out when the ring has room; until then they are state here.
 */
#include <lepus/control_records.h>
#include <string.h>

#include "dataplane/base/list.h"
#include "dataplane/broker/connection.h"
#include "dataplane/broker/queue.h"
#include "dataplane/broker/store/store.h"
#include "dataplane/shard/shard_private.h"

static struct lp_shard *
shard_of(void *context)
{
    return LP_CONTAINER_OF((struct lp_broker *)context, struct lp_shard, broker);
}

/* ---- deltas ---- */

static enum lp_err
delta_exchange_up(struct lp_topology *topology, struct lp_reader *reader)
{
    struct lp_exchange_parts parts = {0};
    parts.id = lp_reader_u32le(reader);
    parts.vhost_id = lp_reader_u32le(reader);
    parts.name = lp_reader_short(reader);
    parts.kind = lp_reader_u8(reader);
    parts.flags = lp_reader_u8(reader);
    parts.alternate = lp_reader_short(reader);
    parts.arguments = lp_reader_long_le(reader);
    return reader->failed ? LP_ERR_BAD_RECORD : lp_topology_exchange_up(topology, &parts);
}

static enum lp_err
delta_queue_up(struct lp_topology *topology, struct lp_reader *reader)
{
    struct lp_queue_parts parts = {0};
    parts.id = lp_reader_u32le(reader);
    parts.vhost_id = lp_reader_u32le(reader);
    parts.name = lp_reader_short(reader);
    parts.home_shard = lp_reader_u16le(reader);
    parts.flags = lp_reader_u8(reader);
    parts.owner = lp_reader_u64le(reader);
    parts.arguments = lp_reader_long_le(reader);
    parts.settings = lp_reader_long_le(reader);
    return reader->failed ? LP_ERR_BAD_RECORD : lp_topology_queue_up(topology, &parts);
}

static enum lp_err
delta_bind_up(struct lp_topology *topology, struct lp_reader *reader)
{
    struct lp_binding_parts parts = {0};
    parts.id = lp_reader_u64le(reader);
    parts.source = lp_reader_u32le(reader);
    parts.destination_resource = lp_reader_u8(reader);
    parts.destination = lp_reader_u32le(reader);
    parts.key = lp_reader_short(reader);
    parts.arguments = lp_reader_long_le(reader);
    return reader->failed ? LP_ERR_BAD_RECORD : lp_topology_bind_up(topology, &parts);
}

static enum lp_err
delta_up(struct lp_topology *topology, uint16_t type, struct lp_reader *reader)
{
    switch (type) {
    case LP_CONTROL_VHOST_UP: {
        const uint32_t id = lp_reader_u32le(reader);
        const struct lp_bytes name = lp_reader_short(reader);
        const bool tracing = lp_reader_u8(reader) != 0;
        return reader->failed ? LP_ERR_BAD_RECORD
                              : lp_topology_vhost_up(topology, id, name, tracing);
    }
    case LP_CONTROL_EXCHANGE_UP:
        return delta_exchange_up(topology, reader);
    case LP_CONTROL_QUEUE_UP:
        return delta_queue_up(topology, reader);
    case LP_CONTROL_BIND_UP:
        return delta_bind_up(topology, reader);
    default:
        return LP_ERR_UNSUPPORTED;
    }
}

static void
delta_down(struct lp_topology *topology, uint16_t type, struct lp_reader *reader)
{
    if (type == LP_CONTROL_BIND_DOWN) {
        const uint64_t id = lp_reader_u64le(reader);
        if (!reader->failed) {
            lp_topology_bind_down(topology, id);
        }
        return;
    }
    const uint32_t id = lp_reader_u32le(reader);
    if (reader->failed) {
        return;
    }
    if (type == LP_CONTROL_VHOST_DOWN) {
        lp_topology_vhost_down(topology, id);
    } else if (type == LP_CONTROL_EXCHANGE_DOWN) {
        lp_topology_exchange_down(topology, id);
    } else {
        lp_topology_queue_down(topology, id);
    }
}

/* A line for the broker's log.  False: no room to say it. */
static bool
say(struct lp_shard *shard, uint8_t level, const char *const *parts, uint32_t count)
{
    uint8_t payload[256];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += (uint32_t)strlen(parts[i]);
    }
    lp_writer_u8(&writer, level);
    lp_writer_u32le(&writer, bytes);
    for (uint32_t i = 0; i < count; i++) {
        lp_writer_copy(&writer, parts[i], strlen(parts[i]));
    }
    LP_ASSERT(!writer.failed);
    return lp_link_tell(&shard->broker.link, LP_CONTROL_LOG, 0, lp_writer_bytes(&writer));
}

/* What this shard could not apply (memory): said, because messages will go astray for it. */
static void
delta_failed(struct lp_shard *shard, enum lp_err err)
{
    const char *const parts[] = {"a change of the topology was not applied: ", lp_err_text(err)};
    if (!lp_store_all_known(&shard->broker) && shard->sync_err == LP_OK) {
        shard->sync_err = err;
    }
    if (!say(shard, 3, parts, LP_COUNT_OF(parts))) {
        return; /* the memory counters show it */
    }
}

/* ---- other records ---- */

static void
control_attach(struct lp_shard *shard, struct lp_reader *reader)
{
    const uint32_t generation = lp_reader_u32le(reader);
    (void)lp_reader_u64le(reader);
    const uint32_t epoch = lp_reader_u32le(reader);
    if (reader->failed) {
        return;
    }
    shard->broker.permission_epoch = epoch;
    shard->hello = true;
    shard->hello_begun = false;
    shard->hello_generation = generation;
    shard->hello_cursor = 0;
    shard->listeners_owed = true;
    shard->fence_told = false;
    shard->listing_count = 0; /* who asked is dead */
    shard->answer_count = 0;
    shard->applied_owed = 0;
}

/* A resync named every queue that stays. */
static void
control_sync_end(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    uint32_t cursor = 0;
    lp_handle handle;
    struct lp_queue *queue;
    if (!lp_store_all_known(broker) && shard->sync_err != LP_OK) {
        shard->failed = shard->sync_err; /* a queue that is missing here may have messages */
        return;
    }
    lp_topology_sync_end(&broker->topology);
    while ((queue = lp_pool_next(&broker->queues, &cursor, &handle)) != NULL) {
        lp_queue_synced(queue);
    }
    struct lp_store_dropped dropped;
    lp_store_synced(broker, &dropped);
    if (dropped.messages > 0) {
        shard->dropped_owed = dropped;
    }
}

void
shard_control_record(void *context, const struct lp_control_record *record)
{
    struct lp_shard *shard = shard_of(context);
    struct lp_broker *broker = &shard->broker;
    struct lp_reader reader = lp_reader_of_bytes(record->payload);
    switch (record->type) {
    case LP_CONTROL_ATTACH:
        control_attach(shard, &reader);
        return;
    case LP_CONTROL_SYNC_BEGIN:
        shard->sync_err = LP_OK;
        lp_topology_sync_begin(&broker->topology);
        return;
    case LP_CONTROL_SYNC_END:
        control_sync_end(shard);
        return;
    case LP_CONTROL_VHOST_UP:
    case LP_CONTROL_EXCHANGE_UP:
    case LP_CONTROL_QUEUE_UP:
    case LP_CONTROL_BIND_UP: {
        const enum lp_err err = delta_up(&broker->topology, record->type, &reader);
        if (err != LP_OK) {
            delta_failed(shard, err);
        }
        return;
    }
    case LP_CONTROL_VHOST_DOWN:
    case LP_CONTROL_EXCHANGE_DOWN:
    case LP_CONTROL_QUEUE_DOWN:
    case LP_CONTROL_BIND_DOWN:
        delta_down(&broker->topology, record->type, &reader);
        return;
    case LP_CONTROL_REVISION:
        shard->applied_owed = record->sequence;
        return;
    case LP_CONTROL_PERMISSION_EPOCH: {
        const uint32_t epoch = lp_reader_u32le(&reader);
        broker->permission_epoch = reader.failed ? broker->permission_epoch + 1 : epoch;
        return;
    }
    case LP_CONTROL_LIST_QUEUES:
    case LP_CONTROL_LIST_CONNECTIONS:
    case LP_CONTROL_LIST_CHANNELS:
    case LP_CONTROL_LIST_CONSUMERS:
    case LP_CONTROL_LIST_LATENCY:
        shard_list_begin(shard, record);
        return;
    default:
        shard_admin_record(shard, record);
        return;
    }
}

/* ---- what is owed ---- */

static bool
owe_hello_begin(struct lp_shard *shard)
{
    uint8_t payload[4];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, shard->hello_generation);
    shard->hello_begun =
        lp_link_tell(&shard->broker.link, LP_CONTROL_HELLO, 0, lp_writer_bytes(&writer));
    return shard->hello_begun;
}

/* How many channels it has, behind its hello. */
static bool
owe_channels(struct lp_broker *broker, const struct lp_connection *connection)
{
    struct lp_protocol_row row = {0};
    uint8_t payload[16];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    connection->protocol->row(connection, &row);
    lp_writer_u64le(&writer, connection->id);
    lp_writer_u16le(&writer, row.channels);
    return row.channels == 0 ||
           lp_link_tell(&broker->link, LP_CONTROL_CHANNELS, 0, lp_writer_bytes(&writer));
}

/* Announce connections to a new control process, then send waiting requests again. */
static uint32_t
owe_hello(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    uint32_t count = 0;
    if (!shard->hello_begun && !owe_hello_begin(shard)) {
        return 0;
    }
    while (count < SHARD_ROWS_BUDGET) {
        uint32_t cursor = shard->hello_cursor;
        lp_handle handle;
        const struct lp_connection *connection =
            lp_pool_next(&broker->connections, &cursor, &handle);
        if (!connection) {
            if (lp_link_tell(&broker->link, LP_CONTROL_HELLO_END, 0, lp_bytes_of(NULL, 0))) {
                shard->hello = false;
                lp_link_resend(&broker->link);
                count++;
            }
            return count;
        }
        uint8_t payload[LP_CONTROL_HELLO_BYTES_MAX];
        struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
        lp_writer_u64le(&writer, connection->id);
        if (connection->protocol->hello(connection, &writer) && !writer.failed &&
            !lp_link_tell(&broker->link, LP_CONTROL_HELLO_CONNECTION, 0,
                          lp_writer_bytes(&writer))) {
            return count;
        }
        if (!owe_channels(broker, connection)) {
            return count; /* and its hello again */
        }
        shard->hello_cursor = cursor;
        count++;
    }
    return count;
}

static bool
owe_listeners(struct lp_shard *shard)
{
    uint8_t payload[4096];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u16le(&writer, (uint16_t)shard->env.listener_count);
    for (uint32_t i = 0; i < shard->env.listener_count; i++) {
        const struct lp_address *address = &shard->env.listeners[i];
        lp_writer_u8(&writer, address->family);
        lp_writer_u16le(&writer, address->port);
        lp_writer_copy(&writer, address->ip, sizeof(address->ip));
        if (address->family == LP_ADDRESS_UNIX) {
            lp_writer_short(&writer, lp_bytes_of_text(address->path));
        }
        const bool tls = (shard->env.tls_listeners >> i & 1u) != 0;
        lp_writer_short(&writer, lp_bytes_of_text(tls ? "amqp/ssl" : "amqp"));
    }
    if (writer.failed) {
        return true; /* more listeners than a record holds: never to be told */
    }
    return lp_link_tell(&shard->broker.link, LP_CONTROL_LISTENERS, 0, lp_writer_bytes(&writer));
}

/* The shard's log is fenced: control raises an alarm. */
static bool
owe_fence(struct lp_shard *shard, const struct lp_log_fault *fault)
{
    uint8_t payload[256];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, fault->segment);
    lp_writer_u64le(&writer, fault->offset);
    lp_writer_u8(&writer, (uint8_t)fault->err);
    lp_writer_short(&writer, lp_bytes_of_text(fault->what));
    LP_ASSERT(!writer.failed);
    return lp_link_tell(&shard->broker.link, LP_CONTROL_LOG_FENCED, 0, lp_writer_bytes(&writer));
}

#define DECIMAL_BYTES 21u

static const char *
decimal(char text[DECIMAL_BYTES], uint64_t number)
{
    char *at = &text[DECIMAL_BYTES - 1];
    *at = 0;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return at;
}

/* Messages that were dropped at the start are worth a line. */
static void
owe_dropped(struct lp_shard *shard)
{
    char messages[DECIMAL_BYTES];
    char queues[DECIMAL_BYTES];
    const struct lp_store_dropped *dropped = &shard->dropped_owed;
    const char *const parts[] = {
        decimal(messages, dropped->messages),
        dropped->messages == 1 ? " message of " : " messages of ", decimal(queues, dropped->queues),
        dropped->queues == 1 ? " queue that does not exist any more: dropped"
                             : " queues that do not exist any more: dropped"};
    if (say(shard, 2, parts, LP_COUNT_OF(parts))) {
        shard->dropped_owed = (struct lp_store_dropped){0, 0};
    }
}

bool
shard_control_owes(const struct lp_shard *shard)
{
    return shard->hello || shard->dropped_owed.messages > 0 || shard->listeners_owed ||
           shard->applied_owed > 0 || shard->listing_count > 0 || shard->answer_count > 0;
}

uint32_t
shard_control_step(struct lp_shard *shard)
{
    uint32_t count = 0;
    if (shard->hello) {
        count += owe_hello(shard);
    }
    const struct lp_log_fault *fault = lp_store_fault(&shard->broker);
    if (LP_UNLIKELY(fault != NULL) && !shard->fence_told && !shard->hello) {
        shard->fence_told = owe_fence(shard, fault);
    }
    if (LP_UNLIKELY(shard->dropped_owed.messages > 0) && !shard->hello) {
        owe_dropped(shard);
    }
    if (shard->listeners_owed && !shard->hello && owe_listeners(shard)) {
        shard->listeners_owed = false;
    }
    if (shard->applied_owed > 0 && lp_link_tell(&shard->broker.link, LP_CONTROL_APPLIED,
                                                shard->applied_owed, lp_bytes_of(NULL, 0))) {
        shard->applied_owed = 0;
        count++;
    }
    if (shard->listing_count > 0) {
        count += shard_list_step(shard);
    }
    return count + shard_admin_step(shard);
}
