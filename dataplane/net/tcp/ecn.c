/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explicit congestion notification: RFC 3168.  A router marks a packet (CE)
 * instead of dropping it; who receives it says so in every acknowledgement
 * (ECE) until its sender has answered (CWR), which it does once a round trip by
 * shrinking its window as if one had been lost.
 *
 *   receiving   CE ──▶ ecn_echo: ECE in all that is sent ──CWR──▶ quiet
 *   sending     ECE ──▶ the window shrinks, ecn_reduced ──SND.UNA beyond it──▶ the next ECE counts
 *                          └──▶ ecn_cwr: CWR in the next new segment
 *
 * `ecn`: both ends agreed, so CE is answered.  `ecn_send`: we may mark ours.
 */
#include "congestion.h"
#include "inbound.h"

#define NOT_ECT 0u
#define CE      3u
#define SETUP   (TCP_ECE | TCP_CWR)

/* The codepoint in the header of IP (RFC 3168 5). */
static uint8_t
codepoint(const struct net_packet *packet)
{
    const uint8_t traffic_class = packet->l3[1];
    return packet->family == LP_ADDRESS_IPV4 ? traffic_class & 3u : traffic_class >> 4 & 3u;
}

bool
tcp_ecn_offered(const struct lp_net *net, const struct tcp_segment *segment)
{
    /* 6.1.1: an ECN-setup SYN has both, and is not ECT; one that is was changed on its way. */
    return net->config.ecn != LP_NET_ECN_OFF && (segment->flags & SETUP) == SETUP &&
           codepoint(segment->packet) == NOT_ECT;
}

uint8_t
tcp_ecn_syn_flags(const struct lp_net *net, const struct tcp_stream *stream)
{
    /* 6.1.1.1: who does not answer may not like it. */
    return net->config.ecn == LP_NET_ECN_ACTIVE && stream->backoff == 0 ? SETUP : 0;
}

void
tcp_ecn_answered(const struct lp_net *net, struct tcp_stream *stream,
                 const struct tcp_segment *segment)
{
    /* 6.1.1: both bits are a peer's who sends back what it does not know. */
    stream->ecn = net->config.ecn == LP_NET_ECN_ACTIVE && (segment->flags & SETUP) == TCP_ECE;
    /* 6.1.1: not ECT when a SYN of ours was none of ECN's. */
    stream->ecn_send = stream->ecn && stream->backoff == 0;
}

void
tcp_ecn_received(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    /* 6.1.4, 6.1.5: only data within the window counts. */
    if (segment->payload_bytes == 0) {
        return;
    }
    if ((segment->flags & TCP_CWR) != 0) {
        /* 6.1.3.  It may wait for us: its window can be one segment. */
        stream->ecn_echo = false;
        tcp_want(net, stream, TCP_WANT_ACK);
    }
    if (codepoint(segment->packet) == CE) {
        net->counters.tcp_ecn_ce_received++;
        stream->ecn_echo = true;
        tcp_want(net, stream, TCP_WANT_ACK);
    }
}

void
tcp_ecn_reduced(struct tcp_stream *stream)
{
    /* 6.1.2: the first new segment after the window shrank tells of it. */
    stream->ecn_cwr = stream->ecn_send;
    stream->ecn_reduced = stream->ecn_send;
}

bool
tcp_ecn_acked(struct tcp_stream *stream, const struct tcp_segment *segment)
{
    /* Beyond what was sent before it shrank: the peer has our CWR. */
    if (tcp_lt(stream->recovery_end, stream->send_una)) {
        stream->ecn_reduced = false;
    }
    return (segment->flags & TCP_ECE) != 0;
}
