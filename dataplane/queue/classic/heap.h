/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.h - a pairing heap of entries by position: push O(1), pop O(log n)
 * amortised; no recursion, no memory of its own (entries' links serve it).
 */
#pragma once

#include "dataplane/broker/queue.h"

void classic_heap_push(struct lp_entry **heap, struct lp_entry *entry);
/* The entry of the lowest position, or NULL. */
struct lp_entry *classic_heap_pop(struct lp_entry **heap);
