/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c - where does a message go, and remembering it.
 *
 * A routing has a number.  Exchanges and queues carry the number of the
 * routing that saw them last, so "each exchange once, each queue once" is a
 * comparison, and nothing is cleared between messages.
 *
 * The cache is direct-mapped.  An entry is good for the epoch in which it was
 * made.  When no exchange on the way reads the key (a fanout to queues) it is
 * kept without one, so that publishers with ever new keys still find it.
 *
 * Invariants of a cache slot:
 *   1  block == NULL exactly when epoch == 0 (no topology has epoch 0 and queues)
 *   2  its queues are live while epoch == topology->epoch: any queue that goes moves the epoch
 */
#include <string.h>

#include "dataplane/broker/delay.h"
#include "dataplane/broker/topology_private.h"

/* Results of more queues are walked again: copying them would cost what the walk does. */
#define ROUTE_CACHE_QUEUES_MAX 64u

/* Exchanges seen in one routing before the list of them needs memory of its own. */
#define ROUTE_WORK_INLINE 32u

struct lp_route_cache_slot {
    uint64_t epoch;
    uint64_t hash;
    uint32_t exchange_id;
    uint32_t queue_count;
    uint32_t key_bytes;
    bool keyless; /* for any key */
    void *block;  /* the queues, then the key */
    uint64_t block_bytes;
};

struct lp_route_sink {
    struct lp_topology *topology;
    struct lp_exchange **work; /* exchanges to walk, in the order they were found */
    uint32_t work_count;
    uint32_t work_room;
    uint64_t matched; /* bindings of the exchange being walked */
    bool reads_key;
    bool reads_headers;
    bool failed; /* memory was short */
    struct lp_exchange *work_inline[ROUTE_WORK_INLINE];
};

enum lp_err
topology_route_init(struct lp_topology *topology)
{
    const uint64_t bytes = LP_ROUTE_CACHE_SLOTS * sizeof(struct lp_route_cache_slot);
    topology->cache = lp_memory_alloc(topology->memory, bytes);
    if (topology->cache == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(topology->cache, 0, bytes);
    topology->epoch = 1;
    return LP_OK;
}

void
topology_route_fini(struct lp_topology *topology)
{
    for (uint32_t i = 0; i < LP_ROUTE_CACHE_SLOTS; i++) {
        if (topology->cache[i].block != NULL) {
            lp_memory_release(topology->memory, &topology->cache[i].block);
        }
    }
    topology_release(topology, topology->cache);
    topology->cache = NULL;
    if (topology->route != NULL) {
        topology_release(topology, topology->route);
    }
    if (topology->delayed != NULL) {
        topology_release(topology, topology->delayed);
    }
    topology->route = NULL;
    topology->route_count = 0;
    topology->route_room = 0;
    topology->delayed = NULL;
    topology->delayed_count = 0;
    topology->delayed_room = 0;
}

/* ---- the result ---- */

/* Room for `want` pointers in an array; `*array` is one of ours, or NULL. */
static void *
route_array_grow(struct lp_memory *memory, const void *array, uint32_t count, uint32_t *room)
{
    const uint32_t wanted = LP_MAX(*room * 2, 64u);
    void *grown = lp_memory_alloc(memory, (uint64_t)wanted * sizeof(void *));
    if (grown == NULL) {
        return NULL;
    }
    if (count > 0) {
        memcpy(grown, array, count * sizeof(void *));
    }
    *room = wanted;
    return grown;
}

static bool
route_add_queue(struct lp_topology *topology, struct lp_queue_ref *queue)
{
    if (queue->visited == topology->routing) {
        return true;
    }
    if (topology->route_count == topology->route_room) {
        struct lp_queue_ref **grown = route_array_grow(
            topology->memory, topology->route, topology->route_count, &topology->route_room);
        if (grown == NULL) {
            return false;
        }
        if (topology->route != NULL) {
            topology_release(topology, topology->route);
        }
        topology->route = grown;
    }
    queue->visited = topology->routing;
    topology->route[topology->route_count++] = queue;
    return true;
}

/* The message stops here, for now. */
static bool
route_add_delayed(struct lp_topology *topology, struct lp_exchange *exchange)
{
    if (topology->delayed_count == topology->delayed_room) {
        struct lp_exchange **grown = route_array_grow(
            topology->memory, topology->delayed, topology->delayed_count, &topology->delayed_room);
        if (grown == NULL) {
            return false;
        }
        if (topology->delayed != NULL) {
            topology_release(topology, topology->delayed);
        }
        topology->delayed = grown;
    }
    topology->delayed[topology->delayed_count++] = exchange;
    return true;
}

static bool
route_add_exchange(struct lp_route_sink *sink, struct lp_exchange *exchange)
{
    struct lp_topology *topology = sink->topology;
    if (exchange->visited == topology->routing) {
        return true;
    }
    if (sink->work_count == sink->work_room) {
        struct lp_exchange **grown =
            route_array_grow(topology->memory, sink->work, sink->work_count, &sink->work_room);
        if (grown == NULL) {
            return false;
        }
        if (sink->work != sink->work_inline) {
            topology_release(topology, sink->work);
        }
        sink->work = grown;
    }
    exchange->visited = topology->routing;
    sink->work[sink->work_count++] = exchange;
    return true;
}

void
lp_route_sink_add(struct lp_route_sink *sink, struct lp_binding *binding)
{
    sink->matched++;
    const bool added = binding->to_queue != NULL
                           ? route_add_queue(sink->topology, binding->to_queue)
                           : route_add_exchange(sink, binding->to_exchange);
    if (!added) {
        sink->failed = true;
    }
}

/* ---- the walk ---- */

/* The default exchange: every queue is bound to it by its own name, and nothing else is. */
static bool
route_default(struct lp_topology *topology, const struct lp_exchange *exchange, struct lp_bytes key)
{
    struct lp_queue_ref *queue = lp_topology_queue(topology, exchange->vhost_id, key);
    return queue == NULL || route_add_queue(topology, queue);
}

/* A message of several keys: each of them on its own; who is matched twice gets it once (C99). */
static void
route_more_keys(struct lp_route_sink *sink, struct lp_exchange *exchange,
                const struct lp_route_input *input)
{
    struct lp_reader keys = lp_reader_of_bytes(input->more_keys);
    struct lp_route_input one = {.headers = input->headers};
    while (lp_reader_left(&keys) > 0 && !sink->failed) {
        one.key = lp_reader_long_le(&keys);
        LP_ASSERT(!keys.failed); /* whoever made the list is one of us */
        if (exchange->is_default) {
            sink->failed |= !route_default(sink->topology, exchange, one.key);
        } else {
            exchange->type->route(exchange->state, &one, sink);
        }
    }
}

static void
route_walk_one(struct lp_route_sink *sink, struct lp_exchange *exchange,
               const struct lp_route_input *input)
{
    sink->reads_key |= exchange->type->reads_key;
    sink->reads_headers |= exchange->type->reads_headers;
    if (LP_UNLIKELY(exchange->delayed)) {
        sink->reads_headers = true;
        sink->topology->delay_ms = lp_delay_of(input->headers);
        if (sink->topology->delay_ms > 0) {
            sink->failed |= !route_add_delayed(sink->topology, exchange);
            return;
        }
    }
    if (exchange->is_default) {
        sink->failed |= !route_default(sink->topology, exchange, input->key);
        if (LP_UNLIKELY(input->more_keys.size > 0)) {
            route_more_keys(sink, exchange, input);
        }
        return;
    }
    sink->matched = 0;
    exchange->type->route(exchange->state, input, sink);
    if (LP_UNLIKELY(input->more_keys.size > 0) && exchange->type->reads_key) {
        route_more_keys(sink, exchange, input);
    }
    if (sink->matched > 0 || exchange->alternate_bytes == 0) {
        return;
    }
    struct lp_exchange *alternate =
        lp_topology_exchange(sink->topology, exchange->vhost_id, lp_exchange_alternate(exchange));
    if (alternate != NULL) {
        sink->failed |= !route_add_exchange(sink, alternate);
    }
}

/* Each exchange enters `work` once, so the walk ends after as many steps as there are exchanges. */
static void
route_walk(struct lp_route_sink *sink, struct lp_exchange *exchange,
           const struct lp_route_input *input)
{
    sink->work = sink->work_inline;
    sink->work_room = ROUTE_WORK_INLINE;
    sink->failed = !route_add_exchange(sink, exchange);
    for (uint32_t i = 0; i < sink->work_count && !sink->failed; i++) {
        route_walk_one(sink, sink->work[i], input);
    }
    if (sink->work != sink->work_inline) {
        topology_release(sink->topology, sink->work);
    }
}

/* ---- the cache ---- */

static const uint8_t *
route_slot_key(const struct lp_route_cache_slot *slot)
{
    return (const uint8_t *)slot->block + slot->queue_count * sizeof(struct lp_queue_ref *);
}

static struct lp_route_cache_slot *
route_slot_at(const struct lp_topology *topology, uint64_t hash)
{
    LP_STATIC_ASSERT((LP_ROUTE_CACHE_SLOTS & (LP_ROUTE_CACHE_SLOTS - 1)) == 0, "masked");
    return &topology->cache[hash & (LP_ROUTE_CACHE_SLOTS - 1)];
}

static uint64_t
route_keyless_hash(const struct lp_topology *topology, const struct lp_exchange *exchange)
{
    return topology_id_hash(topology, exchange->id);
}

static uint64_t
route_key_hash(const struct lp_topology *topology, const struct lp_exchange *exchange,
               struct lp_bytes key)
{
    return topology_name_hash(topology, exchange->id, key);
}

static bool
route_cache_answers(struct lp_topology *topology, const struct lp_route_cache_slot *slot,
                    const struct lp_exchange *exchange, uint64_t hash)
{
    if (slot->epoch != topology->epoch || slot->hash != hash || slot->exchange_id != exchange->id) {
        return false;
    }
    LP_ASSERT(slot->queue_count <= topology->route_room || slot->queue_count == 0);
    if (slot->queue_count > 0) {
        memcpy(topology->route, slot->block, slot->queue_count * sizeof(struct lp_queue_ref *));
    }
    topology->route_count = slot->queue_count;
    return true;
}

static bool
route_cache_find(struct lp_topology *topology, const struct lp_exchange *exchange,
                 struct lp_bytes key)
{
    if (!exchange->type->reads_key) {
        const uint64_t hash = route_keyless_hash(topology, exchange);
        const struct lp_route_cache_slot *slot = route_slot_at(topology, hash);
        if (slot->keyless && route_cache_answers(topology, slot, exchange, hash)) {
            return true;
        }
    }
    const uint64_t hash = route_key_hash(topology, exchange, key);
    const struct lp_route_cache_slot *slot = route_slot_at(topology, hash);
    if (slot->block == NULL || slot->keyless || slot->hash != hash || slot->key_bytes != key.size ||
        (key.size > 0 && memcmp(route_slot_key(slot), key.data, key.size) != 0)) {
        return false;
    }
    return route_cache_answers(topology, slot, exchange, hash);
}

/* Remember the result in topology->route.  A short memory only makes it forget. */
static void
route_cache_put(struct lp_topology *topology, const struct lp_exchange *exchange,
                struct lp_bytes key, bool keyless)
{
    const uint64_t hash =
        keyless ? route_keyless_hash(topology, exchange) : route_key_hash(topology, exchange, key);
    struct lp_route_cache_slot *slot = route_slot_at(topology, hash);
    const uint32_t key_bytes = keyless ? 0 : key.size;
    const uint64_t route_bytes = topology->route_count * sizeof(struct lp_queue_ref *);
    const uint64_t bytes = LP_MAX(route_bytes + key_bytes, 1u);

    if (slot->block != NULL && slot->block_bytes < bytes) {
        lp_memory_release(topology->memory, &slot->block);
        slot->epoch = 0;
    }
    if (slot->block == NULL) {
        if (lp_memory_pressed(topology->memory)) {
            return;
        }
        /* All of the block, so that the next entry here may use what this one leaves. */
        slot->block_bytes = lp_memory_block_bytes(bytes);
        slot->block = lp_memory_alloc(topology->memory, slot->block_bytes);
        if (slot->block == NULL) {
            return;
        }
    }
    slot->epoch = topology->epoch;
    slot->hash = hash;
    slot->exchange_id = exchange->id;
    slot->queue_count = topology->route_count;
    slot->key_bytes = key_bytes;
    slot->keyless = keyless;
    if (route_bytes > 0) {
        memcpy(slot->block, topology->route, route_bytes);
    }
    if (key_bytes > 0) {
        memcpy((uint8_t *)slot->block + route_bytes, key.data, key_bytes);
    }
}

/* Is the result that is there already the one for this?  Publishers send in bursts. */
static bool
route_is_last(const struct lp_topology *topology, const struct lp_exchange *exchange,
              struct lp_bytes key)
{
    return topology->last_route.exchange == exchange &&
           topology->last_route.epoch == topology->epoch &&
           lp_bytes_equal(lp_bytes_of(topology->last_route.key, topology->last_route.key_bytes),
                          key);
}

static void
route_is_next(struct lp_topology *topology, const struct lp_exchange *exchange, struct lp_bytes key)
{
    if (key.size <= sizeof(topology->last_route.key)) {
        topology->last_route.exchange = exchange;
        topology->last_route.epoch = topology->epoch;
        topology->last_route.key_bytes = (uint8_t)key.size;
        if (key.size > 0) {
            memcpy(topology->last_route.key, key.data, key.size);
        }
    }
}

void
lp_topology_route_none(struct lp_topology *topology)
{
    topology->last_route.exchange = NULL;
    topology->route_count = 0;
    topology->delayed_count = 0;
}

bool
lp_topology_route_strike(struct lp_topology *topology, const struct lp_queue_ref *queue)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < topology->route_count; i++) {
        topology->route[kept] = topology->route[i];
        kept += topology->route[i] != queue;
    }
    if (kept == topology->route_count) {
        return false;
    }
    topology->route_count = kept;
    topology->last_route.exchange = NULL; /* it is not that any more */
    return true;
}

/* Without any cache.  False: memory was short, and the result is empty. */
static bool
route_find(struct lp_topology *topology, struct lp_exchange *exchange,
           const struct lp_route_input *input, struct lp_route_sink *sink)
{
    memset(sink, 0, offsetof(struct lp_route_sink, work_inline));
    sink->topology = topology;
    topology->routing++;
    topology->route_count = 0;
    route_walk(sink, exchange, input);
    if (sink->failed) {
        topology->route_count = 0;
        topology->delayed_count = 0;
    }
    return !sink->failed;
}

bool
lp_topology_route(struct lp_topology *topology, struct lp_exchange *exchange,
                  const struct lp_route_input *input)
{
    struct lp_route_sink sink;
    LP_ASSERT(topology->cache != NULL);
    topology->delayed_count = 0;
    if (LP_UNLIKELY(input->more_keys.size > 0)) {
        topology->last_route.exchange = NULL;
        return route_find(topology, exchange, input, &sink);
    }
    if (route_is_last(topology, exchange, input->key)) {
        return true;
    }
    topology->last_route.exchange = NULL;
    const bool cacheable = !exchange->is_default && !exchange->type->reads_headers &&
                           !exchange->delayed && input->key.size <= UINT8_MAX;
    if (cacheable && route_cache_find(topology, exchange, input->key)) {
        route_is_next(topology, exchange, input->key);
        return true;
    }
    if (!route_find(topology, exchange, input, &sink)) {
        return false;
    }
    if (cacheable && !sink.reads_headers && topology->route_count <= ROUTE_CACHE_QUEUES_MAX) {
        route_cache_put(topology, exchange, input->key, !sink.reads_key);
    }
    if (!sink.reads_headers) {
        route_is_next(topology, exchange, input->key);
    }
    return true;
}
