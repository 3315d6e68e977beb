/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_plan.c - which queues a seed plays with, and what clients say to get
 * them.
 */
#include <inttypes.h>
#include <lepus/queue_settings.h>
#include <stdio.h>

#include "tests/sim/graph.h"
#include "tests/sim/say.h"

static uint32_t
below(struct graph *graph, uint32_t bound)
{
    return scene_below(graph->scene, bound);
}

static bool
chance(struct graph *graph, uint32_t feature, uint32_t percent)
{
    return (graph->features & feature) != 0 && below(graph, 100) < percent;
}

const char *
graph_queue_name(uint32_t queue, char *scratch)
{
    (void)snprintf(scratch, 24, "g%u", queue);
    return scratch;
}

uint32_t
graph_queue_of(struct lp_bytes name)
{
    const bool ours = name.size == 2 && name.data[0] == 'g' && name.data[1] >= '0' &&
                      name.data[1] < '0' + (int)BOOK_QUEUES_MAX;
    return ours ? (uint32_t)(name.data[1] - '0') : UINT32_MAX;
}

/* Where the dead go: one queue by the default exchange, some by a fanout, nowhere, or a missing
 * exchange. */
static void
plan_dead(struct graph *graph, uint32_t number, uint32_t variant)
{
    struct book_settings *it = &graph->book.queue[number].variant[variant];
    const uint32_t queues = graph->book.queues;
    it->dead = true;
    switch (below(graph, 8)) {
    case 0:
        (void)snprintf(it->exchange, sizeof(it->exchange), "x.gone");
        return;
    case 1:
    case 2:
    case 3: {
        const uint32_t to = below(graph, queues);
        it->has_key = true;
        it->targets = 1u << to;
        (void)graph_queue_name(to, it->key);
        return;
    }
    default:
        (void)snprintf(it->exchange, sizeof(it->exchange), "x.fan%u.%u", number, variant);
        it->targets =
            1u << below(graph, queues) | (below(graph, 3) == 0 ? 1u << below(graph, queues) : 0);
        it->has_key = below(graph, 2) == 0;
        if (it->has_key) {
            (void)snprintf(it->key, sizeof(it->key), "dead%u", number);
        }
        return;
    }
}

static void
plan_settings(struct graph *graph, uint32_t number, uint32_t variant)
{
    static const int64_t ttls[] = {0, 1, 20, 200, 2000};
    struct book_queue *queue = &graph->book.queue[number];
    struct book_settings *it = &queue->variant[variant];
    *it = (struct book_settings){
        .ttl_ms = BOOK_NONE, .max_length = BOOK_NONE, .max_bytes = BOOK_NONE};
    if (chance(graph, GRAPH_TTL, 50)) {
        it->ttl_ms = ttls[below(graph, LP_COUNT_OF(ttls))];
    }
    if (chance(graph, GRAPH_LIMIT, 60)) {
        const uint32_t kind = below(graph, 4);
        it->max_length = kind > 0 ? (int64_t)below(graph, 30) : BOOK_NONE;
        it->max_bytes = kind < 2 ? (int64_t)below(graph, 20000) : BOOK_NONE;
        it->overflow = (uint8_t)below(graph, queue->quorum ? 2 : 3);
    }
    if (chance(graph, GRAPH_DEAD, 80)) {
        plan_dead(graph, number, variant);
    }
}

static void
plan_queue(struct graph *graph, uint32_t number)
{
    struct book_queue *queue = &graph->book.queue[number];
    queue->max_priority = BOOK_NONE;
    queue->delivery_limit = BOOK_NONE;
    queue->quorum = chance(graph, GRAPH_QUORUM, 75);
    queue->sole = chance(graph, GRAPH_SOLE, 75);
    if (queue->quorum) {
        queue->delivery_limit = (int64_t)below(graph, 6);
    } else if (chance(graph, GRAPH_PRIORITY, 75)) {
        queue->max_priority = 1 + (int64_t)below(graph, BOOK_PRIORITIES_MAX - 1);
    }
    queue->by_policy = chance(graph, GRAPH_POLICY, 80);
    queue->certain = !queue->by_policy;
    queue->until_ns[0] = queue->certain ? UINT64_MAX : 0;
    queue->variants = queue->by_policy ? 1 + below(graph, BOOK_VARIANTS_MAX) : 1;
    for (uint32_t v = 0; v < queue->variants; v++) {
        plan_settings(graph, number, v);
    }
}

void
graph_plan(struct graph *graph)
{
    graph->book.queues = 2 + below(graph, BOOK_QUEUES_MAX - 2);
    for (uint32_t i = 0; i < graph->book.queues; i++) {
        plan_queue(graph, i);
    }
}

/* ---- saying it ---- */

static const char *const overflow_names[] = {"drop-head", "reject-publish", "reject-publish-dlx"};

static void
settings_arguments(struct lp_writer *table, const struct book_settings *settings)
{
    if (settings->ttl_ms != BOOK_NONE) {
        table_integer(table, "x-message-ttl", settings->ttl_ms);
    }
    if (settings->max_length != BOOK_NONE) {
        table_integer(table, "x-max-length", settings->max_length);
    }
    if (settings->max_bytes != BOOK_NONE) {
        table_integer(table, "x-max-length-bytes", settings->max_bytes);
    }
    if (settings->overflow != LP_OVERFLOW_DROP_HEAD) {
        table_text(table, "x-overflow", overflow_names[settings->overflow]);
    }
    if (settings->dead) {
        table_text(table, "x-dead-letter-exchange", settings->exchange);
    }
    if (settings->has_key) {
        table_text(table, "x-dead-letter-routing-key", settings->key);
    }
}

struct lp_bytes
graph_arguments(const struct book_queue *queue, uint8_t *scratch, uint32_t bytes)
{
    struct lp_writer table = lp_writer_of(scratch, bytes);
    if (queue->quorum) {
        table_text(&table, "x-queue-type", "quorum");
    }
    if (queue->delivery_limit != BOOK_NONE) {
        table_integer(&table, "x-delivery-limit", queue->delivery_limit);
    }
    if (queue->sole) {
        table_bool(&table, "x-single-active-consumer", true);
    }
    if (queue->max_priority != BOOK_NONE) {
        table_integer(&table, "x-max-priority", queue->max_priority);
    }
    if (!queue->by_policy) {
        settings_arguments(&table, &queue->variant[0]);
    }
    LP_ASSERT(!table.failed);
    return lp_writer_bytes(&table);
}

struct text {
    char *at;
    size_t room;
    const char *separator;
};

static void
text_number(struct text *text, const char *name, int64_t value)
{
    if (value != BOOK_NONE) {
        const int used =
            snprintf(text->at, text->room, "%s\\\"%s\\\":%" PRId64, text->separator, name, value);
        LP_ASSERT(used > 0 && (size_t)used < text->room);
        text->at += used;
        text->room -= (size_t)used;
        text->separator = ",";
    }
}

static void
text_text(struct text *text, const char *name, const char *value)
{
    const int used =
        snprintf(text->at, text->room, "%s\\\"%s\\\":\\\"%s\\\"", text->separator, name, value);
    LP_ASSERT(used > 0 && (size_t)used < text->room);
    text->at += used;
    text->room -= (size_t)used;
    text->separator = ",";
}

/* Quotes are escaped: the definition is a text in the request's JSON. */
void
graph_policy(const struct book_settings *settings, char *text, size_t bytes)
{
    struct text it = {text, bytes, "{"};
    text_number(&it, "message-ttl", settings->ttl_ms);
    text_number(&it, "max-length", settings->max_length);
    text_number(&it, "max-length-bytes", settings->max_bytes);
    if (settings->overflow != LP_OVERFLOW_DROP_HEAD) {
        text_text(&it, "overflow", overflow_names[settings->overflow]);
    }
    if (settings->dead) {
        text_text(&it, "dead-letter-exchange", settings->exchange);
    }
    if (settings->has_key) {
        text_text(&it, "dead-letter-routing-key", settings->key);
    }
    LP_ASSERT(it.room > 1);
    (void)memcpy(it.at, it.separator[0] == '{' ? "" : "}", it.separator[0] == '{' ? 1 : 2);
}
