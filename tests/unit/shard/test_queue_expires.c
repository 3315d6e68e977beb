/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues that go when nobody has used them for long enough (C73, C157).
 *
 * The control process is played: it hears QUEUE_EXPIRED and answers, or not.
 */
#include "tests/unit/shard/queue_rig.h"

static void
expires_open(struct queue_rig *rig)
{
    queue_rig_open(rig);
    rig->settings.expires_ms = 1000;
    queue_rig_start(rig);
}

static void
expect_asked(const struct queue_rig *rig, uint32_t count)
{
    assert_int_equal(rig->rig.asked_count, count);
    if (count > 0) {
        assert_int_equal(rig->rig.asked_type, LP_CONTROL_QUEUE_EXPIRED);
        assert_int_equal(rig->rig.asked_shard, 1);
    }
}

static void
an_unused_queue_asks_to_be_deleted_and_takes_nothing_more(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    expires_open(&rig);
    rig.settings.dead_letters = true;
    queue_rig_configure(&rig);
    queue_rig_send(&rig, 1, 3);
    queue_rig_wait(&rig, 990);
    queue_rig_send(&rig, 4, 1); /* a publish is no use */
    expect_asked(&rig, 0);
    queue_rig_wait(&rig, 12);
    expect_asked(&rig, 1);
    queue_rig_send(&rig, 5, 1);
    assert_int_equal(queue_rig_ready(&rig), 4);
    assert_int_equal(queue_rig_get(&rig, true), 0);
    assert_int_equal(rig.reader->code, LP_FAULT_NOT_FOUND);
    assert_int_equal(queue_rig_stats(&rig)->queues_expired, 1);
    rig_queue_down(&rig.rig, RIG_QUEUE_ID);
    rig_reply(&rig.rig, 1, rig.rig.asked_sequence, 0);
    queue_rig_wait(&rig, 5000);
    expect_asked(&rig, 1);
    assert_int_equal(rig.rig.shard[0]->broker.messages.used, 0);
    queue_rig_close(&rig);
}

static void
gets_and_declares_are_use_and_consumers_are_as_long_as_they_stay(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    expires_open(&rig);
    queue_rig_wait(&rig, 900);
    (void)queue_rig_get(&rig, true);
    queue_rig_wait(&rig, 900);
    assert_int_equal(lp_session_stat(rig.reader->session, client_queue(rig.reader, "q")), LP_LATER);
    queue_rig_wait(&rig, 0);
    queue_rig_wait(&rig, 900);
    expect_asked(&rig, 0);
    struct lp_consumer *consumer = client_consume(rig.reader, "q", 0);
    queue_rig_wait(&rig, 5000);
    expect_asked(&rig, 0);
    assert_int_equal(lp_session_cancel(rig.reader->session, consumer), LP_LATER);
    queue_rig_wait(&rig, 0);
    queue_rig_wait(&rig, 990);
    expect_asked(&rig, 0);
    /* A purge is none. */
    assert_int_equal(lp_session_purge(rig.reader->session, client_queue(rig.reader, "q")),
                     LP_LATER);
    queue_rig_wait(&rig, 0);
    queue_rig_wait(&rig, 12);
    expect_asked(&rig, 1);
    queue_rig_close(&rig);
}

static void
a_queue_that_has_to_stay_is_asked_for_again_later(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    expires_open(&rig);
    queue_rig_send(&rig, 1, 1);
    queue_rig_wait(&rig, 1001);
    expect_asked(&rig, 1);
    rig_reply(&rig.rig, 1, rig.rig.asked_sequence, LP_FAULT_INTERNAL_ERROR);
    queue_rig_wait(&rig, 0);
    queue_rig_wait(&rig, 500);
    queue_rig_send(&rig, 2, 1);
    assert_int_equal(queue_rig_ready(&rig), 2);
    expect_asked(&rig, 1);
    queue_rig_wait(&rig, 501);
    expect_asked(&rig, 2);
    queue_rig_close(&rig);
}

static void
changed_settings_count_from_then_on(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    expires_open(&rig);
    queue_rig_wait(&rig, 900);
    queue_rig_configure(&rig); /* named again: nothing changes */
    rig.settings.expires_ms = 500;
    queue_rig_configure(&rig);
    queue_rig_wait(&rig, 450);
    expect_asked(&rig, 0);
    rig.settings.expires_ms = LP_SETTING_UNSET;
    queue_rig_configure(&rig);
    queue_rig_wait(&rig, 5000);
    expect_asked(&rig, 0);
    rig.settings.expires_ms = 100;
    queue_rig_configure(&rig);
    queue_rig_wait(&rig, 50);
    queue_rig_configure(&rig);
    queue_rig_wait(&rig, 52);
    expect_asked(&rig, 1);
    queue_rig_close(&rig);
}

/* A new control process does not know what the old one was asked; it is asked again. */
static void
it_is_asked_again_when_the_control_process_is_a_new_one(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    uint8_t payload[16];
    expires_open(&rig);
    queue_rig_wait(&rig, 1001);
    expect_asked(&rig, 1);
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, 2);
    lp_writer_u64le(&writer, 0);
    lp_writer_u32le(&writer, 1);
    rig_say_all(&rig.rig, LP_CONTROL_ATTACH, &writer);
    writer = lp_writer_of(payload, sizeof(payload));
    rig_say_all(&rig.rig, LP_CONTROL_SYNC_BEGIN, &writer);
    rig_topology(&rig.rig, 0);
    queue_rig_configure(&rig);
    writer = lp_writer_of(payload, sizeof(payload));
    rig_say_all(&rig.rig, LP_CONTROL_SYNC_END, &writer);
    queue_rig_wait(&rig, 0);
    expect_asked(&rig, 2);
    /* It is closed for newcomers all the while. */
    assert_int_equal(queue_rig_get(&rig, true), 0);
    assert_int_equal(rig.reader->code, LP_FAULT_NOT_FOUND);
    queue_rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unused_queue_asks_to_be_deleted_and_takes_nothing_more),
        cmocka_unit_test(gets_and_declares_are_use_and_consumers_are_as_long_as_they_stay),
        cmocka_unit_test(a_queue_that_has_to_stay_is_asked_for_again_later),
        cmocka_unit_test(changed_settings_count_from_then_on),
        cmocka_unit_test(it_is_asked_again_when_the_control_process_is_a_new_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
