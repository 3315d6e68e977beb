/* SPDX-License-Identifier: Apache-2.0 */
/*
 * binary_heap.h - an intrusive binary heap: a tree that is full but for the
 * right of its last level, with links in place of an array.
 *
 * The bits of a place's number, counted from 1 at the top, are the way to it.
 * So no operation is ever long, whatever came before it: among N, a push
 * compares at most log2(N) times, a pop twice that.  An array would have to
 * be moved when it grows.
 *
 *   Memory    nodes live in the items; no memory of its own, no recursion
 *   Runs on   owner core
 */
#pragma once

#include <lepus/base.h>

struct lp_heap_node {
    struct lp_heap_node *child[2]; /* none comes out before it */
};

struct lp_binary_heap {
    struct lp_heap_node *first; /* NULL: empty */
    uint64_t count;
};

/* Does `a` come out before `b`?  A strict order: of two different nodes one comes first. */
typedef bool lp_heap_before(const struct lp_heap_node *a, const struct lp_heap_node *b);

/* How far below the top the last place is.  There is one. */
static inline uint32_t
lp_binary_heap_depth(const struct lp_binary_heap *heap)
{
    return 63u - (uint32_t)__builtin_clzll(heap->count);
}

static inline void
lp_binary_heap_push(struct lp_binary_heap *heap, struct lp_heap_node *node, lp_heap_before *before)
{
    struct lp_heap_node **at = &heap->first;
    heap->count++;
    for (uint32_t bit = lp_binary_heap_depth(heap); bit > 0; bit--) {
        struct lp_heap_node *there = *at;
        if (before(node, there)) { /* it stays here, and the other one goes on */
            *node = *there;
            *at = node;
            node = there;
        }
        at = &(*at)->child[heap->count >> (bit - 1) & 1u];
    }
    *node = (struct lp_heap_node){{NULL, NULL}};
    *at = node;
}

/* The node of a place, from 1 at the top to `count`. */
static inline struct lp_heap_node *
lp_binary_heap_at(const struct lp_binary_heap *heap, uint64_t place)
{
    struct lp_heap_node *node = heap->first;
    for (uint32_t bit = 63u - (uint32_t)__builtin_clzll(place); bit > 0; bit--) {
        node = node->child[place >> (bit - 1) & 1u];
    }
    return node;
}

/* The last one leaves its place. */
static inline struct lp_heap_node *
lp_binary_heap_cut(struct lp_binary_heap *heap)
{
    struct lp_heap_node **at = &heap->first;
    for (uint32_t bit = lp_binary_heap_depth(heap); bit > 0; bit--) {
        at = &(*at)->child[heap->count >> (bit - 1) & 1u];
    }
    struct lp_heap_node *last = *at;
    *at = NULL;
    heap->count--;
    return last;
}

/* Take the first off, or NULL.  Its links are NULL. */
static inline struct lp_heap_node *
lp_binary_heap_pop(struct lp_binary_heap *heap, lp_heap_before *before)
{
    struct lp_heap_node *first = heap->first;
    if (!first) {
        return NULL;
    }
    struct lp_heap_node *last = lp_binary_heap_cut(heap);
    if (last == first) {
        return first;
    }
    /* A hole goes down to where the last one may be. */
    struct lp_heap_node hole = *first;
    struct lp_heap_node **at = &heap->first;
    while (hole.child[0]) {
        const unsigned side = hole.child[1] && before(hole.child[1], hole.child[0]);
        struct lp_heap_node *up = hole.child[side];
        if (before(last, up)) {
            break;
        }
        const struct lp_heap_node below = *up;
        up->child[!side] = hole.child[!side];
        *at = up;
        at = &up->child[side];
        hole = below;
    }
    *last = hole;
    *at = last;
    *first = (struct lp_heap_node){{NULL, NULL}};
    return first;
}
