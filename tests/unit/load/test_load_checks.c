/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does lepus-bench notice what it is there to notice: messages that are lost,
 * doubled, late or damaged?
 */
#include "bench/load/message.h"
#include "bench/load/schedule.h"
#include "bench/load/stream.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
in_order_and_once_needs_no_memory(void **unused)
{
    (void)unused;
    struct load_stream stream = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(load_stream_mark(&stream, i), LOAD_SEEN_FIRST);
    }
    assert_null(stream.bits);
    assert_int_equal(load_stream_mark(&stream, 999), LOAD_SEEN_AGAIN);
    assert_int_equal(stream.received, 1000);
}

static void
what_comes_early_is_remembered_and_seen_twice_only_once(void **unused)
{
    (void)unused;
    struct load_stream stream = {0};
    /* Backwards in strides, so that the window grows several times. */
    for (uint64_t i = 10000; i-- > 0;) {
        const uint64_t sequence = i / 100 * 100 + (99 - i % 100);
        assert_int_equal(load_stream_mark(&stream, sequence), LOAD_SEEN_FIRST);
        assert_int_equal(load_stream_mark(&stream, sequence), LOAD_SEEN_AGAIN);
    }
    assert_int_equal(stream.base, 10000);
    assert_int_equal(stream.early, 0);
    assert_int_equal(stream.received, 10000);
    load_stream_fini(&stream);
}

static void
a_lost_message_leaves_a_hole_and_the_rest_counts(void **unused)
{
    (void)unused;
    struct load_stream stream = {0};
    for (uint64_t i = 0; i < 5000; i++) {
        if (i != 17) {
            assert_int_equal(load_stream_mark(&stream, i), LOAD_SEEN_FIRST);
        }
    }
    assert_int_equal(stream.received, 4999);
    assert_int_equal(stream.base, 17);
    assert_int_equal(load_stream_mark(&stream, LOAD_STREAM_BITS_MAX * 2), LOAD_SEEN_FAR);
    load_stream_fini(&stream);
}

static void
any_bit_that_changes_in_stamp_or_tail_is_noticed(void **unused)
{
    (void)unused;
    uint8_t body[40] = {0};
    struct load_stamp stamp = {
        .due_ns = 123456789012345, .sequence = 77, .publisher = 5, .run = 4711};
    struct load_stamp read;
    uint32_t missed = 0;
    load_stamp_write(stamp, sizeof(body), body, body + 32);
    assert_true(load_stamp_read(&read, sizeof(body), body, body + 32));
    assert_int_equal(read.due_ns, stamp.due_ns);
    assert_int_equal(read.sequence, 77);
    assert_int_equal(read.publisher, 5);
    assert_int_equal(read.run, 4711);
    assert_false(load_stamp_read(&read, 39, body, NULL)); /* of another size */
    for (uint32_t bit = 0; bit < sizeof(body) * 8; bit++) {
        if (bit / 8 >= LOAD_STAMP_BYTES && bit / 8 < 32) {
            continue; /* filler, which is compared elsewhere */
        }
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        missed += load_stamp_read(&read, sizeof(body), body, body + 32) ? 1 : 0;
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(missed, 0);
}

static void
time_of_48_bits_wraps(void **unused)
{
    (void)unused;
    assert_int_equal(load_since((1ull << 48) + 5, LOAD_TIME_MASK - 4), 10);
    assert_int_equal(load_since(100, 101), 0); /* due a moment after it was sent */
}

static void
publishers_come_in_the_order_in_which_they_are_due(void **unused)
{
    (void)unused;
    enum { COUNT = 100 };
    static struct load_publisher publishers[COUNT];
    const struct load_options options = {.rate = 1};
    struct load_schedule schedule = {0};
    assert_true(load_schedule_init(&schedule, COUNT));
    for (uint32_t i = 0; i < COUNT; i++) {
        publishers[i].options = &options;
        publishers[i].place = LOAD_PLACE_NONE;
        publishers[i].due_ns = 1000 + i * 37 % COUNT;
        load_schedule_add(&schedule, &publishers[i]);
        load_schedule_add(&schedule, &publishers[i]); /* is in already */
    }
    assert_int_equal(schedule.count, COUNT);
    assert_null(load_schedule_pop(&schedule, 999));
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(load_schedule_next_ns(&schedule), 1000 + i);
        assert_int_equal(load_schedule_pop(&schedule, 2000)->due_ns, 1000 + i);
    }
    assert_int_equal(load_schedule_next_ns(&schedule), UINT64_MAX);
    load_schedule_fini(&schedule);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_once_needs_no_memory),
        cmocka_unit_test(what_comes_early_is_remembered_and_seen_twice_only_once),
        cmocka_unit_test(a_lost_message_leaves_a_hole_and_the_rest_counts),
        cmocka_unit_test(any_bit_that_changes_in_stamp_or_tail_is_noticed),
        cmocka_unit_test(time_of_48_bits_wraps),
        cmocka_unit_test(publishers_come_in_the_order_in_which_they_are_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
