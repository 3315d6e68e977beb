/* SPDX-License-Identifier: Apache-2.0 */
/*
 * move.c - what little is held in a segment is written anew, so that the
 * segment's space can be used again.
 *
 * A victim at a time: each queue is asked, flush after flush, to have what it
 * has there in memory and moved, until a round over all queues finds nothing
 * left.  With the next checkpoint the segment is free.
 */
#include "dataplane/broker/store/store_private.h"

/* Queues that one flush asks. */
#define QUEUES_BUDGET 256u
/* Bytes that one flush moves: what clients send goes first. */
#define BYTES_BUDGET (512u * 1024u)

bool
store_move_note(struct lp_store *store, uint32_t queue, const struct lp_entry *entry,
                uint64_t *budget)
{
    struct store_op *op =
        *budget > 0 ? store_note(store, STORE_OP_MOVE, queue, entry->position) : NULL;
    if (!op) {
        return false;
    }
    op->entry = lp_pool_self(entry);
    *budget -= LP_MIN(*budget, (uint64_t)entry->record_bytes);
    return true;
}

bool
lp_store_move(struct lp_queue *queue, const struct lp_entry *entry, uint64_t *budget)
{
    return store_move_note(queue->broker->store, queue->id, entry, budget);
}

/* Segments that are no reason to move anything: the tail, and what a queue that is being drained is
 * about to leave by itself. */
#define SEGMENTS_SPARE 6u

static uint64_t
checkpoints(const struct lp_store *store)
{
    struct lp_log_stats stats;
    lp_log_stats(store->log, &stats);
    return stats.checkpoints;
}

/* A segment that is worth it: less than half of all that there is would be enough. */
static uint32_t
move_victim(const struct lp_store *store)
{
    struct lp_log_stats stats;
    lp_log_stats(store->log, &stats);
    const uint64_t spare =
        stats.segments > 0 ? stats.segment_bytes / stats.segments * SEGMENTS_SPARE : 0;
    return stats.checkpoints > store->move.after &&
                   stats.segment_bytes > 2 * stats.held_bytes + spare
               ? lp_log_victim(store->log)
               : 0;
}

/* A round has found nothing.  If the first one: what is held is somebody's who will let go by
 * himself. */
static void
move_end(struct lp_store *store)
{
    store->move.segment = 0;
    if (!store->move.moved) {
        store->move.after = checkpoints(store);
    }
}

void
store_move_step(struct lp_store *store)
{
    struct store_move *move = &store->move;
    uint64_t budget = BYTES_BUDGET;
    lp_handle handle;
    if (move->segment == 0) {
        move->segment = move_victim(store);
        move->cursor = 0;
        move->delayed = 0;
        move->found = false;
        move->moved = false;
    }
    if (move->segment != 0 && !store_delayed_move(store, &budget)) {
        return;
    }
    for (uint32_t i = 0; move->segment != 0 && budget > 0 && i < QUEUES_BUDGET; i++) {
        const uint32_t before = move->cursor;
        struct lp_queue *queue = lp_pool_next(&store->broker->queues, &move->cursor, &handle);
        if (!queue && !move->found) {
            move_end(store);
            return;
        }
        if (!queue) {
            move->cursor = 0;
            move->found = false;
        } else if (queue->stored.away && !queue->type->move(queue, move->segment, &budget)) {
            move->found = true;
            move->moved = true;
            move->cursor = before;
            return; /* the same one goes on with another flush */
        }
    }
}
