/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel.h - hierarchical timer wheel, lazily re-armed.
 *
 * Heartbeats are pushed into the future by every byte received; most timers
 * never fire.  Moving a deadline later only stores the new deadline: the
 * timer is re-linked when its old slot comes up.
 *
 *   Memory    timers live in their owners; the wheel is a struct
 *   Runs on   owner core, inside a turn
 *   Limits    resolution 1 ms (2^20 ns); 6 levels of 64 slots: 834 days;
 *             what is later waits on a list of its own
 */
#pragma once

#include <lepus/base.h>

#include "dataplane/base/list.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lp_timer;

/* Called from lp_wheel_advance() with the timer disarmed; may arm it again, or any other, or disarm
 * others. */
typedef void lp_timer_fn(void *context, struct lp_timer *timer, uint64_t now_ns);

struct lp_timer {
    struct lp_list link;
    uint64_t deadline_ns; /* 0: disarmed */
    uint64_t linked_tick; /* the tick whose slot holds us */
    lp_timer_fn *fire;
};

#define LP_WHEEL_TICK_SHIFT 20u
#define LP_WHEEL_LEVELS     6u
#define LP_WHEEL_SLOTS      64u

/* Holds pointers to itself: stays where it was made. */
struct lp_wheel {
    uint64_t now_tick;
    uint64_t armed;                     /* timers linked */
    struct lp_list due;                 /* being fired or re-linked; outlives a spent budget */
    struct lp_list late;                /* armed in the past: due at the next advance */
    struct lp_list far;                 /* beyond the last level */
    uint64_t occupied[LP_WHEEL_LEVELS]; /* bit per slot */
    struct lp_list slot[LP_WHEEL_LEVELS][LP_WHEEL_SLOTS];
};

void lp_wheel_init(struct lp_wheel *wheel, uint64_t now_ns);

/* Arm, or move, a timer.  Later is a store; earlier re-links.  A deadline in the past fires at the
 * next advance. */
void lp_timer_arm(struct lp_wheel *wheel, struct lp_timer *timer, lp_timer_fn *fire,
                  uint64_t deadline_ns);
/* Harmless when disarmed. */
void lp_timer_disarm(struct lp_wheel *wheel, struct lp_timer *timer);

static inline bool
lp_timer_armed(const struct lp_timer *timer)
{
    return timer->deadline_ns != 0;
}

/*
 * Fire timers due at `now_ns`, at most `budget` of them (re-links count);
 * gives how many fired or were re-linked.  What is left over fires at the next call.
 */
uint32_t lp_wheel_advance(struct lp_wheel *wheel, uint64_t now_ns, uint32_t budget, void *context);

/* No timer fires before this; UINT64_MAX when none is armed.  May be early, never late. */
uint64_t lp_wheel_next_ns(const struct lp_wheel *wheel);

#ifdef __cplusplus
}
#endif
