/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arp.c - who has which MAC address (RFC 826), and who else has ours
 * (RFC 5227).
 */
#include <string.h>

#include "net_private.h"

#define HARDWARE_ETHERNET 1u
#define OP_REQUEST        1u
#define OP_REPLY          2u
#define PACKET_BYTES      28u
/* The shortest frame of Ethernet, without its FCS: not every device pads. */
#define FRAME_BYTES_MIN 60u

struct arp {
    uint16_t op;
    const uint8_t *sender_mac;
    const uint8_t *sender;
    const uint8_t *target_mac;
    const uint8_t *target;
};

static const uint8_t nobody[16] = {0};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* RFC 826: the checks with question marks; and what RFC 1812 3.3.2 says of groups. */
static bool
arp_parse(struct lp_reader *reader, struct arp *ret_arp)
{
    const uint16_t hardware = lp_reader_u16be(reader);
    const uint16_t protocol = lp_reader_u16be(reader);
    const uint8_t hardware_bytes = lp_reader_u8(reader);
    const uint8_t protocol_bytes = lp_reader_u8(reader);
    struct arp arp = {.op = lp_reader_u16be(reader)};
    arp.sender_mac = lp_reader_take(reader, 6);
    arp.sender = lp_reader_take(reader, 4);
    arp.target_mac = lp_reader_take(reader, 6);
    arp.target = lp_reader_take(reader, 4);
    if (reader->failed || hardware != HARDWARE_ETHERNET || protocol != NET_TYPE_IPV4 ||
        hardware_bytes != 6 || protocol_bytes != 4 ||
        (arp.op != OP_REQUEST && arp.op != OP_REPLY)) {
        return false;
    }
    /* A sender of 0.0.0.0 is a probe (RFC 5227 1.1), which is a request always. */
    const bool probe = memcmp(arp.sender, nobody, 4) == 0;
    if ((arp.sender_mac[0] & 1u) != 0 || memcmp(arp.sender_mac, nobody, 6) == 0 ||
        (probe ? arp.op != OP_REQUEST : !net_ip4_host(arp.sender))) {
        return false;
    }
    *ret_arp = arp;
    return true;
}

static void
arp_send(struct lp_net *net, uint32_t port_index, const uint8_t *mac, const struct arp *arp)
{
    const struct net_port *port = &net->port[port_index];
    struct lp_nic_frame frame;
    const uint32_t bytes = LP_MAX(net_ethernet_bytes(port) + PACKET_BYTES, FRAME_BYTES_MIN);
    uint8_t *to = net_raw_begin(net, port_index, bytes, &frame);
    if (to == NULL) {
        return;
    }
    memset(to, 0, bytes);
    uint8_t *at = to + net_ethernet_write(port, to, mac, NET_TYPE_ARP);
    at = lp_put_u16be(at, HARDWARE_ETHERNET);
    at = lp_put_u16be(at, NET_TYPE_IPV4);
    at = lp_put_u8(at, 6);
    at = lp_put_u8(at, 4);
    at = lp_put_u16be(at, arp->op);
    at = lp_put_bytes(at, port->caps.mac, 6);
    at = lp_put_bytes(at, arp->sender, 4);
    at = lp_put_bytes(at, arp->target_mac, 6);
    lp_put_bytes(at, arp->target, 4);
    net->counters.arp_sent++;
    net_raw_send(net, port_index, &frame);
}

void
net_arp_request(struct lp_net *net, uint32_t port, const uint8_t *source, const uint8_t *target,
                const uint8_t *mac)
{
    const struct arp arp = {.op = OP_REQUEST,
                            .sender = source != NULL ? source : nobody,
                            .target_mac = nobody,
                            .target = target};
    arp_send(net, port, mac != NULL ? mac : everybody, &arp);
}

/* RFC 5227 2.1.1, 2.4: does this packet show that an address of ours is somebody else's? */
static void
conflict_look(struct lp_net *net, const struct net_packet *packet, const struct arp *arp)
{
    struct net_address *address = net_address_find(net, packet->port, LP_ADDRESS_IPV4, arp->sender);
    if (address != NULL) {
        dad_conflict(net, address);
        return;
    }
    /* Another probe for what we are probing ourselves. */
    address = net_address_find(net, packet->port, LP_ADDRESS_IPV4, arp->target);
    if (address != NULL && net_address_probed(address) && memcmp(arp->sender, nobody, 4) == 0) {
        dad_conflict(net, address);
    }
}

/* Would we ask for it on this link?  What we would not, we do not learn. */
static bool
on_link(const struct lp_net *net, uint32_t port_index, const uint8_t *ip)
{
    const struct net_port *port = &net->port[port_index];
    for (uint32_t i = 0; i < port->address_count; i++) {
        const struct net_address *address = &port->addresses[i];
        if (address->family == LP_ADDRESS_IPV4 &&
            net_prefix_equal(ip, address->ip, address->bits)) {
            return !net_ip4_broadcast(net, port_index, ip);
        }
    }
    return false;
}

void
net_arp_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader)
{
    const struct net_port *port = &net->port[packet->port];
    struct arp arp;
    net->counters.arp_received++;
    if (!arp_parse(reader, &arp)) {
        net->counters.arp_bad++;
        return;
    }
    /* All shards have to know; and our own words say nothing about others. */
    fabric_broadcast(net, packet->port, packet->frame);
    if (memcmp(arp.sender_mac, port->caps.mac, 6) == 0) {
        return;
    }
    conflict_look(net, packet, &arp);
    const struct net_address *ours =
        net_address_find(net, packet->port, LP_ADDRESS_IPV4, arp.target);
    /* Who asks for us gets one answer; everything else the kernel may want to know, too. */
    if (arp.op != OP_REQUEST || !net_address_held(ours)) {
        net_exception_copy(net, packet);
    }
    const bool to_us = ours != NULL && net_address_usable(net, ours);
    if (on_link(net, packet->port, arp.sender)) {
        /* RFC 826: the merge flag.  What was not for us makes no entry. */
        const struct net_neighbour_said said = {packet->port, LP_ADDRESS_IPV4, arp.sender,
                                                arp.sender_mac,
                                                !to_us                 ? NET_NEIGHBOUR_TOLD
                                                : arp.op == OP_REQUEST ? NET_NEIGHBOUR_HINT
                                                                       : NET_NEIGHBOUR_ANSWERED};
        net_neighbour_learn(net, &said);
    }
    if (to_us && arp.op == OP_REQUEST && net_answers(net)) {
        const struct arp reply = {.op = OP_REPLY,
                                  .sender = arp.target,
                                  .target_mac = arp.sender_mac,
                                  .target = arp.sender};
        arp_send(net, packet->port, arp.sender_mac, &reply);
    }
}
