/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of one burst that continue each other (generic receive offload).
 *
 * The first of a flow goes through everything; its frame is lent, so its
 * headers stay where they are.  One that follows is compared with it: when
 * nothing differs but what has to (lengths, identification, the number, PSH, a
 * time stamp that is not older), link, network, owner, connection and options
 * are known, and its acknowledgement and window are the ones that were worked
 * on, so only its text is left.  Each frame stays an event of its own, and
 * nothing is held back: a run needs no end.
 *
 * What this may never do: take what tcp_stream_input() would not take, or
 * leave out what it would do.  Whatever is unusual is left to it, unchanged.
 */
#include "inbound.h"

#define FLOWS             8u          /* remembered of a burst; a power of two */
#define STAMP_OPTION      0x0101080au /* RFC 7323 appendix A */
#define HEADER_BYTES_MAX  (18u + NET_IPV6_BYTES + TCP_STAMPED_BYTES)
#define TCP_STAMPED_BYTES (TCP_HEADER_BYTES + 12u)

/* The first segment of a flow in this burst. */
struct flow {
    const uint8_t *frame; /* NULL: none */
    struct tcp_stream *stream;
    uint8_t port;
    uint8_t l3_offset;
    uint8_t l4_offset;
};

struct tcp_gro {
    struct flow flow[FLOWS];
};

/* A frame that may follow: headers that are there as far as they are looked at. */
struct follower {
    struct lp_nic_frame *frame;
    const uint8_t *l3;
    const uint8_t *l4;
    uint32_t seq;
    uint32_t ack;
    uint32_t header_bytes; /* TCP's */
    uint32_t payload_bytes;
};

enum lp_err
tcp_gro_init_boot(struct lp_net *net)
{
    struct tcp_gro *gro = lp_memory_alloc(net->memory, sizeof(*gro));
    if (gro == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(gro, 0, sizeof(*gro));
    net->tcp->gro = gro;
    return LP_OK;
}

void
tcp_gro_begin(struct lp_net *net)
{
    for (uint32_t i = 0; i < FLOWS; i++) {
        net->tcp->gro->flow[i].frame = NULL;
    }
}

void
tcp_gro_note(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    const struct net_packet *packet = segment->packet;
    const uint32_t l3_offset = (uint32_t)(packet->l3 - packet->frame->data);
    const uint32_t l4_offset = (uint32_t)(packet->l4 - packet->frame->data);
    /* Options of IP, or a tag that not all frames of the port have, are for others to read. */
    if (l3_offset != net_ethernet_bytes(&net->port[packet->port]) ||
        l4_offset !=
            l3_offset + (packet->family == LP_ADDRESS_IPV4 ? NET_IPV4_BYTES : NET_IPV6_BYTES)) {
        return;
    }
    net->tcp->gro->flow[segment->from_port % FLOWS] = (struct flow){
        .frame = packet->frame->data,
        .stream = stream,
        .port = packet->port,
        .l3_offset = (uint8_t)l3_offset,
        .l4_offset = (uint8_t)l4_offset,
    };
}

/* What was checked to be there. */
static inline uint16_t
get_u16be(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return __builtin_bswap16(value);
}

static inline uint32_t
get_u32be(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return __builtin_bswap32(value);
}

static inline bool
same(const uint8_t *a, const uint8_t *b, uint32_t at, uint32_t bytes)
{
    return memcmp(a + at, b + at, bytes) == 0;
}

/* Does the packet end where its frame does (RFC 894: padding), and is it the same otherwise? */
static bool
network_follows(const struct flow *flow, const struct follower *next)
{
    const uint8_t *first = flow->frame + flow->l3_offset;
    const uint8_t *l3 = next->l3;
    const uint32_t bytes = next->frame->bytes - flow->l3_offset;
    if (flow->l4_offset - flow->l3_offset == NET_IPV4_BYTES) {
        /* Version, header's length, type of service; fragments, hops, protocol; addresses. */
        return same(first, l3, 0, 2) && get_u16be(l3 + 2) == bytes && same(first, l3, 6, 4) &&
               same(first, l3, 12, 8) &&
               ((next->frame->flags & LP_NIC_IP_GOOD) != 0 ||
                net_sum(l3, NET_IPV4_BYTES, 0) == 0xffffu);
    }
    return same(first, l3, 0, 4) && get_u16be(l3 + 4) == bytes - NET_IPV6_BYTES &&
           same(first, l3, 6, NET_IPV6_BYTES - 6u);
}

/* Ports, acknowledgement, window; flags but for PSH; no options but a time stamp. */
static bool
header_follows(const struct flow *flow, struct follower *next)
{
    const struct tcp_stream *stream = flow->stream;
    const uint8_t *first = flow->frame + flow->l4_offset;
    const uint8_t *l4 = next->l4;
    next->header_bytes = stream->timestamps ? TCP_STAMPED_BYTES : TCP_HEADER_BYTES;
    if (!same(first, l4, 0, 4) || !same(first, l4, 8, 4) || !same(first, l4, 14, 2) ||
        l4[12] != next->header_bytes << 2 || (l4[13] & ~(uint32_t)TCP_PSH) != TCP_ACK ||
        next->frame->bytes <= flow->l4_offset + next->header_bytes) {
        return false;
    }
    next->seq = get_u32be(l4 + 4);
    next->ack = get_u32be(l4 + 8);
    next->payload_bytes = next->frame->bytes - flow->l4_offset - next->header_bytes;
    /* RFC 7323 5.3 (PAWS).  What is echoed does not change: none of these begins where our last
     * acknowledgement ended (4.3). */
    return !stream->timestamps ||
           (get_u32be(l4 + TCP_HEADER_BYTES) == STAMP_OPTION &&
            !tcp_lt(get_u32be(l4 + TCP_HEADER_BYTES + 4), stream->timestamp_recent));
}

/* Nothing is to be done for it but to take its text: see tcp_stream_input() and tcp_ack_input(). */
static bool
stream_expects(const struct tcp_stream *stream, const struct follower *next)
{
    const uint32_t window = (uint32_t)get_u16be(next->l4 + 14) << stream->send_shift;
    return stream->state == TCP_ESTABLISHED && !stream->closing && stream->reassembly == NULL &&
           !stream->tlp_sent && next->seq == stream->receive_next &&
           tcp_lt(stream->last_ack_sent, next->seq) && next->ack == stream->send_una &&
           window == stream->send_window && next->payload_bytes <= stream->receive_mss &&
           tcp_le(next->seq + next->payload_bytes, stream->receive_edge);
}

static bool
checksum_holds(const struct flow *flow, const struct follower *next)
{
    if ((next->frame->flags & LP_NIC_L4_GOOD) != 0) {
        return true;
    }
    const struct net_path *path = &flow->stream->path;
    const uint32_t bytes = next->header_bytes + next->payload_bytes;
    const uint32_t pseudo =
        net_sum_pseudo(path->family, path->remote, path->local, NET_PROTOCOL_TCP, bytes);
    return net_sum(next->l4, bytes, pseudo) == 0xffffu;
}

bool
tcp_gro_input(struct lp_net *net, uint32_t port, struct lp_nic_frame *frame)
{
    const uint32_t l3_offset = net_ethernet_bytes(&net->port[port]);
    struct lp_reader reader = lp_reader_of(frame->data, frame->bytes);
    const uint8_t *data = lp_reader_take(&reader, HEADER_BYTES_MAX);
    if (data == NULL || frame->segment_bytes != 0 ||
        (frame->flags & (LP_NIC_IP_BAD | LP_NIC_L4_BAD)) != 0) {
        return false;
    }
    const uint32_t l4_offset =
        l3_offset + (data[l3_offset] >> 4 == 4 ? NET_IPV4_BYTES : NET_IPV6_BYTES);
    const uint32_t from_port = get_u16be(data + l4_offset);
    const struct flow *flow = &net->tcp->gro->flow[from_port % FLOWS];
    struct follower next = {.frame = frame, .l3 = data + l3_offset, .l4 = data + l4_offset};
    if (flow->frame == NULL || flow->port != port || flow->l4_offset != l4_offset ||
        !same(flow->frame, data, 0, NET_ETHERNET_BYTES) ||
        (l3_offset > NET_ETHERNET_BYTES && !same(flow->frame, data, NET_ETHERNET_BYTES, 4)) ||
        !network_follows(flow, &next) || !header_follows(flow, &next) ||
        !stream_expects(flow->stream, &next) || !checksum_holds(flow, &next) ||
        !tcp_text_follow(net, flow->stream, next.l4 + next.header_bytes, next.payload_bytes)) {
        return false;
    }
    struct tcp_stream *stream = flow->stream;
    stream->send_wl1 = next.seq;
    stream->send_wl2 = next.ack;
    net->counters.frames_received++;
    net->counters.tcp_received++;
    net->counters.tcp_joined++;
    return true;
}
