/* SPDX-License-Identifier: Apache-2.0 */
/* Packet devices from the configuration's words: a tap of the kernel's, or a port of DPDK. */
#include "host.h"

#include <stdio.h>
#include <string.h>

#include <drivers/dpdk/dpdk.h>
#include <drivers/tap/tap.h>

#define TAP_PREFIX "tap:"

static bool
is_tap(const struct host_net_port *port)
{
    return strncmp(port->device, TAP_PREFIX, strlen(TAP_PREFIX)) == 0;
}

static bool
tap_open(struct host *host, uint32_t index, struct lp_nic *nics, char *ret_why)
{
    const struct host_net_port *port = &host->options.net.port[index];
    struct lp_tap_options options = {
        .queues = host->options.shard.count,
        .mtu_bytes = port->mtu_bytes,
    };
    char why[LP_TAP_WHY_BYTES];
    const char *name = port->device + strlen(TAP_PREFIX);
    if (strlen(name) >= sizeof(options.name)) {
        return host_net_complain(ret_why, port, "device: %s: a name has at most 15 characters",
                                 port->device);
    }
    memcpy(options.name, name, strlen(name));
    memcpy(options.mac, port->mac, sizeof(options.mac));
    if (lp_tap_open_boot(&options, nics, why) != LP_OK) {
        return host_net_complain(ret_why, port, "device: %s", why);
    }
    return true;
}

/* DPDK is told of all its devices when it starts. */
static bool
dpdk_start(struct host *host, char *ret_why)
{
    const struct host_net_options *net = &host->options.net;
    char why[LP_DPDK_WHY_BYTES];
    struct lp_dpdk_options options = {
        .memory_mb = net->dpdk_memory_mb, .shared_memory = true, .extra = net->dpdk_arguments};
    const struct host_net_port *first = NULL;
    for (uint32_t p = 0; p < net->port_count; p++) {
        if (!is_tap(&net->port[p])) {
            first = first == NULL ? &net->port[p] : first;
            options.device[options.device_count++] = net->port[p].device;
        }
    }
    if (first == NULL) {
        return true;
    }
    if (lp_dpdk_start_boot(&options, why) != LP_OK) {
        return host_net_complain(ret_why, first, "device: %s: %s", first->device, why);
    }
    host->dpdk = true;
    return true;
}

static bool
dpdk_open(struct host *host, uint32_t index, struct lp_nic *nics, char *ret_why)
{
    const struct host_net_port *port = &host->options.net.port[index];
    char why[LP_DPDK_WHY_BYTES];
    struct lp_dpdk_port_options options = {
        .device = port->device,
        .queues = host->options.shard.count,
        .mtu_bytes = port->mtu_bytes,
    };
    memcpy(options.mac, port->mac, sizeof(options.mac));
    memcpy(options.rss_key, lp_net_rss_key(), sizeof(options.rss_key));
    if (lp_dpdk_port_open_boot(&options, nics, why) != LP_OK) {
        return host_net_complain(ret_why, port, "device: %s", why);
    }
    return true;
}

/* The kernel's interface for what is not ours: the port as the kernel sees it. */
static bool
exception_open(struct host *host, uint32_t index, const struct lp_nic *of, char *ret_why)
{
    const struct host_net_port *port = &host->options.net.port[index];
    struct lp_nic nics[LP_SHARDS_MAX] = {0};
    struct lp_nic_caps caps;
    LP_ASSERT(of->ops != NULL); /* the port was opened before */
    of->ops->caps(of->self, &caps);
    struct lp_tap_options options = {
        .queues = host->options.shard.count,
        .mtu_bytes = port->mtu_bytes != 0 ? port->mtu_bytes : caps.mtu_bytes,
        .plain_receive = true,
    };
    char why[LP_TAP_WHY_BYTES];
    if (strlen(port->exception) >= sizeof(options.name)) {
        return host_net_complain(ret_why, port, "exception: %s: a name has at most 15 characters",
                                 port->exception);
    }
    memcpy(options.name, port->exception, strlen(port->exception));
    memcpy(options.kernel_mac, caps.mac, sizeof(options.kernel_mac));
    if (lp_tap_open_boot(&options, nics, why) != LP_OK) {
        return host_net_complain(ret_why, port, "exception: %s", why);
    }
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        host->shard[i].exception[index] = nics[i];
    }
    return true;
}

bool
host_net_devices_open(struct host *host, char *ret_why)
{
    const struct host_net_options *net = &host->options.net;
    if (!dpdk_start(host, ret_why)) {
        return false;
    }
    for (uint32_t p = 0; p < net->port_count; p++) {
        struct lp_nic nics[LP_SHARDS_MAX] = {0};
        const bool good = is_tap(&net->port[p]) ? tap_open(host, p, nics, ret_why)
                                                : dpdk_open(host, p, nics, ret_why);
        if (!good) {
            host_net_close(host);
            return false;
        }
        for (uint32_t i = 0; i < host->options.shard.count; i++) {
            host->shard[i].nic[p] = nics[i];
        }
        if (net->port[p].exception != NULL && !exception_open(host, p, &nics[0], ret_why)) {
            host_net_close(host);
            return false;
        }
    }
    return true;
}

static void
exception_close(struct host *host, uint32_t index)
{
    struct lp_nic nics[LP_SHARDS_MAX] = {0};
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        nics[i] = host->shard[i].exception[index];
        host->shard[i].exception[index] = (struct lp_nic){0};
    }
    lp_tap_close(nics, host->options.shard.count);
}

void
host_net_devices_close(struct host *host)
{
    for (uint32_t p = 0; p < host->options.net.port_count; p++) {
        const struct host_net_port *port = &host->options.net.port[p];
        struct lp_nic nics[LP_SHARDS_MAX] = {0};
        for (uint32_t i = 0; i < host->options.shard.count; i++) {
            nics[i] = host->shard[i].nic[p];
            host->shard[i].nic[p] = (struct lp_nic){0};
        }
        if (is_tap(port)) {
            lp_tap_close(nics, host->options.shard.count);
        } else {
            lp_dpdk_port_close(nics, host->options.shard.count);
        }
        exception_close(host, p);
    }
    if (host->dpdk) {
        lp_dpdk_stop();
        host->dpdk = false;
    }
}

void
host_net_thread_enter(const struct host_shard *self)
{
    if (self->host->dpdk && !lp_dpdk_thread_enter()) {
        (void)fprintf(stderr,
                      "lepus-dataplane: shard %u: DPDK does not know this thread; it goes on "
                      "without caches of frames\n",
                      self->index);
    }
}
