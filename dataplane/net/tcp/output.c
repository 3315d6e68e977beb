/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of connections.  Everything that is wanted leaves at the end of the
 * turn: what is lost first, then what is new, with the acknowledgement and
 * its options on each; an acknowledgement alone only when no data went.
 *
 * A stream gets a share of each turn and goes to the end of the list with the
 * rest; so does one whose device has no buffer.
 */
#include "congestion.h"

#define TURN_FRAMES_MAX  64u
#define TURN_BYTES_MAX   (256u * 1024u)
#define FRAME_BYTES_MAX  65535u
#define LIMITED_SEGMENTS 2u
#define WINDOW_FRAMES    2u
#define ECT_0            2u /* RFC 3168 5 */

#define OPTION_NOP             1u
#define OPTION_SACK_BLOCKS     5u
#define OPTION_TIMESTAMP       8u
#define OPTION_TIMESTAMP_BYTES 12u /* with two NOPs before it: RFC 7323 appendix A */

/* What a stream may still send in this turn. */
struct share {
    uint32_t frames;
    uint32_t bytes;
};

/* --- One segment. ------------------------------------------------------------------------------
 */

/* The options of a segment, decided before its payload is. */
struct shape {
    uint32_t sack_count;
    struct tcp_range sack[TCP_SACK_BLOCKS_MAX];
    uint32_t header_bytes;
    uint32_t mss; /* payload beside these options: RFC 6691 2 */
};

/* What it carries. */
struct piece {
    uint32_t seq;
    uint32_t bytes;
    uint8_t flags;
    bool ect; /* RFC 3168 6.1.2: new data, no probe */
};

static struct shape
shape_of(const struct tcp_stream *stream)
{
    struct shape shape = {.header_bytes = TCP_HEADER_BYTES, .mss = stream->send_mss};
    if (stream->timestamps) {
        shape.header_bytes += OPTION_TIMESTAMP_BYTES;
    }
    if (!stream->sack || (stream->reassembly == NULL && !stream->dsack_due)) {
        return shape;
    }
    /* RFC 2018 3: as many as there is room for. */
    const uint32_t max = stream->timestamps ? 3 : TCP_SACK_BLOCKS_MAX;
    shape.sack_count = tcp_sack_blocks(stream, shape.sack, max);
    if (shape.sack_count > 0) {
        const uint32_t bytes = 4 + 8 * shape.sack_count;
        shape.header_bytes += bytes;
        shape.mss -= LP_MIN(bytes, shape.mss - 1);
    }
    return shape;
}

static uint8_t *
options_write(const struct lp_net *net, const struct tcp_stream *stream, const struct shape *shape,
              uint8_t *to)
{
    if (stream->timestamps) {
        to = lp_put_u8(to, OPTION_NOP);
        to = lp_put_u8(to, OPTION_NOP);
        to = lp_put_u8(to, OPTION_TIMESTAMP);
        to = lp_put_u8(to, 10);
        to = lp_put_u32be(to, tcp_now_ms(net) + stream->timestamp_offset);
        to = lp_put_u32be(to, stream->timestamp_recent);
    }
    if (shape->sack_count > 0) {
        to = lp_put_u8(to, OPTION_NOP);
        to = lp_put_u8(to, OPTION_NOP);
        to = lp_put_u8(to, OPTION_SACK_BLOCKS);
        to = lp_put_u8(to, (uint8_t)(2 + 8 * shape->sack_count));
        for (uint32_t i = 0; i < shape->sack_count; i++) {
            to = lp_put_u32be(to, shape->sack[i].start);
            to = lp_put_u32be(to, shape->sack[i].end);
        }
    }
    return to;
}

static void
header_write(struct lp_net *net, struct tcp_stream *stream, const struct shape *shape,
             const struct piece *piece, uint8_t *to)
{
    uint8_t *start = to;
    const uint32_t window = tcp_receive_window(net, stream);
    to = lp_put_u16be(to, stream->local_port);
    to = lp_put_u16be(to, stream->remote_port);
    to = lp_put_u32be(to, piece->seq);
    to = lp_put_u32be(to, stream->receive_next);
    to = lp_put_u8(to, (uint8_t)(shape->header_bytes << 2)); /* words, in the upper four bits */
    to = lp_put_u8(to, piece->flags);
    to = lp_put_u16be(to, (uint16_t)LP_MIN(window >> stream->receive_shift, UINT16_MAX));
    to = lp_put_u32be(to, 0); /* checksum, urgent pointer */
    to = options_write(net, stream, shape, to);
    LP_ASSERT((uint32_t)(to - start) == shape->header_bytes);
    tcp_acknowledged(net, stream, window);
    net->counters.tcp_sent++;
}

/* The chunk that holds `seq`: from where we were last, or from the first. */
static struct tcp_chunk *
chunk_of(const struct tcp_stream *stream, struct tcp_chunk *hint, uint32_t seq)
{
    struct tcp_chunk *chunk = stream->sending.head;
    if (hint != NULL && tcp_le(hint->seq, seq)) {
        chunk = hint;
    }
    while (chunk != NULL && tcp_le(chunk->seq + chunk->end, seq)) {
        chunk = chunk->next;
    }
    return chunk;
}

/* Gives the chunk of the last byte. */
static struct tcp_chunk *
payload_copy(struct tcp_chunk *chunk, uint32_t seq, uint8_t *to, uint32_t bytes)
{
    while (true) {
        LP_ASSERT(chunk != NULL);
        const uint32_t offset = seq - chunk->seq;
        const uint32_t part = LP_MIN(bytes, chunk->end - offset);
        memcpy(to, chunk->bytes + offset, part);
        bytes -= part;
        if (bytes == 0) {
            return chunk;
        }
        to += part;
        seq += part;
        chunk = chunk->next;
    }
}

/*
 * One frame: one segment, or several that the device cuts.  False: it has no
 * buffer.
 */
static bool
segment_send(struct lp_net *net, struct tcp_stream *stream, const struct shape *shape,
             struct piece piece)
{
    const uint32_t bytes = piece.bytes;
    struct net_out out;
    if (!net_out_begin(net, &stream->path, NET_PROTOCOL_TCP, shape->header_bytes + bytes, &out)) {
        return false;
    }
    if (bytes > 0) {
        struct tcp_scoreboard *board = stream->scoreboard;
        struct tcp_chunk **hint =
            tcp_lt(piece.seq, stream->send_next) ? &board->again_chunk : &board->next_chunk;
        *hint = payload_copy(chunk_of(stream, *hint, piece.seq), piece.seq,
                             out.l4 + shape->header_bytes, bytes);
        /* RFC 9293 3.9.1 without a push of the user's: what ends the queue is pushed. */
        if (piece.seq + bytes == stream->send_end) {
            piece.flags |= TCP_PSH;
        }
    }
    piece.flags |= TCP_ACK;
    if (LP_UNLIKELY(stream->ecn_echo)) {
        piece.flags |= TCP_ECE; /* RFC 3168 6.1.3 */
    }
    if (LP_UNLIKELY(piece.ect)) {
        out.ecn = ECT_0;
    }
    header_write(net, stream, shape, &piece, out.l4);
    net_out_send(net, &out, shape->header_bytes + bytes, (uint8_t)shape->header_bytes,
                 bytes > shape->mss ? (uint16_t)shape->mss : 0);
    stream->want &= (uint8_t)~TCP_WANT_ACK;
    return true;
}

/*
 * Payload that one frame may have.  A frame is lost as a whole where there are
 * software switches: of a small window it has a part only, so that what is
 * behind it can tell of its loss before a time-out does.
 */
static uint32_t
frame_payload_max(const struct lp_net *net, const struct tcp_stream *stream,
                  const struct shape *shape)
{
    const uint32_t tso =
        LP_MIN(net_out_tso_bytes(net, &stream->path), stream->cwnd / WINDOW_FRAMES);
    const uint32_t max = LP_MIN(tso, FRAME_BYTES_MAX - NET_IPV6_BYTES - TCP_HEADER_BYTES_MAX);
    return max < 2 * shape->mss ? shape->mss : max - max % shape->mss;
}

/* --- Again. ------------------------------------------------------------------------------------
 */

/* A segment that was sent before, and lost ones right behind it that go in the same frame. */
struct again {
    uint32_t start;
    uint32_t end;
    uint32_t count;
    uint32_t unit; /* where the device cuts: every segment begins there again */
    bool untold;   /* without the blocks that are due */
};

/* `shape` becomes one that has room for it. */
static struct again
again_of(const struct tcp_stream *stream, const struct tcp_sent *sent, struct shape *shape)
{
    const uint32_t bytes = sent->end - sent->start;
    const bool untold = bytes > shape->mss && bytes <= stream->send_mss;
    if (untold) {
        /* As it was, and SACKs behind it: not in two pieces for their sake. */
        shape->header_bytes -= stream->send_mss - shape->mss;
        shape->mss = stream->send_mss;
        shape->sack_count = 0;
    }
    return (struct again){sent->start, sent->end, 1, shape->mss, untold};
}

/* What one frame lost goes again in as few, or each of its segments has the chance to be lost that
 * it had: as much as fits into `most` bytes, up to the next that is not lost. */
static void
again_extend(const struct tcp_stream *stream, uint32_t most, struct again *again)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    uint32_t position = (board->lost.oldest - board->head) & (board->room - 1u);
    const uint32_t first_bytes = again->end - again->start;
    while (++position < board->count) {
        const struct tcp_sent *next = tcp_sent_nth(board, position);
        const uint32_t bytes = again->end - again->start;
        const uint32_t more = next->end - next->start;
        if (again->count == 1 && bytes + more > again->unit) {
            again->unit = LP_MIN(again->unit, first_bytes);
        }
        const bool fits = bytes + more <= again->unit ||
                          (more <= again->unit && bytes % again->unit == 0 && bytes + more <= most);
        const bool fin = stream->fin_sent && next->end == stream->send_end + 1u;
        if (next->state != TCP_SENT_LOST || !fits || fin) {
            return;
        }
        again->end = next->end;
        again->count++;
    }
}

static bool
again_send(struct lp_net *net, struct tcp_stream *stream, struct shape *shape,
           const struct again *again)
{
    const uint8_t want = stream->want & TCP_WANT_ACK;
    const bool dsack_due = stream->dsack_due;
    const bool fin = stream->fin_sent && again->end == stream->send_end + 1u;
    const uint32_t end = fin ? stream->send_end : again->end;
    shape->mss = again->unit;
    const uint32_t most = frame_payload_max(net, stream, shape);
    uint32_t seq = again->start;
    do {
        const uint32_t bytes = LP_MIN(end - seq, most);
        const bool last = seq + bytes == end;
        const struct piece piece = {seq, bytes, fin && last ? TCP_FIN : 0, false};
        if (!segment_send(net, stream, shape, piece)) {
            return false;
        }
        seq += bytes;
    } while (seq != end);
    if (again->untold) {
        stream->want |= want;
        stream->dsack_due = dsack_due;
    }
    return true;
}

/* They are out again, as of now. */
static void
again_note(struct lp_net *net, struct tcp_stream *stream, struct tcp_sent *first,
           const struct again *again)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    uint32_t position = ((uint32_t)(first - board->sent) - board->head) & (board->room - 1u);
    for (uint32_t i = 0; i < again->count; i++) {
        tcp_scoreboard_again(board, tcp_sent_nth(board, position++), net->now_ns);
    }
    board->prr_out += again->end - again->start;
    const uint32_t segments = (again->end - again->start + again->unit - 1u) / again->unit;
    net->counters.tcp_retransmitted += segments;
    if (stream->in_recovery || stream->rto_recovery) {
        stream->undo_again = (uint16_t)LP_MIN(stream->undo_again + segments, UINT16_MAX);
    }
}

bool
tcp_send_again(struct lp_net *net, struct tcp_stream *stream, struct tcp_sent *sent)
{
    struct shape shape = shape_of(stream);
    const struct again again = again_of(stream, sent, &shape);
    if (!again_send(net, stream, &shape, &again)) {
        return false;
    }
    again_note(net, stream, sent, &again);
    return true;
}

/* What is lost is sent as long as the congestion window has room: RFC 6675 5 (C). */
static bool
lost_send(struct lp_net *net, struct tcp_stream *stream, struct share *share)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board != NULL && board->frto == TCP_FRTO_TRIES) {
        return true; /* RFC 5682 2.1, step 2 (b) */
    }
    while (board != NULL && board->lost.oldest != TCP_SENT_NONE && share->frames > 0) {
        struct tcp_sent *sent = &board->sent[board->lost.oldest];
        const uint32_t room = stream->cwnd > board->out_bytes ? stream->cwnd - board->out_bytes : 0;
        if (!board->forced && board->out_bytes > 0 && sent->end - sent->start > room) {
            return true;
        }
        struct shape shape = shape_of(stream);
        struct again again = again_of(stream, sent, &shape);
        again_extend(stream, LP_MIN(room, frame_payload_max(net, stream, &shape)), &again);
        if (!again_send(net, stream, &shape, &again)) {
            return false;
        }
        again_note(net, stream, sent, &again);
        board->forced = false;
        share->frames--;
        share->bytes -= LP_MIN(share->bytes, again.end - again.start);
    }
    return true;
}

/* --- New. --------------------------------------------------------------------------------------
 */

/* RFC 3042 2: each of the first two duplicates says that something has left the network; with SACK
 * it is known what. */
static uint32_t
limited_transmit(const struct tcp_stream *stream)
{
    if (LP_LIKELY(stream->dup_acks == 0) || stream->in_recovery || stream->rto_recovery) {
        return 0;
    }
    return LP_MIN(stream->dup_acks, LIMITED_SEGMENTS) * (uint32_t)stream->send_mss;
}

/* What the peer's window and the congestion window allow now, of `unsent` bytes; 0: nothing. */
static uint32_t
new_allowed(const struct tcp_stream *stream, uint32_t mss, uint32_t unsent)
{
    LP_ASSERT(mss > 0);
    const uint32_t flight = tcp_flight(stream);
    const uint32_t pipe = tcp_pipe(stream);
    const uint32_t window = stream->send_window > flight ? stream->send_window - flight : 0;
    const uint32_t cwnd = stream->cwnd + limited_transmit(stream);
    const uint32_t room = cwnd > pipe ? cwnd - pipe : 0;
    const uint32_t allowed = LP_MIN(LP_MIN(window, room), unsent);
    if (allowed >= mss) {
        /* A short one only at the end: what the window cuts off waits for a full segment. */
        return allowed == unsent ? allowed : allowed - allowed % mss;
    }
    /* RFC 9293 3.8.6.2.1 (2): all of it; there is no Nagle's algorithm. */
    if (allowed == unsent) {
        return allowed;
    }
    /* (3): half of the largest window that the peer ever had, if it is the peer's that is short. */
    if (window < room && allowed >= stream->send_window_max / 2) {
        return allowed;
    }
    /* A congestion window of less than a segment must not stop everything. */
    return pipe == 0 && window >= LP_MIN(mss, unsent) ? LP_MIN(mss, unsent) : 0;
}

static void
new_sent(struct lp_net *net, struct tcp_stream *stream, uint32_t mss, uint32_t bytes, bool fin)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    const uint32_t end = stream->send_next + bytes + (fin ? 1u : 0u);
    uint32_t seq = stream->send_next;
    while (end - seq > mss + (fin ? 1u : 0u)) {
        tcp_scoreboard_append(board, seq, seq + mss, net->now_ns);
        seq += mss;
    }
    tcp_scoreboard_append(board, seq, end, net->now_ns);
    board->prr_out += end - stream->send_next;
    stream->send_next = end;
    stream->fin_sent = stream->fin_sent || fin;
    stream->sent_ms = tcp_now_ms(net);
    if (stream->stalled_ns == 0) {
        stream->stalled_ns = net->now_ns;
    }
}

/* One frame of `bytes` new ones, and the FIN behind the last. */
static bool
new_frame(struct lp_net *net, struct tcp_stream *stream, const struct shape *shape, uint32_t bytes,
          bool ect)
{
    const bool fin = stream->fin_queued && stream->send_next + bytes == stream->send_end;
    const bool cwr = ect && bytes > 0 && stream->ecn_cwr;
    const uint8_t flags = (uint8_t)((fin ? TCP_FIN : 0) | (cwr ? TCP_CWR : 0));
    const struct piece piece = {stream->send_next, bytes, flags, ect && bytes > 0};
    if (!segment_send(net, stream, shape, piece)) {
        if (stream->scoreboard->count == 0) {
            tcp_scoreboard_free(net, stream);
        }
        return false;
    }
    stream->ecn_cwr = stream->ecn_cwr && !cwr;
    new_sent(net, stream, shape->mss, bytes, fin);
    return true;
}

bool
tcp_send_new(struct lp_net *net, struct tcp_stream *stream, uint32_t bytes)
{
    const struct shape shape = shape_of(stream);
    return tcp_scoreboard_room(net, stream, 1) &&
           new_frame(net, stream, &shape, LP_MIN(bytes, shape.mss), false);
}

/* Acknowledgements make room, in the scoreboard and in memory; without any to come, time has to. */
static void
room_missing(struct lp_net *net, struct tcp_stream *stream)
{
    if (tcp_flight(stream) == 0) {
        tcp_retransmit_set(net, stream, TCP_RETRANSMIT_RTO, net->now_ns + tcp_rto_ns(stream));
    }
}

static void
window_used(struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    const uint32_t flight = tcp_flight(stream);
    if (board == NULL || flight < stream->cwnd / 2) {
        return;
    }
    board->half_end = stream->send_next;
    if (flight + stream->send_mss > stream->cwnd) {
        board->full_end = stream->send_next;
    }
}

/* RFC 5681 4.1: after a time-out's length without sending the window says nothing any more. */
static void
idle_restart(struct lp_net *net, struct tcp_stream *stream)
{
    const uint32_t idle_ms = tcp_now_ms(net) - stream->sent_ms;
    if (tcp_flight(stream) > 0 || idle_ms < stream->rto_ms) {
        return;
    }
    const uint32_t restart = tcp_window_first(stream->send_mss);
    if (stream->cwnd > restart) {
        stream->cwnd = restart;
        stream->undo_cwnd = 0;
        tcp_congestion_of(net)->begin(stream);
    }
}

/* RFC 8899 4.1: a probe is data, so that nothing is lost but time when it is. */
static bool
probe_send(struct lp_net *net, struct tcp_stream *stream, struct share *share)
{
    const uint32_t bytes = tcp_pmtu_probe_bytes(net, stream);
    struct shape shape = shape_of(stream);
    if (bytes == 0 || shape.sack_count > 0 || stream->send_window < tcp_flight(stream) + bytes ||
        !tcp_scoreboard_room(net, stream, 1)) {
        return true;
    }
    shape.mss = bytes;
    if (!new_frame(net, stream, &shape, bytes, false)) {
        return false;
    }
    tcp_pmtu_probe_sent(stream, bytes, stream->send_next);
    share->frames--;
    return true;
}

static bool
new_send(struct lp_net *net, struct tcp_stream *stream, struct share *share)
{
    if (LP_UNLIKELY(stream->pmtu != 0) && share->frames > 0 && !probe_send(net, stream, share)) {
        return false;
    }
    while (share->frames > 0 && share->bytes > 0 && !stream->fin_sent) {
        const uint32_t unsent = tcp_unsent(stream);
        if (unsent == 0 && !stream->fin_queued) {
            break;
        }
        const struct shape shape = shape_of(stream);
        const uint32_t allowed = new_allowed(stream, shape.mss, unsent);
        if (allowed == 0 && unsent > 0) {
            break;
        }
        /* CWR is for one segment: no device has to know of it. */
        const uint32_t most =
            LP_UNLIKELY(stream->ecn_cwr) ? shape.mss : frame_payload_max(net, stream, &shape);
        const uint32_t bytes = LP_MIN(allowed, most);
        if (!tcp_scoreboard_room(net, stream, bytes / shape.mss + 1)) {
            room_missing(net, stream);
            break;
        }
        if (!new_frame(net, stream, &shape, bytes, stream->ecn_send)) {
            return false;
        }
        share->frames--;
        share->bytes -= LP_MIN(share->bytes, bytes);
    }
    return true;
}

/* --- The turn's end. ---------------------------------------------------------------------------
 */

static bool
may_send(const struct tcp_stream *stream)
{
    switch ((enum tcp_state)stream->state) {
    case TCP_ESTABLISHED:
    case TCP_FIN_WAIT_1:
    case TCP_FIN_WAIT_2:
    case TCP_CLOSE_WAIT:
    case TCP_CLOSING:
    case TCP_LAST_ACK:
        return true;
    case TCP_SYN_SENT:
    case TCP_SYN_RECEIVED:
    case TCP_CLOSED:
        break;
    }
    return false;
}

static void
stream_flush(struct lp_net *net, struct tcp_stream *stream)
{
    struct share share = {TURN_FRAMES_MAX, TURN_BYTES_MAX};
    if (!may_send(stream)) {
        stream->want = 0;
        return;
    }
    bool done = true;
    if ((stream->want & TCP_WANT_DATA) != 0) {
        const uint32_t next = stream->send_next;
        idle_restart(net, stream);
        done = lost_send(net, stream, &share) && new_send(net, stream, &share);
        window_used(stream);
        tcp_retransmit_arm(net, stream, stream->send_next != next ? TCP_ARM_SENT : TCP_ARM_KEEP);
        /* Its share is used up, or the device's buffers are: the next turn goes on. */
        done = done && share.frames > 0 && share.bytes > 0;
    }
    if (done) {
        stream->want &= (uint8_t)~TCP_WANT_DATA;
    }
    if ((stream->want & TCP_WANT_ACK) != 0) {
        const struct shape shape = shape_of(stream);
        const struct piece nothing = {.seq = stream->send_next};
        (void)segment_send(net, stream, &shape, nothing); /* no buffer: next turn */
    }
    if (stream->want != 0) {
        lp_list_push_back(&net->tcp->flush, &stream->flush);
    }
}

void
tcp_flush(struct lp_net *net)
{
    struct lp_list turn;
    lp_list_init(&turn);
    lp_list_push_back(&net->tcp->flush, &turn); /* the last of this turn */
    for (struct lp_list *link = net->tcp->flush.next; link != &turn; link = net->tcp->flush.next) {
        lp_list_remove(link);
        stream_flush(net, LP_LIST_ITEM(link, struct tcp_stream, flush));
    }
    lp_list_remove(&turn);
}

void
tcp_want(struct lp_net *net, struct tcp_stream *stream, uint8_t want)
{
    stream->want |= want;
    if (!lp_list_linked(&stream->flush)) {
        lp_list_push_back(&net->tcp->flush, &stream->flush);
    }
}
