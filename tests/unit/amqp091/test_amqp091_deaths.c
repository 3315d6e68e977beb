/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The properties of a dead message: what is ours is told as RabbitMQ tells it,
 * and what is the client's stays as it came (C145, C154 to C156).
 *
 * Method: every subset of the fourteen properties, before and after; and one
 * message whose headers are spelt out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <lepus/field_table.h>
#include <lepus/protocol.h>

#include "dataplane/base/memory.h"
#include "dataplane/broker/deaths.h"
#include "dataplane/broker/message.h"
#include "dataplane/protocol/amqp091/properties.h"

#define MEMORY_BYTES (4u << 20)

struct bench {
    void *reservation;
    struct lp_memory *memory;
    struct lp_messages messages;
    uint8_t properties[1024];
    uint8_t written[16384];
    uint8_t deaths[1024];
};

static void
bench_open(struct bench *bench)
{
    bench->reservation = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
    assert_non_null(bench->reservation);
    memset(bench->reservation, 0, MEMORY_BYTES);
    assert_int_equal(
        lp_memory_init_boot(bench->reservation, MEMORY_BYTES, MEMORY_BYTES, &bench->memory), LP_OK);
    lp_messages_init(&bench->messages, bench->memory);
}

static void
bench_close(struct bench *bench)
{
    lp_memory_fini(&bench->memory);
    free(bench->reservation);
}

static struct lp_bytes
death(struct bench *bench, struct lp_bytes before, const char *queue, enum lp_death why)
{
    uint8_t room[64];
    uint8_t older[sizeof(bench->deaths)];
    struct lp_writer keys = lp_writer_of(room, sizeof(room));
    lp_writer_long_le(&keys, lp_bytes_of_text("a.key"));
    lp_writer_long_le(&keys, lp_bytes_of_text("copy"));
    const struct lp_death_record now = {
        .why = (uint8_t)why,
        .expires = why == LP_DEATH_EXPIRED,
        .time_ms = 1234567899,
        .expiration_ms = 60,
        .queue = lp_bytes_of_text(queue),
        .exchange = lp_bytes_of_text("an exchange"),
        .keys = lp_writer_bytes(&keys),
    };
    memcpy(older, bench->deaths, sizeof(older));
    struct lp_writer writer = lp_writer_of(bench->deaths, sizeof(bench->deaths));
    lp_deaths_write(&writer, lp_bytes_of(older, before.size), &now);
    assert_false(writer.failed);
    return lp_writer_bytes(&writer);
}

/* The properties that a message with these has after those deaths; into bench->written. */
static struct lp_bytes
dead(struct bench *bench, struct lp_bytes properties, struct lp_bytes deaths)
{
    const struct lp_message_parts parts = {
        .exchange = lp_bytes_of_text("last exchange"),
        .key = lp_bytes_of_text("a.key"),
        .properties = properties,
        .protocol = LP_PROTOCOL_AMQP091,
    };
    lp_handle handle;
    const struct lp_message *message = lp_message_make(&bench->messages, &parts, &handle);
    assert_non_null(message);
    const uint64_t room = properties.size + lp_protocol_dead_bytes_max(deaths.size);
    assert_true(room <= sizeof(bench->written));
    struct lp_writer writer = lp_writer_of(bench->written, room);
    amqp091_properties_dead(message, deaths, &writer);
    assert_false(writer.failed);
    lp_message_free(&bench->messages, handle);
    return lp_writer_bytes(&writer);
}

/* Properties with what a client may have written under our names among their headers. */
static struct lp_bytes
encode(struct bench *bench, uint32_t flags)
{
    static const char *const names[] = {"before",  "x-death", "x-first-death-queue",
                                        "between", "x-dead",  "x-last-death-reason"};
    struct lp_writer writer = lp_writer_of(bench->properties, sizeof(bench->properties));
    lp_writer_u16be(&writer, (uint16_t)flags);
    for (uint32_t property = 1u << 15; property >= AMQP091_CLUSTER_ID; property >>= 1) {
        if ((flags & property) == 0) {
            continue;
        }
        if (property == AMQP091_HEADERS) {
            const size_t at = lp_writer_size(&writer);
            lp_writer_u32be(&writer, 0);
            for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
                lp_writer_short(&writer, lp_bytes_of_text(names[i]));
                lp_writer_u8(&writer, 'S');
                lp_writer_long_be(&writer, lp_bytes_of_text("client's"));
            }
            lp_writer_patch_u32be(&writer, at, (uint32_t)(lp_writer_size(&writer) - at - 4));
        } else if (property == AMQP091_DELIVERY_MODE || property == AMQP091_PRIORITY) {
            lp_writer_u8(&writer, 2);
        } else if (property == AMQP091_TIMESTAMP) {
            lp_writer_u64be(&writer, 77);
        } else {
            lp_writer_short(&writer, lp_bytes_of_text("text"));
        }
    }
    assert_false(writer.failed);
    return lp_writer_bytes(&writer);
}

static void
check_text(struct lp_bytes table, const char *name, const char *text)
{
    struct lp_field field = {0};
    assert_true(lp_field_find(table, name, &field));
    assert_int_equal(field.type, 'S');
    assert_true(lp_bytes_equal_text(field.raw, text));
}

static void
all_but_headers_and_expiration_stays(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    const struct lp_bytes deaths = death(&bench, lp_bytes_of(NULL, 0), "q", LP_DEATH_REJECTED);
    for (uint32_t flags = 0; flags <= 0xffff; flags += AMQP091_CLUSTER_ID) {
        const struct lp_bytes before = encode(&bench, flags);
        const struct lp_bytes after = dead(&bench, before, deaths);
        struct amqp091_properties found;
        assert_true(amqp091_properties_read(after, &found));
        assert_int_equal(found.flags,
                         (flags | AMQP091_HEADERS) & ~(uint32_t)AMQP091_EXPIRATION & 0xffff);
        check_text(found.headers, "x-first-death-queue", "q");
        struct lp_field field;
        if (flags & AMQP091_HEADERS) {
            check_text(found.headers, "before", "client's");
            check_text(found.headers, "between", "client's");
            check_text(found.headers, "x-dead", "client's");
        } else {
            assert_false(lp_field_find(found.headers, "before", &field));
        }
        /* Written again without them it is what a client without them would have sent. */
        uint8_t rest[1024];
        struct lp_writer writer = lp_writer_of(rest, sizeof(rest));
        lp_writer_u16be(&writer, (uint16_t)(found.flags & ~(uint32_t)AMQP091_HEADERS));
        lp_writer_copy(&writer, after.data + 2, (size_t)(found.headers.data - 4 - after.data - 2));
        const uint8_t *end = found.headers.data + found.headers.size;
        lp_writer_copy(&writer, end, (size_t)(after.data + after.size - end));
        const uint32_t plain = flags & ~(uint32_t)(AMQP091_HEADERS | AMQP091_EXPIRATION);
        assert_true(lp_bytes_equal(lp_writer_bytes(&writer), encode(&bench, plain)));
    }
    bench_close(&bench);
}

/* The next field of a table, of this name and type. */
static struct lp_field
expect(struct lp_reader *reader, const char *name, char type)
{
    struct lp_field field = {0};
    assert_true(lp_field_next(reader, &field));
    assert_true(lp_bytes_equal_text(field.name, name));
    assert_int_equal(field.type, type);
    return field;
}

static void
x_death_has_rabbitmqs_fields_types_and_order(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    struct lp_bytes deaths = death(&bench, lp_bytes_of(NULL, 0), "first", LP_DEATH_EXPIRED);
    deaths = death(&bench, deaths, "second", LP_DEATH_MAXLEN);
    const struct lp_bytes raw = dead(&bench, encode(&bench, AMQP091_HEADERS), deaths);
    struct amqp091_properties found;
    assert_true(amqp091_properties_read(raw, &found));
    struct lp_field field = {0};
    uint32_t headers = 0;
    struct lp_reader all = lp_reader_of_bytes(found.headers);
    while (lp_field_next(&all, &field)) {
        headers++;
    }
    assert_int_equal(headers, 3 + 7); /* each name once */
    assert_true(lp_field_find(found.headers, "x-death", &field));
    assert_int_equal(field.type, 'A');
    struct lp_reader array = lp_reader_of_bytes(field.raw);
    assert_true(lp_field_value_read(&array, &field));
    assert_int_equal(field.type, 'F');
    struct lp_reader table = lp_reader_of_bytes(field.raw);
    field = expect(&table, "count", 'l');
    assert_int_equal(lp_field_integer(&field), 1);
    assert_true(lp_bytes_equal_text(expect(&table, "reason", 'S').raw, "maxlen"));
    assert_true(lp_bytes_equal_text(expect(&table, "queue", 'S').raw, "second"));
    assert_true(lp_field_value_read(&array, &field));
    assert_int_equal(field.type, 'F');
    table = lp_reader_of_bytes(field.raw);
    assert_true(lp_bytes_equal_text(expect(&table, "original-expiration", 'S').raw, "60"));
    field = expect(&table, "count", 'l');
    assert_int_equal(lp_field_integer(&field), 1);
    assert_true(lp_bytes_equal_text(expect(&table, "reason", 'S').raw, "expired"));
    assert_true(lp_bytes_equal_text(expect(&table, "queue", 'S').raw, "first"));
    field = expect(&table, "time", 'T');
    assert_int_equal(lp_field_integer(&field), 1234567);
    assert_true(lp_bytes_equal_text(expect(&table, "exchange", 'S').raw, "an exchange"));
    struct lp_reader keys = lp_reader_of_bytes(expect(&table, "routing-keys", 'A').raw);
    assert_true(lp_field_value_read(&keys, &field));
    assert_true(lp_bytes_equal_text(field.raw, "a.key"));
    assert_true(lp_field_value_read(&keys, &field));
    assert_true(lp_bytes_equal_text(field.raw, "copy"));
    assert_int_equal(lp_reader_left(&keys), 0);
    assert_int_equal(lp_reader_left(&table), 0);
    assert_int_equal(lp_reader_left(&array), 0);
    bench_close(&bench);
}

static void
the_first_death_stays_and_the_last_is_told_each_time(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    struct lp_bytes deaths = death(&bench, lp_bytes_of(NULL, 0), "first", LP_DEATH_EXPIRED);
    deaths = death(&bench, deaths, "second", LP_DEATH_MAXLEN);
    for (uint32_t round = 0; round < 2; round++) {
        struct amqp091_properties found;
        assert_true(amqp091_properties_read(dead(&bench, encode(&bench, 0), deaths), &found));
        check_text(found.headers, "x-first-death-queue", "first");
        check_text(found.headers, "x-first-death-reason", "expired");
        check_text(found.headers, "x-first-death-exchange", "an exchange");
        check_text(found.headers, "x-last-death-queue", round == 0 ? "second" : "first");
        check_text(found.headers, "x-last-death-reason", round == 0 ? "maxlen" : "expired");
        check_text(found.headers, "x-last-death-exchange", "last exchange");
        deaths = death(&bench, deaths, "first", LP_DEATH_EXPIRED);
    }
    bench_close(&bench);
}

/* The bound that protocol.h promises, at its tightest: short names, keys without a byte. */
static void
there_is_always_room_for_what_is_told(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench);
    uint8_t room[16];
    struct lp_writer keys = lp_writer_of(room, sizeof(room));
    lp_writer_long_le(&keys, lp_bytes_of(NULL, 0));
    struct lp_bytes deaths = {0};
    uint8_t older[sizeof(bench.deaths)];
    for (uint8_t i = 0; i < 20; i++) {
        const uint8_t name = (uint8_t)('a' + i);
        const struct lp_death_record now = {
            .why = LP_DEATH_DELIVERY_LIMIT,
            .expires = true,
            .time_ms = UINT64_MAX,
            .expiration_ms = UINT64_MAX,
            .queue = lp_bytes_of(&name, 1),
            .keys = lp_writer_bytes(&keys),
        };
        memcpy(older, bench.deaths, sizeof(older));
        struct lp_writer writer = lp_writer_of(bench.deaths, sizeof(bench.deaths));
        lp_deaths_write(&writer, lp_bytes_of(older, deaths.size), &now);
        assert_false(writer.failed);
        deaths = lp_writer_bytes(&writer);
        (void)dead(&bench, encode(&bench, 0), deaths);
    }
    bench_close(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_but_headers_and_expiration_stays),
        cmocka_unit_test(x_death_has_rabbitmqs_fields_types_and_order),
        cmocka_unit_test(the_first_death_stays_and_the_last_is_told_each_time),
        cmocka_unit_test(there_is_always_room_for_what_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
