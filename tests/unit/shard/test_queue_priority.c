/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classic queues with priorities (C158).
 *
 * Publisher, queue and reader are on three shards.
 */
#include "tests/unit/base/base_test.h"
#include "tests/unit/shard/queue_rig.h"

static void
priority_open(struct queue_rig *rig, uint8_t max_priority)
{
    queue_rig_open(rig);
    rig->settings.max_priority = max_priority;
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
higher_priorities_come_first_and_each_in_order(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    priority_open(&rig, 5);
    send(&rig, 1, 0);
    send(&rig, 2, 5);
    send(&rig, 3, 1);
    send(&rig, 4, 200); /* above the most: as the most */
    send(&rig, 5, 0);
    send(&rig, 6, 1);
    assert_int_equal(queue_rig_ready(&rig), 6);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){2, 4, 3, 6, 1, 5}, 6);
    queue_rig_close(&rig);
}

static void
what_comes_back_has_its_old_place_in_its_level(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    priority_open(&rig, 255);
    send(&rig, 1, 0);
    send(&rig, 2, 255);
    send(&rig, 3, 255);
    send(&rig, 4, 64);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_not_equal(queue_rig_get(&rig, false), 0);
    }
    send(&rig, 5, 255);
    send(&rig, 6, 64);
    send(&rig, 7, 0);
    /* Given back last first. */
    for (uint64_t number = 4; number > 0; number--) {
        assert_int_equal(lp_session_settle(rig.reader->session, number, false, LP_SETTLE_REQUEUE),
                         LP_DONE);
    }
    rig_settle(&rig.rig);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){2, 3, 5, 4, 6, 1, 7}, 7);
    assert_true(rig.reader->delivery[0].redelivered);
    assert_false(rig.reader->delivery[2].redelivered);
    queue_rig_close(&rig);
}

static void
what_is_on_its_way_is_not_overtaken(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    priority_open(&rig, 9);
    send(&rig, 1, 0);
    send(&rig, 2, 0);
    (void)client_consume(rig.reader, "q", 1);
    send(&rig, 3, 9);
    client_ack(rig.reader, 1);
    rig_settle(&rig.rig);
    client_ack(rig.reader, 2);
    rig_settle(&rig.rig);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 3, 2}, 3);
    queue_rig_close(&rig);
}

/* Only the next message of all expires; one of a higher priority has its own time. */
static void
the_next_of_all_levels_expires(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    priority_open(&rig, 3);
    queue_rig_send_ttl(&rig, 1, 100);
    const struct rig_extras soon = {
        .expiration_ms = 50, .flags = LP_MESSAGE_EXPIRES, .priority = 3};
    client_send_with(rig.publisher, "q", 2, &soon);
    send(&rig, 3, 2);
    queue_rig_wait(&rig, 52);
    assert_int_equal(queue_rig_ready(&rig), 2);
    queue_rig_wait(&rig, 60);
    assert_int_equal(queue_rig_ready(&rig), 2); /* 3 lives before it */
    assert_int_equal(queue_rig_get(&rig, true), 3);
    assert_int_equal(queue_rig_ready(&rig), 0);
    queue_rig_close(&rig);
}

/* As RabbitMQ: the head of a full queue is what would be delivered next, whatever its priority. */
static void
a_full_queue_drops_what_is_next(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    queue_rig_open(&rig);
    rig.settings.max_priority = 3;
    rig.settings.max_length = 2;
    queue_rig_start(&rig);
    send(&rig, 1, 0);
    send(&rig, 2, 3);
    send(&rig, 3, 1);
    assert_int_equal(queue_rig_get(&rig, true), 3);
    assert_int_equal(queue_rig_get(&rig, true), 1);
    queue_rig_close(&rig);
}

static void
a_purge_empties_all_levels(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    priority_open(&rig, 10);
    for (uint64_t i = 1; i <= 40; i++) {
        send(&rig, i, (uint8_t)(i % 11));
    }
    assert_int_equal(lp_session_purge(rig.reader->session, client_queue(rig.reader, "q")),
                     LP_LATER);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->ready, 40);
    assert_int_equal(queue_rig_ready(&rig), 0);
    send(&rig, 1, 4);
    assert_int_equal(queue_rig_get(&rig, true), 1);
    queue_rig_close(&rig);
}

static void
without_priorities_the_queue_keeps_the_order_of_arrival(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    priority_open(&rig, 0);
    send(&rig, 1, 0);
    send(&rig, 2, 9);
    send(&rig, 3, 255);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_expect(&rig, 0, (const uint64_t[]){1, 2, 3}, 3);
    queue_rig_close(&rig);
}

/* Random sends, gets, acknowledgements and returns, against an array that is searched. */
static void
random_traffic_comes_out_as_from_an_array(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        static uint8_t priority[1024]; /* by value */
        static uint8_t state[1024];    /* 1: ready, 2: taken */
        static uint64_t number[1024];  /* the delivery that took it */
        struct queue_rig rig;
        struct random random = {seed};
        uint64_t count = 0;
        uint64_t tags = 0;
        priority_open(&rig, 7);
        for (uint32_t step = 0; step < 600; step++) {
            const uint32_t what = random_below(&random, 10);
            if (what < 5) {
                priority[++count] = (uint8_t)random_below(&random, 8);
                state[count] = 1;
                send(&rig, count, priority[count]);
                continue;
            }
            uint64_t want = 0;
            for (uint64_t i = 1; i <= count; i++) {
                const bool better = want == 0 || priority[i] > priority[want];
                want = state[i] == 1 && better ? i : want;
            }
            if (what < 8) {
                assert_int_equal(queue_rig_get(&rig, false), want);
                state[want] = want == 0 ? 0 : 2;
                number[want] = want == 0 ? 0 : ++tags;
                continue;
            }
            const uint64_t pick = count == 0 ? 0 : 1 + random_below(&random, (uint32_t)count);
            if (state[pick] == 2) {
                const enum lp_settle how = what == 8 ? LP_SETTLE_REQUEUE : LP_SETTLE_ACK;
                assert_int_equal(lp_session_settle(rig.reader->session, number[pick], false, how),
                                 LP_DONE);
                state[pick] = what == 8 ? 1 : 0;
                rig_settle(&rig.rig);
            }
        }
        queue_rig_close(&rig);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(higher_priorities_come_first_and_each_in_order),
        cmocka_unit_test(what_comes_back_has_its_old_place_in_its_level),
        cmocka_unit_test(what_is_on_its_way_is_not_overtaken),
        cmocka_unit_test(the_next_of_all_levels_expires),
        cmocka_unit_test(a_full_queue_drops_what_is_next),
        cmocka_unit_test(a_purge_empties_all_levels),
        cmocka_unit_test(without_priorities_the_queue_keeps_the_order_of_arrival),
        cmocka_unit_test(random_traffic_comes_out_as_from_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
