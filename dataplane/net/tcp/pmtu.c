/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path's MTU: what routers say about our packets (RFC 1191, RFC 8201,
 * RFC 5927), what silence says (RFC 4821 7.7), and looking for more again
 * (RFC 8899).
 *
 * Anybody can send an error; whoever does not see our packets does not know
 * what is in flight, so that is asked first (RFC 5927 4.1).  A path is never
 * believed to be narrower than networks are.  Only a path that was found
 * narrower than its port costs anything: the others never probe.
 */
#include "send.h"

/* RFC 1191's 68 bytes are only good for attacks; RFC 8200 5. */
#define FLOOR_IPV4 576u
#define FLOOR_IPV6 1280u
/* RFC 8899 5.1.2: BASE_PLPMTU: tunnels are wider. */
#define BASE_MTU 1200u
/* RFC 8899 5.1.1: PMTU_RAISE_TIMER. */
#define RAISE_MS (600u * 1000u)
/* RFC 8899 5.1.2: MAX_PROBES. */
#define PROBES_MAX 3u
/* The search ends when no more than this could be won. */
#define STEP_MIN 32u
/* Time-outs in a row that a full segment meets before the path is blamed. */
#define SILENCE_TIMEOUTS 3u

static uint32_t
headers_of(const struct tcp_stream *stream)
{
    return (stream->path.family == LP_ADDRESS_IPV4 ? NET_IPV4_BYTES : NET_IPV6_BYTES) +
           TCP_HEADER_BYTES;
}

static uint32_t
options_of(const struct tcp_stream *stream)
{
    return stream->timestamps ? 12u : 0u;
}

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
    if (board == NULL) {
        return;
    }
    for (uint32_t i = 0; i < board->count; i++) {
        struct tcp_sent *sent = tcp_sent_nth(board, i);
        if (sent->state == TCP_SENT_OUT && sent->end - sent->start > stream->send_mss) {
            tcp_scoreboard_lose(board, sent);
        }
    }
    board->lost_news = false;
    board->lost_again = false;
    if (board->lost_bytes > 0) {
        board->forced = true;
        tcp_want(net, stream, TCP_WANT_DATA);
    }
}

static void
probe_later(const struct lp_net *net, struct tcp_stream *stream, uint32_t ms)
{
    stream->pmtu_probe = 0;
    stream->pmtu_mark = tcp_now_ms(net) + ms;
}

static void
pmtu_lower(struct lp_net *net, struct tcp_stream *stream, uint32_t mtu)
{
    net->counters.tcp_pmtu_lowered++;
    stream->pmtu = (uint16_t)mtu;
    stream->pmtu_claimed = 0;
    stream->pmtu_high = stream->path.mtu_bytes;
    stream->pmtu_fails = 0;
    probe_later(net, stream, RAISE_MS);
    tcp_mss_update(net, stream);
    oversized_again(net, stream);
}

/* --- Errors. -----------------------------------------------------------------------------------
 */

static void
too_big(struct lp_net *net, struct tcp_stream *stream, uint32_t mtu_bytes)
{
    const uint32_t mtu = LP_MAX(mtu_bytes, pmtu_floor(stream));
    if (mtu >= pmtu_now(stream)) {
        return; /* RFC 5927 7.2: we send nothing so large */
    }
    if (mtu > stream->pmtu_acked) {
        pmtu_lower(net, stream, mtu);
        return;
    }
    /* RFC 5927 7.2: larger ones have arrived before; true if nothing arrives now. */
    stream->pmtu_claimed = (uint16_t)mtu;
}

bool
tcp_icmp_input(struct lp_net *net, const struct net_path *path, const struct tcp_icmp_error *error)
{
    const uint32_t seq = error->seq;
    struct tcp_stream *stream = tcp_find(net, path, error->local_port, error->remote_port);
    if (stream == NULL) {
        return false;
    }
    if (stream->state == TCP_CLOSED) {
        return true;
    }
    /* RFC 5927 4.1. */
    if (tcp_lt(seq, stream->send_una) || tcp_le(stream->send_next, seq)) {
        net->counters.icmp_bad++;
        return true;
    }
    switch (error->kind) {
    case TCP_ICMP_SOFT:
        break; /* RFC 9293 3.9.2.2: not fatal; the time-out is */
    case TCP_ICMP_HARD:
        /* RFC 5927 5.2: a connection that is there is not ended by an error. */
        if (stream->state == TCP_SYN_SENT || stream->state == TCP_SYN_RECEIVED) {
            tcp_stream_fail(net, stream);
        }
        break;
    case TCP_ICMP_TOO_BIG:
        if (error->mtu_bytes == 0) {
            net->counters.icmp_bad++;
        } else {
            too_big(net, stream, error->mtu_bytes);
        }
        break;
    }
    return true;
}

/* --- Silence. ----------------------------------------------------------------------------------
 */

void
tcp_pmtu_timeout(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->pmtu_probe != 0) {
        tcp_pmtu_probe_lost(net, stream);
    }
    if (stream->pmtu_claimed != 0) {
        pmtu_lower(net, stream, stream->pmtu_claimed);
        return;
    }
    if ((stream->backoff + 1u) % SILENCE_TIMEOUTS != 0) {
        return;
    }
    /* RFC 4821 7.7: packets of this size vanish and nobody says so. */
    const uint32_t base = LP_MAX(BASE_MTU, pmtu_floor(stream));
    const uint32_t mtu = pmtu_now(stream) > base ? base : pmtu_floor(stream);
    const struct tcp_scoreboard *board = stream->scoreboard;
    const struct tcp_sent *first = &board->sent[board->head];
    if (first->end - first->start + options_of(stream) + headers_of(stream) > mtu) {
        pmtu_lower(net, stream, mtu);
    }
}

/* --- Looking for more. -------------------------------------------------------------------------
 */

uint32_t
tcp_pmtu_probe_bytes(const struct lp_net *net, const struct tcp_stream *stream)
{
    if (stream->pmtu == 0 || stream->pmtu_probe != 0 ||
        tcp_lt(tcp_now_ms(net), stream->pmtu_mark)) {
        return 0;
    }
    const uint32_t peer = stream->peer_mss == 0 ? 536u : stream->peer_mss;
    const uint32_t high = LP_MIN((uint32_t)stream->pmtu_high, peer + headers_of(stream));
    if (high < stream->pmtu + STEP_MIN) {
        return 0;
    }
    /* RFC 8899 5.3: all of it first, as paths are whole again more often than a little wider. */
    const bool whole = high == LP_MIN(stream->path.mtu_bytes, peer + headers_of(stream));
    const uint32_t mtu = whole ? high : (stream->pmtu + high + 1u) / 2u;
    const uint32_t bytes = mtu - headers_of(stream) - options_of(stream);
    /* RFC 4821 7.4: with enough behind it that its loss is seen, and not in a recovery. */
    const bool calm = !stream->in_recovery && !stream->rto_recovery;
    const bool enough = tcp_unsent(stream) >= bytes + 3u * stream->send_mss &&
                        stream->cwnd >= tcp_pipe(stream) + bytes;
    return calm && enough ? bytes : 0;
}

void
tcp_pmtu_probe_sent(struct tcp_stream *stream, uint32_t bytes, uint32_t end)
{
    stream->pmtu_probe = (uint16_t)(bytes + options_of(stream) + headers_of(stream));
    stream->pmtu_mark = end;
}

bool
tcp_pmtu_probe_is(const struct tcp_stream *stream, const struct tcp_sent *sent)
{
    return stream->pmtu_probe != 0 && sent->end == stream->pmtu_mark;
}

void
tcp_pmtu_probe_lost(struct lp_net *net, struct tcp_stream *stream)
{
    /* One may be lost like any other packet. */
    stream->pmtu_fails++;
    if (stream->pmtu_fails < PROBES_MAX) {
        probe_later(net, stream, LP_MAX(stream->rto_ms, 1000u));
        return;
    }
    stream->pmtu_fails = 0;
    stream->pmtu_high = (uint16_t)(stream->pmtu_probe - 1u);
    probe_later(net, stream, 0);
    if (stream->pmtu_high < stream->pmtu + STEP_MIN) {
        stream->pmtu_high = stream->path.mtu_bytes;
        probe_later(net, stream, RAISE_MS);
    }
}

void
tcp_pmtu_probe_arrived(struct lp_net *net, struct tcp_stream *stream)
{
    stream->pmtu = stream->pmtu_probe;
    stream->pmtu_fails = 0;
    probe_later(net, stream, 0);
    if (stream->pmtu_high < stream->pmtu + STEP_MIN) {
        stream->pmtu_high = stream->path.mtu_bytes;
        probe_later(net, stream, RAISE_MS);
    }
    tcp_mss_update(net, stream);
}

void
tcp_pmtu_acked(struct lp_net *net, struct tcp_stream *stream, uint32_t largest)
{
    const uint32_t mtu = largest + options_of(stream) + headers_of(stream);
    stream->pmtu_acked = (uint16_t)LP_MAX((uint32_t)stream->pmtu_acked, mtu);
    stream->pmtu_claimed = 0; /* RFC 5927 7.2: something arrives */
    if (stream->pmtu_probe != 0 && tcp_le(stream->pmtu_mark, stream->send_una)) {
        tcp_pmtu_probe_lost(net, stream); /* its bytes arrived, but not in one piece */
    }
}
