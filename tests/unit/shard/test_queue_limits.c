/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues that may hold only so much (C146 to C148).
 *
 * Publisher, queue and reader are on three shards.  Bodies have eight bytes.
 */
#include "tests/unit/shard/queue_rig.h"

/* C146, C147 */
static void
the_oldest_ready_messages_make_room(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length = 3;
    queue_rig_start(&rig);
    lp_session_confirm_select(rig.publisher->session);
    queue_rig_send(&rig, 1, 3);
    (void)client_consume(rig.reader, "q", 2);
    /* 1 and 2 are unacknowledged: they do not count, and are not dropped. */
    queue_rig_send(&rig, 4, 10);
    assert_int_equal(rig.publisher->confirmed, 13);
    assert_int_equal(rig.publisher->nacked, 0);
    assert_int_equal(queue_rig_ready(&rig), 3);
    assert_int_equal(queue_rig_counts(&rig).unacked, 2);
    assert_int_equal(queue_rig_stats(&rig)->messages_overflowed, 8);
    assert_int_equal(lp_session_settle(rig.reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    rig_settle(&rig.rig);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 2, 11, 12}, 4);
    queue_rig_close(&rig);
}

/* C146 */
static void
bytes_of_bodies_count(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length_bytes = 23;
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 5);
    assert_int_equal(queue_rig_ready(&rig), 2);
    assert_int_equal(queue_rig_counts(&rig).bytes, 16);
    assert_int_equal(queue_rig_get(&rig, true), 4);
    /* A body that is larger than the limit leaves nothing. */
    rig.settings.max_length_bytes = 7;
    queue_rig_configure(&rig);
    assert_int_equal(queue_rig_ready(&rig), 0);
    queue_rig_send(&rig, 6, 1);
    assert_int_equal(queue_rig_ready(&rig), 0);
    queue_rig_close(&rig);
}

static void
a_queue_of_length_zero_hands_over_or_drops(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length = 0;
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(queue_rig_ready(&rig), 0);
    (void)client_consume(rig.reader, "q", 2);
    queue_rig_send(&rig, 4, 5);
    queue_rig_expect(&rig, 0, (const uint64_t[]){4, 5}, 2);
    /* What comes back finds no room before its consumer could take it again. */
    assert_int_equal(lp_session_settle(rig.reader->session, 1, false, LP_SETTLE_REQUEUE), LP_DONE);
    rig_settle(&rig.rig);
    queue_rig_send(&rig, 9, 1);
    queue_rig_expect(&rig, 2, (const uint64_t[]){9}, 1);
    assert_int_equal(queue_rig_ready(&rig), 0);
    queue_rig_close(&rig);
}

static void
what_a_consumer_takes_at_once_needs_no_room(void **unused)
{
    (void)unused;
    for (uint32_t overflow = LP_OVERFLOW_DROP_HEAD; overflow <= LP_OVERFLOW_REJECT_PUBLISH_DLX;
         overflow++) {
        struct queue_rig rig;
        queue_rig_open(&rig);
        rig.settings.max_length = 1;
        rig.settings.overflow = (uint8_t)overflow;
        queue_rig_start(&rig);
        lp_session_confirm_select(rig.publisher->session);
        (void)client_consume(rig.reader, "q", 0);
        /* They all come in one turn. */
        queue_rig_send(&rig, 1, 200);
        assert_int_equal(rig.reader->delivered, 200);
        assert_int_equal(rig.publisher->confirmed, 200);
        assert_int_equal(rig.publisher->nacked, 0);
        queue_rig_close(&rig);
    }
}

/* C106, C148 */
static void
a_full_queue_that_rejects_nacks_who_asked_for_confirms(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length = 3;
    rig.settings.overflow = LP_OVERFLOW_REJECT_PUBLISH;
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 5);
    assert_int_equal(queue_rig_ready(&rig), 3);
    lp_session_confirm_select(rig.publisher->session);
    queue_rig_send(&rig, 6, 2);
    assert_int_equal(rig.publisher->nacked, 2);
    assert_int_equal(rig.publisher->confirmed, 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_rejected, 4);
    assert_int_equal(rig.rig.shard[0]->broker.messages.used, 3);
    assert_int_equal(queue_rig_get(&rig, true), 1);
    queue_rig_send(&rig, 8, 1);
    assert_int_equal(rig.publisher->nacked, 2);
    assert_int_equal(queue_rig_ready(&rig), 3);
    /* Requeued ones are not published: they may be too many. */
    assert_int_equal(queue_rig_get(&rig, false), 2);
    queue_rig_send(&rig, 9, 1);
    assert_int_equal(lp_session_settle(rig.reader->session, 0, true, LP_SETTLE_REQUEUE), LP_DONE);
    rig_settle(&rig.rig);
    assert_int_equal(queue_rig_ready(&rig), 4);
    assert_int_equal(queue_rig_stats(&rig)->messages_overflowed, 0);
    queue_rig_close(&rig);
}

/* C48, C148: one channel's requeue and its next publish meet the queue in that order. */
static void
what_a_channel_gives_back_counts_before_what_it_publishes_next(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length = 1;
    rig.settings.overflow = LP_OVERFLOW_REJECT_PUBLISH;
    queue_rig_start(&rig);
    lp_session_confirm_select(rig.reader->session);
    queue_rig_send(&rig, 1, 1);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    assert_int_equal(lp_session_settle(rig.reader->session, 1, false, LP_SETTLE_REQUEUE), LP_DONE);
    client_send(rig.reader, "q", 2);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->nacked, 1);
    assert_int_equal(queue_rig_ready(&rig), 1);
    queue_rig_close(&rig);
}

/* C148: with a length of 0 even a ready consumer gets nothing, as in RabbitMQ. */
static void
a_queue_of_length_zero_that_rejects_takes_nothing(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length = 0;
    rig.settings.overflow = LP_OVERFLOW_REJECT_PUBLISH;
    queue_rig_start(&rig);
    lp_session_confirm_select(rig.publisher->session);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(rig.reader->delivered, 0);
    assert_int_equal(rig.publisher->nacked, 3);
    queue_rig_close(&rig);
}

/* C148 */
static void
what_is_rejected_to_a_dead_letter_exchange_is_nacked_and_its_loan_comes_home(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length = 1;
    rig.settings.overflow = LP_OVERFLOW_REJECT_PUBLISH_DLX;
    rig.settings.dead_letters = true;
    rig.settings.dead_letter_exchange = lp_bytes_of_text("there is none");
    queue_rig_start(&rig);
    lp_session_confirm_select(rig.publisher->session);
    queue_rig_send(&rig, 1, 4);
    assert_int_equal(rig.publisher->nacked, 3);
    assert_int_equal(rig.publisher->confirmed, 1);
    queue_rig_wait(&rig, 10);
    assert_int_equal(rig.rig.shard[0]->broker.messages.used, 1);
    assert_int_equal(rig.rig.shard[1]->broker.entries.used, 1);
    queue_rig_close(&rig);
}

/* C147 */
static void
what_comes_back_to_a_full_queue_is_its_head_and_goes(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_length = 2;
    queue_rig_start(&rig);
    queue_rig_send(&rig, 1, 2);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    queue_rig_send(&rig, 3, 1);
    assert_int_equal(lp_session_settle(rig.reader->session, 0, true, LP_SETTLE_REQUEUE), LP_DONE);
    rig_settle(&rig.rig);
    assert_int_equal(queue_rig_ready(&rig), 2);
    assert_int_equal(queue_rig_get(&rig, true), 2);
    assert_int_equal(queue_rig_get(&rig, true), 3);
    queue_rig_close(&rig);
}

static void
a_lowered_limit_drops_the_oldest_over_several_turns(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.message_ttl_ms = 100;
    queue_rig_start(&rig);
    for (uint64_t i = 0; i < 4; i++) {
        queue_rig_send(&rig, 1 + i * 1000, 1000);
    }
    rig.settings.max_length = 10;
    queue_rig_configure(&rig);
    assert_int_equal(queue_rig_ready(&rig), 10);
    assert_int_equal(queue_rig_get(&rig, true), 3991);
    queue_rig_wait(&rig, 101);
    assert_int_equal(queue_rig_ready(&rig), 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_overflowed, 3990);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 9);
    queue_rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_ready_messages_make_room),
        cmocka_unit_test(bytes_of_bodies_count),
        cmocka_unit_test(a_queue_of_length_zero_hands_over_or_drops),
        cmocka_unit_test(what_a_consumer_takes_at_once_needs_no_room),
        cmocka_unit_test(a_full_queue_that_rejects_nacks_who_asked_for_confirms),
        cmocka_unit_test(what_a_channel_gives_back_counts_before_what_it_publishes_next),
        cmocka_unit_test(a_queue_of_length_zero_that_rejects_takes_nothing),
        cmocka_unit_test(
            what_is_rejected_to_a_dead_letter_exchange_is_nacked_and_its_loan_comes_home),
        cmocka_unit_test(what_comes_back_to_a_full_queue_is_its_head_and_goes),
        cmocka_unit_test(a_lowered_limit_drops_the_oldest_over_several_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
