/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill.c - a queue that grows: behind its first messages, which somebody may
 * want soon, entries go to pages, and their messages, which are in the log
 * anyway, out of memory.
 */
#include "dataplane/queue/engine/engine.h"

/* Large messages that one call lets go of. */
#define LARGE_BUDGET 64u

static inline const struct lp_store_paging *
paging_of(const struct lp_engine *engine)
{
    return lp_store_paging(engine->base.broker);
}

/* Nothing is lost when it is in memory no longer. */
static bool
may_go(const struct lp_engine *engine, const struct lp_entry *entry)
{
    const uint8_t not = LP_ENTRY_PAGE | LP_ENTRY_READING | LP_ENTRY_READ;
    return (entry->flags & LP_ENTRY_STORED) != 0 && (entry->flags & not ) == 0 &&
           entry->place.segment != 0 && lp_store_message_is_durable(engine->base.broker, entry);
}

/* Behind the head of the queue. */
static struct lp_list *
head_end(const struct lp_engine *engine, struct lp_list *list)
{
    const uint32_t head = paging_of(engine)->head_entries;
    struct lp_list *link = list->next;
    for (uint32_t i = 0; i < head && link != list; i++) {
        link = link->next;
    }
    return link;
}

/* Entries in a row that may go to one page. */
static uint32_t
spill_run(const struct lp_engine *engine, struct lp_list *list, struct lp_list *link,
          struct lp_entry **run)
{
    const uint32_t most = paging_of(engine)->page_entries;
    uint32_t count = 0;
    while (link != list && count < most) {
        struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
        link = link->next;
        if (may_go(engine, entry)) {
            run[count++] = entry;
        } else if (count == 0) {
            continue;
        } else {
            break;
        }
    }
    return count;
}

/* Entries between pages that are many enough for one. */
static uint32_t
spill_loose(struct lp_engine *engine, struct lp_list *list, struct lp_entry **run)
{
    struct lp_list *link = head_end(engine, list);
    while (link != list) {
        const uint32_t count = spill_run(engine, list, link, run);
        if (count >= paging_of(engine)->page_entries / 2) {
            return count;
        }
        link = count > 0 ? run[count - 1]->link.next : list;
    }
    engine->loose = false;
    return 0;
}

static void
spill_entry(struct lp_engine *engine, struct lp_entry *entry)
{
    struct lp_broker *broker = engine->base.broker;
    lp_list_unlink(&entry->link);
    engine->fetched = engine->fetched == entry ? NULL : engine->fetched;
    if (entry->message != LP_HANDLE_NONE) {
        engine->absent_count++;
        engine->absent_bytes += entry->body_bytes;
    }
    lp_store_paged(broker, entry);
    lp_queue_entry_done(broker, entry);
}

/*
 * The entry stays, and its message, which is on disk, goes.  One of another
 * shard goes home with an entry that is made for it.  False: no memory for that.
 */
static bool
spill_message(struct lp_engine *engine, struct lp_entry *entry)
{
    struct lp_broker *broker = engine->base.broker;
    lp_handle self;
    struct lp_entry *loan = lp_pool_alloc(&broker->entries, &self);
    if (!loan) {
        return false;
    }
    loan->message = entry->message;
    loan->owner = entry->owner;
    lp_queue_entry_done(broker, loan);
    lp_store_resident(broker, -(int64_t)lp_store_resident_bytes(entry));
    entry->message = LP_HANDLE_NONE;
    engine->absent_count++;
    engine->absent_bytes += entry->body_bytes;
    return true;
}

/* Large messages behind the head of the queue.  False: there are none. */
static bool
spill_large(struct lp_engine *engine, struct lp_list *list)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (struct lp_list *link = list->next; link != list && count < LARGE_BUDGET;
         link = link->next) {
        struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
        if ((entry->flags & LP_ENTRY_PAGE) != 0 || entry->message == LP_HANDLE_NONE) {
            continue;
        }
        bytes += entry->body_bytes;
        if (bytes > paging_of(engine)->head_bytes && entry->body_bytes >= ENGINE_LARGE_BYTES &&
            may_go(engine, entry) && !spill_message(engine, entry)) {
            break;
        }
        count += entry->message == LP_HANDLE_NONE;
    }
    return count > 0;
}

bool
lp_engine_spill(struct lp_queue *queue)
{
    struct lp_engine *engine = engine_of(queue);
    struct lp_entry *run[LP_STORE_PAGE_ENTRIES];
    struct lp_list *list = engine->order->fresh(engine, 0);
    struct lp_entry *page;
    struct lp_list *begin = engine->paged ? engine->paged->link.next : head_end(engine, list);
    uint32_t count = spill_run(engine, list, begin, run);
    const uint32_t least = paging_of(engine)->page_entries / 2;
    const bool last = count >= least;
    if (!last && engine->loose) {
        count = spill_loose(engine, list, run);
    }
    if (count < least) {
        return spill_large(engine, list);
    }
    const uint32_t taken = lp_store_page_write(queue, run, count, &page);
    if (taken == 0) {
        return false;
    }
    lp_list_insert_before(&run[0]->link, &page->link);
    for (uint32_t i = 0; i < taken; i++) {
        spill_entry(engine, run[i]);
    }
    engine->paged = last ? page : engine->paged;
    queue->broker->stats->messages_paged_out += taken;
    return true;
}
