/* SPDX-License-Identifier: Apache-2.0 */
/* topic_permissions.c - rights of users on routing keys. */
#include "control/admin/admin_users.h"
#include "control/topology/administer.h"

void
admin_set_topic_permissions(struct admin_task *task)
{
    struct lp_bytes pattern[LP_CATALOG_TOPIC_RIGHTS];
    struct lp_refusal refusal;
    struct lp_rights_scope scope = {.user = admin_arg_bytes(task, 0),
                                    .exchange = admin_arg_bytes(task, 1)};
    if (!admin_patterns_read(task, 2, LP_CATALOG_TOPIC_RIGHTS, pattern) ||
        !admin_user_to_grant(task)) {
        return;
    }
    scope.vhost = admin_vhost_to_grant(task);
    if (!scope.vhost) {
        return;
    }
    if (lp_catalog_topic_permissions_set(task->control->catalog, &scope, pattern, &refusal)) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal.text);
    }
}

/* Rights that are not there need not be cleared, whoever's they would be. */
void
admin_clear_topic_permissions(struct admin_task *task)
{
    struct lp_refusal refusal;
    struct lp_rights_scope scope = {.user = admin_arg_bytes(task, 0),
                                    .vhost = admin_vhost_or_none(task)};
    const bool every = admin_arg_count(task) < 2;
    if (!every) {
        scope.exchange = admin_arg_bytes(task, 1);
    }
    if (admin_user_find(task) && scope.vhost &&
        !lp_catalog_topic_permissions_clear(task->control->catalog, &scope, every, &refusal)) {
        /* There are none: as it should be. */
    }
    admin_done_when_applied(task);
}

#define TOPIC_COLUMN(id, expression)                                           \
    static json_t *topic_##id(const void *item, const struct admin_task *task) \
    {                                                                          \
        const struct lp_catalog_topic_permission *permission = item;           \
        (void)task;                                                            \
        return expression;                                                     \
    }

static json_t *
vhost_name_of(const struct admin_task *task, uint32_t vhost_id)
{
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost_by_id(task->control->catalog, vhost_id);
    return vhost ? admin_text(vhost->name) : json_string("");
}

TOPIC_COLUMN(user, admin_text(permission->user->name))
TOPIC_COLUMN(vhost, vhost_name_of(task, permission->vhost_id))
TOPIC_COLUMN(exchange, admin_text(permission->exchange))
TOPIC_COLUMN(write, admin_text(permission->pattern[0]))
TOPIC_COLUMN(read, admin_text(permission->pattern[1]))

/* Those of a user, in a vhost (0: in all). */
static void
topic_permissions_add(struct admin_listing *listing, const struct admin_task *task,
                      const struct lp_catalog_user *user, uint32_t vhost_id)
{
    LP_CHAIN_EACH(link, &user->topic_permissions)
    {
        const struct lp_catalog_topic_permission *permission =
            LP_CONTAINER_OF(link, struct lp_catalog_topic_permission, in_user);
        if (vhost_id == 0 || permission->vhost_id == vhost_id) {
            admin_listing_add(listing, permission, task);
        }
    }
}

void
admin_list_topic_permissions(struct admin_task *task)
{
    static const struct admin_column columns[] = {{"user", topic_user},
                                                  {"exchange", topic_exchange},
                                                  {"write", topic_write},
                                                  {"read", topic_read},
                                                  {NULL, NULL}};
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost) {
        return;
    }
    admin_listing_init(&listing, task, columns);
    LP_CHAIN_EACH(link, &task->control->catalog->users)
    {
        topic_permissions_add(&listing, task,
                              LP_CONTAINER_OF(link, struct lp_catalog_user, in_catalog), vhost->id);
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_list_user_topic_permissions(struct admin_task *task)
{
    static const struct admin_column columns[] = {{"vhost", topic_vhost},
                                                  {"exchange", topic_exchange},
                                                  {"write", topic_write},
                                                  {"read", topic_read},
                                                  {NULL, NULL}};
    struct admin_listing listing;
    const struct lp_catalog_user *user = admin_user_term(task, admin_arg(task, 0));
    if (!user) {
        return;
    }
    admin_listing_init(&listing, task, columns);
    topic_permissions_add(&listing, task, user, 0);
    admin_answer(task, admin_listing_take(&listing));
}
