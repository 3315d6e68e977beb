/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues that are longer than memory is large: pages, what becomes of them, and what a kill leaves.
 */
#include "tests/unit/shard/store_rig.h"

/* The head of a queue stays, 4096; pages have 2048. */
#define MESSAGES 12000u

static void
open_small(struct store_rig *store)
{
    store_open(store);
    store->rig.log_backlog_bytes = 1;
}

static uint64_t
paged_out(const struct store_rig *store)
{
    return store_broker(store)->stats->messages_paged_out;
}

static void
expect_in_order(const struct rig_client *reader, uint64_t first, uint32_t count)
{
    assert_int_equal(reader->delivered, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(reader->delivery[i].value, first + i);
    }
}

static void
a_long_queue_is_drained_in_order(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    store_start(&store);
    store_send(&store, "q", 1, MESSAGES);
    assert_true(paged_out(&store) >= 4000);
    assert_int_equal(store_counts(&store, "q").ready, MESSAGES);
    struct rig_client *reader = store_drain(&store, "q", true, 0);
    expect_in_order(reader, 1, MESSAGES);
    client_close(reader);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_close(&store);
}

static void
a_long_queue_is_there_after_a_kill(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    store_start(&store);
    store_send(&store, "q", 1, MESSAGES);
    for (uint32_t life = 0; life < 2; life++) {
        store_kill_and_start(&store);
        assert_int_equal(store_counts(&store, "q").ready, MESSAGES);
        assert_int_equal(store_counts(&store, "q").persistent, MESSAGES);
    }
    /* Unacknowledged, and so all there again. */
    struct rig_client *reader = store_drain(&store, "q", false, 0);
    expect_in_order(reader, 1, MESSAGES);
    free(reader);
    store_kill_and_start(&store);
    reader = store_drain(&store, "q", true, 0);
    expect_in_order(reader, 1, MESSAGES);
    assert_true(reader->delivery[MESSAGES - 1].redelivered);
    client_close(reader);
    store_close(&store);
}

static void
what_was_taken_from_pages_does_not_come_back(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    store_start(&store);
    store_send(&store, "q", 1, MESSAGES);
    struct rig_client *reader = store_drain(&store, "q", false, 7000);
    expect_in_order(reader, 1, 7000);
    /* All but every tenth. */
    for (uint32_t i = 1; i <= 7000; i++) {
        if (i % 10 != 0) {
            client_ack(reader, i);
        }
    }
    rig_settle(&store.rig);
    free(reader);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, MESSAGES - 6300);
    reader = store_drain(&store, "q", true, 0);
    assert_int_equal(reader->delivered, MESSAGES - 6300);
    for (uint32_t i = 0; i < 700; i++) {
        assert_int_equal(reader->delivery[i].value, 10 * (i + 1));
        assert_true(reader->delivery[i].redelivered);
    }
    for (uint32_t i = 700; i < reader->delivered; i++) {
        assert_int_equal(reader->delivery[i].value, 7001 + i - 700);
    }
    client_close(reader);
    store_close(&store);
}

/* Positions of the levels lie between each other. */
static void
levels_and_pages_do_not_mix_up(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    store.queue[0].settings.max_priority = 5;
    store_start(&store);
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        const struct rig_extras extras = {.flags = LP_MESSAGE_PERSISTENT,
                                          .priority = i % 10 == 0 ? 3 : 0};
        client_send_with(store.client, "q", i, &extras);
        if (i % 256 == 255) {
            rig_settle(&store.rig);
        }
    }
    rig_settle(&store.rig);
    assert_true(paged_out(&store) >= 2048 + 512); /* a page, and of level 3 single ones */
    /* Of the higher ones half, and all others up to 6000. */
    struct rig_client *reader = store_drain(&store, "q", false, 600);
    for (uint32_t i = 0; i < 600; i++) {
        assert_int_equal(reader->delivery[i].value, 10 * (i + 1));
        client_ack(reader, i + 1);
    }
    rig_settle(&store.rig);
    free(reader);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, MESSAGES - 600);
    reader = store_drain(&store, "q", false, 600 + 6000);
    for (uint32_t i = 0; i < 600; i++) {
        assert_int_equal(reader->delivery[i].value, 10 * (601 + i));
        client_ack(reader, i + 1);
    }
    for (uint32_t i = 600; i < 6600; i++) {
        client_ack(reader, i + 1);
    }
    const uint64_t last = reader->delivery[6599].value;
    rig_settle(&store.rig);
    free(reader);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, MESSAGES - 1200 - 6000);
    assert_int_equal(store_get(&store, "q", true), last + 1);
    store_close(&store);
}

static void
a_purge_of_pages_is_for_good(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    store_start(&store);
    store_send(&store, "q", 1, MESSAGES);
    assert_int_equal(lp_session_purge(store.client->session, client_queue(store.client, "q")),
                     LP_LATER);
    rig_settle(&store.rig);
    assert_int_equal(store.client->ready, MESSAGES);
    store_send(&store, "q", 50000, 10);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 10);
    store_expect(&store, "q", 50000, 10);
    store_close(&store);
}

/* Of a quorum queue all messages are kept: those that are not persistent count as what they are. */
static void
pages_of_transient_messages_count_right(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    store.queue[0].type = "quorum";
    store_start(&store);
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        const struct rig_extras extras = {.flags = i % 2 == 0 ? LP_MESSAGE_PERSISTENT : 0};
        client_send_with(store.client, "q", i, &extras);
        if (i % 256 == 255) {
            rig_settle(&store.rig);
        }
    }
    rig_settle(&store.rig);
    assert_true(paged_out(&store) >= 4000);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").persistent, MESSAGES / 2);
    struct rig_client *reader = store_drain(&store, "q", true, 0);
    expect_in_order(reader, 1, MESSAGES);
    client_close(reader);
    assert_int_equal(store_counts(&store, "q").persistent, 0);
    store_send(&store, "q", 1, 1);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_queue_is_drained_in_order),
        cmocka_unit_test(a_long_queue_is_there_after_a_kill),
        cmocka_unit_test(what_was_taken_from_pages_does_not_come_back),
        cmocka_unit_test(levels_and_pages_do_not_mix_up),
        cmocka_unit_test(a_purge_of_pages_is_for_good),
        cmocka_unit_test(pages_of_transient_messages_count_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
