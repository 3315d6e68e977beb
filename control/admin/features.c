/* SPDX-License-Identifier: Apache-2.0 */
/* features.c - RabbitMQ's flags and deprecations, as far as the thing itself exists here. */
#include "control/admin/admin_checks.h"
#include "control/admin/report.h"
#include "control/command/columns.h"

/* ---- feature flags: what they stand for is always there ---- */

struct flag {
    const char *name, *stability, *desc, *doc_url;
};

static const struct flag flags[] = {
    {"implicit_default_bindings", "required",
     "Default bindings are now implicit, instead of being stored in the database", ""},
    {"message_containers_deaths_v2", "stable", "Bug fix for dead letter cycle detection",
     "https://github.com/rabbitmq/rabbitmq-server/issues/11159"},
    {"user_limits", "required", "Configure connection and channel limits for a user", ""},
    {"virtual_host_metadata", "required", "Virtual host metadata (description, tags, etc)", ""},
};

#define FLAG_COLUMN(id, expression)                                           \
    static json_t *flag_##id(const void *item, const struct admin_task *task) \
    {                                                                         \
        const struct flag *flag = item;                                       \
        (void)flag;                                                           \
        (void)task;                                                           \
        return json_string(expression);                                       \
    }

FLAG_COLUMN(name, flag->name)
FLAG_COLUMN(state, "enabled")
FLAG_COLUMN(stability, flag->stability)
FLAG_COLUMN(provided_by, "rabbit")
FLAG_COLUMN(desc, flag->desc)
FLAG_COLUMN(doc_url, flag->doc_url)

#define X(id) {#id, flag_##id},
static const struct admin_column flag_columns[] = {LP_COLUMNS_FEATURES(X){NULL, NULL}};
#undef X

json_t *
admin_feature_flags(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < LP_COUNT_OF(flags); i++) {
        json_t *flag = json_object();
        for (const struct admin_column *column = flag_columns; column->name; column++) {
            admin_set(flag, column->name, column->value(&flags[i], NULL));
        }
        admin_append(list, flag);
    }
    return list;
}

void
admin_list_feature_flags(struct admin_task *task)
{
    struct admin_listing listing;
    admin_listing_init(&listing, task, flag_columns);
    for (size_t i = 0; i < LP_COUNT_OF(flags); i++) {
        admin_listing_add(&listing, &flags[i], task);
    }
    admin_answer(task, admin_listing_take(&listing));
}

bool
admin_check_enable_feature_flag(struct admin_task *task)
{
    if (admin_arg(task, 0)[0] != '\0') {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_DATA,
                  "Bad argument: feature flag (or group) name cannot be an empty string");
    return false;
}

void
admin_enable_feature_flag(struct admin_task *task)
{
    const char *name = admin_arg(task, 0);
    bool known = strcmp(name, "all") == 0;
    for (size_t i = 0; i < LP_COUNT_OF(flags) && !known; i++) {
        known = strcmp(flags[i].name, name) == 0;
    }
    if (known) {
        admin_done(task);
    } else {
        admin_fail(task, ADMIN_EXIT_USAGE, "This feature flag is not supported by node %s",
                   task->node);
    }
}

/* ---- deprecated features ---- */

struct deprecated {
    const char *name, *doc_url;
    bool (*used)(const struct lp_catalog *catalog); /* NULL: nobody counts */
};

static bool
transient_queues_used(const struct lp_catalog *catalog)
{
    LP_CHAIN_EACH(v, &catalog->vhosts)
    {
        const struct lp_catalog_vhost *vhost =
            LP_CONTAINER_OF(v, struct lp_catalog_vhost, in_catalog);
        LP_CHAIN_EACH(q, &vhost->queues)
        {
            const struct lp_catalog_queue *queue =
                LP_CONTAINER_OF(q, struct lp_catalog_queue, in_vhost);
            if (!(queue->flags & (LP_OBJECT_DURABLE | LP_OBJECT_EXCLUSIVE))) {
                return true;
            }
        }
    }
    return false;
}

static const struct deprecated deprecated[] = {
    {"global_qos",
     "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/#removal-of-global-qos",
     NULL},
    {"transient_nonexcl_queues",
     "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/"
     "#removal-of-transient-non-exclusive-queues",
     transient_queues_used},
};

#define DEPRECATED_COLUMN(id, expression)                                           \
    static json_t *deprecated_##id(const void *item, const struct admin_task *task) \
    {                                                                               \
        const struct deprecated *feature = item;                                    \
        (void)feature;                                                              \
        (void)task;                                                                 \
        return json_string(expression);                                             \
    }

DEPRECATED_COLUMN(name, feature->name)
DEPRECATED_COLUMN(deprecation_phase, "permitted_by_default")
DEPRECATED_COLUMN(provided_by, "rabbit")
DEPRECATED_COLUMN(desc, "")
DEPRECATED_COLUMN(doc_url, feature->doc_url)

static bool
is_used(const struct deprecated *feature, const struct admin_task *task)
{
    return feature->used && feature->used(task->control->catalog);
}

void
admin_list_deprecated_features(struct admin_task *task)
{
#define X(id) {#id, deprecated_##id},
    static const struct admin_column columns[] = {LP_COLUMNS_DEPRECATED(X){NULL, NULL}};
#undef X
    struct admin_listing listing;
    admin_listing_init(&listing, task, columns);
    for (size_t i = 0; i < LP_COUNT_OF(deprecated); i++) {
        if (!admin_switch(task, "used") || is_used(&deprecated[i], task)) {
            admin_listing_add(&listing, &deprecated[i], task);
        }
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_check_if_any_deprecated_features_are_used(struct admin_task *task)
{
    for (size_t i = 0; i < LP_COUNT_OF(deprecated); i++) {
        if (is_used(&deprecated[i], task)) {
            admin_unwell(task,
                         json_pack("{s:[s],s:s,s:s}", "deprecated_features", deprecated[i].name,
                                   "message", "Cluster reported deprecated features in use",
                                   "result", "error"),
                         "%s", deprecated[i].name); /* there is only one that is counted */
            return;
        }
    }
    admin_say(task, json_pack("{s:s}", "result", "ok"),
              "Cluster reported no deprecated features in use");
}

/* ---- what RabbitMQ itself does not do any more, or Lepus need not ---- */

void
admin_node_health_check(struct admin_task *task)
{
    admin_done(task);
}

void
admin_force_gc(struct admin_task *task)
{
    admin_done(task);
}

void
admin_rotate_logs(struct admin_task *task)
{
    admin_fail(task, ADMIN_EXIT_UNAVAILABLE,
               "This command does not rotate logs anymore [deprecated]");
}
