/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consume.c - consumers and getters: who may come, who leaves, and what becomes
 * of what they had.
 */
#include "dataplane/queue/engine/engine.h"

static bool
engine_exclusive(const struct lp_engine *engine, const struct lp_mesh_record *record)
{
    return (record->flags & LP_MESH_EXCLUSIVE) != 0 && !engine->rules->no_exclusive;
}

static uint16_t
engine_consume_fault(const struct lp_engine *engine, const struct lp_mesh_record *record)
{
    const struct lp_queue *queue = &engine->base;
    if (queue->deleting) {
        return LP_FAULT_NOT_FOUND;
    }
    if (lp_queue_locked(queue, record->w[2])) {
        return LP_FAULT_RESOURCE_LOCKED;
    }
    if (engine->rules->no_shared && (record->flags & LP_MESH_SHARED)) {
        return LP_FAULT_NOT_IMPLEMENTED;
    }
    return engine_sole_fault(engine, engine_exclusive(engine, record));
}

void
engine_consume(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_queue *queue = &engine->base;
    struct lp_mesh_record reply = {.op = LP_MESH_CONSUMED, .credits = 1, .w = {record->w[0]}};
    struct lp_subscription *subscription = NULL;

    engine_hand_out(engine); /* what others could have taken before is theirs */
    reply.a = engine_consume_fault(engine, record);
    if (reply.a == 0) {
        subscription = lp_queue_subscription_alloc(queue, from, record->w[0]);
        reply.a = subscription ? 0 : LP_FAULT_RESOURCE_ERROR;
    }
    if (subscription) {
        const uint32_t prefetch = (uint32_t)record->w[1];
        subscription->prefetch = prefetch > 0 ? prefetch : engine->rules->prefetch_max;
        subscription->priority = (int32_t)(uint32_t)record->w[3];
        subscription->no_ack = (record->flags & LP_MESH_NO_ACK) != 0;
        subscription->exclusive = engine_exclusive(engine, record);
        subscription->limited = (record->flags & LP_MESH_LIMITED) != 0;
        engine_sole_come(engine, subscription);
        queue->consumers++;
        queue->had_consumer = true;
        reply.w[1] = subscription->self;
        engine_update(engine, subscription);
        engine_sole_review(engine);
        engine_timeout_watch(engine);
    }
    lp_mesh_reply(&queue->broker->mesh, from, &reply);
}

/* It gets no more messages; an unused grant goes home by the answer. */
static bool
engine_consumer_stop(struct lp_engine *engine, struct lp_subscription *subscription)
{
    if (subscription->cancelled || subscription->getter) {
        return false;
    }
    subscription->cancelled = true;
    subscription->takes = false;
    engine->grants -= subscription->grants;
    subscription->grants = 0;
    engine_update(engine, subscription);
    engine_sole_leave(engine, subscription);
    return lp_queue_consumer_left(&engine->base);
}

void
engine_cancel(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record,
              struct lp_subscription *subscription)
{
    struct lp_queue *queue = &engine->base;
    if (!engine->rules->cancels_early) {
        engine_hand_out(engine); /* what acks before this made room for was due before it */
    }
    if (engine_consumer_stop(engine, subscription)) {
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

void
engine_detach(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record,
              struct lp_subscription *subscription)
{
    if (subscription->no_ack) {
        engine_settle_oldest(subscription, record->a);
    }
    (void)engine_consumer_stop(engine, subscription);
    engine_requeue_all(engine, subscription);
    lp_list_remove(&subscription->in_ready);
    lp_queue_subscription_free(subscription);
    const struct lp_mesh_record reply = {.op = LP_MESH_DETACHED, .credits = 1, .w = {record->w[1]}};
    lp_mesh_reply(&engine->base.broker->mesh, from, &reply);
}
