/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario.h - the contract of a scenario: clients, what they do on one node,
 * and what must be true of it.
 *
 * One file (or a few) and one line in scenario.c's table make a scenario.
 * The seed chooses; a scenario draws from its scene's generator only.
 */
#pragma once

#include "tests/sim/scene.h"

struct world_result;

struct scenario {
    const char *name;
    uint32_t weight;        /* how often, against the others' */
    uint32_t flavour;       /* the file's own: which of its variants this is */
    bool disk;              /* shards have disks */
    bool disk_slow;         /* ... that are slower than any client */
    uint64_t memory_bytes;  /* of a shard; 0: the seed chooses */
    uint32_t backlog_bytes; /* of messages that wait in memory; 0: as usual */
    uint32_t deaths;        /* the node dies once in so many of its steps; 0: never */
    /* Plays without nodes: all of it, and the rest is NULL. */
    void (*run)(uint64_t seed, uint32_t flavour, struct world_result *result);
    void *(*open)(struct scene *scene, uint32_t flavour);
    /* One of its clients acts; true when anything happened. */
    bool (*step)(void *self);
    /* Have all clients done what they wanted? */
    bool (*done)(const void *self);
    /* scene->calm is set: finish, empty everything, delete everything; or NULL: they see that. */
    void (*drain)(void *self);
    bool (*drained)(const void *self);
    /* The node is at rest: what can be said only now, or NULL. */
    void (*finish)(void *self);
    void (*close)(void *self);
};

/* The scenario of a seed's node; or the one that is called so, or NULL. */
const struct scenario *scenario_of(uint64_t seed, uint32_t node);
const struct scenario *scenario_find(const char *name);
/* The n-th, or NULL. */
const struct scenario *scenario_at(uint32_t index);
