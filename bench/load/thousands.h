/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thousands.h - the 99th percentile of each thousand samples in a row.
 *
 * A machine that stops a processor for milliseconds puts all that was due then
 * into the tail of the whole run, however rare it is, and then the p99 says how
 * often the machine does that.  What the program under test does to its messages
 * it does all the time: it is in the p99 of the median thousand.  Both are told.
 *
 *   Memory    one histogram (hdr.h)
 *   Cost      one comparison a sample, but for the few that are among the longest
 */
#pragma once

#include "hdr.h"

#define LOAD_THOUSAND 1000u
#define LOAD_LONGEST  11u /* of a thousand: 990 do not exceed the shortest of these, its p99 */

struct load_thousands {
    struct load_hdr *p99;           /* a sample a thousand */
    uint32_t count;                 /* of the thousand that has begun */
    uint64_t longest[LOAD_LONGEST]; /* of it, the shortest of them first */
};

/* False: out of memory. */
LP_MUST_CHECK bool load_thousands_init(struct load_thousands *thousands);
/* Start again: what a thousand has begun with does not count. */
void load_thousands_clear(struct load_thousands *thousands);
void load_thousands_free(struct load_thousands *thousands);

/* A sample that is among the longest. */
void load_thousands_long(struct load_thousands *thousands, uint64_t ns);
void load_thousands_end(struct load_thousands *thousands);

static inline void
load_thousands_add(struct load_thousands *thousands, uint64_t ns)
{
    if (ns > thousands->longest[0]) {
        load_thousands_long(thousands, ns);
    }
    if (++thousands->count == LOAD_THOUSAND) {
        load_thousands_end(thousands);
    }
}
