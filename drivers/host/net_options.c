/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the command line that is about packet devices: what lepus.net keys said. */
#include "host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drivers/common/address.h>

static bool
ip_parse(const char *text, size_t bytes, struct lp_net_prefix *ret_ip)
{
    char copy[INET6_ADDRSTRLEN];
    struct lp_net_prefix ip = {.family = LP_ADDRESS_IPV4};
    if (bytes >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    if (strchr(copy, ':') != NULL) {
        ip.family = LP_ADDRESS_IPV6;
    }
    if (inet_pton(ip.family == LP_ADDRESS_IPV6 ? AF_INET6 : AF_INET, copy, ip.ip) != 1) {
        return false;
    }
    *ret_ip = ip;
    return true;
}

/* "10.0.0.2/24"; gives what is behind it. */
static bool
prefix_parse(const char *text, struct lp_net_prefix *ret_prefix, const char **ret_end)
{
    char *end;
    const char *slash = strchr(text, '/');
    if (slash == NULL || slash[1] < '0' || slash[1] > '9' ||
        !ip_parse(text, (size_t)(slash - text), ret_prefix)) {
        return false;
    }
    const unsigned long bits = strtoul(slash + 1, &end, 10);
    ret_prefix->bits = (uint8_t)LP_MIN(bits, 255ul);
    *ret_end = end;
    return bits <= (ret_prefix->family == LP_ADDRESS_IPV6 ? 128u : 32u);
}

/* "0:tap:lepus0": what the configuration calls the port, and its device. */
static bool
port_take(struct host_net_options *net, const char *value)
{
    const char *colon = strchr(value, ':');
    if (colon == NULL || colon == value || colon[1] == '\0' ||
        (size_t)(colon - value) >= sizeof(net->port[0].name) ||
        net->port_count == LP_NET_PORTS_MAX) {
        return false;
    }
    struct host_net_port *port = &net->port[net->port_count++];
    memcpy(port->name, value, (size_t)(colon - value));
    port->device = colon + 1;
    return true;
}

static bool
address_take(struct host_net_port *port, const char *value)
{
    const char *end;
    return port->address_count < LP_NET_ADDRESSES_MAX &&
           prefix_parse(value, &port->address[port->address_count++], &end) && *end == '\0';
}

static bool
gateway_take(struct host_net_port *port, const char *value)
{
    struct lp_net_prefix gateway;
    if (!ip_parse(value, strlen(value), &gateway)) {
        return false;
    }
    port->gateway[gateway.family == LP_ADDRESS_IPV6] = gateway;
    return true;
}

static bool
mac_take(struct host_net_port *port, const char *value)
{
    for (int i = 0; i < 6; i++) {
        char *end;
        const unsigned long octet = strtoul(value, &end, 16);
        if (end != value + 2 || *end != (i < 5 ? ':' : '\0')) {
            return false;
        }
        port->mac[i] = (uint8_t)octet;
        value = end + 1;
    }
    return true;
}

static bool
small_take(const char *value, unsigned long max, uint16_t *ret_number)
{
    char *end;
    const unsigned long number = strtoul(value, &end, 10);
    *ret_number = (uint16_t)LP_MIN(number, UINT16_MAX);
    return *value >= '0' && *value <= '9' && *end == '\0' && number <= max;
}

/* "10.1.0.0/16,10.0.0.1" */
static bool
route_take(struct host_net_options *net, const char *value)
{
    const char *end;
    if (net->route_count == LP_NET_ROUTES_MAX) {
        return false;
    }
    struct host_net_route *route = &net->route[net->route_count++];
    return prefix_parse(value, &route->to, &end) && *end == ',' &&
           ip_parse(end + 1, strlen(end + 1), &route->gateway) &&
           route->gateway.family == route->to.family;
}

static bool
port_option_take(struct host_net_port *port, const char *name, const char *value)
{
    if (strcmp(name, "net-address") == 0) {
        return address_take(port, value);
    }
    if (strcmp(name, "net-gateway") == 0) {
        return gateway_take(port, value);
    }
    if (strcmp(name, "net-mac") == 0) {
        return mac_take(port, value);
    }
    if (strcmp(name, "net-exception") == 0) {
        port->exception = value;
        return *value != '\0';
    }
    if (strcmp(name, "net-vlan") == 0) {
        return small_take(value, 4094, &port->vlan);
    }
    return strcmp(name, "net-mtu") == 0 && small_take(value, UINT16_MAX, &port->mtu_bytes);
}

static bool
ecn_take(const char *value, enum lp_net_ecn *ret_ecn)
{
    static const char *const names[] = {
        [LP_NET_ECN_PASSIVE] = "passive", [LP_NET_ECN_ACTIVE] = "active", [LP_NET_ECN_OFF] = "off"};
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret_ecn = (enum lp_net_ecn)i;
            return true;
        }
    }
    return false;
}

bool
host_net_option_take(struct host_net_options *net, const char *name, const char *value)
{
    if (strcmp(name, "net-port") == 0) {
        return port_take(net, value);
    }
    if (strcmp(name, "net-route") == 0) {
        return route_take(net, value);
    }
    if (strcmp(name, "net-listen") == 0) {
        return host_listener_take(value, net->listener, &net->listener_count, &net->tls_listeners);
    }
    if (strcmp(name, "net-congestion") == 0) {
        net->congestion = strcmp(value, "newreno") == 0 ? LP_NET_NEWRENO : LP_NET_CUBIC;
        return net->congestion == LP_NET_NEWRENO || strcmp(value, "cubic") == 0;
    }
    if (strcmp(name, "net-ecn") == 0) {
        return ecn_take(value, &net->ecn);
    }
    if (strcmp(name, "net-addresses-wait") == 0) {
        net->addresses_wait = strcmp(value, "true") == 0;
        return net->addresses_wait || strcmp(value, "false") == 0;
    }
    if (strcmp(name, "net-dpdk-memory-mb") == 0) {
        uint16_t number;
        const bool good = small_take(value, UINT16_MAX, &number);
        net->dpdk_memory_mb = number;
        return good;
    }
    if (strcmp(name, "net-dpdk-arguments") == 0) {
        net->dpdk_arguments = value;
        return true;
    }
    /* The rest is the last port's. */
    return net->port_count > 0 && port_option_take(&net->port[net->port_count - 1], name, value);
}
