/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/rewrite.h"

#include <lepus/field_table.h>

#include "dataplane/protocol/amqp091/properties.h"

static struct lp_bytes
between(const uint8_t *from, const struct lp_reader *to)
{
    return lp_bytes_of(from, (uint32_t)(to->at - from));
}

void
amqp091_properties_split(struct lp_bytes raw, struct amqp091_property_parts *ret_parts)
{
    struct amqp091_property_parts parts = {0};
    struct lp_reader reader = lp_reader_of_bytes(raw);
    parts.flags = lp_reader_u16be(&reader);
    const uint8_t *from = reader.at;
    for (uint32_t flag = AMQP091_CONTENT_TYPE; flag > AMQP091_HEADERS; flag >>= 1) {
        if ((parts.flags & flag) != 0) {
            (void)lp_reader_short(&reader);
        }
    }
    parts.before = between(from, &reader);
    if ((parts.flags & AMQP091_HEADERS) != 0) {
        parts.headers = lp_reader_long_be(&reader);
    }
    from = reader.at;
    for (uint32_t flag = AMQP091_DELIVERY_MODE; flag > AMQP091_EXPIRATION; flag >>= 1) {
        if ((parts.flags & flag) == 0) {
            continue;
        }
        if (flag == AMQP091_DELIVERY_MODE || flag == AMQP091_PRIORITY) {
            (void)lp_reader_u8(&reader);
        } else {
            (void)lp_reader_short(&reader);
        }
    }
    parts.middle = between(from, &reader);
    from = reader.at;
    if ((parts.flags & AMQP091_EXPIRATION) != 0) {
        (void)lp_reader_short(&reader);
    }
    parts.expiration = between(from, &reader);
    LP_ASSERT(!reader.failed); /* they were well-formed when they came */
    parts.behind = lp_bytes_of(reader.at, (uint32_t)lp_reader_left(&reader));
    *ret_parts = parts;
}

static void
part_copy(struct lp_writer *writer, struct lp_bytes part)
{
    lp_writer_copy(writer, part.data, part.size);
}

void
amqp091_rewrite_begin(struct lp_writer *writer, const struct amqp091_property_parts *parts)
{
    lp_writer_u16be(writer, (uint16_t)(parts->flags | AMQP091_HEADERS));
    part_copy(writer, parts->before);
}

void
amqp091_rewrite_end(struct lp_writer *writer, const struct amqp091_property_parts *parts)
{
    part_copy(writer, parts->middle);
    part_copy(writer, parts->expiration);
    part_copy(writer, parts->behind);
}

static bool
named(struct lp_bytes name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (lp_bytes_equal_text(name, names[i])) {
            return true;
        }
    }
    return false;
}

void
amqp091_rewrite_keep(struct lp_writer *writer, struct lp_bytes table, const char *const *names,
                     size_t count)
{
    struct lp_reader reader = lp_reader_of_bytes(table);
    struct lp_field field;
    const uint8_t *from = reader.at;
    while (lp_field_next(&reader, &field)) {
        /* All that is ours begins so. */
        if (!lp_bytes_start_with(field.name, "x-") || !named(field.name, names, count)) {
            lp_writer_copy(writer, from, (size_t)(reader.at - from));
        }
        from = reader.at;
    }
}

void
amqp091_field_name(struct lp_writer *writer, const char *name, char type)
{
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, (uint8_t)type);
}

void
amqp091_field_text(struct lp_writer *writer, const char *name, struct lp_bytes text)
{
    amqp091_field_name(writer, name, 'S');
    lp_writer_long_be(writer, text);
}

size_t
amqp091_length_begin(struct lp_writer *writer)
{
    const size_t at = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    return at;
}

void
amqp091_length_end(struct lp_writer *writer, size_t at)
{
    lp_writer_patch_u32be(writer, at, (uint32_t)(lp_writer_size(writer) - at - 4));
}
