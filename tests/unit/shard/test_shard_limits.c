/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bounds a session: the prefetch that its consumers share, refusals, and
 * room or memory that is not there.
 *
 * Method: as in test_shard_session.c.
 */
#include "tests/unit/shard/shard_client.h"

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
    assert_int_equal(sent, LP_MESH_CREDITS - LP_MESH_CREDITS_KEPT);
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
a_home_short_of_memory_withholds_the_credits_of_publishers(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, 2u << 20);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    lp_session_confirm_select(client->session);
    struct lp_memory *memory = rig.shard[1]->broker.memory;
    const struct lp_mesh_port *port = &rig.shard[0]->broker.mesh.port[1];
    client_send(client, "q1", 1); /* its pools have their first chunks */
    rig_settle(&rig);
    void *hog = memory_hog(memory);
    rig_settle(&rig);
    /* Confirmed (there was room for it), and the credit stays over there. */
    client_send(client, "q1", 2);
    rig_settle(&rig);
    assert_int_equal(client->confirmed, 2);
    assert_int_equal(port->credits, LP_MESH_CREDITS - 1);
    /* Consumers are not held back. */
    assert_int_equal(lp_session_purge(client->session, client_queue(client, "q1")), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->ready, 2);
    memory_give_back(memory, hog);
    rig_settle(&rig);
    assert_int_equal(port->credits, LP_MESH_CREDITS);
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
    lp_handle taken[2048];
    uint32_t count = 0;
    while (lp_pool_alloc(&rig.shard[0]->broker.deliveries, &taken[count])) {
        assert_true(++count < LP_COUNT_OF(taken));
    }
    assert_int_equal(lp_session_get(client->session, client_queue(client, "q1"), false), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->code, LP_FAULT_RESOURCE_ERROR);
    assert_int_equal(client->got_empty, 2);
    for (uint32_t i = 0; i < count; i++) {
        lp_pool_release(&rig.shard[0]->broker.deliveries, taken[i]);
    }
    /* With a place to wait, which is there from the start, it is answered when memory is. */
    client_send(publisher, "q1", 1);
    rig_settle(&rig);
    assert_int_equal(lp_session_get(client->session, client_queue(client, "q1"), false), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->got, 0);
    memory_give_back(memory, hog);
    rig_settle(&rig);
    assert_int_equal(client->got, 1);

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
    while (client->session->unacked.next % LP_WINDOW_CHUNK_SLOTS != 0) {
        lp_window_skip(&client->session->unacked); /* a number is the first of its chunk */
    }
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
        cmocka_unit_test(a_shared_prefetch_bounds_all_consumers_together),
        cmocka_unit_test(a_shared_prefetch_that_comes_later_counts_what_is_under_way),
        cmocka_unit_test(grants_come_back_from_consumers_that_cannot_use_them),
        cmocka_unit_test(a_lower_priority_has_its_turn_while_the_higher_one_waits),
        cmocka_unit_test(consumers_are_refused_for_a_reason),
        cmocka_unit_test(without_credits_a_publish_waits_and_goes_on),
        cmocka_unit_test(a_home_without_memory_refuses_and_goes_on),
        cmocka_unit_test(a_home_short_of_memory_withholds_the_credits_of_publishers),
        cmocka_unit_test(a_delivery_that_finds_no_memory_is_tried_again),
        cmocka_unit_test(settling_all_means_all_of_the_first_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
