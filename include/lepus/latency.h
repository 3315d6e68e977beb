/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latency.h - how long messages took from stage to stage, as shards count it
 * and the control process shows it: stages, and the histogram's buckets.
 *
 *   RECEIVED  the turn began in which the transport gave the message's bytes
 *   ROUTED    it was parsed and routed, and this queue was next to have it
 *   STORED    the queue had it (its durability class: in memory)
 *   TAKEN     the queue chose a consumer for it
 *   WRITTEN   it was in the output of that consumer's connection
 *   SENT      the transport had it
 *
 * Header-only, as both processes must name the same buckets.
 *
 *   Memory    none
 *   Runs on   any
 */
#pragma once

#include <lepus/base.h>

/* From one stage to the next, and sums of them.  ROW_LATENCY carries the number. */
enum lp_latency {
    LP_LATENCY_ROUTING,  /* received to routed */
    LP_LATENCY_STORING,  /* routed to stored: with the way to the queue's shard */
    LP_LATENCY_WAITING,  /* stored to taken: in the queue, for a consumer */
    LP_LATENCY_WRITING,  /* taken to written: with the way to the consumer's shard */
    LP_LATENCY_SENDING,  /* written to sent: for the turn's end, or for a send before it */
    LP_LATENCY_TOTAL,    /* received to sent */
    LP_LATENCY_OWN_WORK, /* the same without WAITING */
    LP_LATENCY_COUNT,
};

/*
 * Log-linear: nanoseconds up to 63 have buckets of their own, then each
 * doubling has 64, so a bucket's middle is within 0.8 % of what is in it.  It
 * reaches 2^40 ns, a little more than 18 minutes; what is longer is in the last.
 */
#define LP_LATENCY_LINEAR_LOG2 6u
#define LP_LATENCY_LINEAR      (1u << LP_LATENCY_LINEAR_LOG2)
#define LP_LATENCY_REACH_LOG2  40u
#define LP_LATENCY_BUCKETS \
    ((LP_LATENCY_REACH_LOG2 - LP_LATENCY_LINEAR_LOG2 + 1u) * LP_LATENCY_LINEAR)

static inline uint32_t
lp_latency_bucket(uint64_t ns)
{
    if (ns < LP_LATENCY_LINEAR) {
        return (uint32_t)ns;
    }
    const uint32_t log2 = 63u - (uint32_t)__builtin_clzll(ns);
    const uint32_t shift = log2 - LP_LATENCY_LINEAR_LOG2;
    const uint32_t bucket =
        (shift + 1u) * LP_LATENCY_LINEAR + (uint32_t)((ns >> shift) & (LP_LATENCY_LINEAR - 1u));
    return LP_MIN(bucket, LP_LATENCY_BUCKETS - 1u);
}

/* The smallest value of a bucket. */
static inline uint64_t
lp_latency_lower(uint32_t bucket)
{
    if (bucket < LP_LATENCY_LINEAR) {
        return bucket;
    }
    const uint32_t shift = bucket / LP_LATENCY_LINEAR - 1u;
    return (uint64_t)(LP_LATENCY_LINEAR + bucket % LP_LATENCY_LINEAR) << shift;
}

/* How many values it has. */
static inline uint64_t
lp_latency_width(uint32_t bucket)
{
    return bucket < LP_LATENCY_LINEAR ? 1u : 1ull << (bucket / LP_LATENCY_LINEAR - 1u);
}
