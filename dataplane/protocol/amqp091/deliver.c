/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deliver.c - contents on their way out, confirms, and the session's calls.
 *
 * A content is written whole, at once, so no other frame of its channel can
 * come between its parts.
 */
#include "dataplane/protocol/amqp091/amqp091.h"
#include "dataplane/protocol/amqp091/properties.h"

/* deliver and get-ok: header, tags and names of 255 bytes each at most, and what surrounds them. */
#define METHOD_BYTES_MAX   832u
#define HEADER_FRAME_BYTES 20u /* a header frame's bytes without the properties */

LP_STATIC_ASSERT(METHOD_BYTES_MAX + HEADER_FRAME_BYTES <= LP_OUTPUT_RESERVE_MAX,
                 "a content's method and header frame's fixed part go into one reservation");

static void
write_out(struct amqp091_connection *connection, struct lp_bytes bytes)
{
    if (!connection->dead && bytes.size > 0) {
        connection->dead = !lp_connection_write(connection->base, bytes.data, bytes.size);
    }
}

static LP_HOT_INLINE void
frame_begin(struct lp_writer *writer, uint8_t type, uint16_t channel, uint32_t payload)
{
    lp_writer_u8(writer, type);
    lp_writer_u16be(writer, channel);
    lp_writer_u32be(writer, payload);
}

/* One body frame of `size` bytes, from wherever the walk stands. */
static void
body_frame_write(struct amqp091_channel *channel, struct lp_message_body *body, uint32_t size)
{
    static const uint8_t end = AMQP091_FRAME_END;
    struct amqp091_connection *connection = channel->connection;
    uint8_t header[AMQP091_FRAME_HEADER_BYTES];
    struct lp_writer writer = lp_writer_of(header, sizeof(header));
    frame_begin(&writer, AMQP091_FRAME_BODY, channel->number, size);
    write_out(connection, lp_writer_bytes(&writer));
    while (size > 0) {
        const struct lp_bytes piece = lp_message_body_next(body, size);
        LP_ASSERT(piece.size > 0); /* the message has as many bytes as it says */
        write_out(connection, piece);
        size -= piece.size;
    }
    write_out(connection, lp_bytes_of(&end, 1));
}

static void
body_write(struct amqp091_channel *channel, const struct lp_message *message)
{
    const uint32_t most = channel->connection->frame_max - AMQP091_FRAME_EXTRA_BYTES;
    struct lp_message_body body = lp_message_body(message);
    uint64_t left = message->body_bytes;
    while (left > 0 && !channel->connection->dead) {
        const uint32_t size = (uint32_t)LP_MIN(left, (uint64_t)most);
        body_frame_write(channel, &body, size);
        left -= size;
    }
}

static LP_HOT_INLINE void
header_frame(struct lp_writer *writer, uint16_t channel, const struct lp_message *message,
             uint32_t properties_bytes)
{
    frame_begin(writer, AMQP091_FRAME_HEADER, channel, 12u + properties_bytes);
    lp_writer_u16be(writer, AMQP091_CLASS_BASIC);
    lp_writer_u16be(writer, 0); /* weight */
    lp_writer_u64be(writer, message->body_bytes);
}

/* What differs between the methods that carry a content. */
struct carrier {
    uint32_t method_id;
    const struct lp_message *message;
    const struct lp_delivery *delivery; /* NULL for basic.return */
    struct lp_bytes tag;
};

static LP_HOT_INLINE void
carrier_arguments(struct lp_writer *writer, const struct carrier *carrier)
{
    const struct lp_delivery *delivery = carrier->delivery;
    if (carrier->method_id == AMQP091_BASIC_DELIVER) {
        lp_writer_short(writer, carrier->tag);
    }
    if (delivery) {
        lp_writer_u64be(writer, delivery->number);
        lp_writer_u8(writer, delivery->redelivered);
    } else {
        lp_writer_u16be(writer, LP_FAULT_NO_ROUTE);
        lp_writer_short(writer, lp_bytes_of_text(lp_fault_name(LP_FAULT_NO_ROUTE)));
    }
    lp_writer_short(writer, lp_message_exchange(carrier->message));
    lp_writer_short(writer, lp_message_key(carrier->message));
    if (carrier->method_id == AMQP091_BASIC_GET_OK) {
        lp_writer_u32be(writer, delivery->ready_left);
    }
}

/* Of quorum queues' messages: how often it came back; it is told from the second delivery on. */
static uint32_t
carrier_returns(const struct carrier *carrier)
{
    return carrier->delivery ? carrier->delivery->returns : 0;
}

/* With a header that says how often it came back, if it did (C132). */
static void
properties_write(struct amqp091_connection *connection, const struct carrier *carrier)
{
    const struct lp_bytes properties = lp_message_properties(carrier->message);
    struct amqp091_counted counted;
    if (carrier_returns(carrier) == 0) {
        write_out(connection, properties);
        return;
    }
    amqp091_properties_count(properties, carrier_returns(carrier), &counted);
    for (size_t i = 0; i < LP_COUNT_OF(counted.piece); i++) {
        write_out(connection, counted.piece[i]);
    }
}

static void
content_send(struct amqp091_channel *channel, const struct carrier *carrier)
{
    static const uint8_t end = AMQP091_FRAME_END;
    struct amqp091_connection *connection = channel->connection;
    const struct lp_message *message = carrier->message;
    const uint32_t reserve = METHOD_BYTES_MAX + HEADER_FRAME_BYTES;
    const uint32_t more = carrier_returns(carrier) > 0
                              ? amqp091_properties_count_bytes(lp_message_properties(message))
                              : 0;
    if (connection->dead) {
        return;
    }
    uint8_t *room = lp_connection_reserve(connection->base, reserve);
    if (!room) {
        connection->dead = true;
        return;
    }
    struct lp_writer writer = lp_writer_of(room, reserve);
    amqp091_frame_open(&writer, channel->number, carrier->method_id);
    carrier_arguments(&writer, carrier);
    amqp091_frame_close(&writer, 0);
    header_frame(&writer, channel->number, message, message->properties_bytes + more);
    LP_ASSERT(!writer.failed);
    lp_connection_commit(connection->base, (uint32_t)lp_writer_size(&writer));
    properties_write(connection, carrier);
    write_out(connection, lp_bytes_of(&end, 1));
    body_write(channel, message);
}

/* ---- basic.deliver of a message that is in one piece ---- */

/* A frame's type and number, and its payload's size. */
static LP_HOT_INLINE uint8_t *
put_frame(uint8_t *to, uint8_t type, uint16_t channel, uint32_t payload)
{
    to = lp_put_u8(to, type);
    to = lp_put_u16be(to, channel);
    return lp_put_u32be(to, payload);
}

/* Bytes of its frames, if they fit one reservation and a frame each; else 0. */
static LP_HOT_INLINE uint32_t
plain_bytes(const struct amqp091_channel *channel, const struct lp_delivery *delivery,
            uint32_t arguments)
{
    const struct lp_message *message = delivery->message;
    const uint64_t bytes = (uint64_t)arguments + message->properties_bytes + message->body_bytes +
                           HEADER_FRAME_BYTES + 2 * AMQP091_FRAME_EXTRA_BYTES;
    const uint32_t most = channel->connection->frame_max - AMQP091_FRAME_EXTRA_BYTES;
    return bytes <= LP_OUTPUT_RESERVE_MAX && message->body_bytes <= most &&
                   !lp_message_chunks(message) && delivery->returns == 0
               ? (uint32_t)bytes
               : 0;
}

/* Method, header and body frame.  False: it is not that plain, and nothing was written. */
static LP_HOT_INLINE bool
deliver_plain(struct amqp091_channel *channel, const struct amqp091_consumer *consumer,
              const struct lp_delivery *delivery)
{
    struct lp_connection *base = channel->connection->base;
    const struct lp_message *message = delivery->message;
    const struct lp_bytes names = lp_message_names(message);
    const struct lp_bytes properties = lp_message_properties(message);
    const uint8_t *body = properties.data + properties.size;
    /* The method's number, the consumer's tag, the delivery's number, redelivered, names. */
    const uint32_t arguments = 4u + 1u + consumer->tag_bytes + 8u + 1u + names.size;
    const uint32_t bytes = plain_bytes(channel, delivery, arguments);
    uint8_t *room = bytes > 0 ? lp_connection_reserve(base, bytes) : NULL;
    if (!room) {
        return false;
    }
    uint8_t *to = put_frame(room, AMQP091_FRAME_METHOD, channel->number, arguments);
    to = lp_put_u32be(to, AMQP091_BASIC_DELIVER);
    to = lp_put_u8(to, consumer->tag_bytes);
    to = lp_put_bytes(to, consumer->tag, consumer->tag_bytes);
    to = lp_put_u64be(to, delivery->number);
    to = lp_put_u8(to, delivery->redelivered);
    to = lp_put_bytes(to, names.data, names.size);
    to = lp_put_u8(to, AMQP091_FRAME_END);
    to = put_frame(to, AMQP091_FRAME_HEADER, channel->number, 12u + properties.size);
    to = lp_put_u32be(to, (uint32_t)AMQP091_CLASS_BASIC << 16); /* and weight */
    to = lp_put_u64be(to, message->body_bytes);
    to = lp_put_bytes(to, properties.data, properties.size);
    to = lp_put_u8(to, AMQP091_FRAME_END);
    if (message->body_bytes > 0) {
        to = put_frame(to, AMQP091_FRAME_BODY, channel->number, message->body_bytes);
        to = lp_put_bytes(to, body, message->body_bytes);
        to = lp_put_u8(to, AMQP091_FRAME_END);
    }
    LP_ASSERT((size_t)(to - room) <= bytes);
    lp_connection_commit(base, (uint32_t)(to - room));
    return true;
}

void
amqp091_return_send(struct amqp091_channel *channel, const struct lp_message *message)
{
    const struct carrier carrier = {.method_id = AMQP091_BASIC_RETURN, .message = message};
    channel->connection->shard->broker->stats->messages_returned++;
    content_send(channel, &carrier);
}

/* ---- the session's calls ---- */

static struct amqp091_channel *
callback_enter(void *owner)
{
    struct amqp091_channel *channel = owner;
    channel->connection->shard->callback_depth++;
    return channel;
}

static void
callback_leave(struct amqp091_shard *shard)
{
    LP_ASSERT(shard->callback_depth > 0);
    shard->callback_depth--;
}

static void
session_room(void *owner)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    if (amqp091_channel_runs(channel) && channel->waiting == AMQP091_WAIT_ROOM) {
        amqp091_channel_continue(channel);
    }
    callback_leave(shard);
}

static bool
session_can_deliver(void *owner, const struct lp_message *message)
{
    const struct amqp091_channel *channel = owner;
    const struct amqp091_connection *connection = channel->connection;
    const struct lp_memory *memory = connection->shard->broker->memory;
    const uint64_t left = lp_memory_limit_bytes(memory) - lp_memory_used_bytes(memory);
    return amqp091_channel_runs(channel) && !connection->dead &&
           !lp_connection_output_full(connection->base) &&
           left >= LP_DELIVERY_RESERVE_BYTES + 2 * message->body_bytes;
}

static void
session_deliver(void *owner, const struct lp_delivery *delivery)
{
    struct amqp091_channel *channel = owner;
    const struct amqp091_consumer *consumer = delivery->consumer->user;
    if (LP_UNLIKELY(!amqp091_channel_runs(channel) || channel->connection->dead) ||
        LP_LIKELY(deliver_plain(channel, consumer, delivery))) {
        return;
    }
    const struct carrier carrier = {
        .method_id = AMQP091_BASIC_DELIVER,
        .message = delivery->message,
        .delivery = delivery,
        .tag = lp_bytes_of(consumer->tag, consumer->tag_bytes),
    };
    content_send(channel, &carrier);
}

static void
session_consumed(void *owner, struct lp_consumer *consumer, uint16_t code)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    amqp091_consumed(channel, consumer->user, code);
    callback_leave(shard);
}

static void
session_cancelled(void *owner, struct lp_consumer *consumer)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    amqp091_cancelled(channel, consumer->user);
    callback_leave(shard);
}

static void
session_gone(void *owner, struct lp_consumer *consumer)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    amqp091_consumer_gone(channel, consumer->user);
    callback_leave(shard);
}

static void
session_got(void *owner, const struct lp_delivery *delivery, uint16_t code)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    if (amqp091_channel_runs(channel) && channel->waiting == AMQP091_WAIT_SESSION) {
        if (code != 0) {
            struct amqp091_method method;
            (void)amqp091_method_decode(lp_bytes_of(channel->pending, channel->pending_bytes),
                                        &method);
            amqp091_queue_fault(channel, code, method.name[0], method.id);
        } else if (delivery) {
            const struct carrier carrier = {.method_id = AMQP091_BASIC_GET_OK,
                                            .message = delivery->message,
                                            .delivery = delivery};
            shard->broker->stats->messages_got++;
            content_send(channel, &carrier);
            amqp091_channel_unpark(channel);
        } else {
            struct amqp091_out out;
            amqp091_out_begin(&out, channel->number, AMQP091_BASIC_GET_EMPTY);
            lp_writer_short(&out.writer, lp_bytes_of(NULL, 0)); /* cluster-id */
            amqp091_out_send(channel->connection, &out);
            amqp091_channel_unpark(channel);
        }
    }
    callback_leave(shard);
}

static void
session_counts(void *owner, uint16_t code, uint64_t ready, uint64_t consumers)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    if (amqp091_channel_runs(channel) && channel->waiting == AMQP091_WAIT_SESSION) {
        amqp091_counts(channel, code, ready, consumers);
    }
    callback_leave(shard);
}

static void
session_confirm(void *owner, uint64_t number, bool multiple, bool nack)
{
    struct amqp091_channel *channel = owner;
    if (!amqp091_channel_runs(channel)) {
        return;
    }
    struct amqp091_out out;
    amqp091_out_begin(&out, channel->number, nack ? AMQP091_BASIC_NACK : AMQP091_BASIC_ACK);
    lp_writer_u64be(&out.writer, number);
    lp_writer_u8(&out.writer, multiple); /* and, for nack, requeue: never */
    amqp091_out_send(channel->connection, &out);
}

static void
session_committed(void *owner, bool partial)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    amqp091_committed(channel, partial);
    callback_leave(shard);
}

static void
session_returned(void *owner, const struct lp_message *message)
{
    amqp091_return_send(owner, message);
}

static void
session_timed_out(void *owner, uint64_t timeout_ms)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    struct lp_fault fault;
    shard->broker->stats->consumers_timed_out += amqp091_channel_runs(channel);
    amqp091_text_make(&fault, LP_FAULT_PRECONDITION_FAILED, "delivery acknowledgement on channel ");
    amqp091_text_add_number(&fault, channel->number);
    amqp091_text_add(&fault, " timed out. Timeout value used: ");
    amqp091_text_add_number(&fault, timeout_ms);
    amqp091_text_add(&fault, " ms. This timeout value can be configured, see consumers doc guide "
                             "to learn more");
    (void)amqp091_channel_fault(channel, &fault, AMQP091_METHOD_NONE);
    callback_leave(shard);
}

static void
session_who(void *owner, struct lp_session_who *ret_who)
{
    const struct amqp091_channel *channel = owner;
    const struct amqp091_connection *connection = channel->connection;
    ret_who->connection = connection->base;
    ret_who->user = lp_bytes_of(connection->user, connection->user_bytes);
    ret_who->channel = channel->number;
}

static void
session_closed(void *owner)
{
    struct amqp091_channel *channel = callback_enter(owner);
    struct amqp091_shard *shard = channel->connection->shard;
    amqp091_channel_session_closed(channel);
    callback_leave(shard);
}

static void
session_describe(const void *owner, struct lp_session_row *ret_row)
{
    const struct amqp091_channel *channel = owner;
    *ret_row = (struct lp_session_row){.channel = channel->number,
                                       .consumers = channel->consumer_count,
                                       .prefetch = channel->prefetch};
}

const struct lp_session_ops amqp091_session_ops = {
    .room = session_room,
    .can_deliver = session_can_deliver,
    .deliver = session_deliver,
    .consumed = session_consumed,
    .cancelled = session_cancelled,
    .gone = session_gone,
    .got = session_got,
    .counts = session_counts,
    .confirm = session_confirm,
    .committed = session_committed,
    .returned = session_returned,
    .timed_out = session_timed_out,
    .describe = session_describe,
    .describe_consumer = amqp091_consumer_describe,
    .who = session_who,
    .closed = session_closed,
};
