/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipv4.c - RFC 791 as hosts have to speak it (RFC 1122 3.2.1).
 *
 * Refused and counted: fragments, source routes.  Other options are stepped
 * over: nothing here asks for any.
 */
#include <string.h>

#include "net_private.h"
#include "tcp/tcp.h"

#define FRAGMENT_MORE        0x2000u
#define FRAGMENT_OFFSET      0x1fffu
#define UNREACHABLE_PROTOCOL 2u
#define UNREACHABLE_PORT     3u

/* RFC 791 3.1: kinds of options, with the copied flag and class. */
enum ipv4_option {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_LSRR = 131,
    OPTION_SSRR = 137,
};

struct ipv4 {
    uint32_t header_bytes;
    uint32_t total_bytes;
    uint16_t fragment;
    uint8_t protocol;
    uint8_t hop_limit;
    const uint8_t *from;
    const uint8_t *to;
    const uint8_t *options;
};

/* RFC 1122 3.2.1.1 to 3.2.1.3, but for addresses: is it a packet? */
static bool
ipv4_parse(struct lp_reader *reader, struct ipv4 *ret_ip)
{
    const size_t room = lp_reader_left(reader);
    struct ipv4 ip = {0};
    const uint8_t version = lp_reader_u8(reader);
    (void)lp_reader_u8(reader); /* type of service */
    ip.total_bytes = lp_reader_u16be(reader);
    (void)lp_reader_u16be(reader); /* identification */
    ip.fragment = lp_reader_u16be(reader);
    ip.hop_limit = lp_reader_u8(reader);
    ip.protocol = lp_reader_u8(reader);
    (void)lp_reader_u16be(reader); /* checksum: with the whole header */
    ip.from = lp_reader_take(reader, 4);
    ip.to = lp_reader_take(reader, 4);
    ip.header_bytes = (version & 0x0fu) * 4u;
    if (reader->failed || version >> 4 != 4 || ip.header_bytes < NET_IPV4_BYTES ||
        ip.total_bytes < ip.header_bytes || ip.total_bytes > room) {
        return false;
    }
    ip.options = lp_reader_take(reader, ip.header_bytes - NET_IPV4_BYTES);
    if (reader->failed) {
        return false;
    }
    *ret_ip = ip;
    return true;
}

/* RFC 791 3.1: well formed, and none that says which way (RFC 7126 4.3, 4.4: drop those). */
static bool
options_good(const struct ipv4 *ip)
{
    struct lp_reader reader = lp_reader_of(ip->options, ip->header_bytes - NET_IPV4_BYTES);
    /* At most 40 bytes, at least one a round. */
    while (lp_reader_left(&reader) > 0) {
        const uint8_t kind = lp_reader_u8(&reader);
        if (kind == OPTION_END) {
            return true;
        }
        if (kind == OPTION_NOP) {
            continue;
        }
        const uint8_t bytes = lp_reader_u8(&reader);
        if (reader.failed || bytes < 2 || kind == OPTION_LSRR || kind == OPTION_SSRR) {
            return false;
        }
        (void)lp_reader_take(&reader, bytes - 2u);
        if (reader.failed) {
            return false;
        }
    }
    return true;
}

static bool
checksum_good(const struct lp_nic_frame *frame, const uint8_t *header, uint32_t bytes)
{
    if ((frame->flags & LP_NIC_IP_BAD) != 0) {
        return false;
    }
    return (frame->flags & LP_NIC_IP_GOOD) != 0 || net_sum(header, bytes, 0) == 0xffffu;
}

/*
 * RFC 1122 3.2.1.3: from one machine, and not us; to us, or to everybody.
 * 3.3.6: what came by broadcast of the link is for everybody, or for nobody.
 */
static bool
addresses_good(const struct lp_net *net, struct net_packet *packet)
{
    if (!net_ip4_host(packet->from) || net_ip4_broadcast(net, packet->port, packet->from) ||
        net_address_find(net, packet->port, LP_ADDRESS_IPV4, packet->from) != NULL) {
        return false;
    }
    const struct net_address *ours =
        net_address_find(net, packet->port, LP_ADDRESS_IPV4, packet->to);
    if (LP_LIKELY(ours != NULL)) {
        return !packet->to_group && net_address_usable(net, ours);
    }
    packet->to_group = true;
    return net_ip4_broadcast(net, packet->port, packet->to);
}

bool
net_l4_good(const struct net_packet *packet, uint32_t pseudo)
{
    if ((packet->frame->flags & LP_NIC_L4_BAD) != 0) {
        return false;
    }
    return packet->l4_checked || net_sum(packet->l4, packet->l4_bytes, pseudo) == 0xffffu;
}

void
net_tcp_steer(struct lp_net *net, struct net_packet *packet)
{
    struct lp_reader reader = lp_reader_of(packet->l4, packet->l4_bytes);
    const uint16_t from_port = lp_reader_u16be(&reader);
    const uint16_t to_port = lp_reader_u16be(&reader);
    /* RFC 9293 3.9.2.3 (MUST-57): no connection has a group at its end. */
    if (LP_UNLIKELY(reader.failed || packet->to_group)) {
        if (!packet->to_group || !net_exception_give(net, packet)) {
            net->counters.tcp_bad++;
        }
        return;
    }
    if ((packet->frame->flags & LP_NIC_L4_BAD) != 0) {
        net->counters.tcp_checksum++;
        return;
    }
    if (net->fabric != NULL && !net->from_fabric) {
        const uint32_t owner = net_steer_owner(net, packet, from_port, to_port);
        if (owner != net->config.shard) {
            net_fabric_forward(net, owner, packet->port, packet->frame);
            return;
        }
    }
    tcp_input(net, packet);
}

static void
deliver(struct lp_net *net, struct net_packet *packet)
{
    switch (packet->protocol) {
    case NET_PROTOCOL_TCP:
        net_tcp_steer(net, packet);
        break;
    case NET_PROTOCOL_ICMP:
        net_icmp_input(net, packet);
        break;
    default:
        if (net_exception_give(net, packet)) {
            break;
        }
        /* RFC 1122 3.2.2.1: nobody here speaks it; of UDP, nobody has the port. */
        net->counters.ip_protocol++;
        net_icmp_unreachable(net, packet,
                             packet->protocol == NET_PROTOCOL_UDP ? UNREACHABLE_PORT
                                                                  : UNREACHABLE_PROTOCOL);
        break;
    }
}

void
net_ipv4_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader)
{
    struct ipv4 ip;
    packet->l3 = reader->at;
    if (LP_UNLIKELY(!ipv4_parse(reader, &ip))) {
        net->counters.ip_bad++;
        return;
    }
    /* RFC 1122 3.2.1.2. */
    if (LP_UNLIKELY(!checksum_good(packet->frame, packet->l3, ip.header_bytes))) {
        net->counters.ip_checksum++;
        return;
    }
    packet->family = LP_ADDRESS_IPV4;
    packet->protocol = ip.protocol;
    packet->hop_limit = ip.hop_limit;
    packet->from = ip.from;
    packet->to = ip.to;
    if (LP_UNLIKELY(!addresses_good(net, packet))) {
        net_exception_foreign(net, packet);
        return;
    }
    /* RFC 894: what Ethernet padded is not the packet's. */
    const uint32_t offset = (uint32_t)(packet->l3 - packet->frame->data) + ip.header_bytes;
    packet->l4 = packet->frame->data + offset;
    packet->l4_bytes = ip.total_bytes - ip.header_bytes;
    packet->l4_checked = (packet->frame->flags & LP_NIC_L4_GOOD) != 0;
    packet->segment_bytes = packet->frame->segment_bytes;
    if (LP_UNLIKELY((ip.fragment & (FRAGMENT_MORE | FRAGMENT_OFFSET)) != 0)) {
        net_exception_fragment(net, packet, (ip.fragment & FRAGMENT_OFFSET) == 0);
        return;
    }
    if (LP_UNLIKELY(ip.header_bytes > NET_IPV4_BYTES && !options_good(&ip))) {
        net->counters.ip_options++;
        return;
    }
    deliver(net, packet);
}
