/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F-RTO: RFC 5682.  Was a time-out for nothing?  Time stamps tell with the first
 * acknowledgement (RFC 3522, recovery.c); without them the first that moves
 * SND.UNA is answered with new segments instead of old ones, and the second
 * says what arrives: what was sent before the time-out and not again, or only
 * what is new.
 */
#include "send.h"

#define NEW_SEGMENTS 2u /* RFC 5682 2.1, step 2 (b) */
#define RESUME       3u /* step 3 (a): segments of window when it was no mistake */

void
tcp_frto_begin(const struct lp_net *net, struct tcp_stream *stream, bool first)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    board->frto = first && !stream->timestamps ? TCP_FRTO_ASKED : TCP_FRTO_NOT;
    board->frto_ns = net->now_ns;
}

/* Step 2 (b): is there something new that may go? */
static bool
may_try(const struct tcp_stream *stream)
{
    const uint32_t unsent = tcp_unsent(stream);
    return unsent > 0 &&
           stream->send_window >= tcp_flight(stream) + LP_MIN(unsent, (uint32_t)stream->send_mss);
}

bool
tcp_frto_acked(struct tcp_stream *stream, const struct tcp_ack_news *news)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    const enum tcp_frto state = (enum tcp_frto)board->frto;
    board->frto = TCP_FRTO_NOT;
    if (state == TCP_FRTO_NOT || tcp_le(stream->recovery_end, stream->send_una)) {
        return false;
    }
    if (state == TCP_FRTO_ASKED) {
        /* Step 2: a duplicate, or nothing new: as usual. */
        if (news->acked > 0 && may_try(stream)) {
            board->frto = TCP_FRTO_TRIES;
            stream->cwnd = board->out_bytes + NEW_SEGMENTS * stream->send_mss;
        }
        return false;
    }
    /* Step 3 (b), and with SACK 3.1's: what was never sent again has arrived. */
    if (news->original_ns != 0 && news->original_ns < board->frto_ns) {
        return true;
    }
    /* Step 3 (a). */
    stream->cwnd = RESUME * stream->send_mss;
    return false;
}
