/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - the catalog's objects as keys and values of the store.
 *
 * A key is a table's octet and then a number in network order (so that they
 * sort by age) or a name.  A value is a version octet and fields in Lepus's
 * own order; fields may be added at the end.
 */
#include <stdio.h>

#include "control/topology/policy.h"

#define RECORD_VERSION 1

struct lp_bytes
catalog_key_number(struct lp_writer *w, enum catalog_table table, uint64_t id)
{
    lp_writer_u8(w, (uint8_t)table);
    lp_writer_u64be(w, id);
    return lp_writer_bytes(w);
}

struct lp_bytes
catalog_key_name(struct lp_writer *w, enum catalog_table table, struct lp_bytes name)
{
    lp_writer_u8(w, (uint8_t)table);
    lp_writer_copy(w, name.data, name.size);
    return lp_writer_bytes(w);
}

struct lp_bytes
catalog_key_permission(struct lp_writer *w, const struct lp_catalog_permission *permission)
{
    lp_writer_u8(w, CATALOG_PERMISSION);
    lp_writer_u32be(w, permission->vhost_id);
    lp_writer_copy(w, permission->user->name.data, permission->user->name.size);
    return lp_writer_bytes(w);
}

struct lp_bytes
catalog_key_topic_permission(struct lp_writer *w,
                             const struct lp_catalog_topic_permission *permission)
{
    lp_writer_u8(w, CATALOG_TOPIC_PERMISSION);
    lp_writer_u32be(w, permission->vhost_id);
    lp_writer_short(w, permission->exchange);
    lp_writer_copy(w, permission->user->name.data, permission->user->name.size);
    return lp_writer_bytes(w);
}

static struct lp_bytes
key_setting(struct lp_writer *w, enum catalog_setting_kind kind, uint32_t vhost_id,
            struct lp_bytes component, struct lp_bytes name)
{
    lp_writer_u8(w, CATALOG_SETTING);
    lp_writer_u8(w, (uint8_t)kind);
    lp_writer_u32be(w, vhost_id);
    lp_writer_short(w, component);
    lp_writer_short(w, name);
    return lp_writer_bytes(w);
}

struct lp_bytes
catalog_key_parameter(struct lp_writer *w, const struct lp_catalog_parameter *parameter)
{
    return key_setting(w, CATALOG_PARAMETER, parameter->vhost_id, parameter->component,
                       parameter->name);
}

struct lp_bytes
catalog_key_policy(struct lp_writer *w, const struct lp_catalog_policy *policy)
{
    return key_setting(w, policy->operator_policy ? CATALOG_OPERATOR_POLICY : CATALOG_POLICY,
                       policy->vhost->id, lp_bytes_of(NULL, 0), policy->name);
}

void
catalog_vhost_write(struct lp_writer *w, const struct lp_catalog_vhost *vhost)
{
    lp_writer_u8(w, RECORD_VERSION);
    lp_writer_short(w, vhost->name);
    lp_writer_u8(w, vhost->has_default_kind);
    lp_writer_u8(w, vhost->default_kind);
    lp_writer_long_le(w, vhost->description);
    lp_writer_long_le(w, vhost->tags);
}

void
catalog_exchange_write(struct lp_writer *w, const struct lp_catalog_exchange *exchange)
{
    lp_writer_u8(w, RECORD_VERSION);
    lp_writer_u32le(w, exchange->vhost->id);
    lp_writer_u8(w, exchange->kind);
    lp_writer_u8(w, exchange->flags);
    lp_writer_short(w, exchange->name);
    lp_writer_long_le(w, exchange->arguments);
}

void
catalog_queue_write(struct lp_writer *w, const struct lp_catalog_queue *queue, uint32_t shard_count)
{
    lp_writer_u8(w, RECORD_VERSION);
    lp_writer_u32le(w, queue->vhost->id);
    lp_writer_u16le(w, queue->home_shard);
    lp_writer_u16le(w, (uint16_t)shard_count);
    lp_writer_u8(w, queue->flags);
    lp_writer_u64le(w, queue->owner);
    lp_writer_short(w, queue->name);
    lp_writer_long_le(w, queue->arguments);
}

void
catalog_binding_write(struct lp_writer *w, const struct lp_catalog_binding *binding)
{
    lp_writer_u8(w, RECORD_VERSION);
    lp_writer_u32le(w, binding->source->id);
    lp_writer_u8(w, binding->to_queue ? LP_RESOURCE_QUEUE : LP_RESOURCE_EXCHANGE);
    lp_writer_u32le(w, binding->to_queue ? binding->to_queue->id : binding->to_exchange->id);
    lp_writer_u8(w, binding->durable);
    lp_writer_short(w, binding->key);
    lp_writer_long_le(w, binding->arguments);
}

void
catalog_user_write(struct lp_writer *w, const struct lp_catalog_user *user)
{
    lp_writer_u8(w, RECORD_VERSION);
    lp_writer_long_le(w, user->hash);
    lp_writer_long_le(w, user->tags);
    lp_writer_u8(w, user->algorithm);
    lp_writer_u8(w, user->has_connections_max);
    lp_writer_u64le(w, (uint64_t)user->connections_max);
    lp_writer_u8(w, user->has_channels_max);
    lp_writer_u64le(w, (uint64_t)user->channels_max);
}

void
catalog_permission_write(struct lp_writer *w, const struct lp_catalog_permission *permission)
{
    lp_writer_u8(w, RECORD_VERSION);
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        lp_writer_long_le(w, permission->pattern[i]);
    }
}

void
catalog_topic_permission_write(struct lp_writer *w,
                               const struct lp_catalog_topic_permission *permission)
{
    lp_writer_u8(w, RECORD_VERSION);
    for (size_t i = 0; i < LP_CATALOG_TOPIC_RIGHTS; i++) {
        lp_writer_long_le(w, permission->pattern[i]);
    }
}

void
catalog_policy_write(struct lp_writer *w, const struct lp_catalog_policy *policy)
{
    lp_writer_u8(w, RECORD_VERSION);
    lp_writer_u8(w, policy->target);
    lp_writer_u64le(w, (uint64_t)policy->priority);
    lp_writer_long_le(w, policy->pattern);
    lp_writer_long_le(w, policy->definition);
}

/* ---- reading ---- */

static bool
load_meta(struct lp_catalog *catalog, struct lp_bytes name, struct lp_reader *r)
{
    if (lp_bytes_start_with(name, "next-")) {
        const uint32_t id = lp_reader_u32le(r);
        const uint64_t binding_id = lp_reader_u64le(r);
        if (id & LP_ID_TRANSIENT) {
            catalog->next_transient_id = id;
        } else {
            catalog->next_id = LP_MAX(catalog->next_id, id);
        }
        catalog->next_binding_id = LP_MAX(catalog->next_binding_id, binding_id);
    } else if (lp_bytes_equal_text(name, "epoch")) {
        catalog->permission_epoch = lp_reader_u32le(r);
    } else if (lp_bytes_equal_text(name, "data-id")) {
        const struct lp_bytes id = lp_reader_short(r);
        (void)snprintf(catalog->data_id, sizeof(catalog->data_id), "%.*s", (int)id.size,
                       (const char *)id.data); /* fits */
    }
    return !r->failed;
}

static bool
load_permission(struct lp_catalog *catalog, struct lp_bytes key, struct lp_reader *r)
{
    struct lp_reader k = lp_reader_of_bytes(key);
    const uint32_t vhost_id = lp_reader_u32be(&k);
    const struct lp_bytes name = lp_reader_bytes(&k, (uint32_t)lp_reader_left(&k));
    struct lp_bytes pattern[LP_CATALOG_RIGHTS];
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        pattern[i] = lp_reader_long_le(r);
    }
    struct lp_catalog_user *user = lp_catalog_user(catalog, name);
    if (k.failed || r->failed || !user || !lp_catalog_vhost_by_id(catalog, vhost_id)) {
        return false;
    }
    (void)catalog_permission_insert(user, vhost_id, pattern); /* found through the user */
    return true;
}

static bool
load_exchange(struct lp_catalog *catalog, uint32_t id, struct lp_reader *r)
{
    struct lp_catalog_exchange like = {.id = id};
    like.vhost = lp_catalog_vhost_by_id(catalog, lp_reader_u32le(r));
    like.kind = lp_reader_u8(r);
    like.flags = lp_reader_u8(r);
    like.name = lp_reader_short(r);
    like.arguments = lp_reader_long_le(r);
    if (r->failed || !like.vhost || like.kind >= LP_EXCHANGE_KINDS) {
        return false;
    }
    (void)catalog_exchange_insert(catalog, &like); /* found through the maps */
    return true;
}

static bool
load_queue(struct lp_catalog *catalog, uint32_t id, struct lp_reader *r)
{
    struct lp_catalog_queue like = {.id = id};
    LP_ASSERT(catalog->shard_count > 0);
    like.vhost = lp_catalog_vhost_by_id(catalog, lp_reader_u32le(r));
    like.home_shard = lp_reader_u16le(r);
    (void)lp_reader_u16le(r); /* how many shards there were when it was declared */
    catalog->homes = LP_MAX(catalog->homes, like.home_shard + 1u);
    like.flags = lp_reader_u8(r);
    like.owner = lp_reader_u64le(r);
    like.name = lp_reader_short(r);
    like.arguments = lp_reader_long_le(r);
    if (r->failed || !like.vhost) {
        return false;
    }
    (void)catalog_queue_insert(catalog, &like); /* found through the maps */
    return true;
}

static bool
load_binding(struct lp_catalog *catalog, uint64_t id, struct lp_reader *r)
{
    struct lp_catalog_binding like = {.id = id};
    like.source = catalog_exchange_by_id(catalog, lp_reader_u32le(r));
    const uint8_t resource = lp_reader_u8(r);
    const uint32_t destination = lp_reader_u32le(r);
    if (resource == LP_RESOURCE_QUEUE) {
        like.to_queue = lp_catalog_queue_by_id(catalog, destination);
    } else {
        like.to_exchange = catalog_exchange_by_id(catalog, destination);
    }
    like.durable = lp_reader_u8(r) != 0;
    like.key = lp_reader_short(r);
    like.arguments = lp_reader_long_le(r);
    if (r->failed || !like.source || (!like.to_queue && !like.to_exchange)) {
        return false;
    }
    (void)catalog_binding_insert(catalog, &like); /* found through the maps */
    return true;
}

static bool
load_user(struct lp_catalog *catalog, struct lp_bytes name, struct lp_reader *r)
{
    struct lp_catalog_user like = {.name = name};
    like.hash = lp_reader_long_le(r);
    like.tags = lp_reader_long_le(r);
    if (lp_reader_left(r) > 0) { /* older ones end here */
        like.algorithm = lp_reader_u8(r);
        like.has_connections_max = lp_reader_u8(r) != 0;
        like.connections_max = (int64_t)lp_reader_u64le(r);
        like.has_channels_max = lp_reader_u8(r) != 0;
        like.channels_max = (int64_t)lp_reader_u64le(r);
    }
    if (r->failed || like.algorithm > LP_PASSWORD_MD5) {
        return false;
    }
    (void)catalog_user_insert(catalog, &like); /* found through the map */
    return true;
}

static bool
load_topic_permission(struct lp_catalog *catalog, struct lp_bytes key, struct lp_reader *r)
{
    struct lp_reader k = lp_reader_of_bytes(key);
    struct lp_catalog_topic_permission like = {.vhost_id = lp_reader_u32be(&k)};
    like.exchange = lp_reader_short(&k);
    like.user = lp_catalog_user(catalog, lp_reader_bytes(&k, (uint32_t)lp_reader_left(&k)));
    for (size_t i = 0; i < LP_CATALOG_TOPIC_RIGHTS; i++) {
        like.pattern[i] = lp_reader_long_le(r);
    }
    if (k.failed || r->failed || !like.user || !lp_catalog_vhost_by_id(catalog, like.vhost_id)) {
        return false;
    }
    (void)catalog_topic_permission_insert(&like); /* found through the user */
    return true;
}

static bool
load_policy(struct lp_catalog_vhost *vhost, struct lp_bytes name, bool operator_policy,
            struct lp_reader *r)
{
    struct lp_catalog_policy like = {
        .vhost = vhost, .operator_policy = operator_policy, .name = name};
    like.target = lp_reader_u8(r);
    like.priority = (int64_t)lp_reader_u64le(r);
    like.pattern = lp_reader_long_le(r);
    like.definition = lp_reader_long_le(r);
    return !r->failed && vhost && like.target <= LP_POLICY_STREAMS && policy_insert(&like);
}

static bool
load_setting(struct lp_catalog *catalog, struct lp_bytes key, struct lp_reader *r)
{
    struct lp_reader k = lp_reader_of_bytes(key);
    const uint8_t kind = lp_reader_u8(&k);
    struct lp_catalog_parameter like = {.vhost_id = lp_reader_u32be(&k)};
    struct lp_catalog_vhost *vhost = lp_catalog_vhost_by_id(catalog, like.vhost_id);
    like.component = lp_reader_short(&k);
    like.name = lp_reader_short(&k);
    if (k.failed || kind > CATALOG_OPERATOR_POLICY) {
        return false;
    }
    if (kind != CATALOG_PARAMETER) {
        return load_policy(vhost, like.name, kind == CATALOG_OPERATOR_POLICY, r);
    }
    like.value = lp_reader_long_le(r);
    if (r->failed || (like.vhost_id != 0 && !vhost)) {
        return false;
    }
    (void)catalog_parameter_insert(catalog, &like); /* found through the chain */
    if (vhost) {
        catalog_vhost_limits_read(catalog, vhost);
    }
    return true;
}

static bool
load_vhost(struct lp_catalog *catalog, uint32_t id, struct lp_reader *r)
{
    struct lp_catalog_vhost *vhost = catalog_vhost_insert(catalog, id, lp_reader_short(r));
    if (lp_reader_left(r) > 0) { /* older ones end here */
        vhost->has_default_kind = lp_reader_u8(r) != 0;
        vhost->default_kind = lp_reader_u8(r);
        const struct lp_bytes description = lp_reader_long_le(r);
        catalog_vhost_texts_set(vhost, description, lp_reader_long_le(r));
    }
    return !r->failed && vhost->default_kind <= LP_QUEUE_STREAM;
}

static bool
load_tracing(struct lp_catalog *catalog, uint64_t id)
{
    struct lp_catalog_vhost *vhost =
        id <= UINT32_MAX ? lp_catalog_vhost_by_id(catalog, (uint32_t)id) : NULL;
    if (vhost) {
        vhost->tracing = true;
    }
    return vhost != NULL;
}

static bool
load_named(struct lp_catalog *catalog, uint8_t table, struct lp_bytes rest, struct lp_reader *r)
{
    switch (table) {
    case CATALOG_META:
        return load_meta(catalog, rest, r);
    case CATALOG_USER:
        return load_user(catalog, rest, r);
    case CATALOG_PERMISSION:
        return load_permission(catalog, rest, r);
    case CATALOG_TOPIC_PERMISSION:
        return load_topic_permission(catalog, rest, r);
    case CATALOG_SETTING:
        return load_setting(catalog, rest, r);
    default:
        return false;
    }
}

static bool
load_numbered(struct lp_catalog *catalog, uint8_t table, uint64_t id, struct lp_reader *r)
{
    if (table == CATALOG_TRACING) {
        return load_tracing(catalog, id);
    }
    if (table == CATALOG_BINDING) {
        catalog->next_binding_id = LP_MAX(catalog->next_binding_id, id + 1);
        return load_binding(catalog, id, r);
    }
    if (id == 0 || id >= 2u * LP_ID_TRANSIENT) {
        return false;
    }
    if (id < LP_ID_TRANSIENT) {
        catalog->next_id = LP_MAX(catalog->next_id, (uint32_t)id + 1);
    }
    if (table == CATALOG_VHOST) {
        return load_vhost(catalog, (uint32_t)id, r);
    }
    return table == CATALOG_EXCHANGE ? load_exchange(catalog, (uint32_t)id, r)
                                     : load_queue(catalog, (uint32_t)id, r);
}

bool
catalog_record_load(struct lp_catalog *catalog, struct lp_bytes key, struct lp_bytes value)
{
    struct lp_reader k = lp_reader_of_bytes(key);
    struct lp_reader r = lp_reader_of_bytes(value);
    const uint8_t table = lp_reader_u8(&k);
    if (k.failed || lp_reader_u8(&r) != RECORD_VERSION) {
        return false;
    }
    if (table == CATALOG_VHOST || table == CATALOG_EXCHANGE || table == CATALOG_QUEUE ||
        table == CATALOG_BINDING || table == CATALOG_TRACING) {
        const uint64_t id = lp_reader_u64be(&k);
        return !k.failed && load_numbered(catalog, table, id, &r);
    }
    return load_named(catalog, table, lp_reader_bytes(&k, (uint32_t)lp_reader_left(&k)), &r);
}
