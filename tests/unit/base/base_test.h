/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base_test.h - what the tests of dataplane/base share: cmocka with what it
 * needs before it, a seeded generator, a reservation.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <lepus/base.h>

#include "dataplane/base/memory.h"
#include "tests/lib/panic.h"

/* SplitMix64: any seed will do, zero too. */
struct random {
    uint64_t state;
};

static inline uint64_t
random_next(struct random *random)
{
    uint64_t x = random->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 0 <= result < limit */
static inline uint32_t
random_below(struct random *random, uint32_t limit)
{
    return (uint32_t)(random_next(random) % limit);
}

struct arena {
    void *base;
    struct lp_memory *memory;
};

static inline void
arena_init(struct arena *arena, uint64_t bytes)
{
    arena->base = aligned_alloc(LP_SPAN_BYTES, bytes);
    assert_non_null(arena->base);
    memset(arena->base, 0, bytes);
    assert_int_equal(lp_memory_init_boot(arena->base, bytes, bytes / 2, &arena->memory), LP_OK);
}

/* Everything must have been given back. */
static inline void
arena_fini(struct arena *arena)
{
    lp_memory_check(arena->memory);
    assert_int_equal(lp_memory_used_bytes(arena->memory), 0);
    lp_memory_fini(&arena->memory);
    free(arena->base);
}

/* Take all that is left, so that the next allocation of any size fails; gives a chain to release.
 */
static inline void *
arena_exhaust(struct arena *arena)
{
    void *chain = NULL;
    for (uint64_t bytes = LP_SPAN_BYTES; bytes >= 64; bytes /= 2) {
        for (uint32_t three_quarters = 0; three_quarters < 2; three_quarters++) {
            const uint64_t size = LP_MAX(bytes - three_quarters * bytes / 4, 64);
            void **block;
            while ((block = lp_memory_alloc(arena->memory, size)) != NULL) {
                *block = chain;
                chain = block;
            }
        }
    }
    return chain;
}

static inline void
arena_relax(struct arena *arena, void *chain)
{
    while (chain != NULL) {
        void *block = chain;
        chain = *(void **)block;
        lp_memory_release(arena->memory, &block);
    }
}
