/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do faults say what RabbitMQ says, and never more than a short string holds?
 *
 * Method: the texts that clients are known to match on, letter by letter; then
 * names so long that the text must be cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/erlang_text.h"
#include "dataplane/protocol/amqp091/fault_text.h"

static void
check_reply(const struct lp_fault *fault, const char *expected)
{
    char text[AMQP091_REPLY_TEXT_BYTES];
    const uint32_t bytes = amqp091_text_reply(fault, text);
    assert_int_equal(bytes, strlen(expected));
    assert_memory_equal(text, expected, bytes);
}

static void
texts_are_rabbitmqs(void **unused)
{
    (void)unused;
    struct lp_fault fault;
    const struct lp_bytes vhost = lp_bytes_of_text("/");
    amqp091_text_missing(&fault, "queue", lp_bytes_of_text("q"), vhost);
    check_reply(&fault, "NOT_FOUND - no queue 'q' in vhost '/'");
    amqp091_text_locked(&fault, lp_bytes_of_text("q"), vhost);
    check_reply(&fault,
                "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in "
                "vhost '/'. It could be originally declared on another connection or the "
                "exclusive property value does not match that of the original declaration.");
    amqp091_text_make(&fault, 540, "prefetch_size!=0 (");
    amqp091_text_add_number(&fault, 18446744073709551615u);
    amqp091_text_add(&fault, ")");
    check_reply(&fault, "NOT_IMPLEMENTED - prefetch_size!=0 (18446744073709551615)");
    amqp091_text_make(&fault, 530, "n ");
    amqp091_text_add_number(&fault, 0);
    check_reply(&fault, "NOT_ALLOWED - n 0");
}

static void
frames_are_shown_as_erlang_shows_them(void **unused)
{
    (void)unused;
    struct lp_fault fault;
    const uint8_t method[] = {0, 20, 0, 20, 1};
    amqp091_text_begin(&fault, 501);
    amqp091_text_add_frame(&fault, 1, lp_bytes_of(method, sizeof(method)));
    check_reply(&fault, "FRAME_ERROR - type 1, all octets = <<0,20,0,20,1>>");
    amqp091_text_begin(&fault, 505);
    amqp091_text_add_frame(&fault, 8, lp_bytes_of(NULL, 0));
    check_reply(&fault, "UNEXPECTED_FRAME - type 8, all octets = <<>>");
    amqp091_text_begin(&fault, 501);
    amqp091_text_add_frame(&fault, 8, lp_bytes_of_text("0123456789abcdefg"));
    check_reply(&fault, "FRAME_ERROR - type 8, first 16 octets = <<\"0123456789abcdef\">>");
}

static void
long_texts_are_cut_to_255_bytes(void **unused)
{
    (void)unused;
    struct lp_fault fault;
    char name[250];
    char expected[600] = "NOT_FOUND - no queue '";
    char text[AMQP091_REPLY_TEXT_BYTES];
    memset(name, 'q', sizeof(name));
    memset(expected + strlen(expected), 'q', sizeof(name));
    amqp091_text_missing(&fault, "queue", lp_bytes_of(name, sizeof(name)), lp_bytes_of_text("/"));
    assert_int_equal(amqp091_text_reply(&fault, text), 255);
    assert_memory_equal(text, expected, 252);
    assert_memory_equal(text + 252, "...", 3);

    uint8_t binary[4096] = {0};
    amqp091_text_begin(&fault, 501);
    amqp091_erlang_add_octets(&fault, lp_bytes_of(binary, sizeof(binary)));
    assert_int_equal(amqp091_text_reply(&fault, text), 255);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_rabbitmqs),
        cmocka_unit_test(frames_are_shown_as_erlang_shows_them),
        cmocka_unit_test(long_texts_are_cut_to_255_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
