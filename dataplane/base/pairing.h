/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pairing.h - an intrusive pairing heap: push O(1), pop O(log n) amortised;
 * no memory of its own, no recursion.
 *
 *   Memory    nodes live in the items; NULL is an empty heap
 *   Runs on   owner core
 */
#pragma once

#include <lepus/base.h>

struct lp_pairing {
    struct lp_pairing *child; /* the first of those below it */
    struct lp_pairing *next;  /* beside it, below the same parent */
};

/* Does `a` come out before `b`?  A strict order: of two different nodes one comes first. */
typedef bool lp_pairing_before(const struct lp_pairing *a, const struct lp_pairing *b);

/* Two heaps become one.  NULL is empty. */
static inline struct lp_pairing *
lp_pairing_meld(struct lp_pairing *a, struct lp_pairing *b, lp_pairing_before *before)
{
    if (!a || !b) {
        return a ? a : b;
    }
    struct lp_pairing *parent = before(a, b) ? a : b;
    struct lp_pairing *child = parent == a ? b : a;
    child->next = parent->child;
    parent->child = child;
    return parent;
}

static inline void
lp_pairing_push(struct lp_pairing **heap, struct lp_pairing *node, lp_pairing_before *before)
{
    node->child = NULL;
    node->next = NULL;
    *heap = lp_pairing_meld(*heap, node, before);
}

/* Take the first off, or NULL. */
static inline struct lp_pairing *
lp_pairing_pop(struct lp_pairing **heap, lp_pairing_before *before)
{
    struct lp_pairing *first = *heap;
    struct lp_pairing *pairs = NULL; /* melded two by two, the last ones in front */
    struct lp_pairing *rest = first ? first->child : NULL;
    while (rest) {
        struct lp_pairing *one = rest;
        struct lp_pairing *other = one->next;
        rest = other ? other->next : NULL;
        one->next = NULL;
        if (other) {
            other->next = NULL;
        }
        one = lp_pairing_meld(one, other, before);
        one->next = pairs;
        pairs = one;
    }
    struct lp_pairing *root = NULL;
    while (pairs) {
        struct lp_pairing *one = pairs;
        pairs = one->next;
        one->next = NULL;
        root = lp_pairing_meld(root, one, before);
    }
    *heap = root;
    return first;
}
