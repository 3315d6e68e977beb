/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local_random.c - any one of the bindings matches, whatever the key.
 *
 * RabbitMQ means a queue of the publisher's node; here all of them are.  Like
 * fanout's, the index is the exchange's own list of bindings.  What is chosen is
 * nobody's secret: a generator of its own, begun with the shard's hash key.
 */
#include <lepus/control_records.h>

#include "dataplane/broker/exchange/exchange.h"
#include "dataplane/broker/topology.h"

extern const struct lp_exchange_type lp_exchange_type_local_random;

struct local_random_state {
    const struct lp_exchange *exchange; /* NULL until the first binding */
    uint32_t count;                     /* of its bindings */
    uint64_t random;                    /* xorshift: never 0 */
};

static bool
local_random_open(struct lp_memory *memory, void **state)
{
    const struct lp_hash_key *hash_key = *state;
    struct local_random_state *any = lp_memory_alloc(memory, sizeof(*any));
    if (any == NULL) {
        return false;
    }
    *any = (struct local_random_state){.random = (hash_key->word[0] ^ hash_key->word[1]) | 1};
    *state = any;
    return true;
}

static void
local_random_close(struct lp_memory *memory, void **state)
{
    lp_memory_release(memory, state);
}

static bool
local_random_bind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    (void)memory; /* nothing is kept for a binding */
    struct local_random_state *any = state;
    any->exchange = binding->source;
    any->count++;
    return true;
}

static void
local_random_unbind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    (void)memory;
    struct local_random_state *any = state;
    LP_ASSERT(any->exchange == binding->source && any->count > 0);
    any->count--;
}

static uint32_t
local_random_below(struct local_random_state *any, uint32_t count)
{
    any->random ^= any->random << 13;
    any->random ^= any->random >> 7;
    any->random ^= any->random << 17;
    return (uint32_t)((any->random >> 32) * count >> 32);
}

static void
local_random_route(void *state, const struct lp_route_input *input, struct lp_route_sink *sink)
{
    (void)input; /* neither key nor headers matter */
    struct local_random_state *any = state;
    if (any->count == 0) {
        return;
    }
    struct lp_list *link = any->exchange->sources.next;
    for (uint32_t left = local_random_below(any, any->count); left > 0; left--) {
        link = link->next;
    }
    lp_route_sink_add(sink, LP_LIST_ITEM(link, struct lp_binding, in_source));
}

const struct lp_exchange_type lp_exchange_type_local_random = {
    .name = "x-local-random",
    .kind = LP_EXCHANGE_LOCAL_RANDOM,
    .reads_key = false,
    .reads_headers = true, /* the next message may go elsewhere: nothing is remembered */
    .open = local_random_open,
    .close = local_random_close,
    .bind = local_random_bind,
    .unbind = local_random_unbind,
    .route = local_random_route,
};
