/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_page.h - what a shard's own TCP/IP says of itself to the control process:
 * in the second half of its stats page's room (control_region.h).
 *
 *   Memory    the region's; the shard's thread stores, relaxed, some times a second
 *   Runs on   shard: lp_net_report(); control: lp_control_region_net()
 *
 * `port_count` is stored last, with release: what it counts is filled in, and
 * names, addresses and MACs do not change any more.  0: the shard has no ports
 * of its own.  Texts are ended by their array's end, too.
 */
#pragma once

#include <lepus/control_region.h>
#include <lepus/net_counters.h>
#include <lepus/nic.h>

#define LP_NET_PAGE_OFFSET          8192u
#define LP_NET_PAGE_PORTS           8u
#define LP_NET_PAGE_ADDRESSES       16u
#define LP_NET_PORT_NAME_BYTES      96u
#define LP_NET_EXCEPTION_NAME_BYTES 16u /* IFNAMSIZ */

struct lp_net_page_address {
    uint8_t family;   /* LP_ADDRESS_IPV4 or LP_ADDRESS_IPV6 */
    uint8_t given_up; /* 1: another machine has it; it is asked for again every minute */
    uint8_t bits;
    uint8_t ip[16];
};

struct lp_net_page_port {
    char name[LP_NET_PORT_NAME_BYTES];           /* as the configuration has it */
    char driver[LP_NET_PORT_NAME_BYTES];         /* lp_nic_ops.name */
    char exception[LP_NET_EXCEPTION_NAME_BYTES]; /* the kernel's interface; "": none */
    uint8_t mac[6];
    uint16_t mtu_bytes;
    uint16_t vlan;
    uint8_t link_up;
    uint8_t address_count;
    uint32_t offloads; /* enum lp_net_offload */
    struct lp_net_page_address address[LP_NET_PAGE_ADDRESSES];
    struct lp_nic_counters counters; /* of the shard's queue pair */
};

enum lp_net_offload {
    LP_NET_OFFLOAD_CHECKSUM = 1 << 0,
    LP_NET_OFFLOAD_TSO = 1 << 1,
    LP_NET_OFFLOAD_HASH = 1 << 2,
};

struct lp_net_page {
    uint32_t port_count;
    uint64_t streams; /* connections now */
    uint64_t memory_used_bytes;
    uint64_t memory_limit_bytes;
    struct lp_net_counters counters;
    struct lp_net_page_port port[LP_NET_PAGE_PORTS];
};

LP_STATIC_ASSERT(sizeof(struct lp_stats_page) <= LP_NET_PAGE_OFFSET, "the two share a room");
LP_STATIC_ASSERT(LP_NET_PAGE_OFFSET + sizeof(struct lp_net_page) <= LP_STATS_PAGE_BYTES,
                 "the two share a room");

static inline struct lp_net_page *
lp_control_region_net(void *base, uint32_t shard)
{
    return (struct lp_net_page *)(void *)((uint8_t *)lp_control_region_stats(base, shard) +
                                          LP_NET_PAGE_OFFSET);
}
