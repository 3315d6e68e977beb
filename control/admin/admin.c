/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - requests: found in the list of commands, checked, run; and how they end. */
#include "control/admin/admin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/admin_checks.h"
#include "control/admin/admin_internal.h"

static const struct {
    const char *name;
    admin_command_fn *run;
} handlers[] = {
#define COMMAND(id, ...) {#id, admin_##id},
#define LOCAL(id, ...)
#define REFUSED(id, why)
#include "control/command/all.inc"
};

/* Commands that have more to ask than how many arguments there are. */
static const struct {
    const char *name;
    admin_check_fn *check;
} checks[] = {
#define X(id) {#id, admin_check_##id},
    ADMIN_CHECKS(X)
#undef X
};

/* ---- ends of a task ---- */

void
admin_answer(struct admin_task *task, json_t *answer)
{
    LP_ASSERT(answer != NULL);
    task->done(task->done_context, answer);
    if (task->state_free) {
        task->state_free(task->state);
    }
    json_decref(task->request);
    json_decref(task->text);
    free(task);
}

void
admin_done(struct admin_task *task)
{
    admin_answer(task, json_pack("{s:b}", "ok", 1));
}

/* Text of any length that may hold names that are no UTF-8. */
__attribute__((format(printf, 1, 0))) static json_t *
formatted(const char *format, va_list arguments)
{
    char *text = NULL;
    const int bytes = vasprintf(&text, format, arguments);
    LP_ASSERT(bytes >= 0);
    json_t *value = admin_text(lp_bytes_of(text, (uint32_t)bytes));
    free(text);
    return value;
}

static json_t *
failure(int code, const char *key, json_t *text)
{
    json_t *answer = json_pack("{s:b,s:i}", "ok", 0, "exit", code);
    admin_set(answer, key, text);
    return answer;
}

void
admin_say(struct admin_task *task, json_t *data, const char *format, ...)
{
    json_t *answer = json_pack("{s:b}", "ok", 1);
    va_list arguments;
    va_start(arguments, format);
    admin_set(answer, "text", formatted(format, arguments));
    va_end(arguments);
    if (data) {
        admin_set(answer, "data", data);
    }
    admin_answer(task, answer);
}

void
admin_fail(struct admin_task *task, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *answer = failure(code, "error", formatted(format, arguments));
    va_end(arguments);
    admin_answer(task, answer);
}

void
admin_fail_bare(struct admin_task *task, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *answer = failure(code, "error", formatted(format, arguments));
    va_end(arguments);
    admin_set(answer, "bare", json_true());
    admin_answer(task, answer);
}

void
admin_fail_json(struct admin_task *task, int code, const char *message, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *answer = failure(code, "error", formatted(format, arguments));
    va_end(arguments);
    admin_set(
        answer, "data",
        json_pack("{s:s,s:s,s:s}", "message", message, "node", task->node, "result", "error"));
    admin_answer(task, answer);
}

void
admin_unwell(struct admin_task *task, json_t *data, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *answer = failure(ADMIN_EXIT_UNAVAILABLE, "error", formatted(format, arguments));
    va_end(arguments);
    admin_set(answer, "bare", json_true());
    admin_set(answer, "data", data);
    admin_answer(task, answer);
}

void
admin_fail_with(struct admin_task *task, json_t *data, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *answer = failure(ADMIN_EXIT_UNAVAILABLE, "error", formatted(format, arguments));
    va_end(arguments);
    admin_set(answer, "data", data);
    admin_answer(task, answer);
}

void
admin_invalid(struct admin_task *task, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_t *answer = failure(code, "validation", formatted(format, arguments));
    va_end(arguments);
    admin_answer(task, answer);
}

static void
applied(struct lp_control *control, void *context, bool good)
{
    struct admin_task *task = context;
    (void)control;
    if (good && task->text) {
        admin_answer(task, json_pack("{s:b,s:O}", "ok", 1, "text", task->text));
    } else if (good) {
        admin_done(task);
    } else {
        admin_fail(task, ADMIN_EXIT_TEMPORARY,
                   "the change could not be stored; see the broker's log and try again");
    }
}

void
admin_done_when_applied(struct admin_task *task)
{
    control_when_applied(task->control, applied, task);
}

void
admin_say_when_applied(struct admin_task *task, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    task->text = formatted(format, arguments);
    va_end(arguments);
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

const char *
admin_option(const struct admin_task *task, const char *name)
{
    return json_string_value(json_object_get(task->options, name));
}

bool
admin_switch(const struct admin_task *task, const char *name)
{
    return json_is_true(json_object_get(task->options, name));
}

int64_t
admin_option_integer(const struct admin_task *task, const char *name, int64_t preset)
{
    const json_t *value = json_object_get(task->options, name);
    return json_is_integer(value) ? json_integer_value(value) : preset;
}

const char *
admin_vhost_name(const struct admin_task *task)
{
    const char *name = admin_option(task, "vhost");
    return name ? name : "/";
}

struct lp_catalog_vhost *
admin_vhost_or_none(const struct admin_task *task)
{
    return lp_catalog_vhost(task->control->catalog, lp_bytes_of_text(admin_vhost_name(task)));
}

struct lp_catalog_vhost *
admin_vhost(struct admin_task *task)
{
    struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    if (!vhost) {
        admin_fail_bare(task, ADMIN_EXIT_DATA, "Virtual host '%s' does not exist",
                        admin_vhost_name(task));
    }
    return vhost;
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

/* As many as it takes; a password may follow after the check. */
static bool
count_check(struct admin_task *task, bool check)
{
    const size_t count = admin_arg_count(task);
    const size_t later = check && task->command->secret != NULL;
    if (count + later < task->command->arguments_min) {
        admin_invalid(task, ADMIN_EXIT_USAGE, "not enough arguments.");
        return false;
    }
    if (count > task->command->arguments_max) {
        admin_invalid(task, ADMIN_EXIT_USAGE, "too many arguments.");
        return false;
    }
    return true;
}

static bool
special_check(struct admin_task *task)
{
    for (size_t i = 0; i < LP_COUNT_OF(checks); i++) {
        if (strcmp(checks[i].name, task->command->name) == 0) {
            return checks[i].check(task);
        }
    }
    return true;
}

/* rabbitmqctl's words, which name its application and its tool. */
static bool
application_check(struct admin_task *task)
{
    const bool stopped = control_application_stopped(task->control);
    const uint16_t flags = task->command->flags;
    if (!(flags & (stopped ? LP_COMMAND_RUNNING : LP_COMMAND_STOPPED))) {
        return true;
    }
    json_t *text = json_sprintf("this command requires the 'rabbit' app to be %s on the target "
                                "node. %s it with 'rabbitmqctl %s_app'.",
                                stopped ? "running" : "stopped", stopped ? "Start" : "Stop",
                                stopped ? "start" : "stop");
    admin_answer(task, failure(ADMIN_EXIT_USAGE, "environment", text));
    return false;
}

static void
task_run(struct admin_task *task, bool check)
{
    if (!count_check(task, check) || !admin_columns_check(task) || !special_check(task) ||
        !application_check(task)) {
        return;
    }
    if (check) {
        admin_done(task);
        return;
    }
    for (size_t i = 0; i < LP_COUNT_OF(handlers); i++) {
        if (strcmp(handlers[i].name, task->command->name) == 0) {
            handlers[i].run(task);
            return;
        }
    }
    LP_ASSERT(!"a command that no list holds");
}

void
lp_admin_request(struct lp_control *control, const json_t *request, lp_admin_done_fn *done,
                 void *context)
{
    struct admin_task *task = lp_heap_alloc(sizeof(*task));
    const char *name = json_string_value(json_object_get(request, "command"));
    const char *node = json_string_value(json_object_get(request, "node"));
    task->control = control;
    task->done = done;
    task->done_context = context;
    task->request = json_deep_copy(request);
    task->args = json_object_get(task->request, "args");
    task->options = json_object_get(task->request, "options");
    task->node = node ? json_string_value(json_object_get(task->request, "node")) : "lepus";
    if (!name || (task->args && (!json_is_array(task->args) || !args_are_texts(task->args)))) {
        admin_fail(task, ADMIN_EXIT_USAGE,
                   "a request is {\"command\":text,\"args\":[text,...],\"options\":{...}}");
        return;
    }
    task->command = lp_command_find(name);
    if (!task->command || task->command->local) {
        admin_fail(task, ADMIN_EXIT_USAGE, "Command '%s' not found.", name);
        return;
    }
    task_run(task, json_is_true(json_object_get(request, "check")));
}
