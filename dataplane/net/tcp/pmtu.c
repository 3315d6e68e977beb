/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What routers say about our packets (RFC 5927), and the path's MTU (RFC 1191,
 * RFC 8201, RFC 8899).
 *
 * Anybody can send an error; whoever does not see our packets does not know
 * what is in flight, so that is asked first (RFC 5927 4.1).  A path is never
 * believed to be narrower than networks are.
 */
#include "send.h"

/* RFC 1191's 68 bytes are only good for attacks; RFC 8200 5. */
#define FLOOR_IPV4 576u
#define FLOOR_IPV6 1280u

static uint32_t
pmtu_floor(const struct tcp_stream *stream)
{
    return stream->path.family == LP_ADDRESS_IPV4 ? FLOOR_IPV4 : FLOOR_IPV6;
}

static uint32_t
pmtu_now(const struct tcp_stream *stream)
{
    return stream->pmtu != 0 ? stream->pmtu : stream->path.mtu_bytes;
}

/* What is in flight and larger than a packet may be now is lost, and nobody's congestion. */
static void
oversized_again(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    for (uint32_t i = 0; board != NULL && i < board->count; i++) {
        struct tcp_sent *sent = tcp_sent_nth(board, i);
        if (sent->state == TCP_SENT_OUT && sent->end - sent->start > stream->send_mss) {
            tcp_scoreboard_lose(board, sent);
            board->undo_again++;
        }
    }
    if (board != NULL && board->lost_bytes > 0) {
        tcp_want(net, stream, TCP_WANT_DATA);
    }
}

static void
pmtu_lower(struct lp_net *net, struct tcp_stream *stream, uint32_t mtu)
{
    net->counters.tcp_pmtu_lowered++;
    stream->pmtu = (uint16_t)mtu;
    tcp_mss_update(net, stream);
    oversized_again(net, stream);
}

void
tcp_icmp_input(struct lp_net *net, uint8_t family, const uint8_t *local, uint16_t local_port,
               const uint8_t *remote, uint16_t remote_port, uint32_t seq, enum tcp_icmp kind,
               uint16_t mtu_bytes)
{
    struct tcp_stream *stream = tcp_find(net, family, local, local_port, remote, remote_port);
    if (stream == NULL || stream->state == TCP_CLOSED) {
        return;
    }
    /* RFC 5927 4.1. */
    if (tcp_lt(seq, stream->send_una) || tcp_le(stream->send_next, seq)) {
        net->counters.icmp_bad++;
        return;
    }
    switch (kind) {
    case TCP_ICMP_SOFT:
        break; /* RFC 9293 3.9.2.2: not fatal; the time-out is */
    case TCP_ICMP_HARD:
        /* RFC 5927 5.2: a connection that is there is not ended by an error. */
        if (stream->state == TCP_SYN_SENT || stream->state == TCP_SYN_RECEIVED) {
            tcp_stream_fail(net, stream);
        }
        break;
    case TCP_ICMP_TOO_BIG: {
        const uint32_t mtu = LP_MAX(mtu_bytes, pmtu_floor(stream));
        if (mtu < pmtu_now(stream)) {
            pmtu_lower(net, stream, mtu);
        }
        break;
    }
    }
}
