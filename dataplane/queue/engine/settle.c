/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.c - what clients say of what they were sent: settlements, credits and
 * grants.
 */
#include "dataplane/queue/engine/engine.h"

void
engine_settle(struct lp_engine *engine, const struct lp_mesh_record *record,
              struct lp_subscription *subscription)
{
    struct lp_broker *broker = engine->base.broker;
    const uint8_t outcome = record->flags & (uint8_t) ~(LP_MESH_MANY | LP_MESH_TX);
    if (outcome == LP_SETTLE_REQUEUE) {
        engine_requeue_begin(engine);
    }
    for (uint32_t i = 0; i < record->a && i < LP_MESH_SETTLES_MAX; i++) {
        struct lp_entry *entry = lp_pool_get(&broker->entries, record->w[1 + i]);
        if (!entry || !engine_has(subscription, entry)) {
            continue;
        }
        engine_untake(subscription, entry);
        if (outcome == LP_SETTLE_REQUEUE) {
            engine_requeue(engine, entry);
        } else if (outcome == LP_SETTLE_DISCARD) {
            engine_entry_dead(engine, entry, LP_DEATH_REJECTED);
        } else {
            engine_entry_done(engine, entry);
        }
    }
    if (outcome == LP_SETTLE_REQUEUE) {
        engine_requeue_end(engine, (record->flags & LP_MESH_MANY) != 0);
    }
    engine_update(engine, subscription);
    engine_sole_drained(engine);
}

void
engine_credit(struct lp_engine *engine, const struct lp_mesh_record *record,
              struct lp_subscription *subscription)
{
    subscription->outstanding -= LP_MIN(record->a, subscription->outstanding);
    if (subscription->no_ack) {
        engine_settle_oldest(subscription, record->a);
    }
    engine_update(engine, subscription);
    engine_sole_drained(engine);
}

void
engine_grant(struct lp_engine *engine, const struct lp_mesh_record *record,
             struct lp_subscription *subscription)
{
    subscription->limited = true;
    if (subscription->cancelled) {
        return; /* the session took them back with CANCELLED */
    }
    subscription->grants += record->a;
    engine->grants += record->a;
    if (record->a > 0) {
        subscription->asked = false;
        engine_update(engine, subscription);
    }
    if (subscription->grants > 0) {
        lp_queue_dirty(&engine->base);
    }
}
