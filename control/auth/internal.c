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
    return lp_password_matches((enum lp_password_algorithm)found->algorithm, found->hash, password)
               ? LP_AUTH_ALLOWED
               : LP_AUTH_REFUSED;
}

static enum lp_auth_verdict
internal_external(const struct lp_catalog *catalog, struct lp_bytes user)
{
    return lp_catalog_user(catalog, user) ? LP_AUTH_ALLOWED : LP_AUTH_UNKNOWN;
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

/* Nothing said about an exchange means that everything is allowed there. */
static enum lp_auth_verdict
internal_topic(const struct lp_catalog *catalog, struct lp_bytes user,
               const struct lp_catalog_vhost *vhost, const struct lp_auth_topic_question *question)
{
    const struct lp_catalog_user *found = lp_catalog_user(catalog, user);
    if (!found) {
        return LP_AUTH_UNKNOWN;
    }
    struct lp_catalog_topic_permission *permission =
        lp_catalog_topic_permission(found, vhost->id, question->exchange);
    return !permission ||
                   lp_topic_permission_admits(vhost, permission, question->right, question->key)
               ? LP_AUTH_ALLOWED
               : LP_AUTH_REFUSED;
}

static uint8_t
internal_rights(const struct lp_catalog *catalog, struct lp_bytes user,
                const struct lp_catalog_vhost *vhost)
{
    const struct lp_catalog_user *found = lp_catalog_user(catalog, user);
    uint8_t rights = 0;
    if (!found) {
        return 0;
    }
    if (lp_catalog_user_has_tag(found, "impersonator")) {
        rights |= LP_RIGHTS_IMPERSONATOR;
    }
    if (found->has_channels_max && found->channels_max >= 0) {
        rights |= LP_RIGHTS_CHANNELS_LIMITED;
    }
    LP_CHAIN_EACH(link, &found->topic_permissions)
    {
        if (LP_CONTAINER_OF(link, struct lp_catalog_topic_permission, in_user)->vhost_id ==
            vhost->id) {
            rights |= LP_RIGHTS_TOPICS;
        }
    }
    return rights;
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
    .external = internal_external,
    .vhost = internal_vhost,
    .resource = internal_resource,
    .topic = internal_topic,
    .rights = internal_rights,
    .unrestricted = internal_unrestricted,
};
