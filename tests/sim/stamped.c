/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamped.c - another scenario, while the stamps of its queues go on and off.
 *
 * Orders are given to shards one by one and not by the control process, so
 * there are always some that know and some that do not yet.  The other
 * scenario's checks hold as ever: being measured changes nothing.  Beside
 * them: no message reached a stage before the one that comes first, and
 * histograms are of what was counted (lp_shard_check() looks into them).
 */
#include "tests/sim/scenario_list.h"

#include <stdlib.h>

#include "dataplane/broker/queue.h"
#include "dataplane/shard/shard_private.h"
#include "tests/sim/world.h"

#define SWITCH_ONE_IN 40u

struct stamped {
    struct scene *scene;
    const struct scenario *inner;
    void *play;
    uint64_t measured; /* whenever somebody looked */
    uint64_t refused;  /* for lack of memory, or places */
};

static struct lp_broker *
broker_of(const struct stamped *stamped, uint32_t shard)
{
    return &stamped->scene->node->shard[shard]->broker;
}

static void
switch_at(struct stamped *stamped, uint32_t shard, uint32_t queue_id, bool on)
{
    struct lp_broker *broker = broker_of(stamped, shard);
    struct lp_queue_ref *ref = lp_topology_queue_by_id(&broker->topology, queue_id);
    if (ref && on) {
        stamped->refused += !lp_stamps_on(broker, ref);
    } else if (ref) {
        lp_stamps_off(broker, ref);
    }
}

/* Any queue, mostly on, and mostly at all shards. */
static void
switch_one(struct stamped *stamped)
{
    struct scene *scene = stamped->scene;
    const struct lp_broker *home = broker_of(stamped, scene_below(scene, scene->shard_count));
    uint32_t cursor = home->queues.made > 0 ? scene_below(scene, home->queues.made) : 0;
    lp_handle handle;
    const struct lp_queue *queue = lp_pool_next(&home->queues, &cursor, &handle);
    const bool on = scene_below(scene, 4) > 0;
    const bool everywhere = scene_below(scene, 4) > 0;
    for (uint32_t i = 0; queue && i < scene->shard_count; i++) {
        if (everywhere || scene_below(scene, scene->shard_count) == 0) {
            switch_at(stamped, i, queue->id, on);
        }
    }
}

static void
look(struct stamped *stamped)
{
    for (uint32_t i = 0; i < stamped->scene->shard_count; i++) {
        const struct lp_stamping *stamping = &broker_of(stamped, i)->stamping;
        LP_ASSERT(stamping->backwards == 0);
        for (uint32_t k = 0; k < LP_STAMPED_QUEUES_MAX; k++) {
            const struct lp_stamps *stamps = stamping->queue[k];
            stamped->measured += stamps ? stamps->measured : 0;
        }
    }
}

static void *
stamped_open(struct scene *scene, uint32_t flavour)
{
    struct stamped *stamped = calloc(1, sizeof(*stamped));
    LP_ASSERT(stamped);
    stamped->scene = scene;
    stamped->inner = flavour == 0 ? &scenario_plain : &scenario_graph;
    stamped->play = stamped->inner->open(scene, stamped->inner->flavour);
    return stamped;
}

static bool
stamped_step(void *self)
{
    struct stamped *stamped = self;
    if (scene_below(stamped->scene, SWITCH_ONE_IN) == 0) {
        look(stamped);
        switch_one(stamped);
    }
    return stamped->inner->step(stamped->play);
}

static bool
stamped_done(const void *self)
{
    const struct stamped *stamped = self;
    return stamped->inner->done(stamped->play);
}

static void
stamped_drain(void *self)
{
    struct stamped *stamped = self;
    stamped->inner->drain(stamped->play);
}

static bool
stamped_drained(const void *self)
{
    const struct stamped *stamped = self;
    return stamped->inner->drained(stamped->play);
}

static void
stamped_finish(void *self)
{
    struct stamped *stamped = self;
    look(stamped);
    scene_note(stamped->scene, 77, stamped->measured, 0);
    stamped->inner->finish(stamped->play);
    LP_ASSERT(stamped->measured > 0 || stamped->refused > 0 || stamped->scene->delivered < 100);
}

static void
stamped_close(void *self)
{
    struct stamped *stamped = self;
    stamped->inner->close(stamped->play);
    free(stamped);
}

#define STAMPED(which, of)                             \
    const struct scenario scenario_stamped_##which = { \
        .name = "stamped_" #which,                     \
        .flavour = (of),                               \
        .open = stamped_open,                          \
        .step = stamped_step,                          \
        .done = stamped_done,                          \
        .drain = stamped_drain,                        \
        .drained = stamped_drained,                    \
        .finish = stamped_finish,                      \
        .close = stamped_close,                        \
    }

STAMPED(plain, 0);
STAMPED(graph, 1);
