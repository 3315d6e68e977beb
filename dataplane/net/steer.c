/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steer.c - whose flow: the hash that devices make (Microsoft's "RSS hash",
 * Toeplitz), 128 buckets, dealt out to the shards in turn.
 *
 * A nibble of the input at a place adds the same to the hash whatever is
 * around it, so a table of 72 places by 16 values replaces the loop over bits.
 */
#include <string.h>

#include "net_private.h"

#define INPUT_BYTES_MAX 36u /* two addresses of IPv6, two ports */
#define NIBBLES_MAX     (2 * INPUT_BYTES_MAX)

struct net_steer {
    bool trusted[LP_NET_PORTS_MAX]; /* the device hashes with our key */
    uint32_t table[NIBBLES_MAX][16];
};

/* Microsoft's verification suite has it, and with it most devices when nobody says otherwise. */
static const uint8_t usual_key[NET_STEER_KEY_BYTES] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

const uint8_t *
lp_net_rss_key(void)
{
    return usual_key;
}

/* 32 bits of the key from this bit on. */
static uint32_t
key_window(const uint8_t *key, uint32_t bit)
{
    const uint32_t byte = bit / 8;
    uint64_t window = 0;
    for (uint32_t i = 0; i < 5; i++) {
        window = window << 8 | (byte + i < NET_STEER_KEY_BYTES ? key[byte + i] : 0u);
    }
    return (uint32_t)(window >> (8 - bit % 8));
}

uint32_t
net_toeplitz(const uint8_t *key, const uint8_t *data, uint32_t bytes)
{
    LP_ASSERT(bytes <= INPUT_BYTES_MAX);
    uint32_t hash = 0;
    for (uint32_t bit = 0; bit < bytes * 8; bit++) {
        if (((data[bit / 8] >> (7 - bit % 8)) & 1u) != 0) {
            hash ^= key_window(key, bit);
        }
    }
    return hash;
}

enum lp_err
net_steer_init_boot(struct lp_net *net)
{
    if (net->config.shard_count == 1) {
        return LP_OK;
    }
    struct net_steer *steer = lp_memory_alloc(net->memory, sizeof(*steer));
    if (steer == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(steer, 0, sizeof(*steer));
    const uint8_t *key = usual_key;
    for (uint32_t i = net->config.port_count; i > 0; i--) {
        if (net->port[i - 1].caps.hash) {
            key = net->port[i - 1].caps.rss_key;
        }
    }
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        const struct lp_nic_caps *caps = &net->port[i].caps;
        steer->trusted[i] = caps->hash && memcmp(caps->rss_key, key, NET_STEER_KEY_BYTES) == 0;
    }
    for (uint32_t nibble = 0; nibble < NIBBLES_MAX; nibble++) {
        for (uint32_t value = 0; value < 16; value++) {
            uint32_t hash = 0;
            for (uint32_t bit = 0; bit < 4; bit++) {
                hash ^= (value & (8u >> bit)) != 0 ? key_window(key, nibble * 4 + bit) : 0u;
            }
            steer->table[nibble][value] = hash;
        }
    }
    net->steer = steer;
    return LP_OK;
}

static uint32_t
table_hash(const struct net_steer *steer, const uint8_t *data, uint32_t bytes)
{
    uint32_t hash = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        hash ^= steer->table[2 * (size_t)i][data[i] >> 4] ^
                steer->table[2 * (size_t)i + 1][data[i] & 0x0fu];
    }
    return hash;
}

static uint32_t
flow_hash(const struct net_steer *steer, const struct net_path *path, uint16_t local_port,
          uint16_t remote_port)
{
    uint8_t input[INPUT_BYTES_MAX];
    const uint32_t bytes = net_ip_bytes(path->family);
    /* As the device sees what is received: from the peer, to us. */
    uint8_t *at = lp_put_bytes(input, path->remote, bytes);
    at = lp_put_bytes(at, path->local, bytes);
    at = lp_put_u16be(at, remote_port);
    at = lp_put_u16be(at, local_port);
    return table_hash(steer, input, (uint32_t)(at - input));
}

static uint32_t
owner_of(const struct lp_net *net, uint32_t hash)
{
    return hash % NET_BUCKETS % net->config.shard_count;
}

uint32_t
net_steer_owner(const struct lp_net *net, const struct net_packet *packet, uint16_t from_port,
                uint16_t to_port)
{
    if (net->steer == NULL) {
        return 0;
    }
    if (packet->frame->flow_hash != 0 && net->steer->trusted[packet->port]) {
        return owner_of(net, packet->frame->flow_hash);
    }
    struct net_path path = {.family = packet->family};
    memcpy(path.remote, packet->from, net_ip_bytes(packet->family));
    memcpy(path.local, packet->to, net_ip_bytes(packet->family));
    return owner_of(net, flow_hash(net->steer, &path, to_port, from_port));
}

uint32_t
net_steer_owner_of(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
                   uint16_t remote_port)
{
    return net->steer == NULL ? 0
                              : owner_of(net, flow_hash(net->steer, path, local_port, remote_port));
}
