/* SPDX-License-Identifier: Apache-2.0 */
/* tls_stats.c - what shards have counted of TLS. */
#include <lepus/tls_counters.h>

#include "control/admin/admin_checks.h"
#include "control/admin/counters.h"
#include "control/admin/report.h"

static const struct admin_counter table[] = {
#define X(name, text) {#name, text, offsetof(struct lp_tls_counters, name)},
    LP_TLS_COUNTERS(X)
#undef X
};

static const void *
counters_of(const struct lp_control *control, uint32_t shard)
{
    return lp_control_region_tls(control->options.region, shard);
}

/* RabbitMQ has none of its kind: the form is that of tcp_stats. */
void
admin_tls_stats(struct admin_task *task)
{
    json_t *listeners = admin_tls_listeners(task);
    const bool any = json_array_size(listeners) > 0;
    json_decref(listeners);
    if (!any) {
        admin_say(task, json_object(),
                  "Node %s has no TLS listeners. listeners.ssl.default gives it one.", task->node);
        return;
    }
    admin_counters_say(task, table, LP_COUNT_OF(table), counters_of);
}
