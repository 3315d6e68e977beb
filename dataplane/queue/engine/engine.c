/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.c - a queue of messages: opening and closing, and records for it.
 */
#include "dataplane/queue/engine/engine.h"

#include <string.h>

void
lp_engine_open(struct lp_engine *engine, const struct lp_engine_order *order,
               const struct lp_engine_rules *rules)
{
    engine->order = order;
    engine->rules = rules;
    lp_list_init(&engine->round);
    lp_list_init(&engine->gets);
    engine->base.stored.next_position = 1;
    engine->long_count = UINT64_MAX;
    engine->long_bytes = UINT64_MAX;
    if (engine->base.broker->store) {
        const struct lp_store_paging *paging = lp_store_paging(engine->base.broker);
        engine->long_count = paging->head_entries + 2 * paging->page_entries;
        engine->long_bytes = paging->head_bytes;
    }
}

void
lp_engine_configure(struct lp_queue *queue)
{
    struct lp_engine *engine = engine_of(queue);
    const struct lp_queue_settings *settings = &queue->settings;
    const bool limited =
        settings->max_length != LP_SETTING_UNSET || settings->max_length_bytes != LP_SETTING_UNSET;
    engine->guarded = engine->order->ranks || limited || queue->stamps ||
                      settings->message_ttl_ms != LP_SETTING_UNSET || settings->max_priority > 0;
    engine->trims = limited && settings->overflow == LP_OVERFLOW_DROP_HEAD;
    engine_sole_configure(engine);
    engine_timeout_configure(engine);
    if (queue->stored.on && !queue->stored.adopted) {
        engine_restore(engine);
    }
    if (engine->ready_count > 0) {
        lp_queue_dirty(queue); /* there may be too much now */
    }
}

/* ---- records ---- */

void
lp_engine_handle(struct lp_queue *queue, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_engine *engine = engine_of(queue);
    if (record->op == LP_MESH_ENQUEUE) {
        engine_enqueue(engine, from, record);
        return;
    }
    struct lp_subscription *subscription = lp_pool_get(&queue->broker->subscriptions, record->w[0]);
    switch (record->op) {
    case LP_MESH_CONSUME:
        engine_consume(engine, from, record);
        return;
    case LP_MESH_GET:
        engine_get(engine, from, record);
        return;
    case LP_MESH_STAT:
    case LP_MESH_PURGE:
        engine_counts_reply(engine, from, record);
        return;
    case LP_MESH_CANCEL:
        engine_cancel(engine, from, record, subscription);
        return;
    case LP_MESH_DETACH:
        engine_detach(engine, from, record, subscription);
        return;
    case LP_MESH_CREDIT:
        engine_credit(engine, record, subscription);
        return;
    case LP_MESH_SETTLE:
        engine_settle(engine, record, subscription);
        return;
    case LP_MESH_GRANT:
        engine_grant(engine, record, subscription);
        return;
    default:
        LP_ASSERT(!"a record that is not for a queue");
    }
}

/* ---- the rest ---- */

void
lp_engine_close(struct lp_queue *queue)
{
    struct lp_engine *engine = engine_of(queue);
    lp_timer_disarm(&queue->broker->wheel, &engine->head_timer);
    lp_timer_disarm(&queue->broker->wheel, &engine->look_timer);
    queue->deleting = true;
    if (queue->stored.on) {
        lp_store_dropped(queue);
    }
    lp_list_remove(&queue->stored.in_long);
    lp_list_remove(&queue->stored.in_held);
    engine_gets_end(engine);
    engine_drop_ready(engine);
    for (struct lp_list *at = queue->subscriptions.next; at != &queue->subscriptions;
         at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        lp_list_remove(&subscription->in_ready);
    }
}

void
lp_engine_counts(const struct lp_queue *queue, struct lp_queue_counts *ret_counts)
{
    const struct lp_engine *engine = engine_of_const(queue);
    ret_counts->ready = engine->ready_count;
    ret_counts->unacked = engine->unacked_count;
    ret_counts->consumers = queue->consumers;
    ret_counts->bytes = engine->ready_bytes;
    ret_counts->unacked_bytes = engine->unacked_bytes;
    ret_counts->persistent = engine->persistent_count;
    ret_counts->persistent_bytes = engine->persistent_bytes;
    ret_counts->paged_out = engine->absent_count;
    ret_counts->paged_out_bytes = engine->absent_bytes;
    ret_counts->sole = engine->sole ? engine->sole->consumer : LP_HANDLE_NONE;
    ret_counts->sole_shard = engine->sole ? (uint16_t)engine->sole->client_shard : 0;
}

static void
engine_subscriptions_check(const struct lp_engine *engine)
{
    const struct lp_queue *queue = &engine->base;
    uint64_t unacked = 0;
    uint32_t consumers = 0;
    uint32_t grants = 0;
    for (const struct lp_list *at = queue->subscriptions.next; at != &queue->subscriptions;
         at = at->next) {
        const struct lp_subscription *subscription =
            (const struct lp_subscription *)(const void *)((const char *)at -
                                                           offsetof(struct lp_subscription,
                                                                    in_queue));
        const bool consumer = !subscription->getter && !subscription->cancelled;
        LP_ASSERT(subscription->queue == queue);
        LP_ASSERT(subscription->outstanding <= LP_DELIVERY_WINDOW);
        LP_ASSERT(subscription->grants == 0 || subscription->limited);
        const bool served = engine->sole == subscription && !engine->quiescing;
        LP_ASSERT(subscription->takes == (consumer && (!engine->single_active || served)));
        LP_ASSERT(lp_list_linked(&subscription->in_ready) == engine_can_take(subscription));
        LP_ASSERT(engine->sole != subscription || consumer);
        unacked += subscription->unacked_count;
        grants += subscription->grants;
        consumers += consumer;
    }
    LP_ASSERT(unacked == engine->unacked_count);
    LP_ASSERT(consumers == queue->consumers);
    LP_ASSERT(grants == engine->grants);
    LP_ASSERT(lp_list_empty(&queue->subscriptions) || lp_timer_armed(&engine->look_timer) ||
              queue->settings.consumer_timeout_ms == LP_SETTING_UNSET);
    LP_ASSERT(!engine->single_active || (engine->sole != NULL) == (consumers > 0));
    LP_ASSERT(!engine->quiescing || (engine->sole && engine->sole->unacked_count > 0));
}

void
lp_engine_check(const struct lp_queue *queue)
{
    const struct lp_engine *engine = engine_of_const(queue);
    engine_subscriptions_check(engine);
    engine->order->check(engine);
    const struct lp_entry *head = engine->order->peek(engine);
    LP_ASSERT((head != NULL) == (engine->ready_count > 0));
    LP_ASSERT(engine->ready_count > 0 || engine->ready_bytes == 0);
    LP_ASSERT(engine->unacked_count > 0 || engine->unacked_bytes == 0);
    LP_ASSERT(engine->absent_count <= engine->ready_count);
    LP_ASSERT(engine->absent_bytes <= engine->ready_bytes);
    LP_ASSERT(engine->persistent_count <= engine->ready_count + engine->unacked_count);
    LP_ASSERT(!engine->trims || !engine_over(engine) || queue->deleting ||
              lp_list_linked(&queue->in_dirty) || !lp_list_empty(&engine->round) ||
              engine->reads > 0 || engine->unreadable || engine->held);
    if (head && head->expires_ns != 0 && !queue->deleting) {
        /* It cannot be forgotten: the timer comes, or dispatch() does. */
        LP_ASSERT(engine->expiring);
        LP_ASSERT(lp_list_linked(&queue->in_dirty) || engine->reads > 0 || engine->unreadable ||
                  engine->held ||
                  (lp_timer_armed(&engine->head_timer) &&
                   engine->head_timer.deadline_ns <= head->expires_ns));
    }
}
