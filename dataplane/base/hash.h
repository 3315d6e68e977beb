/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h - keyed hash of bytes, and an intrusive hash index that grows a
 * bucket at a time (linear hashing), so that no insert pays for all.
 *
 *   Memory    nodes live in the items; bucket segments come from lp_memory
 *   Runs on   owner core
 *   Limits    items as many as fit memory; a failed growth only lengthens chains;
 *             4 KiB when empty, and down to that again when items go
 *
 * Keys are compared by the caller: lp_hash_first/next give every node with
 * the same 64-bit hash.  Iteration order depends on insertions and the key,
 * never on addresses.
 */
#pragma once

#include <lepus/base.h>
#include <lepus/err.h>

#include "dataplane/base/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lp_hash_key {
    uint64_t word[2]; /* from entropy at boot: peers must not be able to choose collisions */
};

/* SipHash-1-3 of the bytes under the key. */
uint64_t lp_hash_bytes(const struct lp_hash_key *key, const void *data, size_t bytes);

/* Mix a number into a hash (for compound keys such as {vhost, name}). */
static inline uint64_t
lp_hash_mix(uint64_t hash, uint64_t value)
{
    uint64_t x = hash ^ (value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2));
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct lp_hash_node {
    struct lp_hash_node *next;
    uint64_t hash;
};

#define LP_HASH_SEGMENT_BUCKETS 512u
#define LP_HASH_SEGMENTS_MAX    8192u /* 4 Mi buckets */

struct lp_hash {
    struct lp_memory *memory;
    struct lp_hash_node ***segments; /* directory; doubles */
    uint32_t segments_room;
    uint32_t buckets;    /* in use now */
    uint32_t level_mask; /* 2^level - 1; level_mask + 1 <= buckets < 2 * (level_mask + 1) */
    uint32_t count;
};

LP_MUST_CHECK enum lp_err lp_hash_init(struct lp_hash *hash, struct lp_memory *memory);
/* All nodes must be out. */
void lp_hash_fini(struct lp_hash *hash);

void lp_hash_insert(struct lp_hash *hash, struct lp_hash_node *node, uint64_t value);
/* The node must be in. */
void lp_hash_remove(struct lp_hash *hash, struct lp_hash_node *node);

/* First and next node whose hash is `value`; NULL when there is none. */
struct lp_hash_node *lp_hash_first(const struct lp_hash *hash, uint64_t value);
struct lp_hash_node *lp_hash_next(const struct lp_hash_node *node);

#ifdef __cplusplus
}
#endif
