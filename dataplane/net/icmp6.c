/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icmp6.c - RFC 4443: echoes are answered, errors about our connections are
 * believed as far as RFC 5927 lets them.
 */
#include <string.h>

#include "icmp_both.h"

enum icmp6_type {
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME_EXCEEDED = 3,
    ICMP6_PARAMETER_PROBLEM = 4,
    ICMP6_ECHO = 128,
    ICMP6_LISTENER_QUERY = 130,
    ICMP6_NEIGHBOUR_SOLICITATION = 135,
    ICMP6_NEIGHBOUR_ADVERTISEMENT = 136,
};

#define MTU_MIN             1280u /* RFC 8200 5 */
#define QUOTE_BYTES_MAX     (MTU_MIN - NET_IPV6_BYTES - NET_ICMP_HEAD_BYTES)
#define UNREACHABLE_PORT    4u
#define PROBLEM_NEXT_HEADER 1u

/* The packet that an error is about: TCP of ours, which has no extension headers. */
static bool
quote_parse(struct lp_reader *reader, struct net_icmp_quote *ret_quote)
{
    struct net_icmp_quote quote;
    const uint32_t version = lp_reader_u32be(reader);
    quote.total_bytes = lp_reader_u16be(reader) + NET_IPV6_BYTES;
    const uint8_t next = lp_reader_u8(reader);
    (void)lp_reader_u8(reader);
    quote.from = lp_reader_take(reader, 16);
    quote.to = lp_reader_take(reader, 16);
    quote.from_port = lp_reader_u16be(reader);
    quote.to_port = lp_reader_u16be(reader);
    quote.seq = lp_reader_u32be(reader);
    if (reader->failed || version >> 28 != 6 || next != NET_PROTOCOL_TCP) {
        return false;
    }
    *ret_quote = quote;
    return true;
}

/* RFC 5927 5, RFC 1122 4.2.3.9 in terms of RFC 4443. */
static enum tcp_icmp
error_kind(uint8_t type, uint8_t code)
{
    if (type == ICMP6_TOO_BIG) {
        return TCP_ICMP_TOO_BIG;
    }
    const bool hard = (type == ICMP6_UNREACHABLE && code == UNREACHABLE_PORT) ||
                      (type == ICMP6_PARAMETER_PROBLEM && code == PROBLEM_NEXT_HEADER);
    return hard ? TCP_ICMP_HARD : TCP_ICMP_SOFT;
}

static void
error_input(struct lp_net *net, const struct net_packet *packet, struct lp_reader *reader)
{
    struct net_icmp_quote quote;
    const enum tcp_icmp kind = error_kind(packet->l4[0], packet->l4[1]);
    uint32_t mtu_bytes = lp_reader_u32be(reader);
    if (packet->to_group || !quote_parse(reader, &quote) ||
        memcmp(quote.from, packet->to, 16) != 0) {
        net->counters.icmp_bad += !net_exception_give(net, packet);
        return;
    }
    /* RFC 8201 4: no smaller than any link, and smaller than what it is about. */
    if (kind == TCP_ICMP_TOO_BIG && (mtu_bytes < MTU_MIN || mtu_bytes >= quote.total_bytes)) {
        mtu_bytes = 0;
    }
    net_icmp_error_pass(net, packet, &quote, kind, mtu_bytes);
}

void
net_icmp6_input(struct lp_net *net, struct net_packet *packet)
{
    static const uint8_t unspecified[16] = {0};
    struct lp_reader reader = lp_reader_of(packet->l4, packet->l4_bytes);
    net->counters.icmp_received++;
    const uint8_t type = lp_reader_u8(&reader);
    (void)lp_reader_u8(&reader);    /* code */
    (void)lp_reader_u16be(&reader); /* checksum */
    const uint32_t pseudo = net_sum_pseudo(LP_ADDRESS_IPV6, packet->from, packet->to,
                                           NET_PROTOCOL_ICMP6, packet->l4_bytes);
    if (reader.failed || packet->l4_bytes < NET_ICMP_HEAD_BYTES || !net_l4_good(packet, pseudo)) {
        net->counters.icmp_bad++;
        return;
    }
    /* Only address detection comes from nobody (RFC 4861 7.1.1). */
    if (type != ICMP6_NEIGHBOUR_SOLICITATION && memcmp(packet->from, unspecified, 16) == 0) {
        net->counters.icmp_bad++;
        return;
    }
    switch (type) {
    case ICMP6_ECHO:
        net_icmp_echo_input(net, packet);
        break;
    case ICMP6_UNREACHABLE:
    case ICMP6_TOO_BIG:
    case ICMP6_TIME_EXCEEDED:
    case ICMP6_PARAMETER_PROBLEM:
        error_input(net, packet, &reader);
        break;
    case ICMP6_NEIGHBOUR_SOLICITATION:
    case ICMP6_NEIGHBOUR_ADVERTISEMENT:
        net_ndp_input(net, packet);
        break;
    case ICMP6_LISTENER_QUERY:
        net_mld_query(net, packet);
        break;
    default:
        /* RFC 4443 2.4 (b): unknown information is dropped.  Routers' advertisements and redirects
         * are: addresses and routes are the operator's.  But the kernel may follow them. */
        (void)net_exception_give(net, packet);
        break;
    }
}

/* Is what this packet holds an error itself, or a redirect?  RFC 4443 2.4 (e.1, e.2). */
static bool
holds_error(const struct net_packet *packet)
{
    return packet->protocol == NET_PROTOCOL_ICMP6 &&
           (packet->l4_bytes == 0 || packet->l4[0] < ICMP6_ECHO || packet->l4[0] == 137);
}

void
net_icmp6_error(struct lp_net *net, const struct net_packet *packet, uint8_t type, uint8_t code,
                uint32_t parameter)
{
    uint8_t head[NET_ICMP_HEAD_BYTES] = {type, code};
    lp_put_u32be(head + 4, parameter);
    /* RFC 4443 2.4 (e.3): but an option may ask for it even then; nothing here has to hear it. */
    if (!packet->to_group && !holds_error(packet)) {
        net_icmp_error_send(net, packet, head, QUOTE_BYTES_MAX);
    }
}
