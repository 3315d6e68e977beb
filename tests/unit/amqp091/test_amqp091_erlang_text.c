/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are terms in texts laid out as Erlang lays them out?
 *
 * Method: tables of terms at given columns and what io_lib:format("~tp") of
 * Erlang/OTP 25 made of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/erlang_text.h"
#include "dataplane/protocol/amqp091/fault_text.h"

#define X41 "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""
#define S27 "                           "
#define S47 "                                               "

static void
check_text(const struct lp_fault *fault, const char *wanted)
{
    assert_int_equal(fault->text_bytes, strlen(wanted));
    assert_memory_equal(fault->text, wanted, fault->text_bytes);
}

static struct lp_fault
text_of_columns(uint32_t columns)
{
    struct lp_fault fault;
    amqp091_text_begin(&fault, 501);
    for (uint32_t i = 0; i < columns; i++) {
        amqp091_text_add(&fault, "\xc3\xa9"); /* one column, two octets */
    }
    return fault;
}

static void
tuples_are_broken_where_erlang_breaks_them(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t columns;
        const char *tag;
        const char *leaf[3];
        const char *wanted;
    } table[] = {
        {26, "value_negative", {"-1"}, "{value_negative,-1}"},
        {46,
         "value_too_large",
         {"99999999999999999999999"},
         "{value_too_large,\n" S47 "99999999999999999999999}"},
        {26,
         "leftover_string",
         {"231", "119", "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""},
         "{leftover_string,231,119,\n                              "
         "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"},
        {5,
         "abcdefgh",
         {"202", "2577983514971902401714701456662038624319375965550"},
         "{abcdefgh,202,2577983514971902401714701456662038624319375965550}"},
        {1, "abcdefgh", {"70", X41, "133"}, "{abcdefgh,70," X41 ",133}"},
        {2,
         "a",
         {"7414755640325852143732413255344810",
          "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"", "3700963174804"},
         "{a,7414755640325852143732413255344810,\n     "
         "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\",3700963174804}"},
        {22,
         "value_too_large",
         {"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"", "28"},
         "{value_too_large,\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\",\n                          28}"},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(table); i++) {
        struct lp_bytes leaf[3];
        uint32_t count = 0;
        for (; count < 3 && table[i].leaf[count]; count++) {
            leaf[count] = lp_bytes_of_text(table[i].leaf[count]);
        }
        struct lp_fault fault = text_of_columns(table[i].columns);
        const uint32_t before = fault.text_bytes;
        amqp091_erlang_add_tuple(&fault, table[i].tag, leaf, count);
        assert_int_equal(fault.text_bytes - before, strlen(table[i].wanted));
        assert_memory_equal(fault.text + before, table[i].wanted, fault.text_bytes - before);
    }
}

static void
frames_are_shown_with_line_breaks(void **unused)
{
    (void)unused;
    static const uint8_t octets[] = {117, 208, 169, 212, 228, 239, 243, 147, 141,
                                     180, 181, 126, 158, 237, 188, 212, 1};
    const uint64_t sizes[] = {5004, 131064};
    struct lp_fault fault;
    amqp091_text_begin(&fault, 501);
    amqp091_text_add_frame(&fault, 8, lp_bytes_of(octets, sizeof(octets)));
    amqp091_text_add(&fault, ": ");
    amqp091_erlang_add_numbers(&fault, "frame_too_large", sizes, 2);
    check_text(&fault, "type 8, first 16 octets = <<117,208,169,212,228,239,243,147,141,180,181,"
                       "126,\n" S27 " 158,237,188,212>>: {frame_too_large,5004,131064}");

    const uint64_t marker = 205;
    amqp091_text_begin(&fault, 501);
    amqp091_text_add_frame(&fault, 1, lp_bytes_of("\0\x14\0\x0a\0", 5));
    amqp091_text_add(&fault, ": ");
    amqp091_erlang_add_numbers(&fault, "invalid_frame_end_marker", &marker, 1);
    check_text(&fault, "type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,205}");

    static const uint8_t mixed[] = {228, 65,  13, 65, 13, 9,  27, 65,
                                    200, 228, 92, 34, 65, 34, 13, 65};
    amqp091_text_begin(&fault, 501);
    amqp091_text_add_frame(&fault, 200, lp_bytes_of(mixed, sizeof(mixed)));
    amqp091_text_add(&fault, ": ");
    amqp091_erlang_add_numbers(&fault, "invalid_frame_end_marker", &marker, 1);
    check_text(&fault, "type 200, all octets = <<\"\xc3\xa4"
                       "A\\rA\\r\\t\\eA\xc3\x88\xc3\xa4\\\\\\\"A\\\"\\rA\">>: "
                       "{invalid_frame_end_marker,\n" S27 S27 "  205}");
}

static void
binaries_are_text_when_every_character_can_be_shown(void **unused)
{
    (void)unused;
    static const struct {
        struct lp_bytes octets;
        const char *wanted;
    } table[] = {
        {{(const uint8_t *)"", 0}, "<<>>"},
        {{(const uint8_t *)"a\"\\\n\x1b", 5}, "<<\"a\\\"\\\\\\n\\e\">>"},
        {{(const uint8_t *)"\xc3\xa9", 2}, "<<\"\xc3\xa9\"/utf8>>"},
        {{(const uint8_t *)"\xe2\x82\xac", 3}, "<<\"\xe2\x82\xac\"/utf8>>"},
        {{(const uint8_t *)"\xe4"
                           "A",
          2},
         "<<\"\xc3\xa4"
         "A\">>"}, /* not UTF-8, but Latin-1 */
        {{(const uint8_t *)"\x80"
                           "A",
          2},
         "<<128,65>>"},
        {{(const uint8_t *)"A\0", 2}, "<<65,0>>"},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(table); i++) {
        struct lp_fault fault;
        amqp091_text_begin(&fault, 501);
        amqp091_erlang_add_binary(&fault, table[i].octets);
        check_text(&fault, table[i].wanted);
    }
    struct lp_fault fault;
    amqp091_text_begin(&fault, 501);
    amqp091_erlang_add_octets(&fault, lp_bytes_of_text("abc")); /* ~w knows no text */
    check_text(&fault, "<<97,98,99>>");
}

static void
strings_are_lists_when_they_cannot_be_shown(void **unused)
{
    (void)unused;
    char room[AMQP091_ERLANG_STRING_BYTES];
    uint8_t long_list[255] = {200};
    memset(long_list, 1, sizeof(long_list));
    assert_true(lp_bytes_equal_text(amqp091_erlang_string(lp_bytes_of_text(".5"), room), "\".5\""));
    assert_true(lp_bytes_equal_text(amqp091_erlang_string(lp_bytes_of("\1\2", 2), room), "[1,2]"));
    assert_true(
        lp_bytes_equal_text(amqp091_erlang_string(lp_bytes_of("\xe9", 1), room), "\"\xc3\xa9\""));
    assert_true(lp_bytes_equal_text(amqp091_erlang_string(lp_bytes_of("", 0), room), "[]"));
    memset(long_list, 200, sizeof(long_list));
    long_list[0] = 0;
    assert_int_equal(amqp091_erlang_string(lp_bytes_of(long_list, sizeof(long_list)), room).size,
                     1 + 254 * 4 + 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tuples_are_broken_where_erlang_breaks_them),
        cmocka_unit_test(frames_are_shown_with_line_breaks),
        cmocka_unit_test(binaries_are_text_when_every_character_can_be_shown),
        cmocka_unit_test(strings_are_lists_when_they_cannot_be_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
