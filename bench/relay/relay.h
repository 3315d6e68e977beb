/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay.h - the floor: the least that anything between a publisher and a
 * consumer has to do over AMQP, with the broker's own driver and frame parser.
 *
 * It parses each publish and frames it again as a delivery, in the turn in
 * which it came. There is no queue: what nobody consumes is dropped, what a
 * consumer cannot take stops its publisher. Acknowledgements are read and
 * forgotten, confirms go out once a turn. One thread, one channel a
 * connection, no heartbeats, no checks of rights, names or arguments.
 *
 * Routing is as much as the scenarios of scripts/bench need: the nameless
 * exchange, direct, fanout, and topic where the words before a binding's first
 * wildcard decide.
 *
 *   Memory    the heap; 2 buffers a connection once it has something to say
 *   Limits    RELAY_MESSAGE_MAX
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/transport.h>

#include <drivers/common/listeners.h>

#include "dataplane/protocol/amqp091/frame.h"
#include "dataplane/protocol/amqp091/method.h"

#define RELAY_FRAME_MAX   131072u
#define RELAY_MESSAGE_MAX (16u << 20)
#define RELAY_OUT_BYTES   (256u << 10)
#define RELAY_BUCKETS     16384u
#define RELAY_NAME_BYTES  256u

struct relay_options {
    const char *address; /* "tcp:127.0.0.1:0" */
    uint32_t streams_max;
    uint32_t cpu; /* one more than the processor to run on; 0: any */
    bool spin;    /* never sleep */
};

struct relay_consumer {
    struct relay_conn *conn;
    struct lp_bytes tag; /* in its connection's memory */
    uint64_t delivered;
    /* basic.deliver as it was written last; what changes is the delivery tag. */
    uint64_t route_id;
    uint32_t deliver_bytes;
    uint32_t number_at;
    uint8_t deliver[AMQP091_FRAME_EXTRA_BYTES + 4 + 3 * RELAY_NAME_BYTES + 9];
};

struct relay_queue {
    struct relay_queue *next; /* in its bucket */
    char name[RELAY_NAME_BYTES];
    uint32_t count;
    uint32_t room;
    uint32_t turn; /* whose turn among its consumers */
    struct relay_consumer **consumers;
};

struct relay_binding {
    struct relay_binding *next;
    struct relay_queue *queue;
    bool prefix; /* the key is only how it must begin */
    char key[RELAY_NAME_BYTES];
};

struct relay_exchange {
    struct relay_exchange *next; /* in its bucket */
    char name[RELAY_NAME_BYTES];
    char type[16];
    struct relay_binding *bindings;
};

/* Where messages of one exchange and key go. */
struct relay_route {
    uint64_t id; /* 0: none */
    uint64_t epoch;
    struct lp_bytes exchange; /* in the publisher's last_publish */
    struct lp_bytes key;
    uint32_t count;
    uint32_t room;
    struct relay_queue **queues;
};

/* Bytes that wait for the socket, and those that the driver has. */
struct relay_out {
    uint8_t *bytes;
    uint32_t used;
    uint32_t room;
};

struct relay_conn {
    lp_handle stream;
    bool open; /* frames rather than the protocol's header */
    bool ending;
    bool sending;
    bool dirty;
    bool stalled; /* a consumer has no room for its message; not read until it has */
    bool confirms;
    uint64_t published;
    uint64_t confirmed;
    struct relay_conn *dirty_next;
    struct relay_conn *stalled_next;
    struct relay_out fill;
    struct relay_out flight;
    struct relay_route route;
    uint32_t last_publish_bytes;
    uint8_t last_publish[2 * RELAY_NAME_BYTES + 16]; /* payload of the frame, to know it again */
    uint8_t *carry; /* the beginning of a message whose rest has not come */
    uint32_t carry_bytes;
    uint32_t carry_room;
    uint32_t consumer_count;
    struct relay_consumer *consumer; /* at most one a connection */
    char tag[RELAY_NAME_BYTES];
};

struct relay {
    struct lp_transport transport;
    struct lp_listeners listeners;
    struct relay_conn **conns; /* by user value - 1 */
    uint32_t conns_max;
    struct relay_conn *dirty;
    struct relay_conn *stalled;
    struct relay_queue *queues[RELAY_BUCKETS];
    struct relay_exchange *exchanges[RELAY_BUCKETS];
    struct amqp091_parser parser; /* never inside a body: only whole frames are taken */
    uint64_t epoch;               /* of all that routes depend on */
    uint64_t routes;
};

/* Run until the process ends; `ready` hears of the port. False: said why. */
typedef void relay_ready_fn(void *context, uint16_t port);
bool relay_run(const struct relay_options *options, relay_ready_fn *ready, void *context);

/* topology.c */
struct relay_queue *relay_queue_get(struct relay *relay, struct lp_bytes name, bool make);
void relay_queue_drop(struct relay *relay, struct lp_bytes name);
void relay_exchange_make(struct relay *relay, struct lp_bytes name, struct lp_bytes type);
void relay_exchange_drop(struct relay *relay, struct lp_bytes name);
void relay_bind(struct relay *relay, const struct amqp091_method *bind);
void relay_consume(struct relay *relay, struct relay_conn *conn,
                   const struct amqp091_method *consume);
void relay_consumer_drop(struct relay *relay, struct relay_conn *conn);
/* Find the queues of exchange and key into `route`. */
void relay_route_find(struct relay *relay, struct relay_route *route, struct lp_bytes exchange,
                      struct lp_bytes key);

/* methods.c: everything but publishing and acknowledging. */
void relay_greet(struct relay *relay, struct relay_conn *conn);
void relay_method(struct relay *relay, struct relay_conn *conn, struct lp_bytes payload,
                  uint16_t channel);

/* publish.c: all whole frames and messages at the head of `input`; what is left stays in it. */
void relay_take(struct relay *relay, struct relay_conn *conn, struct lp_reader *input);

/* loop.c */
/* Room behind what waits to be sent; NULL: there is none until a send is done. */
uint8_t *relay_reserve(struct relay *relay, struct relay_conn *conn, uint32_t bytes);
bool relay_has_room(struct relay *relay, struct relay_conn *conn, uint32_t bytes);
