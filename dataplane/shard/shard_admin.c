/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_admin.c - orders of administrators: close a connection, delete or
 * purge a queue or give it stamps, stop and start the application, alarms, the watermark; and
 * the end of it all.
 */
#include <lepus/control_records.h>
#include <string.h>

#include "dataplane/broker/connection.h"
#include "dataplane/broker/queue.h"
#include "dataplane/shard/shard_private.h"

/* How long clients have to take their leave when the application stops. */
#define CLOSE_GRACE_NS 10000000000u

/* ---- queues ---- */

/* Not answered when there is no room: the control process asks again. */
static void
answer_keep(struct lp_shard *shard, const struct shard_answer *answer)
{
    if (shard->answer_count < SHARD_ANSWERS_MAX) {
        shard->answers[shard->answer_count++] = *answer;
    }
}

static void
admin_delete_check(struct lp_shard *shard, uint64_t sequence, struct lp_reader *reader)
{
    const uint32_t id = lp_reader_u32le(reader);
    const bool if_unused = lp_reader_u8(reader) != 0;
    const bool if_empty = lp_reader_u8(reader) != 0;
    if (reader->failed || shard->answer_count == SHARD_ANSWERS_MAX) {
        return;
    }
    struct shard_answer answer = {.sequence = sequence, .type = LP_CONTROL_DELETE_CHECKED};
    answer.code = lp_queue_delete_check(&shard->broker, id, if_unused, if_empty, &answer.count);
    answer_keep(shard, &answer);
}

static void
admin_purge(struct lp_shard *shard, uint64_t sequence, struct lp_reader *reader)
{
    const uint32_t id = lp_reader_u32le(reader);
    const bool transient = lp_reader_left(reader) > 0 && lp_reader_u8(reader) != 0;
    if (reader->failed || shard->answer_count == SHARD_ANSWERS_MAX) {
        return;
    }
    struct shard_answer answer = {.sequence = sequence, .type = LP_CONTROL_QUEUE_PURGED};
    struct lp_queue *queue = lp_queue_find(&shard->broker, id);
    if (queue && !queue->deleting) {
        const uint64_t count = queue->type->purge(queue, transient);
        answer.count = (uint32_t)LP_MIN(count, (uint64_t)UINT32_MAX);
    } else {
        answer.code = LP_FAULT_NOT_FOUND;
    }
    answer_keep(shard, &answer);
}

static void
admin_stamps(struct lp_broker *broker, struct lp_reader *reader)
{
    const uint32_t id = lp_reader_u32le(reader);
    const bool on = lp_reader_u8(reader) != 0;
    struct lp_queue_ref *queue =
        reader->failed ? NULL : lp_topology_queue_by_id(&broker->topology, id);
    if (queue && on) {
        (void)lp_stamps_on(broker, queue); /* false: no row will tell of it */
    } else if (queue) {
        lp_stamps_off(broker, queue);
    }
}

static uint32_t
answers_send(struct lp_shard *shard)
{
    uint32_t count = 0;
    while (shard->answer_count > 0) {
        const struct shard_answer *answer = &shard->answers[0];
        uint8_t payload[8];
        struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
        if (answer->type == LP_CONTROL_DELETE_CHECKED) {
            lp_writer_u8(&writer, (uint8_t)answer->code);
        } else {
            lp_writer_u16le(&writer, answer->code);
        }
        lp_writer_u32le(&writer, answer->count);
        if (!lp_link_tell(&shard->broker.link, answer->type, answer->sequence,
                          lp_writer_bytes(&writer))) {
            return count;
        }
        shard->answer_count--;
        memmove(&shard->answers[0], &shard->answers[1],
                shard->answer_count * sizeof(shard->answers[0]));
        count++;
    }
    return count;
}

/* ---- connections ---- */

static void
admin_close_connection(struct lp_broker *broker, struct lp_reader *reader)
{
    const uint64_t id = lp_reader_u64le(reader);
    struct lp_fault fault = {0};
    fault.code = lp_reader_u16le(reader);
    const struct lp_bytes text = lp_reader_short(reader);
    if (reader->failed || fault.code == LP_FAULT_NONE) {
        return; /* closed for no reason: there is nothing to tell the client */
    }
    fault.text_bytes = (uint16_t)LP_MIN(text.size, (uint32_t)sizeof(fault.text));
    memcpy(fault.text, text.data, fault.text_bytes);
    uint32_t cursor = 0;
    lp_handle handle;
    struct lp_connection *connection;
    while ((connection = lp_pool_next(&broker->connections, &cursor, &handle)) != NULL) {
        if (connection->id == id) {
            connection->protocol->force_close(connection, &fault);
            return;
        }
    }
}

/* Politely, all that are open; gives how many. */
static uint32_t
close_all(struct lp_broker *broker)
{
    static const char text[] = "broker forced connection closure with reason 'shutdown'";
    struct lp_fault fault = {.code = LP_FAULT_CONNECTION_FORCED, .text_bytes = sizeof(text) - 1};
    memcpy(fault.text, text, sizeof(text) - 1);
    uint32_t cursor = 0;
    uint32_t count = 0;
    lp_handle handle;
    struct lp_connection *connection;
    while ((connection = lp_pool_next(&broker->connections, &cursor, &handle)) != NULL) {
        connection->protocol->force_close(connection, &fault);
        count++;
    }
    return count;
}

static void
drop_all(struct lp_broker *broker)
{
    uint32_t cursor = 0;
    lp_handle handle;
    struct lp_connection *connection;
    while ((connection = lp_pool_next(&broker->connections, &cursor, &handle)) != NULL) {
        lp_connection_drop(connection);
    }
}

/* ---- the application, and the end ---- */

static void
admin_running(struct lp_shard *shard, struct lp_reader *reader)
{
    const bool running = lp_reader_u8(reader) != 0;
    if (reader->failed || shard->broker.stopping) {
        return;
    }
    shard->broker.refusing = !running;
    shard->env.transport.ops->accept_pause(shard->env.transport.self, !running);
    if (running) {
        shard->close_deadline_ns = 0;
        return;
    }
    if (close_all(&shard->broker) > 0) {
        shard->close_deadline_ns = shard->broker.now_ns + CLOSE_GRACE_NS;
    }
}

static void
admin_stop(struct lp_shard *shard, struct lp_reader *reader)
{
    const uint32_t grace_ms = lp_reader_u32le(reader);
    if (reader->failed || shard->broker.stopping) {
        return;
    }
    shard->broker.stopping = true;
    shard->stop_deadline_ns = shard->broker.now_ns + (uint64_t)grace_ms * 1000000u;
    shard->env.transport.ops->accept_stop(shard->env.transport.self);
    shard->stop_closed += close_all(&shard->broker);
}

/* Stopping: when the last connection is gone, or time is up, say so. */
static uint32_t
stopped_send(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    if (!broker->stopping || shard->stop_told) {
        return 0;
    }
    if (broker->connections.used > 0 && broker->now_ns < shard->stop_deadline_ns) {
        return 0;
    }
    uint8_t payload[16];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, shard->stop_closed);
    lp_writer_u64le(&writer, broker->messages.used);
    shard->stop_told = lp_link_tell(&broker->link, LP_CONTROL_STOPPED, 0, lp_writer_bytes(&writer));
    return shard->stop_told;
}

static uint32_t
close_deadline_step(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    if (shard->close_deadline_ns == 0) {
        return 0;
    }
    if (broker->connections.used == 0) {
        shard->close_deadline_ns = 0;
        return 0;
    }
    if (broker->now_ns < shard->close_deadline_ns) {
        return 0;
    }
    shard->close_deadline_ns = 0;
    drop_all(broker);
    return 1;
}

/* ---- what publishers wait for ---- */

static void
admin_alarms(struct lp_broker *broker, struct lp_reader *reader)
{
    const uint8_t alarms = lp_reader_u8(reader);
    if (!reader->failed) {
        broker->alarms = alarms; /* the turn's look at memory does the rest */
    }
}

static void
admin_watermark(struct lp_shard *shard, struct lp_reader *reader)
{
    struct lp_broker *broker = &shard->broker;
    const uint64_t asked = lp_reader_u64le(reader);
    const uint64_t limit = lp_memory_limit_bytes(broker->memory);
    if (reader->failed) {
        return;
    }
    /* What lies above must hold a message and its copies on their way out. */
    const uint64_t most = LP_MAX(limit / 5 * 4, shard->env.watermark_bytes);
    const uint64_t watermark = LP_MIN(asked, most);
    lp_memory_watermark_set(broker->memory, watermark);
    shard->limits.message_bytes_max =
        lp_shard_message_bytes_max(shard->config.message_bytes_max, limit, watermark);
    broker->limits.message_bytes_max = shard->limits.message_bytes_max;
}

static void
admin_channel_max(struct lp_shard *shard, struct lp_reader *reader)
{
    const uint16_t channel_max = lp_reader_u16le(reader);
    if (!reader->failed) {
        shard->limits.channel_max = channel_max;
        shard->broker.limits.channel_max = channel_max;
    }
}

/* ---- ---- */

void
shard_admin_record(struct lp_shard *shard, const struct lp_control_record *record)
{
    struct lp_reader reader = lp_reader_of_bytes(record->payload);
    switch (record->type) {
    case LP_CONTROL_DELETE_CHECK:
        admin_delete_check(shard, record->sequence, &reader);
        return;
    case LP_CONTROL_QUEUE_PURGE:
        admin_purge(shard, record->sequence, &reader);
        return;
    case LP_CONTROL_QUEUE_STAMPS:
        admin_stamps(&shard->broker, &reader);
        return;
    case LP_CONTROL_CLOSE_CONNECTION:
        admin_close_connection(&shard->broker, &reader);
        return;
    case LP_CONTROL_RUNNING:
        admin_running(shard, &reader);
        return;
    case LP_CONTROL_STOP:
        admin_stop(shard, &reader);
        return;
    case LP_CONTROL_ALARMS:
        admin_alarms(&shard->broker, &reader);
        return;
    case LP_CONTROL_WATERMARK:
        admin_watermark(shard, &reader);
        return;
    case LP_CONTROL_CHANNEL_MAX:
        admin_channel_max(shard, &reader);
        return;
    default:
        return; /* of a later version */
    }
}

uint32_t
shard_admin_step(struct lp_shard *shard)
{
    return answers_send(shard) + close_deadline_step(shard) + stopped_send(shard);
}
