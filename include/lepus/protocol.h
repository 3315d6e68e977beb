/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol.h - the contract of a client protocol.
 *
 * One folder under dataplane/protocol/ and one line in its list make a
 * protocol.  The shard owns the stream and its buffers (broker/connection.h);
 * the protocol owns `connection->state` and what it allocates itself.
 *
 *   Runs on   owner core, inside a turn; no waiting, no heap
 *
 * Life: open, then input/output_ready/force_close in any order, then exactly
 * one gone().  After gone() the protocol gives everything back, asynchronously
 * if it must (sessions detach), and calls lp_connection_release() when
 * nothing of it refers to the connection any more.
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/fault.h>

struct lp_broker;
struct lp_connection;
struct lp_message;
struct lp_trace;

/* Ways to log in. */
enum lp_mechanism {
    LP_MECHANISM_PLAIN = 1,
    LP_MECHANISM_AMQPLAIN = 2,
    LP_MECHANISM_ANONYMOUS = 4, /* as the user that the control process has for nobody */
    LP_MECHANISM_EXTERNAL = 8,  /* by what the transport knows of the peer; offered with TLS only */
};

/* What an operator can set that protocols need; the broker keeps it. */
struct lp_protocol_limits {
    uint32_t frame_max_bytes;
    uint16_t channel_max;
    uint16_t heartbeat_s;
    uint8_t mechanisms; /* enum lp_mechanism bits */
    uint32_t handshake_timeout_ms;
    uint32_t consumers_max; /* of a channel; 0: any number */
    uint64_t message_bytes_max;
    char cluster_name[128];
};

struct lp_protocol_row {
    uint16_t channels;
    uint8_t state; /* enum lp_connection_state */
};

struct lp_protocol {
    const char *name;          /* "amqp091" */
    uint8_t id;                /* enum lp_protocol_id (broker/message.h), in its messages */
    uint32_t connection_bytes; /* private state of a connection, zeroed */
    /* Once per shard at boot: make pools; `*ret_state` is found again with
     * lp_broker_protocol_state(). */
    bool (*boot)(struct lp_broker *broker, void **ret_state);
    /* A stream was accepted.  False: no room; the stream is closed. */
    bool (*open)(struct lp_connection *connection);
    /*
     * Bytes, contiguous, oldest first.  Gives how many were used up; the rest
     * is offered again, with more behind it, when more arrives or reading
     * goes on after lp_connection_pause().  Stops by itself after a budget of
     * work by leaving bytes and calling lp_connection_again().
     */
    uint32_t (*input)(struct lp_connection *connection, const uint8_t *data, uint32_t bytes);
    /* Output fell below half of LP_OUTPUT_FULL_BYTES after it had been full. */
    void (*output_ready)(struct lp_connection *connection);
    /* Publishing is held back by memory, or goes on: tell the peer.  Input stops and goes on by
     * itself. */
    void (*held)(struct lp_connection *connection, bool held);
    /* Close politely with this fault (operator, shutdown). */
    void (*force_close)(struct lp_connection *connection, const struct lp_fault *fault);
    /* The stream is closed: no more input, output goes nowhere. */
    void (*gone)(struct lp_connection *connection);
    /* For listings. */
    void (*row)(const struct lp_connection *connection, struct lp_protocol_row *ret_row);
    /* Write the fields of LP_CONTROL_HELLO_CONNECTION after the connection's id; false: not logged
     * in yet, leave it out. */
    bool (*hello)(const struct lp_connection *connection, void *writer /* struct lp_writer * */);
    /* Are these properties of a message?  For bytes that come from a disk; the others are asked
     * only of what is. */
    bool (*well_formed)(struct lp_bytes properties);
    /* The headers that exchanges match, a field table without its length; or empty. */
    struct lp_bytes (*headers)(const struct lp_message *message);
    /*
     * `message` died, and is published again: write the properties that it has
     * from then on.  `deaths` are all of its deaths (broker/deaths.h), this one
     * the first.  There is room for its properties and
     * lp_protocol_dead_bytes_max(deaths.size) more.
     */
    void (*dead)(const struct lp_message *message, struct lp_bytes deaths,
                 struct lp_writer *writer);
    /* `message` was delayed: write the properties that it goes on with.  There is room for
     * LP_PROTOCOL_DELAYED_BYTES more than it has. */
    void (*delayed)(const struct lp_message *message, uint64_t delay_ms, struct lp_writer *writer);
    /* Write the properties of the firehose's copy of `message`.  There is room for
     * lp_protocol_trace_bytes_max(). */
    void (*trace)(const struct lp_message *message, const struct lp_trace *trace,
                  struct lp_writer *writer);
    /* Everything given back?  (shard at rest) */
    bool (*at_rest)(const void *state);
};

/*
 * How much longer properties become by telling of deaths: a record's 32 bytes
 * become 148 at most, a key grows by one byte, and the first and the last
 * death are told again, by three names each.
 */
static inline uint64_t
lp_protocol_dead_bytes_max(uint64_t deaths_bytes)
{
    return 5 * deaths_bytes + 2048;
}

/* A table's length, a name, a type and a number. */
#define LP_PROTOCOL_DELAYED_BYTES 32u

/*
 * How long the properties of such a copy are: the message's, each of which
 * gets a name and a type, its keys and queues, which become longer by an
 * octet each (and have four already), and names of their own.
 */
static inline uint64_t
lp_protocol_trace_bytes_max(uint64_t properties_bytes, uint64_t lists_bytes)
{
    return properties_bytes + 2 * lists_bytes + 4096;
}

/* Offer what input() left, again next turn, though nothing new arrived; nothing left, nothing
 * happens. */
void lp_connection_again(struct lp_connection *connection);
/* Nothing refers to the connection any more; it is freed at once.  Only after gone(). */
void lp_connection_release(struct lp_connection *connection);
/* The protocol's own state of this shard, as boot() made it. */
void *lp_broker_protocol_state(struct lp_broker *broker, const struct lp_protocol *protocol);
