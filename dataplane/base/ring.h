/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - bounded single-producer, single-consumer ring of 64-byte records.
 *
 * The only channel between two shards: one ring for each ordered pair.
 * Neither side ever waits.  The producer stages records and publishes them
 * once (per turn); the consumer reads in place and gives slots back once.
 *
 *   Memory    The caller owns it.
 *   Runs on   one producer core, one consumer core
 *   Overload  Full is an answer, not an error: the producer slows its source.
 *
 * Invariant: 0 <= tail - head <= capacity, in arithmetic modulo 2^32.
 */
#pragma once

#include <lepus/atomic.h>
#include <lepus/base.h>
#include <lepus/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lp_record {
    uint64_t word[8];
};

struct lp_ring {
    /* Lines 0-1: fixed at boot. */
    uint32_t magic;
    uint32_t capacity; /* a power of two */
    uint8_t pad0[LP_PAIR_BYTES - 8];
    /* Lines 2-3: written by the producer only. */
    uint32_t tail;      /* published */
    uint32_t staged;    /* written, not yet published; producer's private */
    uint32_t head_seen; /* the producer's last look at head */
    uint8_t pad1[LP_PAIR_BYTES - 12];
    /* Lines 4-5: written by the consumer only. */
    uint32_t head;  /* given back */
    uint32_t taken; /* read, not yet given back; consumer's private */
    uint32_t tail_seen;
    uint8_t pad2[LP_PAIR_BYTES - 12];
    struct lp_record slot[];
};

#define LP_RING_MAGIC 0x52a9c1e7u

/* Bytes that a ring of `capacity` records needs, its header included. */
size_t lp_ring_bytes(uint32_t capacity);

/*
 * Lay out an empty ring in `mem`, which starts on a cache line.  Boot only.
 *
 * LP_ERR_BAD_CONFIG  capacity is zero or not a power of two
 * LP_ERR_NO_SPACE    mem_bytes < lp_ring_bytes(capacity)
 */
LP_MUST_CHECK enum lp_err lp_ring_init_boot(void *mem, size_t mem_bytes, uint32_t capacity,
                                            struct lp_ring **ret_ring);

/* Producer: how many records fit now, staged ones counted as used.  Looks at head when fewer than
 * `want`. */
static inline uint32_t
lp_ring_room(struct lp_ring *ring, uint32_t want)
{
    uint32_t room = ring->capacity - (ring->staged - ring->head_seen);
    if (room < want) {
        /* P1, pairs with C2: slots the consumer gave back were read in full. */
        ring->head_seen = lp_load_acquire(&ring->head);
        room = ring->capacity - (ring->staged - ring->head_seen);
    }
    LP_ASSERT(room <= ring->capacity);
    return room;
}

/* Producer: the slot of one record more, which is staged and to be written now; NULL: full. */
static inline struct lp_record *
lp_ring_slot(struct lp_ring *ring)
{
    if (lp_ring_room(ring, 1) == 0) {
        return NULL;
    }
    return &ring->slot[ring->staged++ & (ring->capacity - 1)];
}

/* Producer: stage one record, or false when the ring is full.  Invisible until lp_ring_publish().
 */
static inline bool
lp_ring_stage(struct lp_ring *ring, const struct lp_record *record)
{
    struct lp_record *slot = lp_ring_slot(ring);
    if (slot == NULL) {
        return false;
    }
    *slot = *record;
    return true;
}

/* Producer: make everything staged visible; true when there was anything. */
static inline bool
lp_ring_publish(struct lp_ring *ring)
{
    if (ring->staged == ring->tail) {
        return false;
    }
    /* P2, pairs with C1: the records are visible before the tail that covers them. */
    lp_store_release(&ring->tail, ring->staged);
    return true;
}

/* Consumer: the next record, borrowed until lp_ring_give_back(); NULL when there is none. */
static inline const struct lp_record *
lp_ring_take(struct lp_ring *ring)
{
    if (ring->taken == ring->tail_seen) {
        /* C1, pairs with P2. */
        ring->tail_seen = lp_load_acquire(&ring->tail);
        if (ring->taken == ring->tail_seen) {
            return NULL;
        }
    }
    LP_ASSERT(ring->tail_seen - ring->taken <= ring->capacity);
    return &ring->slot[ring->taken++ & (ring->capacity - 1)];
}

/* Consumer: give back every record taken so far. */
static inline void
lp_ring_give_back(struct lp_ring *ring)
{
    if (ring->taken != ring->head) {
        /* C2, pairs with P1: we are done reading before the slots are free. */
        lp_store_release(&ring->head, ring->taken);
    }
}

/* Consumer: is anything waiting?  May be called by a consumer about to sleep, after its fence. */
static inline bool
lp_ring_waiting(const struct lp_ring *ring)
{
    /* C3, pairs with P2. */
    return lp_load_acquire(&ring->tail) != ring->taken;
}

#ifdef __cplusplus
}
#endif
