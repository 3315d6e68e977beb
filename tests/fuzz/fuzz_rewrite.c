/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_rewrite.c - any bytes as a message's properties: where they are taken,
 * what the broker makes of them when the message dies, is delayed or traced,
 * or names further keys, is well-formed, fits where it was promised to fit,
 * and loses nothing but what it should.
 *
 * Input: an octet that says how often and why the message died, and raw
 * properties.
 */
#include <stdlib.h>
#include <string.h>

#include <lepus/field_table.h>
#include <lepus/protocol.h>

#include "dataplane/broker/deaths.h"
#include "dataplane/broker/delay.h"
#include "dataplane/broker/trace.h"
#include "dataplane/protocol/amqp091/copies.h"
#include "dataplane/protocol/amqp091/properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MEMORY_BYTES    (8u << 20)
#define INPUT_BYTES_MAX (64u << 10)
#define ROOM_BYTES      (1u << 20)

static uint8_t deaths_room[2][ROOM_BYTES];
static uint8_t written[ROOM_BYTES];

/* A message with these properties, and what CC and BCC in them say. */
static const struct lp_message *
message_make(struct lp_messages *messages, struct lp_bytes raw, lp_handle *ret_handle)
{
    struct amqp091_properties properties;
    struct lp_message_parts parts = {
        .exchange = lp_bytes_of_text("an exchange"),
        .key = lp_bytes_of_text("a.key"),
        .properties = raw,
        .protocol = LP_PROTOCOL_AMQP091,
    };
    void *block = NULL;
    if (!amqp091_properties_read(raw, &properties)) {
        return NULL;
    }
    if (properties.has_copies) {
        const bool taken = amqp091_copies_take(messages->memory, &properties, &parts, &block);
        LP_ASSERT(taken);
    }
    if (properties.has_copies && !block) {
        struct lp_fault fault;
        amqp091_copies_fault(properties.headers, &fault);
        return NULL;
    }
    const struct lp_message *message = lp_message_make(messages, &parts, ret_handle);
    LP_ASSERT(message);
    LP_ASSERT(parts.properties.size <= raw.size);
    if (block) {
        lp_memory_release(messages->memory, &block);
    }
    return message;
}

static struct lp_bytes
deaths_make(const struct lp_message *message, uint8_t how)
{
    static const char *const queues[] = {"q", "other", ""};
    struct lp_bytes deaths = {0};
    uint8_t keys[64];
    struct lp_writer key = lp_writer_of(keys, sizeof(keys));
    lp_writer_long_le(&key, lp_message_key(message));
    for (uint32_t i = 0; i <= (how & 7u); i++) {
        const struct lp_death_record now = {
            .why = (uint8_t)((how >> 3) + i) % LP_DEATH_COUNT,
            .expires = i % 2 == 0,
            .time_ms = i * 1000u,
            .expiration_ms = how,
            .queue = lp_bytes_of_text(queues[(how + i) % LP_COUNT_OF(queues)]),
            .exchange = lp_message_exchange(message),
            .keys = lp_writer_bytes(&key),
        };
        struct lp_writer writer = lp_writer_of(deaths_room[i % 2], ROOM_BYTES);
        lp_deaths_write(&writer, deaths, &now);
        LP_ASSERT(!writer.failed);
        deaths = lp_writer_bytes(&writer);
    }
    return deaths;
}

/* The properties that were written, which anybody can read. */
static struct amqp091_properties
check_written(const struct lp_writer *writer)
{
    struct amqp091_properties found;
    LP_ASSERT(!writer->failed);
    const bool well_formed = amqp091_properties_read(lp_writer_bytes(writer), &found);
    LP_ASSERT(well_formed);
    return found;
}

static uint32_t
fields_of_clients(struct lp_bytes table)
{
    struct lp_reader reader = lp_reader_of_bytes(table);
    struct lp_field field;
    uint32_t count = 0;
    while (lp_field_next(&reader, &field)) {
        count += !lp_bytes_start_with(field.name, "x-");
    }
    LP_ASSERT(!reader.failed);
    return count;
}

static void
check_dead(const struct lp_message *message, struct lp_bytes before, uint8_t how)
{
    const struct lp_bytes deaths = deaths_make(message, how);
    const uint64_t room =
        message->properties_bytes + lp_protocol_dead_bytes_max((uint64_t)deaths.size);
    struct lp_writer writer = lp_writer_of(written, room);
    struct lp_field field;
    LP_ASSERT(room <= ROOM_BYTES);
    amqp091_properties_dead(message, deaths, &writer);
    const struct amqp091_properties after = check_written(&writer);
    LP_ASSERT((after.flags & AMQP091_EXPIRATION) == 0);
    LP_ASSERT(lp_field_find(after.headers, "x-death", &field) && field.type == 'A');
    LP_ASSERT(fields_of_clients(after.headers) == fields_of_clients(before));
}

static void
check_delayed(const struct lp_message *message, struct lp_bytes before)
{
    const uint64_t delay_ms = LP_MAX(lp_delay_of(before), 1u);
    struct lp_writer writer =
        lp_writer_of(written, (uint64_t)message->properties_bytes + LP_PROTOCOL_DELAYED_BYTES);
    struct lp_field field;
    amqp091_properties_delayed(message, delay_ms, &writer);
    const struct amqp091_properties after = check_written(&writer);
    LP_ASSERT(lp_field_find(after.headers, "x-delay", &field));
    LP_ASSERT(lp_field_integer(&field) == -(int64_t)delay_ms);
    LP_ASSERT(lp_delay_of(after.headers) == 0);
    LP_ASSERT(fields_of_clients(after.headers) == fields_of_clients(before));
}

static void
check_trace(const struct lp_message *message)
{
    const uint64_t noted = lp_message_annotations(message).size;
    struct lp_trace trace = {.delivered = noted % 2 != 0, .channel = 1};
    struct lp_writer writer = lp_writer_of(
        written, lp_protocol_trace_bytes_max((uint64_t)message->properties_bytes, noted));
    struct lp_field field;
    amqp091_properties_trace(message, &trace, &writer);
    const struct amqp091_properties copy = check_written(&writer);
    LP_ASSERT(lp_field_find(copy.headers, "properties", &field) && field.type == 'F');
}

/* One memory for all runs: each leaves it as it found it, or fails. */
static struct lp_messages *
fuzz_messages(void)
{
    static struct lp_memory *memory;
    static struct lp_messages messages;
    if (memory == NULL) {
        void *reservation = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
        LP_ASSERT(reservation != NULL);
        memset(reservation, 0, MEMORY_BYTES);
        LP_ASSERT(lp_memory_init_boot(reservation, MEMORY_BYTES, MEMORY_BYTES, &memory) == LP_OK);
        lp_messages_init(&messages, memory);
    }
    return &messages;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1 || bytes > INPUT_BYTES_MAX) {
        return 0;
    }
    struct lp_messages *messages = fuzz_messages();
    const uint64_t used = lp_memory_used_bytes(messages->memory);
    lp_handle handle;
    const struct lp_message *message =
        message_make(messages, lp_bytes_of(data + 1, (uint32_t)bytes - 1), &handle);
    if (message) {
        const struct lp_bytes headers = amqp091_properties_headers(message);
        check_dead(message, headers, data[0]);
        check_delayed(message, headers);
        check_trace(message);
        lp_message_free(messages, handle);
    }
    LP_ASSERT(lp_memory_used_bytes(messages->memory) == used);
    return 0;
}
