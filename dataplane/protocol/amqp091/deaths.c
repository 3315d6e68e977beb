/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deaths.c - the properties of a message that died: its headers tell of its
 * deaths, its expiration is gone, and all else is as it came (C145, C154,
 * C155).  What a client wrote into the headers under these names is not kept
 * (C156).
 */
#include "dataplane/broker/deaths.h"

#include <lepus/field_table.h>

#include "dataplane/broker/message.h"
#include "dataplane/protocol/amqp091/properties.h"

/* Is this header ours to write? */
static bool
header_tells(struct lp_bytes name)
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
    if (!lp_bytes_start_with(name, "x-")) {
        return false;
    }
    for (size_t i = 0; i < LP_COUNT_OF(ours); i++) {
        if (lp_bytes_equal_text(name, ours[i])) {
            return true;
        }
    }
    return false;
}

/* The fields that stay, as they came. */
static void
headers_keep(struct lp_writer *writer, struct lp_bytes headers)
{
    struct lp_reader reader = lp_reader_of_bytes(headers);
    struct lp_field field;
    const uint8_t *from = reader.at;
    while (lp_field_next(&reader, &field)) {
        if (!header_tells(field.name)) {
            lp_writer_copy(writer, from, (size_t)(reader.at - from));
        }
        from = reader.at;
    }
}

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
field_number(struct lp_writer *writer, const char *name, char type, uint64_t number)
{
    field_name(writer, name, type);
    lp_writer_u64be(writer, number);
}

/* Four octets for a length; where they are. */
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
    field_text(writer, "original-expiration",
               lp_bytes_of(digits + at, (uint32_t)sizeof(digits) - at));
}

/* One entry of x-death: RabbitMQ's fields, types and order. */
static void
death_write(struct lp_writer *writer, const struct lp_death_record *record)
{
    lp_writer_u8(writer, 'F');
    const size_t table = length_begin(writer);
    if (record->expires) {
        field_expiration(writer, record->expiration_ms);
    }
    field_number(writer, "count", 'l', record->count);
    field_text(writer, "reason", lp_bytes_of_text(lp_death_name(record->why)));
    field_text(writer, "queue", record->queue);
    field_number(writer, "time", 'T', record->time_ms / 1000u);
    field_text(writer, "exchange", record->exchange);
    field_name(writer, "routing-keys", 'A');
    const size_t array = length_begin(writer);
    struct lp_reader keys = lp_reader_of_bytes(record->keys);
    while (lp_reader_left(&keys) > 0) {
        lp_writer_u8(writer, 'S');
        lp_writer_long_be(writer, lp_reader_long_le(&keys));
    }
    LP_ASSERT(!keys.failed);
    length_end(writer, array);
    length_end(writer, table);
}

static void
headers_write(struct lp_writer *writer, const struct lp_message *message, struct lp_bytes headers,
              struct lp_bytes deaths)
{
    struct lp_death_record record;
    struct lp_death_record last = {0};
    struct lp_death_record first = {0};
    const size_t table = length_begin(writer);
    headers_keep(writer, headers);
    field_name(writer, "x-death", 'A');
    const size_t array = length_begin(writer);
    struct lp_reader reader = lp_reader_of_bytes(deaths);
    for (bool newest = true; lp_death_next(&reader, &record); newest = false) {
        death_write(writer, &record);
        last = newest ? record : last;
        first = record.first ? record : first;
    }
    length_end(writer, array);
    field_text(writer, "x-first-death-exchange", first.exchange);
    field_text(writer, "x-first-death-queue", first.queue);
    field_text(writer, "x-first-death-reason", lp_bytes_of_text(lp_death_name(first.why)));
    /* A record keeps the exchange of its first death; this one may have come from another. */
    field_text(writer, "x-last-death-exchange", lp_message_exchange(message));
    field_text(writer, "x-last-death-queue", last.queue);
    field_text(writer, "x-last-death-reason", lp_bytes_of_text(lp_death_name(last.why)));
    length_end(writer, table);
}

/* Properties before and behind what changes are copied whole. */
static void
range_copy(struct lp_writer *writer, const uint8_t *from, const struct lp_reader *to)
{
    lp_writer_copy(writer, from, (size_t)(to->at - from));
}

void
amqp091_properties_dead(const struct lp_message *message, struct lp_bytes deaths,
                        struct lp_writer *writer)
{
    struct lp_reader reader = lp_reader_of_bytes(lp_message_properties(message));
    const uint32_t flags = lp_reader_u16be(&reader);
    const uint8_t *from = reader.at;

    lp_writer_u16be(writer, (uint16_t)((flags | AMQP091_HEADERS) & ~(uint32_t)AMQP091_EXPIRATION));
    for (uint32_t flag = AMQP091_CONTENT_TYPE; flag > AMQP091_HEADERS; flag >>= 1) {
        if ((flags & flag) != 0) {
            (void)lp_reader_short(&reader);
        }
    }
    range_copy(writer, from, &reader);
    struct lp_bytes headers = {0};
    if ((flags & AMQP091_HEADERS) != 0) {
        headers = lp_reader_long_be(&reader);
    }
    headers_write(writer, message, headers, deaths);
    from = reader.at;
    for (uint32_t flag = AMQP091_DELIVERY_MODE; flag > AMQP091_EXPIRATION; flag >>= 1) {
        if ((flags & flag) == 0) {
            continue;
        }
        if (flag == AMQP091_DELIVERY_MODE || flag == AMQP091_PRIORITY) {
            (void)lp_reader_u8(&reader);
        } else {
            (void)lp_reader_short(&reader);
        }
    }
    range_copy(writer, from, &reader);
    if ((flags & AMQP091_EXPIRATION) != 0) {
        (void)lp_reader_short(&reader);
    }
    LP_ASSERT(!reader.failed); /* they were well-formed when they came */
    lp_writer_copy(writer, reader.at, lp_reader_left(&reader));
}

struct lp_bytes
amqp091_properties_headers(const struct lp_message *message)
{
    struct amqp091_properties properties;
    const bool well_formed = amqp091_properties_read(lp_message_properties(message), &properties);
    LP_ASSERT(well_formed);
    return properties.headers;
}
