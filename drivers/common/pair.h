/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pair.h - two transports as one: the kernel's sockets and our own TCP, so
 * that clients come by the one and administration by the other, and the shard
 * knows no difference.
 *
 *   Memory    the caller's; both transports are borrowed
 *   Runs on   owner core; wake_any() from any thread
 *   Limits    a quarter of a poll()'s events is the second's, whatever the first has
 *
 * Handles of the second have the top bit of their index set; those of the
 * first do not.  wait() is the first's: the second says until when it may last
 * and which descriptors end it (socket.h, watch_fd).
 */
#pragma once

#include <lepus/clock.h>
#include <lepus/transport.h>

#include <drivers/common/listeners.h>

#define LP_PAIR_NAME_BYTES 32

/* The second's part of a wait(); dataplane/net: lp_net_sleep_begin() and lp_net_sleep_end(). */
struct lp_pair_sleep {
    /* False: there is work, and no end() follows.  `ret_next_ns`: look again then, by the clock;
     * UINT64_MAX: no need. */
    bool (*begin)(void *context, uint64_t *ret_next_ns);
    void (*end)(void *context);
    void *context;
};

struct lp_pair_options {
    struct lp_transport first;
    struct lp_transport second;
    struct lp_pair_sleep sleep;
    struct lp_clock clock;
    /* What the shard calls their listeners. */
    uint32_t first_listener[LP_LISTENERS_MAX];
    uint32_t second_listener[LP_LISTENERS_MAX];
};

struct lp_pair {
    struct lp_pair_options options;
    struct lp_transport_ops ops;
    char name[LP_PAIR_NAME_BYTES]; /* "io_uring+tcp" */
    bool second_begins;            /* the next poll() */
};

/* The transport; borrows `pair`, which stays where it is. */
struct lp_transport lp_pair_init(struct lp_pair *pair, const struct lp_pair_options *options);
