/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "report.h"

static uint64_t
lost(const struct load_run *run)
{
    const struct load_options *o = &run->options;
    const struct load_tally *t = &run->tally;
    if (o->consumers != 0 && o->publishers != 0) {
        const uint64_t copies = t->sent * (o->to_all ? o->queues : 1u);
        return copies - LP_MIN(copies, t->received);
    }
    if (o->consumers != 0) {
        return t->to_receive - LP_MIN(t->to_receive, t->received);
    }
    return o->confirm ? t->sent - LP_MIN(t->sent, t->confirmed) : 0;
}

void
load_figures_of(struct load_figures *ret_figures, const struct load_run *run)
{
    const struct load_mark *a = &run->begin;
    const struct load_mark *b = &run->end;
    const struct load_tally *t = &run->tally;
    struct load_figures f = {.lost = lost(run)};
    const double wall_ns = (double)LP_MAX(b->usage.wall_ns - a->usage.wall_ns, 1u);
    const double broker_ns = (double)(b->usage.broker_cpu_ns - a->usage.broker_cpu_ns);
    const double own_ns = (double)(b->usage.own_cpu_ns - a->usage.own_cpu_ns);
    const double busy_ns = (double)(b->usage.busy_ns - a->usage.busy_ns);

    f.seconds = wall_ns / 1e9;
    f.sent_rate = (double)(b->sent - a->sent) / f.seconds;
    f.received_rate = (double)(b->received - a->received) / f.seconds;
    f.confirmed_rate = (double)(b->confirmed - a->confirmed) / f.seconds;
    f.counted = run->options.consumers != 0 ? b->received - a->received : b->sent - a->sent;
    if (f.counted != 0) {
        f.broker_us = broker_ns / 1e3 / (double)f.counted;
        f.own_us = own_ns / 1e3 / (double)f.counted;
    }
    f.broker_share = broker_ns / wall_ns;
    f.own_share = own_ns / wall_ns;
    f.steal_share = (double)(b->usage.steal_ns - a->usage.steal_ns) / wall_ns;
    /* Ticks against nanoseconds: a little below nothing is nothing. */
    f.others_share = LP_MAX((busy_ns - broker_ns - own_ns) / wall_ns, 0.0);
    f.whole = f.lost == 0 && t->duplicates == 0 && t->out_of_order == 0 && t->corrupt == 0 &&
              t->nacked == 0 && t->returned == 0;
    *ret_figures = f;
}

void
load_progress(struct load_run *run, uint64_t now_ns)
{
    const struct load_mark before = run->tick;
    load_mark_take(&run->tick, run);
    run->tick.usage.wall_ns = now_ns;
    const struct load_mark *now = &run->tick;
    const double seconds = (double)(now->usage.wall_ns - before.usage.wall_ns) / 1e9;
    const double received = (double)(now->received - before.received);
    const double sent = (double)(now->sent - before.sent);
    const double per = LP_MAX(run->options.consumers != 0 ? received : sent, 1.0);
    (void)fprintf(stderr, "%4llu s  sent %.0f/s  delivered %.0f/s",
                  (unsigned long long)++run->ticks, sent / seconds, received / seconds);
    if (run->options.confirm) {
        (void)fprintf(stderr, "  confirmed %.0f/s",
                      (double)(now->confirmed - before.confirmed) / seconds);
    }
    if (received > 0) {
        (void)fprintf(stderr, "  p50 %.0f us  p99 %.0f us",
                      (double)load_hdr_quantile_since(run->tally.delivery, run->second, 0.50) / 1e3,
                      (double)load_hdr_quantile_since(run->tally.delivery, run->second, 0.99) /
                          1e3);
    }
    if (run->tree.count != 0) {
        (void)fprintf(stderr, "  broker %.2f us CPU, %.0f MB",
                      (double)(now->usage.broker_cpu_ns - before.usage.broker_cpu_ns) / 1e3 / per,
                      (double)load_tree_bytes_quick(&run->tree) / 1e6);
    }
    if (now->late != before.late) {
        (void)fprintf(stderr, "  %llu late starts", (unsigned long long)(now->late - before.late));
    }
    (void)fprintf(stderr, "%s%s\n", run->measured ? "  (draining)" : "",
                  run->admin.blocked ? "  (blocked by the broker)" : "");
    *run->second = *run->tally.delivery;
}
