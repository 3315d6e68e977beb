/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments without a connection: SYN-ACKs of what is half-open, resets for
 * what nobody owns, acknowledgements of TIME-WAIT.
 *
 * A reset costs a frame that somebody made us send: there is a bucket of them,
 * filled by time.
 */
#include "send.h"

#define RESETS_A_SECOND 1000u

#define OPTION_NOP       1u
#define OPTION_MSS       2u
#define OPTION_SHIFT     3u
#define OPTION_SACK      4u
#define OPTION_TIMESTAMP 8u

/* In Linux's order, which is packed without a gap; unused places are NOPs. */
static uint8_t *
options_write(uint8_t *to, const struct tcp_reply *reply)
{
    if (reply->mss_bytes != 0) {
        to = lp_put_u8(to, OPTION_MSS);
        to = lp_put_u8(to, 4);
        to = lp_put_u16be(to, reply->mss_bytes);
    }
    if (reply->has_timestamp) {
        to = lp_put_u8(to, reply->sack_permitted ? OPTION_SACK : OPTION_NOP);
        to = lp_put_u8(to, reply->sack_permitted ? 2 : OPTION_NOP);
        to = lp_put_u8(to, OPTION_TIMESTAMP);
        to = lp_put_u8(to, 10);
        to = lp_put_u32be(to, reply->timestamp);
        to = lp_put_u32be(to, reply->echo);
    } else if (reply->sack_permitted) {
        to = lp_put_u8(to, OPTION_NOP);
        to = lp_put_u8(to, OPTION_NOP);
        to = lp_put_u8(to, OPTION_SACK);
        to = lp_put_u8(to, 2);
    }
    if (reply->has_shift) {
        to = lp_put_u8(to, OPTION_NOP);
        to = lp_put_u8(to, OPTION_SHIFT);
        to = lp_put_u8(to, 3);
        to = lp_put_u8(to, reply->shift);
    }
    return to;
}

void
tcp_reply_send(struct lp_net *net, const struct tcp_reply *reply)
{
    struct net_out out;
    if (!net_out_begin(net, reply->path, NET_PROTOCOL_TCP, TCP_HEADER_BYTES_MAX, &out)) {
        return; /* as if it was lost on its way */
    }
    uint8_t *at = out.l4;
    at = lp_put_u16be(at, reply->from_port);
    at = lp_put_u16be(at, reply->to_port);
    at = lp_put_u32be(at, reply->seq);
    at = lp_put_u32be(at, reply->ack);
    uint8_t *offset = at;
    at = lp_put_u8(at, 0);
    at = lp_put_u8(at, reply->flags);
    at = lp_put_u16be(at, reply->window);
    at = lp_put_u32be(at, 0); /* checksum, urgent pointer */
    at = options_write(at, reply);
    const uint8_t bytes = (uint8_t)(at - out.l4);
    *offset = (uint8_t)(bytes << 2); /* words, in the upper four bits */
    net->counters.tcp_sent++;
    net_out_send(net, &out, bytes, bytes, 0);
}

void
tcp_reset_answer(struct lp_net *net, const struct tcp_segment *segment)
{
    /* RFC 9293 3.5.2: a reset is never answered; RFC 1122 4.2.3.10: nor what came to a group. */
    if ((segment->flags & TCP_RST) != 0 || segment->packet->to_group) {
        return;
    }
    struct net_path path;
    if (!net_path_back(net, segment->packet, &path)) {
        return;
    }
    if (!net_bucket_take(net, &net->tcp->resets, RESETS_A_SECOND + net->tcp->orphan_resets)) {
        net->counters.tcp_resets_limited++;
        return;
    }
    struct tcp_reply reply = {
        .path = &path, .from_port = segment->to_port, .to_port = segment->from_port};
    /* RFC 9293 3.10.7.1: its number is one that the peer expects. */
    if ((segment->flags & TCP_ACK) != 0) {
        reply.flags = TCP_RST;
        reply.seq = segment->ack;
    } else {
        reply.flags = TCP_RST | TCP_ACK;
        reply.ack = segment->seq + tcp_segment_length(segment);
    }
    net->counters.tcp_resets_sent++;
    tcp_reply_send(net, &reply);
}
