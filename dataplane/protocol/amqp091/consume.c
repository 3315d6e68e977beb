/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consume.c - consumers and their tags, and basic.get.
 */
#include <lepus/field_table.h>

#include "dataplane/protocol/amqp091/amqp091.h"

#define CONSUME_NO_ACK    2u
#define CONSUME_EXCLUSIVE 4u
#define CONSUME_NOWAIT    8u
#define CANCEL_NOWAIT     1u
#define GET_NO_ACK        1u
#define TAG_PREFIX        "amq.ctag-"

/* ---- tags ---- */

static uint64_t
tag_hash(const struct amqp091_channel *channel, struct lp_bytes tag)
{
    const struct lp_hash_key *key = &channel->connection->shard->broker->key;
    return lp_hash_mix(lp_hash_bytes(key, tag.data, tag.size), channel->self);
}

static struct amqp091_consumer *
consumer_find(const struct amqp091_channel *channel, struct lp_bytes tag)
{
    struct lp_hash_node *node =
        lp_hash_first(&channel->connection->shard->consumers, tag_hash(channel, tag));
    for (; node; node = lp_hash_next(node)) {
        struct amqp091_consumer *consumer = LP_CONTAINER_OF(node, struct amqp091_consumer, by_tag);
        if (consumer->channel == channel &&
            lp_bytes_equal(lp_bytes_of(consumer->tag, consumer->tag_bytes), tag)) {
            return consumer;
        }
    }
    return NULL;
}

static struct amqp091_consumer *
consumer_make(struct amqp091_channel *channel, struct lp_bytes tag, struct lp_bytes arguments,
              bool reply)
{
    struct amqp091_shard *shard = channel->connection->shard;
    if (arguments.size > AMQP091_ARGUMENTS_KEPT_MAX) {
        arguments.size = 0;
    }
    struct amqp091_consumer *consumer =
        lp_memory_alloc(shard->broker->memory, sizeof(*consumer) + tag.size + arguments.size);
    if (!consumer) {
        return NULL;
    }
    memset(consumer, 0, sizeof(*consumer));
    consumer->channel = channel;
    consumer->prefetch = channel->prefetch;
    consumer->tag_bytes = (uint8_t)tag.size;
    consumer->arguments_bytes = (uint16_t)arguments.size;
    memcpy(consumer->tag, tag.data, tag.size);
    if (arguments.size > 0) {
        memcpy(consumer->tag + tag.size, arguments.data, arguments.size);
    }
    consumer->reply = reply;
    channel->consumer_count++;
    if (reply) {
        channel->reply = consumer;
    } else {
        lp_hash_insert(&shard->consumers, &consumer->by_tag, tag_hash(channel, tag));
    }
    lp_list_push_back(&channel->consumers, &consumer->in_channel);
    return consumer;
}

static void
consumer_free(struct amqp091_consumer *consumer)
{
    struct amqp091_shard *shard = consumer->channel->connection->shard;
    amqp091_recheck_forget(consumer);
    if (consumer->reply) {
        consumer->channel->reply = NULL;
    } else {
        lp_hash_remove(&shard->consumers, &consumer->by_tag);
    }
    lp_list_remove(&consumer->in_channel);
    consumer->channel->consumer_count--;
    void *block = consumer;
    lp_memory_release(shard->broker->memory, &block);
}

static void
list_free(struct lp_list *list)
{
    while (!lp_list_empty(list)) {
        consumer_free(LP_LIST_ITEM(list->next, struct amqp091_consumer, in_channel));
    }
}

void
amqp091_consumers_free(struct amqp091_channel *channel)
{
    list_free(&channel->consumers);
    list_free(&channel->notices);
}

void
amqp091_consumer_describe(const void *user, struct lp_consumer_row *ret_row)
{
    const struct amqp091_consumer *consumer = user;
    *ret_row = (struct lp_consumer_row){
        .tag = lp_bytes_of(consumer->tag, consumer->tag_bytes),
        .arguments = lp_bytes_of(consumer->tag + consumer->tag_bytes, consumer->arguments_bytes),
        .prefetch = consumer->prefetch,
        .exclusive = consumer->exclusive,
    };
}

/* ---- which queue ---- */

bool
amqp091_queue_name(struct amqp091_channel *channel, struct lp_bytes name, uint32_t method_id,
                   struct lp_bytes *ret_name)
{
    if (name.size == 0 && !channel->last_queue) {
        (void)amqp091_channel_fault_text(channel, LP_FAULT_NOT_FOUND,
                                         "no previously declared queue", method_id);
        return false;
    }
    *ret_name = name.size > 0 ? name : lp_bytes_of(channel->last_queue, channel->last_queue_bytes);
    return true;
}

bool
amqp091_queue_find(struct amqp091_channel *channel, struct lp_bytes name, uint32_t method_id,
                   struct lp_queue_ref **ret_queue)
{
    const struct amqp091_connection *connection = channel->connection;
    struct lp_queue_ref *queue =
        lp_topology_queue(&connection->shard->broker->topology, connection->base->vhost_id, name);
    struct lp_fault fault;
    if (!queue) {
        amqp091_text_missing(&fault, "queue", name, amqp091_vhost_name(connection));
        (void)amqp091_channel_fault(channel, &fault, method_id);
        return false;
    }
    if (queue->owner != 0 && queue->owner != connection->base->id) {
        amqp091_text_locked(&fault, name, amqp091_vhost_name(connection));
        (void)amqp091_channel_fault(channel, &fault, method_id);
        return false;
    }
    *ret_queue = queue;
    return true;
}

static bool
queue_is_anothers(const struct amqp091_channel *channel, struct lp_bytes name)
{
    const struct amqp091_connection *connection = channel->connection;
    const struct lp_queue_ref *queue =
        lp_topology_queue(&connection->shard->broker->topology, connection->base->vhost_id, name);
    return queue && queue->owner != 0 && queue->owner != connection->base->id;
}

/* C120: its single active consumer has it for itself. */
static void
sole_text(struct lp_fault *fault, struct lp_bytes name, struct lp_bytes vhost)
{
    amqp091_text_make(fault, LP_FAULT_RESOURCE_LOCKED, "cannot obtain access to locked ");
    amqp091_text_add_resource(fault, "queue", name, vhost);
    amqp091_text_add(fault, ". basic.get operations are not supported by quorum queues with "
                            "single active consumer");
}

void
amqp091_queue_fault(struct amqp091_channel *channel, uint16_t code, struct lp_bytes name,
                    uint32_t method_id)
{
    const struct lp_bytes vhost = amqp091_vhost_name(channel->connection);
    const struct lp_bytes last = lp_bytes_of(channel->last_queue, channel->last_queue_bytes);
    const struct lp_bytes meant = name.size > 0 ? name : last;
    struct lp_fault fault;
    switch (code) {
    case LP_FAULT_NOT_FOUND:
        amqp091_text_missing(&fault, "queue", meant, vhost);
        break;
    case LP_FAULT_RESOURCE_LOCKED:
        if (method_id == AMQP091_BASIC_GET && !queue_is_anothers(channel, meant)) {
            sole_text(&fault, meant, vhost);
        } else {
            amqp091_text_locked(&fault, meant, vhost);
        }
        break;
    case LP_FAULT_NOT_IMPLEMENTED:
        amqp091_text_begin(&fault, code);
        amqp091_text_add_resource(&fault, "queue", meant, vhost);
        amqp091_text_add(&fault, " does not support global qos");
        break;
    case LP_FAULT_ACCESS_REFUSED:
        amqp091_text_begin(&fault, code);
        amqp091_text_add_resource(&fault, "queue", meant, vhost);
        amqp091_text_add(&fault, " in exclusive use");
        break;
    default:
        amqp091_text_begin(&fault, code);
        amqp091_text_add_resource(&fault, "queue", meant, vhost);
        amqp091_text_add(&fault, " cannot do this");
        break;
    }
    (void)amqp091_channel_fault(channel, &fault, method_id);
}

/* The method that is parked. */
static struct amqp091_method
pending_method(const struct amqp091_channel *channel)
{
    struct amqp091_method method;
    const enum amqp091_decode decoded =
        amqp091_method_decode(lp_bytes_of(channel->pending, channel->pending_bytes), &method);
    LP_ASSERT(decoded == AMQP091_DECODED);
    return method;
}

/* A method whose only argument is a tag. */
static void
tag_send(struct amqp091_channel *channel, uint32_t method_id, struct lp_bytes tag)
{
    struct amqp091_out out;
    amqp091_out_begin(&out, channel->number, method_id);
    lp_writer_short(&out.writer, tag);
    if (method_id == AMQP091_BASIC_CANCEL) {
        lp_writer_u8(&out.writer, CANCEL_NOWAIT);
    }
    amqp091_out_send(channel->connection, &out);
}

/* ---- consume ---- */

/* False: a fault was raised. */
static bool
priority_read(struct amqp091_channel *channel, const struct amqp091_method *method,
              struct lp_bytes queue, int32_t *ret_priority)
{
    struct lp_field field;
    *ret_priority = 0;
    if (!lp_field_find(method->table, "x-priority", &field)) {
        return true;
    }
    if (!lp_field_is_integer(field.type)) {
        struct lp_fault fault;
        amqp091_text_make(&fault, LP_FAULT_PRECONDITION_FAILED, "invalid arg 'x-priority' for ");
        amqp091_text_add_resource(&fault, "queue", queue, amqp091_vhost_name(channel->connection));
        amqp091_text_add(&fault, ": \"expected integer, got ");
        amqp091_text_add(&fault, lp_field_type_name(field.type));
        amqp091_text_add(&fault, "\"");
        (void)amqp091_channel_fault(channel, &fault, method->id);
        return false;
    }
    const int64_t value = lp_field_integer(&field);
    *ret_priority = (int32_t)LP_MAX((int64_t)INT32_MIN, LP_MIN((int64_t)INT32_MAX, value));
    return true;
}

/* Streams' arguments are nobody else's.  False: a fault was raised. */
static bool
no_stream_arguments(struct amqp091_channel *channel, const struct amqp091_method *method,
                    const struct lp_queue_ref *queue)
{
    static const char *const names[] = {"x-stream-offset", "x-stream-filter",
                                        "x-stream-match-unfiltered"};
    struct lp_field field;
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        if (!lp_field_find(method->table, names[i], &field)) {
            continue;
        }
        const bool quorum = lp_field_find(lp_queue_ref_arguments(queue), "x-queue-type", &field) &&
                            lp_bytes_equal_text(field.raw, "quorum");
        struct lp_fault fault;
        amqp091_text_make(&fault, LP_FAULT_PRECONDITION_FAILED, "invalid arg '");
        amqp091_text_add(&fault, names[i]);
        amqp091_text_add(&fault, "' for ");
        amqp091_text_add_resource(&fault, "queue", lp_queue_ref_name(queue),
                                  amqp091_vhost_name(channel->connection));
        amqp091_text_add(&fault, quorum ? " of queue type rabbit_quorum_queue"
                                        : " of queue type rabbit_classic_queue");
        (void)amqp091_channel_fault(channel, &fault, method->id);
        return false;
    }
    return true;
}

/* `consume` NULL: wait for answers. */
static enum amqp091_flow
consume_start(struct amqp091_channel *channel, struct lp_consume *consume,
              const struct amqp091_method *method)
{
    struct lp_bytes tag = method->name[1];
    uint8_t made[sizeof(TAG_PREFIX) - 1 + AMQP091_RANDOM_NAME_BYTES];
    if (tag.size == 0) {
        memcpy(made, TAG_PREFIX, sizeof(TAG_PREFIX) - 1);
        amqp091_random_name(channel->connection->shard->broker, made + sizeof(TAG_PREFIX) - 1);
        tag = lp_bytes_of(made, sizeof(made));
    }
    struct amqp091_consumer *consumer = consumer_make(channel, tag, method->table, consume == NULL);
    if (!consumer) {
        lp_session_want_room(channel->session);
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    }
    channel->waiting = AMQP091_WAIT_SESSION;
    enum lp_result result;
    if (consume) {
        consumer->exclusive = consume->exclusive;
        consume->user = consumer;
        result = lp_session_consume(channel->session, consume, &consumer->consumer);
    } else {
        result = lp_session_reply_consume(channel->session, consumer, &consumer->consumer);
    }
    if (result == LP_WAIT) {
        consumer_free(consumer);
        channel->waiting = AMQP091_WAIT_ROOM;
    }
    return AMQP091_PARK;
}

/* C160 */
static enum amqp091_flow
reply_consume(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if ((method->bits & CONSUME_NO_ACK) == 0) {
        return amqp091_channel_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                          "reply consumer cannot acknowledge", method->id);
    }
    if (channel->reply) {
        return amqp091_channel_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                          "reply consumer already set", method->id);
    }
    return consume_start(channel, NULL, method);
}

/* The reply consumer is none of those that are counted, and not exempt either. */
static bool
consumers_full(const struct amqp091_channel *channel)
{
    const uint32_t most = channel->connection->shard->broker->limits.consumers_max;
    return most > 0 && channel->consumer_count - (channel->reply ? 1u : 0u) >= most;
}

static enum amqp091_flow
consumers_full_fault(struct amqp091_channel *channel, uint32_t method_id)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_NOT_ALLOWED, "reached maximum (");
    amqp091_text_add_number(&fault, channel->connection->shard->broker->limits.consumers_max);
    amqp091_text_add(&fault, ") of consumers per channel");
    return amqp091_channel_fault(channel, &fault, method_id);
}

enum amqp091_flow
amqp091_basic_consume(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    const struct lp_bytes tag = method->name[1];
    struct lp_bytes name;
    struct lp_fault fault;
    if (tag.size > 0 && consumer_find(channel, tag)) {
        amqp091_text_make(&fault, LP_FAULT_NOT_ALLOWED, "attempt to reuse consumer tag '");
        amqp091_text_add_bytes(&fault, tag);
        amqp091_text_add(&fault, "'");
        return amqp091_channel_fault(channel, &fault, method->id);
    }
    if (LP_UNLIKELY(consumers_full(channel))) {
        return consumers_full_fault(channel, method->id);
    }
    if (lp_bytes_equal_text(method->name[0], LP_REPLY_NAME)) {
        return reply_consume(channel, method);
    }
    if (!amqp091_queue_name(channel, method->name[0], method->id, &name)) {
        return AMQP091_NEXT;
    }
    const enum amqp091_flow permitted =
        amqp091_permit(channel, LP_PERMISSION_READ, LP_RESOURCE_QUEUE, name);
    if (permitted != AMQP091_NEXT) {
        return permitted;
    }
    struct lp_consume consume = {
        .no_ack = (method->bits & CONSUME_NO_ACK) != 0,
        .exclusive = (method->bits & CONSUME_EXCLUSIVE) != 0,
        .prefetch = channel->prefetch,
    };
    if (!amqp091_queue_find(channel, name, method->id, &consume.queue) ||
        !priority_read(channel, method, name, &consume.priority) ||
        !no_stream_arguments(channel, method, consume.queue)) {
        return AMQP091_NEXT;
    }
    return consume_start(channel, &consume, method);
}

void
amqp091_consumed(struct amqp091_channel *channel, struct amqp091_consumer *consumer, uint16_t code)
{
    if (!amqp091_channel_runs(channel) || channel->waiting != AMQP091_WAIT_SESSION) {
        return; /* it goes with the channel */
    }
    const struct amqp091_method method = pending_method(channel);
    if (code != 0) {
        consumer_free(consumer);
        amqp091_queue_fault(channel, code, method.name[0], method.id);
        return;
    }
    if ((method.bits & CONSUME_NOWAIT) == 0) {
        /* Before the first delivery (C114). */
        tag_send(channel, AMQP091_BASIC_CONSUME_OK,
                 lp_bytes_of(consumer->tag, consumer->tag_bytes));
    }
    amqp091_channel_unpark(channel);
}

/* ---- cancel ---- */

static void
cancel_done(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if ((method->bits & CANCEL_NOWAIT) == 0) {
        tag_send(channel, AMQP091_BASIC_CANCEL_OK, method->name[0]);
    }
}

enum amqp091_flow
amqp091_basic_cancel(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    struct amqp091_consumer *consumer = consumer_find(channel, method->name[0]);
    if (channel->reply && lp_bytes_equal(method->name[0], lp_bytes_of(channel->reply->tag,
                                                                      channel->reply->tag_bytes))) {
        consumer = channel->reply;
    }
    if (!consumer) { /* there is nothing left to cancel (C116) */
        cancel_done(channel, method);
        return AMQP091_NEXT;
    }
    channel->waiting = AMQP091_WAIT_SESSION;
    if (consumer->revoked && consumer->consumer->state == LP_CONSUMER_CANCELLING) {
        return AMQP091_PARK; /* that it is cancelled comes anyway */
    }
    switch (lp_session_cancel(channel->session, consumer->consumer)) {
    case LP_LATER:
        return AMQP091_PARK;
    case LP_WAIT:
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    case LP_DONE:
    case LP_UNKNOWN:
        break;
    }
    channel->waiting = AMQP091_WAIT_NONE;
    consumer_free(consumer);
    cancel_done(channel, method);
    return AMQP091_NEXT;
}

static void
notice_send(struct amqp091_channel *channel, struct amqp091_consumer *consumer)
{
    if (amqp091_channel_runs(channel) && channel->connection->can_cancel_notify) {
        tag_send(channel, AMQP091_BASIC_CANCEL, lp_bytes_of(consumer->tag, consumer->tag_bytes));
    }
    consumer_free(consumer);
}

/* Is it what the parked method cancels? */
static bool
is_cancelling(const struct amqp091_channel *channel, const struct amqp091_consumer *consumer)
{
    if (channel->waiting != AMQP091_WAIT_SESSION ||
        amqp091_channel_pending_id(channel) != AMQP091_BASIC_CANCEL) {
        return false;
    }
    const struct amqp091_method method = pending_method(channel);
    return lp_bytes_equal(method.name[0], lp_bytes_of(consumer->tag, consumer->tag_bytes));
}

void
amqp091_cancelled(struct amqp091_channel *channel, struct amqp091_consumer *consumer)
{
    if (!amqp091_channel_runs(channel)) {
        return;
    }
    if (consumer->revoked && !is_cancelling(channel, consumer)) {
        notice_send(channel, consumer);
        return;
    }
    if (channel->waiting != AMQP091_WAIT_SESSION) {
        return;
    }
    const struct amqp091_method method = pending_method(channel);
    cancel_done(channel, &method);
    consumer_free(consumer);
    amqp091_channel_unpark(channel);
}

void
amqp091_consumer_gone(struct amqp091_channel *channel, struct amqp091_consumer *consumer)
{
    if (channel->waiting != AMQP091_WAIT_NONE &&
        amqp091_channel_pending_id(channel) == AMQP091_QUEUE_DELETE) {
        /* delete-ok comes before the cancel it causes (C118). */
        lp_list_remove(&consumer->in_channel);
        lp_list_push_back(&channel->notices, &consumer->in_channel);
        return;
    }
    notice_send(channel, consumer);
}

void
amqp091_notices_send(struct amqp091_channel *channel)
{
    while (!lp_list_empty(&channel->notices)) {
        notice_send(channel,
                    LP_LIST_ITEM(channel->notices.next, struct amqp091_consumer, in_channel));
    }
}

/* ---- get ---- */

enum amqp091_flow
amqp091_basic_get(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    enum amqp091_flow flow;
    struct lp_queue_ref *queue = amqp091_queue_readable(channel, method, &flow);
    if (!queue) {
        return flow;
    }
    channel->waiting = AMQP091_WAIT_SESSION;
    if (lp_session_get(channel->session, queue, (method->bits & GET_NO_ACK) != 0) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
    }
    return AMQP091_PARK;
}
