/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c - which way: the longest prefix, over the links of our addresses and
 * the routes that were configured (RFC 1122 3.3.1).
 *
 * A strong end system (RFC 1122 3.3.4.2): a packet leaves by the port that has
 * its source address.  Addresses and routes are the operator's, few, and walked
 * only when a path is made.
 */
#include <string.h>

#include "net_private.h"

#define ANY_PORT UINT32_MAX

struct choice {
    uint32_t port;
    int32_t bits;           /* of the prefix; -1: nothing fits */
    const uint8_t *gateway; /* NULL: on the link */
};

bool
net_prefix_equal(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    const uint32_t bytes = bits / 8;
    if (bytes > 0 && memcmp(a, b, bytes) != 0) {
        return false;
    }
    const uint32_t rest = bits % 8;
    return rest == 0 || ((uint32_t)(a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

static uint32_t
common_bits(const uint8_t *a, const uint8_t *b, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (a[i] != b[i]) {
            return i * 8 + (uint32_t)__builtin_clz((uint32_t)(a[i] ^ b[i])) - 24u;
        }
    }
    return bytes * 8;
}

static void
choose_links(const struct lp_net *net, uint8_t family, const uint8_t *remote, uint32_t only,
             struct choice *best)
{
    for (uint32_t p = 0; p < net->config.port_count; p++) {
        const struct net_port *port = &net->port[p];
        for (uint32_t i = 0; i < port->address_count && (only == ANY_PORT || only == p); i++) {
            const struct net_address *address = &port->addresses[i];
            if (address->family == family && address->bits > best->bits &&
                net_address_usable(net, address) &&
                net_prefix_equal(remote, address->ip, address->bits)) {
                *best = (struct choice){p, address->bits, NULL};
            }
        }
    }
}

static struct choice
choose(const struct lp_net *net, uint8_t family, const uint8_t *remote, uint32_t only)
{
    struct choice best = {0, -1, NULL};
    choose_links(net, family, remote, only, &best);
    for (uint32_t i = 0; i < net->config.route_count; i++) {
        const struct lp_net_route *route = &net->config.route[i];
        const struct lp_net_prefix *to = &route->destination;
        if (to->family == family && to->bits > best.bits &&
            (only == ANY_PORT || only == route->port) &&
            net_prefix_equal(remote, to->ip, to->bits)) {
            best = (struct choice){route->port, to->bits, route->gateway};
        }
    }
    return best;
}

/* RFC 6724 5, rules 1, 2 and 8, of addresses that are all of one port: scope, then the longest
 * match. */
static const struct net_address *
source_choose(const struct lp_net *net, uint8_t family, const uint8_t *remote,
              const struct choice *choice)
{
    const struct net_port *port = &net->port[choice->port];
    const uint8_t *near = choice->gateway != NULL ? choice->gateway : remote;
    const bool link_local = family == LP_ADDRESS_IPV6 && net_ip6_link_local(remote);
    const struct net_address *best = NULL;
    uint32_t best_score = 0;
    for (uint32_t i = 0; i < port->address_count; i++) {
        const struct net_address *address = &port->addresses[i];
        if (address->family != family || !net_address_usable(net, address)) {
            continue;
        }
        const bool scope =
            family == LP_ADDRESS_IPV4 || net_ip6_link_local(address->ip) == link_local;
        const uint32_t score = (scope ? 1000u : 0u) + 1u +
                               common_bits(address->ip, family == LP_ADDRESS_IPV4 ? near : remote,
                                           net_ip_bytes(family));
        if (score > best_score) {
            best = address;
            best_score = score;
        }
    }
    return best;
}

/* RFC 1122 3.2.1.3, RFC 4291 2.7: who can be talked to is one machine, and not this one: nothing
 * comes back from the wire to who sent it. */
static bool
remote_is_host(const struct lp_net *net, uint8_t family, const uint8_t *remote)
{
    bool ours = false;
    for (uint32_t p = 0; p < net->config.port_count; p++) {
        ours = ours || net_address_find(net, p, family, remote) != NULL;
    }
    return !ours && (family == LP_ADDRESS_IPV4 ? net_ip4_host(remote) : net_ip6_host(remote));
}

static bool
path_make(const struct lp_net *net, const struct net_path *wanted, uint32_t only, bool has_local,
          struct net_path *ret_path)
{
    if (!remote_is_host(net, wanted->family, wanted->remote)) {
        return false;
    }
    const struct choice choice = choose(net, wanted->family, wanted->remote, only);
    if (choice.bits < 0 || (wanted->family == LP_ADDRESS_IPV4 &&
                            net_ip4_broadcast(net, choice.port, wanted->remote))) {
        return false;
    }
    struct net_path path = *wanted;
    path.port = (uint8_t)choice.port;
    path.mtu_bytes = net->port[choice.port].mtu_bytes;
    if (!has_local) {
        const struct net_address *source = source_choose(net, path.family, path.remote, &choice);
        if (source == NULL) {
            return false;
        }
        memcpy(path.local, source->ip, net_ip_bytes(path.family));
    }
    const uint8_t *hop = choice.gateway != NULL ? choice.gateway : path.remote;
    path.neighbour = net_neighbour_find(net, choice.port, path.family, hop);
    *ret_path = path;
    return true;
}

bool
net_path_find(const struct lp_net *net, uint8_t family, const uint8_t *remote, const uint8_t *local,
              struct net_path *ret_path)
{
    struct net_path wanted = {.family = family};
    memcpy(wanted.remote, remote, net_ip_bytes(family));
    if (local == NULL) {
        return path_make(net, &wanted, ANY_PORT, false, ret_path);
    }
    memcpy(wanted.local, local, net_ip_bytes(family));
    for (uint32_t p = 0; p < net->config.port_count; p++) {
        const struct net_address *address = net_address_find(net, p, family, local);
        if (address != NULL && net_address_usable(net, address) &&
            path_make(net, &wanted, p, true, ret_path)) {
            return true;
        }
    }
    return false;
}

bool
net_path_back(const struct lp_net *net, const struct net_packet *packet, struct net_path *ret_path)
{
    struct net_path wanted = {.family = packet->family};
    memcpy(wanted.remote, packet->from, net_ip_bytes(packet->family));
    memcpy(wanted.local, packet->to, net_ip_bytes(packet->family));
    const struct net_address *address =
        net_address_find(net, packet->port, packet->family, packet->to);
    return address != NULL && net_address_usable(net, address) &&
           path_make(net, &wanted, packet->port, true, ret_path);
}

bool
net_next_hop(const struct lp_net *net, const struct net_path *path, uint8_t *ret_hop)
{
    const struct choice choice = choose(net, path->family, path->remote, path->port);
    if (choice.bits < 0) {
        return false;
    }
    memcpy(ret_hop, choice.gateway != NULL ? choice.gateway : path->remote,
           net_ip_bytes(path->family));
    return true;
}
