/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nic.h - the contract of a packet device: DPDK ports (drivers/dpdk), our own
 * multi-queue tap (drivers/tap) and the simulator's wire (drivers/sim).  One
 * instance is one queue pair of a port and belongs to one shard.
 *
 *   Memory    Frames are the driver's.  A received frame is lent until put();
 *             its owner may write into it.  An empty frame from get() is the
 *             caller's until transmit() takes it, or put().
 *   Runs on   owner core; open_boot() and close() on the host's thread
 *   Blocking  never
 *   Overload  get() gives false when the pool is dry; transmit() says how many
 *             frames it took, and the caller keeps the rest.
 *
 * A frame is contiguous and begins with the Ethernet header, without preamble
 * and FCS.  Where a device receives or sends more than an MTU at once (TSO,
 * LRO, a tap with virtio-net headers) a frame has up to 64 KiB.
 *
 * Checksums.  Receiving: LP_NIC_L4_GOOD says that the TCP, UDP or ICMP checksum
 * was verified or cannot be wrong (it came from this machine's memory);
 * without the flag nobody looked.  The IPv4 header's likewise with
 * LP_NIC_IP_GOOD.  LP_NIC_L4_BAD or LP_NIC_IP_BAD: the device says it is wrong.
 * Sending: with LP_NIC_L4_FILL the checksum field of the TCP header holds the
 * pseudo-header's sum (RFC 9293 3.1: not complemented; without the length when
 * `segment_bytes` is set), and the device fills in the rest.  Only where
 * caps.l4_fill says so.
 */
#pragma once

#include <lepus/base.h>

/* Of receive() and transmit(), a call. */
#define LP_NIC_BURST_MAX 64u
/* What a frame may have at most: an IPv4 packet of 64 KiB less one, an Ethernet header, a tag. */
#define LP_NIC_FRAME_BYTES_MAX (65535u + 18u)

enum lp_nic_flag {
    LP_NIC_IP_GOOD = 1 << 0,
    LP_NIC_IP_BAD = 1 << 1,
    LP_NIC_L4_GOOD = 1 << 2,
    LP_NIC_L4_BAD = 1 << 3,
    LP_NIC_L4_FILL = 1 << 4, /* sending only */
};

struct lp_nic_frame {
    uint8_t *data;
    uint32_t bytes;
    /*
     * Receiving: the device's Toeplitz hash over addresses and ports, when
     * caps.hash says that it is made with lp_nic_caps.rss_key; 0: none.
     */
    uint32_t flow_hash;
    uint16_t flags; /* enum lp_nic_flag */
    /*
     * Sending, with caps.tso: the frame holds more payload than one segment,
     * and is cut into pieces of so many bytes.  0: as it is.  Receiving: how
     * it was before the device joined several; 0: it did not, or does not say.
     */
    uint16_t segment_bytes;
    /* Sending, with L4_FILL or `segment_bytes`: where headers begin and how long TCP's is. */
    uint8_t l3_offset;
    uint8_t l4_offset;
    uint8_t l4_bytes;
    uint64_t driver_frame; /* the driver's own name for it */
};

struct lp_nic_caps {
    uint8_t mac[6];
    uint16_t mtu_bytes; /* of IP: what one packet may have on the wire */
    bool l4_fill;       /* LP_NIC_L4_FILL is understood, over IPv4 and IPv6 */
    bool tso;           /* `segment_bytes` is understood; implies l4_fill */
    bool hash;          /* received frames of TCP have a flow_hash */
    uint8_t rss_key[40];
    uint32_t frame_bytes_max; /* what get() can give */
};

struct lp_nic_counters {
    uint64_t received_frames;
    uint64_t received_bytes;
    uint64_t sent_frames;
    uint64_t sent_bytes;
    uint64_t missed_frames;  /* the device had no room or no buffer for them */
    uint64_t bad_frames;     /* it found them broken */
    uint64_t refused_frames; /* it would not send them now */
};

struct lp_nic_ops {
    const char *name; /* "tap", "dpdk net_af_packet", "sim" */
    void (*caps)(void *self, struct lp_nic_caps *ret_caps);
    bool (*link_up)(void *self);
    uint32_t (*receive)(void *self, struct lp_nic_frame *frames, uint32_t frames_max);
    /* A frame with room for `bytes`; everything but data, bytes and driver_frame is zero. */
    bool (*get)(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame);
    void (*put)(void *self, struct lp_nic_frame *frame);
    /* Takes frames from the first on; the device may see them at once or at flush(). */
    uint32_t (*transmit)(void *self, struct lp_nic_frame *frames, uint32_t count);
    /* Once a turn: the doorbell. */
    void (*flush)(void *self);
    /*
     * A descriptor that polls readable when frames wait, or -1: the device
     * cannot wake anybody and has to be looked at.  sleep_begin() arms it and
     * gives false when frames came meanwhile; sleep_end() disarms it.
     */
    int (*wait_fd)(void *self);
    bool (*sleep_begin)(void *self);
    void (*sleep_end)(void *self);
    void (*counters)(void *self, struct lp_nic_counters *ret_counters);
};

struct lp_nic {
    const struct lp_nic_ops *ops;
    void *self;
};
