/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admin/counters.h"

#include "control/admin/report.h"
#include "lepus/atomic.h"

static uint64_t
sum_of(const struct lp_control *control, size_t offset, admin_counters_fn *counters_of)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const uint8_t *counters = counters_of(control, i);
        if (counters != NULL) {
            sum += lp_load_relaxed((const uint64_t *)(const void *)(counters + offset));
        }
    }
    return sum;
}

void
admin_counters_say(struct admin_task *task, const struct admin_counter *table, size_t count,
                   admin_counters_fn *counters_of)
{
    struct lp_bytebuf text = {0};
    json_t *data = json_object();
    for (size_t i = 0; i < count; i++) {
        const uint64_t sum = sum_of(task->control, table[i].offset, counters_of);
        admin_line(&text, "%-28s %16llu  %s", table[i].name, (unsigned long long)sum,
                   table[i].text);
        admin_set(data, table[i].name, json_integer((json_int_t)sum));
    }
    json_t *words = admin_text_take(&text);
    admin_say(task, data, "%s", json_string_value(words));
    json_decref(words);
}
