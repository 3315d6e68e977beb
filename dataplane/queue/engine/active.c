/* SPDX-License-Identifier: Apache-2.0 */
/*
 * active.c - the consumer that has the queue for itself: an exclusive one, which
 * keeps others out (C119), or the single active one, for which they wait (C120).
 */
#include "dataplane/queue/engine/engine.h"

uint16_t
engine_sole_fault(const struct lp_engine *engine, bool exclusive)
{
    if (engine->single_active) {
        return exclusive ? LP_FAULT_ACCESS_REFUSED : 0;
    }
    const bool refused = engine->sole || (exclusive && engine->base.consumers > 0);
    return refused ? LP_FAULT_ACCESS_REFUSED : 0;
}

void
engine_sole_come(struct lp_engine *engine, struct lp_subscription *subscription)
{
    if (!engine->sole && (engine->single_active || subscription->exclusive)) {
        engine->sole = subscription;
    }
    subscription->takes = !engine->single_active || engine->sole == subscription;
}

/* Is it before the other in the line of those who wait?  Else who came first is. */
static bool
sole_before(const struct lp_engine *engine, const struct lp_subscription *one,
            const struct lp_subscription *other)
{
    if (one->priority != other->priority) {
        return one->priority > other->priority;
    }
    return engine->rules->sole_by_priority && one->prefetch > other->prefetch;
}

/* Who is next; NULL: nobody is there. */
static struct lp_subscription *
sole_next(const struct lp_engine *engine)
{
    const struct lp_list *all = &engine->base.subscriptions;
    struct lp_subscription *next = NULL;
    for (struct lp_list *at = all->next; at != all; at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        if (subscription->getter || subscription->cancelled) {
            continue;
        }
        if (!next || sole_before(engine, subscription, next)) {
            next = subscription;
        }
    }
    return next;
}

static void
sole_choose(struct lp_engine *engine)
{
    engine->quiescing = false;
    engine->sole = sole_next(engine);
    if (engine->sole) {
        engine->sole->takes = true;
        engine_update(engine, engine->sole);
    }
}

void
engine_sole_review(struct lp_engine *engine)
{
    struct lp_subscription *sole = engine->sole;
    if (!engine->single_active || !engine->rules->sole_by_priority || !sole) {
        return;
    }
    if (!engine->quiescing && sole_next(engine)->priority <= sole->priority) {
        return;
    }
    engine->quiescing = false;
    sole->takes = false;
    engine_update(engine, sole);
    if (sole->unacked_count > 0) {
        engine->quiescing = true;
    } else {
        sole_choose(engine);
    }
}

void
engine_sole_leave(struct lp_engine *engine, const struct lp_subscription *subscription)
{
    if (engine->sole != subscription) {
        return;
    }
    engine->sole = NULL;
    engine->quiescing = false;
    if (engine->single_active) {
        sole_choose(engine);
    }
}

void
engine_sole_configure(struct lp_engine *engine)
{
    const bool single = engine->base.settings.single_active_consumer;
    const struct lp_list *all = &engine->base.subscriptions;
    if (single == engine->single_active) {
        return;
    }
    engine->single_active = single;
    engine->quiescing = false;
    engine->sole = NULL;
    for (struct lp_list *at = all->next; at != all; at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        subscription->takes = !single && !subscription->getter && !subscription->cancelled;
        if (!single && subscription->exclusive && subscription->takes) {
            engine->sole = subscription;
        }
        engine_update(engine, subscription);
    }
    if (single) {
        sole_choose(engine);
    }
}
