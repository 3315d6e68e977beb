/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit.c - do the sums that a queue keeps agree with its entries?  A walk over
 * all of them: for tests.
 */
#include "dataplane/queue/engine/engine.h"

struct audit {
    const struct lp_engine *engine;
    uint64_t ready_count, ready_bytes;
    uint64_t unacked_count, unacked_bytes;
    uint64_t persistent_count, persistent_bytes;
    uint64_t absent_count, absent_bytes;
    uint64_t ahead_bytes;
    uint64_t pages_reading;
    uint64_t brief_written, brief_unwritten;
    bool fetched, paged[2]; /* was met */
};

static void
audit_page(struct audit *audit, const struct lp_entry *entry)
{
    const struct lp_store_page *page = lp_store_page_of(entry);
    LP_ASSERT(entry->state == LP_ENTRY_READY && (entry->flags & LP_ENTRY_STORED) != 0);
    audit->ready_count += page->count;
    audit->ready_bytes += page->body_bytes;
    audit->absent_count += page->count;
    audit->absent_bytes += page->body_bytes;
    audit->persistent_count += page->persistent_count;
    audit->persistent_bytes += page->persistent_bytes;
    audit->pages_reading += page->reading;
    audit->paged[0] |= audit->engine->paged[0] == entry;
    audit->paged[1] |= audit->engine->paged[1] == entry;
}

static void
audit_entry(void *context, struct lp_entry *entry)
{
    struct audit *audit = context;
    const bool reading = (entry->flags & LP_ENTRY_READING) != 0;
    const bool absent = entry->message == LP_HANDLE_NONE || reading;
    if (entry->flags & LP_ENTRY_PAGE) {
        audit_page(audit, entry);
        return;
    }
    LP_ASSERT(!absent || (entry->flags & LP_ENTRY_STORED) != 0);
    if (entry->flags & LP_ENTRY_PERSISTENT) {
        audit->persistent_count++;
        audit->persistent_bytes += entry->body_bytes;
    }
    if (entry->state == LP_ENTRY_UNACKED) {
        LP_ASSERT(!absent && (entry->flags & LP_ENTRY_READ) == 0);
        audit->unacked_count++;
        audit->unacked_bytes += entry->body_bytes;
        return;
    }
    LP_ASSERT(entry->state == LP_ENTRY_READY);
    audit->ready_count++;
    audit->ready_bytes += entry->body_bytes;
    audit->absent_count += absent;
    audit->absent_bytes += absent ? entry->body_bytes : 0;
    audit->ahead_bytes += reading || (entry->flags & LP_ENTRY_READ) != 0 ? entry->record_bytes : 0;
    if (entry->brief && (entry->flags & LP_ENTRY_REDELIVERED) == 0) {
        audit->brief_written += entry->noted;
        audit->brief_unwritten += !entry->noted;
    }
    audit->fetched |= audit->engine->fetched == entry;
}

/* What was never anybody's is in the order of arrival. */
static void
audit_order(struct lp_engine *engine)
{
    struct lp_list *list;
    for (uint32_t level = 0; (list = engine->order->fresh(engine, level)) != NULL; level++) {
        uint64_t position = 0;
        for (struct lp_list *link = list->next; link != list; link = link->next) {
            const struct lp_entry *entry = LP_LIST_ITEM(link, struct lp_entry, link);
            LP_ASSERT(entry->level == level);
            LP_ASSERT(!engine->base.stored.on || entry->position >= position);
            position = entry->position;
        }
    }
}

static void
audit_reads(const struct audit *audit)
{
    const struct lp_engine *engine = audit->engine;
    uint32_t reads = 0;
    for (uint32_t i = 0; i < ENGINE_READS_MAX; i++) {
        reads += engine->read[i].first != LP_HANDLE_NONE;
    }
    LP_ASSERT(reads == engine->reads && audit->pages_reading <= reads);
    LP_ASSERT(!engine->fetched || audit->fetched);
    LP_ASSERT(!engine->paged[0] || audit->paged[0]);
    LP_ASSERT(!engine->paged[1] || audit->paged[1]);
}

void
lp_engine_audit(struct lp_queue *queue)
{
    struct lp_engine *engine = engine_of(queue);
    struct audit audit = {.engine = engine};
    lp_engine_visit(queue, audit_entry, &audit);
    LP_ASSERT(audit.ready_count == engine->ready_count);
    LP_ASSERT(audit.ready_bytes == engine->ready_bytes);
    LP_ASSERT(audit.unacked_count == engine->unacked_count);
    LP_ASSERT(audit.unacked_bytes == engine->unacked_bytes);
    LP_ASSERT(audit.persistent_count == engine->persistent_count);
    LP_ASSERT(audit.persistent_bytes == engine->persistent_bytes);
    LP_ASSERT(audit.absent_count == engine->absent_count);
    LP_ASSERT(audit.absent_bytes == engine->absent_bytes);
    LP_ASSERT(audit.ahead_bytes == engine->ahead_bytes);
    LP_ASSERT(audit.brief_written == engine->brief_written);
    LP_ASSERT(audit.brief_unwritten == engine->brief_unwritten);
    audit_reads(&audit);
    audit_order(engine);
}
