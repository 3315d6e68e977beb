/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workload.h - publishers, consumers and passers-by on one simulated node.
 *
 * Actors live through many connections.  They do what clients do: publish in
 * bursts with confirms, consume with every kind of prefetch, acknowledge,
 * reject, get, cancel, close channels and connections, read slowly, vanish.
 */
#pragma once

#include "drivers/sim/sim.h"
#include "tests/sim/amqp_client.h"
#include "tests/sim/ledger.h"

#define WORKLOAD_ACTORS_MAX 24u

enum actor_role {
    ACTOR_PUBLISHER,
    ACTOR_CONSUMER,
    ACTOR_PASSER,  /* exclusive and auto-delete queues that come and go */
    ACTOR_DRAINER, /* empties and deletes everything at the end */
};

/* A delivery that an actor has not settled. */
struct actor_delivery {
    uint64_t tag;
    uint64_t sequence;
    uint32_t publisher;
    uint32_t queue;
};

struct actor {
    struct sim_client client;
    struct workload *load;
    enum actor_role role;
    uint32_t index;
    uint32_t lives;     /* connections it may still make */
    uint32_t todo;      /* publishes or operations left in this life */
    uint32_t publisher; /* ledger number of this life */
    uint64_t published;
    uint64_t confirmed_upto; /* lowest unconfirmed - 1, roughly: for the window */
    uint32_t unconfirmed;
    bool ready;   /* set-up answered: may work */
    bool waiting; /* a synchronous answer is outstanding */
    bool no_ack;
    uint32_t queues; /* bits it consumes from */
    uint32_t setup_step;
    uint32_t get_queue;
    uint64_t stall_until_ns;
    uint64_t connected_ns;
    uint32_t drained;     /* DRAINER: queues done */
    uint64_t *last_first; /* [publisher * LEDGER_QUEUES_MAX + queue], this life's */
    uint32_t last_room;   /* publishers it has room for */
    struct actor_delivery *open;
    uint32_t open_count, open_room;
    struct actor_delivery *acked; /* to be certain of when the connection closes in order */
    uint32_t acked_count, acked_room;
};

struct workload {
    struct lp_sim_random random;
    struct lp_sim_net *net;
    struct ledger ledger;
    uint32_t shard_count;
    uint32_t queue_count;
    uint64_t now_ns;
    bool set_up; /* the topology is there */
    bool calm;   /* no more accidents: let everybody finish */
    struct actor actor[WORKLOAD_ACTORS_MAX];
    uint32_t actor_count;
    uint64_t connects, resets, closes;
};

void workload_init(struct workload *load, struct lp_sim_net *net, uint32_t shard_count,
                   uint64_t seed);
void workload_fini(struct workload *load);
/* One actor acts; true when it did something. */
bool workload_step(struct workload *load, uint64_t now_ns);
/* Have publishers, consumers and passers-by done all they wanted? */
bool workload_done(const struct workload *load);
/* After workload_done: make the drainer, until workload_drained(). */
void workload_drain(struct workload *load);
bool workload_drained(const struct workload *load);
