/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - our TCP/IP against itself: two hosts on a wire that loses, delays,
 * damages and duplicates, in virtual time and from a seed.
 *
 *   host.c  an address with one or several shards, each an instance of the stack
 *   talk.c  connections: what each end sends, takes, stops and closes, and what must hold
 *   main.c  a seed's weather, the scheduler, the verdict
 *
 * Rules: what is received is what was sent, in order and once; a connection
 * that nobody aborted ends with all of it, on both sides; every stream ends in
 * one CLOSED; invariants of the stack hold after every turn; in the end
 * nothing is left, and no frame is missing.
 */
#pragma once

#include <dataplane/net/net.h>
#include <drivers/sim/sim.h>
#include <drivers/sim/wire.h>

#define SIM_SHARDS_MAX 4u
#define SIM_PORT       5672u
#define SIM_EVENTS_MAX 48u

struct sim_world;

struct sim_host {
    uint32_t number;
    uint32_t shards;
    struct lp_net *net[SIM_SHARDS_MAX];
    struct lp_transport transport[SIM_SHARDS_MAX];
    void *memory[SIM_SHARDS_MAX];
    void *fabric;
    uint64_t next_ns[SIM_SHARDS_MAX];
    bool asleep[SIM_SHARDS_MAX];
};

/* One side of a connection. */
struct sim_side {
    struct sim_host *host;
    uint32_t shard;
    lp_handle stream;
    uint32_t total;    /* that it has to send */
    uint32_t given;    /* to send() */
    uint32_t flying;   /* of the one send() in flight; 0: none is */
    uint32_t received; /* of the other's total */
    uint8_t *buffer;
    bool open;
    bool stopped;
    bool ended;
    bool closing;
    bool closed;
};

struct sim_talk {
    uint32_t id;
    bool aborts;             /* somebody may close too soon */
    bool server_first;       /* who closes first when all is said */
    bool asked;              /* connect() was called */
    struct sim_side side[2]; /* client, server */
};

struct sim_world {
    uint64_t seed;
    struct lp_sim_clock clock;
    struct lp_sim_random random;
    struct lp_sim_wire *wire;
    struct sim_host host[2];
    uint32_t talk_count;
    struct sim_talk *talk;
    uint64_t digest;
    uint32_t mark;      /* of a thousand packets that may be marked (ECN) so many are */
    bool calm;          /* no faults any more, nobody aborts */
    bool small;         /* memory is short: evictions are allowed */
    const char *broken; /* the first rule that did not hold */
    uint32_t broken_talk;
};

/* ---- host.c ---- */
struct sim_host_config {
    struct lp_net_config net;
    uint8_t family;
    uint64_t memory_bytes;
    uint32_t shards;
};
void sim_host_open(struct sim_world *world, uint32_t number, const struct sim_host_config *config);
void sim_host_close(struct sim_host *host);
struct lp_address sim_host_address(uint32_t number, uint8_t family);
/* One turn of a shard: events are handed to sim_talk_event(). */
uint32_t sim_host_turn(struct sim_world *world, struct sim_host *host, uint32_t shard);
/* When any of its shards has something to do; now when one is awake. */
uint64_t sim_host_next_ns(struct sim_world *world, struct sim_host *host);
bool sim_host_at_rest(const struct sim_host *host, const char **ret_why);
/* What is not zero. */
void sim_host_counters_print(const struct sim_host *host);
/* It let go of somebody half-open, who may believe to be connected. */
bool sim_host_forgot(const struct sim_host *host);
uint64_t sim_host_evicted(const struct sim_host *host);

/* ---- talk.c ---- */
void sim_talks_make(struct sim_world *world, uint32_t count, uint32_t bytes_max);
void sim_talks_free(struct sim_world *world);
void sim_talk_event(struct sim_world *world, struct sim_host *host, uint32_t shard,
                    const struct lp_transport_event *event);
/* What everybody does between turns: connect, send, stop, start, close. */
void sim_talks_step(struct sim_world *world, uint8_t family);
bool sim_talks_over(const struct sim_world *world);
/* Not over: what the first of them lacks. */
void sim_talks_explain(const struct sim_world *world);
