/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.c - the properties of the firehose's copies: RabbitMQ's fields with
 * RabbitMQ's types (C163).
 */
#include "dataplane/broker/trace.h"

#include "dataplane/protocol/amqp091/properties.h"

static void
field_name(struct lp_writer *writer, const char *name, char type)
{
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, (uint8_t)type);
}

static void
field_text(struct lp_writer *writer, const char *name, struct lp_bytes text)
{
    field_name(writer, name, 'S');
    lp_writer_long_be(writer, text);
}

static void
field_number(struct lp_writer *writer, const char *name, uint32_t number)
{
    field_name(writer, name, 'I');
    lp_writer_u32be(writer, number);
}

static size_t
length_begin(struct lp_writer *writer)
{
    const size_t at = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    return at;
}

static void
length_end(struct lp_writer *writer, size_t at)
{
    lp_writer_patch_u32be(writer, at, (uint32_t)(lp_writer_size(writer) - at - 4));
}

/* An array of texts: `first`, unless NULL, and a list of long_le. */
static void
field_texts(struct lp_writer *writer, const char *name, const struct lp_bytes *first,
            struct lp_bytes list)
{
    struct lp_reader reader = lp_reader_of_bytes(list);
    field_name(writer, name, 'A');
    const size_t array = length_begin(writer);
    if (first) {
        lp_writer_u8(writer, 'S');
        lp_writer_long_be(writer, *first);
    }
    while (lp_reader_left(&reader) > 0) {
        lp_writer_u8(writer, 'S');
        lp_writer_long_be(writer, lp_reader_long_le(&reader));
    }
    LP_ASSERT(!reader.failed);
    length_end(writer, array);
}

/* The properties as a table; numbers are 32 bits wide, whatever they were. */
static void
properties_table(struct lp_writer *writer, struct lp_bytes raw)
{
    static const char *const names[] = {
        "content_type",   "content_encoding", "headers",    "delivery_mode", "priority",
        "correlation_id", "reply_to",         "expiration", "message_id",    "timestamp",
        "type",           "user_id",          "app_id",     "cluster_id",
    };
    struct lp_reader reader = lp_reader_of_bytes(raw);
    const uint32_t flags = lp_reader_u16be(&reader);
    field_name(writer, "properties", 'F');
    const size_t table = length_begin(writer);
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++) {
        const uint32_t property = AMQP091_CONTENT_TYPE >> i;
        if ((flags & property) == 0) {
            continue;
        }
        if (property == AMQP091_HEADERS) {
            field_name(writer, names[i], 'F');
            lp_writer_long_be(writer, lp_reader_long_be(&reader));
        } else if (property == AMQP091_DELIVERY_MODE || property == AMQP091_PRIORITY) {
            field_number(writer, names[i], lp_reader_u8(&reader));
        } else if (property == AMQP091_TIMESTAMP) {
            field_number(writer, names[i], (uint32_t)lp_reader_u64be(&reader));
        } else {
            field_text(writer, names[i], lp_reader_short(&reader));
        }
    }
    LP_ASSERT(!reader.failed); /* they were well-formed when they came */
    length_end(writer, table);
}

void
amqp091_properties_trace(const struct lp_message *message, const struct lp_trace *trace,
                         struct lp_writer *writer)
{
    const struct lp_bytes key = lp_message_key(message);
    lp_writer_u16be(writer, AMQP091_HEADERS);
    const size_t table = length_begin(writer);
    field_number(writer, "channel", trace->channel);
    field_text(writer, "connection", trace->connection);
    field_text(writer, "exchange_name", lp_message_exchange(message));
    field_text(writer, "node", trace->node);
    properties_table(writer, lp_message_properties(message));
    if (trace->delivered) {
        field_number(writer, "redelivered", trace->redelivered);
    } else {
        field_texts(writer, "routed_queues", NULL, trace->routed);
    }
    field_texts(writer, "routing_keys", &key, lp_message_annotation(message, LP_ANNOTATION_KEYS));
    field_text(writer, "user", trace->user);
    field_text(writer, "vhost", trace->vhost);
    length_end(writer, table);
}
