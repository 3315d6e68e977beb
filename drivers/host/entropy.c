/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <string.h>
#include <sys/random.h>

#define KEY_BYTES 32u
#define ROUNDS    20

static uint32_t
rotate_left(uint32_t x, unsigned by)
{
    return (x << by) | (x >> (32 - by));
}

static void
quarter(uint32_t *s, unsigned a, unsigned b, unsigned c, unsigned d)
{
    s[a] += s[b];
    s[d] = rotate_left(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = rotate_left(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = rotate_left(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = rotate_left(s[b] ^ s[c], 7);
}

/* SPEC RFC 8439 2.3: the block function, with a 64-bit counter and no nonce. */
static void
block_make(const uint32_t key[8], uint64_t counter, uint8_t *ret_block)
{
    const uint32_t start[16] = {
        0x61707865,
        0x3320646e,
        0x79622d32,
        0x6b206574,
        key[0],
        key[1],
        key[2],
        key[3],
        key[4],
        key[5],
        key[6],
        key[7],
        (uint32_t)counter,
        (uint32_t)(counter >> 32),
        0,
        0,
    };
    uint32_t s[16];
    memcpy(s, start, sizeof(s));
    for (int i = 0; i < ROUNDS; i += 2) {
        quarter(s, 0, 4, 8, 12);
        quarter(s, 1, 5, 9, 13);
        quarter(s, 2, 6, 10, 14);
        quarter(s, 3, 7, 11, 15);
        quarter(s, 0, 5, 10, 15);
        quarter(s, 1, 6, 11, 12);
        quarter(s, 2, 7, 8, 13);
        quarter(s, 3, 4, 9, 14);
    }
    for (unsigned i = 0; i < 16; i++) {
        s[i] += start[i];
    }
    memcpy(ret_block, s, sizeof(s));
}

/* The new block's first half replaces the key: who reads our memory learns nothing of the past. */
static void
block_next(struct host_entropy *entropy)
{
    block_make(entropy->key, entropy->counter++, entropy->block);
    memcpy(entropy->key, entropy->block, KEY_BYTES);
    memset(entropy->block, 0, KEY_BYTES);
    entropy->used = KEY_BYTES;
}

bool
host_entropy_init_boot(struct host_entropy *entropy)
{
    *entropy = (struct host_entropy){.used = sizeof(entropy->block)};
    return getrandom(entropy->key, sizeof(entropy->key), 0) == (ssize_t)sizeof(entropy->key);
}

static void
entropy_fill(void *self, void *data, size_t bytes)
{
    struct host_entropy *entropy = self;
    uint8_t *at = data;
    while (bytes > 0) {
        if (entropy->used == sizeof(entropy->block)) {
            block_next(entropy);
        }
        const size_t n = LP_MIN(bytes, sizeof(entropy->block) - entropy->used);
        memcpy(at, entropy->block + entropy->used, n);
        memset(entropy->block + entropy->used, 0, n);
        entropy->used += (uint32_t)n;
        at += n;
        bytes -= n;
    }
}

struct lp_entropy
host_entropy_contract(struct host_entropy *entropy)
{
    return (struct lp_entropy){.fill = entropy_fill, .self = entropy};
}
