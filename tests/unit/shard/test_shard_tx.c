/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do transactions do all or nothing, however little room there is?
 *
 * Three shards in one thread; each test ends with every pool and credit back.
 * A client here is what a protocol is: it repeats what says WAIT.
 */
#include "dataplane/broker/session_private.h"
#include "tests/unit/shard/shard_client.h"

static struct rig_client *
tx_open(struct rig *rig, uint32_t shard)
{
    struct rig_client *client = client_open(rig, shard);
    assert_true(lp_session_tx_select(client->session));
    assert_true(lp_session_tx_select(client->session)); /* twice is once */
    return client;
}

static void
tx_send(struct rig_client *client, const char *exchange, const char *key, uint64_t value,
        bool mandatory)
{
    struct lp_broker *broker = client_broker(client);
    const struct lp_message_parts parts = {.exchange = lp_bytes_of_text(exchange),
                                           .key = lp_bytes_of_text(key),
                                           .body_bytes = sizeof(value)};
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of_text(exchange))};
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
    assert_non_null(message);
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&value, sizeof(value))));
    assert_true(lp_session_tx_fits(client->session, publish.message));
    assert_int_equal(lp_session_tx_publish(client->session, &publish, mandatory), LP_DONE);
}

/* Commit, as often as it takes; gives how often that was. */
static uint32_t
tx_commit(struct rig_client *client)
{
    const uint32_t before = client->committed;
    uint32_t times = 1;
    while (lp_session_tx_commit(client->session) == LP_WAIT) {
        assert_int_equal(client->committed, before);
        (void)rig_turn(client->rig);
        times++;
        assert_true(times < 1000);
    }
    rig_settle(client->rig);
    assert_int_equal(client->committed, before + 1);
    return times;
}

static void
tx_rollback(struct rig_client *client)
{
    while (lp_session_tx_rollback(client->session) == LP_WAIT) {
        (void)rig_turn(client->rig);
    }
}

/* C110 */
static void
publishes_reach_their_queues_with_the_commit_in_order(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *publisher = tx_open(&rig, 0);
    struct rig_client *reader = client_open(&rig, 2);
    (void)client_consume(reader, "q1", 0);
    for (uint32_t i = 0; i < 5000; i++) {
        tx_send(publisher, i % 8 == 0 ? "fan" : "", "q1", i, true);
    }
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 0);
    assert_int_equal(publisher->session->tx->publish_count, 5000);
    assert_true(client_broker(publisher)->transaction_bytes > 5000 * sizeof(uint64_t));
    assert_true(tx_commit(publisher) > 1); /* more than a step's, and than there are credits */
    assert_int_equal(client_broker(publisher)->transaction_bytes, 0);
    assert_int_equal(publisher->partial, 0);
    assert_int_equal(publisher->confirmed, 0);
    assert_int_equal(publisher->returned, 0);
    assert_int_equal(reader->delivered, 5000);
    for (uint32_t i = 0; i < 5000; i++) {
        assert_int_equal(reader->delivery[i].value, i);
    }
    assert_int_equal(tx_commit(publisher), 1); /* of nothing */
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(reader);
    for (uint32_t i = 0; i < RIG_SHARDS; i += 2) {
        char queue[8];
        (void)snprintf(queue, sizeof(queue), "q%u", i);
        assert_int_equal(lp_session_purge(publisher->session, client_queue(publisher, queue)),
                         LP_LATER);
        rig_settle(&rig);
        assert_int_equal(publisher->ready, 625);
    }
    client_close(publisher);
    rig_close(&rig);
}

/* C110 */
static void
returns_wait_for_output_and_come_before_the_commits_answer(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = tx_open(&rig, 1);
    for (uint32_t i = 0; i < 3000; i++) {
        tx_send(client, "", "nobody", i, i % 2 == 0);
    }
    assert_int_equal(client->returned, 0);
    client->output_full = true;
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(lp_session_tx_commit(client->session), LP_WAIT);
        (void)rig_turn(&rig);
    }
    assert_int_equal(client->returned, 0);
    client->output_full = false;
    assert_true(tx_commit(client) > 1);
    assert_int_equal(client->returned, 1500);
    client_close(client);
    rig_close(&rig);
}

/* C111 */
static void
one_refusal_makes_the_commit_partial_once_all_have_answered(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = tx_open(&rig, 0);
    for (uint32_t refused = 1; refused <= 3; refused++) {
        const uint64_t first = client->session->confirms.next;
        for (uint32_t i = 0; i < 3; i++) {
            tx_send(client, "", "q1", i, false);
        }
        assert_int_equal(lp_session_tx_commit(client->session), LP_LATER);
        session_confirm_answer(client->session, first + refused - 1, true);
        assert_int_equal(client->committed, refused - 1); /* the others have not answered */
        rig_settle(&rig);
        assert_int_equal(client->committed, refused);
        assert_int_equal(client->partial, refused);
        assert_int_equal(client->nacked, 0); /* nobody asked for confirms */
    }
    tx_send(client, "", "q1", 9, false);
    (void)tx_commit(client);
    assert_int_equal(client->partial, 3); /* the next one is its own */
    client_close(client);
    struct rig_client *other = client_open(&rig, 0);
    assert_int_equal(lp_session_purge(other->session, client_queue(other, "q1")), LP_LATER);
    rig_settle(&rig);
    client_close(other);
    rig_close(&rig);
}

/* C111, C112 */
static void
settlements_wait_and_a_rollback_takes_them_back(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = tx_open(&rig, 2);
    struct lp_session *session = client->session;
    (void)client_consume(client, "q0", 8);
    struct rig_client *publisher = client_open(&rig, 1);
    client_send_many(publisher, "q0", 1, 10);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 8);

    assert_int_equal(lp_session_tx_settle(session, 5, false, LP_SETTLE_ACK), LP_DONE);
    assert_int_equal(lp_session_tx_settle(session, 5, false, LP_SETTLE_ACK), LP_UNKNOWN);
    assert_int_equal(lp_session_tx_settle(session, 5, true, LP_SETTLE_ACK), LP_UNKNOWN);
    assert_int_equal(lp_session_tx_settle(session, 3, true, LP_SETTLE_DISCARD), LP_DONE);
    assert_int_equal(lp_session_tx_settle(session, 2, false, LP_SETTLE_ACK), LP_UNKNOWN);
    assert_int_equal(lp_session_tx_settle(session, 0, true, LP_SETTLE_REQUEUE), LP_DONE);
    assert_int_equal(lp_session_tx_settle(session, 0, true, LP_SETTLE_REQUEUE), LP_DONE);
    assert_int_equal(session->tx->settle_count, 8);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 8); /* they count against the prefetch as before */
    tx_rollback(client);
    assert_int_equal(session->tx->settle_count, 0);

    assert_int_equal(lp_session_tx_settle(session, 2, true, LP_SETTLE_ACK), LP_DONE);
    assert_int_equal(lp_session_tx_settle(session, 7, false, LP_SETTLE_REQUEUE), LP_DONE);
    assert_int_equal(lp_session_tx_recover(session), LP_DONE); /* 3, 4, 5, 6, 8 */
    rig_settle(&rig);
    assert_int_equal(client->delivered, 13);
    assert_true(client->delivery[8].redelivered);
    assert_int_equal(client->delivery[8].value, 3);
    (void)tx_commit(client);
    assert_int_equal(client->delivered, 16);
    assert_int_equal(client->delivery[13].value, 7);
    assert_int_equal(lp_session_tx_settle(session, 0, true, LP_SETTLE_ACK), LP_DONE);
    (void)tx_commit(client);
    client_close(client);
    client_close(publisher);
    rig_close(&rig);
}

static void
thousands_of_settlements_are_committed_and_rolled_back_in_steps(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = tx_open(&rig, 0);
    struct rig_client *publisher = client_open(&rig, 1);
    (void)client_consume(client, "q1", 0);
    for (uint32_t i = 0; i < 4; i++) {
        client_send_many(publisher, "q1", 1, 1000);
        rig_settle(&rig);
    }
    assert_int_equal(client->delivered, 4000);
    for (uint64_t number = 2; number <= 4000; number += 2) {
        assert_int_equal(lp_session_tx_settle(client->session, number, false, LP_SETTLE_ACK),
                         LP_DONE);
    }
    assert_int_equal(lp_session_tx_rollback(client->session), LP_WAIT);
    tx_rollback(client);
    for (uint64_t number = 4000; number >= 2; number -= 2) {
        assert_int_equal(lp_session_tx_settle(client->session, number, false, LP_SETTLE_ACK),
                         LP_DONE);
    }
    assert_true(tx_commit(client) > 1);
    assert_int_equal(lp_session_tx_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    assert_int_equal(client->session->tx->settle_count, 2000);
    (void)tx_commit(client);
    assert_int_equal(client->session->unacked.open_count, 0);
    client_close(client);
    client_close(publisher);
    rig_close(&rig);
}

static void
a_session_that_closes_takes_its_transaction_with_it(void **unused)
{
    (void)unused;
    for (uint32_t commit = 0; commit < 2; commit++) {
        struct rig rig;
        rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
        rig_topology(&rig, RIG_SHARDS);
        struct rig_client *client = tx_open(&rig, 0);
        struct rig_client *reader = client_open(&rig, 1);
        client_send_many(reader, "q0", 1, 3);
        (void)client_consume(client, "q0", 0);
        assert_int_equal(lp_session_tx_settle(client->session, 2, true, LP_SETTLE_ACK), LP_DONE);
        for (uint32_t i = 0; i < 4000; i++) {
            tx_send(client, "fan", "", i, false);
        }
        if (commit > 0) { /* it is in the middle of that */
            assert_int_equal(lp_session_tx_commit(client->session), LP_WAIT);
        }
        client_close(client);
        assert_int_equal(lp_session_purge(reader->session, client_queue(reader, "q0")), LP_LATER);
        rig_settle(&rig);
        assert_true(commit > 0 ? reader->ready > 3 && reader->ready < 4003 : reader->ready == 3);
        for (uint32_t i = 1; i < RIG_SHARDS; i++) {
            char queue[8];
            (void)snprintf(queue, sizeof(queue), "q%u", i);
            assert_int_equal(lp_session_purge(reader->session, client_queue(reader, queue)),
                             LP_LATER);
            rig_settle(&rig);
        }
        client_close(reader);
        rig_close(&rig);
    }
}

static void
transactions_together_hold_no_more_than_half_the_watermark(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, 1, RIG_MEMORY_BYTES);
    rig_topology(&rig, 1);
    struct rig_client *clients[] = {tx_open(&rig, 0), tx_open(&rig, 0)};
    struct lp_broker *broker = client_broker(clients[0]);
    const struct lp_message_parts parts = {.key = lp_bytes_of_text("q0"), .body_bytes = 100000};
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0))};
    static const uint8_t body[100000];
    uint32_t count = 0;
    for (;; count++) {
        struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
        assert_non_null(message);
        assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(body, sizeof(body))));
        struct lp_session *session = clients[count % 2]->session;
        if (!lp_session_tx_fits(session, publish.message)) {
            break;
        }
        assert_int_equal(lp_session_tx_publish(session, &publish, false), LP_DONE);
    }
    lp_message_free(&broker->messages, publish.message);
    assert_false(lp_memory_pressed(broker->memory));
    assert_true(count >= lp_session_tx_bytes_max(clients[0]->session) / 101000);
    tx_rollback(clients[0]);
    assert_true(broker->transaction_bytes > 0);
    client_close(clients[0]);
    client_close(clients[1]);
    assert_int_equal(broker->transaction_bytes, 0);
    rig_close(&rig);
}

/* Else a fan of queues would fill the memory that its own commit needs. */
static void
where_a_publish_goes_and_what_is_noted_about_it_counts(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *publisher = tx_open(&rig, 0);
    struct lp_broker *broker = client_broker(publisher);
    tx_send(publisher, "", "q1", 1, false);
    const uint64_t one = broker->transaction_bytes;
    tx_send(publisher, "fan", "q1", 1, false);
    const uint64_t fan = broker->transaction_bytes - one;
    assert_int_equal(fan, one + strlen("fan") + (RIG_SHARDS - 1) * sizeof(uint32_t));

    static const uint8_t noted[300] = {LP_ANNOTATION_KEYS, 252, 0, 0, 0};
    const struct lp_message_parts parts = {.annotations = lp_bytes_of(noted, 1 + 4 + 252)};
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0))};
    assert_non_null(lp_message_make(&broker->messages, &parts, &publish.message));
    assert_int_equal(lp_session_tx_publish(publisher->session, &publish, false), LP_DONE);
    assert_true(broker->transaction_bytes - one - fan > 252);
    tx_rollback(publisher);
    assert_int_equal(broker->transaction_bytes, 0);
    client_close(publisher);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishes_reach_their_queues_with_the_commit_in_order),
        cmocka_unit_test(returns_wait_for_output_and_come_before_the_commits_answer),
        cmocka_unit_test(one_refusal_makes_the_commit_partial_once_all_have_answered),
        cmocka_unit_test(settlements_wait_and_a_rollback_takes_them_back),
        cmocka_unit_test(thousands_of_settlements_are_committed_and_rolled_back_in_steps),
        cmocka_unit_test(a_session_that_closes_takes_its_transaction_with_it),
        cmocka_unit_test(transactions_together_hold_no_more_than_half_the_watermark),
        cmocka_unit_test(where_a_publish_goes_and_what_is_noted_about_it_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
