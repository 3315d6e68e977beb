/* SPDX-License-Identifier: Apache-2.0 */
/*
 * take.c - one message for the asking (basic.get), counts, and purge.
 */
#include "dataplane/queue/engine/engine.h"

/* Messages went otherwise than by dispatch: when none is left, grants must not stay here. */
static void
engine_emptied(struct lp_engine *engine)
{
    if (engine->ready_count == 0 && engine->grants > 0) {
        lp_queue_dirty(&engine->base);
    }
}

/* The getter that owns what a channel took with basic.get from this queue. */
static struct lp_subscription *
engine_getter(struct lp_queue *queue, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_subscription *getter = lp_pool_get(&queue->broker->subscriptions, record->w[1]);
    if (getter && getter->queue == queue && getter->getter) {
        return getter;
    }
    getter = lp_queue_subscription_alloc(queue, from, record->w[0]);
    if (getter) {
        getter->getter = true;
        getter->no_ack = (record->flags & LP_MESH_NO_ACK) != 0;
        engine_timeout_watch(engine_of(queue));
    }
    return getter;
}

/* May it be given one?  0, or why not. */
static uint16_t
engine_get_fault(const struct lp_engine *engine, const struct lp_mesh_record *record)
{
    if (engine->base.deleting) {
        return LP_FAULT_NOT_FOUND;
    }
    const bool kept_out = engine->single_active && engine->rules->no_get_from_sole;
    return kept_out || lp_queue_locked(&engine->base, record->w[2]) ? LP_FAULT_RESOURCE_LOCKED : 0;
}

/* What is expired neither counts nor is given; false: more than we look at is. */
static bool
engine_expire_all(struct lp_engine *engine)
{
    uint32_t budget = ENGINE_EXPIRE_BUDGET;
    if (engine->expiring) {
        engine_expire(engine, &budget);
    }
    return budget > 0;
}

/* The same, when what consumers could have taken before is theirs. */
static bool
engine_look(struct lp_engine *engine)
{
    engine_hand_out(engine);
    return engine_expire_all(engine);
}

static void
engine_give(struct lp_engine *engine, struct lp_subscription *getter, struct lp_mesh_record *reply)
{
    struct lp_entry *entry = engine_pop(engine);
    if (entry->flags & LP_ENTRY_STAMPED) {
        lp_stamps_taken(&engine->base, entry, NULL);
    }
    engine_take(getter, entry);
    /* Before the answer, so that it has the right count.  Nothing is handed out: that would come
     * before the answer, too, and be of later messages. */
    (void)engine_expire_all(engine);
    reply->flags = (entry->flags & LP_ENTRY_REDELIVERED) ? LP_MESH_REDELIVERED : 0;
    reply->a = entry->owner;
    reply->w[1] = lp_pool_self(entry);
    reply->w[2] = entry->message;
    reply->w[3] = engine->ready_count;
    reply->w[4] = getter->self;
    reply->w[6] = engine_returns(engine, entry);
    engine_emptied(engine);
}

/* ---- those that wait for the disk ---- */

struct engine_get_waiting {
    struct lp_list link; /* lp_engine.gets */
    uint32_t from;
    struct lp_mesh_record record;
};

static bool
engine_get_waits(struct lp_engine *engine)
{
    return !lp_list_empty(&engine->gets) || !engine_next_can_go(engine);
}

/* False: it would wait for ever, or there is no memory. */
static bool
engine_get_put_aside(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    struct engine_get_waiting *get =
        engine_next_is_stuck(engine) ? NULL
                                     : lp_memory_alloc(engine->base.broker->memory, sizeof(*get));
    if (!get) {
        return false;
    }
    *get = (struct engine_get_waiting){.from = from, .record = *record};
    lp_list_push_back(&engine->gets, &get->link);
    if (engine->held) {
        lp_queue_dirty(&engine->base); /* it was held for others */
    }
    return true;
}

void
engine_gets_go_on(struct lp_engine *engine)
{
    struct lp_list waiting;
    if (engine->ready_count > 0 && !engine_next_can_go(engine) && !engine_next_is_stuck(engine)) {
        return;
    }
    /* Each once: one that has to wait again is behind those that are left.  What engine_get() hands
     * out may come here again, one level deep: it finds no list then. */
    lp_list_init(&waiting);
    while (!lp_list_empty(&engine->gets)) {
        lp_list_push_back(&waiting, lp_list_pop_front(&engine->gets));
    }
    while (!lp_list_empty(&waiting)) {
        struct lp_list *link = lp_list_pop_front(&waiting);
        struct engine_get_waiting *get = LP_LIST_ITEM(link, struct engine_get_waiting, link);
        if (!lp_list_empty(&engine->gets)) {
            lp_list_push_back(&engine->gets, link); /* one before it waits */
            continue;
        }
        const uint32_t from = get->from;
        const struct lp_mesh_record record = get->record;
        void *block = get;
        lp_memory_release(engine->base.broker->memory, &block);
        engine_get(engine, from, &record);
    }
}

void
engine_gets_end(struct lp_engine *engine)
{
    struct lp_list *link;
    while ((link = lp_list_pop_front(&engine->gets)) != NULL) {
        struct engine_get_waiting *get = LP_LIST_ITEM(link, struct engine_get_waiting, link);
        const struct lp_mesh_record reply = {
            .op = LP_MESH_GOT,
            .flags = LP_MESH_EMPTY,
            .credits = 1,
            .w = {get->record.w[0], 0, 0, 0, 0, LP_FAULT_NOT_FOUND},
        };
        lp_mesh_reply(&engine->base.broker->mesh, get->from, &reply);
        void *block = get;
        lp_memory_release(engine->base.broker->memory, &block);
    }
}

/* ---- get ---- */

void
engine_get(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_mesh_record reply = {
        .op = LP_MESH_GOT, .flags = LP_MESH_EMPTY, .credits = 1, .w = {record->w[0]}};
    lp_queue_used(&engine->base);
    reply.w[5] = engine_get_fault(engine, record);
    const bool there = reply.w[5] == 0 && engine_look(engine) && engine->ready_count > 0;
    if (LP_UNLIKELY(there && engine->base.stored.away) && engine_get_waits(engine)) {
        if (engine_get_put_aside(engine, from, record)) {
            return;
        }
        reply.w[5] = LP_FAULT_RESOURCE_ERROR;
    } else if (there) {
        struct lp_subscription *getter = engine_getter(&engine->base, from, record);
        if (getter) {
            engine_give(engine, getter, &reply);
        }
    }
    lp_mesh_reply(&engine->base.broker->mesh, from, &reply);
}

void
engine_counts_reply(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_queue *queue = &engine->base;
    struct lp_mesh_record reply = {.op = LP_MESH_COUNTS, .credits = 1, .w = {record->w[0]}};
    if (queue->deleting) {
        reply.a = LP_FAULT_NOT_FOUND;
    } else if (lp_queue_locked(queue, record->w[1])) {
        reply.a = LP_FAULT_RESOURCE_LOCKED;
    } else {
        if (record->op == LP_MESH_STAT && !engine->rules->no_use_by_declare) {
            lp_queue_used(queue); /* it was declared again */
        }
        (void)engine_look(engine);
        reply.w[1] = engine->ready_count;
        reply.w[2] = queue->consumers;
        if (record->op == LP_MESH_PURGE) {
            engine_drop_ready(engine);
            engine_emptied(engine);
        }
    }
    lp_mesh_reply(&queue->broker->mesh, from, &reply);
}

/* Is what is next one that never was anybody's? */
static bool
engine_next_is_fresh(struct lp_engine *engine, const struct lp_entry *next)
{
    const struct lp_list *fresh = engine->order->fresh(engine, next->level);
    return fresh->next == &next->link;
}

/* Persistent ones keep their places, and pages that have some. */
static void
engine_drop_transient(struct lp_engine *engine)
{
    struct lp_list fresh;
    struct lp_list returned;
    struct lp_list *link;
    struct lp_entry *entry;
    lp_list_init(&fresh);
    lp_list_init(&returned);
    while ((entry = engine->order->peek(engine)) != NULL) {
        if ((entry->flags & LP_ENTRY_PAGE) != 0 && lp_store_page_of(entry)->persistent_count == 0) {
            engine_drop_page(engine, engine->order->pop(engine));
            continue;
        }
        if ((entry->flags & (LP_ENTRY_PERSISTENT | LP_ENTRY_PAGE)) == 0) {
            engine_entry_done(engine, engine_pop(engine));
            continue;
        }
        struct lp_list *kept = engine_next_is_fresh(engine, entry) ? &fresh : &returned;
        (void)engine->order->pop(engine);
        entry->link = (struct lp_list){NULL, NULL};
        lp_list_push_back(kept, &entry->link);
    }
    while ((link = lp_list_pop_front(&fresh)) != NULL) {
        engine->order->add(engine, LP_LIST_ITEM(link, struct lp_entry, link));
    }
    while ((link = lp_list_pop_front(&returned)) != NULL) {
        engine->order->add_returned(engine, LP_LIST_ITEM(link, struct lp_entry, link));
    }
}

uint64_t
lp_engine_purge(struct lp_queue *queue, bool transient)
{
    struct lp_engine *engine = engine_of(queue);
    (void)engine_look(engine);
    const uint64_t before = engine->ready_count;
    if (!transient) {
        engine_drop_ready(engine);
    } else if (!engine->rules->keeps_all) {
        engine_drop_transient(engine);
    }
    engine_emptied(engine);
    return before - engine->ready_count;
}
