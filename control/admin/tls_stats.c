/* SPDX-License-Identifier: Apache-2.0 */
/* tls_stats.c - what shards have counted of TLS. */
#include <string.h>

#include <lepus/tls_counters.h>

#include "control/admin/admin_checks.h"
#include "control/admin/report.h"
#include "lepus/atomic.h"

static const struct {
    const char *name;
    const char *text;
    size_t offset;
} counters[] = {
#define X(name, text) {#name, text, offsetof(struct lp_tls_counters, name)},
    LP_TLS_COUNTERS(X)
#undef X
};

static uint64_t
counter_sum(const struct lp_control *control, size_t which)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const uint8_t *page = (const uint8_t *)lp_control_region_tls(control->options.region, i);
        sum += lp_load_relaxed((const uint64_t *)(const void *)(page + counters[which].offset));
    }
    return sum;
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
    struct lp_bytebuf text = {0};
    json_t *data = json_object();
    for (size_t i = 0; i < LP_COUNT_OF(counters); i++) {
        const uint64_t sum = counter_sum(task->control, i);
        admin_line(&text, "%-28s %16llu  %s", counters[i].name, (unsigned long long)sum,
                   counters[i].text);
        admin_set(data, counters[i].name, json_integer((json_int_t)sum));
    }
    json_t *words = admin_text_take(&text);
    admin_say(task, data, "%s", json_string_value(words));
    json_decref(words);
}
