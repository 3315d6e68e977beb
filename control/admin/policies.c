/* SPDX-License-Identifier: Apache-2.0 */
/* policies.c - policies and operator policies: set, cleared, listed. */
#include <stdio.h>

#include "control/admin/admin_internal.h"
#include "control/topology/administer.h"

/* ---- set and clear ---- */

static void
policy_set(struct admin_task *task, bool operator_policy)
{
    char priority[32];
    struct lp_refusal refusal;
    const char *apply_to = admin_option(task, "apply-to");
    (void)snprintf(priority, sizeof(priority), "%lld",
                   (long long)admin_option_integer(task, "priority", 0));
    const struct lp_policy_set policy = {
        .operator_policy = operator_policy,
        .name = admin_arg_bytes(task, 0),
        .pattern = admin_arg_bytes(task, 1),
        .definition = admin_arg_bytes(task, 2),
        .apply_to = lp_bytes_of_text(apply_to ? apply_to : "all"),
        .priority = lp_bytes_of_text(priority),
    };
    struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost) {
        return;
    }
    if (lp_catalog_policy_set(task->control->catalog, vhost, &policy, &refusal)) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal.text);
    }
}

static void
policy_clear(struct admin_task *task, bool operator_policy)
{
    struct lp_refusal refusal;
    struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    if (!vhost) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "Parameter does not exist");
    } else if (lp_catalog_policy_clear(task->control->catalog, vhost, operator_policy,
                                       admin_arg_bytes(task, 0), &refusal)) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal.text);
    }
}

void
admin_set_policy(struct admin_task *task)
{
    policy_set(task, false);
}

void
admin_set_operator_policy(struct admin_task *task)
{
    policy_set(task, true);
}

void
admin_clear_policy(struct admin_task *task)
{
    policy_clear(task, false);
}

void
admin_clear_operator_policy(struct admin_task *task)
{
    policy_clear(task, true);
}

/* ---- lists ---- */

#define POLICY_COLUMN(id, expression)                                           \
    static json_t *policy_##id(const void *item, const struct admin_task *task) \
    {                                                                           \
        const struct lp_catalog_policy *policy = item;                          \
        (void)task;                                                             \
        return expression;                                                      \
    }

POLICY_COLUMN(vhost, admin_text(policy->vhost->name))
POLICY_COLUMN(name, admin_text(policy->name))
POLICY_COLUMN(pattern, admin_text(policy->pattern))
POLICY_COLUMN(apply_to, json_string(lp_policy_target_name(policy->target)))
POLICY_COLUMN(definition, admin_text(policy->definition))
POLICY_COLUMN(priority, json_integer(policy->priority))

static const struct admin_column policy_columns[] = {
    {"vhost", policy_vhost},
    {"name", policy_name},
    {"pattern", policy_pattern},
    {"apply-to", policy_apply_to},
    {"definition", policy_definition},
    {"priority", policy_priority},
    {NULL, NULL},
};

/* The one that holds last. */
static void
policies_list(struct admin_task *task, bool operator_policy)
{
    struct admin_listing listing;
    struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost) {
        return;
    }
    struct lp_chain *chain = operator_policy ? &vhost->operator_policies : &vhost->policies;
    admin_listing_init(&listing, task, policy_columns);
    for (struct lp_chain *link = chain->previous; link != chain; link = link->previous) {
        admin_listing_add(&listing, LP_CONTAINER_OF(link, struct lp_catalog_policy, in_vhost),
                          task);
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_list_policies(struct admin_task *task)
{
    policies_list(task, false);
}

void
admin_list_operator_policies(struct admin_task *task)
{
    policies_list(task, true);
}
