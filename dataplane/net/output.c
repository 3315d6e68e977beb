/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output.c - frames on their way out: headers of network and link, checksums
 * by the device or by us, a burst a port and turn.
 */
#include <string.h>

#include "net_private.h"

/* RFC 1122 3.2.1.7: at least as much as the Internet is wide; RFC 1700's default. */
#define HOP_LIMIT 64u
/* RFC 791 3.1: do not fragment; RFC 8200 has nobody on the way who would. */
#define IPV4_DF        0x4000u
#define IP_PACKET_MAX  65535u
#define TCP_HEADER_MAX 60u
#define TCP_CHECKSUM   16u

/* Frames that wait go to the device; what it does not take moves to the front. */
static void
port_transmit(struct net_port *port)
{
    const uint32_t count = port->sending_count;
    if (count == 0) {
        return;
    }
    const struct lp_nic *nic = &port->config.nic;
    const uint32_t taken = nic->ops->transmit(nic->self, port->sending, count);
    LP_ASSERT(taken <= count);
    port->sending_count = count - taken;
    if (taken > 0 && taken < count) {
        memmove(port->sending, port->sending + taken,
                (size_t)port->sending_count * sizeof(port->sending[0]));
    }
}

/* A frame, and a place in the burst for it. */
static bool
frame_get(struct lp_net *net, struct net_port *port, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    if (port->sending_count == LP_NIC_BURST_MAX) {
        port_transmit(port);
    }
    const struct lp_nic *nic = &port->config.nic;
    if (port->sending_count == LP_NIC_BURST_MAX || bytes > port->caps.frame_bytes_max ||
        !nic->ops->get(nic->self, bytes, ret_frame)) {
        net->counters.frames_no_buffer++;
        return false;
    }
    return true;
}

static uint32_t
ip_header_bytes(uint8_t family)
{
    return family == LP_ADDRESS_IPV4 ? NET_IPV4_BYTES : NET_IPV6_BYTES;
}

bool
net_out_begin(struct lp_net *net, const struct net_path *path, uint8_t protocol, uint32_t l4_bytes,
              struct net_out *ret_out)
{
    struct net_port *port = &net->port[path->port];
    const uint32_t l4_offset = net_ethernet_bytes(port) + ip_header_bytes(path->family);
    LP_ASSERT(l4_bytes + ip_header_bytes(path->family) <=
              (port->caps.tso ? IP_PACKET_MAX : port->mtu_bytes));
    struct net_out out = {
        .path = path, .l4_offset = l4_offset, .protocol = protocol, .l4_room = l4_bytes};
    if (!frame_get(net, port, l4_offset + l4_bytes, &out.frame)) {
        return false;
    }
    out.l4 = out.frame.data + l4_offset;
    *ret_out = out;
    return true;
}

static void
ipv4_write(const struct net_out *out, uint32_t l4_bytes, uint8_t *to)
{
    const struct net_path *path = out->path;
    uint8_t *at = lp_put_u16be(to, (uint16_t)(0x4500u | out->ecn));
    at = lp_put_u16be(at, (uint16_t)(NET_IPV4_BYTES + l4_bytes));
    /* RFC 6864 4.1: what is never fragmented needs no identification, and none tells how much we
     * send. */
    at = lp_put_u16be(at, 0);
    at = lp_put_u16be(at, IPV4_DF);
    at = lp_put_u8(at, HOP_LIMIT);
    at = lp_put_u8(at, out->protocol);
    at = lp_put_u16be(at, 0);
    at = lp_put_bytes(at, path->local, 4);
    lp_put_bytes(at, path->remote, 4);
    lp_put_u16be(to + 10, (uint16_t)~net_sum(to, NET_IPV4_BYTES, 0));
}

/* RFC 8200 3; no flow label: RFC 6437 3 lets a source do without. */
static void
ipv6_write(const struct net_out *out, uint32_t l4_bytes, uint8_t *to)
{
    const struct net_path *path = out->path;
    uint8_t *at = lp_put_u32be(to, 0x60000000u | (uint32_t)out->ecn << 20);
    at = lp_put_u16be(at, (uint16_t)l4_bytes);
    at = lp_put_u8(at, out->protocol);
    at = lp_put_u8(at, HOP_LIMIT);
    at = lp_put_bytes(at, path->local, 16);
    lp_put_bytes(at, path->remote, 16);
}

/* TCP's checksum, or what the device needs to make it (nic.h). */
static void
tcp_checksum_write(const struct net_port *port, struct net_out *out, uint32_t l4_bytes,
                   uint16_t segment_bytes)
{
    const struct net_path *path = out->path;
    const bool fill = port->caps.l4_fill;
    const uint32_t pseudo = net_sum_pseudo(path->family, path->local, path->remote,
                                           NET_PROTOCOL_TCP, segment_bytes != 0 ? 0 : l4_bytes);
    lp_put_u16be(out->l4 + TCP_CHECKSUM, fill ? (uint16_t)pseudo : 0);
    if (fill) {
        out->frame.flags |= LP_NIC_L4_FILL;
        return;
    }
    lp_put_u16be(out->l4 + TCP_CHECKSUM, (uint16_t)~net_sum(out->l4, l4_bytes, pseudo));
}

void
net_out_send(struct lp_net *net, struct net_out *out, uint32_t l4_bytes, uint8_t tcp_header_bytes,
             uint16_t segment_bytes)
{
    const struct net_path *path = out->path;
    const struct net_port *port = &net->port[path->port];
    const uint32_t l3_offset = net_ethernet_bytes(port);
    LP_ASSERT(l4_bytes <= out->l4_room);
    LP_ASSERT(segment_bytes == 0 || port->caps.tso);
    uint8_t *l3 = out->frame.data + l3_offset;
    if (path->family == LP_ADDRESS_IPV4) {
        ipv4_write(out, l4_bytes, l3);
    } else {
        ipv6_write(out, l4_bytes, l3);
    }
    out->frame.bytes = out->l4_offset + l4_bytes;
    out->frame.l3_offset = (uint8_t)l3_offset;
    out->frame.l4_offset = (uint8_t)out->l4_offset;
    out->frame.l4_bytes = tcp_header_bytes;
    out->frame.segment_bytes = segment_bytes;
    if (tcp_header_bytes > 0) {
        tcp_checksum_write(port, out, l4_bytes, segment_bytes);
    }
    uint8_t mac[6];
    if (!net_neighbour_resolve(net, path, &out->frame, mac)) {
        return;
    }
    net_link_write(port, path->family, mac, out->frame.data);
    net_raw_send(net, path->port, &out->frame);
}

uint32_t
net_out_tso_bytes(const struct lp_net *net, const struct net_path *path)
{
    const struct net_port *port = &net->port[path->port];
    if (!port->caps.tso) {
        return 0;
    }
    const uint32_t ip = ip_header_bytes(path->family);
    const uint32_t link = net_ethernet_bytes(port);
    const uint32_t packet = LP_MIN(port->caps.frame_bytes_max - link, IP_PACKET_MAX);
    return packet - ip - TCP_HEADER_MAX;
}

uint8_t *
net_raw_begin(struct lp_net *net, uint32_t port, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    if (!frame_get(net, &net->port[port], bytes, ret_frame)) {
        return NULL;
    }
    ret_frame->bytes = bytes;
    return ret_frame->data;
}

void
net_link_write(const struct net_port *port, uint8_t family, const uint8_t *mac, uint8_t *to)
{
    net_ethernet_write(port, to, mac, family == LP_ADDRESS_IPV4 ? NET_TYPE_IPV4 : NET_TYPE_IPV6);
}

void
net_raw_send(struct lp_net *net, uint32_t port, struct lp_nic_frame *frame)
{
    struct net_port *at = &net->port[port];
    if (at->sending_count == LP_NIC_BURST_MAX) {
        port_transmit(at);
    }
    if (at->sending_count == LP_NIC_BURST_MAX) {
        /* Only a frame that waited for its neighbour comes without a place kept for it. */
        net->counters.frames_no_buffer++;
        at->config.nic.ops->put(at->config.nic.self, frame);
        return;
    }
    if (LP_UNLIKELY(net->capture.frame != NULL)) {
        net_capture(net, port, true, frame);
    }
    at->sending[at->sending_count++] = *frame;
    net->counters.frames_sent++;
}

void
net_out_flush(struct lp_net *net)
{
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        struct net_port *port = &net->port[i];
        port_transmit(port);
        port->config.nic.ops->flush(port->config.nic.self);
    }
}
