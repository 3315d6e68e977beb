/* SPDX-License-Identifier: Apache-2.0 */
/* internal.c - the back end whose users are in the catalog. */
#include "control/auth/auth.h"
#include "control/auth/password.h"
#include "control/auth/permission.h"

static enum lp_auth_verdict
internal_login(const struct lp_catalog *catalog, struct lp_bytes user, struct lp_bytes password)
{
    const struct lp_catalog_user *found = lp_catalog_user(catalog, user);
    if (!found) {
        return LP_AUTH_UNKNOWN;
    }
    return lp_password_matches(found->hash, password) ? LP_AUTH_ALLOWED : LP_AUTH_REFUSED;
}

static enum lp_auth_verdict
internal_vhost(const struct lp_catalog *catalog, struct lp_bytes user,
               const struct lp_catalog_vhost *vhost)
{
    const struct lp_catalog_user *found = lp_catalog_user(catalog, user);
    if (!found) {
        return LP_AUTH_UNKNOWN;
    }
    return lp_catalog_permission(found, vhost->id) ? LP_AUTH_ALLOWED : LP_AUTH_REFUSED;
}

static enum lp_auth_verdict
internal_resource(const struct lp_catalog *catalog, struct lp_bytes user,
                  const struct lp_catalog_vhost *vhost, const struct lp_auth_question *question)
{
    const struct lp_catalog_user *found = lp_catalog_user(catalog, user);
    if (!found) {
        return LP_AUTH_UNKNOWN;
    }
    struct lp_catalog_permission *permission = lp_catalog_permission(found, vhost->id);
    return permission && lp_permission_admits(permission, question->right, question->name)
               ? LP_AUTH_ALLOWED
               : LP_AUTH_REFUSED;
}

static uint8_t
internal_unrestricted(const struct lp_catalog *catalog, struct lp_bytes user,
                      const struct lp_catalog_vhost *vhost)
{
    const struct lp_catalog_user *found = lp_catalog_user(catalog, user);
    const struct lp_catalog_permission *permission =
        found ? lp_catalog_permission(found, vhost->id) : NULL;
    return permission ? lp_permission_unrestricted(permission) : 0;
}

const struct lp_auth_backend lp_auth_internal = {
    .name = "internal",
    .login = internal_login,
    .vhost = internal_vhost,
    .resource = internal_resource,
    .unrestricted = internal_unrestricted,
};
