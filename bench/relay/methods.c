/* SPDX-License-Identifier: Apache-2.0 */
/*
 * methods.c - enough of AMQP 0-9-1 that a client gets as far as publishing and
 * consuming.
 */
#include <string.h>

#include "relay.h"

#define NOT_IMPLEMENTED 540

/* One method frame. What does not fit (nobody reads) is lost: this is no broker. */
static void
say(struct relay *relay, struct relay_conn *conn, uint16_t channel, uint32_t method,
    struct lp_bytes arguments)
{
    const uint32_t bytes = arguments.size + 4 + AMQP091_FRAME_EXTRA_BYTES;
    uint8_t *room = relay_reserve(relay, conn, bytes);
    if (room == NULL) {
        return;
    }
    struct lp_writer w = lp_writer_of(room, bytes);
    lp_writer_u8(&w, AMQP091_FRAME_METHOD);
    lp_writer_u16be(&w, channel);
    lp_writer_u32be(&w, arguments.size + 4);
    lp_writer_u32be(&w, method);
    lp_writer_copy(&w, arguments.data, arguments.size);
    lp_writer_u8(&w, AMQP091_FRAME_END);
    LP_ASSERT(!w.failed);
}

void
relay_greet(struct relay *relay, struct relay_conn *conn)
{
    uint8_t memory[128];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u8(&w, 0);
    lp_writer_u8(&w, 9);
    lp_writer_u32be(&w, 0); /* no properties */
    lp_writer_long_be(&w, lp_bytes_of_text("PLAIN"));
    lp_writer_long_be(&w, lp_bytes_of_text("en_US"));
    LP_ASSERT(!w.failed);
    say(relay, conn, 0, AMQP091_CONNECTION_START, lp_writer_bytes(&w));
}

static void
say_tune(struct relay *relay, struct relay_conn *conn)
{
    uint8_t memory[8];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u16be(&w, 1);
    lp_writer_u32be(&w, RELAY_FRAME_MAX);
    lp_writer_u16be(&w, 0);
    say(relay, conn, 0, AMQP091_CONNECTION_TUNE, lp_writer_bytes(&w));
}

static void
say_declared(struct relay *relay, struct relay_conn *conn, uint16_t channel, struct lp_bytes name)
{
    uint8_t memory[RELAY_NAME_BYTES + 8];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_short(&w, name);
    lp_writer_u32be(&w, 0);
    lp_writer_u32be(&w, 0);
    LP_ASSERT(!w.failed);
    say(relay, conn, channel, AMQP091_QUEUE_DECLARE_OK, lp_writer_bytes(&w));
}

static void
say_tag(struct relay *relay, struct relay_conn *conn, uint16_t channel, uint32_t method,
        struct lp_bytes tag)
{
    uint8_t memory[RELAY_NAME_BYTES];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_short(&w, tag);
    LP_ASSERT(!w.failed);
    say(relay, conn, channel, method, lp_writer_bytes(&w));
}

static void
refuse(struct relay *relay, struct relay_conn *conn, uint32_t method)
{
    uint8_t memory[64];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u16be(&w, NOT_IMPLEMENTED);
    lp_writer_short(&w, lp_bytes_of_text("the relay does not do that"));
    lp_writer_u32be(&w, method);
    say(relay, conn, 0, AMQP091_CONNECTION_CLOSE, lp_writer_bytes(&w));
}

/* Of the connection itself; true: it was one. */
static bool
connection_method(struct relay *relay, struct relay_conn *conn, uint32_t id)
{
    const struct lp_bytes nothing = lp_bytes_of("\0\0\0", 4);
    switch (id) {
    case AMQP091_CONNECTION_START_OK:
        say_tune(relay, conn);
        return true;
    case AMQP091_CONNECTION_TUNE_OK:
        return true;
    case AMQP091_CONNECTION_OPEN:
        say(relay, conn, 0, AMQP091_CONNECTION_OPEN_OK, lp_bytes_of(nothing.data, 1));
        return true;
    case AMQP091_CONNECTION_CLOSE:
        say(relay, conn, 0, AMQP091_CONNECTION_CLOSE_OK, lp_bytes_of(nothing.data, 0));
        conn->ending = true;
        return true;
    case AMQP091_CONNECTION_CLOSE_OK:
        conn->ending = true;
        return true;
    default:
        return false;
    }
}

/* What is declared; true: it was that. */
static bool
topology_method(struct relay *relay, struct relay_conn *conn, const struct amqp091_method *m,
                uint16_t channel)
{
    const struct lp_bytes none = lp_bytes_of("", 0);
    switch (m->id) {
    case AMQP091_EXCHANGE_DECLARE:
        if (lp_bytes_equal_text(m->name[1], "headers")) {
            return false;
        }
        relay_exchange_make(relay, m->name[0], m->name[1]);
        say(relay, conn, channel, AMQP091_EXCHANGE_DECLARE_OK, none);
        return true;
    case AMQP091_EXCHANGE_DELETE:
        relay_exchange_drop(relay, m->name[0]);
        say(relay, conn, channel, AMQP091_EXCHANGE_DELETE_OK, none);
        return true;
    case AMQP091_QUEUE_DECLARE:
        (void)relay_queue_get(relay, m->name[0], true);
        say_declared(relay, conn, channel, m->name[0]);
        return true;
    case AMQP091_QUEUE_DELETE:
        relay_queue_drop(relay, m->name[0]);
        say(relay, conn, channel, AMQP091_QUEUE_DELETE_OK, lp_bytes_of("\0\0\0", 4));
        return true;
    case AMQP091_QUEUE_BIND:
        relay_bind(relay, m);
        say(relay, conn, channel, AMQP091_QUEUE_BIND_OK, none);
        return true;
    default:
        return false;
    }
}

void
relay_method(struct relay *relay, struct relay_conn *conn, struct lp_bytes payload,
             uint16_t channel)
{
    struct amqp091_method m;
    if (amqp091_method_decode(payload, &m) != AMQP091_DECODED) {
        refuse(relay, conn, m.id);
        return;
    }
    if (connection_method(relay, conn, m.id) || topology_method(relay, conn, &m, channel)) {
        return;
    }
    switch (m.id) {
    case AMQP091_CHANNEL_OPEN:
        say(relay, conn, channel, AMQP091_CHANNEL_OPEN_OK, lp_bytes_of("\0\0\0", 4));
        break;
    case AMQP091_CHANNEL_CLOSE:
        say(relay, conn, channel, AMQP091_CHANNEL_CLOSE_OK, lp_bytes_of("", 0));
        break;
    case AMQP091_BASIC_QOS:
        say(relay, conn, channel, AMQP091_BASIC_QOS_OK, lp_bytes_of("", 0));
        break;
    case AMQP091_BASIC_CONSUME:
        relay_consume(relay, conn, &m);
        say_tag(relay, conn, channel, AMQP091_BASIC_CONSUME_OK, lp_bytes_of_text(conn->tag));
        break;
    case AMQP091_BASIC_CANCEL:
        relay_consumer_drop(relay, conn);
        say_tag(relay, conn, channel, AMQP091_BASIC_CANCEL_OK, m.name[0]);
        break;
    case AMQP091_CONFIRM_SELECT:
        conn->confirms = true;
        say(relay, conn, channel, AMQP091_CONFIRM_SELECT_OK, lp_bytes_of("", 0));
        break;
    default:
        refuse(relay, conn, m.id);
    }
}
