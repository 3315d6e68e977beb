/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the parser find the same frames however the bytes are split?
 *
 * Method: a stream with every kind of frame is offered in two parts, split at
 * every position, and byte by byte; what came out is written down as a text
 * and compared with what the whole gives.  Then each way a frame can be wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/frame.h"

#define FRAME_MAX 4096u

static uint8_t stream[8192];
static uint32_t stream_bytes;

static void
frame_add(uint8_t type, uint16_t channel, const char *payload, uint32_t bytes)
{
    struct lp_writer writer = lp_writer_of(stream + stream_bytes, sizeof(stream) - stream_bytes);
    lp_writer_u8(&writer, type);
    lp_writer_u16be(&writer, channel);
    lp_writer_u32be(&writer, bytes);
    lp_writer_copy(&writer, payload, bytes);
    lp_writer_u8(&writer, AMQP091_FRAME_END);
    assert_false(writer.failed);
    stream_bytes += (uint32_t)lp_writer_size(&writer);
}

static int
stream_make(void **unused)
{
    (void)unused;
    stream_bytes = 0;
    frame_add(AMQP091_FRAME_METHOD, 1, "abcdefgh", 8);
    frame_add(AMQP091_FRAME_HEADER, 1, "0123456789ab", 12);
    frame_add(AMQP091_FRAME_BODY, 1, "the quick brown fox jumps over", 30);
    frame_add(AMQP091_FRAME_BODY, 1, "", 0);
    frame_add(AMQP091_FRAME_HEARTBEAT, 0, "", 0);
    frame_add(AMQP091_FRAME_BODY, 65535, "x", 1);
    frame_add(AMQP091_FRAME_METHOD, 2, "\316\316\316\316", 4);
    return 0;
}

/* What was seen: frames' types and channels, and payloads joined over pieces. */
struct seen {
    char text[1024];
    size_t used;
};

static void
note(struct seen *seen, const struct amqp091_frame *frame)
{
    char line[64] = "";
    if (frame->first) {
        (void)snprintf(line, sizeof(line), "[%u %u %u ", frame->type, frame->channel,
                       frame->payload_bytes);
    }
    const size_t length = strlen(line);
    assert_true(seen->used + length + frame->payload.size + 2 < sizeof(seen->text));
    memcpy(seen->text + seen->used, line, length);
    seen->used += length;
    if (frame->payload.size > 0) {
        memcpy(seen->text + seen->used, frame->payload.data, frame->payload.size);
        seen->used += frame->payload.size;
    }
    if (frame->last) {
        seen->text[seen->used++] = ']';
    }
}

/* Parse what is there; gives how many bytes were used. */
static uint32_t
parse(struct amqp091_parser *parser, const uint8_t *data, uint32_t bytes, struct seen *seen)
{
    uint32_t used = 0;
    struct amqp091_frame frame;
    for (;;) {
        const struct lp_bytes left = lp_bytes_of(data + used, bytes - used);
        const enum amqp091_frame_result result = amqp091_parser_look(parser, left, &frame);
        if (result == AMQP091_FRAME_MORE) {
            return used;
        }
        assert_int_equal(result, AMQP091_FRAME_FOUND);
        assert_true(frame.used > 0 && frame.used <= left.size);
        note(seen, &frame);
        amqp091_parser_take(parser, &frame);
        used += frame.used;
    }
}

static void
whole(struct seen *seen)
{
    struct amqp091_parser parser;
    memset(seen, 0, sizeof(*seen));
    amqp091_parser_init(&parser, FRAME_MAX);
    assert_int_equal(parse(&parser, stream, stream_bytes, seen), stream_bytes);
}

static void
frames_are_found_in_order(void **unused)
{
    (void)unused;
    struct seen seen;
    whole(&seen);
    assert_string_equal(seen.text, "[1 1 8 abcdefgh][2 1 12 0123456789ab]"
                                   "[3 1 30 the quick brown fox jumps over][3 1 0 ][8 0 0 ]"
                                   "[3 65535 1 x][1 2 4 \316\316\316\316]");
}

static void
every_split_gives_the_same_frames(void **unused)
{
    (void)unused;
    struct seen expected;
    whole(&expected);
    for (uint32_t split = 0; split <= stream_bytes; split++) {
        struct amqp091_parser parser;
        struct seen seen = {0};
        amqp091_parser_init(&parser, FRAME_MAX);
        const uint32_t used = parse(&parser, stream, split, &seen);
        assert_true(used <= split);
        assert_int_equal(parse(&parser, stream + used, stream_bytes - used, &seen),
                         stream_bytes - used);
        assert_string_equal(seen.text, expected.text);
    }
}

static void
bytes_one_by_one_give_the_same_frames(void **unused)
{
    (void)unused;
    struct seen expected;
    struct seen seen = {0};
    struct amqp091_parser parser;
    uint32_t used = 0;
    whole(&expected);
    amqp091_parser_init(&parser, FRAME_MAX);
    for (uint32_t have = 1; have <= stream_bytes; have++) {
        used += parse(&parser, stream + used, have - used, &seen);
    }
    assert_int_equal(used, stream_bytes);
    assert_string_equal(seen.text, expected.text);
}

static void
looking_twice_changes_nothing(void **unused)
{
    (void)unused;
    struct amqp091_parser parser;
    struct amqp091_frame first;
    struct amqp091_frame second;
    amqp091_parser_init(&parser, FRAME_MAX);
    const struct amqp091_parser before = parser;
    const struct lp_bytes input = lp_bytes_of(stream, stream_bytes);
    assert_int_equal(amqp091_parser_look(&parser, input, &first), AMQP091_FRAME_FOUND);
    assert_int_equal(amqp091_parser_look(&parser, input, &second), AMQP091_FRAME_FOUND);
    assert_int_equal(first.used, second.used);
    assert_memory_equal(&before, &parser, sizeof(parser));
}

static void
a_wrong_end_octet_is_found_whole_or_in_pieces(void **unused)
{
    (void)unused;
    struct amqp091_parser parser;
    struct amqp091_frame frame;
    stream_bytes = 0;
    frame_add(AMQP091_FRAME_BODY, 1, "0123456789abcdefghij", 20);
    stream[stream_bytes - 1] = 7;

    amqp091_parser_init(&parser, FRAME_MAX);
    assert_int_equal(amqp091_parser_look(&parser, lp_bytes_of(stream, stream_bytes), &frame),
                     AMQP091_FRAME_BAD_END);
    assert_int_equal(frame.end_octet, 7);
    assert_int_equal(frame.snippet.size, 20);

    struct seen seen = {0};
    const uint32_t used = parse(&parser, stream, 7 + 18, &seen);
    assert_int_equal(used, 7 + 18);
    assert_int_equal(
        amqp091_parser_look(&parser, lp_bytes_of(stream + used, stream_bytes - used), &frame),
        AMQP091_FRAME_BAD_END);
    assert_int_equal(frame.end_octet, 7);
    assert_int_equal(frame.snippet.size, AMQP091_SNIPPET_BYTES);
    assert_memory_equal(frame.snippet.data, "0123456789abcdef", AMQP091_SNIPPET_BYTES);
    stream_make(NULL);
}

static void
a_frame_may_be_8_bytes_too_large_and_no_more(void **unused)
{
    (void)unused;
    struct amqp091_parser parser;
    struct amqp091_frame frame;
    uint8_t header[] = {3, 0, 1, 0, 0, 0x10, 0x00}; /* payload of 4096 */
    amqp091_parser_init(&parser, FRAME_MAX);
    assert_int_equal(amqp091_parser_look(&parser, lp_bytes_of(header, sizeof(header)), &frame),
                     AMQP091_FRAME_MORE);
    header[6] = 1;
    assert_int_equal(amqp091_parser_look(&parser, lp_bytes_of(header, sizeof(header)), &frame),
                     AMQP091_FRAME_TOO_LARGE);
    assert_int_equal(frame.payload_bytes, 4097);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_found_in_order),
        cmocka_unit_test(every_split_gives_the_same_frames),
        cmocka_unit_test(bytes_one_by_one_give_the_same_frames),
        cmocka_unit_test(looking_twice_changes_nothing),
        cmocka_unit_test(a_wrong_end_octet_is_found_whole_or_in_pieces),
        cmocka_unit_test(a_frame_may_be_8_bytes_too_large_and_no_more),
    };
    return cmocka_run_group_tests(tests, stream_make, NULL);
}
