/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear hashing (Litwin 1980).  With 2^L <= buckets < 2^(L+1), a hash goes to
 * the bucket of its low L+1 bits, or, when that one does not exist yet, of its
 * low L bits.  An insert above one item a bucket splits one bucket in two; a
 * removal below a quarter joins some of the last ones to their siblings again.
 */
#include <string.h>

#include "dataplane/base/hash.h"

#define DIRECTORY_ROOM_MIN 8u
#define JOINS_MAX          8u
#define SEGMENT_BYTES      (LP_HASH_SEGMENT_BUCKETS * (uint32_t)sizeof(struct lp_hash_node *))

/* --- SipHash-1-3 (Aumasson, Bernstein 2012) ------------------------------- */

static inline uint64_t
rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

uint64_t
lp_hash_bytes(const struct lp_hash_key *key, const void *data, size_t bytes)
{
    uint64_t v[4] = {
        key->word[0] ^ 0x736f6d6570736575u,
        key->word[1] ^ 0x646f72616e646f6du,
        key->word[0] ^ 0x6c7967656e657261u,
        key->word[1] ^ 0x7465646279746573u,
    };
    const uint8_t *at = data;
    size_t left = bytes;

    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)bytes << 56;
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)at[i] << (8 * i);
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* --- the index ------------------------------------------------------------ */

static inline struct lp_hash_node **
bucket_at(const struct lp_hash *hash, uint32_t index)
{
    LP_ASSERT(index < hash->buckets);
    return &hash->segments[index / LP_HASH_SEGMENT_BUCKETS][index % LP_HASH_SEGMENT_BUCKETS];
}

static inline struct lp_hash_node **
bucket_of(const struct lp_hash *hash, uint64_t value)
{
    const uint32_t low = (uint32_t)value;
    uint32_t index = low & (2 * hash->level_mask + 1);
    if (index >= hash->buckets) {
        index = low & hash->level_mask;
    }
    return bucket_at(hash, index);
}

enum lp_err
lp_hash_init(struct lp_hash *hash, struct lp_memory *memory)
{
    void *directory = lp_memory_alloc(memory, DIRECTORY_ROOM_MIN * sizeof(hash->segments[0]));
    if (directory == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    struct lp_hash_node **segment = lp_memory_alloc(memory, SEGMENT_BYTES);
    if (segment == NULL) {
        lp_memory_release(memory, &directory);
        return LP_ERR_NO_MEMORY;
    }
    memset(segment, 0, SEGMENT_BYTES);
    *hash = (struct lp_hash){
        .memory = memory,
        .segments = directory,
        .segments_room = DIRECTORY_ROOM_MIN,
        .buckets = LP_HASH_SEGMENT_BUCKETS,
        .level_mask = LP_HASH_SEGMENT_BUCKETS - 1,
    };
    hash->segments[0] = segment;
    return LP_OK;
}

void
lp_hash_fini(struct lp_hash *hash)
{
    if (hash->segments == NULL) {
        return;
    }
    LP_ASSERT(hash->count == 0);
    for (uint32_t first = 0; first < hash->buckets; first += LP_HASH_SEGMENT_BUCKETS) {
        void *segment = hash->segments[first / LP_HASH_SEGMENT_BUCKETS];
        lp_memory_release(hash->memory, &segment);
    }
    void *directory = hash->segments;
    lp_memory_release(hash->memory, &directory);
    memset(hash, 0, sizeof(*hash));
}

/* Room for one more segment's pointer; at most 64 KiB are copied, each doubling. */
static bool
directory_grow(struct lp_hash *hash)
{
    const uint32_t room = hash->segments_room * 2;
    if (room > LP_HASH_SEGMENTS_MAX) {
        return false;
    }
    struct lp_hash_node ***directory =
        lp_memory_alloc(hash->memory, (uint64_t)room * sizeof(directory[0]));
    if (directory == NULL) {
        return false;
    }
    memcpy(directory, hash->segments, hash->segments_room * sizeof(directory[0]));
    void *old = hash->segments;
    lp_memory_release(hash->memory, &old);
    hash->segments = directory;
    hash->segments_room = room;
    return true;
}

/* The bucket after the last one exists in memory, empty. */
static bool
segment_ready(struct lp_hash *hash)
{
    if (hash->buckets % LP_HASH_SEGMENT_BUCKETS != 0) {
        return true;
    }
    const uint32_t index = hash->buckets / LP_HASH_SEGMENT_BUCKETS;
    if (index == hash->segments_room && !directory_grow(hash)) {
        return false;
    }
    struct lp_hash_node **segment = lp_memory_alloc(hash->memory, SEGMENT_BYTES);
    if (segment == NULL) {
        return false;
    }
    memset(segment, 0, SEGMENT_BYTES);
    hash->segments[index] = segment;
    return true;
}

/* Add a bucket and move into it what belongs there from its sibling. */
static void
bucket_split(struct lp_hash *hash)
{
    if (!segment_ready(hash)) {
        return; /* chains grow longer; the next insert tries again */
    }
    const uint32_t added = hash->buckets++;
    const uint32_t sibling = added & hash->level_mask;
    const uint32_t mask = 2 * hash->level_mask + 1;
    struct lp_hash_node **from = bucket_at(hash, sibling);
    struct lp_hash_node **to = bucket_at(hash, added);

    while (*from != NULL) {
        struct lp_hash_node *node = *from;
        if (((uint32_t)node->hash & mask) != added) {
            from = &node->next;
            continue;
        }
        *from = node->next;
        node->next = NULL;
        *to = node;
        to = &node->next;
    }
    if (hash->buckets == 2 * (hash->level_mask + 1)) {
        hash->level_mask = mask;
    }
}

/* Take the last bucket away; its items go to its sibling. */
static void
bucket_join(struct lp_hash *hash)
{
    if (hash->buckets == hash->level_mask + 1) {
        hash->level_mask /= 2;
    }
    const uint32_t last = hash->buckets - 1;
    struct lp_hash_node **from = bucket_at(hash, last);
    struct lp_hash_node **to = bucket_at(hash, last & hash->level_mask);
    while (*to != NULL) {
        to = &(*to)->next;
    }
    *to = *from;
    *from = NULL;
    hash->buckets = last;
    if (last % LP_HASH_SEGMENT_BUCKETS == 0) {
        void *segment = hash->segments[last / LP_HASH_SEGMENT_BUCKETS];
        lp_memory_release(hash->memory, &segment);
    }
}

void
lp_hash_insert(struct lp_hash *hash, struct lp_hash_node *node, uint64_t value)
{
    struct lp_hash_node **head = bucket_of(hash, value);
    node->hash = value;
    node->next = *head;
    *head = node;
    hash->count++;
    if (hash->count > hash->buckets) {
        bucket_split(hash);
    }
}

void
lp_hash_remove(struct lp_hash *hash, struct lp_hash_node *node)
{
    struct lp_hash_node **at = bucket_of(hash, node->hash);
    while (*at != node) {
        LP_ASSERT(*at != NULL); /* else it was never in */
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    hash->count--;
    /* Four a removal keep pace with a quarter; the rest catches up. */
    for (uint32_t i = 0; i < JOINS_MAX && hash->count < hash->buckets / 4; i++) {
        if (hash->buckets == LP_HASH_SEGMENT_BUCKETS) {
            return;
        }
        bucket_join(hash);
    }
}

struct lp_hash_node *
lp_hash_first(const struct lp_hash *hash, uint64_t value)
{
    struct lp_hash_node *node = *bucket_of(hash, value);
    while (node != NULL && node->hash != value) {
        node = node->next;
    }
    return node;
}

struct lp_hash_node *
lp_hash_next(const struct lp_hash_node *node)
{
    const uint64_t value = node->hash;
    struct lp_hash_node *next = node->next;
    while (next != NULL && next->hash != value) {
        next = next->next;
    }
    return next;
}
