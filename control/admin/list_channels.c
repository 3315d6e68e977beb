/* SPDX-License-Identifier: Apache-2.0 */
/* list_channels.c - the table of channels, as their shards know them. */
#include "control/admin/admin_internal.h"
#include "control/command/columns.h"

struct channel_row {
    const struct control_connection *connection;
    uint16_t number;
    uint32_t consumers, prefetch;
    uint64_t unacked, unconfirmed, uncommitted_messages, uncommitted_acks;
    bool transactional, confirming;
};

static json_t *
channel_name(const void *item, const struct admin_task *task)
{
    const struct channel_row *row = item;
    (void)task;
    json_t *connection = admin_connection_name(row->connection);
    json_t *name = json_sprintf("%s (%u)", json_string_value(connection), row->number);
    json_decref(connection);
    return name;
}

#define CHANNEL_COLUMN(id, expression)                                           \
    static json_t *channel_##id(const void *item, const struct admin_task *task) \
    {                                                                            \
        const struct channel_row *row = item;                                    \
        (void)task;                                                              \
        return expression;                                                       \
    }
#define COUNT(number) json_integer((json_int_t)(number))

CHANNEL_COLUMN(pid, admin_pid(task, ADMIN_PID_CHANNEL, row->connection->id, row->number))
CHANNEL_COLUMN(connection, admin_pid(task, ADMIN_PID_CONNECTION, row->connection->id, 0))
CHANNEL_COLUMN(number, COUNT(row->number))
CHANNEL_COLUMN(user, admin_text(row->connection->user))
CHANNEL_COLUMN(vhost, admin_text(row->connection->vhost))
CHANNEL_COLUMN(transactional, json_boolean(row->transactional))
CHANNEL_COLUMN(confirm, json_boolean(row->confirming))
CHANNEL_COLUMN(consumer_count, COUNT(row->consumers))
CHANNEL_COLUMN(messages_unacknowledged, COUNT(row->unacked))
CHANNEL_COLUMN(messages_uncommitted, COUNT(row->uncommitted_messages))
CHANNEL_COLUMN(acks_uncommitted, COUNT(row->uncommitted_acks))
CHANNEL_COLUMN(messages_unconfirmed, COUNT(row->unconfirmed))
CHANNEL_COLUMN(prefetch_count, COUNT(row->prefetch))

static void
channels_row(struct admin_task *task, struct lp_reader *fields)
{
    struct channel_row row = {.connection =
                                  control_connection(task->control, lp_reader_u64le(fields))};
    row.number = lp_reader_u16le(fields);
    row.consumers = lp_reader_u32le(fields);
    row.unacked = lp_reader_u64le(fields);
    row.unconfirmed = lp_reader_u64le(fields);
    row.uncommitted_messages = lp_reader_u64le(fields);
    row.uncommitted_acks = lp_reader_u64le(fields);
    row.prefetch = lp_reader_u32le(fields);
    (void)lp_reader_u32le(fields); /* shared prefetch: rabbitmqctl shows it no more */
    row.transactional = lp_reader_u8(fields) != 0;
    row.confirming = lp_reader_u8(fields) != 0;
    if (!fields->failed && row.connection) {
        admin_listing_add(task->state, &row, task);
    }
}

static void
channels_done(struct admin_task *task)
{
    admin_answer(task, admin_listing_take(task->state));
}

void
admin_list_channels(struct admin_task *task)
{
#define X(id) {#id, channel_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_CHANNELS(X){NULL, NULL}};
#undef X
    static const struct admin_query query = {
        .type = LP_CONTROL_LIST_CHANNELS, .row = channels_row, .done = channels_done};
    (void)admin_listing_keep(task, columns);
    admin_query(task, &query);
}
