/* SPDX-License-Identifier: Apache-2.0 */
/*
 * level.c - the levels of a classic queue that has priorities.
 */
#include "dataplane/queue/classic/level.h"

#include <string.h>

struct classic_levels *
classic_levels_make(struct lp_memory *memory, uint8_t count)
{
    struct classic_levels *levels = lp_memory_alloc(
        memory, sizeof(struct classic_levels) + count * sizeof(struct classic_level));
    if (!levels) {
        return NULL;
    }
    levels->count = count;
    memset(levels->ready, 0, sizeof(levels->ready));
    for (uint32_t i = 0; i < count; i++) {
        classic_level_init(&levels->level[i]);
    }
    return levels;
}

/* A level that gets a message. */
static struct classic_level *
levels_use(struct classic_levels *levels, uint8_t level)
{
    const uint32_t index = level - 1u;
    LP_ASSERT(index < levels->count);
    levels->ready[index / 64] |= 1ull << (index % 64);
    return &levels->level[index];
}

void
classic_levels_add(struct classic_levels *levels, struct lp_entry *entry)
{
    classic_level_add(levels_use(levels, entry->level), entry);
}

void
classic_levels_add_returned(struct classic_levels *levels, struct lp_entry *entry)
{
    classic_level_add_returned(levels_use(levels, entry->level), entry);
}

uint32_t
classic_levels_highest(const struct classic_levels *levels)
{
    for (uint32_t word = LP_COUNT_OF(levels->ready); word > 0; word--) {
        const uint64_t bits = levels->ready[word - 1];
        if (bits != 0) {
            return word * 64 - (uint32_t)__builtin_clzll(bits);
        }
    }
    return 0;
}

struct lp_entry *
classic_levels_pop(struct classic_levels *levels)
{
    const uint32_t highest = classic_levels_highest(levels);
    if (highest == 0) {
        return NULL;
    }
    const uint32_t index = highest - 1;
    struct classic_level *level = &levels->level[index];
    struct lp_entry *entry = classic_level_pop(level);
    LP_ASSERT(entry && entry->level == highest);
    if (!classic_level_peek(level)) {
        levels->ready[index / 64] &= ~(1ull << (index % 64));
    }
    return entry;
}

void
classic_levels_check(const struct classic_levels *levels)
{
    for (uint32_t i = 0; i < levels->count; i++) {
        const struct lp_entry *entry = classic_level_peek(&levels->level[i]);
        LP_ASSERT((entry != NULL) == ((levels->ready[i / 64] >> (i % 64) & 1) != 0));
        LP_ASSERT(!entry || entry->level == i + 1);
    }
}
