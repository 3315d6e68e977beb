/* SPDX-License-Identifier: Apache-2.0 */
/* list_topology.c - list_queues, list_exchanges, list_bindings, list_vhosts. */
#include <stdlib.h>

#include "control/admin/admin_internal.h"

/* ---- queues: half of it is in the shards ---- */

struct queue_counts {
    struct lp_map_node by_id;
    struct queue_counts *next;
    uint32_t id;
    uint32_t consumers;
    uint64_t ready, unacked, bytes;
};

struct queue_row {
    const struct lp_catalog_queue *queue;
    struct queue_counts counts;
};

struct queues_state {
    struct admin_listing listing;
    uint32_t vhost_id;
    struct lp_map by_id;
    struct queue_counts *all;
};

static json_t *
queue_name(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct queue_row *)item)->queue->name);
}

static json_t *
queue_flag(const void *item, uint8_t flag)
{
    return json_boolean((((const struct queue_row *)item)->queue->flags & flag) != 0);
}

static json_t *
queue_durable(const void *item, struct lp_control *control)
{
    (void)control;
    return queue_flag(item, LP_OBJECT_DURABLE);
}

static json_t *
queue_auto_delete(const void *item, struct lp_control *control)
{
    (void)control;
    return queue_flag(item, LP_OBJECT_AUTO_DELETE);
}

static json_t *
queue_exclusive(const void *item, struct lp_control *control)
{
    (void)control;
    return queue_flag(item, LP_OBJECT_EXCLUSIVE);
}

static json_t *
queue_arguments(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_table(((const struct queue_row *)item)->queue->arguments);
}

static json_t *
count_of(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *
queue_ready(const void *item, struct lp_control *control)
{
    (void)control;
    return count_of(((const struct queue_row *)item)->counts.ready);
}

static json_t *
queue_unacked(const void *item, struct lp_control *control)
{
    (void)control;
    return count_of(((const struct queue_row *)item)->counts.unacked);
}

static json_t *
queue_messages(const void *item, struct lp_control *control)
{
    const struct queue_row *row = item;
    (void)control;
    return count_of(row->counts.ready + row->counts.unacked);
}

static json_t *
queue_bytes(const void *item, struct lp_control *control)
{
    (void)control;
    return count_of(((const struct queue_row *)item)->counts.bytes);
}

static json_t *
queue_consumers(const void *item, struct lp_control *control)
{
    (void)control;
    return count_of(((const struct queue_row *)item)->counts.consumers);
}

static json_t *
queue_home(const void *item, struct lp_control *control)
{
    (void)control;
    return json_sprintf("shard-%u", ((const struct queue_row *)item)->queue->home_shard);
}

static json_t *
queue_owner(const void *item, struct lp_control *control)
{
    const uint64_t owner = ((const struct queue_row *)item)->queue->owner;
    (void)control;
    return owner == 0 ? json_string("") : count_of(owner);
}

static json_t *
queue_state(const void *item, struct lp_control *control)
{
    (void)item;
    (void)control;
    return json_string("running");
}

static json_t *
queue_type(const void *item, struct lp_control *control)
{
    (void)item;
    (void)control;
    return json_string("classic");
}

/* rabbitmqctl's names; those without a function have no meaning here and are empty. */
static const struct admin_column queue_columns[] = {
    {"name", queue_name},
    {"durable", queue_durable},
    {"auto_delete", queue_auto_delete},
    {"arguments", queue_arguments},
    {"policy", NULL},
    {"operator_policy", NULL},
    {"effective_policy_definition", NULL},
    {"pid", queue_home},
    {"owner_pid", queue_owner},
    {"exclusive", queue_exclusive},
    {"exclusive_consumer_pid", NULL},
    {"exclusive_consumer_tag", NULL},
    {"messages_ready", queue_ready},
    {"messages_unacknowledged", queue_unacked},
    {"messages", queue_messages},
    {"messages_ready_ram", queue_ready},
    {"messages_unacknowledged_ram", queue_unacked},
    {"messages_ram", queue_messages},
    {"messages_persistent", NULL},
    {"message_bytes", queue_bytes},
    {"message_bytes_ready", NULL},
    {"message_bytes_unacknowledged", NULL},
    {"message_bytes_ram", queue_bytes},
    {"message_bytes_persistent", NULL},
    {"head_message_timestamp", NULL},
    {"disk_reads", NULL},
    {"disk_writes", NULL},
    {"consumers", queue_consumers},
    {"consumer_utilisation", NULL},
    {"consumer_capacity", NULL},
    {"memory", NULL},
    {"slave_pids", NULL},
    {"synchronised_slave_pids", NULL},
    {"state", queue_state},
    {"type", queue_type},
    {"leader", queue_home},
    {"members", NULL},
    {"online", NULL},
    {NULL, NULL},
};

static void
queues_free(void *context)
{
    struct queues_state *state = context;
    while (state->all) {
        struct queue_counts *counts = state->all;
        state->all = counts->next;
        free(counts);
    }
    lp_map_fini(&state->by_id);
    json_decref(state->listing.rows);
    free(state);
}

static void
queues_row(struct lp_control *control, void *context, struct lp_reader *row)
{
    struct admin_task *task = context;
    struct queues_state *state = task->state;
    struct queue_counts *counts = lp_heap_alloc(sizeof(*counts));
    (void)control;
    counts->id = lp_reader_u32le(row);
    counts->ready = lp_reader_u64le(row);
    counts->unacked = lp_reader_u64le(row);
    counts->consumers = lp_reader_u32le(row);
    counts->bytes = lp_reader_u64le(row);
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

static void
queues_done(struct lp_control *control, void *context, bool complete)
{
    struct admin_task *task = context;
    struct queues_state *state = task->state;
    if (!complete) {
        admin_fail(task, ADMIN_EXIT_TEMPORARY, "the data plane did not answer in time");
        return;
    }
    const struct lp_catalog_vhost *vhost =
        lp_catalog_vhost_by_id(control->catalog, state->vhost_id);
    if (vhost) {
        LP_CHAIN_EACH(link, &vhost->queues)
        {
            struct queue_row row = {.queue =
                                        LP_CONTAINER_OF(link, struct lp_catalog_queue, in_vhost)};
            row.counts = counts_find(state, row.queue->id);
            admin_listing_add(&state->listing, &row, control);
        }
    }
    admin_answer(task, admin_listing_take(&state->listing));
}

void
admin_list_queues(struct admin_task *task)
{
    static const char *const defaults[] = {"name", "messages", NULL};
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost || !admin_listing_init(&listing, task, queue_columns, defaults)) {
        return;
    }
    struct queues_state *state = lp_heap_alloc(sizeof(*state));
    state->listing = listing;
    state->vhost_id = vhost->id;
    task->state = state;
    task->state_free = queues_free;
    const struct control_query query = {
        .type = LP_CONTROL_LIST_QUEUES, .row = queues_row, .done = queues_done, .context = task};
    control_query_add(task->control, &query);
}

/* ---- exchanges ---- */

static json_t *
exchange_name(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct lp_catalog_exchange *)item)->name);
}

static json_t *
exchange_type(const void *item, struct lp_control *control)
{
    (void)control;
    return json_string(lp_exchange_kind_name(((const struct lp_catalog_exchange *)item)->kind));
}

static json_t *
exchange_durable(const void *item, struct lp_control *control)
{
    (void)control;
    return json_boolean(((const struct lp_catalog_exchange *)item)->flags & LP_OBJECT_DURABLE);
}

static json_t *
exchange_auto_delete(const void *item, struct lp_control *control)
{
    (void)control;
    return json_boolean(((const struct lp_catalog_exchange *)item)->flags & LP_OBJECT_AUTO_DELETE);
}

static json_t *
exchange_internal(const void *item, struct lp_control *control)
{
    (void)control;
    return json_boolean(((const struct lp_catalog_exchange *)item)->flags & LP_OBJECT_INTERNAL);
}

static json_t *
exchange_arguments(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_table(((const struct lp_catalog_exchange *)item)->arguments);
}

void
admin_list_exchanges(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"name", exchange_name},
        {"type", exchange_type},
        {"durable", exchange_durable},
        {"auto_delete", exchange_auto_delete},
        {"internal", exchange_internal},
        {"arguments", exchange_arguments},
        {"policy", NULL},
        {NULL, NULL},
    };
    static const char *const defaults[] = {"name", "type", NULL};
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost || !admin_listing_init(&listing, task, columns, defaults)) {
        return;
    }
    LP_CHAIN_EACH(link, &vhost->exchanges)
    {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_exchange, in_vhost),
                          task->control);
    }
    admin_answer(task, admin_listing_take(&listing));
}

/* ---- bindings ---- */

/* What a row shows; the default exchange's bindings exist nowhere else. */
struct binding_row {
    struct lp_bytes source, destination, key, arguments;
    bool to_queue;
};

static json_t *
binding_source(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct binding_row *)item)->source);
}

static json_t *
binding_source_kind(const void *item, struct lp_control *control)
{
    (void)item;
    (void)control;
    return json_string("exchange");
}

static json_t *
binding_destination(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct binding_row *)item)->destination);
}

static json_t *
binding_destination_kind(const void *item, struct lp_control *control)
{
    (void)control;
    return json_string(((const struct binding_row *)item)->to_queue ? "queue" : "exchange");
}

static json_t *
binding_key(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct binding_row *)item)->key);
}

static json_t *
binding_arguments(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_table(((const struct binding_row *)item)->arguments);
}

static void
bindings_of_exchange(struct admin_listing *listing, const struct lp_catalog_exchange *exchange,
                     struct lp_control *control)
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
        admin_listing_add(listing, &row, control);
    }
}

void
admin_list_bindings(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"source_name", binding_source},
        {"source_kind", binding_source_kind},
        {"destination_name", binding_destination},
        {"destination_kind", binding_destination_kind},
        {"routing_key", binding_key},
        {"arguments", binding_arguments},
        {NULL, NULL},
    };
    static const char *const defaults[] = {
        "source_name", "source_kind", "destination_name", "destination_kind", "routing_key",
        "arguments",   NULL};
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost || !admin_listing_init(&listing, task, columns, defaults)) {
        return;
    }
    LP_CHAIN_EACH(q, &vhost->queues)
    {
        const struct lp_catalog_queue *queue =
            LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost);
        const struct binding_row row = {
            .destination = queue->name, .key = queue->name, .to_queue = true};
        admin_listing_add(&listing, &row, task->control);
    }
    LP_CHAIN_EACH(x, &vhost->exchanges)
    {
        bindings_of_exchange(&listing, LP_CONTAINER_OF(x, struct lp_catalog_exchange, in_vhost),
                             task->control);
    }
    admin_answer(task, admin_listing_take(&listing));
}

/* ---- vhosts ---- */

static json_t *
vhost_name(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct lp_catalog_vhost *)item)->name);
}

static json_t *
vhost_tracing(const void *item, struct lp_control *control)
{
    (void)item;
    (void)control;
    return json_false();
}

static json_t *
vhost_queue_type(const void *item, struct lp_control *control)
{
    (void)item;
    (void)control;
    return json_string("classic");
}

void
admin_list_vhosts(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"name", vhost_name},
        {"tracing", vhost_tracing},
        {"default_queue_type", vhost_queue_type},
        {"description", NULL},
        {"tags", NULL},
        {"cluster_state", NULL},
        {NULL, NULL},
    };
    static const char *const defaults[] = {"name", NULL};
    struct admin_listing listing;
    if (!admin_listing_init(&listing, task, columns, defaults)) {
        return;
    }
    LP_CHAIN_EACH(link, &task->control->catalog->vhosts)
    {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_vhost, in_catalog),
                          task->control);
    }
    admin_answer(task, admin_listing_take(&listing));
}
