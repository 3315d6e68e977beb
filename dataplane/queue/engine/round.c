/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round.c - whose turn it is: subscriptions that can take a message, and what
 * each has taken and not settled.
 */
#include "dataplane/queue/engine/engine.h"

/* Put it in the round: behind those of its priority, before lower ones (C121). */
static void
engine_enter_round(struct lp_engine *engine, struct lp_subscription *subscription)
{
    struct lp_list *at = engine->round.prev;
    while (at != &engine->round &&
           LP_LIST_ITEM(at, struct lp_subscription, in_ready)->priority < subscription->priority) {
        at = at->prev;
    }
    lp_list_insert_before(at->next, &subscription->in_ready);
}

void
engine_turn_over(struct lp_engine *engine, struct lp_subscription *subscription)
{
    const bool can = engine_can_take(subscription);
    if (can && engine->round.next == engine->round.prev) {
        return; /* there is nobody else */
    }
    lp_list_remove(&subscription->in_ready);
    if (can) {
        engine_enter_round(engine, subscription);
    }
}

void
engine_update(struct lp_engine *engine, struct lp_subscription *subscription)
{
    const bool can = engine_can_take(subscription);
    const bool in = lp_list_linked(&subscription->in_ready);
    if (can && !in) {
        engine_enter_round(engine, subscription);
        if (engine->ready_count > 0) {
            lp_queue_dirty(&engine->base);
        }
    } else if (!can && in) {
        lp_list_remove(&subscription->in_ready);
    }
    if (LP_UNLIKELY(engine->held)) {
        lp_queue_dirty(&engine->base); /* something was settled */
    }
}

void
engine_take(struct lp_subscription *subscription, struct lp_entry *entry)
{
    struct lp_engine *engine = engine_of(subscription->queue);
    entry->state = LP_ENTRY_UNACKED;
    entry->subscription = lp_handle_index(subscription->self);
    entry->delivered = (uint32_t)(engine->base.broker->now_ns >> LP_ENTRY_DELIVERED_SHIFT);
    lp_list_push_back(&subscription->unacked, &entry->link);
    subscription->unacked_count++;
    engine->unacked_count++;
    engine->unacked_bytes += entry->body_bytes;
}

void
engine_untake(struct lp_subscription *subscription, struct lp_entry *entry)
{
    struct lp_engine *engine = engine_of(subscription->queue);
    LP_ASSERT_SLOW(engine_has(subscription, entry));
    LP_ASSERT(subscription->unacked_count > 0);
    lp_list_unlink(&entry->link);
    subscription->unacked_count--;
    engine->unacked_count--;
    engine->unacked_bytes -= entry->body_bytes;
}

/* Settle the `count` oldest: they were written out to a consumer that does not acknowledge. */
void
engine_settle_oldest(struct lp_subscription *subscription, uint32_t count)
{
    struct lp_engine *engine = engine_of(subscription->queue);
    while (count > 0 && !lp_list_empty(&subscription->unacked)) {
        struct lp_entry *entry = LP_LIST_ITEM(subscription->unacked.next, struct lp_entry, link);
        engine_untake(subscription, entry);
        engine_entry_done(engine, entry);
        count--;
    }
}

void
engine_requeue_all(struct lp_engine *engine, struct lp_subscription *subscription)
{
    engine_requeue_begin(engine);
    while (!lp_list_empty(&subscription->unacked)) {
        struct lp_entry *entry = LP_LIST_ITEM(subscription->unacked.next, struct lp_entry, link);
        engine_untake(subscription, entry);
        engine_requeue(engine, entry);
    }
    engine_requeue_end(engine, false);
}
