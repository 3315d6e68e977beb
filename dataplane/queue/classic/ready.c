/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ready.c - messages that wait in the queue, in order.
 */
#include "dataplane/queue/classic/classic.h"

struct lp_entry *
classic_pop(struct classic_queue *classic)
{
    struct lp_entry *entry = classic_heap_pop(&classic->returned);
    if (!entry) {
        struct lp_list *link = lp_list_pop_front(&classic->fresh);
        if (!link) {
            return NULL;
        }
        entry = LP_LIST_ITEM(link, struct lp_entry, link);
    }
    entry->link = (struct lp_list){NULL, NULL};
    LP_ASSERT(classic->ready_count > 0);
    classic->ready_count--;
    classic->ready_bytes -= entry->body_bytes;
    return entry;
}

void
classic_requeue(struct classic_queue *classic, struct lp_entry *entry)
{
    LP_ASSERT(entry->state == LP_ENTRY_UNACKED);
    entry->state = LP_ENTRY_READY;
    entry->subscription = NULL;
    entry->redelivered = 1;
    classic_heap_push(&classic->returned, entry);
    classic->ready_count++;
    classic->ready_bytes += entry->body_bytes;
    classic->base.broker->stats->messages_requeued++;
    lp_queue_dirty(&classic->base);
}

void
classic_drop_ready(struct classic_queue *classic)
{
    struct lp_entry *entry;
    while ((entry = classic_pop(classic)) != NULL) {
        lp_queue_entry_done(classic->base.broker, entry);
    }
}
