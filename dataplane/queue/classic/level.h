/* SPDX-License-Identifier: Apache-2.0 */
/*
 * level.h - messages of one priority in their order, and the levels of a queue
 * that has priorities (C158).
 *
 * Ready messages are of two kinds: fresh ones, in a list, and returned ones,
 * in a heap by position.  Every returned message is older than every fresh
 * one, so the next message is the heap's least, or else the list's first.
 *
 *   Memory    one block for all levels above 0, made when a message first has one
 *   Runs on   the queue's home core
 */
#pragma once

#include "dataplane/queue/classic/heap.h"

struct classic_level {
    struct lp_list fresh;           /* lp_entry.link */
    struct lp_binary_heap returned; /* lp_entry.in_heap */
};

/* Levels 1 to `count`. */
struct classic_levels {
    uint32_t count;
    uint64_t ready[4]; /* a bit for each that has messages, level 1 first */
    struct classic_level level[];
};

static inline void
classic_level_init(struct classic_level *level)
{
    lp_list_init(&level->fresh);
    level->returned = (struct lp_binary_heap){NULL, 0};
}

static inline void
classic_level_add(struct classic_level *level, struct lp_entry *entry)
{
    lp_list_push_back(&level->fresh, &entry->link);
}

static inline void
classic_level_add_returned(struct classic_level *level, struct lp_entry *entry)
{
    classic_heap_push(&level->returned, entry);
}

static inline struct lp_entry *
classic_level_peek(const struct classic_level *level)
{
    if (level->returned.first) {
        return classic_heap_peek(&level->returned);
    }
    struct lp_list *first = level->fresh.next;
    return first == &level->fresh ? NULL : LP_LIST_ITEM(first, struct lp_entry, link);
}

static inline struct lp_entry *
classic_level_pop(struct classic_level *level)
{
    if (LP_UNLIKELY(level->returned.first != NULL)) {
        return classic_heap_pop(&level->returned);
    }
    struct lp_list *link = level->fresh.next;
    if (link == &level->fresh) {
        return NULL;
    }
    lp_list_unlink(link);
    return LP_LIST_ITEM(link, struct lp_entry, link);
}

/* NULL: no memory. */
struct classic_levels *classic_levels_make(struct lp_memory *memory, uint8_t count);

static inline const struct classic_level *
classic_levels_at(const struct classic_levels *levels, uint32_t level)
{
    return &levels->level[level - 1];
}

/* To the level that the entry says. */
void classic_levels_add(struct classic_levels *levels, struct lp_entry *entry);
void classic_levels_add_returned(struct classic_levels *levels, struct lp_entry *entry);
/* The highest level that has messages; 0: none has. */
uint32_t classic_levels_highest(const struct classic_levels *levels);
/* Its next message, taken off; NULL: none has any. */
struct lp_entry *classic_levels_pop(struct classic_levels *levels);
void classic_levels_check(const struct classic_levels *levels);
