/* SPDX-License-Identifier: Apache-2.0 */
/*
 * application.c - stop_app and start_app: clients go and may come again while
 * the processes live on.
 *
 *   RUNNING --stop--> CLOSING -- no connection is left --> PURGING
 *      ^                                                      |
 *      |                     transient messages are gone      |
 *      '------start------ STOPPED <---------------------------'
 *
 * What is transient goes with the stop, as if the broker had ended.  The
 * region holds that it is stopped: a new control process goes on from there.
 */
#include <stdlib.h>

#include "control/link/control_internal.h"

bool
control_application_stopped(const struct lp_control *control)
{
    return control->region->node.stopped != 0;
}

static void
running_send(struct lp_control *control, uint32_t shard)
{
    struct lp_writer w = control_writer(control);
    lp_writer_u8(&w, !control_application_stopped(control));
    control_send(control, shard, LP_CONTROL_RUNNING, 0, lp_writer_bytes(&w));
}

static void
stop_begin(struct lp_control *control)
{
    struct control_application *application = &control->application;
    free(application->queues);
    application->queues = NULL;
    application->queue_count = application->queue_next = 0;
    application->step = CONTROL_APPLICATION_CLOSING;
}

void
control_application_attach(struct lp_control *control)
{
    if (control_application_stopped(control)) {
        stop_begin(control);
    }
    for (uint32_t i = 0; i < control->shard_count; i++) {
        running_send(control, i);
    }
}

/* ---- stop ---- */

void
control_application_stop(struct lp_control *control, control_done_fn *done, void *context)
{
    struct control_application *application = &control->application;
    if (application->step == CONTROL_APPLICATION_STOPPED) {
        control_when_applied(control, done, context);
        return;
    }
    control_call_later(&application->stopping, done, context);
    if (application->step == CONTROL_APPLICATION_RUNNING) {
        control_log(control, LP_CONTROL_LOG_INFO, "the application stops");
        control->region->node.stopped = 1;
        control_application_attach(control);
    }
}

/* Queues that stay, by number: one that expires meanwhile is not looked for. */
static void
queues_collect(struct lp_control *control)
{
    struct control_application *application = &control->application;
    application->queues =
        lp_heap_alloc((control->catalog->queue_count + 1u) * sizeof(*application->queues));
    LP_CHAIN_EACH(v, &control->catalog->vhosts)
    {
        const struct lp_catalog_vhost *vhost =
            LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        LP_CHAIN_EACH(q, &vhost->queues)
        {
            application->queues[application->queue_count++] =
                LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost)->id;
        }
    }
}

static void
queue_purged(struct lp_control *control, void *context, const struct control_purged *purged)
{
    (void)context;
    (void)purged; /* gone, or asked again after the attach */
    control->application.purges--;
}

/* A home shard keeps as many answers as it may be asked for. */
static void
purges_send(struct lp_control *control)
{
    struct control_application *application = &control->application;
    while (application->queue_next < application->queue_count &&
           application->purges < CONTROL_CHECKS_MAX) {
        const struct lp_catalog_queue *queue = lp_catalog_queue_by_id(
            control->catalog, application->queues[application->queue_next++]);
        if (queue) {
            application->purges++;
            control_purge(control, queue, true, queue_purged, NULL);
        }
    }
}

static void
stop_end(struct lp_control *control)
{
    struct control_application *application = &control->application;
    stop_begin(control); /* frees what it collected */
    application->step = CONTROL_APPLICATION_STOPPED;
    control_log(control, LP_CONTROL_LOG_INFO, "the application is stopped");
    lp_chain_splice(&control->turn_answers, &application->stopping);
}

bool
control_application_step(struct lp_control *control)
{
    struct control_application *application = &control->application;
    switch (application->step) {
    case CONTROL_APPLICATION_CLOSING:
        if (control->connections_by_id.count > 0 || !control_shards_ready(control)) {
            return false;
        }
        lp_catalog_transient_drop(control->catalog);
        queues_collect(control);
        application->step = CONTROL_APPLICATION_PURGING;
        return true;
    case CONTROL_APPLICATION_PURGING: {
        const size_t before = application->queue_next;
        purges_send(control);
        if (application->queue_next < application->queue_count || application->purges > 0) {
            return application->queue_next != before;
        }
        stop_end(control);
        return true;
    }
    case CONTROL_APPLICATION_RUNNING:
    case CONTROL_APPLICATION_STOPPED:
        break;
    }
    return false;
}

/* ---- start and reset ---- */

bool
control_application_start(struct lp_control *control)
{
    struct control_application *application = &control->application;
    if (application->step == CONTROL_APPLICATION_RUNNING) {
        return true;
    }
    if (application->step != CONTROL_APPLICATION_STOPPED) {
        return false;
    }
    control_log(control, LP_CONTROL_LOG_INFO, "the application starts");
    control->region->node.stopped = 0;
    application->step = CONTROL_APPLICATION_RUNNING;
    control_node_settings_forget(control);
    control_application_attach(control);
    return true;
}

bool
control_application_reset(struct lp_control *control)
{
    if (control->application.step != CONTROL_APPLICATION_STOPPED) {
        return false;
    }
    lp_catalog_wipe(control->catalog);
    control_catalog_seed(control);
    return true;
}

void
control_application_fini(struct lp_control *control)
{
    free(control->application.queues);
    control->application.queues = NULL;
}
