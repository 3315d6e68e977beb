/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore.c - a queue that the log has messages of comes up with them; and all
 * that it has, for who writes it down.
 */
#include "dataplane/queue/engine/engine.h"

void
engine_again(struct lp_engine *engine, struct lp_entry *entry)
{
    entry->level = engine->order->level_again(engine, entry->level);
    /* It may have been with a client, who may have been told of its return. */
    if (engine->rules->counts_returns && (entry->flags & LP_ENTRY_REDELIVERED) != 0) {
        entry->returns = LP_MAX((uint32_t)entry->returns, 1u) & 0xffffffu;
    }
}

static void
restore_entry(struct lp_engine *engine, struct lp_entry *entry)
{
    uint64_t count = 1;
    uint64_t bytes = entry->body_bytes;
    if (entry->flags & LP_ENTRY_PAGE) {
        const struct lp_store_page *page = lp_store_page_of(entry);
        count = page->count;
        bytes = page->body_bytes;
        engine->expiring = true; /* who knows */
        engine->persistent_count += page->persistent_count;
        engine->persistent_bytes += page->persistent_bytes;
    } else {
        if (entry->flags & LP_ENTRY_PERSISTENT) {
            engine->persistent_count++;
            engine->persistent_bytes += bytes;
        }
        engine->expiring |= entry->expires_ns != 0;
    }
    engine_again(engine, entry);
    engine->order->add(engine, entry);
    engine->ready_count += count;
    engine->ready_bytes += bytes;
    engine->absent_count += count;
    engine->absent_bytes += bytes;
    engine->base.broker->stats->messages_recovered += count;
}

void
engine_restore(struct lp_engine *engine)
{
    struct lp_queue *queue = &engine->base;
    struct lp_store_found found;
    if (!lp_store_adopt(queue, &found)) {
        return;
    }
    struct lp_entry *entry;
    while ((entry = lp_store_found_next(queue, &found)) != NULL) {
        restore_entry(engine, entry);
    }
    lp_store_adopted(queue, &found);
}

void
lp_engine_visit(struct lp_queue *queue, void (*each)(void *context, struct lp_entry *entry),
                void *context)
{
    struct lp_engine *engine = engine_of(queue);
    for (struct lp_list *at = queue->subscriptions.next; at != &queue->subscriptions;
         at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        for (struct lp_list *link = subscription->unacked.next; link != &subscription->unacked;
             link = link->next) {
            each(context, LP_LIST_ITEM(link, struct lp_entry, link));
        }
    }
    engine->order->visit_returned(engine, each, context);
    struct lp_list *list;
    for (uint32_t level = 0; (list = engine->order->fresh(engine, level)) != NULL; level++) {
        for (struct lp_list *link = list->next; link != list; link = link->next) {
            each(context, LP_LIST_ITEM(link, struct lp_entry, link));
        }
    }
}
