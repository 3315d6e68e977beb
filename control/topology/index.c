/* SPDX-License-Identifier: Apache-2.0 */
/* index.c - the catalog's objects in memory: how they come in, are found and go. */
#include <stdlib.h>

#include "control/auth/permission.h"
#include "control/base/place.h"
#include "control/topology/policy.h"

enum {
    SALT_VHOST = 1,
    SALT_USER = 2,
    SALT_BINDING = 3,
    SALT_SCOPED = 16, /* plus the vhost */
};

static uint64_t
hash_scoped(const struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost,
            struct lp_bytes name)
{
    return lp_map_hash(&catalog->key, SALT_SCOPED + (uint64_t)vhost->id, name);
}

/* ---- vhosts ---- */

struct lp_catalog_vhost *
catalog_vhost_insert(struct lp_catalog *catalog, uint32_t id, struct lp_bytes name)
{
    struct lp_catalog_vhost *vhost = lp_heap_alloc(sizeof(*vhost) + name.size);
    uint8_t *at = (uint8_t *)(vhost + 1);
    vhost->id = id;
    vhost->name = lp_place(&at, name);
    lp_chain_init(&vhost->exchanges);
    lp_chain_init(&vhost->queues);
    lp_chain_init(&vhost->policies);
    lp_chain_init(&vhost->operator_policies);
    vhost->connections_max = LP_CATALOG_NO_LIMIT;
    vhost->queues_max = LP_CATALOG_NO_LIMIT;
    lp_chain_append(&catalog->vhosts, &vhost->in_catalog);
    lp_map_insert(&catalog->vhosts_by_id, &vhost->by_id, lp_map_hash_number(id));
    lp_map_insert(&catalog->vhosts_by_name, &vhost->by_name,
                  lp_map_hash(&catalog->key, SALT_VHOST, name));
    return vhost;
}

void
catalog_vhost_remove(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    LP_ASSERT(lp_chain_is_empty(&vhost->exchanges));
    LP_ASSERT(lp_chain_is_empty(&vhost->queues));
    LP_CHAIN_EACH(p, &vhost->policies)
    {
        policy_remove(LP_CONTAINER_OF(p, struct lp_catalog_policy, in_vhost));
    }
    LP_CHAIN_EACH(o, &vhost->operator_policies)
    {
        policy_remove(LP_CONTAINER_OF(o, struct lp_catalog_policy, in_vhost));
    }
    lp_map_remove(&catalog->vhosts_by_id, &vhost->by_id);
    lp_map_remove(&catalog->vhosts_by_name, &vhost->by_name);
    lp_chain_remove(&vhost->in_catalog);
    free(vhost->texts);
    free(vhost);
}

void
catalog_vhost_texts_set(struct lp_catalog_vhost *vhost, struct lp_bytes description,
                        struct lp_bytes tags)
{
    uint8_t *texts = lp_heap_alloc((size_t)description.size + tags.size + 1);
    uint8_t *at = texts;
    vhost->description = lp_place(&at, description);
    vhost->tags = lp_place(&at, tags);
    free(vhost->texts);
    vhost->texts = texts;
}

struct lp_catalog_vhost *
lp_catalog_vhost(const struct lp_catalog *catalog, struct lp_bytes name)
{
    const uint64_t hash = lp_map_hash(&catalog->key, SALT_VHOST, name);
    struct lp_map_node *node = lp_map_first(&catalog->vhosts_by_name, hash);
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_vhost *vhost = LP_CONTAINER_OF(node, struct lp_catalog_vhost, by_name);
        if (lp_bytes_equal(vhost->name, name)) {
            return vhost;
        }
    }
    return NULL;
}

struct lp_catalog_vhost *
lp_catalog_vhost_by_id(const struct lp_catalog *catalog, uint32_t id)
{
    struct lp_map_node *node = lp_map_first(&catalog->vhosts_by_id, lp_map_hash_number(id));
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_vhost *vhost = LP_CONTAINER_OF(node, struct lp_catalog_vhost, by_id);
        if (vhost->id == id) {
            return vhost;
        }
    }
    return NULL;
}

/* ---- exchanges ---- */

struct lp_catalog_exchange *
catalog_exchange_insert(struct lp_catalog *catalog, const struct lp_catalog_exchange *like)
{
    struct lp_catalog_exchange *exchange =
        lp_heap_alloc(sizeof(*exchange) + like->name.size + like->arguments.size);
    uint8_t *at = (uint8_t *)(exchange + 1);
    exchange->id = like->id;
    exchange->vhost = like->vhost;
    exchange->kind = like->kind;
    exchange->flags = like->flags;
    exchange->name = lp_place(&at, like->name);
    exchange->arguments = lp_place(&at, like->arguments);
    lp_chain_init(&exchange->sources);
    lp_chain_init(&exchange->destinations);
    lp_chain_append(&like->vhost->exchanges, &exchange->in_vhost);
    lp_map_insert(&catalog->exchanges_by_id, &exchange->by_id, lp_map_hash_number(exchange->id));
    lp_map_insert(&catalog->exchanges_by_name, &exchange->by_name,
                  hash_scoped(catalog, exchange->vhost, exchange->name));
    catalog->exchange_count++;
    return exchange;
}

void
catalog_exchange_remove(struct lp_catalog *catalog, struct lp_catalog_exchange *exchange)
{
    LP_ASSERT(lp_chain_is_empty(&exchange->sources));
    LP_ASSERT(lp_chain_is_empty(&exchange->destinations));
    lp_map_remove(&catalog->exchanges_by_id, &exchange->by_id);
    lp_map_remove(&catalog->exchanges_by_name, &exchange->by_name);
    lp_chain_remove(&exchange->in_vhost);
    catalog->exchange_count--;
    free(exchange);
}

struct lp_catalog_exchange *
lp_catalog_exchange(const struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost,
                    struct lp_bytes name)
{
    struct lp_map_node *node =
        lp_map_first(&catalog->exchanges_by_name, hash_scoped(catalog, vhost, name));
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_exchange *exchange =
            LP_CONTAINER_OF(node, struct lp_catalog_exchange, by_name);
        if (exchange->vhost == vhost && lp_bytes_equal(exchange->name, name)) {
            return exchange;
        }
    }
    return NULL;
}

struct lp_catalog_exchange *
catalog_exchange_by_id(const struct lp_catalog *catalog, uint32_t id)
{
    struct lp_map_node *node = lp_map_first(&catalog->exchanges_by_id, lp_map_hash_number(id));
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_exchange *exchange =
            LP_CONTAINER_OF(node, struct lp_catalog_exchange, by_id);
        if (exchange->id == id) {
            return exchange;
        }
    }
    return NULL;
}

/* ---- queues ---- */

struct lp_catalog_queue *
catalog_queue_insert(struct lp_catalog *catalog, const struct lp_catalog_queue *like)
{
    struct lp_catalog_queue *queue =
        lp_heap_alloc(sizeof(*queue) + like->name.size + like->arguments.size);
    uint8_t *at = (uint8_t *)(queue + 1);
    queue->id = like->id;
    queue->vhost = like->vhost;
    queue->home_shard = like->home_shard;
    queue->flags = like->flags;
    queue->owner = like->owner;
    queue->name = lp_place(&at, like->name);
    queue->arguments = lp_place(&at, like->arguments);
    queue->kind = (uint8_t)catalog_queue_kind_of(queue->arguments);
    lp_chain_init(&queue->destinations);
    lp_chain_append(&like->vhost->queues, &queue->in_vhost);
    lp_map_insert(&catalog->queues_by_id, &queue->by_id, lp_map_hash_number(queue->id));
    lp_map_insert(&catalog->queues_by_name, &queue->by_name,
                  hash_scoped(catalog, queue->vhost, queue->name));
    if (queue->owner != 0) {
        lp_map_insert(&catalog->queues_by_owner, &queue->by_owner,
                      lp_map_hash_number(queue->owner));
    }
    catalog->queue_count++;
    queue->vhost->queue_count++;
    return queue;
}

void
catalog_queue_remove(struct lp_catalog *catalog, struct lp_catalog_queue *queue)
{
    LP_ASSERT(lp_chain_is_empty(&queue->destinations));
    lp_map_remove(&catalog->queues_by_id, &queue->by_id);
    lp_map_remove(&catalog->queues_by_name, &queue->by_name);
    if (queue->owner != 0) {
        lp_map_remove(&catalog->queues_by_owner, &queue->by_owner);
    }
    lp_chain_remove(&queue->in_vhost);
    catalog->queue_count--;
    queue->vhost->queue_count--;
    free(queue);
}

struct lp_catalog_queue *
lp_catalog_queue(const struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost,
                 struct lp_bytes name)
{
    struct lp_map_node *node =
        lp_map_first(&catalog->queues_by_name, hash_scoped(catalog, vhost, name));
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_queue *queue = LP_CONTAINER_OF(node, struct lp_catalog_queue, by_name);
        if (queue->vhost == vhost && lp_bytes_equal(queue->name, name)) {
            return queue;
        }
    }
    return NULL;
}

struct lp_catalog_queue *
lp_catalog_queue_by_id(const struct lp_catalog *catalog, uint32_t id)
{
    struct lp_map_node *node = lp_map_first(&catalog->queues_by_id, lp_map_hash_number(id));
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_queue *queue = LP_CONTAINER_OF(node, struct lp_catalog_queue, by_id);
        if (queue->id == id) {
            return queue;
        }
    }
    return NULL;
}

/* ---- bindings ---- */

static uint64_t
hash_binding(const struct lp_catalog *catalog, const struct lp_catalog_binding *binding)
{
    const uint32_t destination =
        binding->to_queue ? binding->to_queue->id : binding->to_exchange->id;
    const uint64_t pair = (uint64_t)binding->source->id << 32 | destination;
    return lp_map_hash(&catalog->key, lp_map_hash_number(pair) ^ SALT_BINDING, binding->key);
}

struct lp_catalog_binding *
catalog_binding_find(const struct lp_catalog *catalog, const struct lp_catalog_binding *like)
{
    struct lp_map_node *node =
        lp_map_first(&catalog->bindings_by_parts, hash_binding(catalog, like));
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_binding *binding =
            LP_CONTAINER_OF(node, struct lp_catalog_binding, by_parts);
        if (binding->source == like->source && binding->to_queue == like->to_queue &&
            binding->to_exchange == like->to_exchange && lp_bytes_equal(binding->key, like->key) &&
            lp_bytes_equal(binding->arguments, like->arguments)) {
            return binding;
        }
    }
    return NULL;
}

struct lp_catalog_binding *
catalog_binding_insert(struct lp_catalog *catalog, const struct lp_catalog_binding *like)
{
    struct lp_catalog_binding *binding =
        lp_heap_alloc(sizeof(*binding) + like->key.size + like->arguments.size);
    uint8_t *at = (uint8_t *)(binding + 1);
    binding->id = like->id;
    binding->durable = like->durable;
    binding->source = like->source;
    binding->to_exchange = like->to_exchange;
    binding->to_queue = like->to_queue;
    binding->key = lp_place(&at, like->key);
    binding->arguments = lp_place(&at, like->arguments);
    lp_chain_append(&binding->source->sources, &binding->in_source);
    lp_chain_append(binding->to_queue ? &binding->to_queue->destinations
                                      : &binding->to_exchange->destinations,
                    &binding->in_destination);
    lp_map_insert(&catalog->bindings_by_parts, &binding->by_parts, hash_binding(catalog, binding));
    catalog->binding_count++;
    return binding;
}

void
catalog_binding_remove(struct lp_catalog *catalog, struct lp_catalog_binding *binding)
{
    lp_map_remove(&catalog->bindings_by_parts, &binding->by_parts);
    lp_chain_remove(&binding->in_source);
    lp_chain_remove(&binding->in_destination);
    catalog->binding_count--;
    free(binding);
}

/* ---- users and permissions ---- */

struct lp_catalog_user *
catalog_user_insert(struct lp_catalog *catalog, const struct lp_catalog_user *like)
{
    struct lp_catalog_user *user =
        lp_heap_alloc(sizeof(*user) + like->name.size + like->hash.size + like->tags.size);
    uint8_t *at = (uint8_t *)(user + 1);
    *user = *like;
    user->name = lp_place(&at, like->name);
    user->hash = lp_place(&at, like->hash);
    user->tags = lp_place(&at, like->tags);
    lp_chain_init(&user->permissions);
    lp_chain_init(&user->topic_permissions);
    lp_chain_append(&catalog->users, &user->in_catalog);
    lp_map_insert(&catalog->users_by_name, &user->by_name,
                  lp_map_hash(&catalog->key, SALT_USER, user->name));
    return user;
}

void
catalog_user_remove(struct lp_catalog *catalog, struct lp_catalog_user *user)
{
    LP_ASSERT(lp_chain_is_empty(&user->permissions));
    LP_ASSERT(lp_chain_is_empty(&user->topic_permissions));
    lp_map_remove(&catalog->users_by_name, &user->by_name);
    lp_chain_remove(&user->in_catalog);
    free(user);
}

struct lp_catalog_user *
lp_catalog_user(const struct lp_catalog *catalog, struct lp_bytes name)
{
    const uint64_t hash = lp_map_hash(&catalog->key, SALT_USER, name);
    struct lp_map_node *node = lp_map_first(&catalog->users_by_name, hash);
    for (; node; node = lp_map_next(node)) {
        struct lp_catalog_user *user = LP_CONTAINER_OF(node, struct lp_catalog_user, by_name);
        if (lp_bytes_equal(user->name, name)) {
            return user;
        }
    }
    return NULL;
}

struct lp_catalog_permission *
catalog_permission_insert(struct lp_catalog_user *user, uint32_t vhost_id,
                          const struct lp_bytes pattern[LP_CATALOG_RIGHTS])
{
    size_t bytes = 0;
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        bytes += pattern[i].size;
    }
    struct lp_catalog_permission *permission = lp_heap_alloc(sizeof(*permission) + bytes);
    uint8_t *at = (uint8_t *)(permission + 1);
    permission->user = user;
    permission->vhost_id = vhost_id;
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        permission->pattern[i] = lp_place(&at, pattern[i]);
    }
    lp_chain_append(&user->permissions, &permission->in_user);
    return permission;
}

void
catalog_permission_remove(struct lp_catalog_permission *permission)
{
    lp_permission_code_drop(permission);
    lp_chain_remove(&permission->in_user);
    free(permission);
}

struct lp_catalog_permission *
lp_catalog_permission(const struct lp_catalog_user *user, uint32_t vhost_id)
{
    LP_CHAIN_EACH(link, &user->permissions)
    {
        struct lp_catalog_permission *permission =
            LP_CONTAINER_OF(link, struct lp_catalog_permission, in_user);
        if (permission->vhost_id == vhost_id) {
            return permission;
        }
    }
    return NULL;
}

struct lp_catalog_topic_permission *
catalog_topic_permission_insert(const struct lp_catalog_topic_permission *like)
{
    struct lp_catalog_topic_permission *permission = lp_heap_alloc(
        sizeof(*permission) + like->exchange.size + like->pattern[0].size + like->pattern[1].size);
    uint8_t *at = (uint8_t *)(permission + 1);
    permission->user = like->user;
    permission->vhost_id = like->vhost_id;
    permission->exchange = lp_place(&at, like->exchange);
    for (size_t i = 0; i < LP_CATALOG_TOPIC_RIGHTS; i++) {
        permission->pattern[i] = lp_place(&at, like->pattern[i]);
    }
    lp_chain_append(&permission->user->topic_permissions, &permission->in_user);
    return permission;
}

void
catalog_topic_permission_remove(struct lp_catalog_topic_permission *permission)
{
    lp_topic_permission_code_drop(permission);
    lp_chain_remove(&permission->in_user);
    free(permission);
}

struct lp_catalog_topic_permission *
lp_catalog_topic_permission(const struct lp_catalog_user *user, uint32_t vhost_id,
                            struct lp_bytes exchange)
{
    LP_CHAIN_EACH(link, &user->topic_permissions)
    {
        struct lp_catalog_topic_permission *permission =
            LP_CONTAINER_OF(link, struct lp_catalog_topic_permission, in_user);
        if (permission->vhost_id == vhost_id && lp_bytes_equal(permission->exchange, exchange)) {
            return permission;
        }
    }
    return NULL;
}

/* ---- parameters ---- */

struct lp_catalog_parameter *
catalog_parameter_insert(struct lp_catalog *catalog, const struct lp_catalog_parameter *like)
{
    struct lp_catalog_parameter *parameter = lp_heap_alloc(
        sizeof(*parameter) + like->component.size + like->name.size + like->value.size);
    uint8_t *at = (uint8_t *)(parameter + 1);
    parameter->vhost_id = like->vhost_id;
    parameter->component = lp_place(&at, like->component);
    parameter->name = lp_place(&at, like->name);
    parameter->value = lp_place(&at, like->value);
    lp_chain_append(&catalog->parameters, &parameter->in_catalog);
    return parameter;
}

void
catalog_parameter_remove(struct lp_catalog_parameter *parameter)
{
    lp_chain_remove(&parameter->in_catalog);
    free(parameter);
}

struct lp_catalog_parameter *
lp_catalog_parameter(const struct lp_catalog *catalog, uint32_t vhost_id, struct lp_bytes component,
                     struct lp_bytes name)
{
    LP_CHAIN_EACH(link, &catalog->parameters)
    {
        struct lp_catalog_parameter *parameter =
            LP_CONTAINER_OF(link, struct lp_catalog_parameter, in_catalog);
        if (parameter->vhost_id == vhost_id && lp_bytes_equal(parameter->component, component) &&
            lp_bytes_equal(parameter->name, name)) {
            return parameter;
        }
    }
    return NULL;
}
