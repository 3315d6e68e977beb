/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.h - what this folder's device can do: whether files can bypass the
 * page cache, and which way of making a write durable is the faster one.
 *
 *   Memory    a page, given back
 *   Runs on   the host's thread, at boot
 *   Blocking  LP_MEASURE_BUDGET_NS, but for a device on which one write takes longer
 */
#pragma once

#include <lepus/base.h>

#define LP_MEASURE_BUDGET_NS  20000000u
#define LP_MEASURE_WRITES_MAX 32u

struct lp_measure {
    bool direct;
    bool dsync;            /* the faster one */
    uint32_t writes;       /* of each kind; 0: there was no room to measure */
    uint64_t dsync_ns;     /* median; UINT64_MAX: refused */
    uint64_t fdatasync_ns; /* likewise */
};

/* Write and make durable, one way or the other, and wait for it.  0, or an errno. */
typedef int (*lp_measure_write)(void *context, int fd, const void *page, uint64_t offset,
                                bool dsync);

/* 0, or the errno that says why nothing can be written there. */
LP_MUST_CHECK int lp_measure_run(const char *folder, lp_measure_write write_page, void *context,
                                 struct lp_measure *ret_measure);
