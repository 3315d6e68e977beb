/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch.c - messages that are on disk only, read back in the order in which
 * they will be wanted.
 *
 * Where a queue goes on from is what is next in it; from there as much is read
 * as may be ahead of its consumers.  What was written in a row is read in a
 * row: one read has many messages.
 */
#include "dataplane/queue/engine/engine.h"

/* Read, or being read, and not taken. */
#define AHEAD_BYTES_MAX (2u * 1024u * 1024u)
/* What a queue may have with its clients while memory is short, and have more read for them; an
 * entry without a body counts, too. */
#define DELIVERED_BYTES_MAX AHEAD_BYTES_MAX
#define ENTRY_BYTES         256u
/* Between two messages of one read: of others, or of nobody any more. */
#define GAP_BYTES_MAX (32u * 1024u)

static inline struct lp_entry *
entry_at(struct lp_list *link)
{
    return LP_LIST_ITEM(link, struct lp_entry, link);
}

static uint64_t
offset_of(struct lp_log_place place)
{
    return (uint64_t)place.unit * LP_LOG_UNIT_BYTES;
}

/* ---- asking ---- */

/* NULL: not now. */
static struct engine_read *
read_begin(struct lp_engine *engine, struct lp_entry *first, struct lp_log_place place,
           uint32_t bytes)
{
    for (uint32_t i = 0; i < ENGINE_READS_MAX; i++) {
        struct engine_read *read = &engine->read[i];
        if (read->first != LP_HANDLE_NONE) {
            continue;
        }
        if (!lp_store_read(&engine->base, place, bytes)) {
            return NULL;
        }
        read->place = place;
        read->first = lp_pool_self(first);
        read->count = 1;
        engine->reads++;
        return read;
    }
    return NULL;
}

/* Does it lie so that a read from `first` on, which has `end` bytes so far, may have it, too? */
static bool
run_joins(const struct lp_entry *first, const struct lp_entry *entry, uint64_t end)
{
    if (entry->message != LP_HANDLE_NONE || (entry->flags & LP_ENTRY_READING) != 0 ||
        entry->place.segment != first->place.segment) {
        return false;
    }
    const uint64_t from = offset_of(first->place);
    const uint64_t at = offset_of(entry->place);
    return at >= from && at - from <= end + GAP_BYTES_MAX &&
           at - from + entry->record_bytes <= LP_STORE_READ_BYTES;
}

/* One read for the entry at the link and those behind it; gives where the next begins.  NULL: no
 * more can be read now. */
static struct lp_list *
run_read(struct lp_engine *engine, struct lp_list *list, struct lp_list *link)
{
    struct lp_entry *first = entry_at(link);
    uint64_t end = first->record_bytes;
    struct lp_list *behind = link->next;
    while (behind != list && run_joins(first, entry_at(behind), end)) {
        const struct lp_entry *entry = entry_at(behind);
        const uint64_t last =
            offset_of(entry->place) - offset_of(first->place) + entry->record_bytes;
        end = LP_MAX(end, last);
        behind = behind->next;
    }
    struct engine_read *read = read_begin(engine, first, first->place,
                                          (uint32_t)LP_MIN(end, (uint64_t)LP_STORE_READ_BYTES));
    if (!read) {
        return NULL;
    }
    read->count = 0;
    for (; link != behind; link = link->next, read->count++) {
        struct lp_entry *entry = entry_at(link);
        entry->flags |= LP_ENTRY_READING;
        engine->ahead_bytes += entry->record_bytes;
        engine->fetched = entry;
    }
    return behind;
}

void
engine_read_page(struct lp_engine *engine, struct lp_entry *entry)
{
    struct lp_store_page *page = lp_store_page_of(entry);
    if (!page->reading && lp_store_is_durable(engine->base.broker, entry->place) &&
        read_begin(engine, entry, entry->place, entry->record_bytes)) {
        page->reading = true;
    }
}

struct lp_list *
engine_read_run(struct lp_engine *engine, struct lp_list *list, struct lp_list *link)
{
    struct lp_entry *fetched = engine->fetched;
    struct lp_list *behind = run_read(engine, list, link);
    engine->fetched = fetched; /* consumers go on from there */
    return behind;
}

/* More than what is next may be read. */
static bool
may_read_ahead(const struct lp_engine *engine)
{
    return engine->ahead_bytes < AHEAD_BYTES_MAX &&
           (engine->ahead_bytes == 0 || !lp_memory_pressed(engine->base.broker->memory));
}

/*
 * Above the watermark messages on disk stay there when clients have enough
 * from here already and settle nothing: what they have is in memory until they
 * do.  Who asks for one gets it, as long as there is memory at all.
 */
static bool
may_read_next(struct lp_engine *engine, const struct lp_entry *entry)
{
    const struct lp_broker *broker = engine->base.broker;
    const uint64_t delivered = engine->unacked_bytes + engine->unacked_count * ENTRY_BYTES;
    engine->held = lp_memory_pressed(broker->memory) &&
                   ((delivered >= DELIVERED_BYTES_MAX && lp_list_empty(&engine->gets)) ||
                    !lp_own_memory(broker, entry->body_bytes));
    if (engine->held) {
        lp_store_hold_back(&engine->base);
    }
    return !engine->held;
}

/* From there on, what is not in memory; the first of the list in any case: what is ahead may be
 * another level's, and wait for it. */
static void
fetch_from(struct lp_engine *engine, struct lp_list *list, struct lp_list *link)
{
    while (link != list && link && (link == list->next || may_read_ahead(engine))) {
        struct lp_entry *entry = entry_at(link);
        const bool page = (entry->flags & LP_ENTRY_PAGE) != 0;
        if (!page && (entry->message != LP_HANDLE_NONE || (entry->flags & LP_ENTRY_READING) != 0)) {
            link = link->next;
            continue;
        }
        if (!may_read_next(engine, entry)) {
            return;
        }
        if (page) {
            engine_read_page(engine, entry);
            return; /* what comes behind it is wanted later */
        }
        link = run_read(engine, list, link);
    }
}

/* Of the level of what is next; that itself may be one that came back, and on no list of these. */
static void
fetch(struct lp_engine *engine, const struct lp_entry *next)
{
    struct lp_list *list = engine->order->fresh(engine, next->level);
    struct lp_entry *fetched = engine->fetched;
    if (engine->unreadable || lp_list_empty(list)) {
        return;
    }
    const struct lp_entry *first = entry_at(list->next);
    /* What was fetched may have pages before it by now: it stays in memory while others go. */
    const bool at_first =
        (first->flags & LP_ENTRY_PAGE) != 0 ||
        ((first->flags & LP_ENTRY_READING) == 0 && first->message == LP_HANDLE_NONE);
    const bool ahead = !at_first && fetched && fetched->level == next->level;
    fetch_from(engine, list, ahead ? fetched->link.next : list->next);
}

bool
engine_fetch(struct lp_engine *engine)
{
    struct lp_entry *next = engine->order->peek(engine);
    if (!next || (next->message != LP_HANDLE_NONE &&
                  (next->flags & (LP_ENTRY_PAGE | LP_ENTRY_READING)) == 0)) {
        return true;
    }
    engine->held = false;
    fetch(engine, next);
    if (engine->reads == 0 && !engine->unreadable && !engine->held) {
        lp_queue_dirty(&engine->base); /* all reads are others': ask again */
    }
    return false;
}

bool
engine_next_is_stuck(struct lp_engine *engine)
{
    const struct lp_entry *next = engine->order->peek(engine);
    return next && ((engine->unreadable && next->message == LP_HANDLE_NONE) ||
                    lp_store_never_gives(&engine->base, next));
}

/* What of its message was read, when not all of it was. */
static void
half_drop(struct lp_engine *engine, struct lp_entry *entry)
{
    if ((entry->flags & LP_ENTRY_READING) != 0 && entry->message != LP_HANDLE_NONE) {
        lp_message_free(&engine->base.broker->messages, entry->message);
        entry->message = LP_HANDLE_NONE;
    }
}

void
engine_fetch_taken(struct lp_engine *engine, struct lp_entry *entry)
{
    if (engine->fetched == entry) {
        engine->fetched = NULL;
    }
    engine_spill_gone(engine, entry);
    half_drop(engine, entry);
    if (entry->message == LP_HANDLE_NONE) {
        engine->absent_count--;
        engine->absent_bytes -= entry->body_bytes;
    }
    if (entry->flags & (LP_ENTRY_READING | LP_ENTRY_READ)) {
        engine->ahead_bytes -= entry->record_bytes;
        entry->flags &= (uint8_t) ~(LP_ENTRY_READING | LP_ENTRY_READ);
    }
}

/* ---- what was read ---- */

/* What is there cannot be what was written: the queue ends here until somebody has looked. */
static void
unreadable(struct lp_engine *engine)
{
    engine->unreadable = true;
    engine->base.broker->stats->messages_unreadable++;
}

/* Not read after all. */
static void
entry_unread(struct lp_engine *engine, struct lp_entry *entry)
{
    half_drop(engine, entry);
    entry->flags &= (uint8_t)~LP_ENTRY_READING;
    engine->ahead_bytes -= entry->record_bytes;
    engine->fetched = NULL; /* there is a gap before it now */
}

/*
 * The record at `*place`, or, when a batch ends there, the first of the next
 * one.  False: the data, which begins at `from`, does not have it.
 */
static bool
record_at(struct lp_bytes data, struct lp_log_place from, struct lp_log_place *place,
          struct lp_log_record *ret_record)
{
    struct lp_log_place next = *place;
    for (uint32_t batch = 0; batch < 2; batch++) {
        const uint64_t at = offset_of(next) - offset_of(from);
        if (at < data.size &&
            lp_log_parse(lp_bytes_of(data.data + at, data.size - (uint32_t)at), next, ret_record)) {
            *place = next;
            return true;
        }
        next = lp_log_place_next_batch(next);
    }
    return false;
}

/* What is left of a message's body, from the record at `place` on, which was taken. */
static enum lp_err
large_take(struct lp_engine *engine, struct lp_entry *entry, struct lp_bytes data,
           struct lp_log_place from, struct lp_log_record record)
{
    struct lp_log_place place = lp_log_place_behind(record.place, record.content.size);
    bool more = true;
    while (more && record_at(data, from, &place, &record)) {
        const enum lp_err err = lp_store_message_more(engine->base.broker, entry, &record, &more);
        if (err != LP_OK) {
            return err;
        }
        place = lp_log_place_behind(place, record.content.size);
    }
    if (!more) {
        return LP_OK;
    }
    if ((place.segment == from.segment && place.unit == from.unit) ||
        !lp_store_is_readable(engine->base.broker, place)) {
        return LP_ERR_BAD_RECORD; /* the read had nothing of it */
    }
    return read_begin(engine, entry, place, LP_STORE_READ_BYTES) ? LP_ERR_REFUSED
                                                                 : LP_ERR_NO_MEMORY;
}

/* More of a message whose beginning is there. */
static enum lp_err
large_go_on(struct lp_engine *engine, struct lp_entry *entry, struct lp_bytes data,
            struct lp_log_place from)
{
    struct lp_log_record record;
    bool more = false;
    struct lp_log_place place = from;
    if (!record_at(data, from, &place, &record)) {
        return LP_ERR_BAD_RECORD;
    }
    const enum lp_err err = lp_store_message_more(engine->base.broker, entry, &record, &more);
    return err != LP_OK || !more ? err : large_take(engine, entry, data, from, record);
}

/* LP_ERR_REFUSED: there is more of it, which is read next. */
static enum lp_err
message_take(struct lp_engine *engine, struct lp_entry *entry, struct lp_bytes data)
{
    struct lp_log_record record;
    bool more = false;
    if (!lp_log_parse(data, entry->place, &record)) {
        return LP_ERR_BAD_RECORD;
    }
    const enum lp_err err = lp_store_message(engine->base.broker, entry, &record, &more);
    if (err != LP_OK || !more) {
        return err;
    }
    return large_take(engine, entry, data, entry->place, record);
}

/* What an attempt to read it came to; false: there is no sense in going on. */
static bool
entry_taken(struct lp_engine *engine, struct lp_entry *entry, enum lp_err err)
{
    if (err == LP_OK) {
        entry->flags = (uint8_t)((entry->flags & ~LP_ENTRY_READING) | LP_ENTRY_READ);
        engine->absent_count--;
        engine->absent_bytes -= entry->body_bytes;
        engine->base.broker->stats->messages_paged_in++;
    } else if (err != LP_ERR_REFUSED) {
        entry_unread(engine, entry); /* without memory: read again */
        if (err == LP_ERR_BAD_RECORD) {
            unreadable(engine);
        }
    }
    return err == LP_OK || err == LP_ERR_NO_MEMORY;
}

/* Does the data, which a read at `place` gave, have all of an entry that waits for it? */
static bool
entry_waits_for(const struct lp_entry *entry, struct lp_log_place place, uint32_t bytes)
{
    return (entry->flags & (LP_ENTRY_READING | LP_ENTRY_PAGE)) == LP_ENTRY_READING &&
           entry->message == LP_HANDLE_NONE && entry->place.segment == place.segment &&
           offset_of(entry->place) >= offset_of(place) &&
           offset_of(entry->place) - offset_of(place) + entry->record_bytes <= bytes;
}

/*
 * The entries of a read, from the first that is left on.  Between them may be
 * others by now: of pages whose positions lie between theirs.
 */
static void
entries_take(struct lp_engine *engine, struct lp_list *link, const struct engine_read *read,
             struct lp_bytes data)
{
    struct lp_list *list = engine->order->fresh(engine, entry_at(link)->level);
    struct lp_list *first = link;
    uint32_t left = read->count;
    while (link != list && left > 0) {
        struct lp_entry *entry = entry_at(link);
        const bool waits = link == first || entry_waits_for(entry, read->place, data.size);
        const uint64_t at = offset_of(entry->place) - offset_of(read->place);
        link = link->next;
        if (!waits) {
            continue;
        }
        left--;
        const struct lp_bytes rest = lp_bytes_of(data.data + at, data.size - (uint32_t)at);
        if (!entry_taken(engine, entry, message_take(engine, entry, rest))) {
            return;
        }
    }
}

static void
page_take(struct lp_engine *engine, struct lp_entry *entry, struct lp_bytes data)
{
    struct lp_list *list = engine->order->fresh(engine, entry->level);
    struct lp_list *behind = entry->link.next;
    struct lp_store_page *page = lp_store_page_of(entry);
    const struct lp_store_page said = *page;
    struct lp_entry **paged = &engine->paged[entry->brief];
    struct lp_log_record record;
    struct lp_list fresh;
    struct lp_list *link;
    lp_list_init(&fresh);
    page->reading = false;
    if (!lp_log_parse(data, entry->place, &record)) {
        unreadable(engine);
        return;
    }
    lp_list_remove(&entry->link);
    const enum lp_err err = lp_store_page_take(&engine->base, entry, record.content, &fresh);
    if (err != LP_OK) {
        lp_list_insert_before(behind, &entry->link);
        if (err == LP_ERR_BAD_RECORD) {
            unreadable(engine);
        }
        return;
    }
    *paged = *paged == entry ? NULL : *paged;
    engine->ready_count -= said.count;
    engine->absent_count -= said.count;
    engine->absent_bytes -= said.body_bytes;
    engine->ready_bytes -= said.body_bytes;
    engine->persistent_count -= said.persistent_count;
    engine->persistent_bytes -= said.persistent_bytes;
    while ((link = lp_list_pop_front(&fresh)) != NULL) {
        struct lp_entry *taken = entry_at(link);
        engine_again(engine, taken);
        engine->brief_written += taken->brief;
        engine->ready_count++;
        engine->absent_count++;
        engine->absent_bytes += taken->body_bytes;
        engine->ready_bytes += taken->body_bytes;
        if (taken->flags & LP_ENTRY_PERSISTENT) {
            engine->persistent_count++;
            engine->persistent_bytes += taken->body_bytes;
        }
        engine->expiring |= taken->expires_ns != 0;
        while (behind != list && entry_at(behind)->position < taken->position) {
            behind = behind->next; /* it was on that page once, and is known by itself now */
        }
        lp_list_insert_before(behind, link);
    }
}

/* Which read it was. */
static struct engine_read
read_end(struct lp_engine *engine, const struct lp_log_place *place)
{
    for (uint32_t i = 0; i < ENGINE_READS_MAX; i++) {
        struct engine_read *read = &engine->read[i];
        if (read->first != LP_HANDLE_NONE && read->place.segment == place->segment &&
            read->place.unit == place->unit) {
            const struct engine_read ended = *read;
            read->first = LP_HANDLE_NONE;
            engine->reads--;
            return ended;
        }
    }
    return (struct engine_read){.place = *place};
}

/* Its first entry, if that is still there and waits; NULL: it has gone. */
static struct lp_entry *
read_first(struct lp_engine *engine, const struct engine_read *read)
{
    struct lp_entry *first = lp_pool_get(&engine->base.broker->entries, read->first);
    return first && first->state == LP_ENTRY_READY &&
                   (first->flags & (LP_ENTRY_PAGE | LP_ENTRY_READING)) != 0
               ? first
               : NULL;
}

/* The first of them has gone meanwhile: are there others that it was for? */
static struct lp_entry *
read_first_left(struct lp_engine *engine, const struct engine_read *read, uint32_t bytes)
{
    struct lp_list *list;
    for (uint32_t level = 0; (list = engine->order->fresh(engine, level)) != NULL; level++) {
        for (struct lp_list *link = list->next; link != list; link = link->next) {
            if (entry_waits_for(entry_at(link), read->place, bytes)) {
                return entry_at(link);
            }
        }
    }
    return NULL;
}

void
lp_engine_read(struct lp_queue *queue, const struct lp_log_place *place, struct lp_bytes data)
{
    struct lp_engine *engine = engine_of(queue);
    const struct engine_read read = read_end(engine, place);
    struct lp_entry *first = read_first(engine, &read);
    if (!first) {
        first = read_first_left(engine, &read, data.size);
    }
    if (first && data.size == 0) {
        unreadable(engine);
    } else if (first && (first->flags & LP_ENTRY_PAGE)) {
        page_take(engine, first, data);
    } else if (first && first->message != LP_HANDLE_NONE) {
        (void)entry_taken(engine, first, large_go_on(engine, first, data, *place));
    } else if (first) {
        entries_take(engine, &first->link, &read, data);
    }
    lp_queue_dirty(queue);
    struct lp_entry *next = engine->order->peek(engine);
    if (next && engine->absent_count > 0 &&
        (!lp_list_empty(&engine->round) || !lp_list_empty(&engine->gets))) {
        fetch(engine, next); /* ahead of them */
    }
}
