/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What quorum queues do their own way (C119, C120, C123, C130, C132, C133, C148,
 * C159); the rest they share with classic ones.
 *
 * Publisher, queue and reader are on three shards.
 */
#include "tests/unit/shard/queue_rig.h"

static void
quorum_open(struct queue_rig *rig)
{
    queue_rig_open(rig);
    rig->type = "quorum";
    rig->settings.delivery_limit = 20;
    queue_rig_start(rig);
}

static void
send(struct queue_rig *rig, uint64_t value, uint8_t priority)
{
    const struct rig_extras extras = {.priority = priority};
    client_send_with(rig->publisher, "q", value, &extras);
    rig_settle(&rig->rig);
}

static void
requeue(struct queue_rig *rig, uint64_t number)
{
    assert_int_equal(lp_session_settle(rig->reader->session, number, false, LP_SETTLE_REQUEUE),
                     LP_DONE);
    rig_settle(&rig->rig);
}

struct how {
    int32_t priority;
    uint32_t prefetch;
    bool exclusive;
};

/* The answer's code; 0: it consumes. */
static uint16_t
consume(struct rig_client *client, struct how how, struct lp_consumer **ret)
{
    const struct lp_consume consume = {.queue = client_queue(client, "q"),
                                       .priority = how.priority,
                                       .prefetch = how.prefetch,
                                       .exclusive = how.exclusive,
                                       .user = client};
    const uint32_t before = client->consumed;
    assert_int_equal(lp_session_consume(client->session, &consume, ret), LP_LATER);
    rig_settle(client->rig);
    assert_int_equal(client->consumed, before + 1);
    return client->code;
}

/* C130 */
static void
what_comes_back_is_served_first_in_the_order_of_return(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    send(&rig, 1, 0);
    send(&rig, 2, 9);
    send(&rig, 3, 0);
    send(&rig, 4, 9);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_not_equal(queue_rig_get(&rig, false), 0); /* 2, 4, 1 */
    }
    requeue(&rig, 3);
    requeue(&rig, 1);
    requeue(&rig, 2);
    send(&rig, 5, 9);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 2, 4, 5, 3}, 5);
    queue_rig_close(&rig);
}

/* C132, C133 */
static void
returns_are_counted_told_and_limited(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    rig.settings.delivery_limit = 3;
    queue_rig_configure(&rig);
    struct lp_consumer *consumer = client_consume(rig.reader, "q", 1);
    queue_rig_send(&rig, 1, 1);
    requeue(&rig, 1);
    requeue(&rig, 2);
    assert_int_equal(rig.reader->delivered, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(rig.reader->delivery[i].returns, i);
        assert_int_equal(rig.reader->delivery[i].redelivered, i > 0);
    }
    /* The end of its channel is a return like another; a get tells, too. */
    client_close(rig.reader);
    (void)consumer;
    rig.reader = client_open(&rig.rig, 2);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    assert_int_equal(rig.reader->got_last.returns, 3);
    requeue(&rig, 1);
    assert_int_equal(queue_rig_ready(&rig), 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_overdelivered, 1);
    assert_int_equal(rig.rig.shard[0]->broker.messages.used, 0);
    queue_rig_close(&rig);
}

static void
without_a_limit_it_comes_back_for_ever(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    rig.settings.delivery_limit = LP_SETTING_UNSET;
    queue_rig_configure(&rig);
    (void)client_consume(rig.reader, "q", 1);
    queue_rig_send(&rig, 1, 1);
    for (uint64_t number = 1; number <= 100; number++) {
        requeue(&rig, number);
    }
    assert_int_equal(rig.reader->delivery[100].returns, 100);
    /* A limit that comes later counts what was before it. */
    rig.settings.delivery_limit = 5;
    queue_rig_configure(&rig);
    requeue(&rig, 101);
    assert_int_equal(rig.reader->delivered, 101);
    queue_rig_close(&rig);
}

/* C159 */
static void
two_of_a_high_priority_come_for_one_of_a_normal_one(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    for (uint64_t i = 1; i <= 4; i++) {
        send(&rig, i, (uint8_t)i); /* 4 and less: normal */
    }
    for (uint64_t i = 5; i <= 12; i++) {
        send(&rig, i, (uint8_t)(i + 200));
    }
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){5, 6, 1, 7, 8, 2, 9, 10, 3, 11, 12, 4}, 12);
    queue_rig_close(&rig);
}

static void
a_high_priority_that_is_older_is_not_held_back(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    for (uint64_t i = 1; i <= 4; i++) {
        send(&rig, i, 9);
    }
    send(&rig, 5, 0);
    send(&rig, 6, 9);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 2, 3, 4, 6, 5}, 6);
    queue_rig_close(&rig);
}

/* C119, C123 */
static void
the_exclusive_flag_is_ignored_and_a_shared_prefetch_refused(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_consumer *consumer;
    const struct how exclusive = {.exclusive = true};
    quorum_open(&rig);
    assert_int_equal(consume(rig.publisher, exclusive, &consumer), 0);
    assert_int_equal(consume(rig.publisher, exclusive, &consumer), 0);
    assert_int_equal(queue_rig_counts(&rig).sole, LP_HANDLE_NONE);
    lp_session_prefetch_shared(rig.reader->session, 10);
    assert_int_equal(consume(rig.reader, (struct how){0}, &consumer), LP_FAULT_NOT_IMPLEMENTED);
    lp_session_prefetch_shared(rig.reader->session, 0);
    assert_int_equal(consume(rig.reader, (struct how){0}, &consumer), 0);
    queue_rig_close(&rig);
}

static void
without_a_prefetch_two_thousand_may_be_unacknowledged(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    (void)client_consume(rig.reader, "q", 0);
    for (uint64_t i = 0; i < 5; i++) {
        queue_rig_send(&rig, 1 + i * 500, 500);
    }
    assert_int_equal(rig.reader->delivered, 2000);
    assert_int_equal(queue_rig_ready(&rig), 500);
    queue_rig_close(&rig);
}

/* C120 */
static void
a_higher_priority_takes_over_when_the_active_one_has_acknowledged_all(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_consumer *low, *high, *higher;
    quorum_open(&rig);
    rig.settings.single_active_consumer = true;
    queue_rig_configure(&rig);
    assert_int_equal(consume(rig.reader, (struct how){.priority = 1, .prefetch = 2}, &low), 0);
    queue_rig_send(&rig, 1, 4);
    assert_int_equal(consume(rig.reader, (struct how){.priority = 5, .prefetch = 1}, &high), 0);
    assert_int_equal(queue_rig_counts(&rig).sole, low->self);
    client_ack(rig.reader, 1);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->delivered, 2); /* it makes way */
    client_ack(rig.reader, 2);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->delivered, 3);
    assert_ptr_equal(rig.reader->delivery[2].consumer, high);
    assert_int_equal(queue_rig_counts(&rig).sole, high->self);
    client_ack(rig.reader, 3);
    rig_settle(&rig.rig);
    client_ack(rig.reader, 4);
    rig_settle(&rig.rig);
    /* With nothing unacknowledged it goes at once; and back when the other leaves. */
    assert_int_equal(consume(rig.reader, (struct how){.priority = 9}, &higher), 0);
    assert_int_equal(queue_rig_counts(&rig).sole, higher->self);
    assert_int_equal(lp_session_cancel(rig.reader->session, higher), LP_LATER);
    rig_settle(&rig.rig);
    assert_int_equal(queue_rig_counts(&rig).sole, high->self);
    queue_rig_close(&rig);
}

static void
one_that_makes_way_is_served_again_when_nobody_is_there_any_more(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_consumer *low, *high;
    quorum_open(&rig);
    rig.settings.single_active_consumer = true;
    queue_rig_configure(&rig);
    assert_int_equal(consume(rig.reader, (struct how){.priority = 1, .prefetch = 1}, &low), 0);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(consume(rig.reader, (struct how){.priority = 5}, &high), 0);
    assert_int_equal(lp_session_cancel(rig.reader->session, high), LP_LATER);
    rig_settle(&rig.rig);
    client_ack(rig.reader, 1);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->delivered, 2);
    assert_ptr_equal(rig.reader->delivery[1].consumer, low);
    /* Making way, it is cancelled: the next does not wait for what it has. */
    assert_int_equal(consume(rig.reader, (struct how){.priority = 5}, &high), 0);
    assert_int_equal(lp_session_cancel(rig.reader->session, low), LP_LATER);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->delivered, 3);
    assert_ptr_equal(rig.reader->delivery[2].consumer, high);
    queue_rig_close(&rig);
}

/* C120 */
static void
nobody_gets_from_a_queue_with_a_single_active_consumer(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    rig.settings.single_active_consumer = true;
    queue_rig_configure(&rig);
    queue_rig_send(&rig, 1, 1);
    assert_int_equal(queue_rig_get(&rig, true), 0);
    assert_int_equal(rig.reader->code, LP_FAULT_RESOURCE_LOCKED);
    queue_rig_close(&rig);
}

/* C148 */
static void
one_more_is_let_in_before_publishes_are_refused(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    rig.settings.max_length = 5;
    rig.settings.overflow = LP_OVERFLOW_REJECT_PUBLISH;
    queue_rig_configure(&rig);
    lp_session_confirm_select(rig.publisher->session);
    queue_rig_send(&rig, 1, 8);
    assert_int_equal(queue_rig_ready(&rig), 6);
    assert_int_equal(rig.publisher->nacked, 2);
    /* They go on when it is at four fifths of the limit. */
    assert_int_equal(queue_rig_get(&rig, true), 1);
    queue_rig_send(&rig, 9, 1);
    assert_int_equal(rig.publisher->nacked, 3);
    assert_int_equal(queue_rig_get(&rig, true), 2);
    queue_rig_send(&rig, 10, 1);
    assert_int_equal(rig.publisher->nacked, 3);
    assert_int_equal(queue_rig_ready(&rig), 5);
    /* Without the limit there is nothing to refuse. */
    queue_rig_send(&rig, 11, 2);
    assert_int_equal(rig.publisher->nacked, 4);
    rig.settings.max_length = LP_SETTING_UNSET;
    queue_rig_configure(&rig);
    queue_rig_send(&rig, 13, 5);
    assert_int_equal(rig.publisher->nacked, 4);
    queue_rig_close(&rig);
}

static void
a_full_queue_drops_what_is_next_after_a_consumer_had_its_chance(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    rig.settings.max_length = 1;
    queue_rig_configure(&rig);
    (void)client_consume(rig.reader, "q", 1);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(queue_rig_ready(&rig), 1);
    assert_int_equal(queue_rig_stats(&rig)->messages_overflowed, 1);
    /* What comes back is taken again, before there is too much. */
    requeue(&rig, 1);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 1}, 2);
    assert_int_equal(queue_rig_stats(&rig)->messages_overflowed, 1);
    queue_rig_close(&rig);
}

static void
what_expires_is_what_is_next(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    queue_rig_send_ttl(&rig, 1, 100);
    send(&rig, 2, 9);
    queue_rig_wait(&rig, 150);
    assert_int_equal(queue_rig_ready(&rig), 2);
    assert_int_equal(queue_rig_get(&rig, true), 2);
    assert_int_equal(queue_rig_ready(&rig), 0);
    assert_int_equal(queue_rig_stats(&rig)->messages_expired, 1);
    queue_rig_close(&rig);
}

/* C73 */
static void
declaring_it_again_is_no_use_of_it(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    rig.settings.expires_ms = 1000;
    queue_rig_configure(&rig);
    queue_rig_wait(&rig, 900);
    assert_int_equal(lp_session_stat(rig.reader->session, client_queue(rig.reader, "q")), LP_LATER);
    queue_rig_wait(&rig, 0);
    queue_rig_wait(&rig, 102);
    assert_int_equal(rig.rig.asked_type, LP_CONTROL_QUEUE_EXPIRED);
    queue_rig_close(&rig);
}

/* An administrator's: what all types have. */
static void
a_purge_drops_what_is_ready_and_one_of_transient_messages_nothing(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    quorum_open(&rig);
    queue_rig_send(&rig, 1, 5);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    struct lp_queue *queue = queue_rig_queue(&rig);
    assert_int_equal(queue->type->purge(queue, true), 0); /* it keeps all that it has */
    assert_int_equal(queue_rig_counts(&rig).ready, 4);
    assert_int_equal(queue->type->purge(queue, false), 4);
    assert_int_equal(queue_rig_counts(&rig).ready, 0);
    assert_int_equal(queue_rig_counts(&rig).unacked, 1);
    queue_rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_back_is_served_first_in_the_order_of_return),
        cmocka_unit_test(returns_are_counted_told_and_limited),
        cmocka_unit_test(without_a_limit_it_comes_back_for_ever),
        cmocka_unit_test(two_of_a_high_priority_come_for_one_of_a_normal_one),
        cmocka_unit_test(a_high_priority_that_is_older_is_not_held_back),
        cmocka_unit_test(the_exclusive_flag_is_ignored_and_a_shared_prefetch_refused),
        cmocka_unit_test(without_a_prefetch_two_thousand_may_be_unacknowledged),
        cmocka_unit_test(a_higher_priority_takes_over_when_the_active_one_has_acknowledged_all),
        cmocka_unit_test(one_that_makes_way_is_served_again_when_nobody_is_there_any_more),
        cmocka_unit_test(nobody_gets_from_a_queue_with_a_single_active_consumer),
        cmocka_unit_test(one_more_is_let_in_before_publishes_are_refused),
        cmocka_unit_test(a_full_queue_drops_what_is_next_after_a_consumer_had_its_chance),
        cmocka_unit_test(what_expires_is_what_is_next),
        cmocka_unit_test(declaring_it_again_is_no_use_of_it),
        cmocka_unit_test(a_purge_drops_what_is_ready_and_one_of_transient_messages_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
