/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.c - a pairing heap of returned entries.
 *
 * An entry in the heap is on no list, so its link serves the heap: `next` is
 * the sibling, `prev` the first child.
 */
#include "dataplane/queue/classic/heap.h"

static struct lp_entry *
heap_entry(struct lp_list *link)
{
    return link ? LP_LIST_ITEM(link, struct lp_entry, link) : NULL;
}

static struct lp_list *
heap_link(struct lp_entry *entry)
{
    return entry ? &entry->link : NULL;
}

/* The one with the lower position becomes the other's parent. */
static struct lp_entry *
heap_meld(struct lp_entry *a, struct lp_entry *b)
{
    if (!a) {
        return b;
    }
    if (!b) {
        return a;
    }
    LP_ASSERT(a->position != b->position);
    struct lp_entry *parent = a->position < b->position ? a : b;
    struct lp_entry *child = parent == a ? b : a;
    child->link.next = parent->link.prev;
    parent->link.prev = heap_link(child);
    parent->link.next = NULL;
    return parent;
}

void
classic_heap_push(struct lp_entry **heap, struct lp_entry *entry)
{
    entry->link.next = NULL;
    entry->link.prev = NULL;
    *heap = heap_meld(*heap, entry);
}

struct lp_entry *
classic_heap_pop(struct lp_entry **heap)
{
    struct lp_entry *least = *heap;
    if (!least) {
        return NULL;
    }
    /* First pass: meld children in pairs, left to right, stacking the pairs on a chain. */
    struct lp_entry *child = heap_entry(least->link.prev);
    struct lp_entry *chain = NULL;
    while (child) {
        struct lp_entry *second = heap_entry(child->link.next);
        struct lp_entry *rest = second ? heap_entry(second->link.next) : NULL;
        child->link.next = NULL;
        if (second) {
            second->link.next = NULL;
        }
        struct lp_entry *pair = heap_meld(child, second);
        pair->link.next = heap_link(chain);
        chain = pair;
        child = rest;
    }
    /* Second pass: meld the pairs, right to left. */
    struct lp_entry *root = NULL;
    while (chain) {
        struct lp_entry *rest = heap_entry(chain->link.next);
        chain->link.next = NULL;
        root = heap_meld(root, chain);
        chain = rest;
    }
    *heap = root;
    least->link.next = NULL;
    least->link.prev = NULL;
    return least;
}
