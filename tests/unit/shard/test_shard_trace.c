/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firehose when there is no room for its copies: publishers and deliveries
 * wait for the broker's own backlog, and not for memory (C163).
 */
#include <lepus/field_table.h>

#include "dataplane/broker/connection.h"
#include "dataplane/protocol/amqp091/properties.h"
#include "tests/unit/shard/shard_client.h"

static void
traced_who(void *owner, struct lp_session_who *ret_who)
{
    static const struct lp_connection connection = {.peer = {.family = LP_ADDRESS_IPV4},
                                                    .local = {.family = LP_ADDRESS_IPV4}};
    const struct rig_client *client = owner;
    ret_who->connection = &connection;
    ret_who->user = lp_bytes_of_text("somebody");
    ret_who->channel = (uint16_t)(client->shard + 1);
}

#define QUEUES (RIG_SHARDS + 1u) /* two on shard 0 */

static struct lp_session_ops traced_ops;

/* The vhost is traced, and copies of what is published go to q1, of what is delivered to q2. */
static void
traced_start(struct rig *rig)
{
    uint8_t payload[128];
    rig_open(rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(rig, QUEUES);
    rig_exchange_up(rig, 3, "amq.rabbitmq.trace", LP_EXCHANGE_TOPIC);
    for (uint32_t i = 1; i < 3; i++) {
        struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
        lp_writer_u64le(&writer, 200 + i);
        lp_writer_u32le(&writer, 3);
        lp_writer_u8(&writer, LP_RESOURCE_QUEUE);
        lp_writer_u32le(&writer, 10 + i);
        lp_writer_short(&writer, lp_bytes_of_text(i == 1 ? "publish.#" : "deliver.#"));
        lp_writer_long_le(&writer, lp_bytes_of(NULL, 0));
        rig_say_all(rig, LP_CONTROL_BIND_UP, &writer);
    }
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text("/"));
    lp_writer_u8(&writer, true);
    rig_say_all(rig, LP_CONTROL_VHOST_UP, &writer);
    rig_settle(rig);
    traced_ops = client_ops;
    traced_ops.who = traced_who;
}

static struct rig_client *
traced_client(struct rig *rig, uint32_t shard)
{
    struct rig_client *client = client_open(rig, shard);
    client->session->ops = &traced_ops;
    return client;
}

static void
turn_alone(struct rig *rig, uint32_t shard, uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++) {
        rig->now_ns += 1000;
        (void)lp_shard_turn(rig->shard[shard], rig->now_ns, 1);
        lp_shard_check(rig->shard[shard]);
    }
}

static void
a_copy_tells_who_published_what_and_where_it_went(void **unused)
{
    (void)unused;
    struct rig rig;
    traced_start(&rig);
    struct rig_client *client = traced_client(&rig, 2);
    struct rig_client *reader = traced_client(&rig, 0);
    (void)client_consume(reader, "q1", 0);
    client_send(client, "q0", 7);
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 1);
    assert_int_equal(reader->delivery[0].value, 7);
    const struct lp_message *copy = reader->delivery[0].message;
    assert_true(lp_bytes_equal_text(lp_message_key(copy), "publish."));
    const struct lp_bytes headers = amqp091_properties_headers(copy);
    struct lp_field field = {0};
    assert_true(lp_field_find(headers, "channel", &field));
    assert_int_equal(lp_field_integer(&field), 3);
    assert_true(lp_field_find(headers, "user", &field));
    assert_true(lp_bytes_equal_text(field.raw, "somebody"));
    assert_true(lp_field_find(headers, "routed_queues", &field));
    struct lp_reader array = lp_reader_of_bytes(field.raw);
    assert_true(lp_field_value_read(&array, &field));
    assert_true(lp_bytes_equal_text(field.raw, "q0"));
    assert_int_equal(lp_reader_left(&array), 0);
    client_ack(reader, 1);
    client_close(client);
    client_close(reader);
    for (uint32_t i = 0; i < QUEUES; i++) {
        rig_queue_down(&rig, 10 + i);
    }
    rig_close(&rig);
}

static void
a_publisher_waits_while_the_backlog_is_full(void **unused)
{
    (void)unused;
    struct rig rig;
    traced_start(&rig);
    struct rig_client *client = traced_client(&rig, 0);
    lp_session_confirm_select(client->session);
    const struct lp_own *own = &rig.shard[0]->broker.own;
    struct lp_publish publish;
    uint32_t sent = 0;
    enum lp_result result;
    while ((result = client_publish(client, &publish, "", "q0", sent)) == LP_DONE) {
        sent++;
        if (sent % 100 == 0) {
            turn_alone(&rig, 0, 1); /* who has q1 does nothing */
        }
        assert_true(sent < 10000);
    }
    assert_int_equal(result, LP_WAIT);
    assert_int_equal(own->count, LP_OWN_MAX);
    assert_int_equal(lp_session_publish_resume(client->session, &publish), LP_WAIT);
    rig_settle(&rig);
    assert_true(client->rooms > 0);
    assert_int_equal(lp_session_publish_resume(client->session, &publish), LP_DONE);
    rig_settle(&rig);
    assert_int_equal(client->confirmed, sent + 1);
    assert_int_equal(own->count, 0);
    struct rig_client *reader = traced_client(&rig, 1);
    (void)client_consume(reader, "q1", 0);
    rig_settle(&rig);
    assert_int_equal(reader->delivered, sent + 1); /* each once */
    for (uint32_t i = 0; i <= sent; i++) {
        assert_int_equal(reader->delivery[i].value, i);
    }
    client_close(client);
    client_close(reader);
    for (uint32_t i = 0; i < QUEUES; i++) {
        rig_queue_down(&rig, 10 + i);
    }
    rig_close(&rig);
}

static void
deliveries_wait_while_the_backlog_is_full(void **unused)
{
    (void)unused;
    struct rig rig;
    traced_start(&rig);
    struct rig_client *client = traced_client(&rig, 0);
    struct lp_broker *broker = &rig.shard[0]->broker;
    client_send_many(client, "q0", 0, 500);
    rig_settle(&rig);
    /* Full of what goes nowhere as long as shard 1 does nothing. */
    struct lp_publish publish;
    uint32_t sent = 500;
    while (client_publish(client, &publish, "", "q3", sent) == LP_DONE) {
        sent++;
        if (sent % 100 == 0) {
            turn_alone(&rig, 0, 1);
        }
    }
    assert_int_equal(broker->own.count, LP_OWN_MAX);
    struct lp_consumer *consumer = NULL;
    const struct lp_consume consume = {.queue = client_queue(client, "q0"), .user = client};
    assert_int_equal(lp_session_consume(client->session, &consume, &consumer), LP_LATER);
    turn_alone(&rig, 0, 20);
    assert_int_equal(client->consumed, 1);
    assert_int_equal(client->delivered, 0);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 500);
    for (uint32_t i = 0; i < 500; i++) {
        assert_int_equal(client->delivery[i].value, i);
    }
    client_close(client); /* and what it could not publish */
    for (uint32_t i = 0; i < QUEUES; i++) {
        rig_queue_down(&rig, 10 + i);
    }
    rig_close(&rig);
}

static void
without_memory_there_is_no_copy_and_all_else_goes_on(void **unused)
{
    (void)unused;
    struct rig rig;
    traced_start(&rig);
    struct rig_client *client = traced_client(&rig, 0);
    struct lp_broker *broker = &rig.shard[0]->broker;
    client_send_many(client, "q0", 0, 10);
    rig_settle(&rig);
    void *chain = NULL;
    uint64_t bytes = LP_SPAN_BYTES;
    while (lp_own_memory(broker, 8)) {
        void **block = lp_memory_alloc(broker->memory, bytes);
        if (!block) {
            assert_true(bytes > 64); /* what is left is in spans of other sizes */
            bytes /= 2;
            continue;
        }
        *block = chain;
        chain = block;
    }
    (void)client_consume(client, "q0", 0);
    rig_settle(&rig);
    assert_int_equal(client->delivered, 10);
    assert_int_equal(broker->stats->messages_own_lost, 10);
    while (chain) {
        void *block = chain;
        chain = *(void **)block;
        lp_memory_release(broker->memory, &block);
    }
    client_close(client);
    for (uint32_t i = 0; i < QUEUES; i++) {
        rig_queue_down(&rig, 10 + i);
    }
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_tells_who_published_what_and_where_it_went),
        cmocka_unit_test(a_publisher_waits_while_the_backlog_is_full),
        cmocka_unit_test(deliveries_wait_while_the_backlog_is_full),
        cmocka_unit_test(without_memory_there_is_no_copy_and_all_else_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
