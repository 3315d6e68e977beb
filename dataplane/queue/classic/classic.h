/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classic.h - the classic queue's own state, and the heap of returned messages.
 *
 *   Memory    entries are the broker's; the heap links them through entry.link
 *   Runs on   the queue's home core
 *
 * Invariant: ready_count == fresh + returned; every returned position is lower
 * than every fresh one.
 */
#pragma once

#include "dataplane/broker/queue.h"
#include "dataplane/broker/session.h"

struct classic_queue {
    struct lp_queue base;
    struct lp_list fresh;      /* lp_entry.link */
    struct lp_entry *returned; /* heap; NULL: empty */
    struct lp_list ready;      /* lp_subscription.in_ready: who can take a message, in turn */
    uint64_t ready_count;
    uint64_t ready_bytes;
    uint64_t unacked_count;
    uint64_t next_position;
    uint32_t grants; /* held by all subscriptions */
    bool exclusive_consumer;
};

static inline struct classic_queue *
classic_of(struct lp_queue *queue)
{
    return LP_CONTAINER_OF(queue, struct classic_queue, base);
}

/* ---- ready.c ---- */

/* The next message, off the queue; NULL when there is none. */
struct lp_entry *classic_pop(struct classic_queue *classic);
/* An unacknowledged message comes back to its old place. */
void classic_requeue(struct classic_queue *classic, struct lp_entry *entry);
void classic_drop_ready(struct classic_queue *classic);

/* ---- round.c ---- */

/* Do its prefetch and the delivery window let it take one more? */
bool classic_can_take(const struct lp_subscription *subscription);
/* Put it in the round: behind those of its priority, before lower ones (C121). */
void classic_enter_round(struct classic_queue *classic, struct lp_subscription *subscription);
/* Its limits changed: join or leave the round. */
void classic_update(struct classic_queue *classic, struct lp_subscription *subscription);
/* The entry is this subscription's until it is settled; and is no more. */
void classic_take(struct lp_subscription *subscription, struct lp_entry *entry);
void classic_untake(struct lp_subscription *subscription, struct lp_entry *entry);
/* Settle the `count` oldest: they were written out to a consumer that does not acknowledge. */
void classic_settle_oldest(struct lp_subscription *subscription, uint32_t count);
void classic_requeue_all(struct classic_queue *classic, struct lp_subscription *subscription);

/* ---- dispatch.c ---- */

/* queue_type.h's dispatch. */
bool classic_dispatch(struct lp_queue *queue, uint32_t budget);

/* ---- heap.c ---- */

/* Pairing heap by position: push O(1), pop O(log n) amortised; no recursion, no memory of its own.
 */
void classic_heap_push(struct lp_entry **heap, struct lp_entry *entry);
/* The entry of the lowest position, or NULL. */
struct lp_entry *classic_heap_pop(struct lp_entry **heap);
