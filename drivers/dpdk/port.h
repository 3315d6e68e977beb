/* SPDX-License-Identifier: Apache-2.0 */
/* port.h - what the files of this folder share: a port of DPDK and its queues. */
#pragma once

#include "dpdk.h"

/* Frames that transmit() took and flush() has not handed over, or the ring had no room for. */
#define DPDK_SENDING_MAX 256u

struct dpdk_port;
/* DPDK's, known to who includes its headers. */
struct rte_mbuf;
struct rte_mempool;

struct dpdk_queue {
    struct dpdk_port *port;
    uint16_t number;
    struct rte_mempool *receive_pool;
    struct rte_mempool *send_pool;  /* frames of an MTU */
    struct rte_mempool *large_pool; /* frames for TSO; NULL: the port has none */
    /* sleep_begin() looks by receiving: what it found waits here. */
    uint32_t held_count;
    struct rte_mbuf *held[LP_NIC_BURST_MAX];
    uint32_t sending_count;
    uint32_t stuck; /* looks at a full ring, in a row */
    struct rte_mbuf *sending[DPDK_SENDING_MAX];
    int wait_fd;         /* -1: it cannot wake */
    bool wait_fd_counts; /* an eventfd: to be read, or it stays readable */
    struct lp_nic_counters counters;
};

struct dpdk_port {
    uint16_t id;
    uint16_t queue_count;
    struct lp_nic_caps caps;
    bool started;
    bool interrupts;
    char name[64]; /* "dpdk net_tap" */
    struct lp_nic_ops ops;
    struct dpdk_queue queue[LP_DPDK_QUEUES_MAX];
};

/* ---- socket.c ---- */
/* Queues without an interrupt whose sockets can wake get a wait_fd. */
void dpdk_sockets_watch(struct dpdk_port *port, const char *device);

/* ---- queue.c ---- */
extern const struct lp_nic_ops dpdk_nic_ops; /* all but the name */
