/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog.h - what exists: vhosts, exchanges, queues, bindings, users,
 * permissions, parameters and policies; and how it may change.
 *
 * A deterministic state machine.  A change is checked against memory, applied
 * to memory, and collected twice: as store operations and as the deltas that
 * shards apply.  lp_catalog_commit() writes all that a turn collected in one
 * transaction; only then may deltas and answers leave.  When the commit fails
 * the catalog no longer says the truth and is opened again from the store.
 *
 *   Memory    heap; objects live until they are deleted
 *   Runs on   control, one thread; no clock, no system calls
 *   Limits    what fits memory
 *
 * Invariant: every object is in its map and in its chain or in neither, and
 * the store holds exactly what memory holds once the commit has succeeded.
 */
#pragma once

#include <lepus/control_records.h>
#include <lepus/control_ring.h>
#include <lepus/entropy.h>
#include <lepus/fault.h>
#include <lepus/field_table.h>
#include <lepus/queue_settings.h>

#include "control/base/chain.h"
#include "control/base/heap.h"
#include "control/base/map.h"
#include "control/base/pattern.h"
#include "control/topology/store.h"

#define LP_CATALOG_RIGHTS       3 /* configure, write, read: bit n of enum lp_permission is pattern n */
#define LP_CATALOG_TOPIC_RIGHTS 2 /* write, read */

/* A limit that is not there. */
#define LP_CATALOG_NO_LIMIT INT64_MAX

/* Types of queues; x-queue-type names them. */
enum lp_queue_kind {
    LP_QUEUE_CLASSIC = 0,
    LP_QUEUE_QUORUM = 1,
    LP_QUEUE_STREAM = 2,
};

/* How a password became its hash. */
enum lp_password_algorithm {
    LP_PASSWORD_SHA256 = 0,
    LP_PASSWORD_SHA512 = 1,
    LP_PASSWORD_MD5 = 2,
};

/* What new vhosts get whose names match `vhost_pattern`, a regular expression. */
struct lp_catalog_default_user {
    const char *vhost_pattern, *name, *password, *tags;
    const char *pattern[LP_CATALOG_RIGHTS];
};
/* `definition`: JSON, valid for an operator policy or for limits. */
struct lp_catalog_default_policy {
    const char *vhost_pattern, *name, *queue_pattern, *definition;
};
struct lp_catalog_default_limits {
    const char *vhost_pattern, *definition;
};

/* What the configuration says; the same for the catalog's life, and borrowed for it. */
struct lp_catalog_rules {
    uint8_t default_queue_kind;   /* enum lp_queue_kind: of queues that name no type */
    uint8_t password_algorithm;   /* enum lp_password_algorithm: of new passwords */
    uint64_t consumer_timeout_ms; /* LP_SETTING_UNSET: none */
    uint64_t vhosts_max, queues_max, exchanges_max; /* of the node; UINT64_MAX: no limit */
    uint32_t password_bytes_min;                    /* 0: any */
    const char *password_pattern;                   /* NULL: any */
    const struct lp_catalog_default_user *default_users;
    const struct lp_catalog_default_policy *default_policies;
    const struct lp_catalog_default_limits *default_limits; /* the first that matches */
    size_t default_user_count, default_policy_count, default_limits_count;
};
extern const struct lp_catalog_rules lp_catalog_rules_default;

struct lp_catalog_vhost {
    struct lp_map_node by_id;
    struct lp_map_node by_name;
    struct lp_chain in_catalog;
    struct lp_chain exchanges; /* lp_catalog_exchange.in_vhost */
    struct lp_chain queues;    /* lp_catalog_queue.in_vhost */
    struct lp_chain policies;  /* lp_catalog_policy.in_vhost, the first that matches applies */
    struct lp_chain operator_policies;
    uint32_t id;
    uint32_t queue_count;
    struct lp_bytes name;
    /* Metadata. */
    bool tracing;
    bool has_default_kind; /* else the configuration's */
    uint8_t default_kind;  /* enum lp_queue_kind */
    struct lp_bytes description;
    struct lp_bytes tags; /* separated by commas */
    uint8_t *texts;       /* of the two */
    /* Of the parameter vhost-limits; LP_CATALOG_NO_LIMIT. */
    int64_t connections_max, queues_max;
};

struct lp_catalog_exchange {
    struct lp_map_node by_id;
    struct lp_map_node by_name;
    struct lp_chain in_vhost;
    struct lp_chain sources;      /* lp_catalog_binding.in_source */
    struct lp_chain destinations; /* lp_catalog_binding.in_destination */
    struct lp_catalog_vhost *vhost;
    uint32_t id;
    uint8_t kind;  /* enum lp_exchange_kind */
    uint8_t flags; /* enum lp_object_flag */
    struct lp_bytes name;
    struct lp_bytes arguments;
    struct lp_catalog_policy *policy, *operator_policy; /* those that apply, or NULL */
};

struct lp_catalog_queue {
    struct lp_map_node by_id;
    struct lp_map_node by_name;
    struct lp_map_node by_owner; /* exclusive queues */
    struct lp_chain in_vhost;
    struct lp_chain destinations; /* lp_catalog_binding.in_destination */
    struct lp_catalog_vhost *vhost;
    uint32_t id;
    uint16_t home_shard;
    uint8_t kind; /* enum lp_queue_kind: what `arguments` say */
    uint8_t flags;
    uint64_t owner; /* connection, or 0 */
    struct lp_bytes name;
    struct lp_bytes arguments;
    struct lp_catalog_policy *policy, *operator_policy; /* those that apply, or NULL */
};

struct lp_catalog_binding {
    struct lp_map_node by_parts;
    struct lp_chain in_source;
    struct lp_chain in_destination;
    struct lp_catalog_exchange *source;
    struct lp_catalog_exchange *to_exchange; /* one of these two */
    struct lp_catalog_queue *to_queue;
    uint64_t id;
    bool durable;
    struct lp_bytes key;
    struct lp_bytes arguments;
};

struct lp_catalog_user {
    struct lp_map_node by_name;
    struct lp_chain in_catalog;
    struct lp_chain permissions;       /* lp_catalog_permission.in_user */
    struct lp_chain topic_permissions; /* lp_catalog_topic_permission.in_user */
    struct lp_bytes name;
    struct lp_bytes hash; /* salt and digest, as auth/password.h makes it; empty: no password */
    struct lp_bytes tags; /* separated by commas */
    uint8_t algorithm;    /* enum lp_password_algorithm, of `hash` */
    /* As they were set: a negative one is shown and limits nothing. */
    bool has_connections_max, has_channels_max;
    int64_t connections_max, channels_max;
};

struct lp_catalog_permission {
    struct lp_chain in_user;
    struct lp_catalog_user *user;
    uint32_t vhost_id;
    struct lp_bytes pattern[LP_CATALOG_RIGHTS];
    struct lp_pattern *code[LP_CATALOG_RIGHTS]; /* compiled when first asked */
};

/* Patterns of routing keys at one topic exchange (C85). */
struct lp_catalog_topic_permission {
    struct lp_chain in_user;
    struct lp_catalog_user *user;
    uint32_t vhost_id;
    struct lp_bytes exchange;
    struct lp_bytes pattern[LP_CATALOG_TOPIC_RIGHTS];
    struct lp_pattern *code[LP_CATALOG_TOPIC_RIGHTS]; /* expanded; compiled when first asked */
};

/* To what a policy applies. */
enum lp_policy_target {
    LP_POLICY_ALL = 0,
    LP_POLICY_QUEUES = 1,
    LP_POLICY_EXCHANGES = 2,
    LP_POLICY_CLASSIC_QUEUES = 3,
    LP_POLICY_QUORUM_QUEUES = 4,
    LP_POLICY_STREAMS = 5,
};

struct catalog_policy_values;

struct lp_catalog_policy {
    struct lp_chain in_vhost;
    struct lp_catalog_vhost *vhost;
    bool operator_policy;
    uint8_t target;      /* enum lp_policy_target */
    uint8_t queue_kinds; /* bit n: queues of enum lp_queue_kind n know every key of it */
    int64_t priority;
    struct lp_bytes name, pattern;
    struct lp_bytes definition; /* a JSON object, compact, sorted by key */
    struct lp_pattern *code;
    struct catalog_policy_values *values; /* policy.c */
};

/* A parameter, of a vhost or global (vhost_id 0, no component), with a JSON text as its value. */
struct lp_catalog_parameter {
    struct lp_chain in_catalog;
    uint32_t vhost_id;
    struct lp_bytes component;
    struct lp_bytes name;
    struct lp_bytes value;
};

struct lp_catalog {
    struct lp_map_key key;
    struct lp_entropy entropy;
    struct lp_catalog_rules rules; /* the default ones, until the opener sets others */
    uint32_t shard_count;
    uint32_t homes; /* shards that there must be for the queues that were loaded */
    struct lp_map vhosts_by_id, vhosts_by_name;
    struct lp_map exchanges_by_id, exchanges_by_name;
    struct lp_map queues_by_id, queues_by_name, queues_by_owner;
    struct lp_map bindings_by_parts, users_by_name;
    struct lp_chain vhosts, users, parameters;
    struct lp_chain leaving; /* exchanges on their way out, within one change only */
    uint32_t exchange_count, queue_count, binding_count;
    uint64_t revision; /* the store's, as of the last commit or load */
    /* Vhosts, exchanges and queues share one sequence, and what is not durable has another. */
    uint32_t next_id, next_transient_id;
    uint64_t next_binding_id;
    char data_id[33];          /* of the data directory that the store is of; "": not known yet */
    uint32_t permission_epoch; /* grows with every change of users or permissions */
    bool seeded;               /* the store was not empty */

    /* What this turn changed. */
    struct lp_bytebuf ops;    /* encoded: change.c */
    struct lp_bytebuf deltas; /* encoded: lp_catalog_delta_next() */
    size_t op_count;
    bool durable_id_taken, transient_id_taken, permissions_changed;
    uint8_t *scratch; /* LP_CATALOG_SCRATCH_BYTES */
};

#define LP_CATALOG_SCRATCH_BYTES (256u * 1024u)
/* Longest table of arguments: it travels in one record with names beside it. */
#define LP_CATALOG_ARGUMENTS_MAX_BYTES (64u * 1024u)

/* ---- life ---- */

/*
 * Load everything from the store.  Sets the store's watch going from there.
 * When queues were declared with more shards than there are now (`homes`), the
 * catalog is of no use: where their messages are is not for it to change.
 *
 * LP_ERR_IO, LP_ERR_BAD_RECORD (the store holds what this version cannot read)
 */
LP_MUST_CHECK enum lp_err lp_catalog_open(const struct lp_store *store,
                                          const struct lp_entropy *entropy, uint32_t shard_count,
                                          struct lp_catalog **ret_catalog);
void lp_catalog_close(struct lp_catalog **catalog);

/* From now on the store is that directory's; `id` has at most 32 characters. */
void lp_catalog_data_id_put(struct lp_catalog *catalog, const char *id);

/* Did this turn change anything? */
bool lp_catalog_changed(const struct lp_catalog *catalog);
/*
 * Write what this turn changed; deltas stay until lp_catalog_changes_clear().
 * On failure the catalog must be closed and opened again.
 *
 * LP_ERR_CONFLICT, LP_ERR_IO
 */
LP_MUST_CHECK enum lp_err lp_catalog_commit(struct lp_catalog *catalog,
                                            const struct lp_store *store);
void lp_catalog_changes_clear(struct lp_catalog *catalog);

/* The turn's deltas, one by one: `at` starts at 0.  False: no more. */
bool lp_catalog_delta_next(const struct lp_bytebuf *deltas, size_t *at, uint16_t *ret_type,
                           struct lp_bytes *ret_payload);
/* Append a delta in the same encoding. */
void lp_catalog_delta_append(struct lp_bytebuf *deltas, uint16_t type, struct lp_bytes payload);
/* Append an *_UP for everything that exists. */
void lp_catalog_sync(struct lp_catalog *catalog, struct lp_bytebuf *deltas);

/* ---- lookups; NULL when there is none ---- */

struct lp_catalog_vhost *lp_catalog_vhost(const struct lp_catalog *catalog, struct lp_bytes name);
struct lp_catalog_vhost *lp_catalog_vhost_by_id(const struct lp_catalog *catalog, uint32_t id);
struct lp_catalog_exchange *lp_catalog_exchange(const struct lp_catalog *catalog,
                                                const struct lp_catalog_vhost *vhost,
                                                struct lp_bytes name);
struct lp_catalog_queue *lp_catalog_queue(const struct lp_catalog *catalog,
                                          const struct lp_catalog_vhost *vhost,
                                          struct lp_bytes name);
struct lp_catalog_queue *lp_catalog_queue_by_id(const struct lp_catalog *catalog, uint32_t id);
struct lp_catalog_user *lp_catalog_user(const struct lp_catalog *catalog, struct lp_bytes name);
struct lp_catalog_permission *lp_catalog_permission(const struct lp_catalog_user *user,
                                                    uint32_t vhost_id);
bool lp_catalog_user_has_tag(const struct lp_catalog_user *user, const char *tag);
struct lp_catalog_topic_permission *lp_catalog_topic_permission(const struct lp_catalog_user *user,
                                                                uint32_t vhost_id,
                                                                struct lp_bytes exchange);
struct lp_catalog_policy *lp_catalog_policy(const struct lp_catalog_vhost *vhost,
                                            bool operator_policy, struct lp_bytes name);
struct lp_catalog_parameter *lp_catalog_parameter(const struct lp_catalog *catalog,
                                                  uint32_t vhost_id, struct lp_bytes component,
                                                  struct lp_bytes name);

/* ---- requests of clients; false: refused, and `ret_fault` says why ---- */

struct lp_catalog_actor {
    struct lp_bytes user;
    uint64_t connection;
    struct lp_catalog_vhost *vhost;
    bool administrator; /* at lepusctl: nobody who would be asked for rights */
};

/* Names come as the client sent them: CR and LF are dropped here (C65). */
struct lp_exchange_declare {
    struct lp_bytes name, kind_name, arguments;
    uint8_t flags;
};
struct lp_queue_declare {
    struct lp_bytes name, arguments;
    uint8_t flags;
    uint16_t home_shard;
};
struct lp_bind {
    struct lp_bytes source, destination, key, arguments;
    uint8_t destination_resource;
};

LP_MUST_CHECK bool lp_catalog_exchange_declare(struct lp_catalog *catalog,
                                               const struct lp_catalog_actor *actor,
                                               const struct lp_exchange_declare *request,
                                               struct lp_catalog_exchange **ret_exchange,
                                               struct lp_fault *ret_fault);
LP_MUST_CHECK bool lp_catalog_exchange_delete(struct lp_catalog *catalog,
                                              const struct lp_catalog_actor *actor,
                                              struct lp_bytes name, bool if_unused,
                                              struct lp_fault *ret_fault);
/* `ret_created` is false when it existed and is equivalent. */
struct lp_queue_declared {
    struct lp_catalog_queue *queue;
    bool created;
};
LP_MUST_CHECK bool lp_catalog_queue_declare(struct lp_catalog *catalog,
                                            const struct lp_catalog_actor *actor,
                                            const struct lp_queue_declare *request,
                                            struct lp_queue_declared *ret_declared,
                                            struct lp_fault *ret_fault);
struct lp_queue_delete {
    struct lp_bytes name;
    bool if_unused, if_empty;
};
/* May it be deleted as far as the catalog knows?  `ret_queue` is NULL when it does not exist (C67).
 */
LP_MUST_CHECK bool lp_catalog_queue_deletable(struct lp_catalog *catalog,
                                              const struct lp_catalog_actor *actor,
                                              const struct lp_queue_delete *request,
                                              struct lp_catalog_queue **ret_queue,
                                              struct lp_fault *ret_fault);
LP_MUST_CHECK bool lp_catalog_bind(struct lp_catalog *catalog, const struct lp_catalog_actor *actor,
                                   const struct lp_bind *request, struct lp_fault *ret_fault);
LP_MUST_CHECK bool lp_catalog_unbind(struct lp_catalog *catalog,
                                     const struct lp_catalog_actor *actor,
                                     const struct lp_bind *request, struct lp_fault *ret_fault);

/* ---- changes without a question ---- */

/* With its bindings, and auto-delete exchanges that lose their last one. */
void lp_catalog_queue_drop(struct lp_catalog *catalog, struct lp_catalog_queue *queue);
/* Exclusive queues of a connection that is gone; gives how many. */
uint32_t lp_catalog_connection_gone(struct lp_catalog *catalog, uint64_t connection);

/* The vhost with its predeclared exchanges, and what the rules give to new ones.  LP_ERR_EXISTS */
enum lp_err lp_catalog_vhost_add(struct lp_catalog *catalog, struct lp_bytes name);
/* With everything in it.  LP_ERR_NOT_FOUND */
enum lp_err lp_catalog_vhost_delete(struct lp_catalog *catalog, struct lp_bytes name);
/* Make or replace: everything but the name may differ; rights are kept. */
void lp_catalog_user_put(struct lp_catalog *catalog, const struct lp_catalog_user *like);
/* With its permissions.  LP_ERR_NOT_FOUND */
enum lp_err lp_catalog_user_delete(struct lp_catalog *catalog, struct lp_bytes name);
/* Patterns must compile (auth/permission.h). */
void lp_catalog_permission_put(struct lp_catalog *catalog, struct lp_catalog_user *user,
                               const struct lp_catalog_vhost *vhost,
                               const struct lp_bytes pattern[LP_CATALOG_RIGHTS]);
void lp_catalog_permission_delete(struct lp_catalog *catalog, struct lp_catalog_user *user,
                                  const struct lp_catalog_vhost *vhost);

/* What does not survive a restart: transient and exclusive queues, transient exchanges. */
void lp_catalog_transient_drop(struct lp_catalog *catalog);
/* Everything. */
void lp_catalog_wipe(struct lp_catalog *catalog);

/* ---- words ---- */

/* "direct" for LP_EXCHANGE_DIRECT. */
const char *lp_exchange_kind_name(uint8_t kind);
/* "classic" for LP_QUEUE_CLASSIC. */
const char *lp_queue_kind_name(uint8_t kind);
LP_MUST_CHECK bool lp_queue_kind_find(struct lp_bytes name, enum lp_queue_kind *ret_kind);
/* "all" for LP_POLICY_ALL. */
const char *lp_policy_target_name(uint8_t target);
/* What its home shard obeys; names in it are borrowed from the queue and its policies. */
struct lp_queue_settings lp_catalog_queue_settings(const struct lp_catalog *catalog,
                                                   const struct lp_catalog_queue *queue);
/* Its alternate, of its arguments or its policy; "" when there is none. */
struct lp_bytes lp_catalog_exchange_alternate(const struct lp_catalog_exchange *exchange);
/* What a policy and an operator policy (either may be NULL) come to, as a JSON object appended to
 * `json`. */
void lp_catalog_policies_merge(const struct lp_catalog_policy *policy,
                               const struct lp_catalog_policy *operator_policy,
                               struct lp_bytebuf *json);
/* "exchange 'x' in vhost '/'", as RabbitMQ names things in texts. */
#define LP_RESOURCE_TEXT_BYTES 640
struct lp_resource_text {
    char text[LP_RESOURCE_TEXT_BYTES];
};
struct lp_resource_text lp_resource_text(uint8_t resource, struct lp_bytes name,
                                         const struct lp_catalog_vhost *vhost);
/* Fill a fault; cut to its room. Always false, so that checks can return it. */
bool lp_fault_set(struct lp_fault *fault, uint16_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Walks everything; asserts that the indexes agree. For tests and the simulator. */
void lp_catalog_check(const struct lp_catalog *catalog);
