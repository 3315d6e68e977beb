/* SPDX-License-Identifier: Apache-2.0 */
/* definitions_export.c - everything that is defined, in the shape of RabbitMQ's files. */
#include "control/admin/admin_users.h"
#include "control/admin/definitions.h"
#include "control/admin/report.h"
#include "control/auth/password.h"

/* A list for each category. */
struct definitions {
    const struct lp_catalog *catalog;
    json_t *users, *vhosts, *permissions, *topic_permissions, *parameters, *global_parameters,
        *policies, *queues, *exchanges, *bindings;
};

static json_t *
value_of(struct lp_bytes text)
{
    json_t *value = json_loadb((const char *)text.data, text.size, JSON_DECODE_ANY, NULL);
    LP_ASSERT(value != NULL); /* it was checked when it was set */
    return value;
}

/* An object with members, or an empty list, as RabbitMQ writes no limits. */
static json_t *
limits_or_none(json_t *limits)
{
    if (json_object_size(limits) > 0) {
        return limits;
    }
    json_decref(limits);
    return json_array();
}

static const struct lp_catalog_vhost *
vhost_of(const struct definitions *definitions, uint32_t id)
{
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost_by_id(definitions->catalog, id);
    LP_ASSERT(vhost != NULL); /* what is in it goes with it */
    return vhost;
}

/* ---- users and their rights ---- */

static void
permissions_add(struct definitions *definitions, const struct lp_catalog_user *user)
{
    LP_CHAIN_EACH(link, &user->permissions)
    {
        const struct lp_catalog_permission *permission =
            LP_CONTAINER_OF(link, struct lp_catalog_permission, in_user);
        admin_append(definitions->permissions,
                     json_pack("{s:o,s:o,s:o,s:o,s:o}", "user", admin_text(user->name), "vhost",
                               admin_text(vhost_of(definitions, permission->vhost_id)->name),
                               "configure", admin_text(permission->pattern[0]), "write",
                               admin_text(permission->pattern[1]), "read",
                               admin_text(permission->pattern[2])));
    }
    LP_CHAIN_EACH(link, &user->topic_permissions)
    {
        const struct lp_catalog_topic_permission *permission =
            LP_CONTAINER_OF(link, struct lp_catalog_topic_permission, in_user);
        admin_append(definitions->topic_permissions,
                     json_pack("{s:o,s:o,s:o,s:o,s:o}", "user", admin_text(user->name), "vhost",
                               admin_text(vhost_of(definitions, permission->vhost_id)->name),
                               "exchange", admin_text(permission->exchange), "write",
                               admin_text(permission->pattern[0]), "read",
                               admin_text(permission->pattern[1])));
    }
}

static void
users_add(struct definitions *definitions)
{
    LP_CHAIN_EACH(link, &definitions->catalog->users)
    {
        const struct lp_catalog_user *user =
            LP_CONTAINER_OF(link, struct lp_catalog_user, in_catalog);
        admin_append(definitions->users,
                     json_pack("{s:o,s:o,s:s,s:o,s:o}", "name", admin_text(user->name),
                               "password_hash", admin_text(user->hash), "hashing_algorithm",
                               lp_password_algorithm_name(user->algorithm), "tags",
                               admin_words(user->tags), "limits", admin_user_limits(user)));
        permissions_add(definitions, user);
    }
}

/* ---- virtual hosts and what is in them ---- */

static void
vhost_add(struct definitions *definitions, const struct lp_catalog_vhost *vhost)
{
    const struct lp_catalog_parameter *limits =
        lp_catalog_parameter(definitions->catalog, vhost->id, lp_bytes_of_text("vhost-limits"),
                             lp_bytes_of_text("limits"));
    const uint8_t kind = vhost->has_default_kind ? vhost->default_kind
                                                 : definitions->catalog->rules.default_queue_kind;
    json_t *metadata = json_pack("{s:o,s:o}", "description", admin_text(vhost->description), "tags",
                                 admin_words(vhost->tags));
    if (vhost->has_default_kind) {
        admin_set(metadata, "default_queue_type", json_string(lp_queue_kind_name(kind)));
    }
    admin_append(definitions->vhosts,
                 json_pack("{s:o,s:o,s:o,s:s}", "name", admin_text(vhost->name), "limits",
                           limits_or_none(limits ? value_of(limits->value) : json_object()),
                           "metadata", metadata, "default_queue_type", lp_queue_kind_name(kind)));
}

/* Operator policies are parameters in RabbitMQ, and in its files. */
static void
policies_add(struct definitions *definitions, const struct lp_catalog_vhost *vhost)
{
    LP_CHAIN_EACH(link, &vhost->policies)
    {
        const struct lp_catalog_policy *policy =
            LP_CONTAINER_OF(link, struct lp_catalog_policy, in_vhost);
        admin_append(
            definitions->policies,
            json_pack("{s:o,s:o,s:o,s:s,s:I,s:o}", "vhost", admin_text(vhost->name), "name",
                      admin_text(policy->name), "pattern", admin_text(policy->pattern), "apply-to",
                      lp_policy_target_name(policy->target), "priority",
                      (json_int_t)policy->priority, "definition", value_of(policy->definition)));
    }
    LP_CHAIN_EACH(link, &vhost->operator_policies)
    {
        const struct lp_catalog_policy *policy =
            LP_CONTAINER_OF(link, struct lp_catalog_policy, in_vhost);
        json_t *value =
            json_pack("{s:o,s:s,s:I,s:o}", "pattern", admin_text(policy->pattern), "apply-to",
                      lp_policy_target_name(policy->target), "priority",
                      (json_int_t)policy->priority, "definition", value_of(policy->definition));
        admin_append(definitions->parameters,
                     json_pack("{s:o,s:s,s:o,s:o}", "vhost", admin_text(vhost->name), "component",
                               "operator_policy", "name", admin_text(policy->name), "value",
                               value));
    }
}

/* Exclusive ones cannot be restored. */
static void
queues_add(struct definitions *definitions, const struct lp_catalog_vhost *vhost)
{
    LP_CHAIN_EACH(link, &vhost->queues)
    {
        const struct lp_catalog_queue *queue =
            LP_CONTAINER_OF(link, struct lp_catalog_queue, in_vhost);
        if (queue->owner != 0) {
            continue;
        }
        admin_append(definitions->queues,
                     json_pack("{s:o,s:o,s:s,s:b,s:b,s:o}", "vhost", admin_text(vhost->name),
                               "name", admin_text(queue->name), "type",
                               lp_queue_kind_name(queue->kind), "durable",
                               (queue->flags & LP_OBJECT_DURABLE) != 0, "auto_delete",
                               (queue->flags & LP_OBJECT_AUTO_DELETE) != 0, "arguments",
                               admin_table_object(queue->arguments)));
    }
}

static void
bindings_add(struct definitions *definitions, const struct lp_catalog_exchange *exchange)
{
    LP_CHAIN_EACH(link, &exchange->sources)
    {
        const struct lp_catalog_binding *binding =
            LP_CONTAINER_OF(link, struct lp_catalog_binding, in_source);
        const struct lp_catalog_queue *queue = binding->to_queue;
        if (queue && queue->owner != 0) {
            continue;
        }
        admin_append(definitions->bindings,
                     json_pack("{s:o,s:o,s:o,s:s,s:o,s:o}", "source", admin_text(exchange->name),
                               "vhost", admin_text(exchange->vhost->name), "destination",
                               admin_text(queue ? queue->name : binding->to_exchange->name),
                               "destination_type", queue ? "queue" : "exchange", "routing_key",
                               admin_text(binding->key), "arguments",
                               admin_table_object(binding->arguments)));
    }
}

static bool
is_predeclared(struct lp_bytes name)
{
    return name.size == 0 || (name.size >= 4 && memcmp(name.data, "amq.", 4) == 0);
}

static void
exchanges_add(struct definitions *definitions, const struct lp_catalog_vhost *vhost)
{
    LP_CHAIN_EACH(link, &vhost->exchanges)
    {
        const struct lp_catalog_exchange *exchange =
            LP_CONTAINER_OF(link, struct lp_catalog_exchange, in_vhost);
        if (exchange->name.size > 0) {
            bindings_add(definitions, exchange);
        }
        if (is_predeclared(exchange->name) || (exchange->flags & LP_OBJECT_INTERNAL)) {
            continue;
        }
        admin_append(definitions->exchanges,
                     json_pack("{s:o,s:o,s:s,s:b,s:b,s:o}", "vhost", admin_text(vhost->name),
                               "name", admin_text(exchange->name), "type",
                               lp_exchange_kind_name(exchange->kind), "durable",
                               (exchange->flags & LP_OBJECT_DURABLE) != 0, "auto_delete",
                               (exchange->flags & LP_OBJECT_AUTO_DELETE) != 0, "arguments",
                               admin_table_object(exchange->arguments)));
    }
}

static void
parameters_add(struct definitions *definitions)
{
    LP_CHAIN_EACH(link, &definitions->catalog->parameters)
    {
        const struct lp_catalog_parameter *parameter =
            LP_CONTAINER_OF(link, struct lp_catalog_parameter, in_catalog);
        json_t *entry = json_pack("{s:o,s:o}", "name", admin_text(parameter->name), "value",
                                  value_of(parameter->value));
        if (parameter->vhost_id == 0) {
            admin_append(definitions->global_parameters, entry);
            continue;
        }
        admin_set(entry, "vhost", admin_text(vhost_of(definitions, parameter->vhost_id)->name));
        admin_set(entry, "component", admin_text(parameter->component));
        admin_append(definitions->parameters, entry);
    }
}

/* ---- all of it ---- */

void
admin_export_definitions(struct admin_task *task)
{
    struct definitions d = {
        task->control->catalog, json_array(), json_array(), json_array(),
        json_array(),           json_array(), json_array(), json_array(),
        json_array(),           json_array(), json_array(),
    };
    users_add(&d);
    LP_CHAIN_EACH(link, &d.catalog->vhosts)
    {
        const struct lp_catalog_vhost *vhost =
            LP_CONTAINER_OF(link, struct lp_catalog_vhost, in_catalog);
        vhost_add(&d, vhost);
        policies_add(&d, vhost);
        exchanges_add(&d, vhost);
        queues_add(&d, vhost);
    }
    parameters_add(&d);
    json_t *data = json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "rabbit_version",
                             ADMIN_RABBITMQ_VERSION, "rabbitmq_version", ADMIN_RABBITMQ_VERSION,
                             "users", d.users, "vhosts", d.vhosts, "permissions", d.permissions,
                             "topic_permissions", d.topic_permissions, "parameters", d.parameters,
                             "global_parameters", d.global_parameters, "policies", d.policies,
                             "queues", d.queues, "exchanges", d.exchanges, "bindings", d.bindings);
    admin_answer(task, json_pack("{s:b,s:o}", "ok", 1, "data", data));
}
