/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUBIC: RFC 9438, in integers.  Windows are bytes, times are milliseconds:
 *
 *   W_cubic(t) = C * (t - K)^3 + W_max       C = 0.4 segments / s^3
 *   K = cbrt((W_max - cwnd_epoch) / C)       beta = 0.7
 */
#include "congestion.h"

/* What congestion[4] holds. */
struct cubic {
    uint64_t epoch_ns; /* since when the window grows along this curve; 0: it does not */
    uint32_t w_max;    /* 0: nothing was lost yet */
    uint32_t w_est;    /* what Reno would have: RFC 9438 4.3 */
    uint32_t cwnd_prior;
    uint32_t k_ms;
    uint32_t est_acked; /* acknowledged, and not yet in w_est */
    uint32_t origin;    /* the curve's middle */
};
LP_STATIC_ASSERT(sizeof(struct cubic) == sizeof(((struct tcp_stream *)NULL)->congestion),
                 "it lives there");

/* Beyond it the curve is steeper than any window may be followed. */
#define OFFSET_MAX_MS (128u * 1024u)

static struct cubic
cubic_load(const struct tcp_stream *stream)
{
    struct cubic cubic;
    memcpy(&cubic, stream->congestion, sizeof(cubic));
    return cubic;
}

static void
cubic_store(struct tcp_stream *stream, const struct cubic *cubic)
{
    memcpy(stream->congestion, cubic, sizeof(*cubic));
}

/* The largest r with r^3 <= value. */
static uint32_t
cube_root(uint64_t value)
{
    uint64_t root = 0;
    for (uint32_t bit = 22; bit-- > 0;) {
        const uint64_t next = root | (1ull << bit);
        if (next * next * next <= value) {
            root = next;
        }
    }
    return (uint32_t)root;
}

/* C * ms^3 in bytes: ms^3 * 0.4 * mss / 10^9. */
static uint64_t
cubic_bytes(uint64_t ms, uint32_t mss)
{
    const uint64_t cube = ms * ms * ms; /* below 2^51 */
    return cube / 2500u * mss / 1000000u;
}

static void
epoch_begin(struct cubic *cubic, const struct tcp_stream *stream, uint64_t now_ns)
{
    cubic->epoch_ns = now_ns;
    cubic->w_est = stream->cwnd;
    cubic->est_acked = 0;
    if (cubic->w_max <= stream->cwnd) {
        /* RFC 9438 4.8, and after what was a slow start's end without a loss. */
        cubic->origin = stream->cwnd;
        cubic->k_ms = 0;
        return;
    }
    cubic->origin = cubic->w_max;
    /* K in ms: cbrt(segments / 0.4 * 10^9); 2^32 * 2.5 * 10^9 fits. */
    const uint64_t missing = cubic->w_max - stream->cwnd;
    cubic->k_ms = cube_root(missing * 2500000000u / stream->send_mss);
}

/* RFC 9438 4.2: W_cubic(t + RTT), between cwnd and 1.5 cwnd. */
static uint32_t
cubic_target(const struct cubic *cubic, const struct tcp_stream *stream, uint64_t now_ns)
{
    const uint64_t ms = (now_ns - cubic->epoch_ns) / 1000000u + stream->srtt_us / 1000u;
    const uint64_t after = ms > cubic->k_ms ? ms - cubic->k_ms : 0;
    const uint64_t before = ms < cubic->k_ms ? cubic->k_ms - ms : 0;
    const uint64_t more = cubic_bytes(LP_MIN(after, OFFSET_MAX_MS), stream->send_mss);
    const uint64_t less = cubic_bytes(LP_MIN(before, OFFSET_MAX_MS), stream->send_mss);
    uint64_t target = cubic->origin + more;
    target = target > less ? target - less : 0;
    const uint64_t most = (uint64_t)stream->cwnd + stream->cwnd / 2;
    return (uint32_t)LP_MIN(LP_MAX(target, stream->cwnd), most);
}

/* RFC 9438 4.3: alpha is 9/17 (3 * 0.3 / 1.7) until the window is what it was, then 1. */
static void
estimate_grow(struct cubic *cubic, const struct tcp_stream *stream, uint32_t acked)
{
    cubic->est_acked += acked;
    const bool slow = cubic->w_est < cubic->cwnd_prior;
    const uint64_t factor = (uint64_t)stream->send_mss * (slow ? 9u : 17u);
    const uint64_t unit = 17ull * stream->cwnd;
    const uint64_t up = cubic->est_acked * factor;
    if (up >= unit) {
        cubic->w_est = (uint32_t)LP_MIN(cubic->w_est + up / unit, TCP_CWND_MAX);
        cubic->est_acked = (uint32_t)(up % unit / factor); /* what is left counts next time */
    }
}

static void
cubic_begin(struct tcp_stream *stream)
{
    const struct cubic cubic = {0};
    cubic_store(stream, &cubic);
}

static void
cubic_grow(struct tcp_stream *stream, uint32_t acked, uint64_t now_ns)
{
    const uint32_t left = tcp_slow_start(stream, acked);
    if (left == 0) {
        return;
    }
    struct cubic cubic = cubic_load(stream);
    if (cubic.epoch_ns == 0) {
        epoch_begin(&cubic, stream, now_ns);
    }
    estimate_grow(&cubic, stream, left);
    const uint32_t target = cubic_target(&cubic, stream, now_ns);
    /* RFC 9438 4.4, 4.5: (target - cwnd) / cwnd a segment. */
    const uint64_t more = (uint64_t)(target - stream->cwnd) * left / stream->cwnd;
    /* RFC 9438 4.3: never slower than Reno. */
    const uint64_t grown = LP_MAX(stream->cwnd + more, cubic.w_est);
    stream->cwnd = (uint32_t)LP_MIN(grown, TCP_CWND_MAX);
    cubic_store(stream, &cubic);
}

static uint32_t
cubic_shrink(struct tcp_stream *stream, uint32_t flight)
{
    struct cubic cubic = cubic_load(stream);
    const uint32_t cwnd = stream->cwnd;
    /* RFC 9438 4.7: fast convergence: others came, so less than last time is left for us. */
    cubic.w_max = cwnd < cubic.w_max ? (uint32_t)((uint64_t)cwnd * 17u / 20u) : cwnd;
    cubic.cwnd_prior = cwnd;
    cubic.epoch_ns = 0;
    cubic_store(stream, &cubic);
    /* RFC 9438 4.6. */
    return LP_MAX((uint32_t)((uint64_t)flight * 7u / 10u), 2u * stream->send_mss);
}

const struct tcp_congestion tcp_cubic = {
    .name = "cubic",
    .begin = cubic_begin,
    .grow = cubic_grow,
    .shrink = cubic_shrink,
};
