/* SPDX-License-Identifier: Apache-2.0 */
/* queue.c - declare and delete queues, in RabbitMQ's order of checks. */
#include <stdio.h>

#include "control/auth/auth.h"
#include "control/topology/catalog_internal.h"

/* Arguments that classic queues know and that are compared on redeclaration (C52). */
static const char *const compared[] = {
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
};

/* Arguments that mean something and are not there yet: better refused than ignored. */
static const char *const not_implemented[] = {
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-priority",
    "x-overflow",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-quorum-initial-group-size",
    "x-quorum-target-group-size",
};

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
type_is_classic(struct lp_bytes arguments)
{
    struct lp_field type;
    return !lp_field_find(arguments, "x-queue-type", &type) ||
           (type.type == 'S' && lp_bytes_equal_text(type.raw, "classic"));
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
    for (size_t i = 0; i < LP_COUNT_OF(compared); i++) {
        if (!catalog_argument_equivalent(queue->arguments, arguments, compared[i], text.text,
                                         ret_fault)) {
            return false;
        }
    }
    return true;
}

static bool
argument_missing(const char *name, struct lp_fault *ret_fault)
{
    return lp_fault_set(ret_fault, LP_FAULT_NOT_IMPLEMENTED,
                        "queue argument '%s' is not implemented yet", name);
}

static bool
arguments_supported(struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    struct lp_field field;
    for (size_t i = 0; i < LP_COUNT_OF(not_implemented); i++) {
        if (!lp_field_find(arguments, not_implemented[i], &field)) {
            continue;
        }
        /* Switched off is what we do. */
        const bool off = field.type == 't' && field.raw.data[0] == 0 &&
                         lp_bytes_equal_text(field.name, "x-single-active-consumer");
        if (!off) {
            return argument_missing(not_implemented[i], ret_fault);
        }
    }
    return type_is_classic(arguments) || argument_missing("x-queue-type", ret_fault);
}

/* C74, as far as supported arguments have something to get wrong. */
static bool
arguments_valid(const char *resource, struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    struct lp_field mode;
    if (!lp_field_find(arguments, "x-queue-mode", &mode)) {
        return true;
    }
    char value[300];
    catalog_value_text(&mode, value, sizeof(value));
    if (mode.type != 'S') {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "invalid arg 'x-queue-mode' for %s: \"invalid queue mode: expected "
                            "longstr, got %s\"",
                            resource, lp_field_type_name(mode.type));
    }
    if (!lp_bytes_equal_text(mode.raw, "default") && !lp_bytes_equal_text(mode.raw, "lazy")) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "invalid arg 'x-queue-mode' for %s: \"unsupported queue mode '%s'\"",
                            resource, value);
    }
    return true;
}

static bool
may_create(const struct lp_catalog_actor *actor, struct lp_bytes name,
           const struct lp_queue_declare *request, struct lp_fault *ret_fault)
{
    const struct lp_resource_text text = lp_resource_text(LP_RESOURCE_QUEUE, name, actor->vhost);
    if (!(request->flags & LP_OBJECT_SERVER_NAMED) && lp_bytes_start_with(name, "amq.")) {
        return lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                            "queue name '%.*s' contains reserved prefix 'amq.*'", (int)name.size,
                            (const char *)name.data);
    }
    return arguments_supported(request->arguments, ret_fault) &&
           arguments_valid(text.text, request->arguments, ret_fault);
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

/* The default type is written down when the client named none (C53). */
static struct lp_bytes
arguments_with_type(struct lp_catalog *catalog, struct lp_bytes arguments)
{
    struct lp_field type;
    if (lp_field_find(arguments, "x-queue-type", &type)) {
        return arguments;
    }
    struct lp_writer w = lp_writer_of(catalog->scratch, LP_CATALOG_SCRATCH_BYTES);
    lp_writer_copy(&w, arguments.data, arguments.size);
    lp_writer_short(&w, lp_bytes_of_text("x-queue-type"));
    lp_writer_u8(&w, 'S');
    lp_writer_long_be(&w, lp_bytes_of_text("classic"));
    LP_ASSERT(!w.failed);
    return lp_writer_bytes(&w);
}

static bool
request_valid(const struct lp_queue_declare *request, struct lp_fault *ret_fault)
{
    if (request->arguments.size > LP_CATALOG_ARGUMENTS_MAX_BYTES ||
        !catalog_table_is_good(request->arguments)) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "arguments are malformed or larger than %u bytes",
                            LP_CATALOG_ARGUMENTS_MAX_BYTES);
    }
    struct lp_field type;
    if ((request->flags & LP_OBJECT_SERVER_NAMED) && !type_is_classic(request->arguments) &&
        lp_field_find(request->arguments, "x-queue-type", &type)) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "Cannot declare a server-named queue for type rabbit_%.*s_queue",
                            (int)LP_MIN(type.raw.size, 64u), (const char *)type.raw.data);
    }
    return true;
}

static struct lp_catalog_queue *
queue_make(struct lp_catalog *catalog, const struct lp_catalog_actor *actor, struct lp_bytes name,
           uint8_t flags, const struct lp_queue_declare *request)
{
    const struct lp_catalog_queue like = {
        .id = catalog_take_id(catalog, (flags & LP_OBJECT_DURABLE) != 0),
        .vhost = actor->vhost,
        .home_shard = (uint16_t)(request->home_shard % catalog->shard_count),
        .flags = flags,
        .owner = flags & LP_OBJECT_EXCLUSIVE ? actor->connection : 0,
        .name = name,
        .arguments = arguments_with_type(catalog, request->arguments)};
    struct lp_catalog_queue *queue = catalog_queue_insert(catalog, &like);
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
    if (!request_valid(request, ret_fault) ||
        !lp_auth_check(catalog, actor,
                       &(struct lp_auth_question){LP_PERMISSION_CONFIGURE, LP_RESOURCE_QUEUE, name},
                       ret_fault)) {
        return false;
    }
    struct lp_catalog_queue *queue = lp_catalog_queue(catalog, actor->vhost, name);
    if (queue) {
        ret_declared->queue = queue;
        ret_declared->created = false;
        return equivalent(queue, actor, flags, arguments_with_type(catalog, request->arguments),
                          ret_fault);
    }
    if (!may_create(actor, name, request, ret_fault)) {
        return false;
    }
    ret_declared->queue = queue_make(catalog, actor, name, flags, request);
    ret_declared->created = true;
    return true;
}

bool
lp_catalog_queue_deletable(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                           struct lp_bytes dirty_name, struct lp_catalog_queue **ret_queue,
                           struct lp_fault *ret_fault)
{
    uint8_t room[UINT8_MAX];
    const struct lp_bytes name = catalog_name_clean(dirty_name, room);
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
    return true;
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
