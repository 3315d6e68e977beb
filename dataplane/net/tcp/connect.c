/* SPDX-License-Identifier: Apache-2.0 */
/* Active open (RFC 9293 3.10.1). */
#include "inbound.h"

static bool
is_address(const struct lp_address *to)
{
    return (to->family == LP_ADDRESS_IPV4 || to->family == LP_ADDRESS_IPV6) && to->port != 0;
}

lp_handle
tcp_stream_connect(struct lp_net *net, const struct lp_address *to)
{
    struct net_path path;
    if (!is_address(to) || tcp_memory_refuses(net) ||
        !net_path_find(net, to->family, to->ip, NULL, &path)) {
        return LP_HANDLE_NONE;
    }
    const uint16_t port = tcp_port_choose(net, &path, to->port);
    if (port == 0) {
        return LP_HANDLE_NONE;
    }
    const struct tcp_birth birth = {
        .path = &path,
        .local_port = port,
        .remote_port = to->port,
        .isn = tcp_isn(net, &path, port, to->port),
    };
    struct tcp_stream *stream = tcp_stream_create(net, &birth);
    if (stream == NULL) {
        net->counters.tcp_refused_full++;
        return LP_HANDLE_NONE;
    }
    tcp_receive_begin(net, stream, UINT32_MAX); /* a window to speak of; the numbers come later */
    stream->receive_shift = tcp_receive_shift(net);
    stream->send_next = birth.isn + 1u;
    stream->send_end = birth.isn + 1u;
    stream->idle_ns = net->now_ns + TCP_SECOND_NS; /* idle.c says it again */
    tcp_syn_send(net, stream);
    tcp_timer_update(net, stream);
    return lp_pool_self(stream);
}
