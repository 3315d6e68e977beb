/* SPDX-License-Identifier: Apache-2.0 */
/* admin_internal.h - what the commands share. */
#pragma once

#include "control/admin/admin.h"
#include "control/link/control_internal.h"

/* sysexits.h, as rabbitmqctl uses it. */
enum admin_exit {
    ADMIN_EXIT_USAGE = 64,
    ADMIN_EXIT_DATA = 65,
    ADMIN_EXIT_NO_USER = 67,
    ADMIN_EXIT_UNAVAILABLE = 69,
    ADMIN_EXIT_SOFTWARE = 70,
    ADMIN_EXIT_TEMPORARY = 75,
};

#define ADMIN_STOP_GRACE_MS 10000u

/* One command under way. */
struct admin_task {
    struct lp_control *control;
    lp_admin_done_fn *done;
    void *done_context;
    const json_t *args;    /* array of strings; valid while the command starts */
    const json_t *options; /* object or NULL */
    void *state;           /* the command's; freed with the task */
    void (*state_free)(void *state);
};

typedef void admin_command_fn(struct admin_task *task);

/* Each ends the task. */
void admin_answer(struct admin_task *task, json_t *answer);
void admin_done(struct admin_task *task);
void admin_fail(struct admin_task *task, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Changed something: answer {"ok":true} when every shard has applied it. */
void admin_done_when_applied(struct admin_task *task);

const char *admin_arg(const struct admin_task *task, size_t index);
size_t admin_arg_count(const struct admin_task *task);
struct lp_bytes admin_arg_bytes(const struct admin_task *task, size_t index);
/* The vhost of --vhost; NULL after a failure that ended the task. */
struct lp_catalog_vhost *admin_vhost(struct admin_task *task);
/* Text that may not be UTF-8 (names are bytes): what is not becomes U+FFFD. */
json_t *admin_text(struct lp_bytes bytes);
/* An argument table as an object. */
json_t *admin_table(struct lp_bytes table);

/* ---- listing.c: tables of columns ---- */

struct admin_column {
    const char *name;
    json_t *(*value)(const void *item, struct lp_control *control);
};

struct admin_listing {
    const struct admin_column *columns;
    size_t column_count;
    size_t chosen[64];
    size_t chosen_count;
    json_t *rows;
};

/* Choose columns by the arguments, or by `defaults`; false after a failure that ended the task. */
bool admin_listing_init(struct admin_listing *listing, struct admin_task *task,
                        const struct admin_column *columns, const char *const *defaults);
void admin_listing_add(struct admin_listing *listing, const void *item, struct lp_control *control);
/* The answer; takes the rows. */
json_t *admin_listing_take(struct admin_listing *listing);

/* ---- commands ---- */

admin_command_fn admin_list_queues, admin_list_exchanges, admin_list_bindings,
    admin_list_connections, admin_list_users, admin_list_vhosts, admin_list_permissions,
    admin_list_user_permissions;
admin_command_fn admin_add_user, admin_delete_user, admin_change_password, admin_set_user_tags,
    admin_authenticate_user;
admin_command_fn admin_set_permissions, admin_clear_permissions, admin_add_vhost,
    admin_delete_vhost;
admin_command_fn admin_status, admin_ping, admin_stop;
