/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ready.c - messages that wait in the queue, in order.
 */
#include "dataplane/queue/engine/engine.h"

struct lp_entry *
engine_pop(struct lp_engine *engine)
{
    struct lp_entry *entry = engine->order->pop(engine);
    if (!entry) {
        return NULL;
    }
    LP_ASSERT(engine->ready_count > 0);
    engine->ready_count--;
    engine->ready_bytes -= entry->body_bytes;
    return entry;
}

void
engine_entry_done(struct lp_engine *engine, struct lp_entry *entry)
{
    engine->persistent_count -= (entry->flags & LP_ENTRY_PERSISTENT) != 0;
    lp_queue_entry_done(engine->base.broker, entry);
}

void
engine_entry_dead(struct lp_engine *engine, struct lp_entry *entry, enum lp_death why)
{
    engine->persistent_count -= (entry->flags & LP_ENTRY_PERSISTENT) != 0;
    lp_queue_entry_dead(&engine->base, entry, why);
}

void
engine_requeue_begin(struct lp_engine *engine)
{
    if (engine->trims && !engine->rules->trims_late && !engine->returning) {
        engine_hand_out(engine);
    }
}

void
engine_requeue_end(struct lp_engine *engine, bool more)
{
    engine->returning = engine->trims && !engine->rules->trims_late; /* else dispatch() trims */
    if (engine->returning && more) {
        lp_queue_dirty(&engine->base);
        return;
    }
    engine_returned(engine);
}

void
engine_returned_trim(struct lp_engine *engine)
{
    uint32_t budget = LP_QUEUE_DISPATCH_BUDGET;
    engine->returning = false;
    engine_trim(engine, &budget);
}

/* One more return.  True: it was one too many, and the message is dead (C132, C133). */
static bool
ready_count_return(struct lp_engine *engine, struct lp_entry *entry)
{
    entry->position = engine_returns(engine, entry) + 1;
    if (entry->position <= engine->base.settings.delivery_limit) {
        return false;
    }
    engine->base.broker->stats->messages_overdelivered++;
    engine_entry_dead(engine, entry, LP_DEATH_DELIVERY_LIMIT);
    return true;
}

void
engine_requeue(struct lp_engine *engine, struct lp_entry *entry)
{
    LP_ASSERT(entry->state == LP_ENTRY_UNACKED);
    entry->state = LP_ENTRY_READY;
    if (engine->rules->counts_returns && ready_count_return(engine, entry)) {
        return;
    }
    entry->flags |= LP_ENTRY_REDELIVERED;
    engine->order->add_returned(engine, entry);
    engine->ready_count++;
    engine->ready_bytes += entry->body_bytes;
    engine->base.broker->stats->messages_requeued++;
    lp_queue_dirty(&engine->base);
}

void
engine_drop_ready(struct lp_engine *engine)
{
    struct lp_entry *entry;
    while ((entry = engine_pop(engine)) != NULL) {
        engine_entry_done(engine, entry);
    }
}
