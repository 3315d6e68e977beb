/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scene.h - what a scenario gets to play on: one simulated node, its network,
 * its time, and a way to its administrator's commands.
 *
 *   Memory    the world's; it outlives the scenario
 *   Runs on   the one thread that steps the simulation
 */
#pragma once

#include "drivers/sim/net.h"
#include "drivers/sim/sim.h"

struct world_node;

/* What an administrator's command came to: "" and true, or the broker's sentence. */
typedef void scene_admin_fn(void *context, bool ok, const char *answer);

struct scene {
    struct lp_sim_random random;
    struct lp_sim_net *net;
    struct world_node *node;
    uint32_t shard_count;
    uint64_t now_ns;
    uint64_t wall_offset_ns; /* wall time is now_ns + this */
    bool set_up;             /* the topology is there: accidents may begin */
    bool calm;               /* no more accidents: let everybody finish */
    bool down;               /* its processes are dead */
    uint32_t deaths;         /* how often they died */
    char refused[256];       /* the broker does not do this yet: the scenario does not count */
    uint64_t connects, resets, closes;
    uint64_t published, confirmed, delivered, redelivered;
    uint64_t digest; /* of what clients saw, in order */
};

static inline uint32_t
scene_below(struct scene *scene, uint32_t bound)
{
    return (uint32_t)lp_sim_random_below(&scene->random, bound);
}

/* Mix an event into the digest. */
static inline void
scene_note(struct scene *scene, uint64_t what, uint64_t a, uint64_t b)
{
    uint64_t x = scene->digest ^ (what * 0x9e3779b97f4a7c15u) ^ (a << 32) ^ b;
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    scene->digest = x * 0x94d049bb133111ebu + 1;
}

/*
 * An administrator's command, as lepusctl would send it (JSON); false: the
 * control process is dead now.  `done` is called once, maybe before this
 * returns; not ok when the control process dies meanwhile.  world.c.
 */
bool scene_admin(struct scene *scene, const char *request, scene_admin_fn *done, void *context);
/* Is the control process there?  And how often has it died so far? */
bool scene_control_runs(const struct scene *scene);
uint32_t scene_control_deaths(const struct scene *scene);
