/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_unresponsive_queues.c - queues that no shard has counted in time.
 *
 * Those that were there when shards were asked are looked for in their answers:
 * a ring keeps the order, so a shard that answers knows all of them.
 */
#include <stdlib.h>

#include "control/admin/admin_internal.h"
#include "control/command/columns.h"

#define QUEUE_TIMEOUT_S 15

struct expected {
    struct lp_map_node by_id;
    uint32_t id;
    bool counted;
};

struct unresponsive_state {
    struct lp_map by_id;
    struct expected *queues;
    size_t queue_count;
};

#define QUEUE_COLUMN(id, expression)                                                  \
    static json_t *unresponsive_##id(const void *item, const struct admin_task *task) \
    {                                                                                 \
        const struct lp_catalog_queue *queue = item;                                  \
        (void)task;                                                                   \
        return expression;                                                            \
    }

QUEUE_COLUMN(name, admin_text(queue->name))
QUEUE_COLUMN(durable, json_boolean((queue->flags & LP_OBJECT_DURABLE) != 0))
QUEUE_COLUMN(auto_delete, json_boolean((queue->flags & LP_OBJECT_AUTO_DELETE) != 0))
QUEUE_COLUMN(arguments, admin_table(queue->arguments, true))
QUEUE_COLUMN(pid, admin_pid(task, ADMIN_PID_QUEUE, queue->id, 0))

static void
unresponsive_free(void *context)
{
    struct unresponsive_state *state = context;
    lp_map_fini(&state->by_id);
    free(state->queues);
    free(state);
}

static void
unresponsive_row(struct admin_task *task, struct lp_reader *fields)
{
    const struct unresponsive_state *state = task->state;
    const uint32_t id = lp_reader_u32le(fields);
    struct lp_map_node *node = lp_map_first(&state->by_id, lp_map_hash_number(id));
    for (; node && !fields->failed; node = lp_map_next(node)) {
        struct expected *expected = LP_CONTAINER_OF(node, struct expected, by_id);
        expected->counted = expected->counted || expected->id == id;
    }
}

static void
unresponsive_done(struct admin_task *task)
{
#define X(id) {#id, unresponsive_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_UNRESPONSIVE(X){NULL, NULL}};
#undef X
    const struct unresponsive_state *state = task->state;
    struct admin_listing listing;
    admin_listing_init(&listing, task, columns);
    for (size_t i = 0; i < state->queue_count; i++) {
        const struct lp_catalog_queue *queue =
            lp_catalog_queue_by_id(task->control->catalog, state->queues[i].id);
        if (queue && !state->queues[i].counted) {
            admin_listing_add(&listing, queue, task);
        }
    }
    admin_answer(task, admin_listing_take(&listing));
}

static void
queues_expect(struct unresponsive_state *state, const struct lp_catalog_vhost *vhost)
{
    size_t count = 0;
    LP_CHAIN_EACH(link, &vhost->queues)
    {
        count++;
    }
    state->queues = lp_heap_alloc(count * sizeof(*state->queues));
    LP_CHAIN_EACH(link, &vhost->queues)
    {
        struct expected *expected = &state->queues[state->queue_count++];
        expected->id = LP_CONTAINER_OF(link, struct lp_catalog_queue, in_vhost)->id;
        lp_map_insert(&state->by_id, &expected->by_id, lp_map_hash_number(expected->id));
    }
}

void
admin_list_unresponsive_queues(struct admin_task *task)
{
    const int64_t seconds = admin_option_integer(task, "queue-timeout", QUEUE_TIMEOUT_S);
    const struct admin_query query = {
        .type = LP_CONTROL_LIST_QUEUES,
        .row = unresponsive_row,
        .done = unresponsive_done,
        .timeout_ns = (uint64_t)LP_MAX(LP_MIN(seconds, (int64_t)86400), (int64_t)1) * 1000000000u,
        .partial = true,
    };
    struct unresponsive_state *state = lp_heap_alloc(sizeof(*state));
    const struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    task->state = state;
    task->state_free = unresponsive_free;
    if (vhost) {
        queues_expect(state, vhost);
    }
    admin_query(task, &query);
}
