/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues that serve one consumer at a time: exclusive (C119) and single active
 * ones (C120); and what a queue says of itself to the control process.
 */
#include "tests/unit/shard/queue_rig.h"

static void
active_open(struct queue_rig *rig)
{
    queue_rig_open(rig);
    rig->settings.single_active_consumer = true;
    queue_rig_start(rig);
}

/* The answer's code; 0: it consumes. */
static uint16_t
consume(struct rig_client *client, int32_t priority, bool exclusive, struct lp_consumer **ret)
{
    const struct lp_consume consume = {.queue = client_queue(client, "q"),
                                       .priority = priority,
                                       .exclusive = exclusive,
                                       .user = client};
    const uint32_t before = client->consumed;
    assert_int_equal(lp_session_consume(client->session, &consume, ret), LP_LATER);
    rig_settle(client->rig);
    assert_int_equal(client->consumed, before + 1);
    return client->code;
}

static void
cancel(struct rig_client *client, struct lp_consumer *consumer)
{
    assert_int_equal(lp_session_cancel(client->session, consumer), LP_LATER);
    rig_settle(client->rig);
}

static void
the_first_consumer_is_active_and_the_next_by_priority_takes_over(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_consumer *first, *low, *high, *later;
    active_open(&rig);
    struct rig_client *client = rig.reader;
    assert_int_equal(consume(client, 0, false, &first), 0);
    assert_int_equal(consume(client, 1, false, &low), 0);
    assert_int_equal(consume(client, 5, false, &high), 0);
    assert_int_equal(consume(client, 5, false, &later), 0);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(queue_rig_counts(&rig).consumers, 4);
    assert_int_equal(queue_rig_counts(&rig).sole, first->self);
    assert_int_equal(queue_rig_counts(&rig).sole_shard, 2);
    /* What it has unacknowledged stays with the channel: the next does not wait for it. */
    cancel(client, first);
    assert_int_equal(queue_rig_counts(&rig).sole, high->self);
    queue_rig_send(&rig, 4, 2);
    cancel(client, low); /* it only waited */
    cancel(client, high);
    queue_rig_send(&rig, 6, 1);
    const struct lp_consumer *const who[] = {first, first, first, high, high, later};
    assert_int_equal(client->delivered, LP_COUNT_OF(who));
    for (uint32_t i = 0; i < LP_COUNT_OF(who); i++) {
        assert_ptr_equal(client->delivery[i].consumer, who[i]);
    }
    assert_int_equal(queue_rig_counts(&rig).unacked, 6);
    cancel(client, later);
    assert_int_equal(queue_rig_counts(&rig).sole, LP_HANDLE_NONE);
    queue_rig_send(&rig, 7, 1);
    assert_int_equal(queue_rig_ready(&rig), 1);
    queue_rig_close(&rig);
}

static void
a_dead_consumers_messages_go_to_the_next(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    active_open(&rig);
    struct rig_client *first = client_open(&rig.rig, 0);
    (void)client_consume(first, "q", 2);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_send(&rig, 1, 5);
    assert_int_equal(first->delivered, 2);
    assert_int_equal(rig.reader->delivered, 0);
    client_ack(first, 1);
    rig_settle(&rig.rig);
    client_close(first);
    queue_rig_expect(&rig, 0, (const uint64_t[]){2, 3, 4, 5}, 4);
    assert_true(rig.reader->delivery[0].redelivered);
    assert_true(rig.reader->delivery[1].redelivered);
    assert_false(rig.reader->delivery[2].redelivered);
    queue_rig_close(&rig);
}

static void
its_limits_hold_the_active_consumer_and_nobody_else_is_served(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    active_open(&rig);
    (void)client_consume(rig.reader, "q", 1);
    (void)client_consume(rig.reader, "q", 0);
    queue_rig_send(&rig, 1, 3);
    assert_int_equal(rig.reader->delivered, 1);
    client_ack(rig.reader, 1);
    rig_settle(&rig.rig);
    assert_int_equal(rig.reader->delivered, 2);
    assert_int_equal(queue_rig_get(&rig, true), 3); /* basic.get is not kept out */
    queue_rig_close(&rig);
}

static void
an_exclusive_consumer_is_refused_where_one_is_active_at_a_time(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_consumer *consumer;
    active_open(&rig);
    assert_int_equal(consume(rig.reader, 0, true, &consumer), LP_FAULT_ACCESS_REFUSED);
    assert_int_equal(consume(rig.reader, 0, false, &consumer), 0);
    assert_int_equal(consume(rig.reader, 0, true, &consumer), LP_FAULT_ACCESS_REFUSED);
    assert_int_equal(queue_rig_counts(&rig).consumers, 1);
    queue_rig_close(&rig);
}

/* C119 */
static void
an_exclusive_consumer_keeps_others_out_until_it_leaves(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_consumer *holder, *other;
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    assert_int_equal(consume(rig.reader, 0, true, &holder), 0);
    assert_int_equal(queue_rig_counts(&rig).sole, holder->self);
    assert_int_equal(consume(rig.publisher, 0, false, &other), LP_FAULT_ACCESS_REFUSED);
    cancel(rig.reader, holder);
    assert_int_equal(queue_rig_counts(&rig).sole, LP_HANDLE_NONE);
    assert_int_equal(consume(rig.publisher, 0, false, &other), 0);
    assert_int_equal(consume(rig.reader, 0, true, &holder), LP_FAULT_ACCESS_REFUSED);
    assert_int_equal(queue_rig_counts(&rig).sole, LP_HANDLE_NONE);
    queue_rig_close(&rig);
}

static void
settings_may_change_under_consumers(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_consumer *first, *second;
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    assert_int_equal(consume(rig.reader, 0, false, &first), 0);
    assert_int_equal(consume(rig.reader, 3, false, &second), 0);
    rig.settings.single_active_consumer = true;
    queue_rig_configure(&rig);
    assert_int_equal(queue_rig_counts(&rig).sole, second->self);
    queue_rig_send(&rig, 1, 2);
    assert_ptr_equal(rig.reader->delivery[1].consumer, second);
    rig.settings.single_active_consumer = false;
    queue_rig_configure(&rig);
    assert_int_equal(queue_rig_counts(&rig).sole, LP_HANDLE_NONE);
    cancel(rig.reader, second);
    queue_rig_send(&rig, 3, 1);
    assert_ptr_equal(rig.reader->delivery[2].consumer, first);
    queue_rig_close(&rig);
}

static void
what_is_persistent_and_what_is_unacknowledged_is_counted(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    const struct rig_extras persistent = {.flags = LP_MESSAGE_PERSISTENT};
    queue_rig_open(&rig);
    queue_rig_start(&rig);
    client_send_with(rig.publisher, "q", 1, &persistent);
    client_send_with(rig.publisher, "q", 2, &persistent);
    queue_rig_send(&rig, 3, 2);
    assert_int_equal(queue_rig_get(&rig, false), 1);
    assert_int_equal(queue_rig_get(&rig, false), 2);
    assert_int_equal(queue_rig_get(&rig, false), 3);
    struct lp_queue_counts counts = queue_rig_counts(&rig);
    assert_int_equal(counts.persistent, 2);
    assert_int_equal(counts.unacked_bytes, 24);
    assert_int_equal(counts.bytes, 8);
    client_ack(rig.reader, 1);
    assert_int_equal(lp_session_settle(rig.reader->session, 2, false, LP_SETTLE_REQUEUE), LP_DONE);
    assert_int_equal(lp_session_settle(rig.reader->session, 3, false, LP_SETTLE_DISCARD), LP_DONE);
    rig_settle(&rig.rig);
    counts = queue_rig_counts(&rig);
    assert_int_equal(counts.persistent, 1);
    assert_int_equal(counts.unacked_bytes, 0);
    assert_int_equal(counts.bytes, 16);
    assert_int_equal(queue_rig_get(&rig, true), 2);
    assert_int_equal(queue_rig_counts(&rig).persistent, 0);
    queue_rig_close(&rig);
}

static void
a_row_of_a_listing_says_all_of_it(void **unused)
{
    (void)unused;
    struct queue_rig rig;
    struct lp_control_record record = {0};
    uint8_t nothing[1];
    active_open(&rig);
    (void)client_consume(rig.reader, "q", 1);
    const struct rig_extras persistent = {.flags = LP_MESSAGE_PERSISTENT};
    client_send_with(rig.publisher, "q", 1, &persistent);
    queue_rig_send(&rig, 2, 2);
    const struct lp_writer empty = lp_writer_of(nothing, sizeof(nothing));
    rig_say(&rig.rig, 1, LP_CONTROL_LIST_QUEUES, 77, &empty);
    rig.rig.now_ns += 1000;
    (void)lp_shard_turn(rig.rig.shard[1], rig.rig.now_ns, 1);
    struct lp_control_end *end = &rig.rig.control_in[1];
    assert_int_equal(lp_control_pop(end, rig.rig.scratch, &record), LP_CONTROL_POP_RECORD);
    assert_int_equal(record.type, LP_CONTROL_ROW_QUEUE);
    struct lp_reader reader = lp_reader_of_bytes(record.payload);
    assert_int_equal(lp_reader_u32le(&reader), RIG_QUEUE_ID);
    assert_int_equal(lp_reader_u64le(&reader), 2);
    assert_int_equal(lp_reader_u64le(&reader), 1);
    assert_int_equal(lp_reader_u32le(&reader), 1);
    assert_int_equal(lp_reader_u64le(&reader), 16);
    assert_int_equal(lp_reader_u8(&reader), 0);
    assert_int_equal(lp_reader_u64le(&reader), 8);
    assert_int_equal(lp_reader_u64le(&reader), 1);
    assert_int_equal(lp_reader_u16le(&reader), 2);
    assert_int_equal(lp_reader_u64le(&reader), rig.reader->delivery[0].consumer->self);
    (void)lp_reader_bytes(&reader, 24); /* bytes of persistent ones; what is paged out */
    assert_false(reader.failed);
    assert_int_equal(lp_reader_left(&reader), 0);
    queue_rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_consumer_is_active_and_the_next_by_priority_takes_over),
        cmocka_unit_test(a_dead_consumers_messages_go_to_the_next),
        cmocka_unit_test(its_limits_hold_the_active_consumer_and_nobody_else_is_served),
        cmocka_unit_test(an_exclusive_consumer_is_refused_where_one_is_active_at_a_time),
        cmocka_unit_test(an_exclusive_consumer_keeps_others_out_until_it_leaves),
        cmocka_unit_test(settings_may_change_under_consumers),
        cmocka_unit_test(what_is_persistent_and_what_is_unacknowledged_is_counted),
        cmocka_unit_test(a_row_of_a_listing_says_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
