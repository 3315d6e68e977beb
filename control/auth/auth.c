/* SPDX-License-Identifier: Apache-2.0 */
#include "control/auth/auth.h"

/* One line here and one file beside this one: that is a back end. */
static const struct lp_auth_backend *const backends[] = {
    &lp_auth_internal,
};

static bool
is_loopback_user(const struct lp_auth_login *login)
{
    for (size_t i = 0; i < login->loopback_user_count; i++) {
        if (lp_bytes_equal_text(login->user, login->loopback_users[i])) {
            return true;
        }
    }
    return false;
}

bool
lp_auth_refuse(const struct lp_auth_login *login, struct lp_fault *ret_fault)
{
    return lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                        "Login was refused using authentication mechanism %.*s. For details see "
                        "the broker logfile.",
                        (int)login->mechanism.size, (const char *)login->mechanism.data);
}

bool
lp_auth_login(const struct lp_catalog *catalog, const struct lp_auth_login *login,
              const char **ret_why, struct lp_fault *ret_fault)
{
    const bool external = lp_bytes_equal_text(login->mechanism, "EXTERNAL");
    enum lp_auth_verdict verdict = LP_AUTH_UNKNOWN;
    for (size_t i = 0; i < LP_COUNT_OF(backends) && verdict == LP_AUTH_UNKNOWN; i++) {
        verdict = external ? backends[i]->external(catalog, login->user)
                           : backends[i]->login(catalog, login->user, login->password);
    }
    if (verdict == LP_AUTH_ALLOWED) {
        if (login->loopback || !is_loopback_user(login)) {
            return true;
        }
        *ret_why = "user can only connect via localhost";
    } else {
        *ret_why = "invalid credentials";
    }
    return lp_auth_refuse(login, ret_fault);
}

bool
lp_auth_vhost(const struct lp_catalog *catalog, struct lp_bytes user, struct lp_bytes vhost_name,
              struct lp_catalog_vhost **ret_vhost, struct lp_fault *ret_fault)
{
    struct lp_catalog_vhost *vhost = lp_catalog_vhost(catalog, vhost_name);
    if (!vhost) {
        return lp_fault_set(ret_fault, LP_FAULT_NOT_ALLOWED, "vhost %.*s not found",
                            (int)vhost_name.size, (const char *)vhost_name.data);
    }
    enum lp_auth_verdict verdict = LP_AUTH_UNKNOWN;
    for (size_t i = 0; i < LP_COUNT_OF(backends) && verdict == LP_AUTH_UNKNOWN; i++) {
        verdict = backends[i]->vhost(catalog, user, vhost);
    }
    if (verdict != LP_AUTH_ALLOWED) {
        return lp_fault_set(ret_fault, LP_FAULT_NOT_ALLOWED,
                            "access to vhost '%.*s' refused for user '%.*s'", (int)vhost_name.size,
                            (const char *)vhost_name.data, (int)user.size, (const char *)user.data);
    }
    *ret_vhost = vhost;
    return true;
}

static const char *
right_name(uint8_t right)
{
    return right == LP_PERMISSION_CONFIGURE ? "configure"
           : right == LP_PERMISSION_WRITE   ? "write"
                                            : "read";
}

bool
lp_auth_check(const struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
              const struct lp_auth_question *question, struct lp_fault *ret_fault)
{
    struct lp_auth_question asked = *question;
    if (asked.resource == LP_RESOURCE_EXCHANGE && asked.name.size == 0) {
        asked.name = lp_bytes_of_text("amq.default");
    }
    enum lp_auth_verdict verdict = actor->administrator ? LP_AUTH_ALLOWED : LP_AUTH_UNKNOWN;
    for (size_t i = 0; i < LP_COUNT_OF(backends) && verdict == LP_AUTH_UNKNOWN; i++) {
        verdict = backends[i]->resource(catalog, actor->user, actor->vhost, &asked);
    }
    if (verdict == LP_AUTH_ALLOWED) {
        return true;
    }
    const struct lp_resource_text text = lp_resource_text(asked.resource, asked.name, actor->vhost);
    return lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                        "%s access to %s refused for user '%.*s'", right_name(asked.right),
                        text.text, (int)actor->user.size, (const char *)actor->user.data);
}

bool
lp_auth_check_topic(const struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                    const struct lp_auth_topic_question *question, struct lp_fault *ret_fault)
{
    enum lp_auth_verdict verdict = actor->administrator ? LP_AUTH_ALLOWED : LP_AUTH_UNKNOWN;
    for (size_t i = 0; i < LP_COUNT_OF(backends) && verdict == LP_AUTH_UNKNOWN; i++) {
        verdict = backends[i]->topic(catalog, actor->user, actor->vhost, question);
    }
    if (verdict == LP_AUTH_ALLOWED) {
        return true;
    }
    const struct lp_resource_text text =
        lp_resource_text(LP_RESOURCE_EXCHANGE, question->exchange, actor->vhost);
    return lp_fault_set(ret_fault, LP_FAULT_ACCESS_REFUSED,
                        "%s access to topic '%.*s' in %s refused for user '%.*s'",
                        right_name(question->right), (int)question->key.size,
                        (const char *)question->key.data, text.text, (int)actor->user.size,
                        (const char *)actor->user.data);
}

uint8_t
lp_auth_rights(const struct lp_catalog *catalog, struct lp_bytes user,
               const struct lp_catalog_vhost *vhost)
{
    uint8_t rights = 0;
    for (size_t i = 0; i < LP_COUNT_OF(backends); i++) {
        rights |= backends[i]->rights(catalog, user, vhost);
    }
    return rights;
}

uint8_t
lp_auth_unrestricted(const struct lp_catalog *catalog, struct lp_bytes user,
                     const struct lp_catalog_vhost *vhost)
{
    for (size_t i = 0; i < LP_COUNT_OF(backends); i++) {
        if (backends[i]->vhost(catalog, user, vhost) != LP_AUTH_UNKNOWN) {
            return backends[i]->unrestricted(catalog, user, vhost);
        }
    }
    return 0;
}
