/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections by addresses and ports.  The key is a secret (SipHash): what a
 * device hashes with is linear, and a peer could choose ports that collide.
 */
#include "inbound.h"

uint32_t
tcp_flow_bytes(const struct net_path *path, uint16_t local_port, uint16_t remote_port,
               uint8_t *ret_bytes)
{
    const uint32_t ip_bytes = net_ip_bytes(path->family);
    uint8_t *to = lp_put_u16be(ret_bytes, local_port);
    to = lp_put_u16be(to, remote_port);
    net_ip_copy(path->family, to, path->local);
    net_ip_copy(path->family, to + ip_bytes, path->remote);
    return 4u + 2u * ip_bytes;
}

static uint64_t
flow_hash(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
          uint16_t remote_port)
{
    uint8_t bytes[TCP_FLOW_BYTES_MAX];
    return lp_hash_bytes(&net->hash_key, bytes,
                         tcp_flow_bytes(path, local_port, remote_port, bytes));
}

static struct tcp_stream *
stream_find(const struct lp_net *net, uint64_t hash, const struct net_path *path,
            const uint16_t ports[2])
{
    struct lp_hash_node *node = lp_hash_first(&net->tcp->table, hash);
    for (; node != NULL; node = lp_hash_next(node)) {
        struct tcp_stream *stream = LP_CONTAINER_OF(node, struct tcp_stream, node);
        if (stream->local_port == ports[0] && stream->remote_port == ports[1] &&
            stream->path.family == path->family &&
            net_ip_equal(path->family, stream->path.remote, path->remote) &&
            net_ip_equal(path->family, stream->path.local, path->local)) {
            return stream;
        }
    }
    return NULL;
}

struct tcp_stream *
tcp_find(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
         uint16_t remote_port)
{
    const uint16_t ports[2] = {local_port, remote_port};
    return stream_find(net, flow_hash(net, path, local_port, remote_port), path, ports);
}

bool
tcp_insert(struct lp_net *net, struct tcp_stream *stream)
{
    const uint16_t ports[2] = {stream->local_port, stream->remote_port};
    const uint64_t hash = flow_hash(net, &stream->path, ports[0], ports[1]);
    if (stream_find(net, hash, &stream->path, ports) != NULL) {
        return false;
    }
    lp_hash_insert(&net->tcp->table, &stream->node, hash);
    return true;
}

void
tcp_remove(struct lp_net *net, struct tcp_stream *stream)
{
    lp_hash_remove(&net->tcp->table, &stream->node);
}
