/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icmp.c - RFC 792 as hosts have to speak it (RFC 1122 3.2.2): echoes are
 * answered, errors about our connections are believed as far as RFC 5927
 * lets them.
 *
 * Redirects are not followed: routes are the operator's.  Nothing but echoes
 * is answered: timestamps and masks tell strangers too much.
 */
#include <string.h>

#include "icmp_both.h"

enum icmp_type {
    ICMP_UNREACHABLE = 3,
    ICMP_ECHO = 8,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAMETER_PROBLEM = 12,
};

#define UNREACHABLE_PROTOCOL 2u
#define UNREACHABLE_PORT     3u
#define UNREACHABLE_TOO_BIG  4u
/* RFC 1812 4.3.2.3: as much as fits 576 bytes of packet. */
#define QUOTE_BYTES_MAX (576u - NET_IPV4_BYTES - NET_ICMP_HEAD_BYTES)
/* RFC 791 3.2: no link has less. */
#define MTU_MIN 68u

/* The packet that an error is about: it has to be TCP, whole, and ours (RFC 5927 4.1). */
static bool
quote_parse(struct lp_reader *reader, struct net_icmp_quote *ret_quote)
{
    struct net_icmp_quote quote;
    const uint8_t version = lp_reader_u8(reader);
    (void)lp_reader_u8(reader);
    quote.total_bytes = lp_reader_u16be(reader);
    (void)lp_reader_u16be(reader);
    const uint16_t fragment = lp_reader_u16be(reader);
    (void)lp_reader_u8(reader);
    const uint8_t protocol = lp_reader_u8(reader);
    (void)lp_reader_u16be(reader);
    quote.from = lp_reader_take(reader, 4);
    quote.to = lp_reader_take(reader, 4);
    /* We send no options; somebody on the way may have added some. */
    const uint32_t header_bytes = (version & 0x0fu) * 4u;
    if (reader->failed || version >> 4 != 4 || header_bytes < NET_IPV4_BYTES ||
        protocol != NET_PROTOCOL_TCP || (fragment & 0x1fffu) != 0) {
        return false;
    }
    (void)lp_reader_take(reader, header_bytes - NET_IPV4_BYTES);
    quote.from_port = lp_reader_u16be(reader);
    quote.to_port = lp_reader_u16be(reader);
    quote.seq = lp_reader_u32be(reader);
    if (reader->failed) {
        return false;
    }
    *ret_quote = quote;
    return true;
}

/* RFC 1191 5, 7: routers that are older than it say nothing; then it is the next plateau below. */
static uint16_t
mtu_guess(uint32_t total_bytes)
{
    static const uint16_t plateaus[] = {65535, 32000, 17914, 8166, 4352, 2002,
                                        1492,  1006,  508,   296,  68};
    for (uint32_t i = 0; i < LP_COUNT_OF(plateaus); i++) {
        if (plateaus[i] < total_bytes) {
            return plateaus[i];
        }
    }
    return MTU_MIN;
}

static enum tcp_icmp
error_kind(uint8_t type, uint8_t code)
{
    if (type != ICMP_UNREACHABLE) {
        return TCP_ICMP_SOFT; /* RFC 1122 4.2.3.9 */
    }
    switch (code) {
    case UNREACHABLE_PROTOCOL:
    case UNREACHABLE_PORT:
        return TCP_ICMP_HARD;
    case UNREACHABLE_TOO_BIG:
        return TCP_ICMP_TOO_BIG;
    default:
        return TCP_ICMP_SOFT;
    }
}

static void
error_input(struct lp_net *net, const struct net_packet *packet, struct lp_reader *reader)
{
    const uint8_t type = packet->l4[0];
    const uint8_t code = packet->l4[1];
    struct net_icmp_quote quote;
    (void)lp_reader_u16be(reader);
    uint16_t mtu_bytes = lp_reader_u16be(reader);
    if (packet->to_group || !quote_parse(reader, &quote) ||
        memcmp(quote.from, packet->to, 4) != 0) {
        net->counters.icmp_bad += !net_exception_give(net, packet);
        return;
    }
    const enum tcp_icmp kind = error_kind(type, code);
    if (kind == TCP_ICMP_TOO_BIG) {
        mtu_bytes = mtu_bytes != 0 ? mtu_bytes : mtu_guess(quote.total_bytes);
        /* RFC 1191 4: no smaller than any link, and smaller than what it is about. */
        if (mtu_bytes < MTU_MIN || mtu_bytes >= quote.total_bytes) {
            mtu_bytes = 0;
        }
    }
    net_icmp_error_pass(net, packet, &quote, kind, mtu_bytes);
}

void
net_icmp_input(struct lp_net *net, struct net_packet *packet)
{
    struct lp_reader reader = lp_reader_of(packet->l4, packet->l4_bytes);
    net->counters.icmp_received++;
    const uint8_t type = lp_reader_u8(&reader);
    (void)lp_reader_u8(&reader);    /* code */
    (void)lp_reader_u16be(&reader); /* checksum */
    if (reader.failed || packet->l4_bytes < NET_ICMP_HEAD_BYTES || !net_l4_good(packet, 0)) {
        net->counters.icmp_bad++;
        return;
    }
    switch (type) {
    case ICMP_ECHO:
        net_icmp_echo_input(net, packet);
        break;
    case ICMP_UNREACHABLE:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETER_PROBLEM:
        error_input(net, packet, &reader);
        break;
    default:
        (void)net_exception_give(net, packet);
        break; /* RFC 1122 3.2.2: an unknown type is ignored; RFC 6633: source quench, too */
    }
}

void
net_icmp_unreachable(struct lp_net *net, const struct net_packet *packet, uint8_t code)
{
    const uint8_t head[NET_ICMP_HEAD_BYTES] = {ICMP_UNREACHABLE, code};
    /* RFC 1122 3.2.2: never about what everybody got.  That it is no error, no fragment and from
     * one machine, ipv4.c has seen to. */
    if (!packet->to_group) {
        net_icmp_error_send(net, packet, head, QUOTE_BYTES_MAX);
    }
}
