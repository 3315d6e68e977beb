/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/mesh/mesh.h"

/* The fabric's header, rounded so that rings start on a pair of lines. */
static size_t
fabric_header_bytes(void)
{
    return (sizeof(struct lp_fabric) + LP_PAIR_BYTES - 1) & ~(size_t)(LP_PAIR_BYTES - 1);
}

size_t
lp_fabric_bytes(uint32_t shard_count)
{
    return fabric_header_bytes() +
           (size_t)shard_count * shard_count * lp_ring_bytes(LP_MESH_RING_SLOTS);
}

struct lp_fabric *
lp_fabric_init_boot(void *memory, uint32_t shard_count)
{
    LP_ASSERT(shard_count > 0 && shard_count <= LP_SHARDS_MAX);
    struct lp_fabric *fabric = memory;
    uint8_t *at = (uint8_t *)memory + fabric_header_bytes();
    const size_t ring_bytes = lp_ring_bytes(LP_MESH_RING_SLOTS);

    fabric->shard_count = shard_count;
    for (uint32_t from = 0; from < shard_count; from++) {
        for (uint32_t to = 0; to < shard_count; to++) {
            const enum lp_err err =
                lp_ring_init_boot(at, ring_bytes, LP_MESH_RING_SLOTS, &fabric->ring[from][to]);
            LP_ASSERT(err == LP_OK);
            at += ring_bytes;
        }
    }
    return fabric;
}
