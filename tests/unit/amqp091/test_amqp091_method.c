/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are methods' arguments read as the specification lays them out, and is
 * everything that is not so refused?
 *
 * Method: some methods by hand, each also cut at every length and with a byte
 * too many; a walk over all numbers; UTF-8 from the tables of its standard.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/protocol/amqp091/sasl.h"

static uint8_t buffer[512];

static struct lp_bytes
declare_payload(const char *name)
{
    struct lp_writer writer = lp_writer_of(buffer, sizeof(buffer));
    lp_writer_u32be(&writer, AMQP091_QUEUE_DECLARE);
    lp_writer_u16be(&writer, 0);
    lp_writer_short(&writer, lp_bytes_of_text(name));
    lp_writer_u8(&writer, 0x12);
    lp_writer_u32be(&writer, 8); /* {"k": int32} */
    lp_writer_short(&writer, lp_bytes_of_text("kk"));
    lp_writer_u8(&writer, 'I');
    lp_writer_u32be(&writer, 7);
    assert_false(writer.failed);
    return lp_writer_bytes(&writer);
}

static void
arguments_come_out_where_they_belong(void **unused)
{
    (void)unused;
    struct amqp091_method method;
    assert_int_equal(amqp091_method_decode(declare_payload("queue"), &method), AMQP091_DECODED);
    assert_int_equal(method.id, AMQP091_QUEUE_DECLARE);
    assert_true(lp_bytes_equal_text(method.name[0], "queue"));
    assert_int_equal(method.bits, 0x12);
    assert_int_equal(method.table.size, 8);
}

static void
a_byte_too_few_or_too_many_is_malformed(void **unused)
{
    (void)unused;
    struct amqp091_method method;
    const struct lp_bytes payload = declare_payload("queue");
    for (uint32_t size = 0; size < payload.size; size++) {
        const enum amqp091_decode decoded =
            amqp091_method_decode(lp_bytes_of(payload.data, size), &method);
        assert_int_equal(decoded, size < 4 ? AMQP091_DECODE_NO_METHOD : AMQP091_DECODE_MALFORMED);
    }
    buffer[payload.size] = 0;
    assert_int_equal(amqp091_method_decode(lp_bytes_of(buffer, payload.size + 1), &method),
                     AMQP091_DECODE_MALFORMED);
}

static void
a_malformed_table_is_malformed(void **unused)
{
    (void)unused;
    struct amqp091_method method;
    const struct lp_bytes payload = declare_payload("q");
    buffer[payload.size - 5] = 'Z'; /* no such field type */
    assert_int_equal(amqp091_method_decode(payload, &method), AMQP091_DECODE_MALFORMED);
}

static void
names_must_be_utf8_but_not_in_publish(void **unused)
{
    (void)unused;
    struct amqp091_method method;
    assert_int_equal(amqp091_method_decode(declare_payload("\xff\xfe"), &method),
                     AMQP091_DECODE_NOT_UTF8);
    struct lp_writer writer = lp_writer_of(buffer, sizeof(buffer));
    lp_writer_u32be(&writer, AMQP091_BASIC_PUBLISH);
    lp_writer_u16be(&writer, 0);
    lp_writer_short(&writer, lp_bytes_of_text("x"));
    lp_writer_short(&writer, lp_bytes_of_text("\xff"));
    lp_writer_u8(&writer, 1);
    assert_int_equal(amqp091_method_decode(lp_writer_bytes(&writer), &method), AMQP091_DECODED);
    assert_true(lp_bytes_equal_text(method.name[1], "\xff"));
}

/* What has no arguments, or only such as may be zero, decodes from zeros; the rest does not crash.
 */
static void
every_number_is_known_or_not(void **unused)
{
    (void)unused;
    static const uint32_t known[] = {
#define X(name, class_number, method_number, arguments) AMQP091_##name,
        AMQP091_METHOD_LIST(X)
#undef X
    };
    struct amqp091_method method;
    uint32_t found = 0;
    memset(buffer, 0, sizeof(buffer));
    for (uint32_t class_id = 0; class_id < 128; class_id++) {
        for (uint32_t method_id = 0; method_id < 256; method_id++) {
            struct lp_writer writer = lp_writer_of(buffer, sizeof(buffer));
            lp_writer_u32be(&writer, (class_id << 16) | method_id);
            const enum amqp091_decode decoded =
                amqp091_method_decode(lp_bytes_of(buffer, 64), &method);
            found += decoded != AMQP091_DECODE_UNKNOWN;
        }
    }
    assert_int_equal(found, sizeof(known) / sizeof(known[0]));
}

static void
utf8_is_told_from_what_only_looks_like_it(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\xc3\xa4", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x90\x87", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xc3", false},             /* cut */
        {"\x80", false},             /* no lead */
        {"\xc0\xaf", false},         /* overlong */
        {"\xe0\x80\xaf", false},     /* overlong */
        {"\xf0\x80\x80\xaf", false}, /* overlong */
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", false},
        {"\xe2\x82", false},
        {"\xf0\x9f\x90", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(amqp091_is_utf8(lp_bytes_of_text(cases[i].text)), cases[i].good);
    }
}

static void
credentials_are_read_from_plain_and_amqplain(void **unused)
{
    (void)unused;
    struct amqp091_credentials got;
    const uint8_t plain = amqp091_sasl_find(lp_bytes_of_text("PLAIN"));
    assert_true(amqp091_sasl_read(plain, lp_bytes_of("\0guest\0secret", 13), &got));
    assert_true(lp_bytes_equal_text(got.user, "guest"));
    assert_true(lp_bytes_equal_text(got.password, "secret"));
    assert_true(amqp091_sasl_read(plain, lp_bytes_of("\0\0", 2), &got));
    assert_int_equal(got.user.size, 0);
    assert_false(amqp091_sasl_read(plain, lp_bytes_of_text("guest"), &got));
    assert_false(amqp091_sasl_read(plain, lp_bytes_of("\0guest", 6), &got));
    assert_false(amqp091_sasl_read(plain, lp_bytes_of("\0a\0b\0c", 6), &got));
    assert_int_equal(plain, LP_MECHANISM_PLAIN);
    assert_int_equal(amqp091_sasl_find(lp_bytes_of_text("plain")), 0);
    assert_false(amqp091_sasl_read(0, lp_bytes_of("\0a\0b", 4), &got));
    assert_false(amqp091_sasl_read(LP_MECHANISM_EXTERNAL, lp_bytes_of("\0a\0b", 4), &got));

    struct lp_writer writer = lp_writer_of(buffer, sizeof(buffer));
    lp_writer_short(&writer, lp_bytes_of_text("LOGIN"));
    lp_writer_u8(&writer, 'S');
    lp_writer_long_be(&writer, lp_bytes_of_text("guest"));
    const struct lp_bytes half = lp_writer_bytes(&writer);
    const uint8_t amqplain = amqp091_sasl_find(lp_bytes_of_text("AMQPLAIN"));
    assert_false(amqp091_sasl_read(amqplain, half, &got));
    lp_writer_short(&writer, lp_bytes_of_text("PASSWORD"));
    lp_writer_u8(&writer, 'S');
    lp_writer_long_be(&writer, lp_bytes_of_text("secret"));
    assert_true(amqp091_sasl_read(amqplain, lp_writer_bytes(&writer), &got));
    assert_true(lp_bytes_equal_text(got.password, "secret"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_come_out_where_they_belong),
        cmocka_unit_test(a_byte_too_few_or_too_many_is_malformed),
        cmocka_unit_test(a_malformed_table_is_malformed),
        cmocka_unit_test(names_must_be_utf8_but_not_in_publish),
        cmocka_unit_test(every_number_is_known_or_not),
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
        cmocka_unit_test(credentials_are_read_from_plain_and_amqplain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
