/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that have a time to live (C141 to C145).
 *
 * Publisher, queue and reader are on three shards, and time is the test's.
 */
#include "tests/unit/shard/queue_rig.h"

/* C141, C142 */
static void
a_message_expires_after_the_queues_ttl(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 1000;
    queue_rig_start(&rig);
    lp_session_confirm_select(rig.publisher->session);
    queue_rig_send(&rig, 1, 3);
    queue_rig_wait(&rig, 400);
    queue_rig_send(&rig, 4, 2);
    assert_int_equal(rig.publisher->confirmed, 5);
    queue_rig_wait(&rig, 599);
    assert_int_equal(queue_rig_ready(&rig), 5);
    queue_rig_wait(&rig, 3);
    assert_int_equal(queue_rig_ready(&rig), 2);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 3);
    queue_rig_wait(&rig, 400);
    assert_int_equal(queue_rig_ready(&rig), 0);
    assert_int_equal(rig.rig.shard[0]->broker.messages.used, 0);
    queue_rig_close(&rig);
}

/* C141 */
static void
the_smaller_of_two_ttls_counts(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 100;
    queue_rig_start(&rig);
    queue_rig_send_ttl(&rig, 1, 50);
    queue_rig_send_ttl(&rig, 2, 5000);
    queue_rig_wait(&rig, 60);
    assert_int_equal(queue_rig_ready(&rig), 1);
    queue_rig_wait(&rig, 50);
    assert_int_equal(queue_rig_ready(&rig), 0);
    queue_rig_close(&rig);
}

/* C142 */
static void
what_expired_behind_a_live_message_counts_and_is_never_delivered(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 1);
    queue_rig_send_ttl(&rig, 2, 10);
    queue_rig_send_ttl(&rig, 3, 10000);
    queue_rig_send_ttl(&rig, 4, 20);
    queue_rig_send(&rig, 5, 1);
    queue_rig_wait(&rig, 100);
    assert_int_equal(queue_rig_ready(&rig), 5);
    assert_int_equal(lp_session_stat(rig.reader->session, client_queue(rig.reader, "q")), LP_LATER);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->ready, 5);
    /* The live one goes, and what was expired behind it with it. */
    assert_int_equal(queue_rig_get(&rig, true), 1);
    assert_int_equal(queue_rig_ready(&rig), 3);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){3, 5}, 2);
    assert_int_equal(queue_rig_ready(&rig), 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 2);
    queue_rig_close(&rig);
}

/* C141 */
static void
the_time_is_kept_through_a_requeue(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    queue_rig_send_ttl(&rig, 1, 1000);
    queue_rig_send(&rig, 2, 1);
    struct lp_consumer *consumer = client_consume(rig.reader, "q", 1);
    queue_rig_wait(&rig, 5000);
    /* While it is unacknowledged it does not expire; back in the queue it does. */
    assert_int_equal(queue_rig_counts(&rig).unacked, 1);
    assert_int_equal(lp_session_settle(rig.reader->session, 1, false, LP_SETTLE_REQUEUE), LP_DONE);
    queue_rig_wait(&rig, 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 2}, 2);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 1);
    assert_int_equal(lp_session_cancel(rig.reader->session, consumer), LP_LATER);
    /* Requeued in time, it expires when it would have. */
    client_ack(rig.reader, 2);
    queue_rig_send_ttl(&rig, 3, 1000);
    assert_int_equal(queue_rig_get(&rig, false), 3);
    queue_rig_wait(&rig, 900);
    assert_int_equal(lp_session_settle(rig.reader->session, 0, true, LP_SETTLE_REQUEUE), LP_DONE);
    queue_rig_wait(&rig, 90);
    assert_int_equal(queue_rig_ready(&rig), 1);
    queue_rig_wait(&rig, 13);
    assert_int_equal(queue_rig_ready(&rig), 0);
    queue_rig_close(&rig);
}

/* C143 */
static void
without_time_it_is_delivered_at_once_or_dead(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 0;
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(queue_rig_ready(&rig), 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 3);
    /* A batch, and a consumer that takes three of it. */
    (void)client_consume(rig.reader, "q", 3);
    queue_rig_send(&rig, 4, 10);
    queue_rig_expect(&rig, 0, (const uint64_t[]){4, 5, 6}, 3);
    assert_int_equal(queue_rig_ready(&rig), 0);
    client_ack(rig.reader, 2);
    rig_settle(&rig.rig);
    queue_rig_send(&rig, 14, 2);
    queue_rig_expect(&rig, 3, (const uint64_t[]){14}, 1);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 3 + 7 + 1);
    queue_rig_close(&rig);
}

/* C143: behind a message that waits it waits to be dropped. */
static void
without_time_behind_another_it_is_dropped_when_it_is_next(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 1);
    queue_rig_send_ttl(&rig, 2, 0);
    queue_rig_wait(&rig, 50);
    assert_int_equal(queue_rig_ready(&rig), 2);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1}, 1);
    assert_int_equal(queue_rig_ready(&rig), 0);
    queue_rig_close(&rig);
}

/* C143, with a prefetch that the channel's consumers share: the grant has to travel. */
static void
without_time_it_reaches_a_consumer_under_a_shared_prefetch(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 0;
    queue_rig_start(&rig);
    lp_session_prefetch_shared(rig.reader->session, 2);
    (void)client_consume(rig.reader, "q", 0);
    for (uint64_t i = 1; i <= 4; i++) {
        queue_rig_send(&rig, i, 1);
        queue_rig_wait(&rig, 10);
    }
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 2}, 2);
    assert_int_equal(queue_rig_ready(&rig), 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 2);
    queue_rig_close(&rig);
}

/* C144 */
static void
a_changed_ttl_is_for_later_messages(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 10000;
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 1);
    rig.settings.message_ttl_ms = 10;
    queue_rig_configure(&rig);
    queue_rig_send(&rig, 2, 1);
    queue_rig_wait(&rig, 9000);
    assert_int_equal(queue_rig_ready(&rig), 2);
    queue_rig_wait(&rig, 1010);
    assert_int_equal(queue_rig_ready(&rig), 0);
    rig.settings.message_ttl_ms = LP_SETTING_UNSET;
    queue_rig_configure(&rig);
    queue_rig_send(&rig, 3, 1);
    queue_rig_wait(&rig, 100000000);
    assert_int_equal(queue_rig_ready(&rig), 1);
    queue_rig_close(&rig);
}

static void
many_that_expire_at_once_take_several_turns_and_are_never_given(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 100;
    queue_rig_start(&rig);
    for (uint64_t i = 0; i < 5; i++) {
        client_send_many(rig.publisher, "q", 1 + i * 1000, 1000);
        rig_settle(&rig.rig);
    }
    rig.settings.message_ttl_ms = LP_SETTING_UNSET;
    queue_rig_configure(&rig);
    queue_rig_send(&rig, 9999, 1);
    rig.rig.now_ns += 200000000u;
    /* Asked in the same turn: it may be told that there is nothing, but not something dead. */
    const uint64_t value = queue_rig_get(&rig, true);
    assert_true(value == 0 || value == 9999);
    assert_int_equal(queue_rig_ready(&rig), value == 0 ? 1 : 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 5000);
    queue_rig_close(&rig);
}

static void
a_queue_that_goes_takes_its_timer_with_it(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 100;
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 10);
    rig_queue_down(&rig.rig, RIG_QUEUE_ID);
    queue_rig_wait(&rig, 1000);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 0);
    queue_rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_expires_after_the_queues_ttl),
        cmocka_unit_test(the_smaller_of_two_ttls_counts),
        cmocka_unit_test(what_expired_behind_a_live_message_counts_and_is_never_delivered),
        cmocka_unit_test(the_time_is_kept_through_a_requeue),
        cmocka_unit_test(without_time_it_is_delivered_at_once_or_dead),
        cmocka_unit_test(without_time_behind_another_it_is_dropped_when_it_is_next),
        cmocka_unit_test(without_time_it_reaches_a_consumer_under_a_shared_prefetch),
        cmocka_unit_test(a_changed_ttl_is_for_later_messages),
        cmocka_unit_test(many_that_expire_at_once_take_several_turns_and_are_never_given),
        cmocka_unit_test(a_queue_that_goes_takes_its_timer_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
