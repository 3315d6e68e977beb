/* SPDX-License-Identifier: Apache-2.0 */
/* queues.c - purge_queue and delete_queue: their home shards are asked. */
#include "control/admin/admin_checks.h"
#include "control/admin/admin_internal.h"

static struct lp_catalog_queue *
queue_find(const struct admin_task *task)
{
    const struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    return vhost ? lp_catalog_queue(task->control->catalog, vhost, admin_arg_bytes(task, 0)) : NULL;
}

static void
interrupted(struct admin_task *task)
{
    admin_fail(task, ADMIN_EXIT_TEMPORARY, "the queue was not asked to the end; try again");
}

/* ---- purge ---- */

static void
purge_missing(struct admin_task *task)
{
    admin_fail_bare(task, ADMIN_EXIT_DATA, "Object (queue, stream, exchange, etc) was not found");
}

static void
purged(struct lp_control *control, void *context, const struct control_purged *what)
{
    (void)control;
    if (!what->good) {
        interrupted(context);
    } else if (what->code != 0) {
        purge_missing(context);
    } else {
        admin_done(context);
    }
}

void
admin_purge_queue(struct admin_task *task)
{
    const struct lp_catalog_queue *queue = queue_find(task);
    if (queue) {
        control_purge(task->control, queue, false, purged, task);
    } else {
        purge_missing(task);
    }
}

/* ---- delete ---- */

bool
admin_check_delete_queue(struct admin_task *task)
{
    if (admin_arg(task, 0)[0] != '\0') {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument: queue name cannot be an empty string");
    return false;
}

static void
deleted(struct lp_control *control, void *context, const struct control_deleted *what)
{
    struct admin_task *task = context;
    (void)control;
    if (!what->good) {
        interrupted(task);
    } else if (what->verdict == LP_DELETE_NOT_EMPTY) {
        admin_fail(task, ADMIN_EXIT_USAGE, "Queue is not empty");
    } else if (what->verdict == LP_DELETE_IN_USE) {
        /* What rabbitmqctl prints of an error that it did not expect. */
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE,
                   "{:amqp_error, :precondition_failed, ~c\"queue '%s' in vhost '%s' in use\", "
                   ":none}",
                   admin_arg(task, 0), admin_vhost_name(task));
    } else {
        admin_say_when_applied(task, "Queue was successfully deleted with %u ready messages",
                               what->count);
    }
}

void
admin_delete_queue(struct admin_task *task)
{
    const struct lp_catalog_queue *queue = queue_find(task);
    if (!queue) {
        admin_fail(task, ADMIN_EXIT_USAGE, "Queue not found");
        return;
    }
    const struct control_deletion deletion = {.home = queue->home_shard,
                                              .queue_id = queue->id,
                                              .if_unused = admin_switch(task, "if-unused"),
                                              .if_empty = admin_switch(task, "if-empty"),
                                              .done = deleted,
                                              .context = task};
    control_deletion_add(task->control, &deletion);
}
