/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limit.c - what a queue may hold: ready messages, and the bytes of their
 * bodies; what is unacknowledged does not count (C146).
 */
#include "dataplane/queue/engine/engine.h"

bool
engine_would_overflow(const struct lp_engine *engine, uint64_t body_bytes)
{
    const struct lp_queue_settings *settings = &engine->base.settings;
    return engine->ready_count + 1 > settings->max_length ||
           engine->ready_bytes + body_bytes > settings->max_length_bytes;
}

bool
engine_over(const struct lp_engine *engine)
{
    const struct lp_queue_settings *settings = &engine->base.settings;
    return engine->ready_count > settings->max_length ||
           engine->ready_bytes > settings->max_length_bytes;
}

void
engine_trim(struct lp_engine *engine, uint32_t *budget)
{
    if (!engine->trims || engine->base.deleting) {
        return;
    }
    while (engine_over(engine) && *budget > 0) {
        engine->base.broker->stats->messages_overflowed++;
        engine_entry_dead(engine, engine_pop(engine), LP_DEATH_MAXLEN);
        (*budget)--;
    }
    if (engine_over(engine)) {
        lp_queue_dirty(&engine->base);
    } else if (engine->expiring) {
        engine_expire(engine, budget); /* another message is next */
    }
}
