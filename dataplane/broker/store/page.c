/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page.c - entries on disk: 32 bytes each, some thousand a record, and in
 * memory one entry in their place.
 *
 * What is in a page is held as long as the page is; how much of it in which
 * segment is noted with it, so that a page that is dropped need not be read.
 */
#include <string.h>

#include "dataplane/broker/store/store_private.h"

LP_STATIC_ASSERT(sizeof(struct store_page_head) +
                         LP_STORE_PAGE_ENTRIES * sizeof(struct store_item) <=
                     LP_LOG_RECORD_BYTES_MAX,
                 "a page is a record");

struct lp_entry *
store_page_make(struct lp_broker *broker)
{
    lp_handle self;
    struct lp_store_page *page = lp_memory_alloc(broker->memory, sizeof(*page));
    struct lp_entry *entry = page ? lp_pool_alloc(&broker->entries, &self) : NULL;
    if (!entry) {
        if (page) {
            void *block = page;
            lp_memory_release(broker->memory, &block);
        }
        return NULL;
    }
    memset(page, 0, sizeof(*page));
    entry->message = (lp_handle)(uintptr_t)page;
    entry->owner = (uint8_t)broker->shard;
    entry->state = LP_ENTRY_READY;
    entry->flags = LP_ENTRY_STORED | LP_ENTRY_PAGE | LP_ENTRY_PERSISTENT;
    return entry;
}

void
store_page_free(struct lp_broker *broker, struct lp_entry *entry)
{
    struct lp_store_page *page = lp_store_page_of(entry);
    if (page->holes) {
        void *holes = page->holes;
        lp_memory_release(broker->memory, &holes);
    }
    void *block = page;
    lp_memory_release(broker->memory, &block);
    entry->message = LP_HANDLE_NONE;
}

void
store_page_hold(struct lp_store *store, const struct lp_entry *entry)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    lp_log_hold(store->log, entry->place, entry->record_bytes);
    for (uint32_t i = 0; i < page->segment_count; i++) {
        const struct lp_log_place place = {page->segment[i].segment, 0};
        lp_log_hold(store->log, place, page->segment[i].bytes);
    }
}

void
store_page_let_go(struct lp_store *store, const struct lp_entry *entry)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    lp_log_let_go(store->log, entry->place, entry->record_bytes);
    for (uint32_t i = 0; i < page->segment_count; i++) {
        const struct lp_log_place place = {page->segment[i].segment, 0};
        lp_log_let_go(store->log, place, page->segment[i].bytes);
    }
}

/* Note an item; false: it is in a segment too many. */
static bool
page_count(struct lp_store_page *page, const struct store_item *item, uint64_t position)
{
    uint32_t i = page->segment_count;
    while (i > 0 && page->segment[i - 1].segment != item->place.segment) {
        i--;
    }
    if (i == 0) {
        if (page->segment_count == LP_STORE_PAGE_SEGMENTS) {
            return false;
        }
        i = ++page->segment_count;
        page->segment[i - 1].segment = item->place.segment;
    }
    page->segment[i - 1].count++;
    page->segment[i - 1].bytes += item->record_bytes;
    page->body_bytes += item->body_bytes;
    page->last = position;
    page->count++;
    page->made_count++;
    if (item->flags & LP_ENTRY_PERSISTENT) {
        page->persistent_count++;
        page->persistent_bytes += item->body_bytes;
    }
    return true;
}

/* ---- writing ---- */

/* As many as fit one page. */
static uint32_t
page_fill(struct lp_store *store, struct lp_entry *entry, struct lp_entry *const *entries,
          uint32_t count)
{
    struct lp_store_page *page = lp_store_page_of(entry);
    uint32_t taken = 0;
    page->first = entries[0]->position;
    while (taken < count && taken < LP_STORE_PAGE_ENTRIES &&
           entries[taken]->position - page->first <= UINT32_MAX) {
        const struct store_item item = store_item_of(store->broker, entries[taken]);
        if (!page_count(page, &item, entries[taken]->position)) {
            break;
        }
        taken++;
    }
    return taken;
}

uint32_t
lp_store_page_write(struct lp_queue *queue, struct lp_entry *const *entries, uint32_t count,
                    struct lp_entry **ret_page)
{
    struct lp_store *store = queue->broker->store;
    struct lp_entry *entry = store_page_make(queue->broker);
    if (!entry) {
        return 0;
    }
    entry->brief = entries[0]->brief;
    const uint32_t taken = page_fill(store, entry, entries, count);
    const struct store_page_head head = {queue->id, taken, entries[0]->position};
    const uint32_t bytes = (uint32_t)(sizeof(head) + taken * sizeof(struct store_item));
    if (!store_room(store, bytes, bytes)) {
        store_page_free(queue->broker, entry);
        lp_pool_release(&queue->broker->entries, lp_pool_self(entry));
        return 0;
    }
    uint8_t *at = lp_log_record(store->log, entry->brief ? STORE_BRIEF_PAGE : STORE_PAGE, bytes,
                                &entry->place);
    memcpy(at, &head, sizeof(head));
    at += sizeof(head);
    for (uint32_t i = 0; i < taken; i++) {
        struct store_item item = store_item_of(store->broker, entries[i]);
        item.position_low = (uint32_t)(entries[i]->position - head.first);
        memcpy(at, &item, sizeof(item));
        at += sizeof(item);
    }
    entry->position = head.first;
    entry->level = entries[0]->level;
    entry->record_bytes = (uint32_t)lp_log_record_bytes(bytes);
    lp_log_hold(store->log, entry->place, entry->record_bytes);
    *ret_page = entry;
    return taken;
}

bool
lp_store_is_durable(const struct lp_broker *broker, struct lp_log_place place)
{
    return lp_log_place_before(place, lp_log_durable_place(broker->store->log));
}

bool
lp_store_message_is_durable(const struct lp_broker *broker, const struct lp_entry *entry)
{
    /* Between its records there are headers of batches, and their padding. */
    const uint32_t bytes = entry->record_bytes + entry->record_bytes / 16;
    const struct lp_log_place end = {entry->place.segment,
                                     entry->place.unit + bytes / LP_LOG_UNIT_BYTES};
    return lp_store_is_durable(broker, end);
}

void
lp_store_paged(struct lp_broker *broker, struct lp_entry *entry)
{
    entry->flags &= (uint8_t)~LP_ENTRY_STORED;
    if (entry->message != LP_HANDLE_NONE) {
        lp_store_resident(broker, -(int64_t)lp_store_resident_bytes(entry));
    }
}

/* ---- reading ---- */

bool
store_page_is_hole(const struct lp_store_page *page, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = page->hole_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (page->holes[middle] == position) {
            return true;
        }
        if (page->holes[middle] < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

bool
store_page_hole(struct lp_broker *broker, struct lp_store_page *page, uint64_t position)
{
    if (store_page_is_hole(page, position)) {
        return true;
    }
    if (page->hole_count == page->hole_room) {
        const uint32_t room = page->hole_room == 0 ? 16u : 2 * page->hole_room;
        uint64_t *holes = lp_memory_alloc(broker->memory, (uint64_t)room * sizeof(*holes));
        if (!holes) {
            return false;
        }
        if (page->holes) {
            memcpy(holes, page->holes, page->hole_count * sizeof(*holes));
            void *block = page->holes;
            lp_memory_release(broker->memory, &block);
        }
        page->holes = holes;
        page->hole_room = room;
    }
    uint32_t at = page->hole_count;
    while (at > 0 && page->holes[at - 1] > position) {
        page->holes[at] = page->holes[at - 1];
        at--;
    }
    page->holes[at] = position;
    page->hole_count++;
    page->count--;
    page->persistent_count = LP_MIN(page->persistent_count, page->count);
    return true;
}

/* Entries for all that are not holes, or none. */
static bool
page_entries_make(struct lp_broker *broker, uint32_t count, struct lp_list *entries)
{
    for (uint32_t i = 0; i < count; i++) {
        lp_handle self;
        struct lp_entry *entry = lp_pool_alloc(&broker->entries, &self);
        if (!entry) {
            struct lp_list *link;
            while ((link = lp_list_pop_front(entries)) != NULL) {
                lp_pool_release(&broker->entries,
                                lp_pool_self(LP_LIST_ITEM(link, struct lp_entry, link)));
            }
            return false;
        }
        lp_list_push_back(entries, &entry->link);
    }
    return true;
}

/* Items of a page, in order; each is checked by page_items_are(). */
static struct store_item
item_at(const uint8_t *items, uint32_t i)
{
    struct store_item item;
    memcpy(&item, items + (size_t)i * sizeof(item), sizeof(item));
    return item;
}

/* Are these items in order, and do they hold what the page says? */
static bool
page_items_are(struct lp_store *store, const struct lp_entry *entry, const uint8_t *items,
               uint32_t *ret_wanted)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    struct lp_store_page said = {.first = page->first};
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < page->made_count; i++) {
        const struct store_item item = item_at(items, i);
        const uint64_t position = page->first + item.position_low;
        if ((i == 0 ? item.position_low != 0 : position <= said.last) ||
            !store_item_is(store, &item, entry->place) || !page_count(&said, &item, position)) {
            return false;
        }
        wanted += !store_page_is_hole(page, position);
    }
    for (uint32_t i = 0; i < said.segment_count; i++) {
        if (said.segment[i].segment != page->segment[i].segment ||
            said.segment[i].bytes != page->segment[i].bytes) {
            return false;
        }
    }
    *ret_wanted = wanted;
    return said.segment_count == page->segment_count;
}

/* Is the content this page's? */
static bool
page_is(const struct lp_queue *queue, const struct lp_entry *entry, struct lp_bytes content,
        uint32_t *ret_wanted)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    struct store_page_head head;
    if (content.size < sizeof(head)) {
        return false;
    }
    memcpy(&head, content.data, sizeof(head));
    return head.queue == queue->id && head.first == page->first && head.count == page->made_count &&
           content.size == sizeof(head) + head.count * sizeof(struct store_item) &&
           page_items_are(queue->broker->store, entry, content.data + sizeof(head), ret_wanted);
}

enum lp_err
lp_store_page_take(struct lp_queue *queue, struct lp_entry *entry, struct lp_bytes content,
                   struct lp_list *entries)
{
    struct lp_broker *broker = queue->broker;
    struct lp_store_page *page = lp_store_page_of(entry);
    struct lp_list fresh;
    uint32_t wanted;
    lp_list_init(&fresh);
    if (!page_is(queue, entry, content, &wanted)) {
        return LP_ERR_BAD_RECORD;
    }
    if (!page_entries_make(broker, wanted, &fresh)) {
        return LP_ERR_NO_MEMORY;
    }
    const uint8_t *items = content.data + sizeof(struct store_page_head);
    for (uint32_t i = 0; i < page->made_count; i++) {
        const struct store_item item = item_at(items, i);
        const uint64_t position = page->first + item.position_low;
        if (store_page_is_hole(page, position)) {
            lp_log_let_go(broker->store->log, item.place, item.record_bytes);
            continue;
        }
        struct lp_list *link = lp_list_pop_front(&fresh);
        LP_ASSERT(link);
        struct lp_entry *taken = LP_LIST_ITEM(link, struct lp_entry, link);
        store_item_take(broker, taken, &item, position);
        taken->level = entry->level; /* they are in one list */
        taken->brief = entry->brief;
        taken->noted = entry->brief;
        if (position < queue->stored.redelivered_below) {
            taken->flags |= LP_ENTRY_REDELIVERED;
        }
        lp_list_push_back(entries, link);
    }
    LP_ASSERT(lp_list_empty(&fresh));
    lp_log_let_go(broker->store->log, entry->place, entry->record_bytes);
    store_page_free(broker, entry);
    lp_pool_release(&broker->entries, lp_pool_self(entry));
    return LP_OK;
}

/* ---- dropping ---- */

void
lp_store_page_forget(struct lp_broker *broker, struct lp_entry *entry)
{
    store_page_let_go(broker->store, entry);
    store_page_free(broker, entry);
    lp_pool_release(&broker->entries, lp_pool_self(entry));
}

void
lp_store_page_drop(struct lp_queue *queue, struct lp_entry *entry)
{
    /* Without memory for it the page comes again after a crash, unless a checkpoint was made. */
    if (!entry->brief) {
        (void)store_note(queue->broker->store, STORE_OP_UNPAGE, queue->id, entry->position);
    }
    lp_store_page_forget(queue->broker, entry);
}

/* ---- recovery ---- */

/* What is on the page is nowhere else any more. */
static bool
apply_page_items(struct lp_store *store, struct store_found *found, struct lp_entry *entry,
                 const uint8_t *items, uint32_t count)
{
    struct lp_store_page *page = lp_store_page_of(entry);
    page->first = entry->position;
    for (uint32_t i = 0; i < count; i++) {
        const struct store_item item = item_at(items, i);
        const uint64_t position = page->first + item.position_low;
        const bool in_order = i == 0 ? item.position_low == 0 : position > page->last;
        if (!in_order || !store_item_is(store, &item, entry->place) ||
            !page_count(page, &item, position) || !store_found_leave(store, found, position, 1)) {
            return false;
        }
        entry->level = item.level;
    }
    return true;
}

bool
store_apply_page(struct lp_store *store, struct lp_log_place place, uint32_t content_bytes,
                 struct lp_reader *reader)
{
    struct store_page_head head;
    const uint8_t *data = lp_reader_take(reader, sizeof(head));
    if (!data) {
        return false;
    }
    memcpy(&head, data, sizeof(head));
    const uint32_t items_bytes = head.count * (uint32_t)sizeof(struct store_item);
    if (head.count == 0 || head.count > LP_STORE_PAGE_ENTRIES ||
        lp_reader_left(reader) != items_bytes || !store_positions_are(head.first, UINT32_MAX) ||
        head.queue == LP_STORE_DELAYED_ID) {
        return false;
    }
    struct store_found *found = store_found_get(store, head.queue, true);
    struct lp_entry *entry = found ? store_page_make(store->broker) : NULL;
    if (!entry) {
        store->failed = true;
        return false;
    }
    entry->position = head.first;
    entry->place = place;
    entry->record_bytes = (uint32_t)lp_log_record_bytes(content_bytes);
    if (!apply_page_items(store, found, entry, lp_reader_take(reader, items_bytes), head.count) ||
        !store_found_push_page(store, found, entry)) {
        store_page_free(store->broker, entry);
        lp_pool_release(&store->broker->entries, lp_pool_self(entry));
        return false;
    }
    store_page_hold(store, entry);
    return true;
}
