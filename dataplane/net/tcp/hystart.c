/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HyStart++: RFC 9406.  The first slow start ends when round trips become
 * longer, before a queue on the way overflows: at first it only grows more
 * slowly, as a longer round trip may be chance, and after five such rounds
 * congestion avoidance begins.
 *
 * It is of the first slow start only (RFC 9406 4.3), so what it remembers lives
 * where the algorithm's memory is later.  Without pacing RFC 9406 asks for a
 * limit L of 8 segments an acknowledgement; peers with GRO acknowledge more at
 * once, and the growth is by bytes that have left the network, so there is none.
 */
#include "congestion.h"

#define ROUND_SAMPLES   8u     /* N_RTT_SAMPLE */
#define THRESHOLD_MIN   4000u  /* MIN_RTT_THRESH, in us */
#define THRESHOLD_MAX   16000u /* MAX_RTT_THRESH */
#define RTT_DIVISOR     8u     /* MIN_RTT_DIVISOR */
#define GROWTH_DIVISOR  4u     /* CSS_GROWTH_DIVISOR */
#define CAUTIOUS_ROUNDS 5u     /* CSS_ROUNDS */

/* What congestion[4] holds until the first slow start ends. */
struct hystart {
    uint32_t round_end;   /* windowEnd */
    uint32_t last_us;     /* lastRoundMinRTT; 0: not known */
    uint32_t now_us;      /* currentRoundMinRTT; 0: not known */
    uint32_t baseline_us; /* cssBaselineMinRtt */
    uint32_t samples;
    uint32_t rounds; /* of those that are cautious */
    bool begun;
    bool cautious; /* CSS */
};
LP_STATIC_ASSERT(sizeof(struct hystart) <= sizeof(((struct tcp_stream *)NULL)->congestion),
                 "it lives there");

static struct hystart
hystart_load(const struct tcp_stream *stream)
{
    struct hystart hystart;
    memcpy(&hystart, stream->congestion, sizeof(hystart));
    return hystart;
}

static void
round_begin(struct hystart *hystart, const struct tcp_stream *stream)
{
    hystart->begun = true;
    hystart->round_end = stream->send_next;
    hystart->last_us = hystart->now_us;
    hystart->now_us = 0;
    hystart->samples = 0;
}

void
tcp_hystart_end(struct tcp_stream *stream)
{
    if (tcp_first_slow_start(stream)) {
        memset(stream->congestion, 0, sizeof(stream->congestion));
    }
}

/* RFC 9406 4.2: are round trips longer than those of the round before? */
static bool
is_delayed(const struct hystart *hystart)
{
    const uint32_t eighth = hystart->last_us / RTT_DIVISOR;
    const uint32_t threshold = LP_MAX(THRESHOLD_MIN, LP_MIN(eighth, THRESHOLD_MAX));
    return hystart->last_us != 0 && hystart->now_us >= hystart->last_us + threshold;
}

void
tcp_hystart_sample(struct tcp_stream *stream, uint32_t rtt_us)
{
    struct hystart hystart = hystart_load(stream);
    if (!hystart.begun || tcp_le(hystart.round_end, stream->send_una)) {
        if (hystart.cautious && ++hystart.rounds >= CAUTIOUS_ROUNDS) {
            tcp_hystart_end(stream);
            stream->ssthresh = stream->cwnd;
            return;
        }
        round_begin(&hystart, stream);
    }
    hystart.samples++;
    hystart.now_us = hystart.now_us == 0 ? rtt_us : LP_MIN(hystart.now_us, rtt_us);
    if (hystart.samples >= ROUND_SAMPLES) {
        if (hystart.cautious && hystart.now_us < hystart.baseline_us) {
            hystart.cautious = false; /* it was chance */
        } else if (!hystart.cautious && is_delayed(&hystart)) {
            hystart.cautious = true;
            hystart.baseline_us = hystart.now_us;
            hystart.rounds = 0;
        }
    }
    memcpy(stream->congestion, &hystart, sizeof(hystart));
}

uint32_t
tcp_slow_start(struct tcp_stream *stream, uint32_t acked)
{
    if (tcp_first_slow_start(stream)) {
        const uint32_t share = hystart_load(stream).cautious ? GROWTH_DIVISOR : 1u;
        stream->cwnd = LP_MIN(stream->cwnd + acked / share, TCP_CWND_MAX);
        return 0;
    }
    const uint32_t room = stream->ssthresh > stream->cwnd ? stream->ssthresh - stream->cwnd : 0;
    const uint32_t used = LP_MIN(acked, room);
    stream->cwnd += used;
    return acked - used;
}
