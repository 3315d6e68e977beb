/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct reply-to (C160, C161): do answers find who asked, on whatever shard,
 * and nobody else; and does nothing stay behind?
 */
#include "dataplane/broker/session_private.h"
#include "tests/unit/shard/shard_client.h"

/* A client that waits for answers; gives their address. */
static struct rig_client *
asker_open(struct rig *rig, uint32_t shard, char ret_name[LP_REPLY_ADDRESS_BYTES + 1])
{
    struct rig_client *client = client_open(rig, shard);
    struct lp_consumer *consumer;
    assert_int_equal(lp_session_reply_consume(client->session, client, &consumer), LP_LATER);
    rig_settle(rig);
    assert_int_equal(client->consumed, 1);
    assert_int_equal(client->code, 0);
    lp_session_reply_name(client->session, (uint8_t *)ret_name);
    ret_name[LP_REPLY_ADDRESS_BYTES] = 0;
    return client;
}

static void
answer(struct rig_client *client, const char *name, uint64_t value)
{
    struct lp_publish publish;
    assert_int_equal(client_publish(client, &publish, "", name, value), LP_DONE);
    assert_true(publish.unroutable); /* a mandatory one would be returned, in RabbitMQ as well */
    assert_true(publish.replied);
}

static uint16_t
stat_code(struct rig_client *client, const char *name)
{
    struct lp_reply_address address;
    assert_true(lp_reply_address_read(lp_bytes_of_text(name), RIG_SHARDS, &address));
    assert_int_equal(lp_session_reply_stat(client->session, &address), LP_LATER);
    rig_settle(client->rig);
    return client->code;
}

static void
answers_arrive_in_order_use_no_numbers_and_are_confirmed(void **unused)
{
    (void)unused;
    for (uint32_t home = 0; home < RIG_SHARDS; home++) {
        struct rig rig;
        char name[LP_REPLY_ADDRESS_BYTES + 1];
        rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
        rig_topology(&rig, 1);
        struct rig_client *asker = asker_open(&rig, home, name);
        struct rig_client *server = client_open(&rig, 1);
        lp_session_confirm_select(server->session);
        for (uint64_t i = 0; i < 600; i++) {
            answer(server, name, i);
        }
        rig_settle(&rig);
        assert_int_equal(asker->delivered, 600);
        for (uint32_t i = 0; i < 600; i++) {
            assert_int_equal(asker->delivery[i].value, i);
            assert_int_equal(asker->delivery[i].number, 1); /* the next one, not used up */
        }
        assert_int_equal(server->confirmed, 600);
        assert_int_equal(server->nacked, 0);
        assert_int_equal(stat_code(server, name), 0);
        assert_int_equal(server->consumers, 1);
        client_close(asker);
        client_close(server);
        rig_close(&rig);
    }
}

static void
answers_to_who_is_gone_are_dropped_and_confirmed(void **unused)
{
    (void)unused;
    struct rig rig;
    char name[LP_REPLY_ADDRESS_BYTES + 1];
    char other[LP_REPLY_ADDRESS_BYTES + 1];
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, 1);
    struct rig_client *server = client_open(&rig, 0);
    lp_session_confirm_select(server->session);

    /* Cancelled: what came before arrives, what comes after does not. */
    struct rig_client *asker = asker_open(&rig, 2, name);
    struct lp_consumer *consumer =
        LP_LIST_ITEM(asker->session->consumers.next, struct lp_consumer, in_session);
    asker->output_full = true;
    answer(server, name, 1);
    rig_settle(&rig);
    assert_int_equal(lp_session_cancel(asker->session, consumer), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(asker->cancelled, 0); /* what came before is written first (C114) */
    asker->output_full = false;
    lp_session_output_ready(asker->session);
    rig_settle(&rig);
    assert_int_equal(asker->cancelled, 1);
    assert_int_equal(asker->delivered, 1);
    assert_null(asker->session->reply_queue);
    answer(server, name, 2);
    rig_settle(&rig);
    assert_int_equal(stat_code(server, name), LP_FAULT_NOT_FOUND);
    assert_int_equal(lp_session_reply_consume(asker->session, asker, &consumer), LP_LATER);
    rig_settle(&rig);
    lp_session_reply_name(asker->session, (uint8_t *)other);

    /* Closed, while answers wait for it. */
    asker->output_full = true;
    other[LP_REPLY_ADDRESS_BYTES] = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        answer(server, other, i);
    }
    rig_settle(&rig);
    client_close(asker);
    answer(server, other, 3);
    rig_settle(&rig);
    assert_int_equal(server->confirmed, 1003);
    client_close(server);
    rig_close(&rig);
}

static void
a_key_that_is_not_the_queues_finds_nobody(void **unused)
{
    (void)unused;
    struct rig rig;
    char name[LP_REPLY_ADDRESS_BYTES + 1];
    struct lp_reply_address address;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, 2);
    struct rig_client *asker = asker_open(&rig, 1, name);
    struct rig_client *server = client_open(&rig, 0);
    assert_true(lp_reply_address_read(lp_bytes_of_text(name), RIG_SHARDS, &address));
    const struct lp_reply_address wrong[] = {
        {address.key ^ 1, address.queue_id, address.shard},
        {address.key, address.queue_id ^ 1, address.shard},
        {address.key, address.queue_id | 0x7fffffff, address.shard},
        {0, LP_REPLY_QUEUE, address.shard}, /* a queue that is in the topology, perhaps */
        {0, LP_REPLY_QUEUE | 1, address.shard},
        {address.key, address.queue_id, (address.shard + 1) % RIG_SHARDS},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(wrong); i++) {
        lp_reply_address_write(&wrong[i], (uint8_t *)name);
        answer(server, name, i);
        assert_int_equal(stat_code(server, name), LP_FAULT_NOT_FOUND);
    }
    assert_int_equal(asker->delivered, 0);
    client_close(asker);
    client_close(server);
    rig_close(&rig);
}

static void
an_answer_in_a_transaction_does_not_wait_for_its_commit(void **unused)
{
    (void)unused;
    for (uint32_t commit = 0; commit < 2; commit++) {
        struct rig rig;
        char name[LP_REPLY_ADDRESS_BYTES + 1];
        rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
        rig_topology(&rig, 1);
        struct rig_client *asker = asker_open(&rig, 2, name);
        struct rig_client *server = client_open(&rig, 0);
        struct lp_broker *broker = client_broker(server);
        const uint64_t value = 7;
        const struct lp_message_parts parts = {.key = lp_bytes_of_text(name),
                                               .body_bytes = sizeof(value)};
        struct lp_publish publish = {
            .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0))};
        assert_true(lp_session_tx_select(server->session));
        for (uint32_t mandatory = 0; mandatory < 2; mandatory++) {
            struct lp_message *message =
                lp_message_make(&broker->messages, &parts, &publish.message);
            assert_non_null(message);
            assert_true(
                lp_message_append(&broker->messages, message, lp_bytes_of(&value, sizeof(value))));
            assert_int_equal(lp_session_tx_publish(server->session, &publish, mandatory > 0),
                             LP_DONE);
        }
        rig_settle(&rig);
        assert_int_equal(asker->delivered, 2);
        if (commit > 0) {
            assert_int_equal(lp_session_tx_commit(server->session), LP_LATER);
        } else {
            assert_int_equal(lp_session_tx_rollback(server->session), LP_DONE);
        }
        assert_int_equal(server->committed, commit);
        assert_int_equal(server->returned, commit);
        client_close(asker);
        client_close(server);
        rig_close(&rig);
    }
}

static void
addresses_are_read_as_they_were_written_and_nothing_else_is(void **unused)
{
    (void)unused;
    const struct lp_reply_address address = {0x8123456789abcdefu, LP_REPLY_QUEUE | 77, 3};
    char name[LP_REPLY_ADDRESS_BYTES + 1];
    struct lp_reply_address found = {0, 0, 0};
    lp_reply_address_write(&address, (uint8_t *)name);
    name[LP_REPLY_ADDRESS_BYTES] = 0;
    assert_true(lp_reply_address_read(lp_bytes_of_text(name), 4, &found));
    assert_int_equal(found.key, address.key);
    assert_int_equal(found.queue_id, address.queue_id);
    assert_int_equal(found.shard, address.shard);
    assert_false(lp_reply_address_read(lp_bytes_of_text(name), 3, &found)); /* no such shard */
    assert_false(lp_reply_address_read(lp_bytes_of_text(LP_REPLY_NAME), 4, &found));
    assert_false(lp_reply_address_read(lp_bytes_of(name, LP_REPLY_ADDRESS_BYTES - 1), 4, &found));
    for (uint32_t i = 0; i < LP_REPLY_ADDRESS_BYTES; i++) {
        const char was = name[i];
        name[i] = '*';
        assert_false(lp_reply_address_read(lp_bytes_of_text(name), 4, &found));
        name[i] = was;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_arrive_in_order_use_no_numbers_and_are_confirmed),
        cmocka_unit_test(answers_to_who_is_gone_are_dropped_and_confirmed),
        cmocka_unit_test(a_key_that_is_not_the_queues_finds_nobody),
        cmocka_unit_test(an_answer_in_a_transaction_does_not_wait_for_its_commit),
        cmocka_unit_test(addresses_are_read_as_they_were_written_and_nothing_else_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
