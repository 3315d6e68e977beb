/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - a shard's memory: one reservation, slabs by size class, a hard
 * limit and a watermark.
 *
 * The only allocator of the data plane after boot.  The reservation is cut
 * into spans of 64 KiB; a span serves one size class, or several spans in a
 * row serve one large block.  Spans that fall empty go back and serve others.
 *
 *   Memory    the host maps the reservation and gives it at boot
 *   Runs on   owner core; another shard may read a block it was lent
 *   Limits    the reservation.  Exhaustion is an ordinary answer (NULL).
 *   Overload  lp_memory_pressed(): used bytes are above the watermark, or
 *             whole spans fill less than half of what is above it, what is
 *             aside left out of both; those who take in work stop, those who
 *             finish it may still allocate.
 *
 * Under ASan freed and never-used blocks are poisoned.
 *
 * Invariant: used_bytes == sum over live blocks of their class size (or spans).
 */
#pragma once

#include <lepus/base.h>
#include <lepus/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LP_SPAN_BYTES (64u * 1024u)
/*
 * 64 to 256 by 32, then 384, 512, 768, 1K, 1.5K, 2K, 3K, 4K, 6K, 8K, 12K, 16K, 32K: then whole
 * spans.  Blocks of 64, 128, 192 and from 256 bytes on are whole cache lines, so that one that is
 * lent shares its lines with no other; the few between share one with a neighbour, which costs
 * their reader less than the memory would cost everybody.
 */
#define LP_MEMORY_CLASS_COUNT 20u

struct lp_memory;

struct lp_memory_class_stats {
    uint32_t block_bytes;
    uint32_t spans;
    uint64_t blocks_used;
};

/*
 * Build the allocator inside the reservation itself (its tables take the first
 * spans).  `base` is aligned to 64 KiB, `bytes` a multiple of it, at least 1 MiB.
 * Memory must read as zero or be untouched; pages are touched only when used.
 *
 * LP_ERR_BAD_CONFIG  size or alignment is wrong, or watermark_bytes > bytes
 */
LP_MUST_CHECK enum lp_err lp_memory_init_boot(void *base, uint64_t bytes, uint64_t watermark_bytes,
                                              struct lp_memory **ret_memory);

/*
 * The reservation is its owner's again, whatever was still in use: nothing may
 * refer to it any more.  `*memory` is cleared.  Needed where an address may be
 * mapped again for something else in the same process (tests under ASan).
 */
void lp_memory_fini(struct lp_memory **memory);

/*
 * `bytes` bytes (1 and up), aligned to 32 (blocks of more than 32 KiB: to 64
 * KiB); NULL: none left.  Not zeroed.  Who wants the whole of a block asks for
 * lp_memory_block_bytes(): ASan guards what was not asked for.
 */
void *lp_memory_alloc(struct lp_memory *memory, uint64_t bytes);

/* Give a block back.  `*block` is cleared. */
void lp_memory_release(struct lp_memory *memory, void **block);

/* What lp_memory_alloc(bytes) would really take: the class's size, or whole spans. */
uint64_t lp_memory_block_bytes(uint64_t bytes);

/*
 * A block's place in the reservation, as a number that fits half a handle; and
 * the block at such a place.  Any shard may ask: it changes nothing.
 */
#define LP_MEMORY_UNIT_BYTES 32u
static inline uint32_t
lp_memory_index(const struct lp_memory *memory, const void *block)
{
    /* The allocator's struct is the start of the reservation. */
    return (uint32_t)(((uintptr_t)block - (uintptr_t)memory) / LP_MEMORY_UNIT_BYTES);
}

static inline void *
lp_memory_at(const struct lp_memory *memory, uint32_t index)
{
    return (void *)((uintptr_t)memory + (uintptr_t)index * LP_MEMORY_UNIT_BYTES);
}

uint64_t lp_memory_used_bytes(const struct lp_memory *memory);
uint64_t lp_memory_limit_bytes(const struct lp_memory *memory);
uint64_t lp_memory_watermark_bytes(const struct lp_memory *memory);
/* At most the limit. */
void lp_memory_watermark_set(struct lp_memory *memory, uint64_t watermark_bytes);
/* Bytes of whole spans that nobody uses: these any class can have, whatever the rest is cut into.
 */
uint64_t lp_memory_whole_bytes(const struct lp_memory *memory);
bool lp_memory_pressed(const struct lp_memory *memory);
/* What may be used before pressure begins; 0: it has, or the next byte begins it. */
uint64_t lp_memory_room_bytes(const struct lp_memory *memory);

/*
 * `bytes` of the live blocks (as lp_memory_block_bytes() counts them) hold
 * input that waits to be worked through.  They are used, but press nobody:
 * what waits because of pressure must not be the reason for it.
 */
void lp_memory_aside(struct lp_memory *memory, uint64_t bytes);
void lp_memory_aside_end(struct lp_memory *memory, uint64_t bytes);
uint64_t lp_memory_aside_bytes(const struct lp_memory *memory);
uint64_t lp_memory_refusal_count(const struct lp_memory *memory);
void lp_memory_class_stats(const struct lp_memory *memory, uint32_t class_index,
                           struct lp_memory_class_stats *ret_stats);

/* Walks everything; asserts the invariant. */
void lp_memory_check(const struct lp_memory *memory);

#ifdef __cplusplus
}
#endif
