/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - the contract of a clock.
 *
 * Only the loop that drives a shard (or the simulator) calls it, once per
 * turn; everybody else gets `now` as an argument.  One exception: messages of
 * queues that are asked where the time goes (dataplane/broker/stamps.h).
 */
#pragma once

#include <lepus/base.h>

struct lp_clock {
    /* Monotonic nanoseconds from an arbitrary start; never goes back. */
    uint64_t (*monotonic_ns)(void *self);
    /* Nanoseconds since 1970-01-01 UTC; may jump. */
    uint64_t (*wall_ns)(void *self);
    void *self;
};
