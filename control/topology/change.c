/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.c - what a turn changes, collected for the store and for the shards.
 *
 * Operations: flags u8 (1 remove, 2 durable), key bytes u32, value bytes u32,
 * key, value.  Deltas: type u16, payload bytes u32, payload.
 */
#include <stdio.h>
#include <stdlib.h>

#include "control/topology/policy.h"

#define KEY_BYTES 1024
/* For virtual hosts, which only administrators add. */
#define IDS_SPARE 1024u

enum {
    OP_REMOVE = 1,
    OP_DURABLE = 2,
};

static void
op_append(struct lp_catalog *catalog, struct lp_bytes key, struct lp_bytes value, uint8_t flags)
{
    lp_bytebuf_append(&catalog->ops, &flags, 1);
    lp_bytebuf_append(&catalog->ops, &key.size, 4);
    lp_bytebuf_append(&catalog->ops, &value.size, 4);
    lp_bytebuf_append(&catalog->ops, key.data, key.size);
    lp_bytebuf_append(&catalog->ops, value.data, value.size);
    catalog->op_count++;
}

static void
op_put(struct lp_catalog *catalog, struct lp_bytes key, const struct lp_writer *value, bool durable)
{
    LP_ASSERT(!value->failed);
    op_append(catalog, key, lp_writer_bytes(value), durable ? OP_DURABLE : 0);
}

static void
op_remove(struct lp_catalog *catalog, struct lp_bytes key, bool durable)
{
    op_append(catalog, key, lp_bytes_of(NULL, 0),
              (uint8_t)(OP_REMOVE | (durable ? OP_DURABLE : 0)));
}

void
lp_catalog_delta_append(struct lp_bytebuf *deltas, uint16_t type, struct lp_bytes payload)
{
    LP_ASSERT(payload.size <= LP_CONTROL_PAYLOAD_MAX_BYTES);
    lp_bytebuf_append(deltas, &type, 2);
    lp_bytebuf_append(deltas, &payload.size, 4);
    lp_bytebuf_append(deltas, payload.data, payload.size);
}

bool
lp_catalog_delta_next(const struct lp_bytebuf *deltas, size_t *at, uint16_t *ret_type,
                      struct lp_bytes *ret_payload)
{
    if (*at >= deltas->size) {
        return false;
    }
    struct lp_reader r = lp_reader_of(deltas->data + *at, deltas->size - *at);
    *ret_type = lp_reader_u16le(&r);
    *ret_payload = lp_reader_long_le(&r);
    LP_ASSERT(!r.failed);
    *at = deltas->size - lp_reader_left(&r);
    return true;
}

/* Not inlined: gcc 12 loses track of the writer's bounds and warns of writes past them. */
static __attribute__((noinline)) struct lp_writer
scratch(struct lp_catalog *catalog)
{
    return lp_writer_of(catalog->scratch, LP_CATALOG_SCRATCH_BYTES);
}

static void
delta(struct lp_bytebuf *deltas, uint16_t type, const struct lp_writer *w)
{
    LP_ASSERT(!w->failed);
    lp_catalog_delta_append(deltas, type, lp_writer_bytes(w));
}

static void
delta_number(struct lp_catalog *catalog, uint16_t type, uint64_t id)
{
    struct lp_writer w = scratch(catalog);
    if (type == LP_CONTROL_BIND_DOWN) {
        lp_writer_u64le(&w, id);
    } else {
        lp_writer_u32le(&w, (uint32_t)id);
    }
    delta(&catalog->deltas, type, &w);
}

static void
vhost_up(struct lp_catalog *catalog, struct lp_bytebuf *deltas,
         const struct lp_catalog_vhost *vhost)
{
    struct lp_writer w = scratch(catalog);
    lp_writer_u32le(&w, vhost->id);
    lp_writer_short(&w, vhost->name);
    lp_writer_u8(&w, vhost->tracing);
    delta(deltas, LP_CONTROL_VHOST_UP, &w);
}

static void
exchange_up(struct lp_catalog *catalog, struct lp_bytebuf *deltas,
            const struct lp_catalog_exchange *exchange)
{
    struct lp_writer w = scratch(catalog);
    lp_writer_u32le(&w, exchange->id);
    lp_writer_u32le(&w, exchange->vhost->id);
    lp_writer_short(&w, exchange->name);
    lp_writer_u8(&w, exchange->kind);
    lp_writer_u8(&w, exchange->flags);
    lp_writer_short(&w, lp_catalog_exchange_alternate(exchange));
    lp_writer_long_le(&w, exchange->arguments);
    delta(deltas, LP_CONTROL_EXCHANGE_UP, &w);
}

static void
queue_up(struct lp_catalog *catalog, struct lp_bytebuf *deltas,
         const struct lp_catalog_queue *queue)
{
    struct lp_writer w = scratch(catalog);
    lp_writer_u32le(&w, queue->id);
    lp_writer_u32le(&w, queue->vhost->id);
    lp_writer_short(&w, queue->name);
    lp_writer_u16le(&w, queue->home_shard);
    lp_writer_u8(&w, queue->flags);
    lp_writer_u64le(&w, queue->owner);
    lp_writer_long_le(&w, queue->arguments);
    uint8_t room[LP_QUEUE_SETTINGS_BYTES_MAX];
    struct lp_writer settings = lp_writer_of(room, sizeof(room));
    const struct lp_queue_settings merged = lp_catalog_queue_settings(catalog, queue);
    lp_queue_settings_write(&settings, &merged);
    lp_writer_long_le(&w, lp_writer_bytes(&settings));
    delta(deltas, LP_CONTROL_QUEUE_UP, &w);
}

static void
bind_up(struct lp_catalog *catalog, struct lp_bytebuf *deltas,
        const struct lp_catalog_binding *binding)
{
    struct lp_writer w = scratch(catalog);
    lp_writer_u64le(&w, binding->id);
    lp_writer_u32le(&w, binding->source->id);
    lp_writer_u8(&w, binding->to_queue ? LP_RESOURCE_QUEUE : LP_RESOURCE_EXCHANGE);
    lp_writer_u32le(&w, binding->to_queue ? binding->to_queue->id : binding->to_exchange->id);
    lp_writer_short(&w, binding->key);
    lp_writer_long_le(&w, binding->arguments);
    delta(deltas, LP_CONTROL_BIND_UP, &w);
}

/* ---- what appears ---- */

bool
catalog_ids_left(const struct lp_catalog *catalog, bool durable, struct lp_fault *ret_fault)
{
    return !durable || catalog->next_id < LP_ID_TRANSIENT - IDS_SPARE ||
           lp_fault_set(ret_fault, LP_FAULT_RESOURCE_ERROR,
                        "no identifiers are left for durable objects: begin with another data "
                        "directory");
}

/* Begins anew at its end: only those that are in use must not be given again. */
static uint32_t
transient_id_take(struct lp_catalog *catalog)
{
    uint32_t id;
    do {
        id = catalog->next_transient_id;
        catalog->next_transient_id = LP_ID_TRANSIENT | ((id + 1) & (LP_ID_TRANSIENT - 1));
    } while (lp_catalog_queue_by_id(catalog, id) || catalog_exchange_by_id(catalog, id));
    return id;
}

uint32_t
catalog_take_id(struct lp_catalog *catalog, bool durable)
{
    /* Kept beside the object, so that a transient object costs no sync. */
    catalog->durable_id_taken = catalog->durable_id_taken || durable;
    catalog->transient_id_taken = catalog->transient_id_taken || !durable;
    if (!durable) {
        return transient_id_take(catalog);
    }
    LP_ASSERT(catalog->next_id < LP_ID_TRANSIENT);
    return catalog->next_id++;
}

uint64_t
catalog_take_binding_id(struct lp_catalog *catalog, bool durable)
{
    catalog->durable_id_taken = catalog->durable_id_taken || durable;
    catalog->transient_id_taken = catalog->transient_id_taken || !durable;
    return catalog->next_binding_id++;
}

void
catalog_vhost_put(struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_vhost_write(&w, vhost);
    op_put(catalog, catalog_key_number(&k, CATALOG_VHOST, vhost->id), &w, true);
    vhost_up(catalog, &catalog->deltas, vhost);
}

void
catalog_exchange_put(struct lp_catalog *catalog, const struct lp_catalog_exchange *exchange)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_exchange_write(&w, exchange);
    op_put(catalog, catalog_key_number(&k, CATALOG_EXCHANGE, exchange->id), &w,
           (exchange->flags & LP_OBJECT_DURABLE) != 0);
    exchange_up(catalog, &catalog->deltas, exchange);
}

void
catalog_queue_put(struct lp_catalog *catalog, const struct lp_catalog_queue *queue)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_queue_write(&w, queue, catalog->shard_count);
    op_put(catalog, catalog_key_number(&k, CATALOG_QUEUE, queue->id), &w,
           (queue->flags & LP_OBJECT_DURABLE) != 0);
    queue_up(catalog, &catalog->deltas, queue);
}

void
catalog_binding_put(struct lp_catalog *catalog, const struct lp_catalog_binding *binding)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_binding_write(&w, binding);
    op_put(catalog, catalog_key_number(&k, CATALOG_BINDING, binding->id), &w, binding->durable);
    bind_up(catalog, &catalog->deltas, binding);
}

void
catalog_user_put(struct lp_catalog *catalog, const struct lp_catalog_user *user)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_user_write(&w, user);
    op_put(catalog, catalog_key_name(&k, CATALOG_USER, user->name), &w, true);
    catalog->permissions_changed = true;
}

void
catalog_permission_put(struct lp_catalog *catalog, const struct lp_catalog_permission *permission)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_permission_write(&w, permission);
    op_put(catalog, catalog_key_permission(&k, permission), &w, true);
    catalog->permissions_changed = true;
}

void
catalog_topic_permission_put(struct lp_catalog *catalog,
                             const struct lp_catalog_topic_permission *permission)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_topic_permission_write(&w, permission);
    op_put(catalog, catalog_key_topic_permission(&k, permission), &w, true);
    catalog->permissions_changed = true;
}

void
catalog_parameter_put(struct lp_catalog *catalog, const struct lp_catalog_parameter *parameter)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    lp_writer_u8(&w, 1);
    lp_writer_long_le(&w, parameter->value);
    op_put(catalog, catalog_key_parameter(&k, parameter), &w, true);
}

void
catalog_policy_put(struct lp_catalog *catalog, const struct lp_catalog_policy *policy)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog_policy_write(&w, policy);
    op_put(catalog, catalog_key_policy(&k, policy), &w, true);
}

/* Ends with the broker, as RabbitMQ's does. */
void
catalog_tracing_put(struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    const struct lp_bytes key = catalog_key_number(&k, CATALOG_TRACING, vhost->id);
    if (vhost->tracing) {
        struct lp_writer w = scratch(catalog);
        lp_writer_u8(&w, 1);
        op_put(catalog, key, &w, false);
    } else {
        op_remove(catalog, key, false);
    }
    vhost_up(catalog, &catalog->deltas, vhost);
}

void
catalog_queue_announce(struct lp_catalog *catalog, const struct lp_catalog_queue *queue)
{
    queue_up(catalog, &catalog->deltas, queue);
}

void
catalog_exchange_announce(struct lp_catalog *catalog, const struct lp_catalog_exchange *exchange)
{
    exchange_up(catalog, &catalog->deltas, exchange);
}

/* ---- what goes ---- */

void
catalog_vhost_drop(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_number(&k, CATALOG_VHOST, vhost->id), true);
    if (vhost->tracing) {
        struct lp_writer t = lp_writer_of(room, sizeof(room));
        op_remove(catalog, catalog_key_number(&t, CATALOG_TRACING, vhost->id), false);
    }
    delta_number(catalog, LP_CONTROL_VHOST_DOWN, vhost->id);
    catalog_vhost_remove(catalog, vhost);
}

void
catalog_exchange_drop(struct lp_catalog *catalog, struct lp_catalog_exchange *exchange)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_number(&k, CATALOG_EXCHANGE, exchange->id),
              (exchange->flags & LP_OBJECT_DURABLE) != 0);
    delta_number(catalog, LP_CONTROL_EXCHANGE_DOWN, exchange->id);
    catalog_exchange_remove(catalog, exchange);
}

void
catalog_queue_drop(struct lp_catalog *catalog, struct lp_catalog_queue *queue)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_number(&k, CATALOG_QUEUE, queue->id),
              (queue->flags & LP_OBJECT_DURABLE) != 0);
    delta_number(catalog, LP_CONTROL_QUEUE_DOWN, queue->id);
    catalog_queue_remove(catalog, queue);
}

void
catalog_binding_drop(struct lp_catalog *catalog, struct lp_catalog_binding *binding)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_number(&k, CATALOG_BINDING, binding->id), binding->durable);
    delta_number(catalog, LP_CONTROL_BIND_DOWN, binding->id);
    catalog_binding_remove(catalog, binding);
}

void
catalog_user_drop(struct lp_catalog *catalog, struct lp_catalog_user *user)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_name(&k, CATALOG_USER, user->name), true);
    catalog->permissions_changed = true;
    catalog_user_remove(catalog, user);
}

void
catalog_permission_drop(struct lp_catalog *catalog, struct lp_catalog_permission *permission)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_permission(&k, permission), true);
    catalog->permissions_changed = true;
    catalog_permission_remove(permission);
}

void
catalog_topic_permission_drop(struct lp_catalog *catalog,
                              struct lp_catalog_topic_permission *permission)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_topic_permission(&k, permission), true);
    catalog->permissions_changed = true;
    catalog_topic_permission_remove(permission);
}

void
catalog_parameter_drop(struct lp_catalog *catalog, struct lp_catalog_parameter *parameter)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_parameter(&k, parameter), true);
    catalog_parameter_remove(parameter);
}

void
catalog_policy_drop(struct lp_catalog *catalog, struct lp_catalog_policy *policy)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    op_remove(catalog, catalog_key_policy(&k, policy), true);
    policy_remove(policy);
}

/* ---- commit ---- */

bool
lp_catalog_changed(const struct lp_catalog *catalog)
{
    return catalog->op_count > 0;
}

static void
next_id_put(struct lp_catalog *catalog, const char *name, bool durable)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    lp_writer_u8(&w, 1);
    lp_writer_u32le(&w, durable ? catalog->next_id : catalog->next_transient_id);
    lp_writer_u64le(&w, catalog->next_binding_id);
    op_put(catalog, catalog_key_name(&k, CATALOG_META, lp_bytes_of_text(name)), &w, durable);
}

void
lp_catalog_data_id_put(struct lp_catalog *catalog, const char *id)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    (void)snprintf(catalog->data_id, sizeof(catalog->data_id), "%s", id);
    lp_writer_u8(&w, 1);
    lp_writer_short(&w, lp_bytes_of_text(catalog->data_id));
    op_put(catalog, catalog_key_name(&k, CATALOG_META, lp_bytes_of_text("data-id")), &w, true);
}

/* Rights that changed are announced after the change and before the revision. */
static void
epoch_put(struct lp_catalog *catalog)
{
    uint8_t room[KEY_BYTES];
    struct lp_writer k = lp_writer_of(room, sizeof(room));
    struct lp_writer w = scratch(catalog);
    catalog->permission_epoch++;
    lp_writer_u8(&w, 1);
    lp_writer_u32le(&w, catalog->permission_epoch);
    op_put(catalog, catalog_key_name(&k, CATALOG_META, lp_bytes_of_text("epoch")), &w, true);
    delta_number(catalog, LP_CONTROL_PERMISSION_EPOCH, catalog->permission_epoch);
}

enum lp_err
lp_catalog_commit(struct lp_catalog *catalog, const struct lp_store *store)
{
    if (catalog->durable_id_taken) {
        next_id_put(catalog, "next-durable", true);
    }
    if (catalog->transient_id_taken) {
        next_id_put(catalog, "next-transient", false);
    }
    if (catalog->permissions_changed) {
        epoch_put(catalog);
    }
    LP_ASSERT(catalog->op_count > 0);
    struct lp_store_op *ops = lp_heap_alloc(catalog->op_count * sizeof(*ops));
    struct lp_reader r = lp_reader_of(catalog->ops.data, catalog->ops.size);
    for (size_t i = 0; i < catalog->op_count; i++) {
        const uint8_t flags = lp_reader_u8(&r);
        const uint32_t key_bytes = lp_reader_u32le(&r);
        const uint32_t value_bytes = lp_reader_u32le(&r);
        ops[i].remove = (flags & OP_REMOVE) != 0;
        ops[i].durable = (flags & OP_DURABLE) != 0;
        ops[i].key = lp_reader_bytes(&r, key_bytes);
        ops[i].value = lp_reader_bytes(&r, value_bytes);
    }
    LP_ASSERT(!r.failed);
    const enum lp_err err =
        store->transact(store->self, catalog->revision, ops, catalog->op_count, &catalog->revision);
    free(ops);
    return err;
}

void
lp_catalog_changes_clear(struct lp_catalog *catalog)
{
    catalog->ops.size = 0;
    catalog->deltas.size = 0;
    catalog->op_count = 0;
    catalog->durable_id_taken = false;
    catalog->transient_id_taken = false;
    catalog->permissions_changed = false;
}

void
lp_catalog_sync(struct lp_catalog *catalog, struct lp_bytebuf *deltas)
{
    LP_CHAIN_EACH(v, &catalog->vhosts)
    {
        const struct lp_catalog_vhost *vhost =
            LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        vhost_up(catalog, deltas, vhost);
        LP_CHAIN_EACH(x, &vhost->exchanges)
        {
            exchange_up(catalog, deltas, LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost));
        }
        LP_CHAIN_EACH(q, &vhost->queues)
        {
            queue_up(catalog, deltas, LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost));
        }
        LP_CHAIN_EACH(x, &vhost->exchanges)
        {
            const struct lp_catalog_exchange *exchange =
                LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost);
            LP_CHAIN_EACH(b, &exchange->sources)
            {
                bind_up(catalog, deltas, LP_CONTAINER_OF(b, struct lp_catalog_binding, in_source));
            }
        }
    }
}
