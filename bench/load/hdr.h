/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdr.h - log-linear histogram of durations, exact to three digits.
 *
 * 1024 buckets to each doubling: a value is known to within a tenth of a
 * percent from 1 ns to 73 minutes; longer ones land in the last bucket.
 * Debian has no HDR library for C, and this is all of it that is needed.
 *
 *   Memory    270 KiB each, one allocation
 */
#pragma once

#include <lepus/base.h>

#define LOAD_HDR_SUB_BITS 10u
#define LOAD_HDR_SUB      (1u << LOAD_HDR_SUB_BITS)
#define LOAD_HDR_BITS     42u
#define LOAD_HDR_BUCKETS  ((LOAD_HDR_BITS - LOAD_HDR_SUB_BITS + 1u) * LOAD_HDR_SUB)

struct load_hdr {
    uint64_t count;
    uint64_t max_ns;
    uint64_t min_ns;
    double sum_ns;
    uint64_t bucket[LOAD_HDR_BUCKETS];
};

/* Below 2048 each value has its own; then 1024 a doubling. */
static inline uint32_t
load_hdr_index(uint64_t ns)
{
    if (ns < 2u * LOAD_HDR_SUB) {
        return (uint32_t)ns;
    }
    const uint32_t shift = 63u - (uint32_t)__builtin_clzll(ns) - LOAD_HDR_SUB_BITS;
    const uint64_t index = (uint64_t)shift * LOAD_HDR_SUB + (ns >> shift);
    return (uint32_t)LP_MIN(index, (uint64_t)LOAD_HDR_BUCKETS - 1u);
}

/* `count` samples of the same value. */
static inline void
load_hdr_add(struct load_hdr *hdr, uint64_t ns, uint64_t count)
{
    hdr->bucket[load_hdr_index(ns)] += count;
    hdr->count += count;
    hdr->sum_ns += (double)ns * (double)count;
    hdr->max_ns = LP_MAX(hdr->max_ns, ns);
    hdr->min_ns = LP_MIN(hdr->min_ns, ns);
}

/* The smallest value that lands in a bucket. */
uint64_t load_hdr_lower(uint32_t index);
/* Empty one, or NULL. */
LP_MUST_CHECK struct load_hdr *load_hdr_new(void);
void load_hdr_clear(struct load_hdr *hdr);
/* The value that `share` (0..1) of the samples do not exceed; 0 of none. */
uint64_t load_hdr_quantile(const struct load_hdr *hdr, double share);
/* The same for the samples that came since `before` was copied from it. */
uint64_t load_hdr_quantile_since(const struct load_hdr *hdr, const struct load_hdr *before,
                                 double share);
double load_hdr_mean(const struct load_hdr *hdr);
