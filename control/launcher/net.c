/* SPDX-License-Identifier: Apache-2.0 */
/* Packet devices: from lepus.net keys to the data plane's arguments, and which listeners are there.
 */
#include "launcher.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB ((uint64_t)1024 * 1024)

#define PORT    "lepus.net.port.$number."
#define ADDRESS PORT "address.$index"

/* --- Listeners. ------------------------------------------------------------------------------ */

/* Is one of the ports' addresses this one? */
struct search {
    uint8_t ip[16];
    bool six;
    bool found;
};

static void
address_compare(void *context, const char *port, const char *value)
{
    struct search *search = context;
    char text[LP_CONFIG_IP_BYTES] = "";
    uint8_t ip[16];
    bool six;

    (void)port;
    memcpy(text, value, strcspn(value, "/"));
    if (lp_config_ip(text, ip, &six) && six == search->six &&
        memcmp(ip, search->ip, sizeof(ip)) == 0) {
        search->found = true;
    }
}

static bool
address_is_ours(const struct launcher_plan *plan, const char *ip)
{
    struct search search = {.found = false};
    if (!lp_config_ip(ip, search.ip, &search.six)) {
        return false;
    }
    lp_config_each(plan->config, ADDRESS, address_compare, &search);
    return search.found;
}

static void
name_count(void *context, const char *name, const char *value)
{
    size_t *count = context;
    (void)name;
    (void)value;
    (*count)++;
}

static size_t
port_count(const struct launcher_plan *plan)
{
    size_t count = 0;
    lp_config_names(plan->config, PORT, name_count, &count);
    return count;
}

static bool
is_everywhere(const char *ip)
{
    return *ip == '\0' || strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
}

bool
launcher_net_has(const struct launcher_plan *plan, const char *ip)
{
    if (port_count(plan) == 0) {
        return false;
    }
    if (is_everywhere(ip)) {
        return strcmp(lp_config_text(plan->config, "lepus.net.listeners"), "kernel") != 0;
    }
    return address_is_ours(plan, ip);
}

bool
launcher_kernel_has(const struct launcher_plan *plan, const char *ip)
{
    if (port_count(plan) == 0) {
        return true;
    }
    if (is_everywhere(ip)) {
        return strcmp(lp_config_text(plan->config, "lepus.net.listeners"), "net") != 0;
    }
    return !address_is_ours(plan, ip);
}

/* --- Ports. ---------------------------------------------------------------------------------- */

struct net_plan {
    struct launcher_plan *plan;
    const char *port; /* whose keys are being written down */
    enum lp_err err;
    char *why;
    size_t why_bytes;
};

static void __attribute__((format(printf, 3, 4)))
refuse(struct net_plan *net, const char *key, const char *format, ...)
{
    va_list list;
    if (net->err != LP_OK) {
        return; /* the first is told */
    }
    net->err = LP_ERR_BAD_CONFIG;
    const int used =
        snprintf(net->why, net->why_bytes, "\"lepus.net.port.%s.%s\" ", net->port, key);
    if (used > 0 && (size_t)used < net->why_bytes) {
        va_start(list, format);
        (void)vsnprintf(net->why + used, net->why_bytes - (size_t)used, format, list);
        va_end(list);
    }
}

static void __attribute__((format(printf, 2, 3)))
argument_add(struct net_plan *net, const char *format, ...)
{
    struct launcher_plan *plan = net->plan;
    va_list list;

    if (plan->net_argument_count == LAUNCHER_NET_ARGUMENTS_MAX) {
        (void)snprintf(net->why, net->why_bytes, "there are too many lepus.net keys");
        net->err = LP_ERR_BAD_CONFIG;
        return;
    }
    va_start(list, format);
    const int bytes = vasprintf(&plan->net_argument[plan->net_argument_count], format, list);
    va_end(list);
    if (bytes < 0) {
        (void)snprintf(net->why, net->why_bytes, "out of memory");
        net->err = LP_ERR_NO_MEMORY;
        return;
    }
    plan->net_argument_count++;
}

static void
address_add(void *context, const char *port, const char *value)
{
    struct net_plan *net = context;
    if (strcmp(port, net->port) == 0) {
        argument_add(net, "--net-address=%s", value);
    }
}

static void
gateway_add(struct net_plan *net, const char *key, bool six)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof(pattern), PORT "%s", key);
    const char *gateway = lp_config_text_named(net->plan->config, pattern, net->port);
    if (*gateway == '\0') {
        return;
    }
    if ((strchr(gateway, ':') != NULL) != six) {
        refuse(net, key, "cannot be \"%s\": it must be an address of IPv%d", gateway, six ? 6 : 4);
        return;
    }
    argument_add(net, "--net-gateway=%s", gateway);
}

static void
numbers_add(struct net_plan *net)
{
    const struct lp_config *config = net->plan->config;
    int64_t number;
    if (lp_config_integer_named(config, PORT "queues", net->port, &number) &&
        number != net->plan->shard_count) {
        refuse(net, "queues",
               "is %lld, but each shard has one queue; remove it, or say lepus.shards = %lld",
               (long long)number, (long long)number);
    }
    if (lp_config_integer_named(config, PORT "vlan", net->port, &number)) {
        argument_add(net, "--net-vlan=%lld", (long long)number);
    }
    if (lp_config_integer_named(config, PORT "mtu", net->port, &number)) {
        argument_add(net, "--net-mtu=%lld", (long long)number);
    }
}

struct exception_search {
    const struct lp_config *config;
    const char *wanted;
    unsigned ports;
    unsigned exceptions;
};

/* Is an interface of this name a port, or another port's exception? */
static void
exception_compare(void *context, const char *name, const char *value)
{
    struct exception_search *search = context;
    const char *device = lp_config_text_named(search->config, PORT "device", name);
    (void)value;
    search->ports += strncmp(device, "tap:", 4) == 0 && strcmp(device + 4, search->wanted) == 0;
    search->exceptions +=
        strcmp(lp_config_text_named(search->config, PORT "exception", name), search->wanted) == 0;
}

static void
exception_add(struct net_plan *net)
{
    const struct lp_config *config = net->plan->config;
    struct exception_search search = {
        .config = config, .wanted = lp_config_text_named(config, PORT "exception", net->port)};
    if (*search.wanted == '\0') {
        return;
    }
    lp_config_names(config, PORT, exception_compare, &search);
    if (search.ports > 0) {
        refuse(net, "exception", "cannot be \"%s\": that tap is a port itself", search.wanted);
        return;
    }
    if (search.exceptions > 1) {
        refuse(net, "exception", "cannot be \"%s\": each port has one of its own", search.wanted);
        return;
    }
    argument_add(net, "--net-exception=%s", search.wanted);
}

static void
port_add(void *context, const char *name, const char *value)
{
    struct net_plan *net = context;
    const struct lp_config *config = net->plan->config;
    (void)value;
    net->port = name;
    const char *device = lp_config_text_named(config, PORT "device", name);
    const size_t before = net->plan->net_argument_count;
    if (*device == '\0') {
        refuse(net, "device", "is missing: say which device, such as tap:lepus0");
        return;
    }
    if (strlen(name) > 15 || strchr(name, ':') != NULL) {
        refuse(net, "device", "has a name that is too long for a port; take a number");
        return;
    }
    argument_add(net, "--net-port=%s:%s", name, device);
    lp_config_each(config, ADDRESS, address_add, net);
    if (net->err == LP_OK && net->plan->net_argument_count == before + 1) {
        refuse(net, "address.0", "is missing: say who we are there, such as 10.0.0.2/24");
    }
    gateway_add(net, "gateway", false);
    gateway_add(net, "gateway6", true);
    numbers_add(net);
    exception_add(net);
    const char *mac = lp_config_text_named(config, PORT "mac", name);
    if (*mac != '\0') {
        argument_add(net, "--net-mac=%s", mac);
    }
}

static void
route_add(void *context, const char *name, const char *value)
{
    char to[LP_CONFIG_PREFIX_BYTES];
    char gateway[LP_CONFIG_IP_BYTES];
    (void)name;
    const bool good = lp_config_route(value, to, gateway);
    LP_ASSERT(good); /* the parser has checked it */
    argument_add(context, "--net-route=%s,%s", to, gateway);
}

enum lp_err
launcher_net_plan(struct launcher_plan *plan, char *ret_why, size_t why_bytes)
{
    const struct lp_config *config = plan->config;
    struct net_plan net = {.plan = plan, .err = LP_OK, .why = ret_why, .why_bytes = why_bytes};
    const size_t ports = port_count(plan);
    if (ports > LAUNCHER_NET_PORTS_MAX) {
        (void)snprintf(ret_why, why_bytes, "there are %zu lepus.net.port families; %u is the most",
                       ports, LAUNCHER_NET_PORTS_MAX);
        return LP_ERR_BAD_CONFIG;
    }
    if (ports == 0) {
        return LP_OK;
    }
    lp_config_names(config, PORT, port_add, &net);
    lp_config_each(config, "lepus.net.route.$number", route_add, &net);
    const uint64_t given = (uint64_t)lp_config_integer(config, "lepus.net.memory");
    const uint64_t usual = LP_MAX(plan->memory_bytes / 8, plan->shard_count * 64 * MIB);
    argument_add(&net, "--net-memory-bytes=%llu", (unsigned long long)(given > 0 ? given : usual));
    argument_add(&net, "--net-congestion=%s", lp_config_text(config, "lepus.net.congestion"));
    argument_add(&net, "--net-ecn=%s", lp_config_text(config, "lepus.net.ecn"));
    argument_add(&net, "--net-addresses-wait=%s",
                 lp_config_bool(config, "lepus.net.addresses_wait") ? "true" : "false");
    argument_add(&net, "--net-dpdk-memory-mb=%llu",
                 (unsigned long long)lp_config_integer(config, "lepus.net.dpdk.memory") / MIB);
    const char *words = lp_config_text(config, "lepus.net.dpdk.arguments");
    if (*words != '\0') {
        argument_add(&net, "--net-dpdk-arguments=%s", words);
    }
    if (net.err == LP_OK) {
        /* The data plane says how large.  Without it connections end later than they could. */
        plan->net_ledger_fd = memfd_create("lepus-ledger", MFD_CLOEXEC);
    }
    return net.err;
}
