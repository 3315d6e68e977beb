/* SPDX-License-Identifier: Apache-2.0 */
/* binding.c - bind, unbind, and what goes along when a binding's end goes. */
#include <stdio.h>
#include <stdlib.h>

#include "control/auth/auth.h"
#include "control/topology/catalog_internal.h"

/* ---- removal ---- */

/*
 * The exchange lost its last binding as a source and was declared auto-delete:
 * it goes, with the bindings that end in it, which may cost their sources the
 * same.  A work list instead of recursion; each exchange enters it at most
 * once, because it is gone afterwards.
 */
static void
cascade(struct lp_catalog *catalog, struct lp_catalog_exchange *exchange)
{
    struct lp_chain *work = &catalog->leaving;
    LP_ASSERT(lp_chain_is_empty(work));
    /* While an exchange waits its in_vhost link is in `work`: it is on its way out anyway. */
    lp_chain_remove(&exchange->in_vhost);
    lp_chain_append(work, &exchange->in_vhost);
    for (struct lp_chain *link = lp_chain_pop(work); link; link = lp_chain_pop(work)) {
        struct lp_catalog_exchange *gone =
            LP_CONTAINER_OF(link, struct lp_catalog_exchange, in_vhost);
        LP_CHAIN_EACH(b, &gone->sources)
        {
            catalog_binding_drop(catalog, LP_CONTAINER_OF(b, struct lp_catalog_binding, in_source));
        }
        while (!lp_chain_is_empty(&gone->destinations)) {
            struct lp_catalog_binding *binding =
                LP_CONTAINER_OF(gone->destinations.next, struct lp_catalog_binding, in_destination);
            struct lp_catalog_exchange *source = binding->source;
            catalog_binding_drop(catalog, binding);
            if (source != gone && (source->flags & LP_OBJECT_AUTO_DELETE) &&
                lp_chain_is_empty(&source->sources)) {
                lp_chain_remove(&source->in_vhost);
                lp_chain_append(work, &source->in_vhost);
            }
        }
        catalog_exchange_drop(catalog, gone);
    }
}

void
catalog_exchange_drop_cascade(struct lp_catalog *catalog, struct lp_catalog_exchange *exchange)
{
    cascade(catalog, exchange);
}

void
catalog_binding_drop_cascade(struct lp_catalog *catalog, struct lp_catalog_binding *binding)
{
    struct lp_catalog_exchange *source = binding->source;
    catalog_binding_drop(catalog, binding);
    if ((source->flags & LP_OBJECT_AUTO_DELETE) && lp_chain_is_empty(&source->sources)) {
        cascade(catalog, source);
    }
}

void
catalog_bindings_of_destination_drop(struct lp_catalog *catalog, struct lp_chain *destinations)
{
    /* The cascade may take further bindings of this very chain: look at the front each time. */
    while (!lp_chain_is_empty(destinations)) {
        catalog_binding_drop_cascade(
            catalog,
            LP_CONTAINER_OF(destinations->next, struct lp_catalog_binding, in_destination));
    }
}

/* ---- requests ---- */

/* What a bind or unbind names, looked up. */
struct ends {
    struct lp_bytes source_name;
    struct lp_bytes destination_name;
    struct lp_catalog_exchange *source;
    struct lp_catalog_exchange *to_exchange;
    struct lp_catalog_queue *to_queue;
    uint8_t source_room[UINT8_MAX];
    uint8_t destination_room[UINT8_MAX];
};

static bool
ends_permitted(struct lp_catalog *catalog, const struct lp_catalog_actor *actor, uint8_t resource,
               const struct ends *ends, struct lp_fault *ret_fault)
{
    if (!lp_auth_check(
            catalog, actor,
            &(struct lp_auth_question){LP_PERMISSION_WRITE, resource, ends->destination_name},
            ret_fault)) {
        return false;
    }
    if (ends->source_name.size == 0 ||
        (resource == LP_RESOURCE_EXCHANGE && ends->destination_name.size == 0)) {
        return lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                            "operation not permitted on the default exchange"); /* C62 */
    }
    return lp_auth_check(
        catalog, actor,
        &(struct lp_auth_question){LP_PERMISSION_READ, LP_RESOURCE_EXCHANGE, ends->source_name},
        ret_fault);
}

/* Permissions, then both ends; what does not exist stays NULL. */
static bool
ends_find(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
          const struct lp_bind *request, struct ends *ret_ends, struct lp_fault *ret_fault)
{
    struct ends *ends = ret_ends;
    ends->source_name = catalog_name_clean(request->source, ends->source_room);
    ends->destination_name = catalog_name_clean(request->destination, ends->destination_room);
    ends->to_exchange = NULL;
    ends->to_queue = NULL;
    if (!ends_permitted(catalog, actor, request->destination_resource, ends, ret_fault)) {
        return false;
    }
    ends->source = lp_catalog_exchange(catalog, actor->vhost, ends->source_name);
    if (ends->source && ends->source->kind == LP_EXCHANGE_TOPIC &&
        !lp_auth_check_topic(
            catalog, actor,
            &(struct lp_auth_topic_question){LP_PERMISSION_READ, ends->source_name, request->key},
            ret_fault)) {
        return false; /* C85 */
    }
    if (request->destination_resource == LP_RESOURCE_QUEUE) {
        ends->to_queue = lp_catalog_queue(catalog, actor->vhost, ends->destination_name);
    } else {
        ends->to_exchange = lp_catalog_exchange(catalog, actor->vhost, ends->destination_name);
    }
    return true;
}

static bool
exclusive_permitted(const struct lp_catalog_queue *queue, const struct lp_catalog_actor *actor,
                    struct lp_fault *ret_fault)
{
    return !queue || queue->owner == 0 || queue->owner == actor->connection ||
           catalog_locked_fault(queue, ret_fault);
}

/* C79 */
static bool
match_is_valid(const struct lp_catalog_exchange *source, struct lp_bytes arguments,
               struct lp_fault *ret_fault)
{
    struct lp_field match;
    if (catalog_exchange_matches_as(source) != LP_EXCHANGE_HEADERS ||
        !lp_field_find(arguments, "x-match", &match)) {
        return true;
    }
    char value[300];
    catalog_value_text(&match, value, sizeof(value));
    if (match.type != 'S') {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "Invalid x-match field type %s (value %s); expected longstr",
                            lp_field_type_name(match.type), value);
    }
    static const char *const known[] = {"all", "any", "all-with-x", "any-with-x"};
    for (size_t i = 0; i < LP_COUNT_OF(known); i++) {
        if (lp_bytes_equal_text(match.raw, known[i])) {
            return true;
        }
    }
    return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                        "Invalid x-match field value <<\"%s\">>; expected all, any, all-with-x, or "
                        "any-with-x",
                        value);
}

/* What an x-local-random exchange takes. */
static bool
local_random_is_valid(const struct ends *ends, struct lp_bytes key, struct lp_fault *ret_fault)
{
    if (catalog_exchange_matches_as(ends->source) != LP_EXCHANGE_LOCAL_RANDOM) {
        return true;
    }
    if (key.size > 0) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "Non empty binding '%.*s' key not permitted", (int)key.size,
                            (const char *)key.data);
    }
    if (!ends->to_queue) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED, "Destination not found");
    }
    return ends->to_queue->kind == LP_QUEUE_CLASSIC ||
           lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                        "Queue type rabbit_quorum_queue not valid for this exchange type");
}

static struct lp_catalog_binding
binding_like(const struct ends *ends, const struct lp_bind *request,
             const struct lp_bytebuf *sorted)
{
    const struct lp_catalog_binding like = {.source = ends->source,
                                            .to_exchange = ends->to_exchange,
                                            .to_queue = ends->to_queue,
                                            .key = request->key,
                                            .arguments =
                                                lp_bytes_of(sorted->data, (uint32_t)sorted->size)};
    return like;
}

static void
binding_make(struct lp_catalog *catalog, struct lp_catalog_binding *like)
{
    const uint8_t destination = like->to_queue ? like->to_queue->flags : like->to_exchange->flags;
    like->durable = (like->source->flags & destination & LP_OBJECT_DURABLE) != 0;
    like->id = catalog_take_binding_id(catalog, like->durable);
    catalog_binding_put(catalog, catalog_binding_insert(catalog, like));
}

bool
lp_catalog_bind(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                const struct lp_bind *request, struct lp_fault *ret_fault)
{
    struct ends ends;
    if (!ends_find(catalog, actor, request, &ends, ret_fault)) {
        return false;
    }
    if (!ends.source || (!ends.to_queue && !ends.to_exchange)) {
        const struct lp_resource_text text =
            !ends.source ? lp_resource_text(LP_RESOURCE_EXCHANGE, ends.source_name, actor->vhost)
                         : lp_resource_text(request->destination_resource, ends.destination_name,
                                            actor->vhost);
        return lp_fault_set(ret_fault, LP_FAULT_NOT_FOUND, "no %s", text.text);
    }
    /* A binding's identity includes its arguments, whatever their order. */
    struct lp_bytebuf sorted = {0};
    bool good = match_is_valid(ends.source, request->arguments, ret_fault) &&
                local_random_is_valid(&ends, request->key, ret_fault) &&
                exclusive_permitted(ends.to_queue, actor, ret_fault);
    if (good && (request->arguments.size > LP_CATALOG_ARGUMENTS_MAX_BYTES ||
                 !catalog_table_sort(request->arguments, &sorted))) {
        good = lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "arguments are malformed or larger than %u bytes",
                            LP_CATALOG_ARGUMENTS_MAX_BYTES);
    }
    if (good) {
        struct lp_catalog_binding like = binding_like(&ends, request, &sorted);
        if (!catalog_binding_find(catalog, &like)) {
            binding_make(catalog, &like);
        }
    }
    lp_bytebuf_fini(&sorted);
    return good;
}

bool
lp_catalog_unbind(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                  const struct lp_bind *request, struct lp_fault *ret_fault)
{
    struct ends ends;
    if (!ends_find(catalog, actor, request, &ends, ret_fault)) {
        return false;
    }
    if (!ends.source || (!ends.to_queue && !ends.to_exchange)) {
        return true; /* C70 */
    }
    struct lp_bytebuf sorted = {0};
    bool good = true;
    if (catalog_table_sort(request->arguments, &sorted)) {
        const struct lp_catalog_binding like = binding_like(&ends, request, &sorted);
        struct lp_catalog_binding *binding = catalog_binding_find(catalog, &like);
        good = !binding || exclusive_permitted(ends.to_queue, actor, ret_fault);
        if (good && binding) {
            catalog_binding_drop_cascade(catalog, binding);
        }
    }
    lp_bytebuf_fini(&sorted);
    return good;
}
