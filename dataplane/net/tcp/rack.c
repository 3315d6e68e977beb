/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RACK-TLP: RFC 8985.  A segment is lost when one that was sent sufficiently
 * later has arrived; when nothing arrives any more, a probe asks before the
 * time-out does.
 */
#include "send.h"

#define DUP_THRESHOLD    3u  /* segments: RFC 8985 6.2.1 */
#define REORDER_PERSIST  16u /* recoveries: RFC 8985 6.2.1 */
#define REORDER_MULT_MAX 100u
#define DELAYED_ACK_NS   (200ull * 1000u * 1000u) /* WCDelAckT: RFC 8985 7.2 */
#define PROBE_FIRST_NS   (1000ull * 1000u * 1000u)
/* The wheel's tick: a smaller time-out would come no sooner. */
#define PROBE_MIN_NS (2ull * 1000u * 1000u)

/* RACK_sent_after: RFC 8985 6.2. */
static bool
sent_after(uint64_t a_ns, uint32_t a_end, uint64_t b_ns, uint32_t b_end)
{
    return a_ns > b_ns || (a_ns == b_ns && tcp_lt(b_end, a_end));
}

static uint32_t
us_of(uint64_t ns)
{
    return (uint32_t)LP_MIN(ns / 1000u, UINT32_MAX / 4u);
}

void
tcp_rack_delivered(struct lp_net *net, struct tcp_stream *stream, const struct tcp_sent *sent,
                   const struct tcp_ack_news *news, bool by_sack)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    const uint32_t rtt_us = us_of(net->now_ns - sent->sent_ns);
    /* RFC 8985 6.2 step 3: a hole that was filled by the original was reordered. */
    if (tcp_lt(board->fack, sent->end)) {
        board->fack = sent->end;
    } else if (!sent->again && tcp_lt(sent->end, board->fack)) {
        stream->reordering = true;
    }
    /* Step 2: what was sent twice may have arrived the first time.  With SACK the echo is that of
     * the last in order, and says nothing about it (RFC 7323 4.3). */
    if (sent->again) {
        const uint32_t sent_ms = (uint32_t)(sent->sent_ns / 1000000u) + stream->timestamp_offset;
        if (!by_sack && news->has_echo && tcp_lt(news->echo, sent_ms)) {
            return;
        }
        if (rtt_us < stream->rtt_min_us) {
            return;
        }
    }
    stream->rack_rtt_us = rtt_us;
    if (sent_after(sent->sent_ns, sent->end, board->rack_sent_ns, board->rack_end_seq)) {
        board->rack_sent_ns = sent->sent_ns;
        board->rack_end_seq = sent->end;
    }
}

void
tcp_rack_dsack(struct tcp_stream *stream)
{
    /* RFC 8985 6.2.1: once a round trip. */
    if (stream->rack_reorder_persist > 0 && tcp_lt(stream->send_una, stream->rack_dsack_round)) {
        return;
    }
    stream->rack_dsack_round = stream->send_next;
    stream->rack_reorder_mult = (uint8_t)LP_MIN(stream->rack_reorder_mult + 1u, REORDER_MULT_MAX);
    stream->rack_reorder_persist = REORDER_PERSIST;
}

/* RACK_update_reo_wnd: RFC 8985 6.2.1 step 4. */
static uint64_t
reorder_window_ns(const struct tcp_stream *stream)
{
    const struct tcp_scoreboard *board = stream->scoreboard;
    if (!stream->reordering &&
        (stream->in_recovery || stream->rto_recovery || board->sacked_count >= DUP_THRESHOLD)) {
        return 0;
    }
    const uint64_t us = (uint64_t)stream->rack_reorder_mult * stream->rtt_min_us / 4u;
    return LP_MIN(us, stream->srtt_us) * 1000u;
}

uint64_t
tcp_rack_detect(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board == NULL || !stream->sack) {
        return 0;
    }
    /* RFC 8985 6.2 step 5.  In the order of sending: the first that is not overdue is the one that
     * is next. */
    const uint64_t wait_ns = stream->rack_rtt_us * 1000ull + reorder_window_ns(stream);
    while (board->out.oldest != TCP_SENT_NONE) {
        struct tcp_sent *sent = &board->sent[board->out.oldest];
        if (!sent_after(board->rack_sent_ns, board->rack_end_seq, sent->sent_ns, sent->end)) {
            return 0;
        }
        if (net->now_ns < sent->sent_ns + wait_ns) {
            return sent->sent_ns + wait_ns;
        }
        tcp_scoreboard_lose(board, sent);
    }
    return 0;
}

void
tcp_rack_fire(struct lp_net *net, struct tcp_stream *stream)
{
    /* RFC 8985 6.3. */
    const uint64_t again_ns = tcp_rack_detect(net, stream);
    struct tcp_ack_news nothing = {.flight = tcp_flight(stream)};
    tcp_recovery_step(net, stream, &nothing);
    if (again_ns != 0) {
        tcp_retransmit_set(net, stream, TCP_RETRANSMIT_RACK, again_ns);
    } else {
        tcp_retransmit_arm(net, stream, TCP_ARM_ACKED);
    }
    tcp_want(net, stream, TCP_WANT_DATA);
}

/* --- Tail loss probes. -------------------------------------------------------------------------
 */

uint64_t
tcp_tlp_ns(const struct lp_net *net, const struct tcp_stream *stream)
{
    /* RFC 8985 7.2, 7.3: not in a recovery, not with SACKed segments, one at a time. */
    const struct tcp_scoreboard *board = stream->scoreboard;
    if (!stream->sack || stream->in_recovery || stream->rto_recovery || stream->tlp_sent ||
        board == NULL || board->sacked_count > 0 || board->out.oldest == TCP_SENT_NONE ||
        stream->backoff > 0) {
        return 0;
    }
    uint64_t wait_ns = PROBE_FIRST_NS;
    if (stream->srtt_us != 0) {
        wait_ns = LP_MAX(2000ull * stream->srtt_us, PROBE_MIN_NS);
        if (board->count == 1) {
            wait_ns += DELAYED_ACK_NS;
        }
    }
    /* In place of the time-out of what was sent first, if that comes earlier (RFC 8985 7.2), and so
     * however often something new is sent. */
    const uint64_t rto_ns = board->sent[board->out.oldest].sent_ns + tcp_rto_ns(stream);
    const uint64_t at_ns = net->now_ns + wait_ns;
    return rto_ns > net->now_ns ? LP_MIN(at_ns, rto_ns) : 0;
}

void
tcp_tlp_fire(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board == NULL || board->count == 0) {
        return;
    }
    /* RFC 8985 7.3: something new if the peer's window has room, else the last segment again. */
    const uint32_t flight = tcp_flight(stream);
    const uint32_t unsent = tcp_unsent(stream);
    bool sent = false;
    stream->tlp_again = false;
    if (unsent > 0 && stream->send_window > flight) {
        sent = tcp_send_new(net, stream, LP_MIN(unsent, stream->send_window - flight));
    }
    struct tcp_sent *last = tcp_sent_nth(stream->scoreboard, stream->scoreboard->count - 1u);
    if (!sent && last->state == TCP_SENT_OUT) {
        sent = tcp_send_again(net, stream, last);
        stream->tlp_again = sent;
    }
    if (sent) {
        net->counters.tcp_tlp++;
        stream->tlp_sent = true;
        stream->tlp_end_seq = stream->send_next;
    }
    tcp_retransmit_set(net, stream, TCP_RETRANSMIT_RTO, net->now_ns + tcp_rto_ns(stream));
}

bool
tcp_tlp_acked(struct tcp_stream *stream, uint32_t ack, const struct tcp_ack_news *news)
{
    if (!stream->tlp_sent || tcp_lt(ack, stream->tlp_end_seq)) {
        return false;
    }
    /* RFC 8985 7.4.2. */
    if (!stream->tlp_again || news->dsack) {
        stream->tlp_sent = false;
        return false;
    }
    if (tcp_lt(stream->tlp_end_seq, ack)) {
        stream->tlp_sent = false; /* the probe arrived, and the original did not */
        return true;
    }
    if (news->acked == 0 && news->plain && !news->window_changed) {
        stream->tlp_sent = false; /* both arrived */
    }
    return false;
}
