/* SPDX-License-Identifier: Apache-2.0 */
/*
 * congestion.h - the contract of a congestion control algorithm: how the
 * window grows, and what a loss leaves of it.  When to send, what is lost and
 * how a recovery is paced are others' (output.c, rack.c, prr.c).
 *
 *   Memory    tcp_stream.congestion, four words
 *   Limits    integers only; the window never falls below two segments, but
 *             for the one segment after a time-out, which is not theirs
 */
#pragma once

#include "send.h"

struct tcp_congestion {
    const char *name;
    /* A connection begins, or begins again after it was idle: nothing is remembered. */
    void (*begin)(struct tcp_stream *stream);
    /* `acked` bytes were acknowledged while the window was what held us back. */
    void (*grow)(struct tcp_stream *stream, uint32_t acked, uint64_t now_ns);
    /* Something was lost, `flight` bytes were on their way: the new ssthresh. */
    uint32_t (*shrink)(struct tcp_stream *stream, uint32_t flight);
};

extern const struct tcp_congestion tcp_newreno;
extern const struct tcp_congestion tcp_cubic;

static inline const struct tcp_congestion *
tcp_congestion_of(const struct lp_net *net)
{
    return net->config.congestion == LP_NET_NEWRENO ? &tcp_newreno : &tcp_cubic;
}

/* No window is larger: sums of windows and segments stay in 32 bits. */
#define TCP_CWND_MAX (1u << 30)

/* Nothing was ever lost: RFC 5681 3.1's "arbitrarily high". */
static inline bool
tcp_first_slow_start(const struct tcp_stream *stream)
{
    return stream->ssthresh == TCP_CWND_MAX;
}

/* ---- hystart.c ---- */
/* RFC 5681 3.1 with RFC 3465 2.1: by bytes, so that many small acknowledgements gain nothing.
 * Gives what is left for congestion avoidance. */
uint32_t tcp_slow_start(struct tcp_stream *stream, uint32_t acked);
/* In the first slow start only: a round trip was measured. */
void tcp_hystart_sample(struct tcp_stream *stream, uint32_t rtt_us);
/* The first slow start ends, if it is that: `congestion` is the algorithm's, as begin() left it. */
void tcp_hystart_end(struct tcp_stream *stream);

/* RFC 6928 2. */
static inline uint32_t
tcp_window_first(uint32_t mss)
{
    return LP_MIN(10 * mss, LP_MAX(2 * mss, 14600u));
}
