/* SPDX-License-Identifier: Apache-2.0 */
/* checks.c - what monitoring asks: is all well?  Exit code 69 says no. */
#include <strings.h>

#include "control/admin/admin_checks.h"
#include "control/admin/report.h"

/* Texts of a list with `between` between them. */
static json_t *
joined(const json_t *texts, const char *between)
{
    struct lp_bytebuf text = {0};
    size_t i;
    const json_t *entry;
    json_array_foreach(texts, i, entry)
    {
        lp_bytebuf_append(&text, between, i > 0 ? strlen(between) : 0);
        lp_bytebuf_append(&text, json_string_value(entry), json_string_length(entry));
    }
    return admin_text_take(&text);
}

/* ---- alarms ---- */

/* Takes the lines; `scope` is "" or "local ". */
static json_t *
alarms_found(const struct admin_task *task, const char *result, json_t *lines, const char *scope)
{
    json_t *data = json_object();
    if (scope[0] == '\0') {
        admin_set(data, "global", json_array());
    }
    admin_set(data, "local", lines);
    admin_set(data, "message", json_sprintf("Node %s reported %salarms", task->node, scope));
    admin_set(data, "result", json_string(result));
    return data;
}

void
admin_alarms(struct admin_task *task)
{
    json_t *lines = admin_alarm_lines(task);
    if (json_array_size(lines) > 0) {
        json_t *text = joined(lines, "\n");
        admin_say(task, alarms_found(task, "ok", lines, ""), "%s", json_string_value(text));
        json_decref(text);
        return;
    }
    admin_say(task, json_pack("{s:o,s:s,s:s}", "alarms", lines, "node", task->node, "result", "ok"),
              "Node %s reported no alarms, local or clusterwide", task->node);
}

void
admin_check_alarms(struct admin_task *task)
{
    json_t *lines = admin_alarm_lines(task);
    if (json_array_size(lines) == 0) {
        json_decref(lines);
        admin_say(task, json_pack("{s:s}", "result", "ok"),
                  "Node %s reported no alarms, local or clusterwide", task->node);
        return;
    }
    json_t *text = joined(lines, "\n");
    admin_unwell(task, alarms_found(task, "error", lines, ""), "%s", json_string_value(text));
    json_decref(text);
}

void
admin_check_local_alarms(struct admin_task *task)
{
    json_t *lines = admin_alarm_lines(task);
    if (json_array_size(lines) == 0) {
        json_decref(lines);
        admin_say(task, json_pack("{s:s}", "result", "ok"), "Node %s reported no local alarms",
                  task->node);
        return;
    }
    json_t *text = joined(lines, "\n");
    admin_fail_with(task, alarms_found(task, "error", lines, "local "), "%s",
                    json_string_value(text));
    json_decref(text);
}

/* ---- running ---- */

static bool
running(const struct admin_task *task)
{
    return !control_application_stopped(task->control) && control_shards_ready(task->control);
}

#define NOT_RUNNING \
    "RabbitMQ on node %s is not running or has not fully booted yet (check with is_booting)"

void
admin_check_running(struct admin_task *task)
{
    if (running(task)) {
        admin_say(task, NULL, "RabbitMQ on node %s is fully booted and running", task->node);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, NOT_RUNNING, task->node);
    }
}

static void
yes_or_no(struct admin_task *task, bool result, json_t *text)
{
    json_t *data = json_pack("{s:O,s:b}", "message", text, "result", result);
    admin_say(task, data, "%s", json_string_value(text));
    json_decref(text);
}

void
admin_is_running(struct admin_task *task)
{
    const bool yes = running(task);
    yes_or_no(task, yes,
              yes ? json_sprintf("RabbitMQ on node %s is fully booted and running", task->node)
                  : json_sprintf(NOT_RUNNING, task->node));
}

void
admin_is_booting(struct admin_task *task)
{
    const bool yes =
        !control_application_stopped(task->control) && !control_shards_ready(task->control);
    yes_or_no(task, yes,
              yes ? json_sprintf("RabbitMQ on node %s is booting", task->node)
                  : json_sprintf("RabbitMQ on node %s is fully booted (check with is_running), "
                                 "stopped or has not started booting yet",
                                 task->node));
}

void
admin_check_virtual_hosts(struct admin_task *task)
{
    admin_say(task, json_pack("{s:s}", "result", "ok"), "Node %s reported all vhosts as running",
              task->node);
}

void
admin_check_if_node_is_quorum_critical(struct admin_task *task)
{
    static const char text[] =
        "seems to be the only one in a single node cluster, the check does not apply";
    json_t *data = json_object();
    admin_set(data, "message", json_sprintf("Target node %s", text));
    admin_set(data, "result", json_string("ok"));
    admin_say(task, data, "Node %s %s", task->node, text);
}

/* ---- listeners ---- */

void
admin_listeners(struct admin_task *task)
{
    json_t *listeners = admin_listener_objects(task);
    json_t *lines = admin_listener_lines(listeners, false);
    json_t *text = joined(lines, "\n");
    json_t *data =
        json_pack("{s:o,s:s,s:s}", "listeners", listeners, "node", task->node, "result", "ok");
    if (json_array_size(lines) > 0) {
        admin_say(task, data, "%s", json_string_value(text));
    } else {
        admin_say(task, data, "Node %s reported no enabled listeners.", task->node);
    }
    json_decref(lines);
    json_decref(text);
}

/* Values of one key of all listeners, those of paths left out. */
static json_t *
listed(const json_t *listeners, const char *key)
{
    json_t *values = json_array();
    size_t i;
    const json_t *listener;
    json_array_foreach(listeners, i, listener)
    {
        json_t *value = json_object_get(listener, key);
        if (!json_is_integer(value) || json_integer_value(value) != 0) {
            admin_append(values, json_incref(value));
        }
    }
    return values;
}

static json_t *
as_texts(const json_t *values)
{
    json_t *texts = json_array();
    size_t i;
    json_t *value;
    json_array_foreach(values, i, value)
    {
        admin_append(texts, json_is_integer(value)
                                ? json_sprintf("%lld", (long long)json_integer_value(value))
                                : json_incref(value));
    }
    return texts;
}

static bool
holds(const json_t *texts, const char *text)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(texts, i, entry)
    {
        if (strcmp(json_string_value(entry), text) == 0) {
            return true;
        }
    }
    return false;
}

bool
admin_number_check(struct admin_task *task)
{
    const char *text = admin_arg(task, 0);
    if (text[strspn(text, "0")] >= '1' && text[strspn(text, "0")] <= '9') {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument: Argument must be a positive integer");
    return false;
}

bool
admin_check_check_port_listener(struct admin_task *task)
{
    return admin_number_check(task);
}

static json_t *
missing(const char *wanted, const char *key, json_t *found, json_t *listeners)
{
    return json_pack("{s:o,s:s,s:o,s:s}", "listeners", listeners, "missing", wanted, key, found,
                     "result", "error");
}

void
admin_check_port_listener(struct admin_task *task)
{
    const char *port = admin_arg(task, 0);
    json_t *listeners = admin_listener_objects(task);
    json_t *ports = listed(listeners, "port");
    json_t *texts = as_texts(ports);
    json_t *all = joined(texts, ", ");
    if (holds(texts, port)) {
        json_decref(listeners);
        json_decref(ports);
        admin_say(task,
                  json_pack("{s:s,s:s,s:s}", "node", task->node, "port", port, "result", "ok"),
                  "A listener for port %s is running on node %s.", port, task->node);
    } else {
        admin_unwell(task, missing(port, "ports", ports, listeners),
                     "No listener for port %s is active on node %s. Found listeners that use the "
                     "following ports: %s",
                     port, task->node, json_string_value(all));
    }
    json_decref(texts);
    json_decref(all);
}

/* Other names that RabbitMQ takes for it. */
static const char *
protocol_named(const char *name)
{
    static const char *const amqp[] = {"amqp091", "amqp0.9.1", "amqp0-9-1", "amqp0_9_1", "amqp10",
                                       "amqp1.0", "amqp1-0",   "amqp1_0",   "amqp"};
    for (size_t i = 0; i < LP_COUNT_OF(amqp); i++) {
        if (strcasecmp(amqp[i], name) == 0) {
            return "amqp";
        }
    }
    return name;
}

void
admin_check_protocol_listener(struct admin_task *task)
{
    const char *name = protocol_named(admin_arg(task, 0));
    json_t *listeners = admin_listener_objects(task);
    json_t *protocols = listed(listeners, "protocol");
    json_t *all = joined(protocols, ", ");
    if (holds(protocols, name)) {
        json_decref(listeners);
        json_decref(protocols);
        admin_say(task,
                  json_pack("{s:s,s:s,s:s}", "node", task->node, "protocol", name, "result", "ok"),
                  "A listener for protocol %s is running on node %s.", name, task->node);
    } else {
        admin_fail_with(task, missing(name, "protocols", protocols, listeners),
                        "No listener for protocol %s is active on node %s. Found listeners for the "
                        "following protocols: %s",
                        name, task->node, json_string_value(all));
    }
    json_decref(all);
}

/* ---- facts ---- */

void
admin_server_version(struct admin_task *task)
{
    admin_say(task, json_pack("{s:s,s:s}", "result", "ok", "value", ADMIN_RABBITMQ_VERSION), "%s",
              ADMIN_RABBITMQ_VERSION);
}

void
admin_log_location(struct admin_task *task)
{
    admin_say(
        task,
        json_pack("{s:s,s:[s],s:s}", "node_name", task->node, "paths", "<stdout>", "result", "ok"),
        "<stdout>");
}

void
admin_ping(struct admin_task *task)
{
    /* Not shown: for those who want to see it end. */
    admin_answer(task,
                 json_pack("{s:b,s:i}", "ok", 1, "pid", (int)admin_broker_pid(task->control)));
}

/* By shard: nothing else in the broker takes memory that grows. */
bool
admin_check_memory_breakdown(struct admin_task *task)
{
    return admin_unit_check(task);
}

void
admin_memory_breakdown(struct admin_task *task)
{
    const struct lp_control *control = task->control;
    const struct admin_totals totals = admin_totals(control);
    struct lp_bytebuf text = {0};
    json_t *data = json_object();
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct lp_stats_page *page = lp_control_region_stats(control->options.region, i);
        const uint64_t bytes = lp_load_relaxed(&page->memory_used_bytes);
        const double share = totals.memory_used_bytes > 0
                                 ? (double)bytes * 100.0 / (double)totals.memory_used_bytes
                                 : 0.0;
        const double percentage = (double)(int64_t)(share * 100.0 + 0.5) / 100.0;
        char name[32];
        (void)snprintf(name, sizeof(name), "shard_%u", i); /* fits */
        admin_line(&text, "%s: %s (%.10g%%)", name, admin_size(bytes, admin_unit(task)).text,
                   percentage);
        admin_set(data, name,
                  json_pack("{s:I,s:f}", "bytes", (json_int_t)bytes, "percentage", percentage));
    }
    json_t *words = admin_text_take(&text);
    admin_say(task, data, "%s", json_string_value(words));
    json_decref(words);
}
