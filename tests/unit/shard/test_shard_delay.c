/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that wait at an exchange that delays them: when they go on, and
 * what happens when something is short (C164).
 *
 * Every test ends with all pools, loans, credits and blocks given back.
 */
#include <lepus/field_table.h>

#include "dataplane/protocol/amqp091/properties.h"
#include "tests/unit/shard/shard_client.h"

#define LATE 5u /* the exchange's id */

static void
text_field(struct lp_writer *writer, const char *name, const char *text)
{
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, 'S');
    lp_writer_long_be(writer, lp_bytes_of_text(text));
}

/* The exchange "late" before queue q1, and "fan" before it and the queues. */
static void
delay_start(struct rig *rig)
{
    uint8_t room[128];
    uint8_t payload[256];
    rig_open(rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(rig, RIG_SHARDS);
    struct lp_writer arguments = lp_writer_of(room, sizeof(room));
    text_field(&arguments, "x-delayed-type", "fanout");
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, LATE);
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text("late"));
    lp_writer_u8(&writer, LP_EXCHANGE_DELAYED);
    lp_writer_u8(&writer, 0);
    lp_writer_short(&writer, lp_bytes_of(NULL, 0));
    lp_writer_long_le(&writer, lp_writer_bytes(&arguments));
    rig_say_all(rig, LP_CONTROL_EXCHANGE_UP, &writer);
    rig_bind_up(rig, 300, LATE, 11);
    writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u64le(&writer, 301);
    lp_writer_u32le(&writer, 2);
    lp_writer_u8(&writer, LP_RESOURCE_EXCHANGE);
    lp_writer_u32le(&writer, LATE);
    lp_writer_short(&writer, lp_bytes_of(NULL, 0));
    lp_writer_long_le(&writer, lp_bytes_of(NULL, 0));
    rig_say_all(rig, LP_CONTROL_BIND_UP, &writer);
    rig_settle(rig);
}

struct parcel {
    const char *exchange;
    uint64_t value;
    uint32_t delay_ms;
    uint32_t body_bytes; /* 8 at least */
};

static enum lp_result
send(struct rig_client *client, struct lp_publish *publish, const struct parcel *parcel)
{
    struct lp_broker *broker = client_broker(client);
    uint8_t room[64];
    char digits[16];
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
                                           .body_bytes = LP_MAX(parcel->body_bytes, 8u)};
    memset(publish, 0, sizeof(*publish));
    struct lp_message *message = lp_message_make(&broker->messages, &parts, &publish->message);
    assert_non_null(message);
    assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&parcel->value, 8)));
    for (uint64_t at = 8; at < parts.body_bytes; at++) {
        const uint8_t byte = (uint8_t)(at * 3);
        assert_true(lp_message_append(&broker->messages, message, lp_bytes_of(&byte, 1)));
    }
    publish->exchange =
        lp_topology_exchange(&broker->topology, RIG_VHOST, lp_bytes_of_text(parcel->exchange));
    publish->headers = amqp091_properties_headers(message);
    return lp_session_publish(client->session, publish);
}

/* It goes nowhere for now: what a protocol does then. */
static void
send_late(struct rig_client *client, uint64_t value, uint32_t delay_ms)
{
    struct lp_publish publish;
    const struct parcel parcel = {.exchange = "late", .value = value, .delay_ms = delay_ms};
    assert_int_equal(send(client, &publish, &parcel), LP_DONE);
    assert_true(publish.unroutable);
    lp_session_publish_drop(client->session, &publish);
}

/* Time passes, a millisecond a turn. */
static void
wait_ms(struct rig *rig, uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i++) {
        rig->now_ns += 1000000u;
        (void)rig_turn(rig);
    }
}

static void
delay_end(struct rig *rig)
{
    for (uint32_t i = 0; i < RIG_SHARDS; i++) {
        assert_int_equal(rig->shard[i]->broker.delay.heap.count, 0);
        rig_queue_down(rig, 10 + i);
    }
    rig_close(rig);
}

static void
it_is_confirmed_at_once_and_goes_on_when_it_is_due(void **unused)
{
    (void)unused;
    struct rig rig;
    delay_start(&rig);
    struct rig_client *client = client_open(&rig, 0);
    struct rig_client *reader = client_open(&rig, 2);
    (void)client_consume(reader, "q1", 0);
    lp_session_confirm_select(client->session);
    const uint64_t began_ns = rig.now_ns;
    send_late(client, 7, 50);
    rig_settle(&rig);
    assert_int_equal(client->confirmed, 1);
    while (reader->delivered == 0) {
        wait_ms(&rig, 1);
        assert_true(rig.now_ns < began_ns + 100000000u);
    }
    assert_true(rig.now_ns >= began_ns + 50000000u);
    struct lp_field field = {0};
    assert_true(
        lp_field_find(amqp091_properties_headers(reader->delivery[0].message), "x-delay", &field));
    assert_int_equal(field.type, 'l');
    assert_int_equal(lp_field_integer(&field), -50);
    client_ack(reader, 1);
    client_close(client); /* who published need not be there any more */
    client_close(reader);
    delay_end(&rig);
}

static void
many_go_on_by_due_time_then_arrival_whatever_the_backlog_holds(void **unused)
{
    (void)unused;
    struct rig rig;
    delay_start(&rig);
    struct rig_client *client = client_open(&rig, 0);
    struct rig_client *reader = client_open(&rig, 2);
    (void)client_consume(reader, "q1", 0);
    for (uint32_t i = 0; i < 4000; i++) {
        send_late(client, i, 100 + (i * 7919u) % 5u); /* at one moment */
    }
    assert_int_equal(rig.shard[0]->broker.delay.heap.count, 4000);
    client_close(client);
    wait_ms(&rig, 200);
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 4000);
    for (uint32_t i = 1; i < 4000; i++) {
        const uint64_t one = reader->delivery[i - 1].value;
        const uint64_t next = reader->delivery[i].value;
        const uint64_t one_due = (one * 7919u) % 5u;
        const uint64_t next_due = (next * 7919u) % 5u;
        assert_true(one_due < next_due || (one_due == next_due && one < next));
    }
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(reader);
    delay_end(&rig);
}

/* Through "fan" it goes to three queues now, and to one of them again later, as a copy. */
static void
what_others_have_already_is_copied(void **unused)
{
    (void)unused;
    struct rig rig;
    delay_start(&rig);
    struct rig_client *client = client_open(&rig, 0);
    struct rig_client *reader = client_open(&rig, 1);
    (void)client_consume(reader, "q1", 0);
    struct lp_publish publish;
    const struct parcel parcel = {
        .exchange = "fan", .value = 3, .delay_ms = 20, .body_bytes = 100000};
    assert_int_equal(send(client, &publish, &parcel), LP_DONE);
    assert_false(publish.unroutable);
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 1);
    wait_ms(&rig, 50);
    assert_int_equal(reader->delivered, 2);
    const struct lp_message *message = reader->delivery[1].message;
    assert_true(lp_bytes_equal_text(lp_message_exchange(message), "fan"));
    assert_int_equal(message->body_bytes, 100000);
    struct lp_message_body body = lp_message_body(message);
    uint64_t at = 0;
    struct lp_bytes piece;
    while ((piece = lp_message_body_next(&body, UINT32_MAX)).size > 0) {
        for (uint32_t i = 0; i < piece.size; i++, at++) {
            assert_true(at < 8 || piece.data[i] == (uint8_t)(at * 3));
        }
    }
    assert_int_equal(at, 100000);
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(client);
    client_close(reader);
    delay_end(&rig);
}

static void
without_its_exchange_it_is_lost_and_counted_when_it_is_due(void **unused)
{
    (void)unused;
    struct rig rig;
    uint8_t payload[8];
    delay_start(&rig);
    struct rig_client *client = client_open(&rig, 0);
    send_late(client, 1, 20);
    for (uint32_t id = 300; id <= 301; id++) {
        struct lp_writer binding = lp_writer_of(payload, sizeof(payload));
        lp_writer_u64le(&binding, id);
        rig_say_all(&rig, LP_CONTROL_BIND_DOWN, &binding);
    }
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, LATE);
    rig_say_all(&rig, LP_CONTROL_EXCHANGE_DOWN, &writer);
    wait_ms(&rig, 10);
    assert_int_equal(rig.shard[0]->broker.stats->messages_own_lost, 0);
    wait_ms(&rig, 30);
    assert_int_equal(rig.shard[0]->broker.stats->messages_own_lost, 1);
    client_close(client);
    delay_end(&rig);
}

static void
without_memory_the_publisher_waits(void **unused)
{
    (void)unused;
    struct rig rig;
    delay_start(&rig);
    struct rig_client *client = client_open(&rig, 0);
    lp_session_confirm_select(client->session);
    struct lp_broker *broker = client_broker(client);
    struct lp_publish publish[2];
    void *chain = NULL;
    uint64_t bytes = LP_SPAN_BYTES;
    while (lp_own_memory(broker, 0)) {
        void **block = lp_memory_alloc(broker->memory, bytes);
        if (!block) {
            assert_true(bytes > 64); /* what is left is in spans of other sizes */
            bytes /= 2;
            continue;
        }
        *block = chain;
        chain = block;
    }
    const struct parcel alone = {.exchange = "late", .value = 1, .delay_ms = 5};
    assert_int_equal(send(client, &publish[0], &alone), LP_WAIT);
    assert_int_equal(lp_session_publish_resume(client->session, &publish[0]), LP_WAIT);
    struct rig_client *other = client_open(&rig, 0); /* and closes before there is any */
    const struct parcel more = {.exchange = "fan", .value = 2, .delay_ms = 5};
    assert_int_equal(send(other, &publish[1], &more), LP_WAIT);
    client_close(other);
    while (chain) {
        void *block = chain;
        chain = *(void **)block;
        lp_memory_release(broker->memory, &block);
    }
    assert_int_equal(lp_session_publish_resume(client->session, &publish[0]), LP_DONE);
    assert_true(publish[0].unroutable);
    lp_session_publish_drop(client->session, &publish[0]);
    rig_settle(&rig);
    assert_int_equal(client->confirmed, 1);
    wait_ms(&rig, 20);
    client_close(client);
    delay_end(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_confirmed_at_once_and_goes_on_when_it_is_due),
        cmocka_unit_test(many_go_on_by_due_time_then_arrival_whatever_the_backlog_holds),
        cmocka_unit_test(what_others_have_already_is_copied),
        cmocka_unit_test(without_its_exchange_it_is_lost_and_counted_when_it_is_due),
        cmocka_unit_test(without_memory_the_publisher_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
