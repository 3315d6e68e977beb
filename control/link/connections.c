/* SPDX-License-Identifier: Apache-2.0 */
/* connections.c - the table of clients' connections. */
#include <stdlib.h>

#include "control/base/place.h"
#include "control/link/control_internal.h"

struct control_connection *
control_connection(const struct lp_control *control, uint64_t id)
{
    struct lp_map_node *node = lp_map_first(&control->connections_by_id, lp_map_hash_number(id));
    for (; node; node = lp_map_next(node)) {
        struct control_connection *connection =
            LP_CONTAINER_OF(node, struct control_connection, by_id);
        if (connection->id == id) {
            return connection;
        }
    }
    return NULL;
}

void
control_connection_free(struct lp_control *control, struct control_connection *connection)
{
    control_connection_uncount(control, connection);
    control_chains_forget(control, connection);
    lp_map_remove(&control->connections_by_id, &connection->by_id);
    lp_chain_remove(&connection->in_control);
    free(connection);
}

static void
address_read(struct lp_reader *r, uint8_t *ret_family, uint16_t *ret_port, uint8_t ret_ip[16])
{
    *ret_family = lp_reader_u8(r);
    *ret_port = lp_reader_u16le(r);
    const struct lp_bytes ip = lp_reader_bytes(r, 16);
    if (ip.size == 16) {
        memcpy(ret_ip, ip.data, 16);
    }
}

/* Every text that a connection has. */
#define CONNECTION_TEXTS(X) \
    X(user)                 \
    X(vhost)                \
    X(protocol)             \
    X(client_properties)    \
    X(mechanism)            \
    X(ssl_protocol)         \
    X(ssl_key_exchange)     \
    X(ssl_cipher)           \
    X(ssl_hash)             \
    X(peer_cert_subject)    \
    X(peer_cert_issuer)     \
    X(peer_cert_validity)

/* A copy with its texts behind it; not in the table yet. */
static struct control_connection *
connection_copy(const struct control_connection *like)
{
    size_t bytes = sizeof(*like);
#define X(text) bytes += like->text.size;
    CONNECTION_TEXTS(X)
#undef X
    struct control_connection *copy = lp_heap_alloc(bytes);
    uint8_t *at = (uint8_t *)(copy + 1);
    *copy = *like;
    lp_chain_init(&copy->failed);
#define X(text) copy->text = lp_place(&at, like->text);
    CONNECTION_TEXTS(X)
#undef X
    return copy;
}

/* How it came. */
static void
identity_read(struct lp_reader *fields, struct control_connection *like)
{
    like->mechanism = lp_reader_short(fields);
    like->ssl = lp_reader_u8(fields) != 0;
    if (like->ssl) {
        like->ssl_protocol = lp_reader_short(fields);
        like->ssl_key_exchange = lp_reader_short(fields);
        like->ssl_cipher = lp_reader_short(fields);
        like->ssl_hash = lp_reader_short(fields);
        like->peer_cert_subject = lp_reader_long_le(fields);
        like->peer_cert_issuer = lp_reader_long_le(fields);
        like->peer_cert_validity = lp_reader_short(fields);
    }
}

bool
control_connection_put(struct lp_control *control, uint32_t shard, struct lp_reader *fields,
                       bool with_id, struct control_connection **ret_connection)
{
    struct control_connection like = {.shard = shard, .named = true};
    like.id = lp_reader_u64le(fields);
    like.vhost = lp_reader_short(fields);
    like.protocol = lp_reader_short(fields);
    address_read(fields, &like.local_family, &like.local_port, like.local_ip);
    address_read(fields, &like.peer_family, &like.peer_port, like.peer_ip);
    like.client_properties = lp_reader_long_le(fields);
    like.heartbeat_s = lp_reader_u16le(fields);
    like.frame_max = lp_reader_u32le(fields);
    like.channel_max = lp_reader_u16le(fields);
    like.connected_at_ms = lp_reader_u64le(fields);
    like.user = lp_reader_short(fields);
    identity_read(fields, &like);
    const uint32_t vhost_id = with_id ? lp_reader_u32le(fields) : 0;
    if (fields->failed || like.id == 0) {
        return false;
    }
    struct control_connection *old = control_connection(control, like.id);
    struct control_connection *connection = connection_copy(&like);
    if (old) {
        control_connection_free(control, old);
    }
    lp_map_insert(&control->connections_by_id, &connection->by_id, lp_map_hash_number(like.id));
    lp_chain_append(&control->connections, &connection->in_control);
    if (vhost_id != 0) {
        control_connection_opened(control, connection, vhost_id);
    }
    *ret_connection = connection;
    return true;
}

void
control_connection_gone(struct lp_control *control, uint64_t id)
{
    struct control_connection *connection = control_connection(control, id);
    if (connection) {
        control_connection_free(control, connection);
    }
    (void)lp_catalog_connection_gone(control->catalog, id); /* how many does not matter */
}

void
control_hello_begin(struct lp_control *control, uint32_t shard)
{
    LP_CHAIN_EACH(c, &control->connections)
    {
        struct control_connection *connection =
            LP_CONTAINER_OF(c, struct control_connection, in_control);
        if (connection->shard == shard) {
            connection->named = false;
        }
    }
}

/* Exclusive queues whose owner this shard did not name: it closed while nobody listened. */
static void
orphans_drop(struct lp_control *control, uint32_t shard)
{
    LP_CHAIN_EACH(v, &control->catalog->vhosts)
    {
        struct lp_catalog_vhost *vhost = LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        LP_CHAIN_EACH(q, &vhost->queues)
        {
            struct lp_catalog_queue *queue = LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost);
            if (queue->owner != 0 && queue->owner >> 48 == shard &&
                !control_connection(control, queue->owner)) {
                lp_catalog_queue_drop(control->catalog, queue);
            }
        }
    }
}

void
control_hello_end(struct lp_control *control, uint32_t shard)
{
    LP_CHAIN_EACH(c, &control->connections)
    {
        struct control_connection *connection =
            LP_CONTAINER_OF(c, struct control_connection, in_control);
        if (connection->shard == shard && !connection->named) {
            control_connection_free(control, connection);
        }
    }
    orphans_drop(control, shard);
}

void
control_connection_close(struct lp_control *control, const struct control_connection *connection,
                         const char *text)
{
    struct lp_writer w = control_writer(control);
    lp_writer_u64le(&w, connection->id);
    lp_writer_u16le(&w, LP_FAULT_CONNECTION_FORCED);
    lp_writer_short(&w, lp_bytes_of(text, (uint32_t)LP_MIN(strlen(text), (size_t)UINT8_MAX)));
    control_send(control, connection->shard, LP_CONTROL_CLOSE_CONNECTION, 0, lp_writer_bytes(&w));
}

void
control_connections_close(struct lp_control *control, struct lp_bytes user, uint32_t vhost_id,
                          const char *text)
{
    LP_CHAIN_EACH(c, &control->connections)
    {
        const struct control_connection *connection =
            LP_CONTAINER_OF(c, struct control_connection, in_control);
        if ((user.size == 0 || lp_bytes_equal(connection->user, user)) &&
            (vhost_id == 0 || connection->vhost_id == vhost_id)) {
            control_connection_close(control, connection, text);
        }
    }
}
