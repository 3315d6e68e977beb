/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workload.c - what actors do when it is their turn.
 *
 * Topology (the drainer's twin sets it up first): queues q0..qN-1 on random
 * shards; x.direct binds q_i by key "k<i>" and even ones by "even"; x.fanout
 * binds all; x.topic binds q_i by "a.<i>.#" and multiples of three by "*.third.*".
 */
#include "tests/sim/workload.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/actor.h"

void
workload_init(struct workload *load, struct lp_sim_net *net, uint32_t shard_count, uint64_t seed)
{
    memset(load, 0, sizeof(*load));
    lp_sim_random_seed(&load->random, seed);
    ledger_init(&load->ledger);
    load->net = net;
    load->shard_count = shard_count;
    load->queue_count = (uint32_t)lp_sim_random_between(&load->random, 2, 8);
    const uint32_t publishers = (uint32_t)lp_sim_random_between(&load->random, 1, 5);
    const uint32_t consumers = (uint32_t)lp_sim_random_between(&load->random, 1, 6);
    const uint32_t passers = (uint32_t)lp_sim_random_between(&load->random, 0, 3);
    actor_add(load, ACTOR_DRAINER); /* sets up first, drains last */
    for (uint32_t i = 0; i < publishers; i++) {
        actor_add(load, ACTOR_PUBLISHER);
    }
    for (uint32_t i = 0; i < consumers; i++) {
        actor_add(load, ACTOR_CONSUMER);
    }
    for (uint32_t i = 0; i < passers; i++) {
        actor_add(load, ACTOR_PASSER);
    }
}

void
workload_fini(struct workload *load)
{
    for (uint32_t i = 0; i < load->actor_count; i++) {
        sim_client_fini(&load->actor[i].client);
        free(load->actor[i].open);
        free(load->actor[i].acked);
        free(load->actor[i].last_first);
    }
    ledger_fini(&load->ledger);
}

bool
workload_step(struct workload *load, uint64_t now_ns)
{
    load->now_ns = now_ns;
    if (!load->set_up) {
        return actor_act(&load->actor[0]);
    }
    const uint32_t pick = (uint32_t)lp_sim_random_below(&load->random, load->actor_count);
    return actor_act(&load->actor[pick]);
}

bool
workload_done(const struct workload *load)
{
    for (uint32_t i = 1; i < load->actor_count; i++) {
        const struct actor *actor = &load->actor[i];
        const bool away = actor->client.far == LP_HANDLE_NONE;
        if (actor->role == ACTOR_PUBLISHER && (actor->lives > 0 || !away)) {
            return false;
        }
    }
    return load->set_up;
}

void
workload_drain(struct workload *load)
{
    load->calm = true;
    for (uint32_t i = 1; i < load->actor_count; i++) {
        load->actor[i].lives = 0;
        load->actor[i].stall_until_ns = 0;
    }
    load->actor[0].lives = 1;
}

bool
workload_drained(const struct workload *load)
{
    for (uint32_t i = 0; i < load->actor_count; i++) {
        if (load->actor[i].client.far != LP_HANDLE_NONE || load->actor[i].lives > 0) {
            return false;
        }
    }
    return true;
}
