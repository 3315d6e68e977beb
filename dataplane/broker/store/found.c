/* SPDX-License-Identifier: Apache-2.0 */
/*
 * found.c - what recovery finds in the log, queue by queue: entries by
 * position, until the queue comes up and takes them.
 */
#include <string.h>

#include "dataplane/broker/store/store_private.h"

#define ROOM_FIRST 32u
/* Empty places are closed up when they are this many, and half of all. */
#define GONE_MIN 64u

struct store_found *
store_found_get(struct lp_store *store, uint32_t id, bool make)
{
    const uint64_t hash = lp_hash_mix(store->broker->key.word[0], id);
    struct lp_hash_node *node = lp_hash_first(&store->found, hash);
    while (node) {
        struct store_found *found = LP_CONTAINER_OF(node, struct store_found, by_id);
        if (found->id == id) {
            return found;
        }
        node = lp_hash_next(node);
    }
    struct store_found *found =
        make ? lp_memory_alloc(store->broker->memory, sizeof(*found)) : NULL;
    if (found) {
        memset(found, 0, sizeof(*found));
        found->id = id;
        found->next_position = 1;
        lp_hash_insert(&store->found, &found->by_id, hash);
        lp_list_push_back(&store->found_all, &found->in_all);
    }
    return found;
}

/* An entry that recovery made goes, and what it held. */
static void
entry_drop(struct lp_store *store, struct lp_entry *entry)
{
    struct lp_broker *broker = store->broker;
    if (entry->flags & LP_ENTRY_PAGE) {
        store_page_let_go(store, entry);
        store_page_free(broker, entry);
    } else {
        lp_log_let_go(store->log, entry->place, entry->record_bytes);
    }
    lp_pool_release(&broker->entries, lp_pool_self(entry));
}

void
store_found_clear(struct lp_store *store, struct store_found *found)
{
    for (uint32_t i = 0; i < found->count; i++) {
        if (found->entries[i]) {
            entry_drop(store, found->entries[i]);
        }
    }
    found->count = 0;
    found->gone = 0;
}

void
store_found_drop(struct lp_store *store, struct store_found *found)
{
    store_found_clear(store, found);
    if (found->entries) {
        void *block = found->entries;
        lp_memory_release(store->broker->memory, &block);
    }
    lp_hash_remove(&store->found, &found->by_id);
    lp_list_remove(&found->in_all);
    void *block = found;
    lp_memory_release(store->broker->memory, &block);
}

/* ---- by position ---- */

static void
found_close_up(struct store_found *found)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < found->count; i++) {
        if (found->entries[i]) {
            found->entries[to++] = found->entries[i];
        }
    }
    found->count = to;
    found->gone = 0;
}

static bool
found_grow(struct lp_store *store, struct store_found *found)
{
    if (found->count < found->room) {
        return true;
    }
    if (found->gone >= GONE_MIN && found->gone >= found->count / 2) {
        found_close_up(found);
        return true;
    }
    const uint32_t room = found->room == 0 ? ROOM_FIRST : 2 * found->room;
    struct lp_entry **entries =
        lp_memory_alloc(store->broker->memory, (uint64_t)room * sizeof(found->entries[0]));
    if (!entries) {
        return false;
    }
    if (found->entries) {
        memcpy(entries, found->entries, (size_t)found->count * sizeof(entries[0]));
        void *block = found->entries;
        lp_memory_release(store->broker->memory, &block);
    }
    found->entries = entries;
    found->room = room;
    return true;
}

/* The last entry that is there at or before index `i`, which becomes its index; NULL: none. */
static struct lp_entry *
found_there(const struct store_found *found, uint32_t *i)
{
    while (*i < found->count && !found->entries[*i]) {
        (*i)--; /* wraps below 0, and ends */
    }
    return *i < found->count ? found->entries[*i] : NULL;
}

/* The index of the last entry at or before a position; `found->count`: there is none. */
static uint32_t
found_search(const struct store_found *found, uint64_t position)
{
    uint32_t low = 0; /* everything before it is at or before the position */
    uint32_t high = found->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint32_t probe = middle;
        const struct lp_entry *entry = found_there(found, &middle);
        if (!entry || middle < low) {
            low = probe + 1; /* from `low` to there is nothing */
        } else if (entry->position <= position) {
            low = probe + 1;
        } else {
            high = middle;
        }
    }
    uint32_t at = low - 1;
    return found_there(found, &at) ? at : found->count;
}

/* ---- in order ---- */

static void
found_sift(struct lp_entry **entries, uint32_t at, uint32_t count)
{
    struct lp_entry *entry = entries[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && entries[child + 1]->position > entries[child]->position) {
            child++;
        }
        if (entries[child]->position <= entry->position) {
            break;
        }
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = entry;
}

/* Heapsort: no memory, and never more than n log n. */
static void
found_sort(struct store_found *found)
{
    if (!found->unsorted) {
        return;
    }
    found->unsorted = false;
    found_close_up(found);
    struct lp_entry **entries = found->entries;
    for (uint32_t i = found->count / 2; i > 0; i--) {
        found_sift(entries, i - 1, found->count);
    }
    for (uint32_t end = found->count; end > 1; end--) {
        struct lp_entry *last = entries[0];
        entries[0] = entries[end - 1];
        entries[end - 1] = last;
        found_sift(entries, 0, end - 1);
    }
}

struct lp_entry *
store_found_at(struct store_found *found, uint64_t position)
{
    found_sort(found);
    const uint32_t at = found_search(found, position);
    return at < found->count ? found->entries[at] : NULL;
}

bool
store_found_push(struct lp_store *store, struct store_found *found, struct lp_entry *entry)
{
    if (!found_grow(store, found)) {
        return false;
    }
    uint32_t last = found->count - 1;
    const struct lp_entry *before = found_there(found, &last);
    found->unsorted |= before && before->position > entry->position;
    found->entries[found->count++] = entry;
    found->next_position = LP_MAX(found->next_position, entry->position + 1);
    return true;
}

bool
store_found_add(struct lp_store *store, struct store_found *found, const struct store_item *item,
                uint64_t position, bool moved)
{
    struct lp_broker *broker = store->broker;
    struct lp_entry *there = store_found_at(found, position);
    if (there && there->position != position) {
        there = NULL;
    }
    if (there && (there->flags & LP_ENTRY_PAGE) != 0) {
        return true; /* the page has it */
    }
    if (there) {
        lp_log_let_go(store->log, there->place, there->record_bytes);
        there->place = item->place;
        there->record_bytes = item->record_bytes;
        lp_log_hold(store->log, there->place, there->record_bytes);
        return true;
    }
    if (moved) {
        return true; /* it has left meanwhile */
    }
    lp_handle self;
    struct lp_entry *entry = lp_pool_alloc(&broker->entries, &self);
    if (!entry) {
        return false;
    }
    store_item_take(broker, entry, item, position);
    if (!store_found_push(store, found, entry)) {
        lp_pool_release(&broker->entries, self);
        return false;
    }
    lp_log_hold(store->log, entry->place, entry->record_bytes);
    return true;
}

/* ---- leaving ---- */

static void
found_take_out(struct lp_store *store, struct store_found *found, uint32_t at)
{
    entry_drop(store, found->entries[at]);
    found->entries[at] = NULL;
    found->gone++;
    if (at == found->count - 1) {
        found->count--;
        found->gone--;
    }
}

void
store_found_remove(struct lp_store *store, struct store_found *found, uint64_t position)
{
    found_sort(found);
    const uint32_t at = found_search(found, position);
    if (at < found->count && found->entries[at]->position == position) {
        found_take_out(store, found, at);
    }
}

void
store_found_ack(struct lp_store *store, struct store_found *found, uint64_t position)
{
    found_sort(found);
    const uint32_t at = found_search(found, position);
    if (at == found->count) {
        return;
    }
    const struct lp_entry *entry = found->entries[at];
    if ((entry->flags & LP_ENTRY_PAGE) == 0) {
        if (entry->position == position) {
            found_take_out(store, found, at);
        }
        return;
    }
    struct lp_store_page *page = lp_store_page_of(entry);
    if (position > page->last || !store_page_hole(store->broker, page, position)) {
        return; /* without memory for a hole it comes again, marked as redelivered */
    }
    if (page->count == 0) {
        found_take_out(store, found, at);
    }
}

/* ---- to their queues ---- */

bool
lp_store_adopt(struct lp_queue *queue, struct lp_store_found *ret_found)
{
    struct lp_store *store = queue->broker->store;
    struct lp_stored *stored = &queue->stored;
    if (!stored->on || stored->adopted) {
        return false;
    }
    stored->adopted = true;
    struct store_found *found = store_found_get(store, queue->id, false);
    if (!found) {
        return false;
    }
    found_sort(found);
    found_close_up(found);
    stored->redelivered_below = found->given;
    stored->given = found->given;
    stored->given_asked = found->given;
    for (uint32_t i = 0; i < found->count; i++) {
        struct lp_entry *entry = found->entries[i];
        if (entry->position < found->given && (entry->flags & LP_ENTRY_PAGE) == 0) {
            entry->flags |= LP_ENTRY_REDELIVERED;
        }
    }
    *ret_found = (struct lp_store_found){found->entries, found->count, found->next_position};
    return true;
}

void
lp_store_adopted(struct lp_queue *queue)
{
    struct lp_store *store = queue->broker->store;
    struct store_found *found = store_found_get(store, queue->id, false);
    LP_ASSERT(found);
    found->count = 0; /* they are the queue's */
    found->gone = 0;
    store_found_drop(store, found);
}

void
lp_store_synced(struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    if (!store || store->synced) {
        return;
    }
    store->synced = true;
    struct lp_list *next;
    for (struct lp_list *at = store->found_all.next; at != &store->found_all; at = next) {
        struct store_found *found = LP_LIST_ITEM(at, struct store_found, in_all);
        next = at->next;
        (void)store_note(store, STORE_OP_DROP, found->id, 0);
        store_found_drop(store, found);
    }
}
