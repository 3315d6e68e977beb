/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_defaults.c - default_limits, default_policies and default_users of the
 * configuration, for a vhost that is made.  The configuration has checked
 * them: what is refused all the same is left out.
 */
#include "control/topology/administer_internal.h"

static bool
is_for(const struct lp_catalog_vhost *vhost, const char *text)
{
    struct lp_pattern *pattern = lp_pattern_open(lp_bytes_of_text(text), NULL);
    const bool matches = pattern && lp_pattern_matches(pattern, vhost->name);
    lp_pattern_close(&pattern);
    return matches;
}

static void
limits_apply(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    struct lp_refusal refusal;
    for (size_t i = 0; i < catalog->rules.default_limits_count; i++) {
        const struct lp_catalog_default_limits *limits = &catalog->rules.default_limits[i];
        if (is_for(vhost, limits->vhost_pattern)) {
            const bool good = lp_catalog_vhost_limits_set(
                catalog, vhost, lp_bytes_of_text(limits->definition), &refusal);
            (void)good;
            return;
        }
    }
}

static void
policy_apply(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
             const struct lp_catalog_default_policy *policy)
{
    struct lp_refusal refusal;
    const struct lp_policy_set set = {.operator_policy = true,
                                      .name = lp_bytes_of_text(policy->name),
                                      .pattern = lp_bytes_of_text(policy->queue_pattern),
                                      .definition = lp_bytes_of_text(policy->definition),
                                      .apply_to = lp_bytes_of_text("all"),
                                      .priority = lp_bytes_of_text("0")};
    const bool good = lp_catalog_policy_set(catalog, vhost, &set, &refusal);
    (void)good;
}

/* Made when it does not exist; its rights are given in any case. */
static void
user_apply(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
           const struct lp_catalog_default_user *user)
{
    struct lp_refusal refusal;
    struct lp_bytes pattern[LP_CATALOG_RIGHTS];
    const struct lp_rights_scope scope = {.user = lp_bytes_of_text(user->name), .vhost = vhost};
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        pattern[i] = lp_bytes_of_text(user->pattern[i]);
    }
    bool good =
        lp_catalog_user(catalog, scope.user) != NULL ||
        (lp_catalog_user_add(catalog, scope.user, lp_bytes_of_text(user->password), &refusal) &&
         lp_catalog_user_tags_set(catalog, scope.user, lp_bytes_of_text(user->tags), &refusal));
    good = good && lp_catalog_permissions_set(catalog, &scope, pattern, &refusal);
    (void)good;
}

void
catalog_vhost_defaults_apply(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    const struct lp_catalog_rules *rules = &catalog->rules;
    limits_apply(catalog, vhost);
    for (size_t i = 0; i < rules->default_policy_count; i++) {
        if (is_for(vhost, rules->default_policies[i].vhost_pattern)) {
            policy_apply(catalog, vhost, &rules->default_policies[i]);
        }
    }
    for (size_t i = 0; i < rules->default_user_count; i++) {
        if (is_for(vhost, rules->default_users[i].vhost_pattern)) {
            user_apply(catalog, vhost, &rules->default_users[i]);
        }
    }
}
