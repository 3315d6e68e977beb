/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ethernet.c - Ethernet II (RFC 894, RFC 2464), with one 802.1Q tag where the
 * port has one.
 */
#include <string.h>

#include "net_private.h"

#define VLAN_ID 0x0fffu

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* RFC 2464 7: the groups that we are in, by their last four bytes. */
static bool
group_ours(const struct net_port *port, const uint8_t *mac)
{
    static const uint8_t all_nodes[4] = {0, 0, 0, 1};
    if (mac[0] != 0x33 || mac[1] != 0x33) {
        return false;
    }
    if (memcmp(mac + 2, all_nodes, 4) == 0) {
        return port->has_ip6;
    }
    for (uint32_t i = 0; i < port->address_count; i++) {
        const struct net_address *address = &port->addresses[i];
        if (address->family == LP_ADDRESS_IPV6 && mac[2] == 0xff &&
            memcmp(mac + 3, address->ip + 13, 3) == 0) {
            return true;
        }
    }
    return false;
}

static bool
destination_ours(const struct net_port *port, const uint8_t *mac, bool *ret_group)
{
    if (LP_LIKELY(memcmp(mac, port->caps.mac, 6) == 0)) {
        *ret_group = false;
        return true;
    }
    *ret_group = true;
    return memcmp(mac, broadcast, 6) == 0 || group_ours(port, mac);
}

/* The type behind a tag that is ours, or behind none.  False: another network's. */
static bool
tag_take(const struct net_port *port, struct lp_reader *reader, uint16_t *type)
{
    if (*type != NET_TYPE_VLAN) {
        return port->config.vlan == 0;
    }
    const uint16_t tag = lp_reader_u16be(reader);
    *type = lp_reader_u16be(reader);
    /* 802.1Q 9.6: number 0 is a priority, not a network. */
    return (tag & VLAN_ID) == port->config.vlan;
}

/* Of another VLAN, of a group that we are not in, or of another station: that is nobody's here. */
static void
foreign_input(struct lp_net *net, const struct net_packet *packet, const uint8_t *to)
{
    const bool station = (to[0] & 1u) == 0;
    if ((packet->from_mac[0] & 1u) != 0 ||
        (station && memcmp(to, net->port[packet->port].caps.mac, 6) != 0) ||
        !net_exception_give(net, packet)) {
        net->counters.frames_foreign++;
    }
}

bool
net_frame_input(struct lp_net *net, uint32_t port_index, struct lp_nic_frame *frame)
{
    const struct net_port *port = &net->port[port_index];
    struct lp_reader reader = lp_reader_of(frame->data, frame->bytes);
    struct net_packet packet = {.frame = frame, .port = (uint8_t)port_index};

    net->counters.frames_received += !net->from_fabric;
    if (LP_UNLIKELY(net->capture.frame != NULL) && !net->from_fabric) {
        net_capture(net, port_index, false, frame);
    }
    const uint8_t *to = lp_reader_take(&reader, 6);
    packet.from_mac = lp_reader_take(&reader, 6);
    uint16_t type = lp_reader_u16be(&reader);
    if (LP_UNLIKELY(reader.failed)) {
        net->counters.frames_short++;
        return false;
    }
    const bool tagged = tag_take(port, &reader, &type);
    if (LP_UNLIKELY(reader.failed)) {
        net->counters.frames_short++;
        return false;
    }
    /* A group never sends (802.3 3.2.3). */
    if (LP_UNLIKELY(!tagged || !destination_ours(port, to, &packet.to_group) ||
                    (packet.from_mac[0] & 1u) != 0)) {
        foreign_input(net, &packet, to);
        return false;
    }
    switch (type) {
    case NET_TYPE_IPV4:
        net_ipv4_input(net, &packet, &reader);
        break;
    case NET_TYPE_IPV6:
        net_ipv6_input(net, &packet, &reader);
        break;
    case NET_TYPE_ARP:
        net_arp_input(net, &packet, &reader);
        break;
    default: /* 802.3 lengths, too: RFC 1122 2.3.3 wants Ethernet II only */
        net->counters.frames_unknown += !net_exception_give(net, &packet);
        break;
    }
    return packet.lent;
}

uint32_t
net_ethernet_write(const struct net_port *port, uint8_t *to, const uint8_t *mac, uint16_t type)
{
    uint8_t *at = lp_put_bytes(to, mac, 6);
    at = lp_put_bytes(at, port->caps.mac, 6);
    if (port->config.vlan != 0) {
        at = lp_put_u16be(at, NET_TYPE_VLAN);
        at = lp_put_u16be(at, port->config.vlan);
    }
    at = lp_put_u16be(at, type);
    return (uint32_t)(at - to);
}
