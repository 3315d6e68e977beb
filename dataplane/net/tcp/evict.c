/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory is short.  First windows shrink (receive.c), then newcomers are
 * refused (listen.c); when even what is promised cannot be kept, the greediest
 * goes: who makes us hold what it does not take, or what it does not complete.
 */
#include "inbound.h"

#define LOOKED_AT    32u /* connections a call: from where the last one stopped */
#define STUCK_NS     (60u * TCP_SECOND_NS)
#define GREEDY_BYTES (16u * 1024u) /* less is not worth a connection */

/* It acknowledges something now and then, or has nothing to. */
static bool
takes_some(const struct lp_net *net, const struct tcp_stream *stream)
{
    return stream->stalled_ns == 0 || net->now_ns - stream->stalled_ns < STUCK_NS;
}

/* What we hold for it through its own doing: what our shard leaves lying is not.  A window that is
 * open says nothing when nothing goes through it. */
static uint32_t
greed_of(const struct lp_net *net, const struct tcp_stream *stream)
{
    const bool shut = stream->send_window < stream->send_mss || !takes_some(net, stream);
    const uint32_t held = stream->reassembly == NULL ? 0 : stream->reassembly->bytes;
    return held + (shut ? stream->sending.bytes : 0);
}

/* It has neither taken nor completed anything for so long. */
static bool
is_stuck(const struct lp_net *net, const struct tcp_stream *stream)
{
    const bool takes = takes_some(net, stream);
    const uint32_t quiet_ms = tcp_now_ms(net) - stream->tune_ms;
    const bool completes = stream->reassembly == NULL || quiet_ms < STUCK_NS / 1000000u;
    return !takes || !completes;
}

/* The greediest of the next few; NULL: none is greedy. */
static struct tcp_stream *
greediest_find(struct lp_net *net, const struct tcp_stream *spare, bool stuck)
{
    struct tcp *tcp = net->tcp;
    struct tcp_stream *greediest = NULL;
    uint32_t most = GREEDY_BYTES;
    for (uint32_t i = 0; i < LP_MIN(LOOKED_AT, tcp->streams.made); i++) {
        tcp->evict_cursor = (tcp->evict_cursor + 1u) % tcp->streams.made;
        struct tcp_stream *stream = lp_pool_at(&tcp->streams, tcp->evict_cursor);
        if (stream == NULL || stream == spare || stream->state == TCP_CLOSED ||
            greed_of(net, stream) <= most || (stuck && !is_stuck(net, stream))) {
            continue;
        }
        most = greed_of(net, stream);
        greediest = stream;
    }
    return greediest;
}

static bool
stream_evict(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream == NULL) {
        return false;
    }
    net->counters.tcp_evicted++;
    tcp_stream_abort(net, stream);
    return true;
}

bool
tcp_evict(struct lp_net *net, const struct tcp_stream *spare)
{
    return stream_evict(net, greediest_find(net, spare, false));
}

bool
tcp_memory_refuses(struct lp_net *net)
{
    if (LP_LIKELY(!lp_memory_pressed(net->memory))) {
        return false;
    }
    /* Those who are there come first, but nobody keeps others out by doing nothing. */
    (void)stream_evict(net, greediest_find(net, NULL, true));
    return lp_memory_pressed(net->memory);
}
