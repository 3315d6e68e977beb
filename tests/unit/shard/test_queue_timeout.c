/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries that nobody acknowledges (C134).
 *
 * The queue looks now and then: a time-out is told late, never early.
 */
#include "tests/unit/shard/queue_rig.h"

static void
timeout_open(struct queue_rig *rig, uint64_t timeout_ms)
{
    queue_rig_open(rig);
    rig->settings.consumer_timeout_ms = timeout_ms;
    queue_rig_start(rig);
}

/* Time in small steps, so that every look at the queue happens when it is due. */
static void
seconds(struct queue_rig *rig, uint32_t count)
{
    for (uint32_t i = 0; i < count * 4; i++) {
        rig->rig.now_ns += 250000000u;
        (void)rig_turn(&rig->rig);
    }
    rig_settle(&rig->rig);
}

static void
a_late_acknowledgement_is_told_and_told_again(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    timeout_open(&rig, 10000);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_send(&rig, 1, 2);
    seconds(&rig, 10);
    assert_int_equal(rig.reader->timed_out, 0);
    seconds(&rig, 2);
    assert_true(rig.reader->timed_out > 0);
    assert_int_equal(rig.reader->timeout_ms, 10000);
    const uint32_t told = rig.reader->timed_out;
    client_ack(rig.reader, 1);
    seconds(&rig, 10);
    assert_true(rig.reader->timed_out > told); /* the second is as old */
    client_ack(rig.reader, 2);
    rig_settle(&rig.rig);
    const uint32_t last = rig.reader->timed_out;
    seconds(&rig, 60);
    assert_int_equal(rig.reader->timed_out, last);
    queue_rig_close(&rig);
}

static void
who_acknowledges_in_time_or_not_at_all_hears_nothing(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    timeout_open(&rig, 10000);
    (void)client_consume(rig.reader, "q", 1);
    queue_rig_send(&rig, 1, 10);
    for (uint64_t number = 1; number <= 9; number++) {
        seconds(&rig, 8);
        client_ack(rig.reader, number);
        rig_settle(&rig.rig);
    }
    assert_int_equal(rig.reader->timed_out, 0);
    client_ack(rig.reader, 10);
    /* What needs no acknowledgement cannot be late with it. */
    const struct lp_consume consume = {
        .queue = client_queue(rig.publisher, "q"), .no_ack = true, .user = rig.publisher};
    struct lp_consumer *consumer;
    assert_int_equal(lp_session_consume(rig.publisher->session, &consume, &consumer), LP_LATER);
    rig_settle(&rig.rig);
    rig.publisher->output_full = true;
    queue_rig_send(&rig, 11, 2);
    seconds(&rig, 60);
    assert_int_equal(rig.publisher->timed_out, 0);
    queue_rig_close(&rig);
}

static void
gets_and_cancelled_consumers_are_watched_too(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    timeout_open(&rig, 2000);
    queue_rig_send(&rig, 1, 2);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    seconds(&rig, 6);
    assert_true(rig.reader->timed_out > 0);
    client_ack(rig.reader, 1);
    struct lp_consumer *consumer = client_consume(rig.reader, "q", 0);
    assert_int_equal(lp_session_cancel(rig.reader->session, consumer), LP_LATER);
    rig_settle(&rig.rig);
    const uint32_t told = rig.reader->timed_out;
    seconds(&rig, 6);
    assert_true(rig.reader->timed_out > told);
    queue_rig_close(&rig);
}

static void
a_changed_time_counts_from_the_next_look(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    timeout_open(&rig, LP_SETTING_UNSET);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_send(&rig, 1, 1);
    seconds(&rig, 1000);
    assert_int_equal(rig.reader->timed_out, 0);
    rig.settings.consumer_timeout_ms = 1800000;
    queue_rig_configure(&rig);
    seconds(&rig, 790);
    assert_int_equal(rig.reader->timed_out, 0);
    seconds(&rig, 80); /* it is looked once a minute */
    assert_int_equal(rig.reader->timed_out, 1);
    assert_int_equal(rig.reader->timeout_ms, 1800000);
    rig.settings.consumer_timeout_ms = LP_SETTING_UNSET;
    queue_rig_configure(&rig);
    seconds(&rig, 200);
    assert_int_equal(rig.reader->timed_out, 1);
    queue_rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_acknowledgement_is_told_and_told_again),
        cmocka_unit_test(who_acknowledges_in_time_or_not_at_all_hears_nothing),
        cmocka_unit_test(gets_and_cancelled_consumers_are_watched_too),
        cmocka_unit_test(a_changed_time_counts_from_the_next_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
