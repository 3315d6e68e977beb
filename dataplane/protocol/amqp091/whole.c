/* SPDX-License-Identifier: Apache-2.0 */
/*
 * whole.c - a basic.publish whose three frames are all here, and basic.ack.
 *
 * Most messages are small and most publishers send many, so that a segment
 * holds whole publishes, one like the other.  This takes such a publish in one
 * step, and what the channel's last one had in common with it as known: its
 * exchange, the right to write to it, and its properties.
 *
 * It decides nothing by itself.  Whatever is not plain (several body frames,
 * properties that the broker acts on, a right to be asked for, anything
 * malformed) is left where it is: publish.c takes it frame by frame, and has
 * the answers.
 */
#include "dataplane/protocol/amqp091/whole.h"

#include "dataplane/protocol/amqp091/properties.h"

#define HEADER_FIXED_BYTES 12u /* class, weight, body size */
#define ACK_BYTES          13u /* number of the method, delivery, bits */
#define MANDATORY          1u
#define PERSISTENT         2u

/* Properties that mean something to the broker, and are not for here. */
#define PROPERTIES_ACTED_ON \
    (AMQP091_REPLY_TO | AMQP091_EXPIRATION | AMQP091_USER_ID | AMQP091_PROPERTY_UNKNOWN)

/* What the frames hold, borrowed. */
struct whole {
    struct lp_bytes exchange;
    struct lp_bytes key;
    struct lp_bytes properties;
    struct lp_bytes body;
    uint8_t bits;
};

/* The payload of the next frame, if it is one of these and all here; else empty. */
static LP_HOT_INLINE struct lp_bytes
frame_take(struct lp_reader *reader, uint8_t type, uint16_t channel, uint32_t payload_max)
{
    const struct lp_bytes none = {NULL, 0};
    const uint8_t *header = lp_reader_take(reader, AMQP091_FRAME_HEADER_BYTES);
    if (!header) {
        return none;
    }
    uint16_t number;
    uint32_t bytes;
    memcpy(&number, header + 1, sizeof(number));
    memcpy(&bytes, header + 3, sizeof(bytes));
    bytes = __builtin_bswap32(bytes);
    if (header[0] != type || number != channel || bytes > payload_max) {
        return none;
    }
    const uint8_t *payload = lp_reader_take(reader, (size_t)bytes + 1);
    if (!payload || payload[bytes] != AMQP091_FRAME_END) {
        return none;
    }
    return lp_bytes_of(payload, bytes);
}

static LP_HOT_INLINE bool
method_take(struct lp_bytes payload, struct whole *whole)
{
    struct lp_reader reader = lp_reader_of_bytes(payload);
    const uint32_t id = lp_reader_u32be(&reader);
    (void)lp_reader_u16be(&reader); /* ticket */
    whole->exchange = lp_reader_short(&reader);
    whole->key = lp_reader_short(&reader);
    whole->bits = lp_reader_u8(&reader);
    return id == AMQP091_BASIC_PUBLISH && !reader.failed && reader.at == reader.end &&
           (whole->bits & (uint8_t)~MANDATORY) == 0;
}

/* All of it, or false. */
static LP_HOT_INLINE bool
whole_take(struct lp_reader *reader, uint32_t payload_max, uint16_t channel, struct whole *whole)
{
    const struct lp_bytes method = frame_take(reader, AMQP091_FRAME_METHOD, channel, payload_max);
    if (!method.data || !method_take(method, whole)) {
        return false;
    }
    const struct lp_bytes header = frame_take(reader, AMQP091_FRAME_HEADER, channel, payload_max);
    if (header.size < HEADER_FIXED_BYTES + sizeof(uint16_t)) {
        return false;
    }
    static const uint8_t basic[] = {0, AMQP091_CLASS_BASIC, 0, 0}; /* class, weight */
    uint64_t body_bytes;
    memcpy(&body_bytes, header.data + sizeof(basic), sizeof(body_bytes));
    body_bytes = __builtin_bswap64(body_bytes);
    whole->properties =
        lp_bytes_of(header.data + HEADER_FIXED_BYTES, header.size - HEADER_FIXED_BYTES);
    whole->body = frame_take(reader, AMQP091_FRAME_BODY, channel, payload_max);
    /* Without a body there is no body frame (C38). */
    return memcmp(header.data, basic, sizeof(basic)) == 0 && whole->body.size > 0 &&
           whole->body.size == body_bytes;
}

/* ---- what is known from the publish before ---- */

static __attribute__((noinline)) bool
exchange_learn(struct amqp091_channel *channel, struct lp_bytes name)
{
    struct amqp091_connection *connection = channel->connection;
    struct lp_broker *broker = connection->shard->broker;
    struct amqp091_known *known = &channel->known;
    const struct lp_access_right right = {LP_PERMISSION_WRITE, LP_RESOURCE_EXCHANGE,
                                          name.size == 0 ? lp_bytes_of_text("amq.default") : name};
    struct lp_exchange *exchange =
        lp_topology_exchange(&broker->topology, connection->base->vhost_id, name);
    if (!exchange || (exchange->flags & LP_OBJECT_INTERNAL) != 0 ||
        name.size > sizeof(known->exchange_name) ||
        !lp_access_allowed(&connection->base->access, broker->permission_epoch, &broker->key,
                           &right)) {
        return false;
    }
    known->exchange = exchange;
    known->topology_epoch = broker->topology.epoch;
    known->permission_epoch = broker->permission_epoch;
    known->exchange_bytes = (uint8_t)name.size;
    if (name.size > 0) {
        memcpy(known->exchange_name, name.data, name.size);
    }
    return true;
}

/* May it be published to?  Then known.exchange is it. */
static LP_HOT_INLINE bool
exchange_known(struct amqp091_channel *channel, struct lp_bytes name)
{
    const struct lp_broker *broker = channel->connection->shard->broker;
    const struct amqp091_known *known = &channel->known;
    if (LP_LIKELY(known->topology_epoch == broker->topology.epoch &&
                  known->permission_epoch == broker->permission_epoch && known->exchange &&
                  lp_bytes_equal(lp_bytes_of(known->exchange_name, known->exchange_bytes), name))) {
        return true;
    }
    return exchange_learn(channel, name);
}

static LP_HOT_INLINE bool
properties_known(struct amqp091_channel *channel, struct lp_bytes raw,
                 struct amqp091_properties *ret_properties)
{
    struct amqp091_known *known = &channel->known;
    if (lp_bytes_equal(lp_bytes_of(known->properties, known->properties_bytes), raw)) {
        ret_properties->delivery_mode = known->delivery_mode;
        ret_properties->priority = known->priority;
        ret_properties->headers = lp_bytes_of(NULL, 0);
        return true;
    }
    if (!amqp091_properties_read(raw, ret_properties) || ret_properties->has_copies ||
        (ret_properties->flags & PROPERTIES_ACTED_ON) != 0) {
        return false;
    }
    if (raw.size <= sizeof(known->properties) && ret_properties->headers.size == 0) {
        memcpy(known->properties, raw.data, raw.size);
        known->properties_bytes = (uint8_t)raw.size;
        known->delivery_mode = ret_properties->delivery_mode;
        known->priority = ret_properties->priority;
    }
    return true;
}

/* ---- publishing ---- */

/* Room was short, or nobody was there for it: from here on it goes as any other. */
static __attribute__((noinline)) void
publish_odd(struct amqp091_channel *channel, struct lp_publish *publish, enum lp_result result)
{
    channel->publishing = true;
    if (amqp091_publish_result(channel, publish, result) != AMQP091_PARK) {
        channel->publishing = false;
    }
}

static LP_HOT_INLINE void
publish(struct amqp091_channel *channel, const struct whole *whole, uint32_t headers_offset,
        uint32_t headers_bytes)
{
    struct lp_publish publish = {
        .exchange = channel->known.exchange,
        .message = channel->message_handle,
        .headers = lp_bytes_of(whole->properties.data + headers_offset, headers_bytes),
    };
    channel->connection->shard->broker->stats->messages_published++;
    const enum lp_result result = lp_session_publish(channel->session, &publish);
    if (LP_LIKELY(result == LP_DONE && !publish.unroutable)) {
        channel->message = NULL;
        channel->message_handle = LP_HANDLE_NONE;
        return;
    }
    channel->content_flags =
        (whole->bits & MANDATORY) != 0 ? (uint8_t)AMQP091_CONTENT_MANDATORY : 0;
    channel->headers_offset = headers_offset;
    channel->headers_bytes = headers_bytes;
    publish_odd(channel, &publish, result);
}

/* Is the channel one that could publish now? */
static LP_HOT_INLINE bool
channel_is_free(const struct amqp091_channel *channel)
{
    return channel->state == AMQP091_CH_OPEN && channel->content == AMQP091_CONTENT_METHOD &&
           channel->waiting == AMQP091_WAIT_NONE && !channel->parked_head &&
           channel->content_always == 0;
}

/* The channel of the frame that `input` begins with, if it could do something now. */
static LP_HOT_INLINE struct amqp091_channel *
channel_of(const struct amqp091_connection *connection, struct lp_bytes input)
{
    uint16_t number;
    memcpy(&number, input.data + 1, sizeof(number));
    struct amqp091_channel *channel = amqp091_channel_find(connection, __builtin_bswap16(number));
    return LP_LIKELY(channel != NULL && channel_is_free(channel)) ? channel : NULL;
}

static uint32_t
publish_take(struct amqp091_connection *connection, struct lp_bytes input)
{
    struct lp_broker *broker = connection->shard->broker;
    struct lp_connection *base = connection->base;
    struct lp_reader reader = lp_reader_of_bytes(input);
    struct whole whole;
    struct amqp091_channel *channel = channel_of(connection, input);
    if (LP_UNLIKELY(!channel || base->access.rights != 0)) {
        return 0;
    }
    const uint16_t number = __builtin_bswap16(channel->number);
    if (LP_UNLIKELY(!whole_take(&reader, connection->parser.payload_max, number, &whole)) ||
        LP_UNLIKELY(whole.body.size > broker->limits.message_bytes_max) ||
        LP_UNLIKELY(!lp_connection_content_fits(base, whole.body.size))) {
        return 0;
    }
    struct amqp091_properties properties;
    if (LP_UNLIKELY(!exchange_known(channel, whole.exchange)) ||
        LP_UNLIKELY(!properties_known(channel, whole.properties, &properties))) {
        return 0;
    }
    const struct lp_message_parts parts = {
        .exchange = whole.exchange,
        .key = whole.key,
        .properties = whole.properties,
        .body_bytes = whole.body.size,
        .protocol = LP_PROTOCOL_AMQP091,
        .flags = properties.delivery_mode == PERSISTENT ? LP_MESSAGE_PERSISTENT : 0,
        .priority = properties.priority,
    };
    channel->message =
        lp_message_whole(&broker->messages, &parts, whole.body, &channel->message_handle);
    if (LP_UNLIKELY(!channel->message)) {
        return 0;
    }
    publish(channel, &whole,
            properties.headers.size == 0
                ? 0
                : (uint32_t)(properties.headers.data - whole.properties.data),
            properties.headers.size);
    return (uint32_t)(reader.at - input.data);
}

/* Of deliveries that are open, as nearly all are. */
static uint32_t
ack_take(struct amqp091_connection *connection, struct lp_bytes input)
{
    struct lp_reader reader = lp_reader_of_bytes(input);
    struct amqp091_channel *channel = channel_of(connection, input);
    if (LP_UNLIKELY(!channel)) {
        return 0;
    }
    const struct lp_bytes method =
        frame_take(&reader, AMQP091_FRAME_METHOD, __builtin_bswap16(channel->number), ACK_BYTES);
    if (LP_UNLIKELY(method.size != ACK_BYTES)) {
        return 0;
    }
    struct lp_reader arguments = lp_reader_of_bytes(method);
    (void)lp_reader_u32be(&arguments);
    const uint64_t number = lp_reader_u64be(&arguments);
    const bool multiple = (lp_reader_u8(&arguments) & 1u) != 0;
    /* What finds no room, or no such delivery, does so again in settle.c. */
    const enum lp_result result =
        lp_session_settle(channel->session, number, multiple, LP_SETTLE_ACK);
    return LP_LIKELY(result == LP_DONE) ? (uint32_t)(reader.at - input.data) : 0;
}

uint32_t
amqp091_whole_take(struct amqp091_connection *connection, struct lp_bytes input)
{
    uint32_t method;
    if (input.size < AMQP091_FRAME_HEADER_BYTES + sizeof(method)) {
        return 0;
    }
    memcpy(&method, input.data + AMQP091_FRAME_HEADER_BYTES, sizeof(method));
    method = __builtin_bswap32(method);
    if (LP_LIKELY(method == AMQP091_BASIC_PUBLISH)) {
        return publish_take(connection, input);
    }
    return method == AMQP091_BASIC_ACK ? ack_take(connection, input) : 0;
}
