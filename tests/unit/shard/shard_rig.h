/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_rig.h - a few shards over one fabric, in one thread, with no transport:
 * the control process is played by writing its records into the rings, and
 * clients are sessions opened directly, whose calls are written down.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/broker/queue.h"
#include "dataplane/broker/session.h"
#include "dataplane/shard/shard_private.h"

#define RIG_SHARDS         3u
#define RIG_MEMORY_BYTES   (8u << 20)
#define RIG_DELIVERIES_MAX 16384u
#define RIG_VHOST          1u

struct rig {
    uint32_t count;
    uint64_t now_ns;
    uint64_t revision;
    void *fabric_memory;
    void *region;
    void *memory[RIG_SHARDS];
    struct lp_shard *shard[RIG_SHARDS];
    struct lp_control_end control_out[RIG_SHARDS]; /* to the shard */
    struct lp_control_end control_in[RIG_SHARDS];  /* from it */
    uint8_t *scratch;
    /* The last request that a shard made, and how many. */
    uint16_t asked_type;
    uint64_t asked_sequence;
    uint32_t asked_shard;
    uint32_t asked_count;
    /* Called by the next poll of any shard: what input would do. */
    void (*on_poll)(struct rig *rig);
};

/* One thing that a session's owner was told about a message. */
struct rig_delivery {
    struct lp_consumer *consumer;
    uint64_t number;
    uint64_t value; /* of the body */
    bool redelivered;
};

/* A client: one session on one shard. */
struct rig_client {
    struct rig *rig;
    uint32_t shard;
    struct lp_session *session; /* NULL: closed */
    bool output_full;
    struct rig_delivery delivery[RIG_DELIVERIES_MAX];
    uint32_t delivered;
    uint32_t rooms, consumed, cancelled, gone, got, got_empty, counts, closed;
    uint32_t confirmed, nacked;
    uint16_t code; /* of the last answer that has one */
    uint64_t ready, consumers;
    struct rig_delivery got_last;
};

/* ---- a transport and entropy that do nothing ---- */

static void
rig_attach(void *self, lp_handle stream, uint64_t user)
{
    (void)self;
    (void)stream;
    (void)user;
}

static uint32_t
rig_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct rig *rig = self;
    void (*on_poll)(struct rig *) = rig->on_poll;
    (void)events;
    (void)events_max;
    rig->on_poll = NULL;
    if (on_poll) {
        on_poll(rig);
    }
    return 0;
}

static bool
rig_send(void *self, lp_handle stream, const struct lp_iovec *pieces, uint32_t count)
{
    (void)self;
    (void)stream;
    (void)pieces;
    (void)count;
    return false;
}

static void
rig_stream_nothing(void *self, lp_handle stream)
{
    (void)self;
    (void)stream;
}

static void
rig_nothing(void *self)
{
    (void)self;
}

static void
rig_wait(void *self, uint64_t timeout_ns)
{
    (void)self;
    (void)timeout_ns;
}

static void
rig_fill(void *self, void *data, size_t bytes)
{
    (void)self;
    memset(data, 0x5a, bytes);
}

static void
rig_wake_shard(void *context, uint32_t shard)
{
    (void)context;
    (void)shard;
}

static const struct lp_transport_ops rig_transport_ops = {
    .name = "none",
    .attach = rig_attach,
    .poll = rig_poll,
    .send = rig_send,
    .receive_stop = rig_stream_nothing,
    .receive_start = rig_stream_nothing,
    .close = rig_stream_nothing,
    .flush = rig_nothing,
    .accept_stop = rig_nothing,
    .wait = rig_wait,
    .wake_any = rig_nothing,
};

/* ---- boot ---- */

static void *
rig_map(size_t alignment, size_t bytes)
{
    const size_t rounded = (bytes + alignment - 1) & ~(alignment - 1);
    void *memory = aligned_alloc(alignment, rounded);
    assert_non_null(memory);
    memset(memory, 0, rounded);
    return memory;
}

static void
rig_shard_open(struct rig *rig, uint32_t index, uint64_t memory_bytes)
{
    const struct lp_shard_config config = {
        .index = index,
        .count = rig->count,
        .frame_max_bytes = 131072,
        .channel_max = 2047,
        .heartbeat_s = 60,
        .handshake_timeout_ms = 10000,
        .control_timeout_ms = 30000,
        .message_bytes_max = 1u << 20,
        .connections_max = 16,
    };
    rig->memory[index] = rig_map(LP_SPAN_BYTES, memory_bytes);
    const struct lp_shard_env env = {
        .memory = rig->memory[index],
        .memory_bytes = memory_bytes,
        .watermark_bytes = memory_bytes - memory_bytes / 8,
        .transport = {&rig_transport_ops, rig},
        .entropy = {rig_fill, NULL},
        .fabric = rig->fabric_memory,
        .region = rig->region,
        .wake_shard = rig_wake_shard,
        .wake_control = rig_nothing,
    };
    assert_int_equal(lp_shard_init_boot(&config, &env, rig->now_ns, 1, &rig->shard[index]), LP_OK);
    assert_true(lp_control_end_init(&rig->control_out[index],
                                    lp_control_region_to_shard(rig->region, rig->count, index),
                                    LP_CONTROL_RING_CAPACITY_BYTES, true));
    assert_true(lp_control_end_init(&rig->control_in[index],
                                    lp_control_region_to_control(rig->region, rig->count, index),
                                    LP_CONTROL_RING_CAPACITY_BYTES, false));
}

static void
rig_open(struct rig *rig, uint32_t count, uint64_t memory_bytes)
{
    memset(rig, 0, sizeof(*rig));
    rig->count = count;
    rig->now_ns = 1000000000u;
    rig->fabric_memory = rig_map(LP_PAIR_BYTES, lp_fabric_bytes(count));
    rig->region = rig_map(4096, lp_control_region_bytes(count));
    rig->scratch = rig_map(64, LP_CONTROL_PAYLOAD_MAX_BYTES);
    (void)lp_fabric_init_boot(rig->fabric_memory, count);
    lp_control_region_init_boot(rig->region, count);
    for (uint32_t i = 0; i < count; i++) {
        rig_shard_open(rig, i, memory_bytes);
    }
}

/* ---- the control process ---- */

static void
rig_say(struct rig *rig, uint32_t shard, uint16_t type, uint64_t sequence,
        const struct lp_writer *writer)
{
    assert_false(writer->failed);
    assert_true(lp_control_push(&rig->control_out[shard], type, sequence, lp_writer_bytes(writer)));
}

static void
rig_say_all(struct rig *rig, uint16_t type, const struct lp_writer *writer)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        rig_say(rig, i, type, 0, writer);
    }
}

/* Read what the shards say; requests are remembered. */
static void
rig_listen(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        struct lp_control_record record;
        while (lp_control_pop(&rig->control_in[i], rig->scratch, &record) ==
               LP_CONTROL_POP_RECORD) {
            if (record.type < LP_CONTROL_HELLO) {
                rig->asked_type = record.type;
                rig->asked_sequence = record.sequence;
                rig->asked_shard = i;
                rig->asked_count++;
            }
        }
    }
}

static void
rig_reply(struct rig *rig, uint32_t shard, uint64_t sequence, uint16_t code)
{
    uint8_t payload[8];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u16le(&writer, code);
    lp_writer_u8(&writer, 0);
    rig_say(rig, shard, LP_CONTROL_REPLY, sequence, &writer);
}

static uint32_t
rig_turn(struct rig *rig)
{
    uint32_t work = 0;
    rig->now_ns += 1000;
    for (uint32_t i = 0; i < rig->count; i++) {
        work += lp_shard_turn(rig->shard[i], rig->now_ns, 1).work;
        lp_shard_check(rig->shard[i]);
    }
    rig_listen(rig);
    return work;
}

/* Turns until nothing happens any more. */
static void
rig_settle(struct rig *rig)
{
    uint32_t idle = 0;
    for (uint32_t turn = 0; turn < 10000 && idle < 4; turn++) {
        idle = rig_turn(rig) == 0 ? idle + 1 : 0;
    }
    assert_int_equal(idle, 4);
}

static void
rig_vhost_up(struct rig *rig)
{
    uint8_t payload[64];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text("/"));
    rig_say_all(rig, LP_CONTROL_VHOST_UP, &writer);
}

static void
rig_exchange_up(struct rig *rig, uint32_t id, const char *name, uint8_t kind)
{
    uint8_t payload[128];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, id);
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text(name));
    lp_writer_u8(&writer, kind);
    lp_writer_u8(&writer, 0);
    lp_writer_short(&writer, lp_bytes_of(NULL, 0));
    lp_writer_long_le(&writer, lp_bytes_of(NULL, 0));
    rig_say_all(rig, LP_CONTROL_EXCHANGE_UP, &writer);
}

struct rig_queue {
    uint32_t id;
    const char *name;
    uint16_t home;
    uint8_t flags;
    uint64_t owner;
};

static void
rig_queue_up(struct rig *rig, const struct rig_queue *queue)
{
    uint8_t payload[128];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, queue->id);
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text(queue->name));
    lp_writer_u16le(&writer, queue->home);
    lp_writer_u8(&writer, queue->flags);
    lp_writer_u64le(&writer, queue->owner);
    lp_writer_long_le(&writer, lp_bytes_of(NULL, 0));
    rig_say_all(rig, LP_CONTROL_QUEUE_UP, &writer);
}

static void
rig_bind_up(struct rig *rig, uint64_t id, uint32_t exchange, uint32_t queue)
{
    uint8_t payload[128];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u64le(&writer, id);
    lp_writer_u32le(&writer, exchange);
    lp_writer_u8(&writer, LP_RESOURCE_QUEUE);
    lp_writer_u32le(&writer, queue);
    lp_writer_short(&writer, lp_bytes_of(NULL, 0));
    lp_writer_long_le(&writer, lp_bytes_of(NULL, 0));
    rig_say_all(rig, LP_CONTROL_BIND_UP, &writer);
}

static void
rig_queue_down(struct rig *rig, uint32_t id)
{
    uint8_t payload[8];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, id);
    rig_say_all(rig, LP_CONTROL_QUEUE_DOWN, &writer);
}

/* A vhost with the default exchange, and queues "q0", "q1", "q2", ... on the shards in turn: ids
 * 10, 11, 12 ... */
static void
rig_topology(struct rig *rig, uint32_t queues)
{
    rig_vhost_up(rig);
    rig_exchange_up(rig, 1, "", LP_EXCHANGE_DIRECT);
    rig_exchange_up(rig, 2, "fan", LP_EXCHANGE_FANOUT);
    for (uint32_t i = 0; i < queues; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "q%u", i);
        const struct rig_queue queue = {
            .id = 10 + i, .name = name, .home = (uint16_t)(i % rig->count)};
        rig_queue_up(rig, &queue);
        rig_bind_up(rig, 100 + i, 2, 10 + i);
    }
    rig_settle(rig);
}

/* Everything that clients used is given back. */
static void
rig_close(struct rig *rig)
{
    rig_settle(rig);
    for (uint32_t i = 0; i < rig->count; i++) {
        const char *why = "";
        if (!lp_shard_at_rest(rig->shard[i], &why)) {
            fail_msg("shard %u is not at rest: %s", i, why);
        }
    }
    for (uint32_t i = 0; i < rig->count; i++) {
        struct lp_memory *memory = rig->shard[i]->broker.memory;
        lp_memory_fini(&memory);
        free(rig->memory[i]);
    }
    free(rig->scratch);
    free(rig->region);
    free(rig->fabric_memory);
}

/* ---- clients ---- */

static void
client_room(void *owner)
{
    ((struct rig_client *)owner)->rooms++;
}

static bool
client_can_deliver(void *owner, const struct lp_message *message)
{
    assert_int_equal(message->body_bytes, sizeof(uint64_t));
    return !((struct rig_client *)owner)->output_full;
}

static struct rig_delivery
client_note(const struct lp_delivery *delivery)
{
    struct lp_message_body body = lp_message_body(delivery->message);
    const struct lp_bytes bytes = lp_message_body_next(&body, UINT32_MAX);
    struct rig_delivery note = {.consumer = delivery->consumer,
                                .number = delivery->number,
                                .redelivered = delivery->redelivered};
    assert_int_equal(bytes.size, sizeof(note.value));
    memcpy(&note.value, bytes.data, sizeof(note.value));
    return note;
}

static void
client_deliver(void *owner, const struct lp_delivery *delivery)
{
    struct rig_client *client = owner;
    assert_true(client->delivered < RIG_DELIVERIES_MAX);
    client->delivery[client->delivered++] = client_note(delivery);
}

static void
client_consumed(void *owner, struct lp_consumer *consumer, uint16_t code)
{
    struct rig_client *client = owner;
    (void)consumer;
    client->consumed++;
    client->code = code;
}

static void
client_cancelled(void *owner, struct lp_consumer *consumer)
{
    (void)consumer;
    ((struct rig_client *)owner)->cancelled++;
}

static void
client_gone(void *owner, struct lp_consumer *consumer)
{
    (void)consumer;
    ((struct rig_client *)owner)->gone++;
}

static void
client_got(void *owner, const struct lp_delivery *delivery, uint16_t code)
{
    struct rig_client *client = owner;
    client->code = code;
    if (delivery) {
        client->got++;
        client->got_last = client_note(delivery);
    } else {
        client->got_empty++;
    }
}

static void
client_counts(void *owner, uint16_t code, uint64_t ready, uint64_t consumers)
{
    struct rig_client *client = owner;
    client->counts++;
    client->code = code;
    client->ready = ready;
    client->consumers = consumers;
}

static void
client_confirm(void *owner, uint64_t number, bool multiple, bool nack)
{
    struct rig_client *client = owner;
    if (nack) {
        client->nacked++;
    } else if (multiple) {
        client->confirmed = (uint32_t)number;
    } else {
        client->confirmed++;
    }
}

static void
client_closed(void *owner)
{
    struct rig_client *client = owner;
    client->closed++;
    client->session = NULL;
}

static const struct lp_session_ops client_ops = {
    .room = client_room,
    .can_deliver = client_can_deliver,
    .deliver = client_deliver,
    .consumed = client_consumed,
    .cancelled = client_cancelled,
    .gone = client_gone,
    .got = client_got,
    .counts = client_counts,
    .confirm = client_confirm,
    .closed = client_closed,
};

static struct lp_broker *
client_broker(const struct rig_client *client)
{
    return &client->rig->shard[client->shard]->broker;
}

static struct rig_client *
client_open(struct rig *rig, uint32_t shard)
{
    struct rig_client *client = calloc(1, sizeof(*client));
    assert_non_null(client);
    client->rig = rig;
    client->shard = shard;
    client->session = lp_session_open(&rig->shard[shard]->broker, &client_ops, client,
                                      ((uint64_t)shard << 48) | 1);
    assert_non_null(client->session);
    return client;
}

/* Close and wait for it. */
static void
client_close(struct rig_client *client)
{
    lp_session_close(client->session);
    rig_settle(client->rig);
    assert_int_equal(client->closed, 1);
    free(client);
}

static struct lp_queue_ref *
client_queue(const struct rig_client *client, const char *name)
{
    struct lp_queue_ref *queue =
        lp_topology_queue(&client_broker(client)->topology, RIG_VHOST, lp_bytes_of_text(name));
    assert_non_null(queue);
    return queue;
}

/* Publish a number; the session goes on by itself when it says WAIT (see client_publish_on). */
static enum lp_result
client_publish(struct rig_client *client, struct lp_publish *publish, const char *exchange,
               const char *key, uint64_t value)
{
    struct lp_broker *broker = client_broker(client);
    const struct lp_message_parts parts = {.exchange = lp_bytes_of_text(exchange),
                                           .key = lp_bytes_of_text(key),
                                           .body_bytes = sizeof(value)};
    memset(publish, 0, sizeof(*publish));
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish->message);
    assert_non_null(message);
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&value, sizeof(value))));
    publish->exchange =
        lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of_text(exchange));
    assert_non_null(publish->exchange);
    return lp_session_publish(client->session, publish);
}

/* Publish to a queue; it has room. */
static void
client_send(struct rig_client *client, const char *queue, uint64_t value)
{
    struct lp_publish publish;
    assert_int_equal(client_publish(client, &publish, "", queue, value), LP_DONE);
    assert_false(publish.unroutable);
}

static void
client_send_many(struct rig_client *client, const char *queue, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        client_send(client, queue, first + i);
    }
}

/* Start a consumer and wait for the answer. */
static struct lp_consumer *
client_consume(struct rig_client *client, const char *queue, uint32_t prefetch)
{
    struct lp_consumer *consumer = NULL;
    const struct lp_consume consume = {
        .queue = client_queue(client, queue), .prefetch = prefetch, .user = client};
    const uint32_t before = client->consumed;
    assert_int_equal(lp_session_consume(client->session, &consume, &consumer), LP_LATER);
    rig_settle(client->rig);
    assert_int_equal(client->consumed, before + 1);
    assert_int_equal(client->code, 0);
    return consumer;
}

static void
client_ack(struct rig_client *client, uint64_t number)
{
    assert_int_equal(lp_session_settle(client->session, number, false, LP_SETTLE_ACK), LP_DONE);
}
