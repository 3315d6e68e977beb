/* SPDX-License-Identifier: Apache-2.0 */
/* list_queues.c - queues: half of what there is to know is in the shards. */
#include <stdlib.h>

#include "control/admin/admin_internal.h"
#include "control/command/columns.h"

/* What a queue's home says about it. */
struct queue_counts {
    struct lp_map_node by_id;
    struct queue_counts *next;
    uint32_t id;
    uint32_t consumers;
    uint64_t ready, unacked, bytes, unacked_bytes;
    uint64_t persistent, persistent_bytes;
    uint64_t paged_out, paged_out_bytes; /* of those that are ready */
};

/* The consumer that a queue is exclusive to (C119); not one of several that is active. */
struct queue_holder {
    struct lp_map_node by_id;
    struct queue_holder *next;
    uint32_t id;
    uint64_t connection;
    uint16_t channel;
    json_t *tag;
};

struct queue_row {
    const struct lp_catalog_queue *queue;
    struct queue_counts counts;
    const struct queue_holder *holder; /* NULL: there is none, or nobody wants to know */
};

struct queues_state {
    struct admin_listing listing;
    struct lp_map by_id;
    struct queue_counts *all;
    struct lp_map holders_by_id;
    struct queue_holder *holders;
};

static json_t *
policy_name(const struct lp_catalog_policy *policy)
{
    return policy ? admin_text(policy->name) : json_string("");
}

/* An object, or an empty list, as an empty one looks like in RabbitMQ. */
static json_t *
effective_definition(const struct lp_catalog_policy *policy,
                     const struct lp_catalog_policy *operator_policy)
{
    struct lp_bytebuf text = {0};
    lp_catalog_policies_merge(policy, operator_policy, &text);
    json_t *definition = json_loadb((const char *)text.data, text.size, 0, NULL);
    lp_bytebuf_fini(&text);
    LP_ASSERT(definition != NULL);
    if (json_object_size(definition) > 0) {
        return definition;
    }
    json_decref(definition);
    return json_array();
}

#define QUEUE_COLUMN(id, expression)                                           \
    static json_t *queue_##id(const void *item, const struct admin_task *task) \
    {                                                                          \
        const struct queue_row *row = item;                                    \
        (void)row;                                                             \
        (void)task;                                                            \
        return expression;                                                     \
    }
#define FLAG(flag)    json_boolean((row->queue->flags & (flag)) != 0)
#define COUNT(number) json_integer((json_int_t)(number))

QUEUE_COLUMN(name, admin_text(row->queue->name))
QUEUE_COLUMN(durable, FLAG(LP_OBJECT_DURABLE))
QUEUE_COLUMN(auto_delete, FLAG(LP_OBJECT_AUTO_DELETE))
QUEUE_COLUMN(exclusive, FLAG(LP_OBJECT_EXCLUSIVE))
QUEUE_COLUMN(arguments, admin_table(row->queue->arguments, true))
QUEUE_COLUMN(policy, policy_name(row->queue->policy))
QUEUE_COLUMN(operator_policy, policy_name(row->queue->operator_policy))
QUEUE_COLUMN(effective_policy_definition,
             effective_definition(row->queue->policy, row->queue->operator_policy))
QUEUE_COLUMN(pid, admin_pid(task, ADMIN_PID_QUEUE, row->queue->id, 0))
QUEUE_COLUMN(owner_pid, row->queue->owner == 0
                            ? json_string("")
                            : admin_pid(task, ADMIN_PID_CONNECTION, row->queue->owner, 0))
QUEUE_COLUMN(exclusive_consumer_pid,
             row->holder
                 ? admin_pid(task, ADMIN_PID_CHANNEL, row->holder->connection, row->holder->channel)
                 : json_string(""))
QUEUE_COLUMN(exclusive_consumer_tag, row->holder ? json_incref(row->holder->tag) : json_string(""))
QUEUE_COLUMN(messages_ready, COUNT(row->counts.ready))
QUEUE_COLUMN(messages_unacknowledged, COUNT(row->counts.unacked))
QUEUE_COLUMN(messages, COUNT(row->counts.ready + row->counts.unacked))
QUEUE_COLUMN(messages_ready_ram, COUNT(row->counts.ready - row->counts.paged_out))
QUEUE_COLUMN(messages_ram, COUNT(row->counts.ready + row->counts.unacked - row->counts.paged_out))
QUEUE_COLUMN(messages_persistent, COUNT(row->counts.persistent))
QUEUE_COLUMN(messages_paged_out, COUNT(row->counts.paged_out))
QUEUE_COLUMN(message_bytes, COUNT(row->counts.bytes + row->counts.unacked_bytes))
QUEUE_COLUMN(message_bytes_ready, COUNT(row->counts.bytes))
QUEUE_COLUMN(message_bytes_ram,
             COUNT(row->counts.bytes + row->counts.unacked_bytes - row->counts.paged_out_bytes))
QUEUE_COLUMN(message_bytes_persistent, COUNT(row->counts.persistent_bytes))
QUEUE_COLUMN(message_bytes_paged_out, COUNT(row->counts.paged_out_bytes))
QUEUE_COLUMN(message_bytes_unacknowledged, COUNT(row->counts.unacked_bytes))
QUEUE_COLUMN(consumers, COUNT(row->counts.consumers))
QUEUE_COLUMN(state, json_string("running"))
QUEUE_COLUMN(type, json_string(lp_queue_kind_name(row->queue->kind)))
QUEUE_COLUMN(leader, json_string(task->node))
QUEUE_COLUMN(members, json_pack("[s]", task->node))

/* What is delivered is in memory. */
#define queue_messages_unacknowledged_ram queue_messages_unacknowledged
/* Not counted, or nothing that exists here. */
#define queue_head_message_timestamp admin_column_empty
#define queue_disk_reads             admin_column_zero
#define queue_disk_writes            admin_column_zero
#define queue_consumer_utilisation   admin_column_zero
#define queue_consumer_capacity      admin_column_zero
#define queue_memory                 queue_message_bytes_ram
#define queue_online                 admin_column_empty

static void
queues_free(void *context)
{
    struct queues_state *state = context;
    while (state->all) {
        struct queue_counts *counts = state->all;
        state->all = counts->next;
        free(counts);
    }
    while (state->holders) {
        struct queue_holder *holder = state->holders;
        state->holders = holder->next;
        json_decref(holder->tag);
        free(holder);
    }
    lp_map_fini(&state->by_id);
    lp_map_fini(&state->holders_by_id);
    json_decref(state->listing.rows);
    free(state);
}

static void
queues_row(struct admin_task *task, struct lp_reader *fields)
{
    struct queues_state *state = task->state;
    struct queue_counts *counts = lp_heap_alloc(sizeof(*counts));
    counts->id = lp_reader_u32le(fields);
    counts->ready = lp_reader_u64le(fields);
    counts->unacked = lp_reader_u64le(fields);
    counts->consumers = lp_reader_u32le(fields);
    counts->bytes = lp_reader_u64le(fields);
    (void)lp_reader_u8(fields); /* state */
    counts->unacked_bytes = lp_reader_u64le(fields);
    counts->persistent = lp_reader_u64le(fields);
    (void)lp_reader_u16le(fields); /* the sole consumer's shard */
    (void)lp_reader_u64le(fields); /* ... and handle */
    counts->persistent_bytes = lp_reader_u64le(fields);
    const uint64_t paged_out = lp_reader_u64le(fields);
    const uint64_t paged_out_bytes = lp_reader_u64le(fields);
    counts->paged_out = LP_MIN(paged_out, counts->ready);
    counts->paged_out_bytes = LP_MIN(paged_out_bytes, counts->bytes);
    counts->next = state->all;
    state->all = counts;
    lp_map_insert(&state->by_id, &counts->by_id, lp_map_hash_number(counts->id));
}

static struct queue_counts
counts_find(const struct queues_state *state, uint32_t id)
{
    struct lp_map_node *node = lp_map_first(&state->by_id, lp_map_hash_number(id));
    for (; node; node = lp_map_next(node)) {
        const struct queue_counts *counts = LP_CONTAINER_OF(node, struct queue_counts, by_id);
        if (counts->id == id) {
            return *counts;
        }
    }
    return (struct queue_counts){.id = id};
}

static const struct queue_holder *
holder_find(const struct queues_state *state, uint32_t id)
{
    struct lp_map_node *node = lp_map_first(&state->holders_by_id, lp_map_hash_number(id));
    for (; node; node = lp_map_next(node)) {
        const struct queue_holder *holder = LP_CONTAINER_OF(node, struct queue_holder, by_id);
        if (holder->id == id) {
            return holder;
        }
    }
    return NULL;
}

static void
queues_tell(struct admin_task *task)
{
    struct queues_state *state = task->state;
    const struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    /* Every queue can be reached: those that cannot are none. */
    const bool none = admin_switch(task, "offline") && !admin_switch(task, "online") &&
                      !admin_switch(task, "local");
    if (vhost && !none) {
        LP_CHAIN_EACH(link, &vhost->queues)
        {
            struct queue_row row = {.queue =
                                        LP_CONTAINER_OF(link, struct lp_catalog_queue, in_vhost)};
            row.counts = counts_find(state, row.queue->id);
            row.holder = holder_find(state, row.queue->id);
            admin_listing_add(&state->listing, &row, task);
        }
    }
    admin_answer(task, admin_listing_take(&state->listing));
}

static void
holders_row(struct admin_task *task, struct lp_reader *fields)
{
    struct queues_state *state = task->state;
    struct queue_holder like = {.id = lp_reader_u32le(fields)};
    like.connection = lp_reader_u64le(fields);
    like.channel = lp_reader_u16le(fields);
    const struct lp_bytes tag = lp_reader_short(fields);
    (void)lp_reader_u8(fields);    /* does it acknowledge */
    (void)lp_reader_u32le(fields); /* prefetch */
    const bool exclusive = lp_reader_u8(fields) != 0;
    if (fields->failed || !exclusive) {
        return;
    }
    struct queue_holder *holder = lp_heap_alloc(sizeof(*holder));
    *holder = like;
    holder->tag = admin_text(tag);
    holder->next = state->holders;
    state->holders = holder;
    lp_map_insert(&state->holders_by_id, &holder->by_id, lp_map_hash_number(holder->id));
}

static bool
holders_are_wanted(const struct admin_listing *listing)
{
    for (size_t i = 0; i < listing->chosen_count; i++) {
        if (strncmp(listing->columns[listing->chosen[i]].name, "exclusive_consumer_",
                    strlen("exclusive_consumer_")) == 0) {
            return true;
        }
    }
    return false;
}

static void
queues_done(struct admin_task *task)
{
    static const struct admin_query query = {
        .type = LP_CONTROL_LIST_CONSUMERS, .row = holders_row, .done = queues_tell};
    const struct queues_state *state = task->state;
    if (holders_are_wanted(&state->listing)) {
        admin_query(task, &query);
    } else {
        queues_tell(task);
    }
}

void
admin_list_queues(struct admin_task *task)
{
#define X(id) {#id, queue_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_QUEUES(X){NULL, NULL}};
#undef X
    static const struct admin_query query = {
        .type = LP_CONTROL_LIST_QUEUES, .row = queues_row, .done = queues_done};
    struct queues_state *state = lp_heap_alloc(sizeof(*state));
    admin_listing_init(&state->listing, task, columns);
    task->state = state;
    task->state_free = queues_free;
    admin_query(task, &query);
}
