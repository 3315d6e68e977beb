/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deaths.c - the properties of a message that died: its headers tell of its
 * deaths, its expiration is gone, and all else is as it came (C145, C154,
 * C155).  What a client wrote into the headers under these names is not kept
 * (C156).  And of one that was delayed: x-delay is negative (C164).
 */
#include "dataplane/broker/deaths.h"

#include "dataplane/broker/message.h"
#include "dataplane/protocol/amqp091/properties.h"
#include "dataplane/protocol/amqp091/rewrite.h"

static void
field_number(struct lp_writer *writer, const char *name, char type, uint64_t number)
{
    amqp091_field_name(writer, name, type);
    lp_writer_u64be(writer, number);
}

/* The expiration as the number that it was read as: "+007" is told as "7". */
static void
field_expiration(struct lp_writer *writer, uint64_t expiration_ms)
{
    uint8_t digits[20];
    uint32_t at = sizeof(digits);
    do {
        digits[--at] = (uint8_t)('0' + expiration_ms % 10);
        expiration_ms /= 10;
    } while (expiration_ms > 0);
    amqp091_field_text(writer, "original-expiration",
                       lp_bytes_of(digits + at, (uint32_t)sizeof(digits) - at));
}

/* One entry of x-death: RabbitMQ's fields, types and order. */
static void
death_write(struct lp_writer *writer, const struct lp_death_record *record)
{
    lp_writer_u8(writer, 'F');
    const size_t table = amqp091_length_begin(writer);
    if (record->expires) {
        field_expiration(writer, record->expiration_ms);
    }
    field_number(writer, "count", 'l', record->count);
    amqp091_field_text(writer, "reason", lp_bytes_of_text(lp_death_name(record->why)));
    amqp091_field_text(writer, "queue", record->queue);
    field_number(writer, "time", 'T', record->time_ms / 1000u);
    amqp091_field_text(writer, "exchange", record->exchange);
    amqp091_field_name(writer, "routing-keys", 'A');
    const size_t array = amqp091_length_begin(writer);
    struct lp_reader keys = lp_reader_of_bytes(record->keys);
    while (lp_reader_left(&keys) > 0) {
        lp_writer_u8(writer, 'S');
        lp_writer_long_be(writer, lp_reader_long_le(&keys));
    }
    LP_ASSERT(!keys.failed);
    amqp091_length_end(writer, array);
    amqp091_length_end(writer, table);
}

static void
headers_write(struct lp_writer *writer, const struct lp_message *message, struct lp_bytes headers,
              struct lp_bytes deaths)
{
    static const char *const ours[] = {
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
    };
    struct lp_death_record record;
    struct lp_death_record last = {0};
    struct lp_death_record first = {0};
    const size_t table = amqp091_length_begin(writer);
    amqp091_rewrite_keep(writer, headers, ours, LP_COUNT_OF(ours));
    amqp091_field_name(writer, "x-death", 'A');
    const size_t array = amqp091_length_begin(writer);
    struct lp_reader reader = lp_reader_of_bytes(deaths);
    for (bool newest = true; lp_death_next(&reader, &record); newest = false) {
        death_write(writer, &record);
        last = newest ? record : last;
        first = record.first ? record : first;
    }
    amqp091_length_end(writer, array);
    amqp091_field_text(writer, "x-first-death-exchange", first.exchange);
    amqp091_field_text(writer, "x-first-death-queue", first.queue);
    amqp091_field_text(writer, "x-first-death-reason", lp_bytes_of_text(lp_death_name(first.why)));
    /* A record keeps the exchange of its first death; this one may have come from another. */
    amqp091_field_text(writer, "x-last-death-exchange", lp_message_exchange(message));
    amqp091_field_text(writer, "x-last-death-queue", last.queue);
    amqp091_field_text(writer, "x-last-death-reason", lp_bytes_of_text(lp_death_name(last.why)));
    amqp091_length_end(writer, table);
}

void
amqp091_properties_dead(const struct lp_message *message, struct lp_bytes deaths,
                        struct lp_writer *writer)
{
    struct amqp091_property_parts parts;
    amqp091_properties_split(lp_message_properties(message), &parts);
    parts.flags &= (uint16_t)~AMQP091_EXPIRATION;
    parts.expiration.size = 0;
    amqp091_rewrite_begin(writer, &parts);
    headers_write(writer, message, parts.headers, deaths);
    amqp091_rewrite_end(writer, &parts);
}

struct lp_bytes
amqp091_properties_headers(const struct lp_message *message)
{
    struct amqp091_properties properties;
    const bool well_formed = amqp091_properties_read(lp_message_properties(message), &properties);
    LP_ASSERT(well_formed);
    return properties.headers;
}

void
amqp091_properties_delayed(const struct lp_message *message, uint64_t delay_ms,
                           struct lp_writer *writer)
{
    static const char *const ours[] = {"x-delay"};
    struct amqp091_property_parts parts;
    amqp091_properties_split(lp_message_properties(message), &parts);
    amqp091_rewrite_begin(writer, &parts);
    const size_t table = amqp091_length_begin(writer);
    amqp091_rewrite_keep(writer, parts.headers, ours, LP_COUNT_OF(ours));
    field_number(writer, ours[0], 'l', 0 - delay_ms);
    amqp091_length_end(writer, table);
    amqp091_rewrite_end(writer, &parts);
}
