/* SPDX-License-Identifier: Apache-2.0 */
/* limits.c - limits of virtual hosts and of users. */
#include "control/admin/admin_users.h"
#include "control/topology/administer.h"

static void
end(struct admin_task *task, bool good, const struct lp_refusal *refusal)
{
    if (good) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal->text);
    }
}

/* ---- virtual hosts ---- */

void
admin_set_vhost_limits(struct admin_task *task)
{
    struct lp_refusal refusal;
    struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (vhost) {
        end(task,
            lp_catalog_vhost_limits_set(task->control->catalog, vhost, admin_arg_bytes(task, 0),
                                        &refusal),
            &refusal);
    }
}

void
admin_clear_vhost_limits(struct admin_task *task)
{
    struct lp_refusal refusal;
    struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    if (!vhost) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "Parameter does not exist");
        return;
    }
    end(task, lp_catalog_vhost_limits_clear(task->control->catalog, vhost, &refusal), &refusal);
}

/* As they were set, in JSON; NULL: none. */
static const struct lp_catalog_parameter *
vhost_limits(const struct admin_task *task, const struct lp_catalog_vhost *vhost)
{
    return lp_catalog_parameter(task->control->catalog, vhost->id, lp_bytes_of_text("vhost-limits"),
                                lp_bytes_of_text("limits"));
}

static json_t *
vhost_name(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_vhost *)item)->name);
}

static json_t *
vhost_limits_text(const void *item, const struct admin_task *task)
{
    return admin_text(vhost_limits(task, item)->value);
}

static void
list_all_vhost_limits(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"vhost", vhost_name}, {"limits", vhost_limits_text}, {NULL, NULL}};
    struct admin_listing listing;
    admin_listing_init(&listing, task, columns);
    LP_CHAIN_EACH(link, &task->control->catalog->vhosts)
    {
        const struct lp_catalog_vhost *vhost =
            LP_CONTAINER_OF(link, struct lp_catalog_vhost, in_catalog);
        if (vhost_limits(task, vhost)) {
            admin_listing_add(&listing, vhost, task);
        }
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_list_vhost_limits(struct admin_task *task)
{
    if (admin_switch(task, "global")) {
        list_all_vhost_limits(task);
        return;
    }
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost) {
        return;
    }
    const struct lp_catalog_parameter *limits = vhost_limits(task, vhost);
    if (limits) {
        admin_say(task, NULL, "%.*s", (int)limits->value.size, (const char *)limits->value.data);
    } else {
        admin_answer(task, json_pack("{s:b,s:[],s:[]}", "ok", 1, "columns", "rows"));
    }
}

/* ---- users ---- */

void
admin_set_user_limits(struct admin_task *task)
{
    struct lp_refusal refusal;
    if (admin_user_term(task, admin_arg(task, 0))) {
        end(task,
            lp_catalog_user_limits_set(task->control->catalog, admin_arg_bytes(task, 0),
                                       admin_arg_bytes(task, 1), &refusal),
            &refusal);
    }
}

void
admin_clear_user_limits(struct admin_task *task)
{
    struct lp_refusal refusal;
    if (admin_user_term(task, admin_arg(task, 0))) {
        end(task,
            lp_catalog_user_limits_clear(task->control->catalog, admin_arg_bytes(task, 0),
                                         admin_arg_bytes(task, 1), &refusal),
            &refusal);
    }
}

json_t *
admin_user_limits(const struct lp_catalog_user *user)
{
    json_t *limits = json_object();
    if (user->has_channels_max) {
        admin_set(limits, "max-channels", json_integer(user->channels_max));
    }
    if (user->has_connections_max) {
        admin_set(limits, "max-connections", json_integer(user->connections_max));
    }
    return limits;
}

static json_t *
user_name(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_user *)item)->name);
}

static json_t *
user_limits_text(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_json_text(admin_user_limits(item));
}

static void
list_all_user_limits(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"user", user_name}, {"limits", user_limits_text}, {NULL, NULL}};
    struct admin_listing listing;
    admin_listing_init(&listing, task, columns);
    LP_CHAIN_EACH(link, &task->control->catalog->users)
    {
        const struct lp_catalog_user *user =
            LP_CONTAINER_OF(link, struct lp_catalog_user, in_catalog);
        if (user->has_channels_max || user->has_connections_max) {
            admin_listing_add(&listing, user, task);
        }
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_list_user_limits(struct admin_task *task)
{
    const char *name = admin_option(task, "user");
    if (admin_switch(task, "global")) {
        list_all_user_limits(task);
        return;
    }
    const struct lp_catalog_user *user = admin_user_term(task, name ? name : "guest");
    if (user) {
        json_t *text = admin_json_text(admin_user_limits(user));
        admin_say(task, NULL, "%s", json_string_value(text));
        json_decref(text);
    }
}
