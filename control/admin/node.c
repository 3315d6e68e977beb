/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - the node's life: stop, stop_app, start_app, reset; and waiting for it. */
#include "control/admin/admin_checks.h"
#include "control/admin/admin_internal.h"

static void
done(struct lp_control *control, void *context, bool good)
{
    (void)control;
    if (good) {
        admin_done(context);
    } else {
        admin_fail(context, ADMIN_EXIT_TEMPORARY,
                   "the control process could not finish this; see the broker's log and try again");
    }
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

/* The ports are closed when every shard has heard of it. */
static void
stopped_app(struct lp_control *control, void *context, bool good)
{
    struct admin_task *task = context;
    if (good) {
        control_when_heard(control, done, task);
    } else {
        done(control, task, false);
    }
}

void
admin_stop_app(struct admin_task *task)
{
    control_application_stop(task->control, stopped_app, task);
}

static void
start(struct lp_control *control, void *context, bool good)
{
    struct admin_task *task = context;
    if (!good) {
        done(control, task, false);
    } else if (control_application_start(control)) {
        control_when_heard(control, done, task);
    } else {
        control_application_stop(control, start, task); /* it is on its way: after it */
    }
}

void
admin_start_app(struct admin_task *task)
{
    start(task->control, task, true);
}

static void
reset(struct lp_control *control, void *context, bool good)
{
    struct admin_task *task = context;
    if (!good) {
        done(control, task, false);
    } else if (control_application_reset(control)) {
        admin_done_when_applied(task);
    } else {
        control_application_stop(control, reset, task); /* the same */
    }
}

void
admin_reset(struct admin_task *task)
{
    reset(task->control, task, true);
}

void
admin_force_reset(struct admin_task *task)
{
    reset(task->control, task, true);
}

/* ---- waiting ---- */

static void
await_startup(struct lp_control *control, void *context, bool good)
{
    struct admin_task *task = context;
    if (control_application_stopped(control)) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "rabbit_is_not_running");
    } else if (control_shards_ready(control) || !good) {
        done(control, task, good);
    } else {
        control_after(control, UINT64_C(20000000), await_startup, task);
    }
}

void
admin_await_startup(struct admin_task *task)
{
    await_startup(task->control, task, true);
}

bool
admin_check_await_online_nodes(struct admin_task *task)
{
    return admin_number_check(task);
}

void
admin_await_online_nodes(struct admin_task *task)
{
    if (strcmp(admin_arg(task, 0), "1") == 0) {
        admin_done(task);
        return;
    }
    /* There will never be more: RabbitMQ's answer after its wait, at once. */
    admin_fail(task, ADMIN_EXIT_SOFTWARE,
               "Error: timed out while waiting. Not enough nodes joined %s's cluster.", task->node);
}
