/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an entry that died to a message that is published again, on three
 * shards: the message's owner, the queue it died in, and the queue it goes to.
 *
 * Method: entries die by a consumer that rejects, or are made and killed by
 * hand, as queue types do.  Every test ends with all pools, loans and credits
 * back where they came from.
 */
#include <lepus/field_table.h>

#include "dataplane/broker/deaths.h"
#include "dataplane/protocol/amqp091/properties.h"
#include "tests/unit/shard/shard_client.h"

#define SOURCE 10u /* "q0" to "q2" are 10 to 12, on the shards in turn */

static void
rig_start(struct rig *rig)
{
    rig_open(rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(rig, RIG_SHARDS);
}

/* The queue `index` sends its dead to `exchange`, by `key` (NULL: by their own). */
static void
dead_letters_to(struct rig *rig, uint32_t index, const char *exchange, const char *key)
{
    struct lp_queue_settings settings = lp_queue_settings_none();
    char name[8];
    (void)snprintf(name, sizeof(name), "q%u", index);
    settings.dead_letters = true;
    settings.dead_letter_exchange = lp_bytes_of_text(exchange);
    settings.has_dead_letter_key = key != NULL;
    settings.dead_letter_key = lp_bytes_of_text(key ? key : "");
    const struct rig_queue queue = {.id = SOURCE + index,
                                    .name = name,
                                    .home = (uint16_t)(index % rig->count),
                                    .settings = &settings};
    rig_queue_up(rig, &queue);
    rig_settle(rig);
}

static uint8_t
body_byte(uint64_t value, uint64_t at)
{
    return (uint8_t)(value * 7 + at * 31 + at / 251);
}

struct victim {
    uint32_t owner;
    uint32_t queue; /* its index, and so its shard */
    uint64_t value;
    uint32_t body_bytes;
    enum lp_death why;
    struct lp_bytes annotations;
};

/* A message of shard `owner` dies in a queue. */
static void
die(struct rig *rig, const struct victim *victim)
{
    struct lp_broker *owner = &rig->shard[victim->owner]->broker;
    struct lp_broker *home = &rig->shard[victim->queue]->broker;
    const struct lp_message_parts parts = {
        .exchange = lp_bytes_of_text("an exchange"),
        .key = lp_bytes_of_text("a.key"),
        .properties = lp_bytes_of("\0", 2),
        .annotations = victim->annotations,
        .body_bytes = LP_MAX(victim->body_bytes, 8u),
        .protocol = LP_PROTOCOL_AMQP091,
        .flags = LP_MESSAGE_PERSISTENT | LP_MESSAGE_EXPIRES,
        .priority = 3,
        .expiration_ms = 60,
    };
    lp_handle handle;
    struct lp_message *message = lp_message_make(&owner->messages, &parts, &handle);
    assert_non_null(message);
    assert_true(lp_message_append(&owner->messages, message,
                                  lp_bytes_of(&victim->value, sizeof(victim->value))));
    for (uint64_t at = sizeof(victim->value); at < parts.body_bytes; at++) {
        const uint8_t byte = body_byte(victim->value, at);
        assert_true(lp_message_append(&owner->messages, message, lp_bytes_of(&byte, 1)));
    }
    message->loans = 1;
    struct lp_queue *queue = lp_queue_find(home, SOURCE + victim->queue);
    const struct lp_mesh_record record = {.w = {handle, 0, 0, parts.body_bytes}};
    struct lp_entry *entry = lp_queue_entry_alloc(queue, victim->owner, &record);
    assert_non_null(entry);
    lp_queue_entry_dead(queue, entry, victim->why);
}

static struct lp_bytes
headers_of(const struct rig_delivery *delivery)
{
    return amqp091_properties_headers(delivery->message);
}

static struct lp_field
header(const struct rig_delivery *delivery, const char *name)
{
    struct lp_field field = {0};
    assert_true(lp_field_find(headers_of(delivery), name, &field));
    return field;
}

static int64_t
death_count_of(const struct rig_delivery *delivery)
{
    const struct lp_field array = header(delivery, "x-death");
    struct lp_reader reader = lp_reader_of_bytes(array.raw);
    struct lp_field table = {0};
    struct lp_field count = {0};
    assert_true(lp_field_value_read(&reader, &table));
    assert_true(lp_field_find(table.raw, "count", &count));
    return lp_field_integer(&count);
}

/* 300 messages are rejected in one queue and arrive in another. */
static void
reject_all(uint32_t source, uint32_t target)
{
    char from[8];
    char to[8];
    struct rig rig;
    (void)snprintf(from, sizeof(from), "q%u", source);
    (void)snprintf(to, sizeof(to), "q%u", target);
    rig_start(&rig);
    dead_letters_to(&rig, source, "", to);
    struct rig_client *client = client_open(&rig, 0);
    struct rig_client *reader = client_open(&rig, 2);
    client_send_many(client, from, 1, 300);
    (void)client_consume(client, from, 300);
    rig_settle(&rig);
    assert_int_equal(lp_session_settle(client->session, 0, true, LP_SETTLE_DISCARD), LP_DONE);
    (void)client_consume(reader, to, 0);
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 300);
    for (uint32_t i = 0; i < 300; i++) {
        const struct rig_delivery *delivery = &reader->delivery[i];
        assert_int_equal(delivery->value, i + 1);
        assert_false(delivery->redelivered);
        assert_int_equal(death_count_of(delivery), 1);
        assert_true(lp_bytes_equal_text(header(delivery, "x-last-death-queue").raw, from));
    }
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(client);
    client_close(reader);
    rig_close(&rig);
}

static void
what_is_rejected_is_published_again_wherever_that_is(void **unused)
{
    (void)unused;
    for (uint32_t source = 0; source < RIG_SHARDS; source++) {
        for (uint32_t step = 1; step < RIG_SHARDS; step++) {
            reject_all(source, (source + step) % RIG_SHARDS);
        }
    }
}

static void
a_dead_letter_says_what_it_was(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct rig_client *reader = client_open(&rig, 0);
    (void)client_consume(reader, "q2", 0);
    die(&rig, &(struct victim){.owner = 0, .queue = 1, .value = 5, .why = LP_DEATH_EXPIRED});
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 1);
    const struct rig_delivery *delivery = &reader->delivery[0];
    const struct lp_message *message = delivery->message;
    assert_int_equal(delivery->value, 5);
    assert_true(lp_bytes_equal_text(lp_message_exchange(message), ""));
    assert_true(lp_bytes_equal_text(lp_message_key(message), "q2"));
    assert_int_equal(message->flags, LP_MESSAGE_PERSISTENT | LP_MESSAGE_OWN); /* C145 */
    assert_int_equal(message->priority, 3);
    assert_true(lp_bytes_equal_text(header(delivery, "x-first-death-exchange").raw, "an exchange"));
    assert_true(lp_bytes_equal_text(header(delivery, "x-first-death-reason").raw, "expired"));
    client_ack(reader, 1);
    client_close(reader);
    rig_close(&rig);
}

/* How many routing keys the latest death tells. */
static uint32_t
keys_told_by(const struct rig_delivery *delivery)
{
    const struct lp_field array = header(delivery, "x-death");
    struct lp_reader reader = lp_reader_of_bytes(array.raw);
    struct lp_field field = {0};
    uint32_t count = 0;
    assert_true(lp_field_value_read(&reader, &field));
    assert_true(lp_field_find(field.raw, "routing-keys", &field));
    reader = lp_reader_of_bytes(field.raw);
    while (lp_reader_left(&reader) > 0) {
        assert_true(lp_field_value_read(&reader, &field));
        count++;
    }
    return count;
}

/* One that has died before, with many keys, and names a hundred more. */
static void
die_with_keys(struct rig *rig, uint32_t keys_before)
{
    static uint8_t room[200000];
    static uint8_t key_room[100000];
    static uint8_t death_room[100000];
    static const uint8_t key[250];
    struct lp_writer keys = lp_writer_of(key_room, sizeof(key_room));
    struct lp_writer deaths = lp_writer_of(death_room, sizeof(death_room));
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    for (uint32_t i = 0; i < keys_before; i++) {
        lp_writer_long_le(&keys, lp_bytes_of(key, sizeof(key)));
    }
    const struct lp_death_record before = {.queue = lp_bytes_of_text("elsewhere"),
                                           .keys = lp_writer_bytes(&keys)};
    lp_deaths_write(&deaths, lp_bytes_of(NULL, 0), &before);
    keys = lp_writer_of(key_room, sizeof(key_room));
    for (uint32_t i = 0; i < 100; i++) {
        lp_writer_long_le(&keys, lp_bytes_of(key, sizeof(key)));
    }
    lp_annotation_write(&writer, LP_ANNOTATION_KEYS, lp_writer_bytes(&keys));
    lp_annotation_write(&writer, LP_ANNOTATION_DEATHS, lp_writer_bytes(&deaths));
    assert_false(keys.failed || deaths.failed || writer.failed);
    die(rig, &(struct victim){.owner = 0,
                              .queue = 1,
                              .value = 7,
                              .why = LP_DEATH_EXPIRED,
                              .annotations = lp_writer_bytes(&writer)});
    rig_settle(rig);
}

/* A letter that no memory could hold would stop all that die behind it. */
static void
deaths_that_grow_large_stop_telling_what_cc_named(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct rig_client *reader = client_open(&rig, 0);
    (void)client_consume(reader, "q2", 0);
    die_with_keys(&rig, 1);
    die_with_keys(&rig, RIG_MEMORY_BYTES / 128 / 250);
    assert_int_equal(reader->delivered, 2);
    assert_int_equal(keys_told_by(&reader->delivery[0]), 101);
    assert_int_equal(keys_told_by(&reader->delivery[1]), 1);
    client_ack(reader, 1);
    client_ack(reader, 2);
    client_close(reader);
    rig_close(&rig);
}

/* C150, C153: rejects may go round for ever. */
static void
a_circle_with_a_reject_in_it_goes_on_and_is_counted(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", NULL); /* by its own key: back where it was */
    struct rig_client *client = client_open(&rig, 0);
    client_send(client, "q1", 9);
    (void)client_consume(client, "q1", 0);
    rig_settle(&rig);
    for (uint32_t round = 1; round <= 5; round++) {
        assert_int_equal(client->delivered, round);
        assert_int_equal(lp_session_settle(client->session, round, false, LP_SETTLE_DISCARD),
                         LP_DONE);
        rig_settle(&rig);
        assert_int_equal(client->delivered, round + 1);
        assert_int_equal(death_count_of(&client->delivery[round]), round);
        assert_false(client->delivery[round].redelivered);
    }
    client_ack(client, 6);
    client_close(client);
    rig_close(&rig);
}

/* C153 */
static void
a_circle_without_a_reject_ends_in_its_first_round(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    struct rig_client *reader = client_open(&rig, 0);
    struct lp_stats_page *stats = rig.shard[1]->broker.stats;
    dead_letters_to(&rig, 1, "fan", NULL); /* all three queues, itself among them */
    (void)client_consume(reader, "q0", 0);
    (void)client_consume(reader, "q1", 0);
    (void)client_consume(reader, "q2", 0);
    die(&rig, &(struct victim){.owner = 0, .queue = 1, .value = 1, .why = LP_DEATH_MAXLEN});
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 2);
    assert_int_equal(stats->messages_dead_cycled, 1);
    dead_letters_to(&rig, 1, "", "q1"); /* nowhere else to go */
    die(&rig, &(struct victim){.owner = 1, .queue = 1, .value = 2, .why = LP_DEATH_EXPIRED});
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 2);
    assert_int_equal(stats->messages_dead_cycled, 2);
    assert_int_equal(stats->messages_own_lost, 1);
    die(&rig, &(struct victim){.owner = 2, .queue = 1, .value = 3, .why = LP_DEATH_REJECTED});
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 3);
    assert_int_equal(reader->delivery[2].value, 3);
    client_close(reader);
    for (uint32_t i = 0; i < RIG_SHARDS; i++) {
        rig_queue_down(&rig, SOURCE + i);
    }
    rig_close(&rig);
}

/* C151 */
static void
without_its_exchange_a_dead_message_is_dropped_and_counted(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "not there", NULL);
    die(&rig, &(struct victim){.owner = 2, .queue = 1, .why = LP_DEATH_REJECTED});
    rig_settle(&rig);
    const struct lp_stats_page *stats = rig.shard[1]->broker.stats;
    assert_int_equal(stats->messages_dead_lettered, 0);
    assert_int_equal(stats->messages_own_lost, 1);
    rig_close(&rig);
}

/* What died before its queue was deleted has been published, as far as anybody can tell (C157). */
static void
a_queue_that_goes_leaves_its_dying_behind(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct rig_client *reader = client_open(&rig, 0);
    (void)client_consume(reader, "q2", 0);
    for (uint32_t i = 0; i < 1000; i++) {
        die(&rig, &(struct victim){.owner = i % 3, .queue = 1, .value = i, .why = LP_DEATH_MAXLEN});
    }
    rig_queue_down(&rig, SOURCE + 1);
    (void)rig_turn(&rig);
    assert_null(lp_queue_find(&rig.shard[1]->broker, SOURCE + 1));
    assert_false(lp_list_empty(&rig.shard[1]->broker.dying.entries));
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(reader->delivery[i].value, i);
        assert_true(
            lp_bytes_equal_text(header(&reader->delivery[i], "x-last-death-queue").raw, "q1"));
    }
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(reader);
    rig_close(&rig);
}

/* Where the dead go is what the queue said when they died. */
static void
a_change_of_settings_is_for_those_who_die_later(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct rig_client *reader = client_open(&rig, 0);
    (void)client_consume(reader, "q0", 0);
    (void)client_consume(reader, "q2", 0);
    for (uint32_t i = 0; i < 1000; i++) {
        die(&rig, &(struct victim){.owner = 0, .queue = 1, .value = i, .why = LP_DEATH_MAXLEN});
    }
    dead_letters_to(&rig, 1, "", "q0");
    die(&rig, &(struct victim){.owner = 0, .queue = 1, .value = 7777, .why = LP_DEATH_MAXLEN});
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 1001);
    for (uint32_t i = 0; i < reader->delivered; i++) {
        const struct rig_delivery *delivery = &reader->delivery[i];
        assert_true(lp_bytes_equal_text(lp_message_key(delivery->message),
                                        delivery->value == 7777 ? "q0" : "q2"));
    }
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(reader);
    rig_close(&rig);
}

static void
large_bodies_arrive_whole_copied_or_moved(void **unused)
{
    (void)unused;
    static const uint32_t sizes[] = {4000, 4096, 32768, 600000};
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct rig_client *reader = client_open(&rig, 0);
    (void)client_consume(reader, "q2", 1);
    for (uint32_t i = 0; i < 2 * LP_COUNT_OF(sizes); i++) {
        const struct victim victim = {.owner = i % 2, /* q1 is on shard 1 */
                                      .queue = 1,
                                      .value = i,
                                      .body_bytes = sizes[i / 2],
                                      .why = LP_DEATH_REJECTED};
        die(&rig, &victim);
        rig_settle(&rig);
        assert_int_equal(reader->delivered, i + 1);
        const struct rig_delivery *delivery = &reader->delivery[i];
        assert_int_equal(delivery->value, i);
        assert_int_equal(delivery->message->body_bytes, victim.body_bytes);
        struct lp_message_body body = lp_message_body(delivery->message);
        uint64_t at = 0;
        struct lp_bytes piece;
        while ((piece = lp_message_body_next(&body, UINT32_MAX)).size > 0) {
            for (uint32_t k = 0; k < piece.size; k++, at++) {
                assert_true(at < 8 || piece.data[k] == body_byte(i, at));
            }
        }
        assert_int_equal(at, victim.body_bytes);
        client_ack(reader, delivery->number);
    }
    rig_settle(&rig);
    client_close(reader);
    rig_close(&rig);
}

/* Take memory of a shard until only `left` bytes are; a chain through its blocks. */
static void *
hog(struct lp_memory *memory, uint64_t left)
{
    void *chain = NULL;
    while (lp_memory_limit_bytes(memory) - lp_memory_used_bytes(memory) > left) {
        void **block = lp_memory_alloc(memory, 1024);
        if (!block) {
            break; /* what is left is in spans of other sizes */
        }
        *block = chain;
        chain = block;
    }
    return chain;
}

static void
hog_free(struct lp_memory *memory, void *chain)
{
    while (chain) {
        void *block = chain;
        chain = *(void **)block;
        lp_memory_release(memory, &block);
    }
}

static void
without_memory_the_dying_wait_in_order(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct rig_client *reader = client_open(&rig, 0);
    (void)client_consume(reader, "q2", 0);
    struct lp_memory *memory = rig.shard[1]->broker.memory;
    for (uint32_t i = 0; i < 50; i++) {
        die(&rig, &(struct victim){.owner = 0, .queue = 1, .value = i, .why = LP_DEATH_MAXLEN});
    }
    void *chain = hog(memory, 300000);
    for (uint32_t i = 0; i < 20; i++) {
        (void)rig_turn(&rig);
    }
    assert_int_equal(reader->delivered, 0);
    hog_free(memory, chain);
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 50);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(reader->delivery[i].value, i);
    }
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(reader);
    rig_close(&rig);
}

/* One shard's turns only: its peers do not answer. */
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
a_peer_that_does_not_answer_stops_them_where_they_are(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct rig_client *reader = client_open(&rig, 0);
    (void)client_consume(reader, "q2", 0);
    for (uint32_t i = 0; i < 5000; i++) {
        die(&rig, &(struct victim){.owner = 1, .queue = 1, .value = i, .why = LP_DEATH_MAXLEN});
    }
    turn_alone(&rig, 1, 100);
    const struct lp_broker *broker = &rig.shard[1]->broker;
    assert_int_equal(broker->own.count, LP_OWN_MAX);
    /* The rest waits as what it was. */
    assert_int_equal(broker->entries.used,
                     5000 - LP_OWN_MAX - (LP_MESH_CREDITS - LP_MESH_CREDITS_KEPT / 2));
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 5000);
    for (uint32_t i = 0; i < 5000; i++) {
        assert_int_equal(reader->delivery[i].value, i);
    }
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(reader);
    rig_close(&rig);
}

/* Else two shards that are both short of memory could wait for each other: the dying of one hold
 * the other's messages. */
static void
credits_of_dead_letters_are_not_withheld(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 1, "", "q2");
    struct lp_memory *memory = rig.shard[2]->broker.memory;
    void *chain = hog(memory, RIG_MEMORY_BYTES / 8 - 1024); /* just above the watermark */
    (void)rig_turn(&rig);
    assert_true(rig.shard[2]->broker.pressed);
    for (uint32_t i = 0; i < 3000; i++) {
        die(&rig, &(struct victim){.owner = 1, .queue = 1, .value = i, .why = LP_DEATH_MAXLEN});
    }
    rig_settle(&rig);
    assert_true(rig.shard[2]->broker.pressed);
    assert_int_equal(rig.shard[2]->broker.entries.used, 3000);
    hog_free(memory, chain);
    rig_queue_down(&rig, SOURCE + 2);
    rig_close(&rig);
}

/* A fan-out that finds no room half-way goes on where it stopped, and what is behind it waits. */
static void
a_fan_out_of_dead_letters_goes_on(void **unused)
{
    (void)unused;
    struct rig rig;
    rig_start(&rig);
    dead_letters_to(&rig, 0, "fan", NULL);
    struct rig_client *reader = client_open(&rig, 1);
    (void)client_consume(reader, "q1", 0);
    (void)client_consume(reader, "q2", 0);
    for (uint32_t i = 0; i < 3000; i++) {
        die(&rig, &(struct victim){.owner = 0, .queue = 0, .value = i, .why = LP_DEATH_MAXLEN});
    }
    turn_alone(&rig, 0, 60);
    rig_settle(&rig);
    assert_int_equal(reader->delivered, 6000);
    uint64_t next[RIG_SHARDS] = {0};
    for (uint32_t i = 0; i < 6000; i++) {
        const struct rig_delivery *delivery = &reader->delivery[i];
        assert_int_equal(delivery->value, next[delivery->consumer->home_shard]++);
    }
    assert_int_equal(lp_session_settle(reader->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    client_close(reader);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_rejected_is_published_again_wherever_that_is),
        cmocka_unit_test(a_dead_letter_says_what_it_was),
        cmocka_unit_test(deaths_that_grow_large_stop_telling_what_cc_named),
        cmocka_unit_test(a_circle_with_a_reject_in_it_goes_on_and_is_counted),
        cmocka_unit_test(a_circle_without_a_reject_ends_in_its_first_round),
        cmocka_unit_test(without_its_exchange_a_dead_message_is_dropped_and_counted),
        cmocka_unit_test(a_queue_that_goes_leaves_its_dying_behind),
        cmocka_unit_test(a_change_of_settings_is_for_those_who_die_later),
        cmocka_unit_test(large_bodies_arrive_whole_copied_or_moved),
        cmocka_unit_test(without_memory_the_dying_wait_in_order),
        cmocka_unit_test(a_peer_that_does_not_answer_stops_them_where_they_are),
        cmocka_unit_test(credits_of_dead_letters_are_not_withheld),
        cmocka_unit_test(a_fan_out_of_dead_letters_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
