/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - asking the control process: payloads, permissions, refusals.
 */
#include "dataplane/link/link.h"

#include "dataplane/protocol/amqp091/amqp091.h"

struct lp_writer
amqp091_control_begin(struct amqp091_connection *connection)
{
    struct lp_writer writer =
        lp_writer_of(connection->shard->scratch, LP_CONTROL_PAYLOAD_MAX_BYTES);
    lp_writer_u64le(&writer, connection->base->id);
    return writer;
}

void
amqp091_control_address(struct lp_writer *writer, const struct lp_address *address)
{
    lp_writer_u8(writer, address->family);
    lp_writer_u16le(writer, address->port);
    lp_writer_copy(writer, address->ip, sizeof(address->ip));
}

enum amqp091_flow
amqp091_control_ask(struct amqp091_channel *channel, uint16_t type, const struct lp_writer *writer,
                    lp_link_reply_fn *reply)
{
    if (writer->failed) {
        return amqp091_channel_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                          "the arguments are too long",
                                          amqp091_channel_pending_id(channel));
    }
    struct lp_broker *broker = channel->connection->shard->broker;
    if (lp_link_request(&broker->link, type, lp_writer_bytes(writer), channel->self, reply)) {
        channel->waiting = AMQP091_WAIT_CONTROL;
    } else {
        lp_session_want_room(channel->session);
        channel->waiting = AMQP091_WAIT_ROOM;
    }
    return AMQP091_PARK;
}

/* Whom a reply is for, when it still waits for it; else NULL. */
static struct amqp091_channel *
control_waiter(void *context, lp_handle owner)
{
    struct lp_broker *broker = context;
    struct amqp091_shard *shard = lp_broker_protocol_state(broker, &lp_protocol_amqp091);
    struct amqp091_channel *channel = lp_pool_get(&shard->channels, owner);
    if (!channel || !amqp091_channel_runs(channel) || channel->waiting != AMQP091_WAIT_CONTROL) {
        return NULL;
    }
    return channel;
}

struct amqp091_channel *
amqp091_control_granted(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_channel *channel = control_waiter(context, owner);
    if (!channel || reply->code == 0) {
        return channel;
    }
    struct lp_fault fault;
    amqp091_text_begin(&fault, reply->code);
    amqp091_text_add_bytes(&fault, reply->text);
    (void)amqp091_channel_fault(channel, &fault, amqp091_channel_pending_id(channel));
    return NULL;
}

static void
permit_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_channel *channel = amqp091_control_granted(context, owner, reply);
    if (!channel) {
        return;
    }
    struct lp_reader reader = reply->more;
    channel->permitted_epoch = lp_reader_u32le(&reader);
    channel->permitted = !reader.failed;
    /* It runs from its beginning: the first right that it lacks is the one just given. */
    amqp091_channel_continue(channel);
}

/* Was this very right given, at today's epoch?  Asked once: an answer is used up. */
static bool
was_given(struct amqp091_channel *channel, uint64_t right)
{
    const struct lp_broker *broker = channel->connection->shard->broker;
    const bool given = channel->permitted && channel->asked_right == right &&
                       channel->permitted_epoch == broker->permission_epoch;
    channel->permitted = false;
    return given;
}

enum amqp091_flow
amqp091_permit(struct amqp091_channel *channel, enum lp_permission permission,
               enum lp_resource resource, struct lp_bytes name)
{
    struct amqp091_connection *connection = channel->connection;
    struct lp_broker *broker = connection->shard->broker;
    struct lp_access *access = &connection->base->access;
    /* The default exchange has a name where rights are concerned (C7). */
    const bool is_default = resource == LP_RESOURCE_EXCHANGE && name.size == 0;
    const struct lp_access_right right = {permission, resource,
                                          is_default ? lp_bytes_of_text("amq.default") : name};

    if (lp_access_allowed(access, broker->permission_epoch, &broker->key, &right)) {
        return AMQP091_NEXT;
    }
    const enum amqp091_flow known = amqp091_rights(channel); /* perhaps it may do anything */
    if (known != AMQP091_NEXT) {
        return known;
    }
    const uint64_t hash = lp_access_hash(&broker->key, &right);
    if (was_given(channel, hash)) {
        lp_access_remember(access, broker->permission_epoch, &broker->key, &right);
        return AMQP091_NEXT;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u8(&writer, (uint8_t)permission);
    lp_writer_u8(&writer, (uint8_t)resource);
    lp_writer_short(&writer, right.name);
    channel->asked_right = hash;
    return amqp091_control_ask(channel, LP_CONTROL_PERMIT, &writer, permit_reply);
}

/* ---- beyond patterns ---- */

bool
amqp091_rights_take(struct amqp091_connection *connection, struct lp_reader *reader)
{
    const uint8_t unrestricted = lp_reader_u8(reader);
    const uint32_t epoch = lp_reader_u32le(reader);
    const uint8_t rights = lp_reader_u8(reader);
    if (!reader->failed) {
        lp_access_take(&connection->base->access, epoch, unrestricted, rights);
    }
    return !reader->failed;
}

static void
rights_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_channel *channel = amqp091_control_granted(context, owner, reply);
    if (!channel) {
        return;
    }
    struct lp_reader reader = reply->more;
    if (!amqp091_rights_take(channel->connection, &reader)) {
        (void)amqp091_channel_fault_text(channel, LP_FAULT_INTERNAL_ERROR, "a malformed answer",
                                         amqp091_channel_pending_id(channel));
        return;
    }
    amqp091_channel_continue(channel);
}

enum amqp091_flow
amqp091_rights(struct amqp091_channel *channel)
{
    struct amqp091_connection *connection = channel->connection;
    const uint32_t epoch = connection->shard->broker->permission_epoch;
    if ((lp_access_rights(&connection->base->access, epoch) & LP_ACCESS_UNKNOWN) == 0) {
        return AMQP091_NEXT;
    }
    const struct lp_writer writer = amqp091_control_begin(connection);
    return amqp091_control_ask(channel, LP_CONTROL_RIGHTS, &writer, rights_reply);
}

enum amqp091_flow
amqp091_permit_topic(struct amqp091_channel *channel, struct lp_bytes exchange,
                     struct lp_bytes routing_key)
{
    struct amqp091_connection *connection = channel->connection;
    struct lp_broker *broker = connection->shard->broker;
    struct lp_access *access = &connection->base->access;
    const uint64_t hash = lp_access_topic_hash(&broker->key, exchange, routing_key);
    if (lp_access_topic_allowed(access, broker->permission_epoch, hash)) {
        return AMQP091_NEXT;
    }
    if (was_given(channel, hash)) {
        lp_access_topic_remember(access, broker->memory, broker->permission_epoch, hash);
        return AMQP091_NEXT;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u8(&writer, LP_PERMISSION_WRITE);
    lp_writer_short(&writer, exchange);
    lp_writer_short(&writer, routing_key);
    channel->asked_right = hash;
    return amqp091_control_ask(channel, LP_CONTROL_PERMIT_TOPIC, &writer, permit_reply);
}

/* No name has this hash but by chance, and none is asked for while a channel opens. */
#define CHANNEL_RIGHT UINT64_MAX

static void
channel_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_channel *channel = control_waiter(context, owner);
    if (!channel) {
        return;
    }
    if (reply->code != 0) {
        struct lp_fault fault;
        amqp091_text_begin(&fault, reply->code);
        amqp091_text_add_bytes(&fault, reply->text);
        amqp091_connection_fault(channel->connection, &fault, AMQP091_METHOD_NONE);
        return;
    }
    /* It has counted this one itself, before or after what it was told meanwhile. */
    channel->connection->channels_told = AMQP091_UNTOLD;
    channel->permitted = true;
    channel->permitted_epoch = channel->connection->shard->broker->permission_epoch;
    amqp091_channel_continue(channel);
}

enum amqp091_flow
amqp091_permit_channel(struct amqp091_channel *channel)
{
    struct amqp091_connection *connection = channel->connection;
    const uint32_t epoch = connection->shard->broker->permission_epoch;
    const uint8_t rights = lp_access_rights(&connection->base->access, epoch);
    if ((rights & LP_RIGHTS_CHANNELS_LIMITED) == 0 || was_given(channel, CHANNEL_RIGHT)) {
        return AMQP091_NEXT;
    }
    /* A channel that was closed a moment ago must not count against this one. */
    if (!amqp091_channels_tell(connection)) {
        lp_session_want_room(channel->session);
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u16le(&writer, channel->number);
    channel->asked_right = CHANNEL_RIGHT;
    return amqp091_control_ask(channel, LP_CONTROL_CHANNEL_OPEN, &writer, channel_reply);
}

bool
amqp091_channels_tell(struct amqp091_connection *connection)
{
    const uint32_t count = amqp091_channels_open(connection);
    if (connection->state != AMQP091_CONN_OPEN || count == connection->channels_told) {
        return true;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u16le(&writer, (uint16_t)LP_MIN(count, (uint32_t)UINT16_MAX));
    if (!lp_link_tell(&connection->shard->broker->link, LP_CONTROL_CHANNELS, 0,
                      lp_writer_bytes(&writer))) {
        return false;
    }
    connection->channels_told = count;
    return true;
}
