/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.h - intrusive list with two ends; the head is a link of its own.
 *
 *   Memory    links live in the items
 *   Runs on   control
 */
#pragma once

#include <lepus/base.h>

struct lp_chain {
    struct lp_chain *next;
    struct lp_chain *previous;
};

static inline void
lp_chain_init(struct lp_chain *chain)
{
    chain->next = chain;
    chain->previous = chain;
}

static inline bool
lp_chain_is_empty(const struct lp_chain *chain)
{
    return chain->next == chain;
}

static inline void
lp_chain_append(struct lp_chain *chain, struct lp_chain *link)
{
    link->previous = chain->previous;
    link->next = chain;
    chain->previous->next = link;
    chain->previous = link;
}

/* The link may be asked for again afterwards: it is a chain of its own. */
static inline void
lp_chain_remove(struct lp_chain *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    lp_chain_init(link);
}

/* The first link taken off, or NULL. */
static inline struct lp_chain *
lp_chain_pop(struct lp_chain *chain)
{
    struct lp_chain *link = chain->next;
    if (link == chain) {
        return NULL;
    }
    chain->next = link->next;
    link->next->previous = chain;
    lp_chain_init(link);
    return link;
}

/* Move everything in `from` to the end of `chain`. */
static inline void
lp_chain_splice(struct lp_chain *chain, struct lp_chain *from)
{
    if (lp_chain_is_empty(from)) {
        return;
    }
    from->next->previous = chain->previous;
    chain->previous->next = from->next;
    from->previous->next = chain;
    chain->previous = from->previous;
    lp_chain_init(from);
}

/* `link` may be removed by the body. */
#define LP_CHAIN_EACH(link, chain)                                                          \
    for (struct lp_chain *link = (chain)->next, *link##_next = link->next; link != (chain); \
         link = link##_next, link##_next = link->next)
