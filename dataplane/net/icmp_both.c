/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icmp_both.c - what ICMP (icmp.c) and ICMPv6 (icmp6.c) have in common: echoes
 * are answered, errors are sent and passed on in the same way, within limits.
 */
#include <string.h>

#include "icmp_both.h"

#define TYPE_ECHO_REPLY  0u   /* RFC 792 */
#define TYPE_ECHO_REPLY6 129u /* RFC 4443 4.2 */
/* RFC 1812 4.3.2.8, RFC 4443 2.4 (f), and a limit for those who ping. */
#define ERRORS_A_SECOND 100u
#define ECHOES_A_SECOND 5000u

static uint8_t
protocol_of(uint8_t family)
{
    return family == LP_ADDRESS_IPV4 ? NET_PROTOCOL_ICMP : NET_PROTOCOL_ICMP6;
}

static void
icmp_send(struct lp_net *net, struct net_out *out, uint32_t bytes)
{
    const struct net_path *path = out->path;
    /* RFC 4443 2.3; RFC 792 sums the message alone. */
    const uint32_t pseudo =
        path->family == LP_ADDRESS_IPV4
            ? 0
            : net_sum_pseudo(LP_ADDRESS_IPV6, path->local, path->remote, NET_PROTOCOL_ICMP6, bytes);
    lp_put_u16be(out->l4 + 2, 0);
    lp_put_u16be(out->l4 + 2, (uint16_t)~net_sum(out->l4, bytes, pseudo));
    net->counters.icmp_sent++;
    net_out_send(net, out, bytes, 0, 0);
}

/* RFC 1122 3.2.2.6, RFC 4443 4.2: the same data, from the address that was asked. */
static void
echo_answer(struct lp_net *net, const struct net_packet *packet)
{
    const bool four = packet->family == LP_ADDRESS_IPV4;
    struct net_path path;
    struct net_out out;
    if (!net_bucket_take(net, &net->echoes, ECHOES_A_SECOND)) {
        net->counters.icmp_limited++;
        return;
    }
    if (!net_path_back(net, packet, &path)) {
        net->counters.ip_no_route++;
        return;
    }
    /* What a device joined or reassembled is no answer that fits. */
    if (packet->l4_bytes + (four ? NET_IPV4_BYTES : NET_IPV6_BYTES) > path.mtu_bytes ||
        !net_out_begin(net, &path, protocol_of(packet->family), packet->l4_bytes, &out)) {
        return;
    }
    memcpy(out.l4, packet->l4, packet->l4_bytes);
    out.l4[0] = four ? TYPE_ECHO_REPLY : TYPE_ECHO_REPLY6;
    icmp_send(net, &out, packet->l4_bytes);
}

void
net_icmp_echo_input(struct lp_net *net, const struct net_packet *packet)
{
    /* RFC 1122 3.2.2.6, RFC 4443 4.2: one to a group may be ignored, and is. */
    if (packet->to_group) {
        (void)net_exception_give(net, packet);
        return;
    }
    if (net_answers(net)) {
        echo_answer(net, packet);
    } else if (!net->from_fabric) {
        net_fabric_forward(net, 0, packet->port, packet->frame);
    }
}

void
net_icmp_error_pass(struct lp_net *net, const struct net_packet *packet,
                    const struct net_icmp_quote *quote, enum tcp_icmp kind, uint32_t mtu_bytes)
{
    struct net_path path = {.family = packet->family};
    memcpy(path.local, quote->from, net_ip_bytes(packet->family));
    memcpy(path.remote, quote->to, net_ip_bytes(packet->family));
    const uint32_t owner = net_steer_owner_of(net, &path, quote->from_port, quote->to_port);
    if (owner != net->config.shard) {
        if (!net->from_fabric) {
            net_fabric_forward(net, owner, packet->port, packet->frame);
        }
        return;
    }
    const struct tcp_icmp_error error = {
        .kind = kind,
        .local_port = quote->from_port,
        .remote_port = quote->to_port,
        .mtu_bytes = (uint16_t)LP_MIN(mtu_bytes, UINT16_MAX),
        .seq = quote->seq,
    };
    if (!tcp_icmp_input(net, &path, &error) &&
        (tcp_listen_knows(net, &path, error.local_port, error.remote_port) ||
         !net_exception_give(net, packet))) {
        net->counters.icmp_bad += kind == TCP_ICMP_TOO_BIG && mtu_bytes == 0;
    }
}

void
net_icmp_error_send(struct lp_net *net, const struct net_packet *packet,
                    const uint8_t head[NET_ICMP_HEAD_BYTES], uint32_t quote_bytes_max)
{
    struct net_path path;
    struct net_out out;
    if (!net_bucket_take(net, &net->errors, ERRORS_A_SECOND)) {
        net->counters.icmp_limited++;
        return;
    }
    const uint32_t packet_bytes = (uint32_t)(packet->l4 - packet->l3) + packet->l4_bytes;
    const uint32_t quoted = LP_MIN(packet_bytes, quote_bytes_max);
    if (!net_path_back(net, packet, &path) ||
        !net_out_begin(net, &path, protocol_of(packet->family), NET_ICMP_HEAD_BYTES + quoted,
                       &out)) {
        return;
    }
    memcpy(out.l4, head, NET_ICMP_HEAD_BYTES);
    memcpy(out.l4 + NET_ICMP_HEAD_BYTES, packet->l3, quoted);
    icmp_send(net, &out, NET_ICMP_HEAD_BYTES + quoted);
}
