/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoveries: when one begins, how it goes on and ends, and what it does to
 * the congestion window.
 *
 *   open ── something is lost ──▶ in_recovery ── `recovery_end` acknowledged ──▶ open
 *    │                                │
 *    └── time-out ──▶ rto_recovery ◀──┘
 *
 * A window is halved (or what the algorithm says) once a flight (RFC 6675 5.1).
 */
#include "congestion.h"

static void
undo_remember(const struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    stream->undo_cwnd = stream->cwnd;
    stream->undo_ssthresh = stream->ssthresh;
    stream->undo_una = stream->send_una;
    stream->undo_again = 0;
    board->undo_ms = tcp_now_ms(net) + stream->timestamp_offset;
    board->undo_first = true;
}

/* RFC 5681 3.1 (4), RFC 3168 6.1.2.  What a long recovery has let out is more than the window ever
 * was. */
static void
window_shrink(struct lp_net *net, struct tcp_stream *stream, uint32_t flight)
{
    tcp_hystart_end(stream);
    stream->ssthresh = tcp_congestion_of(net)->shrink(stream, LP_MIN(flight, stream->cwnd));
    tcp_ecn_reduced(stream);
    if (stream->scoreboard != NULL) {
        stream->scoreboard->reduced_ns = net->now_ns;
    }
}

/* The window shrinks for what was lost; the first of it goes at once. */
static void
recovery_begin(struct lp_net *net, struct tcp_stream *stream)
{
    net->counters.tcp_fast_recoveries++;
    undo_remember(net, stream);
    tcp_prr_begin(stream);
    window_shrink(net, stream, tcp_flight(stream));
    stream->in_recovery = true;
    stream->recovery_end = stream->send_next;
    stream->scoreboard->forced = true;
    if (stream->rack_reorder_persist > 0) {
        stream->rack_reorder_persist--;
    } else {
        stream->rack_reorder_mult = 1; /* RFC 8985 6.2.1 */
    }
}

static void
recovery_end(struct tcp_stream *stream)
{
    if (stream->in_recovery) {
        /* RFC 6937 3. */
        stream->cwnd = stream->ssthresh;
    }
    stream->in_recovery = false;
    stream->rto_recovery = false;
}

/*
 * Was nothing lost after all?  RFC 3522: the first acknowledgement that moves
 * SND.UNA after a time-out or a recovery's beginning echoes a time stamp from
 * before it.  RFC 3708: each retransmission since was reported as a duplicate,
 * maybe only when nothing is in flight any more.
 * `mistaken`: RFC 5682 says so.
 */
static bool
was_spurious(const struct tcp_stream *stream, const struct tcp_ack_news *news, bool mistaken)
{
    const struct tcp_scoreboard *board = stream->scoreboard;
    if (stream->undo_cwnd == 0) {
        return false;
    }
    if (news->needless || mistaken) {
        return true;
    }
    return board->undo_first && news->acked > 0 && news->has_echo &&
           tcp_lt(news->echo, board->undo_ms);
}

bool
tcp_recovery_needless(struct tcp_stream *stream, const struct tcp_range *twice)
{
    /* What the network doubled before or behind it says nothing of what was sent again. */
    if (stream->undo_again == 0 || stream->undo_again == UINT16_MAX ||
        tcp_le(twice->end, stream->undo_una) || tcp_lt(stream->recovery_end, twice->end)) {
        return false;
    }
    /* The peer's card may have joined several. */
    const uint32_t mss = stream->send_mss;
    const uint32_t segments = (twice->end - twice->start + mss - 1u) / mss;
    stream->undo_again -= (uint16_t)LP_MIN(segments, stream->undo_again);
    return stream->undo_again == 0 && stream->undo_cwnd != 0;
}

void
tcp_recovery_undo(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    stream->cwnd = LP_MAX(stream->cwnd, stream->undo_cwnd);
    stream->ssthresh = LP_MAX(stream->ssthresh, stream->undo_ssthresh);
    tcp_hystart_end(stream); /* back in the first slow start, which begins anew */
    stream->in_recovery = false;
    stream->rto_recovery = false;
    stream->reordering = true; /* or delayed for long, which is the same */
    stream->undo_cwnd = 0;
    if (board != NULL) {
        board->forced = false;
        tcp_scoreboard_find(board, net->now_ns);
    }
}

static void
grow(struct lp_net *net, struct tcp_stream *stream, const struct tcp_ack_news *news)
{
    /* RFC 7661, RFC 9438 5.8: a window that was not used has not been tried; in slow start one that
     * was half used has.  What counts is how it was when the newest of these bytes left. */
    const struct tcp_scoreboard *board = stream->scoreboard;
    const uint32_t end = stream->cwnd < stream->ssthresh ? board->half_end : board->full_end;
    if (news->acked == 0 || news->marked || tcp_lt(end, stream->send_una)) {
        return;
    }
    tcp_congestion_of(net)->grow(stream, news->acked, net->now_ns);
}

/* RFC 4821 7.6.2: a probe of the path's MTU that is lost alone says nothing of congestion. */
static bool
only_a_probe(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    const struct tcp_sent *lost = tcp_sent_at(board, board->lost.oldest);
    if (lost == NULL || board->lost.newest != board->lost.oldest ||
        !tcp_pmtu_probe_is(stream, lost)) {
        return false;
    }
    tcp_pmtu_probe_lost(net, stream);
    board->forced = true;
    return true;
}

void
tcp_recovery_step(struct lp_net *net, struct tcp_stream *stream, struct tcp_ack_news *news)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board == NULL) {
        return;
    }
    const bool mistaken = LP_UNLIKELY(board->frto != TCP_FRTO_NOT) && tcp_frto_acked(stream, news);
    if (was_spurious(stream, news, mistaken)) {
        tcp_recovery_undo(net, stream);
        return;
    }
    board->undo_first = board->undo_first && news->acked == 0;
    const bool recovers = stream->in_recovery || stream->rto_recovery;
    if (recovers && tcp_le(stream->recovery_end, stream->send_una)) {
        recovery_end(stream);
    }
    if (!stream->in_recovery && !stream->rto_recovery && board->lost_news &&
        board->lost_bytes > 0 && !only_a_probe(net, stream)) {
        recovery_begin(net, stream);
    }
    if (stream->in_recovery && board->lost_again) {
        /* RFC 5681 4.3: the loss of a retransmission is congestion once more. */
        tcp_prr_begin(stream);
        window_shrink(net, stream, tcp_flight(stream));
    }
    const bool safe = news->acked > 0 && !board->lost_news;
    board->lost_news = false;
    board->lost_again = false;
    if (stream->in_recovery) {
        board->prr_delivered += news->delivered;
        stream->cwnd = LP_MAX(tcp_prr_window(stream, news->delivered, safe), stream->send_mss);
        return;
    }
    if (board->frto != TCP_FRTO_TRIES) {
        grow(net, stream, news);
    }
}

void
tcp_recovery_at_once(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->in_recovery || stream->rto_recovery) {
        return;
    }
    stream->undo_cwnd = 0; /* of one before: this one was for something */
    stream->recovery_end = stream->send_next;
    window_shrink(net, stream, tcp_flight(stream));
    stream->cwnd = LP_MIN(stream->cwnd, stream->ssthresh);
}

void
tcp_recovery_marked(struct lp_net *net, struct tcp_stream *stream, uint32_t flight)
{
    if (stream->in_recovery || stream->rto_recovery || stream->ecn_reduced) {
        return; /* RFC 3168 6.1.2: once a window, whatever it shrank for */
    }
    net->counters.tcp_ecn_reductions++;
    stream->undo_cwnd = 0;
    stream->recovery_end = stream->send_next;
    window_shrink(net, stream, flight);
    stream->cwnd = LP_MIN(stream->cwnd, stream->ssthresh);
}

/*
 * RFC 8985 6.3: the first is lost, and what was sent so long ago that it must
 * have been answered; the rest may be on its way still.
 */
static void
timeout_mark(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    struct tcp_sent *first = &board->sent[board->head];
    if (first->state == TCP_SENT_OUT) {
        tcp_scoreboard_lose(board, first);
    }
    const uint64_t wait_ns = stream->rack_rtt_us * 1000ull + stream->rtt_min_us * 250ull;
    while (board->out.oldest != TCP_SENT_NONE) {
        struct tcp_sent *sent = &board->sent[board->out.oldest];
        if (stream->sack && sent->sent_ns + wait_ns > net->now_ns) {
            break;
        }
        tcp_scoreboard_lose(board, sent);
    }
}

void
tcp_recovery_timeout(struct lp_net *net, struct tcp_stream *stream)
{
    const bool first = !stream->rto_recovery || tcp_le(stream->recovery_end, stream->send_una);
    tcp_frto_begin(net, stream, first && !stream->in_recovery);
    if (first) {
        /* RFC 5681 3.1: only the first time-out of a segment halves. */
        if (!stream->in_recovery) {
            undo_remember(net, stream);
            window_shrink(net, stream, tcp_flight(stream));
        }
        stream->recovery_end = stream->send_next;
    }
    stream->in_recovery = false;
    stream->rto_recovery = true;
    stream->tlp_sent = false;
    stream->dup_acks = 0;
    timeout_mark(net, stream);
    stream->cwnd = tcp_pipe(stream) + stream->send_mss;
}
