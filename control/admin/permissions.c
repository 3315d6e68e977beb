/* SPDX-License-Identifier: Apache-2.0 */
/* permissions.c - rights of users in virtual hosts. */
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/admin_users.h"
#include "control/base/pattern.h"
#include "control/topology/administer.h"

struct lp_catalog_user *
admin_user_to_grant(struct admin_task *task)
{
    char message[512];
    struct lp_catalog_user *user = admin_user_find(task);
    if (!user) {
        (void)snprintf(message, sizeof(message), "User %s does not exist", admin_arg(task, 0));
        admin_fail_json(task, ADMIN_EXIT_NO_USER, message, "%s", message);
    }
    return user;
}

struct lp_catalog_vhost *
admin_vhost_to_grant(struct admin_task *task)
{
    char message[512];
    struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    if (!vhost) {
        (void)snprintf(message, sizeof(message), "Virtual host %s does not exist",
                       admin_vhost_name(task));
        admin_fail_json(task, ADMIN_EXIT_UNAVAILABLE, message, "%s", message);
    }
    return vhost;
}

/* ---- set and clear ---- */

bool
admin_patterns_read(struct admin_task *task, size_t from, size_t count,
                    struct lp_bytes *ret_patterns)
{
    char why[LP_PATTERN_WHY_BYTES];
    for (size_t i = 0; i < count; i++) {
        ret_patterns[i] = admin_arg_bytes(task, from + i);
        struct lp_pattern *pattern = lp_pattern_open(ret_patterns[i], why);
        if (!pattern) {
            /* {"missing )",1} is a term of Erlang's; this is how Elixir writes it. */
            const char *words = why + strspn(why, "{\"");
            const char *end = strrchr(words, '"');
            const int bytes = end ? (int)(end - words) : (int)strlen(words);
            admin_fail(task, ADMIN_EXIT_UNAVAILABLE,
                       "{:invalid_regexp, %s\"%s\", {~c\"%.*s\", %d}}",
                       count == LP_CATALOG_RIGHTS ? "~c" : "", admin_arg(task, from + i), bytes,
                       words, end ? atoi(end + 2) : 0);
            return false;
        }
        lp_pattern_close(&pattern);
    }
    return true;
}

void
admin_set_permissions(struct admin_task *task)
{
    struct lp_bytes pattern[LP_CATALOG_RIGHTS];
    if (!admin_patterns_read(task, 1, LP_CATALOG_RIGHTS, pattern)) {
        return;
    }
    struct lp_catalog_user *user = admin_user_to_grant(task);
    const struct lp_catalog_vhost *vhost = user ? admin_vhost_to_grant(task) : NULL;
    if (vhost) {
        lp_catalog_permission_put(task->control->catalog, user, vhost, pattern);
        admin_done_when_applied(task);
    }
}

void
admin_set_permissions_globally(struct admin_task *task)
{
    struct lp_bytes pattern[LP_CATALOG_RIGHTS];
    if (!admin_patterns_read(task, 1, LP_CATALOG_RIGHTS, pattern)) {
        return;
    }
    struct lp_catalog_user *user = admin_user_to_grant(task);
    if (!user) {
        return;
    }
    LP_CHAIN_EACH(link, &task->control->catalog->vhosts)
    {
        lp_catalog_permission_put(task->control->catalog, user,
                                  LP_CONTAINER_OF(link, struct lp_catalog_vhost, in_catalog),
                                  pattern);
    }
    admin_done_when_applied(task);
}

/* Rights that are not there need not be cleared, whoever's they would be. */
void
admin_clear_permissions(struct admin_task *task)
{
    struct lp_catalog_user *user = admin_user_find(task);
    const struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    if (user && vhost) {
        lp_catalog_permission_delete(task->control->catalog, user, vhost);
    }
    admin_done_when_applied(task);
}

/* ---- lists ---- */

static json_t *
permission_user(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_permission *)item)->user->name);
}

static json_t *
permission_vhost(const void *item, const struct admin_task *task)
{
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost_by_id(
        task->control->catalog, ((const struct lp_catalog_permission *)item)->vhost_id);
    return vhost ? admin_text(vhost->name) : json_string("");
}

static json_t *
permission_configure(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_permission *)item)->pattern[0]);
}

static json_t *
permission_write(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_permission *)item)->pattern[1]);
}

static json_t *
permission_read(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_permission *)item)->pattern[2]);
}

void
admin_list_permissions(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"user", permission_user},
        {"configure", permission_configure},
        {"write", permission_write},
        {"read", permission_read},
        {NULL, NULL},
    };
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost) {
        return;
    }
    admin_listing_init(&listing, task, columns);
    LP_CHAIN_EACH(link, &task->control->catalog->users)
    {
        const struct lp_catalog_permission *permission = lp_catalog_permission(
            LP_CONTAINER_OF(link, struct lp_catalog_user, in_catalog), vhost->id);
        if (permission) {
            admin_listing_add(&listing, permission, task);
        }
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_list_user_permissions(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"vhost", permission_vhost},
        {"configure", permission_configure},
        {"write", permission_write},
        {"read", permission_read},
        {NULL, NULL},
    };
    struct admin_listing listing;
    const struct lp_catalog_user *user = admin_user_term(task, admin_arg(task, 0));
    if (!user) {
        return;
    }
    admin_listing_init(&listing, task, columns);
    LP_CHAIN_EACH(link, &user->permissions)
    {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_permission, in_user),
                          task);
    }
    admin_answer(task, admin_listing_take(&listing));
}
