/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/base/poison.h"
#include "dataplane/base/pool.h"

/* Big enough that a chunk's own cost vanishes, small enough that a pool of few items stays small.
 */
#define CHUNK_BYTES_GOAL (16u * 1024u)
#define ITEM_BYTES_MAX   (1u << 20)
#define CAPACITY_MAX     (1u << 31)

/* So small, and so many: as many chunks as a span takes are one block. */
#define MANY_STRIDE_MAX 128u
#define MANY_ITEMS      (64u * 1024u)

/* Packed: a span, and of it at most so much left over. */
#define PACKED_SPANS_MIN 16ull
#define PACKED_WASTE_MAX (LP_SPAN_BYTES / 128u)

LP_STATIC_ASSERT(sizeof(struct lp_pool_header) == 8, "items keep an alignment of 8");

static inline uint32_t
chunk_items(const struct lp_pool *pool)
{
    return 1u << pool->chunk_shift;
}

static inline uint32_t
chunk_count(const struct lp_pool *pool, uint32_t items)
{
    return (uint32_t)(((uint64_t)items + chunk_items(pool) - 1) >> pool->chunk_shift);
}

static inline uint64_t
chunk_bytes(const struct lp_pool *pool)
{
    return (uint64_t)pool->item_stride << pool->chunk_shift;
}

static inline uint32_t
item_bytes(const struct lp_pool *pool)
{
    return pool->item_stride - (uint32_t)sizeof(struct lp_pool_header);
}

/* `packed`: pool.h's lp_pool_init_packed_boot(). */
static enum lp_err
pool_init(const struct lp_pool *wanted, uint32_t bytes, bool packed, struct lp_pool *ret_pool)
{
    const uint32_t capacity = wanted->capacity;
    if (bytes == 0 || bytes > ITEM_BYTES_MAX || capacity == 0 || capacity > CAPACITY_MAX) {
        return LP_ERR_BAD_CONFIG;
    }
    struct lp_pool made = {
        .name = wanted->name,
        .memory = wanted->memory,
        .item_stride = ((bytes + 7u) & ~7u) + (uint32_t)sizeof(struct lp_pool_header),
        .capacity = capacity,
        .block_chunks = 1,
    };
    /* The largest power of two of items that stays within the goal and is not twice the capacity.
     */
    while (made.item_stride << (made.chunk_shift + 1) <= CHUNK_BYTES_GOAL &&
           1u << made.chunk_shift < capacity) {
        made.chunk_shift++;
    }
    if (made.item_stride <= MANY_STRIDE_MAX && capacity >= MANY_ITEMS) {
        made.block_chunks = (uint32_t)(LP_SPAN_BYTES / chunk_bytes(&made));
    }
    if (packed && (uint64_t)capacity * made.item_stride >= PACKED_SPANS_MIN * LP_SPAN_BYTES) {
        while (made.chunk_shift > 0 && LP_SPAN_BYTES % chunk_bytes(&made) > PACKED_WASTE_MAX) {
            made.chunk_shift--;
        }
        made.block_chunks = (uint32_t)(LP_SPAN_BYTES / chunk_bytes(&made));
    }
    /* Entries are written when their chunk is made, and not read before. */
    made.chunks = lp_memory_alloc(made.memory,
                                  (uint64_t)chunk_count(&made, capacity) * sizeof(made.chunks[0]));
    if (made.chunks == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    *ret_pool = made;
    return LP_OK;
}

enum lp_err
lp_pool_init_boot(struct lp_pool *pool, const char *name, struct lp_memory *memory, uint32_t bytes,
                  uint32_t capacity)
{
    const struct lp_pool wanted = {.name = name, .memory = memory, .capacity = capacity};
    return pool_init(&wanted, bytes, false, pool);
}

enum lp_err
lp_pool_init_packed_boot(struct lp_pool *pool, const char *name, struct lp_memory *memory,
                         uint32_t bytes, uint32_t capacity)
{
    const struct lp_pool wanted = {.name = name, .memory = memory, .capacity = capacity};
    return pool_init(&wanted, bytes, true, pool);
}

void
lp_pool_fini(struct lp_pool *pool)
{
    if (pool->chunks == NULL) {
        return;
    }
    LP_ASSERT(pool->used == 0);
    const uint32_t count = chunk_count(pool, pool->made);
    for (uint32_t i = 0; i < count; i += pool->block_chunks) {
        void *chunk = pool->chunks[i];
        lp_memory_release(pool->memory, &chunk);
    }
    void *directory = pool->chunks;
    lp_memory_release(pool->memory, &directory);
    memset(pool, 0, sizeof(*pool));
}

/* The chunk after the last one; NULL: no memory. */
static uint8_t *
chunk_carve(struct lp_pool *pool, uint32_t number)
{
    const uint64_t bytes = chunk_bytes(pool);
    uint8_t *chunk = number % pool->block_chunks != 0
                         ? pool->chunks[number - 1] + bytes
                         : lp_memory_alloc(pool->memory, bytes * pool->block_chunks);
    if (chunk != NULL) {
        lp_poison(chunk, bytes);
    }
    return chunk;
}

/* Make the item after the last one; false when there is no room for its chunk. */
static bool
item_carve(struct lp_pool *pool)
{
    const uint32_t index = pool->made;
    if (index == pool->capacity) {
        return false;
    }
    if ((index & (chunk_items(pool) - 1)) == 0) {
        const uint32_t number = index >> pool->chunk_shift;
        uint8_t *chunk = chunk_carve(pool, number);
        if (chunk == NULL) {
            return false;
        }
        pool->chunks[number] = chunk;
    }
    struct lp_pool_header *header = lp_pool_header_at(pool, index);
    lp_unpoison(header, sizeof(*header));
    memset(header, 0, sizeof(*header));
    pool->made++;
    header->index = pool->free_head;
    pool->free_head = index + 1;
    return true;
}

void *
lp_pool_alloc(struct lp_pool *pool, lp_handle *ret_handle)
{
    if (pool->free_head == 0 && !item_carve(pool)) {
        return NULL;
    }
    const uint32_t index = pool->free_head - 1;
    LP_ASSERT(index < pool->made);
    struct lp_pool_header *header = lp_pool_header_at(pool, index);
    LP_ASSERT((header->generation & 1u) == 0);

    pool->free_head = header->index;
    header->index = index;
    header->generation++;
    pool->used++;
    lp_unpoison(header + 1, item_bytes(pool));
    memset(header + 1, 0, item_bytes(pool));
    *ret_handle = lp_handle_make(index, header->generation);
    return header + 1;
}

void
lp_pool_release(struct lp_pool *pool, lp_handle handle)
{
    LP_ASSERT(lp_pool_get(pool, handle) != NULL);
    const uint32_t index = lp_handle_index(handle);
    struct lp_pool_header *header = lp_pool_header_at(pool, index);

    header->generation++; /* every handle to it is stale from here on */
    header->index = pool->free_head;
    pool->free_head = index + 1;
    pool->used--;
    lp_poison(header + 1, item_bytes(pool));
}

void *
lp_pool_next(const struct lp_pool *pool, uint32_t *cursor, lp_handle *ret_handle)
{
    while (*cursor < pool->made) {
        const uint32_t index = (*cursor)++;
        struct lp_pool_header *header = lp_pool_header_at(pool, index);
        if ((header->generation & 1u) != 0) {
            *ret_handle = lp_handle_make(index, header->generation);
            return header + 1;
        }
    }
    return NULL;
}
