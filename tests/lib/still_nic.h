/* SPDX-License-Identifier: Apache-2.0 */
/*
 * still_nic.h - what a device of a test does where it has nothing to do: its
 * link is up, it wakes nobody and need not, and it has counted nothing.
 */
#pragma once

#include <string.h>

#include <lepus/nic.h>

static inline bool
still_nic_yes(void *self)
{
    (void)self;
    return true;
}

static inline void
still_nic_nothing(void *self)
{
    (void)self;
}

/* It can wake: nobody has to look at it. */
static inline int
still_nic_wait_fd(void *self)
{
    (void)self;
    return 0;
}

static inline void
still_nic_counters(void *self, struct lp_nic_counters *ret_counters)
{
    (void)self;
    memset(ret_counters, 0, sizeof(*ret_counters));
}
