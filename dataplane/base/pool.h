/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - typed pools: fixed-size items named by {index, generation}.
 *
 * Everything that outlives a turn or is named by another shard lives in a
 * pool and is referred to by handle; a stale handle resolves to NULL.  Items
 * never move, so a pointer is good for the step that resolved it.
 *
 *   Memory    items come from the shard's lp_memory in chunks, as needed, up
 *             to `capacity`; chunks are kept (free items cost nothing else).  Small items of which
 *             there may be a great many come a span at a time, so that next to nothing lies between
 *   Runs on   owner core
 *   Overload  alloc gives NULL: capacity reached or memory gone
 *
 * The lowest free index is not guaranteed, but order is deterministic: LIFO.
 * Freed items are poisoned under ASan.
 */
#pragma once

#include <lepus/base.h>
#include <lepus/err.h>

#include "dataplane/base/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fields are pool.c's own; the struct is here so that owners can embed it and lp_pool_get()
 * inlines. */
struct lp_pool {
    const char *name; /* for reports */
    struct lp_memory *memory;
    uint8_t **chunks;      /* directory for `capacity` items, allocated at boot */
    uint32_t item_stride;  /* bytes from item to item, its header included */
    uint32_t chunk_shift;  /* log2 of items a chunk */
    uint32_t block_chunks; /* chunks that are one block of memory */
    uint32_t capacity;
    uint32_t made;      /* items ever carved out of chunks */
    uint32_t free_head; /* index + 1; 0: none */
    uint32_t used;
};

struct lp_pool_header {
    uint32_t generation; /* odd: in use; even: free */
    uint32_t index;      /* in use: its own; free: the next free one's + 1, or 0 */
};

/*
 * LP_ERR_BAD_CONFIG  item_bytes or capacity is zero or beyond reason
 * LP_ERR_NO_MEMORY   no room for the directory of chunks
 *
 * Items are aligned to 8.
 */
LP_MUST_CHECK enum lp_err lp_pool_init_boot(struct lp_pool *pool, const char *name,
                                            struct lp_memory *memory, uint32_t item_bytes,
                                            uint32_t capacity);

/* Likewise, and items take a span at a time, if there may be many spans of them: for items of which
 * a great many are there at once, next to which a span is nothing. */
LP_MUST_CHECK enum lp_err lp_pool_init_packed_boot(struct lp_pool *pool, const char *name,
                                                   struct lp_memory *memory, uint32_t item_bytes,
                                                   uint32_t capacity);

/* Gives every chunk back; all items must be free. */
void lp_pool_fini(struct lp_pool *pool);

/* A zeroed item and its handle, or NULL. */
void *lp_pool_alloc(struct lp_pool *pool, lp_handle *ret_handle);

/* The handle must be live. */
void lp_pool_release(struct lp_pool *pool, lp_handle handle);

static inline struct lp_pool_header *
lp_pool_header_at(const struct lp_pool *pool, uint32_t index)
{
    uint8_t *chunk = pool->chunks[index >> pool->chunk_shift];
    const uint32_t within = index & ((1u << pool->chunk_shift) - 1u);
    return (struct lp_pool_header *)(void *)(chunk + (size_t)within * pool->item_stride);
}

/* The item, or NULL when the handle is stale, foreign or LP_HANDLE_NONE. */
static inline void *
lp_pool_get(const struct lp_pool *pool, lp_handle handle)
{
    const uint32_t index = lp_handle_index(handle);
    /* An even generation is a free item's: no handle that we gave out has one. */
    if (LP_UNLIKELY(index >= pool->made || (lp_handle_generation(handle) & 1u) == 0)) {
        return NULL;
    }
    struct lp_pool_header *header = lp_pool_header_at(pool, index);
    if (LP_UNLIKELY(header->generation != lp_handle_generation(handle))) {
        return NULL;
    }
    return header + 1;
}

/* The handle of a live item of any pool. */
static inline lp_handle
lp_pool_self(const void *item)
{
    const struct lp_pool_header *header = (const struct lp_pool_header *)item - 1;
    return lp_handle_make(header->index, header->generation);
}

/* The handle of a live item. */
static inline lp_handle
lp_pool_handle_of(const struct lp_pool *pool, uint32_t index)
{
    return lp_handle_make(index, lp_pool_header_at(pool, index)->generation);
}

/* The live item of an index below `made`, or NULL. */
static inline void *
lp_pool_at(const struct lp_pool *pool, uint32_t index)
{
    struct lp_pool_header *header = lp_pool_header_at(pool, index);
    return (header->generation & 1u) != 0 ? header + 1 : NULL;
}

/*
 * Walk live items by ascending index: start with *cursor = 0, stop at NULL.
 * Items may be released and allocated during the walk.
 */
void *lp_pool_next(const struct lp_pool *pool, uint32_t *cursor, lp_handle *ret_handle);

#ifdef __cplusplus
}
#endif
