/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NewReno: RFC 5681, a segment a round trip, counted by bytes (RFC 3465 2.1).
 */
#include "congestion.h"

/* congestion[0]: bytes acknowledged since the window last grew. */

static void
newreno_begin(struct tcp_stream *stream)
{
    stream->congestion[0] = 0;
}

static void
newreno_grow(struct tcp_stream *stream, uint32_t acked, uint64_t now_ns)
{
    (void)now_ns;
    const uint32_t left = tcp_slow_start(stream, acked);
    if (left == 0) {
        return;
    }
    stream->congestion[0] += left;
    if (stream->congestion[0] >= stream->cwnd) {
        stream->congestion[0] -= stream->cwnd;
        stream->cwnd = LP_MIN(stream->cwnd + stream->send_mss, TCP_CWND_MAX);
    }
}

static uint32_t
newreno_shrink(struct tcp_stream *stream, uint32_t flight)
{
    /* RFC 5681 3.1 (4). */
    stream->congestion[0] = 0;
    return LP_MAX(flight / 2, 2u * stream->send_mss);
}

const struct tcp_congestion tcp_newreno = {
    .name = "newreno",
    .begin = newreno_begin,
    .grow = newreno_grow,
    .shrink = newreno_shrink,
};
