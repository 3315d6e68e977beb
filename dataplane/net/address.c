/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.c - what an address is: one machine's, one of ours, everybody's.
 */
#include <string.h>

#include "net_private.h"

bool
net_ip4_host(const uint8_t *ip)
{
    /* RFC 1122 3.2.1.3: 0/8 is this network, 127/8 never leaves a machine, 224/3 are groups, what
     * is reserved and everybody. */
    return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
}

bool
net_ip6_link_local(const uint8_t *ip)
{
    return ip[0] == 0xfe && (ip[1] & 0xc0u) == 0x80u;
}

bool
net_ip6_host(const uint8_t *ip)
{
    static const uint8_t low[16] = {0};
    if (ip[0] == 0xff) {
        return false;
    }
    /* RFC 4291 2.5.2, 2.5.3: unspecified and loopback. */
    if (memcmp(ip, low, 15) == 0 && ip[15] <= 1) {
        return false;
    }
    /* RFC 4291 2.5.5: those that hold an IPv4 address never travel. */
    return !(memcmp(ip, low, 10) == 0 && ip[10] == 0xff && ip[11] == 0xff);
}

struct net_address *
net_address_find(const struct lp_net *net, uint32_t port, uint8_t family, const uint8_t *ip)
{
    const struct net_port *at = &net->port[port];
    for (uint32_t i = 0; i < at->address_count; i++) {
        struct net_address *address = &at->addresses[i];
        if (address->family == family && net_ip_equal(family, address->ip, ip)) {
            return address;
        }
    }
    return NULL;
}

bool
net_address_usable(const struct lp_net *net, const struct net_address *address)
{
    switch ((enum net_address_state)address->state) {
    case NET_TENTATIVE:
        /* RFC 5227 2.1.1, RFC 4862 5.4; or RFC 4429. */
        return !net->config.addresses_wait;
    case NET_PREFERRED:
        return true;
    case NET_DUPLICATE:
    case NET_RETRYING:
        break;
    }
    return false;
}

static uint32_t
ip4_value(const uint8_t *ip)
{
    return (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
}

bool
net_ip4_broadcast(const struct lp_net *net, uint32_t port, const uint8_t *ip)
{
    const uint32_t value = ip4_value(ip);
    if (value == UINT32_MAX) {
        return true;
    }
    const struct net_port *at = &net->port[port];
    for (uint32_t i = 0; i < at->address_count; i++) {
        const struct net_address *address = &at->addresses[i];
        /* RFC 3021: a link of two has no broadcast. */
        if (address->family != LP_ADDRESS_IPV4 || address->bits >= 31 ||
            !net_prefix_equal(ip, address->ip, address->bits)) {
            continue;
        }
        const uint32_t host = UINT32_MAX >> address->bits;
        if ((value & host) == host || (value & host) == 0) {
            return true;
        }
    }
    return false;
}
