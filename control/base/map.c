/* SPDX-License-Identifier: Apache-2.0 */
#include "control/base/map.h"

#include <stdlib.h>

#include "control/base/heap.h"

static uint64_t
rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void
sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t
lp_map_hash(const struct lp_map_key *key, uint64_t salt, struct lp_bytes bytes)
{
    uint64_t v[4] = {
        key->word[0] ^ 0x736f6d6570736575u,
        key->word[1] ^ 0x646f72616e646f6du,
        key->word[0] ^ 0x6c7967656e657261u,
        key->word[1] ^ 0x7465646279746573u,
    };
    sip_word(v, salt);
    uint32_t at = 0;
    for (; at + 8 <= bytes.size; at += 8) {
        uint64_t word;
        memcpy(&word, bytes.data + at, 8);
        sip_word(v, word);
    }
    uint64_t last = (uint64_t)bytes.size << 56;
    for (uint32_t i = 0; at + i < bytes.size; i++) {
        last |= (uint64_t)bytes.data[at + i] << (8 * i);
    }
    sip_word(v, last);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void
lp_map_fini(struct lp_map *map)
{
    free(map->buckets);
    *map = (struct lp_map){0};
}

static void
map_put(struct lp_map *map, struct lp_map_node *node)
{
    struct lp_map_node **bucket = &map->buckets[node->hash & (map->bucket_count - 1)];
    node->next = *bucket;
    *bucket = node;
}

static void
map_grow(struct lp_map *map)
{
    struct lp_map_node **old = map->buckets;
    const size_t old_count = map->bucket_count;
    map->bucket_count = old_count > 0 ? old_count * 2 : 16;
    map->buckets = lp_heap_alloc(map->bucket_count * sizeof(struct lp_map_node *));
    for (size_t i = 0; i < old_count; i++) {
        struct lp_map_node *node = old[i];
        while (node) {
            struct lp_map_node *next = node->next;
            map_put(map, node);
            node = next;
        }
    }
    free(old);
}

void
lp_map_insert(struct lp_map *map, struct lp_map_node *node, uint64_t hash)
{
    if (map->count >= map->bucket_count) {
        map_grow(map);
    }
    node->hash = hash;
    map_put(map, node);
    map->count++;
}

void
lp_map_remove(struct lp_map *map, struct lp_map_node *node)
{
    LP_ASSERT(map->count > 0);
    struct lp_map_node **at = &map->buckets[node->hash & (map->bucket_count - 1)];
    while (*at != node) {
        LP_ASSERT(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    map->count--;
}

static struct lp_map_node *
map_same(struct lp_map_node *node, uint64_t hash)
{
    while (node && node->hash != hash) {
        node = node->next;
    }
    return node;
}

struct lp_map_node *
lp_map_first(const struct lp_map *map, uint64_t hash)
{
    if (map->bucket_count == 0) {
        return NULL;
    }
    return map_same(map->buckets[hash & (map->bucket_count - 1)], hash);
}

struct lp_map_node *
lp_map_next(const struct lp_map_node *node)
{
    return map_same(node->next, node->hash);
}
