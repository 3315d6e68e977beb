/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_record.c - the home shard's end of the mesh: finding the queue a
 * record is for, and answers, confirms and loans on their way back.
 */
#include <string.h>

#include "dataplane/broker/message.h"
#include "dataplane/broker/queue.h"
#include "dataplane/broker/reply.h"
#include "dataplane/broker/session.h"
#include "dataplane/broker/store/store.h"

/* ---- confirms: several numbers of one session share a record ---- */

static void
confirm_batch_send(struct lp_broker *broker, uint32_t to)
{
    struct lp_confirm_batch *batch = &broker->confirm_batch[to];
    if (batch->credits == 0) {
        return;
    }
    /* Messages are their publishers' memory, entries are ours: short of it, we let nobody publish
     * more.  (Our own publishers are paused at their connections.) */
    const uint32_t withheld =
        broker->pressed && to != broker->shard ? batch->credits - batch->own : 0;
    broker->credits_withheld[to] += withheld;
    struct lp_mesh_record record = {
        .op = LP_MESH_ENQUEUED,
        .credits = (uint16_t)(batch->credits - withheld),
        .a = batch->count,
    };
    if (record.credits == 0 && batch->count == 0) {
        batch->credits = 0;
        return; /* nothing is said */
    }
    record.w[0] = batch->session;
    for (uint32_t i = 0; i < batch->count; i++) {
        record.w[1 + i / 2] |= (uint64_t)batch->number[i] << (32u * (i % 2));
    }
    lp_mesh_reply(&broker->mesh, to, &record);
    batch->count = 0;
    batch->credits = 0;
    batch->own = 0;
    batch->session = LP_HANDLE_NONE;
}

void
lp_queue_confirm(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    if (LP_LIKELY(record->flags & LP_MESH_NEAR)) {
        if (record->w[1] != LP_HANDLE_NONE) {
            lp_session_enqueued(broker, record);
        }
        return;
    }
    if (LP_UNLIKELY(record->flags & LP_MESH_STAGED)) {
        return; /* it was, when it came */
    }
    struct lp_confirm_batch *batch = &broker->confirm_batch[from];
    const lp_handle session = record->w[1];
    if (session != LP_HANDLE_NONE) {
        if (batch->count > 0 &&
            (batch->session != session || batch->count == LP_MESH_CONFIRMS_MAX)) {
            confirm_batch_send(broker, from);
        }
        batch->session = session;
        batch->number[batch->count++] = (uint32_t)record->w[2];
    }
    batch->credits++;
    if (LP_UNLIKELY(record->flags & LP_MESSAGE_OWN)) {
        batch->own++;
    }
    if (batch->credits == UINT16_MAX) {
        confirm_batch_send(broker, from);
    }
}

void
lp_queue_refuse(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record,
                uint8_t flags)
{
    if (record->flags & LP_MESH_NEAR) {
        lp_session_refused(broker, record, flags);
        return;
    }
    if (LP_UNLIKELY(record->flags & LP_MESH_STAGED)) {
        lp_staging_refused(broker, flags);
        return;
    }
    /* Answers keep the order of what they answer. */
    confirm_batch_send(broker, from);
    const struct lp_mesh_record reply = {
        .op = LP_MESH_REFUSED,
        .flags = flags,
        .credits = 1,
        .w = {record->w[0], record->w[1], record->w[2]},
    };
    lp_mesh_reply(&broker->mesh, from, &reply);
}

/* ---- entries and loans ---- */

struct lp_entry *
lp_queue_entry_alloc(struct lp_queue *queue, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_broker *broker = queue->broker;
    lp_handle self;
    struct lp_entry *entry = lp_pool_alloc(&broker->entries, &self);
    if (!entry) {
        return NULL;
    }
    entry->message = record->w[0];
    entry->owner = (uint8_t)from;
    entry->body_bytes = (uint32_t)record->w[3];
    entry->state = LP_ENTRY_READY;
    entry->flags = (record->flags & LP_MESSAGE_PERSISTENT) != 0 ? LP_ENTRY_PERSISTENT : 0;
    return entry;
}

void
lp_queue_entry_done(struct lp_broker *broker, struct lp_entry *entry)
{
    LP_ASSERT(entry->state != LP_ENTRY_DONE && (entry->flags & LP_ENTRY_STORED) == 0);
    entry->state = LP_ENTRY_DONE;
    if (LP_UNLIKELY(entry->message == LP_HANDLE_NONE)) { /* it was on disk only */
        lp_pool_release(&broker->entries, lp_pool_self(entry));
        return;
    }
    if (entry->owner == broker->shard) {
        lp_message_unlend(&broker->messages, entry->message, 1);
        lp_pool_release(&broker->entries, lp_pool_self(entry));
        return;
    }
    entry->link = (struct lp_list){NULL, NULL};
    lp_list_push_back(&broker->release[entry->owner].entries, &entry->link);
}

/* Memory is there again: publishers on that shard go on. */
static void
withheld_flush(struct lp_broker *broker, uint32_t to)
{
    if (broker->pressed || broker->credits_withheld[to] == 0) {
        return;
    }
    const struct lp_mesh_record record = {
        .op = LP_MESH_ENQUEUED,
        .credits = (uint16_t)broker->credits_withheld[to], /* at most LP_MESH_CREDITS */
    };
    if (lp_mesh_news(&broker->mesh, to, &record)) {
        broker->credits_withheld[to] = 0;
    }
}

bool
lp_queue_credits_withheld(const struct lp_broker *broker)
{
    uint32_t withheld = 0;
    for (uint32_t i = 0; i < broker->mesh.count; i++) {
        withheld |= broker->credits_withheld[i];
    }
    return withheld != 0;
}

static void
release_flush(struct lp_broker *broker, uint32_t to)
{
    struct lp_list *list = &broker->release[to].entries;
    while (!lp_list_empty(list) && lp_mesh_news_room(&broker->mesh, to) > 0) {
        struct lp_mesh_record record = {.op = LP_MESH_RELEASE};
        while (record.a < LP_MESH_RELEASES_MAX) {
            struct lp_list *link = lp_list_pop_front(list);
            if (!link) {
                break;
            }
            struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
            record.w[record.a++] = entry->message;
            lp_pool_release(&broker->entries, lp_pool_self(entry));
        }
        const bool sent = lp_mesh_news(&broker->mesh, to, &record);
        LP_ASSERT(sent);
    }
}

static void
gone_flush(struct lp_broker *broker)
{
    struct lp_list *at = broker->subscriptions_gone.next;
    while (at != &broker->subscriptions_gone) {
        struct lp_subscription *subscription = LP_LIST_ITEM(at, struct lp_subscription, in_news);
        at = at->next;
        const struct lp_mesh_record record = {.op = LP_MESH_GONE, .w = {subscription->consumer}};
        if (lp_mesh_news(&broker->mesh, subscription->client_shard, &record)) {
            lp_list_remove(&subscription->in_news);
        }
    }
}

/* C has detached from a queue that was deleted: nobody reads what it had been sent any more. */
static void
gone_detach(struct lp_broker *broker, struct lp_subscription *subscription)
{
    struct lp_list *link;
    while ((link = lp_list_pop_front(&subscription->unacked)) != NULL) {
        struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
        lp_store_forget(broker, entry);
        lp_queue_entry_done(broker, entry);
    }
    lp_list_remove(&subscription->in_news);
    lp_pool_release(&broker->subscriptions, subscription->self);
}

void
lp_queue_flush(struct lp_broker *broker)
{
    if (!lp_list_empty(&broker->queues_unused)) {
        lp_queue_unused_retry(broker);
    }
    for (uint32_t i = 0; i < broker->mesh.count; i++) {
        confirm_batch_send(broker, i);
        withheld_flush(broker, i);
        release_flush(broker, i);
    }
    gone_flush(broker);
}

/* ---- records ---- */

/* A request for a queue that is in no topology: a reply queue, or one that is gone. */
static void
record_no_queue(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_mesh_record reply = {.credits = 1, .w = {record->w[0]}};
    struct lp_queue *reply_queue = lp_reply_queue_find(broker, record);
    if (reply_queue) {
        reply_queue->type->handle(reply_queue, from, record);
        return;
    }
    switch (record->op) {
    case LP_MESH_ENQUEUE:
        lp_queue_refuse(broker, from, record, 0);
        return;
    case LP_MESH_CONSUME:
        reply.op = LP_MESH_CONSUMED;
        reply.a = LP_FAULT_NOT_FOUND;
        break;
    case LP_MESH_GET:
        reply.op = LP_MESH_GOT;
        reply.flags = LP_MESH_EMPTY;
        reply.w[5] = LP_FAULT_NOT_FOUND;
        break;
    case LP_MESH_STAT:
    case LP_MESH_PURGE:
        reply.op = LP_MESH_COUNTS;
        reply.a = LP_FAULT_NOT_FOUND;
        break;
    case LP_MESH_CANCEL:
        reply.op = LP_MESH_CANCELLED;
        reply.w[0] = record->w[1];
        break;
    case LP_MESH_DETACH: {
        struct lp_subscription *subscription = lp_pool_get(&broker->subscriptions, record->w[0]);
        if (subscription) {
            gone_detach(broker, subscription);
        }
        reply.op = LP_MESH_DETACHED;
        reply.w[0] = record->w[1];
        break;
    }
    default:
        return; /* news about a subscription that is gone */
    }
    lp_mesh_reply(&broker->mesh, from, &reply);
}

static inline bool
record_of_tx(const struct lp_mesh_record *record)
{
    return (record->op == LP_MESH_ENQUEUE || record->op == LP_MESH_SETTLE) &&
           (record->flags & LP_MESH_TX) != 0;
}

bool
lp_queue_record(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_queue *queue = NULL;
    switch (record->op) {
    case LP_MESH_ENQUEUE:
    case LP_MESH_CONSUME:
    case LP_MESH_GET:
    case LP_MESH_STAT:
    case LP_MESH_PURGE:
        lp_mesh_owe(&broker->mesh, from);
        queue = lp_queue_find(broker, record->a);
        break;
    case LP_MESH_SYNC:
        lp_mesh_owe(&broker->mesh, from);
        if (record->flags & LP_MESH_STAGED) {
            lp_staging_sync(broker, from, record);
        } else {
            lp_store_sync(broker, from, record);
        }
        return true;
    case LP_MESH_CANCEL:
    case LP_MESH_DETACH:
        lp_mesh_owe(&broker->mesh, from);
        /* fall through */
    case LP_MESH_CREDIT:
    case LP_MESH_SETTLE:
    case LP_MESH_GRANT: {
        const struct lp_subscription *subscription =
            lp_pool_get(&broker->subscriptions, record->w[0]);
        queue = subscription ? subscription->queue : NULL;
        break;
    }
    default:
        return false;
    }
    if (LP_UNLIKELY(record_of_tx(record)) && (record->flags & LP_MESH_STAGED) != 0) {
        lp_staging_record(broker, from, record);
    } else if (queue && LP_UNLIKELY(record_of_tx(record))) {
        lp_store_tie(broker);
        queue->type->handle(queue, from, record);
        lp_store_untie_later(broker); /* with what follows; a SYNC ends it */
    } else if (queue) {
        queue->type->handle(queue, from, record);
    } else {
        record_no_queue(broker, from, record);
    }
    return true;
}
