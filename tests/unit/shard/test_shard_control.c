/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What shards make of the control process: auto-delete queues that wait for it,
 * resyncs, hostile records, time-outs and a ring that is full.
 *
 * Method: as in test_shard_session.c.
 */
#include "tests/unit/shard/shard_client.h"

static void
the_last_cancel_of_an_auto_delete_queue_waits_for_its_deletion(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, 0);
    const struct rig_queue queue = {
        .id = 50, .name = "auto", .home = 1, .flags = LP_OBJECT_AUTO_DELETE};
    rig_queue_up(&rig, &queue);
    rig_settle(&rig);
    struct rig_client *client = client_open(&rig, 0);
    struct lp_consumer *first = client_consume(client, "auto", 0);
    struct lp_consumer *second = client_consume(client, "auto", 0);
    assert_int_equal(lp_session_cancel(client->session, first), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 1);
    assert_int_equal(rig.asked_count, 0);
    assert_int_equal(lp_session_cancel(client->session, second), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 1);
    assert_int_equal(rig.asked_type, LP_CONTROL_QUEUE_UNUSED);
    assert_int_equal(rig.asked_shard, 1);
    /* Being deleted, it takes no consumer; a publish counts as taken (C105). */
    struct lp_consumer *late;
    const struct lp_consume consume = {.queue = client_queue(client, "auto")};
    assert_int_equal(lp_session_consume(client->session, &consume, &late), LP_LATER);
    client_send(client, "auto", 1);
    rig_settle(&rig);
    assert_int_equal(client->code, LP_FAULT_NOT_FOUND);
    rig_queue_down(&rig, 50);
    rig_reply(&rig, 1, rig.asked_sequence, 0);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 2);
    client_close(client);
    rig_close(&rig);
}

static void
a_session_closes_though_its_cancel_waits_for_the_control_process(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, 0);
    const struct rig_queue queue = {
        .id = 50, .name = "auto", .home = 1, .flags = LP_OBJECT_AUTO_DELETE};
    rig_queue_up(&rig, &queue);
    rig_settle(&rig);
    struct rig_client *client = client_open(&rig, 0);
    struct lp_consumer *consumer = client_consume(client, "auto", 0);
    client_send_many(client, "auto", 1, 3);
    rig_settle(&rig);
    assert_int_equal(lp_session_cancel(client->session, consumer), LP_LATER);
    rig_settle(&rig);
    assert_int_equal(client->cancelled, 0);
    client_close(client);
    /* Refused or late, it is asked again; at last it goes. */
    rig_reply(&rig, 1, rig.asked_sequence, LP_FAULT_INTERNAL_ERROR);
    rig_settle(&rig);
    assert_int_equal(rig.asked_count, 2);
    rig_queue_down(&rig, 50);
    rig_reply(&rig, 1, rig.asked_sequence, 0);
    rig_close(&rig);
}

static void
a_delete_that_was_begun_begins_anew_after_a_resync(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    struct rig_client *client = client_open(&rig, 0);
    (void)client_consume(client, "q1", 0);
    uint8_t payload[8];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, 11);
    lp_writer_u8(&writer, 0);
    lp_writer_u8(&writer, 0);
    rig_say(&rig, 1, LP_CONTROL_DELETE_CHECK, 9, &writer);
    rig_settle(&rig);
    client_send(client, "q1", 1); /* lost with the queue */
    rig_settle(&rig);
    assert_int_equal(client->delivered, 0);
    writer = lp_writer_of(payload, sizeof(payload));
    rig_say_all(&rig, LP_CONTROL_SYNC_BEGIN, &writer);
    rig_topology(&rig, RIG_SHARDS);
    writer = lp_writer_of(payload, sizeof(payload));
    rig_say_all(&rig, LP_CONTROL_SYNC_END, &writer);
    rig_settle(&rig);
    client_send(client, "q1", 2);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 1);
    client_ack(client, 1);
    client_close(client);
    rig_close(&rig);
}

static void
records_of_a_broken_control_process_are_survived(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    uint8_t payload[256];
    /* Every type, before anything exists, with payloads of every small size. */
    for (uint16_t type = 0; type < 100; type++) {
        if (type == LP_CONTROL_STOP) {
            continue;
        }
        for (uint32_t size = 0; size < 64; size += 3) {
            memset(payload, (int)size, sizeof(payload));
            struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
            (void)lp_writer_take(&writer, size);
            rig_say(&rig, size % RIG_SHARDS, type, size, &writer);
        }
        (void)rig_turn(&rig);
    }
    rig_topology(&rig, RIG_SHARDS);
    const struct rig_queue nowhere[] = {
        {.id = 70, .name = "nowhere", .home = RIG_SHARDS},
        {.id = 71, .name = "far", .home = UINT16_MAX},
        {.id = 10, .name = "named again", .home = 2},
        {.id = 72, .name = "q0", .home = 1}, /* the older one goes */
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(nowhere); i++) {
        rig_queue_up(&rig, &nowhere[i]);
    }
    rig_queue_down(&rig, 12345);
    rig_settle(&rig);
    struct rig_client *client = client_open(&rig, 0);
    assert_null(lp_topology_queue(&client_broker(client)->topology, RIG_VHOST,
                                  lp_bytes_of_text("nowhere")));
    struct lp_publish publish;
    assert_int_equal(client_publish(client, &publish, "", "far", 1), LP_DONE);
    assert_true(publish.unroutable);
    lp_session_publish_drop(client->session, &publish);
    (void)client_consume(client, "q0", 0);
    client_send(client, "q0", 5);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 1);
    client_ack(client, 1);
    client_close(client);
    rig_close(&rig);
}

static void
request_answered(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    (void)context;
    (void)owner;
    (void)reply;
    fail_msg("nobody answered, and it is not time to give up");
}

static void
request_make(struct rig *rig)
{
    assert_true(lp_link_request(&rig->shard[0]->broker.link, LP_CONTROL_PERMIT,
                                lp_bytes_of(NULL, 0), LP_HANDLE_NONE, request_answered));
}

/* A shard that slept for a minute wakes to input that asks the control process: the time-out starts
 * then. */
static void
a_request_after_a_long_sleep_has_its_whole_time(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, 1, RIG_MEMORY_BYTES);
    rig_topology(&rig, 1);
    rig.now_ns += 60000000000u;
    rig.on_poll = request_make;
    rig_settle(&rig);
    rig.now_ns += 29000000000u;
    rig_settle(&rig);
    assert_int_equal(rig.asked_count, 1);
    rig_close(&rig);
}

static void
what_is_owed_to_the_control_process_is_looked_at_again(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_open(&rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig, RIG_SHARDS);
    /* Nobody reads the ring until it is full. */
    static uint8_t filler[LP_CONTROL_PAYLOAD_MAX_BYTES];
    struct lp_link *link = &rig.shard[0]->broker.link;
    uint32_t bytes = sizeof(filler);
    while (bytes > 8) {
        if (!lp_link_tell(link, LP_CONTROL_LOG, 0, lp_bytes_of(filler, bytes))) {
            bytes /= 2;
        }
    }
    while (lp_link_tell(link, LP_CONTROL_LOG, 0, lp_bytes_of(NULL, 0))) {
    }
    struct lp_writer writer = lp_writer_of(filler, sizeof(filler));
    rig_say(&rig, 0, LP_CONTROL_REVISION, 7, &writer);
    rig_say(&rig, 0, LP_CONTROL_LIST_QUEUES, 8, &writer);
    (void)lp_shard_turn(rig.shard[0], rig.now_ns, 1);
    const struct lp_turn_result result = lp_shard_turn(rig.shard[0], rig.now_ns, 1);
    assert_int_equal(result.work, 0); /* waiting is not work */
    assert_true(result.next_ns != UINT64_MAX && result.next_ns <= rig.now_ns + 2000000);
    rig_listen(&rig);
    rig_settle(&rig);
    assert_int_equal(rig.shard[0]->applied_owed, 0);
    assert_int_equal(rig.shard[0]->listing_count, 0);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_cancel_of_an_auto_delete_queue_waits_for_its_deletion),
        cmocka_unit_test(a_session_closes_though_its_cancel_waits_for_the_control_process),
        cmocka_unit_test(a_delete_that_was_begun_begins_anew_after_a_resync),
        cmocka_unit_test(records_of_a_broken_control_process_are_survived),
        cmocka_unit_test(a_request_after_a_long_sleep_has_its_whole_time),
        cmocka_unit_test(what_is_owed_to_the_control_process_is_looked_at_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
