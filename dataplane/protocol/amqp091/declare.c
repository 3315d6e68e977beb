/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declare.c - exchange and queue: declare, delete, purge.
 *
 * The control process decides; what is answered here alone are passive
 * declares: the local copy of the topology is as new as any answer that the
 * control process has given to anyone.
 */
#include "dataplane/protocol/amqp091/declare.h"

#define EXCHANGE_PASSIVE          1u
#define EXCHANGE_DURABLE          2u
#define EXCHANGE_AUTO_DELETE      4u
#define EXCHANGE_INTERNAL         8u
#define EXCHANGE_NOWAIT           16u
#define EXCHANGE_DELETE_IF_UNUSED 1u
#define QUEUE_PASSIVE             1u
#define QUEUE_DURABLE             2u
#define QUEUE_EXCLUSIVE           4u
#define QUEUE_AUTO_DELETE         8u
#define QUEUE_NOWAIT              16u
#define QUEUE_DELETE_IF_UNUSED    1u
#define QUEUE_DELETE_IF_EMPTY     2u
#define PURGE_NOWAIT              1u
#define QUEUE_PREFIX              "amq.gen-"
#define RESERVED_PREFIX           "amq."

enum declare_stage {
    DECLARE_ASK,
    DECLARE_STAT, /* it exists: its counts are wanted */
};

/* ---- names ---- */

void
amqp091_random_name(struct lp_broker *broker, uint8_t ret_name[AMQP091_RANDOM_NAME_BYTES])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[18] = {0}; /* 16 drawn; 22 digits of 6 bits reach 4 bits further */
    lp_broker_random(broker, random, 16);
    for (uint32_t i = 0; i < AMQP091_RANDOM_NAME_BYTES; i++) {
        const uint32_t bit = i * 6;
        const uint32_t pair = ((uint32_t)random[bit / 8] << 8) | random[bit / 8 + 1];
        ret_name[i] = (uint8_t)digits[(pair >> (10 - bit % 8)) & 63u];
    }
}

struct lp_bytes
amqp091_name_clean(struct lp_bytes name, uint8_t room[AMQP091_NAME_BYTES_MAX])
{
    uint32_t kept = 0;
    LP_ASSERT(name.size <= AMQP091_NAME_BYTES_MAX);
    for (uint32_t i = 0; i < name.size; i++) {
        if (name.data[i] != '\r' && name.data[i] != '\n') {
            room[kept++] = name.data[i];
        }
    }
    return kept == name.size ? name : lp_bytes_of(room, kept);
}

bool
amqp091_default_exchange_fault(struct amqp091_channel *channel, struct lp_bytes name,
                               uint32_t method_id)
{
    if (name.size > 0) {
        return false;
    }
    (void)amqp091_channel_fault_text(channel, LP_FAULT_ACCESS_REFUSED,
                                     "operation not permitted on the default exchange", method_id);
    return true;
}

/* ---- answers that carry nothing ---- */

static uint32_t
ok_of(uint32_t method_id)
{
    return method_id == AMQP091_EXCHANGE_UNBIND ? AMQP091_EXCHANGE_UNBIND_OK : method_id + 1;
}

static bool
is_nowait(const struct amqp091_method *method)
{
    switch (method->id) {
    case AMQP091_EXCHANGE_DECLARE:
    case AMQP091_QUEUE_DECLARE:
        return (method->bits & QUEUE_NOWAIT) != 0; /* the same bit for both */
    case AMQP091_EXCHANGE_DELETE:
        return (method->bits & 2u) != 0;
    case AMQP091_QUEUE_DELETE:
        return (method->bits & 4u) != 0;
    case AMQP091_QUEUE_BIND:
    case AMQP091_EXCHANGE_BIND:
    case AMQP091_EXCHANGE_UNBIND:
    case AMQP091_QUEUE_PURGE:
        return (method->bits & PURGE_NOWAIT) != 0;
    default:
        return false;
    }
}

static struct amqp091_method
pending_method(const struct amqp091_channel *channel)
{
    struct amqp091_method method;
    const enum amqp091_decode decoded =
        amqp091_method_decode(lp_bytes_of(channel->pending, channel->pending_bytes), &method);
    LP_ASSERT(decoded == AMQP091_DECODED);
    return method;
}

void
amqp091_reply_ok(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_channel *channel = amqp091_control_granted(context, owner, reply);
    if (!channel) {
        return;
    }
    const struct amqp091_method method = pending_method(channel);
    struct lp_reader more = reply->more;
    if (!is_nowait(&method)) {
        struct amqp091_out out;
        amqp091_out_begin(&out, channel->number, ok_of(method.id));
        if (method.id == AMQP091_QUEUE_DELETE) {
            lp_writer_u32be(&out.writer, lp_reader_u32le(&more));
        }
        amqp091_out_send(channel->connection, &out);
    }
    amqp091_channel_unpark(channel);
    amqp091_notices_send(channel);
}

/* ---- questions ---- */

void
amqp091_question_end(struct amqp091_channel *channel, struct lp_writer *writer, bool follows)
{
    lp_writer_u16le(writer, channel->number);
    lp_writer_u8(writer, follows);
}

static struct lp_writer
exchange_question(struct amqp091_channel *channel, const struct amqp091_method *method,
                  struct lp_bytes name, bool follows)
{
    uint32_t flags = 0;
    flags |= (method->bits & EXCHANGE_DURABLE) != 0 ? LP_OBJECT_DURABLE : 0u;
    flags |= (method->bits & EXCHANGE_AUTO_DELETE) != 0 ? LP_OBJECT_AUTO_DELETE : 0u;
    flags |= (method->bits & EXCHANGE_INTERNAL) != 0 ? LP_OBJECT_INTERNAL : 0u;
    struct lp_writer writer = amqp091_control_begin(channel->connection);
    lp_writer_u32le(&writer, channel->connection->base->vhost_id);
    lp_writer_short(&writer, name);
    lp_writer_short(&writer, method->name[1]);
    lp_writer_u8(&writer, (uint8_t)flags);
    lp_writer_long_le(&writer, method->table);
    amqp091_question_end(channel, &writer, follows);
    return writer;
}

/* `flags`: what does not follow from the method. */
static struct lp_writer
queue_question(struct amqp091_channel *channel, const struct amqp091_method *method,
               struct lp_bytes name, uint32_t flags, bool follows)
{
    struct amqp091_connection *connection = channel->connection;
    const bool exclusive = (method->bits & QUEUE_EXCLUSIVE) != 0;
    /* An exclusive queue does not outlive its connection, so it is never durable (C57). */
    flags |= (method->bits & QUEUE_DURABLE) != 0 && !exclusive ? LP_OBJECT_DURABLE : 0u;
    flags |= exclusive ? LP_OBJECT_EXCLUSIVE : 0u;
    connection->has_exclusive |= exclusive;
    flags |= (method->bits & QUEUE_AUTO_DELETE) != 0 ? LP_OBJECT_AUTO_DELETE : 0u;
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u32le(&writer, connection->base->vhost_id);
    lp_writer_short(&writer, name);
    lp_writer_u8(&writer, (uint8_t)flags);
    lp_writer_long_le(&writer, method->table);
    lp_writer_u16le(&writer, (uint16_t)connection->shard->broker->shard);
    amqp091_question_end(channel, &writer, follows);
    return writer;
}

/* ---- exchanges ---- */

enum amqp091_flow
amqp091_exchange_declare(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    struct amqp091_connection *connection = channel->connection;
    struct lp_broker *broker = connection->shard->broker;
    uint8_t room[AMQP091_NAME_BYTES_MAX];
    const struct lp_bytes name = amqp091_name_clean(method->name[0], room);
    if ((method->bits & EXCHANGE_PASSIVE) != 0) {
        if (amqp091_default_exchange_fault(channel, name, method->id)) {
            return AMQP091_NEXT;
        }
        if (!lp_topology_exchange(&broker->topology, connection->base->vhost_id, name)) {
            struct lp_fault fault;
            amqp091_text_missing(&fault, "exchange", name, amqp091_vhost_name(connection));
            return amqp091_channel_fault(channel, &fault, method->id);
        }
        if (!is_nowait(method)) {
            amqp091_out_plain(connection, channel->number, AMQP091_EXCHANGE_DECLARE_OK);
        }
        return AMQP091_NEXT;
    }
    const struct lp_writer writer = exchange_question(channel, method, name, false);
    return amqp091_control_ask(channel, LP_CONTROL_EXCHANGE_DECLARE, &writer, amqp091_reply_ok);
}

bool
amqp091_exchange_declare_ahead(struct amqp091_channel *channel, const struct amqp091_method *method,
                               struct amqp091_question *ret_question)
{
    uint8_t room[AMQP091_NAME_BYTES_MAX];
    const struct lp_bytes name = amqp091_name_clean(method->name[0], room);
    if ((method->bits & EXCHANGE_PASSIVE) != 0) {
        return false;
    }
    ret_question->type = LP_CONTROL_EXCHANGE_DECLARE;
    ret_question->writer = exchange_question(channel, method, name, true);
    return true;
}

enum amqp091_flow
amqp091_exchange_delete(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    struct amqp091_connection *connection = channel->connection;
    uint8_t room[AMQP091_NAME_BYTES_MAX];
    const struct lp_bytes name = amqp091_name_clean(method->name[0], room);
    if (amqp091_default_exchange_fault(channel, name, method->id)) {
        return AMQP091_NEXT;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u32le(&writer, connection->base->vhost_id);
    lp_writer_short(&writer, name);
    lp_writer_u8(&writer, (method->bits & EXCHANGE_DELETE_IF_UNUSED) != 0);
    return amqp091_control_ask(channel, LP_CONTROL_EXCHANGE_DELETE, &writer, amqp091_reply_ok);
}

/* ---- queues ---- */

static bool
last_queue_set(struct amqp091_channel *channel, struct lp_bytes name)
{
    struct lp_memory *memory = channel->connection->shard->broker->memory;
    uint8_t *copy = lp_memory_alloc(memory, LP_MAX(name.size, 1u));
    if (!copy) {
        lp_session_want_room(channel->session);
        channel->waiting = AMQP091_WAIT_ROOM;
        return false;
    }
    if (name.size > 0) {
        memcpy(copy, name.data, name.size);
    }
    void *old = channel->last_queue;
    if (old) {
        lp_memory_release(memory, &old);
    }
    channel->last_queue = copy;
    channel->last_queue_bytes = (uint8_t)name.size;
    return true;
}

static void
declare_ok(struct amqp091_channel *channel, uint64_t ready, uint64_t consumers)
{
    struct amqp091_out out;
    amqp091_out_begin(&out, channel->number, AMQP091_QUEUE_DECLARE_OK);
    lp_writer_short(&out.writer, lp_bytes_of(channel->last_queue, channel->last_queue_bytes));
    lp_writer_u32be(&out.writer, (uint32_t)LP_MIN(ready, (uint64_t)UINT32_MAX));
    lp_writer_u32be(&out.writer, (uint32_t)LP_MIN(consumers, (uint64_t)UINT32_MAX));
    amqp091_out_send(channel->connection, &out);
}

static enum amqp091_flow
queue_stat(struct amqp091_channel *channel, struct lp_queue_ref *queue)
{
    channel->waiting = AMQP091_WAIT_SESSION;
    if (lp_session_stat(channel->session, queue) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
    }
    return AMQP091_PARK;
}

static enum amqp091_flow
declare_passive(struct amqp091_channel *channel, const struct amqp091_method *method,
                struct lp_bytes name)
{
    struct lp_queue_ref *queue;
    if (!amqp091_queue_find(channel, name, method->id, &queue)) {
        return AMQP091_NEXT;
    }
    if (!last_queue_set(channel, name)) {
        return AMQP091_PARK;
    }
    if ((method->bits & QUEUE_NOWAIT) != 0) {
        return AMQP091_NEXT;
    }
    return queue_stat(channel, queue);
}

static void
declare_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_channel *channel = amqp091_control_granted(context, owner, reply);
    if (!channel) {
        return;
    }
    struct lp_reader more = reply->more;
    channel->queue_id = lp_reader_u32le(&more);
    const bool created = lp_reader_u8(&more) != 0;
    const struct amqp091_method method = pending_method(channel);
    if (!created && !is_nowait(&method)) {
        channel->stage = DECLARE_STAT;
        amqp091_channel_continue(channel);
        return;
    }
    if (!is_nowait(&method)) {
        declare_ok(channel, 0, 0);
    }
    amqp091_channel_unpark(channel);
}

/* Passive, whatever it says, and for every name that begins so (C161). */
static enum amqp091_flow
reply_declare(struct amqp091_channel *channel, const struct amqp091_method *method,
              struct lp_bytes name)
{
    const struct lp_broker *broker = channel->connection->shard->broker;
    const bool everybodys = lp_bytes_equal_text(name, LP_REPLY_NAME);
    struct lp_reply_address address;
    if (!everybodys && !lp_reply_address_read(name, broker->mesh.count, &address)) {
        amqp091_queue_fault(channel, LP_FAULT_NOT_FOUND, name, method->id);
        return AMQP091_NEXT;
    }
    if (!last_queue_set(channel, name)) {
        return AMQP091_PARK;
    }
    if (everybodys) {
        if (!is_nowait(method)) {
            declare_ok(channel, 0, 1);
        }
        return AMQP091_NEXT;
    }
    channel->waiting = AMQP091_WAIT_SESSION;
    if (lp_session_reply_stat(channel->session, &address) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
    }
    return AMQP091_PARK;
}

/* Even for a queue that is there: its name was ours to give (C61). */
static enum amqp091_flow
reserved_fault(struct amqp091_channel *channel, struct lp_bytes name, uint32_t method_id)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_ACCESS_REFUSED, "queue name '");
    amqp091_text_add_bytes(&fault, name);
    amqp091_text_add(&fault, "' contains reserved prefix 'amq.*'");
    return amqp091_channel_fault(channel, &fault, method_id);
}

/* It was there before: what is in it?  NULL: it went meanwhile, and is to be declared again. */
static struct lp_queue_ref *
declare_stat(struct amqp091_channel *channel)
{
    struct lp_queue_ref *queue = NULL;
    if (channel->stage == DECLARE_STAT) {
        queue = lp_topology_queue_by_id(&channel->connection->shard->broker->topology,
                                        channel->queue_id);
    }
    channel->stage = queue ? DECLARE_STAT : DECLARE_ASK;
    return queue;
}

enum amqp091_flow
amqp091_queue_declare(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    struct lp_broker *broker = channel->connection->shard->broker;
    uint8_t room[AMQP091_NAME_BYTES_MAX];
    struct lp_bytes name = amqp091_name_clean(method->name[0], room);
    uint32_t flags = 0;

    if (lp_bytes_start_with(method->name[0], LP_REPLY_NAME)) {
        return reply_declare(channel, method, name);
    }
    struct lp_queue_ref *there = declare_stat(channel);
    if (there) {
        return queue_stat(channel, there);
    }
    if ((method->bits & QUEUE_PASSIVE) != 0) {
        return declare_passive(channel, method, name);
    }
    if (name.size == 0) {
        memcpy(room, QUEUE_PREFIX, sizeof(QUEUE_PREFIX) - 1);
        amqp091_random_name(broker, room + sizeof(QUEUE_PREFIX) - 1);
        name = lp_bytes_of(room, sizeof(QUEUE_PREFIX) - 1 + AMQP091_RANDOM_NAME_BYTES);
        flags |= LP_OBJECT_SERVER_NAMED;
    } else if (lp_bytes_start_with(name, RESERVED_PREFIX)) {
        return reserved_fault(channel, name, method->id);
    }
    if (!last_queue_set(channel, name)) {
        return AMQP091_PARK;
    }
    const struct lp_writer writer = queue_question(channel, method, name, flags, false);
    return amqp091_control_ask(channel, LP_CONTROL_QUEUE_DECLARE, &writer, declare_reply);
}

bool
amqp091_queue_declare_ahead(struct amqp091_channel *channel, const struct amqp091_method *method,
                            struct amqp091_question *ret_question)
{
    uint8_t room[AMQP091_NAME_BYTES_MAX];
    const struct lp_bytes name = amqp091_name_clean(method->name[0], room);
    /* It lies in the frame then, and stays there. */
    const bool plain = name.data == method->name[0].data;
    if (name.size == 0 || !plain || (method->bits & QUEUE_PASSIVE) != 0 ||
        lp_bytes_start_with(name, RESERVED_PREFIX)) { /* LP_REPLY_NAME begins so, too */
        return false;
    }
    ret_question->type = LP_CONTROL_QUEUE_DECLARE;
    ret_question->reply = declare_reply;
    ret_question->last_queue = name;
    ret_question->writer = queue_question(channel, method, name, 0, true);
    return true;
}

enum amqp091_flow
amqp091_queue_delete(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    struct amqp091_connection *connection = channel->connection;
    uint8_t room[AMQP091_NAME_BYTES_MAX];
    struct lp_bytes name;
    if (!amqp091_queue_name(channel, amqp091_name_clean(method->name[0], room), method->id,
                            &name)) {
        return AMQP091_NEXT;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u32le(&writer, connection->base->vhost_id);
    lp_writer_short(&writer, name);
    lp_writer_u8(&writer, (method->bits & QUEUE_DELETE_IF_UNUSED) != 0);
    lp_writer_u8(&writer, (method->bits & QUEUE_DELETE_IF_EMPTY) != 0);
    return amqp091_control_ask(channel, LP_CONTROL_QUEUE_DELETE, &writer, amqp091_reply_ok);
}

struct lp_queue_ref *
amqp091_queue_readable(struct amqp091_channel *channel, const struct amqp091_method *method,
                       enum amqp091_flow *ret_flow)
{
    struct lp_queue_ref *queue = NULL;
    struct lp_bytes name;
    *ret_flow = AMQP091_NEXT;
    if (!amqp091_queue_name(channel, method->name[0], method->id, &name)) {
        return NULL;
    }
    *ret_flow = amqp091_permit(channel, LP_PERMISSION_READ, LP_RESOURCE_QUEUE, name);
    if (*ret_flow != AMQP091_NEXT || !amqp091_queue_find(channel, name, method->id, &queue)) {
        return NULL;
    }
    return queue;
}

enum amqp091_flow
amqp091_queue_purge(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    enum amqp091_flow flow;
    struct lp_queue_ref *queue = amqp091_queue_readable(channel, method, &flow);
    if (!queue) {
        return flow;
    }
    channel->waiting = AMQP091_WAIT_SESSION;
    if (lp_session_purge(channel->session, queue) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
    }
    return AMQP091_PARK;
}

void
amqp091_counts(struct amqp091_channel *channel, uint16_t code, uint64_t ready, uint64_t consumers)
{
    const struct amqp091_method method = pending_method(channel);
    const bool reply = lp_bytes_start_with(method.name[0], LP_REPLY_NAME);
    if (code == 0 && reply) {
        code = consumers == 0 ? LP_FAULT_NOT_FOUND : 0; /* it has just been cancelled */
        ready = 0;
    }
    if (code == LP_FAULT_NOT_FOUND && channel->stage == DECLARE_STAT) {
        channel->stage = DECLARE_ASK; /* it expired, or was deleted, since we asked for it */
        amqp091_channel_continue(channel);
        return;
    }
    if (code != 0) {
        amqp091_queue_fault(channel, code, method.name[0], method.id);
        return;
    }
    if (is_nowait(&method)) {
        amqp091_channel_unpark(channel);
        return;
    }
    if (method.id == AMQP091_QUEUE_DECLARE) {
        declare_ok(channel, ready, consumers);
    } else {
        LP_ASSERT(method.id == AMQP091_QUEUE_PURGE);
        struct amqp091_out out;
        amqp091_out_begin(&out, channel->number, AMQP091_QUEUE_PURGE_OK);
        lp_writer_u32be(&out.writer, (uint32_t)LP_MIN(ready, (uint64_t)UINT32_MAX));
        amqp091_out_send(channel->connection, &out);
    }
    amqp091_channel_unpark(channel);
}
