/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/broker/topology_private.h"

enum lp_err
lp_topology_init_boot(struct lp_topology *topology, struct lp_memory *memory,
                      const struct lp_hash_key *key, const struct lp_topology_hooks *hooks)
{
    memset(topology, 0, sizeof(*topology));
    topology->memory = memory;
    topology->key = *key;
    if (hooks != NULL) {
        topology->hooks = *hooks;
    }
    lp_list_init(&topology->vhosts);

    struct lp_hash *const indexes[] = {
        &topology->vhosts_by_id, &topology->exchanges_by_id, &topology->exchanges_by_name,
        &topology->queues_by_id, &topology->queues_by_name,  &topology->bindings_by_id,
    };
    uint32_t made = 0;
    enum lp_err err = LP_OK;
    for (; made < LP_COUNT_OF(indexes) && err == LP_OK; made++) {
        err = lp_hash_init(indexes[made], memory);
    }
    if (err != LP_OK) {
        made--; /* the last one failed */
    } else {
        err = topology_route_init(topology);
    }
    if (err != LP_OK) {
        for (uint32_t i = 0; i < made; i++) {
            lp_hash_fini(indexes[i]);
        }
    }
    return err;
}

void
lp_topology_fini(struct lp_topology *topology)
{
    while (!lp_list_empty(&topology->vhosts)) {
        topology_vhost_drop(topology,
                            LP_LIST_ITEM(topology->vhosts.next, struct lp_vhost, in_topology));
    }
    topology_route_fini(topology);
    /* Everything lived in a vhost, so the indexes are empty now. */
    lp_hash_fini(&topology->bindings_by_id);
    lp_hash_fini(&topology->queues_by_name);
    lp_hash_fini(&topology->queues_by_id);
    lp_hash_fini(&topology->exchanges_by_name);
    lp_hash_fini(&topology->exchanges_by_id);
    lp_hash_fini(&topology->vhosts_by_id);
}

/* ---- lookups ---- */

struct lp_vhost *
lp_topology_vhost(const struct lp_topology *topology, uint32_t id)
{
    struct lp_hash_node *node =
        lp_hash_first(&topology->vhosts_by_id, topology_id_hash(topology, id));
    for (; node != NULL; node = lp_hash_next(node)) {
        struct lp_vhost *vhost = LP_CONTAINER_OF(node, struct lp_vhost, by_id);
        if (vhost->id == id) {
            return vhost;
        }
    }
    return NULL;
}

static struct lp_exchange *
exchange_by_name(const struct lp_topology *topology, uint32_t vhost_id, struct lp_bytes name)
{
    struct lp_hash_node *node =
        lp_hash_first(&topology->exchanges_by_name, topology_name_hash(topology, vhost_id, name));
    for (; node != NULL; node = lp_hash_next(node)) {
        struct lp_exchange *exchange = LP_CONTAINER_OF(node, struct lp_exchange, by_name);
        if (exchange->vhost_id == vhost_id && lp_bytes_equal(lp_exchange_name(exchange), name)) {
            return exchange;
        }
    }
    return NULL;
}

struct lp_exchange *
lp_topology_exchange(struct lp_topology *topology, uint32_t vhost_id, struct lp_bytes name)
{
    struct lp_exchange *last = topology->last_lookup.exchange;
    if (last && topology->last_lookup.epoch == topology->epoch && last->vhost_id == vhost_id &&
        lp_bytes_equal(lp_exchange_name(last), name)) {
        return last; /* a publisher's next message */
    }
    topology->last_lookup.exchange = exchange_by_name(topology, vhost_id, name);
    topology->last_lookup.epoch = topology->epoch;
    return topology->last_lookup.exchange;
}

struct lp_exchange *
topology_exchange_by_id(const struct lp_topology *topology, uint32_t id)
{
    struct lp_hash_node *node =
        lp_hash_first(&topology->exchanges_by_id, topology_id_hash(topology, id));
    for (; node != NULL; node = lp_hash_next(node)) {
        struct lp_exchange *exchange = LP_CONTAINER_OF(node, struct lp_exchange, by_id);
        if (exchange->id == id) {
            return exchange;
        }
    }
    return NULL;
}

struct lp_queue_ref *
lp_topology_queue(const struct lp_topology *topology, uint32_t vhost_id, struct lp_bytes name)
{
    struct lp_hash_node *node =
        lp_hash_first(&topology->queues_by_name, topology_name_hash(topology, vhost_id, name));
    for (; node != NULL; node = lp_hash_next(node)) {
        struct lp_queue_ref *queue = LP_CONTAINER_OF(node, struct lp_queue_ref, by_name);
        if (queue->vhost_id == vhost_id && lp_bytes_equal(lp_queue_ref_name(queue), name)) {
            return queue;
        }
    }
    return NULL;
}

struct lp_queue_ref *
lp_topology_queue_by_id(const struct lp_topology *topology, uint32_t id)
{
    struct lp_hash_node *node =
        lp_hash_first(&topology->queues_by_id, topology_id_hash(topology, id));
    for (; node != NULL; node = lp_hash_next(node)) {
        struct lp_queue_ref *queue = LP_CONTAINER_OF(node, struct lp_queue_ref, by_id);
        if (queue->id == id) {
            return queue;
        }
    }
    return NULL;
}

struct lp_binding *
topology_binding_by_id(const struct lp_topology *topology, uint64_t id)
{
    struct lp_hash_node *node =
        lp_hash_first(&topology->bindings_by_id, topology_id_hash(topology, id));
    for (; node != NULL; node = lp_hash_next(node)) {
        struct lp_binding *binding = LP_CONTAINER_OF(node, struct lp_binding, by_id);
        if (binding->id == id) {
            return binding;
        }
    }
    return NULL;
}

/* ---- the invariants ---- */

struct topology_counts {
    uint32_t vhosts, exchanges, queues;
    uint32_t sources, destinations; /* bindings, counted at either end */
};

static void
topology_source_check(const struct lp_topology *topology, const struct lp_exchange *exchange,
                      const struct lp_binding *binding)
{
    LP_ASSERT(binding->source == exchange);
    LP_ASSERT((binding->to_exchange == NULL) != (binding->to_queue == NULL));
    LP_ASSERT(topology_binding_by_id(topology, binding->id) == binding);
}

/* The list of bindings that end at one of the two. */
static uint32_t
topology_destinations_check(const struct lp_list *head, const struct lp_exchange *exchange,
                            const struct lp_queue_ref *queue)
{
    uint32_t count = 0;
    bool agree = true;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        const struct lp_binding *binding = LP_LIST_ITEM(link, struct lp_binding, in_destination);
        agree &= binding->to_exchange == exchange && binding->to_queue == queue;
        count++;
    }
    LP_ASSERT(agree);
    return count;
}

static void
topology_exchange_check(const struct lp_topology *topology, const struct lp_exchange *exchange,
                        struct topology_counts *counts)
{
    counts->exchanges++;
    LP_ASSERT(topology_exchange_by_id(topology, exchange->id) == exchange);
    LP_ASSERT(exchange_by_name(topology, exchange->vhost_id, lp_exchange_name(exchange)) ==
              exchange);
    LP_ASSERT(exchange->is_default == (exchange->name_bytes == 0));
    LP_ASSERT(exchange->visited <= topology->routing);

    const struct lp_list *head = &exchange->sources;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        topology_source_check(topology, exchange, LP_LIST_ITEM(link, struct lp_binding, in_source));
        counts->sources++;
    }
    counts->destinations += topology_destinations_check(&exchange->destinations, exchange, NULL);
}

static void
topology_queue_check(const struct lp_topology *topology, const struct lp_queue_ref *queue,
                     struct topology_counts *counts)
{
    counts->queues++;
    LP_ASSERT(lp_topology_queue_by_id(topology, queue->id) == queue);
    LP_ASSERT(lp_topology_queue(topology, queue->vhost_id, lp_queue_ref_name(queue)) == queue);
    LP_ASSERT(queue->visited <= topology->routing);
    counts->destinations += topology_destinations_check(&queue->destinations, NULL, queue);
}

static void
topology_vhost_check(const struct lp_topology *topology, const struct lp_vhost *vhost,
                     struct topology_counts *counts)
{
    counts->vhosts++;
    LP_ASSERT(lp_topology_vhost(topology, vhost->id) == vhost);
    bool inside = true;
    const struct lp_list *head = &vhost->exchanges;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        const struct lp_exchange *exchange = LP_LIST_ITEM(link, struct lp_exchange, in_vhost);
        inside &= exchange->vhost_id == vhost->id;
        topology_exchange_check(topology, exchange, counts);
    }
    head = &vhost->queues;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        const struct lp_queue_ref *queue = LP_LIST_ITEM(link, struct lp_queue_ref, in_vhost);
        inside &= queue->vhost_id == vhost->id;
        topology_queue_check(topology, queue, counts);
    }
    LP_ASSERT(inside);
}

void
lp_topology_check(const struct lp_topology *topology)
{
    struct topology_counts counts = {0};
    const struct lp_list *head = &topology->vhosts;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        topology_vhost_check(topology, LP_LIST_ITEM(link, struct lp_vhost, in_topology), &counts);
    }
    LP_ASSERT(counts.vhosts == topology->vhosts_by_id.count);
    LP_ASSERT(counts.exchanges == topology->exchanges_by_id.count);
    LP_ASSERT(counts.exchanges == topology->exchanges_by_name.count);
    LP_ASSERT(counts.queues == topology->queues_by_id.count);
    LP_ASSERT(counts.queues == topology->queues_by_name.count);
    LP_ASSERT(counts.sources == topology->bindings_by_id.count);
    LP_ASSERT(counts.destinations == topology->bindings_by_id.count);
}
