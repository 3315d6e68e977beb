/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kill after some operation of the disk, of many: what a restart finds each time.
 */
#include "tests/unit/shard/store_rig.h"

/* What happens up to the cut, and what must be so after it; `cut`: not all of it was done. */
struct cut_play {
    void (*prepare)(struct store_rig *store); /* before the start; NULL: nothing */
    void (*play)(struct store_rig *store);
    void (*look)(struct store_rig *store, bool cut);
    uint32_t step; /* operations from one cut to the next */
};

static void
play_with_cuts(const struct cut_play *play)
{
    static struct store_rig store;
    bool cut = true;
    for (uint32_t operations = 0; cut; operations += play->step) {
        assert_true(operations < 5000);
        store_open(&store);
        store.rig.log_segment_bytes = 64u << 10;
        if (play->prepare) {
            play->prepare(&store);
        }
        store_start(&store);
        store.limited = true;
        store.limit = operations;
        play->play(&store);
        cut = store.limit == 0;
        store.limited = false;
        store_kill_and_start(&store);
        play->look(&store, cut);
        store_close(&store);
    }
}

/* ---- dead letters ---- */

#define LETTERS 12u

static void
letters_prepare(struct store_rig *store)
{
    struct lp_queue_settings *settings = &store->queue[0].settings;
    settings->dead_letters = true;
    settings->dead_letter_exchange = lp_bytes_of_text("");
    settings->has_dead_letter_key = true;
    settings->dead_letter_key = lp_bytes_of_text("letters");
    (void)store_queue_add(store, "letters");
}

static void
letters_play(struct store_rig *store)
{
    lp_session_confirm_select(store->client->session);
    store_send(store, "q", 1, LETTERS);
    struct rig_client *reader = store_drain(store, "q", false, 0);
    for (uint32_t i = 1; i <= reader->delivered; i++) {
        assert_int_equal(lp_session_settle(reader->session, i, false, LP_SETTLE_DISCARD), LP_DONE);
        if (i % 3 == 0) {
            rig_settle(&store->rig);
        }
    }
    rig_settle(&store->rig);
    free(reader);
}

/* What was confirmed is either what it was or what it became. */
static void
letters_look(struct store_rig *store, bool cut)
{
    uint32_t seen[LETTERS + 1] = {0};
    const char *const queues[] = {"q", "letters"};
    for (uint32_t i = 0; i < LP_COUNT_OF(queues); i++) {
        uint64_t value;
        while ((value = store_get(store, queues[i], true)) != 0) {
            assert_true(value <= LETTERS);
            seen[value]++;
            assert_true(cut || i == 1);
        }
    }
    for (uint32_t i = 1; i <= LETTERS; i++) {
        assert_true(seen[i] <= 1);
        assert_true(seen[i] == 1 || i > store->confirmed);
    }
}

static void
a_dead_letter_and_what_it_was_are_never_both_there_or_gone(void **unused)
{
    (void)unused;
    play_with_cuts(&(struct cut_play){letters_prepare, letters_play, letters_look, 2});
}

/* ---- fan-out ---- */

static void
fan_prepare(struct store_rig *store)
{
    (void)store_queue_add(store, "b");
    (void)store_queue_add(store, "c");
}

static void
fan_send(struct store_rig *store, uint64_t value)
{
    struct lp_broker *broker = store_broker(store);
    const struct lp_message_parts parts = {.properties = lp_bytes_of("\0", 2),
                                           .protocol = LP_PROTOCOL_AMQP091,
                                           .flags = LP_MESSAGE_PERSISTENT,
                                           .body_bytes = 20000};
    struct lp_publish publish = {
        .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of_text("fan"))};
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
    uint8_t body[20000] = {0};
    memcpy(body, &value, sizeof(value));
    assert_non_null(message);
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(body, sizeof(body))));
    assert_int_equal(lp_session_publish(store->client->session, &publish), LP_DONE);
}

static void
fan_play(struct store_rig *store)
{
    lp_session_confirm_select(store->client->session);
    for (uint64_t i = 1; i <= 10; i++) {
        fan_send(store, i);
        fan_send(store, 100 + i);
        rig_settle(&store->rig);
    }
}

static void
fan_look(struct store_rig *store, bool cut)
{
    (void)cut;
    const uint64_t ready = store_counts(store, "q").ready;
    assert_int_equal(store_counts(store, "b").ready, ready);
    assert_int_equal(store_counts(store, "c").ready, ready);
    assert_true(ready >= store->confirmed);
    for (uint64_t i = 0; i < ready; i++) {
        const uint64_t value = store_get(store, "q", true);
        assert_int_equal(value, i % 2 == 0 ? 1 + i / 2 : 101 + i / 2);
        assert_int_equal(store_get(store, "b", true), value);
        assert_int_equal(store_get(store, "c", true), value);
    }
}

static void
what_is_for_several_queues_is_in_all_of_them_or_none(void **unused)
{
    (void)unused;
    play_with_cuts(&(struct cut_play){fan_prepare, fan_play, fan_look, 3});
}

/* ---- checkpoints ---- */

#define KEPT 40u

static void
checkpoints_prepare(struct store_rig *store)
{
    (void)store_queue_add(store, "stream");
    (void)store_queue_add(store, "b");
    (void)store_queue_add(store, "c");
}

/* Some messages are there all the time, while others stream by: there are checkpoints of them. */
static void
checkpoints_play(struct store_rig *store)
{
    lp_session_confirm_select(store->client->session);
    store_send(store, "q", 1, KEPT / 2);
    for (uint64_t i = 1; i <= 60 && store->limit > 0; i++) {
        fan_send(store, i);
        rig_settle(&store->rig);
        (void)store_get(store, "stream", true);
        (void)store_get(store, "b", true);
        (void)store_get(store, "c", true);
        if (i <= KEPT / 2) {
            store_send(store, "q", KEPT / 2 + i, 1);
        }
    }
}

/* In "q" there are what was sent and what went by the exchange: of the first none is missing. */
static void
checkpoints_look(struct store_rig *store, bool cut)
{
    struct lp_log_stats stats;
    lp_log_stats(store_of(store)->log, &stats);
    uint32_t kept = 0;
    uint64_t value;
    while ((value = store_get(store, "q", true)) != 0) {
        kept++;
    }
    assert_true(kept >= store->confirmed);
    assert_true(cut || kept == KEPT + 60);
    assert_true(store_counts(store, "stream").ready <= 1);
    assert_true(cut || store_counts(store, "stream").ready == 0);
}

static void
a_checkpoint_that_was_not_finished_does_no_harm(void **unused)
{
    (void)unused;
    play_with_cuts(&(struct cut_play){checkpoints_prepare, checkpoints_play, checkpoints_look, 11});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_letter_and_what_it_was_are_never_both_there_or_gone),
        cmocka_unit_test(what_is_for_several_queues_is_in_all_of_them_or_none),
        cmocka_unit_test(a_checkpoint_that_was_not_finished_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
