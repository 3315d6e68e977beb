/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/staging.h"

#include "dataplane/broker/queue.h"
#include "dataplane/broker/store/store.h"

/* Records done in one turn. */
#define STEP_MAX 4096u
/* Of a class of lp_memory's. */
#define BLOCK_ITEMS 113u

struct staged_item {
    struct lp_mesh_record record;
    lp_handle entry; /* ENQUEUE: to give the message back with; NONE: a SETTLE */
};

struct staged_block {
    struct staged_block *next;
    uint32_t count;
    struct staged_item item[BLOCK_ITEMS];
};
LP_STATIC_ASSERT(sizeof(struct staged_block) <= 8192, "a class of lp_memory's");

/* What one session's transaction is here. */
struct staged {
    struct lp_list link; /* lp_staging.open or .complete */
    lp_handle session;
    uint32_t from;
    uint32_t done; /* of the first block */
    bool failed;   /* none of it is to be done */
    struct staged_block *first;
    struct staged_block *last;
    struct lp_mesh_record sync;
};

void
lp_staging_init(struct lp_staging *staging)
{
    lp_list_init(&staging->open);
    lp_list_init(&staging->complete);
}

/* ---- coming ---- */

static struct staged *
staged_find(struct lp_broker *broker, uint32_t from, lp_handle session)
{
    struct lp_list *open = &broker->staging.open;
    for (struct lp_list *at = open->next; at != open; at = at->next) {
        struct staged *staged = LP_LIST_ITEM(at, struct staged, link);
        if (staged->from == from && staged->session == session) {
            return staged;
        }
    }
    return NULL;
}

static struct staged *
staged_make(struct lp_broker *broker, uint32_t from, lp_handle session)
{
    struct staged *staged = lp_memory_alloc(broker->memory, sizeof(*staged));
    if (staged) {
        *staged = (struct staged){.session = session, .from = from};
        lp_list_push_back(&broker->staging.open, &staged->link);
    }
    return staged;
}

/* Room for one more; NULL: no memory. */
static struct staged_item *
staged_add(struct lp_broker *broker, struct staged *staged)
{
    struct staged_block *block = staged->last;
    if (!block || block->count == BLOCK_ITEMS) {
        block = lp_memory_alloc(broker->memory, sizeof(*block));
        if (!block) {
            return NULL;
        }
        block->next = NULL;
        block->count = 0;
        if (staged->last) {
            staged->last->next = block;
        } else {
            staged->first = block;
        }
        staged->last = block;
    }
    return &block->item[block->count++];
}

/* An entry that holds nothing but the loan. */
static lp_handle
entry_make(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    lp_handle self = LP_HANDLE_NONE;
    struct lp_entry *entry = lp_pool_alloc(&broker->entries, &self);
    if (entry) {
        entry->message = record->w[0];
        entry->owner = (uint8_t)from;
        entry->state = LP_ENTRY_READY;
        entry->flags = 0;
    }
    return entry ? self : LP_HANDLE_NONE;
}

/* False: no memory. */
static bool
keep(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    const bool enqueue = record->op == LP_MESH_ENQUEUE;
    const lp_handle session = enqueue ? record->w[1] : record->w[LP_MESH_SETTLES_MAX];
    struct staged *staged = staged_find(broker, from, session);
    staged = staged ? staged : staged_make(broker, from, session);
    if (!staged) {
        broker->staging.starved[from] = true;
        return false;
    }
    const lp_handle entry = enqueue ? entry_make(broker, from, record) : LP_HANDLE_NONE;
    struct staged_item *item =
        !enqueue || entry != LP_HANDLE_NONE ? staged_add(broker, staged) : NULL;
    if (!item) {
        staged->failed = true;
        if (entry != LP_HANDLE_NONE) {
            lp_pool_release(&broker->entries, entry);
        }
        return false;
    }
    item->record = *record;
    if (enqueue) {
        item->record.w[1] = LP_HANDLE_NONE; /* nobody asks for this one alone */
    }
    item->entry = entry;
    return true;
}

void
lp_staging_record(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_mesh_record plain = *record;
    const bool kept = keep(broker, from, record);
    plain.flags &= (uint8_t) ~(LP_MESH_TX | LP_MESH_STAGED);
    if (record->op != LP_MESH_ENQUEUE) {
        return;
    }
    if (kept) {
        lp_queue_confirm(broker, from, &plain);
    } else {
        broker->stats->messages_dropped++;
        lp_queue_refuse(broker, from, &plain, LP_MESH_NACK);
    }
}

/* ---- the end of it ---- */

/* It is answered: when all of it is on disk, or because it is nothing. */
static void
sync_answer(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record,
            bool failed)
{
    struct lp_mesh_record sync = *record;
    sync.flags = 0;
    if (!failed) {
        lp_store_sync(broker, from, &sync);
    } else if (sync.w[1] == LP_HANDLE_NONE) {
        lp_queue_confirm(broker, from, &sync);
    } else {
        lp_queue_refuse(broker, from, &sync, LP_MESH_NACK | LP_MESH_KEPT);
    }
}

void
lp_staging_sync(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    struct staged *staged = staged_find(broker, from, record->w[3]);
    const bool failed = (record->flags & LP_MESH_DROP) != 0 || broker->staging.starved[from];
    broker->staging.starved[from] = false;
    if (!staged) {
        sync_answer(broker, from, record, failed);
        return;
    }
    staged->sync = *record;
    staged->failed = staged->failed || failed;
    lp_list_remove(&staged->link);
    lp_list_push_back(&broker->staging.complete, &staged->link);
}

/* ---- doing ---- */

void
lp_staging_refused(struct lp_broker *broker, uint8_t flags)
{
    struct lp_staging *staging = &broker->staging;
    staging->refused = true;
    if ((flags & LP_MESH_KEPT) == 0) {
        struct lp_entry *entry = lp_pool_get(&broker->entries, staging->entry);
        LP_ASSERT(entry);
        staging->entry = LP_HANDLE_NONE;
        lp_queue_entry_done(broker, entry); /* the loan goes home */
    }
}

static void
item_enqueue(struct lp_broker *broker, uint32_t from, const struct staged_item *item)
{
    struct lp_staging *staging = &broker->staging;
    struct lp_queue *queue = lp_queue_find(broker, item->record.a);
    staging->entry = item->entry;
    if (queue) {
        queue->type->handle(queue, from, &item->record); /* nothing is answered any more */
    } else {
        lp_staging_refused(broker, 0);
    }
    if (staging->entry != LP_HANDLE_NONE) {
        lp_pool_release(&broker->entries, staging->entry);
        staging->entry = LP_HANDLE_NONE;
    }
}

static void
item_settle(struct lp_broker *broker, uint32_t from, const struct staged_item *item)
{
    struct lp_mesh_record record = item->record;
    const struct lp_subscription *subscription = lp_pool_get(&broker->subscriptions, record.w[0]);
    record.flags &= (uint8_t) ~(LP_MESH_TX | LP_MESH_STAGED);
    if (subscription && subscription->queue) {
        subscription->queue->type->handle(subscription->queue, from, &record);
    }
}

static void
item_do(struct lp_broker *broker, const struct staged *staged, const struct staged_item *item)
{
    if (!staged->failed && item->entry == LP_HANDLE_NONE) {
        item_settle(broker, staged->from, item);
    } else if (!staged->failed) {
        item_enqueue(broker, staged->from, item);
    } else if (item->entry != LP_HANDLE_NONE) {
        lp_queue_entry_done(broker, lp_pool_get(&broker->entries, item->entry));
    }
}

/* False: the budget is spent, and some is left. */
static bool
staged_do(struct lp_broker *broker, struct staged *staged, uint32_t *budget)
{
    while (staged->first) {
        struct staged_block *block = staged->first;
        for (; staged->done < block->count; staged->done++) {
            if (*budget == 0) {
                return false;
            }
            item_do(broker, staged, &block->item[staged->done]);
            (*budget)--;
        }
        void *old = block;
        staged->first = block->next;
        staged->done = 0;
        lp_memory_release(broker->memory, &old);
    }
    return true;
}

uint32_t
lp_staging_step(struct lp_broker *broker)
{
    struct lp_staging *staging = &broker->staging;
    uint32_t budget = STEP_MAX;
    while (!lp_list_empty(&staging->complete)) {
        struct staged *staged = LP_LIST_ITEM(staging->complete.next, struct staged, link);
        if (!staging->tied) {
            lp_store_tie(broker);
            staging->tied = true;
            staging->refused = false;
        }
        if (!staged_do(broker, staged, &budget)) {
            break;
        }
        lp_store_untie(broker);
        staging->tied = false;
        sync_answer(broker, staged->from, &staged->sync, staged->failed || staging->refused);
        lp_list_remove(&staged->link);
        void *block = staged;
        lp_memory_release(broker->memory, &block);
    }
    return STEP_MAX - budget;
}
