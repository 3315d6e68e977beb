/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exception.c - what this stack does not claim goes to the kernel, and what the
 * kernel sends goes out of the port: its ssh lives on the broker's only card.
 *
 *   port ── not ours ──▶ copied, waits for the end of the turn ──▶ exception device
 *   port ◀── behind what we send, as it is ──────────────────────  exception device
 *
 * Which frames: README.md, "The exception path".  Whoever finds that nobody
 * claims a frame calls net_exception_give() once; so the kernel gets it once,
 * whatever shard that is.
 *
 *   Overload  a burst each way and turn; what is beyond it is dropped and
 *             counted on its way to the kernel, and waits in the device on its
 *             way from it.  Our own frames leave before both.
 */
#include <string.h>

#include "net_private.h"
#include "tcp/tcp.h"

/* Of the kernel's, a turn: half of a burst is left for us. */
#define TAKE_MAX (LP_NIC_BURST_MAX / 2u)
/* The kernel's frames may wait so long: looking costs a system call, and is not done each turn. */
#define LOOK_NS (20u * 1000u)

#define TCP_CHECKSUM_AT 16u
#define TCP_OFFSET_AT   12u
#define UDP_CHECKSUM_AT 6u
#define FRAGMENT_BITS   0x3fffu

struct net_exception {
    struct lp_nic nic;
    struct lp_nic_caps caps;
    uint64_t looked_ns; /* 0: it has to be looked at now */
    uint32_t waiting_count;
    struct lp_nic_frame waiting[LP_NIC_BURST_MAX]; /* for the kernel */
};

enum lp_err
net_exception_init_boot(struct lp_net *net, uint32_t port_index)
{
    struct net_port *port = &net->port[port_index];
    if (port->config.exception.ops == NULL) {
        return LP_OK;
    }
    struct net_exception *exception = lp_memory_alloc(net->memory, sizeof(*exception));
    if (exception == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(exception, 0, sizeof(*exception));
    exception->nic = port->config.exception;
    exception->nic.ops->caps(exception->nic.self, &exception->caps);
    port->exception = exception;
    net->exceptions = true;
    return LP_OK;
}

void
net_exception_fini(struct lp_net *net, uint32_t port_index)
{
    struct net_exception *exception = net->port[port_index].exception;
    if (exception == NULL) {
        return;
    }
    for (uint32_t i = 0; i < exception->waiting_count; i++) {
        exception->nic.ops->put(exception->nic.self, &exception->waiting[i]);
    }
    void *block = exception;
    net->port[port_index].exception = NULL;
    lp_memory_release(net->memory, &block);
}

/* ---- to the kernel ---- */

/* Where the checksum of a packet's TCP or UDP is, and over what. */
struct sum_place {
    uint8_t family;
    uint8_t protocol;
    uint32_t l3_offset;
    uint32_t l4_offset;
    uint32_t l4_bytes;
    const uint8_t *from;
    const uint8_t *to;
};

static bool
ipv4_place(struct lp_reader *reader, struct sum_place *place)
{
    const uint32_t header_bytes = (lp_reader_u8(reader) & 0x0fu) * 4u;
    (void)lp_reader_u8(reader);
    const uint32_t total_bytes = lp_reader_u16be(reader);
    (void)lp_reader_u16be(reader);
    const uint16_t fragment = lp_reader_u16be(reader);
    (void)lp_reader_u8(reader);
    place->protocol = lp_reader_u8(reader);
    (void)lp_reader_u16be(reader);
    place->from = lp_reader_take(reader, 4);
    place->to = lp_reader_take(reader, 4);
    place->l4_offset = place->l3_offset + header_bytes;
    place->l4_bytes = total_bytes - header_bytes;
    return !reader->failed && header_bytes >= NET_IPV4_BYTES && total_bytes >= header_bytes &&
           (fragment & FRAGMENT_BITS) == 0;
}

static bool
ipv6_place(struct lp_reader *reader, struct sum_place *place)
{
    (void)lp_reader_u32be(reader);
    place->l4_bytes = lp_reader_u16be(reader);
    place->protocol = lp_reader_u8(reader);
    (void)lp_reader_u8(reader);
    place->from = lp_reader_take(reader, 16);
    place->to = lp_reader_take(reader, 16);
    place->l4_offset = place->l3_offset + NET_IPV6_BYTES;
    return !reader->failed;
}

/* False: nothing in this frame has a checksum that a device leaves open. */
static bool
sum_find(const struct lp_nic_frame *frame, struct sum_place *ret_place)
{
    struct lp_reader reader = lp_reader_of(frame->data, frame->bytes);
    (void)lp_reader_take(&reader, 12);
    uint16_t type = lp_reader_u16be(&reader);
    if (type == NET_TYPE_VLAN) {
        (void)lp_reader_u16be(&reader);
        type = lp_reader_u16be(&reader);
    }
    if (reader.failed || (type != NET_TYPE_IPV4 && type != NET_TYPE_IPV6)) {
        return false;
    }
    struct sum_place place = {.family = type == NET_TYPE_IPV4 ? LP_ADDRESS_IPV4 : LP_ADDRESS_IPV6,
                              .l3_offset = (uint32_t)(reader.at - frame->data)};
    const bool good =
        type == NET_TYPE_IPV4 ? ipv4_place(&reader, &place) : ipv6_place(&reader, &place);
    const uint32_t header = place.protocol == NET_PROTOCOL_TCP ? 20u : 8u;
    *ret_place = place;
    return good && (place.protocol == NET_PROTOCOL_TCP || place.protocol == NET_PROTOCOL_UDP) &&
           place.l4_bytes >= header && place.l4_offset + place.l4_bytes <= frame->bytes;
}

/*
 * The device vouched for this checksum; it may never have been written (a tap's
 * packets that never left this machine).  The kernel sees the frame as if it
 * came over a wire: the checksum has to be there, or be left to its device.
 */
static void
sum_write(const struct net_exception *exception, struct lp_nic_frame *frame,
          const struct sum_place *place)
{
    const bool tcp = place->protocol == NET_PROTOCOL_TCP;
    uint8_t *l4 = frame->data + place->l4_offset;
    uint8_t *field = l4 + (tcp ? TCP_CHECKSUM_AT : UDP_CHECKSUM_AT);
    if (!tcp && place->family == LP_ADDRESS_IPV4 && field[0] == 0 && field[1] == 0) {
        return; /* RFC 768: its sender made none */
    }
    const bool joined = frame->segment_bytes != 0;
    const uint32_t pseudo = net_sum_pseudo(place->family, place->from, place->to, place->protocol,
                                           joined ? 0 : place->l4_bytes);
    if (tcp && exception->caps.l4_fill) {
        lp_put_u16be(field, (uint16_t)pseudo);
        frame->flags = LP_NIC_L4_FILL;
        frame->l3_offset = (uint8_t)place->l3_offset;
        frame->l4_offset = (uint8_t)place->l4_offset;
        frame->l4_bytes = (uint8_t)(l4[TCP_OFFSET_AT] >> 4 << 2);
        return;
    }
    lp_put_u16be(field, 0);
    const uint16_t sum = (uint16_t)~net_sum(l4, place->l4_bytes, pseudo);
    lp_put_u16be(field, sum == 0 && !tcp ? 0xffffu : sum);
}

/* A frame of the kernel's device with the same bytes. */
static bool
frame_copy(const struct net_exception *exception, const struct lp_nic_frame *from,
           struct lp_nic_frame *ret_frame)
{
    if (!exception->nic.ops->get(exception->nic.self, from->bytes, ret_frame)) {
        return false;
    }
    memcpy(ret_frame->data, from->data, from->bytes);
    ret_frame->bytes = from->bytes;
    return true;
}

static void
frame_keep(struct lp_net *net, struct net_exception *exception, const struct lp_nic_frame *frame)
{
    struct sum_place place = {0};
    const bool vouched = (frame->flags & LP_NIC_L4_GOOD) != 0 && sum_find(frame, &place);
    const bool joined = frame->segment_bytes != 0;
    if (exception->waiting_count == LP_NIC_BURST_MAX) {
        net->counters.exception_full++;
        return;
    }
    if (frame->bytes > exception->caps.frame_bytes_max ||
        (joined && (!vouched || !exception->caps.tso || place.protocol != NET_PROTOCOL_TCP))) {
        net->counters.exception_joined++;
        return;
    }
    struct lp_nic_frame *to = &exception->waiting[exception->waiting_count];
    if (!frame_copy(exception, frame, to)) {
        net->counters.exception_no_buffer++;
        return;
    }
    to->segment_bytes = frame->segment_bytes;
    if (vouched) {
        place.from = to->data + (place.from - frame->data);
        place.to = to->data + (place.to - frame->data);
        sum_write(exception, to, &place);
    }
    exception->waiting_count++;
    net->counters.exception_to_kernel++;
    net->counters.exception_to_kernel_bytes += frame->bytes;
}

bool
net_exception_give(struct lp_net *net, const struct net_packet *packet)
{
    const struct net_port *port = &net->port[packet->port];
    if (port->exception == NULL) {
        return false;
    }
    /* A link that gives back what was said: two machines with one address is what the kernel would
     * make of it. */
    if (memcmp(packet->from_mac, port->caps.mac, 6) == 0) {
        net->counters.exception_echoed++;
        return true;
    }
    frame_keep(net, port->exception, packet->frame);
    return true;
}

void
net_exception_copy(struct lp_net *net, const struct net_packet *packet)
{
    if (!net->from_fabric) {
        (void)net_exception_give(net, packet); /* no exception path: we have it anyway */
    }
}

void
net_exception_foreign(struct lp_net *net, const struct net_packet *packet)
{
    /* Whoever says that he is us lies; and what comes to us too early, or from nobody, is dropped
     * as ever. */
    const bool ours =
        net_address_held(net_address_find(net, packet->port, packet->family, packet->from)) ||
        net_address_held(net_address_find(net, packet->port, packet->family, packet->to));
    if (ours || !net_exception_give(net, packet)) {
        net->counters.ip_foreign++;
    }
}

void
net_exception_fragment(struct lp_net *net, const struct net_packet *packet, bool head)
{
    /* Of what is for a listener of ours the kernel would make a whole segment, find nobody there,
     * and reset the connection: it does not get the part that names the port. */
    const bool ours = head && packet->protocol == NET_PROTOCOL_TCP && tcp_listens(net, packet);
    if (ours || !net_exception_give(net, packet)) {
        net->counters.ip_fragments++;
    }
}

static void
port_flush(struct net_exception *exception)
{
    const struct lp_nic *nic = &exception->nic;
    const uint32_t count = exception->waiting_count;
    if (count > 0) {
        const uint32_t taken = nic->ops->transmit(nic->self, exception->waiting, count);
        LP_ASSERT(taken <= count);
        exception->waiting_count = count - taken;
        memmove(exception->waiting, exception->waiting + taken,
                (size_t)exception->waiting_count * sizeof(exception->waiting[0]));
        nic->ops->flush(nic->self);
    }
}

void
net_exception_flush(struct lp_net *net)
{
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        if (net->port[i].exception != NULL) {
            port_flush(net->port[i].exception);
        }
    }
}

/* ---- from the kernel ---- */

static void
frame_send(struct lp_net *net, uint32_t port_index, const struct lp_nic_frame *frame)
{
    const struct net_port *port = &net->port[port_index];
    struct lp_nic_frame out;
    /* With a tag, or without: whose VLAN it is is the kernel's affair. */
    if (frame->bytes < NET_ETHERNET_BYTES ||
        frame->bytes > port->mtu_bytes + NET_ETHERNET_BYTES + NET_VLAN_BYTES) {
        net->counters.exception_refused++;
        return;
    }
    uint8_t *to = net_raw_begin(net, port_index, frame->bytes, &out);
    if (to == NULL) {
        return;
    }
    memcpy(to, frame->data, frame->bytes);
    net->counters.exception_from_kernel++;
    net->counters.exception_from_kernel_bytes += frame->bytes;
    net_raw_send(net, port_index, &out);
}

static void
port_take(struct lp_net *net, uint32_t port_index)
{
    struct lp_nic_frame frames[TAKE_MAX];
    struct net_exception *exception = net->port[port_index].exception;
    const struct lp_nic *nic = &exception->nic;
    const uint32_t room = LP_NIC_BURST_MAX - net->port[port_index].sending_count;
    if (exception->looked_ns != 0 && net->now_ns - exception->looked_ns < LOOK_NS) {
        return;
    }
    const uint32_t max = LP_MIN(room, TAKE_MAX);
    if (max == 0) {
        return; /* the kernel's queue is where its frames wait */
    }
    const uint32_t count = nic->ops->receive(nic->self, frames, max);
    LP_ASSERT(count <= max);
    exception->looked_ns = count == max ? 0 : net->now_ns;
    if (count > 0) {
        net->look_ns = NET_LOOK_NS / 2; /* sleep_begin() doubles it */
    }
    for (uint32_t i = 0; i < count; i++) {
        frame_send(net, port_index, &frames[i]);
        nic->ops->put(nic->self, &frames[i]);
    }
}

void
net_exception_take(struct lp_net *net)
{
    for (uint32_t i = 0; i < net->config.port_count; i++) {
        if (net->port[i].exception != NULL) {
            port_take(net, i);
        }
    }
}

/* ---- sleep ---- */

bool
net_exception_sleep_begin(struct lp_net *net, uint32_t port_index, uint64_t *next_ns)
{
    struct net_exception *exception = net->port[port_index].exception;
    if (exception == NULL) {
        return true;
    }
    exception->looked_ns = 0; /* whoever wakes us, it is looked at in the next turn */
    const struct lp_nic *nic = &exception->nic;
    if (nic->ops->wait_fd(nic->self) < 0) {
        *next_ns = LP_MIN(*next_ns, net->now_ns + net->look_ns);
    }
    if (exception->waiting_count > 0) {
        *next_ns = LP_MIN(*next_ns, net->now_ns + NET_RETRY_NS);
    }
    return nic->ops->sleep_begin(nic->self);
}

void
net_exception_sleep_end(struct lp_net *net, uint32_t port_index)
{
    const struct net_exception *exception = net->port[port_index].exception;
    if (exception != NULL) {
        exception->nic.ops->sleep_end(exception->nic.self);
    }
}
