/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buffers.h - a ring of receive buffers that the kernel takes from.
 *
 *   Memory    two mappings at boot
 *   Runs on   owner core
 *   Overload  an empty ring ends a receive with ENOBUFS; it is armed again
 *             when buffers are back
 *
 * Invariant: a buffer is in the kernel's ring, or lent to the shard until its
 * next poll().
 */
#pragma once

#include <liburing.h>

#include <lepus/base.h>
#include <lepus/err.h>

#define URING_BUFFER_BYTES 32768u
/*
 * Buffers a little more than 32 KiB apart: small messages touch only the head
 * of each, and heads at a multiple of 4 KiB would all fight for one set of the
 * first-level cache.
 */
#define URING_BUFFER_STRIDE_BYTES (URING_BUFFER_BYTES + 128u)
#define URING_BUFFER_GROUP        1
#define URING_BUFFERS_DEFAULT     64u /* 2 MiB a shard: about a second-level cache */
#define URING_BUFFERS_MAX         32768u

struct uring_buffers {
    struct io_uring_buf_ring *ring;
    uint8_t *memory;
    uint16_t *lent;
    uint32_t lent_count;
    uint32_t count;
};

/*
 * LP_ERR_NO_MEMORY    no mappings to be had
 * LP_ERR_UNSUPPORTED  the kernel refuses to register the ring
 */
LP_MUST_CHECK enum lp_err uring_buffers_init_boot(struct uring_buffers *buffers,
                                                  struct io_uring *ring, uint32_t count);
/* After the io_uring is gone. */
void uring_buffers_fini(struct uring_buffers *buffers);

/* The kernel has filled it: it is the shard's until uring_buffers_return(). */
const uint8_t *uring_buffers_lend(struct uring_buffers *buffers, uint16_t id);
/* Give back what was lent. */
void uring_buffers_return(struct uring_buffers *buffers);
