/* SPDX-License-Identifier: Apache-2.0 */
/* vhosts.c - virtual hosts: made, deleted, listed. */
#include <stdio.h>

#include "control/admin/admin_internal.h"
#include "control/command/columns.h"

void
admin_add_vhost(struct admin_task *task)
{
    const struct lp_bytes name = admin_arg_bytes(task, 0);
    if (name.size > UINT8_MAX) {
        admin_fail(task, ADMIN_EXIT_DATA, "a virtual host's name has at most 255 bytes");
        return;
    }
    /* One that is there already is as good as a new one. */
    (void)lp_catalog_vhost_add(task->control->catalog, name);
    admin_done_when_applied(task);
}

void
admin_delete_vhost(struct admin_task *task)
{
    const struct lp_catalog_vhost *vhost =
        lp_catalog_vhost(task->control->catalog, admin_arg_bytes(task, 0));
    if (!vhost) {
        admin_fail_bare(task, ADMIN_EXIT_DATA, "Virtual host '%s' does not exist",
                        admin_arg(task, 0));
        return;
    }
    char text[LP_FAULT_TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "vhost '%s' is down", admin_arg(task, 0)); /* or cut */
    control_connections_close(task->control, lp_bytes_of(NULL, 0), vhost->id, text);
    (void)lp_catalog_vhost_delete(task->control->catalog, admin_arg_bytes(task, 0)); /* exists */
    admin_done_when_applied(task);
}

static json_t *
vhost_name(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_vhost *)item)->name);
}

static json_t *
vhost_tracing(const void *item, const struct admin_task *task)
{
    (void)item;
    (void)task;
    return json_false();
}

static json_t *
vhost_default_queue_type(const void *item, const struct admin_task *task)
{
    (void)item;
    (void)task;
    return json_string("classic");
}

static json_t *
vhost_cluster_state(const void *item, const struct admin_task *task)
{
    (void)item;
    return json_pack("{s:s}", task->node, "running");
}

#define vhost_description admin_column_empty
static json_t *
vhost_tags(const void *item, const struct admin_task *task)
{
    (void)item;
    (void)task;
    return json_array();
}

void
admin_list_vhosts(struct admin_task *task)
{
#define X(id) {#id, vhost_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_VHOSTS(X){NULL, NULL}};
#undef X
    struct admin_listing listing;
    admin_listing_init(&listing, task, columns);
    LP_CHAIN_EACH(link, &task->control->catalog->vhosts)
    {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_vhost, in_catalog),
                          task);
    }
    admin_answer(task, admin_listing_take(&listing));
}
