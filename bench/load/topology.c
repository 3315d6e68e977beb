/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology.c - exchange, queues and bindings of a run, and the routing keys
 * that go with them.
 *
 *   default   key: the queue's name
 *   direct    key and binding: q<queue>, or `all`
 *   fanout    no key
 *   topic     key bench.<queue>[.<digits>], binding bench.<queue>.#, or bench.#
 *   headers   header `to`: q<queue>, or `all`
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define FLAG_HEADERS       0x2000u
#define FLAG_DELIVERY_MODE 0x1000u
#define KEY_DIGITS         8

LP_STATIC_ASSERT(sizeof(struct load_options) < 4096, "no arrays in there");

void
load_queue_name(const struct load_options *options, uint32_t index, char name[256])
{
    (void)snprintf(name, 256, "%s-%u", options->name, index);
}

void
load_exchange_name(const struct load_options *options, char name[256])
{
    (void)snprintf(name, 256, "%s-x", options->name);
}

/* What direct and headers exchanges go by. */
static void
target_word(const struct load_options *options, uint32_t queue, char word[32])
{
    if (options->to_all) {
        (void)snprintf(word, 32, "all");
    } else {
        (void)snprintf(word, 32, "q%u", queue);
    }
}

/* The key of messages to a queue with, in a topic exchange, `more` behind it. */
static void
routing_key(const struct load_options *options, uint32_t queue, const char *more, char key[256])
{
    char word[32];
    target_word(options, queue, word);
    switch ((enum load_exchange)options->exchange) {
    case LOAD_EXCHANGE_DEFAULT:
        load_queue_name(options, queue, key);
        break;
    case LOAD_EXCHANGE_DIRECT:
        (void)snprintf(key, 256, "%s", word);
        break;
    case LOAD_EXCHANGE_TOPIC:
        (void)snprintf(key, 256, "bench.%s%s", word, more);
        break;
    case LOAD_EXCHANGE_FANOUT:
    case LOAD_EXCHANGE_HEADERS:
        key[0] = '\0';
        break;
    }
}

/* A field of a table: its name, `S`, its text. */
static void
put_field(struct lp_writer *w, const char *name, const char *text)
{
    lp_writer_short(w, lp_bytes_of_text(name));
    lp_writer_u8(w, 'S');
    lp_writer_long_be(w, lp_bytes_of_text(text));
}

static void
put_table(struct lp_writer *w, const char *name, const char *text)
{
    uint8_t memory[300];
    struct lp_writer table = lp_writer_of(memory, sizeof(memory));
    if (text != NULL) {
        put_field(&table, name, text);
    }
    LP_ASSERT(!table.failed);
    lp_writer_long_be(w, lp_writer_bytes(&table));
}

static void
say(struct load_conn *conn, uint32_t method, const struct lp_writer *arguments)
{
    LP_ASSERT(!arguments->failed);
    load_conn_method(conn, method, lp_writer_bytes(arguments));
    conn->owed++;
}

void
load_topology_exchange(const struct load_options *options, struct load_conn *conn)
{
    char name[256];
    uint8_t memory[600];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    load_exchange_name(options, name);
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_short(&w, lp_bytes_of_text(load_exchange_word(options->exchange)));
    lp_writer_u8(&w, options->durable ? 2 : 0);
    put_table(&w, NULL, NULL);
    say(conn, AMQP091_EXCHANGE_DECLARE, &w);
}

static void
bind(const struct load_options *options, struct load_conn *conn, const char *queue, const char *key,
     const char *header)
{
    char exchange[256];
    uint8_t memory[1200];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    load_exchange_name(options, exchange);
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_short(&w, lp_bytes_of_text(exchange));
    lp_writer_short(&w, lp_bytes_of_text(key));
    lp_writer_u8(&w, 0);
    put_table(&w, "to", header);
    say(conn, AMQP091_QUEUE_BIND, &w);
}

static void
declare(const struct load_options *options, struct load_conn *conn, const char *queue)
{
    uint8_t memory[600];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_u8(&w, options->durable ? 2 : 0);
    put_table(&w, "x-queue-type", options->queue_type);
    say(conn, AMQP091_QUEUE_DECLARE, &w);
}

void
load_topology_queue(const struct load_options *options, struct load_conn *conn, uint32_t queue)
{
    char name[256];
    char key[256];
    char word[32];
    load_queue_name(options, queue, name);
    declare(options, conn, name);
    if (options->exchange == LOAD_EXCHANGE_DEFAULT) {
        return;
    }
    routing_key(options, queue, ".#", key);
    target_word(options, queue, word);
    bind(options, conn, name, key, options->exchange == LOAD_EXCHANGE_HEADERS ? word : NULL);
}

void
load_idle_name(const struct load_options *options, uint32_t index, char name[256])
{
    (void)snprintf(name, 256, "%s-idle-%u", options->name, index);
}

void
load_topology_idle_queue(const struct load_options *options, struct load_conn *conn, uint32_t index)
{
    char name[256];
    load_idle_name(options, index, name);
    declare(options, conn, name);
}

/* Patterns with both wildcards that have to be looked into and match nothing. */
void
load_topology_idle_binding(const struct load_options *options, struct load_conn *conn,
                           uint32_t index)
{
    static const char *const patterns[] = {"idle.%u.*.x", "*.n%u.*.idle", "#.idle.n%u",
                                           "bench.n%u.#", "*.*.n%u.#"};
    char name[256];
    char key[64];
    load_idle_name(options, 0, name);
    /* Not literal, all from the list above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(key, sizeof(key), patterns[index % LP_COUNT_OF(patterns)], index);
#pragma GCC diagnostic pop
    bind(options, conn, name, key, NULL);
}

void
load_topology_delete(const struct load_options *options, struct load_conn *conn, const char *queue)
{
    (void)options;
    uint8_t memory[300];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_u8(&w, 0);
    say(conn, AMQP091_QUEUE_DELETE, &w);
}

void
load_topology_delete_exchange(const struct load_options *options, struct load_conn *conn)
{
    char name[256];
    uint8_t memory[300];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    load_exchange_name(options, name);
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, 0);
    say(conn, AMQP091_EXCHANGE_DELETE, &w);
}

/* --- What a publisher says before each body. -------------------------------------------------- */

static void
put_properties(const struct load_options *options, uint32_t queue, struct lp_writer *w)
{
    const bool headers = options->exchange == LOAD_EXCHANGE_HEADERS;
    lp_writer_u16be(w, (uint16_t)((headers ? FLAG_HEADERS : 0u) |
                                  (options->persistent ? FLAG_DELIVERY_MODE : 0u)));
    if (headers) {
        char word[32];
        target_word(options, queue, word);
        put_table(w, "to", word);
    }
    if (options->persistent) {
        lp_writer_u8(w, 2);
    }
}

/* A frame's header now, its length when it ends. */
static size_t
frame_open(struct lp_writer *w, uint8_t type)
{
    lp_writer_u8(w, type);
    lp_writer_u16be(w, LOAD_CHANNEL);
    lp_writer_u32be(w, 0);
    return lp_writer_size(w);
}

static void
frame_close(struct lp_writer *w, size_t opened)
{
    lp_writer_patch_u32be(w, opened - 4, (uint32_t)(lp_writer_size(w) - opened));
    lp_writer_u8(w, AMQP091_FRAME_END);
}

uint32_t
load_topology_head(const struct load_options *options, uint32_t queue, uint32_t size,
                   struct lp_writer *w)
{
    char exchange[256] = "";
    char key[256];
    uint32_t digits_at = 0;
    if (options->exchange != LOAD_EXCHANGE_DEFAULT) {
        load_exchange_name(options, exchange);
    }
    routing_key(options, queue, options->keys != 0 ? ".00000000" : "", key);
    size_t opened = frame_open(w, AMQP091_FRAME_METHOD);
    lp_writer_u32be(w, AMQP091_BASIC_PUBLISH);
    lp_writer_u16be(w, 0);
    lp_writer_short(w, lp_bytes_of_text(exchange));
    lp_writer_short(w, lp_bytes_of_text(key));
    if (options->keys != 0) {
        digits_at = (uint32_t)lp_writer_size(w) - KEY_DIGITS;
    }
    lp_writer_u8(w, 0); /* neither mandatory nor immediate */
    frame_close(w, opened);

    opened = frame_open(w, AMQP091_FRAME_HEADER);
    lp_writer_u16be(w, AMQP091_CLASS_BASIC);
    lp_writer_u16be(w, 0);
    lp_writer_u64be(w, size);
    put_properties(options, queue, w);
    frame_close(w, opened);
    return digits_at;
}

void
load_topology_key_write(uint8_t *at, uint64_t number)
{
    for (int i = KEY_DIGITS - 1; i >= 0; i--) {
        at[i] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}
