/* SPDX-License-Identifier: Apache-2.0 */
/*
 * administer.h - what administrators change in the catalog: policies,
 * parameters, limits, users, virtual hosts.
 *
 * Each change is checked as RabbitMQ checks it.  A refusal is RabbitMQ's own
 * text, without the "Error:" that its tools put before it, and a reason from
 * which a tool can choose an exit code.  A change takes effect with the turn's
 * commit (catalog.h), and whatever follows from it (queues and exchanges that
 * a policy matches) is part of the same turn.
 *
 *   Memory    texts are borrowed for the call; lists are walked through the chains of catalog.h
 *   Runs on   control, one thread; no clock, no system calls
 *   Limits    names are at most 255 bytes
 */
#pragma once

#include <lepus/err.h>

#include "control/topology/catalog.h"

#define LP_REFUSAL_BYTES 2048
/*
 * LP_ERR_NOT_FOUND  it does not exist
 * LP_ERR_EXISTS     it exists already
 * LP_ERR_REFUSED    the value is not valid, or a limit is reached
 */
struct lp_refusal {
    enum lp_err err;
    char text[LP_REFUSAL_BYTES];
};

/* ---- policies ---- */

struct lp_policy_set {
    bool operator_policy;
    struct lp_bytes name, pattern;
    struct lp_bytes definition; /* a JSON object */
    struct lp_bytes apply_to;   /* "all", "queues", ... */
    struct lp_bytes priority;   /* digits, perhaps with a sign */
};
LP_MUST_CHECK bool lp_catalog_policy_set(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                                         const struct lp_policy_set *policy,
                                         struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_policy_clear(struct lp_catalog *catalog,
                                           struct lp_catalog_vhost *vhost, bool operator_policy,
                                           struct lp_bytes name, struct lp_refusal *ret_refusal);

/* ---- parameters; `value` is a JSON text ---- */

struct lp_parameter_name {
    struct lp_bytes component, name;
};
/* "vhost-limits" is a component as well; policies may not be set this way. */
LP_MUST_CHECK bool lp_catalog_parameter_set(struct lp_catalog *catalog,
                                            struct lp_catalog_vhost *vhost,
                                            const struct lp_parameter_name *name,
                                            struct lp_bytes value, struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_parameter_clear(struct lp_catalog *catalog,
                                              struct lp_catalog_vhost *vhost,
                                              const struct lp_parameter_name *name,
                                              struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_global_parameter_set(struct lp_catalog *catalog, struct lp_bytes name,
                                                   struct lp_bytes value,
                                                   struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_global_parameter_clear(struct lp_catalog *catalog,
                                                     struct lp_bytes name,
                                                     struct lp_refusal *ret_refusal);

/* ---- limits; `definition` is a JSON object ---- */

/* {"max-connections": N, "max-queues": N}; a negative number is no limit. */
LP_MUST_CHECK bool lp_catalog_vhost_limits_set(struct lp_catalog *catalog,
                                               struct lp_catalog_vhost *vhost,
                                               struct lp_bytes definition,
                                               struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_vhost_limits_clear(struct lp_catalog *catalog,
                                                 struct lp_catalog_vhost *vhost,
                                                 struct lp_refusal *ret_refusal);
/* {"max-connections": N, "max-channels": N}; what is not named stays as it is. */
LP_MUST_CHECK bool lp_catalog_user_limits_set(struct lp_catalog *catalog, struct lp_bytes user,
                                              struct lp_bytes definition,
                                              struct lp_refusal *ret_refusal);
/* `limit`: one of these names, or "all". */
LP_MUST_CHECK bool lp_catalog_user_limits_clear(struct lp_catalog *catalog, struct lp_bytes user,
                                                struct lp_bytes limit,
                                                struct lp_refusal *ret_refusal);

/* ---- users ---- */

/* The password is validated as the configuration says; it may be empty (no login then). */
LP_MUST_CHECK bool lp_catalog_user_add(struct lp_catalog *catalog, struct lp_bytes name,
                                       struct lp_bytes password, struct lp_refusal *ret_refusal);
/* With a hash of RabbitMQ's (base64) and its algorithm ("rabbit_password_hashing_sha256"; empty:
 * the configured one). */
LP_MUST_CHECK bool lp_catalog_user_add_hashed(struct lp_catalog *catalog, struct lp_bytes name,
                                              struct lp_bytes hash, struct lp_bytes algorithm,
                                              struct lp_refusal *ret_refusal);
/* The same for a user that is there. */
LP_MUST_CHECK bool lp_catalog_user_hash_set(struct lp_catalog *catalog, struct lp_bytes name,
                                            struct lp_bytes hash, struct lp_bytes algorithm,
                                            struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_user_password_set(struct lp_catalog *catalog, struct lp_bytes name,
                                                struct lp_bytes password,
                                                struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_user_password_clear(struct lp_catalog *catalog, struct lp_bytes name,
                                                  struct lp_refusal *ret_refusal);
/* Separated by commas. */
LP_MUST_CHECK bool lp_catalog_user_tags_set(struct lp_catalog *catalog, struct lp_bytes name,
                                            struct lp_bytes tags, struct lp_refusal *ret_refusal);

/* ---- rights ---- */

/* Whose rights, and where. */
struct lp_rights_scope {
    struct lp_bytes user;
    const struct lp_catalog_vhost *vhost;
    struct lp_bytes exchange; /* of topic permissions */
};
LP_MUST_CHECK bool lp_catalog_permissions_set(struct lp_catalog *catalog,
                                              const struct lp_rights_scope *scope,
                                              const struct lp_bytes pattern[LP_CATALOG_RIGHTS],
                                              struct lp_refusal *ret_refusal);
/* Patterns: write, read. */
LP_MUST_CHECK bool
lp_catalog_topic_permissions_set(struct lp_catalog *catalog, const struct lp_rights_scope *scope,
                                 const struct lp_bytes pattern[LP_CATALOG_TOPIC_RIGHTS],
                                 struct lp_refusal *ret_refusal);
/* Of one exchange, or of all in the vhost. */
LP_MUST_CHECK bool lp_catalog_topic_permissions_clear(struct lp_catalog *catalog,
                                                      const struct lp_rights_scope *scope,
                                                      bool every, struct lp_refusal *ret_refusal);

/* ---- virtual hosts ---- */

struct lp_vhost_metadata {
    bool has_description, has_tags, has_default_queue_type; /* what to change */
    struct lp_bytes description;
    struct lp_bytes tags; /* separated by commas */
    struct lp_bytes default_queue_type;
};
/* As lp_catalog_vhost_add(), and with this metadata. */
LP_MUST_CHECK bool lp_catalog_vhost_create(struct lp_catalog *catalog, struct lp_bytes name,
                                           const struct lp_vhost_metadata *metadata,
                                           struct lp_refusal *ret_refusal);
LP_MUST_CHECK bool lp_catalog_vhost_metadata_set(struct lp_catalog *catalog,
                                                 struct lp_catalog_vhost *vhost,
                                                 const struct lp_vhost_metadata *metadata,
                                                 struct lp_refusal *ret_refusal);
void lp_catalog_vhost_tracing_set(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost,
                                  bool tracing);
