/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sessions and queues promise each other across shards.
 *
 * Three shards in one thread.  Each test runs until nothing moves any more,
 * and ends with every pool, credit and loan back where it came from.  Where it
 * matters the message's owner, the queue's home and the consumer are on three
 * different shards.
 */
#include "tests/unit/shard/shard_rig.h"

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

/* ---- the prefetch that consumers share ---- */

static uint32_t
open_count(const struct rig_client *client)
{
    return (uint32_t)client->session->unacked.open_count;
}

static void
a_shared_prefetch_bounds_all_consumers_together(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    lp_session_prefetch_shared(client->session, 5);
    (void)client_consume(client, "q0", 0);
    (void)client_consume(client, "q1", 0);
    (void)client_consume(client, "q2", 2);
    for (uint64_t i = 0; i < 20; i++) {
        client_send(client, "q0", 100 + i);
        client_send(client, "q1", 200 + i);
        client_send(client, "q2", 300 + i);
    }
    rig_settle(&rig);
    for (uint64_t number = 1; number <= 60; number++) {
        assert_true(open_count(client) <= 5);
        assert_true(open_count(client) > 0); /* nothing waits for ever */
        client_ack(client, number);
        rig_settle(&rig);
    }
    assert_int_equal(client->delivered, 60);
    assert_int_equal(open_count(client), 0);
    assert_int_equal(client->session->limited_open, 0);
    client_close(client);
    rig_close(&rig);
}

static void
a_shared_prefetch_that_comes_later_counts_what_is_under_way(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    (void)client_consume(client, "q1", 0);
    client_send_many(client, "q1", 1, 3);
    rig_settle(&rig); /* open */
    client->output_full = true;
    client_send_many(client, "q1", 4, 3);
    rig_settle(&rig); /* pending */
    client_send_many(client, "q1", 7, 3);
    rig.now_ns += 1000;
    (void)lp_shard_turn(rig.shard[0], rig.now_ns, 1);
    (void)lp_shard_turn(rig.shard[1], rig.now_ns, 1); /* delivered, on their way */
    lp_session_prefetch_shared(client->session, 2);
    client_send_many(client, "q1", 10, 10);
    rig_settle(&rig);
    assert_int_equal(client->session->limited_open, 9);
    client->output_full = false;
    lp_session_output_ready(client->session);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 9);
    for (uint64_t number = 1; number <= 19; number++) {
        client_ack(client, number);
        rig_settle(&rig);
        assert_true(number < 7 || open_count(client) <= 2);
    }
    assert_int_equal(client->delivered, 19);
    assert_int_equal(client->session->limited_open, 0);
    client_close(client);
    rig_close(&rig);
}

static void
grants_come_back_from_consumers_that_cannot_use_them(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    struct rig_client *thief = client_open(&rig, 1);
    lp_session_prefetch_shared(client->session, 4);
    struct lp_consumer *first = client_consume(client, "q1", 0);
    (void)client_consume(client, "q2", 0);
    /* Asked for and granted, but gone when the grant comes: each way that a queue runs empty. */
    for (uint32_t way = 0; way < 3; way++) {
        client_send_many(client, "q1", 1, 4);
        (void)rig_turn(&rig);
        if (way == 0) {
            assert_int_equal(lp_session_purge(thief->session, client_queue(thief, "q1")), LP_LATER);
        } else if (way == 1) {
            assert_int_equal(lp_session_get(thief->session, client_queue(thief, "q1"), true),
                             LP_LATER);
        } else {
            assert_int_equal(lp_session_cancel(client->session, first), LP_LATER);
        }
        rig_settle(&rig);
        assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
        rig_settle(&rig);
        assert_int_equal(client->session->limited_open, 0);
    }
    /* A queue that is deleted under its consumer, with one delivery open and more granted. */
    struct lp_consumer *last = client_consume(client, "q0", 0);
    assert_non_null(last);
    client_send(client, "q0", 1);
    rig_settle(&rig);
    rig_queue_down(&rig, 10);
    rig_settle(&rig);
    assert_int_equal(client->gone, 1);
    client_send_many(client, "q2", 1, 9);
    rig_settle(&rig);
    assert_int_equal(client->session->limited_open, 4);
    client_close(client);
    client_close(thief);
    rig_queue_down(&rig, 11);
    rig_queue_down(&rig, 12);
    rig_close(&rig);
}

/* C121, with a higher one that waits for its channel. */
static void
a_lower_priority_has_its_turn_while_the_higher_one_waits(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *high = client_open(&rig, 0);
    struct rig_client *low = client_open(&rig, 2);
    struct lp_consumer *consumer;
    const struct lp_consume consume = {.queue = client_queue(high, "q1"), .priority = 5};
    lp_session_prefetch_shared(high->session, 1);
    assert_int_equal(lp_session_consume(high->session, &consume, &consumer), LP_LATER);
    rig_settle(&rig);
    (void)client_consume(low, "q1", 0);
    client_send(high, "q1", 1);
    rig_settle(&rig);
    client_send_many(high, "q1", 2, 5);
    rig_settle(&rig);
    assert_int_equal(high->delivered + low->delivered, 6);
    assert_true(low->delivered >= 4);
    client_close(high);
    assert_int_equal(lp_session_settle(low->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(low);
    rig_close(&rig);
}

/* ---- auto-delete, and the control process ---- */

static void
the_last_cancel_of_an_auto_delete_queue_waits_for_its_deletion(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, 0);
    const struct rig_queue queue = {
        .id = 50, .name = "auto", .home = 1, .flags = LP_OBJECT_AUTO_DELETE};
    rig_queue_up(&rig, &queue);
    rig_settle(&rig);
    struct rig_client *client = client_open(&rig, 0);
    struct lp_consumer *first = client_consume(client, "auto", 0);
    struct lp_consumer *second = client_consume(client, "auto", 0);
    assert_int_equal(lp_session_cancel(client->session, first), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 1);
    assert_int_equal(rig.asked_count, 0);
    assert_int_equal(lp_session_cancel(client->session, second), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 1);
    assert_int_equal(rig.asked_type, LP_CONTROL_QUEUE_UNUSED);
    assert_int_equal(rig.asked_shard, 1);
    /* Being deleted, it takes no consumer; a publish counts as taken (C105). */
    struct lp_consumer *late;
    const struct lp_consume consume = {.queue = client_queue(client, "auto")};
    assert_int_equal(lp_session_consume(client->session, &consume, &late), LP_LATER);
    client_send(client, "auto", 1);
    rig_settle(&rig);
    assert_int_equal(client->code, LP_FAULT_NOT_FOUND);
    rig_queue_down(&rig, 50);
    rig_reply(&rig, 1, rig.asked_sequence, 0);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 2);
    client_close(client);
    rig_close(&rig);
}

static void
a_session_closes_though_its_cancel_waits_for_the_control_process(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, 0);
    const struct rig_queue queue = {
        .id = 50, .name = "auto", .home = 1, .flags = LP_OBJECT_AUTO_DELETE};
    rig_queue_up(&rig, &queue);
    rig_settle(&rig);
    struct rig_client *client = client_open(&rig, 0);
    struct lp_consumer *consumer = client_consume(client, "auto", 0);
    client_send_many(client, "auto", 1, 3);
    rig_settle(&rig);
    assert_int_equal(lp_session_cancel(client->session, consumer), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 0);
    client_close(client);
    /* Refused or late, it is asked again; at last it goes. */
    rig_reply(&rig, 1, rig.asked_sequence, LP_FAULT_INTERNAL_ERROR);
    rig_settle(&rig);
    assert_int_equal(rig.asked_count, 2);
    rig_queue_down(&rig, 50);
    rig_reply(&rig, 1, rig.asked_sequence, 0);
    rig_close(&rig);
}

static void
a_delete_that_was_begun_begins_anew_after_a_resync(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    (void)client_consume(client, "q1", 0);
    uint8_t payload[8];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, 11);
    lp_writer_u8(&writer, 0);
    lp_writer_u8(&writer, 0);
    rig_say(&rig, 1, LP_CONTROL_DELETE_CHECK, 9, &writer);
    rig_settle(&rig);
    client_send(client, "q1", 1); /* lost with the queue */
    rig_settle(&rig);
    assert_int_equal(client->delivered, 0);
    writer = lp_writer_of(payload, sizeof(payload));
    rig_say_all(&rig, LP_CONTROL_SYNC_BEGIN, &writer);
    rig_topology(&rig, RIG_SHARDS);
    writer = lp_writer_of(payload, sizeof(payload));
    rig_say_all(&rig, LP_CONTROL_SYNC_END, &writer);
    rig_settle(&rig);
    client_send(client, "q1", 2);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 1);
    client_ack(client, 1);
    client_close(client);
    rig_close(&rig);
}

static void
records_of_a_broken_control_process_are_survived(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    uint8_t payload[256];
    /* Every type, before anything exists, with payloads of every small size. */
    for (uint16_t type = 0; type < 100; type++) {
        if (type == LP_CONTROL_STOP) {
            continue;
        }
        for (uint32_t size = 0; size < 64; size += 3) {
            memset(payload, (int)size, sizeof(payload));
            struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
            (void)lp_writer_take(&writer, size);
            rig_say(&rig, size % RIG_SHARDS, type, size, &writer);
        }
        (void)rig_turn(&rig);
    }
    rig_topology(&rig, RIG_SHARDS);
    const struct rig_queue nowhere[] = {
        {.id = 70, .name = "nowhere", .home = RIG_SHARDS},
        {.id = 71, .name = "far", .home = UINT16_MAX},
        {.id = 10, .name = "named again", .home = 2},
        {.id = 72, .name = "q0", .home = 1}, /* the older one goes */
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(nowhere); i++) {
        rig_queue_up(&rig, &nowhere[i]);
    }
    rig_queue_down(&rig, 12345);
    rig_settle(&rig);
    struct rig_client *client = client_open(&rig, 0);
    assert_null(lp_topology_queue(&client_broker(client)->topology, RIG_VHOST,
                                  lp_bytes_of_text("nowhere")));
    struct lp_publish publish;
    assert_int_equal(client_publish(client, &publish, "", "far", 1), LP_DONE);
    assert_true(publish.unroutable);
    lp_session_publish_drop(client->session, &publish);
    (void)client_consume(client, "q0", 0);
    client_send(client, "q0", 5);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 1);
    client_ack(client, 1);
    client_close(client);
    rig_close(&rig);
}

static void
request_answered(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    (void)context;
    (void)owner;
    (void)reply;
    fail_msg("nobody answered, and it is not time to give up");
}

static void
request_make(struct rig *rig)
{
    assert_true(lp_link_request(&rig->shard[0]->broker.link, LP_CONTROL_PERMIT,
                                lp_bytes_of(NULL, 0), LP_HANDLE_NONE, request_answered));
}

/* A shard that slept for a minute wakes to input that asks the control process: the time-out starts
 * then. */
static void
a_request_after_a_long_sleep_has_its_whole_time(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, 1, RIG_MEMORY_BYTES);
    rig_topology(&rig, 1);
    rig.now_ns += 60000000000u;
    rig.on_poll = request_make;
    rig_settle(&rig);
    rig.now_ns += 29000000000u;
    rig_settle(&rig);
    assert_int_equal(rig.asked_count, 1);
    rig_close(&rig);
}

static void
what_is_owed_to_the_control_process_is_looked_at_again(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    /* Nobody reads the ring until it is full. */
    static uint8_t filler[LP_CONTROL_PAYLOAD_MAX_BYTES];
    struct lp_link *link = &rig.shard[0]->broker.link;
    uint32_t bytes = sizeof(filler);
    while (bytes > 8) {
        if (!lp_link_tell(link, LP_CONTROL_LOG, 0, lp_bytes_of(filler, bytes))) {
            bytes /= 2;
        }
    }
    while (lp_link_tell(link, LP_CONTROL_LOG, 0, lp_bytes_of(NULL, 0))) {
    }
    struct lp_writer writer = lp_writer_of(filler, sizeof(filler));
    rig_say(&rig, 0, LP_CONTROL_REVISION, 7, &writer);
    rig_say(&rig, 0, LP_CONTROL_LIST_QUEUES, 8, &writer);
    (void)lp_shard_turn(rig.shard[0], rig.now_ns, 1);
    const struct lp_turn_result result = lp_shard_turn(rig.shard[0], rig.now_ns, 1);
    assert_int_equal(result.work, 0); /* waiting is not work */
    assert_true(result.next_ns != UINT64_MAX && result.next_ns <= rig.now_ns + 2000000);
    rig_listen(&rig);
    rig_settle(&rig);
    assert_int_equal(rig.shard[0]->applied_owed, 0);
    assert_int_equal(rig.shard[0]->listing_count, 0);
    rig_close(&rig);
}

/* ---- refusals and exhaustion ---- */

static void
consumers_are_refused_for_a_reason(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    const struct rig_queue owned = {.id = 50, .name = "owned", .home = 1, .owner = 1};
    rig_queue_up(&rig, &owned);
    rig_settle(&rig);
    struct rig_client *first = client_open(&rig, 0); /* connection 1 */
    struct rig_client *second = client_open(&rig, 2);
    (void)client_consume(first, "owned", 0);
    struct lp_consumer *consumer;
    struct lp_consume consume = {.queue = client_queue(second, "owned")};
    assert_int_equal(lp_session_consume(second->session, &consume, &consumer), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(second->code, LP_FAULT_RESOURCE_LOCKED);
    assert_int_equal(lp_session_get(second->session, consume.queue, false), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(second->code, LP_FAULT_RESOURCE_LOCKED);
    consume = (struct lp_consume){.queue = client_queue(second, "q2"), .exclusive = true};
    assert_int_equal(lp_session_consume(second->session, &consume, &consumer), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(second->code, 0);
    struct lp_consumer *other;
    consume = (struct lp_consume){.queue = client_queue(first, "q2")};
    assert_int_equal(lp_session_consume(first->session, &consume, &other), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(first->code, LP_FAULT_ACCESS_REFUSED);
    assert_int_equal(lp_session_cancel(second->session, consumer), LP_LATER);
    rig_settle(&rig);
    (void)client_consume(first, "q2", 0);
    client_close(first);
    client_close(second);
    rig_close(&rig);
}

static void
without_credits_a_publish_waits_and_goes_on(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    struct lp_publish publish;
    enum lp_result result = LP_DONE;
    uint32_t sent = 0;
    lp_session_confirm_select(client->session);
    /* No turn in between: the credits for the far shards run out. */
    while (sent < 2 * LP_MESH_CREDITS &&
           (result = client_publish(client, &publish, "fan", "", sent)) == LP_DONE) {
        sent++;
    }
    assert_int_equal(result, LP_WAIT);
    assert_int_equal(sent, LP_MESH_CREDITS);
    (void)rig_turn(&rig);
    (void)rig_turn(&rig);
    assert_true(client->rooms > 0);
    assert_int_equal(lp_session_publish_resume(client->session, &publish), LP_DONE);
    rig_settle(&rig);
    assert_int_equal(client->confirmed, sent + 1);
    /* A session that closes while its publish is parked takes it along. */
    while ((result = client_publish(client, &publish, "fan", "", 0)) == LP_DONE) {
    }
    assert_int_equal(result, LP_WAIT);
    client_close(client);
    for (uint32_t i = 0; i < RIG_SHARDS; i++) {
        rig_queue_down(&rig, 10 + i);
    }
    rig_close(&rig);
}

/* Take all memory of a shard, in blocks chained through their first word. */
static void *
memory_hog(struct lp_memory *memory)
{
    void *chain = NULL;
    for (uint64_t bytes = LP_SPAN_BYTES; bytes >= 64;
         bytes -= 64) { /* every class has spans of its own */
        void **block;
        while ((block = lp_memory_alloc(memory, bytes)) != NULL) {
            *block = chain;
            chain = block;
        }
    }
    return chain;
}

static void
memory_give_back(struct lp_memory *memory, void *chain)
{
    while (chain) {
        void *block = chain;
        chain = *(void **)block;
        lp_memory_release(memory, &block);
    }
}

static void
a_home_without_memory_refuses_and_goes_on(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, 2u << 20);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    lp_session_confirm_select(client->session);
    client_send(client, "q1", 1);
    rig_settle(&rig);
    struct lp_memory *memory = rig.shard[1]->broker.memory;
    void *hog = memory_hog(memory);
    client_send_many(client, "q1", 2, 1000); /* some entries are left in the pool's last chunk */
    rig_settle(&rig);
    assert_true(client->nacked > 0);
    assert_int_equal(rig.shard[1]->broker.stats->messages_dropped, client->nacked);
    memory_give_back(memory, hog);
    const uint32_t nacked = client->nacked;
    client_send(client, "q1", 2000);
    rig_settle(&rig);
    assert_int_equal(client->nacked, nacked);
    assert_int_equal(lp_session_purge(client->session, client_queue(client, "q1")), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->ready, 1002 - nacked);
    client_close(client);
    rig_close(&rig);
}

static void
a_delivery_that_finds_no_memory_is_tried_again(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, 2u << 20);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    struct rig_client *publisher = client_open(&rig, 2);
    struct lp_memory *memory = rig.shard[0]->broker.memory;
    /* A get whose delivery can be neither numbered nor kept is answered all the same. */
    assert_int_equal(lp_session_get(client->session, client_queue(client, "q1"), false), LP_LATER);
    rig_settle(&rig);
    client_send(publisher, "q1", 1);
    rig_settle(&rig);
    void *hog = memory_hog(memory);
    assert_int_equal(lp_session_get(client->session, client_queue(client, "q1"), false), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->code, LP_FAULT_RESOURCE_ERROR);
    assert_int_equal(client->got_empty, 2);
    memory_give_back(memory, hog);

    /* There is room to keep deliveries, but none to number them; the output is never full. */
    (void)client_consume(client, "q1", 0);
    client->output_full = true;
    client_send_many(publisher, "q1", 2, 3);
    rig_settle(&rig);
    client->output_full = false;
    lp_session_output_ready(client->session);
    assert_int_equal(client->delivered, 3);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    rig_settle(&rig);
    hog = memory_hog(memory);
    client_send_many(publisher, "q1", 5, 3);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 3);
    memory_give_back(memory, hog);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 6);
    assert_int_equal(client->delivery[5].value, 7);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(client);
    client_close(publisher);
    rig_queue_down(&rig, 11);
    rig_close(&rig);
}

static void
settling_all_means_all_of_the_first_call(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    struct rig_client *publisher = client_open(&rig, 2);
    (void)client_consume(client, "q1", 0);
    client_send_many(publisher, "q1", 1, 10);
    rig_settle(&rig);
    /* No room for news to that shard. */
    const struct lp_mesh_record nothing = {.op = LP_MESH_CREDIT, .w = {LP_HANDLE_NONE}};
    while (lp_mesh_news(&client_broker(client)->mesh, 1, &nothing)) {
    }
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_ACK), LP_WAIT);
    client->rooms = 0;
    client_send(publisher, "q1", 11);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 11);
    assert_true(client->rooms > 0);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    assert_int_equal(open_count(client), 1);
    client_ack(client, 11);
    client_close(client);
    client_close(publisher);
    rig_close(&rig);
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
        cmocka_unit_test(a_shared_prefetch_bounds_all_consumers_together),
        cmocka_unit_test(a_shared_prefetch_that_comes_later_counts_what_is_under_way),
        cmocka_unit_test(grants_come_back_from_consumers_that_cannot_use_them),
        cmocka_unit_test(a_lower_priority_has_its_turn_while_the_higher_one_waits),
        cmocka_unit_test(the_last_cancel_of_an_auto_delete_queue_waits_for_its_deletion),
        cmocka_unit_test(a_session_closes_though_its_cancel_waits_for_the_control_process),
        cmocka_unit_test(a_delete_that_was_begun_begins_anew_after_a_resync),
        cmocka_unit_test(records_of_a_broken_control_process_are_survived),
        cmocka_unit_test(a_request_after_a_long_sleep_has_its_whole_time),
        cmocka_unit_test(what_is_owed_to_the_control_process_is_looked_at_again),
        cmocka_unit_test(consumers_are_refused_for_a_reason),
        cmocka_unit_test(without_credits_a_publish_waits_and_goes_on),
        cmocka_unit_test(a_home_without_memory_refuses_and_goes_on),
        cmocka_unit_test(a_delivery_that_finds_no_memory_is_tried_again),
        cmocka_unit_test(settling_all_means_all_of_the_first_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
