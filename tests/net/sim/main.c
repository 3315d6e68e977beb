/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 3000000u
#define CALM_NS   UINT64_C(20000000000)  /* faults end after so much virtual time */
#define END_NS    UINT64_C(900000000000) /* and by then all has to be over */
#define REST_NS   UINT64_C(900000000000) /* after that, nothing is left */

static uint32_t
between(struct sim_world *world, uint32_t low, uint32_t high)
{
    return (uint32_t)lp_sim_random_between(&world->random, low, high);
}

static bool
chance(struct sim_world *world, uint32_t per_mille)
{
    return lp_sim_random_chance(&world->random, per_mille);
}

static struct lp_sim_wire_faults
weather(struct sim_world *world)
{
    struct lp_sim_wire_faults faults = {0};
    if (chance(world, 200)) {
        return faults;
    }
    faults.lose = chance(world, 700) ? between(world, 0, 120) : 0;
    faults.duplicate = chance(world, 500) ? between(world, 0, 100) : 0;
    faults.reorder = chance(world, 500) ? between(world, 0, 200) : 0;
    faults.reorder_ns_max = between(world, 1, 20) * 1000000u;
    faults.corrupt = chance(world, 400) ? between(world, 0, 50) : 0;
    faults.truncate = chance(world, 300) ? between(world, 0, 30) : 0;
    faults.dry = chance(world, 300) ? between(world, 0, 100) : 0;
    faults.refuse = chance(world, 300) ? between(world, 0, 200) : 0;
    faults.jitter_ns_max = chance(world, 500) ? between(world, 0, 10) * 1000000u : 0;
    return faults;
}

static void
card(struct sim_world *world, struct lp_sim_wire_end *end, uint32_t shards)
{
    static const uint16_t mtus[] = {1500, 1500, 1280, 9000};
    end->queues = (uint8_t)shards;
    end->mtu_bytes = mtus[between(world, 0, 3)];
    end->l4_fill = chance(world, 500);
    end->tso = end->l4_fill && chance(world, 600);
    end->rx_checksum = chance(world, 500);
    end->gro = chance(world, 300);
    end->can_wake = chance(world, 700);
    end->steering = (enum lp_sim_wire_steering)between(world, 0, 2);
    end->hash = end->steering == LP_SIM_WIRE_HASH && chance(world, 500);
    end->receive_ring = chance(world, 200) ? between(world, 8, 64) : 0;
    end->transmit_ring = chance(world, 200) ? between(world, 8, 64) : 0;
}

static void
net_config(struct sim_world *world, struct lp_net_config *net)
{
    net->congestion = chance(world, 500) ? LP_NET_CUBIC : LP_NET_NEWRENO;
    net->ecn = (enum lp_net_ecn)between(world, 0, 2);
    net->receive_bytes_max = chance(world, 300) ? between(world, 4096, 100000) : 0;
    net->receive_bytes_first = LP_MIN(net->receive_bytes_max, 65536u);
    net->send_bytes_max = chance(world, 300) ? between(world, 4096, 100000) : 0;
    net->keepalive_s = 30; /* whoever lost the other's reset finds out while we look */
    net->half_open_max = chance(world, 200) ? 2 : 0;
}

/* A router that marks packets which may be marked: RFC 3168 5, RFC 1624 3. */
static bool
router(void *context, uint32_t from, uint8_t *data, uint32_t bytes)
{
    struct sim_world *world = context;
    (void)from;
    if (world->mark == 0 || bytes < 34 || !chance(world, world->mark)) {
        return true;
    }
    const bool ipv6 = data[12] == 0x86;
    const uint8_t field = ipv6 ? 0x30 : 0x03;
    const uint8_t was = data[15] & field;
    if (was == 0 || (!ipv6 && data[12] != 0x08)) {
        return true;
    }
    data[15] |= field;
    if (!ipv6) {
        uint32_t sum = (uint32_t)(uint16_t) ~(data[24] << 8 | data[25]);
        sum += (uint32_t)field - was;
        sum = (sum & 0xffffu) + (sum >> 16);
        data[24] = (uint8_t)(~sum >> 8);
        data[25] = (uint8_t)~sum;
    }
    return true;
}

static void
world_open(struct sim_world *world, uint64_t seed, uint8_t *ret_family)
{
    *world = (struct sim_world){.seed = seed, .digest = seed};
    lp_sim_clock_init(&world->clock, 1000000000u, 0);
    lp_sim_random_seed(&world->random, seed);
    struct lp_sim_wire_config wire = lp_sim_wire_config_default(seed);
    struct sim_host_config host[2] = {{.shards = between(world, 1, 3)},
                                      {.shards = between(world, 1, 3)}};
    wire.delay_ns = between(world, 1, 2000) * 10000u;
    wire.bits_per_second = chance(world, 300) ? between(world, 1, 100) * UINT64_C(10000000) : 0;
    wire.faults = weather(world);
    world->small = chance(world, 150);
    *ret_family = chance(world, 300) ? LP_ADDRESS_IPV6 : LP_ADDRESS_IPV4;
    for (uint32_t i = 0; i < 2; i++) {
        card(world, &wire.end[i], host[i].shards);
        net_config(world, &host[i].net);
        host[i].family = *ret_family;
        host[i].memory_bytes = world->small ? 4u << 20 : 32u << 20;
    }
    world->wire = lp_sim_wire_create(&wire);
    world->mark = chance(world, 500) ? between(world, 1, 300) : 0;
    lp_sim_wire_filter_set(world->wire, router, world);
    sim_host_open(world, 0, &host[0]);
    sim_host_open(world, 1, &host[1]);
    sim_talks_make(world, between(world, 1, 24), between(world, 3000, 300000));
}

/* Everybody's turn, in any order, some of them left out. */
static uint32_t
turns(struct sim_world *world)
{
    uint32_t done = 0;
    const uint32_t start = between(world, 0, 7);
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t which = (start + i) % 8u;
        struct sim_host *host = &world->host[which / 4u];
        if (which % 4u < host->shards && !chance(world, 120)) {
            done += sim_host_turn(world, host, which % 4u);
        }
    }
    return done;
}

static void
time_pass(struct sim_world *world, bool busy)
{
    uint64_t next_ns =
        LP_MIN(sim_host_next_ns(world, &world->host[0]), sim_host_next_ns(world, &world->host[1]));
    next_ns = LP_MIN(next_ns, lp_sim_wire_next_ns(world->wire));
    const uint64_t now_ns = world->clock.now_ns;
    const uint64_t step_ns = busy ? between(world, 0, 50) * 1000u : between(world, 1, 3000) * 1000u;
    /* Those who talk act between, so time does not run ahead of them. */
    const uint64_t to_ns = LP_MIN(LP_MAX(next_ns, now_ns + 1000u), now_ns + step_ns + 1000u);
    lp_sim_clock_set(&world->clock, to_ns);
    lp_sim_wire_advance(world->wire, to_ns);
}

static void
calm_down(struct sim_world *world)
{
    world->calm = true;
    *lp_sim_wire_faults(world->wire) = (struct lp_sim_wire_faults){0};
}

static void
rest(struct sim_world *world, uint8_t family)
{
    const uint64_t end_ns = world->clock.now_ns + REST_NS;
    const char *why = NULL;
    while (world->clock.now_ns < end_ns) {
        (void)turns(world);
        sim_talks_step(world, family); /* the last words of somebody who aborted may come late */
        uint64_t next_ns = LP_MIN(sim_host_next_ns(world, &world->host[0]),
                                  sim_host_next_ns(world, &world->host[1]));
        next_ns = LP_MIN(next_ns, lp_sim_wire_next_ns(world->wire));
        lp_sim_clock_set(&world->clock,
                         LP_MIN(LP_MAX(next_ns, world->clock.now_ns + 50000000u), end_ns));
        lp_sim_wire_advance(world->wire, world->clock.now_ns);
    }
    if (!sim_host_at_rest(&world->host[0], &why) || !sim_host_at_rest(&world->host[1], &why)) {
        world->broken = why;
    }
}

static void
frames_check(struct sim_world *world)
{
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t q = 0; q < world->host[i].shards; q++) {
            if (lp_sim_wire_lent(world->wire, i, q) > 0 && world->broken == NULL) {
                world->broken = "a frame did not go back to its device";
            }
        }
    }
}

struct outcome {
    const char *broken;
    uint64_t digest;
};

static struct outcome
play(uint64_t seed, bool verbose)
{
    static struct sim_world world;
    uint8_t family = 0;
    world_open(&world, seed, &family);
    const uint64_t began_ns = world.clock.now_ns;
    uint32_t steps = 0;
    while (world.broken == NULL && !sim_talks_over(&world)) {
        sim_talks_step(&world, family);
        time_pass(&world, turns(&world) > 0);
        if (!world.calm && world.clock.now_ns > began_ns + CALM_NS) {
            calm_down(&world);
        }
        if (world.clock.now_ns > began_ns + END_NS || steps++ > STEPS_MAX) {
            world.broken = "it does not come to an end";
            sim_talks_explain(&world);
        }
    }
    if (world.broken == NULL) {
        calm_down(&world);
        rest(&world, family);
    }
    if (verbose) {
        const struct lp_sim_wire_counts *counts = lp_sim_wire_counts(world.wire);
        (void)printf("seed %llu: %u connections, %u+%u shards, %.1f s, %llu frames, %llu lost%s\n",
                     (unsigned long long)seed, world.talk_count, world.host[0].shards,
                     world.host[1].shards, (double)(world.clock.now_ns - began_ns) / 1e9,
                     (unsigned long long)counts->sent, (unsigned long long)counts->lost,
                     world.small ? ", little memory" : "");
    }
    if (world.broken != NULL) {
        (void)printf("seed %llu, talk %d: %s\n", (unsigned long long)seed, (int)world.broken_talk,
                     world.broken);
        if (verbose) {
            sim_talks_explain(&world);
            sim_host_counters_print(&world.host[0]);
            sim_host_counters_print(&world.host[1]);
        }
    }
    sim_host_close(&world.host[0]);
    sim_host_close(&world.host[1]);
    frames_check(&world);
    const struct outcome outcome = {world.broken, world.digest ^ lp_sim_wire_digest(world.wire)};
    lp_sim_wire_destroy(world.wire);
    sim_talks_free(&world);
    return outcome;
}

static int
usage(void)
{
    (void)fprintf(
        stderr,
        "netsim [--from N] [--count K] [--once] [-v] | --seed N\n"
        "Our TCP/IP against itself over a bad wire: each seed twice, unless --once, and both "
        "runs have to agree.\n");
    return 2;
}

int
main(int argc, char **argv)
{
    uint64_t from = 1;
    uint64_t count = 20;
    bool once = false;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--once") == 0) {
            once = true;
        } else if (strcmp(argv[i], "-v") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--from") == 0 && more) {
            from = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--count") == 0 && more) {
            count = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            from = strtoull(argv[++i], NULL, 10);
            count = 1;
            verbose = true;
        } else {
            return usage();
        }
    }
    uint64_t failed = 0;
    for (uint64_t seed = from; seed < from + count; seed++) {
        const struct outcome first = play(seed, verbose);
        bool good = first.broken == NULL;
        if (good && !once && play(seed, false).digest != first.digest) {
            (void)printf("seed %llu: two runs differ\n", (unsigned long long)seed);
            good = false;
        }
        if (!good) {
            (void)printf("    again: netsim --seed %llu\n", (unsigned long long)seed);
            failed++;
        }
    }
    (void)printf("%llu seeds, %llu failed\n", (unsigned long long)count,
                 (unsigned long long)failed);
    return failed == 0 ? 0 : 1;
}
