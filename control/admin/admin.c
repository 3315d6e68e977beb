/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - the table of commands, and what every command needs. */
#include "control/admin/admin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/admin_internal.h"

static const struct {
    const char *name;
    admin_command_fn *run;
    uint8_t args_min;
    uint8_t args_max;
} commands[] = {
    {"add_user", admin_add_user, 2, 2},
    {"add_vhost", admin_add_vhost, 1, 1},
    {"authenticate_user", admin_authenticate_user, 2, 2},
    {"change_password", admin_change_password, 2, 2},
    {"clear_permissions", admin_clear_permissions, 1, 1},
    {"delete_user", admin_delete_user, 1, 1},
    {"delete_vhost", admin_delete_vhost, 1, 1},
    {"list_bindings", admin_list_bindings, 0, 64},
    {"list_connections", admin_list_connections, 0, 64},
    {"list_exchanges", admin_list_exchanges, 0, 64},
    {"list_permissions", admin_list_permissions, 0, 0},
    {"list_queues", admin_list_queues, 0, 64},
    {"list_user_permissions", admin_list_user_permissions, 1, 1},
    {"list_users", admin_list_users, 0, 0},
    {"list_vhosts", admin_list_vhosts, 0, 64},
    {"ping", admin_ping, 0, 0},
    {"set_permissions", admin_set_permissions, 4, 4},
    {"set_user_tags", admin_set_user_tags, 1, 63},
    {"status", admin_status, 0, 0},
    {"stop", admin_stop, 0, 1},
};

/* ---- ends of a task ---- */

void
admin_answer(struct admin_task *task, json_t *answer)
{
    task->done(task->done_context, answer);
    if (task->state_free) {
        task->state_free(task->state);
    }
    free(task);
}

void
admin_done(struct admin_task *task)
{
    admin_answer(task, json_pack("{s:b}", "ok", 1));
}

void
admin_fail(struct admin_task *task, int code, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* a cut sentence still tells */
    va_end(arguments);
    json_t *error = admin_text(lp_bytes_of_text(text));
    admin_answer(task, json_pack("{s:b,s:i,s:o}", "ok", 0, "exit", code, "error", error));
}

static void
applied(struct lp_control *control, void *context, bool good)
{
    (void)control;
    if (good) {
        admin_done(context);
    } else {
        admin_fail(context, ADMIN_EXIT_TEMPORARY,
                   "the change could not be stored; see the broker's log and try again");
    }
}

void
admin_done_when_applied(struct admin_task *task)
{
    control_when_applied(task->control, applied, task);
}

/* ---- arguments ---- */

size_t
admin_arg_count(const struct admin_task *task)
{
    return json_array_size(task->args);
}

const char *
admin_arg(const struct admin_task *task, size_t index)
{
    return json_string_value(json_array_get(task->args, index));
}

struct lp_bytes
admin_arg_bytes(const struct admin_task *task, size_t index)
{
    return lp_bytes_of_text(admin_arg(task, index));
}

struct lp_catalog_vhost *
admin_vhost(struct admin_task *task)
{
    const char *name = json_string_value(json_object_get(task->options, "vhost"));
    name = name ? name : "/";
    struct lp_catalog_vhost *vhost =
        lp_catalog_vhost(task->control->catalog, lp_bytes_of_text(name));
    if (!vhost) {
        admin_fail(task, ADMIN_EXIT_DATA, "Virtual host '%s' does not exist", name);
    }
    return vhost;
}

json_t *
admin_text(struct lp_bytes bytes)
{
    if (bytes.size == 0) {
        return json_string(""); /* jansson refuses NULL */
    }
    json_t *text = json_stringn((const char *)bytes.data, bytes.size);
    if (text) {
        return text;
    }
    /* Not UTF-8: keep ASCII, and mark the rest. */
    struct lp_bytebuf buf = {0};
    for (uint32_t i = 0; i < bytes.size; i++) {
        const bool plain = bytes.data[i] > 0 && bytes.data[i] < 0x80;
        lp_bytebuf_append(&buf, plain ? (const char *)&bytes.data[i] : "\xEF\xBF\xBD",
                          plain ? 1 : 3);
    }
    text = json_stringn((const char *)buf.data, buf.size);
    lp_bytebuf_fini(&buf);
    return text;
}

/* ---- the request ---- */

static bool
args_are_texts(const json_t *args)
{
    size_t i;
    const json_t *arg;
    json_array_foreach(args, i, arg)
    {
        if (!json_is_string(arg)) {
            return false;
        }
    }
    return true;
}

static void
task_run(struct admin_task *task, const char *name)
{
    const size_t count = admin_arg_count(task);
    for (size_t i = 0; i < LP_COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) != 0) {
            continue;
        }
        if (count < commands[i].args_min) {
            admin_fail(task, ADMIN_EXIT_USAGE, "not enough arguments.");
        } else if (count > commands[i].args_max) {
            admin_fail(task, ADMIN_EXIT_USAGE, "too many arguments.");
        } else {
            commands[i].run(task);
        }
        return;
    }
    admin_fail(task, ADMIN_EXIT_USAGE, "Command '%s' not found.", name);
}

void
lp_admin_request(struct lp_control *control, const json_t *request, lp_admin_done_fn *done,
                 void *context)
{
    struct admin_task *task = lp_heap_alloc(sizeof(*task));
    const char *name = json_string_value(json_object_get(request, "command"));
    task->control = control;
    task->done = done;
    task->done_context = context;
    task->args = json_object_get(request, "args");
    task->options = json_object_get(request, "options");
    if (!name || (task->args && (!json_is_array(task->args) || !args_are_texts(task->args)))) {
        admin_fail(task, ADMIN_EXIT_USAGE,
                   "a request is {\"command\":text,\"args\":[text,...],\"options\":{...}}");
        return;
    }
    task_run(task, name);
}
