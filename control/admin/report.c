/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admin/report.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- text ---- */

void
admin_line(struct lp_bytebuf *text, const char *format, ...)
{
    char *line = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int bytes = vasprintf(&line, format, arguments);
    va_end(arguments);
    LP_ASSERT(bytes >= 0);
    lp_bytebuf_append(text, line, (size_t)bytes);
    lp_bytebuf_append(text, "\n", 1);
    free(line);
}

void
admin_section(struct lp_bytebuf *text, const char *title, const json_t *lines)
{
    size_t i;
    const json_t *line;
    admin_line(text, "\n%s\n", title);
    json_array_foreach(lines, i, line)
    {
        admin_line(text, "%s", json_string_value(line));
    }
    if (json_array_size(lines) == 0) {
        admin_line(text, "(none)");
    }
}

json_t *
admin_text_take(struct lp_bytebuf *text)
{
    /* Who prints it ends the last line. */
    const size_t size =
        text->size > 0 && text->data[text->size - 1] == '\n' ? text->size - 1 : text->size;
    json_t *value = admin_text(lp_bytes_of(text->data, (uint32_t)size));
    lp_bytebuf_fini(text);
    return value;
}

/* ---- units ---- */

static bool
unit_factor(const char *unit, double *ret_factor)
{
    static const struct {
        const char *names[4];
        double factor;
    } units[] = {
        {{"bytes"}, 1},
        {{"k", "kb", "kilobytes"}, 1e3},
        {{"ki", "kib"}, 1024.0},
        {{"m", "mb", "megabytes"}, 1e6},
        {{"mi", "mib"}, 1048576.0},
        {{"g", "gb", "gigabytes"}, 1e9},
        {{"gi", "gib"}, 1073741824.0},
        {{"t", "tb", "terabytes"}, 1e12},
        {{"ti", "tib"}, 1099511627776.0},
        {{"p", "pb", "petabytes"}, 1e15},
        {{"pi", "pib"}, 1125899906842624.0},
    };
    for (size_t i = 0; i < LP_COUNT_OF(units); i++) {
        for (size_t n = 0; n < LP_COUNT_OF(units[i].names) && units[i].names[n]; n++) {
            if (strcasecmp(units[i].names[n], unit) == 0) {
                *ret_factor = units[i].factor;
                return true;
            }
        }
    }
    return false;
}

const char *
admin_unit(const struct admin_task *task)
{
    const char *unit = admin_option(task, "unit");
    return unit ? unit : "gb";
}

bool
admin_unit_check(struct admin_task *task)
{
    double factor;
    if (unit_factor(admin_unit(task), &factor)) {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_USAGE,
                  "\"unit '%s' is not supported. Please use one of: bytes, mb, mib, gb, gib, tb, "
                  "tib\"",
                  admin_unit(task));
    return false;
}

struct admin_size
admin_size(uint64_t bytes, const char *unit)
{
    struct admin_size size;
    double factor = 1.0;
    (void)unit_factor(unit, &factor); /* checked, or a constant */
    if (factor == 1.0) {
        (void)snprintf(size.text, sizeof(size.text), "%llu %s", (unsigned long long)bytes, unit);
        return size;
    }
    int length = snprintf(size.text, sizeof(size.text), "%.4f", (double)bytes / factor);
    while (size.text[length - 1] == '0' && size.text[length - 2] != '.') {
        length--;
    }
    (void)snprintf(size.text + length, sizeof(size.text) - (size_t)length, " %s", unit); /* fits */
    return size;
}

/* ---- counters ---- */

struct admin_totals
admin_totals(const struct lp_control *control)
{
    struct admin_totals totals = {0};
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

/* ---- alarms ---- */

static json_t *
fence_line(const struct admin_task *task, uint32_t shard)
{
    const struct control_fence *fence = &task->control->shards[shard].fence;
    return json_sprintf("Log alarm of shard %u on node %s: %s (segment %u, offset %llu: %s)", shard,
                        task->node, fence->what, fence->segment, (unsigned long long)fence->offset,
                        lp_err_text((enum lp_err)fence->err));
}

json_t *
admin_alarm_lines(const struct admin_task *task)
{
    json_t *lines = json_array();
    if (control_disk_is_low(task->control)) {
        admin_append(lines, json_sprintf("Free disk space alarm on node %s", task->node));
    }
    if (control_memory_is_low(task->control)) {
        admin_append(lines, json_sprintf("Memory alarm on node %s", task->node));
    }
    for (uint32_t i = 0; i < task->control->shard_count; i++) {
        if (task->control->shards[i].fence.up) {
            admin_append(lines, fence_line(task, i));
        }
    }
    return lines;
}

static json_t *
alarm_of(const struct admin_task *task, const char *resource)
{
    return json_pack("{s:s,s:s,s:s}", "type", "resource_limit", "resource", resource, "node",
                     task->node);
}

json_t *
admin_alarm_objects(const struct admin_task *task)
{
    json_t *alarms = json_array();
    if (control_disk_is_low(task->control)) {
        admin_append(alarms, alarm_of(task, "disk"));
    }
    if (control_memory_is_low(task->control)) {
        admin_append(alarms, alarm_of(task, "memory"));
    }
    for (uint32_t i = 0; i < task->control->shard_count; i++) {
        const struct control_fence *fence = &task->control->shards[i].fence;
        if (fence->up) {
            json_t *alarm = alarm_of(task, "log");
            admin_set(alarm, "shard", json_integer(i));
            admin_set(alarm, "segment", json_integer(fence->segment));
            admin_set(alarm, "offset", json_integer((json_int_t)fence->offset));
            admin_set(alarm, "reason", json_string(lp_err_text((enum lp_err)fence->err)));
            admin_append(alarms, alarm);
        }
    }
    return alarms;
}

/* ---- listeners ---- */

/* A path, an address, or an address of version 6 in brackets. */
static json_t *
interface_of(const struct control_listener *listener)
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (listener->family == 1) {
        return json_string(listener->path);
    }
    const bool six = listener->family == 6;
    const char *text = inet_ntop(six ? AF_INET6 : AF_INET, listener->ip, ip, sizeof(ip));
    return json_sprintf(six ? "[%s]" : "%s", text ? text : "");
}

json_t *
admin_listener_objects(const struct admin_task *task)
{
    json_t *list = json_array();
    const struct control_shard *shard = &task->control->shards[0]; /* all have the same */
    for (uint32_t i = 0; i < shard->listener_count; i++) {
        const struct control_listener *listener = &shard->listeners[i];
        const bool ssl = strcmp(listener->protocol, "amqp/ssl") == 0;
        admin_append(list, json_pack("{s:s,s:o,s:i,s:s,s:s}", "node", task->node, "interface",
                                     interface_of(listener), "port", (int)listener->port,
                                     "protocol", listener->protocol, "purpose",
                                     ssl ? "AMQP 0-9-1 over TLS" : "AMQP 0-9-1"));
    }
    return list;
}

json_t *
admin_listener_lines(const json_t *listeners, bool with_node)
{
    json_t *lines = json_array();
    size_t i;
    const json_t *entry;
    json_array_foreach(listeners, i, entry)
    {
        const char *node = json_string_value(json_object_get(entry, "node"));
        admin_append(lines, json_sprintf("%s%s%s: %s, port: %d, protocol: %s, purpose: %s",
                                         with_node ? "Node: " : "", with_node ? node : "",
                                         with_node ? ", interface" : "Interface",
                                         json_string_value(json_object_get(entry, "interface")),
                                         (int)json_integer_value(json_object_get(entry, "port")),
                                         json_string_value(json_object_get(entry, "protocol")),
                                         json_string_value(json_object_get(entry, "purpose"))));
    }
    return lines;
}
