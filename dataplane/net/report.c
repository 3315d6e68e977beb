/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <lepus/atomic.h>

#include "dataplane/net/tcp/tcp.h"

/* Statistics that another process may be reading: each number is stored whole. */
static void
numbers_store(void *to, const void *from, size_t bytes)
{
    uint64_t *out = to;
    const uint64_t *in = from;
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++) {
        lp_store_relaxed(&out[i], in[i]); /* statistics */
    }
}

static void
port_describe(const struct net_port *port, struct lp_net_page_port *page)
{
    const struct lp_net_port *config = &port->config;
    memcpy(page->name, config->name, sizeof(page->name));
    const size_t driver_bytes = LP_MIN(strlen(config->nic.ops->name), sizeof(page->driver) - 1);
    memcpy(page->driver, config->nic.ops->name, driver_bytes);
    memcpy(page->mac, port->caps.mac, sizeof(page->mac));
    page->mtu_bytes = port->mtu_bytes;
    page->vlan = config->vlan;
    page->offloads = (port->caps.l4_fill ? LP_NET_OFFLOAD_CHECKSUM : 0u) |
                     (port->caps.tso ? LP_NET_OFFLOAD_TSO : 0u) |
                     (port->caps.hash ? LP_NET_OFFLOAD_HASH : 0u);
    memcpy(page->exception, config->exception_name, sizeof(page->exception));
    page->address_count = (uint8_t)LP_MIN(config->address_count, LP_NET_PAGE_ADDRESSES);
    for (uint32_t i = 0; i < page->address_count; i++) {
        page->address[i].family = config->address[i].family;
        page->address[i].bits = config->address[i].bits;
        memcpy(page->address[i].ip, config->address[i].ip, sizeof(page->address[i].ip));
    }
}

static void
port_store(const struct net_port *port, struct lp_net_page_port *page)
{
    struct lp_nic_counters counters = {0};
    const struct lp_nic *nic = &port->config.nic;
    nic->ops->counters(nic->self, &counters);
    numbers_store(&page->counters, &counters, sizeof(counters));
    /* Statistics; those of the configuration come first. */
    for (uint32_t i = 0; i < page->address_count; i++) {
        lp_store_relaxed(&page->address[i].given_up, net_address_held(&port->addresses[i]) ? 0 : 1);
    }
    lp_store_relaxed(&page->link_up, nic->ops->link_up(nic->self) ? 1 : 0);
}

void
lp_net_report(const struct lp_net *net, struct lp_net_page *page)
{
    const uint32_t ports = LP_MIN(net->config.port_count, LP_NET_PAGE_PORTS);
    for (uint32_t i = 0; page->port_count == 0 && i < ports; i++) {
        port_describe(&net->port[i], &page->port[i]);
    }
    for (uint32_t i = 0; i < ports; i++) {
        port_store(&net->port[i], &page->port[i]);
    }
    numbers_store(&page->counters, &net->counters, sizeof(net->counters));
    lp_store_relaxed(&page->streams, net->tcp->streams.used);
    lp_store_relaxed(&page->memory_used_bytes, lp_memory_used_bytes(net->memory));
    lp_store_relaxed(&page->memory_limit_bytes, lp_memory_limit_bytes(net->memory));
    /* Pairs with the control process's acquire: descriptions are there. */
    lp_store_release(&page->port_count, ports);
}

void
lp_net_capture_set(struct lp_net *net, const struct lp_net_capture *capture)
{
    net->capture = capture != NULL ? *capture : (struct lp_net_capture){0};
}

void
net_capture(const struct lp_net *net, uint32_t port, bool sent, const struct lp_nic_frame *frame)
{
    const struct lp_net_captured captured = {.data = frame->data,
                                             .bytes = frame->bytes,
                                             .port = port,
                                             .sent = sent,
                                             .now_ns = net->now_ns};
    net->capture.frame(net->capture.context, &captured);
}
