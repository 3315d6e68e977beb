/* SPDX-License-Identifier: Apache-2.0 */
/* list_connections.c - the table of connections with what shards count. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/admin_internal.h"

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

#define COLUMN(name, expression)                                      \
    static json_t *name(const void *item, struct lp_control *control) \
    {                                                                 \
        const struct row *row = item;                                 \
        const struct control_connection *c = row->connection;         \
        (void)control;                                                \
        (void)c;                                                      \
        return expression;                                            \
    }

static json_t *
peer_to_local(const struct control_connection *c)
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

static const char *
state_name(uint8_t state)
{
    static const char *const names[] = {"starting", "running", "blocked", "closing"};
    return state < LP_COUNT_OF(names) ? names[state] : "unknown";
}

COLUMN(name_column, peer_to_local(c))
COLUMN(pid_column, json_integer((json_int_t)c->id))
COLUMN(user_column, admin_text(c->user))
COLUMN(vhost_column, admin_text(c->vhost))
COLUMN(protocol_column, admin_text(c->protocol))
COLUMN(peer_host_column, address(c->peer_family, c->peer_ip))
COLUMN(peer_port_column, json_integer(c->peer_port))
COLUMN(host_column, address(c->local_family, c->local_ip))
COLUMN(port_column, json_integer(c->local_port))
COLUMN(state_column, json_string(state_name(row->state)))
COLUMN(channels_column, json_integer(row->channels))
COLUMN(timeout_column, json_integer(c->heartbeat_s))
COLUMN(frame_max_column, json_integer(c->frame_max))
COLUMN(channel_max_column, json_integer(c->channel_max))
COLUMN(properties_column, admin_table(c->client_properties))
COLUMN(connected_at_column, json_integer((json_int_t)c->connected_at_ms))
COLUMN(received_column, json_integer((json_int_t)row->received_bytes))
COLUMN(sent_column, json_integer((json_int_t)row->sent_bytes))
COLUMN(ssl_column, json_false())

static const struct admin_column columns[] = {
    {"pid", pid_column},
    {"name", name_column},
    {"port", port_column},
    {"host", host_column},
    {"peer_port", peer_port_column},
    {"peer_host", peer_host_column},
    {"ssl", ssl_column},
    {"ssl_protocol", NULL},
    {"ssl_key_exchange", NULL},
    {"ssl_cipher", NULL},
    {"ssl_hash", NULL},
    {"peer_cert_subject", NULL},
    {"peer_cert_issuer", NULL},
    {"peer_cert_validity", NULL},
    {"state", state_column},
    {"channels", channels_column},
    {"protocol", protocol_column},
    {"auth_mechanism", NULL},
    {"user", user_column},
    {"vhost", vhost_column},
    {"timeout", timeout_column},
    {"frame_max", frame_max_column},
    {"channel_max", channel_max_column},
    {"client_properties", properties_column},
    {"connected_at", connected_at_column},
    {"recv_oct", received_column},
    {"recv_cnt", NULL},
    {"send_oct", sent_column},
    {"send_cnt", NULL},
    {"send_pend", NULL},
    {NULL, NULL},
};

static void
listing_free(void *state)
{
    struct admin_listing *listing = state;
    json_decref(listing->rows);
    free(listing);
}

static void
connections_row(struct lp_control *control, void *context, struct lp_reader *fields)
{
    struct admin_task *task = context;
    struct row row = {.connection = control_connection(control, lp_reader_u64le(fields))};
    row.channels = lp_reader_u16le(fields);
    row.received_bytes = lp_reader_u64le(fields);
    row.sent_bytes = lp_reader_u64le(fields);
    row.state = lp_reader_u8(fields);
    if (!fields->failed && row.connection) {
        admin_listing_add(task->state, &row, control);
    }
}

static void
connections_done(struct lp_control *control, void *context, bool complete)
{
    struct admin_task *task = context;
    (void)control;
    if (complete) {
        admin_answer(task, admin_listing_take(task->state));
    } else {
        admin_fail(task, ADMIN_EXIT_TEMPORARY, "the data plane did not answer in time");
    }
}

void
admin_list_connections(struct admin_task *task)
{
    static const char *const defaults[] = {"user", "peer_host", "peer_port", "state", NULL};
    struct admin_listing listing;
    if (!admin_listing_init(&listing, task, columns, defaults)) {
        return;
    }
    struct admin_listing *state = lp_heap_alloc(sizeof(*state));
    *state = listing;
    task->state = state;
    task->state_free = listing_free;
    const struct control_query query = {.type = LP_CONTROL_LIST_CONNECTIONS,
                                        .row = connections_row,
                                        .done = connections_done,
                                        .context = task};
    control_query_add(task->control, &query);
}
