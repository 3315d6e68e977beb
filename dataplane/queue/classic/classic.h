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

/* Pairing heap by position: push O(1), pop O(log n) amortised; no recursion, no memory of its own.
 */
void classic_heap_push(struct lp_entry **heap, struct lp_entry *entry);
/* The entry of the lowest position, or NULL. */
struct lp_entry *classic_heap_pop(struct lp_entry **heap);
