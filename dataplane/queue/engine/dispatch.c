/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch.c - handing out: as many as consumers, grants and the mesh take.
 */
#include "dataplane/queue/engine/engine.h"

/* Is its consumer on this shard?  Then it is handed messages by a call. */
static inline bool
engine_near(const struct lp_subscription *subscription)
{
    return subscription->client_shard == subscription->queue->broker->shard;
}

static inline void
engine_deliver_near(struct lp_engine *engine, struct lp_subscription *subscription,
                    struct lp_entry *entry, const struct lp_mesh_record *record)
{
    if (!subscription->no_ack) {
        engine_take(subscription, entry); /* it may come back before the call does */
        subscription->outstanding += !lp_session_deliver(engine->base.broker, record);
    } else if (LP_LIKELY(lp_session_deliver(engine->base.broker, record))) {
        engine_entry_done(engine, entry);
    } else {
        engine_take(subscription, entry);
        subscription->outstanding++;
    }
}

static inline void
engine_deliver_far(struct lp_subscription *subscription, struct lp_entry *entry,
                   const struct lp_mesh_record *record)
{
    engine_take(subscription, entry);
    subscription->outstanding++;
    const bool sent =
        lp_mesh_news(&subscription->queue->broker->mesh, subscription->client_shard, record);
    LP_ASSERT(sent);
}

/* One that is measured. */
LP_COLD static void
engine_deliver_stamped(struct lp_engine *engine, struct lp_subscription *subscription,
                       struct lp_entry *entry, const struct lp_mesh_record *record)
{
    struct lp_broker *broker = engine->base.broker;
    struct lp_mesh_record stamped = *record;
    lp_stamps_taken(&engine->base, entry, &stamped);
    if (!engine_near(subscription)) {
        engine_deliver_far(subscription, entry, &stamped);
        return;
    }
    lp_stamps_hand_begin(broker, &stamped);
    engine_deliver_near(engine, subscription, entry, &stamped);
    lp_stamps_hand_end(broker);
}

static void
engine_deliver(struct lp_engine *engine, struct lp_subscription *subscription)
{
    struct lp_entry *entry = engine_pop(engine);
    if (subscription->limited) {
        LP_ASSERT(subscription->grants > 0);
        subscription->grants--;
        engine->grants--;
    }
    const struct lp_mesh_record record = {
        .op = LP_MESH_DELIVER,
        .flags = (uint8_t)(((entry->flags & LP_ENTRY_REDELIVERED) ? LP_MESH_REDELIVERED : 0) |
                           (subscription->limited ? LP_MESH_LIMITED : 0)),
        .a = entry->owner,
        .w = {subscription->consumer, lp_pool_self(entry), entry->message, 0, 0, 0,
              engine_returns(engine, entry)},
    };
    if (LP_UNLIKELY(entry->flags & LP_ENTRY_STAMPED)) {
        engine_deliver_stamped(engine, subscription, entry, &record);
    } else if (LP_LIKELY(engine_near(subscription))) {
        engine_deliver_near(engine, subscription, entry, &record);
    } else {
        engine_deliver_far(subscription, entry, &record);
    }
}

bool
engine_pass(struct lp_engine *engine, const struct lp_mesh_record *enqueue)
{
    struct lp_subscription *subscription =
        LP_LIST_ITEM(engine->round.next, struct lp_subscription, in_ready);
    if (!subscription->no_ack || subscription->limited || !engine_near(subscription)) {
        return false;
    }
    struct lp_broker *broker = engine->base.broker;
    const struct lp_mesh_record record = {
        .op = LP_MESH_DELIVER,
        .a = broker->shard,
        .w = {subscription->consumer, LP_HANDLE_NONE, enqueue->w[0]},
    };
    if (!lp_session_deliver_now(broker, &record)) {
        return false;
    }
    lp_message_unlend(&broker->messages, enqueue->w[0], 1);
    engine_turn_over(engine, subscription);
    return true;
}

/* Would a delivery to it be heard? */
static inline bool
engine_has_room(struct lp_subscription *subscription)
{
    struct lp_broker *broker = subscription->queue->broker;
    return LP_LIKELY(engine_near(subscription))
               ? lp_session_near_ready(broker, subscription->consumer, subscription->limited)
               : lp_mesh_news_room(&broker->mesh, subscription->client_shard) > 0;
}

/* How many grants a subscription can use: no more than there are messages, or than its own prefetch
 * allows. */
static uint32_t
engine_wish(const struct lp_engine *engine, const struct lp_subscription *subscription)
{
    uint32_t wish = (uint32_t)LP_MIN(engine->ready_count, (uint64_t)LP_DELIVERY_WINDOW);
    if (subscription->prefetch > 0 && !subscription->no_ack) {
        wish = LP_MIN(wish, subscription->prefetch - subscription->unacked_count);
    }
    return wish;
}

/* A subscription under a shared prefetch asks before it takes; true: it may take now. */
static bool
engine_may_take(struct lp_engine *engine, struct lp_subscription *subscription)
{
    if (!subscription->limited || subscription->grants > 0) {
        return true;
    }
    if (!subscription->asked) {
        const struct lp_mesh_record want = {
            .op = LP_MESH_WANT,
            .a = engine_wish(engine, subscription),
            .w = {subscription->consumer},
        };
        subscription->asked =
            lp_mesh_news(&engine->base.broker->mesh, subscription->client_shard, &want);
    }
    return false;
}

/* The queue ran empty: grants that were not used are for the session's other consumers. */
static void
engine_ungrant(struct lp_engine *engine)
{
    const struct lp_list *all = &engine->base.subscriptions;
    for (struct lp_list *at = all->next; at != all && engine->grants > 0; at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        if (subscription->grants == 0) {
            continue;
        }
        const struct lp_mesh_record record = {
            .op = LP_MESH_UNGRANT, .a = subscription->grants, .w = {subscription->consumer}};
        if (lp_mesh_news(&engine->base.broker->mesh, subscription->client_shard, &record)) {
            engine->grants -= subscription->grants;
            subscription->grants = 0;
        } else {
            lp_queue_dirty(&engine->base);
            return;
        }
    }
}

/* Is there a message to hand out, and somebody to take it?  What is expired goes first. */
static bool
engine_goes_on(struct lp_engine *engine, uint32_t *budget)
{
    if (LP_UNLIKELY(engine->expiring)) {
        engine_expire(engine, budget);
    }
    return engine->ready_count > 0 && *budget > 0 && !lp_list_empty(&engine->round) &&
           (LP_LIKELY(!engine->base.stored.away) || engine_next_can_go(engine));
}

bool
lp_engine_dispatch(struct lp_queue *queue, uint32_t budget)
{
    struct lp_engine *engine = engine_of(queue);
    uint32_t passed = 0; /* subscriptions in a row that could not take one now */
    bool room = true;

    if (queue->deleting) {
        return true;
    }
    engine_returned(engine);
    engine->waits = false;
    engine->held = false;
    if (LP_UNLIKELY(!lp_list_empty(&engine->gets))) {
        engine_gets_go_on(engine);
    }
    while (engine_goes_on(engine, &budget)) {
        struct lp_subscription *subscription =
            LP_LIST_ITEM(engine->round.next, struct lp_subscription, in_ready);
        const bool has_room = engine_has_room(subscription);
        const bool takes = has_room && engine_may_take(engine, subscription);
        if (takes) {
            engine_deliver(engine, subscription);
            budget--;
            passed = 0;
        } else {
            passed++;
            room = room && has_room;
        }
        engine_turn_over(engine, subscription);
        if (passed > queue->consumers) {
            return room; /* no room on the mesh: next turn.  Waiting for grants: they make it dirty.
                          */
        }
    }
    if (LP_UNLIKELY(engine->trims) && lp_list_empty(&engine->round)) {
        engine_trim(engine, &budget);
    }
    if (engine->ready_count == 0) {
        engine_ungrant(engine);
        return true;
    }
    return engine->waits || (budget > 0 && lp_list_empty(&engine->round));
}

void
engine_hand_out(struct lp_engine *engine)
{
    engine_returned(engine);
    if (engine->ready_count > 0 && !lp_list_empty(&engine->round) &&
        !lp_engine_dispatch(&engine->base, LP_QUEUE_DISPATCH_BUDGET)) {
        lp_queue_dirty(&engine->base);
    }
}
