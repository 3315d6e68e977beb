/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/queue/classic/heap.h"

static bool
entry_before(const struct lp_heap_node *a, const struct lp_heap_node *b)
{
    const uint64_t one = ((const struct lp_entry *)(const void *)a)->position;
    const uint64_t other = ((const struct lp_entry *)(const void *)b)->position;
    LP_ASSERT(one != other);
    return one < other;
}
LP_STATIC_ASSERT(offsetof(struct lp_entry, in_heap) == 0, "a node is its item");

void
classic_heap_push(struct lp_binary_heap *heap, struct lp_entry *entry)
{
    lp_binary_heap_push(heap, &entry->in_heap, entry_before);
}

struct lp_entry *
classic_heap_peek(const struct lp_binary_heap *heap)
{
    return heap->first ? LP_CONTAINER_OF(heap->first, struct lp_entry, in_heap) : NULL;
}

struct lp_entry *
classic_heap_pop(struct lp_binary_heap *heap)
{
    struct lp_heap_node *least = lp_binary_heap_pop(heap, entry_before);
    return least ? LP_CONTAINER_OF(least, struct lp_entry, in_heap) : NULL;
}

void
classic_heap_visit(const struct lp_binary_heap *heap,
                   void (*each)(void *context, struct lp_entry *entry), void *context)
{
    for (uint64_t place = 1; place <= heap->count; place++) {
        each(context, LP_CONTAINER_OF(lp_binary_heap_at(heap, place), struct lp_entry, in_heap));
    }
}
