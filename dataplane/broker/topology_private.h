/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology_private.h - what topology.c, topology_apply.c and route.c share.
 */
#pragma once

#include "dataplane/broker/topology.h"

static inline uint64_t
topology_id_hash(const struct lp_topology *topology, uint64_t id)
{
    return lp_hash_mix(topology->key.word[0], id);
}

static inline uint64_t
topology_name_hash(const struct lp_topology *topology, uint32_t vhost_id, struct lp_bytes name)
{
    return lp_hash_mix(lp_hash_bytes(&topology->key, name.data, name.size), vhost_id);
}

struct lp_exchange *topology_exchange_by_id(const struct lp_topology *topology, uint32_t id);
struct lp_binding *topology_binding_by_id(const struct lp_topology *topology, uint64_t id);

/* Take an object out of everything and free it; what hangs on it goes first. */
void topology_vhost_drop(struct lp_topology *topology, struct lp_vhost *vhost);
void topology_exchange_drop(struct lp_topology *topology, struct lp_exchange *exchange);
void topology_queue_drop(struct lp_topology *topology, struct lp_queue_ref *queue);
void topology_binding_drop(struct lp_topology *topology, struct lp_binding *binding);

/* Give a block back when the pointer to it is on its way out as well. */
static inline void
topology_release(struct lp_topology *topology, void *block)
{
    lp_memory_release(topology->memory, &block);
}

LP_MUST_CHECK enum lp_err topology_route_init(struct lp_topology *topology);
void topology_route_fini(struct lp_topology *topology);
