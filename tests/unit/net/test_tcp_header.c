/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers and options of segments, good and broken.
 *
 * Goal: what RFC 9293, 7323 and 2018 say is read, in any order and with any
 * padding; what is cut short or lies about its length is refused, and nothing
 * behind the packet's end is ever read (each packet is a block of its size).
 */
#include "tests/unit/base/base_test.h"

#include "dataplane/net/tcp/inbound.h"

#define HEADER 20u

/* Parse a copy that ends where its memory ends. */
static bool
parse(const uint8_t *bytes, uint32_t count, struct tcp_segment *ret_segment)
{
    uint8_t *copy = malloc(count == 0 ? 1 : count);
    assert_non_null(copy);
    memcpy(copy, bytes, count);
    struct net_packet packet = {.l4 = copy, .l4_bytes = count};
    const bool whole = tcp_segment_parse(&packet, ret_segment);
    if (whole) {
        assert_true(ret_segment->payload >= copy);
        assert_ptr_equal(ret_segment->payload + ret_segment->payload_bytes, copy + count);
    }
    free(copy);
    return whole;
}

/* A header with these options, `options_bytes` a multiple of four, and three bytes of payload. */
static bool
parse_options(uint8_t flags, const uint8_t *options, uint32_t options_bytes,
              struct tcp_segment *ret_segment)
{
    uint8_t bytes[64 + 3] = {0, 7, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, flags, 0x12, 0x34};
    assert_int_equal(options_bytes % 4, 0);
    bytes[12] = (uint8_t)((HEADER + options_bytes) / 4 << 4);
    memcpy(bytes + HEADER, options, options_bytes);
    return parse(bytes, HEADER + options_bytes + 3, ret_segment);
}

static void
fields_are_read(void **unused)
{
    (void)unused;
    struct tcp_segment segment;
    assert_true(parse_options(TCP_ACK | TCP_PSH | 0xc0, (const uint8_t *)"", 0, &segment));
    assert_int_equal(segment.from_port, 7);
    assert_int_equal(segment.to_port, 9);
    assert_int_equal(segment.seq, 0x01020304);
    assert_int_equal(segment.ack, 0x05060708);
    assert_int_equal(segment.window, 0x1234);
    assert_int_equal(segment.flags, TCP_ACK | TCP_PSH | TCP_ECE | TCP_CWR);
    assert_int_equal(segment.payload_bytes, 3);
    assert_false(segment.has_timestamp);
    assert_int_equal(segment.sack_count, 0);
}

static void
options_are_read_in_any_order(void **unused)
{
    (void)unused;
    static const uint8_t options[] = {4, 2, 1, 3, 3, 15,   8,  10, 0, 0, 0, 1, 0, 0,
                                      0, 2, 2, 4, 5, 0xb4, 30, 3,  9, 0, 7, 7, 7, 7};
    struct tcp_segment segment;
    assert_true(parse_options(TCP_SYN, options, sizeof(options), &segment));
    assert_true(segment.sack_permitted);
    assert_true(segment.has_shift);
    assert_int_equal(segment.shift, TCP_WINDOW_SHIFT_MAX); /* RFC 7323 2.3 */
    assert_true(segment.has_timestamp);
    assert_int_equal(segment.timestamp, 1);
    assert_int_equal(segment.echo, 2);
    assert_int_equal(segment.mss_bytes, 1460);
}

static void
what_only_a_syn_may_say_is_ignored_elsewhere(void **unused)
{
    (void)unused;
    static const uint8_t options[] = {4, 2, 1, 3, 3, 7, 1, 1, 2, 4, 5, 0xb4};
    struct tcp_segment segment;
    assert_true(parse_options(TCP_ACK, options, sizeof(options), &segment));
    assert_false(segment.sack_permitted);
    assert_false(segment.has_shift);
    assert_int_equal(segment.mss_bytes, 0);
}

static void
sack_blocks_are_read(void **unused)
{
    (void)unused;
    static const uint8_t options[] = {1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9};
    struct tcp_segment segment;
    assert_true(parse_options(TCP_ACK, options, sizeof(options), &segment));
    assert_int_equal(segment.sack_count, 2);
    assert_int_equal(segment.sack[0].start, 1);
    assert_int_equal(segment.sack[0].end, 2);
    assert_int_equal(segment.sack[1].start, 5);
    assert_int_equal(segment.sack[1].end, 9);
}

static void
the_usual_timestamp_is_read_alike(void **unused)
{
    (void)unused;
    static const uint8_t usual[] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t unusual[] = {8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1};
    struct tcp_segment a;
    struct tcp_segment b;
    assert_true(parse_options(TCP_ACK, usual, sizeof(usual), &a));
    assert_true(parse_options(TCP_ACK, unusual, sizeof(unusual), &b));
    assert_true(a.has_timestamp && b.has_timestamp);
    assert_int_equal(a.timestamp, b.timestamp);
    assert_int_equal(a.echo, b.echo);
    assert_int_equal(a.echo, 0x05060708);
}

static void
options_that_lie_are_refused(void **unused)
{
    (void)unused;
    static const struct {
        uint8_t bytes[12];
        uint8_t count;
    } lies[] = {
        {{30, 0, 1, 1}, 4},                         /* no length */
        {{30, 1, 1, 1}, 4},                         /* shorter than itself */
        {{30, 5, 1, 1}, 4},                         /* beyond the header */
        {{1, 1, 1, 30}, 4},                         /* its length is outside */
        {{2, 3, 5, 1}, 4},                          /* MSS of one byte */
        {{2, 5, 5, 0xb4, 0, 1, 1, 1}, 8},           /* and of three */
        {{3, 2, 1, 1}, 4},                          /* no shift */
        {{3, 4, 1, 1}, 4},                          /* two */
        {{4, 3, 0, 1}, 4},                          /* SACK-permitted with a value */
        {{8, 9, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1}, 12}, /* seven bytes of timestamps */
        {{5, 2, 1, 1}, 4},                          /* no block */
        {{5, 6, 0, 0, 0, 1, 1, 1}, 8},              /* half a block */
    };
    for (size_t i = 0; i < LP_COUNT_OF(lies); i++) {
        struct tcp_segment segment;
        assert_false(parse_options(TCP_SYN, lies[i].bytes, lies[i].count, &segment));
    }
    /* Behind the end of the list anything may be. */
    static const uint8_t ended[] = {0, 30, 0, 1};
    struct tcp_segment segment;
    assert_true(parse_options(TCP_SYN, ended, sizeof(ended), &segment));
}

static void
headers_that_are_cut_or_lie_are_refused(void **unused)
{
    (void)unused;
    uint8_t bytes[40] = {0, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, TCP_ACK};
    struct tcp_segment segment;
    for (uint32_t count = 0; count < HEADER; count++) {
        assert_false(parse(bytes, count, &segment));
    }
    assert_true(parse(bytes, HEADER, &segment));
    for (uint32_t words = 0; words < 16; words++) {
        bytes[12] = (uint8_t)(words << 4);
        assert_int_equal(parse(bytes, sizeof(bytes), &segment), words >= 5 && words <= 10);
    }
    bytes[12] = 0x50;
    bytes[1] = 0;
    assert_false(parse(bytes, HEADER, &segment)); /* from port 0 */
    bytes[1] = 7;
    bytes[3] = 0;
    assert_false(parse(bytes, HEADER, &segment)); /* to port 0 */
}

static void
any_bytes_are_read_within_their_bounds(void **unused)
{
    (void)unused;
    struct random random = {1};
    for (uint32_t round = 0; round < 20000; round++) {
        uint8_t bytes[80];
        const uint32_t count = random_below(&random, sizeof(bytes));
        for (uint32_t i = 0; i < sizeof(bytes); i++) {
            /* Kinds and lengths that are likely to mean something. */
            bytes[i] = (uint8_t)(random_below(&random, 3) == 0 ? random_next(&random)
                                                               : random_below(&random, 12));
        }
        bytes[12] = (uint8_t)(random_below(&random, 16) << 4);
        struct tcp_segment segment;
        if (parse(bytes, count, &segment)) {
            assert_true(segment.sack_count <= TCP_SACK_BLOCKS_MAX);
            assert_true(segment.shift <= TCP_WINDOW_SHIFT_MAX);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_read),
        cmocka_unit_test(options_are_read_in_any_order),
        cmocka_unit_test(what_only_a_syn_may_say_is_ignored_elsewhere),
        cmocka_unit_test(sack_blocks_are_read),
        cmocka_unit_test(the_usual_timestamp_is_read_alike),
        cmocka_unit_test(options_that_lie_are_refused),
        cmocka_unit_test(headers_that_are_cut_or_lie_are_refused),
        cmocka_unit_test(any_bytes_are_read_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
