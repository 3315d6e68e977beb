/* SPDX-License-Identifier: Apache-2.0 */
/* vhosts.c - virtual hosts: made, described, traced, deleted, listed. */
#include <stdio.h>

#include "control/admin/admin_checks.h"
#include "control/admin/admin_users.h"
#include "control/command/columns.h"
#include "control/topology/administer.h"

/* What the options say. */
static struct lp_vhost_metadata
metadata_read(const struct admin_task *task)
{
    struct lp_vhost_metadata metadata = {0};
    const char *description = admin_option(task, "description");
    const char *tags = admin_option(task, "tags");
    const char *type = admin_option(task, "default-queue-type");
    metadata.has_description = description != NULL;
    metadata.has_tags = tags != NULL;
    metadata.has_default_queue_type = type != NULL;
    metadata.description = lp_bytes_of_text(description ? description : "");
    metadata.tags = lp_bytes_of_text(tags ? tags : "");
    metadata.default_queue_type = lp_bytes_of_text(type ? type : "");
    return metadata;
}

/* NULL after a failure that ended the task. */
static struct lp_catalog_vhost *
vhost_of_argument(struct admin_task *task)
{
    struct lp_catalog_vhost *vhost =
        lp_catalog_vhost(task->control->catalog, admin_arg_bytes(task, 0));
    if (!vhost) {
        admin_fail_bare(task, ADMIN_EXIT_DATA, "Virtual host '%s' does not exist",
                        admin_arg(task, 0));
    }
    return vhost;
}

void
admin_add_vhost(struct admin_task *task)
{
    const struct lp_vhost_metadata metadata = metadata_read(task);
    struct lp_refusal refusal;
    /* One that is there already is as good as a new one. */
    if (lp_catalog_vhost_create(task->control->catalog, admin_arg_bytes(task, 0), &metadata,
                                &refusal) ||
        refusal.err == LP_ERR_EXISTS) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_USAGE, "%s", refusal.text);
    }
}

bool
admin_check_update_vhost_metadata(struct admin_task *task)
{
    const struct lp_vhost_metadata metadata = metadata_read(task);
    enum lp_queue_kind kind;
    if (!metadata.has_description && !metadata.has_tags && !metadata.has_default_queue_type) {
        admin_invalid(task, ADMIN_EXIT_USAGE, "not enough arguments.");
        return false;
    }
    if (metadata.has_default_queue_type &&
        !lp_queue_kind_find(metadata.default_queue_type, &kind)) {
        admin_invalid(task, ADMIN_EXIT_DATA,
                      "Bad argument: Default queue type must be one of: quorum, stream, classic. "
                      "Provided: %s",
                      admin_option(task, "default-queue-type"));
        return false;
    }
    return true;
}

static void
metadata_set(struct admin_task *task, struct lp_catalog_vhost *vhost,
             const struct lp_vhost_metadata *metadata)
{
    struct lp_refusal refusal;
    if (lp_catalog_vhost_metadata_set(task->control->catalog, vhost, metadata, &refusal)) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_USAGE, "%s", refusal.text);
    }
}

void
admin_update_vhost_metadata(struct admin_task *task)
{
    const struct lp_vhost_metadata metadata = metadata_read(task);
    struct lp_catalog_vhost *vhost = vhost_of_argument(task);
    if (vhost) {
        metadata_set(task, vhost, &metadata);
    }
}

void
admin_set_vhost_tags(struct admin_task *task)
{
    char message[512];
    struct lp_bytebuf tags = {0};
    struct lp_catalog_vhost *vhost =
        lp_catalog_vhost(task->control->catalog, admin_arg_bytes(task, 0));
    if (!vhost) {
        (void)snprintf(message, sizeof(message), "Virtual host \"%s\" does not exists",
                       admin_arg(task, 0));
        admin_fail_json(task, ADMIN_EXIT_DATA, message, "Virtual host \"%s\" does not exist",
                        admin_arg(task, 0));
        return;
    }
    admin_words_join(task, 1, &tags);
    const struct lp_vhost_metadata metadata = {.has_tags = true,
                                               .tags = lp_bytes_of(tags.data, (uint32_t)tags.size)};
    metadata_set(task, vhost, &metadata);
    lp_bytebuf_fini(&tags);
}

void
admin_delete_vhost(struct admin_task *task)
{
    char text[LP_FAULT_TEXT_BYTES];
    const struct lp_catalog_vhost *vhost = vhost_of_argument(task);
    if (!vhost) {
        return;
    }
    (void)snprintf(text, sizeof(text), "vhost '%s' is down", admin_arg(task, 0)); /* or cut */
    control_connections_close(task->control, lp_bytes_of(NULL, 0), vhost->id, text);
    (void)lp_catalog_vhost_delete(task->control->catalog, admin_arg_bytes(task, 0)); /* exists */
    admin_done_when_applied(task);
}

void
admin_restart_vhost(struct admin_task *task)
{
    if (admin_vhost(task)) {
        admin_say(task, NULL, "Virtual host '%s' is already running on node '%s'",
                  admin_vhost_name(task), task->node);
    }
}

/* ---- tracing ---- */

static void
trace(struct admin_task *task, bool on)
{
    struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (vhost) {
        lp_catalog_vhost_tracing_set(task->control->catalog, vhost, on);
        admin_say_when_applied(task, "Trace %s for vhost %s", on ? "enabled" : "disabled",
                               admin_vhost_name(task));
    }
}

void
admin_trace_on(struct admin_task *task)
{
    trace(task, true);
}

void
admin_trace_off(struct admin_task *task)
{
    trace(task, false);
}

/* ---- list ---- */

#define VHOST_COLUMN(id, expression)                                           \
    static json_t *vhost_##id(const void *item, const struct admin_task *task) \
    {                                                                          \
        const struct lp_catalog_vhost *vhost = item;                           \
        (void)vhost;                                                           \
        (void)task;                                                            \
        return expression;                                                     \
    }

static uint8_t
default_kind_of(const struct lp_catalog_vhost *vhost, const struct admin_task *task)
{
    return vhost->has_default_kind ? vhost->default_kind
                                   : task->control->catalog->rules.default_queue_kind;
}

VHOST_COLUMN(name, admin_text(vhost->name))
VHOST_COLUMN(description, admin_text(vhost->description))
VHOST_COLUMN(tags, admin_words(vhost->tags))
VHOST_COLUMN(default_queue_type, json_string(lp_queue_kind_name(default_kind_of(vhost, task))))
VHOST_COLUMN(tracing, json_boolean(vhost->tracing))
VHOST_COLUMN(cluster_state, json_pack("{s:s}", task->node, "running"))

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
