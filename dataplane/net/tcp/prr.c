/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proportional rate reduction: RFC 6937.  A recovery sends in proportion to
 * what arrives, so that the window is ssthresh at its end, without a pause
 * before and without a burst after.  When less is on its way than that, it
 * catches up by slow start (SSRB) as long as nothing more is lost, and else
 * sends what arrives and no more (CRB): RFC 9937 6.2 calls the former "safe".
 */
#include "send.h"

void
tcp_prr_begin(struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    board->prr_delivered = 0;
    board->prr_out = 0;
    board->prr_flight = LP_MAX(tcp_flight(stream) - board->sacked_bytes, 1u);
}

uint32_t
tcp_prr_window(const struct tcp_stream *stream, uint32_t delivered, bool safe)
{
    const struct tcp_scoreboard *board = stream->scoreboard;
    const uint32_t pipe = board->out_bytes;
    int64_t more = 0;
    if (pipe > stream->ssthresh) {
        /* RFC 6937 3: ceil(prr_delivered * ssthresh / RecoverFS) - prr_out. */
        const uint64_t product = (uint64_t)board->prr_delivered * stream->ssthresh;
        const uint64_t share = (product + board->prr_flight - 1) / board->prr_flight;
        more = (int64_t)share - (int64_t)board->prr_out;
    } else {
        const int64_t behind = (int64_t)board->prr_delivered - (int64_t)board->prr_out;
        const int64_t limit = LP_MAX(behind, (int64_t)delivered) + (safe ? stream->send_mss : 0);
        more = LP_MIN((int64_t)stream->ssthresh - (int64_t)pipe, limit);
    }
    return pipe + (uint32_t)LP_MAX(more, 0);
}
