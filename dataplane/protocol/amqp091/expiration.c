/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/expiration.h"

#include "dataplane/protocol/amqp091/erlang_text.h"
#include "dataplane/protocol/amqp091/fault_text.h"

#define TEN_YEARS_MS 315360000000u

/* An integer at the beginning of a text, whatever its size. */
struct number {
    bool negative;
    struct lp_bytes digits; /* without zeros in front; "0" for zero; empty: there is no integer */
    struct lp_bytes rest;   /* what follows */
    uint64_t value;         /* TEN_YEARS_MS + 1 when it is larger */
};

static bool
is_digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}

static struct number
number_read(struct lp_bytes text)
{
    /* A text that is not there is NULL, which nothing may be added to. */
    const struct lp_reader range = lp_reader_of_bytes(text);
    const uint8_t *at = range.at;
    const uint8_t *end = range.end;
    struct number number = {0};
    if (at < end && (*at == '-' || *at == '+')) {
        number.negative = *at == '-';
        at++;
    }
    while (end - at > 1 && *at == '0' && is_digit(at[1])) {
        at++;
    }
    const uint8_t *first = at;
    for (; at < end && is_digit(*at); at++) {
        number.value =
            LP_MIN(number.value * 10 + (uint64_t)(*at - '0'), (uint64_t)TEN_YEARS_MS + 1);
    }
    number.digits = lp_bytes_of(first, (uint32_t)(at - first));
    number.rest = lp_bytes_of(at, (uint32_t)(end - at));
    return number;
}

bool
amqp091_expiration_read(struct lp_bytes text, uint64_t *ret_ms)
{
    const struct number number = number_read(text);
    if (number.digits.size == 0 || number.rest.size > 0 || number.value > TEN_YEARS_MS ||
        (number.negative && number.value > 0)) {
        return false;
    }
    *ret_ms = number.value;
    return true;
}

struct lp_bytes
amqp091_expiration_digits(struct lp_bytes text)
{
    return number_read(text).digits;
}

bool
amqp091_expiration_is_odd(struct lp_bytes text)
{
    uint64_t ms;
    return amqp091_expiration_read(text, &ms) && number_read(text).digits.size != text.size;
}

/* `{tag,[-]digits}` */
static void
number_add(struct lp_fault *fault, const char *tag, const struct number *number)
{
    uint8_t room[256];
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    if (number->negative) {
        lp_writer_u8(&writer, '-');
    }
    lp_writer_copy(&writer, number->digits.data, number->digits.size);
    LP_ASSERT(!writer.failed); /* it is part of a short string, sign and all */
    const struct lp_bytes leaf = lp_writer_bytes(&writer);
    amqp091_erlang_add_tuple(fault, tag, &leaf, 1);
}

void
amqp091_expiration_fault(struct lp_bytes text, struct lp_fault *ret_fault)
{
    const struct number number = number_read(text);
    amqp091_text_make(ret_fault, LP_FAULT_PRECONDITION_FAILED, "invalid expiration '");
    amqp091_text_add_bytes(ret_fault, text);
    amqp091_text_add(ret_fault, "': ");
    if (number.digits.size == 0) {
        amqp091_text_add(ret_fault, "no_integer");
    } else if (number.rest.size > 0) {
        char room[AMQP091_ERLANG_STRING_BYTES];
        const struct lp_bytes leaf = amqp091_erlang_string(number.rest, room);
        amqp091_erlang_add_tuple(ret_fault, "leftover_string", &leaf, 1);
    } else if (number.negative) {
        number_add(ret_fault, "value_negative", &number);
    } else {
        number_add(ret_fault, "value_too_large", &number);
    }
}
