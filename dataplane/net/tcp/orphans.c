/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections whose data plane died without a word.  A kernel ends them for a
 * process that is killed; here the next life does, or a peer that only listens
 * would wait for its keepalive.
 *
 * The numbers of then are not known exactly, so no reset of ours would be
 * believed (RFC 5961 3.2).  But what a keepalive asks is answered by everybody
 * with an acknowledgement that has them (RFC 9293 3.8.4, 3.10.7.4), which is a
 * segment for nobody here, and so gets the exact reset (RFC 9293 3.10.7.1).
 *
 * Asked four times: a first frame may be lost while the neighbour is asked, an
 * address may not be ours yet (RFC 5227), a link may still be coming up.  Who
 * has gone meanwhile answers with a reset, or not at all.
 */
#include "ledger.h"

#define ASK_EVERY_NS 1000000u
#define ASKS_AT_ONCE 4u

/* Behind each pass. */
static const uint64_t pass_wait_ns[TCP_ORPHAN_PASSES - 1] = {1 * TCP_SECOND_NS, 2 * TCP_SECOND_NS,
                                                             8 * TCP_SECOND_NS};

static bool
orphan_path(const struct lp_net *net, const struct tcp_ledger_entry *orphan,
            struct net_path *ret_path)
{
    /* Somebody may have died while he wrote it. */
    return (orphan->family == LP_ADDRESS_IPV4 || orphan->family == LP_ADDRESS_IPV6) &&
           net_path_find(net, orphan->family, orphan->remote, orphan->local, ret_path);
}

/* Its peer is with us again, by the same ports. */
static bool
orphan_lives(const struct lp_net *net, const struct net_path *path,
             const struct tcp_ledger_entry *orphan)
{
    return tcp_find(net, path, orphan->local_port, orphan->remote_port) != NULL ||
           tcp_listen_knows(net, path, orphan->local_port, orphan->remote_port);
}

static void
orphan_ask(struct lp_net *net, const struct tcp_ledger_entry *orphan)
{
    struct net_path path;
    if (!orphan_path(net, orphan, &path) || orphan_lives(net, &path, orphan)) {
        return;
    }
    const struct tcp_reply reply = {
        .path = &path,
        .from_port = orphan->local_port,
        .to_port = orphan->remote_port,
        /* What the peer has already: it is never taken, and always answered. */
        .seq = orphan->send_next - 1u,
        .ack = orphan->receive_next,
        .flags = TCP_ACK,
        .has_timestamp = orphan->timestamps != 0,
        .timestamp = tcp_now_ms(net) + orphan->timestamp_offset,
    };
    net->counters.tcp_orphans_asked++;
    tcp_reply_send(net, &reply);
}

static void
orphans_fire(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct tcp_ledger *ledger = LP_CONTAINER_OF(timer, struct tcp_ledger, timer);
    struct lp_net *net = ledger->net;
    uint64_t wait_ns = ASK_EVERY_NS;
    (void)context;
    (void)now_ns;
    for (uint32_t i = 0; i < ASKS_AT_ONCE && ledger->orphan_at < ledger->header->left; i++) {
        orphan_ask(net, &ledger->orphan[ledger->orphan_at++]);
    }
    if (ledger->orphan_at == ledger->header->left) {
        if (ledger->pass == TCP_ORPHAN_PASSES - 1) {
            ledger->header->left = 0;
            net->tcp->orphan_resets = 0;
            return;
        }
        wait_ns = pass_wait_ns[ledger->pass++];
        ledger->orphan_at = 0;
    }
    lp_timer_arm(&net->wheel, &ledger->timer, orphans_fire, net->now_ns + wait_ns);
}

void
tcp_orphans_begin(struct lp_net *net)
{
    struct tcp_ledger *ledger = net->tcp->ledger;
    if (ledger->header->left > 0) {
        net->tcp->orphan_resets = ASKS_AT_ONCE * (uint32_t)(TCP_SECOND_NS / ASK_EVERY_NS);
        lp_timer_arm(&net->wheel, &ledger->timer, orphans_fire, net->now_ns);
    }
}
