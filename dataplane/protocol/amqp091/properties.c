/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/properties.h"

#include <lepus/field_table.h>

static bool
headers_read(struct lp_bytes headers, bool *ret_has_copies)
{
    struct lp_reader reader = lp_reader_of_bytes(headers);
    struct lp_field field;
    bool has_copies = false;
    while (lp_field_next(&reader, &field)) {
        has_copies |=
            lp_bytes_equal_text(field.name, "CC") || lp_bytes_equal_text(field.name, "BCC");
    }
    *ret_has_copies = has_copies;
    return !reader.failed;
}

static struct lp_bytes
short_if(struct lp_reader *reader, uint16_t flags, enum amqp091_property property)
{
    return (flags & property) != 0 ? lp_reader_short(reader) : lp_bytes_of(NULL, 0);
}

static uint8_t
octet_if(struct lp_reader *reader, uint16_t flags, enum amqp091_property property)
{
    return (flags & property) != 0 ? lp_reader_u8(reader) : 0;
}

bool
amqp091_properties_read(struct lp_bytes raw, struct amqp091_properties *ret_properties)
{
    struct amqp091_properties found = {0};
    struct lp_reader reader = lp_reader_of_bytes(raw);
    const uint16_t flags = lp_reader_u16be(&reader);

    if ((flags & AMQP091_PROPERTY_UNKNOWN) != 0) {
        return false;
    }
    found.flags = flags;
    (void)short_if(&reader, flags, AMQP091_CONTENT_TYPE); /* opaque to the broker, as below */
    (void)short_if(&reader, flags, AMQP091_CONTENT_ENCODING);
    if ((flags & AMQP091_HEADERS) != 0) {
        found.headers = lp_reader_long_be(&reader);
        if (reader.failed || !headers_read(found.headers, &found.has_copies)) {
            return false;
        }
    }
    found.delivery_mode = octet_if(&reader, flags, AMQP091_DELIVERY_MODE);
    found.priority = octet_if(&reader, flags, AMQP091_PRIORITY);
    (void)short_if(&reader, flags, AMQP091_CORRELATION_ID);
    found.reply_to = short_if(&reader, flags, AMQP091_REPLY_TO);
    found.expiration = short_if(&reader, flags, AMQP091_EXPIRATION);
    (void)short_if(&reader, flags, AMQP091_MESSAGE_ID);
    if ((flags & AMQP091_TIMESTAMP) != 0) {
        (void)lp_reader_u64be(&reader);
    }
    (void)short_if(&reader, flags, AMQP091_TYPE);
    found.user_id = short_if(&reader, flags, AMQP091_USER_ID);
    (void)short_if(&reader, flags, AMQP091_APP_ID);
    (void)short_if(&reader, flags, AMQP091_CLUSTER_ID);
    if (reader.failed || lp_reader_left(&reader) != 0) {
        return false;
    }
    *ret_properties = found;
    return true;
}

bool
amqp091_properties_are(struct lp_bytes raw)
{
    struct amqp091_properties properties;
    return amqp091_properties_read(raw, &properties);
}

const uint8_t *
amqp091_property_replace(struct lp_writer *writer, const uint8_t *at, struct lp_bytes was,
                         struct lp_bytes now)
{
    const uint8_t *length = was.data - 1;
    LP_ASSERT(length >= at);
    lp_writer_copy(writer, at, (size_t)(length - at));
    lp_writer_short(writer, now);
    return was.data + was.size;
}

uint32_t
amqp091_properties_count_bytes(struct lp_bytes raw)
{
    struct lp_reader reader = lp_reader_of_bytes(raw);
    const bool has_table = (lp_reader_u16be(&reader) & AMQP091_HEADERS) != 0;
    return (uint32_t)AMQP091_COUNT_HEADER_BYTES + (has_table ? 0 : 4);
}

void
amqp091_properties_count(struct lp_bytes raw, uint32_t count, struct amqp091_counted *ret_counted)
{
    struct lp_reader reader = lp_reader_of_bytes(raw);
    const uint16_t flags = lp_reader_u16be(&reader);
    const uint32_t begin = (uint32_t)sizeof(ret_counted->flags);
    (void)short_if(&reader, flags, AMQP091_CONTENT_TYPE);
    (void)short_if(&reader, flags, AMQP091_CONTENT_ENCODING);
    const uint32_t headers = raw.size - (uint32_t)lp_reader_left(&reader);
    const uint32_t table = (flags & AMQP091_HEADERS) != 0 ? lp_reader_u32be(&reader) : 0;
    const uint32_t rest = raw.size - (uint32_t)lp_reader_left(&reader);
    LP_ASSERT(!reader.failed);

    struct lp_writer writer = lp_writer_of(ret_counted->flags, sizeof(ret_counted->flags));
    lp_writer_u16be(&writer, (uint16_t)(flags | AMQP091_HEADERS));
    writer = lp_writer_of(ret_counted->table, sizeof(ret_counted->table));
    lp_writer_u32be(&writer, table + (uint32_t)AMQP091_COUNT_HEADER_BYTES);
    lp_writer_short(&writer, lp_bytes_of_text(AMQP091_COUNT_HEADER));
    lp_writer_u8(&writer, 'l');
    lp_writer_u64be(&writer, count);
    LP_ASSERT(!writer.failed && lp_writer_size(&writer) == sizeof(ret_counted->table));

    ret_counted->piece[0] = lp_bytes_of(ret_counted->flags, sizeof(ret_counted->flags));
    ret_counted->piece[1] = lp_bytes_of(raw.data + begin, headers - begin);
    ret_counted->piece[2] = lp_bytes_of(ret_counted->table, sizeof(ret_counted->table));
    ret_counted->piece[3] = lp_bytes_of(raw.data + rest, raw.size - rest);
}
