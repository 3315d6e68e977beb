/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shard keeps over a kill and a stop, and when it says so.
 */
#include "tests/unit/shard/store_rig.h"

static void
what_was_confirmed_is_there_after_a_kill(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    store_send(&store, "q", 1, 1000);
    assert_int_equal(store.client->confirmed, 1000);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 1000);
    store_expect(&store, "q", 1, 1000);
    assert_int_equal(store_get(&store, "q", true), 0);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_close(&store);
}

static void
nothing_is_confirmed_before_it_is_on_disk(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    store.hold = true;
    store_send(&store, "q", 1, 10);
    assert_int_equal(store.client->confirmed, 0);
    store_kill_and_start(&store);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_close(&store);
}

/* What is dropped in the turn in which it came is confirmed though nothing is written. */
static void
what_never_has_to_be_written_is_confirmed(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store.queue[0].settings.max_length = 0;
    store_start(&store);
    rig_settle(&store.rig);
    lp_session_confirm_select(store.client->session);
    struct lp_log_stats before;
    struct lp_log_stats after;
    lp_log_stats(store_of(&store)->log, &before);
    store_send(&store, "q", 1, 3);
    lp_log_stats(store_of(&store)->log, &after);
    assert_int_equal(store.client->confirmed, 3);
    assert_int_equal(after.bytes_written, before.bytes_written);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_confirmed_is_there_after_a_kill),
        cmocka_unit_test(nothing_is_confirmed_before_it_is_on_disk),
        cmocka_unit_test(what_never_has_to_be_written_is_confirmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
