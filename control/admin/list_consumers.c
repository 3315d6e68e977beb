/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_consumers.c - the table of consumers.
 *
 * A consumer's own shard knows its tag, and the queue's which one of several
 * is active (C120): queues are asked first.
 */
#include <stdlib.h>

#include "control/admin/admin_internal.h"
#include "control/command/columns.h"

/* The consumer that has a queue for itself. */
struct sole {
    struct lp_map_node by_queue;
    struct sole *next;
    uint32_t queue_id;
    uint16_t shard;
    uint64_t handle;
};

struct consumers_state {
    struct admin_listing listing;
    struct lp_map by_queue;
    struct sole *all;
    const struct lp_catalog_vhost *vhost;
};

struct consumer_row {
    const struct lp_catalog_queue *queue;
    uint64_t connection;
    uint16_t channel;
    struct lp_bytes tag, arguments;
    uint32_t prefetch;
    bool ack_required, exclusive;
    const struct sole *sole; /* of its queue, or NULL */
    bool active;
};

static const char *
activity(const struct consumer_row *row)
{
    if (!row->sole || row->exclusive) {
        return "up";
    }
    return row->active ? "single_active" : "waiting";
}

#define CONSUMER_COLUMN(id, expression)                                           \
    static json_t *consumer_##id(const void *item, const struct admin_task *task) \
    {                                                                             \
        const struct consumer_row *row = item;                                    \
        (void)task;                                                               \
        return expression;                                                        \
    }

CONSUMER_COLUMN(queue_name, admin_text(row->queue->name))
CONSUMER_COLUMN(channel_pid, admin_pid(task, ADMIN_PID_CHANNEL, row->connection, row->channel))
CONSUMER_COLUMN(consumer_tag, admin_text(row->tag))
CONSUMER_COLUMN(ack_required, json_boolean(row->ack_required))
CONSUMER_COLUMN(prefetch_count, json_integer(row->prefetch))
CONSUMER_COLUMN(active, json_boolean(row->active))
CONSUMER_COLUMN(activity_status, json_string(activity(row)))
CONSUMER_COLUMN(arguments, admin_table(row->arguments, true))

static void
consumers_free(void *context)
{
    struct consumers_state *state = context;
    while (state->all) {
        struct sole *sole = state->all;
        state->all = sole->next;
        free(sole);
    }
    lp_map_fini(&state->by_queue);
    json_decref(state->listing.rows);
    free(state);
}

/* ---- first: the consumers that queues belong to ---- */

static void
soles_row(struct admin_task *task, struct lp_reader *fields)
{
    struct consumers_state *state = task->state;
    const uint32_t id = lp_reader_u32le(fields);
    /* ready, unacked, consumers, bytes, state, unacked_bytes, persistent */
    (void)lp_reader_take(fields, 8 + 8 + 4 + 8 + 1 + 8 + 8);
    const uint16_t shard = lp_reader_u16le(fields);
    const uint64_t handle = lp_reader_u64le(fields);
    if (fields->failed || handle == 0) {
        return;
    }
    struct sole *sole = lp_heap_alloc(sizeof(*sole));
    sole->queue_id = id;
    sole->shard = shard;
    sole->handle = handle;
    sole->next = state->all;
    state->all = sole;
    lp_map_insert(&state->by_queue, &sole->by_queue, lp_map_hash_number(id));
}

static const struct sole *
sole_find(const struct consumers_state *state, uint32_t queue_id)
{
    struct lp_map_node *node = lp_map_first(&state->by_queue, lp_map_hash_number(queue_id));
    for (; node; node = lp_map_next(node)) {
        const struct sole *sole = LP_CONTAINER_OF(node, struct sole, by_queue);
        if (sole->queue_id == queue_id) {
            return sole;
        }
    }
    return NULL;
}

/* ---- then: consumers ---- */

static void
consumers_row(struct admin_task *task, struct lp_reader *fields)
{
    struct consumers_state *state = task->state;
    struct consumer_row row = {
        .queue = lp_catalog_queue_by_id(task->control->catalog, lp_reader_u32le(fields))};
    row.connection = lp_reader_u64le(fields);
    row.channel = lp_reader_u16le(fields);
    row.tag = lp_reader_short(fields);
    row.ack_required = lp_reader_u8(fields) != 0;
    row.prefetch = lp_reader_u32le(fields);
    row.exclusive = lp_reader_u8(fields) != 0;
    row.arguments = lp_reader_long_le(fields);
    const uint64_t handle = lp_reader_u64le(fields);
    if (fields->failed || !row.queue || row.queue->vhost != state->vhost) {
        return;
    }
    row.sole = sole_find(state, row.queue->id);
    row.active = !row.sole || (row.sole->handle == handle &&
                               row.sole->shard == (uint16_t)(row.connection >> 48));
    admin_listing_add(&state->listing, &row, task);
}

static void
consumers_done(struct admin_task *task)
{
    struct consumers_state *state = task->state;
    admin_answer(task, admin_listing_take(&state->listing));
}

static void
soles_done(struct admin_task *task)
{
    static const struct admin_query query = {
        .type = LP_CONTROL_LIST_CONSUMERS, .row = consumers_row, .done = consumers_done};
    struct consumers_state *state = task->state;
    /* A vhost may have gone meanwhile: then there are no consumers in it. */
    state->vhost = admin_vhost_or_none(task);
    admin_query(task, &query);
}

void
admin_list_consumers(struct admin_task *task)
{
#define X(id) {#id, consumer_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_CONSUMERS(X){NULL, NULL}};
#undef X
    static const struct admin_query query = {
        .type = LP_CONTROL_LIST_QUEUES, .row = soles_row, .done = soles_done};
    struct consumers_state *state = lp_heap_alloc(sizeof(*state));
    admin_listing_init(&state->listing, task, columns);
    task->state = state;
    task->state_free = consumers_free;
    admin_query(task, &query);
}
