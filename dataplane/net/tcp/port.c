/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of connections that we open: RFC 6056 3.3.5, algorithm 5 (random
 * increments), over those whose answers the device gives to this shard.
 */
#include "inbound.h"

#define PORT_FIRST    32768u
#define PORT_COUNT    28232u /* up to 60999 */
#define INCREMENT_MAX 500u   /* RFC 6056's N */

static bool
is_free(const struct lp_net *net, const struct net_path *path, uint16_t port, uint16_t remote_port)
{
    return tcp_find(net, path, port, remote_port) == NULL &&
           !tcp_listen_knows(net, path, port, remote_port);
}

uint16_t
tcp_port_choose(struct lp_net *net, const struct net_path *path, uint16_t remote_port)
{
    struct tcp *tcp = net->tcp;
    const struct lp_hash_key key = {{tcp->port_secret[0], tcp->port_secret[1]}};
    const uint64_t seed[2] = {net->now_ns, tcp->port_next};
    const uint32_t increment =
        1u + (uint32_t)(lp_hash_bytes(&key, seed, sizeof(seed)) % INCREMENT_MAX);
    tcp->port_next += increment;
    for (uint32_t i = 0; i < PORT_COUNT; i++) {
        const uint16_t port = (uint16_t)(PORT_FIRST + tcp->port_next % PORT_COUNT);
        const bool home = net_steer_owner_of(net, path, port, remote_port) == net->config.shard;
        if (home && is_free(net, path, port, remote_port)) {
            return port;
        }
        tcp->port_next++;
    }
    return 0;
}
