/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.c - declare and delete exchanges, in RabbitMQ's order of checks. */
#include "control/auth/auth.h"
#include "control/topology/policy.h"

static bool
not_default(struct lp_bytes name, struct lp_fault *ret_fault)
{
    return name.size > 0 || lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                                         "operation not permitted on the default exchange");
}

static bool
kind_of(struct lp_bytes name, uint8_t *ret_kind, struct lp_fault *ret_fault)
{
    for (unsigned kind = LP_EXCHANGE_DIRECT; kind < LP_EXCHANGE_KINDS; kind++) {
        if (lp_bytes_equal_text(name, lp_exchange_kind_name((uint8_t)kind))) {
            *ret_kind = (uint8_t)kind;
            return true;
        }
    }
    /* RabbitMQ knows the empty word, as Erlang does, but no type that is called so. */
    return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED, "%s exchange type '%.*s'",
                        name.size == 0 ? "invalid" : "unknown", (int)name.size,
                        (const char *)name.data);
}

/* What an exchange of this kind needs to know about itself (C164). */
static bool
kind_is_whole(uint8_t kind, struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    struct lp_field inner;
    uint8_t inner_kind;
    if (kind != LP_EXCHANGE_DELAYED) {
        return true;
    }
    if (!lp_field_find(arguments, "x-delayed-type", &inner) ||
        (inner.type != 'S' && inner.type != 'x')) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "Invalid argument, 'x-delayed-type' must be an existing exchange type");
    }
    if (lp_bytes_equal_text(inner.raw, lp_exchange_kind_name(LP_EXCHANGE_DELAYED))) {
        return lp_fault_set(
            ret_fault, LP_FAULT_PRECONDITION_FAILED,
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'");
    }
    return kind_of(inner.raw, &inner_kind, ret_fault);
}

uint8_t
catalog_exchange_matches_as(const struct lp_catalog_exchange *exchange)
{
    struct lp_field inner = {0};
    struct lp_fault fault;
    uint8_t kind = exchange->kind;
    if (kind == LP_EXCHANGE_DELAYED &&
        lp_field_find(exchange->arguments, "x-delayed-type", &inner)) {
        (void)kind_of(inner.raw, &kind, &fault); /* it was good when it was declared */
    }
    return kind;
}

static bool
flag_equivalent(const struct lp_catalog_exchange *exchange, uint8_t received, uint8_t flag,
                const char *name, struct lp_fault *ret_fault)
{
    if (((exchange->flags ^ received) & flag) == 0) {
        return true;
    }
    const struct lp_resource_text text =
        lp_resource_text(LP_RESOURCE_EXCHANGE, exchange->name, exchange->vhost);
    return catalog_property_fault(ret_fault, name, text.text, received & flag ? "true" : "false",
                                  exchange->flags & flag ? "true" : "false");
}

/* C54 */
static bool
equivalent(const struct lp_catalog_exchange *exchange, uint8_t kind,
           const struct lp_exchange_declare *request, struct lp_fault *ret_fault)
{
    const struct lp_resource_text text =
        lp_resource_text(LP_RESOURCE_EXCHANGE, exchange->name, exchange->vhost);
    if (exchange->kind != kind) {
        return catalog_property_fault(ret_fault, "type", text.text, lp_exchange_kind_name(kind),
                                      lp_exchange_kind_name(exchange->kind));
    }
    return flag_equivalent(exchange, request->flags, LP_OBJECT_DURABLE, "durable", ret_fault) &&
           flag_equivalent(exchange, request->flags, LP_OBJECT_AUTO_DELETE, "auto_delete",
                           ret_fault) &&
           flag_equivalent(exchange, request->flags, LP_OBJECT_INTERNAL, "internal", ret_fault) &&
           catalog_argument_equivalent(exchange->arguments, request->arguments,
                                       "alternate-exchange", text.text, ret_fault);
}

/* C82 */
static bool
limit_allows(const struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost,
             struct lp_bytes name, struct lp_fault *ret_fault)
{
    return catalog->exchange_count < catalog->rules.exchanges_max ||
           lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                        "cannot declare exchange '%.*s' in vhost '%.*s': exchange limit of %llu is "
                        "reached",
                        (int)name.size, (const char *)name.data, (int)vhost->name.size,
                        (const char *)vhost->name.data,
                        (unsigned long long)catalog->rules.exchanges_max);
}

/* C61, C87: what holds for new exchanges only. */
static bool
may_create(struct lp_catalog *catalog, const struct lp_catalog_actor *actor, struct lp_bytes name,
           struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    struct lp_field alternate;
    if (lp_bytes_start_with(name, "amq.")) {
        return lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                            "exchange name '%.*s' contains reserved prefix 'amq.*'", (int)name.size,
                            (const char *)name.data);
    }
    if (arguments.size > LP_CATALOG_ARGUMENTS_MAX_BYTES || !catalog_table_is_good(arguments)) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "arguments are malformed or larger than %u bytes",
                            LP_CATALOG_ARGUMENTS_MAX_BYTES);
    }
    if (!lp_field_find(arguments, "alternate-exchange", &alternate)) {
        return true;
    }
    if (alternate.type != 'S' || alternate.raw.size > UINT8_MAX) {
        const struct lp_resource_text text =
            lp_resource_text(LP_RESOURCE_EXCHANGE, name, actor->vhost);
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "invalid type '%s' for arg 'alternate-exchange' in %s",
                            lp_field_type_name(alternate.type), text.text);
    }
    return lp_auth_check(catalog, actor,
                         &(struct lp_auth_question){LP_PERMISSION_READ, LP_RESOURCE_EXCHANGE, name},
                         ret_fault) &&
           lp_auth_check(
               catalog, actor,
               &(struct lp_auth_question){LP_PERMISSION_WRITE, LP_RESOURCE_EXCHANGE, alternate.raw},
               ret_fault);
}

static bool
declare_passive(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                struct lp_bytes name, struct lp_catalog_exchange **ret_exchange,
                struct lp_fault *ret_fault)
{
    if (!not_default(name, ret_fault)) {
        return false;
    }
    struct lp_catalog_exchange *exchange = lp_catalog_exchange(catalog, actor->vhost, name);
    if (!exchange) {
        const struct lp_resource_text text =
            lp_resource_text(LP_RESOURCE_EXCHANGE, name, actor->vhost);
        return lp_fault_set(ret_fault, LP_FAULT_NOT_FOUND, "no %s", text.text);
    }
    *ret_exchange = exchange;
    return true;
}

bool
lp_catalog_exchange_declare(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                            const struct lp_exchange_declare *request,
                            struct lp_catalog_exchange **ret_exchange, struct lp_fault *ret_fault)
{
    uint8_t room[UINT8_MAX];
    const struct lp_bytes name = catalog_name_clean(request->name, room);
    uint8_t kind = LP_EXCHANGE_DIRECT;
    if (request->flags & LP_OBJECT_PASSIVE) {
        return declare_passive(catalog, actor, name, ret_exchange, ret_fault);
    }
    if (!kind_of(request->kind_name, &kind, ret_fault) || !not_default(name, ret_fault) ||
        !lp_auth_check(
            catalog, actor,
            &(struct lp_auth_question){LP_PERMISSION_CONFIGURE, LP_RESOURCE_EXCHANGE, name},
            ret_fault)) {
        return false;
    }
    struct lp_catalog_exchange *exchange = lp_catalog_exchange(catalog, actor->vhost, name);
    if (exchange) {
        *ret_exchange = exchange;
        return equivalent(exchange, kind, request, ret_fault);
    }
    if (!may_create(catalog, actor, name, request->arguments, ret_fault) ||
        !kind_is_whole(kind, request->arguments, ret_fault) ||
        !limit_allows(catalog, actor->vhost, name, ret_fault) ||
        !catalog_ids_left(catalog, (request->flags & LP_OBJECT_DURABLE) != 0, ret_fault)) {
        return false;
    }
    const uint8_t flags =
        request->flags & (LP_OBJECT_DURABLE | LP_OBJECT_AUTO_DELETE | LP_OBJECT_INTERNAL);
    const struct lp_catalog_exchange like = {
        .id = catalog_take_id(catalog, (flags & LP_OBJECT_DURABLE) != 0),
        .vhost = actor->vhost,
        .kind = kind,
        .flags = flags,
        .name = name,
        .arguments = request->arguments};
    exchange = catalog_exchange_insert(catalog, &like);
    policy_assign_exchange(exchange);
    catalog_exchange_put(catalog, exchange);
    *ret_exchange = exchange;
    return true;
}

bool
lp_catalog_exchange_delete(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                           struct lp_bytes dirty_name, bool if_unused, struct lp_fault *ret_fault)
{
    uint8_t room[UINT8_MAX];
    const struct lp_bytes name = catalog_name_clean(dirty_name, room);
    const struct lp_resource_text text = lp_resource_text(LP_RESOURCE_EXCHANGE, name, actor->vhost);
    if (!not_default(name, ret_fault)) {
        return false;
    }
    if (lp_bytes_start_with(name, "amq.")) {
        return lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED, "deletion of system %s not allowed",
                            text.text);
    }
    if (!lp_auth_check(
            catalog, actor,
            &(struct lp_auth_question){LP_PERMISSION_CONFIGURE, LP_RESOURCE_EXCHANGE, name},
            ret_fault)) {
        return false;
    }
    struct lp_catalog_exchange *exchange = lp_catalog_exchange(catalog, actor->vhost, name);
    if (!exchange) {
        return true; /* C67 */
    }
    if (if_unused && !lp_chain_is_empty(&exchange->sources)) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED, "%s in use", text.text);
    }
    catalog_exchange_drop_cascade(catalog, exchange);
    return true;
}
