/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer whose window is shut, or too small to be worth a segment, is asked
 * for news: RFC 9293 3.8.6.1, and 3.8.6.2.1's override for small windows.
 *
 * Nothing is in flight when this runs.  A probe is one byte of what waits; it
 * is in flight from then on, and asked for again by the same timer.  A peer
 * that answers may keep its window shut for as long as it likes (RFC 9293
 * MUST-37), but not our memory: when that is short, those who have kept us
 * waiting for long are the first to go (RFC 6429 3).
 */
#include "send.h"

#define EVICT_AFTER_NS (60ull * 1000u * 1000u * 1000u)

bool
tcp_persist_wanted(const struct tcp_stream *stream)
{
    const uint32_t window = stream->send_window;
    if (window == 0) {
        return true;
    }
    return window < LP_MIN(tcp_unsent(stream), stream->send_mss) &&
           window < stream->send_window_max / 2;
}

static bool
evicted(struct lp_net *net, struct tcp_stream *stream)
{
    if (!lp_memory_pressed(net->memory) || stream->stalled_ns == 0 ||
        net->now_ns - stream->stalled_ns < EVICT_AFTER_NS) {
        return false;
    }
    net->counters.tcp_evicted++;
    tcp_reset_send(net, stream);
    tcp_stream_fail(net, stream);
    return true;
}

void
tcp_persist_fire(struct lp_net *net, struct tcp_stream *stream)
{
    if (evicted(net, stream) || tcp_give_up(net, stream)) {
        return;
    }
    net->counters.tcp_persist++;
    stream->probes = (uint8_t)LP_MIN(stream->probes + 1u, 30u);
    stream->backoff = (uint8_t)LP_MIN(stream->backoff + 1u, 30u);
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board != NULL && board->count > 0) {
        struct tcp_sent *sent = &board->sent[board->head];
        if (sent->state == TCP_SENT_SACKED) {
            tcp_scoreboard_renege(board, net->now_ns); /* it was not kept: RFC 2018 8 */
        }
        (void)tcp_send_again(net, stream, sent); /* no buffer: at the next time-out */
    } else if (tcp_unsent(stream) > 0) {
        (void)tcp_send_new(net, stream,
                           LP_MAX(LP_MIN(stream->send_window, tcp_unsent(stream)), 1u));
    }
    tcp_retransmit_set(net, stream, TCP_RETRANSMIT_PERSIST, net->now_ns + tcp_rto_ns(stream));
}
