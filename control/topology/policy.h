/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - policies inside the catalog: their keys, which of them applies to
 * an object, and what two of them come to (C149).
 *
 * An object has at most one policy and one operator policy: of those whose
 * target and pattern match, and whose keys its type knows, the one with the
 * highest priority (of equals, the first by name).  Pointers to both are kept
 * on the object and are right outside of a change: policy_evaluate() is part
 * of every change of policies, policy_assign_*() of every new object.
 */
#pragma once

#include <jansson.h>

#include "control/topology/catalog_internal.h"

/* Key, which policy may have it (1 policy, 2 operator policy), types of queues that know it (bits
 * of enum lp_queue_kind; exchanges know all). */
#define POLICY_CLASSIC  1
#define POLICY_QUORUM   2
#define POLICY_STREAM   4
#define POLICY_EVERY    (POLICY_CLASSIC | POLICY_QUORUM | POLICY_STREAM)
#define POLICY_USER     1
#define POLICY_OPERATOR 2
#define POLICY_BOTH     (POLICY_USER | POLICY_OPERATOR)
#define POLICY_KEY_LIST(X)                                                                       \
    X(ALTERNATE_EXCHANGE, "alternate-exchange", POLICY_USER, POLICY_EVERY)                       \
    X(CONSUMER_TIMEOUT, "consumer-timeout", POLICY_USER, POLICY_EVERY)                           \
    X(DEAD_LETTER_EXCHANGE, "dead-letter-exchange", POLICY_USER, POLICY_CLASSIC | POLICY_QUORUM) \
    X(DEAD_LETTER_KEY, "dead-letter-routing-key", POLICY_USER, POLICY_CLASSIC | POLICY_QUORUM)   \
    X(DEAD_LETTER_STRATEGY, "dead-letter-strategy", POLICY_USER, POLICY_QUORUM)                  \
    X(DELIVERY_LIMIT, "delivery-limit", POLICY_BOTH, POLICY_QUORUM)                              \
    X(EXPIRES, "expires", POLICY_BOTH, POLICY_CLASSIC | POLICY_QUORUM)                           \
    X(INITIAL_CLUSTER_SIZE, "initial-cluster-size", POLICY_USER, POLICY_STREAM)                  \
    X(MAX_AGE, "max-age", POLICY_USER, POLICY_STREAM)                                            \
    X(MAX_IN_MEMORY_BYTES, "max-in-memory-bytes", POLICY_BOTH, POLICY_QUORUM)                    \
    X(MAX_IN_MEMORY_LENGTH, "max-in-memory-length", POLICY_BOTH, POLICY_QUORUM)                  \
    X(MAX_LENGTH, "max-length", POLICY_BOTH, POLICY_CLASSIC | POLICY_QUORUM)                     \
    X(MAX_LENGTH_BYTES, "max-length-bytes", POLICY_BOTH, POLICY_EVERY)                           \
    X(MESSAGE_TTL, "message-ttl", POLICY_BOTH, POLICY_CLASSIC | POLICY_QUORUM)                   \
    X(OVERFLOW, "overflow", POLICY_BOTH, POLICY_CLASSIC | POLICY_QUORUM)                         \
    X(LEADER_LOCATOR, "queue-leader-locator", POLICY_USER, POLICY_EVERY)                         \
    X(MASTER_LOCATOR, "queue-master-locator", POLICY_BOTH, POLICY_CLASSIC)                       \
    X(QUEUE_MODE, "queue-mode", POLICY_USER, POLICY_CLASSIC)                                     \
    X(QUEUE_VERSION, "queue-version", POLICY_BOTH, POLICY_EVERY)                                 \
    X(STREAM_FILTER_SIZE, "stream-filter-size-bytes", POLICY_USER, POLICY_EVERY)                 \
    X(STREAM_SEGMENT_SIZE, "stream-max-segment-size-bytes", POLICY_USER, POLICY_STREAM)          \
    X(TARGET_GROUP_SIZE, "target-group-size", POLICY_BOTH, POLICY_QUORUM)

enum policy_key {
#define X(name, text, who, kinds) POLICY_##name,
    POLICY_KEY_LIST(X)
#undef X
        POLICY_KEY_COUNT
};

struct policy_key_info {
    const char *name;
    uint8_t who;
    uint8_t kinds;
};
extern const struct policy_key_info policy_keys[POLICY_KEY_COUNT];

/* A policy's definition, by key. */
struct catalog_policy_values {
    json_t *root;
    json_t *value[POLICY_KEY_COUNT]; /* NULL: not there */
};

/* ---- policy.c ---- */

/* Index of a key, or POLICY_KEY_COUNT. */
enum policy_key policy_key_find(const char *name);
/* The value that holds for both, or NULL. */
json_t *policy_value(const struct lp_catalog_policy *policy,
                     const struct lp_catalog_policy *operator_policy, enum policy_key key);
/* Into its chain, by priority; texts of `like` are copied.  NULL: its definition or pattern is no
 * good. */
struct lp_catalog_policy *policy_insert(const struct lp_catalog_policy *like);
void policy_remove(struct lp_catalog_policy *policy);
/* For a new object. */
void policy_assign_queue(struct lp_catalog_queue *queue);
void policy_assign_exchange(struct lp_catalog_exchange *exchange);
/* Policies of the vhost changed (those that objects had are still there): choose again, and tell
 * shards of each object for which that changes something. */
void policy_evaluate(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost);
/* After loading: choose for everything. */
void policy_assign_all(struct lp_catalog *catalog);
/* Asserts that every object has the policies that it should have. */
void policy_check(const struct lp_catalog_vhost *vhost);
bool policy_target_find(struct lp_bytes name, uint8_t *ret_target);

/* ---- policy_validate.c ---- */

/* The definition as RabbitMQ checks it.  False: a line of text is appended to `why`. */
bool policy_definition_validate(const json_t *definition, bool operator_policy,
                                struct lp_bytebuf *why);

/* ---- erlang_text.c: values as Erlang prints them ---- */

void erlang_text_json(struct lp_bytebuf *out, const json_t *value);
/* [{<<"key">>,value},...]: an object as a list of pairs, without the keys that `skip` knows. */
void erlang_text_pairs(struct lp_bytebuf *out, const json_t *object,
                       bool (*skip)(const void *context, const char *key), const void *context);
void erlang_text_format(struct lp_bytebuf *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
