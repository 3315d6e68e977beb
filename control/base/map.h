/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h - keyed hash of bytes and an intrusive hash index.
 *
 * Keys are compared by the caller: lp_map_first/next give every node with the
 * same 64-bit hash.  There is no iteration: what has to be listed is in a
 * chain as well, so that order never depends on addresses.
 *
 *   Memory    nodes live in the items; buckets from the heap
 *   Runs on   control
 */
#pragma once

#include <lepus/bytes.h>

/* From entropy: peers choose names and must not be able to choose collisions. */
struct lp_map_key {
    uint64_t word[2];
};

/* SipHash-1-3 of the bytes, with `salt` (a vhost, a kind) mixed in. */
uint64_t lp_map_hash(const struct lp_map_key *key, uint64_t salt, struct lp_bytes bytes);

static inline uint64_t
lp_map_hash_number(uint64_t number)
{
    uint64_t x = number + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct lp_map_node {
    struct lp_map_node *next;
    uint64_t hash;
};

struct lp_map {
    struct lp_map_node **buckets;
    size_t bucket_count; /* 0 or a power of two */
    size_t count;
};

/* Nodes that are in are forgotten. */
void lp_map_fini(struct lp_map *map);
void lp_map_insert(struct lp_map *map, struct lp_map_node *node, uint64_t hash);
/* The node must be in. */
void lp_map_remove(struct lp_map *map, struct lp_map_node *node);
/* First and next node whose hash is this; NULL when there is none. */
struct lp_map_node *lp_map_first(const struct lp_map *map, uint64_t hash);
struct lp_map_node *lp_map_next(const struct lp_map_node *node);
