/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain.c - the workload of workload.h as a scenario: queues without arguments.
 */
#include "tests/sim/scenario_list.h"

#include <stdlib.h>

#include "tests/sim/workload.h"

struct plain {
    struct scene *scene;
    struct workload load;
};

static void *
plain_open(struct scene *scene, uint32_t flavour)
{
    (void)flavour;
    struct plain *plain = calloc(1, sizeof(*plain));
    LP_ASSERT(plain);
    plain->scene = scene;
    workload_init(&plain->load, scene->net, scene->shard_count, lp_sim_random_next(&scene->random));
    return plain;
}

static bool
plain_step(void *self)
{
    struct plain *plain = self;
    const bool any = workload_step(&plain->load, plain->scene->now_ns);
    plain->scene->set_up = plain->load.set_up;
    return any;
}

static bool
plain_done(const void *self)
{
    const struct plain *plain = self;
    return workload_done(&plain->load);
}

static void
plain_drain(void *self)
{
    struct plain *plain = self;
    workload_drain(&plain->load);
}

static bool
plain_drained(const void *self)
{
    const struct plain *plain = self;
    return workload_drained(&plain->load);
}

static void
plain_finish(void *self)
{
    struct plain *plain = self;
    struct scene *scene = plain->scene;
    const struct ledger *ledger = &plain->load.ledger;
    ledger_close(ledger);
    for (uint32_t i = 0; i < ledger->count; i++) {
        scene->published += ledger->publisher[i].count;
    }
    scene->confirmed += ledger->confirmed;
    scene->delivered += ledger->delivered;
    scene->redelivered += ledger->redelivered;
    scene->connects += plain->load.connects;
    scene->resets += plain->load.resets;
    scene->digest = ledger->digest;
}

static void
plain_close(void *self)
{
    struct plain *plain = self;
    workload_fini(&plain->load);
    free(plain);
}

const struct scenario scenario_plain = {
    .name = "plain",
    .weight = 6,
    .open = plain_open,
    .step = plain_step,
    .done = plain_done,
    .drain = plain_drain,
    .drained = plain_drained,
    .finish = plain_finish,
    .close = plain_close,
};
