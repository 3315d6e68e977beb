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

static void
ignore_wake(void *context, uint32_t shard)
{
    (void)context;
    (void)shard; /* every shard is stepped again anyway */
}

static void
ignore_wake_control(void *context)
{
    (void)context;
}

/* ---- making ---- */

/* Zeroed; pages that nobody touches cost nothing. */
static void *
memory_get(struct world_node *node, size_t bytes)
{
    uint8_t *block = calloc(1, bytes + LP_SPAN_BYTES);
    LP_ASSERT(block && node->blocks < LP_COUNT_OF(node->block));
    node->block[node->blocks++] = block;
    return block + (LP_SPAN_BYTES - (uintptr_t)block % LP_SPAN_BYTES);
}

static void
control_start(struct world_node *node)
{
    struct lp_control_options options = {
        .region = node->region,
        .shard_count = node->shard_count,
        .generation = ++node->generation,
        .store = lp_store_memory_store(node->store),
        .clock = lp_sim_clock_contract(&node->world->clock),
        .entropy = lp_sim_random_entropy(&node->entropy),
        .wake_shard = ignore_wake,
        .context = node,
    };
    lp_control_settings_default(&options.settings);
    static const char *const nobody[1] = {NULL};
    options.settings.loopback_users = nobody; /* simulated peers have no loopback */
    options.settings.loopback_user_count = 0;
    const enum lp_err err = lp_control_open_boot(&options, &node->control);
    LP_ASSERT(err == LP_OK);
}

static void
shard_start(struct world_node *node, uint32_t index, uint64_t memory_bytes)
{
    static const struct lp_address listener = {.family = LP_ADDRESS_IPV4, .port = 5672};
    struct world *world = node->world;
    const struct lp_shard_config config = {
        .index = index,
        .count = node->shard_count,
        .frame_max_bytes = 131072,
        .channel_max = 2047,
        .heartbeat_s = 0,
        .handshake_timeout_ms = 3600 * 1000,
        .control_timeout_ms = 600 * 1000,
        .message_bytes_max = 16 * 1024 * 1024,
        .connections_max = 256,
        .cluster_name = "sim",
    };
    node->memory[index] = memory_get(node, memory_bytes);
    const struct lp_shard_env env = {
        .memory = node->memory[index],
        .memory_bytes = memory_bytes,
        .watermark_bytes = memory_bytes / 10 * 6,
        .transport = lp_sim_net_transport(node->net, index),
        .entropy = lp_sim_random_entropy(&node->entropy),
        .clock = lp_sim_clock_contract(&world->clock),
        .fabric = node->fabric,
        .region = node->region,
        .listeners = &listener,
        .listener_count = 1,
        .wake_shard = ignore_wake,
        .wake_control = ignore_wake_control,
        .wake_context = node,
    };
    const enum lp_err err =
        lp_shard_init_boot(&config, &env, world->clock.now_ns,
                           world->clock.now_ns + world->clock.wall_offset_ns, &node->shard[index]);
    LP_ASSERT(err == LP_OK);
}

static void
node_make(struct world *world, uint32_t index, const struct scenario *scenario)
{
    struct world_node *node = &world->node[index];
    node->world = world;
    node->index = index;
    node->shard_count = (uint32_t)lp_sim_random_between(&world->random, 1, WORLD_SHARDS_MAX);
    node->region = memory_get(node, lp_control_region_bytes(node->shard_count));
    lp_control_region_init_boot(node->region, node->shard_count);
    node->fabric_memory = memory_get(node, lp_fabric_bytes(node->shard_count));
    node->fabric = lp_fabric_init_boot(node->fabric_memory, node->shard_count);
    lp_sim_random_fork(&world->random, &node->entropy);
    struct lp_sim_net_config net =
        lp_sim_net_config_default(lp_sim_random_next(&world->random), node->shard_count);
    net.faults.reset = 0; /* accidents are the workload's, so that it knows of them */
    if (lp_sim_random_chance(&world->random, 300)) {
        net.window_bytes = 2048;
    }
    node->net = lp_sim_net_create(&net);
    node->store = lp_store_memory_open();
    /* Mostly plenty, sometimes so little that publishers run into the watermark. */
    const uint64_t memory_bytes =
        lp_sim_random_chance(&world->random, 250) ? 6ull << 20 : 24ull << 20;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        shard_start(node, i, memory_bytes);
    }
    control_start(node);
    struct scene *scene = &node->scene;
    lp_sim_random_seed(&scene->random, lp_sim_random_next(&world->random));
    scene->net = node->net;
    scene->node = node;
    scene->shard_count = node->shard_count;
    scene->now_ns = world->clock.now_ns;
    scene->wall_offset_ns = world->clock.wall_offset_ns;
    node->scenario = scenario;
    node->play = scenario->open(scene, scenario->flavour);
}

static void
node_free(struct world_node *node)
{
    node->scenario->close(node->play);
    lp_control_close(&node->control);
    lp_store_memory_close(&node->store);
    lp_sim_net_destroy(node->net);
    for (uint32_t i = 0; i < node->blocks; i++) {
        free(node->block[i]);
    }
}

/* ---- stepping ---- */

static bool
step_control(struct world_node *node)
{
    struct world *world = node->world;
    if (!node->control) {
        if (world->clock.now_ns < node->control_back_ns) {
            return false;
        }
        control_start(node);
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
    }
    return result.work > 0;
}

static bool
step_node(struct world_node *node)
{
    struct world *world = node->world;
    const uint32_t pick = (uint32_t)lp_sim_random_below(&world->random, 10);
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
        const struct world_node *node = &world->node[n];
        next = LP_MIN(next, lp_sim_net_next_ns(node->net));
        for (uint32_t i = 0; i < node->shard_count; i++) {
            next = LP_MIN(next, node->shard_next_ns[i]);
        }
        if (node->control) {
            const uint64_t wait = lp_control_wait_ns(node->control);
            next = wait == UINT64_MAX ? next : LP_MIN(next, world->clock.now_ns + wait);
        }
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
        lp_sim_net_advance(world->node[n].net, world->clock.now_ns);
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
        if (node->scene.set_up && (node->scenario->done(node->play) || now_ns > WORK_NS_MAX)) {
            node->draining = true;
            node->scene.calm = true;
            node->scenario->drain(node->play);
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
        lp_sim_net_advance(node->net, world->clock.now_ns);
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
    }
    node->scenario->finish(node->play);
    result->digest = result->digest * 31 + scene->digest;
    result->digest = result->digest * 31 + lp_sim_net_digest(node->net);
    result->published += scene->published;
    result->handed += node->handed;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        result->far += node->shard[i]->broker.mesh.sent;
    }
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
    struct world *world = calloc(1, sizeof(*world));
    LP_ASSERT(world);
    memset(ret_result, 0, sizeof(*ret_result));
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
