/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn_histogram.h - how long turns take, over the buckets of a stats page
 * (control_region.h): the shard counts, the control process reads.
 *
 * Log-linear: 8 buckets to each doubling, so within 12.5 %.  With
 * LP_TURN_HISTOGRAM_BUCKETS (256) it reaches 2^34 ns; longer ones land in the
 * last bucket.
 */
#pragma once

#include <lepus/base.h>

/* The bucket of a duration: 0..7 exact, then 8 a doubling. */
static inline uint32_t
lp_turn_bucket(uint64_t ns, uint32_t bucket_count)
{
    if (ns < 8) {
        return (uint32_t)ns;
    }
    const uint32_t log2 = 63u - (uint32_t)__builtin_clzll(ns);
    const uint32_t bucket = (log2 - 2u) * 8u + (uint32_t)((ns >> (log2 - 3u)) & 7u);
    return bucket < bucket_count ? bucket : bucket_count - 1;
}

/* The shortest duration that lands in the bucket. */
static inline uint64_t
lp_turn_bucket_lower(uint32_t bucket)
{
    if (bucket < 8) {
        return bucket;
    }
    const uint32_t log2 = bucket / 8u + 2u;
    return (8ull + (bucket & 7u)) << (log2 - 3u);
}
