/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks.c - memory for what is as long as a queue: none of it in one piece,
 * so that memory which is cut into many serves as well as whole memory.
 */
#include "dataplane/broker/store/store_private.h"

/* A class of lp_memory's, with its header. */
#define BLOCK_BYTES (16u * 1024u - (uint32_t)sizeof(struct store_block))

struct store_block *
store_blocks_add(struct lp_store *store, struct store_blocks *blocks, uint64_t bytes)
{
    LP_ASSERT(bytes <= UINT32_MAX);
    struct store_block *block = lp_memory_alloc(store->broker->memory, sizeof(*block) + bytes);
    if (!block) {
        return NULL;
    }
    block->next = NULL;
    block->used = 0;
    block->room = (uint32_t)bytes;
    if (blocks->last) {
        blocks->last->next = block;
    } else {
        blocks->first = block;
    }
    blocks->last = block;
    return block;
}

uint8_t *
store_blocks_take(struct lp_store *store, struct store_blocks *blocks, uint64_t bytes)
{
    struct store_block *block = blocks->last;
    if (!block || block->room - block->used < bytes) {
        block = store_blocks_add(store, blocks, LP_MAX(bytes, (uint64_t)BLOCK_BYTES));
        if (!block) {
            return NULL;
        }
    }
    uint8_t *at = block->data + block->used;
    block->used += (uint32_t)bytes;
    return at;
}

void
store_blocks_drop_first(struct lp_store *store, struct store_blocks *blocks)
{
    void *block = blocks->first;
    blocks->first = blocks->first->next;
    blocks->last = blocks->first ? blocks->last : NULL;
    lp_memory_release(store->broker->memory, &block);
}

void
store_blocks_free(struct lp_store *store, struct store_blocks *blocks)
{
    while (blocks->first) {
        store_blocks_drop_first(store, blocks);
    }
}
