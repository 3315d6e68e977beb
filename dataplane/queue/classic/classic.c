/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classic.c - the classic queue: by priority, then in the order of arrival; what
 * comes back goes to its old place (C130).
 */
#include "dataplane/queue/classic/level.h"
#include "dataplane/queue/engine/engine.h"

struct classic_queue {
    struct lp_engine engine;
    struct classic_level level;    /* of messages without a priority */
    struct classic_levels *levels; /* of the others; NULL: there was none yet */
};

static struct classic_queue *
classic_of(struct lp_engine *engine)
{
    return LP_CONTAINER_OF(engine, struct classic_queue, engine);
}

static const struct classic_queue *
classic_of_const(const struct lp_engine *engine)
{
    return (const struct classic_queue *)(const void *)((const char *)engine -
                                                        offsetof(struct classic_queue, engine));
}

/* ---- order ---- */

/* C158: above the most that the queue has is the most. */
static bool
classic_level_for(struct lp_engine *engine, uint64_t priority, uint8_t *ret_level)
{
    struct classic_queue *classic = classic_of(engine);
    const uint8_t level = (uint8_t)LP_MIN(priority, engine->base.settings.max_priority);
    if (level > 0 && !classic->levels) {
        classic->levels =
            classic_levels_make(engine->base.broker->memory, engine->base.settings.max_priority);
        if (!classic->levels) {
            return false;
        }
    }
    *ret_level = level == 0 ? 0 : (uint8_t)LP_MIN((uint32_t)level, classic->levels->count);
    return true;
}

static void
classic_add(struct lp_engine *engine, struct lp_entry *entry)
{
    struct classic_queue *classic = classic_of(engine);
    if (LP_UNLIKELY(entry->level > 0)) {
        classic_levels_add(classic->levels, entry);
    } else {
        classic_level_add(&classic->level, entry);
    }
}

static void
classic_add_returned(struct lp_engine *engine, struct lp_entry *entry)
{
    struct classic_queue *classic = classic_of(engine);
    if (LP_UNLIKELY(entry->level > 0)) {
        classic_levels_add_returned(classic->levels, entry);
    } else {
        classic_level_add_returned(&classic->level, entry);
    }
}

static struct lp_entry *
classic_peek(const struct lp_engine *engine)
{
    const struct classic_queue *classic = classic_of_const(engine);
    const uint32_t level = classic->levels ? classic_levels_highest(classic->levels) : 0;
    return classic_level_peek(level > 0 ? classic_levels_at(classic->levels, level)
                                        : &classic->level);
}

static struct lp_entry *
classic_pop(struct lp_engine *engine)
{
    struct classic_queue *classic = classic_of(engine);
    if (LP_UNLIKELY(classic->levels != NULL)) {
        struct lp_entry *entry = classic_levels_pop(classic->levels);
        if (entry) {
            return entry;
        }
    }
    return classic_level_pop(&classic->level);
}

static struct lp_list *
classic_fresh(struct lp_engine *engine, uint32_t level)
{
    struct classic_queue *classic = classic_of(engine);
    if (level == 0) {
        return &classic->level.fresh;
    }
    const bool there = classic->levels && level <= classic->levels->count;
    return there ? &classic->levels->level[level - 1].fresh : NULL;
}

static uint8_t
classic_level_again(struct lp_engine *engine, uint8_t level)
{
    uint8_t again = 0; /* without memory for its own */
    (void)classic_level_for(engine, level, &again);
    return again;
}

static void
classic_visit_returned(struct lp_engine *engine,
                       void (*each)(void *context, struct lp_entry *entry), void *context)
{
    struct classic_queue *classic = classic_of(engine);
    classic_heap_visit(&classic->level.returned, each, context);
    for (uint32_t i = 0; classic->levels && i < classic->levels->count; i++) {
        classic_heap_visit(&classic->levels->level[i].returned, each, context);
    }
}

static void
classic_order_check(const struct lp_engine *engine)
{
    const struct classic_queue *classic = classic_of_const(engine);
    if (classic->levels) {
        classic_levels_check(classic->levels);
    }
}

static const struct lp_engine_order classic_order = {
    .level_for = classic_level_for,
    .add = classic_add,
    .add_returned = classic_add_returned,
    .peek = classic_peek,
    .pop = classic_pop,
    .fresh = classic_fresh,
    .level_again = classic_level_again,
    .visit_returned = classic_visit_returned,
    .check = classic_order_check,
};

/* ---- the type ---- */

static const struct lp_engine_rules classic_rules = {0};

static bool
classic_open(struct lp_queue *queue)
{
    struct lp_engine *engine = engine_of(queue);
    lp_engine_open(engine, &classic_order, &classic_rules);
    classic_level_init(&classic_of(engine)->level);
    return true;
}

static void
classic_close(struct lp_queue *queue)
{
    struct classic_queue *classic = classic_of(engine_of(queue));
    lp_engine_close(queue);
    if (classic->levels) {
        void *block = classic->levels;
        lp_memory_release(queue->broker->memory, &block);
        classic->levels = NULL;
    }
}

const struct lp_queue_type lp_queue_type_classic = {
    .name = "classic",
    .queue_bytes = sizeof(struct classic_queue),
    .open = classic_open,
    .configure = lp_engine_configure,
    .close = classic_close,
    .handle = lp_engine_handle,
    .dispatch = lp_engine_dispatch,
    .counts = lp_engine_counts,
    .purge = lp_engine_purge,
    .check = lp_engine_check,
    .audit = lp_engine_audit,
    .visit = lp_engine_visit,
    .read = lp_engine_read,
    .spill = lp_engine_spill,
    .move = lp_engine_move,
};
