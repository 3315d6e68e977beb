/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ndp.c - neighbour discovery as hosts have to speak it (RFC 4861 7), and the
 * reports of listening to groups that switches want to see (RFC 3810 5.2).
 *
 * Routers' advertisements and redirects are not followed: addresses and routes
 * are the operator's.
 */
#include <string.h>

#include "net_private.h"

#define TYPE_SOLICITATION  135u
#define TYPE_ADVERTISEMENT 136u
#define TYPE_REPORT        143u
#define MESSAGE_BYTES      24u
#define OPTION_SOURCE      1u
#define OPTION_TARGET      2u
#define OPTION_BYTES       8u
#define OPTIONS_MAX        32u
#define FLAG_SOLICITED     0x40000000u
#define FLAG_OVERRIDE      0x20000000u
#define HOP_LIMIT          255u /* RFC 4861 7.1: what came over a router has less */
/* RFC 3810 5.2. */
#define REPORT_RECORD_BYTES 20u
#define REPORT_EXCLUDE      4u /* CHANGE_TO_EXCLUDE_MODE: from everybody from now on */
#define ROUTER_ALERT_BYTES  8u

static const uint8_t unspecified[16] = {0};
static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t all_mld_routers[16] = {0xff, 0x02, [15] = 0x16};

struct ndp {
    uint8_t type;
    uint32_t flags;
    const uint8_t *target;
    const uint8_t *mac; /* of the option that goes with the type; NULL: there is none */
};

void
net_ndp_group(const uint8_t *target, uint8_t *ret_group)
{
    static const uint8_t prefix[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
    memcpy(ret_group, prefix, 13);
    memcpy(ret_group + 13, target + 13, 3);
}

/* RFC 2464 7. */
static void
group_mac(const uint8_t *group, uint8_t *ret_mac)
{
    ret_mac[0] = 0x33;
    ret_mac[1] = 0x33;
    memcpy(ret_mac + 2, group + 12, 4);
}

/* ---- received ---- */

/* RFC 4861 4.6, 7.1: no option is empty; unknown ones are stepped over. */
static bool
options_parse(struct lp_reader *reader, uint8_t wanted, const uint8_t **ret_mac)
{
    *ret_mac = NULL;
    for (uint32_t i = 0; i < OPTIONS_MAX && lp_reader_left(reader) > 0; i++) {
        const uint8_t kind = lp_reader_u8(reader);
        const uint32_t bytes = lp_reader_u8(reader) * OPTION_BYTES;
        if (reader->failed || bytes == 0) {
            return false;
        }
        const uint8_t *body = lp_reader_take(reader, bytes - 2u);
        if (body == NULL) {
            return false;
        }
        if (kind == wanted && bytes == OPTION_BYTES) {
            /* A group is nobody's address. */
            if ((body[0] & 1u) != 0) {
                return false;
            }
            *ret_mac = body;
        }
    }
    return lp_reader_left(reader) == 0;
}

/* RFC 4861 7.1.1, 7.1.2. */
static bool
ndp_parse(const struct net_packet *packet, struct ndp *ret_ndp)
{
    struct lp_reader reader = lp_reader_of(packet->l4, packet->l4_bytes);
    struct ndp ndp;
    ndp.type = lp_reader_u8(&reader);
    const uint8_t code = lp_reader_u8(&reader);
    (void)lp_reader_u16be(&reader);
    ndp.flags = lp_reader_u32be(&reader);
    ndp.target = lp_reader_take(&reader, 16);
    if (reader.failed || packet->hop_limit != HOP_LIMIT || code != 0 || ndp.target[0] == 0xff) {
        return false;
    }
    const bool solicitation = ndp.type == TYPE_SOLICITATION;
    if (!options_parse(&reader, solicitation ? OPTION_SOURCE : OPTION_TARGET, &ndp.mac)) {
        return false;
    }
    if (solicitation && memcmp(packet->from, unspecified, 16) == 0) {
        /* Detection goes to the target's group, and from nobody. */
        uint8_t group[16];
        net_ndp_group(ndp.target, group);
        if (ndp.mac != NULL || memcmp(packet->to, group, 16) != 0) {
            return false;
        }
    }
    if (!solicitation && packet->to[0] == 0xff && (ndp.flags & FLAG_SOLICITED) != 0) {
        return false;
    }
    *ret_ndp = ndp;
    return true;
}

/* ---- sent ---- */

/* An ICMPv6 packet of the link: from, to, and where. */
struct ndp_out {
    struct lp_nic_frame frame;
    uint8_t *l3;
    uint8_t *l4;
    uint32_t l4_bytes;
};

static bool
ndp_begin(struct lp_net *net, uint32_t port_index, const uint8_t *mac, uint32_t l4_bytes,
          struct ndp_out *ret_out)
{
    const struct net_port *port = &net->port[port_index];
    struct ndp_out out;
    const uint32_t l3_offset = net_ethernet_bytes(port);
    uint8_t *to = net_raw_begin(net, port_index, l3_offset + NET_IPV6_BYTES + l4_bytes, &out.frame);
    if (to == NULL) {
        return false;
    }
    net_link_write(port, LP_ADDRESS_IPV6, mac, to);
    out.l3 = to + l3_offset;
    out.l4 = out.l3 + NET_IPV6_BYTES;
    out.l4_bytes = l4_bytes;
    *ret_out = out;
    return true;
}

static void
ip6_write(uint8_t *to, uint32_t payload_bytes, uint8_t next, uint8_t hop_limit,
          const uint8_t *from_to[2])
{
    uint8_t *at = lp_put_u32be(to, 0x60000000u);
    at = lp_put_u16be(at, (uint16_t)payload_bytes);
    at = lp_put_u8(at, next);
    at = lp_put_u8(at, hop_limit);
    at = lp_put_bytes(at, from_to[0], 16);
    lp_put_bytes(at, from_to[1], 16);
}

static void
checksum_write(uint8_t *icmp, uint32_t bytes, const uint8_t *from_to[2])
{
    lp_put_u16be(icmp + 2, 0);
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV6, from_to[0], from_to[1], NET_PROTOCOL_ICMP6, bytes);
    lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, bytes, pseudo));
}

/* A solicitation or advertisement; `ndp->mac` is where it goes, its option holds ours or is left
 * out. */
static void
ndp_send(struct lp_net *net, uint32_t port_index, const struct ndp *ndp, bool option,
         const uint8_t *from_to[2])
{
    struct ndp_out out;
    const uint32_t bytes = MESSAGE_BYTES + (option ? OPTION_BYTES : 0u);
    if (!ndp_begin(net, port_index, ndp->mac, bytes, &out)) {
        return;
    }
    ip6_write(out.l3, bytes, NET_PROTOCOL_ICMP6, HOP_LIMIT, from_to);
    uint8_t *at = lp_put_u8(out.l4, ndp->type);
    at = lp_put_u8(at, 0);
    at = lp_put_u16be(at, 0);
    at = lp_put_u32be(at, ndp->flags);
    at = lp_put_bytes(at, ndp->target, 16);
    if (option) {
        at = lp_put_u8(at, ndp->type == TYPE_SOLICITATION ? OPTION_SOURCE : OPTION_TARGET);
        at = lp_put_u8(at, 1);
        lp_put_bytes(at, net->port[port_index].caps.mac, 6);
    }
    checksum_write(out.l4, bytes, from_to);
    net->counters.ndp_sent++;
    net_raw_send(net, port_index, &out.frame);
}

void
net_ndp_solicit(struct lp_net *net, uint32_t port, const uint8_t *source, const uint8_t *target,
                const uint8_t *mac)
{
    uint8_t group[16];
    uint8_t to_mac[6];
    net_ndp_group(target, group);
    group_mac(group, to_mac);
    const struct ndp ndp = {
        .type = TYPE_SOLICITATION, .target = target, .mac = mac != NULL ? mac : to_mac};
    const uint8_t *from_to[2] = {source != NULL ? source : unspecified,
                                 mac != NULL ? target : group};
    const struct net_address *ours =
        source != NULL ? net_address_find(net, port, LP_ADDRESS_IPV6, source) : NULL;
    /* RFC 4861 4.3; RFC 4429 3.2: from an address that may be another's, others are not told ours.
     */
    ndp_send(net, port, &ndp, ours != NULL && ours->state == NET_PREFERRED, from_to);
}

void
net_ndp_announce(struct lp_net *net, const struct net_address *address)
{
    uint8_t to_mac[6];
    group_mac(all_nodes, to_mac);
    const struct ndp ndp = {
        .type = TYPE_ADVERTISEMENT, .flags = FLAG_OVERRIDE, .target = address->ip, .mac = to_mac};
    const uint8_t *from_to[2] = {address->ip, all_nodes};
    ndp_send(net, address->port, &ndp, true, from_to);
}

/* RFC 4861 7.2.4; RFC 4429 3.3: without override while it may be another's. */
static void
advertise(struct lp_net *net, const struct net_packet *packet, const struct net_address *address)
{
    const uint32_t override = address->state == NET_PREFERRED ? FLAG_OVERRIDE : 0u;
    const struct ndp ndp = {.type = TYPE_ADVERTISEMENT,
                            .flags = FLAG_SOLICITED | override,
                            .target = address->ip,
                            .mac = packet->from_mac};
    const uint8_t *from_to[2] = {address->ip, packet->from};
    ndp_send(net, packet->port, &ndp, true, from_to);
}

/* ---- what it means ---- */

static void
solicitation_input(struct lp_net *net, const struct net_packet *packet, const struct ndp *ndp)
{
    struct net_address *address = net_address_find(net, packet->port, LP_ADDRESS_IPV6, ndp->target);
    if (address == NULL) {
        return;
    }
    if (memcmp(packet->from, unspecified, 16) == 0) {
        /* RFC 4862 5.4.3: another one wants what we want; 5.4.4 is what tells it that it is ours.
         */
        if (net_address_probed(address)) {
            dad_conflict(net, address);
        } else if (address->state == NET_PREFERRED && net_answers(net)) {
            net_ndp_announce(net, address);
        }
        return;
    }
    if (!net_address_usable(net, address)) {
        return;
    }
    if (ndp->mac != NULL) {
        const struct net_neighbour_said said = {packet->port, LP_ADDRESS_IPV6, packet->from,
                                                ndp->mac, NET_NEIGHBOUR_HINT};
        net_neighbour_learn(net, &said);
    }
    if (net_answers(net)) {
        advertise(net, packet, address);
    }
}

static void
advertisement_input(struct lp_net *net, const struct net_packet *packet, const struct ndp *ndp)
{
    struct net_address *address = net_address_find(net, packet->port, LP_ADDRESS_IPV6, ndp->target);
    if (address != NULL) {
        dad_conflict(net, address); /* RFC 4862 5.4.4 */
        return;
    }
    const bool override = (ndp->flags & FLAG_OVERRIDE) != 0;
    const bool solicited = (ndp->flags & FLAG_SOLICITED) != 0;
    enum net_neighbour_news news = override ? NET_NEIGHBOUR_TOLD : NET_NEIGHBOUR_KEPT;
    if (solicited) {
        news = override ? NET_NEIGHBOUR_ANSWERED : NET_NEIGHBOUR_ANSWERED_KEPT;
    }
    const struct net_neighbour_said said = {packet->port, LP_ADDRESS_IPV6, ndp->target, ndp->mac,
                                            news};
    net_neighbour_learn(net, &said);
}

void
net_ndp_input(struct lp_net *net, struct net_packet *packet)
{
    struct ndp ndp;
    net->counters.ndp_received++;
    if (!ndp_parse(packet, &ndp)) {
        net->counters.ndp_bad++;
        return;
    }
    fabric_broadcast(net, packet->port, packet->frame);
    /* RFC 4862 5.4.3: what a link gives back to us says nothing. */
    if (memcmp(packet->from_mac, net->port[packet->port].caps.mac, 6) == 0) {
        return;
    }
    /* Who asks for us gets one answer; everything else the kernel may want to know, too. */
    if (ndp.type != TYPE_SOLICITATION ||
        !net_address_held(net_address_find(net, packet->port, LP_ADDRESS_IPV6, ndp.target))) {
        net_exception_copy(net, packet);
    }
    if (ndp.type == TYPE_SOLICITATION) {
        solicitation_input(net, packet, &ndp);
    } else {
        advertisement_input(net, packet, &ndp);
    }
}

/* ---- groups that we listen to ---- */

/* The link's address, or nobody while it may be another's (RFC 3590 3, 4). */
static const uint8_t *
report_source(const struct net_port *port)
{
    for (uint32_t i = 0; i < port->address_count; i++) {
        const struct net_address *address = &port->addresses[i];
        if (address->family == LP_ADDRESS_IPV6 && address->state == NET_PREFERRED &&
            net_ip6_link_local(address->ip)) {
            return address->ip;
        }
    }
    return unspecified;
}

void
net_mld_report(struct lp_net *net, uint32_t port_index)
{
    /* RFC 2711: routers on the way look at it. */
    static const uint8_t alert[ROUTER_ALERT_BYTES] = {NET_PROTOCOL_ICMP6, 0, 5, 2, 0, 0, 1, 0};
    const struct net_port *port = &net->port[port_index];
    uint32_t records = 0;
    for (uint32_t i = 0; i < port->address_count; i++) {
        records += port->addresses[i].family == LP_ADDRESS_IPV6 &&
                   port->addresses[i].state != NET_DUPLICATE;
    }
    const uint32_t bytes = 8 + records * REPORT_RECORD_BYTES;
    uint8_t mac[6];
    struct ndp_out out;
    group_mac(all_mld_routers, mac);
    if (records == 0 || !ndp_begin(net, port_index, mac, ROUTER_ALERT_BYTES + bytes, &out)) {
        return;
    }
    const uint8_t *from_to[2] = {report_source(port), all_mld_routers};
    ip6_write(out.l3, ROUTER_ALERT_BYTES + bytes, 0, 1, from_to);
    uint8_t *icmp = lp_put_bytes(out.l4, alert, ROUTER_ALERT_BYTES);
    memset(icmp, 0, bytes);
    icmp[0] = TYPE_REPORT;
    lp_put_u16be(icmp + 6, (uint16_t)records);
    uint8_t *at = icmp + 8;
    for (uint32_t i = 0; i < port->address_count; i++) {
        if (port->addresses[i].family == LP_ADDRESS_IPV6 &&
            port->addresses[i].state != NET_DUPLICATE) {
            at[0] = REPORT_EXCLUDE;
            net_ndp_group(port->addresses[i].ip, at + 4);
            at += REPORT_RECORD_BYTES;
        }
    }
    checksum_write(icmp, bytes, from_to);
    net->counters.ndp_sent++;
    net_raw_send(net, port_index, &out.frame);
}

void
net_mld_query(struct lp_net *net, const struct net_packet *packet)
{
    /* RFC 3810 5.1.14, 6.2: from the link, and nobody gets more reports out of us than questions
     * and a limit. */
    net_exception_copy(net, packet);
    if (!net_answers(net)) {
        if (!net->from_fabric) {
            net_fabric_forward(net, 0, packet->port, packet->frame);
        }
        return;
    }
    if (packet->hop_limit == 1 && net_ip6_link_local(packet->from) &&
        net_bucket_take(net, &net->reports, 10)) {
        net_mld_report(net, packet->port);
    }
}
