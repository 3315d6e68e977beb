/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch.c - handing out: as many as consumers, grants and the mesh take.
 */
#include "dataplane/queue/classic/classic.h"

static void
classic_deliver(struct classic_queue *classic, struct lp_subscription *subscription)
{
    struct lp_broker *broker = classic->base.broker;
    struct lp_entry *entry = classic_pop(classic);
    classic_take(subscription, entry);
    subscription->outstanding++;
    if (subscription->limited) {
        LP_ASSERT(subscription->grants > 0);
        subscription->grants--;
        classic->grants--;
    }
    const struct lp_mesh_record record = {
        .op = LP_MESH_DELIVER,
        .flags = (uint8_t)((entry->redelivered ? LP_MESH_REDELIVERED : 0) |
                           (subscription->limited ? LP_MESH_LIMITED : 0)),
        .a = entry->owner,
        .w = {subscription->consumer, entry->self, entry->message},
    };
    const bool sent = lp_mesh_news(&broker->mesh, subscription->client_shard, &record);
    LP_ASSERT(sent);
}

/* How many grants a subscription can use: no more than there are messages, or than its own prefetch
 * allows. */
static uint32_t
classic_wish(const struct classic_queue *classic, const struct lp_subscription *subscription)
{
    uint32_t wish = (uint32_t)LP_MIN(classic->ready_count, (uint64_t)LP_DELIVERY_WINDOW);
    if (subscription->prefetch > 0) {
        wish = LP_MIN(wish, subscription->prefetch - subscription->unacked_count);
    }
    return wish;
}

/* A subscription under a shared prefetch asks before it takes; true: it may take now. */
static bool
classic_may_take(struct classic_queue *classic, struct lp_subscription *subscription)
{
    if (!subscription->limited || subscription->grants > 0) {
        return true;
    }
    if (!subscription->asked) {
        const struct lp_mesh_record want = {
            .op = LP_MESH_WANT,
            .a = classic_wish(classic, subscription),
            .w = {subscription->consumer},
        };
        subscription->asked =
            lp_mesh_news(&classic->base.broker->mesh, subscription->client_shard, &want);
    }
    return false;
}

/* The queue ran empty: grants that were not used are for the session's other consumers. */
static void
classic_ungrant(struct classic_queue *classic)
{
    const struct lp_list *all = &classic->base.subscriptions;
    for (struct lp_list *at = all->next; at != all && classic->grants > 0; at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        if (subscription->grants == 0) {
            continue;
        }
        const struct lp_mesh_record record = {
            .op = LP_MESH_UNGRANT, .a = subscription->grants, .w = {subscription->consumer}};
        if (lp_mesh_news(&classic->base.broker->mesh, subscription->client_shard, &record)) {
            classic->grants -= subscription->grants;
            subscription->grants = 0;
        } else {
            lp_queue_dirty(&classic->base);
            return;
        }
    }
}

bool
classic_dispatch(struct lp_queue *queue, uint32_t budget)
{
    struct classic_queue *classic = classic_of(queue);
    uint32_t passed = 0; /* subscriptions in a row that could not take one now */
    bool room = true;

    if (queue->deleting) {
        return true;
    }
    while (classic->ready_count > 0 && budget > 0 && !lp_list_empty(&classic->ready)) {
        struct lp_subscription *subscription =
            LP_LIST_ITEM(classic->ready.next, struct lp_subscription, in_ready);
        lp_list_remove(&subscription->in_ready);
        const bool has_room =
            lp_mesh_news_room(&queue->broker->mesh, subscription->client_shard) > 0;
        const bool takes = has_room && classic_may_take(classic, subscription);
        if (takes) {
            classic_deliver(classic, subscription);
            budget--;
            passed = 0;
        } else {
            passed++;
            room = room && has_room;
        }
        if (classic_can_take(subscription)) {
            classic_enter_round(classic, subscription);
        }
        if (passed > queue->consumers) {
            return room; /* no room on the mesh: next turn.  Waiting for grants: they make it dirty.
                          */
        }
    }
    if (classic->ready_count == 0) {
        classic_ungrant(classic);
    }
    return classic->ready_count == 0 || lp_list_empty(&classic->ready);
}
