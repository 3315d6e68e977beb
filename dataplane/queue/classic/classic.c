/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classic.c - the classic queue: messages in the order of arrival; what comes
 * back goes to its old place (C130).
 *
 * Ready messages are of two kinds: fresh ones, in a list, and returned ones,
 * in a heap by position.  Every returned message is older than every fresh
 * one, so the next message is the heap's least, or else the list's first.
 */
#include "dataplane/queue/classic/classic.h"

#include <string.h>

static bool
classic_open(struct lp_queue *queue)
{
    struct classic_queue *classic = classic_of(queue);
    lp_list_init(&classic->fresh);
    lp_list_init(&classic->ready);
    classic->next_position = 1;
    return true;
}

static void
classic_configure(struct lp_queue *queue)
{
    (void)queue;
}

/* ---- records ---- */

static void
classic_enqueue(struct classic_queue *classic, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_broker *broker = classic->base.broker;
    if (classic->base.deleting) {
        lp_queue_refuse(broker, from, record, false);
        return;
    }
    struct lp_entry *entry = lp_queue_entry_alloc(&classic->base, from, record);
    if (!entry) {
        broker->stats->messages_dropped++;
        lp_queue_refuse(broker, from, record, true);
        return;
    }
    entry->position = classic->next_position++;
    lp_list_push_back(&classic->fresh, &entry->link);
    classic->ready_count++;
    classic->ready_bytes += entry->body_bytes;
    if (!lp_list_empty(&classic->ready)) {
        lp_queue_dirty(&classic->base);
    }
    lp_queue_confirm(broker, from, record);
}

static uint16_t
classic_consume_fault(const struct classic_queue *classic, const struct lp_mesh_record *record)
{
    const struct lp_queue *queue = &classic->base;
    if (queue->deleting) {
        return LP_FAULT_NOT_FOUND;
    }
    if (lp_queue_locked(queue, record->w[2])) {
        return LP_FAULT_RESOURCE_LOCKED;
    }
    if (classic->exclusive_consumer ||
        ((record->flags & LP_MESH_EXCLUSIVE) && queue->consumers > 0)) {
        return LP_FAULT_ACCESS_REFUSED;
    }
    return 0;
}

static void
classic_consume(struct classic_queue *classic, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_queue *queue = &classic->base;
    struct lp_mesh_record reply = {.op = LP_MESH_CONSUMED, .credits = 1, .w = {record->w[0]}};
    struct lp_subscription *subscription = NULL;

    reply.a = classic_consume_fault(classic, record);
    if (reply.a == 0) {
        subscription = lp_queue_subscription_alloc(queue, from, record->w[0]);
        reply.a = subscription ? 0 : LP_FAULT_RESOURCE_ERROR;
    }
    if (subscription) {
        subscription->prefetch = (uint32_t)record->w[1];
        subscription->priority = (int32_t)(uint32_t)record->w[3];
        subscription->no_ack = (record->flags & LP_MESH_NO_ACK) != 0;
        subscription->exclusive = (record->flags & LP_MESH_EXCLUSIVE) != 0;
        subscription->limited = (record->flags & LP_MESH_LIMITED) != 0;
        classic->exclusive_consumer |= subscription->exclusive;
        queue->consumers++;
        queue->had_consumer = true;
        reply.w[1] = subscription->self;
        classic_update(classic, subscription);
    }
    lp_mesh_reply(&queue->broker->mesh, from, &reply);
}

/* It gets no more messages; an unused grant goes home by the answer. */
static bool
classic_consumer_stop(struct classic_queue *classic, struct lp_subscription *subscription)
{
    if (subscription->cancelled || subscription->getter) {
        return false;
    }
    subscription->cancelled = true;
    classic->grants -= subscription->grants;
    subscription->grants = 0;
    if (subscription->exclusive) {
        classic->exclusive_consumer = false;
    }
    classic_update(classic, subscription);
    return lp_queue_consumer_left(&classic->base);
}

static void
classic_cancel(struct classic_queue *classic, uint32_t from, const struct lp_mesh_record *record,
               struct lp_subscription *subscription)
{
    struct lp_queue *queue = &classic->base;
    if (classic_consumer_stop(classic, subscription)) {
        /* cancel-ok only when the auto-delete queue is gone for everyone. */
        queue->cancel_waits = true;
        queue->cancel_consumer = record->w[1];
        queue->cancel_shard = from;
        return;
    }
    const struct lp_mesh_record reply = {
        .op = LP_MESH_CANCELLED, .credits = 1, .w = {record->w[1]}};
    lp_mesh_reply(&queue->broker->mesh, from, &reply);
}

static void
classic_detach(struct classic_queue *classic, uint32_t from, const struct lp_mesh_record *record,
               struct lp_subscription *subscription)
{
    if (subscription->no_ack) {
        classic_settle_oldest(subscription, record->a);
    }
    (void)classic_consumer_stop(classic, subscription);
    classic_requeue_all(classic, subscription);
    lp_list_remove(&subscription->in_ready);
    lp_queue_subscription_free(subscription);
    const struct lp_mesh_record reply = {.op = LP_MESH_DETACHED, .credits = 1, .w = {record->w[1]}};
    lp_mesh_reply(&classic->base.broker->mesh, from, &reply);
}

static void
classic_settle(struct classic_queue *classic, const struct lp_mesh_record *record,
               struct lp_subscription *subscription)
{
    struct lp_broker *broker = classic->base.broker;
    for (uint32_t i = 0; i < record->a && i < LP_MESH_SETTLES_MAX; i++) {
        struct lp_entry *entry = lp_pool_get(&broker->entries, record->w[1 + i]);
        if (!entry || entry->state != LP_ENTRY_UNACKED || entry->subscription != subscription) {
            continue;
        }
        classic_untake(subscription, entry);
        if (record->flags == LP_SETTLE_REQUEUE) {
            classic_requeue(classic, entry);
        } else if (record->flags == LP_SETTLE_DISCARD) {
            lp_queue_entry_dead(&classic->base, entry, LP_DEATH_REJECTED);
        } else {
            lp_queue_entry_done(broker, entry);
        }
    }
    classic_update(classic, subscription);
}

static void
classic_credit(struct classic_queue *classic, const struct lp_mesh_record *record,
               struct lp_subscription *subscription)
{
    subscription->outstanding -= LP_MIN(record->a, subscription->outstanding);
    if (subscription->no_ack) {
        classic_settle_oldest(subscription, record->a);
    }
    classic_update(classic, subscription);
}

static void
classic_grant(struct classic_queue *classic, const struct lp_mesh_record *record,
              struct lp_subscription *subscription)
{
    subscription->limited = true;
    if (subscription->cancelled) {
        return; /* the session took them back with CANCELLED */
    }
    subscription->grants += record->a;
    classic->grants += record->a;
    if (record->a > 0) {
        subscription->asked = false;
        classic_update(classic, subscription);
    }
    if (subscription->grants > 0) {
        lp_queue_dirty(&classic->base);
    }
}

/* Messages went otherwise than by dispatch: when none is left, grants must not stay here. */
static void
classic_emptied(struct classic_queue *classic)
{
    if (classic->ready_count == 0 && classic->grants > 0) {
        lp_queue_dirty(&classic->base);
    }
}

/* The getter that owns what a channel took with basic.get from this queue. */
static struct lp_subscription *
classic_getter(struct lp_queue *queue, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_subscription *getter = lp_pool_get(&queue->broker->subscriptions, record->w[1]);
    if (getter && getter->queue == queue && getter->getter) {
        return getter;
    }
    getter = lp_queue_subscription_alloc(queue, from, record->w[0]);
    if (getter) {
        getter->getter = true;
        getter->no_ack = (record->flags & LP_MESH_NO_ACK) != 0;
    }
    return getter;
}

static void
classic_get(struct classic_queue *classic, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_queue *queue = &classic->base;
    struct lp_mesh_record reply = {
        .op = LP_MESH_GOT, .flags = LP_MESH_EMPTY, .credits = 1, .w = {record->w[0]}};
    struct lp_subscription *getter = NULL;

    if (queue->deleting) {
        reply.w[5] = LP_FAULT_NOT_FOUND;
    } else if (lp_queue_locked(queue, record->w[2])) {
        reply.w[5] = LP_FAULT_RESOURCE_LOCKED;
    } else if (classic->ready_count > 0) {
        getter = classic_getter(queue, from, record);
    }
    if (getter) {
        struct lp_entry *entry = classic_pop(classic);
        classic_take(getter, entry);
        reply.flags = entry->redelivered ? LP_MESH_REDELIVERED : 0;
        reply.a = entry->owner;
        reply.w[1] = entry->self;
        reply.w[2] = entry->message;
        reply.w[3] = classic->ready_count;
        reply.w[4] = getter->self;
        classic_emptied(classic);
    }
    lp_mesh_reply(&queue->broker->mesh, from, &reply);
}

static void
classic_counts_reply(struct classic_queue *classic, uint32_t from,
                     const struct lp_mesh_record *record)
{
    struct lp_queue *queue = &classic->base;
    struct lp_mesh_record reply = {.op = LP_MESH_COUNTS, .credits = 1, .w = {record->w[0]}};
    if (queue->deleting) {
        reply.a = LP_FAULT_NOT_FOUND;
    } else if (lp_queue_locked(queue, record->w[1])) {
        reply.a = LP_FAULT_RESOURCE_LOCKED;
    } else {
        reply.w[1] = classic->ready_count;
        reply.w[2] = queue->consumers;
        if (record->op == LP_MESH_PURGE) {
            classic_drop_ready(classic);
            classic_emptied(classic);
        }
    }
    lp_mesh_reply(&queue->broker->mesh, from, &reply);
}

static void
classic_handle(struct lp_queue *queue, uint32_t from, const struct lp_mesh_record *record)
{
    struct classic_queue *classic = classic_of(queue);
    struct lp_subscription *subscription = lp_pool_get(&queue->broker->subscriptions, record->w[0]);
    switch (record->op) {
    case LP_MESH_ENQUEUE:
        classic_enqueue(classic, from, record);
        return;
    case LP_MESH_CONSUME:
        classic_consume(classic, from, record);
        return;
    case LP_MESH_GET:
        classic_get(classic, from, record);
        return;
    case LP_MESH_STAT:
    case LP_MESH_PURGE:
        classic_counts_reply(classic, from, record);
        return;
    case LP_MESH_CANCEL:
        classic_cancel(classic, from, record, subscription);
        return;
    case LP_MESH_DETACH:
        classic_detach(classic, from, record, subscription);
        return;
    case LP_MESH_CREDIT:
        classic_credit(classic, record, subscription);
        return;
    case LP_MESH_SETTLE:
        classic_settle(classic, record, subscription);
        return;
    case LP_MESH_GRANT:
        classic_grant(classic, record, subscription);
        return;
    default:
        LP_ASSERT(!"a record that is not for a queue");
    }
}

/* ---- the rest ---- */

static void
classic_close(struct lp_queue *queue)
{
    struct classic_queue *classic = classic_of(queue);
    classic_drop_ready(classic);
    for (struct lp_list *at = queue->subscriptions.next; at != &queue->subscriptions;
         at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        lp_list_remove(&subscription->in_ready);
    }
}

static void
classic_counts(const struct lp_queue *queue, struct lp_queue_counts *ret_counts)
{
    const struct classic_queue *classic =
        (const struct classic_queue *)(const void *)((const char *)queue -
                                                     offsetof(struct classic_queue, base));
    ret_counts->ready = classic->ready_count;
    ret_counts->unacked = classic->unacked_count;
    ret_counts->consumers = queue->consumers;
    ret_counts->bytes = classic->ready_bytes;
}

static void
classic_check(const struct lp_queue *queue)
{
    struct lp_queue_counts counts;
    uint64_t unacked = 0;
    uint32_t consumers = 0;
    uint32_t grants = 0;
    classic_counts(queue, &counts);
    for (const struct lp_list *at = queue->subscriptions.next; at != &queue->subscriptions;
         at = at->next) {
        const struct lp_subscription *subscription =
            (const struct lp_subscription *)(const void *)((const char *)at -
                                                           offsetof(struct lp_subscription,
                                                                    in_queue));
        LP_ASSERT(subscription->queue == queue);
        LP_ASSERT(subscription->outstanding <= LP_DELIVERY_WINDOW);
        LP_ASSERT(subscription->grants == 0 || subscription->limited);
        unacked += subscription->unacked_count;
        grants += subscription->grants;
        consumers += !subscription->getter && !subscription->cancelled;
    }
    LP_ASSERT(unacked == counts.unacked);
    LP_ASSERT(consumers == counts.consumers);
    LP_ASSERT(grants ==
              ((const struct classic_queue *)(const void *)((const char *)queue -
                                                            offsetof(struct classic_queue, base)))
                  ->grants);
}

const struct lp_queue_type lp_queue_type_classic = {
    .name = "classic",
    .queue_bytes = sizeof(struct classic_queue),
    .open = classic_open,
    .configure = classic_configure,
    .close = classic_close,
    .handle = classic_handle,
    .dispatch = classic_dispatch,
    .counts = classic_counts,
    .check = classic_check,
};
