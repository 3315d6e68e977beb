/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value.h - when is a message's header equal to a binding's argument?
 *
 * As RabbitMQ has it, values are compared, not their wire types: integers of
 * any width by value, integers with floats by exact value, a long string
 * with a byte array by its bytes.  Values of different sorts differ.  Tables
 * and arrays are equal when their bytes are; nothing is descended into.
 *
 * Source: rabbit_exchange_type_headers (`==` of Erlang terms).
 */
#pragma once

#include <lepus/field_table.h>

static inline bool
headers_is_float(char type)
{
    return type == 'f' || type == 'd';
}

static inline bool
headers_is_text(char type)
{
    return type == 'S' || type == 'x';
}

/* Exactly equal: 2^53 + 1 is not equal to the double nearest to it. */
static inline bool
headers_integer_is_float(int64_t integer, double value)
{
    /* -2^63 is a double, 2^63 - 1 is not; NaN fails both comparisons. */
    // cppcheck-suppress incorrectLogicOperator ; it reads hexadecimal floats as 0
    if (!(value >= -0x1p63 && value < 0x1p63)) {
        return false;
    }
    const int64_t whole = (int64_t)value;
    return whole == integer && (double)whole >= value && (double)whole <= value;
}

static inline bool
headers_float_equal(double a, double b)
{
    return a >= b && a <= b;
}

static inline bool
headers_value_equal(const struct lp_field *a, const struct lp_field *b)
{
    const bool a_integer = lp_field_is_integer(a->type);
    const bool b_integer = lp_field_is_integer(b->type);
    if (a_integer && b_integer) {
        return lp_field_integer(a) == lp_field_integer(b);
    }
    if (headers_is_float(a->type) && headers_is_float(b->type)) {
        return headers_float_equal(lp_field_float(a), lp_field_float(b));
    }
    if (a_integer && headers_is_float(b->type)) {
        return headers_integer_is_float(lp_field_integer(a), lp_field_float(b));
    }
    if (b_integer && headers_is_float(a->type)) {
        return headers_integer_is_float(lp_field_integer(b), lp_field_float(a));
    }
    if (headers_is_text(a->type) && headers_is_text(b->type)) {
        return lp_bytes_equal(a->raw, b->raw);
    }
    if (a->type != b->type) {
        return false;
    }
    if (a->type == 't') {
        return (a->raw.data[0] != 0) == (b->raw.data[0] != 0);
    }
    return lp_bytes_equal(a->raw, b->raw);
}
