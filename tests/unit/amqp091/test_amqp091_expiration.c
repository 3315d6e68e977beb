/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is `expiration` taken and refused as RabbitMQ does (C94)?
 *
 * Method: a table of properties; the texts are what string:to_integer() of
 * Erlang and RabbitMQ's check make of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/expiration.h"

static void
digits_with_a_sign_are_milliseconds(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        uint64_t ms;
    } table[] = {{"0", 0},   {"-0", 0},      {"+5", 5},
                 {"007", 7}, {"1000", 1000}, {"315360000000", 315360000000u}};
    for (uint32_t i = 0; i < LP_COUNT_OF(table); i++) {
        uint64_t ms = 42;
        assert_true(amqp091_expiration_read(lp_bytes_of_text(table[i].text), &ms));
        assert_int_equal(ms, table[i].ms);
    }
}

static void
signs_and_zeros_in_front_are_odd_and_left_out(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        const char *digits; /* NULL: it is not odd */
    } table[] = {{"0", NULL},    {"-0", "0"},   {"+5", "5"},  {"007", "7"}, {"000", "0"},
                 {"1000", NULL}, {"abc", NULL}, {"-5", NULL}, {"05x", NULL}};
    for (uint32_t i = 0; i < LP_COUNT_OF(table); i++) {
        const struct lp_bytes text = lp_bytes_of_text(table[i].text);
        assert_int_equal(amqp091_expiration_is_odd(text), table[i].digits != NULL);
        if (table[i].digits) {
            assert_true(lp_bytes_equal_text(amqp091_expiration_digits(text), table[i].digits));
        }
    }
}

static void
everything_else_is_refused_in_rabbitmqs_words(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        const char *why;
    } table[] = {
        {"abc", "no_integer"},
        {"", "no_integer"},
        {"-", "no_integer"},
        {"+", "no_integer"},
        {"--5", "no_integer"},
        {" 5", "no_integer"},
        {"1.5", "{leftover_string,\".5\"}"},
        {"5 ", "{leftover_string,\" \"}"},
        {"5\n", "{leftover_string,\"\\n\"}"},
        {"5\1\2", "{leftover_string,[1,2]}"},
        {"-1.", "{leftover_string,\".\"}"},
        {"-1", "{value_negative,-1}"},
        {"-001", "{value_negative,-1}"},
        {"315360000001", "{value_too_large,315360000001}"},
        {"+00315360000001", "{value_too_large,315360000001}"},
        {"99999999999999999999999",
         "{value_too_large,\n                                               "
         "99999999999999999999999}"},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(table); i++) {
        const struct lp_bytes text = lp_bytes_of_text(table[i].text);
        uint64_t ms = 42;
        char wanted[256] = "invalid expiration '";
        struct lp_fault fault;
        assert_false(amqp091_expiration_read(text, &ms));
        assert_int_equal(ms, 42);
        amqp091_expiration_fault(text, &fault);
        strcat(wanted, table[i].text);
        strcat(wanted, "': ");
        strcat(wanted, table[i].why);
        assert_int_equal(fault.code, 406);
        assert_int_equal(fault.text_bytes, strlen(wanted));
        assert_memory_equal(fault.text, wanted, fault.text_bytes);
    }
}

static void
the_longest_property_fits_its_text(void **unused)
{
    (void)unused;
    uint8_t longest[255];
    struct lp_fault fault;
    memset(longest, '9', sizeof(longest));
    amqp091_expiration_fault(lp_bytes_of(longest, sizeof(longest)), &fault);
    assert_int_equal(fault.text_bytes, LP_FAULT_TEXT_BYTES);
    memset(longest, 1, sizeof(longest));
    longest[0] = '1';
    amqp091_expiration_fault(lp_bytes_of(longest, sizeof(longest)), &fault);
    assert_int_equal(fault.text_bytes, LP_FAULT_TEXT_BYTES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_with_a_sign_are_milliseconds),
        cmocka_unit_test(signs_and_zeros_in_front_are_odd_and_left_out),
        cmocka_unit_test(everything_else_is_refused_in_rabbitmqs_words),
        cmocka_unit_test(the_longest_property_fits_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
