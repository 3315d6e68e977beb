/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expire.c - messages that have been here too long.
 *
 * Only the next message is looked at: what is expired behind a live one stays,
 * and counts, until it is next (C142).
 */
#include "dataplane/queue/engine/engine.h"

static void
expire_due(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_engine *engine = LP_CONTAINER_OF(timer, struct lp_engine, head_timer);
    (void)context;
    (void)now_ns;
    lp_queue_dirty(&engine->base); /* dispatch() drops it, within its budget */
}

/* The timer may be early, since it is not moved whenever the next message changes. */
static void
expire_arm(struct lp_engine *engine, uint64_t expires_ns)
{
    struct lp_timer *timer = &engine->head_timer;
    if (!lp_timer_armed(timer) || timer->deadline_ns > expires_ns) {
        lp_timer_arm(&engine->base.broker->wheel, timer, expire_due, expires_ns);
    }
}

void
engine_expire(struct lp_engine *engine, uint32_t *budget)
{
    const struct lp_entry *next = engine_next_known(engine) ? engine->order->peek(engine) : NULL;
    if (!next && engine->ready_count > 0) {
        return; /* until it is known */
    }
    while (next && engine_expired(engine, next) && *budget > 0 && engine_next_can_die(engine)) {
        engine->base.broker->stats->messages_expired++;
        engine_entry_dead(engine, engine_pop(engine), LP_DEATH_EXPIRED);
        (*budget)--;
        if (!engine_next_known(engine)) {
            return;
        }
        next = engine->order->peek(engine);
    }
    /* One that could not die is being read, or cannot be: the timer would come for it every turn.
     */
    const bool waits = next && engine_expired(engine, next) && *budget > 0;
    if (next && next->expires_ns != 0 && !waits) {
        expire_arm(engine, next->expires_ns);
    }
    engine->expiring = next || engine->unacked_count > 0;
}
