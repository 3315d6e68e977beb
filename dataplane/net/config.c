/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - is what the operator wants possible?
 */
#include <string.h>

#include "net_private.h"

#define MTU_MIN_IPV4   576u  /* RFC 1122 3.3.2: what every host has to take */
#define MTU_MIN_IPV6   1280u /* RFC 8200 5 */
#define VLAN_MAX       4094u
#define BUFFER_MAX     (1u << 30) /* RFC 7323 2.3: more no window can say */
#define BUFFER_MIN     4096u
#define MSS_FLOOR_MIN  48u
#define MSS_FLOOR_MAX  1220u
#define RTO_MIN_MS_MAX 60000u
#define TIME_WAIT_MAX  (4u * 60u * 1000u)
#define STREAMS_MAX    (1u << 24)

static bool
ip_zero(uint8_t family, const uint8_t *ip)
{
    static const uint8_t zero[16] = {0};
    return memcmp(ip, zero, net_ip_bytes(family)) == 0;
}

static bool
family_known(uint8_t family)
{
    return family == LP_ADDRESS_IPV4 || family == LP_ADDRESS_IPV6;
}

static bool
ip_host(uint8_t family, const uint8_t *ip)
{
    return family == LP_ADDRESS_IPV4 ? net_ip4_host(ip) : net_ip6_host(ip);
}

/* The first or last address of a subnet of IPv4 is everybody's (RFC 1122 3.2.1.3). */
static bool
ip4_everybody(const struct lp_net_prefix *address)
{
    if (address->family != LP_ADDRESS_IPV4 || address->bits >= 31) {
        return false;
    }
    uint32_t ones = 0;
    uint32_t zeros = 0;
    for (uint32_t bit = address->bits; bit < 32; bit++) {
        const uint32_t value = (address->ip[bit / 8] >> (7 - bit % 8)) & 1u;
        ones += value;
        zeros += 1 - value;
    }
    return ones == 0 || zeros == 0;
}

static bool
address_good(const struct lp_net_prefix *address)
{
    return family_known(address->family) && address->bits > 0 &&
           address->bits <= net_ip_bytes(address->family) * 8 &&
           ip_host(address->family, address->ip) && !ip4_everybody(address);
}

/* How often one of our addresses is this; `port`: of this port, or of all when it is too large. */
static uint32_t
address_count(const struct lp_net_config *config, uint8_t family, const uint8_t *ip)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < config->port_count; p++) {
        for (uint32_t i = 0; i < config->port[p].address_count; i++) {
            const struct lp_net_prefix *other = &config->port[p].address[i];
            count += other->family == family && memcmp(other->ip, ip, net_ip_bytes(family)) == 0;
        }
    }
    return count;
}

static bool
port_good(const struct lp_net_config *config, const struct lp_net_port *port)
{
    if (port->nic.ops == NULL || port->vlan > VLAN_MAX ||
        port->address_count > LP_NET_ADDRESSES_MAX) {
        return false;
    }
    struct lp_nic_caps caps;
    port->nic.ops->caps(port->nic.self, &caps);
    const uint32_t mtu_bytes = port->mtu_bytes != 0 ? port->mtu_bytes : caps.mtu_bytes;
    if (mtu_bytes > caps.mtu_bytes || mtu_bytes < MTU_MIN_IPV4 ||
        caps.frame_bytes_max < mtu_bytes + NET_ETHERNET_BYTES + NET_VLAN_BYTES ||
        (caps.tso && !caps.l4_fill) || (caps.mac[0] & 1u) != 0) {
        return false;
    }
    if (port->exception.ops != NULL) {
        struct lp_nic_caps other;
        port->exception.ops->caps(port->exception.self, &other);
        if (other.frame_bytes_max < mtu_bytes + NET_ETHERNET_BYTES + NET_VLAN_BYTES ||
            (other.tso && !other.l4_fill)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < port->address_count; i++) {
        const struct lp_net_prefix *address = &port->address[i];
        if (!address_good(address) || address_count(config, address->family, address->ip) != 1 ||
            (address->family == LP_ADDRESS_IPV6 && mtu_bytes < MTU_MIN_IPV6)) {
            return false;
        }
    }
    return true;
}

/* Is there a link on which this gateway is a neighbour? */
static bool
gateway_near(const struct lp_net_port *port, uint8_t family, const uint8_t *gateway)
{
    if (family == LP_ADDRESS_IPV6 && net_ip6_link_local(gateway)) {
        return true;
    }
    for (uint32_t i = 0; i < port->address_count; i++) {
        const struct lp_net_prefix *address = &port->address[i];
        if (address->family == family && net_prefix_equal(address->ip, gateway, address->bits)) {
            return true;
        }
    }
    return false;
}

static bool
host_bits_zero(const struct lp_net_prefix *prefix)
{
    for (uint32_t bit = prefix->bits; bit < net_ip_bytes(prefix->family) * 8; bit++) {
        if (((prefix->ip[bit / 8] >> (7 - bit % 8)) & 1u) != 0) {
            return false;
        }
    }
    return true;
}

static bool
route_good(const struct lp_net_config *config, uint32_t index)
{
    const struct lp_net_route *route = &config->route[index];
    const struct lp_net_prefix *to = &route->destination;
    if (route->port >= config->port_count || !family_known(to->family) ||
        to->bits > net_ip_bytes(to->family) * 8 || !host_bits_zero(to) ||
        !ip_host(to->family, route->gateway) ||
        address_count(config, to->family, route->gateway) != 0 ||
        !gateway_near(&config->port[route->port], to->family, route->gateway)) {
        return false;
    }
    for (uint32_t i = 0; i < index; i++) {
        const struct lp_net_prefix *other = &config->route[i].destination;
        if (other->family == to->family && other->bits == to->bits &&
            net_prefix_equal(other->ip, to->ip, to->bits)) {
            return false;
        }
    }
    return true;
}

static bool
listener_good(const struct lp_net_config *config, uint32_t index)
{
    const struct lp_address *listener = &config->listener[index];
    if (!family_known(listener->family) || listener->port == 0) {
        return false;
    }
    if (!ip_zero(listener->family, listener->ip) &&
        address_count(config, listener->family, listener->ip) == 0) {
        return false;
    }
    for (uint32_t i = 0; i < index; i++) {
        const struct lp_address *other = &config->listener[i];
        if (other->family == listener->family && other->port == listener->port &&
            memcmp(other->ip, listener->ip, net_ip_bytes(listener->family)) == 0) {
            return false;
        }
    }
    return true;
}

static uint32_t
usual(uint32_t value, uint32_t instead)
{
    return value != 0 ? value : instead;
}

static void
defaults_fill(struct lp_net_config *config)
{
    config->receive_bytes_max = usual(config->receive_bytes_max, 6u << 20);
    config->receive_bytes_first =
        usual(config->receive_bytes_first, LP_MIN(64u << 10, config->receive_bytes_max));
    config->send_bytes_max = usual(config->send_bytes_max, 4u << 20);
    config->peer_mss_floor_bytes = (uint16_t)usual(config->peer_mss_floor_bytes, 536u);
    config->rto_min_ms = usual(config->rto_min_ms, 200u);
    config->time_wait_ms = usual(config->time_wait_ms, 60000u);
    config->keepalive_s = usual(config->keepalive_s, 7200u);
    config->half_open_max = usual(config->half_open_max, 4096u);
    config->user_timeout_s = usual(config->user_timeout_s, 900u);
}

static bool
limits_good(const struct lp_net_config *config)
{
    return config->streams_max > 0 && config->streams_max <= STREAMS_MAX &&
           config->receive_bytes_max <= BUFFER_MAX && config->receive_bytes_first >= BUFFER_MIN &&
           config->receive_bytes_first <= config->receive_bytes_max &&
           config->send_bytes_max >= BUFFER_MIN && config->send_bytes_max <= BUFFER_MAX &&
           config->peer_mss_floor_bytes >= MSS_FLOOR_MIN &&
           config->peer_mss_floor_bytes <= MSS_FLOOR_MAX && config->rto_min_ms <= RTO_MIN_MS_MAX &&
           config->time_wait_ms <= TIME_WAIT_MAX &&
           (config->congestion == LP_NET_CUBIC || config->congestion == LP_NET_NEWRENO) &&
           config->ecn <= LP_NET_ECN_OFF;
}

enum lp_err
net_config_check(struct lp_net_config *config)
{
    if (config->shard_count == 0 || config->shard_count > NET_BUCKETS ||
        config->shard >= config->shard_count || config->port_count == 0 ||
        config->port_count > LP_NET_PORTS_MAX || config->route_count > LP_NET_ROUTES_MAX ||
        config->listener_count > LP_NET_LISTENERS_MAX) {
        return LP_ERR_BAD_CONFIG;
    }
    defaults_fill(config);
    bool good = limits_good(config);
    for (uint32_t i = 0; good && i < config->port_count; i++) {
        good = port_good(config, &config->port[i]);
    }
    for (uint32_t i = 0; good && i < config->route_count; i++) {
        good = route_good(config, i);
    }
    for (uint32_t i = 0; good && i < config->listener_count; i++) {
        good = listener_good(config, i);
    }
    return good ? LP_OK : LP_ERR_BAD_CONFIG;
}
