/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round.c - whose turn it is: subscriptions that can take a message, and what
 * each has taken and not settled.
 */
#include "dataplane/queue/classic/classic.h"

bool
classic_can_take(const struct lp_subscription *subscription)
{
    return !subscription->cancelled && !subscription->getter &&
           (subscription->prefetch == 0 || subscription->no_ack ||
            subscription->unacked_count < subscription->prefetch) &&
           subscription->outstanding < LP_DELIVERY_WINDOW &&
           !(subscription->asked && subscription->grants == 0);
}

/* Put it in the round: behind those of its priority, before lower ones (C121). */
void
classic_enter_round(struct classic_queue *classic, struct lp_subscription *subscription)
{
    struct lp_list *at = classic->ready.prev;
    while (at != &classic->ready &&
           LP_LIST_ITEM(at, struct lp_subscription, in_ready)->priority < subscription->priority) {
        at = at->prev;
    }
    lp_list_insert_before(at->next, &subscription->in_ready);
}

/* Its limits changed: join or leave the round. */
void
classic_update(struct classic_queue *classic, struct lp_subscription *subscription)
{
    const bool can = classic_can_take(subscription);
    const bool in = lp_list_linked(&subscription->in_ready);
    if (can && !in) {
        classic_enter_round(classic, subscription);
        if (classic->ready_count > 0) {
            lp_queue_dirty(&classic->base);
        }
    } else if (!can && in) {
        lp_list_remove(&subscription->in_ready);
    }
}

void
classic_take(struct lp_subscription *subscription, struct lp_entry *entry)
{
    entry->state = LP_ENTRY_UNACKED;
    entry->subscription = subscription;
    lp_list_push_back(&subscription->unacked, &entry->link);
    subscription->unacked_count++;
    classic_of(subscription->queue)->unacked_count++;
}

void
classic_untake(struct lp_subscription *subscription, struct lp_entry *entry)
{
    LP_ASSERT(entry->subscription == subscription);
    lp_list_remove(&entry->link);
    entry->link = (struct lp_list){NULL, NULL};
    LP_ASSERT(subscription->unacked_count > 0);
    subscription->unacked_count--;
    classic_of(subscription->queue)->unacked_count--;
}

/* Settle the `count` oldest: they were written out to a consumer that does not acknowledge. */
void
classic_settle_oldest(struct lp_subscription *subscription, uint32_t count)
{
    struct lp_broker *broker = subscription->queue->broker;
    while (count > 0 && !lp_list_empty(&subscription->unacked)) {
        struct lp_entry *entry = LP_LIST_ITEM(subscription->unacked.next, struct lp_entry, link);
        classic_untake(subscription, entry);
        lp_queue_entry_done(broker, entry);
        count--;
    }
}

void
classic_requeue_all(struct classic_queue *classic, struct lp_subscription *subscription)
{
    while (!lp_list_empty(&subscription->unacked)) {
        struct lp_entry *entry = LP_LIST_ITEM(subscription->unacked.next, struct lp_entry, link);
        classic_untake(subscription, entry);
        classic_requeue(classic, entry);
    }
}
