/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world.h - simulated nodes: shards, a control process and a network each, in
 * one thread, in virtual time, stepped in an order that follows from the seed.
 */
#pragma once

#include "control/link/control.h"
#include "dataplane/shard/shard.h"
#include "drivers/sim/disk.h"
#include "drivers/sim/net.h"
#include "drivers/sim/sim.h"
#include "tests/sim/scenario.h"

#define WORLD_NODES_MAX  2u
#define WORLD_SHARDS_MAX 4u

struct world_node {
    struct world *world;
    uint32_t index;
    uint32_t shard_count;
    void *block[WORLD_SHARDS_MAX + 2]; /* what everything below lies in */
    uint32_t blocks;
    void *region;
    void *fabric_memory;
    struct lp_fabric *fabric;
    void *memory[WORLD_SHARDS_MAX];
    struct lp_shard *shard[WORLD_SHARDS_MAX];
    uint64_t shard_next_ns[WORLD_SHARDS_MAX];
    uint64_t memory_bytes; /* of each shard */
    struct lp_sim_net *net;
    struct lp_sim_disk *disk[WORLD_SHARDS_MAX]; /* NULL: the scenario has none */
    uint64_t back_ns;                           /* down: when it boots again */
    struct lp_store_memory *store;
    struct lp_control *control; /* NULL: dead */
    uint32_t generation;
    uint64_t control_back_ns; /* dead: when it comes back */
    struct lp_sim_random entropy;
    struct scene scene;
    const struct scenario *scenario;
    void *play; /* the scenario's own */
    uint32_t control_kills;
    uint64_t handed; /* messages to queues by a call, not by the mesh */
    uint64_t far;    /* records to shards, of lives that are over */
    bool draining;
};

struct world {
    uint64_t seed;
    struct lp_sim_random random;
    struct lp_sim_clock clock;
    struct world_node node[WORLD_NODES_MAX];
    uint32_t node_count;
    uint64_t steps;
    uint32_t idle; /* steps in a row that did nothing */
};

struct world_result {
    uint64_t digest;
    uint64_t steps;
    uint64_t virtual_ms;
    uint64_t published, confirmed, delivered, redelivered;
    uint64_t handed, far; /* messages by a call; records to shards, themselves included */
    uint32_t connects, resets, control_kills, deaths;
    char scenarios[64]; /* what was played, node by node */
    char said[256];     /* by a scenario without nodes */
    char refused[256];  /* the broker does not do this yet: the seed does not count */
};

/*
 * Run one seed to its end; any broken invariant ends the process (lp_panic).
 * `scenario`: on every node; NULL: the seed chooses.
 */
void world_run(uint64_t seed, const struct scenario *scenario, struct world_result *ret_result);

/* node.c */
void node_make(struct world *world, uint32_t index, const struct scenario *scenario);
void node_control_start(struct world_node *node);
/* All its processes die; what is on disks and in the control process's store stays. */
void node_crash(struct world_node *node, enum lp_sim_disk_crash how);
void node_back(struct world_node *node);
void node_advance(struct world_node *node);
/* When something is due, actors' own pauses aside. */
uint64_t node_next_ns(const struct world_node *node);
void node_free(struct world_node *node);
