/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latency.c - stamps of queues: on, off, and what they say.
 *
 * Every shard counts what it sees of a queue's messages; which queues have
 * stamps is known in the shards alone, so this process can come and go.  An
 * order is not answered: a listing behind it, in the same rings, says what
 * came of it.
 */
#include "control/admin/latency.h"

#include <stdlib.h>

#include "control/admin/admin_checks.h"

struct latency_state {
    uint32_t id; /* the queue that was named; 0: none was */
    struct latency_queue *queues;
};

static void
latency_free(void *context)
{
    struct latency_state *state = context;
    while (state->queues) {
        struct latency_queue *queue = state->queues;
        state->queues = queue->next;
        free(queue);
    }
    free(state);
}

/* ---- arguments: on Q, off Q, Q or nothing ---- */

static bool
is_order(const struct admin_task *task)
{
    return admin_arg_count(task) == 2;
}

static bool
is_on(const struct admin_task *task)
{
    return strcmp(admin_arg(task, 0), "on") == 0;
}

bool
admin_check_latency(struct admin_task *task)
{
    if (!is_order(task) || is_on(task) || strcmp(admin_arg(task, 0), "off") == 0) {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_USAGE,
                  "a queue's stamps are switched 'on' or 'off', not '%s'; say 'latency <queue>' to "
                  "see what they say",
                  admin_arg(task, 0));
    return false;
}

static const char *
queue_name(const struct admin_task *task)
{
    return admin_arg(task, is_order(task) ? 1 : 0);
}

/* ---- rows ---- */

static struct latency_queue *
queue_get(struct latency_state *state, uint32_t id)
{
    struct latency_queue **at = &state->queues;
    while (*at) {
        if ((*at)->id == id) {
            return *at;
        }
        at = &(*at)->next;
    }
    struct latency_queue *queue = lp_heap_alloc(sizeof(*queue));
    queue->id = id;
    *at = queue;
    return queue;
}

static void
times_read(struct latency_times *times, struct lp_reader *fields)
{
    const uint64_t count = lp_reader_u64le(fields);
    times->sum_ns += lp_reader_u64le(fields);
    const uint64_t min_ns = lp_reader_u64le(fields);
    const uint64_t max_ns = lp_reader_u64le(fields);
    if (count > 0) {
        times->min_ns = times->count == 0 ? min_ns : LP_MIN(times->min_ns, min_ns);
        times->max_ns = LP_MAX(times->max_ns, max_ns);
        times->count += count;
    }
    for (uint16_t left = lp_reader_u16le(fields); left > 0 && !fields->failed; left--) {
        const uint16_t bucket = lp_reader_u16le(fields);
        const uint64_t counted = lp_reader_u64le(fields);
        if (bucket < LP_LATENCY_BUCKETS) {
            times->bucket[bucket] += counted;
        }
    }
}

static void
latency_row(struct admin_task *task, struct lp_reader *fields)
{
    struct latency_state *state = task->state;
    const uint32_t id = lp_reader_u32le(fields);
    const uint8_t which = lp_reader_u8(fields);
    if (fields->failed || which >= LP_LATENCY_COUNT || (state->id != 0 && state->id != id)) {
        return;
    }
    struct latency_queue *queue = queue_get(state, id);
    queue->shards += lp_reader_u8(fields) != 0;
    queue->measured += lp_reader_u64le(fields);
    queue->missed += lp_reader_u64le(fields);
    times_read(&queue->times[which], fields);
}

/* ---- ends ---- */

static void
fail_missing(struct admin_task *task)
{
    admin_fail_bare(task, ADMIN_EXIT_DATA, "Queue '%s' does not exist in vhost '%s'",
                    queue_name(task), admin_vhost_name(task));
}

static void
order_send(struct lp_control *control, uint32_t id, bool on)
{
    for (uint32_t i = 0; i < control->shard_count; i++) {
        struct lp_writer w = control_writer(control);
        lp_writer_u32le(&w, id);
        lp_writer_u8(&w, on);
        control_send(control, i, LP_CONTROL_QUEUE_STAMPS, 0, lp_writer_bytes(&w));
    }
}

static void
on_done(struct admin_task *task)
{
    const struct latency_state *state = task->state;
    const uint32_t shards = state->queues ? state->queues->shards : 0;
    if (!lp_catalog_queue_by_id(task->control->catalog, state->id)) {
        fail_missing(task); /* deleted meanwhile */
        return;
    }
    if (shards < task->control->shard_count) {
        order_send(task->control, state->id, false); /* all shards, or none */
        admin_fail(
            task, ADMIN_EXIT_UNAVAILABLE,
            "%u of %u shards have no room for it: at most 32 queues can have stamps at once, "
            "and each needs 128 KiB of each shard's memory",
            task->control->shard_count - shards, task->control->shard_count);
        return;
    }
    admin_say(task, NULL,
              "Messages that come from now on are measured; 'latency %s' shows how long they take.",
              queue_name(task));
}

static void
off_done(struct admin_task *task)
{
    const struct latency_state *state = task->state;
    if (state->queues) {
        admin_fail(task, ADMIN_EXIT_TEMPORARY, "another 'latency on' came in between; try again");
    } else {
        admin_done(task);
    }
}

static void
show_done(struct admin_task *task)
{
    const struct latency_state *state = task->state;
    struct lp_bytebuf text = {0};
    json_t *data = json_array();
    for (const struct latency_queue *queue = state->queues; queue; queue = queue->next) {
        const struct lp_catalog_queue *known =
            lp_catalog_queue_by_id(task->control->catalog, queue->id);
        if (!known || known->vhost != admin_vhost_or_none(task)) {
            continue;
        }
        char *part = latency_text(queue, known->name);
        lp_bytebuf_append(&text, "\n", json_array_size(data) > 0);
        lp_bytebuf_append(&text, part, strlen(part));
        free(part);
        admin_append(data, latency_json(queue, known->name, known->vhost->name));
    }
    if (text.size > 0) {
        admin_say(task, data, "%.*s", (int)text.size, (const char *)text.data);
    } else if (state->id != 0) {
        json_decref(data);
        admin_fail(task, ADMIN_EXIT_DATA, "queue '%s' is not measured; 'latency on %s' begins to",
                   queue_name(task), queue_name(task));
    } else {
        admin_say(task, data, "No queue here is measured; 'latency on <queue>' begins to.");
    }
    lp_bytebuf_fini(&text);
}

void
admin_latency(struct admin_task *task)
{
    static const struct admin_query show = {
        .type = LP_CONTROL_LIST_LATENCY, .row = latency_row, .done = show_done};
    static const struct admin_query on = {
        .type = LP_CONTROL_LIST_LATENCY, .row = latency_row, .done = on_done};
    static const struct admin_query off = {
        .type = LP_CONTROL_LIST_LATENCY, .row = latency_row, .done = off_done};
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    const char *name = vhost ? queue_name(task) : NULL;
    const struct lp_catalog_queue *queue =
        name ? lp_catalog_queue(task->control->catalog, vhost, lp_bytes_of_text(name)) : NULL;
    if (!vhost) {
        return;
    }
    if (name && !queue) {
        fail_missing(task);
        return;
    }
    struct latency_state *state = lp_heap_alloc(sizeof(*state));
    state->id = queue ? queue->id : 0;
    task->state = state;
    task->state_free = latency_free;
    if (!is_order(task)) {
        admin_query(task, &show);
        return;
    }
    order_send(task->control, state->id, is_on(task));
    admin_query(task, is_on(task) ? &on : &off);
}
