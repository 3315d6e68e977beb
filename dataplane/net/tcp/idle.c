/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of states: no connection stays in one because nobody says anything.
 * ESTABLISHED and CLOSE-WAIT have keepalive (RFC 9293 3.8.4), all others end.
 */
#include "inbound.h"

#define PROBE_EVERY_NS (75u * TCP_SECOND_NS)
#define PROBES_MAX     9u

static void
idle_arm(struct lp_net *net, struct tcp_stream *stream, uint64_t at_ns)
{
    stream->idle_ns = LP_MAX(at_ns, net->now_ns + 1u);
    tcp_timer_update(net, stream);
}

/* Nobody has been heard for long.  Data in flight has a timer of its own. */
static void
keepalive_fire(struct lp_net *net, struct tcp_stream *stream)
{
    const uint64_t patience_ns = net->config.keepalive_s * TCP_SECOND_NS;
    const uint64_t quiet_ns = net->now_ns - stream->heard_ns;
    if (quiet_ns < patience_ns) {
        idle_arm(net, stream, stream->heard_ns + patience_ns);
        return;
    }
    if (stream->stalled_ns != 0) {
        idle_arm(net, stream, net->now_ns + PROBE_EVERY_NS);
        return;
    }
    if (quiet_ns >= patience_ns + PROBES_MAX * PROBE_EVERY_NS) {
        net->counters.tcp_timeouts++;
        tcp_stream_abort(net, stream);
        return;
    }
    net->counters.tcp_keepalive++;
    tcp_probe_send(net, stream);
    idle_arm(net, stream, net->now_ns + PROBE_EVERY_NS);
}

/*
 * Closed by us, and the peer has not taken all of it: as long as it goes on, so
 * does it, but not byte by byte for ever.  stream.c notes in tune_ms when that
 * was: nothing more is received, so there is no window to be tuned.
 */
static void
orphan_fire(struct lp_net *net, struct tcp_stream *stream)
{
    const uint64_t since_ns = stream->stalled_ns != 0 ? stream->stalled_ns : stream->heard_ns;
    const uint64_t closed_ms = tcp_now_ms(net) - stream->tune_ms;
    if (net->now_ns - since_ns < TCP_ORPHAN_NS &&
        closed_ms < net->config.user_timeout_s * 1000ull) {
        idle_arm(net, stream, since_ns + TCP_ORPHAN_NS);
        return;
    }
    net->counters.tcp_timeouts++;
    tcp_stream_abort(net, stream);
}

/* RFC 6298 2.1, 5.5: a SYN again after 1, 2, 4, ... seconds; RFC 9293 3.8.3: for three minutes. */
static void
syn_fire(struct lp_net *net, struct tcp_stream *stream)
{
    if (net->now_ns - stream->heard_ns >= TCP_SYN_SENT_NS) {
        net->counters.tcp_timeouts++;
        tcp_stream_fail(net, stream);
        return;
    }
    net->counters.tcp_retransmitted++;
    stream->backoff++;
    tcp_syn_send(net, stream);
    idle_arm(net, stream, net->now_ns + (TCP_SECOND_NS << LP_MIN(stream->backoff, 6u)));
}

void
tcp_idle_fire(struct lp_net *net, struct tcp_stream *stream)
{
    stream->idle_ns = 0;
    switch ((enum tcp_state)stream->state) {
    case TCP_SYN_SENT:
    case TCP_SYN_RECEIVED:
        syn_fire(net, stream);
        return;
    case TCP_ESTABLISHED:
    case TCP_CLOSE_WAIT:
        keepalive_fire(net, stream);
        return;
    case TCP_FIN_WAIT_1:
    case TCP_CLOSING:
    case TCP_LAST_ACK:
        orphan_fire(net, stream);
        return;
    case TCP_FIN_WAIT_2:
        /* Our half is done; a peer that never ends its own is forgotten, as by everybody. */
        net->counters.tcp_timeouts++;
        tcp_stream_fail(net, stream);
        return;
    case TCP_CLOSED:
        return;
    }
}
