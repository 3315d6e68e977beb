/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c - all that is known of every queue, written down, so that
 * recovery need not read what was written before.
 *
 * Queues are taken one after the other while everything goes on.  What is said
 * of one is what is so at that moment: operations on it that are written
 * later are in the tail behind it, and those written before are void by it.
 */
#include <string.h>

#include "dataplane/broker/store/store_private.h"

/* Queues that one flush looks at. */
#define QUEUES_BUDGET 512u
/* Of a record, unless an item is larger; the first one's, which is mostly the only one. */
#define RECORD_BYTES       (32u * 1024u - 64u)
#define RECORD_BYTES_FIRST (4u * 1024u - 64u)
LP_STATIC_ASSERT(sizeof(struct store_queue_head) + sizeof(uint64_t) + sizeof(struct store_item) +
                         sizeof(struct store_page_item) +
                         LP_STORE_PAGE_ENTRIES * sizeof(uint64_t) <=
                     RECORD_BYTES,
                 "a page with all of its holes is the largest item");

/* ---- a queue, as records: each a block ---- */

struct writing {
    struct lp_store *store;
    struct lp_queue *queue;
    bool failed;
};

static void
block_write(struct store_block *block, const void *data, uint32_t bytes)
{
    LP_ASSERT(block->room - block->used >= bytes);
    memcpy(block->data + block->used, data, bytes);
    block->used += bytes;
}

static uint64_t
given_of(const struct lp_store *store, const struct lp_queue *queue)
{
    /* At rest every entry says for itself whether it was handed out. */
    return store->checkpoint.last ? queue->stored.redelivered_below : queue->stored.given_asked;
}

/* A record with room for at least so much.  False: no memory. */
static bool
record_begin(struct writing *writing, uint32_t bytes)
{
    struct lp_store *store = writing->store;
    struct store_blocks *records = &store->checkpoint.records;
    const struct lp_queue *queue = writing->queue;
    const struct store_queue_head head = {
        .queue = queue->id,
        .first = !records->first,
        .given = given_of(store, queue),
        .next_position = queue->stored.next_position,
    };
    const uint32_t usual = records->first ? RECORD_BYTES : RECORD_BYTES_FIRST;
    struct store_block *block =
        store_blocks_add(store, records, LP_MAX(usual, bytes + (uint32_t)sizeof(head)));
    if (!block) {
        writing->failed = true;
        return false;
    }
    block_write(block, &head, sizeof(head));
    return true;
}

/* The record that has room for so much more.  NULL: no memory. */
static struct store_block *
record_room(struct writing *writing, uint32_t bytes)
{
    const struct store_blocks *records = &writing->store->checkpoint.records;
    const bool fits = records->last->room - records->last->used >= bytes;
    return fits || record_begin(writing, bytes) ? records->last : NULL;
}

static void
page_write(struct store_block *block, const struct lp_store_page *page)
{
    struct store_page_item item = {
        .last = page->last,
        .body_bytes = page->body_bytes,
        .made_count = page->made_count,
        .hole_count = page->hole_count,
        .segment_count = page->segment_count,
        .persistent_count = page->persistent_count,
    };
    for (uint32_t i = 0; i < page->segment_count; i++) {
        item.segment[i].segment = page->segment[i].segment;
        item.segment[i].count = page->segment[i].count;
        item.segment[i].bytes = page->segment[i].bytes;
    }
    block_write(block, &item, sizeof(item));
    if (page->hole_count > 0) {
        block_write(block, page->holes, page->hole_count * (uint32_t)sizeof(page->holes[0]));
    }
}

/* With room for `more` bytes behind it.  NULL: no memory. */
static struct store_block *
item_write(struct writing *writing, uint64_t position, const struct store_item *item, uint32_t more)
{
    struct store_block *block =
        record_room(writing, (uint32_t)(sizeof(position) + sizeof(*item)) + more);
    if (block) {
        block_write(block, &position, sizeof(position));
        block_write(block, item, sizeof(*item));
    }
    return block;
}

static void
entry_write(void *context, struct lp_entry *entry)
{
    struct writing *writing = context;
    if ((entry->flags & LP_ENTRY_STORED) == 0 || entry->brief || entry->place.segment == 0 ||
        writing->failed) {
        return; /* what is not written yet is in the tail */
    }
    const struct store_item item = store_item_of(writing->store->broker, entry);
    if ((entry->flags & LP_ENTRY_PAGE) == 0) {
        (void)item_write(writing, entry->position, &item, 0);
        return;
    }
    const struct lp_store_page *page = lp_store_page_of(entry);
    const uint64_t bytes =
        sizeof(struct store_page_item) + page->hole_count * sizeof(page->holes[0]);
    struct store_block *block = item_write(writing, entry->position, &item, (uint32_t)bytes);
    if (block) {
        page_write(block, page);
    }
}

static bool
source_write(void *context, const struct lp_store_source *source)
{
    struct writing *writing = context;
    if (source->queue_id == writing->queue->id && !writing->failed) {
        (void)item_write(writing, source->position, &source->item, 0);
    }
    return true;
}

/*
 * What died in the queue and is not what it will become yet is nobody's but the log's.  It is said
 * with the queue: between the two nothing may end, or what was said before would be void already.
 */
static void
sources_write(struct writing *writing)
{
    struct lp_broker *broker = writing->store->broker;
    struct lp_list *dying = &broker->dying.entries;
    for (struct lp_list *at = dying->next; at != dying; at = at->next) {
        struct lp_entry *entry = LP_LIST_ITEM(at, struct lp_entry, link);
        if (entry->dead_letters->queue_id == writing->queue->id) {
            entry_write(writing, entry);
        }
    }
    (void)lp_own_sources(&broker->own, source_write, writing);
}

/* False: no memory; nothing was written. */
static bool
queue_write(struct lp_store *store, struct lp_queue *queue)
{
    struct writing writing = {.store = store, .queue = queue};
    if (record_begin(&writing, 0)) {
        queue->type->visit(queue, entry_write, &writing);
        if (queue->stored.sources > 0) {
            sources_write(&writing);
        }
    }
    if (writing.failed) {
        store_blocks_free(store, &store->checkpoint.records);
    }
    return !writing.failed;
}

bool
store_checkpoint_go_on(struct lp_store *store)
{
    struct store_blocks *records = &store->checkpoint.records;
    while (records->first) {
        const struct store_block *block = records->first;
        if (!store_room(store, block->used, block->used)) {
            return false;
        }
        (void)store_put(store, STORE_QUEUE, block->data, block->used);
        store_blocks_drop_first(store, records);
        store->chained = records->first != NULL;
    }
    return true;
}

/* ---- the whole ---- */

/* False: it goes on with another flush. */
static bool
queues_write(struct lp_store *store)
{
    struct store_checkpoint *checkpoint = &store->checkpoint;
    lp_handle handle;
    struct lp_queue *queue;
    for (uint32_t i = 0; i < QUEUES_BUDGET; i++) {
        const uint32_t before = checkpoint->cursor;
        queue = lp_pool_next(&store->broker->queues, &checkpoint->cursor, &handle);
        if (!queue) {
            return true;
        }
        if (!queue->stored.on) {
            continue;
        }
        if (!queue_write(store, queue)) {
            checkpoint->cursor = before;
            return false;
        }
        if (!store_checkpoint_go_on(store)) {
            return false;
        }
    }
    return false;
}

static bool
checkpoint_wanted(const struct lp_store *store)
{
    return store->synced && !lp_log_checkpointing(store->log) &&
           (lp_log_checkpoint_due(store->log) || (store->closing && !store->closed));
}

void
store_checkpoint_step(struct lp_store *store)
{
    struct store_checkpoint *checkpoint = &store->checkpoint;
    if (checkpoint->phase == STORE_CHECKPOINT_NONE) {
        if (!checkpoint_wanted(store)) {
            return;
        }
        if (store->open) {
            store_seal(store); /* with traffic there is always one */
        }
        if (store->chain_open) {
            return;
        }
        lp_log_checkpoint_begin(store->log);
        checkpoint->phase = STORE_CHECKPOINT_QUEUES;
        checkpoint->cursor = 0;
        checkpoint->last = store->closing;
    }
    if (checkpoint->phase == STORE_CHECKPOINT_QUEUES) {
        if (!queues_write(store)) {
            return;
        }
        checkpoint->phase = STORE_CHECKPOINT_DELAYED;
        checkpoint->cursor = 0;
    }
    if (!store_delayed_write(store)) {
        return;
    }
    if (store->open) {
        store_seal(store);
    }
    lp_log_checkpoint_end(store->log, lp_log_sealed(store->log));
    checkpoint->phase = STORE_CHECKPOINT_NONE;
    store->closed = checkpoint->last;
}

/* ---- recovery ---- */

static void
page_item_take(struct lp_store_page *page, const struct store_page_item *said, uint64_t position)
{
    page->first = position;
    page->last = said->last;
    page->body_bytes = said->body_bytes;
    page->made_count = said->made_count;
    page->count = said->made_count;
    page->persistent_count = said->persistent_count;
    page->persistent_bytes = said->body_bytes;
    page->segment_count = (uint8_t)said->segment_count;
    for (uint32_t i = 0; i < said->segment_count; i++) {
        page->segment[i].segment = said->segment[i].segment;
        page->segment[i].count = said->segment[i].count;
        page->segment[i].bytes = said->segment[i].bytes;
    }
}

static bool
page_holes_take(struct lp_broker *broker, struct lp_store_page *page, uint32_t count,
                struct lp_reader *reader)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t position = lp_reader_u64le(reader);
        if (reader->failed || position < page->first || position > page->last ||
            !store_page_hole(broker, page, position)) {
            return false;
        }
    }
    return true;
}

/* A page, as the record of its queue has it, but for its holes. */
struct page_said {
    struct store_item item;
    uint64_t position;
    struct store_page_item page;
};

/* False: it makes no sense, or there is no memory. */
static bool
apply_page_item(struct lp_store *store, struct store_found *found, const struct page_said *said,
                struct lp_reader *reader)
{
    struct lp_entry *entry = store_page_make(store->broker);
    if (!entry) {
        return false;
    }
    entry->position = said->position;
    entry->place = said->item.place;
    entry->record_bytes = said->item.record_bytes;
    entry->level = said->item.level;
    page_item_take(lp_store_page_of(entry), &said->page, said->position);
    if (!page_holes_take(store->broker, lp_store_page_of(entry), said->page.hole_count, reader) ||
        !store_found_push_page(store, found, entry)) {
        store_page_free(store->broker, entry);
        lp_pool_release(&store->broker->entries, lp_pool_self(entry));
        return false;
    }
    store_page_hold(store, entry);
    return true;
}

static bool
apply_entry_item(struct lp_store *store, struct store_found *found, const struct store_item *item,
                 uint64_t position)
{
    lp_handle self;
    struct lp_entry *entry = lp_pool_alloc(&store->broker->entries, &self);
    if (!entry) {
        return false;
    }
    store_item_take(store->broker, entry, item, position);
    if (!store_found_push(store, found, entry)) {
        lp_pool_release(&store->broker->entries, self);
        return false;
    }
    lp_log_hold(store->log, entry->place, entry->record_bytes);
    return true;
}

static bool
head_is(const struct store_queue_head *head)
{
    return head->given <= 2 * STORE_POSITION_MAX &&
           (head->next_position == 0 || store_position_is(head->next_position));
}

/* An entry, or a page. */
static bool
apply_item(struct lp_store *store, struct store_found *found, struct lp_log_place place,
           struct lp_reader *reader)
{
    struct page_said said = {.position = lp_reader_u64le(reader)};
    const uint8_t *data = lp_reader_take(reader, sizeof(said.item));
    if (!data || !store_position_is(said.position)) {
        return false;
    }
    memcpy(&said.item, data, sizeof(said.item));
    if ((said.item.flags & LP_ENTRY_PAGE) == 0) {
        return store_item_is(store, &said.item, place) &&
               apply_entry_item(store, found, &said.item, said.position);
    }
    data = lp_reader_take(reader, sizeof(said.page));
    if (!data) {
        return false;
    }
    memcpy(&said.page, data, sizeof(said.page));
    return store_page_item_is(store, &said.item, &said.page, said.position, place) &&
           apply_page_item(store, found, &said, reader);
}

bool
store_apply_queue(struct lp_store *store, struct lp_log_place place, struct lp_reader *reader)
{
    struct store_queue_head head;
    const uint8_t *data = lp_reader_take(reader, sizeof(head));
    if (!data) {
        return false;
    }
    memcpy(&head, data, sizeof(head));
    if (!head_is(&head)) {
        return false;
    }
    struct store_found *found = store_found_get(store, head.queue, true);
    if (!found) {
        store->failed = true;
        return false;
    }
    if (head.first) {
        store_found_clear(store, found);
        found->given = head.given;
    }
    found->next_position = LP_MAX(found->next_position, head.next_position);
    while (lp_reader_left(reader) > 0) {
        if (!apply_item(store, found, place, reader)) {
            return false;
        }
    }
    return true;
}
