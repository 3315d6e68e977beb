/* SPDX-License-Identifier: Apache-2.0 */
/* users.c - users, permissions and vhosts: changing and listing them. */
#include <stdio.h>

#include "control/admin/admin_internal.h"
#include "control/auth/auth.h"
#include "control/auth/permission.h"
#include "control/topology/administer.h"

/* ---- users ---- */

/* NULL after a failure that ended the task. */
static struct lp_catalog_user *
user_of(struct admin_task *task)
{
    struct lp_catalog_user *user =
        lp_catalog_user(task->control->catalog, admin_arg_bytes(task, 0));
    if (!user) {
        admin_fail(task, ADMIN_EXIT_NO_USER, "User \"%s\" does not exist", admin_arg(task, 0));
    }
    return user;
}

/* Why the catalog did not take a change. */
static void
refused(struct admin_task *task, const struct lp_refusal *refusal)
{
    admin_fail(task,
               refusal->err == LP_ERR_EXISTS      ? ADMIN_EXIT_SOFTWARE
               : refusal->err == LP_ERR_NOT_FOUND ? ADMIN_EXIT_NO_USER
                                                  : ADMIN_EXIT_DATA,
               "%s", refusal->text);
}

void
admin_add_user(struct admin_task *task)
{
    struct lp_refusal refusal;
    if (lp_catalog_user_add(task->control->catalog, admin_arg_bytes(task, 0),
                            admin_arg_bytes(task, 1), &refusal)) {
        admin_done_when_applied(task);
    } else {
        refused(task, &refusal);
    }
}

void
admin_delete_user(struct admin_task *task)
{
    if (!user_of(task)) {
        return;
    }
    char text[LP_FAULT_TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "user '%s' is deleted", admin_arg(task, 0)); /* or cut */
    control_connections_close(task->control, admin_arg_bytes(task, 0), 0, text);
    (void)lp_catalog_user_delete(task->control->catalog, admin_arg_bytes(task, 0)); /* exists */
    admin_done_when_applied(task);
}

void
admin_change_password(struct admin_task *task)
{
    struct lp_refusal refusal;
    if (lp_catalog_user_password_set(task->control->catalog, admin_arg_bytes(task, 0),
                                     admin_arg_bytes(task, 1), &refusal)) {
        admin_done_when_applied(task);
    } else {
        refused(task, &refusal);
    }
}

void
admin_set_user_tags(struct admin_task *task)
{
    const struct lp_catalog_user *user = user_of(task);
    struct lp_bytebuf tags = {0};
    if (!user) {
        return;
    }
    for (size_t i = 1; i < admin_arg_count(task); i++) {
        const struct lp_bytes tag = admin_arg_bytes(task, i);
        if (tags.size > 0 && tag.size > 0) {
            lp_bytebuf_append(&tags, ",", 1);
        }
        lp_bytebuf_append(&tags, tag.data, tag.size);
    }
    struct lp_catalog_user like = *user;
    like.tags = lp_bytes_of(tags.data, (uint32_t)tags.size);
    lp_catalog_user_put(task->control->catalog, &like);
    lp_bytebuf_fini(&tags);
    admin_done_when_applied(task);
}

void
admin_authenticate_user(struct admin_task *task)
{
    const struct lp_auth_login login = {.mechanism = lp_bytes_of_text("PLAIN"),
                                        .user = admin_arg_bytes(task, 0),
                                        .password = admin_arg_bytes(task, 1),
                                        .loopback = true};
    const char *why = "";
    struct lp_fault fault;
    if (lp_auth_login(task->control->catalog, &login, &why, &fault)) {
        admin_done(task);
        return;
    }
    admin_fail(task, ADMIN_EXIT_DATA, "Error: failed to authenticate user \"%s\"\nuser '%s' - %s",
               admin_arg(task, 0), admin_arg(task, 0), why);
}

/* "a,b" as ["a","b"]. */
static json_t *
tags_of(struct lp_bytes tags)
{
    json_t *list = json_array();
    uint32_t start = 0;
    for (uint32_t i = 0; i <= tags.size; i++) {
        if (i < tags.size && tags.data[i] != ',') {
            continue;
        }
        if (i > start) {
            const int failed =
                json_array_append_new(list, admin_text(lp_bytes_of(tags.data + start, i - start)));
            LP_ASSERT(failed == 0);
        }
        start = i + 1;
    }
    return list;
}

static json_t *
user_name(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct lp_catalog_user *)item)->name);
}

static json_t *
user_tags(const void *item, struct lp_control *control)
{
    (void)control;
    return tags_of(((const struct lp_catalog_user *)item)->tags);
}

void
admin_list_users(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"user", user_name}, {"tags", user_tags}, {NULL, NULL}};
    static const char *const defaults[] = {"user", "tags", NULL};
    struct admin_listing listing;
    if (!admin_listing_init(&listing, task, columns, defaults)) {
        return;
    }
    LP_CHAIN_EACH(link, &task->control->catalog->users)
    {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_user, in_catalog),
                          task->control);
    }
    admin_answer(task, admin_listing_take(&listing));
}

/* ---- permissions ---- */

void
admin_set_permissions(struct admin_task *task)
{
    struct lp_bytes pattern[LP_CATALOG_RIGHTS];
    char why[256];
    struct lp_catalog_user *user = user_of(task);
    const struct lp_catalog_vhost *vhost = user ? admin_vhost(task) : NULL;
    if (!vhost) {
        return;
    }
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        pattern[i] = admin_arg_bytes(task, i + 1);
        if (!lp_permission_pattern_is_good(pattern[i], why, sizeof(why))) {
            admin_fail(task, ADMIN_EXIT_DATA, "Invalid regular expression '%s': %s",
                       admin_arg(task, i + 1), why);
            return;
        }
    }
    lp_catalog_permission_put(task->control->catalog, user, vhost, pattern);
    admin_done_when_applied(task);
}

void
admin_clear_permissions(struct admin_task *task)
{
    struct lp_catalog_user *user = user_of(task);
    const struct lp_catalog_vhost *vhost = user ? admin_vhost(task) : NULL;
    if (vhost) {
        lp_catalog_permission_delete(task->control->catalog, user, vhost);
        admin_done_when_applied(task);
    }
}

static json_t *
permission_user(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct lp_catalog_permission *)item)->user->name);
}

static json_t *
permission_vhost(const void *item, struct lp_control *control)
{
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost_by_id(
        control->catalog, ((const struct lp_catalog_permission *)item)->vhost_id);
    return vhost ? admin_text(vhost->name) : json_string("");
}

static json_t *
permission_configure(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct lp_catalog_permission *)item)->pattern[0]);
}

static json_t *
permission_write(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct lp_catalog_permission *)item)->pattern[1]);
}

static json_t *
permission_read(const void *item, struct lp_control *control)
{
    (void)control;
    return admin_text(((const struct lp_catalog_permission *)item)->pattern[2]);
}

static const struct admin_column permission_columns[] = {
    {"user", permission_user},   {"vhost", permission_vhost}, {"configure", permission_configure},
    {"write", permission_write}, {"read", permission_read},   {NULL, NULL},
};

void
admin_list_permissions(struct admin_task *task)
{
    static const char *const defaults[] = {"user", "configure", "write", "read", NULL};
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost || !admin_listing_init(&listing, task, permission_columns, defaults)) {
        return;
    }
    LP_CHAIN_EACH(link, &task->control->catalog->users)
    {
        const struct lp_catalog_permission *permission = lp_catalog_permission(
            LP_CONTAINER_OF(link, struct lp_catalog_user, in_catalog), vhost->id);
        if (permission) {
            admin_listing_add(&listing, permission, task->control);
        }
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_list_user_permissions(struct admin_task *task)
{
    static const char *const defaults[] = {"vhost", "configure", "write", "read", NULL};
    struct admin_listing listing;
    const struct lp_catalog_user *user = user_of(task);
    if (!user) {
        return;
    }
    task->args = NULL; /* the user's name is not a column */
    if (!admin_listing_init(&listing, task, permission_columns, defaults)) {
        return;
    }
    LP_CHAIN_EACH(link, &user->permissions)
    {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_permission, in_user),
                          task->control);
    }
    admin_answer(task, admin_listing_take(&listing));
}

/* ---- vhosts ---- */

void
admin_add_vhost(struct admin_task *task)
{
    const struct lp_bytes name = admin_arg_bytes(task, 0);
    if (name.size == 0 || name.size > UINT8_MAX) {
        admin_fail(task, ADMIN_EXIT_DATA, "a virtual host's name has 1 to 255 bytes");
    } else if (lp_catalog_vhost_add(task->control->catalog, name) != LP_OK) {
        admin_fail(task, ADMIN_EXIT_SOFTWARE, "Virtual host \"%s\" already exists",
                   admin_arg(task, 0));
    } else {
        admin_done_when_applied(task);
    }
}

void
admin_delete_vhost(struct admin_task *task)
{
    const struct lp_catalog_vhost *vhost =
        lp_catalog_vhost(task->control->catalog, admin_arg_bytes(task, 0));
    if (!vhost) {
        admin_fail(task, ADMIN_EXIT_DATA, "Virtual host '%s' does not exist", admin_arg(task, 0));
        return;
    }
    char text[LP_FAULT_TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "vhost '%s' is down", admin_arg(task, 0)); /* or cut */
    control_connections_close(task->control, lp_bytes_of(NULL, 0), vhost->id, text);
    (void)lp_catalog_vhost_delete(task->control->catalog, admin_arg_bytes(task, 0)); /* exists */
    admin_done_when_applied(task);
}
