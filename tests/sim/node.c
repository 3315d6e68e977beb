/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - a node's life: made, killed with all its processes, booted again over its disks. */
#include "tests/sim/world.h"

#include "dataplane/shard/shard_private.h"

#include <stdlib.h>

/* What a log takes of a shard's memory, and some. */
#define LOG_BYTES (6ull << 20)
/* Of an operation of a slow disk. */
#define SLOW_NS_MIN 50000000u
#define SLOW_NS_MAX 500000000u

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

/* Zeroed; pages that nobody touches cost nothing. Until the process dies. */
static void *
memory_get(struct world_node *node, size_t bytes)
{
    uint8_t *block = calloc(1, bytes + LP_SPAN_BYTES);
    LP_ASSERT(block && node->blocks < LP_COUNT_OF(node->block));
    node->block[node->blocks++] = block;
    return block + (LP_SPAN_BYTES - (uintptr_t)block % LP_SPAN_BYTES);
}

void
node_control_start(struct world_node *node)
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
shard_start(struct world_node *node, uint32_t index)
{
    static const struct lp_address listener = {.family = LP_ADDRESS_IPV4, .port = 5672};
    struct world *world = node->world;
    const uint64_t memory_bytes = node->memory_bytes;
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
        .log_segment_bytes = 512 * 1024,
        .log_first_segment_bytes = 128 * 1024,
        .log_backlog_bytes =
            node->scenario->backlog_bytes > 0 ? node->scenario->backlog_bytes : 64 * 1024,
        .log_paging = {.head_entries = 8,
                       .head_bytes = 16 * 1024,
                       .page_entries = 8,
                       .ahead_ms = 200},
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
        .disk =
            node->scenario->disk ? lp_sim_disk_contract(node->disk[index]) : (struct lp_disk){0},
    };
    node->shard_next_ns[index] = 0;
    const enum lp_err err =
        lp_shard_init_boot(&config, &env, world->clock.now_ns,
                           world->clock.now_ns + world->clock.wall_offset_ns, &node->shard[index]);
    LP_ASSERT(err == LP_OK);
}

/* A process group begins: all that is not on a disk is new. */
static void
node_boot(struct world_node *node)
{
    node->region = memory_get(node, lp_control_region_bytes(node->shard_count));
    lp_control_region_init_boot(node->region, node->shard_count);
    node->fabric_memory = memory_get(node, lp_fabric_bytes(node->shard_count));
    node->fabric = lp_fabric_init_boot(node->fabric_memory, node->shard_count);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        shard_start(node, i);
    }
    node_control_start(node);
}

static void
node_disks_make(struct world_node *node)
{
    for (uint32_t i = 0; i < node->shard_count && node->scenario->disk; i++) {
        struct lp_sim_disk_config disk =
            lp_sim_disk_config_default(lp_sim_random_next(&node->world->random));
        if (node->scenario->disk_slow) {
            disk.faults.latency_ns_min = SLOW_NS_MIN;
            disk.faults.latency_ns_max = SLOW_NS_MAX;
        }
        node->disk[i] = lp_sim_disk_create(&disk);
        lp_sim_disk_advance(node->disk[i], node->world->clock.now_ns);
    }
}

void
node_make(struct world *world, uint32_t index, const struct scenario *scenario)
{
    struct world_node *node = &world->node[index];
    node->world = world;
    node->index = index;
    node->scenario = scenario;
    node->shard_count = (uint32_t)lp_sim_random_between(&world->random, 1, WORLD_SHARDS_MAX);
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
    node->memory_bytes = lp_sim_random_chance(&world->random, 250) ? 6ull << 20 : 24ull << 20;
    node->memory_bytes = scenario->memory_bytes > 0 ? scenario->memory_bytes : node->memory_bytes;
    node->memory_bytes += scenario->disk ? LOG_BYTES : 0;
    node_disks_make(node);
    node_boot(node);
    struct scene *scene = &node->scene;
    lp_sim_random_seed(&scene->random, lp_sim_random_next(&world->random));
    scene->net = node->net;
    scene->node = node;
    scene->shard_count = node->shard_count;
    scene->now_ns = world->clock.now_ns;
    scene->wall_offset_ns = world->clock.wall_offset_ns;
    node->play = scenario->open(scene, scenario->flavour);
}

/* ---- the end of a process group, and of a node ---- */

static void
node_memory_free(struct world_node *node)
{
    for (uint32_t i = 0; i < node->blocks; i++) {
        free(node->block[i]);
    }
    node->blocks = 0;
}

void
node_crash(struct world_node *node, enum lp_sim_disk_crash how)
{
    LP_ASSERT(!node->scene.down);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        node->far += node->shard[i]->broker.mesh.sent;
        if (node->disk[i]) {
            lp_sim_disk_crash(node->disk[i], how);
        }
    }
    lp_sim_net_crash(node->net);
    lp_control_close(&node->control);
    lp_store_memory_crash(node->store);
    node_memory_free(node);
    node->scene.down = true;
    node->scene.deaths++;
    node->back_ns = node->world->clock.now_ns + lp_sim_random_below(&node->world->random, 50000000);
}

void
node_back(struct world_node *node)
{
    LP_ASSERT(node->scene.down);
    node->scene.down = false;
    node_boot(node);
}

void
node_advance(struct world_node *node)
{
    const uint64_t now_ns = node->world->clock.now_ns;
    lp_sim_net_advance(node->net, now_ns);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (node->disk[i]) {
            lp_sim_disk_advance(node->disk[i], now_ns);
        }
    }
}

uint64_t
node_next_ns(const struct world_node *node)
{
    uint64_t next = lp_sim_net_next_ns(node->net);
    if (node->scene.down) {
        return LP_MIN(next, node->back_ns);
    }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        next = LP_MIN(next, node->shard_next_ns[i]);
        next = node->disk[i] ? LP_MIN(next, lp_sim_disk_next_ns(node->disk[i])) : next;
    }
    if (node->control) {
        const uint64_t wait = lp_control_wait_ns(node->control);
        next = wait == UINT64_MAX ? next : LP_MIN(next, node->world->clock.now_ns + wait);
    }
    return next;
}

void
node_free(struct world_node *node)
{
    node->scenario->close(node->play);
    lp_control_close(&node->control);
    lp_store_memory_close(&node->store);
    lp_sim_net_destroy(node->net);
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (node->disk[i]) {
            lp_sim_disk_destroy(node->disk[i]);
        }
    }
    node_memory_free(node);
}
