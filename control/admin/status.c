/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - how the node is: rabbitmqctl's sections, and what Lepus counts beside them. */
#include <stdlib.h>

#include <lepus/turn_histogram.h>

#include "control/admin/admin_checks.h"
#include "control/admin/report.h"

/* The duration that `per_mille` of the turns stay below. */
static uint64_t
turn_percentile_ns(const struct admin_totals *totals, uint64_t per_mille)
{
    uint64_t all = 0;
    for (uint32_t b = 0; b < LP_TURN_HISTOGRAM_BUCKETS; b++) {
        all += totals->turn_ns[b];
    }
    uint64_t below = 0;
    for (uint32_t b = 0; b < LP_TURN_HISTOGRAM_BUCKETS; b++) {
        below += totals->turn_ns[b];
        if (below > 0 && below * 1000 >= all * per_mille) {
            return lp_turn_bucket_lower(b + 1);
        }
    }
    return 0;
}

uint32_t
admin_broker_pid(const struct lp_control *control)
{
    const uint32_t launcher = control->region->node.launcher_pid;
    return launcher != 0 ? launcher : control->options.settings.process_id;
}

static uint64_t
uptime_s(const struct lp_control *control)
{
    return (control->now_ns - control->started_ns) / 1000000000u;
}

/* ---- as JSON ---- */

static void
number_set(json_t *object, const char *name, uint64_t value)
{
    admin_set(object, name, json_integer((json_int_t)value));
}

static json_t *
watermark_of(const struct lp_control *control)
{
    const struct lp_control_node *node = &control->region->node;
    if (node->watermark_set && node->watermark_millionths > 0) {
        return json_pack("{s:f}", "relative", (double)node->watermark_millionths / 1e6);
    }
    return json_pack("{s:I}", "absolute", (json_int_t)control_watermark_bytes(control));
}

static void
data_about_node(json_t *data, const struct admin_task *task)
{
    const struct lp_control *control = task->control;
    const struct lp_control_settings *settings = &control->options.settings;
    admin_set(data, "version", json_string(LP_VERSION));
    admin_set(data, "rabbitmq_version", json_string(ADMIN_RABBITMQ_VERSION));
    admin_set(data, "node", json_string(task->node));
    admin_set(data, "os", json_string("Linux"));
    number_set(data, "pid", admin_broker_pid(control));
    number_set(data, "control_pid", settings->process_id);
    number_set(data, "uptime", uptime_s(control));
    admin_set(data, "is_under_maintenance", json_false());
    admin_set(data, "cluster_name", json_string(settings->cluster_name));
    admin_set(data, "data_directory", json_string(settings->data_folder));
    admin_set(data, "data_id", json_string(settings->data_id));
    admin_set(data, "config_file", json_string(settings->config_file));
    admin_set(data, "config_files",
              settings->config_file[0] != '\0' ? json_pack("[s]", settings->config_file)
                                               : json_array());
    admin_set(data, "log_files", json_pack("[s]", "<stdout>"));
    admin_set(data, "tags", json_array());
    admin_set(data, "active_plugins", json_array());
    admin_set(data, "alarms", admin_alarm_objects(task));
    admin_set(data, "listeners", admin_listener_objects(task));
}

static void
data_about_resources(json_t *data, const struct lp_control *control,
                     const struct admin_totals *totals)
{
    json_t *memory = json_pack("{s:s,s:{s:I}}", "strategy", "allocated", "total", "allocated",
                               (json_int_t)totals->memory_used_bytes);
    json_t *things = json_object();
    json_t *counters = json_object();
    admin_set(data, "memory", memory);
    admin_set(data, "vm_memory_high_watermark_setting", watermark_of(control));
    number_set(data, "vm_memory_high_watermark_limit", totals->memory_watermark_bytes);
    number_set(data, "disk_free_limit", control_disk_limit_bytes(control));
    admin_set(data, "disk_free",
              control->disk.known ? json_integer((json_int_t)control->disk.free_bytes)
                                  : json_string("NaN"));
    number_set(things, "connection_count", control->connections_by_id.count);
    number_set(things, "queue_count", control->catalog->queue_count);
    number_set(things, "exchange_count", control->catalog->exchange_count);
    number_set(things, "binding_count", control->catalog->binding_count);
    number_set(things, "virtual_host_count", control->catalog->vhosts_by_id.count);
    number_set(things, "user_count", control->catalog->users_by_name.count);
    admin_set(data, "totals", things);
    number_set(data, "shards", control->shard_count);
    number_set(data, "control_generation", control->options.generation);
    number_set(data, "topology_revision", control->catalog->revision);
    number_set(data, "turn_p50_ns", turn_percentile_ns(totals, 500));
    number_set(data, "turn_p99_ns", turn_percentile_ns(totals, 990));
#define X(name) number_set(counters, #name, totals->name);
    LP_STATS_LIST(X)
#undef X
    admin_set(data, "counters", counters);
}

/* ---- for people ---- */

static void
runtime_write(struct lp_bytebuf *text, const struct admin_task *task)
{
    const struct lp_control *control = task->control;
    const struct lp_control_settings *settings = &control->options.settings;
    admin_line(text, "Runtime\n");
    admin_line(text, "OS PID: %u", admin_broker_pid(control));
    admin_line(text, "OS: Linux");
    admin_line(text, "Uptime (seconds): %llu", (unsigned long long)uptime_s(control));
    admin_line(text, "Is under maintenance?: false");
    admin_line(text, "Product name: Lepus");
    admin_line(text, "Product version: %s", LP_VERSION);
    admin_line(text, "RabbitMQ version: %s", ADMIN_RABBITMQ_VERSION);
    admin_line(text, "Node name: %s", task->node);
    admin_line(text, "Cluster name: %s", settings->cluster_name);
    admin_line(text, "Shards: %u", control->shard_count);
    admin_line(text, "Control process starts: %u", control->options.generation);
    admin_line(text, "\nData directory\n\nNode data directory: %s", settings->data_folder);
    if (settings->data_id[0] != '\0') {
        admin_line(text, "Data directory's id: %s", settings->data_id);
    }
    admin_line(text, "\nConfig files\n");
    if (settings->config_file[0] != '\0') {
        admin_line(text, " * %s", settings->config_file);
    }
    admin_line(text, "\nLog file(s)\n\n * <stdout>");
}

static void
memory_write(struct lp_bytebuf *text, const struct admin_task *task,
             const struct admin_totals *totals)
{
    const struct lp_control_node *node = &task->control->region->node;
    const char *unit = admin_unit(task);
    const struct admin_size used = admin_size(totals->memory_used_bytes, unit);
    const struct admin_size limit = admin_size(totals->memory_watermark_bytes, unit);
    const struct admin_size most = admin_size(totals->memory_limit_bytes, unit);
    const struct admin_size setting = admin_size(control_watermark_bytes(task->control), unit);
    admin_line(text, "\nMemory\n");
    admin_line(text, "Total memory used: %s", used.text);
    admin_line(text, "Calculation strategy: allocated");
    if (node->watermark_set && node->watermark_millionths > 0) {
        admin_line(text,
                   "Memory high watermark setting: %.10g of available memory, computed to: %s",
                   (double)node->watermark_millionths / 1e6, limit.text);
    } else {
        admin_line(text, "Memory high watermark setting: %s, computed to: %s", setting.text,
                   limit.text);
    }
    admin_line(text, "Memory limit: %s", most.text);
}

static void
disk_write(struct lp_bytebuf *text, const struct admin_task *task)
{
    const struct lp_control *control = task->control;
    const char *unit = admin_unit(task);
    const struct admin_size limit = admin_size(control_disk_limit_bytes(control), unit);
    const struct admin_size free_bytes = admin_size(control->disk.free_bytes, unit);
    admin_line(text, "\nFree Disk Space\n");
    admin_line(text, "Low free disk space watermark: %s", limit.text);
    admin_line(text, "Free disk space: %s",
               control->disk.known ? free_bytes.text : "(not available)");
}

/* Of all shards together. */
static void
log_write(struct lp_bytebuf *text, const struct admin_task *task, const struct admin_totals *totals)
{
    const char *unit = admin_unit(task);
    const struct admin_size files = admin_size(totals->log_segment_bytes, unit);
    const struct admin_size held = admin_size(totals->log_held_bytes, unit);
    const struct admin_size written = admin_size(totals->log_bytes_written, unit);
    const struct admin_size records = admin_size(totals->log_bytes_records, unit);
    if (totals->log_segments == 0) {
        return; /* nothing is kept */
    }
    admin_line(text, "\nMessage Logs\n");
    admin_line(text, "Segments: %llu, together %s, of which needed: %s",
               (unsigned long long)totals->log_segments, files.text, held.text);
    admin_line(text, "Written: %s in %llu batches, for records of %s", written.text,
               (unsigned long long)totals->log_batches, records.text);
    admin_line(text, "Checkpoints: %llu", (unsigned long long)totals->log_checkpoints);
    admin_line(text, "Messages stored: %llu, paged out: %llu, recovered at the start: %llu",
               (unsigned long long)totals->messages_stored,
               (unsigned long long)totals->messages_paged_out,
               (unsigned long long)totals->messages_recovered);
}

static void
counters_write(struct lp_bytebuf *text, const struct admin_totals *totals)
{
    admin_line(text, "\nTransport\n");
    admin_line(text, "Received: %llu bytes", (unsigned long long)totals->bytes_received);
    admin_line(text, "Sent: %llu bytes", (unsigned long long)totals->bytes_sent);
    admin_line(text, "Connections accepted: %llu", (unsigned long long)totals->connections_opened);
    admin_line(text, "Connections refused: %llu", (unsigned long long)totals->connections_refused);
    admin_line(text, "Turns: %llu, idle %llu", (unsigned long long)totals->turns,
               (unsigned long long)totals->turns_idle);
    admin_line(text, "Turn length: p50 %.1f us, p99 %.1f us",
               (double)turn_percentile_ns(totals, 500) / 1000.0,
               (double)turn_percentile_ns(totals, 990) / 1000.0);
    admin_line(text, "\nMessages\n");
    admin_line(text, "Published: %llu", (unsigned long long)totals->messages_published);
    admin_line(text, "Confirmed: %llu", (unsigned long long)totals->messages_confirmed);
    admin_line(text, "Delivered: %llu", (unsigned long long)totals->messages_delivered);
    admin_line(text, "Acknowledged: %llu", (unsigned long long)totals->messages_acknowledged);
    admin_line(text, "Held: %llu", (unsigned long long)totals->messages_held);
}

static void
things_write(struct lp_bytebuf *text, const struct lp_control *control)
{
    admin_line(text, "\nTotals\n");
    admin_line(text, "Connection count: %zu", control->connections_by_id.count);
    admin_line(text, "Queue count: %u", control->catalog->queue_count);
    admin_line(text, "Virtual host count: %zu", control->catalog->vhosts_by_id.count);
    admin_line(text, "Exchange count: %u", control->catalog->exchange_count);
    admin_line(text, "Binding count: %u", control->catalog->binding_count);
}

static json_t *
status_text(const struct admin_task *task, const struct admin_totals *totals)
{
    struct lp_bytebuf text = {0};
    json_t *alarms = admin_alarm_lines(task);
    json_t *listeners = admin_listener_objects(task);
    json_t *listener_lines = admin_listener_lines(listeners, false);
    runtime_write(&text, task);
    admin_section(&text, "Alarms", alarms);
    memory_write(&text, task, totals);
    disk_write(&text, task);
    log_write(&text, task, totals);
    counters_write(&text, totals);
    things_write(&text, task->control);
    admin_section(&text, "Listeners", listener_lines);
    json_decref(alarms);
    json_decref(listeners);
    json_decref(listener_lines);
    return admin_text_take(&text);
}

bool
admin_check_status(struct admin_task *task)
{
    return admin_unit_check(task);
}

void
admin_status(struct admin_task *task)
{
    const struct admin_totals totals = admin_totals(task->control);
    json_t *data = json_object();
    data_about_node(data, task);
    data_about_resources(data, task->control, &totals);
    admin_answer(task, json_pack("{s:b,s:o,s:o}", "ok", 1, "text", status_text(task, &totals),
                                 "data", data));
}
