/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enqueue.c - a message arrives.
 *
 * Queues with limits or a TTL look at it twice; all others just add it.
 */
#include "dataplane/queue/engine/engine.h"

#include "dataplane/broker/message.h"

/* As RabbitMQ: ten years (C144). */
#define TTL_MS_MAX 315360000000ull
/* There is no memory for an entry: not taken. */
LP_COLD static void
enqueue_fail(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    engine->base.broker->stats->messages_dropped++;
    lp_queue_refuse(engine->base.broker, from, record, LP_MESH_NACK);
}

/* Where a message belongs that is not simply the last. */
struct place {
    uint64_t expires_ns;
    uint8_t level;
};

/* It is confirmed when it is on disk.  False: no memory, and it was refused. */
static bool
enqueue_keep(struct lp_engine *engine, struct lp_entry *entry, uint32_t from,
             const struct lp_mesh_record *record)
{
    struct lp_queue *queue = &engine->base;
    if (queue->consumers > 0) {
        lp_store_will_give(queue, entry->position);
    }
    if (!lp_store_enqueue(queue, entry, from, record)) {
        lp_pool_release(&queue->broker->entries, lp_pool_self(entry));
        enqueue_fail(engine, from, record);
        return false;
    }
    if (LP_UNLIKELY(engine->ready_count - engine->absent_count > engine->long_count ||
                    entry->body_bytes >= ENGINE_LARGE_BYTES)) {
        lp_store_long(queue);
    }
    return true;
}

/* Of a queue that grows it will leave memory, if need be. */
LP_COLD static void
enqueue_long(struct lp_engine *engine, struct lp_entry *entry)
{
    if (engine->ready_count - engine->absent_count > engine->long_count ||
        engine->ready_bytes - engine->absent_bytes > engine->long_bytes) {
        lp_store_brief(&engine->base, entry);
        engine->brief_unwritten++;
        lp_store_long(&engine->base);
    }
}

/* The last one, taken and confirmed.  NULL: it was refused. */
static inline struct lp_entry *
enqueue_add(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record,
            struct place place)
{
    struct lp_entry *entry = lp_queue_entry_alloc(&engine->base, from, record);
    if (!entry) {
        enqueue_fail(engine, from, record);
        return NULL;
    }
    entry->position = engine->base.stored.next_position++;
    entry->expires_ns = place.expires_ns;
    entry->level = place.level;
    if (!engine_keeps(engine, record)) {
        lp_queue_confirm(engine->base.broker, from, record);
        if (LP_UNLIKELY(engine->ready_count > engine->long_count ||
                        engine->ready_bytes > engine->long_bytes)) {
            enqueue_long(engine, entry);
        }
    } else if (!enqueue_keep(engine, entry, from, record)) {
        return NULL;
    }
    engine->order->add(engine, entry);
    engine->ready_count++;
    engine->ready_bytes += entry->body_bytes;
    if (entry->flags & LP_ENTRY_PERSISTENT) {
        engine->persistent_count++;
        engine->persistent_bytes += entry->body_bytes;
    }
    return entry;
}

/* LP_SETTING_UNSET: it has none. */
static uint64_t
enqueue_ttl_ms(const struct lp_engine *engine, const struct lp_mesh_record *record)
{
    uint64_t ttl_ms = engine->base.settings.message_ttl_ms;
    if (record->flags & LP_MESSAGE_EXPIRES) {
        ttl_ms = LP_MIN(ttl_ms, record->w[4]);
    }
    return ttl_ms == LP_SETTING_UNSET ? ttl_ms : LP_MIN(ttl_ms, TTL_MS_MAX);
}

/* When it expires, 0 for never.  Without any time to live: as soon as nobody takes it (C143). */
static uint64_t
enqueue_expires_ns(const struct lp_engine *engine, uint64_t ttl_ms, bool taken)
{
    const uint64_t now_ns = engine->base.broker->now_ns;
    if (ttl_ms == LP_SETTING_UNSET) {
        return 0;
    }
    if (ttl_ms > 0) {
        return now_ns + ttl_ms * 1000000u;
    }
    return taken ? now_ns + ENGINE_AT_ONCE_NS : LP_MAX(now_ns, 1u);
}

/*
 * There is no room for it: nacked, and dead-lettered where the queue's settings
 * say so; then the loan is an entry's, which is dead at once (C148).
 */
static void
enqueue_reject(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    const struct lp_queue_settings *settings = &engine->base.settings;
    struct lp_entry *entry = NULL;
    if (settings->overflow == LP_OVERFLOW_REJECT_PUBLISH_DLX && settings->dead_letters) {
        entry = lp_queue_entry_alloc(&engine->base, from, record);
    }
    engine->base.broker->stats->messages_rejected++;
    lp_queue_refuse(engine->base.broker, from, record,
                    (uint8_t)(LP_MESH_NACK | (entry ? LP_MESH_KEPT : 0)));
    if (entry) {
        lp_queue_entry_dead(&engine->base, entry, LP_DEATH_MAXLEN);
    }
}

/* Apart, so that it costs the others nothing. */
LP_COLD static void
enqueue_guarded(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    const bool stamps = engine->base.stamps != NULL;
    const struct lp_arrival arrival =
        stamps ? lp_stamps_arrived(&engine->base, record) : (struct lp_arrival){0};
    const uint64_t ttl_ms = enqueue_ttl_ms(engine, record);
    const uint64_t body_bytes = record->w[3];
    engine_returned(engine);
    if (ttl_ms == 0 || engine_would_overflow(engine, body_bytes)) {
        engine_hand_out(engine);
    }
    if (engine_refuses(engine, body_bytes)) {
        enqueue_reject(engine, from, record);
        return;
    }
    const bool taken = engine->ready_count == 0 && !lp_list_empty(&engine->round);
    struct place place = {.expires_ns = enqueue_expires_ns(engine, ttl_ms, taken)};
    if (!engine->order->level_for(engine, (uint8_t)record->w[5], &place.level)) {
        enqueue_fail(engine, from, record);
        return;
    }
    struct lp_entry *entry = enqueue_add(engine, from, record, place);
    if (!entry) {
        return;
    }
    if (stamps) {
        lp_stamps_stored(&engine->base, entry, arrival);
    }
    engine->expiring |= place.expires_ns != 0;
    uint32_t budget = LP_QUEUE_DISPATCH_BUDGET;
    if (taken) {
        engine_hand_out(engine);
    } else {
        engine_trim(engine, &budget);
        if (!lp_list_empty(&engine->round)) {
            lp_queue_dirty(&engine->base);
        }
    }
    if (engine->expiring) {
        engine_expire(engine, &budget);
    }
    if (engine->rules->refuses_late) {
        (void)engine_refuses(engine, 0); /* it may have begun to */
    }
}

void
engine_enqueue(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    if (engine->base.deleting) {
        lp_queue_refuse(engine->base.broker, from, record, 0);
        return;
    }
    if (LP_UNLIKELY(engine->guarded || (record->flags & LP_MESSAGE_EXPIRES) != 0)) {
        enqueue_guarded(engine, from, record);
        return;
    }
    const bool wanted = !lp_list_empty(&engine->round);
    /* Handed out while it is warm; of one that came by the mesh records behind it are heard first.
     */
    const bool warm = wanted && engine->ready_count == 0 && (record->flags & LP_MESH_NEAR) != 0;
    if (warm && engine_pass(engine, record)) {
        lp_queue_confirm(engine->base.broker, from, record);
    } else if (!enqueue_add(engine, from, record, (struct place){0, 0})) {
        return;
    }
    if (warm) {
        engine_hand_out(engine);
    } else if (wanted) {
        lp_queue_dirty(&engine->base);
    }
}
