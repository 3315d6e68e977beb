/* SPDX-License-Identifier: Apache-2.0 */
/* timers.c - calls for later; few at a time, of administrators' commands. */
#include <stdlib.h>

#include "control/link/control_internal.h"

struct timer {
    struct lp_chain link;
    uint64_t due_ns;
    control_done_fn *done;
    void *context;
};

void
control_after(struct lp_control *control, uint64_t delay_ns, control_done_fn *done, void *context)
{
    struct timer *timer = lp_heap_alloc(sizeof(*timer));
    timer->due_ns = control->now_ns + delay_ns;
    timer->done = done;
    timer->context = context;
    lp_chain_append(&control->timers, &timer->link);
}

bool
control_timers_step(struct lp_control *control)
{
    struct lp_chain due;
    lp_chain_init(&due);
    LP_CHAIN_EACH(link, &control->timers)
    {
        if (LP_CONTAINER_OF(link, struct timer, link)->due_ns <= control->now_ns) {
            lp_chain_remove(link);
            lp_chain_append(&due, link);
        }
    }
    const bool work = !lp_chain_is_empty(&due);
    for (struct lp_chain *link = lp_chain_pop(&due); link; link = lp_chain_pop(&due)) {
        struct timer *timer = LP_CONTAINER_OF(link, struct timer, link);
        timer->done(control, timer->context, true);
        free(timer);
    }
    return work;
}

uint64_t
control_timers_due_ns(const struct lp_control *control)
{
    uint64_t due_ns = UINT64_MAX;
    LP_CHAIN_EACH(link, &control->timers)
    {
        due_ns = LP_MIN(due_ns, LP_CONTAINER_OF(link, struct timer, link)->due_ns);
    }
    return due_ns;
}

void
control_timers_clear(struct lp_control *control)
{
    for (struct lp_chain *link = lp_chain_pop(&control->timers); link;
         link = lp_chain_pop(&control->timers)) {
        struct timer *timer = LP_CONTAINER_OF(link, struct timer, link);
        timer->done(control, timer->context, false);
        free(timer);
    }
}
