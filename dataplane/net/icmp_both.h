/* SPDX-License-Identifier: Apache-2.0 */
/* icmp_both.h - what ICMP and ICMPv6 share (icmp_both.c). */
#pragma once

#include "net_private.h"
#include "tcp/tcp.h"

#define NET_ICMP_HEAD_BYTES 8u /* type, code, checksum, and what the type makes of the rest */

/* The packet of TCP that an error is about, in its own words. */
struct net_icmp_quote {
    const uint8_t *from;
    const uint8_t *to;
    uint16_t from_port;
    uint16_t to_port;
    uint32_t seq;
    uint32_t total_bytes;
};

/* An echo that was asked for: answered by the first shard, within a limit. */
void net_icmp_echo_input(struct lp_net *net, const struct net_packet *packet);
/* An error about TCP: to the shard whose connection it is about.  Too big, with an MTU of 0: one
 * that cannot be. */
void net_icmp_error_pass(struct lp_net *net, const struct net_packet *packet,
                         const struct net_icmp_quote *quote, enum tcp_icmp kind,
                         uint32_t mtu_bytes);
/* An error about `packet`, which it quotes; limited in rate.  `head`'s checksum is filled in. */
void net_icmp_error_send(struct lp_net *net, const struct net_packet *packet,
                         const uint8_t head[NET_ICMP_HEAD_BYTES], uint32_t quote_bytes_max);
