/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments in, by RFC 9293 3.10.7, in its order: sequence number, RST, SYN,
 * ACK, text, FIN.
 *
 *   SYN-SENT ──SYN,ACK──▶ ESTABLISHED ──FIN──▶ CLOSE-WAIT ──close()──▶ LAST-ACK ──ACK──▶ closed
 *      └──SYN──▶ SYN-RECEIVED ──ACK──▶┘ │
 *                                    close()
 *                                       ▼
 *                                  FIN-WAIT-1 ──ACK──▶ FIN-WAIT-2 ──FIN──▶ TIME-WAIT
 *                                       └──FIN──▶ CLOSING ──ACK──▶ TIME-WAIT
 *
 * Passive opens are listen.c's until the handshake is done; TIME-WAIT is
 * time_wait.c's; close() is stream.c's.
 */
#include "inbound.h"

/* RFC 7323 5.5: a timestamp that is older than half of what the clock's fastest tick wraps in. */
#define TIMESTAMP_AGE_MS (24u * 24u * 3600u * 1000u)

#define SYN_ANSWERS_MAX 16u /* of one simultaneous open; its own timer goes on */

/* --- SYN-SENT (3.10.7.3). -------------------------------------------------------------------- */

/* The peer's SYN answers ours: what is in it besides is looked at as in 3.10.7.4. */
static void
syn_sent_established(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    /* RFC 6298 3: a SYN that was sent again says nothing about the round trip. */
    const uint64_t trip_us = (net->now_ns - stream->heard_ns) / 1000u;
    const uint32_t rtt_us = (uint32_t)LP_MIN(LP_MAX(trip_us, 1u), UINT32_MAX);
    tcp_established(net, stream, segment, stream->backoff == 0 ? rtt_us : 0);
    net->counters.tcp_opened++;
    tcp_due(net, stream, TCP_DUE_CONNECTED);
    tcp_want(net, stream, TCP_WANT_ACK);
    tcp_send_continue(net, stream);
    segment->seq++;
    segment->flags &= (uint8_t)~TCP_SYN;
    tcp_segment_trim(net, stream, segment);
    tcp_text_input(net, stream, segment);
}

static void
syn_sent_input(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    const bool ack = (segment->flags & TCP_ACK) != 0;
    const bool ack_fits =
        tcp_lt(stream->isn, segment->ack) && tcp_le(segment->ack, stream->send_next);
    if (ack && !ack_fits) {
        if ((segment->flags & TCP_RST) == 0) {
            tcp_reset_answer(net, segment);
        }
        return;
    }
    if ((segment->flags & TCP_RST) != 0) {
        /* RFC 5961 3.2 leaves this one as it was: it acknowledges our SYN, or is of nobody. */
        if (ack) {
            net->counters.tcp_resets_received++;
            tcp_stream_fail(net, stream);
        }
        return;
    }
    if ((segment->flags & TCP_SYN) == 0) {
        net->counters.tcp_bad++;
        return;
    }
    const struct tcp_agreed agreed = tcp_agreed_of(net, segment);
    tcp_agreed_apply(net, stream, &agreed);
    if (ack) {
        tcp_ecn_answered(net, stream, segment);
        syn_sent_established(net, stream, segment);
        return;
    }
    /* 3.5, figure 8: both opened at once. */
    stream->state = TCP_SYN_RECEIVED;
    stream->backoff = 0;
    stream->idle_ns = net->now_ns + TCP_SECOND_NS;
    tcp_syn_send(net, stream);
    tcp_timer_update(net, stream);
}

/* --- First: sequence number, timestamp. ------------------------------------------------------ */

static uint32_t
window_of(const struct tcp_stream *stream)
{
    /* A FIN may have been the last number of the window. */
    return tcp_lt(stream->receive_next, stream->receive_edge)
               ? stream->receive_edge - stream->receive_next
               : 0;
}

/*
 * RFC 9293 3.10.7.4, the four cases of table 6.  An acknowledgement alone may
 * have the number behind the window, too: a peer that has filled it has no
 * other one, and when something of that was lost, what it says of our bytes
 * would be lost with it.
 */
static bool
is_acceptable(const struct tcp_stream *stream, const struct tcp_segment *segment)
{
    const uint32_t window = window_of(stream);
    const uint32_t length = tcp_segment_length(segment);
    const uint32_t first = segment->seq - stream->receive_next;
    if (length == 0) {
        return first < window ||
               (first == window && (window == 0 || (segment->flags & TCP_KIND) == TCP_ACK));
    }
    return window > 0 && (first < window || first + length - 1u < window);
}

/* It is answered, so that a peer who lost track finds back (3.10.7.4), but not without end. */
static void
unacceptable(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    net->counters.tcp_unacceptable++;
    if ((segment->flags & TCP_RST) != 0) {
        return;
    }
    if (segment->payload_bytes > 0 && tcp_lt(segment->seq, stream->receive_next)) {
        net->counters.tcp_duplicates++;
        const uint32_t end = segment->seq + segment->payload_bytes;
        const bool whole = tcp_le(end, stream->receive_next);
        tcp_dsack_note(net, stream, segment->seq, whole ? end : stream->receive_next);
    }
    /* Two that are both lost would acknowledge each other's acknowledgements for ever. */
    if (tcp_segment_length(segment) == 0 || (segment->flags & TCP_SYN) != 0) {
        tcp_challenge(net, stream);
        return;
    }
    tcp_want(net, stream, TCP_WANT_ACK);
}

static bool
timestamp_is_old(const struct lp_net *net, const struct tcp_stream *stream,
                 const struct tcp_segment *segment)
{
    return tcp_lt(segment->timestamp, stream->timestamp_recent) &&
           tcp_now_ms(net) - stream->timestamp_recent_ms <= TIMESTAMP_AGE_MS;
}

/* PAWS (RFC 7323 5.3, R1); a reset is none of its business. */
static bool
timestamp_passes(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    if (!stream->timestamps || (segment->flags & TCP_RST) != 0) {
        return true;
    }
    if (LP_UNLIKELY(!segment->has_timestamp)) {
        net->counters.tcp_paws++; /* RFC 7323 3.2: silently */
        return false;
    }
    if (LP_LIKELY(!timestamp_is_old(net, stream, segment))) {
        return true;
    }
    net->counters.tcp_paws++;
    if (tcp_segment_length(segment) > 0 && (segment->flags & TCP_SYN) == 0) {
        tcp_want(net, stream, TCP_WANT_ACK);
    } else {
        tcp_challenge(net, stream);
    }
    return false;
}

/* RFC 7323 4.3 (2): what the next acknowledgement echoes.  It is not old: timestamp_passes(). */
static inline void
timestamp_keep(const struct lp_net *net, struct tcp_stream *stream,
               const struct tcp_segment *segment)
{
    if (stream->timestamps && tcp_le(segment->seq, stream->last_ack_sent)) {
        stream->timestamp_recent = segment->timestamp;
        stream->timestamp_recent_ms = tcp_now_ms(net);
    }
}

/*
 * MUST-66: a closed window takes no text, but acknowledgements and resets all
 * the same; else two peers with closed windows would wait for each other.
 */
static void
closed_window_strip(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    if (segment->seq != stream->receive_next || (segment->flags & TCP_SYN) != 0 ||
        tcp_segment_length(segment) == 0 || window_of(stream) > 0) {
        return;
    }
    net->counters.tcp_unacceptable++;
    segment->payload_bytes = 0;
    segment->flags &= (uint8_t)~TCP_FIN;
    tcp_want(net, stream, TCP_WANT_ACK);
}

/* --- Then: RST, SYN, ACK. -------------------------------------------------------------------- */

/* RFC 5961 3.2: only the very next number resets; what is merely in the window is asked about. */
static void
reset_input(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    if (segment->seq != stream->receive_next) {
        tcp_challenge(net, stream);
        return;
    }
    net->counters.tcp_resets_received++;
    tcp_stream_fail(net, stream);
}

/* Both opened at once, and the peer has our SYN now. */
static bool
syn_received_ack(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    if (!tcp_lt(stream->isn, segment->ack) || !tcp_le(segment->ack, stream->send_next)) {
        tcp_reset_answer(net, segment);
        return false;
    }
    tcp_established(net, stream, segment, 0);
    net->counters.tcp_opened++;
    tcp_due(net, stream, TCP_DUE_CONNECTED);
    tcp_send_continue(net, stream);
    return true;
}

/*
 * 3.5, figure 8: the peer's SYN again.  With an acknowledgement it is what ends
 * a simultaneous open, though its number is before the window; without, ours
 * was lost.  False: nothing is left to be looked at.
 */
static bool
syn_again(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    const uint8_t kind = segment->flags & (TCP_SYN | TCP_ACK | TCP_RST);
    if (segment->seq + 1u != stream->receive_next || (kind & TCP_SYN) == 0) {
        return true;
    }
    if (kind == TCP_SYN && stream->challenges < SYN_ANSWERS_MAX) {
        stream->challenges++; /* nothing else counts there yet */
        tcp_syn_send(net, stream);
    }
    if (kind != (TCP_SYN | TCP_ACK)) {
        return false;
    }
    segment->seq++;
    segment->flags &= (uint8_t)~TCP_SYN;
    tcp_want(net, stream, TCP_WANT_ACK);
    return true;
}

/* Neither side has heard of the other, or not enough.  False: nothing is left to be looked at. */
static bool
opening_input(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    if (stream->state == TCP_SYN_RECEIVED) {
        return syn_again(net, stream, segment);
    }
    syn_sent_input(net, stream, segment);
    return false;
}

/* Has the peer our FIN?  False: the connection is over. */
static bool
fin_acknowledged(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->state == TCP_FIN_WAIT_1) {
        stream->state = TCP_FIN_WAIT_2;
        stream->idle_ns = net->now_ns + TCP_FIN_WAIT_2_NS;
        tcp_timer_update(net, stream);
        return true;
    }
    if (stream->state == TCP_CLOSING) {
        tcp_time_wait_begin(net, stream);
        tcp_stream_finish(net, stream);
        return false;
    }
    if (stream->state == TCP_LAST_ACK) {
        tcp_stream_finish(net, stream);
        return false;
    }
    return true;
}

static bool
ack_input(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    if (LP_UNLIKELY(stream->state == TCP_SYN_RECEIVED)) {
        if (!syn_received_ack(net, stream, segment)) {
            return false;
        }
    } else if (!tcp_ack_input(net, stream, segment)) {
        tcp_challenge(net, stream); /* RFC 5961 5.2 */
        return false;
    }
    /* Not before: a number can be guessed, and a time stamp from the future would shut out the peer
     * (RFC 5961 5.1, CVE-2005-0356). */
    timestamp_keep(net, stream, segment);
    stream->heard_ns = net->now_ns;
    return LP_LIKELY(!stream->fin_sent) || !tcp_fin_acknowledged(stream) ||
           fin_acknowledged(net, stream);
}

void
tcp_stream_input(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    if (LP_UNLIKELY(stream->state <= TCP_SYN_RECEIVED) && !opening_input(net, stream, segment)) {
        return;
    }
    if (!timestamp_passes(net, stream, segment)) {
        return;
    }
    closed_window_strip(net, stream, segment);
    if (!is_acceptable(stream, segment)) {
        unacceptable(net, stream, segment);
        return;
    }
    if (LP_UNLIKELY((segment->flags & (TCP_RST | TCP_SYN)) != 0)) {
        if ((segment->flags & TCP_RST) != 0) {
            reset_input(net, stream, segment);
        } else {
            tcp_challenge(net, stream); /* RFC 5961 4.2, whatever the number */
        }
        return;
    }
    if ((segment->flags & TCP_ACK) == 0) {
        net->counters.tcp_bad++;
        return;
    }
    if (!ack_input(net, stream, segment)) {
        return;
    }
    if (tcp_segment_length(segment) > 0) {
        if (LP_UNLIKELY(stream->ecn)) {
            tcp_ecn_received(net, stream, segment);
        }
        tcp_segment_trim(net, stream, segment);
        tcp_text_input(net, stream, segment);
    }
}

/* --- Whose it is. ---------------------------------------------------------------------------- */

static bool
is_whole(struct lp_net *net, struct net_packet *packet, struct tcp_segment *ret_segment)
{
    /* RFC 9293 3.9.2.3, MUST-57: nobody is a group. */
    if (packet->to_group || !tcp_segment_parse(packet, ret_segment)) {
        net->counters.tcp_bad++;
        return false;
    }
    if (!packet->l4_checked && !tcp_checksum_holds(packet)) {
        net->counters.tcp_checksum++;
        return false;
    }
    return true;
}

void
tcp_input(struct lp_net *net, struct net_packet *packet)
{
    struct tcp_segment segment;
    net->counters.tcp_received++;
    if (!is_whole(net, packet, &segment)) {
        return;
    }
    const struct net_path path = tcp_path_of(packet);
    struct tcp_stream *stream = tcp_find(net, &path, segment.to_port, segment.from_port);
    if (LP_LIKELY(stream != NULL)) {
        tcp_stream_input(net, stream, &segment);
        /* What a router marked is counted, each. */
        if (net->joining && packet->lent && !stream->ecn_echo) {
            tcp_gro_note(net, stream, &segment);
        }
        return;
    }
    if (!tcp_listen_input(net, &segment) && (segment.flags & TCP_RST) == 0) {
        tcp_reset_answer(net, &segment);
    }
}
