/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cannot be handed out: by a log that takes nothing any more, or for want
 * of memory.
 */
#include "tests/unit/shard/store_rig.h"

/* ---- a log that takes nothing any more ---- */

/* basic.get, which waits for the disk. */
static void
get_begin(struct store_rig *store, struct rig_client *client)
{
    const uint32_t answers = client->got + client->got_empty;
    assert_int_equal(lp_session_get(client->session, client_queue(client, "q"), false), LP_LATER);
    rig_settle(&store->rig);
    assert_int_equal(client->got + client->got_empty, answers);
}

static void
disk_fails(struct store_rig *store)
{
    const uint32_t flight = lp_mem_disk_find(&store->disk, LP_DISK_WRITE, 0);
    assert_true(flight != UINT32_MAX);
    lp_mem_disk_complete(&store->disk, flight, LP_ERR_NO_SPACE);
    store->hold = false;
    rig_settle(&store->rig);
    assert_non_null(lp_store_fault(store_broker(store)));
}

static void
a_get_that_waits_for_the_disk_is_answered_when_the_log_ends(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    store_send(&store, "q", 1, 3);
    struct rig_client *other = client_open(&store.rig, 0);
    store.hold = true;
    get_begin(&store, store.client);
    get_begin(&store, other);
    disk_fails(&store);
    assert_int_equal(other->got + store.client->got, 0);
    assert_int_equal(other->got_empty, 1);
    assert_int_equal(store.client->got_empty, 1);
    assert_int_equal(store.client->code, LP_FAULT_RESOURCE_ERROR);
    /* And one that comes afterwards. */
    assert_int_equal(store_get(&store, "q", false), 0);
    assert_int_equal(store.client->got_empty, 2);
    client_close(other);
    store_kill_and_start(&store);
    store_expect(&store, "q", 1, 3);
    store_close(&store);
}

/* What is known to be handed out goes on; what was not said before the end is not given. */
static void
a_log_that_has_ended_gives_what_it_may(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store_start(&store);
    store_send(&store, "q", 1, 1000);
    assert_int_equal(store_get(&store, "q", true), 1);
    store.hold = true;
    store_send(&store, "q", 2000, 1);
    disk_fails(&store);
    uint64_t next = 2;
    while (store_get(&store, "q", true) == next) {
        next++;
    }
    assert_in_range(next, 3, 1000);
    assert_int_equal(store.client->code, LP_FAULT_RESOURCE_ERROR);
    store_kill(&store);
    lp_mem_disk_fini(&store.disk);
}

/* ---- memory ---- */

#define BODY_BYTES   32768u
#define MESSAGES     1000u
#define MEMORY_BYTES (24u << 20)

static void
send_bodies(struct store_rig *store, uint64_t first, uint32_t count, uint8_t flags)
{
    static const uint8_t body[BODY_BYTES];
    struct lp_broker *broker = store_broker(store);
    for (uint64_t value = first; value < first + count; value++) {
        const struct lp_message_parts parts = {.key = lp_bytes_of_text("q"),
                                               .properties = lp_bytes_of("\0", 2),
                                               .body_bytes = sizeof(value) + sizeof(body),
                                               .flags = flags,
                                               .protocol = LP_PROTOCOL_AMQP091};
        struct lp_publish publish = {
            .exchange = lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0))};
        struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
        assert_non_null(message);
        assert_true(
            lp_message_append(&broker->messages, message, lp_bytes_of(&value, sizeof(value))));
        assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(body, sizeof(body))));
        assert_int_equal(lp_session_publish(store->client->session, &publish), LP_DONE);
        rig_settle(&store->rig);
    }
}

static void
open_small(struct store_rig *store)
{
    store_open(store);
    store->memory_bytes = MEMORY_BYTES;
    store->rig.log_backlog_bytes = 1;
    store_start(store);
    send_bodies(store, 1, MESSAGES, LP_MESSAGE_PERSISTENT);
    assert_false(lp_memory_pressed(store_broker(store)->memory));
}

static void
a_reader_that_settles_nothing_does_not_fill_memory_from_disk(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    struct lp_memory *memory = store_broker(&store)->memory;
    struct rig_client *reader = store_drain(&store, "q", false, 0);
    assert_true(lp_memory_pressed(memory));
    assert_in_range(reader->delivered, 100, MESSAGES - 100);
    assert_int_equal(lp_memory_refusal_count(memory), 0);
    assert_true(lp_memory_whole_bytes(memory) > MEMORY_BYTES / 20);

    /* It goes on as far as it settles. */
    uint32_t settled = 0;
    while (reader->delivered < MESSAGES) {
        const uint32_t before = reader->delivered;
        while (settled < before) {
            client_ack(reader, ++settled);
        }
        rig_settle(&store.rig);
        assert_true(reader->delivered > before);
        assert_int_equal(lp_memory_refusal_count(memory), 0);
    }
    for (uint32_t i = 0; i < MESSAGES; i++) {
        assert_int_equal(reader->delivery[i].value, i + 1);
    }
    client_close(reader);
    store_close(&store);
}

/* One acknowledgement at a time is enough. */
static void
who_waits_for_memory_goes_on_with_each_acknowledgement(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    struct rig_client *reader = store_drain(&store, "q", false, 0);
    uint32_t settled = 0;
    while (settled < MESSAGES) {
        assert_true(settled < reader->delivered);
        client_ack(reader, ++settled);
        rig_settle(&store.rig);
    }
    assert_int_equal(reader->delivered, MESSAGES);
    client_close(reader);
    store_close(&store);
}

static void
who_asks_is_given_one_though_others_hold_all_memory(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    struct rig_client *reader = store_drain(&store, "q", false, 0);
    const uint32_t first = reader->delivered + 1;
    assert_true(lp_memory_pressed(store_broker(&store)->memory));
    assert_int_equal(lp_session_cancel(reader->session, reader->delivery[0].consumer), LP_LATER);
    rig_settle(&store.rig);
    store_expect(&store, "q", first, 20);
    client_close(reader); /* all it has comes back */
    store_expect(&store, "q", 1, 10);
    store_close(&store);
}

/* A queue that is deleted while it waits. */
static void
a_queue_that_waits_for_memory_may_be_deleted(void **unused)
{
    (void)unused;
    static struct store_rig store;
    open_small(&store);
    struct rig_client *reader = store_drain(&store, "q", false, 0);
    assert_false(lp_list_empty(&store_of(&store)->queues_held));
    rig_queue_down(&store.rig, STORE_QUEUE_ID);
    rig_settle(&store.rig);
    assert_true(lp_list_empty(&store_of(&store)->queues_held));
    client_close(reader);
    store.queue_count = 0;
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_that_waits_for_the_disk_is_answered_when_the_log_ends),
        cmocka_unit_test(a_log_that_has_ended_gives_what_it_may),
        cmocka_unit_test(a_reader_that_settles_nothing_does_not_fill_memory_from_disk),
        cmocka_unit_test(who_waits_for_memory_goes_on_with_each_acknowledgement),
        cmocka_unit_test(who_asks_is_given_one_though_others_hold_all_memory),
        cmocka_unit_test(a_queue_that_waits_for_memory_may_be_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
