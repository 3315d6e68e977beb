/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that wait at an exchange that delays them, over a kill and a stop (C164).
 */
#include <lepus/field_table.h>

#include "dataplane/protocol/amqp091/properties.h"
#include "tests/unit/shard/store_rig.h"

#define LATE      5u /* the exchanges' ids */
#define PASSING   6u
#define LATE_BIND 300u

static void
text_field(struct lp_writer *writer, const char *name, const char *text)
{
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, 'S');
    lp_writer_long_be(writer, lp_bytes_of_text(text));
}

static void
exchange_up(struct store_rig *store, uint32_t id, const char *name, uint8_t flags)
{
    uint8_t room[128];
    uint8_t payload[256];
    struct lp_writer arguments = lp_writer_of(room, sizeof(room));
    text_field(&arguments, "x-delayed-type", "fanout");
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, id);
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text(name));
    lp_writer_u8(&writer, LP_EXCHANGE_DELAYED);
    lp_writer_u8(&writer, flags);
    lp_writer_short(&writer, lp_bytes_of(NULL, 0));
    lp_writer_long_le(&writer, lp_writer_bytes(&arguments));
    rig_say_all(&store->rig, LP_CONTROL_EXCHANGE_UP, &writer);
    rig_bind_up(&store->rig, LATE_BIND + id, id, STORE_QUEUE_ID);
}

/* Two exchanges that delay are there before "q": a durable one and one that is not. */
static void
late_up(struct store_rig *store)
{
    exchange_up(store, LATE, "late", LP_OBJECT_DURABLE);
    exchange_up(store, PASSING, "passing", 0);
}

static void
late_open(struct store_rig *store)
{
    store_open(store);
    store->on_topology = late_up;
    store_start(store);
    lp_session_confirm_select(store->client->session);
}

static void
late_kill_and_start(struct store_rig *store)
{
    store_kill_and_start(store);
    lp_session_confirm_select(store->client->session);
}

struct parcel {
    const char *exchange;
    uint64_t value;
    uint32_t delay_ms;
    uint32_t body_bytes; /* 8 at least */
    uint8_t flags;
};

static enum lp_result
parcel_send(struct store_rig *store, const struct parcel *parcel, bool transaction)
{
    struct rig_client *client = store->client;
    struct lp_broker *broker = store_broker(store);
    uint8_t room[64];
    char digits[16];
    struct lp_publish publish;
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    (void)snprintf(digits, sizeof(digits), "%u", parcel->delay_ms);
    lp_writer_u16be(&writer, AMQP091_HEADERS);
    lp_writer_u32be(&writer, 0);
    text_field(&writer, "x-delay", digits);
    lp_writer_patch_u32be(&writer, 2, (uint32_t)lp_writer_size(&writer) - 6);
    const struct lp_message_parts parts = {.exchange = lp_bytes_of_text(parcel->exchange),
                                           .key = lp_bytes_of_text("k"),
                                           .properties = lp_writer_bytes(&writer),
                                           .protocol = LP_PROTOCOL_AMQP091,
                                           .flags = parcel->flags,
                                           .body_bytes = LP_MAX(parcel->body_bytes, 8u)};
    memset(&publish, 0, sizeof(publish));
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish.message);
    assert_non_null(message);
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&parcel->value, 8)));
    for (uint64_t at = 8; at < parts.body_bytes; at++) {
        const uint8_t byte = (uint8_t)(at * 3);
        assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&byte, 1)));
    }
    publish.exchange =
        lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of_text(parcel->exchange));
    publish.headers = amqp091_properties_headers(message);
    if (transaction) {
        return lp_session_tx_publish(client->session, &publish, false);
    }
    const enum lp_result result = lp_session_publish(client->session, &publish);
    if (result == LP_DONE && publish.unroutable) {
        lp_session_publish_drop(client->session, &publish);
    }
    return result;
}

static void
send_late(struct store_rig *store, uint64_t value, uint32_t delay_ms)
{
    const struct parcel parcel = {
        .exchange = "late", .value = value, .delay_ms = delay_ms, .flags = LP_MESSAGE_PERSISTENT};
    assert_int_equal(parcel_send(store, &parcel, false), LP_DONE);
}

/* Time passes, by both clocks, a millisecond a turn. */
static void
wait_ms(struct store_rig *store, uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i++) {
        store->rig.now_ns += 1000000u;
        store->rig.wall_ns += 1000000u;
        (void)rig_turn(&store->rig);
    }
    rig_settle(&store->rig);
}

static uint64_t
waiting(const struct store_rig *store)
{
    return lp_delay_count(&store_broker(store)->delay);
}

static void
it_is_confirmed_when_it_is_on_disk(void **unused)
{
    (void)unused;
    static struct store_rig store;
    late_open(&store);
    store.hold = true;
    send_late(&store, 1, 1000);
    rig_settle(&store.rig);
    assert_int_equal(store.client->confirmed, 0);
    store.hold = false;
    rig_settle(&store.rig);
    assert_int_equal(store.client->confirmed, 1);
    const struct parcel passing[] = {
        {.exchange = "late", .value = 2, .delay_ms = 1},
        {.exchange = "passing", .value = 3, .delay_ms = 1, .flags = LP_MESSAGE_PERSISTENT},
    };
    store.hold = true;
    for (size_t i = 0; i < LP_COUNT_OF(passing); i++) {
        assert_int_equal(parcel_send(&store, &passing[i], false), LP_DONE);
        rig_settle(&store.rig);
        assert_int_equal(store.client->confirmed, 2 + i); /* nothing of them is kept */
    }
    late_kill_and_start(&store);
    assert_int_equal(waiting(&store), 1);
    wait_ms(&store, 1100);
    store_expect(&store, "q", 1, 1);
    assert_int_equal(store_get(&store, "q", true), 0);
    store_close(&store);
}

static void
after_a_kill_it_comes_when_it_is_due_and_once(void **unused)
{
    (void)unused;
    static struct store_rig store;
    late_open(&store);
    send_late(&store, 2, 500);
    send_late(&store, 1, 200);
    send_late(&store, 3, 500);
    rig_settle(&store.rig);
    assert_int_equal(store.client->confirmed, 3);
    wait_ms(&store, 100);
    late_kill_and_start(&store);
    assert_int_equal(waiting(&store), 3);
    send_late(&store, 4, 400); /* at the same time as two of them, and after them */
    wait_ms(&store, 99);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    wait_ms(&store, 10);
    assert_int_equal(store_counts(&store, "q").ready, 1);
    assert_int_equal(store_get(&store, "q", true), 1);
    assert_false(store.client->got_last.redelivered);
    late_kill_and_start(&store); /* what went on does not come again */
    assert_int_equal(waiting(&store), 3);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    wait_ms(&store, 600);
    store_expect(&store, "q", 2, 3);
    assert_int_equal(store_get(&store, "q", true), 0);
    late_kill_and_start(&store);
    assert_int_equal(waiting(&store), 0);
    store_close(&store);
}

static void
what_became_due_meanwhile_goes_on_at_once_in_order(void **unused)
{
    (void)unused;
    static struct store_rig store;
    late_open(&store);
    for (uint64_t i = 0; i < 2000; i++) {
        send_late(&store, 2000 - i, 10 * (uint32_t)(2001 - i));
        rig_settle(&store.rig);
    }
    assert_int_equal(store.client->confirmed, 2000);
    store.rig.wall_ns += 30000000000u;
    store.rig.now_ns += 30000000000u;
    late_kill_and_start(&store);
    wait_ms(&store, 1500); /* four are read at a time */
    assert_int_equal(waiting(&store), 0);
    store_expect(&store, "q", 1, 2000);
    store_close(&store);
}

static void
a_clean_end_and_a_checkpoint_have_it(void **unused)
{
    (void)unused;
    static struct store_rig store;
    late_open(&store);
    const struct parcel large = {.exchange = "late",
                                 .value = 9,
                                 .delay_ms = 5000,
                                 .body_bytes = 1200000,
                                 .flags = LP_MESSAGE_PERSISTENT};
    send_late(&store, 8, 4000);
    assert_int_equal(parcel_send(&store, &large, false), LP_DONE);
    rig_settle(&store.rig);
    assert_int_equal(store.client->confirmed, 2);
    for (uint32_t i = 0; i < 2; i++) {
        store_stop_and_start(&store);
        assert_int_equal(waiting(&store), 2);
    }
    wait_ms(&store, 4100);
    store_expect(&store, "q", 8, 1);
    wait_ms(&store, 1000);
    assert_int_equal(store_get(&store, "q", false), 9); /* there until it is settled */
    const struct lp_message *message = store.client->got_last.message;
    assert_int_equal(message->body_bytes, 1200000);
    struct lp_message_body body = lp_message_body(message);
    uint64_t at = 0;
    struct lp_bytes piece;
    while ((piece = lp_message_body_next(&body, UINT32_MAX)).size > 0) {
        for (uint32_t i = 0; i < piece.size; i++, at++) {
            assert_true(at < 8 || piece.data[i] == (uint8_t)(at * 3));
        }
    }
    assert_int_equal(at, 1200000);
    client_ack(store.client, store.client->got_last.number);
    rig_settle(&store.rig);
    store_close(&store);
}

static void
a_commit_is_answered_when_what_it_delays_is_on_disk(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store.on_topology = late_up;
    store_start(&store);
    assert_true(lp_session_tx_select(store.client->session));
    const struct parcel parcel = {
        .exchange = "late", .value = 1, .delay_ms = 100, .flags = LP_MESSAGE_PERSISTENT};
    store.hold = true;
    assert_int_equal(parcel_send(&store, &parcel, true), LP_DONE);
    assert_int_equal(lp_session_tx_commit(store.client->session), LP_LATER);
    rig_settle(&store.rig);
    assert_int_equal(store.client->committed, 0);
    store.hold = false;
    rig_settle(&store.rig);
    assert_int_equal(store.client->committed, 1);
    late_kill_and_start(&store);
    wait_ms(&store, 150);
    store_expect(&store, "q", 1, 1);
    store_close(&store);
}

/* Above what may be in memory, those that will not be due for long are on disk only. */
static void
what_waits_long_leaves_memory(void **unused)
{
    (void)unused;
    static struct store_rig store;
    late_open(&store);
    store_of(&store)->backlog_bytes = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        send_late(&store, i, 60000);
    }
    wait_ms(&store, 10);
    assert_int_equal(store.client->confirmed, 100);
    assert_int_equal(store_broker(&store)->messages.used, 0);
    store_of(&store)->backlog_bytes = 1ull << 40;
    store.rig.now_ns += 60000000000u;
    store.rig.wall_ns += 60000000000u;
    wait_ms(&store, 100);
    store_expect(&store, "q", 1, 100);
    store_close(&store);
}

/* Those that are not kept do so as well when they are many; no start finds them. */
static void
what_is_not_kept_and_waits_long_leaves_memory_too(void **unused)
{
    (void)unused;
    static struct store_rig store;
    late_open(&store);
    store_of(&store)->backlog_bytes = 0;
    store_of(&store)->paging.head_entries = 100;
    for (uint64_t i = 1; i <= 1000; i++) {
        const struct parcel parcel = {
            .exchange = "passing", .value = i, .delay_ms = 60000, .body_bytes = 200};
        assert_int_equal(parcel_send(&store, &parcel, false), LP_DONE);
        if (i % 100 == 0) {
            wait_ms(&store, 1);
        }
    }
    wait_ms(&store, 10);
    assert_int_equal(store.client->confirmed, 1000);
    assert_true(store_broker(&store)->messages.used <= 101);
    lp_store_check(store_broker(&store));
    store.rig.now_ns += 59900000000u;
    store.rig.wall_ns += 59900000000u;
    wait_ms(&store, 400);
    store_expect(&store, "q", 1, 500);
    late_kill_and_start(&store);
    assert_int_equal(waiting(&store), 0);
    assert_int_equal(store_counts(&store, "q").ready, 0);
    store_close(&store);
}

/* What waits keeps no segment of the log alone: it is written anew, and is there all the same. */
static void
what_waits_is_written_anew_so_that_space_is_free(void **unused)
{
    (void)unused;
    static struct store_rig store;
    store_open(&store);
    store.rig.log_segment_bytes = 64u << 10;
    store.on_topology = late_up;
    store_start(&store);
    lp_session_confirm_select(store.client->session);
    uint64_t kept = 0;
    const struct parcel passing = {.exchange = "late",
                                   .value = 99,
                                   .delay_ms = 1,
                                   .body_bytes = 20000,
                                   .flags = LP_MESSAGE_PERSISTENT};
    const uint64_t *copied = &store_broker(&store)->stats->log_bytes_copied;
    for (uint32_t i = 0; i < 500 && *copied == 0; i++) {
        if (i % 5 == 0 && kept < 10) { /* one in each segment */
            send_late(&store, ++kept, 60000);
        }
        assert_int_equal(parcel_send(&store, &passing, false), LP_DONE);
        wait_ms(&store, 8);
        store_expect(&store, "q", 99, 1);
    }
    assert_true(*copied > 0);
    lp_store_check(store_broker(&store));
    late_kill_and_start(&store);
    assert_int_equal(waiting(&store), kept);
    store.rig.now_ns += 60000000000u;
    store.rig.wall_ns += 60000000000u;
    wait_ms(&store, 100);
    store_expect(&store, "q", 1, kept);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_confirmed_when_it_is_on_disk),
        cmocka_unit_test(after_a_kill_it_comes_when_it_is_due_and_once),
        cmocka_unit_test(what_became_due_meanwhile_goes_on_at_once_in_order),
        cmocka_unit_test(a_clean_end_and_a_checkpoint_have_it),
        cmocka_unit_test(a_commit_is_answered_when_what_it_delays_is_on_disk),
        cmocka_unit_test(what_waits_long_leaves_memory),
        cmocka_unit_test(what_is_not_kept_and_waits_long_leaves_memory_too),
        cmocka_unit_test(what_waits_is_written_anew_so_that_space_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
