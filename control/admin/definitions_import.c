/* SPDX-License-Identifier: Apache-2.0 */
/*
 * definitions_import.c - what a file of definitions says, made beside what is there.
 *
 * As in RabbitMQ: users and policies are changed, queues and exchanges that
 * exist are left alone, and the first mistake ends it; what was made until then
 * stays.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/definitions.h"
#include "control/topology/administer.h"

struct import {
    struct lp_catalog *catalog;
    uint32_t homes; /* queues made: they go round the shards */
    struct lp_refusal refusal;
};

typedef bool import_fn(struct import *import, const json_t *item);

__attribute__((format(printf, 2, 3))) static bool
refuse(struct import *import, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(import->refusal.text, sizeof(import->refusal.text), format, arguments);
    va_end(arguments);
    return false;
}

/* ---- members ---- */

static struct lp_bytes
text_of(const json_t *item, const char *key)
{
    const json_t *value = json_object_get(item, key);
    return json_is_string(value)
               ? lp_bytes_of(json_string_value(value), (uint32_t)json_string_length(value))
               : lp_bytes_of(NULL, 0);
}

static bool
flag_of(const json_t *item, const char *key, bool preset)
{
    const json_t *value = json_object_get(item, key);
    return json_is_boolean(value) ? json_is_true(value) : preset;
}

/* The value as JSON text; the caller frees it. */
static char *
json_of(const json_t *item, const char *key)
{
    const json_t *value = json_object_get(item, key);
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    return text ? text : strdup("null");
}

/* A list of words, or one text with commas in it. */
static struct lp_bytebuf
words_of(const json_t *value)
{
    struct lp_bytebuf words = {0};
    size_t i;
    const json_t *word;
    if (json_is_string(value)) {
        lp_bytebuf_append(&words, json_string_value(value), json_string_length(value));
    }
    json_array_foreach(value, i, word)
    {
        lp_bytebuf_append(&words, ",", words.size > 0);
        lp_bytebuf_append(&words, json_is_string(word) ? json_string_value(word) : "",
                          json_string_length(word));
    }
    return words;
}

static struct lp_bytes
bytes_of(const struct lp_bytebuf *buf)
{
    return lp_bytes_of(buf->data, (uint32_t)buf->size);
}

static struct lp_catalog_vhost *
vhost_of(struct import *import, const json_t *item)
{
    const struct lp_bytes name = text_of(item, "vhost");
    struct lp_catalog_vhost *vhost = lp_catalog_vhost(import->catalog, name);
    if (!vhost) {
        (void)refuse(import, "Please create virtual host \"%.*s\" prior to importing definitions.",
                     (int)name.size, (const char *)name.data);
    }
    return vhost;
}

/* A client's fault, as RabbitMQ names it here. */
static bool
fault_take(struct import *import, const struct lp_fault *fault)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%s", lp_fault_name(fault->code));
    for (char *at = name; *at != '\0'; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    return refuse(import, "%s: %.*s", name, (int)fault->text_bytes, fault->text);
}

/* ---- users and rights ---- */

static bool
password_take(struct import *import, const json_t *item, struct lp_bytes name, bool exists)
{
    const bool hashed = json_object_get(item, "password_hash") != NULL;
    const bool plain = json_object_get(item, "password") != NULL;
    if (hashed && plain) {
        return refuse(import, "both_password_and_password_hash_are_provided");
    }
    if (hashed) {
        const struct lp_bytes hash = text_of(item, "password_hash");
        const struct lp_bytes algorithm = text_of(item, "hashing_algorithm");
        return exists ? lp_catalog_user_hash_set(import->catalog, name, hash, algorithm,
                                                 &import->refusal)
                      : lp_catalog_user_add_hashed(import->catalog, name, hash, algorithm,
                                                   &import->refusal);
    }
    const struct lp_bytes password = text_of(item, "password");
    if (!exists) {
        return lp_catalog_user_add(import->catalog, name, password, &import->refusal);
    }
    return plain ? lp_catalog_user_password_set(import->catalog, name, password, &import->refusal)
                 : lp_catalog_user_password_clear(import->catalog, name, &import->refusal);
}

static bool
user_take(struct import *import, const json_t *item)
{
    const struct lp_bytes name = text_of(item, "name");
    const json_t *tags = json_object_get(item, "tags");
    const json_t *limits = json_object_get(item, "limits");
    if (!tags) {
        return refuse(import, "tags_not_present");
    }
    if (!password_take(import, item, name, lp_catalog_user(import->catalog, name) != NULL)) {
        return false;
    }
    struct lp_bytebuf words = words_of(tags);
    bool good = lp_catalog_user_tags_set(import->catalog, name, bytes_of(&words), &import->refusal);
    lp_bytebuf_fini(&words);
    if (good && json_object_size(limits) > 0) {
        char *text = json_of(item, "limits");
        good = lp_catalog_user_limits_set(import->catalog, name, lp_bytes_of_text(text),
                                          &import->refusal);
        free(text);
    }
    return good;
}

static bool
permission_take(struct import *import, const json_t *item)
{
    const struct lp_rights_scope scope = {.user = text_of(item, "user"),
                                          .vhost = vhost_of(import, item)};
    const struct lp_bytes pattern[LP_CATALOG_RIGHTS] = {
        text_of(item, "configure"), text_of(item, "write"), text_of(item, "read")};
    return scope.vhost &&
           lp_catalog_permissions_set(import->catalog, &scope, pattern, &import->refusal);
}

static bool
topic_permission_take(struct import *import, const json_t *item)
{
    const struct lp_rights_scope scope = {.user = text_of(item, "user"),
                                          .vhost = vhost_of(import, item),
                                          .exchange = text_of(item, "exchange")};
    const struct lp_bytes pattern[LP_CATALOG_TOPIC_RIGHTS] = {text_of(item, "write"),
                                                              text_of(item, "read")};
    return scope.vhost &&
           lp_catalog_topic_permissions_set(import->catalog, &scope, pattern, &import->refusal);
}

/* ---- virtual hosts ---- */

static bool
vhost_take(struct import *import, const json_t *item)
{
    const struct lp_bytes name = text_of(item, "name");
    const json_t *metadata = json_object_get(item, "metadata");
    const json_t *tags = json_object_get(item, "tags");
    const json_t *tracing = json_object_get(item, "tracing");
    const bool described = json_object_get(item, "description") != NULL;
    struct lp_bytebuf words = words_of(tags ? tags : json_object_get(metadata, "tags"));
    struct lp_vhost_metadata like = {
        .has_description = true,
        .has_tags = true,
        .description = text_of(described ? item : metadata, "description"),
        .tags = bytes_of(&words),
        .default_queue_type = text_of(metadata, "default_queue_type"),
    };
    like.has_default_queue_type = like.default_queue_type.size > 0 &&
                                  !lp_bytes_equal_text(like.default_queue_type, "undefined");
    struct lp_catalog_vhost *vhost = lp_catalog_vhost(import->catalog, name);
    const bool good =
        vhost ? lp_catalog_vhost_metadata_set(import->catalog, vhost, &like, &import->refusal)
              : lp_catalog_vhost_create(import->catalog, name, &like, &import->refusal);
    lp_bytebuf_fini(&words);
    if (good && json_is_boolean(tracing)) {
        lp_catalog_vhost_tracing_set(import->catalog, lp_catalog_vhost(import->catalog, name),
                                     json_is_true(tracing));
    }
    return good;
}

/* ---- policies and parameters ---- */

/* `where` holds pattern, definition, priority and apply-to. */
static bool
policy_put(struct import *import, const json_t *item, const json_t *where, bool operator_policy)
{
    char priority[32];
    struct lp_catalog_vhost *vhost = vhost_of(import, item);
    const struct lp_bytes name = text_of(item, "name");
    const struct lp_bytes apply_to = text_of(where, "apply-to");
    if (!vhost) {
        return false;
    }
    char *definition = json_of(where, "definition");
    (void)snprintf(priority, sizeof(priority), "%lld",
                   (long long)json_integer_value(json_object_get(where, "priority")));
    const struct lp_policy_set policy = {
        .operator_policy = operator_policy,
        .name = name,
        .pattern = text_of(where, "pattern"),
        .definition = lp_bytes_of_text(definition),
        .apply_to = apply_to.size > 0 ? apply_to : lp_bytes_of_text("all"),
        .priority = lp_bytes_of_text(priority),
    };
    bool good = lp_catalog_policy_set(import->catalog, vhost, &policy, &import->refusal);
    free(definition);
    if (!good) {
        const size_t used = strlen(import->refusal.text);
        (void)snprintf(import->refusal.text + used, sizeof(import->refusal.text) - used,
                       " (%.*s/%.*s)", (int)vhost->name.size, (const char *)vhost->name.data,
                       (int)name.size, (const char *)name.data);
    }
    return good;
}

static bool
policy_take(struct import *import, const json_t *item)
{
    return policy_put(import, item, item, false);
}

static bool
parameter_take(struct import *import, const json_t *item)
{
    const struct lp_parameter_name name = {text_of(item, "component"), text_of(item, "name")};
    if (lp_bytes_equal_text(name.component, "operator_policy")) {
        return policy_put(import, item, json_object_get(item, "value"), true);
    }
    struct lp_catalog_vhost *vhost = vhost_of(import, item);
    if (!vhost) {
        return false;
    }
    char *value = json_of(item, "value");
    const bool good = lp_catalog_parameter_set(import->catalog, vhost, &name,
                                               lp_bytes_of_text(value), &import->refusal);
    free(value);
    return good;
}

static bool
global_parameter_take(struct import *import, const json_t *item)
{
    char *value = json_of(item, "value");
    const bool good = lp_catalog_global_parameter_set(import->catalog, text_of(item, "name"),
                                                      lp_bytes_of_text(value), &import->refusal);
    free(value);
    return good;
}

/* ---- topology ---- */

static struct lp_catalog_actor
actor_of(struct lp_catalog_vhost *vhost)
{
    return (struct lp_catalog_actor){
        .user = lp_bytes_of_text("rmq-cli"), .vhost = vhost, .administrator = true};
}

/* What RabbitMQ's files may hold and its import skips. */
static bool
is_reserved(struct lp_bytes name)
{
    return name.size >= 4 && memcmp(name.data, "amq.", 4) == 0;
}

static bool
arguments_take(struct import *import, const json_t *item, struct lp_bytebuf *ret_table)
{
    return admin_table_make(json_object_get(item, "arguments"), ret_table) ||
           refuse(import, "arguments cannot be a table");
}

static bool
exchange_take(struct import *import, const json_t *item)
{
    struct lp_fault fault;
    struct lp_bytebuf table = {0};
    struct lp_catalog_exchange *exchange;
    const struct lp_bytes name = text_of(item, "name");
    struct lp_catalog_vhost *vhost = vhost_of(import, item);
    if (!vhost) {
        return false;
    }
    if (name.size == 0 || is_reserved(name) || lp_catalog_exchange(import->catalog, vhost, name)) {
        return true;
    }
    bool good = arguments_take(import, item, &table);
    if (good) {
        const struct lp_catalog_actor actor = actor_of(vhost);
        const struct lp_exchange_declare declare = {
            .name = name,
            .kind_name = text_of(item, "type"),
            .arguments = bytes_of(&table),
            .flags = (uint8_t)((flag_of(item, "durable", false) ? LP_OBJECT_DURABLE : 0) |
                               (flag_of(item, "auto_delete", false) ? LP_OBJECT_AUTO_DELETE : 0) |
                               (flag_of(item, "internal", false) ? LP_OBJECT_INTERNAL : 0)),
        };
        good = lp_catalog_exchange_declare(import->catalog, &actor, &declare, &exchange, &fault) ||
               fault_take(import, &fault);
    }
    lp_bytebuf_fini(&table);
    return good;
}

static bool
queue_take(struct import *import, const json_t *item)
{
    struct lp_fault fault;
    struct lp_bytebuf table = {0};
    struct lp_queue_declared declared;
    const struct lp_bytes name = text_of(item, "name");
    struct lp_catalog_vhost *vhost = vhost_of(import, item);
    if (!vhost) {
        return false;
    }
    if (is_reserved(name) || lp_catalog_queue(import->catalog, vhost, name)) {
        return true;
    }
    bool good = arguments_take(import, item, &table);
    if (good) {
        const struct lp_catalog_actor actor = actor_of(vhost);
        const struct lp_queue_declare declare = {
            .name = name,
            .arguments = bytes_of(&table),
            .flags = (uint8_t)((flag_of(item, "durable", true) ? LP_OBJECT_DURABLE : 0) |
                               (flag_of(item, "auto_delete", false) ? LP_OBJECT_AUTO_DELETE : 0)),
            .home_shard = (uint16_t)(import->homes++ % import->catalog->shard_count),
        };
        good = lp_catalog_queue_declare(import->catalog, &actor, &declare, &declared, &fault) ||
               fault_take(import, &fault);
    }
    lp_bytebuf_fini(&table);
    return good;
}

static bool
binding_take(struct import *import, const json_t *item)
{
    struct lp_fault fault;
    struct lp_bytebuf table = {0};
    struct lp_catalog_vhost *vhost = vhost_of(import, item);
    const bool to_exchange = lp_bytes_equal_text(text_of(item, "destination_type"), "exchange");
    bool good = vhost && arguments_take(import, item, &table);
    if (good) {
        const struct lp_catalog_actor actor = actor_of(vhost);
        const struct lp_bind bind = {
            .source = text_of(item, "source"),
            .destination = text_of(item, "destination"),
            .key = text_of(item, "routing_key"),
            .arguments = bytes_of(&table),
            .destination_resource = to_exchange ? LP_RESOURCE_EXCHANGE : LP_RESOURCE_QUEUE,
        };
        good =
            lp_catalog_bind(import->catalog, &actor, &bind, &fault) || fault_take(import, &fault);
    }
    lp_bytebuf_fini(&table);
    return good;
}

/* ---- all of it ---- */

/* A file of one virtual host's definitions cannot be everybody's. */
static bool
is_whole(const json_t *definitions)
{
    static const char *const categories[] = {"queues", "exchanges"};
    size_t i;
    const json_t *item;
    for (size_t n = 0; n < LP_COUNT_OF(categories); n++) {
        json_array_foreach(json_object_get(definitions, categories[n]), i, item)
        {
            if (!json_is_string(json_object_get(item, "vhost"))) {
                return false;
            }
        }
    }
    return true;
}

static bool
category_take(struct import *import, const json_t *list, import_fn *take)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (json_is_object(item) && !take(import, item)) {
            return false;
        }
    }
    return true;
}

static bool
definitions_take(struct import *import, const json_t *definitions)
{
    /* What comes later needs what came before. */
    static const struct {
        const char *category;
        import_fn *take;
    } steps[] = {
        {"users", user_take},
        {"vhosts", vhost_take},
        {"permissions", permission_take},
        {"topic_permissions", topic_permission_take},
        {"exchanges", exchange_take},
        {"global_parameters", global_parameter_take},
        {"policies", policy_take},
        {"parameters", parameter_take},
        {"queues", queue_take},
        {"bindings", binding_take},
    };
    if (!is_whole(definitions)) {
        return refuse(import, "invalid_definitions_file");
    }
    for (size_t i = 0; i < LP_COUNT_OF(steps); i++) {
        const json_t *list = json_object_get(definitions, steps[i].category);
        if (!category_take(import, list, steps[i].take)) {
            return false;
        }
    }
    return true;
}

/* The argument is the file's content: the tool has read it. */
void
admin_import_definitions(struct admin_task *task)
{
    struct import import = {.catalog = task->control->catalog};
    const char *text = admin_arg(task, 0);
    json_t *definitions = text ? json_loads(text, 0, NULL) : NULL;
    if (!json_is_object(definitions)) {
        admin_fail(task, ADMIN_EXIT_DATA, "definitions are an object in JSON");
    } else if (definitions_take(&import, definitions)) {
        admin_done_when_applied(task);
    } else {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "%s", import.refusal.text);
    }
    json_decref(definitions);
}
