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

/* RabbitMQ's quorum queues let publishers go on at four fifths of a limit. */
static bool
limit_below_soft(uint64_t limit, uint64_t value)
{
    return limit == LP_SETTING_UNSET || value <= limit / 5 * 4 + limit % 5 * 4 / 5;
}

static bool
limit_refusing(const struct lp_engine *engine)
{
    const struct lp_queue_settings *settings = &engine->base.settings;
    if (!engine->refusing) {
        return engine_over(engine);
    }
    return !limit_below_soft(settings->max_length, engine->ready_count) ||
           !limit_below_soft(settings->max_length_bytes, engine->ready_bytes);
}

bool
engine_refuses(struct lp_engine *engine, uint64_t body_bytes)
{
    if (engine->base.settings.overflow == LP_OVERFLOW_DROP_HEAD) {
        return false;
    }
    if (!engine->rules->refuses_late) {
        return engine_would_overflow(engine, body_bytes);
    }
    engine->refusing = limit_refusing(engine);
    return engine->refusing;
}

void
engine_trim(struct lp_engine *engine, uint32_t *budget)
{
    if (!engine->trims || engine->base.deleting) {
        return;
    }
    bool can = true;
    while (engine_over(engine) && *budget > 0 && (can = engine_next_can_die(engine))) {
        engine->base.broker->stats->messages_overflowed++;
        engine_entry_dead(engine, engine_pop(engine), LP_DEATH_MAXLEN);
        (*budget)--;
    }
    if (engine_over(engine)) {
        if (can) {
            lp_queue_dirty(&engine->base);
        }
    } else if (engine->expiring) {
        engine_expire(engine, budget); /* another message is next */
    }
}
