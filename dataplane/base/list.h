/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.h - intrusive doubly linked list, circular with a head.
 *
 *   Memory    links live in the items; the list owns nothing
 *   Runs on   owner core
 *
 * A link that is on no list points to itself (lp_list_init) or is zeroed.
 */
#pragma once

#include <lepus/base.h>

struct lp_list {
    struct lp_list *next;
    struct lp_list *prev;
};

#define LP_LIST_ITEM(link, type, member) LP_CONTAINER_OF(link, type, member)

static inline void
lp_list_init(struct lp_list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool
lp_list_empty(const struct lp_list *list)
{
    return list->next == list;
}

/* Is this link on a list?  (Zeroed and self-pointing links are not.) */
static inline bool
lp_list_linked(const struct lp_list *link)
{
    return link->next != NULL && link->next != link;
}

static inline void
lp_list_insert_before(struct lp_list *at, struct lp_list *link)
{
    LP_ASSERT(!lp_list_linked(link));
    link->next = at;
    link->prev = at->prev;
    at->prev->next = link;
    at->prev = link;
}

static inline void
lp_list_push_back(struct lp_list *list, struct lp_list *link)
{
    lp_list_insert_before(list, link);
}

/* Harmless on a link that is on no list. */
static inline void
lp_list_remove(struct lp_list *link)
{
    if (!lp_list_linked(link)) {
        return;
    }
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link;
    link->prev = link;
}

/* Off the list that it is on; the link is zeroed. */
static inline void
lp_list_unlink(struct lp_list *link)
{
    LP_ASSERT_SLOW(lp_list_linked(link));
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = NULL;
    link->prev = NULL;
}

/* The first link, taken off, or NULL. */
static inline struct lp_list *
lp_list_pop_front(struct lp_list *list)
{
    struct lp_list *link = list->next;
    if (link == list) {
        return NULL;
    }
    lp_list_remove(link);
    return link;
}
