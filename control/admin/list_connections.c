/* SPDX-License-Identifier: Apache-2.0 */
/* list_connections.c - the table of connections with what shards count. */
#include <arpa/inet.h>
#include <stdio.h>

#include "control/admin/admin_internal.h"
#include "control/command/columns.h"

struct row {
    const struct control_connection *connection;
    uint16_t channels;
    uint64_t received_bytes, sent_bytes;
    uint8_t state;
};

static json_t *
address(uint8_t family, const uint8_t ip[16])
{
    char text[INET6_ADDRSTRLEN] = "";
    const char *made = inet_ntop(family == 6 ? AF_INET6 : AF_INET, ip, text, sizeof(text));
    return family == 1 ? json_string("unix") : json_string(made ? made : "");
}

json_t *
admin_connection_name(const struct control_connection *c)
{
    char peer[INET6_ADDRSTRLEN] = "unix";
    char local[INET6_ADDRSTRLEN] = "unix";
    if (c->peer_family != 1) {
        (void)inet_ntop(c->peer_family == 6 ? AF_INET6 : AF_INET, c->peer_ip, peer, sizeof(peer));
        (void)inet_ntop(c->local_family == 6 ? AF_INET6 : AF_INET, c->local_ip, local,
                        sizeof(local)); /* both have room */
    }
    return json_sprintf("%s:%u -> %s:%u", peer, c->peer_port, local, c->local_port);
}

/* "AMQP 0-9-1" as [0,9,1]; what has no numbers stays text. */
static json_t *
protocol_version(struct lp_bytes protocol)
{
    json_t *version = json_array();
    for (uint32_t i = 0; i < protocol.size; i++) {
        if (protocol.data[i] >= '0' && protocol.data[i] <= '9') {
            admin_append(version, json_integer(protocol.data[i] - '0'));
        }
    }
    if (json_array_size(version) == 3) {
        return version;
    }
    json_decref(version);
    return admin_text(protocol);
}

static const char *
state_name(uint8_t state)
{
    static const char *const names[] = {"starting", "running", "blocked", "closing"};
    return state < LP_COUNT_OF(names) ? names[state] : "unknown";
}

#define CONNECTION_COLUMN(id, expression)                                           \
    static json_t *connection_##id(const void *item, const struct admin_task *task) \
    {                                                                               \
        const struct row *row = item;                                               \
        const struct control_connection *c = row->connection;                       \
        (void)task;                                                                 \
        (void)c;                                                                    \
        return expression;                                                          \
    }

CONNECTION_COLUMN(name, admin_connection_name(c))
CONNECTION_COLUMN(pid, admin_pid(task, ADMIN_PID_CONNECTION, c->id, 0))
CONNECTION_COLUMN(user, admin_text(c->user))
CONNECTION_COLUMN(vhost, admin_text(c->vhost))
CONNECTION_COLUMN(protocol, protocol_version(c->protocol))
CONNECTION_COLUMN(peer_host, address(c->peer_family, c->peer_ip))
CONNECTION_COLUMN(peer_port, json_integer(c->peer_port))
CONNECTION_COLUMN(host, address(c->local_family, c->local_ip))
CONNECTION_COLUMN(port, json_integer(c->local_port))
CONNECTION_COLUMN(state, json_string(state_name(row->state)))
CONNECTION_COLUMN(channels, json_integer(row->channels))
CONNECTION_COLUMN(timeout, json_integer(c->heartbeat_s))
CONNECTION_COLUMN(frame_max, json_integer(c->frame_max))
CONNECTION_COLUMN(channel_max, json_integer(c->channel_max))
CONNECTION_COLUMN(client_properties, admin_table(c->client_properties, false))
CONNECTION_COLUMN(connected_at, json_integer((json_int_t)c->connected_at_ms))
CONNECTION_COLUMN(recv_oct, json_integer((json_int_t)row->received_bytes))
CONNECTION_COLUMN(send_oct, json_integer((json_int_t)row->sent_bytes))
CONNECTION_COLUMN(ssl, json_boolean(c->ssl))
CONNECTION_COLUMN(ssl_protocol, admin_text(c->ssl_protocol))
CONNECTION_COLUMN(ssl_key_exchange, admin_text(c->ssl_key_exchange))
CONNECTION_COLUMN(ssl_cipher, admin_text(c->ssl_cipher))
CONNECTION_COLUMN(ssl_hash, admin_text(c->ssl_hash))
CONNECTION_COLUMN(peer_cert_subject, admin_text(c->peer_cert_subject))
CONNECTION_COLUMN(peer_cert_issuer, admin_text(c->peer_cert_issuer))
CONNECTION_COLUMN(peer_cert_validity, admin_text(c->peer_cert_validity))
CONNECTION_COLUMN(auth_mechanism, admin_text(c->mechanism))
/* Packets are not counted. */
#define connection_recv_cnt  admin_column_zero
#define connection_send_cnt  admin_column_zero
#define connection_send_pend admin_column_zero

static void
connections_row(struct admin_task *task, struct lp_reader *fields)
{
    struct row row = {.connection = control_connection(task->control, lp_reader_u64le(fields))};
    row.channels = lp_reader_u16le(fields);
    row.received_bytes = lp_reader_u64le(fields);
    row.sent_bytes = lp_reader_u64le(fields);
    row.state = lp_reader_u8(fields);
    if (!fields->failed && row.connection) {
        admin_listing_add(task->state, &row, task);
    }
}

static void
connections_done(struct admin_task *task)
{
    admin_answer(task, admin_listing_take(task->state));
}

void
admin_list_connections(struct admin_task *task)
{
#define X(id) {#id, connection_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_CONNECTIONS(X){NULL, NULL}};
#undef X
    static const struct admin_query query = {
        .type = LP_CONTROL_LIST_CONNECTIONS, .row = connections_row, .done = connections_done};
    admin_listing_keep(task, columns);
    admin_query(task, &query);
}
