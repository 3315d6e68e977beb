/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog_internal.h - what the files of this folder share.
 *
 *   insert/remove   memory only (loading, and the last step of a change)
 *   put/drop        memory, store operation and delta
 */
#pragma once

#include "control/topology/catalog.h"

/* Key prefixes; in this order a snapshot can be applied as it comes. */
enum catalog_table {
    CATALOG_META = '0',
    CATALOG_VHOST = '1',
    CATALOG_USER = '2',
    CATALOG_PERMISSION = '3',
    CATALOG_EXCHANGE = '4',
    CATALOG_QUEUE = '5',
    CATALOG_BINDING = '6',
    CATALOG_SETTING = '7', /* then enum catalog_setting_kind */
    CATALOG_TOPIC_PERMISSION = '8',
    CATALOG_TRACING = '9', /* transient */
};

enum catalog_setting_kind {
    CATALOG_PARAMETER = 0,
    CATALOG_POLICY = 1,
    CATALOG_OPERATOR_POLICY = 2,
};

/* ---- index.c: objects in memory ---- */

/* Names and arguments in `like` are copied behind the new struct; chains and maps are filled in. */
struct lp_catalog_vhost *catalog_vhost_insert(struct lp_catalog *catalog, uint32_t id,
                                              struct lp_bytes name);
struct lp_catalog_exchange *catalog_exchange_insert(struct lp_catalog *catalog,
                                                    const struct lp_catalog_exchange *like);
struct lp_catalog_queue *catalog_queue_insert(struct lp_catalog *catalog,
                                              const struct lp_catalog_queue *like);
struct lp_catalog_binding *catalog_binding_insert(struct lp_catalog *catalog,
                                                  const struct lp_catalog_binding *like);
struct lp_catalog_user *catalog_user_insert(struct lp_catalog *catalog,
                                            const struct lp_catalog_user *like);
struct lp_catalog_permission *
catalog_permission_insert(struct lp_catalog_user *user, uint32_t vhost_id,
                          const struct lp_bytes pattern[LP_CATALOG_RIGHTS]);
struct lp_catalog_topic_permission *
catalog_topic_permission_insert(const struct lp_catalog_topic_permission *like);
struct lp_catalog_parameter *catalog_parameter_insert(struct lp_catalog *catalog,
                                                      const struct lp_catalog_parameter *like);
/* Copies of the two texts replace those that it has. */
void catalog_vhost_texts_set(struct lp_catalog_vhost *vhost, struct lp_bytes description,
                             struct lp_bytes tags);
struct lp_catalog_exchange *catalog_exchange_by_id(const struct lp_catalog *catalog, uint32_t id);
struct lp_catalog_binding *catalog_binding_find(const struct lp_catalog *catalog,
                                                const struct lp_catalog_binding *like);
void catalog_vhost_remove(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost);
void catalog_exchange_remove(struct lp_catalog *catalog, struct lp_catalog_exchange *exchange);
void catalog_queue_remove(struct lp_catalog *catalog, struct lp_catalog_queue *queue);
void catalog_binding_remove(struct lp_catalog *catalog, struct lp_catalog_binding *binding);
void catalog_user_remove(struct lp_catalog *catalog, struct lp_catalog_user *user);
void catalog_permission_remove(struct lp_catalog_permission *permission);
void catalog_topic_permission_remove(struct lp_catalog_topic_permission *permission);
void catalog_parameter_remove(struct lp_catalog_parameter *parameter);

/* ---- change.c: what a turn collects ---- */

/* Asked before an id of a durable object is taken; false with the fault set: there are none left,
 * since none is given twice. */
bool catalog_ids_left(const struct lp_catalog *catalog, bool durable, struct lp_fault *ret_fault);
uint32_t catalog_take_id(struct lp_catalog *catalog, bool durable);
uint64_t catalog_take_binding_id(struct lp_catalog *catalog, bool durable);
void catalog_vhost_put(struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost);
void catalog_exchange_put(struct lp_catalog *catalog, const struct lp_catalog_exchange *exchange);
void catalog_queue_put(struct lp_catalog *catalog, const struct lp_catalog_queue *queue);
void catalog_binding_put(struct lp_catalog *catalog, const struct lp_catalog_binding *binding);
void catalog_user_put(struct lp_catalog *catalog, const struct lp_catalog_user *user);
void catalog_permission_put(struct lp_catalog *catalog,
                            const struct lp_catalog_permission *permission);
void catalog_topic_permission_put(struct lp_catalog *catalog,
                                  const struct lp_catalog_topic_permission *permission);
void catalog_parameter_put(struct lp_catalog *catalog,
                           const struct lp_catalog_parameter *parameter);
void catalog_policy_put(struct lp_catalog *catalog, const struct lp_catalog_policy *policy);
void catalog_tracing_put(struct lp_catalog *catalog, const struct lp_catalog_vhost *vhost);
/* Name it to shards again, with what is new about it; nothing is stored. */
void catalog_queue_announce(struct lp_catalog *catalog, const struct lp_catalog_queue *queue);
void catalog_exchange_announce(struct lp_catalog *catalog,
                               const struct lp_catalog_exchange *exchange);
/* Store operation and delta of something that goes; then remove it from memory. */
void catalog_vhost_drop(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost);
void catalog_exchange_drop(struct lp_catalog *catalog, struct lp_catalog_exchange *exchange);
void catalog_queue_drop(struct lp_catalog *catalog, struct lp_catalog_queue *queue);
void catalog_binding_drop(struct lp_catalog *catalog, struct lp_catalog_binding *binding);
void catalog_user_drop(struct lp_catalog *catalog, struct lp_catalog_user *user);
void catalog_permission_drop(struct lp_catalog *catalog, struct lp_catalog_permission *permission);
void catalog_topic_permission_drop(struct lp_catalog *catalog,
                                   struct lp_catalog_topic_permission *permission);
void catalog_parameter_drop(struct lp_catalog *catalog, struct lp_catalog_parameter *parameter);
/* Objects that have it must be given another before. */
void catalog_policy_drop(struct lp_catalog *catalog, struct lp_catalog_policy *policy);

/* ---- record.c: store keys and values ---- */

struct lp_bytes catalog_key_number(struct lp_writer *w, enum catalog_table table, uint64_t id);
struct lp_bytes catalog_key_name(struct lp_writer *w, enum catalog_table table,
                                 struct lp_bytes name);
struct lp_bytes catalog_key_permission(struct lp_writer *w,
                                       const struct lp_catalog_permission *permission);
struct lp_bytes catalog_key_topic_permission(struct lp_writer *w,
                                             const struct lp_catalog_topic_permission *permission);
struct lp_bytes catalog_key_parameter(struct lp_writer *w,
                                      const struct lp_catalog_parameter *parameter);
struct lp_bytes catalog_key_policy(struct lp_writer *w, const struct lp_catalog_policy *policy);
void catalog_vhost_write(struct lp_writer *w, const struct lp_catalog_vhost *vhost);
void catalog_exchange_write(struct lp_writer *w, const struct lp_catalog_exchange *exchange);
void catalog_queue_write(struct lp_writer *w, const struct lp_catalog_queue *queue,
                         uint32_t shard_count);
void catalog_binding_write(struct lp_writer *w, const struct lp_catalog_binding *binding);
void catalog_user_write(struct lp_writer *w, const struct lp_catalog_user *user);
void catalog_permission_write(struct lp_writer *w, const struct lp_catalog_permission *permission);
void catalog_topic_permission_write(struct lp_writer *w,
                                    const struct lp_catalog_topic_permission *permission);
void catalog_policy_write(struct lp_writer *w, const struct lp_catalog_policy *policy);
/* Apply one key and value of a snapshot.  False: not readable. */
bool catalog_record_load(struct lp_catalog *catalog, struct lp_bytes key, struct lp_bytes value);

/* ---- vhost_defaults.c ---- */

/* What the rules give to a new vhost of this name. */
void catalog_vhost_defaults_apply(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost);

/* ---- administer.c ---- */

/* What the parameter vhost-limits says, where it is at hand. */
void catalog_vhost_limits_read(struct lp_catalog *catalog, struct lp_catalog_vhost *vhost);

/* ---- queue_arguments.c: arguments of queues; false with the fault set ---- */

/* `resource` is the queue as texts name it; the table has an x-queue-type. */
bool catalog_queue_arguments_valid(struct lp_bytes arguments, const char *resource,
                                   enum lp_queue_kind *ret_kind, struct lp_fault *ret_fault);
bool catalog_queue_properties_valid(enum lp_queue_kind kind, const char *resource, uint8_t flags,
                                    struct lp_bytes arguments, struct lp_fault *ret_fault);
bool catalog_queue_arguments_equivalent(const struct lp_catalog_queue *queue,
                                        struct lp_bytes received, const char *resource,
                                        struct lp_fault *ret_fault);
/* "7D": how long a stream keeps what it holds. */
bool catalog_max_age_is_good(struct lp_bytes text);
/* Has the data plane this type?  Else it is refused. */
bool catalog_queue_kind_is_there(enum lp_queue_kind kind);
/* The type that a valid table names. */
enum lp_queue_kind catalog_queue_kind_of(struct lp_bytes arguments);

/* ---- arguments.c: tables ---- */

/* The table with its fields sorted by name, appended to `sorted`.  False: malformed. */
bool catalog_table_sort(struct lp_bytes table, struct lp_bytebuf *sorted);

/* Is the table well-formed? */
bool catalog_table_is_good(struct lp_bytes table);
/* C49-C51 for one argument of a table; false with the fault set. */
bool catalog_argument_equivalent(struct lp_bytes current, struct lp_bytes received,
                                 const char *name, const char *resource,
                                 struct lp_fault *ret_fault);
/* The value as RabbitMQ prints it. */
void catalog_value_text(const struct lp_field *field, char *text, size_t bytes);
/* How its bindings match: its kind, or that of the exchange that a delayed one stands before. */
uint8_t catalog_exchange_matches_as(const struct lp_catalog_exchange *exchange);
bool catalog_property_fault(struct lp_fault *fault, const char *name, const char *resource,
                            const char *received, const char *current);
/* A name without CR and LF, in `buffer` of 255 bytes when there were any. */
struct lp_bytes catalog_name_clean(struct lp_bytes name, uint8_t *buffer);
/* Exchanges whose last binding went and that are auto-delete go too, and so on upstream (C72). */
void catalog_bindings_of_destination_drop(struct lp_catalog *catalog,
                                          struct lp_chain *destinations);
void catalog_binding_drop_cascade(struct lp_catalog *catalog, struct lp_catalog_binding *binding);
/* An exchange with all its bindings, and what follows from that. */
void catalog_exchange_drop_cascade(struct lp_catalog *catalog,
                                   struct lp_catalog_exchange *exchange);

/* C55: another connection's exclusive queue.  Always false. */
bool catalog_locked_fault(const struct lp_catalog_queue *queue, struct lp_fault *ret_fault);
