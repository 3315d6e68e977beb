/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.h - log-linear histogram of durations over a caller's array of
 * buckets (a stats page): 8 buckets to each doubling, so within 12.5 %.
 *
 * With LP_TURN_HISTOGRAM_BUCKETS (256) it reaches 2^32 ns; longer ones land in
 * the last bucket.
 */
#pragma once

#include <lepus/base.h>

/* The bucket of a value: 0..7 exact, then 8 a doubling. */
static inline uint32_t
lp_histogram_bucket(uint64_t value, uint32_t bucket_count)
{
    if (value < 8) {
        return (uint32_t)value;
    }
    const uint32_t log2 = 63u - (uint32_t)__builtin_clzll(value);
    const uint32_t bucket = (log2 - 2u) * 8u + (uint32_t)((value >> (log2 - 3u)) & 7u);
    return bucket < bucket_count ? bucket : bucket_count - 1;
}

/* The smallest value that lands in the bucket. */
static inline uint64_t
lp_histogram_lower(uint32_t bucket)
{
    if (bucket < 8) {
        return bucket;
    }
    const uint32_t log2 = bucket / 8u + 2u;
    return (8ull + (bucket & 7u)) << (log2 - 3u);
}
