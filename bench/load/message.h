/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.h - what a body says about itself, so that each one can be checked.
 *
 *   bytes 0..7    when it was due, 48 bits of nanoseconds; which run, 16 bits
 *   bytes 8..15   sequence, 32 bits; publisher, 16 bits; a sum over all that, 16 bits
 *   then          filler, the same in every message, of which one in LOAD_FULL_CHECK is compared
 * whole last 8        of bodies of 24 bytes and more: the sequence again, mixed
 *
 * 48 bits are 78 hours of the machine's monotonic clock, so that another process
 * can take what this one sent.
 */
#pragma once

#include <string.h>

#include <lepus/base.h>

#define LOAD_STAMP_BYTES    16u
#define LOAD_TAIL_BYTES     8u
#define LOAD_TAILED_BYTES   (LOAD_STAMP_BYTES + LOAD_TAIL_BYTES) /* bodies from here on have one */
#define LOAD_TIME_MASK      ((1ull << 48) - 1u)
#define LOAD_SUM_SHIFT      48u
#define LOAD_FULL_CHECK     64u
#define LOAD_PUBLISHERS_MAX 65535u

struct load_stamp {
    uint64_t due_ns; /* the lower 48 bits */
    uint32_t sequence;
    uint16_t publisher;
    uint16_t run;
};

static inline uint64_t
load_stamp_sum(uint64_t first, uint64_t second, uint32_t size)
{
    uint64_t mixed = (first ^ 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
    mixed ^= second + size;
    mixed = (mixed ^ (mixed >> 29)) * 0xc4ceb9fe1a85ec53ull;
    return mixed >> LOAD_SUM_SHIFT;
}

static inline uint64_t
load_stamp_tail(uint64_t first, uint64_t second)
{
    return (first ^ second) * 0x9e3779b97f4a7c15ull;
}

/* The two words into a body, the tail into its end if it has one. */
static inline void
load_stamp_write(struct load_stamp stamp, uint32_t size, uint8_t *body, uint8_t *tail)
{
    const uint64_t first = (stamp.due_ns & LOAD_TIME_MASK) | (uint64_t)stamp.run << 48;
    uint64_t second = stamp.sequence | (uint64_t)stamp.publisher << 32;
    second |= load_stamp_sum(first, second, size) << LOAD_SUM_SHIFT;
    memcpy(body, &first, sizeof(first));
    memcpy(body + 8, &second, sizeof(second));
    if (tail != NULL) {
        const uint64_t last = load_stamp_tail(first, second);
        memcpy(tail, &last, sizeof(last));
    }
}

/* False: these are not the words that somebody wrote. `tail` is NULL where there is none. */
static inline bool
load_stamp_read(struct load_stamp *ret_stamp, uint32_t size, const uint8_t *body,
                const uint8_t *tail)
{
    uint64_t first;
    uint64_t second;
    memcpy(&first, body, sizeof(first));
    memcpy(&second, body + 8, sizeof(second));
    const uint64_t bare = second & LOAD_TIME_MASK;
    if (second >> LOAD_SUM_SHIFT != load_stamp_sum(first, bare, size)) {
        return false;
    }
    if (tail != NULL) {
        uint64_t last;
        memcpy(&last, tail, sizeof(last));
        if (last != load_stamp_tail(first, second)) {
            return false;
        }
    }
    ret_stamp->due_ns = first & LOAD_TIME_MASK;
    ret_stamp->run = (uint16_t)(first >> 48);
    ret_stamp->sequence = (uint32_t)second;
    ret_stamp->publisher = (uint16_t)(second >> 32);
    return true;
}

/* Byte `at` of every body, between stamp and tail. */
static inline uint8_t
load_filler(uint32_t at)
{
    return (uint8_t)('a' + at % 23u);
}

/* From a time of 48 bits to now. */
static inline uint64_t
load_since(uint64_t now_ns, uint64_t due_ns)
{
    const uint64_t gone = (now_ns - due_ns) & LOAD_TIME_MASK;
    /* Rounding may have made it due a moment after it was sent. */
    return gone > LOAD_TIME_MASK / 2 ? 0 : gone;
}
