/* SPDX-License-Identifier: Apache-2.0 */
/* purges.c - orders to home shards to drop what is ready in a queue. */
#include <stdlib.h>

#include "control/link/control_internal.h"

/* One order under way. */
struct purge {
    struct lp_chain link;
    uint64_t number;
    uint32_t home;
    control_purged_fn *done;
    void *context;
};

void
control_purge(struct lp_control *control, const struct lp_catalog_queue *queue, bool transient,
              control_purged_fn *done, void *context)
{
    struct purge *purge = lp_heap_alloc(sizeof(*purge));
    struct lp_writer w = control_writer(control);
    purge->number = control->next_number++;
    purge->home = queue->home_shard;
    purge->done = done;
    purge->context = context;
    lp_chain_append(&control->purges, &purge->link);
    lp_writer_u32le(&w, queue->id);
    lp_writer_u8(&w, transient);
    control_send(control, purge->home, LP_CONTROL_QUEUE_PURGE, purge->number, lp_writer_bytes(&w));
}

void
control_queue_purged(struct lp_control *control, uint32_t shard, uint64_t number,
                     struct lp_reader *fields)
{
    struct control_purged purged = {.good = true};
    purged.code = lp_reader_u16le(fields);
    purged.count = lp_reader_u32le(fields);
    if (fields->failed) {
        control_log(control, LP_CONTROL_LOG_ERROR, "malformed purge from shard %u", shard);
        return;
    }
    LP_CHAIN_EACH(link, &control->purges)
    {
        struct purge *purge = LP_CONTAINER_OF(link, struct purge, link);
        if (purge->number == number && purge->home == shard) {
            lp_chain_remove(&purge->link);
            purge->done(control, purge->context, &purged);
            free(purge);
            return; /* others are of an attach before this one */
        }
    }
}

void
control_purges_clear(struct lp_control *control)
{
    static const struct control_purged purged = {.good = false};
    for (struct lp_chain *link = lp_chain_pop(&control->purges); link;
         link = lp_chain_pop(&control->purges)) {
        struct purge *purge = LP_CONTAINER_OF(link, struct purge, link);
        purge->done(control, purge->context, &purged);
        free(purge);
    }
}
