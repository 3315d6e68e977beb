/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lp_address
sim_host_address(uint32_t number, uint8_t family)
{
    struct lp_address address = {.family = family, .port = SIM_PORT};
    if (family == LP_ADDRESS_IPV6) {
        address.ip[0] = 0xfd;
        address.ip[15] = (uint8_t)(number + 1);
    } else {
        memcpy(address.ip, (const uint8_t[]){10, 0, 0, (uint8_t)(number + 1)}, 4);
    }
    return address;
}

static void *
memory_get(uint64_t bytes)
{
    void *memory = aligned_alloc(65536, (bytes + 65535u) & ~(uint64_t)65535u);
    LP_ASSERT(memory != NULL);
    memset(memory, 0, bytes);
    return memory;
}

static void
wake_shard(void *context, uint32_t shard)
{
    struct sim_host *host = context;
    host->asleep[shard] = false;
}

static void
shard_open(struct sim_world *world, struct sim_host *host, const struct sim_host_config *config,
           uint32_t shard)
{
    struct lp_net_config net = config->net;
    const struct lp_address address = sim_host_address(host->number, config->family);
    net.shard = shard;
    net.shard_count = config->shards;
    net.port_count = 1;
    net.port[0].nic = lp_sim_wire_nic(world->wire, host->number, shard);
    net.port[0].address_count = 1;
    net.port[0].address[0].family = config->family;
    net.port[0].address[0].bits = config->family == LP_ADDRESS_IPV6 ? 64 : 24;
    memcpy(net.port[0].address[0].ip, address.ip, sizeof(address.ip));
    net.listener_count = 1;
    net.listener[0] = address;
    net.streams_max = 512;
    host->memory[shard] = memory_get(config->memory_bytes);
    const struct lp_net_env env = {
        .memory = host->memory[shard],
        .memory_bytes = config->memory_bytes,
        .clock = lp_sim_clock_contract(&world->clock),
        .entropy = lp_sim_random_entropy(&world->random),
        .fabric = host->fabric,
        .wake_shard = host->fabric != NULL ? wake_shard : NULL,
        .wake_context = host,
    };
    const enum lp_err err = lp_net_open_boot(&net, &env, &host->net[shard]);
    LP_ASSERT(err == LP_OK);
    host->transport[shard] = lp_net_transport(host->net[shard]);
}

void
sim_host_open(struct sim_world *world, uint32_t number, const struct sim_host_config *config)
{
    struct sim_host *host = &world->host[number];
    *host = (struct sim_host){.number = number, .shards = config->shards};
    if (config->shards > 1) {
        host->fabric = memory_get(lp_net_fabric_bytes(config->shards));
        const struct lp_net_fabric *fabric = lp_net_fabric_init_boot(host->fabric, config->shards);
        LP_ASSERT((const void *)fabric == host->fabric);
    }
    for (uint32_t i = 0; i < config->shards; i++) {
        shard_open(world, host, config, i);
    }
}

void
sim_host_close(struct sim_host *host)
{
    for (uint32_t i = 0; i < host->shards; i++) {
        lp_net_close(&host->net[i]);
        free(host->memory[i]);
    }
    free(host->fabric);
}

uint32_t
sim_host_turn(struct sim_world *world, struct sim_host *host, uint32_t shard)
{
    struct lp_transport_event events[SIM_EVENTS_MAX];
    const struct lp_transport *transport = &host->transport[shard];
    if (host->asleep[shard]) {
        lp_net_sleep_end(host->net[shard]);
        host->asleep[shard] = false;
    }
    /* A sink that is small, now and then, meets what a large one never does. */
    const uint32_t max = lp_sim_random_chance(&world->random, 100)
                             ? (uint32_t)lp_sim_random_between(&world->random, 8, SIM_EVENTS_MAX)
                             : SIM_EVENTS_MAX;
    const uint32_t count = transport->ops->poll(transport->self, events, max);
    for (uint32_t i = 0; i < count; i++) {
        sim_talk_event(world, host, shard, &events[i]);
    }
    transport->ops->flush(transport->self);
    lp_net_check(host->net[shard]);
    return count;
}

uint64_t
sim_host_next_ns(struct sim_world *world, struct sim_host *host)
{
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < host->shards; i++) {
        uint64_t due_ns = world->clock.now_ns;
        if (host->asleep[i]) {
            due_ns = host->next_ns[i];
        } else if (lp_net_sleep_begin(host->net[i], &due_ns)) {
            host->asleep[i] = true;
            host->next_ns[i] = due_ns;
        } else {
            due_ns = world->clock.now_ns;
        }
        next_ns = LP_MIN(next_ns, due_ns);
    }
    return next_ns;
}

bool
sim_host_at_rest(const struct sim_host *host, const char **ret_why)
{
    for (uint32_t i = 0; i < host->shards; i++) {
        if (!lp_net_at_rest(host->net[i], ret_why)) {
            return false;
        }
    }
    return true;
}

void
sim_host_counters_print(const struct sim_host *host)
{
    for (uint32_t i = 0; i < host->shards; i++) {
        const struct lp_net_counters *counters = lp_net_counters_of(host->net[i]);
        (void)printf("    host %u, shard %u:", host->number, i);
#define X(name, text)                                                        \
    if (counters->name != 0) {                                               \
        (void)printf(" %s=%llu", #name, (unsigned long long)counters->name); \
    }
        LP_NET_COUNTERS(X)
#undef X
        (void)printf("\n");
    }
}

bool
sim_host_forgot(const struct sim_host *host)
{
    bool forgot = false;
    for (uint32_t i = 0; i < host->shards; i++) {
        const struct lp_net_counters *counters = lp_net_counters_of(host->net[i]);
        forgot |= counters->tcp_half_open_evicted + counters->tcp_half_open_timeouts > 0;
    }
    return forgot;
}

uint64_t
sim_host_evicted(const struct sim_host *host)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < host->shards; i++) {
        const struct lp_net_counters *counters = lp_net_counters_of(host->net[i]);
        sum += counters->tcp_evicted + counters->tcp_refused_full;
    }
    return sum;
}
