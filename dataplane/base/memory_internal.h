/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_internal.h - what memory.c and memory_check.c share.
 */
#pragma once

#include "dataplane/base/memory.h"

#define LP_MEMORY_MAGIC  0x6d656d6cu
#define SPAN_SHIFT       16u
#define BLOCK_UNIT_BYTES LP_MEMORY_UNIT_BYTES /* every block starts on one */
#define WORD_BITS        64u
#define FREE_MARK        0x9d5f3a7c61e8b402u

LP_STATIC_ASSERT(LP_SPAN_BYTES == 1u << SPAN_SHIFT, "a shift finds the span of a pointer");

enum memory_span_kind {
    MEMORY_SPAN_FREE = 0, /* zero: untouched memory is a table of free spans */
    MEMORY_SPAN_TABLE,    /* holds the tables themselves */
    MEMORY_SPAN_SLAB,
    MEMORY_SPAN_LARGE,      /* first of a large block */
    MEMORY_SPAN_LARGE_REST, /* the others */
};

/* 16 bytes: four spans' entries a cache line. */
struct memory_span {
    uint8_t kind; /* enum memory_span_kind */
    uint8_t class_index;
    uint16_t used;      /* live blocks */
    uint16_t carved;    /* blocks ever cut off the front */
    uint16_t free_head; /* first released block, in units of 32 bytes, + 1; 0: none */
    uint32_t next; /* list of spans with room; 0: none (span 0 is a table).  LARGE: its length */
    uint32_t prev;
};

/* What a released block holds. */
struct memory_free_block {
    uint64_t next; /* in units of 32 bytes, + 1 */
    uint64_t mark; /* FREE_MARK ^ own address: a hint that it was released before */
};

struct memory_class {
    uint32_t block_bytes;
    uint32_t blocks_per_span;
    uint32_t room_head; /* spans with room */
    uint32_t spans;
    uint32_t reciprocal; /* of block_bytes, in 2^-32: exact for offsets in a span */
    uint64_t blocks_used;
};

struct lp_memory {
    uint32_t magic;
    uint32_t span_count;
    uint32_t spans_free;
    uint32_t table_spans;
    uint64_t *used;
    uint64_t *full;
    struct memory_span *span;
    uint32_t word_count; /* of `used` */
    uint32_t word_hint;  /* no word below has a zero */
    uint64_t limit_bytes;
    uint64_t watermark_bytes;
    uint64_t used_bytes;
    uint64_t aside_bytes;
    uint64_t refusal_count;
    struct memory_class class[LP_MEMORY_CLASS_COUNT];
};

static inline uint8_t *
memory_span_base(const struct lp_memory *memory, uint32_t index)
{
    /* The allocator's struct is the start of the reservation. */
    return (uint8_t *)(uintptr_t)memory + ((uint64_t)index << SPAN_SHIFT);
}

/* The link of a free block, and whether the block looks released (it may only look so). */
uint64_t memory_free_block_next(const void *block);
bool memory_free_block_marked(const void *block);
