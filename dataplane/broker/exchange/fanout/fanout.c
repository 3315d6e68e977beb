/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout.c - every binding matches.
 *
 * The exchange's own list of bindings is all the index there needs to be; the
 * state only remembers whose list.
 */
#include <lepus/control_records.h>

#include "dataplane/broker/exchange/exchange.h"
#include "dataplane/broker/topology.h"

extern const struct lp_exchange_type lp_exchange_type_fanout;

struct fanout_state {
    const struct lp_exchange *exchange; /* NULL until the first binding */
};

static bool
fanout_open(struct lp_memory *memory, void **state)
{
    struct fanout_state *fanout = lp_memory_alloc(memory, sizeof(*fanout));
    if (fanout == NULL) {
        return false;
    }
    fanout->exchange = NULL;
    *state = fanout;
    return true;
}

static void
fanout_close(struct lp_memory *memory, void **state)
{
    lp_memory_release(memory, state);
}

static bool
fanout_bind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    (void)memory; /* nothing is kept for a binding */
    struct fanout_state *fanout = state;
    fanout->exchange = binding->source;
    return true;
}

static void
fanout_unbind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    (void)memory;
    const struct fanout_state *fanout = state;
    LP_ASSERT(fanout->exchange == binding->source);
}

static void
fanout_route(void *state, const struct lp_route_input *input, struct lp_route_sink *sink)
{
    (void)input; /* neither key nor headers matter */
    const struct fanout_state *fanout = state;
    if (fanout->exchange == NULL) {
        return;
    }
    const struct lp_list *head = &fanout->exchange->sources;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        lp_route_sink_add(sink, LP_LIST_ITEM(link, struct lp_binding, in_source));
    }
}

const struct lp_exchange_type lp_exchange_type_fanout = {
    .name = "fanout",
    .kind = LP_EXCHANGE_FANOUT,
    .reads_key = false,
    .reads_headers = false,
    .open = fanout_open,
    .close = fanout_close,
    .bind = fanout_bind,
    .unbind = fanout_unbind,
    .route = fanout_route,
};
