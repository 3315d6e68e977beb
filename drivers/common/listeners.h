/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listeners.h - the listening sockets of a process, for all its shards.
 *
 * TCP: a socket for each shard and address under SO_REUSEPORT, so that the
 * kernel spreads connections over the shards and no shard wakes another.
 * Unix: one socket that all shards accept from.
 *
 *   Memory    the caller's
 *   Runs on   boot, on the host's thread; close after the last transport is closed;
 *             shut and reopen on the shard's
 *   Limits    LP_LISTENERS_MAX addresses
 */
#pragma once

#include <lepus/control_region.h>
#include <lepus/transport.h>

#define LP_LISTENERS_MAX       32u
#define LP_LISTENERS_WHY_BYTES 256

struct lp_listeners {
    uint32_t count;
    uint32_t shard_count;
    struct lp_address address[LP_LISTENERS_MAX]; /* with the port that the kernel chose */
    int fd[LP_SHARDS_MAX][LP_LISTENERS_MAX];
};

/*
 * Bind and listen on every address for every shard.
 *
 * LP_ERR_BAD_CONFIG  too many addresses
 * LP_ERR_REFUSED     an address is in use, or not ours to use; `why` (LP_LISTENERS_WHY_BYTES) says
 * which
 *
 * On failure nothing stays open.
 */
LP_MUST_CHECK enum lp_err lp_listeners_open_boot(struct lp_listeners *listeners,
                                                 const struct lp_address *addresses, uint32_t count,
                                                 uint32_t shard_count, char *why);
/* Close a shard's port without giving it up, and open it again.  TCP only. */
void lp_listener_shut(int fd);
void lp_listener_reopen(int fd, const struct lp_address *address);
/* Also removes the files of Unix sockets. */
void lp_listeners_close(struct lp_listeners *listeners);
