/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_client.h - clients of a shard_rig.h: sessions opened directly, whose
 * calls are written down.
 */
#pragma once

#include "tests/unit/shard/shard_rig.h"

#define RIG_DELIVERIES_MAX 16384u

/* One thing that a session's owner was told about a message. */
struct rig_delivery {
    struct lp_consumer *consumer;
    uint64_t number;
    uint64_t value;                   /* of the body: its first bytes */
    const struct lp_message *message; /* until it is settled */
    bool redelivered;
    uint32_t returns;
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
    uint32_t committed, partial, returned;
    uint16_t code; /* of the last answer that has one */
    uint64_t ready, consumers;
    uint32_t timed_out;
    uint64_t timeout_ms;
    struct rig_delivery got_last;
};

static inline void
client_room(void *owner)
{
    ((struct rig_client *)owner)->rooms++;
}

static inline bool
client_can_deliver(void *owner, const struct lp_message *message)
{
    assert_true(message->body_bytes >= sizeof(uint64_t));
    return !((struct rig_client *)owner)->output_full;
}

static inline struct rig_delivery
client_note(const struct lp_delivery *delivery)
{
    struct lp_message_body body = lp_message_body(delivery->message);
    const struct lp_bytes bytes = lp_message_body_next(&body, sizeof(uint64_t));
    struct rig_delivery note = {.consumer = delivery->consumer,
                                .number = delivery->number,
                                .message = delivery->message,
                                .redelivered = delivery->redelivered,
                                .returns = delivery->returns};
    assert_true(bytes.size >= sizeof(note.value));
    memcpy(&note.value, bytes.data, sizeof(note.value));
    return note;
}

static inline void
client_deliver(void *owner, const struct lp_delivery *delivery)
{
    struct rig_client *client = owner;
    assert_true(client->delivered < RIG_DELIVERIES_MAX);
    client->delivery[client->delivered++] = client_note(delivery);
}

static inline void
client_consumed(void *owner, struct lp_consumer *consumer, uint16_t code)
{
    struct rig_client *client = owner;
    (void)consumer;
    client->consumed++;
    client->code = code;
}

static inline void
client_cancelled(void *owner, struct lp_consumer *consumer)
{
    (void)consumer;
    ((struct rig_client *)owner)->cancelled++;
}

static inline void
client_gone(void *owner, struct lp_consumer *consumer)
{
    (void)consumer;
    ((struct rig_client *)owner)->gone++;
}

static inline void
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

static inline void
client_counts(void *owner, uint16_t code, uint64_t ready, uint64_t consumers)
{
    struct rig_client *client = owner;
    client->counts++;
    client->code = code;
    client->ready = ready;
    client->consumers = consumers;
}

static inline void
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

static inline void
client_committed(void *owner, bool partial)
{
    struct rig_client *client = owner;
    client->committed++;
    client->partial += partial;
}

static inline void
client_returned(void *owner, const struct lp_message *message)
{
    (void)message;
    ((struct rig_client *)owner)->returned++;
}

static inline void
client_timed_out(void *owner, uint64_t timeout_ms)
{
    struct rig_client *client = owner;
    client->timed_out++;
    client->timeout_ms = timeout_ms;
}

static inline void
client_describe(const void *owner, struct lp_session_row *ret_row)
{
    (void)owner;
    *ret_row = (struct lp_session_row){.channel = 7, .consumers = 2, .prefetch = 9};
}

static inline void
client_describe_consumer(const void *user, struct lp_consumer_row *ret_row)
{
    (void)user;
    *ret_row = (struct lp_consumer_row){
        .tag = lp_bytes_of_text("tag"), .arguments = lp_bytes_of_text("table"), .prefetch = 5};
}

static inline void
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
    .committed = client_committed,
    .returned = client_returned,
    .timed_out = client_timed_out,
    .describe = client_describe,
    .describe_consumer = client_describe_consumer,
    .closed = client_closed,
};

static inline struct lp_broker *
client_broker(const struct rig_client *client)
{
    return &client->rig->shard[client->shard]->broker;
}

static inline struct rig_client *
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
static inline void
client_close(struct rig_client *client)
{
    lp_session_close(client->session);
    rig_settle(client->rig);
    assert_int_equal(client->closed, 1);
    free(client);
}

static inline struct lp_queue_ref *
client_queue(const struct rig_client *client, const char *name)
{
    struct lp_queue_ref *queue =
        lp_topology_queue(&client_broker(client)->topology, RIG_VHOST, lp_bytes_of_text(name));
    assert_non_null(queue);
    return queue;
}

/* Publish a number; the session goes on by itself when it says WAIT (see client_publish_on). */
static inline enum lp_result
client_publish(struct rig_client *client, struct lp_publish *publish, const char *exchange,
               const char *key, uint64_t value)
{
    struct lp_broker *broker = client_broker(client);
    const struct lp_message_parts parts = {.exchange = lp_bytes_of_text(exchange),
                                           .key = lp_bytes_of_text(key),
                                           .properties = lp_bytes_of("\0", 2), /* none */
                                           .protocol = LP_PROTOCOL_AMQP091,
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

/* What a message may have beside its number. */
struct rig_extras {
    uint64_t expiration_ms;
    uint8_t flags; /* enum lp_message_flag */
    uint8_t priority;
};

/* Publish to a queue with extras; it has room. */
static inline void
client_send_with(struct rig_client *client, const char *queue, uint64_t value,
                 const struct rig_extras *extras)
{
    struct lp_broker *broker = client_broker(client);
    const struct lp_message_parts parts = {.key = lp_bytes_of_text(queue),
                                           .properties = lp_bytes_of("\0", 2), /* none */
                                           .protocol = LP_PROTOCOL_AMQP091,
                                           .body_bytes = sizeof(value),
                                           .expiration_ms = extras->expiration_ms,
                                           .flags = extras->flags,
                                           .priority = extras->priority};
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0))};
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
    assert_non_null(message);
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&value, sizeof(value))));
    assert_int_equal(lp_session_publish(client->session, &publish), LP_DONE);
    assert_false(publish.unroutable);
}

/* Publish to a queue; it has room. */
static inline void
client_send(struct rig_client *client, const char *queue, uint64_t value)
{
    struct lp_publish publish;
    assert_int_equal(client_publish(client, &publish, "", queue, value), LP_DONE);
    assert_false(publish.unroutable);
}

static inline void
client_send_many(struct rig_client *client, const char *queue, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        client_send(client, queue, first + i);
    }
}

/* Start a consumer and wait for the answer. */
static inline struct lp_consumer *
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

static inline void
client_ack(struct rig_client *client, uint64_t number)
{
    assert_int_equal(lp_session_settle(client->session, number, false, LP_SETTLE_ACK), LP_DONE);
}
