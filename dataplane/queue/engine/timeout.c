/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeout.c - deliveries that wait too long for their acknowledgement (C134).
 *
 * Each subscription's oldest one is looked at now and then, as RabbitMQ's
 * channels do: a delivery costs nothing but its time, in coarse units.  The
 * channel's shard is told every time until the channel is closed, so nothing has
 * to be kept when the mesh has no room.
 */
#include "dataplane/queue/engine/engine.h"

/* RabbitMQ looks once a minute; a shorter time-out is looked for more often, so that it is told
 * late by about an eighth. */
#define LOOK_NS_MAX 60000000000ull
#define LOOK_NS_MIN 250000000ull
#define LOOKS       8u

static uint64_t
timeout_ns(const struct lp_engine *engine)
{
    return LP_MIN(engine->base.settings.consumer_timeout_ms, UINT64_MAX / 2000000u) * 1000000u;
}

/* Less than the truth by up to a unit, never more. */
static bool
timeout_is_over(const struct lp_engine *engine, const struct lp_entry *entry)
{
    const uint64_t now_ns = engine->base.broker->now_ns;
    const uint32_t units = (uint32_t)(now_ns >> LP_ENTRY_DELIVERED_SHIFT) - entry->delivered;
    return units > 0 && (uint64_t)(units - 1) << LP_ENTRY_DELIVERED_SHIFT > timeout_ns(engine);
}

static void
timeout_tell(struct lp_engine *engine, const struct lp_subscription *subscription)
{
    const struct lp_mesh_record record = {
        .op = LP_MESH_TIMEOUT,
        .w = {subscription->consumer, engine->base.settings.consumer_timeout_ms},
    };
    /* False: no room; it is as late when we look again. */
    (void)!lp_mesh_news(&engine->base.broker->mesh, subscription->client_shard, &record);
}

static void
timeout_look(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    struct lp_engine *engine = LP_CONTAINER_OF(timer, struct lp_engine, look_timer);
    const struct lp_list *all = &engine->base.subscriptions;
    (void)context;
    (void)now_ns;
    for (struct lp_list *at = all->next; at != all; at = at->next) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_queue);
        if (subscription->no_ack || lp_list_empty(&subscription->unacked)) {
            continue;
        }
        if (timeout_is_over(engine,
                            LP_LIST_ITEM(subscription->unacked.next, struct lp_entry, link))) {
            timeout_tell(engine, subscription);
        }
    }
    engine_timeout_watch(engine);
}

void
engine_timeout_watch(struct lp_engine *engine)
{
    struct lp_queue *queue = &engine->base;
    if (queue->settings.consumer_timeout_ms == LP_SETTING_UNSET ||
        lp_list_empty(&queue->subscriptions) || lp_timer_armed(&engine->look_timer)) {
        return;
    }
    const uint64_t look_ns = LP_MAX(LP_MIN(timeout_ns(engine) / LOOKS, LOOK_NS_MAX), LOOK_NS_MIN);
    lp_timer_arm(&queue->broker->wheel, &engine->look_timer, timeout_look,
                 queue->broker->now_ns + look_ns);
}

void
engine_timeout_configure(struct lp_engine *engine)
{
    lp_timer_disarm(&engine->base.broker->wheel, &engine->look_timer);
    engine_timeout_watch(engine);
}
