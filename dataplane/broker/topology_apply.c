/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology_apply.c - the control process's deltas, applied.
 *
 * An *_up is all or nothing: memory first, then the part that can refuse (an
 * exchange type's index, the broker's hook), and only then the links.
 *
 * A name belongs to one object.  In a sync an object may come under a name
 * that an older one, deleted while nobody told us, still has here; the older
 * one goes at once instead of at the end of the sync.
 */
#include <lepus/field_table.h>
#include <string.h>

#include "dataplane/broker/exchange/exchange.h"
#include "dataplane/broker/topology_private.h"

static void
topology_bytes_put(uint8_t *at, struct lp_bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
}

/* ---- going ---- */

void
topology_binding_drop(struct lp_topology *topology, struct lp_binding *binding)
{
    struct lp_exchange *source = binding->source;
    source->type->unbind(topology->memory, source->state, binding);
    lp_list_remove(&binding->in_source);
    lp_list_remove(&binding->in_destination);
    lp_hash_remove(&topology->bindings_by_id, &binding->by_id);
    topology->epoch++;
    topology_release(topology, binding);
}

/* The exchange's own memory, when nothing refers to it (any more). */
static void
topology_exchange_free(struct lp_topology *topology, struct lp_exchange *exchange)
{
    if (exchange->alternate != NULL) {
        topology_release(topology, exchange->alternate);
    }
    topology_release(topology, exchange);
}

void
topology_exchange_drop(struct lp_topology *topology, struct lp_exchange *exchange)
{
    /* Normally gone already; a binding of the exchange to itself is on both lists. */
    while (!lp_list_empty(&exchange->sources)) {
        topology_binding_drop(topology,
                              LP_LIST_ITEM(exchange->sources.next, struct lp_binding, in_source));
    }
    while (!lp_list_empty(&exchange->destinations)) {
        topology_binding_drop(
            topology, LP_LIST_ITEM(exchange->destinations.next, struct lp_binding, in_destination));
    }
    exchange->type->close(topology->memory, &exchange->state);
    lp_list_remove(&exchange->in_vhost);
    lp_hash_remove(&topology->exchanges_by_id, &exchange->by_id);
    lp_hash_remove(&topology->exchanges_by_name, &exchange->by_name);
    topology->epoch++;
    topology_exchange_free(topology, exchange);
}

void
topology_queue_drop(struct lp_topology *topology, struct lp_queue_ref *queue)
{
    while (!lp_list_empty(&queue->destinations)) {
        topology_binding_drop(
            topology, LP_LIST_ITEM(queue->destinations.next, struct lp_binding, in_destination));
    }
    lp_list_remove(&queue->in_vhost);
    lp_hash_remove(&topology->queues_by_id, &queue->by_id);
    lp_hash_remove(&topology->queues_by_name, &queue->by_name);
    topology->epoch++;
    /* Told when no routing finds it any more, so what leaves the queue now cannot come back to it.
     */
    if (topology->hooks.queue_down != NULL) {
        topology->hooks.queue_down(topology->hooks.context, queue);
    }
    topology_release(topology, queue);
}

void
topology_vhost_drop(struct lp_topology *topology, struct lp_vhost *vhost)
{
    while (!lp_list_empty(&vhost->queues)) {
        topology_queue_drop(topology,
                            LP_LIST_ITEM(vhost->queues.next, struct lp_queue_ref, in_vhost));
    }
    while (!lp_list_empty(&vhost->exchanges)) {
        topology_exchange_drop(topology,
                               LP_LIST_ITEM(vhost->exchanges.next, struct lp_exchange, in_vhost));
    }
    topology->traced -= vhost->tracing;
    lp_list_remove(&vhost->in_topology);
    lp_hash_remove(&topology->vhosts_by_id, &vhost->by_id);
    topology_release(topology, vhost);
}

void
lp_topology_vhost_down(struct lp_topology *topology, uint32_t id)
{
    struct lp_vhost *vhost = lp_topology_vhost(topology, id);
    if (vhost != NULL) {
        topology_vhost_drop(topology, vhost);
    }
}

void
lp_topology_exchange_down(struct lp_topology *topology, uint32_t id)
{
    struct lp_exchange *exchange = topology_exchange_by_id(topology, id);
    if (exchange != NULL) {
        topology_exchange_drop(topology, exchange);
    }
}

void
lp_topology_queue_down(struct lp_topology *topology, uint32_t id)
{
    struct lp_queue_ref *queue = lp_topology_queue_by_id(topology, id);
    if (queue != NULL) {
        topology_queue_drop(topology, queue);
    }
}

void
lp_topology_bind_down(struct lp_topology *topology, uint64_t id)
{
    struct lp_binding *binding = topology_binding_by_id(topology, id);
    if (binding != NULL) {
        topology_binding_drop(topology, binding);
    }
}

/* ---- coming ---- */

enum lp_err
lp_topology_vhost_up(struct lp_topology *topology, uint32_t id, struct lp_bytes name, bool tracing)
{
    struct lp_vhost *vhost = lp_topology_vhost(topology, id);
    if (vhost != NULL) {
        vhost->seen = topology->sync;
        topology->traced += (uint32_t)tracing - (uint32_t)vhost->tracing;
        vhost->tracing = tracing;
        return LP_OK;
    }
    if (name.size > sizeof(vhost->name)) {
        return LP_ERR_BAD_RECORD;
    }
    vhost = lp_memory_alloc(topology->memory, sizeof(*vhost));
    if (vhost == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(vhost, 0, sizeof(*vhost));
    vhost->id = id;
    vhost->seen = topology->sync;
    vhost->tracing = tracing;
    topology->traced += tracing;
    vhost->name_bytes = (uint8_t)name.size;
    topology_bytes_put(vhost->name, name);
    lp_list_init(&vhost->exchanges);
    lp_list_init(&vhost->queues);
    lp_list_push_back(&topology->vhosts, &vhost->in_topology);
    lp_hash_insert(&topology->vhosts_by_id, &vhost->by_id, topology_id_hash(topology, id));
    return LP_OK;
}

/* Give the exchange this alternate; false: memory is short and it keeps the one it has. */
static bool
topology_exchange_alternate(struct lp_topology *topology, struct lp_exchange *exchange,
                            struct lp_bytes alternate)
{
    if (lp_bytes_equal(alternate, lp_exchange_alternate(exchange))) {
        return true;
    }
    uint8_t *copy = NULL;
    if (alternate.size > 0) {
        copy = lp_memory_alloc(topology->memory, alternate.size);
        if (copy == NULL) {
            return false;
        }
        topology_bytes_put(copy, alternate);
    }
    if (exchange->alternate != NULL) {
        topology_release(topology, exchange->alternate);
    }
    exchange->alternate = copy;
    exchange->alternate_bytes = (uint8_t)alternate.size;
    topology->epoch++;
    return true;
}

/* Which bindings match: for one that delays, as its argument says.  NULL: nobody knows. */
static const struct lp_exchange_type *
topology_exchange_type(const struct lp_exchange_parts *parts)
{
    struct lp_field inner;
    if (parts->kind != LP_EXCHANGE_DELAYED) {
        return exchange_type_of(parts->kind);
    }
    const bool named = lp_field_find(parts->arguments, "x-delayed-type", &inner) &&
                       (inner.type == 'S' || inner.type == 'x');
    return named ? exchange_type_named(inner.raw) : NULL;
}

static struct lp_exchange *
topology_exchange_make(struct lp_topology *topology, const struct lp_exchange_parts *parts)
{
    struct lp_exchange *exchange =
        lp_memory_alloc(topology->memory, sizeof(*exchange) + parts->name.size);
    if (exchange == NULL) {
        return NULL;
    }
    memset(exchange, 0, sizeof(*exchange));
    exchange->id = parts->id;
    exchange->vhost_id = parts->vhost_id;
    exchange->seen = topology->sync;
    exchange->flags = parts->flags;
    exchange->name_bytes = (uint8_t)parts->name.size;
    exchange->is_default = parts->name.size == 0;
    exchange->delayed = parts->kind == LP_EXCHANGE_DELAYED;
    exchange->type = topology_exchange_type(parts);
    lp_list_init(&exchange->sources);
    lp_list_init(&exchange->destinations);
    topology_bytes_put(exchange->name, parts->name);
    if (!topology_exchange_alternate(topology, exchange, parts->alternate)) {
        topology_exchange_free(topology, exchange);
        return NULL;
    }

    /* What a type's open finds in its state: exchange.h. */
    struct lp_hash_key hash_key = topology->key;
    exchange->state = &hash_key;
    if (!exchange->type->open(topology->memory, &exchange->state)) {
        topology_exchange_free(topology, exchange);
        return NULL;
    }
    LP_ASSERT(exchange->state != &hash_key);
    return exchange;
}

enum lp_err
lp_topology_exchange_up(struct lp_topology *topology, const struct lp_exchange_parts *parts)
{
    struct lp_exchange *exchange = topology_exchange_by_id(topology, parts->id);
    if (topology_exchange_type(parts) == NULL || parts->name.size > UINT8_MAX ||
        parts->alternate.size > UINT8_MAX) {
        return LP_ERR_BAD_RECORD;
    }
    if (exchange != NULL) {
        exchange->seen = topology->sync;
        return topology_exchange_alternate(topology, exchange, parts->alternate) ? LP_OK
                                                                                 : LP_ERR_NO_MEMORY;
    }
    struct lp_vhost *vhost = lp_topology_vhost(topology, parts->vhost_id);
    if (vhost == NULL) {
        return LP_ERR_NOT_FOUND;
    }
    exchange = topology_exchange_make(topology, parts);
    if (exchange == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    struct lp_exchange *older = lp_topology_exchange(topology, parts->vhost_id, parts->name);
    if (older != NULL) {
        topology_exchange_drop(topology, older);
    }
    lp_list_push_back(&vhost->exchanges, &exchange->in_vhost);
    lp_hash_insert(&topology->exchanges_by_id, &exchange->by_id,
                   topology_id_hash(topology, parts->id));
    lp_hash_insert(&topology->exchanges_by_name, &exchange->by_name,
                   topology_name_hash(topology, parts->vhost_id, parts->name));
    topology->epoch++;
    return LP_OK;
}

static struct lp_queue_ref *
topology_queue_make(struct lp_topology *topology, const struct lp_queue_parts *parts)
{
    struct lp_queue_ref *queue = lp_memory_alloc(
        topology->memory, (uint64_t)sizeof(*queue) + parts->name.size + parts->arguments.size);
    if (queue == NULL) {
        return NULL;
    }
    memset(queue, 0, sizeof(*queue));
    queue->id = parts->id;
    queue->vhost_id = parts->vhost_id;
    queue->seen = topology->sync;
    queue->home_shard = parts->home_shard;
    queue->flags = parts->flags;
    queue->name_bytes = (uint8_t)parts->name.size;
    queue->owner = parts->owner;
    queue->arguments_bytes = parts->arguments.size;
    lp_list_init(&queue->destinations);
    topology_bytes_put(queue->data, parts->name);
    topology_bytes_put(queue->data + parts->name.size, parts->arguments);
    return queue;
}

static enum lp_err
topology_queue_configure(struct lp_topology *topology, struct lp_queue_ref *queue,
                         struct lp_bytes settings)
{
    if (topology->hooks.queue_configure == NULL) {
        return LP_OK;
    }
    return topology->hooks.queue_configure(topology->hooks.context, queue, settings);
}

enum lp_err
lp_topology_queue_up(struct lp_topology *topology, const struct lp_queue_parts *parts)
{
    struct lp_queue_ref *queue = lp_topology_queue_by_id(topology, parts->id);
    if (queue != NULL) {
        queue->seen = topology->sync;
        return topology_queue_configure(topology, queue, parts->settings);
    }
    if (parts->name.size > UINT8_MAX) {
        return LP_ERR_BAD_RECORD;
    }
    struct lp_vhost *vhost = lp_topology_vhost(topology, parts->vhost_id);
    if (vhost == NULL) {
        return LP_ERR_NOT_FOUND;
    }
    queue = topology_queue_make(topology, parts);
    if (queue == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    struct lp_queue_ref *older = lp_topology_queue(topology, parts->vhost_id, parts->name);
    if (older != NULL) {
        topology_queue_drop(topology, older);
    }
    if (topology->hooks.queue_up != NULL) {
        const enum lp_err err = topology->hooks.queue_up(topology->hooks.context, queue);
        if (err != LP_OK) {
            topology_release(topology, queue);
            return err;
        }
    }
    lp_list_push_back(&vhost->queues, &queue->in_vhost);
    lp_hash_insert(&topology->queues_by_id, &queue->by_id, topology_id_hash(topology, parts->id));
    lp_hash_insert(&topology->queues_by_name, &queue->by_name,
                   topology_name_hash(topology, parts->vhost_id, parts->name));
    topology->epoch++;
    return topology_queue_configure(topology, queue, parts->settings);
}

static struct lp_binding *
topology_binding_make(struct lp_topology *topology, const struct lp_binding_parts *parts)
{
    struct lp_binding *binding = lp_memory_alloc(
        topology->memory, (uint64_t)sizeof(*binding) + parts->key.size + parts->arguments.size);
    if (binding == NULL) {
        return NULL;
    }
    memset(binding, 0, sizeof(*binding));
    binding->id = parts->id;
    binding->seen = topology->sync;
    binding->key_bytes = (uint8_t)parts->key.size;
    binding->arguments_bytes = parts->arguments.size;
    topology_bytes_put(binding->data, parts->key);
    topology_bytes_put(binding->data + parts->key.size, parts->arguments);
    return binding;
}

/* Link a binding whose ends are set. */
static enum lp_err
topology_binding_link(struct lp_topology *topology, struct lp_binding *binding)
{
    struct lp_exchange *source = binding->source;
    if (!source->type->bind(topology->memory, source->state, binding)) {
        return LP_ERR_NO_MEMORY;
    }
    lp_list_push_back(&source->sources, &binding->in_source);
    lp_list_push_back(binding->to_queue != NULL ? &binding->to_queue->destinations
                                                : &binding->to_exchange->destinations,
                      &binding->in_destination);
    lp_hash_insert(&topology->bindings_by_id, &binding->by_id,
                   topology_id_hash(topology, binding->id));
    topology->epoch++;
    return LP_OK;
}

enum lp_err
lp_topology_bind_up(struct lp_topology *topology, const struct lp_binding_parts *parts)
{
    struct lp_binding *binding = topology_binding_by_id(topology, parts->id);
    if (binding != NULL) {
        binding->seen = topology->sync;
        return LP_OK;
    }
    if (parts->key.size > UINT8_MAX || parts->destination_resource > LP_RESOURCE_QUEUE) {
        return LP_ERR_BAD_RECORD;
    }
    struct lp_exchange *source = topology_exchange_by_id(topology, parts->source);
    struct lp_exchange *to_exchange = NULL;
    struct lp_queue_ref *to_queue = NULL;
    if (parts->destination_resource == LP_RESOURCE_QUEUE) {
        to_queue = lp_topology_queue_by_id(topology, parts->destination);
    } else {
        to_exchange = topology_exchange_by_id(topology, parts->destination);
    }
    if (source == NULL || (to_exchange == NULL && to_queue == NULL)) {
        return LP_ERR_NOT_FOUND;
    }

    binding = topology_binding_make(topology, parts);
    if (binding == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    binding->source = source;
    binding->to_exchange = to_exchange;
    binding->to_queue = to_queue;
    const enum lp_err err = topology_binding_link(topology, binding);
    if (err != LP_OK) {
        topology_release(topology, binding);
    }
    return err;
}

/* ---- resynchronising ---- */

void
lp_topology_sync_begin(struct lp_topology *topology)
{
    topology->sync++;
}

static void
topology_sweep_sources(struct lp_topology *topology, struct lp_exchange *exchange)
{
    struct lp_list *sources = &exchange->sources;
    struct lp_list *next = NULL;
    for (struct lp_list *b = sources->next; b != sources; b = next) {
        struct lp_binding *binding = LP_LIST_ITEM(b, struct lp_binding, in_source);
        next = b->next;
        if (binding->seen != topology->sync) {
            topology_binding_drop(topology, binding);
        }
    }
}

static void
topology_sweep_bindings(struct lp_topology *topology, struct lp_vhost *vhost)
{
    struct lp_list *exchanges = &vhost->exchanges;
    for (struct lp_list *x = exchanges->next; x != exchanges; x = x->next) {
        topology_sweep_sources(topology, LP_LIST_ITEM(x, struct lp_exchange, in_vhost));
    }
}

/* Queues, then exchanges: each takes only bindings with it, so the next link stays good. */
static void
topology_sweep_objects(struct lp_topology *topology, struct lp_vhost *vhost)
{
    struct lp_list *next = NULL;
    for (struct lp_list *q = vhost->queues.next; q != &vhost->queues; q = next) {
        struct lp_queue_ref *queue = LP_LIST_ITEM(q, struct lp_queue_ref, in_vhost);
        next = q->next;
        if (queue->seen != topology->sync) {
            topology_queue_drop(topology, queue);
        }
    }
    for (struct lp_list *x = vhost->exchanges.next; x != &vhost->exchanges; x = next) {
        struct lp_exchange *exchange = LP_LIST_ITEM(x, struct lp_exchange, in_vhost);
        next = x->next;
        if (exchange->seen != topology->sync) {
            topology_exchange_drop(topology, exchange);
        }
    }
}

void
lp_topology_sync_end(struct lp_topology *topology)
{
    struct lp_list *vhosts = &topology->vhosts;
    for (struct lp_list *v = vhosts->next; v != vhosts; v = v->next) {
        topology_sweep_bindings(topology, LP_LIST_ITEM(v, struct lp_vhost, in_topology));
    }
    struct lp_list *next = NULL;
    for (struct lp_list *v = vhosts->next; v != vhosts; v = next) {
        struct lp_vhost *vhost = LP_LIST_ITEM(v, struct lp_vhost, in_topology);
        next = v->next;
        topology_sweep_objects(topology, vhost);
        if (vhost->seen != topology->sync) {
            topology_vhost_drop(topology, vhost);
        }
    }
    LP_ASSERT_SLOW((lp_topology_check(topology), true));
}
