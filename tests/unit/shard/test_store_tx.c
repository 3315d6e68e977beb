/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions that are larger than what is said in one go: what a shard keeps of them.
 */
#include "dataplane/broker/session_private.h"
#include "tests/unit/shard/store_rig.h"

#define SENT      1200u /* in the transaction, to "b" */
#define BEFORE    300u  /* in "q" before it */
#define SETTLED   120u  /* of those, in the transaction */
#define TURNS_MAX 2000u

/* One that is said in one go, and is more than a batch of the log. */
#define WHOLE_SENT       100u
#define WHOLE_BODY_BYTES (LP_LOG_BATCH_BYTES * 5u / 2u / WHOLE_SENT)

static struct rig_client *
tx_open(struct store_rig *store)
{
    struct rig_client *client = client_open(&store->rig, 0);
    assert_true(lp_session_tx_select(client->session));
    return client;
}

/* Of the bodies only the first bytes say something. */
static uint32_t body_bytes = sizeof(uint64_t);

static void
tx_send(struct rig_client *client, const char *exchange, const char *key, uint64_t first,
        uint32_t count)
{
    static uint8_t body[WHOLE_BODY_BYTES];
    struct lp_broker *broker = client_broker(client);
    for (uint64_t value = first; value < first + count; value++) {
        memcpy(body, &value, sizeof(value));
        const struct lp_message_parts parts = {.exchange = lp_bytes_of_text(exchange),
                                               .key = lp_bytes_of_text(key),
                                               .properties = lp_bytes_of("\0", 2),
                                               .flags = LP_MESSAGE_PERSISTENT,
                                               .protocol = LP_PROTOCOL_AMQP091,
                                               .body_bytes = body_bytes};
        struct lp_publish publish = {.exchange = lp_topology_exchange(&broker->topology, RIG_VHOST,
                                                                      lp_bytes_of_text(exchange))};
        struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
        assert_non_null(message);
        assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(body, body_bytes)));
        assert_int_equal(lp_session_tx_publish(client->session, &publish, true), LP_DONE);
    }
}

/* As far as it goes: a disk that stands still does not let it end. */
static void
tx_commit(struct store_rig *store, struct rig_client *client)
{
    for (uint32_t i = 0; lp_session_tx_commit(client->session) == LP_WAIT; i++) {
        assert_true(i < TURNS_MAX);
        (void)rig_turn(&store->rig);
    }
    rig_settle(&store->rig);
}

/* ---- a cut anywhere ---- */

static uint32_t sent_in_it;
static uint32_t committed;
static uint32_t settled;

static void
cut_play(struct store_rig *store)
{
    committed = 0;
    lp_session_confirm_select(store->client->session);
    store_send(store, "q", 1, BEFORE);
    struct rig_client *client = tx_open(store);
    if (store->client->confirmed == BEFORE) {
        (void)client_consume(client, "q", SETTLED);
    }
    settled = client->delivered; /* as many as it was on disk that they may be */
    for (uint32_t i = 0; i < settled; i++) {
        assert_int_equal(
            lp_session_tx_settle(client->session, client->delivery[i].number, false, LP_SETTLE_ACK),
            LP_DONE);
    }
    tx_send(client, "", "b", 1, sent_in_it);
    tx_commit(store, client);
    committed = client->committed;
    assert_int_equal(client->partial, 0);
    free(client);
}

static void
cut_look(struct store_rig *store)
{
    const uint64_t sent = store_counts(store, "b").ready;
    const uint64_t left = store_counts(store, "q").ready;
    assert_true(sent == 0 || sent == sent_in_it);
    assert_true(committed == 0 || sent == sent_in_it);
    assert_true(committed == 0 || settled == SETTLED);
    assert_true(left >= store->confirmed - (sent == sent_in_it ? settled : 0));
    assert_true(store->confirmed < BEFORE || left == BEFORE - (sent == sent_in_it ? settled : 0));
    store_expect(store, "b", 1, sent);
}

/* The power goes after every number of the disk's operations. */
static void
cut_everywhere(uint64_t segment_bytes)
{
    static struct store_rig store;
    bool cut = true;
    uint32_t wholes = 0;
    uint32_t nothings = 0;
    for (uint32_t operations = 0; cut; operations += 1 + operations / 16) {
        assert_true(operations < 5000);
        store_open(&store);
        (void)store_queue_add(&store, "b");
        store.rig.log_segment_bytes = segment_bytes;
        store_start(&store);
        store.limited = true;
        store.limit = operations;
        cut_play(&store);
        cut = store.limit == 0;
        store.limited = false;
        store_kill_and_start(&store);
        const bool whole = store_counts(&store, "b").ready > 0;
        wholes += whole;
        nothings += !whole && store.confirmed == BEFORE;
        cut_look(&store);
        store_close(&store);
    }
    assert_true(wholes > 0);
    assert_true(nothings > 1);
    assert_int_equal(committed, 1);
}

static void
a_large_transaction_is_on_disk_wholly_or_not_at_all(void **unused)
{
    (void)unused;
    sent_in_it = SENT;
    cut_everywhere(64u << 10);
}

/* It is not kept aside by the shard: what ties it together is that it is one chain of the log. */
static void
a_transaction_in_one_go_is_on_disk_wholly_or_not_at_all(void **unused)
{
    (void)unused;
    sent_in_it = WHOLE_SENT;
    body_bytes = WHOLE_BODY_BYTES;
    cut_everywhere(4u << 20);
    body_bytes = sizeof(uint64_t);
}

/* ---- others ---- */

/* Larger than all credits of the mesh. */
#define HUGE_SENT 7000u

static void
nothing_of_a_large_transaction_is_seen_before_all_of_it_is_there(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    (void)store_queue_add(&store, "b");
    store_start(&store);
    struct rig_client *client = tx_open(&store);
    tx_send(client, "", "b", 1, HUGE_SENT);
    uint32_t waits = 0;
    while (lp_session_tx_commit(client->session) == LP_WAIT) {
        assert_int_equal(store_counts(&store, "b").ready, 0);
        (void)rig_turn(&store.rig);
        assert_true(waits++ < TURNS_MAX);
    }
    assert_true(waits > 1);
    /* Others are heard meanwhile, and do not wait for it. */
    lp_session_confirm_select(store.client->session);
    store_send(&store, "q", 1, 10);
    assert_int_equal(store.client->confirmed, 10);
    assert_int_equal(client->committed, 1);
    assert_int_equal(client->partial, 0);
    store_expect(&store, "b", 1, HUGE_SENT);
    /* And another one, after it. */
    tx_send(client, "fan", "", 1, HUGE_SENT / 2);
    tx_commit(&store, client);
    assert_int_equal(client->committed, 2);
    store_expect(&store, "b", 1, HUGE_SENT / 2);
    assert_int_equal(store_counts(&store, "q").ready, 10 + HUGE_SENT / 2);
    client_close(client);
    store_close(&store);
}

static void
a_channel_that_goes_in_its_commit_leaves_nothing(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    (void)store_queue_add(&store, "b");
    store_start(&store);
    store_send(&store, "q", 1, BEFORE);
    struct rig_client *client = tx_open(&store);
    (void)client_consume(client, "q", 0);
    assert_int_equal(client->delivered, BEFORE);
    assert_int_equal(lp_session_tx_settle(client->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    tx_send(client, "", "b", 1, HUGE_SENT);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(lp_session_tx_commit(client->session), LP_WAIT);
        (void)rig_turn(&store.rig);
    }
    assert_false(lp_list_empty(&store_broker(&store)->staging.open));
    client_close(client);
    assert_true(lp_list_empty(&store_broker(&store)->staging.open));
    assert_true(lp_list_empty(&store_broker(&store)->staging.complete));
    assert_int_equal(store_counts(&store, "b").ready, 0);
    assert_int_equal(store_counts(&store, "q").ready, BEFORE);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "b").ready, 0);
    assert_int_equal(store_counts(&store, "q").ready, BEFORE);
    store_close(&store);
}

static void
what_a_queue_refuses_of_a_large_transaction_is_told(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    struct store_queue *queue = store_queue_add(&store, "b");
    queue->settings.max_length = 1000;
    queue->settings.overflow = LP_OVERFLOW_REJECT_PUBLISH;
    store_start(&store);
    struct rig_client *client = tx_open(&store);
    tx_send(client, "", "b", 1, HUGE_SENT);
    tx_commit(&store, client);
    assert_int_equal(client->committed, 1);
    assert_int_equal(client->partial, 1);
    assert_int_equal(store_broker(&store)->messages.used, 1000);
    store_expect(&store, "b", 1, 1000);
    assert_int_equal(store_broker(&store)->messages.used, 0);
    client_close(client);
    store_close(&store);
}

/* Returns wait for the client, who may take his time: what is routed waits with them. */
static void
a_transaction_with_returns_is_whole_too(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    (void)store_queue_add(&store, "b");
    store_start(&store);
    struct rig_client *client = tx_open(&store);
    tx_send(client, "", "b", 1, 10);
    tx_send(client, "", "nobody", 1, 1);
    tx_send(client, "", "b", 11, 10);
    client->output_full = true;
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(lp_session_tx_commit(client->session), LP_WAIT);
        rig_settle(&store.rig);
    }
    assert_int_equal(store_counts(&store, "b").ready, 0);
    lp_session_confirm_select(store.client->session);
    store_send(&store, "q", 1, 10);
    assert_int_equal(store.client->confirmed, 10); /* nobody waits for him */
    client->output_full = false;
    tx_commit(&store, client);
    assert_int_equal(client->committed, 1);
    assert_int_equal(client->returned, 1);
    store_expect(&store, "b", 1, 20);
    client_close(client);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_transaction_is_on_disk_wholly_or_not_at_all),
        cmocka_unit_test(a_transaction_in_one_go_is_on_disk_wholly_or_not_at_all),
        cmocka_unit_test(nothing_of_a_large_transaction_is_seen_before_all_of_it_is_there),
        cmocka_unit_test(a_channel_that_goes_in_its_commit_leaves_nothing),
        cmocka_unit_test(what_a_queue_refuses_of_a_large_transaction_is_told),
        cmocka_unit_test(a_transaction_with_returns_is_whole_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
