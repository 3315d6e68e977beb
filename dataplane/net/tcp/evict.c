/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory is short.  First windows shrink (receive.c), then newcomers are
 * refused (listen.c); when even what is promised cannot be kept, the greediest
 * goes: who makes us hold what it does not take, or what it does not complete.
 */
#include "inbound.h"

#define LOOKED_AT    32u           /* connections a call: from where the last one stopped */
#define GREEDY_BYTES (16u * 1024u) /* less is not worth a connection */

bool
tcp_memory_refuses(const struct lp_net *net)
{
    return lp_memory_pressed(net->memory);
}

/* What we hold for it through its own doing: what our shard leaves lying is not. */
static uint32_t
greed_of(const struct tcp_stream *stream)
{
    const bool stalled = stream->send_window < stream->send_mss;
    const uint32_t held = stream->reassembly == NULL ? 0 : stream->reassembly->bytes;
    return held + (stalled ? stream->sending.bytes : 0);
}

bool
tcp_evict(struct lp_net *net, const struct tcp_stream *spare)
{
    struct tcp *tcp = net->tcp;
    struct tcp_stream *greediest = NULL;
    uint32_t most = GREEDY_BYTES;
    for (uint32_t i = 0; i < LP_MIN(LOOKED_AT, tcp->streams.made); i++) {
        tcp->evict_cursor = (tcp->evict_cursor + 1u) % tcp->streams.made;
        struct tcp_stream *stream = lp_pool_at(&tcp->streams, tcp->evict_cursor);
        if (stream == NULL || stream == spare || stream->state == TCP_CLOSED) {
            continue;
        }
        const uint32_t greed = greed_of(stream);
        if (greed > most) {
            most = greed;
            greediest = stream;
        }
    }
    if (greediest == NULL) {
        return false;
    }
    net->counters.tcp_evicted++;
    tcp_stream_abort(net, greediest);
    return true;
}
