/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an acknowledgement says: RFC 9293 3.10.7.4 (fifth), RFC 5681, RFC 2018,
 * RFC 2883, RFC 5961 5.
 */
#include "congestion.h"

#define DUP_THRESHOLD 3u

/* RFC 5961 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT, and nothing before our first. */
static bool
ack_plausible(const struct tcp_stream *stream, uint32_t ack)
{
    if (tcp_lt(stream->send_next, ack)) {
        return false;
    }
    const uint32_t below = stream->send_una - ack;
    return tcp_le(stream->send_una, ack) ||
           (below <= stream->send_window_max && tcp_lt(stream->isn, ack));
}

/* RFC 9293 3.10.7.4: only what is newer than what the window was last taken from. */
static bool
window_update(struct tcp_stream *stream, const struct tcp_segment *segment)
{
    const bool newer = tcp_lt(stream->send_wl1, segment->seq) ||
                       (stream->send_wl1 == segment->seq && tcp_le(stream->send_wl2, segment->ack));
    if (!newer || tcp_lt(segment->ack, stream->send_una)) {
        return false;
    }
    const uint32_t window = segment->window << stream->send_shift;
    const bool changed = window != stream->send_window;
    stream->send_window = window;
    stream->send_wl1 = segment->seq;
    stream->send_wl2 = segment->ack;
    stream->send_window_max = LP_MAX(stream->send_window_max, window);
    return changed;
}

/* --- SACK. -------------------------------------------------------------------------------------
 */

/* RFC 2883 4: the first block is a duplicate when it is below the acknowledgement, or in the
 * second. */
static bool
is_dsack(const struct tcp_segment *segment)
{
    const struct tcp_range *first = &segment->sack[0];
    if (tcp_le(first->end, segment->ack)) {
        return true;
    }
    const struct tcp_range *second = &segment->sack[1];
    return segment->sack_count > 1 && tcp_le(second->start, first->start) &&
           tcp_le(first->end, second->end);
}

static void
dsack_input(struct lp_net *net, struct tcp_stream *stream, const struct tcp_range *block,
            struct tcp_ack_news *news)
{
    /* Of something that was sent, and not too long ago. */
    if (tcp_lt(stream->send_next, block->end) || tcp_le(block->start, stream->isn) ||
        stream->send_next - block->start > stream->send_window_max + tcp_flight(stream)) {
        net->counters.tcp_sack_implausible++;
        return;
    }
    news->dsack = true;
    net->counters.tcp_retransmitted_spurious++;
    tcp_rack_dsack(stream);
    news->needless = tcp_recovery_needless(stream, block);
}

static void
sack_input(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment,
           struct tcp_ack_news *news)
{
    for (uint32_t i = 0; i < segment->sack_count; i++) {
        struct tcp_range block = segment->sack[i];
        if (!tcp_lt(block.start, block.end)) {
            net->counters.tcp_sack_implausible++;
            continue;
        }
        if (i == 0 && is_dsack(segment)) {
            dsack_input(net, stream, &block, news);
            continue;
        }
        if (tcp_le(block.end, stream->send_una)) {
            continue; /* old */
        }
        if (tcp_lt(stream->send_next, block.end)) {
            net->counters.tcp_sack_implausible++;
            continue;
        }
        block.start = tcp_max(block.start, stream->send_una);
        /* What SND.UNA begins with is not at the peer, whatever it says: it would have said so. */
        if (stream->scoreboard != NULL && block.start != stream->send_una) {
            tcp_scoreboard_sacked(net, stream, &block, news);
        }
    }
}

/* --- SND.UNA moves. ----------------------------------------------------------------------------
 */

/* A chunk that goes back is not remembered. */
static void
hint_forget(struct tcp_chunk **hint, uint32_t ack)
{
    if (*hint != NULL && tcp_le((*hint)->seq + (*hint)->end, ack)) {
        *hint = NULL;
    }
}

static void
una_advance(struct lp_net *net, struct tcp_stream *stream, uint32_t ack, struct tcp_ack_news *news)
{
    news->acked = ack - stream->send_una;
    tcp_scoreboard_acked(net, stream, ack, news);
    hint_forget(&stream->scoreboard->next_chunk, ack);
    hint_forget(&stream->scoreboard->again_chunk, ack);
    const uint32_t fin = stream->fin_sent && ack == stream->send_end + 1u ? 1u : 0u;
    tcp_queue_drop(net, &stream->sending, news->acked - fin);
    stream->send_una = ack;
    stream->backoff = 0;
    stream->probes = 0;
    stream->dup_acks = 0;
    stream->stalled_ns = tcp_flight(stream) > 0 || tcp_unsent(stream) > 0 ? net->now_ns : 0;
    /* RFC 5961 5: our first number is soon too far away to be compared with. */
    if (stream->send_una - stream->isn > 1u << 30) {
        stream->isn = stream->send_una - (1u << 30);
        /* The same for what a DSACK would be compared with. */
        stream->undo_cwnd = stream->send_una - stream->undo_una > 1u << 30 ? 0 : stream->undo_cwnd;
    }
    net_path_confirm(net, &stream->path);
    tcp_pmtu_acked(net, stream, news->largest);
}

static void
rtt_measure(struct lp_net *net, struct tcp_stream *stream, const struct tcp_ack_news *news)
{
    /* RFC 7323 appendix G: about so many of a round trip's acknowledgements bring a sample. */
    const uint32_t samples = LP_MAX(news->flight / (2u * stream->send_mss), 1u);
    if (news->first_ns != 0) {
        /* RFC 6298 3: Karn: only what was sent once. */
        const uint32_t rtt_us = (uint32_t)((net->now_ns - news->first_ns) / 1000u);
        tcp_rto_sample(net, stream, rtt_us, samples);
        if (tcp_first_slow_start(stream)) {
            tcp_hystart_sample(stream, LP_MAX(rtt_us, 1u));
        }
    } else if (news->acked > 0 && news->has_echo) {
        /* RFC 7323 4.1: an echo says which of several it was; in milliseconds. */
        const uint32_t ms = tcp_now_ms(net) + stream->timestamp_offset - news->echo;
        if (ms <= 60000u) {
            tcp_rto_sample(net, stream, LP_MAX(ms, 1u) * 1000u, samples);
        }
    }
}

/* --- Without SACK: RFC 6582. -------------------------------------------------------------------
 */

static void
first_lose(struct tcp_scoreboard *board)
{
    struct tcp_sent *first = &board->sent[board->head];
    if (first->state == TCP_SENT_OUT) {
        tcp_scoreboard_lose(board, first);
    }
}

static void
duplicates_count(struct tcp_stream *stream, struct tcp_ack_news *news)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    if (stream->sack || board == NULL) {
        return;
    }
    if (news->acked > 0) {
        /* RFC 6582 3.2: a partial acknowledgement names the next that is missing. */
        if (stream->in_recovery && tcp_lt(stream->send_una, stream->recovery_end)) {
            first_lose(board);
            board->forced = true;
        }
        return;
    }
    /* RFC 5681 2: nothing but an acknowledgement that was there before, with data in flight. */
    if (!news->plain || news->window_changed) {
        return;
    }
    stream->dup_acks = (uint8_t)LP_MIN(stream->dup_acks + 1u, UINT8_MAX);
    news->delivered += stream->send_mss; /* something arrived */
    if (stream->dup_acks == DUP_THRESHOLD && !stream->in_recovery && !stream->rto_recovery) {
        first_lose(board);
    }
}

/* --- All of it. --------------------------------------------------------------------------------
 */

/* A window opened behind which a probe was left: it was refused, and is sent as data now. */
static void
window_opened(struct lp_net *net, struct tcp_stream *stream)
{
    stream->backoff = 0;
    stream->probes = 0;
    tcp_retransmit_stop(net, stream);
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board != NULL && board->count > 0 && board->sent[board->head].state == TCP_SENT_OUT) {
        (void)tcp_send_again(net, stream, &board->sent[board->head]); /* or at its time-out */
    }
}

static void
ack_finish(struct lp_net *net, struct tcp_stream *stream, const struct tcp_ack_news *news,
           uint64_t rack_ns)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board != NULL && board->count == 0) {
        stream->in_recovery = false;
        stream->rto_recovery = false;
        tcp_scoreboard_free(net, stream);
    }
    if (rack_ns != 0) {
        tcp_retransmit_set(net, stream, TCP_RETRANSMIT_RACK, rack_ns);
    } else {
        const bool raced = stream->retransmit_kind == TCP_RETRANSMIT_RACK;
        if (raced) {
            stream->retransmit_ns = 0;
        }
        tcp_retransmit_arm(net, stream, news->acked > 0 || raced ? TCP_ARM_ACKED : TCP_ARM_KEEP);
    }
    if (tcp_unsent(stream) > 0 || (stream->fin_queued && !stream->fin_sent) ||
        (board != NULL && stream->scoreboard != NULL && board->lost_bytes > 0)) {
        tcp_want(net, stream, TCP_WANT_DATA);
    }
    if (stream->extra != NULL && news->acked > 0) {
        tcp_send_continue(net, stream);
    }
}

bool
tcp_ack_input(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    const uint32_t ack = segment->ack;
    if (!ack_plausible(stream, ack)) {
        return false;
    }
    struct tcp_ack_news news = {
        .flight = tcp_flight(stream),
        .has_echo = stream->timestamps && segment->has_timestamp,
        .echo = segment->echo,
        .plain = tcp_segment_length(segment) == 0 && ack == stream->send_una,
    };
    const bool shut =
        stream->retransmit_ns != 0 && stream->retransmit_kind == TCP_RETRANSMIT_PERSIST;
    news.window_changed = window_update(stream, segment);
    if (tcp_lt(stream->send_una, ack)) {
        una_advance(net, stream, ack, &news);
    }
    if (stream->sack && segment->sack_count > 0) {
        sack_input(net, stream, segment, &news);
    }
    if (shut && !tcp_persist_wanted(stream)) {
        window_opened(net, stream);
    }
    const bool mended = tcp_tlp_acked(stream, ack, &news);
    if (news.flight == 0) {
        /* Nothing was in flight: news of the window, or of what arrived twice. */
        if (news.needless) {
            tcp_recovery_undo(net, stream);
        }
        ack_finish(net, stream, &news, 0);
        return true;
    }
    rtt_measure(net, stream, &news);
    duplicates_count(stream, &news);
    const uint64_t rack_ns = tcp_rack_detect(net, stream);
    if (mended) {
        tcp_recovery_at_once(net, stream);
    }
    news.marked = LP_UNLIKELY(stream->ecn_send) && tcp_ecn_acked(stream, segment);
    tcp_recovery_step(net, stream, &news);
    if (LP_UNLIKELY(news.marked)) {
        tcp_recovery_marked(net, stream, news.flight);
    }
    ack_finish(net, stream, &news, rack_ns);
    return true;
}
