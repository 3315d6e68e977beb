/* SPDX-License-Identifier: Apache-2.0 */
/* report.h - what status, cluster_status and the checks say of the node. */
#pragma once

#include "control/admin/admin_internal.h"

#ifndef LP_VERSION
#define LP_VERSION "0.0.0"
#endif

/* The RabbitMQ that the broker stands in for; what it tells clients, too. */
#define ADMIN_RABBITMQ_VERSION "4.0.5"

/* ---- text ---- */

void admin_line(struct lp_bytebuf *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "\nTitle\n\n" and a line for each text of a list, or "(none)". */
void admin_section(struct lp_bytebuf *text, const char *title, const json_t *lines);
/* The text as JSON; frees it. */
json_t *admin_text_take(struct lp_bytebuf *text);

/* Bytes in a unit as rabbitmqctl rounds them: "0.1002 gb". */
struct admin_size {
    char text[64];
};
struct admin_size admin_size(uint64_t bytes, const char *unit);
/* What --unit says; the default is gb. */
const char *admin_unit(const struct admin_task *task);
/* Is it one?  False after a failure that ended the task. */
bool admin_unit_check(struct admin_task *task);

/* ---- what there is to say ---- */

/* What shards count, all together. */
struct admin_totals {
#define X(name) uint64_t name;
    LP_STATS_LIST(X)
#undef X
    uint64_t turn_ns[LP_TURN_HISTOGRAM_BUCKETS];
};
struct admin_totals admin_totals(const struct lp_control *control);
/* The process whose end is the broker's. */
uint32_t admin_broker_pid(const struct lp_control *control);

/* Alarms in effect: for people, and as objects. */
json_t *admin_alarm_lines(const struct admin_task *task);
json_t *admin_alarm_objects(const struct admin_task *task);
/* Where clients connect: objects with node, interface, port, protocol, purpose. */
json_t *admin_listener_objects(const struct admin_task *task);
/* Those of them that speak TLS. */
json_t *admin_tls_listeners(const struct admin_task *task);
/* "Interface: ..." each; `with_node` says where first. */
json_t *admin_listener_lines(const json_t *listeners, bool with_node);
/* Objects with name, state, stability, provided_by, desc, doc_url. */
json_t *admin_feature_flags(void);
