/* SPDX-License-Identifier: Apache-2.0 */
/*
 * field_table.h - AMQP 0-9-1 field tables in RabbitMQ's dialect: reading.
 *
 * Both processes read them: the control process compares and lists arguments,
 * shards match headers.  The format is a contract between them, hence here.
 *
 * Source: AMQP 0-9-1 4.2.5.5 with RabbitMQ's errata (types s = int16,
 * l = int64, x = bytes; b B u I i L as errata list them).
 *
 *   Memory    borrowed views into the table
 *   Limits    nesting is skipped by length, never descended: no recursion
 */
#pragma once

#include <lepus/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lp_field {
    struct lp_bytes name; /* empty for array elements */
    char type;            /* the wire's type octet */
    struct lp_bytes raw;  /* the value's bytes: content only for S, x, A, F */
};

/* Read one typed value; false when it is malformed (or the reader was). */
static inline bool
lp_field_value_read(struct lp_reader *reader, struct lp_field *ret_field)
{
    const char type = (char)lp_reader_u8(reader);
    struct lp_bytes raw = {0};
    switch (type) {
    case 't':
    case 'b':
    case 'B':
        raw = lp_reader_bytes(reader, 1);
        break;
    case 's':
    case 'u':
        raw = lp_reader_bytes(reader, 2);
        break;
    case 'I':
    case 'i':
    case 'f':
        raw = lp_reader_bytes(reader, 4);
        break;
    case 'D':
        raw = lp_reader_bytes(reader, 5);
        break;
    case 'l':
    case 'L':
    case 'd':
    case 'T':
        raw = lp_reader_bytes(reader, 8);
        break;
    case 'S':
    case 'x':
    case 'A':
    case 'F':
        raw = lp_reader_long_be(reader);
        break;
    case 'V':
        break;
    default:
        reader->failed = true;
        break;
    }
    if (reader->failed) {
        return false;
    }
    ret_field->type = type;
    ret_field->raw = raw;
    return true;
}

/* Read the next name and value of a table; false at the end (failed unset) or when malformed (set).
 */
static inline bool
lp_field_next(struct lp_reader *reader, struct lp_field *ret_field)
{
    if (reader->failed || lp_reader_left(reader) == 0) {
        return false;
    }
    const struct lp_bytes name = lp_reader_short(reader);
    if (!lp_field_value_read(reader, ret_field)) {
        return false;
    }
    ret_field->name = name;
    return true;
}

/* Find a field by name (the first, if a peer repeats one). */
static inline bool
lp_field_find(struct lp_bytes table, const char *name, struct lp_field *ret_field)
{
    struct lp_reader reader = lp_reader_of_bytes(table);
    struct lp_field field;
    while (lp_field_next(&reader, &field)) {
        if (lp_bytes_equal_text(field.name, name)) {
            *ret_field = field;
            return true;
        }
    }
    return false;
}

static inline bool
lp_field_is_integer(char type)
{
    return type == 'b' || type == 'B' || type == 's' || type == 'u' || type == 'I' || type == 'i' ||
           type == 'l' || type == 'L' || type == 'T';
}

/* The value of an integer of any width; L above INT64_MAX wraps, as RabbitMQ reads it signed. */
static inline int64_t
lp_field_integer(const struct lp_field *field)
{
    struct lp_reader r = lp_reader_of_bytes(field->raw);
    switch (field->type) {
    case 'b':
        return (int8_t)lp_reader_u8(&r);
    case 'B':
        return lp_reader_u8(&r);
    case 's':
        return (int16_t)lp_reader_u16be(&r);
    case 'u':
        return lp_reader_u16be(&r);
    case 'I':
        return (int32_t)lp_reader_u32be(&r);
    case 'i':
        return lp_reader_u32be(&r);
    default:
        return (int64_t)lp_reader_u64be(&r);
    }
}

/* The value of an f or a d. */
static inline double
lp_field_float(const struct lp_field *field)
{
    struct lp_reader r = lp_reader_of_bytes(field->raw);
    if (field->type == 'f') {
        const uint32_t bits = lp_reader_u32be(&r);
        float value = 0;
        memcpy(&value, &bits, sizeof(value));
        return (double)value;
    }
    const uint64_t bits = lp_reader_u64be(&r);
    double value = 0;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* "longstr", "signedint", ...: the names RabbitMQ prints. */
static inline const char *
lp_field_type_name(char type)
{
    switch (type) {
    case 'S':
        return "longstr";
    case 'I':
        return "signedint";
    case 'i':
        return "unsignedint";
    case 'D':
        return "decimal";
    case 'T':
        return "timestamp";
    case 'F':
        return "table";
    case 'b':
        return "byte";
    case 'B':
        return "unsignedbyte";
    case 'd':
        return "double";
    case 'f':
        return "float";
    case 'l':
    case 'L':
        return "long";
    case 's':
        return "short";
    case 'u':
        return "unsignedshort";
    case 't':
        return "bool";
    case 'x':
        return "binary";
    case 'V':
        return "void";
    case 'A':
        return "array";
    default:
        return "unknown";
    }
}

#ifdef __cplusplus
}
#endif
