/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig_say.c - what well-behaved clients say.
 */
#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/protocol/amqp091/out.h"
#include "tests/lib/rig.h"

#define CHANNEL       1u
#define DELIVERY_MODE 0x1000u

static void
expect(bool alive)
{
    LP_ASSERT(alive); /* else the broker refused what it should take */
}

void
rig_method_begin(struct rig_method *method, uint16_t channel, uint32_t method_id)
{
    method->writer = lp_writer_of(method->bytes, sizeof(method->bytes));
    amqp091_frame_open(&method->writer, channel, method_id);
}

bool
rig_method_say(struct rig_client *client, struct rig_method *method)
{
    amqp091_frame_close(&method->writer, 0);
    LP_ASSERT(!method->writer.failed);
    return rig_say(client, lp_writer_bytes(&method->writer));
}

void
rig_open_channel(struct rig_client *client)
{
    struct rig_method method;
    expect(rig_say(client, lp_bytes_of("AMQP\0\0\x09\x01", 8)));

    rig_method_begin(&method, 0, AMQP091_CONNECTION_START_OK);
    lp_writer_u32be(&method.writer, 0); /* no client properties */
    lp_writer_short(&method.writer, lp_bytes_of_text("PLAIN"));
    lp_writer_long_be(&method.writer, lp_bytes_of("\0guest\0guest", 12));
    lp_writer_short(&method.writer, lp_bytes_of_text("en_US"));
    expect(rig_method_say(client, &method));

    rig_method_begin(&method, 0, AMQP091_CONNECTION_TUNE_OK);
    lp_writer_u16be(&method.writer, 2047);
    lp_writer_u32be(&method.writer, 131072);
    lp_writer_u16be(&method.writer, 0); /* no heartbeats */
    expect(rig_method_say(client, &method));

    rig_method_begin(&method, 0, AMQP091_CONNECTION_OPEN);
    lp_writer_short(&method.writer, lp_bytes_of_text("/"));
    lp_writer_short(&method.writer, lp_bytes_of(NULL, 0));
    lp_writer_u8(&method.writer, 0);
    expect(rig_method_say(client, &method));

    rig_method_begin(&method, CHANNEL, AMQP091_CHANNEL_OPEN);
    lp_writer_short(&method.writer, lp_bytes_of(NULL, 0));
    expect(rig_method_say(client, &method));
}

void
rig_declare_queue(struct rig_client *client, const char *name)
{
    struct rig_method method;
    rig_method_begin(&method, CHANNEL, AMQP091_QUEUE_DECLARE);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text(name));
    lp_writer_u8(&method.writer, 0);
    lp_writer_u32be(&method.writer, 0);
    expect(rig_method_say(client, &method));
}

void
rig_declare_exchange(struct rig_client *client, const char *name, const char *type)
{
    struct rig_method method;
    rig_method_begin(&method, CHANNEL, AMQP091_EXCHANGE_DECLARE);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text(name));
    lp_writer_short(&method.writer, lp_bytes_of_text(type));
    lp_writer_u8(&method.writer, 0);
    lp_writer_u32be(&method.writer, 0);
    expect(rig_method_say(client, &method));
}

void
rig_bind_queue(struct rig_client *client, const char *queue, const char *exchange, const char *key)
{
    struct rig_method method;
    rig_method_begin(&method, CHANNEL, AMQP091_QUEUE_BIND);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text(queue));
    lp_writer_short(&method.writer, lp_bytes_of_text(exchange));
    lp_writer_short(&method.writer, lp_bytes_of_text(key));
    lp_writer_u8(&method.writer, 0);
    lp_writer_u32be(&method.writer, 0);
    expect(rig_method_say(client, &method));
}

void
rig_consume(struct rig_client *client, const char *queue, uint16_t prefetch)
{
    struct rig_method method;
    if (prefetch > 0) {
        rig_method_begin(&method, CHANNEL, AMQP091_BASIC_QOS);
        lp_writer_u32be(&method.writer, 0);
        lp_writer_u16be(&method.writer, prefetch);
        lp_writer_u8(&method.writer, 0);
        expect(rig_method_say(client, &method));
    }
    rig_method_begin(&method, CHANNEL, AMQP091_BASIC_CONSUME);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text(queue));
    lp_writer_short(&method.writer, lp_bytes_of_text(queue)); /* the consumer's tag */
    lp_writer_u8(&method.writer, prefetch > 0 ? 0 : 2);       /* no-ack */
    lp_writer_u32be(&method.writer, 0);
    expect(rig_method_say(client, &method));
}

void
rig_confirm_select(struct rig_client *client)
{
    struct rig_method method;
    rig_method_begin(&method, CHANNEL, AMQP091_CONFIRM_SELECT);
    lp_writer_u8(&method.writer, 0);
    expect(rig_method_say(client, &method));
}

static size_t
frame_begin(struct lp_writer *writer, uint8_t type)
{
    const size_t offset = lp_writer_size(writer);
    lp_writer_u8(writer, type);
    lp_writer_u16be(writer, CHANNEL);
    lp_writer_u32be(writer, 0);
    return offset;
}

void
rig_publish(struct lp_writer *writer, const char *exchange, const char *key, struct lp_bytes body)
{
    static const uint8_t transient[] = {DELIVERY_MODE >> 8, DELIVERY_MODE & 0xff, 1};
    rig_publish_with(writer, exchange, key, lp_bytes_of(transient, sizeof(transient)), body);
}

void
rig_publish_with(struct lp_writer *writer, const char *exchange, const char *key,
                 struct lp_bytes properties, struct lp_bytes body)
{
    size_t offset = lp_writer_size(writer);
    amqp091_frame_open(writer, CHANNEL, AMQP091_BASIC_PUBLISH);
    lp_writer_u16be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text(exchange));
    lp_writer_short(writer, lp_bytes_of_text(key));
    lp_writer_u8(writer, 0);
    amqp091_frame_close(writer, offset);

    offset = frame_begin(writer, AMQP091_FRAME_HEADER);
    lp_writer_u16be(writer, AMQP091_CLASS_BASIC);
    lp_writer_u16be(writer, 0);
    lp_writer_u64be(writer, body.size);
    lp_writer_copy(writer, properties.data, properties.size);
    amqp091_frame_close(writer, offset);

    offset = frame_begin(writer, AMQP091_FRAME_BODY);
    lp_writer_copy(writer, body.data, body.size);
    amqp091_frame_close(writer, offset);
}

void
rig_ack(struct lp_writer *writer, uint64_t tag, bool multiple)
{
    const size_t offset = lp_writer_size(writer);
    amqp091_frame_open(writer, CHANNEL, AMQP091_BASIC_ACK);
    lp_writer_u64be(writer, tag);
    lp_writer_u8(writer, multiple);
    amqp091_frame_close(writer, offset);
}
