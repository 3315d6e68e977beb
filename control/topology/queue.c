/* SPDX-License-Identifier: Apache-2.0 */
/* queue.c - declare and delete queues, in RabbitMQ's order of checks. */
#include <stdio.h>

#include "control/auth/auth.h"
#include "control/topology/policy.h"

bool
catalog_locked_fault(const struct lp_catalog_queue *queue, struct lp_fault *ret_fault)
{
    const struct lp_resource_text text =
        lp_resource_text(LP_RESOURCE_QUEUE, queue->name, queue->vhost);
    return lp_fault_set(
        ret_fault, LP_FAULT_RESOURCE_LOCKED,
        "cannot obtain exclusive access to locked %s. It could be originally declared on another "
        "connection or the exclusive property value does not match that of the original "
        "declaration.",
        text.text);
}

static bool
flag_equivalent(const struct lp_catalog_queue *queue, uint8_t received, uint8_t flag,
                const char *name, struct lp_fault *ret_fault)
{
    if (((queue->flags ^ received) & flag) == 0) {
        return true;
    }
    const struct lp_resource_text text =
        lp_resource_text(LP_RESOURCE_QUEUE, queue->name, queue->vhost);
    return catalog_property_fault(ret_fault, name, text.text, received & flag ? "true" : "false",
                                  queue->flags & flag ? "true" : "false");
}

/* C49 to C53, C56: the owner, then properties, then arguments. */
static bool
equivalent(const struct lp_catalog_queue *queue, const struct lp_catalog_actor *actor,
           uint8_t flags, struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    const uint64_t owner = flags & LP_OBJECT_EXCLUSIVE ? actor->connection : 0;
    if (queue->owner != owner) {
        return catalog_locked_fault(queue, ret_fault);
    }
    if (!flag_equivalent(queue, flags, LP_OBJECT_DURABLE, "durable", ret_fault) ||
        !flag_equivalent(queue, flags, LP_OBJECT_AUTO_DELETE, "auto_delete", ret_fault)) {
        return false;
    }
    const struct lp_resource_text text =
        lp_resource_text(LP_RESOURCE_QUEUE, queue->name, queue->vhost);
    return catalog_queue_arguments_equivalent(queue, arguments, text.text, ret_fault);
}

/* C87: who may not read the queue or write to the exchange may not move messages there. */
static bool
dead_letters_permitted(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                       struct lp_bytes name, struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    struct lp_field exchange;
    if (!lp_field_find(arguments, "x-dead-letter-exchange", &exchange)) {
        return true;
    }
    if (exchange.type != 'S') {
        const struct lp_resource_text text =
            lp_resource_text(LP_RESOURCE_QUEUE, name, actor->vhost);
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "invalid type '%s' for arg 'x-dead-letter-exchange' in %s",
                            lp_field_type_name(exchange.type), text.text);
    }
    return lp_auth_check(catalog, actor,
                         &(struct lp_auth_question){LP_PERMISSION_READ, LP_RESOURCE_QUEUE, name},
                         ret_fault) &&
           lp_auth_check(
               catalog, actor,
               &(struct lp_auth_question){LP_PERMISSION_WRITE, LP_RESOURCE_EXCHANGE, exchange.raw},
               ret_fault);
}

/* C82 */
static bool
limits_allow(const struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost,
             struct lp_bytes name, struct lp_fault *ret_fault)
{
    if (vhost->queue_count >= vhost->queues_max) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "cannot declare queue '%.*s': queue limit in vhost '%.*s' (%lld) is "
                            "reached",
                            (int)name.size, (const char *)name.data, (int)vhost->name.size,
                            (const char *)vhost->name.data, (long long)vhost->queues_max);
    }
    return catalog->queue_count < catalog->rules.queues_max ||
           lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                        "cannot declare queue '%.*s': queue limit in cluster (%llu) is reached",
                        (int)name.size, (const char *)name.data,
                        (unsigned long long)catalog->rules.queues_max);
}

/* Types whose data plane is not there yet, and promises that nothing keeps. */
static bool
implemented(enum lp_queue_kind kind, struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    struct lp_field field;
    if (!catalog_queue_kind_is_there(kind)) {
        return lp_fault_set(ret_fault, LP_FAULT_NOT_IMPLEMENTED,
                            "queue type %s is not implemented yet",
                            lp_queue_kind_name((uint8_t)kind));
    }
    if (lp_field_find(arguments, "x-dead-letter-strategy", &field) &&
        lp_bytes_equal_text(field.raw, "at-least-once")) {
        return lp_fault_set(ret_fault, LP_FAULT_NOT_IMPLEMENTED,
                            "dead-letter strategy at-least-once is not implemented yet");
    }
    return true;
}

/* What holds for new queues only, in RabbitMQ's order. */
static bool
may_create(struct lp_catalog *catalog, const struct lp_catalog_actor *actor, struct lp_bytes name,
           const struct lp_queue_declare *request, struct lp_fault *ret_fault)
{
    const struct lp_resource_text text = lp_resource_text(LP_RESOURCE_QUEUE, name, actor->vhost);
    enum lp_queue_kind kind;
    return dead_letters_permitted(catalog, actor, name, request->arguments, ret_fault) &&
           catalog_queue_arguments_valid(request->arguments, text.text, &kind, ret_fault) &&
           limits_allow(catalog, actor->vhost, name, ret_fault) &&
           catalog_ids_left(catalog, (request->flags & LP_OBJECT_DURABLE) != 0, ret_fault) &&
           catalog_queue_properties_valid(kind, text.text, request->flags, request->arguments,
                                          ret_fault) &&
           implemented(kind, request->arguments, ret_fault);
}

static bool
declare_passive(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                struct lp_bytes name, struct lp_queue_declared *ret_declared,
                struct lp_fault *ret_fault)
{
    struct lp_catalog_queue *queue = lp_catalog_queue(catalog, actor->vhost, name);
    if (!queue) {
        const struct lp_resource_text text =
            lp_resource_text(LP_RESOURCE_QUEUE, name, actor->vhost);
        return lp_fault_set(ret_fault, LP_FAULT_NOT_FOUND, "no %s", text.text);
    }
    if (queue->owner != 0 && queue->owner != actor->connection) {
        return catalog_locked_fault(queue, ret_fault);
    }
    ret_declared->queue = queue;
    ret_declared->created = false;
    return true;
}

/* What a queue is whose client names no type: the vhost's or the node's default, where its
 * properties allow that. */
static enum lp_queue_kind
default_kind(const struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost, uint8_t flags)
{
    const uint8_t kind =
        vhost->has_default_kind ? vhost->default_kind : catalog->rules.default_queue_kind;
    const uint8_t properties = LP_OBJECT_DURABLE | LP_OBJECT_AUTO_DELETE | LP_OBJECT_EXCLUSIVE;
    return (flags & properties) == LP_OBJECT_DURABLE ? (enum lp_queue_kind)kind : LP_QUEUE_CLASSIC;
}

/*
 * The default type is written down when the client named none (C53); RabbitMQ
 * sorts the table by name when it does.
 */
static struct lp_bytes
arguments_with_type(struct lp_catalog *catalog, struct lp_bytes arguments, enum lp_queue_kind kind)
{
    struct lp_field type;
    struct lp_bytebuf table = {0};
    struct lp_bytebuf sorted = {0};
    uint8_t room[32];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    if (lp_field_find(arguments, "x-queue-type", &type)) {
        return arguments;
    }
    lp_writer_short(&w, lp_bytes_of_text("x-queue-type"));
    lp_writer_u8(&w, 'S');
    lp_writer_long_be(&w, lp_bytes_of_text(lp_queue_kind_name((uint8_t)kind)));
    lp_bytebuf_append(&table, arguments.data, arguments.size);
    lp_bytebuf_append(&table, room, lp_writer_size(&w));
    const bool good = catalog_table_sort(lp_bytes_of(table.data, (uint32_t)table.size), &sorted);
    LP_ASSERT(good && sorted.size <= LP_CATALOG_SCRATCH_BYTES);
    memcpy(catalog->scratch, sorted.data, sorted.size);
    const struct lp_bytes result = lp_bytes_of(catalog->scratch, (uint32_t)sorted.size);
    lp_bytebuf_fini(&table);
    lp_bytebuf_fini(&sorted);
    return result;
}

static bool
arguments_good(struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    return (arguments.size <= LP_CATALOG_ARGUMENTS_MAX_BYTES && catalog_table_is_good(arguments)) ||
           lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                        "arguments are malformed or larger than %u bytes",
                        LP_CATALOG_ARGUMENTS_MAX_BYTES);
}

/* C61, C66: what may be called how. */
static bool
name_valid(struct lp_bytes name, const struct lp_queue_declare *request, struct lp_fault *ret_fault)
{
    if (request->flags & LP_OBJECT_SERVER_NAMED) {
        const enum lp_queue_kind kind = catalog_queue_kind_of(request->arguments);
        return kind == LP_QUEUE_CLASSIC ||
               lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "Cannot declare a server-named queue for type rabbit_%s_queue",
                            lp_queue_kind_name((uint8_t)kind));
    }
    return !lp_bytes_start_with(name, "amq.") ||
           lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                        "queue name '%.*s' contains reserved prefix 'amq.*'", (int)name.size,
                        (const char *)name.data);
}

static struct lp_catalog_queue *
queue_make(struct lp_catalog *catalog, const struct lp_catalog_actor *actor, struct lp_bytes name,
           uint8_t flags, const struct lp_queue_declare *request)
{
    LP_ASSERT(request->home_shard < catalog->shard_count);
    const struct lp_catalog_queue like = {
        .id = catalog_take_id(catalog, (flags & LP_OBJECT_DURABLE) != 0),
        .vhost = actor->vhost,
        .home_shard = request->home_shard,
        .flags = flags,
        .owner = flags & LP_OBJECT_EXCLUSIVE ? actor->connection : 0,
        .name = name,
        .arguments = request->arguments};
    struct lp_catalog_queue *queue = catalog_queue_insert(catalog, &like);
    policy_assign_queue(queue);
    catalog_queue_put(catalog, queue);
    return queue;
}

bool
lp_catalog_queue_declare(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                         const struct lp_queue_declare *request,
                         struct lp_queue_declared *ret_declared, struct lp_fault *ret_fault)
{
    uint8_t room[UINT8_MAX];
    const struct lp_bytes name = catalog_name_clean(request->name, room);
    if (request->flags & LP_OBJECT_PASSIVE) {
        return declare_passive(catalog, actor, name, ret_declared, ret_fault);
    }
    uint8_t flags =
        request->flags & (LP_OBJECT_DURABLE | LP_OBJECT_AUTO_DELETE | LP_OBJECT_EXCLUSIVE);
    if (flags & LP_OBJECT_EXCLUSIVE) {
        flags &= (uint8_t)~LP_OBJECT_DURABLE; /* C57 */
    }
    if (!arguments_good(request->arguments, ret_fault)) {
        return false;
    }
    struct lp_queue_declare full = *request;
    full.arguments = arguments_with_type(catalog, request->arguments,
                                         default_kind(catalog, actor->vhost, request->flags));
    if (!name_valid(name, &full, ret_fault) ||
        !lp_auth_check(catalog, actor,
                       &(struct lp_auth_question){LP_PERMISSION_CONFIGURE, LP_RESOURCE_QUEUE, name},
                       ret_fault)) {
        return false;
    }
    struct lp_catalog_queue *queue = lp_catalog_queue(catalog, actor->vhost, name);
    if (queue) {
        ret_declared->queue = queue;
        ret_declared->created = false;
        return equivalent(queue, actor, flags, full.arguments, ret_fault);
    }
    full.flags = flags;
    if (!may_create(catalog, actor, name, &full, ret_fault)) {
        return false;
    }
    ret_declared->queue = queue_make(catalog, actor, name, flags, &full);
    ret_declared->created = true;
    return true;
}

/* C68: what RabbitMQ's quorum queues do not look at. */
static bool
flags_deletable(const struct lp_catalog_queue *queue, const struct lp_queue_delete *request,
                struct lp_fault *ret_fault)
{
    if (queue->kind != LP_QUEUE_QUORUM || (!request->if_unused && !request->if_empty)) {
        return true;
    }
    const struct lp_resource_text text =
        lp_resource_text(LP_RESOURCE_QUEUE, queue->name, queue->vhost);
    return lp_fault_set(ret_fault, LP_FAULT_NOT_IMPLEMENTED,
                        "cannot delete %s. queue.delete operations with %s flag set are not "
                        "supported by quorum queues",
                        text.text, request->if_unused ? "if-unused" : "if-empty");
}

bool
lp_catalog_queue_deletable(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                           const struct lp_queue_delete *request,
                           struct lp_catalog_queue **ret_queue, struct lp_fault *ret_fault)
{
    uint8_t room[UINT8_MAX];
    const struct lp_bytes name = catalog_name_clean(request->name, room);
    if (!lp_auth_check(catalog, actor,
                       &(struct lp_auth_question){LP_PERMISSION_CONFIGURE, LP_RESOURCE_QUEUE, name},
                       ret_fault)) {
        return false;
    }
    struct lp_catalog_queue *queue = lp_catalog_queue(catalog, actor->vhost, name);
    if (queue && queue->owner != 0 && queue->owner != actor->connection) {
        return catalog_locked_fault(queue, ret_fault);
    }
    *ret_queue = queue;
    return !queue || flags_deletable(queue, request, ret_fault);
}

void
lp_catalog_queue_drop(struct lp_catalog *catalog, struct lp_catalog_queue *queue)
{
    catalog_bindings_of_destination_drop(catalog, &queue->destinations);
    catalog_queue_drop(catalog, queue);
}

uint32_t
lp_catalog_connection_gone(struct lp_catalog *catalog, uint64_t connection)
{
    uint32_t count = 0;
    struct lp_map_node *node =
        lp_map_first(&catalog->queues_by_owner, lp_map_hash_number(connection));
    while (node) {
        struct lp_catalog_queue *queue = LP_CONTAINER_OF(node, struct lp_catalog_queue, by_owner);
        node = lp_map_next(node);
        if (queue->owner == connection) {
            lp_catalog_queue_drop(catalog, queue);
            count++;
        }
    }
    return count;
}
