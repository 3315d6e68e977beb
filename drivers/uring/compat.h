/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compat.h - what liburing 2.3 lacks and we use: the one place for it.
 *
 * Newer kernels' features only ever upgrade; each is probed where it is used.
 */
#pragma once

#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lepus/base.h>

/* Declared in 2.3, but its shared library does not export it.  0: done. */
static inline int
uring_enable(const struct io_uring *ring)
{
    return (int)syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
                        0);
}

/* Task work or completions wait in the kernel: user space alone will not see them (DEFER_TASKRUN).
 */
static inline bool
uring_kernel_waits(const struct io_uring *ring)
{
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) !=
           0;
}

/* SQEs that the kernel has not seen yet. */
static inline bool
uring_unsubmitted(const struct io_uring *ring)
{
    return io_uring_sq_ready(ring) > 0;
}
