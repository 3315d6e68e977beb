/* SPDX-License-Identifier: Apache-2.0 */
/* administer.c - policies, parameters and limits, as administrators set them. */
#include "control/topology/administer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/topology/administer_internal.h"

bool
administer_refuse(struct lp_refusal *refusal, enum lp_err err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(refusal->text, sizeof(refusal->text), format, arguments); /* or cut */
    va_end(arguments);
    refusal->err = err;
    return false;
}

/* What RabbitMQ says of a value that a component does not like. */
static bool
validation_failed(struct lp_refusal *refusal, const struct lp_bytebuf *why)
{
    return administer_refuse(refusal, LP_ERR_REFUSED, "Validation failed\n\n%.*s\n", (int)why->size,
                             (const char *)why->data);
}

json_t *
administer_json(struct lp_bytes text, struct lp_refusal *refusal)
{
    json_error_t error;
    json_t *value = json_loadb((const char *)text.data, text.size, JSON_DECODE_ANY, &error);
    if (value) {
        return value;
    }
    struct lp_bytebuf shown = {0};
    json_t *string = json_stringn(text.size > 0 ? (const char *)text.data : "", text.size);
    if (string) {
        erlang_text_json(&shown, string);
        json_decref(string);
    }
    (void)administer_refuse(refusal, LP_ERR_REFUSED,
                            "Could not parse JSON document: {error,{failed_to_decode_json,%.*s}}",
                            (int)shown.size, (const char *)shown.data);
    lp_bytebuf_fini(&shown);
    return NULL;
}

struct lp_bytes
administer_json_text(const json_t *value, struct lp_bytebuf *text)
{
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    LP_ASSERT(dumped);
    lp_bytebuf_append(text, dumped, strlen(dumped));
    free(dumped);
    return lp_bytes_of(text->data, (uint32_t)text->size);
}

bool
administer_name_valid(struct lp_bytes name, struct lp_refusal *refusal)
{
    return name.size <= UINT8_MAX ||
           administer_refuse(refusal, LP_ERR_REFUSED, "a name is longer than 255 bytes");
}

/* ---- policies ---- */

/* Digits, as RabbitMQ's integer conversion takes them. */
static bool
priority_read(struct lp_bytes text, int64_t *ret_priority)
{
    char copy[32];
    char *end;
    if (text.size == 0 || text.size >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    const long long number = strtoll(copy, &end, 10);
    *ret_priority = number;
    return *end == '\0' && end != copy && copy[0] != ' ';
}

/* RabbitMQ reports everything that is wrong, the last field first. */
static bool
policy_valid(const struct lp_policy_set *set, const json_t *definition, uint8_t *ret_target,
             struct lp_refusal *refusal)
{
    char pattern_why[LP_PATTERN_WHY_BYTES];
    struct lp_bytebuf why = {0};
    bool good = policy_definition_validate(definition, set->operator_policy, &why);
    if (!policy_target_find(set->apply_to, ret_target)) {
        erlang_text_format(&why,
                           "%sapply-to '%.*s' unrecognised; should be one of: 'queues', "
                           "'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'",
                           good ? "" : "\n", (int)set->apply_to.size,
                           (const char *)set->apply_to.data);
        good = false;
    }
    struct lp_pattern *pattern = lp_pattern_open(set->pattern, pattern_why);
    if (!pattern) {
        erlang_text_format(&why, "%spattern should be regular expression but is invalid: %s",
                           good ? "" : "\n", pattern_why);
        good = false;
    }
    lp_pattern_close(&pattern);
    if (!good) {
        (void)validation_failed(refusal, &why);
    }
    lp_bytebuf_fini(&why);
    return good;
}

bool
lp_catalog_policy_set(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                      const struct lp_policy_set *set, struct lp_refusal *ret_refusal)
{
    struct lp_catalog_policy like = {.vhost = vhost,
                                     .operator_policy = set->operator_policy,
                                     .name = set->name,
                                     .pattern = set->pattern};
    struct lp_bytebuf text = {0};
    if (!administer_name_valid(set->name, ret_refusal)) {
        return false;
    }
    if (!priority_read(set->priority, &like.priority)) {
        return administer_refuse(ret_refusal, LP_ERR_REFUSED,
                                 "<<\"%.*s\">> priority must be a number", (int)set->priority.size,
                                 (const char *)set->priority.data);
    }
    json_t *definition = administer_json(set->definition, ret_refusal);
    if (!definition) {
        return false;
    }
    const bool good = policy_valid(set, definition, &like.target, ret_refusal);
    if (good) {
        like.definition = administer_json_text(definition, &text);
        administer_policy_put(catalog, &like);
    }
    lp_bytebuf_fini(&text);
    json_decref(definition);
    return good;
}

void
administer_policy_put(struct lp_catalog *catalog, const struct lp_catalog_policy *like)
{
    struct lp_catalog_policy *old =
        lp_catalog_policy(like->vhost, like->operator_policy, like->name);
    if (old) {
        lp_chain_remove(&old->in_vhost); /* objects still point to it */
    }
    struct lp_catalog_policy *policy = policy_insert(like);
    LP_ASSERT(policy); /* it is valid */
    catalog_policy_put(catalog, policy);
    policy_evaluate(catalog, like->vhost);
    if (old) {
        policy_remove(old);
    }
}

bool
lp_catalog_policy_clear(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                        bool operator_policy, struct lp_bytes name, struct lp_refusal *ret_refusal)
{
    struct lp_catalog_policy *policy = lp_catalog_policy(vhost, operator_policy, name);
    if (!policy) {
        return administer_refuse(ret_refusal, LP_ERR_NOT_FOUND, "Parameter does not exist");
    }
    lp_chain_remove(&policy->in_vhost);
    policy_evaluate(catalog, vhost);
    catalog_policy_drop(catalog, policy);
    return true;
}

/* ---- parameters ---- */

static void
parameter_put(struct lp_catalog *catalog, const struct lp_catalog_parameter *like)
{
    struct lp_catalog_parameter *old =
        lp_catalog_parameter(catalog, like->vhost_id, like->component, like->name);
    catalog_parameter_put(catalog, catalog_parameter_insert(catalog, like));
    if (old) {
        catalog_parameter_remove(old);
    }
}

bool
lp_catalog_parameter_set(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                         const struct lp_parameter_name *name, struct lp_bytes value,
                         struct lp_refusal *ret_refusal)
{
    if (lp_bytes_equal_text(name->component, "policy") ||
        lp_bytes_equal_text(name->component, "operator_policy")) {
        return administer_refuse(ret_refusal, LP_ERR_REFUSED,
                                 "policies may not be set using this method");
    }
    json_t *parsed = administer_json(value, ret_refusal);
    if (!parsed) {
        return false;
    }
    json_decref(parsed);
    if (!lp_bytes_equal_text(name->component, "vhost-limits")) {
        return administer_refuse(ret_refusal, LP_ERR_REFUSED,
                                 "Validation failed\n\ncomponent %.*s not found\n",
                                 (int)name->component.size, (const char *)name->component.data);
    }
    if (!lp_bytes_equal_text(name->name, "limits")) {
        return administer_refuse(ret_refusal, LP_ERR_REFUSED,
                                 "the parameter of vhost-limits is called limits");
    }
    return lp_catalog_vhost_limits_set(catalog, vhost, value, ret_refusal);
}

bool
lp_catalog_parameter_clear(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                           const struct lp_parameter_name *name, struct lp_refusal *ret_refusal)
{
    if (lp_bytes_equal_text(name->component, "policy") ||
        lp_bytes_equal_text(name->component, "operator_policy")) {
        return administer_refuse(ret_refusal, LP_ERR_REFUSED,
                                 "policies may not be cleared using this method");
    }
    struct lp_catalog_parameter *parameter =
        lp_catalog_parameter(catalog, vhost->id, name->component, name->name);
    if (!parameter) {
        return administer_refuse(ret_refusal, LP_ERR_NOT_FOUND, "Parameter does not exist");
    }
    catalog_parameter_drop(catalog, parameter);
    catalog_vhost_limits_read(catalog, vhost);
    return true;
}

bool
lp_catalog_global_parameter_set(struct lp_catalog *catalog, struct lp_bytes name,
                                struct lp_bytes value, struct lp_refusal *ret_refusal)
{
    struct lp_bytebuf text = {0};
    json_t *parsed =
        administer_name_valid(name, ret_refusal) ? administer_json(value, ret_refusal) : NULL;
    if (!parsed) {
        return false;
    }
    const struct lp_catalog_parameter like = {.name = name,
                                              .value = administer_json_text(parsed, &text)};
    parameter_put(catalog, &like);
    lp_bytebuf_fini(&text);
    json_decref(parsed);
    return true;
}

bool
lp_catalog_global_parameter_clear(struct lp_catalog *catalog, struct lp_bytes name,
                                  struct lp_refusal *ret_refusal)
{
    struct lp_catalog_parameter *parameter =
        lp_catalog_parameter(catalog, 0, lp_bytes_of(NULL, 0), name);
    if (!parameter) {
        return administer_refuse(ret_refusal, LP_ERR_NOT_FOUND, "Parameter does not exist");
    }
    catalog_parameter_drop(catalog, parameter);
    return true;
}

/* ---- limits ---- */

struct names {
    const char *const *name;
    size_t count;
};

static bool
is_named(const void *context, const char *key)
{
    const struct names *names = context;
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->name[i], key) == 0) {
            return true;
        }
    }
    return false;
}

bool
administer_limits_valid(const char *what, const json_t *limits, const char *const name[2],
                        struct lp_bytebuf *why)
{
    const struct names names = {name, 2};
    size_t known = 0;
    if (!json_is_object(limits)) {
        erlang_text_format(why, "%s not a list ", what);
        erlang_text_json(why, limits);
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        known += json_object_get(limits, name[i]) != NULL;
    }
    if (known < json_object_size(limits)) {
        erlang_text_format(why, "Unrecognised terms ");
        erlang_text_pairs(why, limits, is_named, &names);
        erlang_text_format(why, " in %s", what);
    }
    /* The last first, as RabbitMQ collects them. */
    for (size_t i = 2; i-- > 0;) {
        const json_t *value = json_object_get(limits, name[i]);
        if (value && !json_is_integer(value)) {
            erlang_text_format(why, "%s%s should be a number, actually was ",
                               why->size > 0 ? "\n" : "", name[i]);
            erlang_text_json(why, value);
        }
    }
    return why->size == 0;
}

static const char *const vhost_limit_names[2] = {"max-connections", "max-queues"};

static int64_t
limit_of(const json_t *limits, const char *name)
{
    const json_t *value = json_object_get(limits, name);
    const int64_t number = value ? json_integer_value(value) : -1;
    return number < 0 ? LP_CATALOG_NO_LIMIT : number;
}

void
catalog_vhost_limits_read(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost)
{
    json_error_t error;
    const struct lp_catalog_parameter *parameter = lp_catalog_parameter(
        catalog, vhost->id, lp_bytes_of_text("vhost-limits"), lp_bytes_of_text("limits"));
    json_t *limits = parameter ? json_loadb((const char *)parameter->value.data,
                                            parameter->value.size, 0, &error)
                               : NULL;
    vhost->connections_max = limit_of(limits, vhost_limit_names[0]);
    vhost->queues_max = limit_of(limits, vhost_limit_names[1]);
    json_decref(limits);
}

bool
lp_catalog_vhost_limits_set(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                            struct lp_bytes definition, struct lp_refusal *ret_refusal)
{
    struct lp_bytebuf why = {0};
    struct lp_bytebuf text = {0};
    json_t *limits = administer_json(definition, ret_refusal);
    if (!limits) {
        return false;
    }
    const bool good = administer_limits_valid("limits", limits, vhost_limit_names, &why) ||
                      validation_failed(ret_refusal, &why);
    if (good) {
        const struct lp_catalog_parameter like = {.vhost_id = vhost->id,
                                                  .component = lp_bytes_of_text("vhost-limits"),
                                                  .name = lp_bytes_of_text("limits"),
                                                  .value = administer_json_text(limits, &text)};
        parameter_put(catalog, &like);
        catalog_vhost_limits_read(catalog, vhost);
    }
    lp_bytebuf_fini(&why);
    lp_bytebuf_fini(&text);
    json_decref(limits);
    return good;
}

bool
lp_catalog_vhost_limits_clear(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                              struct lp_refusal *ret_refusal)
{
    const struct lp_parameter_name name = {lp_bytes_of_text("vhost-limits"),
                                           lp_bytes_of_text("limits")};
    return lp_catalog_parameter_clear(catalog, vhost, &name, ret_refusal);
}
