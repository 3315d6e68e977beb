/* SPDX-License-Identifier: Apache-2.0 */
#include "control/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/auth/password.h"
#include "control/base/heap.h"

#define DEFAULTS_MAX 64u

struct settings {
    struct lp_control_settings control;
    const struct lp_config *config;
    const char *loopback_users[LP_LOOPBACK_USERS_MAX];
    struct lp_bytebuf tags;
    char cluster_name[256];
    char node_name[256];
    struct lp_catalog_default_user users[DEFAULTS_MAX];
    struct lp_catalog_default_policy policies[DEFAULTS_MAX];
    struct lp_catalog_default_limits limits[DEFAULTS_MAX];
    char *definitions[2 * DEFAULTS_MAX]; /* of policies and limits */
    size_t definition_count;
};

static void
loopback_user_add(void *context, const char *name, const char *value)
{
    struct settings *settings = context;
    if (strcmp(value, "true") == 0 &&
        settings->control.loopback_user_count < LP_LOOPBACK_USERS_MAX) {
        settings->loopback_users[settings->control.loopback_user_count++] = name;
    }
}

static void
tag_add(void *context, const char *name, const char *value)
{
    struct settings *settings = context;
    if (strcmp(value, "true") == 0) {
        if (settings->tags.size > 0) {
            lp_bytebuf_append(&settings->tags, ",", 1);
        }
        lp_bytebuf_append(&settings->tags, name, strlen(name));
    }
}

/* ---- what new virtual hosts get ---- */

static void
user_add(void *context, const char *name, const char *value)
{
    struct settings *settings = context;
    const struct lp_config *config = settings->config;
    struct lp_catalog_rules *rules = &settings->control.rules;
    (void)value;
    if (rules->default_user_count == DEFAULTS_MAX) {
        return;
    }
    settings->users[rules->default_user_count++] = (struct lp_catalog_default_user){
        .name = name,
        .vhost_pattern = lp_config_text_named(config, "default_users.$name.vhost_pattern", name),
        .password = lp_config_text_named(config, "default_users.$name.password", name),
        .tags = lp_config_text_named(config, "default_users.$name.tags", name),
        .pattern = {lp_config_text_named(config, "default_users.$name.configure", name),
                    lp_config_text_named(config, "default_users.$name.write", name),
                    lp_config_text_named(config, "default_users.$name.read", name)},
    };
}

struct number {
    const char *pattern;
    const char *key; /* in the definition */
};

/* {"key":number,...} of the numbers that were given; NULL: none. */
static const char *
definition_make(struct settings *settings, const struct number *numbers, size_t count,
                const char *name)
{
    struct lp_bytebuf text = {0};
    for (size_t i = 0; i < count; i++) {
        int64_t number;
        char part[128];
        if (lp_config_integer_named(settings->config, numbers[i].pattern, name, &number)) {
            const int bytes =
                snprintf(part, sizeof(part), "%s\"%s\":%lld", text.size > 0 ? "," : "{",
                         numbers[i].key, (long long)number);
            lp_bytebuf_append(&text, part, (size_t)bytes);
        }
    }
    if (text.size == 0) {
        return NULL;
    }
    lp_bytebuf_append(&text, "}", 2); /* with its NUL */
    settings->definitions[settings->definition_count++] = (char *)text.data;
    return (const char *)text.data;
}

static void
policy_add(void *context, const char *name, const char *value)
{
    static const struct number numbers[] = {
        {"default_policies.operator.$id.expires", "expires"},
        {"default_policies.operator.$id.message_ttl", "message-ttl"},
        {"default_policies.operator.$id.max_length", "max-length"},
        {"default_policies.operator.$id.max_length_bytes", "max-length-bytes"},
        {"default_policies.operator.$id.max_in_memory_bytes", "max-in-memory-bytes"},
        {"default_policies.operator.$id.max_in_memory_length", "max-in-memory-length"},
        {"default_policies.operator.$id.delivery_limit", "delivery-limit"},
        {"default_policies.operator.$id.classic_queues.queue_version", "queue-version"},
    };
    struct settings *settings = context;
    struct lp_catalog_rules *rules = &settings->control.rules;
    (void)value;
    const char *definition = rules->default_policy_count < DEFAULTS_MAX
                                 ? definition_make(settings, numbers, LP_COUNT_OF(numbers), name)
                                 : NULL;
    if (definition) {
        settings->policies[rules->default_policy_count++] = (struct lp_catalog_default_policy){
            .name = name,
            .vhost_pattern = lp_config_text_named(
                settings->config, "default_policies.operator.$id.vhost_pattern", name),
            .queue_pattern = lp_config_text_named(
                settings->config, "default_policies.operator.$id.queue_pattern", name),
            .definition = definition};
    }
}

static void
limits_add(void *context, const char *name, const char *value)
{
    static const struct number numbers[] = {
        {"default_limits.vhosts.$id.max_connections", "max-connections"},
        {"default_limits.vhosts.$id.max_queues", "max-queues"},
    };
    struct settings *settings = context;
    struct lp_catalog_rules *rules = &settings->control.rules;
    (void)value;
    const char *definition = rules->default_limits_count < DEFAULTS_MAX
                                 ? definition_make(settings, numbers, LP_COUNT_OF(numbers), name)
                                 : NULL;
    if (definition) {
        settings->limits[rules->default_limits_count++] = (struct lp_catalog_default_limits){
            .vhost_pattern =
                lp_config_text_named(settings->config, "default_limits.vhosts.$id.pattern", name),
            .definition = definition};
    }
}

/* ---- rules ---- */

static uint64_t
limit_of(const struct lp_config *config, const char *key)
{
    const int64_t limit = lp_config_integer(config, key);
    return limit == INT64_MAX ? UINT64_MAX : (uint64_t)limit;
}

static uint64_t
seconds_of(const struct lp_config *config, const char *key)
{
    return (uint64_t)lp_config_integer(config, key) * 1000000000u;
}

static void
disk_limit_make(struct settings *settings)
{
    const struct lp_config *config = settings->config;
    const bool absolute = lp_config_given(config, "disk_free_limit.absolute");
    settings->control.disk_limit_bytes =
        (uint64_t)lp_config_integer(config, "disk_free_limit.absolute");
    settings->control.disk_limit_millionths =
        absolute ? 0 : (uint32_t)lp_config_integer(config, "disk_free_limit.relative");
}

static void
rules_make(struct settings *settings)
{
    const struct lp_config *config = settings->config;
    struct lp_catalog_rules *rules = &settings->control.rules;
    enum lp_password_algorithm algorithm;
    *rules = lp_catalog_rules_default;
    rules->consumer_timeout_ms = (uint64_t)lp_config_integer(config, "consumer_timeout");
    rules->default_queue_kind = strstr(lp_config_text(config, "default_queue_type"), "quorum")
                                    ? LP_QUEUE_QUORUM
                                    : LP_QUEUE_CLASSIC;
    rules->vhosts_max = limit_of(config, "vhost_max");
    rules->queues_max = limit_of(config, "cluster_queue_limit");
    rules->exchanges_max = limit_of(config, "cluster_exchange_limit");
    const bool known = lp_password_algorithm_find(
        lp_bytes_of_text(lp_config_text(config, "password_hashing_module")), &algorithm);
    LP_ASSERT(known); /* the configuration takes no other */
    rules->password_algorithm = (uint8_t)algorithm;
    const char *validator = lp_config_text(config, "credential_validator.validation_backend");
    if (strcmp(validator, "rabbit_credential_validator_min_password_length") == 0) {
        rules->password_bytes_min =
            (uint32_t)lp_config_integer(config, "credential_validator.min_length");
    } else if (strcmp(validator, "rabbit_credential_validator_password_regexp") == 0) {
        rules->password_pattern = lp_config_text(config, "credential_validator.regexp");
    }
    lp_config_names(config, "default_users.$name.", user_add, settings);
    lp_config_names(config, "default_policies.operator.$id.", policy_add, settings);
    lp_config_names(config, "default_limits.vhosts.$id.", limits_add, settings);
    rules->default_users = settings->users;
    rules->default_policies = settings->policies;
    rules->default_limits = settings->limits;
}

struct settings *
settings_open(const struct lp_config *config, const struct settings_given *given)
{
    struct settings *settings = lp_heap_alloc(sizeof(*settings));
    char host[128] = "localhost";
    (void)gethostname(host, sizeof(host) - 1); /* keeps "localhost" if it fails */
    const char *name = lp_config_text(config, "cluster_name");
    const char *anonymous = lp_config_text(config, "anonymous_login_user");
    settings->config = config;
    (void)snprintf(settings->cluster_name, sizeof(settings->cluster_name), "%s%s",
                   name[0] ? name : "lepus@", name[0] ? "" : host);
    (void)snprintf(settings->node_name, sizeof(settings->node_name), "lepus@%s", host);
    lp_config_each(config, "loopback_users.$user", loopback_user_add, settings);
    lp_config_each(config, "default_user_tags.$tag", tag_add, settings);
    lp_bytebuf_append(&settings->tags, "", 1); /* its NUL */
    const size_t loopback_user_count = settings->control.loopback_user_count;
    settings->control = (struct lp_control_settings){
        .default_user = lp_config_text(config, "default_user"),
        .default_password = lp_config_text(config, "default_pass"),
        .default_vhost = lp_config_text(config, "default_vhost"),
        .default_permissions = {lp_config_text(config, "default_permissions.configure"),
                                lp_config_text(config, "default_permissions.write"),
                                lp_config_text(config, "default_permissions.read")},
        .default_tags = (const char *)settings->tags.data,
        .loopback_users = settings->loopback_users,
        .anonymous_user = strcmp(anonymous, "none") != 0 ? anonymous : NULL,
        .anonymous_password = lp_config_text(config, "anonymous_login_pass"),
        .loopback_user_count = loopback_user_count,
        .cluster_name = settings->cluster_name,
        .node_name = settings->node_name,
        .data_folder = given->data,
        .data_id = given->data_id ? given->data_id : "",
        .config_file = given->config_path ? given->config_path : "",
        .config = config,
        .connections_max = limit_of(config, "connection_max"),
        .channels_max = limit_of(config, "channel_max_per_node"),
        .login = {(uint32_t)lp_config_integer(config, "lepus.login.failures"),
                  seconds_of(config, "lepus.login.window"),
                  seconds_of(config, "lepus.login.penalty")},
        .login_loopback = lp_config_bool(config, "lepus.login.loopback"),
        .process_id = (uint32_t)getpid(),
    };
    disk_limit_make(settings);
    rules_make(settings);
    return settings;
}

const struct lp_control_settings *
settings_of(const struct settings *settings)
{
    return &settings->control;
}

void
settings_close(struct settings **settings)
{
    struct settings *self = *settings;
    *settings = NULL;
    if (self) {
        for (size_t i = 0; i < self->definition_count; i++) {
            free(self->definitions[i]);
        }
        lp_bytebuf_fini(&self->tags);
        free(self);
    }
}
