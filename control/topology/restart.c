/* SPDX-License-Identifier: Apache-2.0 */
/* restart.c - what a stop of the application leaves, and what a reset does. */
#include <stdlib.h>

#include "control/topology/catalog_internal.h"

/* Dropping one may take others with it, so they are named first. */
static size_t
transient_exchanges(const struct lp_catalog_vhost *vhost, uint32_t *ids)
{
    size_t count = 0;
    LP_CHAIN_EACH(link, &vhost->exchanges)
    {
        const struct lp_catalog_exchange *exchange =
            LP_CONTAINER_OF(link, struct lp_catalog_exchange, in_vhost);
        if (!(exchange->flags & LP_OBJECT_DURABLE)) {
            ids[count++] = exchange->id;
        }
    }
    return count;
}

static void
vhost_transient_drop(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost, uint32_t *ids)
{
    LP_CHAIN_EACH(link, &vhost->queues)
    {
        struct lp_catalog_queue *queue = LP_CONTAINER_OF(link, struct lp_catalog_queue, in_vhost);
        if (!(queue->flags & LP_OBJECT_DURABLE) || queue->owner != 0) {
            lp_catalog_queue_drop(catalog, queue);
        }
    }
    const size_t count = transient_exchanges(vhost, ids);
    for (size_t i = 0; i < count; i++) {
        struct lp_catalog_exchange *exchange = catalog_exchange_by_id(catalog, ids[i]);
        if (exchange) {
            catalog_exchange_drop_cascade(catalog, exchange);
        }
    }
}

void
lp_catalog_transient_drop(struct lp_catalog *catalog)
{
    uint32_t *ids = lp_heap_alloc((catalog->exchange_count + 1u) * sizeof(*ids));
    LP_CHAIN_EACH(link, &catalog->vhosts)
    {
        vhost_transient_drop(catalog, LP_CONTAINER_OF(link, struct lp_catalog_vhost, in_catalog),
                             ids);
    }
    free(ids);
}

void
lp_catalog_wipe(struct lp_catalog *catalog)
{
    LP_CHAIN_EACH(v, &catalog->vhosts)
    {
        const struct lp_catalog_vhost *vhost =
            LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        (void)lp_catalog_vhost_delete(catalog, vhost->name); /* it is there */
    }
    LP_CHAIN_EACH(u, &catalog->users)
    {
        const struct lp_catalog_user *user = LP_CONTAINER_OF(u, struct lp_catalog_user, in_catalog);
        (void)lp_catalog_user_delete(catalog, user->name); /* it is there */
    }
    LP_CHAIN_EACH(p, &catalog->parameters)
    {
        catalog_parameter_drop(catalog,
                               LP_CONTAINER_OF(p, struct lp_catalog_parameter, in_catalog));
    }
}
