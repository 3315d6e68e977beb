/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/method.h"

#include <lepus/field_table.h>

/* False: there is no such method.  `*ret_arguments` is NULL for one that only servers send. */
static bool
arguments_of(uint32_t id, const char **ret_arguments)
{
    switch (id) {
#define X(name, class_number, method_number, arguments) \
    case AMQP091_##name:                                \
        *ret_arguments = arguments;                     \
        return true;
        AMQP091_METHOD_LIST(X)
#undef X
    default:
        return false;
    }
}

static bool
is_continuation(const uint8_t *at, const uint8_t *end)
{
    return at < end && (*at & 0xc0) == 0x80;
}

/* Bytes of the well-formed sequence that starts at `at`; 0: there is none. */
static uint32_t
utf8_sequence(const uint8_t *at, const uint8_t *end)
{
    const uint8_t lead = at[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4 || !is_continuation(at + 1, end)) {
        return 0;
    }
    if (lead < 0xe0) {
        return 2;
    }
    /* Overlong forms, surrogates and numbers above U+10FFFF show in the second octet. */
    const uint8_t second = at[1];
    const bool bad_second = (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
                            (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f);
    if (bad_second || !is_continuation(at + 2, end)) {
        return 0;
    }
    if (lead < 0xf0) {
        return 3;
    }
    return is_continuation(at + 3, end) ? 4 : 0;
}

bool
amqp091_is_utf8(struct lp_bytes bytes)
{
    const struct lp_reader range = lp_reader_of_bytes(bytes); /* NULL is nothing to add to */
    const uint8_t *at = range.at;
    const uint8_t *end = range.end;
    while (at < end) {
        const uint32_t step = utf8_sequence(at, end);
        if (step == 0) {
            return false;
        }
        at += step;
    }
    return true;
}

static bool
table_is_well_formed(struct lp_bytes table)
{
    struct lp_reader reader = lp_reader_of_bytes(table);
    struct lp_field field;
    while (lp_field_next(&reader, &field)) {
    }
    return !reader.failed;
}

struct filled {
    uint32_t names;
    uint32_t numbers;
};

static void
argument_read(struct lp_reader *reader, char kind, struct amqp091_method *method,
              struct filled *filled)
{
    switch (kind) {
    case 'h':
        method->number[filled->numbers++] = lp_reader_u16be(reader);
        break;
    case 'l':
        method->number[filled->numbers++] = lp_reader_u32be(reader);
        break;
    case 'L':
        method->number[filled->numbers++] = lp_reader_u64be(reader);
        break;
    case 'b':
        method->bits = lp_reader_u8(reader);
        break;
    case 's':
        method->name[filled->names++] = lp_reader_short(reader);
        break;
    case 'S':
        method->text = lp_reader_long_be(reader);
        break;
    case 't':
        method->table = lp_reader_long_be(reader);
        reader->failed = reader->failed || !table_is_well_formed(method->table);
        break;
    default:
        LP_ASSERT(false); /* a letter that the list above must not have */
    }
}

enum amqp091_decode
amqp091_method_decode(struct lp_bytes payload, struct amqp091_method *ret_method)
{
    struct lp_reader reader = lp_reader_of_bytes(payload);
    const uint32_t id = lp_reader_u32be(&reader);
    if (reader.failed) {
        return AMQP091_DECODE_NO_METHOD;
    }
    const struct amqp091_method none = {0};
    *ret_method = none;
    ret_method->id = id;
    ret_method->payload = lp_bytes_of(reader.at, (uint32_t)lp_reader_left(&reader));

    const char *arguments = NULL;
    if (!arguments_of(id, &arguments)) {
        return AMQP091_DECODE_UNKNOWN;
    }
    if (!arguments) {
        return AMQP091_DECODE_NOT_OURS;
    }
    struct filled filled = {0};
    for (const char *kind = arguments; *kind != '\0'; kind++) {
        argument_read(&reader, *kind, ret_method, &filled);
    }
    LP_ASSERT(filled.names <= LP_COUNT_OF(ret_method->name));
    LP_ASSERT(filled.numbers <= LP_COUNT_OF(ret_method->number));
    if (reader.failed || lp_reader_left(&reader) != 0) {
        return AMQP091_DECODE_MALFORMED;
    }
    /* RabbitMQ spares content-bearing methods the check, and clients rely on it. */
    for (uint32_t i = 0; i < filled.names && id != AMQP091_BASIC_PUBLISH; i++) {
        if (!amqp091_is_utf8(ret_method->name[i])) {
            return AMQP091_DECODE_NOT_UTF8;
        }
    }
    return AMQP091_DECODED;
}
