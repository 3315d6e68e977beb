/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor.c - an actor's connections: making them, losing them, and what that
 * means for the ledger.
 */
#include "tests/sim/actor.h"

#include <stdlib.h>

static void actor_dead(struct sim_client *client);

static const struct sim_client_ops actor_ops = {
    .opened = actor_opened,
    .method = actor_method,
    .content = actor_content,
    .dead = actor_dead,
};

void
actor_add(struct workload *load, enum actor_role role)
{
    LP_ASSERT(load->actor_count < WORKLOAD_ACTORS_MAX);
    struct actor *actor = &load->actor[load->actor_count];
    actor->load = load;
    actor->role = role;
    actor->index = load->actor_count++;
    actor->lives = role == ACTOR_DRAINER ? load->shard_count + 1
                                         : (uint32_t)lp_sim_random_between(&load->random, 1, 6);
    sim_client_init(&actor->client, &actor_ops, actor);
}

/* The connection is gone.  In order: what it acknowledged is certain.  Otherwise it may come again.
 */
static void
actor_dead(struct sim_client *client)
{
    struct actor *actor = client->user;
    struct workload *load = actor->load;
    /* Nothing in this workload gives the broker a reason to close a connection. */
    LP_ASSERT(client->close_code == 0);
    if (client->closed_in_order) {
        for (uint32_t i = 0; i < actor->acked_count; i++) {
            const struct actor_delivery *one = &actor->acked[i];
            const struct ledger_delivery settled = {
                .queue = one->queue, .publisher = one->publisher, .sequence = one->sequence};
            ledger_settled(&load->ledger, &settled, load->now_ns);
        }
    } else if (actor->no_ack) {
        load->ledger.lossy |= actor->queues;
    }
    actor->open_count = 0;
    actor->acked_count = 0;
    if (actor->last_first) {
        memset(actor->last_first, 0,
               (size_t)actor->last_room * LEDGER_QUEUES_MAX * sizeof(*actor->last_first));
    }
    actor->ready = false;
    actor->waiting = false;
}

static void
actor_connect(struct actor *actor)
{
    struct workload *load = actor->load;
    static const uint32_t frame_sizes[] = {4096, 4096, 8192, 131072};
    uint32_t shard = (uint32_t)lp_sim_random_below(&load->random, load->shard_count);
    if (!load->set_up) {
        shard = (uint32_t)(load->connects %
                           load->shard_count); /* queues live where they are declared */
    }
    const uint32_t pick = (uint32_t)lp_sim_random_below(&load->random, 4);
    actor->lives--;
    actor->ready = false;
    actor->waiting = false;
    actor->no_ack = false;
    actor->queues = 0;
    actor->setup_step = 0;
    actor->published = 0;
    actor->unconfirmed = 0;
    actor->confirmed_upto = 0;
    actor->todo = (uint32_t)lp_sim_random_between(&load->random, 20, 300);
    load->connects++;
    actor->connected_ns = load->now_ns;
    sim_client_connect(&actor->client, load->net, shard, frame_sizes[pick]);
}

/* Now and then the world is unkind. */
static bool
actor_accident(struct actor *actor)
{
    struct workload *load = actor->load;
    if (load->calm || actor->role == ACTOR_DRAINER) {
        return false;
    }
    if (lp_sim_random_below(&load->random, 4000) == 0) {
        load->resets++;
        sim_client_reset(&actor->client);
        return true;
    }
    if (actor->client.state == SIM_CLIENT_OPEN && lp_sim_random_below(&load->random, 500) == 0) {
        actor->client.stalled = true; /* a slow reader */
        actor->stall_until_ns =
            load->now_ns + lp_sim_random_between(&load->random, 1000000, 200000000);
    }
    return false;
}

bool
actor_act(struct actor *actor)
{
    struct workload *load = actor->load;
    struct sim_client *client = &actor->client;
    if (client->far == LP_HANDLE_NONE) {
        if (actor->lives == 0 || (!load->set_up && actor->role != ACTOR_DRAINER)) {
            return false;
        }
        actor_connect(actor);
        return true;
    }
    if (client->stalled && load->now_ns >= actor->stall_until_ns) {
        client->stalled = false;
    }
    if (actor_accident(actor)) {
        return true;
    }
    bool any = sim_client_step(client);
    if (client->far != LP_HANDLE_NONE && client->state == SIM_CLIENT_OPEN && actor->ready &&
        !actor->waiting) {
        any |= actor_work(actor);
    }
    return any;
}
