/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The retransmission time-out: RFC 6298, with RFC 7323 4 for samples that
 * come more often than once a round trip.
 */
#include "send.h"

#define RTO_FIRST_MS     1000u  /* RFC 6298 2.1 */
#define RTO_LOST_SYN_MS  3000u  /* RFC 6298 5.7 */
#define RTO_MAX_MS       60000u /* RFC 6298 2.5 */
#define RTT_MAX_US       (60u * 1000u * 1000u)
#define GRANULARITY_US   1000u /* G: the wheel's tick */
#define RTT_MIN_LIVES_MS (300u * 1000u)

static void
rto_compute(const struct lp_net *net, struct tcp_stream *stream)
{
    /* RFC 6298 2.3: RTO = SRTT + max(G, 4 * RTTVAR). */
    const uint32_t us = stream->srtt_us + LP_MAX(GRANULARITY_US, 4 * stream->rttvar_us);
    /* The floor is below RFC 6298 2.4's second, as everybody's is: TLP and RACK act before it. */
    stream->rto_ms = LP_MIN(LP_MAX(us / 1000u + 1u, net->config.rto_min_ms), RTO_MAX_MS);
}

static void
rtt_min_update(const struct lp_net *net, struct tcp_stream *stream, uint32_t rtt_us)
{
    const uint32_t now_ms = tcp_now_ms(net);
    if (stream->rtt_min_us == 0 || rtt_us <= stream->rtt_min_us ||
        now_ms - stream->rtt_min_ms > RTT_MIN_LIVES_MS) {
        stream->rtt_min_us = rtt_us;
        stream->rtt_min_ms = now_ms;
    }
}

void
tcp_rto_begin(const struct lp_net *net, struct tcp_stream *stream, uint32_t rtt_us)
{
    stream->srtt_us = 0;
    stream->rtt_min_us = 0;
    stream->backoff = 0;
    if (rtt_us == 0) {
        stream->rto_ms = LP_MAX(RTO_LOST_SYN_MS, net->config.rto_min_ms);
        return;
    }
    stream->rto_ms = LP_MAX(RTO_FIRST_MS, net->config.rto_min_ms);
    tcp_rto_sample(net, stream, rtt_us, 1);
}

void
tcp_rto_sample(const struct lp_net *net, struct tcp_stream *stream, uint32_t rtt_us,
               uint32_t samples)
{
    const uint32_t rtt = LP_MIN(LP_MAX(rtt_us, 1u), RTT_MAX_US);
    rtt_min_update(net, stream, rtt);
    if (stream->srtt_us == 0) {
        /* RFC 6298 2.2. */
        stream->srtt_us = rtt;
        stream->rttvar_us = rtt / 2;
        rto_compute(net, stream);
        return;
    }
    /* RFC 6298 2.3; the gains are divided by the samples of a round trip: RFC 7323 appendix G. */
    const int64_t error = (int64_t)rtt - (int64_t)stream->srtt_us;
    const int64_t off = (error < 0 ? -error : error) - (int64_t)stream->rttvar_us;
    const int64_t count = (int64_t)LP_MAX(samples, 1u);
    stream->rttvar_us = (uint32_t)((int64_t)stream->rttvar_us + off / (4 * count));
    stream->srtt_us = (uint32_t)LP_MAX((int64_t)stream->srtt_us + error / (8 * count), 1);
    rto_compute(net, stream);
}

uint64_t
tcp_rto_ns(const struct tcp_stream *stream)
{
    /* RFC 6298 5.5, 2.5. */
    const uint64_t ms = (uint64_t)stream->rto_ms << LP_MIN(stream->backoff, 10u);
    return tcp_ms_to_ns(LP_MIN(ms, RTO_MAX_MS));
}

/* The peer SACKed what it does not have any more: RFC 2018 8. */
static void
renege_check(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_scoreboard *board = stream->scoreboard;
    if (board->sent[board->head].state == TCP_SENT_SACKED) {
        tcp_scoreboard_renege(board, net->now_ns);
    }
}

void
tcp_rto_fire(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->scoreboard == NULL) {
        /* Memory was short when there was something to be sent. */
        tcp_want(net, stream, TCP_WANT_DATA);
        return;
    }
    if (stream->send_window == 0) {
        /* RFC 9293 3.8.6: a peer that took its window back; what is lost is a probe now. */
        tcp_persist_fire(net, stream);
        return;
    }
    if (tcp_give_up(net, stream)) {
        return;
    }
    net->counters.tcp_rto++;
    renege_check(net, stream);
    tcp_pmtu_timeout(net, stream);
    tcp_recovery_timeout(net, stream);
    stream->backoff = (uint8_t)LP_MIN(stream->backoff + 1u, 30u);
    /* RFC 6298 5.4: the oldest goes now; the rest as acknowledgements make room. */
    tcp_scoreboard_oldest_first(stream->scoreboard);
    stream->scoreboard->forced = true;
    tcp_retransmit_set(net, stream, TCP_RETRANSMIT_RTO, net->now_ns + tcp_rto_ns(stream));
    tcp_want(net, stream, TCP_WANT_DATA);
}
