/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.c - the properties of the firehose's copies: RabbitMQ's fields with
 * RabbitMQ's types (C163).
 */
#include "dataplane/broker/trace.h"

#include "dataplane/protocol/amqp091/properties.h"
#include "dataplane/protocol/amqp091/rewrite.h"

static void
field_number(struct lp_writer *writer, const char *name, uint32_t number)
{
    amqp091_field_name(writer, name, 'I');
    lp_writer_u32be(writer, number);
}

/* An array of texts: `first`, unless NULL, and a list of long_le. */
static void
field_texts(struct lp_writer *writer, const char *name, const struct lp_bytes *first,
            struct lp_bytes list)
{
    struct lp_reader reader = lp_reader_of_bytes(list);
    amqp091_field_name(writer, name, 'A');
    const size_t array = amqp091_length_begin(writer);
    if (first) {
        lp_writer_u8(writer, 'S');
        lp_writer_long_be(writer, *first);
    }
    while (lp_reader_left(&reader) > 0) {
        lp_writer_u8(writer, 'S');
        lp_writer_long_be(writer, lp_reader_long_le(&reader));
    }
    LP_ASSERT(!reader.failed);
    amqp091_length_end(writer, array);
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
    amqp091_field_name(writer, "properties", 'F');
    const size_t table = amqp091_length_begin(writer);
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++) {
        const uint32_t property = AMQP091_CONTENT_TYPE >> i;
        if ((flags & property) == 0) {
            continue;
        }
        if (property == AMQP091_HEADERS) {
            amqp091_field_name(writer, names[i], 'F');
            lp_writer_long_be(writer, lp_reader_long_be(&reader));
        } else if (property == AMQP091_DELIVERY_MODE || property == AMQP091_PRIORITY) {
            field_number(writer, names[i], lp_reader_u8(&reader));
        } else if (property == AMQP091_TIMESTAMP) {
            field_number(writer, names[i], (uint32_t)lp_reader_u64be(&reader));
        } else {
            amqp091_field_text(writer, names[i], lp_reader_short(&reader));
        }
    }
    LP_ASSERT(!reader.failed); /* they were well-formed when they came */
    amqp091_length_end(writer, table);
}

void
amqp091_properties_trace(const struct lp_message *message, const struct lp_trace *trace,
                         struct lp_writer *writer)
{
    const struct lp_bytes key = lp_message_key(message);
    lp_writer_u16be(writer, AMQP091_HEADERS);
    const size_t table = amqp091_length_begin(writer);
    field_number(writer, "channel", trace->channel);
    amqp091_field_text(writer, "connection", trace->connection);
    amqp091_field_text(writer, "exchange_name", lp_message_exchange(message));
    amqp091_field_text(writer, "node", trace->node);
    properties_table(writer, lp_message_properties(message));
    if (trace->delivered) {
        field_number(writer, "redelivered", trace->redelivered);
    } else {
        field_texts(writer, "routed_queues", NULL, trace->routed);
    }
    field_texts(writer, "routing_keys", &key, lp_message_annotation(message, LP_ANNOTATION_KEYS));
    amqp091_field_text(writer, "user", trace->user);
    amqp091_field_text(writer, "vhost", trace->vhost);
    amqp091_length_end(writer, table);
}
