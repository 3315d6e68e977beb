/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally.c - how many connections and channels a user and a virtual host have,
 * and whether they may have more (C20).
 *
 * Counted from the table of connections, which shards fill again with their
 * hellos after a restart: the counts are right as soon as requests are read.
 */
#include <stdlib.h>

#include "control/link/control_internal.h"

static uint64_t
tally_hash(const struct lp_control *control, uint32_t vhost_id, struct lp_bytes user)
{
    return lp_map_hash(&control->tally_key, vhost_id, user);
}

/* Of a user (vhost_id 0) or of a vhost (no user). */
static struct control_tally *
tally_find(const struct lp_control *control, uint32_t vhost_id, struct lp_bytes user)
{
    struct lp_map_node *node = lp_map_first(&control->tallies, tally_hash(control, vhost_id, user));
    for (; node; node = lp_map_next(node)) {
        struct control_tally *tally = LP_CONTAINER_OF(node, struct control_tally, by_who);
        if (tally->vhost_id == vhost_id && lp_bytes_equal(tally->user, user)) {
            return tally;
        }
    }
    return NULL;
}

static struct control_tally *
tally_get(struct lp_control *control, uint32_t vhost_id, struct lp_bytes user)
{
    struct control_tally *tally = tally_find(control, vhost_id, user);
    if (!tally) {
        tally = lp_heap_alloc(sizeof(*tally) + user.size);
        tally->vhost_id = vhost_id;
        if (user.size > 0) {
            memcpy(tally + 1, user.data, user.size);
        }
        tally->user = lp_bytes_of(tally + 1, user.size);
        lp_map_insert(&control->tallies, &tally->by_who, tally_hash(control, vhost_id, user));
    }
    tally->connections++;
    return tally;
}

static void
tally_put(struct lp_control *control, struct control_tally **tally)
{
    struct control_tally *self = *tally;
    *tally = NULL;
    LP_ASSERT(self->connections > 0);
    if (--self->connections == 0) {
        LP_ASSERT(self->channels == 0);
        lp_map_remove(&control->tallies, &self->by_who);
        free(self);
    }
}

void
control_connection_opened(struct lp_control *control, struct control_connection *connection,
                          uint32_t vhost_id)
{
    LP_ASSERT(connection->vhost_id == 0 && vhost_id != 0);
    connection->vhost_id = vhost_id;
    connection->of_user = tally_get(control, 0, connection->user);
    connection->of_vhost = tally_get(control, vhost_id, lp_bytes_of(NULL, 0));
    control->connections_open++;
}

void
control_connection_uncount(struct lp_control *control, struct control_connection *connection)
{
    if (!connection->of_user) {
        return;
    }
    control_channels_set(control, connection, 0);
    tally_put(control, &connection->of_user);
    tally_put(control, &connection->of_vhost);
    control->connections_open--;
}

void
control_channels_set(struct lp_control *control, struct control_connection *connection,
                     uint32_t channels)
{
    if (connection->of_user) {
        connection->of_user->channels += channels;
        connection->of_user->channels -= connection->channels;
        control->channels_open += channels;
        control->channels_open -= connection->channels;
        connection->channels = channels;
    }
}

bool
control_open_permitted(const struct lp_control *control,
                       const struct control_connection *connection, struct lp_fault *ret_fault)
{
    const uint64_t node_max = control->options.settings.connections_max;
    if (control->connections_open >= node_max) {
        return lp_fault_set(ret_fault, LP_FAULT_NOT_ALLOWED,
                            "connection refused: node connection limit (%llu) is reached",
                            (unsigned long long)node_max);
    }
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost(control->catalog, connection->vhost);
    if (!vhost) {
        return true; /* refused for that, next */
    }
    const struct control_tally *of_vhost = tally_find(control, vhost->id, lp_bytes_of(NULL, 0));
    const uint32_t in_vhost = of_vhost ? of_vhost->connections : 0;
    if (in_vhost >= vhost->connections_max) {
        return lp_fault_set(
            ret_fault, LP_FAULT_NOT_ALLOWED,
            "access to vhost '%.*s' refused for user '%.*s': connection limit (%lld) is reached",
            (int)vhost->name.size, (const char *)vhost->name.data, (int)connection->user.size,
            (const char *)connection->user.data, (long long)vhost->connections_max);
    }
    const struct lp_catalog_user *user = lp_catalog_user(control->catalog, connection->user);
    const struct control_tally *of_user = tally_find(control, 0, connection->user);
    const uint32_t by_user = of_user ? of_user->connections : 0;
    if (user && user->has_connections_max && user->connections_max >= 0 &&
        by_user >= user->connections_max) {
        return lp_fault_set(ret_fault, LP_FAULT_NOT_ALLOWED,
                            "connection refused for user '%.*s': user connection limit (%lld) is "
                            "reached",
                            (int)connection->user.size, (const char *)connection->user.data,
                            (long long)user->connections_max);
    }
    return true;
}

bool
control_channel_permitted(const struct lp_control *control,
                          const struct control_connection *connection, struct lp_fault *ret_fault)
{
    const struct lp_catalog_user *user = lp_catalog_user(control->catalog, connection->user);
    const uint64_t node_max = control->options.settings.channels_max;
    const uint64_t by_user = connection->of_user ? connection->of_user->channels : 0;
    if (user && user->has_channels_max && user->channels_max >= 0 &&
        by_user >= (uint64_t)user->channels_max) {
        /* RabbitMQ 4.0 prints the node's name here by mistake; 3.10 the user's. */
        return lp_fault_set(ret_fault, LP_FAULT_NOT_ALLOWED,
                            "number of channels opened for user '%.*s' has reached the maximum "
                            "allowed user limit of (%lld)",
                            (int)user->name.size, (const char *)user->name.data,
                            (long long)user->channels_max);
    }
    return control->channels_open < node_max ||
           lp_fault_set(ret_fault, LP_FAULT_NOT_ALLOWED,
                        "number of channels opened on node '%s' has reached the maximum allowed "
                        "limit of (%llu)",
                        control->options.settings.node_name, (unsigned long long)node_max);
}

void
control_tallies_check(const struct lp_control *control)
{
    uint64_t connections = 0;
    uint64_t channels = 0;
    LP_CHAIN_EACH(c, &control->connections)
    {
        const struct control_connection *connection =
            LP_CONTAINER_OF(c, struct control_connection, in_control);
        LP_ASSERT((connection->vhost_id != 0) == (connection->of_user != NULL));
        connections += connection->of_user != NULL;
        channels += connection->channels;
    }
    LP_ASSERT(connections == control->connections_open);
    LP_ASSERT(channels == control->channels_open);
}
