/* SPDX-License-Identifier: Apache-2.0 */
/* close_connections.c - connections that administrators close. */
#include <stdlib.h>

#include "control/admin/admin_checks.h"
#include "control/admin/admin_internal.h"

static void
closed(struct lp_control *control, void *context, bool good)
{
    struct admin_task *task = context;
    (void)control;
    if (!good) {
        admin_fail(task, ADMIN_EXIT_TEMPORARY, "the data plane did not answer in time");
    } else if (task->text) {
        admin_say(task, NULL, "%s", json_string_value(task->text));
    } else {
        admin_done(task);
    }
}

void
admin_close_connection(struct admin_task *task)
{
    const char *pid = admin_arg(task, 0);
    uint64_t id;
    if (!admin_pid_read(pid, &id)) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "Error:\n{:invalid_pid_syntax, \"%s\"}", pid);
        return;
    }
    const struct control_connection *connection = control_connection(task->control, id);
    if (connection) {
        control_connection_close(task->control, connection, admin_arg(task, 1));
    }
    control_when_heard(task->control, closed, task);
}

void
admin_close_all_user_connections(struct admin_task *task)
{
    const struct lp_bytes user = admin_arg_bytes(task, 0);
    if (user.size > 0) { /* nobody has no name, and "" would be everybody */
        control_connections_close(task->control, user, 0, admin_arg(task, 1));
    }
    control_when_heard(task->control, closed, task);
}

/* ---- all, one after the other ---- */

struct closing {
    uint64_t *ids;
    size_t count, next;
    uint64_t delay_ns;
};

static void
closing_free(void *state)
{
    struct closing *closing = state;
    free(closing->ids);
    free(closing);
}

static struct closing *
closing_make(const struct admin_task *task)
{
    const bool global = admin_switch(task, "global");
    const struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    const int64_t limit = global ? 0 : admin_option_integer(task, "limit", 0);
    struct closing *closing = lp_heap_alloc(sizeof(*closing));
    closing->ids = lp_heap_alloc((task->control->connections_by_id.count + 1) * sizeof(uint64_t));
    closing->delay_ns =
        (uint64_t)admin_option_integer(task, "per-connection-delay", 0) * UINT64_C(1000000);
    LP_CHAIN_EACH(link, &task->control->connections)
    {
        const struct control_connection *connection =
            LP_CONTAINER_OF(link, struct control_connection, in_control);
        const bool wanted =
            connection->vhost_id != 0 && (global || (vhost && connection->vhost_id == vhost->id));
        if (wanted && (limit == 0 || closing->count < (uint64_t)limit)) {
            closing->ids[closing->count++] = connection->id;
        }
    }
    return closing;
}

static void
closing_step(struct lp_control *control, void *context, bool good)
{
    struct admin_task *task = context;
    struct closing *closing = task->state;
    while (good && closing->next < closing->count) {
        const struct control_connection *connection =
            control_connection(control, closing->ids[closing->next++]);
        if (connection) {
            control_connection_close(control, connection, admin_arg(task, 0));
        }
        if (closing->delay_ns > 0 && closing->next < closing->count) {
            control_after(control, closing->delay_ns, closing_step, task);
            return;
        }
    }
    if (!good) {
        closed(control, task, false);
        return;
    }
    control_when_heard(control, closed, task);
}

bool
admin_check_close_all_connections(struct admin_task *task)
{
    if (admin_option_integer(task, "limit", 0) >= 0 &&
        admin_option_integer(task, "per-connection-delay", 0) >= 0 &&
        admin_option_integer(task, "per-connection-delay", 0) <= INT32_MAX) {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_DATA,
                  "Bad argument: a limit and a delay are numbers that are not negative");
    return false;
}

void
admin_close_all_connections(struct admin_task *task)
{
    struct closing *closing = closing_make(task);
    task->state = closing;
    task->state_free = closing_free;
    task->text = json_sprintf("Closed %zu connections", closing->count);
    closing_step(task->control, task, true);
}
