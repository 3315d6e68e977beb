/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "report.h"

static void
put_text(FILE *out, const char *name, const char *text)
{
    (void)fprintf(out, "  \"%s\": \"", name);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            (void)fputc('\\', out);
        }
        (void)fputc((unsigned char)*at < ' ' ? ' ' : *at, out);
    }
    (void)fprintf(out, "\",\n");
}

static void
put_number(FILE *out, const char *name, double number)
{
    (void)fprintf(out, "  \"%s\": %.9g,\n", name, number);
}

static void
put_count(FILE *out, const char *name, uint64_t number)
{
    (void)fprintf(out, "  \"%s\": %llu,\n", name, (unsigned long long)number);
}

static void
put_flag(FILE *out, const char *name, bool yes)
{
    (void)fprintf(out, "  \"%s\": %s,\n", name, yes ? "true" : "false");
}

/* Percentiles, and the curve: a point where another thousandth of what is left is reached. */
static void
put_latency(FILE *out, const char *name, const struct load_hdr *hdr)
{
    static const struct {
        const char *name;
        double share;
    } points[] = {{"p50", 0.5},  {"p90", 0.9},    {"p95", 0.95},
                  {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};
    (void)fprintf(out, "  \"%s\": {\"count\": %llu, ", name, (unsigned long long)hdr->count);
    for (size_t i = 0; i < LP_COUNT_OF(points); i++) {
        (void)fprintf(out, "\"%s\": %.3f, ", points[i].name,
                      (double)load_hdr_quantile(hdr, points[i].share) / 1e3);
    }
    (void)fprintf(out, "\"min\": %.3f, \"mean\": %.3f, \"max\": %.3f, \"curve\": [",
                  hdr->count ? (double)hdr->min_ns / 1e3 : 0.0, load_hdr_mean(hdr) / 1e3,
                  (double)hdr->max_ns / 1e3);
    double left = 1.0;
    for (int i = 0; hdr->count != 0 && left * (double)hdr->count >= 0.5 && i < 100; i++) {
        (void)fprintf(out, "%s[%.8g, %.3f]", i ? ", " : "", 1.0 - left,
                      (double)load_hdr_quantile(hdr, 1.0 - left) / 1e3);
        left *= 0.8;
    }
    (void)fprintf(out, "]},\n");
}

static void
put_options(FILE *out, const struct load_options *o)
{
    const char *exchange = load_exchange_word(o->exchange);
    put_text(out, "title", o->title ? o->title : "");
    put_text(out, "loop", o->rate > 0 ? "open" : "closed");
    put_text(out, "exchange", exchange ? exchange : "");
    put_count(out, "publishers", o->publishers);
    put_count(out, "consumers", o->consumers);
    put_count(out, "queues", o->queues);
    put_count(out, "idle_connections", o->idle_connections);
    put_count(out, "idle_queues", o->idle_queues);
    put_count(out, "idle_bindings", o->idle_bindings);
    put_count(out, "size", o->size);
    put_number(out, "rate", o->rate);
    put_count(out, "window", o->window);
    put_count(out, "backlog", o->backlog);
    put_count(out, "prefetch", o->prefetch);
    put_flag(out, "poisson", o->poisson);
    put_flag(out, "confirm", o->confirm);
    put_flag(out, "auto_ack", o->auto_ack);
    put_flag(out, "persistent", o->persistent);
    put_flag(out, "to_all", o->to_all);
}

static void
put_figures(FILE *out, const struct load_run *run, const struct load_figures *f)
{
    const struct load_tally *t = &run->tally;
    put_number(out, "open_s", run->open_s);
    put_number(out, "seconds", f->seconds);
    put_number(out, "sent_per_s", f->sent_rate);
    put_number(out, "delivered_per_s", f->received_rate);
    put_number(out, "confirmed_per_s", f->confirmed_rate);
    put_count(out, "measured", f->counted);
    put_number(out, "broker_cpu_us", f->broker_us);
    put_number(out, "own_cpu_us", f->own_us);
    put_number(out, "broker_cpu_share", f->broker_share);
    put_number(out, "own_cpu_share", f->own_share);
    put_number(out, "others_cpu_share", f->others_share);
    put_number(out, "steal_share", f->steal_share);
    put_count(out, "broker_bytes_before", run->bytes_before);
    put_count(out, "broker_bytes_after", run->bytes_after);
    put_count(out, "sent", t->sent);
    put_count(out, "received", t->received);
    put_count(out, "confirmed", t->confirmed);
    put_count(out, "lost", f->lost);
    put_count(out, "duplicates", t->duplicates);
    put_count(out, "out_of_order", t->out_of_order);
    put_count(out, "damaged", t->corrupt);
    put_count(out, "refused", t->nacked);
    put_count(out, "returned", t->returned);
    put_count(out, "redelivered", t->redelivered);
    put_count(out, "foreign", t->foreign);
    put_count(out, "late_starts", t->late);
    put_count(out, "held", t->held);
    put_count(out, "unsent", t->unsent);
}

bool
load_report_json(const struct load_run *run, const struct load_figures *f, const char *path)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *out = standard ? stdout : fopen(path, "w");
    if (out == NULL) {
        (void)fprintf(stderr, "lepus-bench: %s: %s\n", path, strerrordesc_np(errno));
        return false;
    }
    (void)fprintf(out, "{\n");
    put_options(out, &run->options);
    put_figures(out, run, f);
    put_latency(out, "delivery_us", run->tally.delivery);
    put_latency(out, "p99_of_thousands_us", run->tally.thousands.p99);
    put_latency(out, "confirm_us", run->tally.confirm);
    put_latency(out, "start_us", run->tally.start);
    (void)fprintf(out, "  \"whole\": %s\n}\n", f->whole ? "true" : "false");
    const bool good = !ferror(out);
    return (standard ? fflush(out) : fclose(out)) == 0 && good;
}
