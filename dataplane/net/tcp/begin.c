/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection begins with: its largest segment and its first windows;
 * and the segments that carry no data of it: SYN, keepalive's probe, RST.
 */
#include "congestion.h"

#define OPTION_TIMESTAMP_BYTES 12u

/* What fits between the headers on this path, options not taken off: RFC 6691. */
static uint32_t
path_mss(const struct tcp_stream *stream)
{
    const uint32_t mtu = stream->pmtu != 0 ? stream->pmtu : stream->path.mtu_bytes;
    const uint32_t headers =
        stream->path.family == LP_ADDRESS_IPV4 ? NET_IPV4_BYTES : NET_IPV6_BYTES;
    return mtu - headers - TCP_HEADER_BYTES;
}

void
tcp_mss_update(const struct lp_net *net, struct tcp_stream *stream)
{
    /* RFC 9293 3.7.1: 536 when the peer says nothing; what is smaller than our floor costs us a
     * packet for nothing but headers (CVE-2019-11479). */
    const uint32_t floor = net->config.peer_mss_floor_bytes;
    const uint32_t peer = LP_MAX(stream->peer_mss == 0 ? 536u : stream->peer_mss, floor);
    const uint32_t options = stream->timestamps ? OPTION_TIMESTAMP_BYTES : 0;
    stream->send_mss = (uint16_t)(LP_MIN(peer, path_mss(stream)) - options);
}

void
tcp_send_begin(struct lp_net *net, struct tcp_stream *stream, uint32_t rtt_us)
{
    tcp_mss_update(net, stream);
    tcp_rto_begin(net, stream, rtt_us);
    const uint32_t mss = stream->send_mss;
    /* RFC 6928 2; RFC 5681 3.1: after a SYN was lost, one segment. */
    stream->cwnd = rtt_us == 0 ? mss : tcp_window_first(mss);
    stream->ssthresh = TCP_CWND_MAX;
    stream->sent_ms = tcp_now_ms(net);
    stream->send_window_max = stream->send_window;
    stream->rack_reorder_mult = 1;
    tcp_congestion_of(net)->begin(stream);
    if (tcp_unsent(stream) > 0 || stream->fin_queued) {
        tcp_want(net, stream, TCP_WANT_DATA);
    }
}

void
tcp_syn_send(struct lp_net *net, struct tcp_stream *stream)
{
    const bool answer = stream->state == TCP_SYN_RECEIVED;
    const uint32_t window = tcp_receive_window(net, stream);
    const struct tcp_reply reply = {
        .path = &stream->path,
        .from_port = stream->local_port,
        .to_port = stream->remote_port,
        .seq = stream->isn,
        .ack = answer ? stream->receive_next : 0,
        .flags = answer ? TCP_SYN | TCP_ACK : TCP_SYN | tcp_ecn_syn_flags(net, stream),
        .window = (uint16_t)LP_MIN(window, UINT16_MAX), /* RFC 7323 2.2: never shifted */
        .mss_bytes = (uint16_t)path_mss(stream),
        /* A SYN offers; what answers one agrees to what was offered. */
        .has_shift = !answer || stream->receive_shift != 0 || stream->send_shift != 0,
        .shift = stream->receive_shift,
        .sack_permitted = !answer || stream->sack,
        .has_timestamp = !answer || stream->timestamps,
        .timestamp = tcp_now_ms(net) + stream->timestamp_offset,
        .echo = answer ? stream->timestamp_recent : 0,
    };
    tcp_reply_send(net, &reply);
    if (answer) {
        tcp_acknowledged(net, stream, window);
    }
}

static struct tcp_reply
reply_of(struct lp_net *net, const struct tcp_stream *stream, uint32_t seq, uint8_t flags)
{
    const uint32_t window = tcp_receive_window(net, stream) >> stream->receive_shift;
    return (struct tcp_reply){
        .path = &stream->path,
        .from_port = stream->local_port,
        .to_port = stream->remote_port,
        .seq = seq,
        .ack = stream->receive_next,
        .flags = flags,
        .window = (uint16_t)LP_MIN(window, UINT16_MAX),
        .has_timestamp = stream->timestamps,
        .timestamp = tcp_now_ms(net) + stream->timestamp_offset,
        .echo = stream->timestamp_recent,
    };
}

void
tcp_probe_send(struct lp_net *net, struct tcp_stream *stream)
{
    /* RFC 9293 3.8.4: a number that the peer has acknowledged, so that it has to answer. */
    const struct tcp_reply reply = reply_of(net, stream, stream->send_una - 1u, TCP_ACK);
    tcp_reply_send(net, &reply);
}

void
tcp_reset_send(struct lp_net *net, struct tcp_stream *stream)
{
    /* RFC 9293 3.10.5; with ACK, so that it is believed whatever state the peer is in. */
    const struct tcp_reply reply = reply_of(net, stream, stream->send_next, TCP_RST | TCP_ACK);
    net->counters.tcp_resets_sent++;
    tcp_reply_send(net, &reply);
}
