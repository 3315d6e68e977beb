/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture_ring.h - frames on their way from a shard's TCP/IP to `lepus capture`:
 * a file of the data directory that both have mapped.
 *
 *   CAPTURE_FOLDER/shard-N   made by the tool, which alone removes it
 *
 *   Memory    the file; LP_CAPTURE_BYTES
 *   Runs on   the shard's thread writes, the tool reads; one of each
 *   Overload  what does not fit is counted and left out: nobody waits for the tool
 *
 * Neither trusts the other's numbers: positions are taken modulo the size, and
 * records are bounded before they are read.
 */
#pragma once

#include <lepus/atomic.h>
#include <lepus/base.h>

#define LP_CAPTURE_FOLDER   "capture"
#define LP_CAPTURE_MAGIC    UINT64_C(0x31657275747061c3)
#define LP_CAPTURE_BYTES    (4u << 20)
#define LP_CAPTURE_ROOM     (LP_CAPTURE_BYTES - 4096u)
#define LP_CAPTURE_SNAP_MAX 65535u

struct lp_capture_ring {
    uint64_t magic;
    uint64_t snap_bytes;    /* the tool's: of each frame at most */
    uint64_t alive;         /* the tool counts here; who stands still is taken for dead */
    uint64_t closed;        /* 1: the tool is done */
    int64_t wall_offset_ns; /* the shard's: wall time less the monotonic one */
    uint64_t attached;      /* the shard's: 1 when it writes; stored with release */
    uint64_t dropped;       /* the shard's: frames that found no room */
    uint64_t pad[1];
    uint64_t written; /* bytes, ever; the shard's, stored with release */
    uint64_t pad2[7];
    uint64_t read; /* the tool's, stored with release */
    uint64_t pad3[7];
};

/* Before each frame's bytes; records begin at multiples of 8 and may wrap. */
struct lp_capture_record {
    uint64_t now_ns; /* monotonic */
    uint32_t bytes;  /* that follow */
    uint32_t whole;  /* of the frame */
    uint32_t port;
    uint32_t sent; /* 0: received */
};

LP_STATIC_ASSERT(sizeof(struct lp_capture_ring) <= 4096, "the header is a page");

static inline uint8_t *
lp_capture_bytes(struct lp_capture_ring *ring)
{
    return (uint8_t *)ring + 4096;
}
