/* SPDX-License-Identifier: Apache-2.0 */
/* cluster_status.c - a cluster of one. */
#include "control/admin/report.h"

static json_t *
one_line(json_t *line)
{
    return json_pack("[o]", line);
}

static void
section(struct lp_bytebuf *text, const char *title, json_t *lines)
{
    admin_section(text, title, lines);
    json_decref(lines);
}

static json_t *
flag_lines(const json_t *flags)
{
    json_t *lines = json_array();
    size_t i;
    const json_t *flag;
    json_array_foreach(flags, i, flag)
    {
        admin_append(lines, json_sprintf("Flag: %s, state: %s",
                                         json_string_value(json_object_get(flag, "name")),
                                         json_string_value(json_object_get(flag, "state"))));
    }
    return lines;
}

static json_t *
cluster_text(const struct admin_task *task, const json_t *data)
{
    const struct lp_control *control = task->control;
    const char *node = task->node;
    struct lp_bytebuf text = {0};
    const json_t *listeners = json_object_get(json_object_get(data, "listeners"), node);
    admin_line(&text, "Basics\n\nCluster name: %s", control->options.settings.cluster_name);
    admin_line(&text, "Total CPU cores available cluster-wide: %u", control->shard_count);
    section(&text, "Cluster Tags", json_array());
    section(&text, "Disk Nodes", one_line(json_string(node)));
    section(&text, "Running Nodes", one_line(json_string(node)));
    section(&text, "Versions",
            one_line(json_sprintf("%s: RabbitMQ %s on Lepus %s", node, ADMIN_RABBITMQ_VERSION,
                                  LP_VERSION)));
    section(
        &text, "CPU Cores",
        one_line(json_sprintf("Node: %s, available CPU cores: %u", node, control->shard_count)));
    section(&text, "Maintenance status",
            one_line(json_sprintf("Node: %s, status: not under maintenance", node)));
    section(&text, "Alarms", admin_alarm_lines(task));
    section(&text, "Network Partitions", json_array());
    section(&text, "Listeners", admin_listener_lines(listeners, true));
    section(&text, "Feature flags", flag_lines(json_object_get(data, "feature_flags")));
    return admin_text_take(&text);
}

/* {node: value}; takes the value. */
static json_t *
of_node(const struct admin_task *task, json_t *value)
{
    return json_pack("{s:o}", task->node, value);
}

void
admin_cluster_status(struct admin_task *task)
{
    const struct lp_control *control = task->control;
    json_t *data = json_object();
    admin_set(data, "cluster_name", json_string(control->options.settings.cluster_name));
    admin_set(data, "cluster_tags", json_array());
    admin_set(data, "disk_nodes", one_line(json_string(task->node)));
    admin_set(data, "ram_nodes", json_array());
    admin_set(data, "running_nodes", one_line(json_string(task->node)));
    admin_set(data, "versions",
              of_node(task, json_pack("{s:s,s:s,s:s}", "rabbitmq_name", "Lepus", "rabbitmq_version",
                                      ADMIN_RABBITMQ_VERSION, "lepus_version", LP_VERSION)));
    admin_set(data, "cpu_cores", of_node(task, json_integer(control->shard_count)));
    admin_set(data, "maintenance_status", of_node(task, json_string("not under maintenance")));
    admin_set(data, "alarms", admin_alarm_objects(task));
    admin_set(data, "partitions", json_object());
    admin_set(data, "listeners", of_node(task, admin_listener_objects(task)));
    admin_set(data, "feature_flags", admin_feature_flags());
    json_t *text = cluster_text(task, data);
    admin_answer(task, json_pack("{s:b,s:o,s:o}", "ok", 1, "text", text, "data", data));
}
