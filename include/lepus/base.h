/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h - what every file of Lepus may use: assertions, attributes, handles.
 *
 *   Runs on   any
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define LP_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define LP_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

#define LP_CACHE_LINE_BYTES 64
/* Two lines: adjacent-line prefetch makes neighbours share fate. */
#define LP_PAIR_BYTES 128

#define LP_MUST_CHECK __attribute__((warn_unused_result))
#define LP_COLD       __attribute__((cold, noinline))
/* On the path of messages: worth a copy in each caller, which then knows the constants. */
#define LP_HOT_INLINE inline __attribute__((always_inline))
#define LP_NORETURN   __attribute__((noreturn))

#define LP_LIKELY(x)   __builtin_expect(!!(x), 1)
#define LP_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define LP_MIN(a, b)       ((a) < (b) ? (a) : (b))
#define LP_MAX(a, b)       ((a) > (b) ? (a) : (b))
#define LP_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of `type` whose `member` is at `ptr`. */
#define LP_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Ends the process with a report.  Each program provides it once (drivers/host, control/base,
 * tests/lib). */
LP_COLD LP_NORETURN void lp_panic(const char *expr, const char *file, int line);

/* Always on.  For our own bugs only: never for what a peer, a disk or an operator can cause. */
#define LP_ASSERT(expr)                          \
    do {                                         \
        if (LP_UNLIKELY(!(expr))) {              \
            lp_panic(#expr, __FILE__, __LINE__); \
        }                                        \
    } while (0)

/* For checks that walk: on in tests, the simulator and fuzzers. */
#ifdef LP_SLOW_CHECKS
#define LP_ASSERT_SLOW(expr) LP_ASSERT(expr)
#else
#define LP_ASSERT_SLOW(expr) ((void)0)
#endif

/*
 * What outlives a step, crosses a shard or travels in a completion tag: the
 * index in the low 32 bits, the generation in the high 32.  Zero is nobody:
 * generations start at 1.
 */
typedef uint64_t lp_handle;

#define LP_HANDLE_NONE ((lp_handle)0)

static inline lp_handle
lp_handle_make(uint32_t index, uint32_t generation)
{
    return ((lp_handle)generation << 32) | index;
}

static inline uint32_t
lp_handle_index(lp_handle handle)
{
    return (uint32_t)handle;
}

static inline uint32_t
lp_handle_generation(lp_handle handle)
{
    return (uint32_t)(handle >> 32);
}

#ifdef __cplusplus
}
#endif
