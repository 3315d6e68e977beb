/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - one counter: fail at the n-th step, for m times.
 *
 * Everything that can fail in a test takes one.  A fault loop runs a scenario
 * with first = 1, 2, 3, ... until lp_test_fault_reached() says that the n-th
 * step did not come.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lp_test_fault {
    uint32_t first; /* 1: the first step fails; 0: none does */
    uint32_t times; /* how many in a row */
    uint32_t seen;
};

/* Count a step; true when it has to fail. */
static inline bool
lp_test_fault_hit(struct lp_test_fault *fault)
{
    fault->seen++;
    return fault->first != 0 && fault->seen >= fault->first &&
           fault->seen - fault->first < fault->times;
}

/* Did any step fail? */
static inline bool
lp_test_fault_reached(const struct lp_test_fault *fault)
{
    return fault->first != 0 && fault->times != 0 && fault->seen >= fault->first;
}
