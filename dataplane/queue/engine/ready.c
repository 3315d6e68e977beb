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
    LP_ASSERT(engine->ready_count > 0 && (entry->flags & LP_ENTRY_PAGE) == 0);
    engine->ready_count--;
    engine->ready_bytes -= entry->body_bytes;
    if (LP_UNLIKELY(engine->base.stored.away)) {
        engine_fetch_taken(engine, entry);
    }
    return entry;
}

static void
persistent_gone(struct lp_engine *engine, const struct lp_entry *entry)
{
    if (entry->flags & LP_ENTRY_PERSISTENT) {
        engine->persistent_count--;
        engine->persistent_bytes -= entry->body_bytes;
    }
}

void
engine_entry_done(struct lp_engine *engine, struct lp_entry *entry)
{
    persistent_gone(engine, entry);
    if (LP_UNLIKELY(entry->flags & LP_ENTRY_STORED)) {
        lp_store_settle(&engine->base, entry);
    }
    lp_queue_entry_done(engine->base.broker, entry);
}

void
engine_entry_dead(struct lp_engine *engine, struct lp_entry *entry, enum lp_death why)
{
    persistent_gone(engine, entry);
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
    entry->returns = (entry->returns + 1u) & 0xffffffu;
    if (entry->returns <= engine->base.settings.delivery_limit) {
        return false;
    }
    engine->base.broker->stats->messages_overdelivered++;
    engine_entry_dead(engine, entry, LP_DEATH_DELIVERY_LIMIT);
    return true;
}

/* It was taken at once, which is what that time was for (C143). */
LP_COLD static void
ready_at_once_is_over(const struct lp_engine *engine, struct lp_entry *entry)
{
    const uint64_t now_ns = engine->base.broker->now_ns;
    if (entry->expires_ns < now_ns + ENGINE_AT_ONCE_NS) {
        entry->expires_ns = LP_MIN(entry->expires_ns, LP_MAX(now_ns, 1u));
    }
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
    if (engine->rules->counts_returns && (entry->flags & LP_ENTRY_STORED) != 0) {
        lp_store_returned(&engine->base, entry);
    }
    engine->order->add_returned(engine, entry);
    engine->ready_count++;
    engine->ready_bytes += entry->body_bytes;
    engine->base.broker->stats->messages_requeued++;
    if (entry->expires_ns != 0) {
        ready_at_once_is_over(engine, entry);
    }
    lp_queue_dirty(&engine->base);
}

void
engine_drop_page(struct lp_engine *engine, struct lp_entry *entry)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    engine->ready_count -= page->count;
    engine->ready_bytes -= page->body_bytes;
    engine->persistent_count -= page->persistent_count;
    engine->persistent_bytes -= page->persistent_bytes;
    engine->absent_count -= page->count;
    engine->absent_bytes -= page->body_bytes;
    engine_spill_gone(engine, entry);
    if (engine->base.deleting) {
        lp_store_page_forget(engine->base.broker, entry);
    } else {
        lp_store_page_drop(&engine->base, entry);
    }
}

void
engine_drop_ready(struct lp_engine *engine)
{
    struct lp_queue *queue = &engine->base;
    struct lp_entry *entry;
    while ((entry = engine->order->peek(engine)) != NULL) {
        if (entry->flags & LP_ENTRY_PAGE) {
            engine_drop_page(engine, engine->order->pop(engine));
            continue;
        }
        (void)engine_pop(engine);
        if (queue->stored.on && queue->deleting) {
            lp_store_forget(queue->broker, entry);
        }
        engine_entry_done(engine, entry);
    }
    engine->unreadable = false; /* it was one of those */
}
