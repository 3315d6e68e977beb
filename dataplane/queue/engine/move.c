/* SPDX-License-Identifier: Apache-2.0 */
/*
 * move.c - a segment of the log is to be used again: what the queue has in it
 * is brought into memory, and written anew.
 */
#include "dataplane/queue/engine/engine.h"

struct moving {
    struct lp_engine *engine;
    uint32_t segment;
    uint64_t *budget;
    bool left; /* something is there still */
};

static bool
is_there(const struct moving *moving, const struct lp_entry *entry)
{
    return (entry->flags & LP_ENTRY_STORED) != 0 && entry->place.segment == moving->segment;
}

/* One whose message is in memory. */
static void
move_entry(struct moving *moving, struct lp_entry *entry)
{
    struct lp_engine *engine = moving->engine;
    moving->left = true;
    if (lp_store_move(&engine->base, entry, moving->budget) &&
        (entry->flags & LP_ENTRY_READ) != 0) {
        engine->ahead_bytes -= entry->record_bytes; /* it was not read for a consumer */
        entry->flags &= (uint8_t)~LP_ENTRY_READ;
        engine->loose = true;
    }
}

static void
move_held(void *context, struct lp_entry *entry)
{
    struct moving *moving = context;
    if (is_there(moving, entry) && entry->message != LP_HANDLE_NONE) {
        move_entry(moving, entry);
    }
}

static bool
page_is_there(const struct moving *moving, const struct lp_entry *entry)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    bool there = entry->place.segment == moving->segment;
    for (uint32_t i = 0; i < page->segment_count; i++) {
        there = there || page->segment[i].segment == moving->segment;
    }
    return there;
}

/* Those of one level; a page at a time becomes entries again. */
static void
move_fresh(struct moving *moving, struct lp_list *list)
{
    struct lp_engine *engine = moving->engine;
    struct lp_list *link = list->next;
    while (link && link != list && *moving->budget > 0) {
        struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
        link = link->next;
        if (entry->flags & LP_ENTRY_PAGE) {
            if (page_is_there(moving, entry)) {
                moving->left = true;
                engine_read_page(engine, entry);
                engine->loose = true;
                return;
            }
        } else if (is_there(moving, entry) && (entry->flags & LP_ENTRY_READING) != 0) {
            moving->left = true;
        } else if (is_there(moving, entry) && entry->message == LP_HANDLE_NONE) {
            moving->left = true;
            link = engine_read_run(engine, list, &entry->link);
        } else if (is_there(moving, entry)) {
            move_entry(moving, entry);
        }
    }
    moving->left = moving->left || *moving->budget == 0;
}

bool
lp_engine_move(struct lp_queue *queue, uint32_t segment, uint64_t *budget)
{
    struct lp_engine *engine = engine_of(queue);
    struct moving moving = {.engine = engine, .segment = segment, .budget = budget};
    struct lp_list *list;
    if (queue->deleting || engine->unreadable) {
        return true;
    }
    for (struct lp_list *at = queue->subscriptions.next; at != &queue->subscriptions;
         at = at->next) {
        const struct lp_list *unacked =
            &LP_LIST_ITEM(at, struct lp_subscription, in_queue)->unacked;
        for (struct lp_list *link = unacked->next; link != unacked; link = link->next) {
            move_held(&moving, LP_LIST_ITEM(link, struct lp_entry, link));
        }
    }
    engine->order->visit_returned(engine, move_held, &moving);
    for (uint32_t level = 0; (list = engine->order->fresh(engine, level)) != NULL; level++) {
        move_fresh(&moving, list);
    }
    return !moving.left;
}
