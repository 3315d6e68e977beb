/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - life and turn of the control process. */
#include "control/link/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/link/control_internal.h"

void
lp_control_settings_default(struct lp_control_settings *settings)
{
    static const char *const loopback[] = {"guest"};
    *settings = (struct lp_control_settings){
        .default_user = "guest",
        .default_password = "guest",
        .default_vhost = "/",
        .default_permissions = {".*", ".*", ".*"},
        .default_tags = "administrator",
        .loopback_users = loopback,
        .loopback_user_count = 1,
        .cluster_name = "lepus",
        .data_folder = "",
        .data_id = "",
        .config_file = "",
        .rules = lp_catalog_rules_default,
        .node_name = "lepus@localhost",
        .connections_max = UINT64_MAX,
        .channels_max = UINT64_MAX,
        .login = {100, 60000000000u, 60000000000u},
    };
}

void
control_log(struct lp_control *control, enum lp_control_log_level level, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    if (!control->options.log) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* a cut line is still a line */
    va_end(arguments);
    control->options.log(control->options.context, level, text);
}

static void
deltas_send(struct lp_control *control, uint32_t shard, const struct lp_bytebuf *deltas)
{
    size_t at = 0;
    uint16_t type;
    struct lp_bytes payload;
    while (lp_catalog_delta_next(deltas, &at, &type, &payload)) {
        control_send(control, shard, type, 0, payload);
    }
}

/* ---- attach ---- */

static void
shard_attach(struct lp_control *control, uint32_t shard, const struct lp_bytebuf *everything)
{
    const uint64_t revision = control->catalog->revision;
    struct lp_writer w = control_writer(control);
    lp_writer_u32le(&w, control->attach);
    lp_writer_u64le(&w, revision);
    lp_writer_u32le(&w, control->catalog->permission_epoch);
    control_send(control, shard, LP_CONTROL_ATTACH, 0, lp_writer_bytes(&w));
    control_send(control, shard, LP_CONTROL_SYNC_BEGIN, revision, lp_bytes_of(NULL, 0));
    deltas_send(control, shard, everything);
    control_send(control, shard, LP_CONTROL_SYNC_END, revision, lp_bytes_of(NULL, 0));
    control_send(control, shard, LP_CONTROL_REVISION, revision, lp_bytes_of(NULL, 0));
    control->shards[shard].state = CONTROL_SHARD_ATTACHING;
    control->shards[shard].applied = 0;
    control->shards[shard].checks = 0;
    control_node_attach(control, shard);
}

static void
attach_all(struct lp_control *control)
{
    struct lp_bytebuf everything = {0};
    /* A shard echoes the number; a later attach of the same process must not look like this one. */
    control->attach = control->options.generation + (control->attach_count++ << 20);
    lp_catalog_sync(control->catalog, &everything);
    for (uint32_t i = 0; i < control->shard_count; i++) {
        shard_attach(control, i, &everything);
    }
    lp_bytebuf_fini(&everything);
    control_application_attach(control);
}

/* ---- boot ---- */

static bool
rings_open(struct lp_control *control)
{
    void *base = control->options.region;
    const uint32_t count = control->shard_count;
    if (control->region->magic != LP_CONTROL_REGION_MAGIC ||
        control->region->version != LP_CONTROL_REGION_VERSION ||
        control->region->shard_count != count) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct control_shard *shard = &control->shards[i];
        if (!lp_control_end_init(&shard->input, lp_control_region_to_control(base, count, i),
                                 LP_CONTROL_RING_CAPACITY_BYTES, false) ||
            !lp_control_end_init(&shard->output, lp_control_region_to_shard(base, count, i),
                                 LP_CONTROL_RING_CAPACITY_BYTES, true)) {
            return false;
        }
    }
    return true;
}

enum lp_err
lp_control_open_boot(const struct lp_control_options *options, struct lp_control **ret_control)
{
    struct lp_control *control = lp_heap_alloc(sizeof(*control));
    control->options = *options;
    control->region = options->region;
    control->shard_count = options->shard_count;
    control->scratch = lp_heap_alloc(LP_CONTROL_PAYLOAD_MAX_BYTES);
    control->payload = lp_heap_alloc(LP_CONTROL_PAYLOAD_MAX_BYTES);
    control->next_number = ((uint64_t)options->generation << 40) + 1;
    control->now_ns = options->clock.monotonic_ns(options->clock.self);
    /* The broker's age is not that of its control process, which may be the tenth. */
    const uint64_t started_ns = control->region->started_ns;
    if (started_ns == 0 || started_ns > control->now_ns) {
        control->region->started_ns = control->now_ns;
    }
    control->started_ns = control->region->started_ns;
    options->entropy.fill(options->entropy.self, &control->tally_key, sizeof(control->tally_key));
    lp_chain_init(&control->connections);
    lp_chain_init(&control->turn_answers);
    lp_chain_init(&control->answers);
    lp_chain_init(&control->stop_answers);
    lp_chain_init(&control->deletions);
    lp_chain_init(&control->queries);
    lp_chain_init(&control->purges);
    lp_chain_init(&control->timers);
    lp_chain_init(&control->application.stopping);
    enum lp_err err = LP_ERR_BAD_CONFIG;
    if (options->shard_count > 0 && options->shard_count <= LP_SHARDS_MAX && rings_open(control)) {
        err = control_catalog_load(control);
    }
    if (err) {
        lp_control_close(&control);
        return err;
    }
    control_loopback_open_boot(control);
    control_node_open_boot(control);
    attach_all(control);
    *ret_control = control;
    return LP_OK;
}

/* Nobody in the data plane hears of these: a shard asks again. */
static void
answers_drop(struct lp_control *control, struct lp_chain *answers)
{
    for (struct lp_chain *link = lp_chain_pop(answers); link; link = lp_chain_pop(answers)) {
        struct control_answer *answer = LP_CONTAINER_OF(link, struct control_answer, link);
        if (answer->done) {
            answer->done(control, answer->context, false);
        }
        free(answer);
    }
}

void
lp_control_close(struct lp_control **control)
{
    struct lp_control *self = *control;
    *control = NULL;
    if (!self) {
        return;
    }
    LP_CHAIN_EACH(q, &self->queries)
    {
        struct control_query *query = LP_CONTAINER_OF(q, struct control_query, link);
        lp_chain_remove(&query->link);
        query->done(self, query->context, false);
        free(query);
    }
    answers_drop(self, &self->turn_answers);
    answers_drop(self, &self->answers);
    answers_drop(self, &self->stop_answers);
    answers_drop(self, &self->application.stopping);
    control_deletions_clear(self);
    control_purges_clear(self);
    control_timers_clear(self);
    control_application_fini(self);
    LP_CHAIN_EACH(c, &self->connections)
    {
        control_connection_free(self, LP_CONTAINER_OF(c, struct control_connection, in_control));
    }
    LP_ASSERT(self->connections_open == 0 && self->channels_open == 0);
    LP_ASSERT(self->tallies.count == 0);
    lp_map_fini(&self->tallies);
    throttle_fini(&self->login);
    lp_map_fini(&self->connections_by_id);
    lp_map_fini(&self->deletions_by_number);
    LP_ASSERT(self->failed_channels.count == 0);
    lp_map_fini(&self->failed_channels);
    for (uint32_t i = 0; i < LP_SHARDS_MAX; i++) {
        lp_bytebuf_fini(&self->shards[i].outbox);
        free(self->shards[i].listeners);
    }
    lp_catalog_close(&self->catalog);
    free(self->scratch);
    free(self->payload);
    free(self);
}

/* ---- the turn ---- */

bool
control_shards_ready(const struct lp_control *control)
{
    for (uint32_t i = 0; i < control->shard_count; i++) {
        if (control->shards[i].state != CONTROL_SHARD_READY) {
            return false;
        }
    }
    return true;
}

/* How many records to read now, so that what waits for slow shards stays bounded. */
static uint32_t
read_budget(const struct lp_control *control)
{
    bool stuck = true;
    bool large = false;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct control_shard *shard = &control->shards[i];
        if (shard->outbox.size - shard->outbox_at > CONTROL_BACKLOG_BYTES) {
            large = true;
            stuck = stuck && shard->outbox_stuck;
        }
    }
    if (!large) {
        return CONTROL_TURN_RECORDS;
    }
    /* A shard may be stuck because it cannot tell us what it applied: read on, one at a time. */
    return stuck ? 1 : 0;
}

static bool
shard_read(struct lp_control *control, uint32_t index, uint32_t budget)
{
    struct control_shard *shard = &control->shards[index];
    struct lp_control_record record;
    uint32_t count = 0;
    while (count < budget) {
        if (shard->state == CONTROL_SHARD_READY && !control_shards_ready(control)) {
            break; /* the others' connections are not known yet */
        }
        const enum lp_control_pop pop = lp_control_pop(&shard->input, control->scratch, &record);
        if (pop == LP_CONTROL_POP_BROKEN) {
            control_log(control, LP_CONTROL_LOG_ERROR, "the ring from shard %u is broken", index);
            control->failed = true;
            break;
        }
        if (pop == LP_CONTROL_POP_EMPTY) {
            break;
        }
        control_record(control, index, &record);
        count++;
    }
    return count > 0;
}

/*
 * The store did not take it: nobody was told, so go back to what it holds and
 * let shards ask again.  Where there is no room, clients are told, since that
 * may last.
 */
static void
start_over(struct lp_control *control, enum lp_err why)
{
    const bool told = why == LP_ERR_NO_SPACE &&
                      control_changes_refuse(control, "there is no room on the disk") > 0;
    if (!told && ++control->failures >= CONTROL_FAILURES_MAX) {
        control_log(control, LP_CONTROL_LOG_ERROR,
                    "the store failed %u times in a row (%s): check its disk", control->failures,
                    lp_err_text(why));
        control->failed = true;
        return;
    }
    control_log(control, LP_CONTROL_LOG_ERROR, "the topology is read again: %s", lp_err_text(why));
    answers_drop(control, &control->turn_answers);
    answers_drop(control, &control->answers);
    control_deletions_clear(control);
    control_purges_clear(control);
    lp_catalog_close(&control->catalog);
    const enum lp_err err = control_catalog_load(control);
    if (err) {
        control_log(control, LP_CONTROL_LOG_ERROR, "the store cannot be read: %s",
                    lp_err_text(err));
        control->failed = true;
        return;
    }
    attach_all(control);
}

static void
turn_commit(struct lp_control *control)
{
    if (lp_catalog_changed(control->catalog)) {
        const enum lp_err err = lp_catalog_commit(control->catalog, &control->options.store);
        if (err) {
            start_over(control, err);
            return;
        }
        const uint64_t revision = control->catalog->revision;
        control->failures = 0;
        for (uint32_t i = 0; i < control->shard_count; i++) {
            deltas_send(control, i, &control->catalog->deltas);
            control_send(control, i, LP_CONTROL_REVISION, revision, lp_bytes_of(NULL, 0));
        }
        lp_catalog_changes_clear(control->catalog);
    }
    LP_CHAIN_EACH(link, &control->turn_answers)
    {
        LP_CONTAINER_OF(link, struct control_answer, link)->revision = control->catalog->revision;
    }
    lp_chain_splice(&control->answers, &control->turn_answers);
    control_deletions_send(control);
}

static bool
answers_release(struct lp_control *control)
{
    uint64_t applied = UINT64_MAX;
    bool work = false;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        applied = LP_MIN(applied, control->shards[i].applied);
    }
    while (!lp_chain_is_empty(&control->answers)) {
        struct control_answer *answer =
            LP_CONTAINER_OF(control->answers.next, struct control_answer, link);
        if (answer->revision > applied) {
            break;
        }
        lp_chain_remove(&answer->link);
        if (answer->done) {
            answer->done(control, answer->context, true);
        } else {
            control_send(control, answer->shard, LP_CONTROL_REPLY, answer->sequence,
                         lp_bytes_of(answer->payload, answer->payload_bytes));
        }
        free(answer);
        work = true;
    }
    return work;
}

void
control_call_later(struct lp_chain *answers, control_done_fn *done, void *context)
{
    struct control_answer *answer = lp_heap_alloc(sizeof(*answer));
    answer->done = done;
    answer->context = context;
    lp_chain_append(answers, &answer->link);
}

void
control_when_applied(struct lp_control *control, control_done_fn *done, void *context)
{
    control_call_later(&control->turn_answers, done, context);
}

void
control_when_stopped(struct lp_control *control, control_done_fn *done, void *context)
{
    control_call_later(&control->stop_answers, done, context);
}

static bool
stop_answers_release(struct lp_control *control)
{
    struct lp_control_stopped totals;
    bool work = false;
    if (!lp_control_stopped(control, &totals)) {
        return false;
    }
    for (struct lp_chain *link = lp_chain_pop(&control->stop_answers); link;
         link = lp_chain_pop(&control->stop_answers)) {
        struct control_answer *answer = LP_CONTAINER_OF(link, struct control_answer, link);
        answer->done(control, answer->context, true);
        free(answer);
        work = true;
    }
    return work;
}

/* Our own changes come by as well; a later revision is another writer's. */
static void
watch_poll(struct lp_control *control)
{
    const struct lp_store *store = &control->options.store;
    struct lp_store_event event;
    enum lp_err err = store->next(store->self, &event);
    while (!err) {
        if (event.revision > control->catalog->revision) {
            control->reload = true;
        }
        err = store->next(store->self, &event);
    }
    if (control->reload) {
        control->reload = false;
        start_over(control, LP_ERR_CONFLICT);
    }
}

bool
lp_control_turn(struct lp_control *control)
{
    control->now_ns = control->options.clock.monotonic_ns(control->options.clock.self);
    bool work = false;
    if (control->failed) {
        return false;
    }
    watch_poll(control);
    const uint32_t budget = read_budget(control);
    for (uint32_t i = 0; i < control->shard_count && !control->failed; i++) {
        work = shard_read(control, i, budget) || work;
    }
    if (control->failed) {
        return work;
    }
    work = control_node_step(control) || work;
    work = control_application_step(control) || work;
    work = control_timers_step(control) || work;
    work =
        work || lp_catalog_changed(control->catalog) || !lp_chain_is_empty(&control->turn_answers);
    turn_commit(control);
    if (control->failed) {
        return work;
    }
    work = answers_release(control) || work;
    work = control_queries_step(control) || work;
    work = stop_answers_release(control) || work;
    work = control_outboxes_flush(control) || work;
    return work;
}

bool
lp_control_has_input(const struct lp_control *control)
{
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct lp_control_end *input = &control->shards[i].input;
        /* W2, pairs with X1 of the ring: what was published before the look is seen. */
        if (lp_load_acquire(&input->ring->tail) != input->own) {
            return true;
        }
    }
    return false;
}

uint64_t
lp_control_wait_ns(const struct lp_control *control)
{
    uint64_t wait = UINT64_MAX;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        if (control->shards[i].outbox.size > control->shards[i].outbox_at) {
            wait = 1000000; /* nobody tells us when a ring has room again */
        }
    }
    if (!lp_chain_is_empty(&control->queries)) {
        const struct control_query *query =
            LP_CONTAINER_OF(control->queries.next, struct control_query, link);
        const uint64_t left =
            query->deadline_ns > control->now_ns ? query->deadline_ns - control->now_ns : 0;
        wait = LP_MIN(wait, query->number == 0 ? 0 : left);
    }
    const uint64_t due_ns = LP_MIN(control_node_due_ns(control), control_timers_due_ns(control));
    if (due_ns != UINT64_MAX) {
        wait = LP_MIN(wait, due_ns > control->now_ns ? due_ns - control->now_ns : 0);
    }
    if (lp_catalog_changed(control->catalog) || !lp_chain_is_empty(&control->turn_answers)) {
        wait = 0;
    }
    return wait;
}

bool
lp_control_failed(const struct lp_control *control)
{
    return control->failed;
}

void
lp_control_stop(struct lp_control *control, uint32_t grace_ms)
{
    struct lp_writer w = control_writer(control);
    if (control->stopping) {
        return;
    }
    control->stopping = true;
    lp_writer_u32le(&w, grace_ms);
    for (uint32_t i = 0; i < control->shard_count; i++) {
        control_send(control, i, LP_CONTROL_STOP, 0, lp_writer_bytes(&w));
    }
}

bool
lp_control_heard(const struct lp_control *control)
{
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct control_shard *shard = &control->shards[i];
        /* W3, pairs with X2 of the ring. */
        if (shard->outbox.size > 0 ||
            lp_load_acquire(&shard->output.ring->head) != shard->output.own) {
            return false;
        }
    }
    return true;
}

bool
lp_control_stopping(const struct lp_control *control)
{
    return control->stopping;
}

bool
lp_control_stopped(const struct lp_control *control, struct lp_control_stopped *ret_stopped)
{
    struct lp_control_stopped sum = {0};
    for (uint32_t i = 0; i < control->shard_count; i++) {
        if (!control->shards[i].stopped) {
            return false;
        }
        sum.connections_closed += control->shards[i].totals.connections_closed;
        sum.messages_held += control->shards[i].totals.messages_held;
    }
    *ret_stopped = sum;
    return true;
}
