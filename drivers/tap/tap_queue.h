/* SPDX-License-Identifier: Apache-2.0 */
/* tap_queue.h - a queue of a tap, shared by open.c and tap.c. */
#pragma once

#include <drivers/tap/tap.h>

#define TAP_FRAMES 256u
/* struct virtio_net_hdr_v1, before each frame. */
#define TAP_HEADER_BYTES 12u
/* In front of a frame: its header, and so that what follows Ethernet's header is aligned. */
#define TAP_DATA_OFFSET 18u
/* Not a multiple of a page, so that frames' beginnings do not share the sets of a cache. */
#define TAP_SLOT_BYTES 65664u

LP_STATIC_ASSERT(TAP_DATA_OFFSET + LP_NIC_FRAME_BYTES_MAX <= TAP_SLOT_BYTES, "a frame fits");
LP_STATIC_ASSERT(TAP_SLOT_BYTES % LP_CACHE_LINE_BYTES == 0, "slots begin with a line");

struct tap_queue {
    int fd;
    bool down; /* a write said that the kernel's end is not up */
    uint8_t mac[6];
    uint16_t mtu_bytes;
    bool offloads;
    uint8_t *slots; /* TAP_FRAMES of TAP_SLOT_BYTES */
    /* A stack: what was used last is warm. */
    uint32_t free_count;
    uint16_t free[TAP_FRAMES];
    struct lp_nic_counters counters;
};

extern const struct lp_nic_ops tap_ops;
