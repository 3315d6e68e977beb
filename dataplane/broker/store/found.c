/* SPDX-License-Identifier: Apache-2.0 */
/*
 * found.c - what recovery finds in the log, queue by queue: entries and pages
 * by position, until the queue comes up and takes them.
 *
 * An entry that is known by itself lies in a slot, by position; one that has
 * left keeps its slot until slots are closed up.  Pages lie apart: entries of
 * other levels may lie between theirs, and of an older page what was paged
 * anew is in a younger one.
 */
#include <string.h>

#include "dataplane/broker/store/store_private.h"

#define ROOM_FIRST 32u
/* Slots of what has left are closed up when they are this many, and half of all. */
#define GONE_MIN 64u
/* So many slots that are not in order are put where they belong one by one. */
#define TAIL_MAX 64u

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
        const struct store_slot *slot = store_found_slot(found, i);
        if (slot->entry) {
            entry_drop(store, slot->entry);
        }
    }
    for (uint32_t i = 0; i < found->page_count; i++) {
        entry_drop(store, found->pages[i]);
    }
    found->count = 0;
    found->sorted = 0;
    found->gone = 0;
    found->page_count = 0;
    found->page_span = 0;
}

static void
release(struct lp_memory *memory, void *block)
{
    if (block) {
        lp_memory_release(memory, &block);
    }
}

void
store_found_drop(struct lp_store *store, struct store_found *found)
{
    store_found_clear(store, found);
    for (uint32_t i = 0; i < found->more_count; i++) {
        release(store->broker->memory, found->more[i]);
    }
    release(store->broker->memory, found->more);
    release(store->broker->memory, found->slots);
    release(store->broker->memory, found->pages);
    lp_hash_remove(&store->found, &found->by_id);
    lp_list_remove(&found->in_all);
    release(store->broker->memory, found);
}

/* Room for one more; false: no memory. */
static bool
grow(struct lp_memory *memory, void **items, uint32_t item_bytes, uint32_t count, uint32_t *room)
{
    if (count < *room) {
        return true;
    }
    const uint32_t more = *room == 0 ? ROOM_FIRST : 2 * *room;
    void *grown = lp_memory_alloc(memory, (uint64_t)more * item_bytes);
    if (!grown) {
        return false;
    }
    if (*items) {
        memcpy(grown, *items, (size_t)count * item_bytes);
        lp_memory_release(memory, items);
    }
    *items = grown;
    *room = more;
    return true;
}

/* ---- slots, by position ---- */

static void
found_close_up(struct store_found *found)
{
    uint32_t to = 0;
    uint32_t sorted = 0;
    for (uint32_t i = 0; i < found->count; i++) {
        const struct store_slot *slot = store_found_slot(found, i);
        if (slot->entry) {
            sorted += i < found->sorted;
            *store_found_slot(found, to++) = *slot;
        }
    }
    found->count = to;
    found->sorted = sorted;
    found->gone = 0;
}

/* One more block of them. */
static bool
found_grow_more(struct lp_memory *memory, struct store_found *found)
{
    void *more = found->more;
    const bool grown =
        grow(memory, &more, sizeof(found->more[0]), found->more_count, &found->more_room);
    found->more = more;
    struct store_slot *block = grown ? lp_memory_alloc(memory, STORE_SLOTS * sizeof(*block)) : NULL;
    if (!block) {
        return false;
    }
    found->more[found->more_count++] = block;
    found->room += STORE_SLOTS;
    return true;
}

static bool
found_grow(struct lp_store *store, struct store_found *found)
{
    if (found->count == found->room && found->gone >= GONE_MIN && found->gone >= found->count / 2) {
        found_close_up(found);
    }
    if (found->room >= STORE_SLOTS) {
        return found->count < found->room || found_grow_more(store->broker->memory, found);
    }
    void *slots = found->slots;
    const bool grown =
        grow(store->broker->memory, &slots, sizeof(found->slots[0]), found->count, &found->room);
    found->slots = slots;
    return grown;
}

/* The first of the sorted slots that is at or behind a position. */
static uint32_t
lower_bound(const struct store_found *found, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = found->sorted;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (store_found_slot(found, middle)->position < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
found_sift(const struct store_found *found, uint32_t at, uint32_t count)
{
    const struct store_slot slot = *store_found_slot(found, at);
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        const struct store_slot *larger = store_found_slot(found, child);
        if (child + 1 < count && store_found_slot(found, child + 1)->position > larger->position) {
            child++;
            larger = store_found_slot(found, child);
        }
        if (larger->position <= slot.position) {
            break;
        }
        *store_found_slot(found, at) = *larger;
        at = child;
    }
    *store_found_slot(found, at) = slot;
}

/* Heapsort: no memory, and never more than n log n. */
static void
found_sort_all(struct store_found *found)
{
    found_close_up(found);
    for (uint32_t i = found->count / 2; i > 0; i--) {
        found_sift(found, i - 1, found->count);
    }
    for (uint32_t end = found->count; end > 1; end--) {
        struct store_slot *first = store_found_slot(found, 0);
        struct store_slot *last = store_found_slot(found, end - 1);
        const struct store_slot largest = *first;
        *first = *last;
        *last = largest;
        found_sift(found, 0, end - 1);
    }
    found->sorted = found->count;
}

/* Those from `at` to before `end` are one further on. */
static void
found_shift(const struct store_found *found, uint32_t at, uint32_t end)
{
    while (end > at) {
        const uint32_t from = LP_MAX(end / STORE_SLOTS * STORE_SLOTS, at);
        struct store_slot *slot = store_found_slot(found, from);
        memmove(slot + 1, slot, (size_t)(end - from) * sizeof(*slot));
        end = from;
        if (end > at) { /* the last of the block before */
            *store_found_slot(found, end) = *store_found_slot(found, end - 1);
            end--;
        }
    }
}

static void
found_sort(struct store_found *found)
{
    if (found->count - found->sorted > TAIL_MAX) {
        found_sort_all(found);
    }
    while (found->sorted < found->count) {
        const struct store_slot slot = *store_found_slot(found, found->sorted);
        const uint32_t at = lower_bound(found, slot.position);
        found_shift(found, at, found->sorted);
        *store_found_slot(found, at) = slot;
        found->sorted++;
    }
}

/* The slot of an entry that is there; NULL: there is none at this position. */
static struct store_slot *
found_slot(struct store_found *found, uint64_t position)
{
    found_sort(found);
    uint32_t at = lower_bound(found, position);
    for (; at < found->count; at++) {
        struct store_slot *slot = store_found_slot(found, at);
        if (slot->position != position) {
            return NULL;
        }
        if (slot->entry) {
            return slot;
        }
    }
    return NULL;
}

bool
store_found_push(struct lp_store *store, struct store_found *found, struct lp_entry *entry)
{
    if (!found_grow(store, found)) {
        return false;
    }
    const uint32_t at = found->count++;
    *store_found_slot(found, at) = (struct store_slot){entry->position, entry};
    if (found->sorted == at &&
        (at == 0 || store_found_slot(found, at - 1)->position <= entry->position)) {
        found->sorted++;
    }
    found->next_position = LP_MAX(found->next_position, entry->position + 1);
    return true;
}

static void
slot_take_out(struct lp_store *store, struct store_found *found, struct store_slot *slot)
{
    entry_drop(store, slot->entry);
    slot->entry = NULL;
    found->gone++;
}

/* ---- pages ---- */

/* How many of them begin at or before a position. */
static uint32_t
pages_before(const struct store_found *found, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = found->page_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (found->pages[middle]->position <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool
store_found_push_page(struct lp_store *store, struct store_found *found, struct lp_entry *entry)
{
    void *pages = found->pages;
    const bool grown = grow(store->broker->memory, &pages, sizeof(found->pages[0]),
                            found->page_count, &found->page_room);
    found->pages = pages;
    if (!grown) {
        return false;
    }
    const struct lp_store_page *page = lp_store_page_of(entry);
    const uint32_t at = pages_before(found, entry->position);
    memmove(&found->pages[at + 1], &found->pages[at],
            (size_t)(found->page_count - at) * sizeof(found->pages[0]));
    found->pages[at] = entry;
    found->page_count++;
    found->page_span = LP_MAX(found->page_span, page->last - page->first);
    found->next_position = LP_MAX(found->next_position, page->last + 1);
    return true;
}

static void
page_take_out(struct lp_store *store, struct store_found *found, uint32_t at)
{
    entry_drop(store, found->pages[at]);
    found->page_count--;
    memmove(&found->pages[at], &found->pages[at + 1],
            (size_t)(found->page_count - at) * sizeof(found->pages[0]));
}

/* The youngest page that has an entry of this position; page_count: none has. */
static uint32_t
found_page(const struct store_found *found, uint64_t position)
{
    for (uint32_t at = pages_before(found, position); at > 0; at--) {
        const struct lp_store_page *page = lp_store_page_of(found->pages[at - 1]);
        if (position - page->first > found->page_span) {
            break;
        }
        if (position <= page->last && !store_page_is_hole(page, position)) {
            return at - 1;
        }
    }
    return found->page_count;
}

/* Positions of a page that are not wanted any more, unless they are entries of other pages or of
 * none.  Each becomes a hole or is one: no more than the page has entries. */
static bool
page_leave(struct lp_store *store, struct store_found *found, uint32_t at, uint64_t first,
           uint64_t last)
{
    struct lp_store_page *page = lp_store_page_of(found->pages[at]);
    for (uint64_t position = first; position <= last && page->count > 0; position++) {
        if (!found_slot(found, position) && found_page(found, position) == at &&
            !store_page_hole(store->broker, page, position)) {
            return false;
        }
    }
    return true;
}

bool
store_found_leave(struct lp_store *store, struct store_found *found, uint64_t first, uint64_t count)
{
    const uint64_t last = first + count - 1;
    for (uint32_t at = pages_before(found, last); at > 0; at--) {
        const struct lp_store_page *page = lp_store_page_of(found->pages[at - 1]);
        if (first > page->first && first - page->first > found->page_span) {
            break;
        }
        if (!page_leave(store, found, at - 1, LP_MAX(first, page->first),
                        LP_MIN(last, page->last))) {
            return false;
        }
        if (page->count == 0) {
            page_take_out(store, found, at - 1);
        }
    }
    found_sort(found);
    for (uint32_t at = lower_bound(found, first); at < found->count; at++) {
        struct store_slot *slot = store_found_slot(found, at);
        if (slot->position > last) {
            break;
        }
        if (slot->entry) {
            slot_take_out(store, found, slot);
        }
    }
    return true;
}

void
store_found_unpage(struct lp_store *store, struct store_found *found, uint64_t first)
{
    const uint32_t before = pages_before(found, first);
    if (before > 0 && found->pages[before - 1]->position == first) {
        page_take_out(store, found, before - 1);
    }
}

/* ---- coming ---- */

static bool
found_make(struct lp_store *store, struct store_found *found, const struct store_item *item,
           uint64_t position)
{
    struct lp_broker *broker = store->broker;
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

bool
store_found_add(struct lp_store *store, struct store_found *found, const struct store_item *item,
                uint64_t position, bool moved)
{
    const struct store_slot *slot = found_slot(found, position);
    if (slot) {
        struct lp_entry *there = slot->entry;
        lp_log_let_go(store->log, there->place, there->record_bytes);
        there->place = item->place;
        there->record_bytes = item->record_bytes;
        lp_log_hold(store->log, there->place, there->record_bytes);
        return true;
    }
    /* One that a page has is where the page says until the page's own place is free. */
    if (moved || found_page(found, position) < found->page_count) {
        return true;
    }
    return found_make(store, found, item, position);
}

bool
store_found_return(struct lp_store *store, struct store_found *found, const struct store_item *item,
                   uint64_t position)
{
    const struct store_slot *slot = found_slot(found, position);
    if (slot) {
        slot->entry->returns = item->returns;
        slot->entry->flags |= LP_ENTRY_REDELIVERED;
        return true;
    }
    if (found_page(found, position) == found->page_count) {
        return true; /* it has left, or was never written */
    }
    return store_found_leave(store, found, position, 1) && found_make(store, found, item, position);
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
    /* What is still to come was never handed out, however far ahead that was asked for. */
    stored->redelivered_below = LP_MIN(found->given, found->next_position);
    stored->given = found->given;
    stored->given_asked = found->given;
    stored->next_position = LP_MAX(stored->next_position, found->next_position);
    *ret_found = (struct lp_store_found){.found = found};
    return true;
}

struct lp_entry *
lp_store_found_next(const struct lp_queue *queue, struct lp_store_found *at)
{
    const struct store_found *found = at->found;
    struct lp_entry *entry =
        at->slot < found->count ? store_found_slot(found, at->slot)->entry : NULL;
    struct lp_entry *page = at->page < found->page_count ? found->pages[at->page] : NULL;
    if (page && (!entry || page->position < entry->position)) {
        at->page++;
        return page;
    }
    if (entry) {
        at->slot++;
        entry->flags |=
            entry->position < queue->stored.redelivered_below ? LP_ENTRY_REDELIVERED : 0;
    }
    return entry;
}

void
lp_store_adopted(struct lp_queue *queue, struct lp_store_found *at)
{
    struct store_found *found = at->found;
    found->count = 0; /* they are the queue's */
    found->page_count = 0;
    store_found_drop(queue->broker->store, found);
}

bool
lp_store_all_known(const struct lp_broker *broker)
{
    return !broker->store || broker->store->synced;
}

static uint64_t
found_messages(const struct store_found *found)
{
    uint64_t count = found->count - found->gone;
    for (uint32_t i = 0; i < found->page_count; i++) {
        count += lp_store_page_of(found->pages[i])->count;
    }
    return count;
}

void
lp_store_synced(struct lp_broker *broker, struct lp_store_dropped *ret_dropped)
{
    struct lp_store *store = broker->store;
    *ret_dropped = (struct lp_store_dropped){0, 0};
    if (!store || store->synced) {
        return;
    }
    store_delayed_restore(store);
    store->synced = true;
    struct lp_list *next;
    for (struct lp_list *at = store->found_all.next; at != &store->found_all; at = next) {
        struct store_found *found = LP_LIST_ITEM(at, struct store_found, in_all);
        const uint64_t messages = found_messages(found);
        next = at->next;
        ret_dropped->queues += messages > 0;
        ret_dropped->messages += messages;
        (void)store_note(store, STORE_OP_DROP, found->id, 0);
        store_found_drop(store, found);
    }
}
