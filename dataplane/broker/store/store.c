/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c - boot, and the store's part of a turn.
 */
#include "dataplane/broker/store/store.h"

#include <string.h>

#include "dataplane/broker/store/store_private.h"

/* Pages that one flush may write. */
#define SPILL_BUDGET 8u
/* Operations that do not wait for more, whatever may. */
#define DELAY_OPS_MAX 1024u

/* ---- the log's hooks ---- */

static bool
hook_record(void *context, const struct lp_log_record *record)
{
    return store_apply(context, record);
}

static bool
hook_commit(void *context)
{
    return store_apply_commit(context);
}

static void
hook_read(void *context, uint64_t user, struct lp_bytes data, const struct lp_log_fault *fault)
{
    (void)fault; /* the log has noted it */
    store_read_done(context, user, data);
}

/* ---- boot ---- */

static const struct lp_store_paging usual_paging = {
    .head_entries = 4096,
    .head_bytes = 4u * 1024u * 1024u,
    .page_entries = LP_STORE_PAGE_ENTRIES,
    .ahead_ms = 10000,
};

enum lp_err
lp_store_init_boot(struct lp_broker *broker, const struct lp_store_options *options)
{
    broker->store = NULL;
    if (!options->disk.ops) {
        return LP_OK;
    }
    struct lp_store *store = lp_memory_alloc(broker->memory, sizeof(*store));
    if (!store) {
        return LP_ERR_NO_MEMORY;
    }
    memset(store, 0, sizeof(*store));
    store->broker = broker;
    store->backlog_bytes = options->backlog_bytes;
    store->delay_ns = options->delay_ns;
    store->paging = options->paging.page_entries > 0 ? options->paging : usual_paging;
    LP_ASSERT(store->paging.page_entries <= LP_STORE_PAGE_ENTRIES);
    lp_window_init(&store->ops, broker->memory, sizeof(struct store_op));
    store->encode_next = store->ops.next;
    lp_list_init(&store->found_all);
    lp_list_init(&store->queues_long);
    lp_list_init(&store->queues_held);
    enum lp_err err = lp_hash_init(&store->found, broker->memory);
    if (err != LP_OK) {
        return err;
    }
    uint64_t salt;
    lp_broker_random(broker, &salt, sizeof(salt));
    const struct lp_log_options log = {
        .salt = salt,
        .disk = options->disk,
        .memory = broker->memory,
        .shard = broker->shard,
        .segment_bytes = options->segment_bytes,
        .segment_bytes_first = options->segment_bytes_first,
        .hooks = {hook_record, hook_commit, hook_read, store},
    };
    err = lp_log_init_boot(&log, &store->log);
    if (err == LP_OK) {
        broker->store = store;
    }
    return err;
}

bool
lp_store_ready(const struct lp_broker *broker)
{
    if (!broker->store) {
        return true;
    }
    const enum lp_log_state state = lp_log_state(broker->store->log);
    return state == LP_LOG_OPEN || state == LP_LOG_FENCED;
}

const struct lp_log_fault *
lp_store_fault(const struct lp_broker *broker)
{
    const struct lp_store *store = broker->store;
    return store && store->fenced ? lp_log_fault(store->log) : NULL;
}

const struct lp_log *
lp_store_log(const struct lp_broker *broker)
{
    return broker->store ? broker->store->log : NULL;
}

/* ---- the turn ---- */

/* Recovery is over: what it needed goes. */
static void
store_opened(struct lp_store *store)
{
    store_blocks_free(store, &store->pending);
}

static void
store_tell(struct lp_store *store)
{
    struct lp_stats_page *stats = store->broker->stats;
    struct lp_log_stats log;
    lp_log_stats(store->log, &log);
    stats->log_batches = log.batches;
    stats->log_bytes_written = log.bytes_written;
    stats->log_bytes_records = log.bytes_records;
    stats->log_bytes_read = log.bytes_read;
    stats->log_pending = store->ops.open_count;
    stats->log_segments = log.segments;
    stats->log_segment_bytes = log.segment_bytes;
    stats->log_held_bytes = log.held_bytes;
    stats->log_checkpoints = log.checkpoints;
}

/* Is something durable that somebody waits for? */
static bool
store_is_due(const struct lp_store *store)
{
    return store->sealed_count > 0 &&
           store->sealed[store->sealed_first].lsn <= lp_log_durable(store->log);
}

/* Queues wait for memory, and there is more of it than when the last one had to. */
static bool
store_held_may_go(const struct lp_store *store)
{
    const struct lp_memory *memory = store->broker->memory;
    return LP_UNLIKELY(!lp_list_empty(&store->queues_held)) &&
           (!lp_memory_pressed(memory) || lp_memory_used_bytes(memory) < store->held_used_bytes);
}

static uint32_t
store_held_go_on(struct lp_store *store)
{
    struct lp_list *link;
    uint32_t count = 0;
    while ((link = lp_list_pop_front(&store->queues_held)) != NULL) {
        struct lp_stored *stored = LP_LIST_ITEM(link, struct lp_stored, in_held);
        lp_queue_dirty(LP_CONTAINER_OF(stored, struct lp_queue, stored));
        count++;
    }
    return count;
}

uint32_t
lp_store_step(struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    if (!store) {
        return 0;
    }
    uint32_t done = lp_log_step(store->log);
    if (store_held_may_go(store)) {
        done += store_held_go_on(store);
    }
    if (LP_UNLIKELY(lp_log_state(store->log) == LP_LOG_FENCED) && !store->fenced) {
        store_fence(store);
        done++;
    }
    if ((done > 0 || store_is_due(store)) && lp_log_state(store->log) == LP_LOG_OPEN) {
        store_opened(store);
        done += store_durable(store);
        store_tell(store);
    }
    return done;
}

static void
store_spill(struct lp_store *store)
{
    if (lp_store_over(store->broker)) {
        store_delayed_spill(store);
    }
    if (store->closing) {
        return; /* what is still in memory either is on disk or ends with it */
    }
    for (uint32_t i = 0; i < SPILL_BUDGET && lp_store_soon_over(store->broker); i++) {
        struct lp_list *link = lp_list_pop_front(&store->queues_long);
        if (!link) {
            return;
        }
        struct lp_stored *stored = LP_LIST_ITEM(link, struct lp_stored, in_long);
        struct lp_queue *queue = LP_CONTAINER_OF(stored, struct lp_queue, stored);
        if (queue->type->spill(queue)) {
            lp_list_push_back(&store->queues_long, link);
        } /* else it is long again when there is more */
    }
}

/* A chain that nothing follows must have an end. */
static void
store_chain_end(struct lp_store *store)
{
    if (store->chain_open && !store->open && !store->chained && !store->stream.message) {
        (void)store_room(store, 0, 0);
    }
}

/* When what was noted is to be written at the latest; UINT64_MAX: there is nothing. */
uint64_t
lp_store_next_ns(const struct lp_broker *broker)
{
    const struct lp_store *store = broker->store;
    const bool waits = store && store->delay_ns > 0 && store->encode_next < store->ops.next;
    return waits ? store->noted_ns + store->delay_ns : UINT64_MAX;
}

/* It may wait for more. */
static bool
store_delays(const struct lp_store *store)
{
    return LP_UNLIKELY(store->delay_ns > 0) && !store->chain_open && !store->closing &&
           store->ops.next - store->encode_next < DELAY_OPS_MAX &&
           lp_store_next_ns(store->broker) > store->broker->now_ns;
}

/* The last word: behind everything that was noted, whatever came after the last checkpoint. */
static void
store_log_close(struct lp_store *store)
{
    if (store->closed && !store->closing_log && !store->chain_open &&
        store->encode_next == store->ops.next && !lp_log_checkpointing(store->log)) {
        store->closing_log = true;
        lp_log_close_begin(store->log);
    }
}

void
lp_store_flush(struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    if (!store) {
        return;
    }
    if (lp_log_state(store->log) == LP_LOG_OPEN && !store_delays(store)) {
        if (store_checkpoint_go_on(store) && store_encode(store)) {
            store_spill(store);
            store_checkpoint_step(store);
            store_move_step(store);
        }
        store_chain_end(store);
        if (store->open) {
            store_seal(store);
        }
        store_sealed_unwritten(store);
        store_log_close(store);
    }
    lp_log_flush(store->log);
}

void
lp_store_close_begin(struct lp_broker *broker)
{
    if (broker->store) {
        broker->store->closing = true;
        broker->store->closed = !broker->store->synced; /* what is kept was never anybody's */
    }
}

bool
lp_store_closed(const struct lp_broker *broker)
{
    const struct lp_store *store = broker->store;
    return !store || lp_log_state(store->log) != LP_LOG_OPEN || lp_log_closed(store->log);
}

bool
lp_store_goes_on(const struct lp_broker *broker)
{
    const struct lp_store *store = broker->store;
    if (store && store_held_may_go(store)) {
        return true;
    }
    return store && lp_log_state(store->log) == LP_LOG_OPEN &&
           (store_is_due(store) || (store->encode_next < store->ops.next && store->delay_ns == 0) ||
            store->checkpoint.phase != STORE_CHECKPOINT_NONE || store->move.segment != 0 ||
            (store->closing && !lp_log_closed(store->log)) ||
            (lp_store_soon_over(broker) && !lp_list_empty(&store->queues_long)));
}

/* ---- memory ---- */

void
lp_store_resident(struct lp_broker *broker, int64_t bytes)
{
    broker->store->resident_bytes += (uint64_t)bytes;
}

const struct lp_store_paging *
lp_store_paging(const struct lp_broker *broker)
{
    return &broker->store->paging;
}

bool
lp_store_over(const struct lp_broker *broker)
{
    return broker->store->resident_bytes > broker->store->backlog_bytes;
}

bool
lp_store_soon_over(const struct lp_broker *broker)
{
    return broker->store->resident_bytes > broker->store->backlog_bytes / 2;
}

void
lp_store_hold_back(struct lp_queue *queue)
{
    struct lp_store *store = queue->broker->store;
    store->held_used_bytes = lp_memory_used_bytes(queue->broker->memory);
    if (!lp_list_linked(&queue->stored.in_held)) {
        lp_list_push_back(&store->queues_held, &queue->stored.in_held);
    }
}

void
lp_store_long(struct lp_queue *queue)
{
    if (!lp_list_linked(&queue->stored.in_long)) {
        lp_list_push_back(&queue->broker->store->queues_long, &queue->stored.in_long);
    }
}
