/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill.c - a queue that grows: behind its first messages, which somebody may
 * want soon, entries go to pages, and their messages out of memory.  Those
 * that are kept are in the log anyway; the others are written for that.  Of
 * priorities above 0 only the messages go.
 */
#include "dataplane/queue/engine/engine.h"

/* Large messages that one call lets go of. */
#define LARGE_BUDGET 64u
/* Pages full of entries that one call looks at to find one. */
#define LOOK_PAGES 8u
/* Bodies that one call has written. */
#define WRITE_BYTES (512u * 1024u)
/* The head of a level above 0 is that much shorter. */
#define HEAD_SHARE 16u

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

/* Kept, or for this run only: on different pages. */
static inline bool
is_brief(const struct lp_entry *entry)
{
    return (entry->flags & LP_ENTRY_STORED) == 0 || entry->brief;
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

/* Entries of one kind that may go to one page: those of the other lie between them. */
static uint32_t
spill_run(const struct lp_engine *engine, struct lp_list *list, struct lp_list *link, bool brief,
          struct lp_entry **run)
{
    const uint32_t most = paging_of(engine)->page_entries;
    uint32_t count = 0;
    for (uint32_t looked = 0; link != list && count < most && looked < LOOK_PAGES * most;
         looked++) {
        struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
        link = link->next;
        if (is_brief(entry) != brief) {
            continue;
        }
        if (may_go(engine, entry)) {
            run[count++] = entry;
        } else if (count > 0) {
            break;
        }
    }
    return count;
}

/* Entries between pages that are many enough for one. */
static uint32_t
spill_loose(struct lp_engine *engine, struct lp_list *list, bool brief, struct lp_entry **run)
{
    struct lp_list *link = head_end(engine, list);
    while (link != list) {
        const uint32_t count = spill_run(engine, list, link, brief, run);
        if (count >= paging_of(engine)->page_entries / 2) {
            return count;
        }
        link = count > 0 ? run[count - 1]->link.next : list;
    }
    return 0;
}

static void
spill_entry(struct lp_engine *engine, struct lp_entry *entry)
{
    struct lp_broker *broker = engine->base.broker;
    engine_spill_gone(engine, entry);
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

/* A page of entries of one kind.  False: they are too few. */
static bool
spill_page(struct lp_engine *engine, struct lp_list *list, bool brief)
{
    struct lp_entry *run[LP_STORE_PAGE_ENTRIES];
    struct lp_entry *page;
    const struct lp_entry *paged = engine->paged[brief];
    const uint32_t least = paging_of(engine)->page_entries / 2;
    uint32_t count =
        spill_run(engine, list, paged ? paged->link.next : head_end(engine, list), brief, run);
    const bool last = count >= least;
    if (!last && engine->loose) {
        count = spill_loose(engine, list, brief, run);
    }
    const uint32_t taken =
        count >= least ? lp_store_page_write(&engine->base, run, count, &page) : 0;
    if (taken == 0) {
        return false;
    }
    lp_list_insert_before(&run[0]->link, &page->link);
    for (uint32_t i = 0; i < taken; i++) {
        spill_entry(engine, run[i]);
    }
    engine->paged[brief] = last ? page : engine->paged[brief];
    engine->base.broker->stats->messages_paged_out += taken;
    return true;
}

/* ---- into the log ---- */

/* Messages that are not kept go on from here. */
static struct lp_list *
write_begin(const struct lp_engine *engine, struct lp_list *list)
{
    const struct lp_entry *last = engine->noted[0] ? engine->noted[0] : engine->paged[true];
    if (last) {
        return last->link.next;
    }
    struct lp_list *end = head_end(engine, list);
    uint64_t bytes = 0;
    for (struct lp_list *link = list->next; link != end; link = link->next) {
        const struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
        bytes += entry->body_bytes;
        if (bytes > paging_of(engine)->head_bytes) {
            return link;
        }
    }
    return end;
}

/* It is to be written, if it is not; gives the bytes of its body. */
static uint64_t
write_entry(struct lp_engine *engine, struct lp_entry *entry)
{
    if ((entry->flags & LP_ENTRY_STORED) == 0) {
        lp_store_brief(&engine->base, entry);
        engine->brief_unwritten++;
    }
    if (!entry->brief || entry->noted || !lp_store_brief_write(&engine->base, entry)) {
        return 0; /* without memory it stays where it is */
    }
    engine->brief_unwritten--;
    engine->brief_written++;
    return entry->body_bytes;
}

/* What is not kept is written as well when it is to leave memory: some of it, in order.  False:
 * there is nothing. */
static bool
spill_write(struct lp_engine *engine, struct lp_list *list)
{
    const uint32_t most = paging_of(engine)->page_entries;
    struct lp_list *link = write_begin(engine, list);
    uint32_t looked = 0;
    uint64_t bytes = 0;
    while (link != list && looked < most && bytes < WRITE_BYTES) {
        struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
        link = link->next;
        if ((entry->flags & LP_ENTRY_PAGE) == 0) {
            bytes += write_entry(engine, entry);
            engine->noted[0] = entry;
            looked++;
        }
    }
    lp_store_brief_written(&engine->base);
    return looked > 0;
}

/* ---- levels of priority above 0 ---- */

/* It is written, or on disk already and leaves memory; gives the bytes that are to be written. */
static uint64_t
above_entry(struct lp_engine *engine, struct lp_entry *entry, bool over)
{
    if (entry->message == LP_HANDLE_NONE || (entry->flags & LP_ENTRY_PAGE) != 0) {
        return 0;
    }
    if (is_brief(entry) && !entry->noted) {
        const uint64_t bytes = write_entry(engine, entry);
        engine->above_done |= entry->noted;
        return bytes;
    }
    if (over && may_go(engine, entry) && spill_message(engine, entry)) {
        engine->base.broker->stats->messages_paged_out++;
        engine->above_done = true;
    }
    return 0;
}

/* Behind the entry that was looked at last, or the head of its level: there may be many levels. */
static struct lp_list *
above_begin(const struct lp_engine *engine, struct lp_list *list)
{
    if (engine->noted[1]) {
        return engine->noted[1]->link.next;
    }
    const struct lp_store_paging *paging = paging_of(engine);
    struct lp_list *link = list->next;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < paging->head_entries / HEAD_SHARE && link != list; i++) {
        bytes += LP_LIST_ITEM(link, struct lp_entry, link)->body_bytes;
        if (bytes > paging->head_bytes / HEAD_SHARE) {
            break;
        }
        link = link->next;
    }
    return link;
}

/*
 * Their messages leave memory one by one and their entries stay: a page is of
 * positions that are mostly in a row, and those of a level are not.  Some
 * entries with each call, level after level.  False: a round in which there
 * was nothing to do is over.
 */
static bool
spill_above(struct lp_engine *engine, bool over)
{
    const uint32_t most = paging_of(engine)->page_entries;
    struct lp_list *list;
    uint32_t looked = 0;
    uint64_t bytes = 0;
    while ((list = engine->order->fresh(engine, engine->above_level + 1)) != NULL) {
        struct lp_list *link = above_begin(engine, list);
        for (; link != list && looked < most && bytes < WRITE_BYTES; link = link->next) {
            engine->noted[1] = LP_LIST_ITEM(link, struct lp_entry, link);
            bytes += above_entry(engine, engine->noted[1], over);
            looked++;
        }
        if (link != list) {
            break;
        }
        engine->noted[1] = NULL;
        engine->above_level++;
    }
    lp_store_brief_written(&engine->base);
    if (list) {
        return true;
    }
    const bool done = engine->above_done;
    engine->above_level = 0;
    engine->above_done = false;
    return done;
}

/* Are there entries of a kind that may make a page? */
static bool
is_worth_it(const struct lp_engine *engine, bool brief)
{
    return brief ? engine->brief_written >= paging_of(engine)->page_entries / 2
                 : engine->base.stored.on &&
                       (engine->persistent_count > 0 || engine->rules->keeps_all);
}

bool
lp_engine_spill(struct lp_queue *queue)
{
    struct lp_engine *engine = engine_of(queue);
    struct lp_list *list = engine->order->fresh(engine, 0);
    const bool loose = engine->loose;
    const bool over = lp_store_over(queue->broker);
    bool done = over && is_worth_it(engine, false) && spill_page(engine, list, false);
    done = (over && is_worth_it(engine, true) && spill_page(engine, list, true)) || done;
    engine->loose = loose && (done || !over);
    done = (engine->brief_unwritten > 0 && spill_write(engine, list)) || done;
    done = ((over || engine->brief_unwritten > 0) && spill_above(engine, over)) || done;
    return done || (over && spill_large(engine, list));
}
