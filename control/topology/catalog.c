/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.c - life of the catalog; vhosts, users, permissions and settings. */
#include "control/topology/catalog.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/topology/policy.h"

const struct lp_catalog_rules lp_catalog_rules_default = {
    .default_queue_kind = LP_QUEUE_CLASSIC,
    .password_algorithm = LP_PASSWORD_SHA256,
    .consumer_timeout_ms = 1800000,
    .vhosts_max = UINT64_MAX,
    .queues_max = UINT64_MAX,
    .exchanges_max = UINT64_MAX,
};

static enum lp_err
catalog_load(struct lp_catalog *catalog, const struct lp_store *store)
{
    enum lp_err err = store->watch(store->self, 0);
    struct lp_store_event event;
    while (!err) {
        err = store->next(store->self, &event);
        if (err) {
            break;
        }
        if (event.kind == LP_STORE_REVISION) {
            catalog->revision = event.revision;
            policy_assign_all(catalog);
            return LP_OK;
        }
        catalog->seeded = true;
        if (!catalog_record_load(catalog, event.key, event.value)) {
            return LP_ERR_BAD_RECORD;
        }
    }
    return err;
}

enum lp_err
lp_catalog_open(const struct lp_store *store, const struct lp_entropy *entropy,
                uint32_t shard_count, struct lp_catalog **ret_catalog)
{
    LP_ASSERT(shard_count > 0 && shard_count <= UINT16_MAX);
    struct lp_catalog *catalog = lp_heap_alloc(sizeof(*catalog));
    catalog->entropy = *entropy;
    catalog->rules = lp_catalog_rules_default;
    catalog->shard_count = shard_count;
    catalog->scratch = lp_heap_alloc(LP_CATALOG_SCRATCH_BYTES);
    catalog->next_id = 1;
    catalog->next_transient_id = LP_ID_TRANSIENT;
    catalog->next_binding_id = 1;
    catalog->permission_epoch = 1;
    entropy->fill(entropy->self, &catalog->key, sizeof(catalog->key));
    lp_chain_init(&catalog->vhosts);
    lp_chain_init(&catalog->users);
    lp_chain_init(&catalog->parameters);
    lp_chain_init(&catalog->leaving);
    const enum lp_err err = catalog_load(catalog, store);
    if (err) {
        lp_catalog_close(&catalog);
        return err;
    }
    *ret_catalog = catalog;
    return LP_OK;
}

/* Empty a vhost without telling anyone. */
static void
vhost_clear(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        struct lp_catalog_exchange *exchange =
            LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost);
        LP_CHAIN_EACH(b, &exchange->sources)
        {
            catalog_binding_remove(catalog,
                                   LP_CONTAINER_OF(b, struct lp_catalog_binding, in_source));
        }
    }
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        catalog_exchange_remove(catalog, LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost));
    }
    LP_CHAIN_EACH(q, &vhost->queues)
    {
        catalog_queue_remove(catalog, LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost));
    }
}

void
lp_catalog_close(struct lp_catalog **catalog)
{
    struct lp_catalog *self = *catalog;
    *catalog = NULL;
    if (!self) {
        return;
    }
    LP_CHAIN_EACH(v, &self->vhosts)
    {
        struct lp_catalog_vhost *vhost = LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        vhost_clear(self, vhost);
        catalog_vhost_remove(self, vhost);
    }
    LP_CHAIN_EACH(u, &self->users)
    {
        struct lp_catalog_user *user = LP_CONTAINER_OF(u, struct lp_catalog_user, in_catalog);
        LP_CHAIN_EACH(p, &user->permissions)
        {
            catalog_permission_remove(LP_CONTAINER_OF(p, struct lp_catalog_permission, in_user));
        }
        LP_CHAIN_EACH(t, &user->topic_permissions)
        {
            catalog_topic_permission_remove(
                LP_CONTAINER_OF(t, struct lp_catalog_topic_permission, in_user));
        }
        catalog_user_remove(self, user);
    }
    LP_CHAIN_EACH(s, &self->parameters)
    {
        catalog_parameter_remove(LP_CONTAINER_OF(s, struct lp_catalog_parameter, in_catalog));
    }
    struct lp_map *const maps[] = {
        &self->vhosts_by_id,      &self->vhosts_by_name,    &self->exchanges_by_id,
        &self->exchanges_by_name, &self->queues_by_id,      &self->queues_by_name,
        &self->queues_by_owner,   &self->bindings_by_parts, &self->users_by_name,
    };
    for (size_t i = 0; i < LP_COUNT_OF(maps); i++) {
        LP_ASSERT(maps[i]->count == 0);
        lp_map_fini(maps[i]);
    }
    lp_bytebuf_fini(&self->ops);
    lp_bytebuf_fini(&self->deltas);
    free(self->scratch);
    free(self);
}

/* ---- vhosts ---- */

enum lp_err
lp_catalog_vhost_add(struct lp_catalog *catalog, struct lp_bytes name)
{
    static const struct {
        const char *name;
        uint8_t kind;
        uint8_t flags;
    } predeclared[] = {
        {"", LP_EXCHANGE_DIRECT, LP_OBJECT_DURABLE},
        {"amq.direct", LP_EXCHANGE_DIRECT, LP_OBJECT_DURABLE},
        {"amq.fanout", LP_EXCHANGE_FANOUT, LP_OBJECT_DURABLE},
        {"amq.headers", LP_EXCHANGE_HEADERS, LP_OBJECT_DURABLE},
        {"amq.match", LP_EXCHANGE_HEADERS, LP_OBJECT_DURABLE},
        {"amq.rabbitmq.trace", LP_EXCHANGE_TOPIC, LP_OBJECT_DURABLE | LP_OBJECT_INTERNAL},
        {"amq.topic", LP_EXCHANGE_TOPIC, LP_OBJECT_DURABLE},
    };
    LP_ASSERT(name.size <= UINT8_MAX);
    if (lp_catalog_vhost(catalog, name)) {
        return LP_ERR_EXISTS;
    }
    struct lp_catalog_vhost *vhost =
        catalog_vhost_insert(catalog, catalog_take_id(catalog, true), name);
    catalog_vhost_put(catalog, vhost);
    for (size_t i = 0; i < LP_COUNT_OF(predeclared); i++) {
        const struct lp_catalog_exchange like = {.id = catalog_take_id(catalog, true),
                                                 .vhost = vhost,
                                                 .kind = predeclared[i].kind,
                                                 .flags = predeclared[i].flags,
                                                 .name = lp_bytes_of_text(predeclared[i].name)};
        catalog_exchange_put(catalog, catalog_exchange_insert(catalog, &like));
    }
    catalog_vhost_defaults_apply(catalog, vhost);
    return LP_OK;
}

static void
vhost_rights_drop(struct lp_catalog *catalog, uint32_t vhost_id)
{
    LP_CHAIN_EACH(u, &catalog->users)
    {
        struct lp_catalog_user *user = LP_CONTAINER_OF(u, struct lp_catalog_user, in_catalog);
        struct lp_catalog_permission *permission = lp_catalog_permission(user, vhost_id);
        if (permission) {
            catalog_permission_drop(catalog, permission);
        }
        LP_CHAIN_EACH(t, &user->topic_permissions)
        {
            struct lp_catalog_topic_permission *topic =
                LP_CONTAINER_OF(t, struct lp_catalog_topic_permission, in_user);
            if (topic->vhost_id == vhost_id) {
                catalog_topic_permission_drop(catalog, topic);
            }
        }
    }
}

/* Nobody has them any more. */
static void
vhost_settings_drop(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    LP_CHAIN_EACH(p, &vhost->policies)
    {
        catalog_policy_drop(catalog, LP_CONTAINER_OF(p, struct lp_catalog_policy, in_vhost));
    }
    LP_CHAIN_EACH(o, &vhost->operator_policies)
    {
        catalog_policy_drop(catalog, LP_CONTAINER_OF(o, struct lp_catalog_policy, in_vhost));
    }
    LP_CHAIN_EACH(s, &catalog->parameters)
    {
        struct lp_catalog_parameter *parameter =
            LP_CONTAINER_OF(s, struct lp_catalog_parameter, in_catalog);
        if (parameter->vhost_id == vhost->id) {
            catalog_parameter_drop(catalog, parameter);
        }
    }
}

enum lp_err
lp_catalog_vhost_delete(struct lp_catalog *catalog, struct lp_bytes name)
{
    struct lp_catalog_vhost *vhost = lp_catalog_vhost(catalog, name);
    if (!vhost) {
        return LP_ERR_NOT_FOUND;
    }
    vhost_rights_drop(catalog, vhost->id);
    LP_CHAIN_EACH(q, &vhost->queues)
    {
        struct lp_catalog_queue *queue = LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost);
        LP_CHAIN_EACH(b, &queue->destinations)
        {
            catalog_binding_drop(catalog,
                                 LP_CONTAINER_OF(b, struct lp_catalog_binding, in_destination));
        }
        catalog_queue_drop(catalog, queue);
    }
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        struct lp_catalog_exchange *exchange =
            LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost);
        LP_CHAIN_EACH(b, &exchange->sources)
        {
            catalog_binding_drop(catalog, LP_CONTAINER_OF(b, struct lp_catalog_binding, in_source));
        }
    }
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        catalog_exchange_drop(catalog, LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost));
    }
    vhost_settings_drop(catalog, vhost);
    catalog_vhost_drop(catalog, vhost);
    return LP_OK;
}

/* ---- users and permissions ---- */

void
lp_catalog_user_put(struct lp_catalog *catalog, const struct lp_catalog_user *like)
{
    LP_ASSERT(like->name.size > 0 && like->name.size <= UINT8_MAX);
    struct lp_catalog_user *old = lp_catalog_user(catalog, like->name);
    struct lp_catalog_user *user = catalog_user_insert(catalog, like);
    if (old) {
        LP_CHAIN_EACH(p, &old->permissions)
        {
            LP_CONTAINER_OF(p, struct lp_catalog_permission, in_user)->user = user;
        }
        LP_CHAIN_EACH(t, &old->topic_permissions)
        {
            LP_CONTAINER_OF(t, struct lp_catalog_topic_permission, in_user)->user = user;
        }
        lp_chain_splice(&user->permissions, &old->permissions);
        lp_chain_splice(&user->topic_permissions, &old->topic_permissions);
        catalog_user_remove(catalog, old); /* `like` may have pointed into it */
    }
    catalog_user_put(catalog, user);
}

enum lp_err
lp_catalog_user_delete(struct lp_catalog *catalog, struct lp_bytes name)
{
    struct lp_catalog_user *user = lp_catalog_user(catalog, name);
    if (!user) {
        return LP_ERR_NOT_FOUND;
    }
    LP_CHAIN_EACH(p, &user->permissions)
    {
        catalog_permission_drop(catalog, LP_CONTAINER_OF(p, struct lp_catalog_permission, in_user));
    }
    LP_CHAIN_EACH(t, &user->topic_permissions)
    {
        catalog_topic_permission_drop(
            catalog, LP_CONTAINER_OF(t, struct lp_catalog_topic_permission, in_user));
    }
    catalog_user_drop(catalog, user);
    return LP_OK;
}

void
lp_catalog_permission_put(struct lp_catalog *catalog, struct lp_catalog_user *user,
                          const struct lp_catalog_vhost *vhost,
                          const struct lp_bytes pattern[LP_CATALOG_RIGHTS])
{
    struct lp_catalog_permission *old = lp_catalog_permission(user, vhost->id);
    struct lp_catalog_permission *permission = catalog_permission_insert(user, vhost->id, pattern);
    if (old) {
        catalog_permission_remove(old);
    }
    catalog_permission_put(catalog, permission);
}

void
lp_catalog_permission_delete(struct lp_catalog *catalog, struct lp_catalog_user *user,
                             const struct lp_catalog_vhost *vhost)
{
    struct lp_catalog_permission *permission = lp_catalog_permission(user, vhost->id);
    if (permission) {
        catalog_permission_drop(catalog, permission);
    }
}

/* ---- texts ---- */

const char *
lp_exchange_kind_name(uint8_t kind)
{
    static const char *const names[] = {
        "direct", "fanout", "topic", "headers", "x-delayed-message", "x-local-random"};
    LP_STATIC_ASSERT(LP_COUNT_OF(names) == LP_EXCHANGE_KINDS, "each has a name");
    return kind < LP_COUNT_OF(names) ? names[kind] : "unknown";
}

struct lp_resource_text
lp_resource_text(uint8_t resource, struct lp_bytes name, const struct lp_catalog_vhost *vhost)
{
    struct lp_resource_text text;
    /* Both names are at most 255 bytes: it fits. */
    (void)snprintf(text.text, sizeof(text.text), "%s '%.*s' in vhost '%.*s'",
                   resource == LP_RESOURCE_QUEUE ? "queue" : "exchange", (int)name.size,
                   (const char *)name.data, (int)vhost->name.size, (const char *)vhost->name.data);
    return text;
}

bool
lp_fault_set(struct lp_fault *fault, uint16_t code, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    LP_ASSERT(length >= 0);
    const size_t bytes = LP_MIN((size_t)length, sizeof(fault->text));
    fault->code = code;
    fault->text_bytes = (uint16_t)bytes;
    memcpy(fault->text, text, bytes);
    return false;
}

/* ---- check ---- */

static void
exchange_check(const struct lp_catalog *catalog, const struct lp_catalog_exchange *exchange)
{
    LP_ASSERT(lp_catalog_exchange(catalog, exchange->vhost, exchange->name) == exchange);
    LP_ASSERT(catalog_exchange_by_id(catalog, exchange->id) == exchange);
    LP_ASSERT(exchange->id < catalog->next_id || (exchange->id & LP_ID_TRANSIENT) != 0);
    LP_CHAIN_EACH(b, &exchange->sources)
    {
        const struct lp_catalog_binding *binding =
            LP_CONTAINER_OF(b, struct lp_catalog_binding, in_source);
        LP_ASSERT(binding->source == exchange);
        LP_ASSERT(catalog_binding_find(catalog, binding) == binding);
        LP_ASSERT(binding->id < catalog->next_binding_id);
    }
}

void
lp_catalog_check(const struct lp_catalog *catalog)
{
    size_t exchanges = 0;
    size_t queues = 0;
    size_t before = 0;
    LP_CHAIN_EACH(v, &catalog->vhosts)
    {
        const struct lp_catalog_vhost *vhost =
            LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        LP_ASSERT(lp_catalog_vhost(catalog, vhost->name) == vhost);
        LP_ASSERT(lp_catalog_vhost_by_id(catalog, vhost->id) == vhost);
        LP_CHAIN_EACH(x, &vhost->exchanges)
        {
            exchange_check(catalog, LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost));
            exchanges++;
        }
        LP_CHAIN_EACH(q, &vhost->queues)
        {
            const struct lp_catalog_queue *queue =
                LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost);
            LP_ASSERT(lp_catalog_queue(catalog, vhost, queue->name) == queue);
            LP_ASSERT(lp_catalog_queue_by_id(catalog, queue->id) == queue);
            LP_ASSERT(queue->id < catalog->next_id || (queue->id & LP_ID_TRANSIENT) != 0);
            LP_ASSERT(queue->home_shard < catalog->shard_count);
            LP_ASSERT((queue->owner != 0) == ((queue->flags & LP_OBJECT_EXCLUSIVE) != 0));
            queues++;
        }
        LP_ASSERT(queues - before == vhost->queue_count);
        before = queues;
        policy_check(vhost);
    }
    LP_ASSERT(exchanges == catalog->exchanges_by_id.count);
    LP_ASSERT(queues == catalog->queues_by_id.count);
    LP_ASSERT(catalog->binding_count == catalog->bindings_by_parts.count);
}
