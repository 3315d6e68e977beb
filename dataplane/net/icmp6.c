/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icmp6.c - RFC 4443: echoes are answered, errors about our connections are
 * believed as far as RFC 5927 lets them.
 */
#include <string.h>

#include "net_private.h"
#include "tcp/tcp.h"

enum icmp6_type {
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME_EXCEEDED = 3,
    ICMP6_PARAMETER_PROBLEM = 4,
    ICMP6_ECHO = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_LISTENER_QUERY = 130,
    ICMP6_NEIGHBOUR_SOLICITATION = 135,
    ICMP6_NEIGHBOUR_ADVERTISEMENT = 136,
};

#define ICMP6_BYTES         8u
#define MTU_MIN             1280u /* RFC 8200 5 */
#define QUOTE_BYTES_MAX     (MTU_MIN - NET_IPV6_BYTES - ICMP6_BYTES)
#define UNREACHABLE_PORT    4u
#define PROBLEM_NEXT_HEADER 1u
/* RFC 4443 2.4 (f), and a limit for those who ping. */
#define ERRORS_A_SECOND 100u
#define ECHOES_A_SECOND 5000u

static void
icmp6_send(struct lp_net *net, struct net_out *out, uint32_t bytes)
{
    const struct net_path *path = out->path;
    lp_put_u16be(out->l4 + 2, 0);
    /* RFC 4443 2.3. */
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV6, path->local, path->remote, NET_PROTOCOL_ICMP6, bytes);
    lp_put_u16be(out->l4 + 2, (uint16_t)~net_sum(out->l4, bytes, pseudo));
    net->counters.icmp_sent++;
    net_out_send(net, out, bytes, 0, 0);
}

/* RFC 4443 4.2: the same data, from the address that was asked. */
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
    if (packet->l4_bytes + NET_IPV6_BYTES > path.mtu_bytes ||
        !net_out_begin(net, &path, NET_PROTOCOL_ICMP6, packet->l4_bytes, &out)) {
        return;
    }
    memcpy(out.l4, packet->l4, packet->l4_bytes);
    out.l4[0] = ICMP6_ECHO_REPLY;
    icmp6_send(net, &out, packet->l4_bytes);
}

static void
echo_input(struct lp_net *net, const struct net_packet *packet)
{
    /* RFC 4443 4.2: one to a group may be answered, and is not. */
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
    uint32_t total_bytes;
};

/* The packet that an error is about: TCP of ours, which has no extension headers. */
static bool
quote_parse(struct lp_reader *reader, struct quote *ret_quote)
{
    struct quote quote;
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
    struct quote quote;
    struct net_path path = {.family = LP_ADDRESS_IPV6};
    const enum tcp_icmp kind = error_kind(packet->l4[0], packet->l4[1]);
    const uint32_t mtu_bytes = lp_reader_u32be(reader);
    if (packet->to_group || !quote_parse(reader, &quote) ||
        memcmp(quote.from, packet->to, 16) != 0) {
        net->counters.icmp_bad++;
        return;
    }
    /* RFC 8201 4: no smaller than any link, and smaller than what it is about. */
    if (kind == TCP_ICMP_TOO_BIG && (mtu_bytes < MTU_MIN || mtu_bytes >= quote.total_bytes)) {
        net->counters.icmp_bad++;
        return;
    }
    memcpy(path.local, quote.from, 16);
    memcpy(path.remote, quote.to, 16);
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
        .mtu_bytes = (uint16_t)LP_MIN(mtu_bytes, UINT16_MAX),
        .seq = quote.seq,
    };
    tcp_icmp_input(net, &path, &error);
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
    if (reader.failed || packet->l4_bytes < ICMP6_BYTES || !net_l4_good(packet, pseudo)) {
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
        echo_input(net, packet);
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
         * are: addresses and routes are the operator's. */
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
    struct net_path path;
    struct net_out out;
    /* RFC 4443 2.4 (e.3): but an option may ask for it even then; nothing here has to hear it. */
    if (packet->to_group || holds_error(packet)) {
        return;
    }
    if (!net_bucket_take(net, &net->errors, ERRORS_A_SECOND)) {
        net->counters.icmp_limited++;
        return;
    }
    const uint32_t packet_bytes = (uint32_t)(packet->l4 - packet->l3) + packet->l4_bytes;
    const uint32_t quoted = LP_MIN(packet_bytes, QUOTE_BYTES_MAX);
    if (!net_path_back(net, packet, &path) ||
        !net_out_begin(net, &path, NET_PROTOCOL_ICMP6, ICMP6_BYTES + quoted, &out)) {
        return;
    }
    out.l4[0] = type;
    out.l4[1] = code;
    lp_put_u32be(out.l4 + 4, parameter);
    memcpy(out.l4 + ICMP6_BYTES, packet->l3, quoted);
    icmp6_send(net, &out, ICMP6_BYTES + quoted);
}
