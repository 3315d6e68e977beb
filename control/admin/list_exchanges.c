/* SPDX-License-Identifier: Apache-2.0 */
/* list_exchanges.c - list_exchanges and list_bindings. */
#include "control/admin/admin_internal.h"
#include "control/command/columns.h"

/* ---- exchanges ---- */

#define EXCHANGE_COLUMN(id, expression)                                           \
    static json_t *exchange_##id(const void *item, const struct admin_task *task) \
    {                                                                             \
        const struct lp_catalog_exchange *exchange = item;                        \
        (void)task;                                                               \
        return expression;                                                        \
    }

EXCHANGE_COLUMN(name, admin_text(exchange->name))
EXCHANGE_COLUMN(type, json_string(lp_exchange_kind_name(exchange->kind)))
EXCHANGE_COLUMN(durable, json_boolean(exchange->flags &LP_OBJECT_DURABLE))
EXCHANGE_COLUMN(auto_delete, json_boolean(exchange->flags &LP_OBJECT_AUTO_DELETE))
EXCHANGE_COLUMN(internal, json_boolean(exchange->flags &LP_OBJECT_INTERNAL))
EXCHANGE_COLUMN(arguments, admin_table(exchange->arguments, false))
EXCHANGE_COLUMN(policy, exchange->policy ? admin_text(exchange->policy->name) : json_string(""))

void
admin_list_exchanges(struct admin_task *task)
{
#define X(id) {#id, exchange_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_EXCHANGES(X){NULL, NULL}};
#undef X
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    admin_listing_init(&listing, task, columns);
    if (vhost) {
        LP_CHAIN_EACH(link, &vhost->exchanges)
        {
            admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_exchange, in_vhost),
                              task);
        }
    }
    admin_answer(task, admin_listing_take(&listing));
}

/* ---- bindings ---- */

/* What a row shows; the default exchange's bindings exist nowhere else. */
struct binding_row {
    struct lp_bytes source, destination, key, arguments;
    bool to_queue;
};

#define BINDING_COLUMN(id, expression)                                           \
    static json_t *binding_##id(const void *item, const struct admin_task *task) \
    {                                                                            \
        const struct binding_row *row = item;                                    \
        (void)row;                                                               \
        (void)task;                                                              \
        return expression;                                                       \
    }

BINDING_COLUMN(source_name, admin_text(row->source))
BINDING_COLUMN(source_kind, json_string("exchange"))
BINDING_COLUMN(destination_name, admin_text(row->destination))
BINDING_COLUMN(destination_kind, json_string(row->to_queue ? "queue" : "exchange"))
BINDING_COLUMN(routing_key, admin_text(row->key))
BINDING_COLUMN(arguments, admin_table(row->arguments, true))

static void
bindings_of_exchange(struct admin_listing *listing, const struct lp_catalog_exchange *exchange,
                     const struct admin_task *task)
{
    LP_CHAIN_EACH(link, &exchange->sources)
    {
        const struct lp_catalog_binding *binding =
            LP_CONTAINER_OF(link, struct lp_catalog_binding, in_source);
        const struct binding_row row = {
            .source = exchange->name,
            .destination = binding->to_queue ? binding->to_queue->name : binding->to_exchange->name,
            .key = binding->key,
            .arguments = binding->arguments,
            .to_queue = binding->to_queue != NULL};
        admin_listing_add(listing, &row, task);
    }
}

static void
bindings_of_vhost(struct admin_listing *listing, const struct lp_catalog_vhost *vhost,
                  const struct admin_task *task)
{
    LP_CHAIN_EACH(q, &vhost->queues)
    {
        const struct lp_catalog_queue *queue =
            LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost);
        const struct binding_row row = {
            .destination = queue->name, .key = queue->name, .to_queue = true};
        admin_listing_add(listing, &row, task);
    }
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        bindings_of_exchange(listing, LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost),
                             task);
    }
}

void
admin_list_bindings(struct admin_task *task)
{
#define X(id) {#id, binding_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_BINDINGS(X){NULL, NULL}};
#undef X
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    admin_listing_init(&listing, task, columns);
    if (vhost) {
        bindings_of_vhost(&listing, vhost, task);
    }
    admin_answer(task, admin_listing_take(&listing));
}
