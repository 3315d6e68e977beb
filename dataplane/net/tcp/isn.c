/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First numbers (RFC 6528 3): a clock of 4 us, and a secret's hash of the flow,
 * so that nobody can guess one connection's from another's.
 */
#include "inbound.h"

static uint64_t
secret_hash(const struct lp_net *net, const void *data, uint32_t bytes)
{
    const struct lp_hash_key key = {{net->tcp->isn_secret[0], net->tcp->isn_secret[1]}};
    return lp_hash_bytes(&key, data, bytes);
}

uint32_t
tcp_isn(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
        uint16_t remote_port)
{
    uint8_t bytes[TCP_FLOW_BYTES_MAX];
    const uint32_t count = tcp_flow_bytes(path, local_port, remote_port, bytes);
    return (uint32_t)(net->now_ns / 4000u) + (uint32_t)secret_hash(net, bytes, count);
}

/* RFC 7323 5.4 and 7.1: the clock tells nobody how long the machine has been up. */
uint32_t
tcp_timestamp_offset(const struct lp_net *net, const struct net_path *path)
{
    uint8_t bytes[TCP_FLOW_BYTES_MAX];
    const uint32_t count = tcp_flow_bytes(path, 0, 0, bytes);
    return (uint32_t)(secret_hash(net, bytes, count) >> 32);
}
