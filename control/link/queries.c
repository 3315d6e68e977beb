/* SPDX-License-Identifier: Apache-2.0 */
/* queries.c - listings: one at a time is put to every shard. */
#include <stdlib.h>

#include "control/link/control_internal.h"

void
control_query_add(struct lp_control *control, const struct control_query *like)
{
    struct control_query *query = lp_heap_alloc(sizeof(*query));
    *query = *like;
    query->number = 0;
    query->answered = 0;
    lp_chain_append(&control->queries, &query->link);
}

bool
control_queries_step(struct lp_control *control)
{
    if (lp_chain_is_empty(&control->queries)) {
        return false;
    }
    struct control_query *query =
        LP_CONTAINER_OF(control->queries.next, struct control_query, link);
    if (query->number == 0) {
        query->number = control->next_number++;
        query->deadline_ns =
            control->now_ns + (query->timeout_ns ? query->timeout_ns : CONTROL_QUERY_NS);
        for (uint32_t i = 0; i < control->shard_count; i++) {
            control_send(control, i, query->type, query->number, lp_bytes_of(NULL, 0));
        }
        return true;
    }
    const uint64_t all =
        control->shard_count == 64 ? UINT64_MAX : ((uint64_t)1 << control->shard_count) - 1;
    const bool complete = query->answered == all;
    if (!complete && control->now_ns < query->deadline_ns) {
        return false;
    }
    lp_chain_remove(&query->link);
    query->done(control, query->context, complete);
    free(query);
    return true;
}

/* ---- an order of the records before it ---- */

struct heard {
    control_done_fn *done;
    void *context;
};

static void
heard_row(struct lp_control *control, void *context, struct lp_reader *row)
{
    (void)control;
    (void)context;
    (void)row;
}

static void
heard_done(struct lp_control *control, void *context, bool complete)
{
    struct heard *heard = context;
    heard->done(control, heard->context, complete);
    free(heard);
}

/* A ring keeps the order: who lists its connections has read all that was before. */
void
control_when_heard(struct lp_control *control, control_done_fn *done, void *context)
{
    struct heard *heard = lp_heap_alloc(sizeof(*heard));
    *heard = (struct heard){done, context};
    const struct control_query like = {.type = LP_CONTROL_LIST_CONNECTIONS,
                                       .row = heard_row,
                                       .done = heard_done,
                                       .context = heard};
    control_query_add(control, &like);
}
