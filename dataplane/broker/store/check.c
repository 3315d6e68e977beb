/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c - does what the store counts agree with what there is?  A walk over
 * all entries of the shard: for tests.
 */
#include "dataplane/broker/store/store_private.h"

struct check {
    struct lp_store *store;
    uint64_t resident_bytes;
    uint64_t held;    /* entries that the log holds for */
    uint64_t visited; /* of these, some queue's */
    uint64_t others;  /* ... dying, delayed, of a queue that is not up or is no more */
};

static void
check_page(const struct lp_entry *entry)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    uint64_t count = 0;
    LP_ASSERT(page->first == entry->position && page->first <= page->last);
    LP_ASSERT(page->count > 0 && page->count + page->hole_count == page->made_count);
    LP_ASSERT(page->persistent_count <= page->count && page->hole_count <= page->hole_room);
    for (uint32_t i = 0; i < page->hole_count; i++) {
        LP_ASSERT(page->holes[i] >= page->first && page->holes[i] <= page->last);
        LP_ASSERT(i == 0 || page->holes[i - 1] < page->holes[i]);
    }
    for (uint32_t i = 0; i < page->segment_count; i++) {
        const struct lp_log_place place = {page->segment[i].segment, 0};
        LP_ASSERT(place.segment <= entry->place.segment && page->segment[i].count > 0);
        count += page->segment[i].count;
    }
    LP_ASSERT(count == page->made_count);
}

/* What the log holds for it. */
static void
check_held(struct check *check, const struct lp_entry *entry)
{
    struct lp_log *log = check->store->log;
    check->held++;
    lp_log_audit(log, entry->place, entry->record_bytes);
    if (entry->flags & LP_ENTRY_PAGE) {
        const struct lp_store_page *page = lp_store_page_of(entry);
        check_page(entry);
        for (uint32_t i = 0; i < page->segment_count; i++) {
            const struct lp_log_place place = {page->segment[i].segment, 0};
            lp_log_audit(log, place, page->segment[i].bytes);
        }
    }
}

/* Its message is in memory, and counts there. */
static bool
is_resident(const struct lp_entry *entry)
{
    const uint8_t kind = LP_ENTRY_STORED | LP_ENTRY_PAGE | LP_ENTRY_READING;
    return (entry->flags & kind) == LP_ENTRY_STORED && entry->message != LP_HANDLE_NONE &&
           (entry->place.segment != 0 || entry->brief);
}

static bool
is_held(const struct lp_entry *entry)
{
    return (entry->flags & LP_ENTRY_STORED) != 0 && entry->place.segment != 0;
}

static void
check_entries(struct check *check)
{
    const struct lp_pool *entries = &check->store->broker->entries;
    uint32_t cursor = 0;
    lp_handle handle;
    const struct lp_entry *entry;
    while ((entry = lp_pool_next(entries, &cursor, &handle)) != NULL) {
        check->resident_bytes += is_resident(entry) ? lp_store_resident_bytes(entry) : 0;
        if (is_held(entry)) {
            check_held(check, entry);
            check->others += entry->state == LP_ENTRY_DYING || entry->state == LP_ENTRY_DELAYED;
        }
    }
}

static bool
check_source(void *context, const struct lp_store_source *source)
{
    struct check *check = context;
    if (source->queue_id != 0) {
        lp_log_audit(check->store->log, source->item.place, source->item.record_bytes);
    }
    return true;
}

static void
check_visited(void *context, struct lp_entry *entry)
{
    struct check *check = context;
    check->visited += is_held(entry);
}

static void
check_queues(struct check *check)
{
    const struct lp_broker *broker = check->store->broker;
    uint32_t cursor = 0;
    lp_handle handle;
    struct lp_queue *queue;
    while ((queue = lp_pool_next(&broker->queues, &cursor, &handle)) != NULL) {
        if (queue->type->audit) {
            queue->type->audit(queue);
        }
        queue->type->visit(queue, check_visited, check);
    }
}

/* Of queues that are no more: what clients have of them until they settle it. */
static void
check_orphans(struct check *check)
{
    const struct lp_broker *broker = check->store->broker;
    uint32_t cursor = 0;
    lp_handle handle;
    struct lp_subscription *subscription;
    while ((subscription = lp_pool_next(&broker->subscriptions, &cursor, &handle)) != NULL) {
        if (subscription->queue) {
            continue;
        }
        for (struct lp_list *link = subscription->unacked.next; link != &subscription->unacked;
             link = link->next) {
            check->others += is_held(LP_LIST_ITEM(link, struct lp_entry, link));
        }
    }
}

static void
check_found(struct check *check)
{
    struct lp_list *all = &check->store->found_all;
    for (struct lp_list *at = all->next; at != all; at = at->next) {
        const struct store_found *found = LP_LIST_ITEM(at, struct store_found, in_all);
        check->others += found->count - found->gone + found->page_count;
    }
}

void
lp_store_check(struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    if (!store) {
        return;
    }
    struct check check = {.store = store};
    lp_log_audit_begin(store->log);
    check_entries(&check);
    (void)lp_own_sources(&broker->own, check_source, &check);
    lp_log_audit_end(store->log);
    check_queues(&check);
    check_orphans(&check);
    check_found(&check);
    LP_ASSERT(check.resident_bytes == store->resident_bytes);
    LP_ASSERT(check.visited + check.others == check.held);
    lp_log_check(store->log);
}
