/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule.h - whose turn it is to send.
 *
 * With a rate: a heap by the time at which a publisher's next message is due.
 * Without: all are due at once, and take turns. A publisher that cannot send
 * (window, socket) is not in it until it can.
 *
 *   Memory    one pointer a publisher
 */
#pragma once

#include "load.h"

#define LOAD_PLACE_NONE UINT32_MAX

struct load_schedule {
    struct load_publisher **heap; /* the earliest first; of equals, the one that waited longest */
    uint32_t count;
    uint64_t turn; /* without a rate: the next place at the end of the line */
};

LP_MUST_CHECK bool load_schedule_init(struct load_schedule *schedule, uint32_t publishers);
void load_schedule_fini(struct load_schedule *schedule);
/* In, at publisher->due_ns, unless it is in already. */
void load_schedule_add(struct load_schedule *schedule, struct load_publisher *publisher);
/* Out, the first one; NULL: nobody waits, or nobody until after `now_ns`. */
struct load_publisher *load_schedule_pop(struct load_schedule *schedule, uint64_t now_ns);

/* When somebody may send again; UINT64_MAX: when something happens. */
static inline uint64_t
load_schedule_next_ns(const struct load_schedule *schedule)
{
    return schedule->count == 0 ? UINT64_MAX : schedule->heap[0]->due_ns;
}
