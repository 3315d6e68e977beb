/* SPDX-License-Identifier: Apache-2.0 */
/* latency_text.c - latencies for people and for programs. */
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/latency.h"

#define BAR_COLUMNS 22u
/* Steps of the drawing: 1, 2, 5, 10, ... from 10 ns; the last one has everything longer. */
#define STEPS 33u

/* In the order of the table: what is done, one after the other, and then sums. */
static const struct {
    enum lp_latency which;
    const char *key;
    const char *title;
} lines[] = {
    {LP_LATENCY_ROUTING, "received_to_routed", "received -> routed"},
    {LP_LATENCY_STORING, "routed_to_stored", "routed -> stored"},
    {LP_LATENCY_WRITING, "taken_to_written", "taken -> written"},
    {LP_LATENCY_SENDING, "written_to_sent", "written -> sent"},
    {LP_LATENCY_OWN_WORK, "own_work", "the broker's own work"},
    {LP_LATENCY_WAITING, "stored_to_taken", "in the queue, stored -> taken"},
    {LP_LATENCY_TOTAL, "received_to_sent", "all, received -> sent"},
};
LP_STATIC_ASSERT(LP_COUNT_OF(lines) == LP_LATENCY_COUNT, "every latency is shown");

uint64_t
latency_at(const struct latency_times *times, uint32_t per_mille)
{
    const uint64_t rank = (times->count * per_mille + 999u) / 1000u;
    uint64_t below = 0;
    for (uint32_t i = 0; i < LP_LATENCY_BUCKETS; i++) {
        below += times->bucket[i];
        if (times->bucket[i] > 0 && below >= rank) {
            const uint64_t middle = lp_latency_lower(i) + lp_latency_width(i) / 2;
            return LP_MIN(LP_MAX(middle, times->min_ns), times->max_ns);
        }
    }
    return times->max_ns;
}

/* ---- the table ---- */

static void
us_print(FILE *out, uint64_t ns)
{
    const double us = (double)ns / 1000.0;
    (void)fprintf(out, " %8.*f", us < 9.995 ? 2 : us < 99.95 ? 1 : 0, us);
}

static void
table_print(FILE *out, const struct latency_queue *queue)
{
    (void)fprintf(out, "%-30s %9s %8s %8s %8s %8s %8s %8s\n", "microseconds", "count", "min", "p50",
                  "p90", "p99", "p99.9", "max");
    for (size_t i = 0; i < LP_COUNT_OF(lines); i++) {
        const struct latency_times *times = &queue->times[lines[i].which];
        (void)fprintf(out, "%-30s %9llu", lines[i].title, (unsigned long long)times->count);
        const uint64_t shown[] = {times->min_ns,          latency_at(times, 500),
                                  latency_at(times, 900), latency_at(times, 990),
                                  latency_at(times, 999), times->max_ns};
        for (size_t k = 0; k < LP_COUNT_OF(shown) && times->count > 0; k++) {
            us_print(out, shown[k]);
        }
        (void)fputc('\n', out);
    }
}

/* ---- the drawing ---- */

static uint64_t
step_lower(uint32_t step)
{
    static const uint32_t mantissa[] = {1, 2, 5};
    uint64_t decade = 10;
    for (uint32_t i = 0; i < step / 3; i++) {
        decade *= 10;
    }
    return step == 0 ? 0 : decade * mantissa[step % 3];
}

static void
steps_count(const struct latency_times *times, uint64_t ret_steps[STEPS])
{
    uint32_t step = 0;
    for (uint32_t i = 0; i < LP_LATENCY_BUCKETS; i++) {
        const uint64_t middle = lp_latency_lower(i) + lp_latency_width(i) / 2;
        while (step + 1 < STEPS && middle >= step_lower(step + 1)) {
            step++;
        }
        ret_steps[step] += times->bucket[i];
    }
}

/* As long as its share of the longest, in eighths of a column. */
static void
bar_print(FILE *out, uint64_t count, uint64_t most, uint64_t all)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    uint32_t length = 0;
    if (count > 0) {
        length = (uint32_t)LP_MAX((uint64_t)((double)count / (double)most * BAR_COLUMNS * 8), 1u);
    }
    for (uint32_t i = 0; i < length / 8; i++) {
        (void)fputs("█", out);
    }
    (void)fputs(eighths[length % 8], out);
    const uint32_t used = (length + 7) / 8;
    (void)fprintf(out, "%*s", (int)(BAR_COLUMNS - used), "");
    if (count > 0) {
        (void)fprintf(out, " %5.1f %%", 100.0 * (double)count / (double)all);
    } else {
        (void)fprintf(out, " %7s", "");
    }
}

static void
step_print(FILE *out, uint32_t step)
{
    char from[32];
    char to[32];
    (void)snprintf(from, sizeof(from), "%.10g", (double)step_lower(step) / 1000.0);
    (void)snprintf(to, sizeof(to), "%.10g", (double)step_lower(step + 1) / 1000.0);
    (void)fprintf(out, "%9s - %-9s", from, step + 1 < STEPS ? to : "");
}

static void
drawing_print(FILE *out, const struct latency_queue *queue)
{
    const struct latency_times *const shown[] = {&queue->times[LP_LATENCY_OWN_WORK],
                                                 &queue->times[LP_LATENCY_WAITING]};
    uint64_t steps[2][STEPS] = {{0}};
    uint64_t most[2] = {0};
    uint32_t first = STEPS;
    uint32_t last = 0;
    for (size_t k = 0; k < 2; k++) {
        steps_count(shown[k], steps[k]);
        for (uint32_t i = 0; i < STEPS; i++) {
            most[k] = LP_MAX(most[k], steps[k][i]);
            first = steps[k][i] > 0 ? LP_MIN(first, i) : first;
            last = steps[k][i] > 0 ? LP_MAX(last, i) : last;
        }
    }
    if (first == STEPS) {
        return;
    }
    (void)fprintf(out, "\n%21s  %-*s  %s\n", "microseconds   ", (int)BAR_COLUMNS + 8,
                  "the broker's own work", "in the queue");
    for (uint32_t i = first; i <= last; i++) {
        step_print(out, i);
        (void)fputs("  ", out);
        bar_print(out, steps[0][i], most[0], shown[0]->count);
        (void)fputs("  ", out);
        bar_print(out, steps[1][i], most[1], shown[1]->count);
        (void)fputc('\n', out);
    }
}

char *
latency_text(const struct latency_queue *queue, struct lp_bytes name)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    LP_ASSERT(out != NULL);
    (void)fprintf(out, "%.*s: %llu messages measured, %llu not\n\n", (int)name.size,
                  (const char *)name.data, (unsigned long long)queue->measured,
                  (unsigned long long)queue->missed);
    table_print(out, queue);
    drawing_print(out, queue);
    const int failed = fclose(out);
    LP_ASSERT(failed == 0);
    return text;
}

/* ---- for programs ---- */

static json_t *
us_json(uint64_t ns)
{
    return json_real((double)ns / 1000.0);
}

static json_t *
times_json(const struct latency_times *times)
{
    json_t *object = json_pack("{s:I}", "count", (json_int_t)times->count);
    if (times->count == 0) {
        return object;
    }
    admin_set(object, "mean_us", json_real((double)times->sum_ns / (double)times->count / 1000.0));
    admin_set(object, "min_us", us_json(times->min_ns));
    admin_set(object, "p50_us", us_json(latency_at(times, 500)));
    admin_set(object, "p90_us", us_json(latency_at(times, 900)));
    admin_set(object, "p99_us", us_json(latency_at(times, 990)));
    admin_set(object, "p99_9_us", us_json(latency_at(times, 999)));
    admin_set(object, "max_us", us_json(times->max_ns));
    return object;
}

json_t *
latency_json(const struct latency_queue *queue, struct lp_bytes name, struct lp_bytes vhost)
{
    json_t *object = json_object();
    admin_set(object, "queue", admin_text(name));
    admin_set(object, "vhost", admin_text(vhost));
    admin_set(object, "measured", json_integer((json_int_t)queue->measured));
    admin_set(object, "missed", json_integer((json_int_t)queue->missed));
    for (size_t i = 0; i < LP_COUNT_OF(lines); i++) {
        admin_set(object, lines[i].key, times_json(&queue->times[lines[i].which]));
    }
    return object;
}
