/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sessions and queues promise each other across shards.
 *
 * Three shards in one thread.  Each test runs until nothing moves any more,
 * and ends with every pool, credit and loan back where it came from.  Where it
 * matters the message's owner, the queue's home and the consumer are on three
 * different shards.
 */
#include "tests/unit/shard/shard_client.h"

static void
what_is_published_is_delivered_and_settled_wherever_the_queue_lives(void **unused)
{
    (void)unused;
    for (uint32_t home = 0; home < RIG_SHARDS; home++) {
        struct rig rig;
        char queue[8];
        (void)snprintf(queue, sizeof(queue), "q%u", home);
        rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
        rig_topology(&rig, RIG_SHARDS);
        struct rig_client *publisher = client_open(&rig, 0);
        struct rig_client *reader = client_open(&rig, 2);
        lp_session_confirm_select(publisher->session);
        client_send_many(publisher, queue, 1, 300);
        (void)client_consume(reader, queue, 0);
        client_send_many(publisher, queue, 301, 300);
        rig_settle(&rig);
        /* The window bounds what is under way, not what is delivered. */
        assert_int_equal(reader->delivered, 600);
        for (uint32_t i = 0; i < reader->delivered; i++) {
            assert_int_equal(reader->delivery[i].value, i + 1);
            assert_int_equal(reader->delivery[i].number, i + 1);
            assert_false(reader->delivery[i].redelivered);
        }
        assert_int_equal(publisher->confirmed, 600);
        assert_int_equal(lp_session_settle(reader->session, 599, true, LP_SETTLE_ACK), LP_DONE);
        /* Twice, or one that never was: unknown (C127). */
        assert_int_equal(lp_session_settle(reader->session, 599, true, LP_SETTLE_ACK), LP_UNKNOWN);
        assert_int_equal(lp_session_settle(reader->session, 601, true, LP_SETTLE_ACK), LP_UNKNOWN);
        assert_int_equal(lp_session_settle(reader->session, 7, false, LP_SETTLE_ACK), LP_UNKNOWN);
        client_ack(reader, 600);
        client_close(publisher);
        client_close(reader);
        rig_close(&rig);
    }
}

static void
prefetch_bounds_what_is_unacknowledged(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    (void)client_consume(client, "q1", 3);
    client_send_many(client, "q1", 1, 10);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 3);
    client_ack(client, 2);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 4);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 7);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_DISCARD), LP_DONE);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 10);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(client);
    rig_close(&rig);
}

/* C130, C131, C139 */
static void
what_a_closed_session_had_open_goes_back_to_its_place(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *first = client_open(&rig, 0);
    struct rig_client *second = client_open(&rig, 2);
    client_send_many(first, "q1", 1, 20);
    (void)client_consume(first, "q1", 5);
    (void)client_consume(second, "q1", 5);
    assert_int_equal(first->delivered, 5);
    assert_int_equal(second->delivered, 5);
    client_ack(first, 2);
    rig_settle(&rig); /* first: 1, 3, 4, 5 and 11 */
    client_close(first);
    assert_int_equal(lp_session_settle(second->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    rig_settle(&rig);
    static const uint64_t back[] = {1, 3, 4, 5, 11};
    assert_int_equal(second->delivered, 10);
    for (uint32_t i = 0; i < LP_COUNT_OF(back); i++) {
        assert_int_equal(second->delivery[5 + i].value, back[i]);
        assert_true(second->delivery[5 + i].redelivered);
    }
    assert_int_equal(lp_session_settle(second->session, 0, true, LP_SETTLE_REQUEUE), LP_DONE);
    rig_settle(&rig);
    assert_int_equal(second->delivered, 15);
    assert_int_equal(second->delivery[10].value, 1);
    assert_int_equal(lp_session_purge(second->session, client_queue(second, "q1")), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(second->ready, 9);
    assert_int_equal(second->consumers, 1);
    assert_int_equal(lp_session_settle(second->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(second);
    rig_close(&rig);
}

static void
get_takes_one_or_says_that_there_is_none(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    for (uint32_t i = 0; i < RIG_SHARDS; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "q%u", i);
        struct lp_queue_ref *queue = client_queue(client, name);
        assert_int_equal(lp_session_get(client->session, queue, false), LP_LATER);
        rig_settle(&rig);
        assert_int_equal(client->got_empty, i + 1);
        client_send_many(client, name, 1, 3);
        for (uint64_t value = 1; value <= 3; value++) {
            assert_int_equal(lp_session_get(client->session, queue, value == 2), LP_LATER);
            rig_settle(&rig);
            assert_int_equal(client->got_last.value, value);
        }
    }
    assert_int_equal(client->got, 3 * RIG_SHARDS);
    client_ack(client, 1);
    assert_int_equal(lp_session_settle(client->session, 2, false, LP_SETTLE_ACK), LP_UNKNOWN);
    client_close(client); /* the third of each goes back */
    struct rig_client *other = client_open(&rig, 1);
    assert_int_equal(lp_session_stat(other->session, client_queue(other, "q0")), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(other->ready, 1);
    for (uint32_t i = 0; i < RIG_SHARDS; i++) {
        rig_queue_down(&rig, 10 + i);
    }
    rig_settle(&rig);
    client_close(other);
    rig_close(&rig);
}

/* C114, C117 */
static void
cancel_is_answered_after_what_came_before_it(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    struct lp_consumer *consumer = client_consume(client, "q1", 0);
    client->output_full = true;
    client_send_many(client, "q1", 1, 5);
    rig_settle(&rig);
    assert_int_equal(lp_session_cancel(client->session, consumer), LP_LATER);
    client_send_many(client, "q1", 6, 5);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 0);
    client->output_full = false;
    lp_session_output_ready(client->session);
    assert_int_equal(client->delivered, 5);
    assert_int_equal(client->cancelled, 1);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 5);
    /* What it has unacknowledged stays its own, and may still be settled. */
    client_ack(client, 3);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_REQUEUE), LP_DONE);
    rig_settle(&rig);
    assert_int_equal(lp_session_purge(client->session, client_queue(client, "q1")), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->ready, 9);
    assert_int_equal(client->consumers, 0);
    client_close(client);
    rig_close(&rig);
}

/*
 * The owner of the message, the queue and its reader are on three shards: the
 * queue goes while the reader's output is full, and the owner hears of it first.
 */
static void
a_deleted_queue_keeps_what_may_still_be_read(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *publisher = client_open(&rig, 0);
    struct rig_client *reader = client_open(&rig, 2);
    (void)client_consume(reader, "q1", 0);
    reader->output_full = true;
    client_send_many(publisher, "q1", 1, 50);
    rig_settle(&rig);
    rig_queue_down(&rig, 11);
    /* Only the home and the owner run: the reader has not heard of anything yet. */
    for (uint32_t i = 0; i < 5; i++) {
        rig.now_ns += 1000;
        (void)lp_shard_turn(rig.shard[1], rig.now_ns, 1);
        (void)lp_shard_turn(rig.shard[0], rig.now_ns, 1);
    }
    reader->output_full = false;
    lp_session_output_ready(reader->session);
    assert_int_equal(reader->delivered, 50);
    for (uint32_t i = 0; i < reader->delivered; i++) {
        assert_int_equal(reader->delivery[i].value, i + 1);
    }
    rig_settle(&rig);
    assert_int_equal(reader->gone, 1);
    assert_int_equal(rig.shard[0]->broker.messages.used, 0);
    client_ack(reader, 7); /* harmless: there is nothing to settle any more */
    client_close(publisher);
    client_close(reader);
    rig_close(&rig);
}

static void
whoever_waits_when_the_queue_goes_is_answered(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *publisher = client_open(&rig, 0);
    struct rig_client *canceller = client_open(&rig, 2);
    struct rig_client *getter = client_open(&rig, 2);
    struct rig_client *active = client_open(&rig, 0);
    struct lp_consumer *consumer = client_consume(canceller, "q1", 0);
    canceller->output_full = true;
    getter->output_full = true;
    client_send_many(publisher, "q1", 1, 5);
    rig_settle(&rig);
    assert_int_equal(lp_session_cancel(canceller->session, consumer), LP_LATER);
    rig_settle(&rig);
    client_send_many(publisher, "q1", 6, 5);
    assert_int_equal(lp_session_get(getter->session, client_queue(getter, "q1"), false), LP_LATER);
    rig_settle(&rig);
    active->output_full = true;
    (void)client_consume(active, "q1", 0);
    assert_int_equal(canceller->cancelled + getter->got + getter->got_empty, 0);

    rig_queue_down(&rig, 11);
    rig_settle(&rig);
    assert_int_equal(canceller->cancelled, 1);
    assert_int_equal(canceller->gone, 0);
    assert_int_equal(getter->got_empty, 1);
    assert_int_equal(active->gone, 1);
    canceller->output_full = getter->output_full = active->output_full = false;
    lp_session_output_ready(canceller->session);
    lp_session_output_ready(getter->session);
    lp_session_output_ready(active->session);
    assert_int_equal(canceller->delivered + getter->got + active->delivered, 0);
    client_close(publisher);
    client_close(canceller);
    client_close(getter);
    client_close(active);
    rig_close(&rig);
}

/* A CANCEL and the deletion cross on the way, in either order. */
static void
cancel_and_deletion_may_cross(void **unused)
{
    (void)unused;
    for (uint32_t order = 0; order < 2; order++) {
        struct rig rig;
        rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
        rig_topology(&rig, RIG_SHARDS);
        struct rig_client *client = client_open(&rig, 0);
        struct lp_consumer *consumer = client_consume(client, "q1", 0);
        client_send_many(client, "q1", 1, 3);
        rig_settle(&rig);
        rig_queue_down(&rig, 11);
        if (order == 0) {
            (void)lp_shard_turn(rig.shard[1], rig.now_ns, 1);
        }
        assert_int_equal(lp_session_cancel(client->session, consumer), LP_LATER);
        rig_settle(&rig);
        assert_int_equal(client->cancelled, 1);
        assert_int_equal(client->gone, 0);
        client_close(client);
        rig_close(&rig);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_is_delivered_and_settled_wherever_the_queue_lives),
        cmocka_unit_test(prefetch_bounds_what_is_unacknowledged),
        cmocka_unit_test(what_a_closed_session_had_open_goes_back_to_its_place),
        cmocka_unit_test(get_takes_one_or_says_that_there_is_none),
        cmocka_unit_test(cancel_is_answered_after_what_came_before_it),
        cmocka_unit_test(a_deleted_queue_keeps_what_may_still_be_read),
        cmocka_unit_test(whoever_waits_when_the_queue_goes_is_answered),
        cmocka_unit_test(cancel_and_deletion_may_cross),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
