/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c - queues at home: coming and going, and records that are for them.
 */
#include "dataplane/broker/queue.h"

#include <lepus/field_table.h>
#include <string.h>

#include "dataplane/broker/queue_private.h"

/* The list in dataplane/queue/meson.build makes this table. */
#define X(name) extern const struct lp_queue_type lp_queue_type_##name;
#include "dataplane/queue/registry.inc"
#undef X

static const struct lp_queue_type *const queue_types[] = {
#define X(name) &lp_queue_type_##name,
#include "dataplane/queue/registry.inc"
#undef X
};

uint32_t
lp_queue_item_bytes(void)
{
    uint32_t bytes = 0;
    for (size_t i = 0; i < LP_COUNT_OF(queue_types); i++) {
        bytes = LP_MAX(bytes, queue_types[i]->queue_bytes);
    }
    return bytes;
}

const struct lp_queue_type *
lp_queue_type_find(struct lp_bytes name)
{
    for (size_t i = 0; i < LP_COUNT_OF(queue_types); i++) {
        if (lp_bytes_equal_text(name, queue_types[i]->name)) {
            return queue_types[i];
        }
    }
    return NULL;
}

static const struct lp_queue_type *
queue_type_of(const struct lp_queue_ref *ref)
{
    struct lp_field field;
    if (lp_field_find(lp_queue_ref_arguments(ref), "x-queue-type", &field) && field.type == 'S') {
        const struct lp_queue_type *type = lp_queue_type_find(field.raw);
        if (type) {
            return type;
        }
    }
    return &lp_queue_type_classic;
}

enum lp_err
lp_queue_up(void *context, struct lp_queue_ref *ref)
{
    struct lp_broker *broker = context;
    if (ref->home_shard >= broker->mesh.count) {
        return LP_ERR_BAD_RECORD; /* requests for it would go nowhere */
    }
    if (ref->home_shard != broker->shard) {
        return LP_OK;
    }
    lp_handle self;
    struct lp_queue *queue = lp_pool_alloc(&broker->queues, &self);
    if (!queue) {
        return LP_ERR_NO_MEMORY;
    }
    queue->type = queue_type_of(ref);
    queue->broker = broker;
    queue->ref = ref;
    queue->self = self;
    queue->id = ref->id;
    queue->settings = lp_queue_settings_none();
    lp_list_init(&queue->subscriptions);
    queue->stored.on = broker->store && (ref->flags & LP_OBJECT_DURABLE) != 0 && ref->owner == 0;
    queue->stored.away = queue->stored.on;
    if (!queue->type->open(queue)) {
        lp_pool_release(&broker->queues, self);
        return LP_ERR_NO_MEMORY;
    }
    ref->local = queue;
    return LP_OK;
}

enum lp_err
lp_queue_configure(void *context, struct lp_queue_ref *ref, struct lp_bytes encoded)
{
    struct lp_broker *broker = context;
    struct lp_queue *queue = ref->local;
    struct lp_queue_settings settings;
    struct lp_dead_letters *letters = NULL;
    if (!queue) {
        return LP_OK; /* another shard's */
    }
    if (!lp_queue_settings_read(encoded, &settings)) {
        return LP_ERR_BAD_RECORD;
    }
    if (settings.dead_letters) {
        const enum lp_err err = lp_dead_letters_make(broker->memory, ref, &settings, &letters);
        if (err != LP_OK) {
            return err;
        }
    }
    const uint64_t expires_ms = queue->settings.expires_ms;
    settings.dead_letter_exchange = letters ? letters->exchange : lp_bytes_of(NULL, 0);
    settings.dead_letter_key = letters ? letters->key : lp_bytes_of(NULL, 0);
    lp_dead_letters_put(broker->memory, &queue->dead_letters);
    queue->dead_letters = letters;
    queue->settings = settings;
    const bool expires_anew = settings.expires_ms != expires_ms;
    queue->type->configure(queue);
    if (expires_anew) {
        queue_expiry_anew(queue);
    }
    return LP_OK;
}

/*
 * Every subscription is told that its queue is gone.  What it had unacknowledged
 * stays with it until C answers with DETACH: C may be about to read it.
 */
static void
queue_subscriptions_end(struct lp_queue *queue)
{
    struct lp_list *link;
    while ((link = lp_list_pop_front(&queue->subscriptions)) != NULL) {
        struct lp_subscription *subscription = LP_LIST_ITEM(link, struct lp_subscription, in_queue);
        LP_ASSERT(!lp_list_linked(&subscription->in_ready));
        subscription->queue = NULL;
        lp_list_push_back(&queue->broker->subscriptions_gone, &subscription->in_news);
    }
}

void
queue_cancel_answer(struct lp_queue *queue)
{
    if (!queue->cancel_waits) {
        return;
    }
    queue->cancel_waits = false;
    const struct lp_mesh_record reply = {
        .op = LP_MESH_CANCELLED, .credits = 1, .w = {queue->cancel_consumer}};
    lp_mesh_reply(&queue->broker->mesh, queue->cancel_shard, &reply);
}

void
lp_queue_down(void *context, struct lp_queue_ref *ref)
{
    struct lp_broker *broker = context;
    struct lp_queue *queue = ref->local;
    lp_stamps_off(broker, ref);
    if (!queue) {
        return;
    }
    ref->local = NULL;
    broker->queue_last = NULL;
    queue_cancel_answer(queue);
    queue->type->close(queue);
    queue_subscriptions_end(queue);
    lp_list_remove(&queue->in_dirty);
    lp_list_remove(&queue->in_unused);
    lp_timer_disarm(&broker->wheel, &queue->expiry);
    lp_dead_letters_put(broker->memory, &queue->dead_letters);
    lp_pool_release(&broker->queues, queue->self);
}

struct lp_queue *
lp_queue_find(struct lp_broker *broker, uint32_t id)
{
    if (broker->queue_last && broker->queue_last->id == id) {
        return broker->queue_last;
    }
    struct lp_queue_ref *ref = lp_topology_queue_by_id(&broker->topology, id);
    struct lp_queue *queue = ref ? ref->local : NULL;
    broker->queue_last = queue;
    return queue;
}

uint8_t
lp_queue_delete_check(struct lp_broker *broker, uint32_t id, bool if_unused, bool if_empty,
                      uint32_t *ret_count)
{
    struct lp_queue *queue = lp_queue_find(broker, id);
    *ret_count = 0;
    if (!queue) {
        return LP_DELETE_UNKNOWN;
    }
    if (queue->deleting) {
        *ret_count = queue->deleted_ready;
        return LP_DELETE_ALLOWED;
    }
    struct lp_queue_counts counts;
    queue->type->counts(queue, &counts);
    /* Both asked and both violated: "not empty" is what clients see (C68). */
    if (if_empty && counts.ready > 0) {
        return LP_DELETE_NOT_EMPTY;
    }
    if (if_unused && counts.consumers > 0) {
        return LP_DELETE_IN_USE;
    }
    queue->deleting = true;
    queue->deleted_ready = (uint32_t)LP_MIN(counts.ready, (uint64_t)UINT32_MAX);
    *ret_count = queue->deleted_ready;
    return LP_DELETE_ALLOWED;
}

void
lp_queue_dirty(struct lp_queue *queue)
{
    if (!lp_list_linked(&queue->in_dirty)) {
        lp_list_push_back(&queue->broker->queues_dirty, &queue->in_dirty);
    }
}

struct lp_subscription *
lp_queue_subscription_alloc(struct lp_queue *queue, uint32_t from, lp_handle consumer)
{
    lp_handle self;
    struct lp_subscription *subscription = lp_pool_alloc(&queue->broker->subscriptions, &self);
    if (!subscription) {
        return NULL;
    }
    subscription->self = self;
    subscription->queue = queue;
    subscription->consumer = consumer;
    subscription->client_shard = from;
    lp_list_init(&subscription->unacked);
    lp_list_push_back(&queue->subscriptions, &subscription->in_queue);
    return subscription;
}

void
lp_queue_subscription_free(struct lp_subscription *subscription)
{
    LP_ASSERT(lp_list_empty(&subscription->unacked));
    LP_ASSERT(!lp_list_linked(&subscription->in_ready));
    struct lp_broker *broker = subscription->queue->broker;
    lp_list_remove(&subscription->in_queue);
    lp_pool_release(&broker->subscriptions, subscription->self);
}

uint32_t
lp_queue_dispatch(struct lp_broker *broker)
{
    /* Each queue that is dirty now once: what becomes dirty meanwhile is next. */
    uint32_t worked = 0;
    struct lp_list round;
    lp_list_init(&round);
    while (!lp_list_empty(&broker->queues_dirty)) {
        struct lp_list *link = lp_list_pop_front(&broker->queues_dirty);
        lp_list_push_back(&round, link);
    }
    struct lp_list *link;
    while ((link = lp_list_pop_front(&round)) != NULL) {
        struct lp_queue *queue = LP_LIST_ITEM(link, struct lp_queue, in_dirty);
        if (!queue->type->dispatch(queue, LP_QUEUE_DISPATCH_BUDGET)) {
            lp_queue_dirty(queue);
        }
        worked++;
    }
    return worked;
}
