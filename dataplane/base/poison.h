/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poison.h - tell AddressSanitizer which bytes of our own slabs are nobody's.
 *
 * Without it a use after release would go unseen: the sanitizer knows only
 * about malloc.  In other builds everything here is nothing.
 *
 *   Runs on   any
 */
#pragma once

#include <lepus/base.h>

#if defined(__SANITIZE_ADDRESS__)
#define LP_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LP_POISON 1
#endif
#endif

#ifdef LP_POISON
#include <sanitizer/asan_interface.h>

/* For the allocator's own reads of what it poisoned (links of free blocks). */
#define LP_POISON_EXEMPT __attribute__((no_sanitize_address, noinline))
#else
#define LP_POISON_EXEMPT
#endif

/* Any access to these bytes is a bug from now on. */
static inline void
lp_poison(const void *data, size_t bytes)
{
#ifdef LP_POISON
    __asan_poison_memory_region(data, bytes);
#else
    (void)data;
    (void)bytes;
#endif
}

static inline void
lp_unpoison(const void *data, size_t bytes)
{
#ifdef LP_POISON
    __asan_unpoison_memory_region(data, bytes);
#else
    (void)data;
    (void)bytes;
#endif
}
