/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - status, ping and stop. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/admin_internal.h"

#ifndef LP_VERSION
#define LP_VERSION "0.0.0"
#endif

/* ---- what shards count ---- */

struct totals {
#define X(name) uint64_t name;
    LP_STATS_LIST(X)
#undef X
    uint64_t turn_ns[LP_TURN_HISTOGRAM_BUCKETS];
};

static struct totals
totals_read(const struct lp_control *control)
{
    struct totals totals = {0};
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct lp_stats_page *page = lp_control_region_stats(control->options.region, i);
#define X(name) totals.name += lp_load_relaxed(&page->name);
        LP_STATS_LIST(X)
#undef X
        for (uint32_t b = 0; b < LP_TURN_HISTOGRAM_BUCKETS; b++) {
            totals.turn_ns[b] += lp_load_relaxed(&page->turn_ns[b]);
        }
    }
    return totals;
}

/* The smallest duration of a bucket: 0 to 7 exactly, then 8 buckets to each doubling. */
static uint64_t
bucket_lower_ns(uint32_t bucket)
{
    return bucket < 8 ? bucket : (8ull + (bucket & 7u)) << (bucket / 8u - 1u);
}

/* The duration that `per_mille` of the turns stay below. */
static uint64_t
turn_percentile_ns(const struct totals *totals, uint64_t per_mille)
{
    uint64_t all = 0;
    for (uint32_t b = 0; b < LP_TURN_HISTOGRAM_BUCKETS; b++) {
        all += totals->turn_ns[b];
    }
    uint64_t below = 0;
    for (uint32_t b = 0; b < LP_TURN_HISTOGRAM_BUCKETS; b++) {
        below += totals->turn_ns[b];
        if (below > 0 && below * 1000 >= all * per_mille) {
            return bucket_lower_ns(b + 1);
        }
    }
    return 0;
}

/* A shard over its watermark holds publishers back. */
static bool
memory_alarm(const struct lp_control *control)
{
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct lp_stats_page *page = lp_control_region_stats(control->options.region, i);
        const uint64_t watermark = lp_load_relaxed(&page->memory_watermark_bytes);
        if (watermark > 0 && lp_load_relaxed(&page->memory_used_bytes) > watermark) {
            return true;
        }
    }
    return false;
}

/* ---- the report ---- */

static json_t *
listeners_of(const struct lp_control *control)
{
    json_t *list = json_array();
    const struct control_shard *shard = &control->shards[0]; /* every shard has the same */
    for (uint32_t i = 0; i < shard->listener_count; i++) {
        const struct control_listener *listener = &shard->listeners[i];
        char ip[INET6_ADDRSTRLEN] = "";
        const char *interface = listener->path;
        if (listener->family != 1) {
            interface =
                inet_ntop(listener->family == 6 ? AF_INET6 : AF_INET, listener->ip, ip, sizeof(ip));
        }
        json_t *entry = json_pack("{s:s,s:i,s:s}", "interface", interface ? interface : "", "port",
                                  (int)listener->port, "protocol", listener->protocol);
        const int failed = json_array_append_new(list, entry);
        LP_ASSERT(failed == 0);
    }
    return list;
}

static void
number_set(json_t *object, const char *name, uint64_t value)
{
    const int failed = json_object_set_new(object, name, json_integer((json_int_t)value));
    LP_ASSERT(failed == 0);
}

static void
part_set(json_t *object, const char *name, json_t *part)
{
    const int failed = json_object_set_new(object, name, part);
    LP_ASSERT(failed == 0);
}

static json_t *
data_make(const struct lp_control *control, const struct totals *totals)
{
    const struct lp_control_settings *settings = &control->options.settings;
    json_t *data = json_object();
    json_t *counters = json_object();
    json_t *things = json_object();
    json_t *alarms = json_array();
    part_set(data, "version", json_string(LP_VERSION));
    part_set(data, "cluster_name", json_string(settings->cluster_name));
    part_set(data, "data_directory", json_string(settings->data_folder));
    part_set(data, "config_file", json_string(settings->config_file));
    number_set(data, "pid", settings->process_id);
    number_set(data, "uptime", (control->now_ns - control->started_ns) / 1000000000u);
    number_set(data, "shards", control->shard_count);
    number_set(data, "control_generation", control->options.generation);
    number_set(data, "topology_revision", control->catalog->revision);
    number_set(data, "turn_p50_ns", turn_percentile_ns(totals, 500));
    number_set(data, "turn_p99_ns", turn_percentile_ns(totals, 990));
    number_set(things, "connection_count", control->connections_by_id.count);
    number_set(things, "queue_count", control->catalog->queue_count);
    number_set(things, "exchange_count", control->catalog->exchange_count);
    number_set(things, "binding_count", control->catalog->binding_count);
    number_set(things, "virtual_host_count", control->catalog->vhosts_by_id.count);
    number_set(things, "user_count", control->catalog->users_by_name.count);
#define X(name) number_set(counters, #name, totals->name);
    LP_STATS_LIST(X)
#undef X
    if (memory_alarm(control)) {
        const int failed = json_array_append_new(alarms, json_string("memory"));
        LP_ASSERT(failed == 0);
    }
    part_set(data, "totals", things);
    part_set(data, "counters", counters);
    part_set(data, "listeners", listeners_of(control));
    part_set(data, "alarms", alarms);
    return data;
}

static void line(struct lp_bytebuf *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
line(struct lp_bytebuf *text, const char *format, ...)
{
    char room[1024];
    va_list arguments;
    va_start(arguments, format);
    const int bytes = vsnprintf(room, sizeof(room), format, arguments);
    va_end(arguments);
    if (bytes > 0) {
        lp_bytebuf_append(text, room, LP_MIN((size_t)bytes, sizeof(room) - 1));
    }
    lp_bytebuf_append(text, "\n", 1);
}

static double
mib(uint64_t bytes)
{
    return (double)bytes / 1048576.0;
}

static void
runtime_write(struct lp_bytebuf *text, const struct lp_control *control)
{
    const struct lp_control_settings *settings = &control->options.settings;
    line(text, "Runtime\n");
    line(text, "OS PID: %u", settings->process_id);
    line(text, "OS: Linux");
    line(text, "Uptime (seconds): %llu",
         (unsigned long long)((control->now_ns - control->started_ns) / 1000000000u));
    line(text, "Lepus version: %s", LP_VERSION);
    line(text, "Cluster name: %s", settings->cluster_name);
    line(text, "Shards: %u", control->shard_count);
    line(text, "Control process starts: %u", control->options.generation);
    line(text, "\nData directory\n\nNode data directory: %s", settings->data_folder);
    line(text, "\nConfig files\n");
    if (settings->config_file[0] != '\0') {
        line(text, " * %s", settings->config_file);
    }
    line(text, "\nAlarms\n\n%s",
         memory_alarm(control) ? "Memory alarm: publishers are held back" : "(none)");
}

static void
counters_write(struct lp_bytebuf *text, const struct lp_control *control,
               const struct totals *totals)
{
    line(text, "\nMemory\n");
    line(text, "Total memory used: %.1f MiB", mib(totals->memory_used_bytes));
    line(text, "Memory high watermark: %.1f MiB", mib(totals->memory_watermark_bytes));
    line(text, "Memory limit: %.1f MiB", mib(totals->memory_limit_bytes));
    line(text, "\nTransport\n");
    line(text, "Received: %llu bytes", (unsigned long long)totals->bytes_received);
    line(text, "Sent: %llu bytes", (unsigned long long)totals->bytes_sent);
    line(text, "Connections accepted: %llu", (unsigned long long)totals->connections_opened);
    line(text, "Connections refused: %llu", (unsigned long long)totals->connections_refused);
    line(text, "Turns: %llu, idle %llu", (unsigned long long)totals->turns,
         (unsigned long long)totals->turns_idle);
    line(text, "Turn length: p50 %.1f us, p99 %.1f us",
         (double)turn_percentile_ns(totals, 500) / 1000.0,
         (double)turn_percentile_ns(totals, 990) / 1000.0);
    line(text, "\nMessages\n");
    line(text, "Published: %llu", (unsigned long long)totals->messages_published);
    line(text, "Confirmed: %llu", (unsigned long long)totals->messages_confirmed);
    line(text, "Delivered: %llu", (unsigned long long)totals->messages_delivered);
    line(text, "Acknowledged: %llu", (unsigned long long)totals->messages_acknowledged);
    line(text, "Held: %llu", (unsigned long long)totals->messages_held);
    line(text, "\nTotals\n");
    line(text, "Connection count: %zu", control->connections_by_id.count);
    line(text, "Queue count: %u", control->catalog->queue_count);
    line(text, "Exchange count: %u", control->catalog->exchange_count);
    line(text, "Binding count: %u", control->catalog->binding_count);
    line(text, "Virtual host count: %zu", control->catalog->vhosts_by_id.count);
}

static void
listeners_write(struct lp_bytebuf *text, const json_t *listeners)
{
    size_t i;
    const json_t *entry;
    line(text, "\nListeners\n");
    json_array_foreach(listeners, i, entry)
    {
        line(text, "Interface: %s, port: %d, protocol: %s, purpose: AMQP 0-9-1",
             json_string_value(json_object_get(entry, "interface")),
             (int)json_integer_value(json_object_get(entry, "port")),
             json_string_value(json_object_get(entry, "protocol")));
    }
}

void
admin_status(struct admin_task *task)
{
    const struct totals totals = totals_read(task->control);
    json_t *data = data_make(task->control, &totals);
    struct lp_bytebuf text = {0};
    runtime_write(&text, task->control);
    counters_write(&text, task->control, &totals);
    listeners_write(&text, json_object_get(data, "listeners"));
    json_t *words = admin_text(lp_bytes_of(text.data, (uint32_t)text.size));
    lp_bytebuf_fini(&text);
    admin_answer(task, json_pack("{s:b,s:o,s:o}", "ok", 1, "text", words, "data", data));
}

void
admin_ping(struct admin_task *task)
{
    admin_done(task);
}

static void
stopped(struct lp_control *control, void *context, bool good)
{
    (void)control;
    if (good) {
        admin_done(context);
    } else {
        admin_fail(context, ADMIN_EXIT_SOFTWARE, "the broker was stopped before it had drained");
    }
}

void
admin_stop(struct admin_task *task)
{
    lp_control_stop(task->control, ADMIN_STOP_GRACE_MS);
    control_when_stopped(task->control, stopped, task);
}
