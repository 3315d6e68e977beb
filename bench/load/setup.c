/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup.c - what a run needs before its first message, and what it leaves
 * behind: memory, connections, exchange, queues, bindings.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "run.h"

/* Declares on their way at once: answers must not fill the sockets. */
#define DECLARES_AT_ONCE 256u

static bool
out_of_memory(void)
{
    (void)fprintf(stderr, "lepus-bench: out of memory\n");
    return false;
}

static bool
allocate(struct load_run *run)
{
    const struct load_options *o = &run->options;
    struct load_tally *tally = &run->tally;
    tally->run = (uint16_t)(load_now_ns() / 1000u ^ (uint64_t)getpid() << 7);
    tally->stream_count = o->publishers * (o->to_all ? o->queues : 1u);
    tally->streams = calloc(tally->stream_count + 1u, sizeof(*tally->streams));
    tally->delivery = load_hdr_new();
    tally->confirm = load_hdr_new();
    tally->start = load_hdr_new();
    run->second = load_hdr_new();
    run->arena = malloc(LOAD_ARENA_BYTES);
    run->filler = malloc(o->size);
    run->publishers = calloc(o->publishers + 1u, sizeof(*run->publishers));
    run->consumers = calloc(o->consumers + 1u, sizeof(*run->consumers));
    run->idle = calloc(o->idle_connections + 1u, sizeof(*run->idle));
    if (!load_thousands_init(&tally->thousands) || !tally->streams || !tally->delivery ||
        !tally->confirm || !tally->start || !run->second || !run->arena || !run->filler ||
        !run->publishers || !run->consumers || !run->idle ||
        !load_schedule_init(&run->schedule, o->publishers)) {
        return out_of_memory();
    }
    for (uint32_t i = 0; i < o->size; i++) {
        run->filler[i] = load_filler(i);
    }
    tally->filler = run->filler;
    tally->to_receive = o->publishers == 0 && o->consumers != 0 ? o->messages : 0;
    for (uint32_t i = 0; i < o->publishers; i++) {
        load_publisher_init(&run->publishers[i], i, o, tally);
        run->publishers[i].schedule = &run->schedule;
    }
    for (uint32_t i = 0; i < o->consumers; i++) {
        run->consumers[i].publishers = run->publishers;
        if (!load_consumer_init(&run->consumers[i], i, o, tally)) {
            return out_of_memory();
        }
    }
    return true;
}

static bool
descriptors_raise(const struct load_options *options)
{
    struct rlimit limit;
    const uint64_t wanted =
        (uint64_t)options->publishers + options->consumers + options->idle_connections + 32u;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return true;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < wanted) {
        (void)fprintf(stderr, "lepus-bench: %llu descriptors are needed, and %llu the limit\n",
                      (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
        return false;
    }
    return true;
}

/* --- Connections. ----------------------------------------------------------------------------- */

static struct load_conn *
pick_admin(struct load_run *run, uint32_t index)
{
    (void)index;
    return &run->admin;
}

static struct load_conn *
pick_idle(struct load_run *run, uint32_t index)
{
    return &run->idle[index];
}

static struct load_conn *
pick_publisher(struct load_run *run, uint32_t index)
{
    return &run->publishers[index].conn;
}

static struct load_conn *
pick_consumer(struct load_run *run, uint32_t index)
{
    return &run->consumers[index].conn;
}

static void
begin_publisher(struct load_run *run, struct load_conn *conn, uint32_t index)
{
    (void)conn;
    load_publisher_begin(&run->publishers[index]);
}

static void
begin_consumer(struct load_run *run, struct load_conn *conn, uint32_t index)
{
    (void)conn;
    load_consumer_begin(&run->consumers[index]);
}

/* Queues that nobody uses come from connections that do nothing else, as if each had its own. */
static void
begin_idle(struct load_run *run, struct load_conn *conn, uint32_t index)
{
    const struct load_options *o = &run->options;
    for (uint32_t i = index; i < o->idle_queues; i += o->idle_connections) {
        load_topology_idle_queue(o, conn, i);
    }
}

static bool
open_publishers(struct load_run *run)
{
    const struct load_many many = {0, run->options.publishers, pick_publisher, begin_publisher};
    return load_opening_run(run, &many);
}

/* The first ones may have to declare what the others consume from. */
static bool
open_consumers(struct load_run *run)
{
    const uint32_t first = LP_MIN(run->options.consumers, run->options.queues);
    const struct load_many declaring = {0, first, pick_consumer, begin_consumer};
    const struct load_many others = {first, run->options.consumers, pick_consumer, begin_consumer};
    return load_opening_run(run, &declaring) && load_opening_run(run, &others);
}

/* --- What is declared. ------------------------------------------------------------------------ */

typedef void append_fn(const struct load_options *options, struct load_conn *conn, uint32_t index);

static bool
declare_many(struct load_run *run, uint32_t count, append_fn *append)
{
    for (uint32_t i = 0; i < count; i++) {
        append(&run->options, &run->admin, i);
        if (run->admin.owed >= DECLARES_AT_ONCE && !load_opening_settle(run, &run->admin)) {
            return false;
        }
    }
    return load_opening_settle(run, &run->admin);
}

static bool
declare(struct load_run *run)
{
    const struct load_options *o = &run->options;
    if (o->exchange != LOAD_EXCHANGE_DEFAULT) {
        load_topology_exchange(o, &run->admin);
    }
    const uint32_t bound = o->idle_bindings != 0 ? 1u : 0u;
    const uint32_t idle = o->idle_connections != 0 ? bound : LP_MAX(o->idle_queues, bound);
    const bool declares = o->place == LOAD_PLACE_ADMIN && o->protocol == LOAD_PROTOCOL_AMQP;
    const uint32_t queues = declares ? o->queues : 0; /* a topic is there when somebody names it */
    if (declare_many(run, queues, load_topology_queue) &&
        declare_many(run, idle, load_topology_idle_queue) &&
        declare_many(run, o->idle_bindings, load_topology_idle_binding)) {
        return true;
    }
    (void)fprintf(stderr, "lepus-bench: declaring: %s\n", run->admin.why);
    return false;
}

bool
load_run_open(struct load_run *run)
{
    const struct load_options *o = &run->options;
    const uint64_t began_ns = load_now_ns();
    if (!descriptors_raise(o) || !allocate(run)) {
        return false;
    }
    load_tree_find(&run->tree, o);
    run->bytes_before = load_tree_bytes(&run->tree);
    const struct load_many admin = {0, 1, pick_admin, NULL};
    const struct load_many idle = {0, o->idle_connections, pick_idle, begin_idle};
    if (!load_opening_run(run, &admin) || !declare(run) || !load_opening_run(run, &idle)) {
        return false;
    }
    const bool publishers_first = o->place == LOAD_PLACE_PUBLISHER;
    if (!(publishers_first ? open_publishers(run) && open_consumers(run)
                           : open_consumers(run) && open_publishers(run))) {
        return false;
    }
    run->open_s = (double)(load_now_ns() - began_ns) / 1e9;
    return true;
}

/* --- The end. --------------------------------------------------------------------------------- */

static void
append_delete_queue(const struct load_options *options, struct load_conn *conn, uint32_t index)
{
    char name[256];
    load_queue_name(options, index, name);
    load_topology_delete(options, conn, name);
}

static void
append_delete_idle(const struct load_options *options, struct load_conn *conn, uint32_t index)
{
    char name[256];
    load_idle_name(options, index, name);
    load_topology_delete(options, conn, name);
}

static void
delete_all(struct load_run *run)
{
    const struct load_options *o = &run->options;
    const uint32_t idle = LP_MAX(o->idle_queues, o->idle_bindings != 0 ? 1u : 0u);
    if (o->exchange != LOAD_EXCHANGE_DEFAULT) {
        load_topology_delete_exchange(o, &run->admin);
    }
    if (!declare_many(run, o->queues, append_delete_queue) ||
        !declare_many(run, idle, append_delete_idle)) {
        (void)fprintf(stderr, "lepus-bench: some queues stay: %s\n", run->admin.why);
    }
}

void
load_run_close(struct load_run *run)
{
    const struct load_options *o = &run->options;
    for (uint32_t i = 0; run->publishers != NULL && i < o->publishers; i++) {
        load_publisher_fini(&run->publishers[i]);
    }
    for (uint32_t i = 0; run->consumers != NULL && i < o->consumers; i++) {
        load_consumer_fini(&run->consumers[i]);
    }
    for (uint32_t i = 0; run->idle != NULL && i < o->idle_connections; i++) {
        load_conn_close(&run->idle[i]);
    }
    if (run->admin.step != 0 && !run->admin.broken && !o->keep && !run->admin.mqtt) {
        delete_all(run);
    }
    load_conn_close(&run->admin);
    for (uint32_t i = 0; run->tally.streams != NULL && i < run->tally.stream_count; i++) {
        load_stream_fini(&run->tally.streams[i]);
    }
    free(run->tally.streams);
    free(run->tally.delivery);
    load_thousands_free(&run->tally.thousands);
    free(run->tally.confirm);
    free(run->tally.start);
    free(run->second);
    free(run->arena);
    free(run->filler);
    free(run->publishers);
    free(run->consumers);
    free(run->idle);
    load_schedule_fini(&run->schedule);
}
