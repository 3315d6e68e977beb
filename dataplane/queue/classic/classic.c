/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classic.c - the classic queue: messages in the order of arrival; what comes
 * back goes to its old place (C130).
 *
 * Ready messages are of two kinds: fresh ones, in a list, and returned ones,
 * in a heap by position.  Every returned message is older than every fresh
 * one, so the next message is the heap's least, or else the list's first.
 */
#include "dataplane/queue/classic/heap.h"
#include "dataplane/queue/engine/engine.h"

struct classic_queue {
    struct lp_engine engine;
    struct lp_list fresh;      /* lp_entry.link */
    struct lp_entry *returned; /* heap; NULL: empty */
};

static struct classic_queue *
classic_of(struct lp_engine *engine)
{
    return LP_CONTAINER_OF(engine, struct classic_queue, engine);
}

static const struct classic_queue *
classic_of_const(const struct lp_engine *engine)
{
    return (const struct classic_queue *)(const void *)((const char *)engine -
                                                        offsetof(struct classic_queue, engine));
}

static void
classic_add(struct lp_engine *engine, struct lp_entry *entry)
{
    lp_list_push_back(&classic_of(engine)->fresh, &entry->link);
}

static void
classic_add_returned(struct lp_engine *engine, struct lp_entry *entry)
{
    classic_heap_push(&classic_of(engine)->returned, entry);
}

static struct lp_entry *
classic_peek(const struct lp_engine *engine)
{
    const struct classic_queue *classic = classic_of_const(engine);
    if (classic->returned) {
        return classic->returned;
    }
    struct lp_list *first = classic->fresh.next;
    return first == &classic->fresh ? NULL : LP_LIST_ITEM(first, struct lp_entry, link);
}

static struct lp_entry *
classic_pop(struct lp_engine *engine)
{
    struct classic_queue *classic = classic_of(engine);
    struct lp_entry *entry = classic_heap_pop(&classic->returned);
    if (!entry) {
        struct lp_list *link = lp_list_pop_front(&classic->fresh);
        if (!link) {
            return NULL;
        }
        entry = LP_LIST_ITEM(link, struct lp_entry, link);
    }
    entry->link = (struct lp_list){NULL, NULL};
    return entry;
}

static const struct lp_engine_order classic_order = {
    .add = classic_add,
    .add_returned = classic_add_returned,
    .peek = classic_peek,
    .pop = classic_pop,
};

static bool
classic_open(struct lp_queue *queue)
{
    struct lp_engine *engine = LP_CONTAINER_OF(queue, struct lp_engine, base);
    lp_engine_open(engine, &classic_order);
    lp_list_init(&classic_of(engine)->fresh);
    return true;
}

const struct lp_queue_type lp_queue_type_classic = {
    .name = "classic",
    .queue_bytes = sizeof(struct classic_queue),
    .open = classic_open,
    .configure = lp_engine_configure,
    .close = lp_engine_close,
    .handle = lp_engine_handle,
    .dispatch = lp_engine_dispatch,
    .counts = lp_engine_counts,
    .check = lp_engine_check,
};
