/* SPDX-License-Identifier: Apache-2.0 */
/* admin_users.h - users, as several families find them. */
#pragma once

#include "control/admin/admin_internal.h"

/* The user that the first argument names, or NULL. */
struct lp_catalog_user *admin_user_find(const struct admin_task *task);
/* NULL after a failure that ended the task with {:no_such_user, "name"}. */
struct lp_catalog_user *admin_user_term(struct admin_task *task, const char *name);

/* Who gets rights, and where: NULL after a failure that ended the task in rabbitmqctl's words. */
struct lp_catalog_user *admin_user_to_grant(struct admin_task *task);
struct lp_catalog_vhost *admin_vhost_to_grant(struct admin_task *task);
/* `count` regular expressions; false after a failure that ended the task. */
bool admin_patterns_read(struct admin_task *task, size_t from, size_t count,
                         struct lp_bytes *ret_patterns);
/* The arguments from `from` on, as one text with commas. */
void admin_words_join(const struct admin_task *task, size_t from, struct lp_bytebuf *words);

/* The limits of a user, as an object. */
json_t *admin_user_limits(const struct lp_catalog_user *user);
