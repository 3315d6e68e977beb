/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nic.h - the contract of a packet device: DPDK ports (drivers/dpdk), our own
 * multi-queue tap (drivers/tap) and the simulator's wire.  One instance is one
 * queue pair and belongs to one shard.
 *
 * No driver implements it yet; it is fixed now so that the TCP stack that will
 * offer transport.h over it changes nothing above.
 *
 *   Memory    Frames are the driver's; a received frame is lent until put().
 *   Overload  transmit() says how many frames it took; the caller keeps the rest.
 */
#pragma once

#include <lepus/base.h>

struct lp_nic_frame {
    uint8_t *data;
    uint32_t bytes;
    uint32_t flow_hash;    /* 0: the device gives none */
    uint64_t driver_frame; /* the driver's own name for it */
};

struct lp_nic_caps {
    uint16_t mtu_bytes;
    bool checksum_ipv4_tx, checksum_tcp_tx, checksum_verified_rx, tso;
    uint8_t mac[6];
};

struct lp_nic_ops {
    const char *name;
    void (*caps)(void *self, struct lp_nic_caps *ret_caps);
    uint32_t (*receive)(void *self, struct lp_nic_frame *frames, uint32_t frames_max);
    /* An empty frame with `bytes` of room, or false when the pool is dry. */
    bool (*frame_get)(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame);
    void (*frame_put)(void *self, struct lp_nic_frame *frame);
    uint32_t (*transmit)(void *self, struct lp_nic_frame *frames, uint32_t count);
    /* A file descriptor that becomes readable when frames wait, or -1: the device cannot sleep. */
    int (*wait_fd)(void *self);
};
