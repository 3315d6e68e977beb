/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipv6.c - RFC 8200 as hosts have to speak it.
 *
 * Refused and counted: fragments (but those that are none: RFC 6946), routing
 * headers with segments left, more extension headers or options than anybody
 * needs (RFC 8504 5.3), jumbograms.
 */
#include <string.h>

#include "net_private.h"

#define EXTENSIONS_MAX      6u
#define EXTENSION_BYTES_MAX 512u
#define OPTIONS_MAX         8u /* of a header, padding left out: RFC 8504 5.3 */
#define PADDING_MAX         7u /* likewise: no more than an alignment needs */

/* RFC 8200 4, RFC 4443 3.4. */
enum ipv6_next {
    NEXT_HOP_BY_HOP = 0,
    NEXT_ROUTING = 43,
    NEXT_FRAGMENT = 44,
    NEXT_NONE = 59,
    NEXT_DESTINATION = 60,
};

#define ICMP6_UNREACHABLE       1u
#define ICMP6_PARAMETER_PROBLEM 4u
#define UNREACHABLE_PORT        4u
#define PROBLEM_FIELD           0u
#define PROBLEM_NEXT_HEADER     1u
#define PROBLEM_OPTION          2u

/* Where the walk over extension headers is. */
struct walk {
    struct lp_reader *reader;
    const uint8_t *start; /* of the packet */
    uint32_t next_at;     /* offset of the field that named what comes next */
    uint8_t next;
    /* An error that the packet deserves. */
    bool answer;
    uint8_t code;
    uint32_t pointer;
    bool fragment; /* it ended at a part of a packet; `head`: the first */
    bool head;
};

static bool
problem(struct walk *walk, uint8_t code, const uint8_t *at)
{
    walk->answer = true;
    walk->code = code;
    walk->pointer = (uint32_t)(at - walk->start);
    return false;
}

/* RFC 8200 4.2: an option that nobody here knows says in its first bits what is to be done. */
static bool
option_skip(struct walk *walk, const uint8_t *option, bool to_group)
{
    switch (option[0] >> 6) {
    case 0:
        return true;
    case 1:
        return false;
    case 2:
        return problem(walk, PROBLEM_OPTION, option);
    default:
        return to_group ? false : problem(walk, PROBLEM_OPTION, option);
    }
}

static bool
options_good(struct walk *walk, struct lp_reader *options, bool to_group)
{
    uint32_t count = 0;
    uint32_t padding = 0;
    /* At least a byte a round, of EXTENSION_BYTES_MAX. */
    while (lp_reader_left(options) > 0) {
        const uint8_t *option = options->at;
        const uint8_t kind = lp_reader_u8(options);
        if (kind == 0) { /* Pad1 */
            padding++;
        } else {
            const uint8_t bytes = lp_reader_u8(options);
            (void)lp_reader_take(options, bytes);
            if (options->failed) {
                return false;
            }
            padding = kind == 1 ? padding + 2u + bytes : 0; /* PadN */
            count += kind != 1;
            if (kind != 1 && !option_skip(walk, option, to_group)) {
                return false;
            }
        }
        if (count > OPTIONS_MAX || padding > PADDING_MAX) {
            return false;
        }
    }
    return true;
}

/* RFC 8200 4.4: one that has been everywhere is stepped over; RFC 5095: type 0 never. */
static bool
routing_good(struct walk *walk, const struct lp_bytes *body)
{
    const uint8_t type = body->data[0];
    const uint8_t left = body->data[1];
    return left == 0 && type != 0 ? true : problem(walk, PROBLEM_FIELD, body->data);
}

/* RFC 6946: a fragment that is the whole packet is none. */
static bool
fragment_whole(struct walk *walk)
{
    struct lp_reader *reader = walk->reader;
    walk->next = lp_reader_u8(reader);
    (void)lp_reader_u8(reader);
    const uint16_t offset = lp_reader_u16be(reader);
    (void)lp_reader_u32be(reader);
    walk->fragment = !reader->failed && (offset & 0xfff9u) != 0;
    walk->head = (offset & 0xfff8u) == 0;
    return !reader->failed && !walk->fragment;
}

/* One header of options or of routing. */
static bool
extension_step(struct walk *walk, bool to_group)
{
    struct lp_reader *reader = walk->reader;
    const uint32_t at = (uint32_t)(reader->at - walk->start);
    const uint8_t kind = walk->next;
    walk->next = lp_reader_u8(reader);
    walk->next_at = at;
    const uint32_t bytes = lp_reader_u8(reader) * 8u + 6u;
    const struct lp_bytes body = lp_reader_bytes(reader, bytes);
    if (reader->failed || bytes > EXTENSION_BYTES_MAX) {
        return false;
    }
    if (kind == NEXT_ROUTING) {
        return routing_good(walk, &body);
    }
    struct lp_reader options = lp_reader_of_bytes(body);
    return options_good(walk, &options, to_group);
}

/*
 * To the header that is no extension.  False: refused, and counted.  RFC 8200
 * 4.1: hop-by-hop comes first, or its number is unknown.
 */
static bool
extensions_walk(struct lp_net *net, struct walk *walk, bool to_group)
{
    for (uint32_t i = 0; i <= EXTENSIONS_MAX; i++) {
        bool good;
        if (walk->next == NEXT_HOP_BY_HOP && i > 0) {
            good = problem(walk, PROBLEM_NEXT_HEADER, walk->start + walk->next_at);
        } else if (walk->next == NEXT_HOP_BY_HOP || walk->next == NEXT_ROUTING ||
                   walk->next == NEXT_DESTINATION) {
            good = i < EXTENSIONS_MAX && extension_step(walk, to_group);
        } else if (walk->next == NEXT_FRAGMENT) {
            walk->next_at = (uint32_t)(walk->reader->at - walk->start);
            if (!fragment_whole(walk)) {
                net->counters.ip_fragments += !walk->fragment;
                return false;
            }
            good = i < EXTENSIONS_MAX;
        } else {
            return true;
        }
        if (!good) {
            break;
        }
    }
    net->counters.ip_options++;
    return false;
}

/* RFC 4291 2.8: the groups that we are in. */
static bool
group_ours(const struct lp_net *net, uint32_t port_index, const uint8_t *to)
{
    static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
    const struct net_port *port = &net->port[port_index];
    if (memcmp(to, all_nodes, 16) == 0) {
        return true;
    }
    for (uint32_t i = 0; i < port->address_count; i++) {
        uint8_t group[16];
        if (port->addresses[i].family == LP_ADDRESS_IPV6) {
            net_ndp_group(port->addresses[i].ip, group);
            if (memcmp(group, to, 16) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* From one machine, or from one that has no address yet (only ndp.c hears those); to us. */
static bool
addresses_good(const struct lp_net *net, struct net_packet *packet)
{
    static const uint8_t unspecified[16] = {0};
    const bool nobody = memcmp(packet->from, unspecified, 16) == 0;
    if ((!nobody && !net_ip6_host(packet->from)) ||
        net_address_find(net, packet->port, LP_ADDRESS_IPV6, packet->from) != NULL) {
        return false;
    }
    const struct net_address *ours =
        net_address_find(net, packet->port, LP_ADDRESS_IPV6, packet->to);
    if (LP_LIKELY(ours != NULL)) {
        /* RFC 4862 5.4: a tentative address hears its own detection (to its group) only. */
        return net_address_usable(net, ours) && !nobody;
    }
    packet->to_group = true;
    return group_ours(net, packet->port, packet->to);
}

static void
deliver(struct lp_net *net, struct net_packet *packet, const struct walk *walk)
{
    if (LP_LIKELY(packet->protocol == NET_PROTOCOL_TCP)) {
        net_tcp_steer(net, packet);
        return;
    }
    if (packet->protocol == NET_PROTOCOL_ICMP6) {
        net_icmp6_input(net, packet);
        return;
    }
    if (net_exception_give(net, packet)) {
        return;
    }
    switch (packet->protocol) {
    case NEXT_NONE:
        break; /* RFC 8200 4.7 */
    case NET_PROTOCOL_UDP:
        net->counters.ip_protocol++;
        net_icmp6_error(net, packet, ICMP6_UNREACHABLE, UNREACHABLE_PORT, 0);
        break;
    default:
        net->counters.ip_protocol++;
        net_icmp6_error(net, packet, ICMP6_PARAMETER_PROBLEM, PROBLEM_NEXT_HEADER, walk->next_at);
        break;
    }
}

void
net_ipv6_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader)
{
    struct walk walk = {.reader = reader, .start = reader->at, .next_at = 6};
    const size_t room = lp_reader_left(reader);
    const uint32_t version = lp_reader_u32be(reader);
    const uint32_t payload_bytes = lp_reader_u16be(reader);
    walk.next = lp_reader_u8(reader);
    packet->l3 = walk.start;
    packet->family = LP_ADDRESS_IPV6;
    packet->hop_limit = lp_reader_u8(reader);
    packet->from = lp_reader_take(reader, 16);
    packet->to = lp_reader_take(reader, 16);
    if (LP_UNLIKELY(reader->failed || version >> 28 != 6 ||
                    payload_bytes + NET_IPV6_BYTES > room)) {
        net->counters.ip_bad++;
        return;
    }
    if (LP_UNLIKELY(!addresses_good(net, packet))) {
        net_exception_foreign(net, packet);
        return;
    }
    /* What Ethernet padded is not the packet's. */
    reader->end = walk.start + NET_IPV6_BYTES + payload_bytes;
    const bool walked = extensions_walk(net, &walk, packet->to_group);
    packet->l4 = packet->frame->data + (reader->at - packet->frame->data);
    packet->l4_bytes = (uint32_t)lp_reader_left(reader);
    packet->l4_checked = (packet->frame->flags & LP_NIC_L4_GOOD) != 0;
    packet->segment_bytes = packet->frame->segment_bytes;
    packet->protocol = walk.next;
    if (LP_UNLIKELY(!walked)) {
        if (walk.fragment) {
            net_exception_fragment(net, packet, walk.head);
        }
        if (walk.answer) {
            net_icmp6_error(net, packet, ICMP6_PARAMETER_PROBLEM, walk.code, walk.pointer);
        }
        return;
    }
    deliver(net, packet, &walk);
}
