/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph.c - the scenarios over the graph: who plays, and when it is over.
 */
#include "tests/sim/graph.h"

#include <stdlib.h>

#include "tests/sim/scenario_list.h"

/* Of a node's steps; a seed has some hundred thousand. */
#define CRASH_ONE_IN 15000u

static void *
graph_open(struct scene *scene, uint32_t flavour)
{
    struct graph *graph = calloc(1, sizeof(*graph));
    LP_ASSERT(graph);
    graph->scene = scene;
    graph->features = flavour;
    if (flavour & GRAPH_MIX) {
        graph->features |=
            scene_below(scene, GRAPH_MIXED + 1) | scene_below(scene, GRAPH_MIXED + 1);
    }
    book_init(&graph->book);
    graph->book.wall_offset_ns = scene->wall_offset_ns;
    graph->book.kept = true;
    graph->book.shards = scene->shard_count;
    graph_plan(graph);
    graph->publishers = 1 + scene_below(scene, 4);
    graph->consumers = scene_below(scene, 7);
    graph_keeper_init(&graph->keeper, graph);
    for (uint32_t i = 0; i < graph->publishers; i++) {
        graph_publisher_init(&graph->publisher[i], graph);
    }
    for (uint32_t i = 0; i < graph->consumers; i++) {
        graph_consumer_init(&graph->consumer[i], graph);
    }
    return graph;
}

static void
graph_close(void *self)
{
    struct graph *graph = self;
    pilot_fini(&graph->keeper.pilot);
    book_order_fini(&graph->keeper.order);
    for (uint32_t i = 0; i < graph->publishers; i++) {
        pilot_fini(&graph->publisher[i].pilot);
    }
    for (uint32_t i = 0; i < graph->consumers; i++) {
        graph_consumer_fini(&graph->consumer[i]);
    }
    book_fini(&graph->book);
    free(graph);
}

static bool
graph_step(void *self)
{
    struct graph *graph = self;
    struct scene *scene = graph->scene;
    graph->book.now_ns = scene->now_ns;
    if (graph->deaths != scene->deaths) {
        graph->deaths = scene->deaths;
        book_crash(&graph->book);
    }
    if (!scene->set_up) {
        return pilot_act(&graph->keeper.pilot);
    }
    uint32_t pick = scene_below(scene, 1 + graph->publishers + graph->consumers);
    if (pick == 0) {
        return pilot_act(&graph->keeper.pilot);
    }
    pick--;
    return pilot_act(pick < graph->publishers ? &graph->publisher[pick].pilot
                                              : &graph->consumer[pick - graph->publishers].pilot);
}

static bool
graph_done(const void *self)
{
    const struct graph *graph = self;
    for (uint32_t i = 0; i < graph->publishers; i++) {
        const struct pilot *pilot = &graph->publisher[i].pilot;
        if (pilot->lives > 0 || !pilot_away(pilot)) {
            return false;
        }
    }
    return true;
}

static void
graph_drain(void *self)
{
    struct graph *graph = self;
    graph->draining = true;
    for (uint32_t i = 0; i < graph->publishers; i++) {
        graph->publisher[i].pilot.lives = 0;
        graph->publisher[i].pilot.pause_until_ns = 0;
    }
    for (uint32_t i = 0; i < graph->consumers; i++) {
        graph->consumer[i].pilot.lives = 0;
        graph->consumer[i].pilot.pause_until_ns = 0;
    }
}

static bool
graph_drained(const void *self)
{
    const struct graph *graph = self;
    return graph_keeper_drained(&graph->keeper);
}

static void
graph_finish(void *self)
{
    struct graph *graph = self;
    struct scene *scene = graph->scene;
    book_close(&graph->book);
    for (uint32_t i = 0; i < graph->book.publishers; i++) {
        scene->published += graph->book.publisher[i].count;
    }
    scene->confirmed += graph->book.confirmed;
    scene->delivered += graph->book.delivered;
    scene->redelivered += graph->book.redelivered;
    scene_note(scene, 9, graph->book.deaths, graph->book.refused);
}

/* Of transient messages: a few of them are too many. */
#define BACKLOG_BYTES 2048u

#define GRAPH(identifier, text, often, features)                           \
    const struct scenario identifier = {                                   \
        .name = (text),                                                    \
        .weight = (often),                                                 \
        .flavour = (features),                                             \
        .disk = ((features)&GRAPH_CRASH) != 0,                             \
        .backlog_bytes = ((features)&GRAPH_TRANSIENT) ? BACKLOG_BYTES : 0, \
        .deaths = ((features)&GRAPH_CRASH) ? CRASH_ONE_IN : 0,             \
        .open = graph_open,                                                \
        .step = graph_step,                                                \
        .done = graph_done,                                                \
        .drain = graph_drain,                                              \
        .drained = graph_drained,                                          \
        .finish = graph_finish,                                            \
        .close = graph_close,                                              \
    }

GRAPH(scenario_bare, "bare", 1, GRAPH_PURGE);
GRAPH(scenario_expiry, "expiry", 2, GRAPH_TTL | GRAPH_EXPIRATION | GRAPH_PURGE);
GRAPH(scenario_lengths, "lengths", 2, GRAPH_LIMIT | GRAPH_PURGE);
GRAPH(scenario_letters, "letters", 2, GRAPH_DEAD);
GRAPH(scenario_ttl, "ttl", 2, GRAPH_TTL | GRAPH_EXPIRATION | GRAPH_DEAD);
GRAPH(scenario_limits, "limits", 2, GRAPH_LIMIT | GRAPH_DEAD);
GRAPH(scenario_priorities, "priorities", 2, GRAPH_PRIORITY);
GRAPH(scenario_sole, "sole", 2, GRAPH_SOLE);
GRAPH(scenario_quorum, "quorum", 2, GRAPH_QUORUM | GRAPH_DEAD | GRAPH_SOLE);
GRAPH(scenario_tx, "tx", 2, GRAPH_TX);
GRAPH(scenario_copies, "copies", 1, GRAPH_CC);
GRAPH(scenario_policies, "policies", 3,
      GRAPH_POLICY | GRAPH_TTL | GRAPH_LIMIT | GRAPH_DEAD | GRAPH_EXPIRATION);
GRAPH(scenario_graph, "graph", 4,
      GRAPH_DEAD | GRAPH_TTL | GRAPH_EXPIRATION | GRAPH_LIMIT | GRAPH_PRIORITY | GRAPH_SOLE |
          GRAPH_TX | GRAPH_CC | GRAPH_POLICY | GRAPH_PURGE | GRAPH_QUORUM);
GRAPH(scenario_durable, "durable", 0,
      GRAPH_CRASH | GRAPH_TX | GRAPH_PURGE | GRAPH_QUORUM | GRAPH_CC);
GRAPH(scenario_durable_letters, "durable_letters", 0,
      GRAPH_CRASH | GRAPH_DEAD | GRAPH_TTL | GRAPH_EXPIRATION | GRAPH_LIMIT | GRAPH_QUORUM);
GRAPH(scenario_transient, "transient", 0,
      GRAPH_CRASH | GRAPH_TRANSIENT | GRAPH_TX | GRAPH_PURGE | GRAPH_CC);
GRAPH(scenario_transient_letters, "transient_letters", 0,
      GRAPH_CRASH | GRAPH_TRANSIENT | GRAPH_DEAD | GRAPH_TTL | GRAPH_EXPIRATION);
GRAPH(scenario_mix, "mix", 0, GRAPH_CRASH | GRAPH_MIX);
GRAPH(scenario_mix_transient, "mix_transient", 0, GRAPH_CRASH | GRAPH_TRANSIENT | GRAPH_MIX);
