/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept, in shapes that are not the usual one: large messages, one message in many queues,
 * messages whose time runs while nobody is there, a log that ends at any point, little memory.
 */
#include "tests/unit/shard/store_rig.h"

#define MIB (1024u * 1024u)

static uint8_t
shape_byte(uint64_t value, uint64_t at)
{
    return (uint8_t)(value * 31 + at + at / 253);
}

/* To an exchange, with a body of so many bytes that begins with `value`. */
static void
shape_send(struct store_rig *store, const char *exchange, uint64_t value, uint32_t bytes)
{
    struct lp_broker *broker = store_broker(store);
    const struct lp_message_parts parts = {.key = lp_bytes_of_text("q"),
                                           .properties = lp_bytes_of("\0", 2),
                                           .protocol = LP_PROTOCOL_AMQP091,
                                           .flags = LP_MESSAGE_PERSISTENT,
                                           .body_bytes = bytes};
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of_text(exchange))};
    uint8_t *body = malloc(bytes);
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
    assert_true(body && message && bytes >= sizeof(value));
    for (uint32_t i = 0; i < bytes; i++) {
        body[i] = shape_byte(value, i);
    }
    memcpy(body, &value, sizeof(value));
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(body, bytes)));
    free(body);
    assert_int_equal(lp_session_publish(store->client->session, &publish), LP_DONE);
}

/* The next one in "q" is this, whole, and is taken. */
static void
shape_expect(struct store_rig *store, uint64_t value, uint32_t bytes)
{
    assert_int_equal(store_get(store, "q", false), value);
    const struct lp_message *message = store->client->got_last.message;
    assert_int_equal(message->body_bytes, bytes);
    struct lp_message_body body = lp_message_body(message);
    struct lp_bytes piece;
    uint32_t at = 0;
    while ((piece = lp_message_body_next(&body, UINT32_MAX)).size > 0) {
        for (uint32_t i = 0; i < piece.size; i++, at++) {
            assert_true(at < sizeof(value) || piece.data[i] == shape_byte(value, at));
        }
    }
    assert_int_equal(at, bytes);
    client_ack(store->client, store->client->got_last.number);
    rig_settle(&store->rig);
}

/* ---- large messages ---- */

static void
messages_of_1_and_16_mib_are_kept_whole(void **unused)
{
    (void)unused;
    static struct store_rig store;
    static const uint32_t sizes[] = {MIB, 16 * MIB, 8, MIB};
    store_open(&store);
    store.memory_bytes = 128u << 20;
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    for (uint32_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        shape_send(&store, "", i + 1, sizes[i]);
        rig_settle(&store.rig);
    }
    assert_int_equal(store.client->confirmed, LP_COUNT_OF(sizes));
    shape_expect(&store, 1, sizes[0]);
    store_kill_and_start(&store);
    shape_expect(&store, 2, sizes[1]);
    store_stop_and_start(&store);
    shape_expect(&store, 3, sizes[2]);
    shape_expect(&store, 4, sizes[3]);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_close(&store);
}

/* Killed in the middle of it: it was not confirmed, and what is there of it is nothing. */
static void
half_of_a_large_message_is_none(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    store_send(&store, "q", 1, 1);
    lp_session_confirm_select(store.client->session);
    store.limited = true;
    store.limit = 3;
    shape_send(&store, "", 2, 4 * MIB);
    rig_settle(&store.rig);
    assert_int_equal(store.client->confirmed, 0);
    store.limited = false;
    store_kill_and_start(&store);
    store_expect(&store, "q", 1, 1);
    assert_int_equal(store_get(&store, "q", true), 0);
    store_close(&store);
}

/* ---- one message, many queues ---- */

static void
what_is_for_many_queues_is_written_once(void **unused)
{
    (void)unused;
    static struct store_rig store;
    static const char *const names[] = {"b", "c", "d", "e", "f"};
    struct lp_log_stats before;
    struct lp_log_stats after;
    store_open(&store);
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++) {
        (void)store_queue_add(&store, names[i]);
    }
    store_start(&store);
    rig_settle(&store.rig);
    lp_log_stats(store_of(&store)->log, &before);
    for (uint64_t i = 1; i <= 10; i++) {
        shape_send(&store, "fan", i, 50000);
        rig_settle(&store.rig);
    }
    lp_log_stats(store_of(&store)->log, &after);
    const uint64_t written = after.bytes_records - before.bytes_records;
    assert_true(written >= 10 * 50000u && written < 10 * 51000u);
    store_kill_and_start(&store);
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++) {
        store_expect(&store, names[i], 1, 10);
    }
    for (uint64_t i = 1; i <= 10; i++) {
        shape_expect(&store, i, 50000);
    }
    store_close(&store);
}

/* ---- time ---- */

/* Monotonic time begins anew with every run; what counts is the time of day. */
static void
a_time_to_live_runs_while_nobody_is_there(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store.queue[0].settings.message_ttl_ms = 10000;
    store_start(&store);
    store_send(&store, "q", 1, 5);
    store.rig.now_ns += 6000000000u;
    store.rig.wall_ns += 6000000000u;
    rig_settle(&store.rig);
    store_send(&store, "q", 6, 5);
    store_kill(&store);
    store.rig.now_ns = 5000;          /* the machine was started again, */
    store.rig.wall_ns += 5000000000u; /* five seconds later */
    store_start(&store);
    store_expect(&store, "q", 6, 1);
    assert_int_equal(store_counts(&store, "q").ready, 4);
    store_stop_and_start(&store);
    store.rig.now_ns += 6000000000u;
    store.rig.wall_ns += 6000000000u;
    rig_settle(&store.rig);
    assert_int_equal(store_get(&store, "q", true), 0);
    store_close(&store);
}

/* ---- the log ends ---- */

static void
fence(struct store_rig *store, uint64_t seed)
{
    uint64_t random = seed * 2 + 1;
    while (store->disk.flight_count > 0) {
        lp_mem_disk_fail(&store->disk, 0, LP_ERR_IO, &random);
    }
}

/* Some are acknowledged, some are new; the disk does so many things, then it fails. */
static void
fence_play(struct store_rig *store, uint32_t operations)
{
    lp_session_confirm_select(store->client->session);
    store_send(store, "q", 1, 8);
    struct rig_client *reader = store_drain(store, "q", false, 8);
    store->limited = true;
    store->limit = operations;
    for (uint64_t i = 9; i <= 16; i++) {
        shape_send(store, "fan", i, 3000);
        client_ack(reader, i - 8);
    }
    rig_settle(&store->rig);
    store->hold = true;
    fence(store, operations);
    rig_settle(&store->rig);
    free(reader);
}

static void
whenever_the_log_ends_nothing_that_was_confirmed_is_lost(void **unused)
{
    (void)unused;
    static struct store_rig store;
    bool cut = true;
    for (uint32_t operations = 0; cut; operations++) {
        assert_true(operations < 200);
        store_open(&store);
        store.memory_bytes = 16u << 20;
        store.rig.log_segment_bytes = 64u << 10;
        (void)store_queue_add(&store, "b");
        store_start(&store);
        fence_play(&store, operations);
        cut = store.limit == 0;
        const uint32_t confirmed = store.client->confirmed;
        assert_true(!cut || lp_store_fault(store_broker(&store)) || confirmed == 16);
        store.limited = false;
        store_kill_and_start(&store);
        /* Confirms are in order: of "b" all of these must be there. */
        const uint32_t of_b = confirmed > 8 ? confirmed - 8 : 0;
        assert_true(store_counts(&store, "b").ready >= of_b);
        store_expect(&store, "b", 9, of_b);
        store_close(&store);
    }
}

/* ---- little memory ---- */

#define SWEEP_SENT  20u
#define SWEEP_MORE  10u
#define SWEEP_STEP  512u
#define SWEEP_STEPS 48u

/* All memory but some of it, in blocks chained through their first word. */
static void *
hog(struct lp_memory *memory, uint32_t but)
{
    void *chain = NULL;
    for (uint64_t bytes = 1u << 20; bytes >= SWEEP_STEP; bytes /= 2) {
        void **block;
        while ((block = lp_memory_alloc(memory, bytes)) != NULL) {
            *block = chain;
            chain = block;
        }
    }
    for (uint32_t i = 0; i < but && chain; i++) { /* the last ones are the smallest */
        void **block = chain;
        chain = *block;
        void *released = block;
        lp_memory_release(memory, &released);
    }
    return chain;
}

static void
hog_free(struct lp_memory *memory, void *chain)
{
    while (chain) {
        void **block = chain;
        chain = *block;
        void *released = block;
        lp_memory_release(memory, &released);
    }
}

static void
sweep_play(struct store_rig *store, uint32_t but)
{
    struct lp_broker *broker = store_broker(store);
    struct lp_publish publish[SWEEP_MORE] = {0};
    lp_session_confirm_select(store->client->session);
    store_send(store, "q", 1, SWEEP_SENT);
    struct rig_client *reader = store_drain(store, "q", false, SWEEP_SENT);
    for (uint64_t i = 0; i < SWEEP_MORE; i++) {
        const uint64_t value = SWEEP_SENT + 1 + i;
        const struct lp_message_parts parts = {.key = lp_bytes_of_text("q"),
                                               .properties = lp_bytes_of("\0", 2),
                                               .protocol = LP_PROTOCOL_AMQP091,
                                               .flags = LP_MESSAGE_PERSISTENT,
                                               .body_bytes = sizeof(value)};
        publish[i].exchange =
            lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0));
        assert_non_null(lp_message_whole(&broker->messages, &parts,
                                         lp_bytes_of(&value, sizeof(value)), &publish[i].message));
    }
    void *chain = hog(broker->memory, but);
    for (uint32_t i = 0; i < SWEEP_MORE; i++) {
        client_ack(reader, i + 1);
        if (lp_session_publish(store->client->session, &publish[i]) != LP_DONE) {
            break; /* it waits for memory, and goes with its session */
        }
    }
    rig_settle(&store->rig);
    hog_free(broker->memory, chain);
    rig_settle(&store->rig);
    free(reader);
}

/* An acknowledgement may be forgotten for want of memory, a publish refused; no more than that. */
static void
whatever_memory_is_left_nothing_that_was_confirmed_is_lost(void **unused)
{
    (void)unused;
    static struct store_rig store;
    for (uint32_t but = 0; but < SWEEP_STEPS; but++) {
        bool seen[SWEEP_SENT + SWEEP_MORE + 1] = {false};
        uint32_t more = 0;
        store_open(&store);
        store.memory_bytes = 16u << 20;
        store_start(&store);
        sweep_play(&store, but);
        const uint32_t confirmed = store.client->confirmed;
        store_kill_and_start(&store);
        uint64_t value;
        while ((value = store_get(&store, "q", true)) != 0) {
            assert_true(value < LP_COUNT_OF(seen) && !seen[value]);
            seen[value] = true;
            more += value > SWEEP_SENT;
        }
        for (uint32_t i = SWEEP_MORE + 1; i <= SWEEP_SENT; i++) {
            assert_true(seen[i]); /* nobody acknowledged it */
        }
        assert_true(more >= confirmed - SWEEP_SENT);
        store_close(&store);
    }
}

/* ---- dead letters that fill more than a batch ---- */

#define LETTERS 30u

static void
letters_of_one_turn_in_several_batches_are_not_lost(void **unused)
{
    (void)unused;
    static struct store_rig store;
    bool cut = true;
    for (uint32_t operations = 0; cut; operations++) {
        store_open(&store);
        store.memory_bytes = 32u << 20;
        struct lp_queue_settings *settings = &store.queue[0].settings;
        settings->dead_letters = true;
        settings->dead_letter_exchange = lp_bytes_of_text("");
        settings->has_dead_letter_key = true;
        settings->dead_letter_key = lp_bytes_of_text("letters");
        (void)store_queue_add(&store, "letters");
        store_start(&store);
        for (uint64_t i = 1; i <= LETTERS; i++) {
            shape_send(&store, "", i, 40000);
        }
        rig_settle(&store.rig);
        store.limited = true;
        store.limit = operations;
        struct rig_client *reader = store_drain(&store, "q", false, 0);
        assert_int_equal(
            lp_session_settle(reader->session, reader->delivered, true, LP_SETTLE_DISCARD),
            LP_DONE);
        rig_settle(&store.rig);
        free(reader);
        cut = store.limit == 0;
        store.limited = false;
        store_kill_and_start(&store);
        assert_int_equal(store_counts(&store, "q").ready + store_counts(&store, "letters").ready,
                         LETTERS);
        assert_true(cut || store_counts(&store, "letters").ready == LETTERS);
        store_close(&store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_1_and_16_mib_are_kept_whole),
        cmocka_unit_test(half_of_a_large_message_is_none),
        cmocka_unit_test(what_is_for_many_queues_is_written_once),
        cmocka_unit_test(a_time_to_live_runs_while_nobody_is_there),
        cmocka_unit_test(whenever_the_log_ends_nothing_that_was_confirmed_is_lost),
        cmocka_unit_test(whatever_memory_is_left_nothing_that_was_confirmed_is_lost),
        cmocka_unit_test(letters_of_one_turn_in_several_batches_are_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
