/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reservation, from its start:
 *
 *   [ struct lp_memory | full words | used words | span table | spans ... ]
 *
 * `used` has a bit for each span, `full` a bit for each word of `used` that
 * has no zero left.  All tables mean "free" by zero, so memory that was never
 * touched needs no initialisation, and the lowest free span is found in two
 * steps.  Lowest first keeps what is in use together: fewer pages, longer
 * free runs for large blocks.
 *
 * A span of a class carves blocks off its front as they are asked for, so
 * that a block's page is touched when it is used; released blocks make a list
 * through their first word.  Spans with room are on their class's list.
 */
#include <string.h>

#include "dataplane/base/memory_internal.h"
#include "dataplane/base/poison.h"

#define MIN_BYTES       (1024u * 1024u)
#define CLASS_MAX_BYTES (32u * 1024u)

static const uint32_t class_bytes[] = {64,   96,   128,  160,   192,   224,  256,
                                       384,  512,  768,  1024,  1536,  2048, 3072,
                                       4096, 6144, 8192, 12288, 16384, 32768};
LP_STATIC_ASSERT(LP_COUNT_OF(class_bytes) == LP_MEMORY_CLASS_COUNT, "a size a class");

/*
 * Every 32 bytes up to 256, where most messages are; then two classes a
 * doubling (24 KiB would leave a quarter of a span).
 */
static inline uint32_t
class_of(uint64_t bytes)
{
    if (bytes <= 64) {
        return 0;
    }
    const uint64_t top = bytes - 1;
    if (top < 256) {
        return (uint32_t)(top / 32u) - 1u;
    }
    const uint32_t log2 = 63u - (uint32_t)__builtin_clzll(top);
    const uint32_t index = 7u + (log2 - 8u) * 2u + (uint32_t)((top >> (log2 - 1u)) & 1u);
    return LP_MIN(index, LP_MEMORY_CLASS_COUNT - 1u);
}

static inline uint64_t
spans_of(uint64_t bytes)
{
    return (bytes >> SPAN_SHIFT) + ((bytes & (LP_SPAN_BYTES - 1)) != 0);
}

/* The link of a free block lies in memory that is poisoned for everyone else. */
static LP_POISON_EXEMPT void
free_block_write(void *block, uint64_t next)
{
    struct memory_free_block *free_block = block;
    free_block->next = next;
    free_block->mark = FREE_MARK ^ (uint64_t)(uintptr_t)block;
}

/* Its link; and it no longer looks released. */
static LP_POISON_EXEMPT uint64_t
free_block_take(void *block)
{
    struct memory_free_block *free_block = block;
    free_block->mark = 0;
    return free_block->next;
}

LP_POISON_EXEMPT uint64_t
memory_free_block_next(const void *block)
{
    return ((const struct memory_free_block *)block)->next;
}

LP_POISON_EXEMPT bool
memory_free_block_marked(const void *block)
{
    return ((const struct memory_free_block *)block)->mark ==
           (FREE_MARK ^ (uint64_t)(uintptr_t)block);
}

/* --- spans ------------------------------------------------------------- */

static void
span_mark_used(struct lp_memory *memory, uint32_t index)
{
    const uint32_t word = index / WORD_BITS;
    LP_ASSERT((memory->used[word] >> (index % WORD_BITS) & 1u) == 0);
    memory->used[word] |= 1ull << (index % WORD_BITS);
    if (memory->used[word] == UINT64_MAX) {
        memory->full[word / WORD_BITS] |= 1ull << (word % WORD_BITS);
    }
    memory->spans_free--;
}

static void
span_mark_free(struct lp_memory *memory, uint32_t index)
{
    const uint32_t word = index / WORD_BITS;
    LP_ASSERT((memory->used[word] >> (index % WORD_BITS) & 1u) == 1);
    memory->used[word] &= ~(1ull << (index % WORD_BITS));
    memory->full[word / WORD_BITS] &= ~(1ull << (word % WORD_BITS));
    memory->word_hint = LP_MIN(memory->word_hint, word);
    memory->spans_free++;
    memset(&memory->span[index], 0, sizeof(memory->span[index]));
}

/* The lowest free span from `from` on, or span_count. */
static uint32_t
span_find_free(const struct lp_memory *memory, uint32_t from)
{
    uint32_t word = from / WORD_BITS;
    if (word >= memory->word_count) {
        return memory->span_count;
    }
    const uint64_t rest = ~memory->used[word] & (UINT64_MAX << (from % WORD_BITS));
    if (rest != 0) {
        return word * WORD_BITS + (uint32_t)__builtin_ctzll(rest);
    }
    word++;
    while (word < memory->word_count) {
        /* Words past the end count as full, so a bit found is a word that has room. */
        const uint64_t words = ~memory->full[word / WORD_BITS] & (UINT64_MAX << (word % WORD_BITS));
        if (words != 0) {
            word = word / WORD_BITS * WORD_BITS + (uint32_t)__builtin_ctzll(words);
            return word * WORD_BITS + (uint32_t)__builtin_ctzll(~memory->used[word]);
        }
        word = (word / WORD_BITS + 1) * WORD_BITS;
    }
    return memory->span_count;
}

/* The lowest used span in (from, limit), or `limit`. */
static uint32_t
span_find_used(const struct lp_memory *memory, uint32_t from, uint32_t limit)
{
    uint32_t word = from / WORD_BITS;
    uint64_t bits = memory->used[word] & (UINT64_MAX << (from % WORD_BITS));
    while (bits == 0) {
        word++;
        if (word * WORD_BITS >= limit) {
            return limit;
        }
        bits = memory->used[word];
    }
    const uint32_t index = word * WORD_BITS + (uint32_t)__builtin_ctzll(bits);
    return LP_MIN(index, limit);
}

/* First fit: the first of `count` free spans in a row, or 0. */
static uint32_t
span_find_run(struct lp_memory *memory, uint32_t count)
{
    uint32_t first = span_find_free(memory, memory->word_hint * WORD_BITS);
    memory->word_hint = LP_MIN(first / WORD_BITS, memory->word_count - 1);
    while (count <= memory->span_count - first) {
        const uint32_t end = span_find_used(memory, first, first + count);
        if (end == first + count) {
            return first;
        }
        first = span_find_free(memory, end);
    }
    return 0;
}

/* --- lists of spans with room ------------------------------------------- */

static void
room_push(struct lp_memory *memory, struct memory_class *class, uint32_t index)
{
    struct memory_span *span = &memory->span[index];
    span->prev = 0;
    span->next = class->room_head;
    if (span->next != 0) {
        memory->span[span->next].prev = index;
    }
    class->room_head = index;
}

static void
room_remove(struct lp_memory *memory, struct memory_class *class, uint32_t index)
{
    struct memory_span *span = &memory->span[index];
    if (span->next != 0) {
        memory->span[span->next].prev = span->prev;
    }
    if (span->prev != 0) {
        memory->span[span->prev].next = span->next;
    } else {
        LP_ASSERT(class->room_head == index);
        class->room_head = span->next;
    }
    span->next = 0;
    span->prev = 0;
}

/* --- allocation --------------------------------------------------------- */

/* A class has no span with room: give it one. */
static LP_COLD bool
class_grow(struct lp_memory *memory, uint32_t class_index)
{
    struct memory_class *class = &memory->class[class_index];
    const uint32_t index = span_find_run(memory, 1);
    if (index == 0) {
        return false;
    }
    span_mark_used(memory, index);
    struct memory_span *span = &memory->span[index];
    LP_ASSERT(span->kind == MEMORY_SPAN_FREE);
    span->kind = MEMORY_SPAN_SLAB;
    span->class_index = (uint8_t)class_index;
    class->spans++;
    room_push(memory, class, index);
    return true;
}

static void *
large_alloc(struct lp_memory *memory, uint64_t bytes)
{
    if (bytes > memory->limit_bytes) {
        return NULL;
    }
    const uint32_t count = (uint32_t)spans_of(bytes);
    const uint32_t first = count <= memory->spans_free ? span_find_run(memory, count) : 0;
    if (first == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        span_mark_used(memory, first + i);
        memory->span[first + i].kind = i == 0 ? MEMORY_SPAN_LARGE : MEMORY_SPAN_LARGE_REST;
    }
    memory->span[first].next = count;
    memory->used_bytes += (uint64_t)count << SPAN_SHIFT;
    return memory_span_base(memory, first);
}

static void *
slab_alloc(struct lp_memory *memory, uint32_t class_index)
{
    struct memory_class *class = &memory->class[class_index];
    if (LP_UNLIKELY(class->room_head == 0) && !class_grow(memory, class_index)) {
        return NULL;
    }
    const uint32_t index = class->room_head;
    struct memory_span *span = &memory->span[index];
    LP_ASSERT(span->used < class->blocks_per_span);

    uint8_t *block = memory_span_base(memory, index);
    if (span->free_head != 0) {
        block += (span->free_head - 1u) * BLOCK_UNIT_BYTES;
        span->free_head = (uint16_t)free_block_take(block);
    } else {
        block += span->carved * class->block_bytes;
        span->carved++;
    }
    span->used++;
    if (span->used == class->blocks_per_span) {
        room_remove(memory, class, index);
    }
    class->blocks_used++;
    memory->used_bytes += class->block_bytes;
    return block;
}

void *
lp_memory_alloc(struct lp_memory *memory, uint64_t bytes)
{
    LP_ASSERT(memory->magic == LP_MEMORY_MAGIC);
    LP_ASSERT(bytes > 0);

    void *block =
        bytes <= CLASS_MAX_BYTES ? slab_alloc(memory, class_of(bytes)) : large_alloc(memory, bytes);
    if (LP_UNLIKELY(block == NULL)) {
        memory->refusal_count++;
        return NULL;
    }
    /* Exactly what was asked for: the rest of the block stays poisoned. */
    lp_unpoison(block, bytes);
    return block;
}

/* Only called for a block that looks released, so the walk costs nobody anything. */
static LP_COLD bool
block_is_free(const struct lp_memory *memory, uint32_t index, uint32_t unit)
{
    uint64_t at = memory->span[index].free_head;
    for (uint32_t i = 0; at != 0 && i < LP_SPAN_BYTES / BLOCK_UNIT_BYTES; i++) {
        if (at == unit + 1u) {
            return true;
        }
        at = memory_free_block_next(memory_span_base(memory, index) + (at - 1) * BLOCK_UNIT_BYTES);
    }
    return false;
}

/* Does a block of this class begin there?  A division would be half of a release. */
static inline bool
block_starts_at(const struct memory_class *class, uint32_t offset)
{
    const uint32_t before = (uint32_t)((uint64_t)offset * class->reciprocal >> 32);
    return before * class->block_bytes == offset;
}

static void
slab_release(struct lp_memory *memory, uint32_t index, uint8_t *block)
{
    struct memory_span *span = &memory->span[index];
    struct memory_class *class = &memory->class[span->class_index];
    const uint32_t offset = (uint32_t)(block - memory_span_base(memory, index));
    LP_ASSERT(block_starts_at(class, offset));
    LP_ASSERT(offset < span->carved * class->block_bytes);
    LP_ASSERT(span->used > 0);
    LP_ASSERT(!memory_free_block_marked(block) ||
              !block_is_free(memory, index, offset / BLOCK_UNIT_BYTES));

    if (span->used == class->blocks_per_span) {
        room_push(memory, class, index);
    }
    span->used--;
    class->blocks_used--;
    memory->used_bytes -= class->block_bytes;
    lp_poison(block, class->block_bytes);
    if (span->used == 0) {
        room_remove(memory, class, index);
        class->spans--;
        span_mark_free(memory, index);
        return;
    }
    free_block_write(block, span->free_head);
    span->free_head = (uint16_t)(offset / BLOCK_UNIT_BYTES + 1u);
}

static void
large_release(struct lp_memory *memory, uint32_t first, uint8_t *block)
{
    const uint32_t count = memory->span[first].next;
    LP_ASSERT(block == memory_span_base(memory, first));
    LP_ASSERT(count > 0 && count <= memory->span_count - first);
    for (uint32_t i = 0; i < count; i++) {
        LP_ASSERT(memory->span[first + i].kind ==
                  (i == 0 ? MEMORY_SPAN_LARGE : MEMORY_SPAN_LARGE_REST));
        span_mark_free(memory, first + i);
    }
    memory->used_bytes -= (uint64_t)count << SPAN_SHIFT;
    lp_poison(block, (uint64_t)count << SPAN_SHIFT);
}

void
lp_memory_release(struct lp_memory *memory, void **block)
{
    LP_ASSERT(memory->magic == LP_MEMORY_MAGIC);
    uint8_t *at = *block;
    *block = NULL;
    LP_ASSERT(at != NULL);

    const uint64_t index = (uint64_t)((uintptr_t)at - (uintptr_t)memory) >> SPAN_SHIFT;
    LP_ASSERT(index < memory->span_count); /* ours? */
    const uint8_t kind = memory->span[index].kind;
    if (LP_LIKELY(kind == MEMORY_SPAN_SLAB)) {
        slab_release(memory, (uint32_t)index, at);
        return;
    }
    LP_ASSERT(kind == MEMORY_SPAN_LARGE);
    large_release(memory, (uint32_t)index, at);
}

/* --- boot --------------------------------------------------------------- */

static void
tables_lay_out(struct lp_memory *memory, uint32_t span_count)
{
    const uint32_t words = (span_count + WORD_BITS - 1) / WORD_BITS;
    const uint32_t full_words = (words + WORD_BITS - 1) / WORD_BITS;
    uint8_t *at = (uint8_t *)memory + (sizeof(*memory) + 63u) / 64u * 64u;

    memory->span_count = span_count;
    memory->word_count = words;
    memory->full = (uint64_t *)(void *)at;
    at += (size_t)full_words * sizeof(uint64_t);
    memory->used = (uint64_t *)(void *)at;
    at += (size_t)words * sizeof(uint64_t);
    at = (uint8_t *)memory + (size_t)(at - (uint8_t *)memory + 63u) / 64u * 64u;
    memory->span = (struct memory_span *)(void *)at;
    at += (size_t)span_count * sizeof(struct memory_span);
    memory->table_spans = (uint32_t)spans_of((uint64_t)(at - (uint8_t *)memory));

    /* What lies past the end is never free. */
    if (span_count % WORD_BITS != 0) {
        memory->used[words - 1] = UINT64_MAX << (span_count % WORD_BITS);
    }
    if (words % WORD_BITS != 0) {
        memory->full[full_words - 1] = UINT64_MAX << (words % WORD_BITS);
    }
}

enum lp_err
lp_memory_init_boot(void *base, uint64_t bytes, uint64_t watermark_bytes,
                    struct lp_memory **ret_memory)
{
    if ((uintptr_t)base % LP_SPAN_BYTES != 0 || bytes % LP_SPAN_BYTES != 0 || bytes < MIN_BYTES ||
        bytes >> SPAN_SHIFT > UINT32_MAX / 2 || watermark_bytes > bytes) {
        return LP_ERR_BAD_CONFIG;
    }
    struct lp_memory *memory = base;
    tables_lay_out(memory, (uint32_t)(bytes >> SPAN_SHIFT));
    memory->magic = LP_MEMORY_MAGIC;
    memory->limit_bytes = bytes;
    memory->watermark_bytes = watermark_bytes;
    memory->spans_free = memory->span_count;
    for (uint32_t i = 0; i < memory->table_spans; i++) {
        span_mark_used(memory, i);
        memory->span[i].kind = MEMORY_SPAN_TABLE;
    }
    for (uint32_t i = 0; i < LP_MEMORY_CLASS_COUNT; i++) {
        memory->class[i].block_bytes = class_bytes[i];
        memory->class[i].blocks_per_span = LP_SPAN_BYTES / class_bytes[i];
        memory->class[i].reciprocal = (uint32_t)((1ull << 32) / class_bytes[i]) + 1;
    }
    lp_poison(memory_span_base(memory, memory->table_spans),
              (uint64_t)memory->spans_free << SPAN_SHIFT);
    *ret_memory = memory;
    return LP_OK;
}

void
lp_memory_fini(struct lp_memory **memory)
{
    struct lp_memory *self = *memory;
    *memory = NULL;
    LP_ASSERT(self->magic == LP_MEMORY_MAGIC);
    self->magic = 0;
    lp_unpoison(self, self->limit_bytes);
}

/* --- questions ---------------------------------------------------------- */

uint64_t
lp_memory_block_bytes(uint64_t bytes)
{
    LP_ASSERT(bytes > 0);
    if (bytes <= CLASS_MAX_BYTES) {
        return class_bytes[class_of(bytes)];
    }
    const uint64_t spans = spans_of(bytes);
    return spans > UINT64_MAX >> SPAN_SHIFT ? UINT64_MAX : spans << SPAN_SHIFT;
}

uint64_t
lp_memory_used_bytes(const struct lp_memory *memory)
{
    return memory->used_bytes;
}

uint64_t
lp_memory_limit_bytes(const struct lp_memory *memory)
{
    return memory->limit_bytes;
}

uint64_t
lp_memory_watermark_bytes(const struct lp_memory *memory)
{
    return memory->watermark_bytes;
}

void
lp_memory_watermark_set(struct lp_memory *memory, uint64_t watermark_bytes)
{
    LP_ASSERT(watermark_bytes <= memory->limit_bytes);
    memory->watermark_bytes = watermark_bytes;
}

uint64_t
lp_memory_whole_bytes(const struct lp_memory *memory)
{
    return (uint64_t)memory->spans_free << SPAN_SHIFT;
}

static inline bool
is_pressed(const struct lp_memory *memory)
{
    /* Half-empty spans are no use to other classes: what is left whole counts as well. */
    const uint64_t reserve_bytes = (memory->limit_bytes - memory->watermark_bytes) / 2;
    return memory->used_bytes - memory->aside_bytes > memory->watermark_bytes ||
           lp_memory_whole_bytes(memory) + memory->aside_bytes < reserve_bytes;
}

bool
lp_memory_pressed(const struct lp_memory *memory)
{
    return is_pressed(memory);
}

uint64_t
lp_memory_room_bytes(const struct lp_memory *memory)
{
    return is_pressed(memory)
               ? 0
               : memory->watermark_bytes - (memory->used_bytes - memory->aside_bytes);
}

void
lp_memory_aside(struct lp_memory *memory, uint64_t bytes)
{
    memory->aside_bytes += bytes;
    LP_ASSERT(memory->aside_bytes <= memory->used_bytes);
}

void
lp_memory_aside_end(struct lp_memory *memory, uint64_t bytes)
{
    LP_ASSERT(memory->aside_bytes >= bytes);
    memory->aside_bytes -= bytes;
}

uint64_t
lp_memory_aside_bytes(const struct lp_memory *memory)
{
    return memory->aside_bytes;
}

uint64_t
lp_memory_refusal_count(const struct lp_memory *memory)
{
    return memory->refusal_count;
}

void
lp_memory_class_stats(const struct lp_memory *memory, uint32_t class_index,
                      struct lp_memory_class_stats *ret_stats)
{
    LP_ASSERT(class_index < LP_MEMORY_CLASS_COUNT);
    const struct memory_class *class = &memory->class[class_index];
    ret_stats->block_bytes = class->block_bytes;
    ret_stats->spans = class->spans;
    ret_stats->blocks_used = class->blocks_used;
}
