/* SPDX-License-Identifier: Apache-2.0 */
/* users.c - users: their passwords and tags. */
#include <stdio.h>

#include "control/admin/admin_checks.h"
#include "control/admin/admin_users.h"
#include "control/auth/auth.h"
#include "control/topology/administer.h"

struct lp_catalog_user *
admin_user_find(const struct admin_task *task)
{
    return lp_catalog_user(task->control->catalog, admin_arg_bytes(task, 0));
}

/* rabbitmqctl has two ways of saying that there is no such user, and a third in JSON. */
static struct lp_catalog_user *
user_to_change(struct admin_task *task)
{
    char message[512];
    struct lp_catalog_user *user = admin_user_find(task);
    if (!user) {
        (void)snprintf(message, sizeof(message), "User %s does not exists", admin_arg(task, 0));
        admin_fail_json(task, ADMIN_EXIT_NO_USER, message, "User \"%s\" does not exist",
                        admin_arg(task, 0));
    }
    return user;
}

struct lp_catalog_user *
admin_user_term(struct admin_task *task, const char *name)
{
    struct lp_catalog_user *user = lp_catalog_user(task->control->catalog, lp_bytes_of_text(name));
    if (!user) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "{:no_such_user, \"%s\"}", name);
    }
    return user;
}

static bool
is_base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t bytes = strlen(text);
    const size_t plain = strspn(text, digits);
    return bytes % 4 == 0 && bytes - plain <= 2 && strspn(text + plain, "=") == bytes - plain;
}

bool
admin_check_add_user(struct admin_task *task)
{
    const char *secret = admin_arg(task, 1);
    if (!secret) {
        return true; /* it comes later */
    }
    if (admin_arg(task, 0)[0] == '\0') {
        admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument: user cannot be an empty string");
        return false;
    }
    if (admin_switch(task, "pre-hashed-password") && !is_base64(secret)) {
        admin_invalid(task, ADMIN_EXIT_DATA,
                      "Bad argument: Could not Base64 decode provided password hash value");
        return false;
    }
    return true;
}

void
admin_add_user(struct admin_task *task)
{
    char message[512];
    struct lp_refusal refusal;
    struct lp_catalog *catalog = task->control->catalog;
    const struct lp_bytes name = admin_arg_bytes(task, 0);
    const struct lp_bytes secret = admin_arg_bytes(task, 1);
    const bool good =
        admin_switch(task, "pre-hashed-password")
            ? lp_catalog_user_add_hashed(catalog, name, secret, lp_bytes_of(NULL, 0), &refusal)
            : lp_catalog_user_add(catalog, name, secret, &refusal);
    if (good) {
        admin_done_when_applied(task);
    } else if (refusal.err == LP_ERR_EXISTS) {
        (void)snprintf(message, sizeof(message), "User %s already exists", admin_arg(task, 0));
        admin_fail_json(task, ADMIN_EXIT_SOFTWARE, message, "%s", refusal.text);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal.text);
    }
}

/* Who is not there need not be deleted. */
void
admin_delete_user(struct admin_task *task)
{
    char text[LP_FAULT_TEXT_BYTES];
    if (admin_user_find(task)) {
        (void)snprintf(text, sizeof(text), "user '%s' is deleted", admin_arg(task, 0)); /* or cut */
        control_connections_close(task->control, admin_arg_bytes(task, 0), 0, text);
        (void)lp_catalog_user_delete(task->control->catalog, admin_arg_bytes(task, 0)); /* exists */
    }
    admin_done_when_applied(task);
}

void
admin_change_password(struct admin_task *task)
{
    struct lp_refusal refusal;
    if (!user_to_change(task)) {
        return;
    }
    if (lp_catalog_user_password_set(task->control->catalog, admin_arg_bytes(task, 0),
                                     admin_arg_bytes(task, 1), &refusal)) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal.text);
    }
}

void
admin_clear_password(struct admin_task *task)
{
    struct lp_refusal refusal;
    if (admin_user_term(task, admin_arg(task, 0))) {
        const bool good = lp_catalog_user_password_clear(task->control->catalog,
                                                         admin_arg_bytes(task, 0), &refusal);
        LP_ASSERT(good);
        admin_done_when_applied(task);
    }
}

void
admin_words_join(const struct admin_task *task, size_t from, struct lp_bytebuf *words)
{
    for (size_t i = from; i < admin_arg_count(task); i++) {
        const struct lp_bytes word = admin_arg_bytes(task, i);
        lp_bytebuf_append(words, ",", words->size > 0 && word.size > 0);
        lp_bytebuf_append(words, word.data, word.size);
    }
}

void
admin_set_user_tags(struct admin_task *task)
{
    struct lp_bytebuf tags = {0};
    struct lp_refusal refusal;
    if (!user_to_change(task)) {
        return;
    }
    admin_words_join(task, 1, &tags);
    if (lp_catalog_user_tags_set(task->control->catalog, admin_arg_bytes(task, 0),
                                 lp_bytes_of(tags.data, (uint32_t)tags.size), &refusal)) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal.text);
    }
    lp_bytebuf_fini(&tags);
}

void
admin_authenticate_user(struct admin_task *task)
{
    const char *name = admin_arg(task, 0);
    const struct lp_auth_login login = {.mechanism = lp_bytes_of_text("PLAIN"),
                                        .user = admin_arg_bytes(task, 0),
                                        .password = admin_arg_bytes(task, 1),
                                        .loopback = true};
    const char *why = "";
    struct lp_fault fault;
    if (lp_auth_login(task->control->catalog, &login, &why, &fault)) {
        admin_done(task);
    } else if (login.password.size == 0) {
        admin_fail(task, ADMIN_EXIT_DATA,
                   "Error: failed to authenticate user \"%s\"\nuser '%s' attempted to log in with "
                   "a blank password, which is prohibited by the internal authN backend. To use "
                   "TLS/x509 certificate-based authentication, see the rabbitmq_auth_mechanism_ssl "
                   "plugin and configure the client to use the EXTERNAL authentication mechanism. "
                   "Alternatively change the password for the user to be non-blank.",
                   name, name);
    } else {
        admin_fail(task, ADMIN_EXIT_DATA,
                   "Error: failed to authenticate user \"%s\"\nuser '%s' - %s", name, name, why);
    }
}

static json_t *
user_name(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_text(((const struct lp_catalog_user *)item)->name);
}

static json_t *
user_tags(const void *item, const struct admin_task *task)
{
    (void)task;
    return admin_words(((const struct lp_catalog_user *)item)->tags);
}

void
admin_list_users(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"user", user_name}, {"tags", user_tags}, {NULL, NULL}};
    struct admin_listing listing;
    admin_listing_init(&listing, task, columns);
    LP_CHAIN_EACH(link, &task->control->catalog->users)
    {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_user, in_catalog),
                          task);
    }
    admin_answer(task, admin_listing_take(&listing));
}
