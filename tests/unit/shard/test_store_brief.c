/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that are not kept, in queues that are longer than memory: on disk as long as the run
 * lasts, and not a moment longer.
 */
#include "tests/unit/shard/store_rig.h"

/* The head of a queue stays, 4096; pages have 2048. */
#define MESSAGES 12000u
#define HEAD     4096u

/* Every test with a durable queue, and with one that is not. */
static void
open_small(struct store_rig *store, bool transient)
{
    store_open(store);
    store->rig.log_backlog_bytes = 1;
    store->queue[0].transient = transient;
    store_start(store);
}

static uint64_t
held_bytes(const struct store_rig *store)
{
    struct lp_log_stats stats;
    lp_log_stats(store_of(store)->log, &stats);
    return stats.held_bytes;
}

static void
expect_in_order(const struct rig_client *reader, uint64_t first, uint32_t count)
{
    assert_int_equal(reader->delivered, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(reader->delivery[i].value, first + i);
        assert_false(reader->delivery[i].redelivered);
    }
}

/* Nothing is left of anything. */
static void
close_empty(struct store_rig *store)
{
    assert_int_equal(store_counts(store, "q").ready, 0);
    assert_int_equal(store_counts(store, "q").persistent, 0);
    assert_int_equal(store_counts(store, "q").persistent_bytes, 0);
    assert_int_equal(store_of(store)->resident_bytes, 0);
    assert_int_equal(held_bytes(store), 0);
    store_close(store);
}

static void
a_long_queue_leaves_memory_and_is_drained_in_order(void **unused)
{
    (void)unused;
    static struct store_rig store;
    for (uint32_t transient = 0; transient < 2; transient++) {
        open_small(&store, transient != 0);
        store_send_mixed(&store, "q", 1, MESSAGES, 0);
        const struct lp_queue_counts counts = store_counts(&store, "q");
        assert_int_equal(counts.ready, MESSAGES);
        assert_true(counts.paged_out >= 4000);
        assert_true(store_broker(&store)->entries.used < MESSAGES - counts.paged_out + 16);
        struct rig_client *reader = store_drain(&store, "q", true, 0);
        expect_in_order(reader, 1, MESSAGES);
        client_close(reader);
        close_empty(&store);
    }
}

static void
persistent_messages_of_a_queue_that_is_not_durable_leave_memory_too(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store, true);
    store_send_mixed(&store, "q", 1, MESSAGES, 2);
    assert_true(store_counts(&store, "q").paged_out >= 4000);
    assert_int_equal(store_counts(&store, "q").persistent, MESSAGES / 2);
    struct rig_client *reader = store_drain(&store, "q", true, 0);
    expect_in_order(reader, 1, MESSAGES);
    client_close(reader);
    close_empty(&store);
}

/* Numbers of the first message of each priority, from the highest, are of one row. */
static void
expect_by_priority(const struct rig_client *reader, uint32_t each)
{
    assert_int_equal(reader->delivered, MESSAGES);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        const uint32_t level = each - 1 - i / (MESSAGES / each);
        assert_int_equal(reader->delivery[i].value, level + each * (i % (MESSAGES / each)));
    }
}

static void
priorities_leave_memory_too(void **unused)
{
    (void)unused;
    static struct store_rig store;
    for (uint32_t kept = 0; kept < 2; kept++) {
        store_open(&store);
        store.rig.log_backlog_bytes = 1;
        store.queue[0].settings.max_priority = 10;
        store_start(&store);
        for (uint32_t i = 0; i < MESSAGES; i++) {
            const struct rig_extras extras = {.flags = kept ? LP_MESSAGE_PERSISTENT : 0,
                                              .priority = i % 2};
            client_send_with(store.client, "q", i, &extras);
            if (i % 256 == 255) {
                rig_settle(&store.rig);
            }
        }
        rig_settle(&store.rig);
        lp_store_check(store_broker(&store));
        const struct lp_queue_counts counts = store_counts(&store, "q");
        assert_int_equal(counts.ready, MESSAGES);
        /* As many as a queue may have in memory, and what is under way. */
        assert_true(counts.paged_out >= MESSAGES - 2 * HEAD - 1024);
        assert_true(store_broker(&store)->messages.used <= MESSAGES - counts.paged_out);
        if (kept) {
            store_kill_and_start(&store);
            assert_int_equal(store_counts(&store, "q").ready, MESSAGES);
        }
        struct rig_client *reader = store_drain(&store, "q", true, 0);
        expect_by_priority(reader, 2);
        client_close(reader);
        rig_settle(&store.rig);
        close_empty(&store);
    }
}

static void
a_short_queue_is_never_written(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store, false);
    struct lp_log_stats before;
    struct lp_log_stats after;
    lp_log_stats(store_of(&store)->log, &before);
    store_send_mixed(&store, "q", 1, 2 * HEAD, 0);
    store_expect(&store, "q", 1, 2 * HEAD);
    lp_log_stats(store_of(&store)->log, &after);
    assert_int_equal(after.bytes_written, before.bytes_written);
    close_empty(&store);
}

static void
a_confirm_does_not_wait_for_the_disk(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store, false);
    lp_session_confirm_select(store.client->session);
    store.hold = true;
    store_send_mixed(&store, "q", 1, MESSAGES, 0);
    assert_int_equal(store.client->confirmed, MESSAGES);
    assert_int_equal(store_counts(&store, "q").paged_out, 0);
    /* Taken while they are on their way to the disk, and before. */
    struct rig_client *reader = store_drain(&store, "q", true, 0);
    expect_in_order(reader, 1, MESSAGES);
    store.hold = false;
    client_close(reader);
    rig_settle(&store.rig);
    close_empty(&store);
}

/* When the disk has caught up they go, though no other message comes. */
static void
what_a_slow_disk_has_written_leaves_memory(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store, true);
    store.hold = true;
    store_send_mixed(&store, "q", 1, MESSAGES, 0);
    assert_int_equal(store_counts(&store, "q").paged_out, 0);
    store.hold = false;
    for (uint32_t i = 0; i < 200; i++) {
        (void)rig_turn(&store.rig);
    }
    assert_true(store_counts(&store, "q").paged_out >= 4000);
    store_expect(&store, "q", 1, MESSAGES);
    close_empty(&store);
}

static void
a_start_finds_nothing_and_holds_nothing(void **unused)
{
    (void)unused;
    static struct store_rig store;
    for (uint32_t transient = 0; transient < 2; transient++) {
        open_small(&store, transient != 0);
        store_send_mixed(&store, "q", 1, MESSAGES, 0);
        assert_true(held_bytes(&store) > 0);
        store_kill_and_start(&store);
        assert_int_equal(store_counts(&store, "q").ready, 0);
        assert_int_equal(held_bytes(&store), 0);
        assert_int_equal(store_get(&store, "q", true), 0);
        store_send_mixed(&store, "q", 1, MESSAGES, 0);
        store_stop_and_start(&store);
        assert_int_equal(store_counts(&store, "q").ready, 0);
        close_empty(&store);
    }
}

/* Between each other in every proportion; what was kept is there after a kill, and only that. */
static void
kept_ones_between_them_are_kept(void **unused)
{
    (void)unused;
    static struct store_rig store;
    static const uint32_t each[] = {2, 3, 8, 40};
    for (uint32_t i = 0; i < LP_COUNT_OF(each); i++) {
        open_small(&store, false);
        store_send_mixed(&store, "q", 1, MESSAGES, each[i]);
        store_send_mixed(&store, "q", MESSAGES + 1, 3000, each[i]);
        assert_true(store_counts(&store, "q").paged_out >= 4000);
        struct rig_client *reader = store_drain(&store, "q", false, 0);
        expect_in_order(reader, 1, MESSAGES + 3000);
        free(reader);
        store_kill_and_start(&store);
        const uint32_t kept = (MESSAGES + 3000) / each[i];
        assert_int_equal(store_counts(&store, "q").ready, kept);
        assert_int_equal(store_counts(&store, "q").persistent, kept);
        reader = store_drain(&store, "q", true, 0);
        assert_int_equal(reader->delivered, kept);
        for (uint32_t j = 0; j < kept; j++) {
            assert_int_equal(reader->delivery[j].value, (j + 1) * each[i]);
            assert_true(reader->delivery[j].redelivered);
        }
        client_close(reader);
        close_empty(&store);
    }
}

static void
what_comes_back_goes_to_its_old_place(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store, true);
    store_send_mixed(&store, "q", 1, MESSAGES, 0);
    struct rig_client *reader = store_drain(&store, "q", false, 9000);
    expect_in_order(reader, 1, 9000);
    client_close(reader); /* all of them come back */
    assert_int_equal(store_counts(&store, "q").ready, MESSAGES);
    reader = store_drain(&store, "q", true, 0);
    assert_int_equal(reader->delivered, MESSAGES);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        assert_int_equal(reader->delivery[i].value, i + 1);
        assert_int_equal(reader->delivery[i].redelivered, i < 9000);
    }
    client_close(reader);
    close_empty(&store);
}

static void
a_purge_or_a_delete_lets_go_of_all(void **unused)
{
    (void)unused;
    static struct store_rig store;
    for (uint32_t transient = 0; transient < 2; transient++) {
        open_small(&store, transient != 0);
        store_send_mixed(&store, "q", 1, MESSAGES, 0);
        assert_int_equal(lp_session_purge(store.client->session, client_queue(store.client, "q")),
                         LP_LATER);
        rig_settle(&store.rig);
        assert_int_equal(store.client->ready, MESSAGES);
        assert_int_equal(held_bytes(&store), 0);
        assert_int_equal(store_of(&store)->resident_bytes, 0);
        store_send_mixed(&store, "q", 1, MESSAGES, 0);
        struct rig_client *reader = store_drain(&store, "q", false, 100);
        rig_queue_down(&store.rig, STORE_QUEUE_ID);
        rig_settle(&store.rig);
        assert_int_equal(reader->gone, 1);
        client_close(reader);
        assert_int_equal(held_bytes(&store), 0);
        assert_int_equal(store_of(&store)->resident_bytes, 0);
        store_queue_up(&store, &store.queue[0]);
        store_close(&store);
    }
}

/* An administrator's purge of what is not persistent. */
static void
a_purge_of_transient_ones_leaves_the_others(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store, false);
    store_send_mixed(&store, "q", 1, MESSAGES, 3);
    struct lp_queue *queue = store_queue_of(&store, "q");
    assert_int_equal(queue->type->purge(queue, true), MESSAGES - MESSAGES / 3);
    assert_int_equal(store_counts(&store, "q").ready, MESSAGES / 3);
    struct rig_client *reader = store_drain(&store, "q", true, 0);
    assert_int_equal(reader->delivered, MESSAGES / 3);
    for (uint32_t i = 0; i < MESSAGES / 3; i++) {
        assert_int_equal(reader->delivery[i].value, 3 * (i + 1));
    }
    client_close(reader);
    close_empty(&store);
}

static void
those_that_die_on_disk_become_dead_letters(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store.rig.log_backlog_bytes = 1;
    store.queue[0].settings.message_ttl_ms = 1000;
    store.queue[0].settings.dead_letters = true;
    store.queue[0].settings.has_dead_letter_key = true;
    store.queue[0].settings.dead_letter_key = lp_bytes_of_text("dead");
    struct store_queue *dead = store_queue_add(&store, "dead");
    dead->transient = true;
    store_start(&store);
    store_send_mixed(&store, "q", 1, MESSAGES, 0);
    assert_true(store_counts(&store, "q").paged_out >= 4000);
    store.rig.now_ns += 2000000000u;
    store.rig.wall_ns += 2000000000u;
    for (uint32_t i = 0; i < 1000 && store_counts(&store, "dead").ready < MESSAGES; i++) {
        (void)rig_turn(&store.rig);
    }
    rig_settle(&store.rig);
    assert_true(store_counts(&store, "dead").paged_out > 0);
    store_expect(&store, "dead", 1, MESSAGES);
    close_empty(&store);
}

static void
a_disk_that_fails_leaves_them_in_memory(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store, true);
    store.hold = true;
    store_send_mixed(&store, "q", 1, MESSAGES, 0);
    uint64_t random = 1;
    const uint32_t flight = lp_mem_disk_find(&store.disk, LP_DISK_WRITE, 0);
    assert_int_not_equal(flight, UINT32_MAX);
    lp_mem_disk_fail(&store.disk, flight, LP_ERR_IO, &random);
    store.hold = false;
    rig_settle(&store.rig);
    assert_non_null(lp_store_fault(store_broker(&store)));
    store_send_mixed(&store, "q", MESSAGES + 1, 1000, 0);
    struct rig_client *reader = store_drain(&store, "q", true, 0);
    expect_in_order(reader, 1, MESSAGES + 1000);
    client_close(reader);
    assert_int_equal(store_of(&store)->resident_bytes, 0);
    store_kill(&store);
    lp_mem_disk_fini(&store.disk);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_queue_leaves_memory_and_is_drained_in_order),
        cmocka_unit_test(persistent_messages_of_a_queue_that_is_not_durable_leave_memory_too),
        cmocka_unit_test(priorities_leave_memory_too),
        cmocka_unit_test(a_short_queue_is_never_written),
        cmocka_unit_test(a_confirm_does_not_wait_for_the_disk),
        cmocka_unit_test(what_a_slow_disk_has_written_leaves_memory),
        cmocka_unit_test(a_start_finds_nothing_and_holds_nothing),
        cmocka_unit_test(kept_ones_between_them_are_kept),
        cmocka_unit_test(what_comes_back_goes_to_its_old_place),
        cmocka_unit_test(a_purge_or_a_delete_lets_go_of_all),
        cmocka_unit_test(a_purge_of_transient_ones_leaves_the_others),
        cmocka_unit_test(those_that_die_on_disk_become_dead_letters),
        cmocka_unit_test(a_disk_that_fails_leaves_them_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
