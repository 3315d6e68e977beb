/* SPDX-License-Identifier: Apache-2.0 */
#include "hdr.h"

#include <stdlib.h>
#include <string.h>

uint64_t
load_hdr_lower(uint32_t index)
{
    if (index < 2u * LOAD_HDR_SUB) {
        return index;
    }
    const uint32_t shift = (index >> LOAD_HDR_SUB_BITS) - 1u;
    return (uint64_t)((index & (LOAD_HDR_SUB - 1u)) | LOAD_HDR_SUB) << shift;
}

struct load_hdr *
load_hdr_new(void)
{
    struct load_hdr *hdr = malloc(sizeof(*hdr));
    if (hdr != NULL) {
        load_hdr_clear(hdr);
    }
    return hdr;
}

void
load_hdr_clear(struct load_hdr *hdr)
{
    memset(hdr, 0, sizeof(*hdr));
    hdr->min_ns = UINT64_MAX;
}

uint64_t
load_hdr_quantile_since(const struct load_hdr *hdr, const struct load_hdr *before, double share)
{
    const uint64_t count = hdr->count - (before ? before->count : 0);
    if (count == 0) {
        return 0;
    }
    const double exact = share * (double)count;
    uint64_t rank = (uint64_t)exact;
    rank = LP_MAX(rank + ((double)rank < exact ? 1u : 0u), 1u);
    uint64_t below = 0;
    for (uint32_t i = 0; i + 1 < LOAD_HDR_BUCKETS; i++) {
        below += hdr->bucket[i] - (before ? before->bucket[i] : 0);
        if (below >= rank) {
            return LP_MIN(load_hdr_lower(i + 1) - 1u, hdr->max_ns);
        }
    }
    return hdr->max_ns;
}

uint64_t
load_hdr_quantile(const struct load_hdr *hdr, double share)
{
    return load_hdr_quantile_since(hdr, NULL, share);
}

double
load_hdr_mean(const struct load_hdr *hdr)
{
    return hdr->count == 0 ? 0.0 : hdr->sum_ns / (double)hdr->count;
}
