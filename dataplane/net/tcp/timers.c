/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One timer a connection, armed for the earliest of three deadlines: send
 * something again, acknowledge, give up or ask.  A deadline that moves away
 * leaves the timer where it is; it looks again when it fires.
 */
#include "send.h"

static void
timer_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_net *net = context;
    struct tcp_stream *stream = LP_CONTAINER_OF(timer, struct tcp_stream, timer);
    net->now_ns = LP_MAX(net->now_ns, now_ns);
    if (stream->ack_ns != 0 && stream->ack_ns <= now_ns) {
        stream->ack_ns = 0;
        tcp_want(net, stream, TCP_WANT_ACK);
    }
    if (stream->retransmit_ns != 0 && stream->retransmit_ns <= now_ns) {
        stream->retransmit_ns = 0;
        tcp_retransmit_fire(net, stream);
    }
    const bool idle = stream->idle_ns != 0 && stream->idle_ns <= now_ns;
    if (idle) {
        stream->idle_ns = 0;
    }
    tcp_timer_update(net, stream);
    if (idle) {
        tcp_idle_fire(net, stream); /* the last: it may end the stream */
    }
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0) {
        return a + b;
    }
    return LP_MIN(a, b);
}

void
tcp_timer_update(struct lp_net *net, struct tcp_stream *stream)
{
    const uint64_t next = earlier(stream->retransmit_ns, earlier(stream->ack_ns, stream->idle_ns));
    if (next == 0) {
        lp_timer_disarm(&net->wheel, &stream->timer);
    } else {
        lp_timer_arm(&net->wheel, &stream->timer, timer_fire, next);
    }
}

void
tcp_retransmit_fire(struct lp_net *net, struct tcp_stream *stream)
{
    switch ((enum tcp_retransmit_kind)stream->retransmit_kind) {
    case TCP_RETRANSMIT_RTO:
        tcp_rto_fire(net, stream);
        break;
    case TCP_RETRANSMIT_TLP:
        tcp_tlp_fire(net, stream);
        break;
    case TCP_RETRANSMIT_RACK:
        tcp_rack_fire(net, stream);
        break;
    case TCP_RETRANSMIT_PERSIST:
        tcp_persist_fire(net, stream);
        break;
    }
}

void
tcp_retransmit_set(struct lp_net *net, struct tcp_stream *stream, enum tcp_retransmit_kind kind,
                   uint64_t at_ns)
{
    stream->retransmit_kind = (uint8_t)kind;
    stream->retransmit_ns = at_ns;
    tcp_timer_update(net, stream);
}

void
tcp_retransmit_stop(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->retransmit_ns != 0) {
        stream->retransmit_ns = 0;
        tcp_timer_update(net, stream);
    }
}

/* Nothing is in flight: is there something that may not go? */
static void
persist_arm(struct lp_net *net, struct tcp_stream *stream)
{
    if (tcp_unsent(stream) == 0) {
        /* A FIN that there was no memory for waits for room_missing()'s time. */
        if (!stream->fin_queued || stream->fin_sent) {
            tcp_retransmit_stop(net, stream);
        }
        return;
    }
    const bool runs =
        stream->retransmit_ns != 0 && stream->retransmit_kind == TCP_RETRANSMIT_PERSIST;
    if (runs || !tcp_persist_wanted(stream)) {
        return;
    }
    /* RFC 9293 3.8.6.1: the first probe after a time-out, the next ones further apart. */
    stream->probes = 0;
    if (stream->stalled_ns == 0) {
        stream->stalled_ns = net->now_ns;
    }
    net->counters.tcp_window_stalls++;
    tcp_retransmit_set(net, stream, TCP_RETRANSMIT_PERSIST, net->now_ns + tcp_rto_ns(stream));
}

void
tcp_retransmit_arm(struct lp_net *net, struct tcp_stream *stream, enum tcp_arm why)
{
    if (tcp_flight(stream) == 0) {
        persist_arm(net, stream);
        return;
    }
    const bool persists =
        stream->retransmit_ns != 0 && stream->retransmit_kind == TCP_RETRANSMIT_PERSIST;
    if (persists && tcp_persist_wanted(stream)) {
        return; /* what is in flight is a probe */
    }
    const bool runs = stream->retransmit_ns != 0 && !persists;
    if (runs && (why == TCP_ARM_KEEP || stream->retransmit_kind == TCP_RETRANSMIT_RACK)) {
        return;
    }
    /* RFC 8985 7.2: a probe comes before the time-out. */
    const uint64_t tlp_ns = tcp_tlp_ns(net, stream);
    if (tlp_ns != 0) {
        tcp_retransmit_set(net, stream, TCP_RETRANSMIT_TLP, tlp_ns);
    } else if (!runs || why == TCP_ARM_ACKED) {
        /* RFC 6298 5.1, 5.3. */
        tcp_retransmit_set(net, stream, TCP_RETRANSMIT_RTO, net->now_ns + tcp_rto_ns(stream));
    }
}

bool
tcp_give_up(struct lp_net *net, struct tcp_stream *stream)
{
    /* RFC 9293 3.8.3 R2.  RFC 9293 3.8.6.1, RFC 6429: a peer that keeps its window shut but
     * answers is not given up for that. */
    uint64_t since_ns = stream->stalled_ns;
    if (stream->send_window == 0) {
        since_ns = LP_MAX(since_ns, stream->heard_ns);
    }
    const uint64_t limit_ns = tcp_ms_to_ns(1000ull * net->config.user_timeout_s);
    if (since_ns == 0 || net->now_ns - since_ns < limit_ns) {
        return false;
    }
    net->counters.tcp_timeouts++;
    tcp_stream_fail(net, stream);
    return true;
}
