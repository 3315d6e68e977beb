/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include "dataplane/shard/shard_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/admin/admin.h"

/* A seed that is not done by then hangs: a liveness failure. */
#define VIRTUAL_NS_MAX (3600ull * 1000000000ull)
#define STEPS_MAX      60000000ull
/* Give actors this long before accidents stop and the drainer begins. */
#define WORK_NS_MAX (120ull * 1000000000ull)

/* ---- stepping ---- */

static bool
step_control(struct world_node *node)
{
    struct world *world = node->world;
    if (!node->control) {
        if (world->clock.now_ns < node->control_back_ns) {
            return false;
        }
        node_control_start(node);
        return true;
    }
    if (!node->scene.calm && node->scene.set_up && lp_sim_random_below(&world->random, 3000) == 0) {
        lp_control_close(
            &node->control); /* what a kill between two steps leaves: region and store */
        node->control_back_ns =
            world->clock.now_ns + lp_sim_random_below(&world->random, 300000000);
        node->control_kills++;
        return true;
    }
    return lp_control_turn(node->control);
}

static bool
step_shard(struct world_node *node, uint32_t index)
{
    struct world *world = node->world;
    const uint64_t now_ns = world->clock.now_ns;
    const struct lp_turn_result result =
        lp_shard_turn(node->shard[index], now_ns, now_ns + world->clock.wall_offset_ns);
    node->shard_next_ns[index] = result.next_ns;
    node->handed += LP_NEAR_PER_TURN - node->shard[index]->broker.near_left;
    lp_shard_turn_measured(node->shard[index], lp_sim_random_below(&world->random, 100000));
    if (lp_sim_random_below(&world->random, 2000) == 0) {
        lp_shard_check(node->shard[index]);
        lp_store_check(&node->shard[index]->broker);
    }
    return result.work > 0;
}

static void
node_die(struct world_node *node)
{
    const bool killed = lp_sim_random_chance(&node->world->random, 300);
    node_crash(node, killed ? LP_SIM_DISK_KILLED : LP_SIM_DISK_POWER);
}

/* Its processes die, or begin again. */
static bool
node_fate(struct world_node *node)
{
    struct world *world = node->world;
    struct scene *scene = &node->scene;
    if (scene->down) {
        if (world->clock.now_ns < node->back_ns) {
            return false;
        }
        node_back(node);
        return true;
    }
    if (scene->calm || !scene->set_up ||
        lp_sim_random_below(&world->random, node->scenario->deaths) != 0) {
        return false;
    }
    node_die(node);
    return true;
}

static bool
step_node(struct world_node *node)
{
    struct world *world = node->world;
    if (node->scenario->deaths > 0 && node_fate(node)) {
        return true;
    }
    const uint32_t pick = (uint32_t)lp_sim_random_below(&world->random, 10);
    if (pick < 5 && node->scene.down) {
        return false;
    }
    if (pick < 4) {
        return step_shard(node, (uint32_t)lp_sim_random_below(&world->random, node->shard_count));
    }
    if (pick == 4) {
        return step_control(node);
    }
    node->scene.now_ns = world->clock.now_ns;
    return node->scene.refused[0] == '\0' && node->scenario->step(node->play);
}

/* ---- the administrator ---- */

struct admin_call {
    scene_admin_fn *done;
    void *context;
};

static void
admin_answered(void *context, json_t *answer)
{
    struct admin_call *call = context;
    const bool ok = json_is_true(json_object_get(answer, "ok"));
    const char *error = json_string_value(json_object_get(answer, "error"));
    call->done(call->context, ok, error ? error : "");
    json_decref(answer);
    free(call);
}

bool
scene_admin(struct scene *scene, const char *request, scene_admin_fn *done, void *context)
{
    if (!scene->node->control) {
        return false;
    }
    struct admin_call *call = malloc(sizeof(*call));
    json_t *json = json_loads(request, 0, NULL);
    LP_ASSERT(call && json);
    *call = (struct admin_call){done, context};
    lp_admin_request(scene->node->control, json, admin_answered, call);
    json_decref(json);
    return true;
}

bool
scene_control_runs(const struct scene *scene)
{
    return scene->node->control != NULL;
}

uint32_t
scene_control_deaths(const struct scene *scene)
{
    return scene->node->control_kills;
}

/* Nobody has anything to do now: go to where somebody has. */
static uint64_t
world_next_ns(const struct world *world)
{
    uint64_t next = world->clock.now_ns + 50000000; /* actors' own pauses are not listed anywhere */
    for (uint32_t n = 0; n < world->node_count; n++) {
        next = LP_MIN(next, node_next_ns(&world->node[n]));
    }
    return LP_MAX(next, world->clock.now_ns + 1000);
}

static void
world_advance(struct world *world, bool worked)
{
    world->idle = worked ? 0 : world->idle + 1;
    const bool stuck = world->idle > 60 * world->node_count;
    if (!stuck && lp_sim_random_below(&world->random, 4) != 0) {
        return;
    }
    if (stuck) {
        lp_sim_clock_set(&world->clock, world_next_ns(world));
        world->idle = 0;
    } else {
        lp_sim_clock_advance(&world->clock, lp_sim_random_below(&world->random, 50000));
    }
    for (uint32_t n = 0; n < world->node_count; n++) {
        node_advance(&world->node[n]);
    }
}

static bool
node_done(struct world_node *node)
{
    const uint64_t now_ns = node->world->clock.now_ns;
    if (node->scene.refused[0] != '\0') {
        return true;
    }
    if (!node->draining) {
        if (node->scene.set_up && !node->scene.down &&
            (node->scenario->done(node->play) || now_ns > WORK_NS_MAX)) {
            node->draining = true;
            node->scene.calm = true;
            if (node->scenario->deaths > 0 && lp_sim_random_chance(&node->world->random, 500)) {
                node_die(node);
            }
            if (node->scenario->drain) {
                node->scenario->drain(node->play);
            }
        }
        return false;
    }
    return node->scenario->drained(node->play);
}

static bool
world_done(struct world *world)
{
    bool done = true;
    for (uint32_t n = 0; n < world->node_count; n++) {
        done = node_done(&world->node[n]) && done;
    }
    return done;
}

/* Everything is closed and drained: what is still under way settles, then nothing may be left. */
static void
node_at_rest(struct world_node *node)
{
    struct world *world = node->world;
    const char *why = NULL;
    for (uint32_t round = 0; round < 20000; round++) {
        bool rest = true;
        lp_sim_clock_advance(&world->clock, 1000000);
        node_advance(node);
        (void)step_control(node);
        for (uint32_t i = 0; i < node->shard_count; i++) {
            (void)step_shard(node, i);
        }
        for (uint32_t i = 0; i < node->shard_count; i++) {
            rest = rest && lp_shard_at_rest(node->shard[i], &why);
        }
        if (rest) {
            return;
        }
    }
    (void)fprintf(stderr, "node %u is not at rest: %s\n", node->index, why);
    LP_ASSERT(!"everything is given back at the end");
}

static void
node_finish(struct world_node *node, struct world_result *result)
{
    const struct scene *scene = &node->scene;
    const size_t at = strlen(result->scenarios);
    (void)snprintf(result->scenarios + at, sizeof(result->scenarios) - at, "%s%s",
                   at > 0 ? "+" : "", node->scenario->name);
    if (scene->refused[0] != '\0') {
        memcpy(result->refused, scene->refused, sizeof(result->refused));
        return;
    }
    node_at_rest(node);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        lp_shard_check(node->shard[i]);
        lp_store_check(&node->shard[i]->broker);
    }
    if (node->scenario->finish) {
        node->scenario->finish(node->play);
    }
    result->digest = result->digest * 31 + scene->digest;
    result->digest = result->digest * 31 + lp_sim_net_digest(node->net);
    result->published += scene->published;
    result->handed += node->handed;
    result->far += node->far;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        result->far += node->shard[i]->broker.mesh.sent;
        if (node->disk[i]) {
            result->digest = result->digest * 31 + lp_sim_disk_digest(node->disk[i]);
        }
    }
    result->deaths += scene->deaths;
    result->confirmed += scene->confirmed;
    result->delivered += scene->delivered;
    result->redelivered += scene->redelivered;
    result->connects += (uint32_t)scene->connects;
    result->resets += (uint32_t)scene->resets;
    result->control_kills += node->control_kills;
}

void
world_run(uint64_t seed, const struct scenario *scenario, struct world_result *ret_result)
{
    memset(ret_result, 0, sizeof(*ret_result));
    if (scenario && scenario->run) {
        scenario->run(seed, scenario->flavour, ret_result);
        return;
    }
    struct world *world = calloc(1, sizeof(*world));
    LP_ASSERT(world);
    world->seed = seed;
    lp_sim_random_seed(&world->random, seed);
    lp_sim_clock_init(&world->clock, 1000000000, 1700000000000000000u);
    world->node_count = (uint32_t)lp_sim_random_between(&world->random, 1, WORLD_NODES_MAX);
    for (uint32_t n = 0; n < world->node_count; n++) {
        node_make(world, n, scenario ? scenario : scenario_of(seed, n));
    }
    while (!world_done(world)) {
        const uint32_t n = (uint32_t)lp_sim_random_below(&world->random, world->node_count);
        const bool worked = step_node(&world->node[n]);
        world_advance(world, worked);
        world->steps++;
        LP_ASSERT(world->steps < STEPS_MAX);
        LP_ASSERT(world->clock.now_ns < VIRTUAL_NS_MAX);
    }
    for (uint32_t n = 0; n < world->node_count; n++) {
        node_finish(&world->node[n], ret_result);
    }
    ret_result->steps = world->steps;
    ret_result->virtual_ms = world->clock.now_ns / 1000000;
    for (uint32_t n = 0; n < world->node_count; n++) {
        node_free(&world->node[n]);
    }
    free(world);
}
