/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops.c - what is noted until it is written, and what waits until that is
 * durable.
 */
#include "dataplane/broker/store/store_private.h"

/* Positions that a queue is allowed to hand out, at first and at most, before it has to ask. */
#define SLACK_FIRST 64u
#define SLACK_MAX   65536u
/* So far may wall time be off before it counts. */
#define WALL_DRIFT_NS 1000000u

/* ---- noting ---- */

struct store_op *
store_note(struct lp_store *store, enum store_op_kind kind, uint32_t queue, uint64_t position)
{
    uint64_t number;
    struct store_op *op = LP_LIKELY(!store->fenced) ? lp_window_append(&store->ops, &number) : NULL;
    if (LP_UNLIKELY(!op)) {
        return NULL;
    }
    if (number == store->encode_next) {
        store->noted_ns = store->broker->now_ns;
    }
    op->kind = (uint8_t)kind;
    op->flags = store->tying > 0 ? STORE_OP_TIED : 0;
    op->queue = queue;
    op->position = position;
    return op;
}

void
lp_store_tie(struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    if (store && store->tying++ == 0) {
        store->tie_first = store->ops.next;
    }
}

void
lp_store_untie_later(struct lp_broker *broker)
{
    if (broker->store) {
        broker->store->tying--;
    }
}

void
lp_store_untie(struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    if (!store || --store->tying > 0) {
        return;
    }
    if (store->ops.next > store->tie_first) {
        struct store_op *last = lp_window_get(&store->ops, store->ops.next - 1);
        if (last) {
            last->flags &= (uint8_t)~STORE_OP_TIED;
        }
    }
}

/* The operation that wrote, or will write, an entry which has no place yet. */
static struct store_op *
op_of(const struct lp_store *store, const struct lp_entry *entry)
{
    const uint64_t newest = store->ops.next - 1;
    return lp_window_get(&store->ops, newest - (uint32_t)((uint32_t)newest - entry->place.unit));
}

bool
store_note_enqueue(struct lp_broker *broker, uint32_t queue, struct lp_entry *entry, uint32_t from,
                   const struct lp_mesh_record *record)
{
    struct lp_store *store = broker->store;
    const uint64_t number = store->ops.next;
    struct store_op *op = store_note(store, STORE_OP_ENQUEUE, queue, entry->position);
    if (LP_UNLIKELY(!op)) {
        return false;
    }
    op->entry = lp_pool_self(entry);
    broker->stats->messages_stored++;
    entry->flags |= LP_ENTRY_STORED;
    entry->place = (struct lp_log_place){0, (uint32_t)number};
    if (record->w[1] == LP_HANDLE_NONE) {
        lp_queue_confirm(broker, from, record); /* nobody asks when it is on disk */
        return true;
    }
    op->flags |= STORE_OP_WAITS;
    op->from = (uint8_t)from;
    op->record_flags = record->flags;
    op->session = record->w[1];
    op->number = record->w[2];
    return true;
}

bool
lp_store_enqueue(struct lp_queue *queue, struct lp_entry *entry, uint32_t from,
                 const struct lp_mesh_record *record)
{
    return store_note_enqueue(queue->broker, queue->id, entry, from, record);
}

void
lp_store_sync(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    struct lp_store *store = broker->store;
    struct store_op *op = store ? store_note(store, STORE_OP_NONE, 0, 0) : NULL;
    if (!store || record->w[1] == LP_HANDLE_NONE) {
        lp_queue_confirm(broker, from, record);
    } else if (!op) {
        lp_queue_refuse(broker, from, record, LP_MESH_NACK | LP_MESH_KEPT);
    } else {
        op->flags |= STORE_OP_WAITS;
        op->from = (uint8_t)from;
        op->session = record->w[1];
        op->number = record->w[2];
    }
}

/* ---- for this run only ---- */

void
store_brief(struct lp_broker *broker, struct lp_entry *entry)
{
    LP_ASSERT((entry->flags & LP_ENTRY_STORED) == 0);
    entry->flags |= LP_ENTRY_STORED;
    entry->brief = 1;
    entry->place = (struct lp_log_place){0, 0};
    entry->record_bytes = entry->body_bytes; /* until it has a record */
    lp_store_resident(broker, (int64_t)lp_store_resident_bytes(entry));
}

bool
store_brief_write(struct lp_store *store, uint32_t queue, struct lp_entry *entry)
{
    const uint64_t number = store->ops.next;
    struct store_op *op = store_note(store, STORE_OP_BRIEF, queue, entry->position);
    if (!op) {
        return false;
    }
    op->entry = lp_pool_self(entry);
    entry->noted = 1;
    entry->place.unit = (uint32_t)number;
    return true;
}

void
lp_store_brief(struct lp_queue *queue, struct lp_entry *entry)
{
    queue->stored.away = true;
    store_brief(queue->broker, entry);
}

bool
lp_store_brief_write(struct lp_queue *queue, struct lp_entry *entry)
{
    return store_brief_write(queue->broker->store, queue->id, entry);
}

void
lp_store_brief_written(struct lp_queue *queue)
{
    struct lp_store *store = queue->broker->store;
    struct store_op *op = store->ops.next > store->encode_next
                              ? lp_window_get(&store->ops, store->ops.next - 1)
                              : NULL;
    if (op && op->kind == STORE_OP_BRIEF) {
        op->flags |= STORE_OP_WAITS;
    }
}

/* ---- settling ---- */

/* Positions that leave in a row are one operation. */
static bool
settle_joins(struct lp_store *store, uint32_t queue, uint64_t position)
{
    if (store->ops.next == store->encode_next) {
        return false;
    }
    struct store_op *last = lp_window_get(&store->ops, store->ops.next - 1);
    if (!last || last->kind != STORE_OP_ACKS || last->queue != queue ||
        last->position + last->count != position || last->count == STORE_ACKS_MAX ||
        store->tying > 0) {
        return false;
    }
    last->count++;
    return true;
}

static void
settle_note(struct lp_store *store, uint32_t queue, uint64_t position)
{
    if (settle_joins(store, queue, position)) {
        return;
    }
    struct store_op *op = store_note(store, STORE_OP_ACKS, queue, position);
    if (op) {
        op->count = 1;
    } /* else it may come back, if nothing else comes of it first: a checkpoint does not know it */
}

/* What was to be written of it is not. */
static void
op_end(const struct lp_store *store, const struct lp_entry *entry)
{
    struct store_op *op = op_of(store, entry);
    LP_ASSERT(store->fenced ||
              (op && op->kind == (entry->brief ? STORE_OP_BRIEF : STORE_OP_ENQUEUE)));
    if (op) {
        op->kind = STORE_OP_NONE;
        op->flags &= entry->brief ? (uint8_t)~STORE_OP_WAITS : UINT8_MAX;
    }
}

/* Nothing is held for it any more.  False: nothing need be known of that: it was never written, and
 * will not be, or is brief. */
static bool
entry_let_go(struct lp_store *store, struct lp_entry *entry)
{
    const bool written = entry->place.segment != 0;
    const bool brief = entry->brief;
    entry->flags &= (uint8_t)~LP_ENTRY_STORED;
    if (!written && (!brief || entry->noted)) {
        op_end(store, entry);
    }
    if ((written || brief) && entry->message != LP_HANDLE_NONE) {
        lp_store_resident(store->broker, -(int64_t)lp_store_resident_bytes(entry));
    }
    if (written) {
        lp_log_let_go(store->log, entry->place, entry->record_bytes);
    }
    entry->brief = 0;
    entry->noted = 0;
    return written && !brief;
}

void
lp_store_settle(struct lp_queue *queue, struct lp_entry *entry)
{
    struct lp_store *store = queue->broker->store;
    LP_ASSERT((entry->flags & (LP_ENTRY_STORED | LP_ENTRY_PAGE)) == LP_ENTRY_STORED);
    if (entry_let_go(store, entry)) {
        settle_note(store, queue->id, entry->position);
    }
}

void
lp_store_forget(struct lp_broker *broker, struct lp_entry *entry)
{
    if (entry->flags & LP_ENTRY_STORED) {
        (void)entry_let_go(broker->store, entry);
    }
}

void
lp_store_returned(struct lp_queue *queue, const struct lp_entry *entry)
{
    struct store_op *op =
        store_note(queue->broker->store, STORE_OP_RETURN, queue->id, entry->position);
    if (op) {
        op->entry = lp_pool_self(entry);
    }
}

void
lp_store_dropped(struct lp_queue *queue)
{
    (void)store_note(queue->broker->store, STORE_OP_DROP, queue->id, 0);
    /* Without memory for it: recovery finds a queue that nobody names. */
}

/* ---- sources ---- */

bool
lp_store_written(const struct lp_broker *broker, const struct lp_entry *entry)
{
    return (entry->flags & LP_ENTRY_STORED) == 0 || entry->place.segment != 0 ||
           broker->store->fenced;
}

/* One less of the queue's, if that is still there. */
static void
source_gone(struct lp_broker *broker, uint32_t queue_id)
{
    struct lp_queue *queue = lp_queue_find(broker, queue_id);
    if (queue) {
        LP_ASSERT(queue->stored.sources > 0);
        queue->stored.sources--;
    }
}

struct lp_store_source
lp_store_source_of(struct lp_broker *broker, uint32_t queue_id, struct lp_entry *entry)
{
    struct lp_store_source source = {0};
    if ((entry->flags & LP_ENTRY_STORED) == 0) {
        return source;
    }
    entry->flags &= (uint8_t)~LP_ENTRY_STORED;
    if (entry->place.segment == 0) { /* it never will be in the log */
        source_gone(broker, queue_id);
        return source;
    }
    if (entry->message != LP_HANDLE_NONE) {
        lp_store_resident(broker, -(int64_t)lp_store_resident_bytes(entry));
    }
    source.queue_id = queue_id;
    source.position = entry->position;
    source.item = store_item_of(broker, entry);
    return source;
}

void
lp_store_source_settle(struct lp_broker *broker, const struct lp_store_source *source)
{
    struct lp_store *store = broker->store;
    if (source->queue_id == 0) {
        return;
    }
    source_gone(broker, source->queue_id);
    lp_log_let_go(store->log, source->item.place, source->item.record_bytes);
    settle_note(store, source->queue_id, source->position);
}

/* ---- handing out ---- */

/*
 * An entry that is noted after it was asked whether it may be handed out is
 * never on disk without that: it need not wait.  These are from `given_fresh`
 * on: all that came since, as long as it was always asked in time.
 */
static void
given_ask(struct lp_queue *queue, uint64_t position)
{
    struct lp_stored *stored = &queue->stored;
    stored->slack = stored->slack == 0 ? SLACK_FIRST : LP_MIN(2 * stored->slack, SLACK_MAX);
    struct store_op *op =
        store_note(queue->broker->store, STORE_OP_GIVEN, queue->id, position + stored->slack);
    if (!op) {
        return;
    }
    op->flags |= STORE_OP_WAITS;
    if (stored->next_position > stored->given_asked) {
        stored->given_fresh = stored->next_position;
    }
    stored->given_asked = LP_MAX(stored->given_asked, op->position);
}

void
lp_store_will_give(struct lp_queue *queue, uint64_t position)
{
    const struct lp_stored *stored = &queue->stored;
    if (LP_UNLIKELY(position + stored->slack / 2 >= stored->given_asked)) {
        given_ask(queue, position);
    }
}

bool
lp_store_may_give(struct lp_queue *queue, const struct lp_entry *entry)
{
    const struct lp_stored *stored = &queue->stored;
    if ((entry->flags & LP_ENTRY_STORED) == 0 || entry->brief) {
        return true;
    }
    lp_store_will_give(queue, entry->position);
    if (LP_UNLIKELY(entry->position >= stored->given_asked && !queue->broker->store->fenced)) {
        lp_queue_dirty(queue); /* there was no memory to ask: again with the next turn */
    }
    return entry->position < stored->given ||
           (entry->position >= stored->given_fresh && entry->position < stored->given_asked);
}

bool
lp_store_never_gives(struct lp_queue *queue, const struct lp_entry *entry)
{
    return queue->broker->store->fenced && !lp_store_may_give(queue, entry);
}

/* ---- durable ---- */

/* What waits is the queue itself. */
static inline bool
op_is_queues(const struct store_op *op)
{
    return op->kind == STORE_OP_GIVEN || op->kind == STORE_OP_BRIEF;
}

static void
op_goes_on(struct lp_store *store, const struct store_op *op)
{
    struct lp_broker *broker = store->broker;
    if (op_is_queues(op)) {
        struct lp_queue *queue = lp_queue_find(broker, op->queue);
        if (queue && op->kind == STORE_OP_BRIEF) {
            lp_store_long(queue);
        } else if (queue) {
            queue->stored.given = LP_MAX(queue->stored.given, op->position);
            lp_queue_dirty(queue);
        }
        return;
    }
    const struct lp_mesh_record record = {
        .op = LP_MESH_ENQUEUE,
        .flags = op->record_flags,
        .w = {LP_HANDLE_NONE, op->session, op->number},
    };
    lp_queue_confirm(broker, op->from, &record);
}

uint32_t
store_durable(struct lp_store *store)
{
    uint32_t done = 0;
    const uint64_t lsn = lp_log_durable(store->log);
    while (store->sealed_count > 0) {
        const struct store_sealed *sealed = &store->sealed[store->sealed_first];
        if (sealed->lsn > lsn) {
            break;
        }
        uint64_t number;
        struct store_op *op;
        while ((op = lp_window_next_open(&store->ops, store->ops.first_open, &number)) != NULL &&
               number < sealed->end) {
            op_goes_on(store, op);
            lp_window_close(&store->ops, number);
            done++;
        }
        store->sealed_first = (store->sealed_first + 1) % LP_COUNT_OF(store->sealed);
        store->sealed_count--;
        done++;
    }
    return done;
}

/* What waits to be handed out there never will be: who asked for it is told. */
static void
queues_tell(struct lp_broker *broker)
{
    uint32_t cursor = 0;
    lp_handle handle;
    struct lp_queue *queue;
    while ((queue = lp_pool_next(&broker->queues, &cursor, &handle)) != NULL) {
        if (queue->stored.away) {
            lp_queue_dirty(queue);
        }
    }
}

void
store_fence(struct lp_store *store)
{
    uint64_t number;
    struct store_op *op;
    store->fenced = true;
    queues_tell(store->broker);
    while ((op = lp_window_next_open(&store->ops, store->ops.first_open, &number)) != NULL) {
        const struct lp_mesh_record record = {
            .op = LP_MESH_ENQUEUE,
            .flags = op->record_flags,
            .w = {LP_HANDLE_NONE, op->session, op->number},
        };
        if ((op->flags & STORE_OP_WAITS) != 0 && !op_is_queues(op)) {
            /* The queue has it, and may deliver it; but it is not confirmed. */
            lp_queue_refuse(store->broker, op->from, &record, LP_MESH_NACK | LP_MESH_KEPT);
        }
        lp_window_close(&store->ops, number);
    }
    store->encode_next = store->ops.next;
    store->stream.message = NULL;
    store->sealed_count = 0;
}

/* ---- entries as records have them ---- */

/*
 * Monotonic time is this run's; what is kept has wall time.  The same
 * difference between the two is used as long as it is not wrong: what is due
 * in some order is so after a start, though clocks are not read at one moment.
 */
static uint64_t
wall_ahead_ns(const struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    const uint64_t ahead_ns = broker->wall_ns - broker->now_ns;
    if (ahead_ns - store->wall_ahead_ns + WALL_DRIFT_NS > 2 * WALL_DRIFT_NS) {
        store->wall_ahead_ns = ahead_ns;
    }
    return store->wall_ahead_ns;
}

uint64_t
store_wall_ms(const struct lp_broker *broker, uint64_t expires_ns)
{
    if (expires_ns == 0) {
        return 0;
    }
    /* Rounded up: nothing dies before its time. */
    const uint64_t wall_ns = expires_ns + wall_ahead_ns(broker) + 999999u;
    return LP_MAX(wall_ns / 1000000u, (uint64_t)1);
}

uint64_t
store_expires_ns(const struct lp_broker *broker, uint64_t wall_ms)
{
    if (wall_ms == 0) {
        return 0;
    }
    const uint64_t wall_ns = wall_ms * 1000000u;
    const uint64_t ahead_ns = wall_ahead_ns(broker);
    return wall_ns > ahead_ns ? wall_ns - ahead_ns : 1u;
}

struct store_item
store_item_of(const struct lp_broker *broker, const struct lp_entry *entry)
{
    return (struct store_item){
        .place = entry->place,
        .record_bytes = entry->record_bytes,
        .body_bytes = entry->body_bytes,
        .expires_ms = store_wall_ms(broker, entry->expires_ns),
        .level = entry->level,
        .flags = entry->flags & (LP_ENTRY_REDELIVERED | LP_ENTRY_PERSISTENT | LP_ENTRY_PAGE),
        .returns = (uint16_t)LP_MIN(entry->returns, (uint32_t)UINT16_MAX),
    };
}

void
store_item_take(const struct lp_broker *broker, struct lp_entry *entry,
                const struct store_item *item, uint64_t position)
{
    entry->message = LP_HANDLE_NONE;
    entry->position = position;
    entry->expires_ns = store_expires_ns(broker, item->expires_ms);
    entry->place = item->place;
    entry->record_bytes = item->record_bytes;
    entry->body_bytes = item->body_bytes;
    entry->returns = item->returns;
    entry->owner = (uint8_t)broker->shard;
    entry->state = LP_ENTRY_READY;
    entry->level = item->level;
    entry->flags =
        (uint8_t)(LP_ENTRY_STORED | (item->flags & (LP_ENTRY_REDELIVERED | LP_ENTRY_PERSISTENT)));
}
