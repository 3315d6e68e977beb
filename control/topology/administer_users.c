/* SPDX-License-Identifier: Apache-2.0 */
/* administer_users.c - users, their rights and limits; virtual hosts. */
#include <stdlib.h>

#include "control/auth/password.h"
#include "control/auth/permission.h"
#include "control/topology/administer_internal.h"

/* ---- users ---- */

static struct lp_catalog_user *
user_find(const struct lp_catalog *catalog, struct lp_bytes name, struct lp_refusal *refusal)
{
    struct lp_catalog_user *user = lp_catalog_user(catalog, name);
    if (!user) {
        (void)administer_refuse(refusal, LP_ERR_NOT_FOUND, "User \"%.*s\" does not exist",
                                (int)name.size, (const char *)name.data);
    }
    return user;
}

static bool
user_is_new(const struct lp_catalog *catalog, struct lp_bytes name, struct lp_refusal *refusal)
{
    if (name.size == 0) {
        return administer_refuse(refusal, LP_ERR_REFUSED, "user cannot be empty");
    }
    if (!administer_name_valid(name, refusal)) {
        return false;
    }
    return !lp_catalog_user(catalog, name) ||
           administer_refuse(refusal, LP_ERR_EXISTS, "User \"%.*s\" already exists", (int)name.size,
                             (const char *)name.data);
}

/* The password's hash into `like`; an empty password stands for none. */
static bool
password_take(struct lp_catalog *catalog, struct lp_bytes password, struct lp_catalog_user *like,
              struct lp_password_hash *room, struct lp_refusal *refusal)
{
    char why[LP_PASSWORD_WHY_BYTES];
    const enum lp_password_algorithm algorithm =
        (enum lp_password_algorithm)catalog->rules.password_algorithm;
    if (!lp_password_permitted(&catalog->rules, password, why)) {
        return administer_refuse(refusal, LP_ERR_REFUSED, "%s", why);
    }
    like->algorithm = (uint8_t)algorithm;
    like->hash = lp_bytes_of(NULL, 0);
    if (password.size > 0) {
        lp_password_hash(&catalog->entropy, algorithm, password, room);
        like->hash = lp_bytes_of(room->data, room->bytes);
    }
    return true;
}

bool
lp_catalog_user_add(struct lp_catalog *catalog, struct lp_bytes name, struct lp_bytes password,
                    struct lp_refusal *ret_refusal)
{
    struct lp_catalog_user like = {.name = name};
    struct lp_password_hash room;
    if (!user_is_new(catalog, name, ret_refusal) ||
        !password_take(catalog, password, &like, &room, ret_refusal)) {
        return false;
    }
    lp_catalog_user_put(catalog, &like);
    return true;
}

static bool
hash_take(const struct lp_catalog *catalog, struct lp_bytes hash, struct lp_bytes algorithm,
          struct lp_catalog_user *like, struct lp_refusal *refusal)
{
    enum lp_password_algorithm found =
        (enum lp_password_algorithm)catalog->rules.password_algorithm;
    if (algorithm.size > 0 && !lp_password_algorithm_find(algorithm, &found)) {
        return administer_refuse(refusal, LP_ERR_REFUSED, "unknown hashing algorithm %.*s",
                                 (int)algorithm.size, (const char *)algorithm.data);
    }
    if (hash.size > 0 && !lp_password_hash_is_good(hash)) {
        return administer_refuse(refusal, LP_ERR_REFUSED,
                                 "Could not Base64 decode provided password hash");
    }
    like->hash = hash;
    like->algorithm = (uint8_t)found;
    return true;
}

bool
lp_catalog_user_add_hashed(struct lp_catalog *catalog, struct lp_bytes name, struct lp_bytes hash,
                           struct lp_bytes algorithm, struct lp_refusal *ret_refusal)
{
    struct lp_catalog_user like = {.name = name};
    if (!user_is_new(catalog, name, ret_refusal) ||
        !hash_take(catalog, hash, algorithm, &like, ret_refusal)) {
        return false;
    }
    lp_catalog_user_put(catalog, &like);
    return true;
}

bool
lp_catalog_user_hash_set(struct lp_catalog *catalog, struct lp_bytes name, struct lp_bytes hash,
                         struct lp_bytes algorithm, struct lp_refusal *ret_refusal)
{
    const struct lp_catalog_user *user = user_find(catalog, name, ret_refusal);
    if (!user) {
        return false;
    }
    struct lp_catalog_user like = *user;
    if (!hash_take(catalog, hash, algorithm, &like, ret_refusal)) {
        return false;
    }
    lp_catalog_user_put(catalog, &like);
    return true;
}

bool
lp_catalog_user_password_set(struct lp_catalog *catalog, struct lp_bytes name,
                             struct lp_bytes password, struct lp_refusal *ret_refusal)
{
    const struct lp_catalog_user *user = user_find(catalog, name, ret_refusal);
    struct lp_password_hash room;
    if (!user) {
        return false;
    }
    struct lp_catalog_user like = *user;
    if (!password_take(catalog, password, &like, &room, ret_refusal)) {
        return false;
    }
    lp_catalog_user_put(catalog, &like);
    return true;
}

bool
lp_catalog_user_password_clear(struct lp_catalog *catalog, struct lp_bytes name,
                               struct lp_refusal *ret_refusal)
{
    const struct lp_catalog_user *user = user_find(catalog, name, ret_refusal);
    if (!user) {
        return false;
    }
    struct lp_catalog_user like = *user;
    like.hash = lp_bytes_of(NULL, 0);
    lp_catalog_user_put(catalog, &like);
    return true;
}

bool
lp_catalog_user_tags_set(struct lp_catalog *catalog, struct lp_bytes name, struct lp_bytes tags,
                         struct lp_refusal *ret_refusal)
{
    const struct lp_catalog_user *user = user_find(catalog, name, ret_refusal);
    if (!user) {
        return false;
    }
    struct lp_catalog_user like = *user;
    like.tags = tags;
    lp_catalog_user_put(catalog, &like);
    return true;
}

bool
lp_catalog_user_has_tag(const struct lp_catalog_user *user, const char *tag)
{
    uint32_t start = 0;
    for (uint32_t i = 0; i <= user->tags.size; i++) {
        if (i < user->tags.size && user->tags.data[i] != ',') {
            continue;
        }
        if (lp_bytes_equal_text(lp_bytes_of(user->tags.data + start, i - start), tag)) {
            return true;
        }
        start = i + 1;
    }
    return false;
}

/* ---- limits of users ---- */

static const char *const user_limit_names[2] = {"max-connections", "max-channels"};

static void
limit_take(const json_t *limits, const char *name, bool *has, int64_t *limit)
{
    const json_t *value = json_object_get(limits, name);
    if (value) {
        *has = true;
        *limit = json_integer_value(value);
    }
}

bool
lp_catalog_user_limits_set(struct lp_catalog *catalog, struct lp_bytes name,
                           struct lp_bytes definition, struct lp_refusal *ret_refusal)
{
    struct lp_bytebuf why = {0};
    const struct lp_catalog_user *user = user_find(catalog, name, ret_refusal);
    json_t *limits = user ? administer_json(definition, ret_refusal) : NULL;
    if (!limits) {
        return false;
    }
    bool good = administer_limits_valid("user-limits", limits, user_limit_names, &why);
    if (good) {
        struct lp_catalog_user like = *user;
        limit_take(limits, user_limit_names[0], &like.has_connections_max, &like.connections_max);
        limit_take(limits, user_limit_names[1], &like.has_channels_max, &like.channels_max);
        lp_catalog_user_put(catalog, &like);
    } else {
        good = administer_refuse(ret_refusal, LP_ERR_REFUSED, "%.*s", (int)why.size,
                                 (const char *)why.data);
    }
    lp_bytebuf_fini(&why);
    json_decref(limits);
    return good;
}

bool
lp_catalog_user_limits_clear(struct lp_catalog *catalog, struct lp_bytes name,
                             struct lp_bytes limit, struct lp_refusal *ret_refusal)
{
    const struct lp_catalog_user *user = user_find(catalog, name, ret_refusal);
    if (!user) {
        return false;
    }
    struct lp_catalog_user like = *user;
    const bool every = lp_bytes_equal_text(limit, "all");
    like.has_connections_max =
        like.has_connections_max && !every && !lp_bytes_equal_text(limit, user_limit_names[0]);
    like.has_channels_max =
        like.has_channels_max && !every && !lp_bytes_equal_text(limit, user_limit_names[1]);
    lp_catalog_user_put(catalog, &like);
    return true;
}

/* ---- rights ---- */

static bool
patterns_valid(const struct lp_bytes *pattern, size_t count, struct lp_refusal *refusal)
{
    char why[LP_PATTERN_WHY_BYTES];
    for (size_t i = 0; i < count; i++) {
        if (!lp_permission_pattern_is_good(pattern[i], why, sizeof(why))) {
            return administer_refuse(refusal, LP_ERR_REFUSED,
                                     "Invalid regular expression '%.*s': %s", (int)pattern[i].size,
                                     (const char *)pattern[i].data, why);
        }
    }
    return true;
}

bool
lp_catalog_permissions_set(struct lp_catalog *catalog, const struct lp_rights_scope *scope,
                           const struct lp_bytes pattern[LP_CATALOG_RIGHTS],
                           struct lp_refusal *ret_refusal)
{
    struct lp_catalog_user *user = user_find(catalog, scope->user, ret_refusal);
    if (!user || !patterns_valid(pattern, LP_CATALOG_RIGHTS, ret_refusal)) {
        return false;
    }
    lp_catalog_permission_put(catalog, user, scope->vhost, pattern);
    return true;
}

bool
lp_catalog_topic_permissions_set(struct lp_catalog *catalog, const struct lp_rights_scope *scope,
                                 const struct lp_bytes pattern[LP_CATALOG_TOPIC_RIGHTS],
                                 struct lp_refusal *ret_refusal)
{
    struct lp_catalog_topic_permission like = {.user = user_find(catalog, scope->user, ret_refusal),
                                               .vhost_id = scope->vhost->id,
                                               .exchange = scope->exchange};
    if (!like.user || !administer_name_valid(scope->exchange, ret_refusal) ||
        !patterns_valid(pattern, LP_CATALOG_TOPIC_RIGHTS, ret_refusal)) {
        return false;
    }
    for (size_t i = 0; i < LP_CATALOG_TOPIC_RIGHTS; i++) {
        like.pattern[i] = pattern[i];
    }
    struct lp_catalog_topic_permission *old =
        lp_catalog_topic_permission(like.user, like.vhost_id, like.exchange);
    catalog_topic_permission_put(catalog, catalog_topic_permission_insert(&like));
    if (old) {
        catalog_topic_permission_remove(old);
    }
    return true;
}

bool
lp_catalog_topic_permissions_clear(struct lp_catalog *catalog, const struct lp_rights_scope *scope,
                                   bool every, struct lp_refusal *ret_refusal)
{
    struct lp_catalog_user *user = user_find(catalog, scope->user, ret_refusal);
    if (!user) {
        return false;
    }
    LP_CHAIN_EACH(link, &user->topic_permissions)
    {
        struct lp_catalog_topic_permission *permission =
            LP_CONTAINER_OF(link, struct lp_catalog_topic_permission, in_user);
        if (permission->vhost_id == scope->vhost->id &&
            (every || lp_bytes_equal(permission->exchange, scope->exchange))) {
            catalog_topic_permission_drop(catalog, permission);
        }
    }
    return true;
}

/* ---- virtual hosts ---- */

static bool
metadata_take(const struct lp_vhost_metadata *metadata, struct lp_catalog_vhost *vhost,
              struct lp_refusal *refusal)
{
    enum lp_queue_kind kind = (enum lp_queue_kind)vhost->default_kind;
    if (metadata->has_default_queue_type) {
        if (!lp_queue_kind_find(metadata->default_queue_type, &kind)) {
            return administer_refuse(refusal, LP_ERR_REFUSED, "Unsupported default queue type");
        }
        if (!catalog_queue_kind_is_there(kind)) {
            return administer_refuse(refusal, LP_ERR_REFUSED,
                                     "queue type %s is not implemented yet",
                                     lp_queue_kind_name((uint8_t)kind));
        }
    }
    vhost->has_default_kind = vhost->has_default_kind || metadata->has_default_queue_type;
    vhost->default_kind = (uint8_t)kind;
    catalog_vhost_texts_set(vhost,
                            metadata->has_description ? metadata->description : vhost->description,
                            metadata->has_tags ? metadata->tags : vhost->tags);
    return true;
}

bool
lp_catalog_vhost_create(struct lp_catalog *catalog, struct lp_bytes name,
                        const struct lp_vhost_metadata *metadata, struct lp_refusal *ret_refusal)
{
    struct lp_catalog_vhost probe = {0};
    if (name.size == 0 || name.size > UINT8_MAX) {
        return administer_refuse(ret_refusal, LP_ERR_REFUSED,
                                 "a virtual host's name has 1 to 255 bytes");
    }
    if (lp_catalog_vhost(catalog, name)) {
        return administer_refuse(ret_refusal, LP_ERR_EXISTS, "Virtual host \"%.*s\" already exists",
                                 (int)name.size, (const char *)name.data);
    }
    if (catalog->vhosts_by_id.count >= catalog->rules.vhosts_max) {
        return administer_refuse(ret_refusal, LP_ERR_REFUSED,
                                 "cannot create vhost '%.*s': vhost limit of %llu is reached",
                                 (int)name.size, (const char *)name.data,
                                 (unsigned long long)catalog->rules.vhosts_max);
    }
    const bool good = metadata_take(metadata, &probe, ret_refusal);
    free(probe.texts);
    if (!good) {
        return false;
    }
    const enum lp_err err = lp_catalog_vhost_add(catalog, name);
    LP_ASSERT(!err);
    return lp_catalog_vhost_metadata_set(catalog, lp_catalog_vhost(catalog, name), metadata,
                                         ret_refusal);
}

bool
lp_catalog_vhost_metadata_set(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                              const struct lp_vhost_metadata *metadata,
                              struct lp_refusal *ret_refusal)
{
    if (!metadata_take(metadata, vhost, ret_refusal)) {
        return false;
    }
    catalog_vhost_put(catalog, vhost);
    return true;
}

void
lp_catalog_vhost_tracing_set(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                             bool tracing)
{
    if (vhost->tracing != tracing) {
        vhost->tracing = tracing;
        catalog_tracing_put(catalog, vhost);
    }
}
