/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - what the two drivers of kernel sockets share: how they are
 * opened, and what they do to an accepted socket.
 *
 *   Runs on   owner core, unless it says _boot
 */
#pragma once

#include <lepus/transport.h>

#include <drivers/common/listeners.h>

#define LP_WATCH_MAX 16u

struct lp_socket_options {
    const struct lp_listeners *listeners; /* outlives the transport */
    uint32_t shard;                       /* which of the listeners' sockets are ours */
    uint32_t streams_max;
    /*
     * An eventfd that ends a wait(), written by wake_any() and by whoever else
     * knows it; borrowed.  -1: the driver makes one.
     */
    int wake_fd;
    /*
     * Descriptors of others (nic.h, wait_fd) that end a wait() when they are
     * readable; nothing is read from them.  Borrowed.
     */
    uint32_t watch_count;
    int watch_fd[LP_WATCH_MAX];
    uint32_t receive_buffers; /* io_uring: how many of 16 KiB, a power of two; 0: the default */
};

struct lp_socket_counters {
    uint64_t accepted;
    uint64_t refused;       /* streams_max was reached, or the process has no descriptor left */
    uint64_t kernel_enters; /* system calls on the path of messages */
    uint64_t starved;       /* io_uring: a receive found no buffer */
};

/* The eventfd of `options`, or a new one; never blocks either way.  -1: there is none to be had. */
int lp_socket_wake_boot(const struct lp_socket_options *options);
/* Write it, from any thread. */
void lp_socket_wake_any(int wake_fd);
/* Forget the wakes so far. */
void lp_socket_wake_drain(int wake_fd);

/* A descriptor kept in reserve, see lp_socket_shed(); -1: none. */
int lp_socket_reserve(void);

/*
 * accept() has failed with `error`.  When the process is out of descriptors,
 * the one in reserve goes, so that the newcomer can be accepted and closed:
 * left in the backlog it would make the listener ready for ever.
 */
void lp_socket_accept_failed(int error, int *reserve_fd);

/* Addresses of an accepted socket, into its ACCEPTED event. */
void lp_socket_addresses(int fd, struct lp_transport_event *event);

/*
 * Close both directions in order.  What the peer sent and nobody read is
 * thrown away first, as the kernel would otherwise answer it with a reset,
 * and the peer might lose our last words.
 */
void lp_socket_close(int fd);
