/* SPDX-License-Identifier: Apache-2.0 */
/* parameters.c - runtime parameters, of virtual hosts and global ones. */
#include <stdio.h>

#include "control/admin/admin_internal.h"
#include "control/topology/administer.h"

static void
end(struct admin_task *task, bool good, const struct lp_refusal *refusal)
{
    if (good) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", refusal->text);
    }
}

void
admin_set_parameter(struct admin_task *task)
{
    struct lp_refusal refusal;
    const struct lp_parameter_name name = {admin_arg_bytes(task, 0), admin_arg_bytes(task, 1)};
    struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (vhost) {
        end(task,
            lp_catalog_parameter_set(task->control->catalog, vhost, &name, admin_arg_bytes(task, 2),
                                     &refusal),
            &refusal);
    }
}

void
admin_clear_parameter(struct admin_task *task)
{
    struct lp_refusal refusal;
    const struct lp_parameter_name name = {admin_arg_bytes(task, 0), admin_arg_bytes(task, 1)};
    struct lp_catalog_vhost *vhost = admin_vhost_or_none(task);
    if (!vhost) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "Parameter does not exist");
        return;
    }
    end(task, lp_catalog_parameter_clear(task->control->catalog, vhost, &name, &refusal), &refusal);
}

void
admin_set_global_parameter(struct admin_task *task)
{
    struct lp_refusal refusal;
    end(task,
        lp_catalog_global_parameter_set(task->control->catalog, admin_arg_bytes(task, 0),
                                        admin_arg_bytes(task, 1), &refusal),
        &refusal);
}

void
admin_clear_global_parameter(struct admin_task *task)
{
    struct lp_refusal refusal;
    end(task,
        lp_catalog_global_parameter_clear(task->control->catalog, admin_arg_bytes(task, 0),
                                          &refusal),
        &refusal);
}

/* ---- lists ---- */

struct row {
    struct lp_bytes component, name;
    struct lp_bytes value_text;
};

#define PARAMETER_COLUMN(id, expression)                                           \
    static json_t *parameter_##id(const void *item, const struct admin_task *task) \
    {                                                                              \
        const struct row *row = item;                                              \
        (void)task;                                                                \
        return expression;                                                         \
    }

PARAMETER_COLUMN(component, admin_text(row->component))
PARAMETER_COLUMN(name, admin_text(row->name))
PARAMETER_COLUMN(value, admin_text(row->value_text))

static void
parameters_add(struct admin_listing *listing, const struct admin_task *task, uint32_t vhost_id)
{
    LP_CHAIN_EACH(link, &task->control->catalog->parameters)
    {
        const struct lp_catalog_parameter *parameter =
            LP_CONTAINER_OF(link, struct lp_catalog_parameter, in_catalog);
        if (parameter->vhost_id == vhost_id) {
            const struct row row = {.component = parameter->component,
                                    .name = parameter->name,
                                    .value_text = parameter->value};
            admin_listing_add(listing, &row, task);
        }
    }
}

/* RabbitMQ keeps operator policies as parameters, and lists them here. */
static void
operator_policy_add(struct admin_listing *listing, const struct admin_task *task,
                    const struct lp_catalog_policy *policy)
{
    struct lp_bytebuf text = {0};
    json_t *pattern = admin_json_text(admin_text(policy->pattern));
    const char *quoted = json_string_value(pattern);
    char end[128];
    lp_bytebuf_append(&text, "{\"pattern\":", 11);
    lp_bytebuf_append(&text, quoted, strlen(quoted));
    lp_bytebuf_append(&text, ",\"definition\":", 14);
    lp_bytebuf_append(&text, policy->definition.data, policy->definition.size);
    const int bytes = snprintf(end, sizeof(end), ",\"priority\":%lld,\"apply-to\":\"%s\"}",
                               (long long)policy->priority, lp_policy_target_name(policy->target));
    lp_bytebuf_append(&text, end, (size_t)bytes);
    const struct row row = {.component = lp_bytes_of_text("operator_policy"),
                            .name = policy->name,
                            .value_text = lp_bytes_of(text.data, (uint32_t)text.size)};
    admin_listing_add(listing, &row, task);
    lp_bytebuf_fini(&text);
    json_decref(pattern);
}

void
admin_list_parameters(struct admin_task *task)
{
    static const struct admin_column columns[] = {{"component", parameter_component},
                                                  {"name", parameter_name},
                                                  {"value", parameter_value},
                                                  {NULL, NULL}};
    struct admin_listing listing;
    const struct lp_catalog_vhost *vhost = admin_vhost(task);
    if (!vhost) {
        return;
    }
    admin_listing_init(&listing, task, columns);
    parameters_add(&listing, task, vhost->id);
    LP_CHAIN_EACH(link, &vhost->operator_policies)
    {
        operator_policy_add(&listing, task,
                            LP_CONTAINER_OF(link, struct lp_catalog_policy, in_vhost));
    }
    admin_answer(task, admin_listing_take(&listing));
}

void
admin_list_global_parameters(struct admin_task *task)
{
    static const struct admin_column columns[] = {
        {"name", parameter_name}, {"value", parameter_value}, {NULL, NULL}};
    struct admin_listing listing;
    admin_listing_init(&listing, task, columns);
    parameters_add(&listing, task, 0);
    admin_answer(task, admin_listing_take(&listing));
}
