/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.c - basic.publish: the method, its content, and the order of checks
 * once the content is whole (C91).
 */
#include "dataplane/protocol/amqp091/amqp091.h"
#include "dataplane/protocol/amqp091/copies.h"
#include "dataplane/protocol/amqp091/erlang_text.h"
#include "dataplane/protocol/amqp091/expiration.h"
#include "dataplane/protocol/amqp091/properties.h"

#define PERSISTENT 2u

/* Most channels never publish, or have whole.c do it. */
static bool
names_make(struct amqp091_channel *channel)
{
    channel->names =
        lp_memory_alloc(channel->connection->shard->broker->memory, AMQP091_NAMES_BYTES);
    return channel->names != NULL;
}

enum amqp091_flow
amqp091_basic_publish(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    const struct lp_bytes exchange = method->name[0];
    const struct lp_bytes key = method->name[1];
    LP_ASSERT(!channel->message);

    if (!channel->names && !names_make(channel)) {
        amqp091_connection_stall(channel->connection);
        return AMQP091_STALL;
    }
    struct lp_writer writer = lp_writer_of(channel->names, AMQP091_NAMES_BYTES);
    lp_writer_copy(&writer, exchange.data, exchange.size);
    lp_writer_copy(&writer, key.data, key.size);
    LP_ASSERT(!writer.failed);
    channel->exchange_bytes = (uint8_t)exchange.size;
    channel->key_bytes = (uint8_t)key.size;
    channel->content_flags = (uint8_t)(channel->content_always |
                                       ((method->bits & 1u) != 0 ? AMQP091_CONTENT_MANDATORY : 0) |
                                       ((method->bits & 2u) != 0 ? AMQP091_CONTENT_IMMEDIATE : 0));
    channel->content = AMQP091_CONTENT_HEADER;
    return AMQP091_NEXT;
}

static bool
wants_answer(const struct amqp091_properties *properties)
{
    return lp_bytes_equal_text(properties->reply_to, LP_REPLY_NAME);
}

/* What the properties say is kept as flags: it is used when the content is whole. */
static void
properties_note(struct amqp091_channel *channel, const struct amqp091_properties *properties,
                struct lp_bytes raw)
{
    const struct amqp091_connection *connection = channel->connection;
    uint32_t flags = channel->content_flags;
    if (wants_answer(properties) && !channel->reply) {
        flags |= AMQP091_CONTENT_NO_ASKER;
    }
    if ((properties->flags & AMQP091_USER_ID) != 0 &&
        !lp_bytes_equal(properties->user_id,
                        lp_bytes_of(connection->user, connection->user_bytes))) {
        flags |= AMQP091_CONTENT_OTHER_USER;
    }
    channel->content_flags = (uint8_t)flags;
    channel->headers_bytes = properties->headers.size;
    channel->headers_offset =
        properties->headers.size == 0 ? 0 : (uint32_t)(properties->headers.data - raw.data);
}

/* The property's milliseconds; what is no number is refused when the content is whole. */
static void
expiration_note(struct amqp091_channel *channel, const struct amqp091_properties *properties,
                struct lp_message_parts *parts)
{
    if (amqp091_expiration_read(properties->expiration, &parts->expiration_ms)) {
        parts->flags |= LP_MESSAGE_EXPIRES;
    } else {
        channel->content_flags |= AMQP091_CONTENT_BAD_EXPIRATION;
    }
}

static bool
message_make(struct amqp091_channel *channel, struct amqp091_properties *properties,
             struct lp_bytes raw)
{
    void *copies = NULL;
    struct lp_broker *broker = channel->connection->shard->broker;
    struct lp_message_parts parts = {
        .exchange = lp_bytes_of(channel->names, channel->exchange_bytes),
        .key = lp_bytes_of(channel->names + channel->exchange_bytes, channel->key_bytes),
        .properties = raw,
        .body_bytes = channel->body_bytes,
        .protocol = LP_PROTOCOL_AMQP091,
        .flags = properties->delivery_mode == PERSISTENT ? LP_MESSAGE_PERSISTENT : 0,
        .priority = properties->priority,
    };
    if ((properties->flags & AMQP091_EXPIRATION) != 0) {
        expiration_note(channel, properties, &parts);
    }
    if (properties->has_copies) {
        if (!amqp091_copies_take(broker->memory, properties, &parts, &copies)) {
            return false;
        }
        channel->content_flags |= copies ? 0 : AMQP091_CONTENT_BAD_COPIES;
    }
    channel->message = lp_message_make(&broker->messages, &parts, &channel->message_handle);
    if (copies) {
        lp_memory_release(broker->memory, &copies);
    }
    return channel->message != NULL;
}

/* The content is whole, with all that is left of it, or is given up. */
static void
content_end(struct amqp091_channel *channel)
{
    const bool kept = channel->message != NULL;
    lp_connection_content_end(channel->connection->base,
                              kept ? channel->body_bytes - channel->body_left : 0,
                              kept ? channel->body_left : 0);
}

void
amqp091_publish_discard(struct amqp091_channel *channel)
{
    if (channel->content == AMQP091_CONTENT_BODY && !channel->discarding) {
        content_end(channel);
        channel->content = AMQP091_CONTENT_METHOD;
    }
    if (channel->message && !channel->message_lent) {
        lp_message_free(&channel->connection->shard->broker->messages, channel->message_handle);
    }
    channel->message = NULL;
    channel->message_handle = LP_HANDLE_NONE;
    channel->message_lent = false;
    channel->publishing = false;
}

static enum amqp091_flow
publish_fault(struct amqp091_channel *channel, const struct lp_fault *fault)
{
    amqp091_publish_discard(channel);
    return amqp091_channel_fault(channel, fault, AMQP091_BASIC_PUBLISH);
}

static enum amqp091_flow
publish_fault_text(struct amqp091_channel *channel, uint16_t code, const char *text)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, code, text);
    return publish_fault(channel, &fault);
}

static bool
content_begin(struct amqp091_channel *channel, uint64_t bytes)
{
    struct amqp091_connection *connection = channel->connection;
    const enum lp_content answer = lp_connection_content_begin(connection->base, bytes);
    if (answer == LP_CONTENT_LATER) {
        amqp091_connection_stall(connection);
    }
    return answer == LP_CONTENT_BEGUN;
}

/*
 * The same with what RabbitMQ 4.0 stores in place of two properties: `expiration` as plain digits,
 * and the address that answers are to be sent to (C161).  False: no memory.
 */
static bool
message_make_rewritten(struct amqp091_channel *channel, struct amqp091_properties *properties,
                       struct lp_bytes raw)
{
    struct lp_memory *memory = channel->connection->shard->broker->memory;
    const uint32_t room = raw.size + (uint32_t)LP_REPLY_ADDRESS_BYTES;
    const uint8_t *at = raw.data;
    uint8_t name[LP_REPLY_ADDRESS_BYTES];
    void *block = lp_memory_alloc(memory, room);
    if (!block) {
        return false;
    }
    struct lp_writer writer = lp_writer_of(block, room);
    if (channel->reply && wants_answer(properties)) {
        lp_session_reply_name(channel->session, name);
        at = amqp091_property_replace(&writer, at, properties->reply_to,
                                      lp_bytes_of(name, sizeof(name)));
    }
    if (amqp091_expiration_is_odd(properties->expiration)) { /* behind reply_to on the wire */
        at = amqp091_property_replace(&writer, at, properties->expiration,
                                      amqp091_expiration_digits(properties->expiration));
    }
    lp_writer_copy(&writer, at, raw.size - (size_t)(at - raw.data));
    LP_ASSERT(!writer.failed);
    const bool made = message_make(channel, properties, lp_writer_bytes(&writer));
    lp_memory_release(memory, &block);
    return made;
}

static bool
is_rewritten(const struct amqp091_channel *channel, const struct amqp091_properties *properties)
{
    const uint32_t either = AMQP091_REPLY_TO | AMQP091_EXPIRATION;
    return (properties->flags & either) != 0 && ((channel->reply && wants_answer(properties)) ||
                                                 amqp091_expiration_is_odd(properties->expiration));
}

static enum amqp091_flow
complete(struct amqp091_channel *channel)
{
    channel->content = AMQP091_CONTENT_METHOD;
    channel->publishing = true;
    channel->stage = 0;
    channel->keys_permitted = 0;
    const enum amqp091_flow flow = amqp091_publish_run(channel);
    if (flow != AMQP091_PARK) {
        channel->publishing = false;
    }
    return flow;
}

static enum amqp091_flow
header_fault(struct amqp091_channel *channel, uint16_t class_id, uint16_t weight)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_UNEXPECTED_FRAME,
                      "expected content header for class 60, got ");
    if (weight != 0) {
        amqp091_text_add(&fault, "non content header frame");
    } else {
        amqp091_text_add(&fault, "one for class ");
        amqp091_text_add_number(&fault, class_id);
    }
    amqp091_text_add(&fault, " instead");
    return amqp091_content_fault(channel, &fault, AMQP091_BASIC_PUBLISH);
}

enum amqp091_flow
amqp091_publish_header(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    const struct lp_protocol_limits *limits = &channel->connection->shard->broker->limits;
    struct lp_reader reader = lp_reader_of_bytes(frame->payload);
    const uint16_t class_id = lp_reader_u16be(&reader);
    const uint16_t weight = lp_reader_u16be(&reader);
    const uint64_t body_bytes = lp_reader_u64be(&reader);
    if (reader.failed) {
        amqp091_frame_unknown(channel->connection, frame);
        return AMQP091_NEXT;
    }
    if (class_id != AMQP091_CLASS_BASIC || weight != 0) {
        return header_fault(channel, class_id, weight);
    }
    if (channel->discarding) {
        channel->body_left = body_bytes;
        channel->content = body_bytes > 0 ? AMQP091_CONTENT_BODY : AMQP091_CONTENT_METHOD;
        return AMQP091_NEXT;
    }
    const struct lp_bytes raw = lp_bytes_of(reader.at, (uint32_t)lp_reader_left(&reader));
    struct amqp091_properties properties;
    if (!amqp091_properties_read(raw, &properties)) {
        struct lp_fault fault;
        amqp091_text_make(&fault, LP_FAULT_FRAME_ERROR, "cannot decode ");
        amqp091_erlang_add_octets(&fault, raw);
        return amqp091_channel_fault(channel, &fault, AMQP091_BASIC_PUBLISH);
    }
    const bool kept = body_bytes <= limits->message_bytes_max;
    if (!content_begin(channel, kept ? body_bytes : 0)) {
        return AMQP091_STALL;
    }
    channel->body_bytes = body_bytes;
    if (!kept) {
        channel->content_flags |= AMQP091_CONTENT_TOO_LARGE; /* read, not kept (C93) */
    } else if (!(is_rewritten(channel, &properties)
                     ? message_make_rewritten(channel, &properties, raw)
                     : message_make(channel, &properties, raw))) {
        lp_connection_content_end(channel->connection->base, 0, body_bytes);
        amqp091_connection_stall(channel->connection);
        return AMQP091_STALL;
    }
    properties_note(channel, &properties, raw);
    channel->body_left = body_bytes;
    channel->content = AMQP091_CONTENT_BODY;
    if (body_bytes > 0) {
        return AMQP091_NEXT;
    }
    content_end(channel);
    return complete(channel);
}

/* No memory for a piece of the body: a promised one waits, it will come; another may wait for
 * itself. */
static enum amqp091_flow
body_starved(struct amqp091_channel *channel)
{
    if (channel->connection->base->promised_bytes > 0) {
        amqp091_connection_stall(channel->connection);
        return AMQP091_STALL;
    }
    return publish_fault_text(channel, LP_FAULT_RESOURCE_ERROR,
                              "no memory for the content that is arriving");
}

enum amqp091_flow
amqp091_publish_body(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    LP_ASSERT(frame->payload.size <= channel->body_left);
    if (channel->message && frame->payload.size > 0) {
        struct lp_messages *messages = &channel->connection->shard->broker->messages;
        if (!lp_message_append(messages, channel->message, frame->payload)) {
            return body_starved(channel);
        }
    }
    /* The frame's end belongs to it: a wrong end octet must not publish anything. */
    const bool whole = channel->body_left == frame->payload.size && frame->last;
    if (whole) {
        content_end(channel);
    } else if (channel->message) {
        lp_connection_content_arrived(channel->connection->base, frame->payload.size);
    }
    channel->body_left -= frame->payload.size;
    return whole ? complete(channel) : AMQP091_NEXT;
}

static enum amqp091_flow
too_large(struct amqp091_channel *channel)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_PRECONDITION_FAILED, "message size ");
    amqp091_text_add_number(&fault, channel->body_bytes);
    amqp091_text_add(&fault, " is larger than configured max size ");
    amqp091_text_add_number(&fault, channel->connection->shard->broker->limits.message_bytes_max);
    return publish_fault(channel, &fault);
}

static struct amqp091_properties
properties_again(const struct amqp091_channel *channel)
{
    struct amqp091_properties properties;
    const bool well_formed =
        amqp091_properties_read(lp_message_properties(channel->message), &properties);
    LP_ASSERT(well_formed); /* they were when they came */
    return properties;
}

static enum amqp091_flow
bad_expiration(struct amqp091_channel *channel)
{
    const struct amqp091_properties properties = properties_again(channel);
    struct lp_fault fault;
    amqp091_expiration_fault(properties.expiration, &fault);
    return publish_fault(channel, &fault);
}

static enum amqp091_flow
bad_copies(struct amqp091_channel *channel)
{
    const struct amqp091_properties properties = properties_again(channel);
    struct lp_fault fault;
    amqp091_copies_fault(properties.headers, &fault);
    return publish_fault(channel, &fault);
}

static enum amqp091_flow
other_user(struct amqp091_channel *channel)
{
    const struct amqp091_connection *connection = channel->connection;
    const struct amqp091_properties properties = properties_again(channel);
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_PRECONDITION_FAILED, "user_id property set to '");
    amqp091_text_add_bytes(&fault, properties.user_id);
    amqp091_text_add(&fault, "' but authenticated user was '");
    amqp091_text_add_bytes(&fault, lp_bytes_of(connection->user, connection->user_bytes));
    amqp091_text_add(&fault, "'");
    return publish_fault(channel, &fault);
}

/* What the flags of the content forbid, in RabbitMQ's order. */
static enum amqp091_flow
content_refused(struct amqp091_channel *channel)
{
    const uint8_t flags = channel->content_flags;
    if ((flags & AMQP091_CONTENT_NO_ASKER) != 0) {
        return publish_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                  "fast reply consumer does not exist");
    }
    if ((flags & AMQP091_CONTENT_BAD_EXPIRATION) != 0) {
        return bad_expiration(channel);
    }
    if ((flags & AMQP091_CONTENT_BAD_COPIES) != 0) {
        return bad_copies(channel);
    }
    LP_ASSERT((flags & AMQP091_CONTENT_OTHER_USER) != 0);
    return other_user(channel);
}

/* The n-th routing key: the message's own, then those of CC and BCC; false: there are no more. */
static bool
routing_key(const struct lp_message *message, uint32_t n, struct lp_bytes *ret_key)
{
    *ret_key = lp_message_key(message);
    struct lp_reader keys = lp_reader_of_bytes(lp_message_annotation(message, LP_ANNOTATION_KEYS));
    for (uint32_t i = 0; i < n; i++) {
        if (lp_reader_left(&keys) == 0) {
            return false;
        }
        *ret_key = lp_reader_long_le(&keys);
    }
    return !keys.failed;
}

/* A user who is not like most: rights on topics (C85), or no need to be who the content says
 * (C90).  Other faults of the content come first. */
static enum amqp091_flow
rights_check(struct amqp091_channel *channel, const struct lp_exchange *exchange)
{
    const uint32_t first =
        AMQP091_CONTENT_BAD_EXPIRATION | AMQP091_CONTENT_BAD_COPIES | AMQP091_CONTENT_NO_ASKER;
    const bool topic = exchange->type->kind == LP_EXCHANGE_TOPIC && !exchange->delayed;
    const bool other = (channel->content_flags & AMQP091_CONTENT_OTHER_USER) != 0;
    if ((!topic && !other) || (channel->content_flags & first) != 0) {
        return AMQP091_NEXT;
    }
    enum amqp091_flow flow = amqp091_rights(channel);
    if (flow != AMQP091_NEXT) {
        return flow;
    }
    const uint8_t rights = channel->connection->base->access.rights;
    if ((rights & LP_RIGHTS_IMPERSONATOR) != 0) {
        channel->content_flags &= (uint8_t)~AMQP091_CONTENT_OTHER_USER;
    }
    struct lp_bytes key;
    while (topic && (rights & LP_RIGHTS_TOPICS) != 0 &&
           routing_key(channel->message, channel->keys_permitted, &key)) {
        flow = amqp091_permit_topic(channel, lp_message_exchange(channel->message), key);
        if (flow != AMQP091_NEXT) {
            return flow;
        }
        channel->keys_permitted++;
    }
    return AMQP091_NEXT;
}

/* It waits for its commit. */
static enum amqp091_flow
publish_later(struct amqp091_channel *channel, struct lp_publish *publish)
{
    const bool mandatory = (channel->content_flags & AMQP091_CONTENT_MANDATORY) != 0;
    struct lp_fault fault;
    if (amqp091_tx_too_large(channel, &fault)) {
        return publish_fault(channel, &fault);
    }
    if (lp_session_tx_publish(channel->session, publish, mandatory) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    }
    channel->connection->shard->broker->stats->messages_published++;
    channel->message = NULL;
    channel->message_handle = LP_HANDLE_NONE;
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_publish_result(struct amqp091_channel *channel, struct lp_publish *publish,
                       enum lp_result result)
{
    if (result == LP_WAIT) {
        channel->stage = 1; /* part of it may be on its way: it goes on, it does not start again */
        channel->message_lent = true;
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    }
    LP_ASSERT(result == LP_DONE);
    if (publish->unroutable) {
        if ((channel->content_flags & AMQP091_CONTENT_MANDATORY) != 0) {
            /* Before its confirm (C96), and behind those of what was published before it. */
            lp_session_confirms_tell(channel->session);
            amqp091_return_send(channel, channel->message);
        }
        if (!publish->replied) {
            lp_session_publish_drop(channel->session, publish);
        }
    }
    channel->message = NULL; /* the session layer's now */
    channel->message_handle = LP_HANDLE_NONE;
    channel->message_lent = false;
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_publish_run(struct amqp091_channel *channel)
{
    struct amqp091_connection *connection = channel->connection;
    struct lp_broker *broker = connection->shard->broker;
    const uint32_t refused = AMQP091_CONTENT_BAD_EXPIRATION | AMQP091_CONTENT_BAD_COPIES |
                             AMQP091_CONTENT_OTHER_USER | AMQP091_CONTENT_NO_ASKER;
    const uint32_t later = AMQP091_CONTENT_TRANSACTION;
    struct lp_fault fault;

    if ((channel->content_flags & AMQP091_CONTENT_IMMEDIATE) != 0) {
        return publish_fault_text(channel, LP_FAULT_NOT_IMPLEMENTED, "immediate=true");
    }
    if ((channel->content_flags & AMQP091_CONTENT_TOO_LARGE) != 0) {
        return too_large(channel);
    }
    LP_ASSERT(channel->message); /* only what is too large is not kept */
    const struct lp_bytes name = lp_message_exchange(channel->message);
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, connection->base->vhost_id, name),
        .message = channel->message_handle,
        .headers =
            lp_bytes_of(lp_message_properties(channel->message).data + channel->headers_offset,
                        channel->headers_bytes),
    };
    if (channel->stage == 1 && (publish.exchange || channel->session->outgoing.targets)) {
        return amqp091_publish_result(channel, &publish,
                                      lp_session_publish_resume(channel->session, &publish));
    }
    const enum amqp091_flow permitted =
        amqp091_permit(channel, LP_PERMISSION_WRITE, LP_RESOURCE_EXCHANGE, name);
    if (permitted != AMQP091_NEXT) {
        return permitted;
    }
    if (!publish.exchange) {
        amqp091_text_missing(&fault, "exchange", name, amqp091_vhost_name(connection));
        return publish_fault(channel, &fault);
    }
    if ((publish.exchange->flags & LP_OBJECT_INTERNAL) != 0) {
        amqp091_text_make(&fault, LP_FAULT_ACCESS_REFUSED, "cannot publish to internal ");
        amqp091_text_add_resource(&fault, "exchange", name, amqp091_vhost_name(connection));
        return publish_fault(channel, &fault);
    }
    if (LP_UNLIKELY(connection->base->access.rights != 0)) {
        const enum amqp091_flow right = rights_check(channel, publish.exchange);
        if (right != AMQP091_NEXT) {
            return right;
        }
    }
    if ((channel->content_flags & (refused | later)) != 0) {
        return (channel->content_flags & refused) != 0 ? content_refused(channel)
                                                       : publish_later(channel, &publish);
    }
    broker->stats->messages_published++;
    return amqp091_publish_result(channel, &publish,
                                  lp_session_publish(channel->session, &publish));
}
