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

#include "net_private.h"
#include "tcp/tcp.h"

enum icmp_type {
    ICMP_ECHO_REPLY = 0,
    ICMP_UNREACHABLE = 3,
    ICMP_ECHO = 8,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAMETER_PROBLEM = 12,
};

#define UNREACHABLE_PROTOCOL 2u
#define UNREACHABLE_PORT     3u
#define UNREACHABLE_TOO_BIG  4u
#define ICMP_BYTES           8u
/* RFC 1812 4.3.2.3: as much as fits 576 bytes of packet. */
#define QUOTE_BYTES_MAX (576u - NET_IPV4_BYTES - ICMP_BYTES)
/* RFC 1812 4.3.2.8, and a limit for those who ping. */
#define ERRORS_A_SECOND 100u
#define ECHOES_A_SECOND 5000u
/* RFC 791 3.2: no link has less. */
#define MTU_MIN 68u

static void
icmp_send(struct lp_net *net, struct net_out *out, uint32_t bytes)
{
    lp_put_u16be(out->l4 + 2, 0);
    lp_put_u16be(out->l4 + 2, (uint16_t)~net_sum(out->l4, bytes, 0));
    net->counters.icmp_sent++;
    net_out_send(net, out, bytes, 0, 0);
}

/* RFC 1122 3.2.2.6: the same data, from the address that was asked. */
static void
echo_answer(struct lp_net *net, const struct net_packet *packet)
{
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
    if (packet->l4_bytes + NET_IPV4_BYTES > path.mtu_bytes ||
        !net_out_begin(net, &path, NET_PROTOCOL_ICMP, packet->l4_bytes, &out)) {
        return;
    }
    memcpy(out.l4, packet->l4, packet->l4_bytes);
    out.l4[0] = ICMP_ECHO_REPLY;
    icmp_send(net, &out, packet->l4_bytes);
}

static void
echo_input(struct lp_net *net, const struct net_packet *packet)
{
    /* RFC 1122 3.2.2.6: one to a broadcast may be ignored, and is. */
    if (packet->to_group) {
        return;
    }
    if (net_answers(net)) {
        echo_answer(net, packet);
    } else if (!net->from_fabric) {
        net_fabric_forward(net, 0, packet->port, packet->frame);
    }
}

struct quote {
    const uint8_t *from;
    const uint8_t *to;
    uint16_t from_port;
    uint16_t to_port;
    uint32_t seq;
    uint16_t total_bytes;
};

/* The packet that an error is about: it has to be TCP, whole, and ours (RFC 5927 4.1). */
static bool
quote_parse(struct lp_reader *reader, struct quote *ret_quote)
{
    struct quote quote;
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
mtu_guess(uint16_t total_bytes)
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
    struct quote quote;
    struct net_path path = {.family = LP_ADDRESS_IPV4};
    (void)lp_reader_u16be(reader);
    uint16_t mtu_bytes = lp_reader_u16be(reader);
    if (packet->to_group || !quote_parse(reader, &quote) ||
        memcmp(quote.from, packet->to, 4) != 0) {
        net->counters.icmp_bad++;
        return;
    }
    const enum tcp_icmp kind = error_kind(type, code);
    if (kind == TCP_ICMP_TOO_BIG) {
        mtu_bytes = mtu_bytes != 0 ? mtu_bytes : mtu_guess(quote.total_bytes);
        /* RFC 1191 4: no smaller than any link, and smaller than what it is about. */
        if (mtu_bytes < MTU_MIN || mtu_bytes >= quote.total_bytes) {
            net->counters.icmp_bad++;
            return;
        }
    }
    memcpy(path.local, quote.from, 4);
    memcpy(path.remote, quote.to, 4);
    const uint32_t owner = net_steer_owner_of(net, &path, quote.from_port, quote.to_port);
    if (owner != net->config.shard) {
        if (!net->from_fabric) {
            net_fabric_forward(net, owner, packet->port, packet->frame);
        }
        return;
    }
    const struct tcp_icmp_error error = {
        .kind = kind,
        .local_port = quote.from_port,
        .remote_port = quote.to_port,
        .mtu_bytes = mtu_bytes,
        .seq = quote.seq,
    };
    tcp_icmp_input(net, &path, &error);
}

void
net_icmp_input(struct lp_net *net, struct net_packet *packet)
{
    struct lp_reader reader = lp_reader_of(packet->l4, packet->l4_bytes);
    net->counters.icmp_received++;
    const uint8_t type = lp_reader_u8(&reader);
    (void)lp_reader_u8(&reader);    /* code */
    (void)lp_reader_u16be(&reader); /* checksum */
    if (reader.failed || packet->l4_bytes < ICMP_BYTES || !net_l4_good(packet, 0)) {
        net->counters.icmp_bad++;
        return;
    }
    switch (type) {
    case ICMP_ECHO:
        echo_input(net, packet);
        break;
    case ICMP_UNREACHABLE:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETER_PROBLEM:
        error_input(net, packet, &reader);
        break;
    default:
        break; /* RFC 1122 3.2.2: an unknown type is ignored; RFC 6633: source quench, too */
    }
}

void
net_icmp_unreachable(struct lp_net *net, const struct net_packet *packet, uint8_t code)
{
    struct net_path path;
    struct net_out out;
    /* RFC 1122 3.2.2: never about what everybody got.  That it is no error, no fragment and from
     * one machine, ipv4.c has seen to. */
    if (packet->to_group) {
        return;
    }
    if (!net_bucket_take(net, &net->errors, ERRORS_A_SECOND)) {
        net->counters.icmp_limited++;
        return;
    }
    const uint32_t packet_bytes = (uint32_t)(packet->l4 - packet->l3) + packet->l4_bytes;
    const uint32_t quoted = LP_MIN(packet_bytes, QUOTE_BYTES_MAX);
    if (!net_path_back(net, packet, &path) ||
        !net_out_begin(net, &path, NET_PROTOCOL_ICMP, ICMP_BYTES + quoted, &out)) {
        return;
    }
    memset(out.l4, 0, ICMP_BYTES);
    out.l4[0] = ICMP_UNREACHABLE;
    out.l4[1] = code;
    memcpy(out.l4 + ICMP_BYTES, packet->l3, quoted);
    icmp_send(net, &out, ICMP_BYTES + quoted);
}
