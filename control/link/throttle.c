/* SPDX-License-Identifier: Apache-2.0 */
#include "control/link/throttle.h"

#include <lepus/transport.h>

#include <stdlib.h>
#include <string.h>

#include "control/base/heap.h"

struct throttle_peer {
    struct throttle_key key; /* family 0: free */
    uint32_t failures;       /* in the window */
    uint64_t refused;        /* in the penalty */
    uint64_t window_end_ns;
    uint64_t penalty_end_ns; /* 0: none */
};

void
throttle_fini(struct throttle *throttle)
{
    free(throttle->peers);
    throttle->peers = NULL;
}

struct throttle_key
throttle_key_of(uint8_t family, const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct throttle_key key = {.family = family};
    if (family == LP_ADDRESS_IPV6 && memcmp(ip, mapped, sizeof(mapped)) == 0) {
        key.family = LP_ADDRESS_IPV4;
        ip += sizeof(mapped);
    }
    if (key.family == LP_ADDRESS_IPV4) {
        memcpy(&key.prefix, ip, 4);
    } else if (key.family == LP_ADDRESS_IPV6) {
        memcpy(&key.prefix, ip, 8);
    } else {
        key.family = LP_ADDRESS_UNIX;
    }
    return key;
}

static struct throttle_peer *
set_of(const struct throttle *throttle, const struct lp_map_key *hash_key, struct throttle_key key)
{
    const uint64_t hash = lp_map_hash(
        hash_key, key.family, lp_bytes_of((const uint8_t *)&key.prefix, sizeof(key.prefix)));
    return &throttle->peers[hash % THROTTLE_SETS * THROTTLE_WAYS];
}

static struct throttle_peer *
peer_find(struct throttle_peer *set, struct throttle_key key)
{
    for (uint32_t i = 0; i < THROTTLE_WAYS; i++) {
        if (set[i].key.family == key.family && set[i].key.prefix == key.prefix) {
            return &set[i];
        }
    }
    return NULL;
}

static bool
is_over(const struct throttle_peer *peer, uint64_t now_ns)
{
    return now_ns >= LP_MAX(peer->window_end_ns, peer->penalty_end_ns);
}

/* For a new peer: a free place, or that of the one who matters least; NULL: all matter more. */
static struct throttle_peer *
peer_add(struct throttle_peer *set, struct throttle_key key, uint64_t now_ns)
{
    struct throttle_peer *least = NULL;
    for (uint32_t i = 0; i < THROTTLE_WAYS; i++) {
        struct throttle_peer *peer = &set[i];
        if (peer->key.family == 0 || is_over(peer, now_ns)) {
            least = peer;
            break;
        }
        if (now_ns >= peer->penalty_end_ns && (!least || peer->failures < least->failures)) {
            least = peer;
        }
    }
    if (least) {
        *least = (struct throttle_peer){.key = key};
    }
    return least;
}

enum throttle_verdict
throttle_admit(struct throttle *throttle, const struct lp_map_key *hash_key,
               struct throttle_key key, uint64_t now_ns, uint64_t *ret_refused)
{
    struct throttle_peer *peer =
        throttle->peers ? peer_find(set_of(throttle, hash_key, key), key) : NULL;
    *ret_refused = 0;
    if (!peer || peer->penalty_end_ns == 0) {
        return THROTTLE_ADMITTED;
    }
    if (now_ns < peer->penalty_end_ns) {
        peer->refused++;
        return THROTTLE_REFUSED;
    }
    *ret_refused = peer->refused;
    *peer = (struct throttle_peer){0};
    return THROTTLE_ADMITTED_AGAIN;
}

bool
throttle_failed(struct throttle *throttle, const struct lp_map_key *hash_key,
                const struct throttle_limits *limits, struct throttle_key key, uint64_t now_ns)
{
    if (limits->failures == 0) {
        return false;
    }
    if (!throttle->peers) {
        throttle->peers = lp_heap_alloc(THROTTLE_PEERS * sizeof(*throttle->peers));
    }
    struct throttle_peer *set = set_of(throttle, hash_key, key);
    struct throttle_peer *peer = peer_find(set, key);
    peer = peer ? peer : peer_add(set, key, now_ns);
    if (!peer) {
        return false;
    }
    if (now_ns >= peer->window_end_ns) {
        peer->failures = 0;
        peer->window_end_ns = now_ns + limits->window_ns;
    }
    peer->failures++;
    if (peer->failures < limits->failures) {
        return false;
    }
    peer->refused = 0;
    peer->penalty_end_ns = now_ns + limits->penalty_ns;
    return true;
}
