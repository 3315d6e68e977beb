/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delayed.c - messages that wait at an exchange, in the log: entries of a
 * queue that there is not.
 *
 * They are in no order that one could walk while they come and go.  So who
 * wants all of them looks through the entries of the shard, some of them with each flush;
 * those that come meanwhile are in the log behind where that began.
 */
#include "dataplane/broker/store/store_private.h"

/* Entries that one flush looks at. */
#define ENTRIES_BUDGET 16384u
#define SPILL_BUDGET   1024u

bool
lp_store_delay(struct lp_broker *broker, struct lp_entry *entry,
               const struct lp_mesh_record *record)
{
    return store_note_enqueue(broker, LP_STORE_DELAYED_ID, entry, broker->shard, record);
}

void
lp_store_delay_brief(struct lp_broker *broker, struct lp_entry *entry)
{
    struct lp_store *store = broker->store;
    if (store && !store->fenced &&
        lp_delay_count(&broker->delay) > lp_store_paging(broker)->head_entries) {
        store_brief(broker, entry);
    }
}

bool
lp_store_delay_read(struct lp_broker *broker, struct lp_log_place place, uint32_t bytes)
{
    return store_read_begin(broker->store, LP_STORE_DELAYED_ID, place, bytes);
}

/* ---- from before the start ---- */

uint64_t
lp_store_delayed_next(const struct lp_broker *broker)
{
    struct lp_store *store = broker->store;
    const struct store_found *found =
        store && !store->synced ? store_found_get(store, LP_STORE_DELAYED_ID, false) : NULL;
    return found ? found->next_position : 0;
}

void
store_delayed_restore(struct lp_store *store)
{
    struct lp_broker *broker = store->broker;
    struct store_found *found = store_found_get(store, LP_STORE_DELAYED_ID, false);
    if (!found) {
        return;
    }
    broker->delay.next_position = LP_MAX(broker->delay.next_position, found->next_position);
    for (uint32_t i = 0; i < found->count; i++) {
        struct lp_entry *entry = store_found_slot(found, i)->entry;
        if (entry) {
            lp_delay_restore(broker, entry);
        }
    }
    found->count = 0; /* they are not the log's to give any more */
    found->gone = 0;
    store_found_drop(store, found);
}

/* ---- all of them ---- */

/* The entry at the cursor, if it is one that is in the log. */
static struct lp_entry *
delayed_at(const struct lp_store *store, uint32_t cursor)
{
    struct lp_entry *entry = lp_pool_at(&store->broker->entries, cursor);
    return entry && entry->state == LP_ENTRY_DELAYED && (entry->flags & LP_ENTRY_STORED) != 0 &&
                   entry->place.segment != 0
               ? entry
               : NULL;
}

/* Where a walk of so many entries from the cursor on ends: none of them is passed over. */
static uint32_t
walk_end(const struct lp_store *store, uint32_t cursor, uint32_t budget)
{
    const uint32_t made = store->broker->entries.made;
    return made - cursor > budget ? cursor + budget : made;
}

static bool
item_write(struct lp_store *store, uint64_t position, const struct store_item *item)
{
    const struct store_enqueue record = {
        .queue = LP_STORE_DELAYED_ID, .position = position, .item = *item};
    if (!store_room(store, sizeof(record), sizeof(record))) {
        return false;
    }
    (void)store_put(store, STORE_ENQUEUE, &record, sizeof(record));
    return true;
}

static bool
source_write(void *context, const struct lp_store_source *source)
{
    return source->queue_id != LP_STORE_DELAYED_ID ||
           item_write(context, source->position, &source->item);
}

/* Those that are due and not where they go yet.  False: no room; all of them again later, which
 * is harmless. */
static bool
sources_write(struct lp_store *store)
{
    return lp_own_sources(&store->broker->own, source_write, store);
}

bool
store_delayed_write(struct lp_store *store)
{
    uint32_t *cursor = &store->checkpoint.cursor;
    if (lp_delay_count(&store->broker->delay) == 0) {
        return sources_write(store);
    }
    const uint32_t end = walk_end(store, *cursor, ENTRIES_BUDGET);
    for (; *cursor < end; (*cursor)++) {
        const struct lp_entry *entry = delayed_at(store, *cursor);
        if (!entry || entry->brief) { /* no start finds these */
            continue;
        }
        const struct store_item item = store_item_of(store->broker, entry);
        if (!item_write(store, entry->position, &item)) {
            return false;
        }
    }
    return end == store->broker->entries.made && sources_write(store);
}

bool
store_delayed_move(struct lp_store *store, uint64_t *budget)
{
    struct store_move *move = &store->move;
    if (lp_delay_count(&store->broker->delay) == 0) {
        return true;
    }
    bool noted = false;
    const uint32_t end = walk_end(store, move->delayed, ENTRIES_BUDGET);
    for (; move->delayed < end; move->delayed++) {
        const struct lp_entry *entry = delayed_at(store, move->delayed);
        /* What is on disk only stays until it is due. */
        if (!entry || entry->place.segment != move->segment || entry->message == LP_HANDLE_NONE ||
            (entry->flags & LP_ENTRY_READING) != 0) {
            continue;
        }
        if (!store_move_note(store, LP_STORE_DELAYED_ID, entry, budget)) {
            return false;
        }
        move->moved = true;
        noted = true;
    }
    /* What was noted is written with the next flush, while this is the segment. */
    return !noted && end == store->broker->entries.made;
}

/* It is in memory, and will not be wanted soon. */
static bool
is_for_later(const struct lp_broker *broker, const struct lp_entry *entry)
{
    return entry->state == LP_ENTRY_DELAYED && entry->message != LP_HANDLE_NONE &&
           (entry->flags & (LP_ENTRY_STORED | LP_ENTRY_READING)) == LP_ENTRY_STORED &&
           entry->expires_ns > broker->now_ns + lp_store_paging(broker)->ahead_ms * 1000000ull;
}

/* What is on disk leaves memory, and what is not kept is to be written for that. */
static void
delayed_spill(struct lp_store *store, struct lp_entry *entry)
{
    struct lp_broker *broker = store->broker;
    if (entry->brief && !entry->noted) {
        (void)store_brief_write(store, LP_STORE_DELAYED_ID, entry); /* else later */
        return;
    }
    if (entry->place.segment == 0 || !lp_store_message_is_durable(broker, entry)) {
        return;
    }
    lp_store_resident(broker, -(int64_t)lp_store_resident_bytes(entry));
    lp_message_free(&broker->messages, entry->message);
    entry->message = LP_HANDLE_NONE;
    broker->stats->messages_paged_out++;
}

void
store_delayed_spill(struct lp_store *store)
{
    struct lp_broker *broker = store->broker;
    if (lp_delay_count(&broker->delay) == 0) {
        return;
    }
    if (store->delayed_cursor >= broker->entries.made) {
        store->delayed_cursor = 0;
    }
    const uint32_t end = walk_end(store, store->delayed_cursor, SPILL_BUDGET);
    for (; store->delayed_cursor < end && lp_store_over(broker); store->delayed_cursor++) {
        struct lp_entry *entry = lp_pool_at(&broker->entries, store->delayed_cursor);
        if (entry && is_for_later(broker, entry)) {
            delayed_spill(store, entry);
        }
    }
}
