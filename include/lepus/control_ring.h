/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_ring.h - the ring of records between one shard and the control
 * process: its layout in shared memory and the two ends that use it.
 *
 * Two rings a shard, one each way, in one memfd (control_region.h).  A record
 * is {bytes, version, type, sequence} and a payload, padded to 8 bytes.  The
 * reader copies a record out before it looks at it: the other process can
 * write to the memory at any time, and nothing it writes may be trusted twice.
 *
 *   Memory    Shared; holds no pointers, so the processes map it anywhere.
 *             `capacity` and the cursor that is ours live in the private end.
 *   Runs on   one producer, one consumer, in different processes
 *   Overload  push says no and the caller slows its source.
 *   Restart   Cursors survive in the ring: a process that attaches again goes
 *             on where its predecessor published last.
 *
 * Invariant: 0 <= tail - head <= capacity, both multiples of 8; a peer that
 * breaks it is reported as LP_CONTROL_POP_BROKEN, never followed.
 */
#pragma once

#include <lepus/atomic.h>
#include <lepus/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LP_CONTROL_RING_MAGIC     0x43524e47u
#define LP_CONTROL_RECORD_VERSION 1
/* The longest payload: a table argument of 64 KiB and names beside it. */
#define LP_CONTROL_PAYLOAD_MAX_BYTES   (96u * 1024u)
#define LP_CONTROL_RECORD_HEADER_BYTES 16u

struct lp_control_ring {
    /* Line 0: fixed when the launcher makes the region. */
    uint32_t magic;
    uint32_t capacity_bytes; /* a power of two */
    uint8_t pad0[LP_PAIR_BYTES - 8];
    /* Line 2: written by the producer only. */
    uint64_t tail;
    uint8_t pad1[LP_PAIR_BYTES - 8];
    /* Line 4: written by the consumer only. */
    uint64_t head;
    uint8_t pad2[LP_PAIR_BYTES - 8];
    uint8_t data[];
};

/* A process's private end; never in shared memory. */
struct lp_control_end {
    struct lp_control_ring *ring;
    uint64_t capacity_bytes;
    uint64_t own;  /* the cursor we write */
    uint64_t seen; /* the last valid look at the other's */
};

struct lp_control_record {
    uint16_t type;     /* enum lp_control_type */
    uint64_t sequence; /* meaning depends on the type; usually the request's number */
    struct lp_bytes payload;
};

enum lp_control_pop {
    LP_CONTROL_POP_EMPTY,
    LP_CONTROL_POP_RECORD,
    LP_CONTROL_POP_BROKEN, /* the peer broke the invariant: stop using the ring */
};

static inline size_t
lp_control_ring_bytes(uint32_t capacity_bytes)
{
    return sizeof(struct lp_control_ring) + capacity_bytes;
}

/* Lay out an empty ring in zeroed memory.  The launcher only. */
static inline void
lp_control_ring_init_boot(void *mem, uint32_t capacity_bytes)
{
    struct lp_control_ring *ring = (struct lp_control_ring *)mem;
    LP_ASSERT((capacity_bytes & (capacity_bytes - 1)) == 0);
    LP_ASSERT(capacity_bytes >= 2 * (LP_CONTROL_PAYLOAD_MAX_BYTES + 64));
    ring->magic = LP_CONTROL_RING_MAGIC;
    ring->capacity_bytes = capacity_bytes;
}

/* Attach to a ring whose size we were told out of band; false when it does not look like one. */
static inline bool
lp_control_end_init(struct lp_control_end *end, struct lp_control_ring *ring,
                    uint32_t capacity_bytes, bool producer)
{
    if (ring->magic != LP_CONTROL_RING_MAGIC || ring->capacity_bytes != capacity_bytes) {
        return false;
    }
    /* E1, pairs with X1 and X2: whatever the predecessor published is visible. */
    const uint64_t tail = lp_load_acquire(&ring->tail);
    /* E2, pairs with X2. */
    const uint64_t head = lp_load_acquire(&ring->head);
    if (tail - head > capacity_bytes || tail % 8 != 0 || head % 8 != 0) {
        return false;
    }
    end->ring = ring;
    end->capacity_bytes = capacity_bytes;
    end->own = producer ? tail : head;
    end->seen = producer ? head : tail;
    return true;
}

static inline uint64_t
lp_control_record_bytes(uint32_t payload_bytes)
{
    return ((uint64_t)LP_CONTROL_RECORD_HEADER_BYTES + payload_bytes + 7u) & ~(uint64_t)7u;
}

/* Producer: is there room for a payload of this size? */
static inline bool
lp_control_room(struct lp_control_end *end, uint32_t payload_bytes)
{
    /* A record never wraps: at worst the rest of the lap is skipped as well. */
    const uint64_t need = 2 * lp_control_record_bytes(payload_bytes);
    if (end->capacity_bytes - (end->own - end->seen) >= need) {
        return true;
    }
    /* P1, pairs with X2: what the consumer gave back was read in full. */
    const uint64_t head = lp_load_acquire(&end->ring->head);
    if (end->own - head <= end->capacity_bytes && head - end->seen <= end->capacity_bytes) {
        end->seen = head; /* else: nonsense from the peer; keep the last good value */
    }
    return end->capacity_bytes - (end->own - end->seen) >= need;
}

/* Producer: append one record and publish it; false when there is no room (nothing was written). */
LP_MUST_CHECK static inline bool
lp_control_push(struct lp_control_end *end, uint16_t type, uint64_t sequence,
                struct lp_bytes payload)
{
    LP_ASSERT(payload.size <= LP_CONTROL_PAYLOAD_MAX_BYTES);
    if (!lp_control_room(end, payload.size)) {
        return false;
    }
    const uint64_t bytes = lp_control_record_bytes(payload.size);
    uint64_t offset = end->own & (end->capacity_bytes - 1);
    if (offset + bytes > end->capacity_bytes) {
        /* Type 0 tells the reader to go on at the start; lengths are multiples of 8, so 8 bytes
         * fit. */
        const uint32_t skip = (uint32_t)(end->capacity_bytes - offset);
        memcpy(end->ring->data + offset, &skip, sizeof(skip));
        memset(end->ring->data + offset + 4, 0, 4);
        end->own += skip;
        offset = 0;
    }
    uint8_t *at = end->ring->data + offset;
    const uint32_t size = LP_CONTROL_RECORD_HEADER_BYTES + payload.size;
    const uint16_t version = LP_CONTROL_RECORD_VERSION;
    memcpy(at, &size, 4);
    memcpy(at + 4, &version, 2);
    memcpy(at + 6, &type, 2);
    memcpy(at + 8, &sequence, 8);
    if (payload.size > 0) {
        LP_ASSERT(payload.data != NULL);
        memcpy(at + LP_CONTROL_RECORD_HEADER_BYTES, payload.data, payload.size);
    }
    end->own += bytes;
    /* X1, pairs with E1 and C1: the record is visible before the tail that covers it. */
    lp_store_release(&end->ring->tail, end->own);
    return true;
}

/*
 * Consumer: copy the next record into `scratch` (LP_CONTROL_PAYLOAD_MAX_BYTES
 * of room) and give the slot back.  `ret_record` borrows from `scratch`.
 */
LP_MUST_CHECK static inline enum lp_control_pop
lp_control_pop(struct lp_control_end *end, uint8_t *scratch, struct lp_control_record *ret_record)
{
    for (;;) {
        if (end->own == end->seen) {
            /* C1, pairs with X1. */
            const uint64_t tail = lp_load_acquire(&end->ring->tail);
            if (tail - end->own > end->capacity_bytes || tail % 8 != 0) {
                return LP_CONTROL_POP_BROKEN;
            }
            end->seen = tail;
            if (end->own == tail) {
                return LP_CONTROL_POP_EMPTY;
            }
        }
        const uint64_t offset = end->own & (end->capacity_bytes - 1);
        const uint8_t *at = end->ring->data + offset;
        const uint64_t room = LP_MIN(end->seen - end->own, end->capacity_bytes - offset);
        uint32_t size;
        uint16_t version;
        uint16_t type;
        if (room < 8) {
            return LP_CONTROL_POP_BROKEN;
        }
        memcpy(&size, at, 4);
        memcpy(&version, at + 4, 2);
        memcpy(&type, at + 6, 2);
        if (version == 0 && type == 0) {
            if (size != end->capacity_bytes - offset || size > room) {
                return LP_CONTROL_POP_BROKEN;
            }
            end->own += size;
            continue;
        }
        if (version != LP_CONTROL_RECORD_VERSION || size < LP_CONTROL_RECORD_HEADER_BYTES ||
            size - LP_CONTROL_RECORD_HEADER_BYTES > LP_CONTROL_PAYLOAD_MAX_BYTES) {
            return LP_CONTROL_POP_BROKEN;
        }
        const uint32_t payload = size - LP_CONTROL_RECORD_HEADER_BYTES;
        if (lp_control_record_bytes(payload) > room) {
            return LP_CONTROL_POP_BROKEN;
        }
        memcpy(&ret_record->sequence, at + 8, 8);
        memcpy(scratch, at + LP_CONTROL_RECORD_HEADER_BYTES, payload);
        ret_record->type = type;
        ret_record->payload = lp_bytes_of(scratch, payload);
        end->own += lp_control_record_bytes(payload);
        /* X2, pairs with P1: the slot was copied out before it is given back. */
        lp_store_release(&end->ring->head, end->own);
        return LP_CONTROL_POP_RECORD;
    }
}

#ifdef __cplusplus
}
#endif
