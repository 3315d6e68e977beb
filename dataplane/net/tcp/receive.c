/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that came in order, what the window says, when acknowledgements go.
 *
 * The window is room in the receive queue that nothing is promised of yet; its
 * right edge never moves back (RFC 9293 3.8.6.2.1), only slower.  How much
 * room there is grows with what the shard takes in a round trip.
 */
#include "inbound.h"

#define SEGMENTS_PRESSED 4u /* what a window has when memory is short */
#define RTT_UNKNOWN_MS   100u
#define ROOM_SHARE       8u

uint16_t
tcp_mss_of(const struct net_path *path)
{
    const uint32_t headers =
        TCP_HEADER_BYTES + (path->family == LP_ADDRESS_IPV4 ? NET_IPV4_BYTES : NET_IPV6_BYTES);
    return path->mtu_bytes > headers ? (uint16_t)(path->mtu_bytes - headers) : 0;
}

uint8_t
tcp_receive_shift(const struct lp_net *net)
{
    uint8_t shift = 0;
    while (shift < TCP_WINDOW_SHIFT_MAX && (net->config.receive_bytes_max >> shift) > UINT16_MAX) {
        shift++;
    }
    return shift;
}

uint16_t
tcp_receive_window_first(const struct lp_net *net)
{
    return (uint16_t)LP_MIN(net->config.receive_bytes_first, (uint32_t)UINT16_MAX);
}

void
tcp_receive_begin(struct lp_net *net, struct tcp_stream *stream, uint32_t irs)
{
    stream->receive_next = irs + 1u;
    stream->receive_edge = irs + 1u + tcp_receive_window_first(net);
    stream->last_ack_sent = irs + 1u;
    stream->receive_bytes_max = net->config.receive_bytes_first;
    stream->receive_mss = TCP_MSS_DEFAULT_IPV4;
    stream->ack_quick = TCP_QUICK_ACKS;
    stream->tune_seq = irs + 1u;
    stream->tune_ms = tcp_now_ms(net);
}

/* --- The window. ----------------------------------------------------------------------------- */

static uint32_t
promised_of(const struct tcp_stream *stream)
{
    return tcp_lt(stream->receive_next, stream->receive_edge)
               ? stream->receive_edge - stream->receive_next
               : 0;
}

static uint32_t
room_of(const struct lp_net *net, const struct tcp_stream *stream)
{
    const uint32_t queued = stream->received.bytes;
    const uint32_t room = stream->receive_bytes_max - LP_MIN(queued, stream->receive_bytes_max);
    if (LP_LIKELY(!lp_memory_pressed(net->memory))) {
        return room;
    }
    /* Nobody is starved who takes what comes; who does not, gets nothing more. */
    return queued > 0 ? 0 : LP_MIN(room, SEGMENTS_PRESSED * (uint32_t)stream->receive_mss);
}

/* RFC 9293 3.8.6.2.2, RFC 1122 4.2.3.3: the edge moves by a segment or half of the room, or not. */
static bool
is_worth_moving(const struct tcp_stream *stream, uint32_t room, uint32_t promised)
{
    return room > promised &&
           room - promised >= LP_MIN((uint32_t)stream->receive_mss, stream->receive_bytes_max / 2u);
}

uint32_t
tcp_receive_window(const struct lp_net *net, const struct tcp_stream *stream)
{
    const uint32_t promised = promised_of(stream);
    const uint32_t room = room_of(net, stream);
    const uint32_t window = is_worth_moving(stream, room, promised) ? room : promised;
    const uint32_t unit = 1u << stream->receive_shift;
    const uint32_t most = (uint32_t)UINT16_MAX << stream->receive_shift;
    const uint32_t up = (window + unit - 1u) & ~(unit - 1u);
    /* Upwards, so that no edge moves back (RFC 7323 2.4), as long as that cannot go on for ever:
     * bytes that come one by one would each move a closed edge. */
    const uint32_t whole = up <= room + unit ? up : window & ~(unit - 1u);
    return LP_MIN(whole, most);
}

void
tcp_acknowledged(struct lp_net *net, struct tcp_stream *stream, uint32_t window)
{
    if (LP_UNLIKELY(window == 0 && tcp_lt(stream->last_ack_sent, stream->receive_edge))) {
        net->counters.tcp_window_closed++;
    }
    stream->receive_edge = tcp_max(stream->receive_edge, stream->receive_next + window);
    stream->last_ack_sent = stream->receive_next;
    stream->ack_ns = 0;
    stream->dsack_due = false;
}

void
tcp_taken(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->state == TCP_CLOSED || stream->fin_received) {
        return;
    }
    /* Its last acknowledgement may have left while the window was closing: say when it opens. */
    const uint32_t promised = promised_of(stream);
    const uint32_t window = tcp_receive_window(net, stream);
    const uint32_t step =
        LP_MIN(2u * (uint32_t)stream->receive_mss, stream->receive_bytes_max / 2u);
    if (promised < stream->receive_bytes_max / 2u && window >= promised + step) {
        tcp_want(net, stream, TCP_WANT_ACK);
    }
}

/* Twice what came in a round trip, as far as memory goes (dynamic right-sizing). */
static void
window_tune(const struct lp_net *net, struct tcp_stream *stream)
{
    const uint32_t now_ms = tcp_now_ms(net);
    const uint32_t rtt_ms =
        stream->srtt_us == 0 ? RTT_UNKNOWN_MS : LP_MAX(stream->srtt_us / 1000u, 1u);
    if (now_ms - stream->tune_ms < rtt_ms) {
        return;
    }
    const uint32_t came = stream->receive_next - stream->tune_seq;
    const uint32_t taken = came - LP_MIN(came, stream->received.bytes);
    stream->tune_ms = now_ms;
    stream->tune_seq = stream->receive_next;
    /* A pause is no round trip: what came after it would count for little, and does no harm. */
    if (taken <= stream->receive_bytes_max / 2u) {
        return;
    }
    /* A window is a promise: nobody is promised more than a part of what is left for all. */
    const uint64_t share = lp_memory_room_bytes(net->memory) / ROOM_SHARE;
    const uint64_t most = LP_MIN(share, (uint64_t)net->config.receive_bytes_max);
    const uint64_t wanted = LP_MIN(2ull * taken, most);
    stream->receive_bytes_max = (uint32_t)LP_MAX(wanted, (uint64_t)stream->receive_bytes_max);
}

/* --- Acknowledgements. ----------------------------------------------------------------------- */

void
tcp_dsack_note(struct lp_net *net, struct tcp_stream *stream, uint32_t start, uint32_t end)
{
    if (!stream->sack) {
        return;
    }
    stream->dsack = (struct tcp_range){start, end};
    stream->dsack_due = true;
    tcp_want(net, stream, TCP_WANT_ACK);
}

/*
 * RFC 9293 3.8.6.3, RFC 5681 4.2: at once for every second full segment and
 * around gaps, else when the delay is over; what is sent meanwhile carries it.
 */
static void
ack_owe(struct lp_net *net, struct tcp_stream *stream, bool at_once)
{
    const uint32_t owed = stream->receive_next - stream->last_ack_sent;
    if (at_once || stream->ack_quick > 0 || owed >= 2u * (uint32_t)stream->receive_mss) {
        stream->ack_quick = (uint8_t)(stream->ack_quick - (stream->ack_quick > 0 ? 1u : 0u));
        tcp_want(net, stream, TCP_WANT_ACK);
        return;
    }
    if (stream->ack_ns == 0) {
        stream->ack_ns = net->now_ns + TCP_DELAYED_ACK_NS;
        tcp_timer_update(net, stream);
    }
}

/* --- Text. ----------------------------------------------------------------------------------- */

void
tcp_segment_trim(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    if (tcp_lt(segment->seq, stream->receive_next)) {
        const uint32_t old = LP_MIN(stream->receive_next - segment->seq, segment->payload_bytes);
        if (old > 0) {
            net->counters.tcp_duplicates++;
            tcp_dsack_note(net, stream, segment->seq, segment->seq + old);
        }
        segment->payload += old;
        segment->payload_bytes -= old;
        segment->seq = stream->receive_next;
    }
    const uint32_t room = stream->receive_edge - segment->seq;
    if (tcp_segment_length(segment) > room) {
        segment->payload_bytes = LP_MIN(segment->payload_bytes, room);
        segment->flags &= (uint8_t)~TCP_FIN;
        tcp_want(net, stream, TCP_WANT_ACK);
    }
}

/* To the shard, or to the queue; gives how many bytes are kept, which is all unless memory is gone.
 */
static uint32_t
text_keep(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    const uint8_t *data = segment->payload;
    const uint32_t bytes = segment->payload_bytes;
    if (LP_LIKELY(tcp_stream_lend(net, stream, data, bytes))) {
        segment->packet->lent = true;
        return bytes;
    }
    uint32_t kept = tcp_queue_append(net, &stream->received, data, bytes);
    if (LP_UNLIKELY(kept < bytes)) {
        /* What is in order goes before what is not (RFC 2018 8 allows to take that back). */
        tcp_reassembly_free(net, stream);
        kept += tcp_queue_append(net, &stream->received, data + kept, bytes - kept);
    }
    if (LP_UNLIKELY(kept < bytes) && tcp_evict(net, stream)) {
        kept += tcp_queue_append(net, &stream->received, data + kept, bytes - kept);
    }
    if (LP_UNLIKELY(kept < bytes)) {
        net->counters.tcp_no_memory++;
    }
    if (kept > 0) {
        tcp_due(net, stream, TCP_DUE_RECEIVED);
    }
    return kept;
}

static void
mss_note(struct tcp_stream *stream, const struct tcp_segment *segment)
{
    const uint16_t joined = segment->packet->segment_bytes;
    const uint32_t bytes = joined > 0 ? joined : segment->payload_bytes;
    if (LP_UNLIKELY(bytes > stream->receive_mss)) {
        const uint32_t most = LP_MAX((uint32_t)tcp_mss_of(&stream->path), TCP_MSS_DEFAULT_IPV4);
        stream->receive_mss = (uint16_t)LP_MIN(bytes, most);
    }
}

/* RFC 9293 3.10.7.4, eighth: everything before the FIN is here. */
static void
fin_input(struct lp_net *net, struct tcp_stream *stream)
{
    stream->receive_next++;
    stream->fin_received = true;
    tcp_reassembly_free(net, stream); /* nothing follows a FIN */
    tcp_want(net, stream, TCP_WANT_ACK);
    if (stream->state == TCP_ESTABLISHED) {
        stream->state = TCP_CLOSE_WAIT;
        tcp_due(net, stream, TCP_DUE_ENDED);
    } else if (stream->state == TCP_FIN_WAIT_1) {
        stream->state = TCP_CLOSING; /* our FIN is not acknowledged: ack_input() came before */
    } else {
        LP_ASSERT(stream->state == TCP_FIN_WAIT_2);
        tcp_time_wait_begin(net, stream);
        tcp_stream_finish(net, stream);
    }
}

static void
in_order_input(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    const uint32_t bytes = segment->payload_bytes;
    bool fin = (segment->flags & TCP_FIN) != 0;
    if (bytes > 0) {
        const uint32_t kept = text_keep(net, stream, segment);
        stream->receive_next += kept;
        mss_note(stream, segment);
        fin = fin && kept == bytes;
        if (kept < bytes) {
            tcp_want(net, stream, TCP_WANT_ACK);
        }
    }
    if (!fin && stream->reassembly != NULL) {
        /* RFC 5681 4.2: at once when a gap is filled, or part of it. */
        const bool fin_held = stream->reassembly->fin_known;
        const uint32_t fin_seq = stream->reassembly->fin_seq;
        const bool at_once = tcp_reassembly_advance(net, stream);
        fin = fin_held && stream->receive_next == fin_seq;
        ack_owe(net, stream, at_once);
    } else if (bytes > 0) {
        ack_owe(net, stream, false);
    }
    if (LP_UNLIKELY(fin)) {
        fin_input(net, stream);
        return;
    }
    window_tune(net, stream);
}

bool
tcp_text_follow(struct lp_net *net, struct tcp_stream *stream, const uint8_t *data, uint32_t bytes)
{
    LP_ASSERT(bytes > 0);
    if (!tcp_stream_lend(net, stream, data, bytes)) {
        return false;
    }
    stream->receive_next += bytes;
    ack_owe(net, stream, false);
    window_tune(net, stream);
    return true;
}

void
tcp_text_input(struct lp_net *net, struct tcp_stream *stream, struct tcp_segment *segment)
{
    if (tcp_segment_length(segment) == 0) {
        return;
    }
    if (stream->fin_received) {
        tcp_want(net, stream, TCP_WANT_ACK); /* behind the end: RFC 9293 ignores it */
        return;
    }
    if (LP_UNLIKELY(stream->closing) && segment->payload_bytes > 0) {
        /* RFC 9293 3.6.1 (RFC 1122 4.2.2.13): nobody will read it, and the peer has to know. */
        tcp_stream_abort(net, stream);
        return;
    }
    if (LP_LIKELY(segment->seq == stream->receive_next)) {
        in_order_input(net, stream, segment);
        return;
    }
    net->counters.tcp_out_of_order++;
    if (!stream->closing) {
        tcp_reassembly_add(net, stream, segment);
    }
    tcp_want(net, stream, TCP_WANT_ACK); /* RFC 5681 4.2: a duplicate, at once */
}
