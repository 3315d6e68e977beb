/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.h - a binary heap of entries by position: push and pop O(log n), always;
 * no recursion, no memory of its own (entries' links serve it).
 */
#pragma once

#include "dataplane/broker/queue.h"

void classic_heap_push(struct lp_binary_heap *heap, struct lp_entry *entry);
/* The entry of the lowest position, or NULL. */
struct lp_entry *classic_heap_peek(const struct lp_binary_heap *heap);
struct lp_entry *classic_heap_pop(struct lp_binary_heap *heap);
/* All of them, in no order that means anything. */
void classic_heap_visit(const struct lp_binary_heap *heap,
                        void (*each)(void *context, struct lp_entry *entry), void *context);
