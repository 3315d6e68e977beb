/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/base/ring.h"

LP_STATIC_ASSERT(sizeof(struct lp_record) == LP_CACHE_LINE_BYTES, "a record is a cache line");
LP_STATIC_ASSERT(offsetof(struct lp_ring, tail) == LP_PAIR_BYTES, "the producer's lines");
LP_STATIC_ASSERT(offsetof(struct lp_ring, head) == 2 * LP_PAIR_BYTES, "the consumer's lines");
LP_STATIC_ASSERT(sizeof(struct lp_ring) == 3 * LP_PAIR_BYTES, "slots start on a line");

size_t
lp_ring_bytes(uint32_t capacity)
{
    return sizeof(struct lp_ring) + (size_t)capacity * sizeof(struct lp_record);
}

enum lp_err
lp_ring_init_boot(void *mem, size_t mem_bytes, uint32_t capacity, struct lp_ring **ret_ring)
{
    LP_ASSERT((uintptr_t)mem % LP_CACHE_LINE_BYTES == 0);

    if (capacity == 0 || (capacity & (capacity - 1)) != 0) {
        return LP_ERR_BAD_CONFIG;
    }
    if (mem_bytes < lp_ring_bytes(capacity)) {
        return LP_ERR_NO_SPACE;
    }
    struct lp_ring *ring = mem;
    /* The header only: slots are paged in when they are first used. */
    memset(ring, 0, sizeof(*ring));
    ring->magic = LP_RING_MAGIC;
    ring->capacity = capacity;
    *ret_ring = ring;
    return LP_OK;
}
