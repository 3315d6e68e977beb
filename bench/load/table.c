/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "report.h"

static double
us(const struct load_hdr *hdr, double share)
{
    return (double)load_hdr_quantile(hdr, share) / 1e3;
}

static void
print_latency(const char *name, const struct load_hdr *hdr)
{
    if (hdr->count != 0) {
        printf("  %-9s p50 %.1f us, p90 %.1f, p99 %.1f, p99.9 %.1f, p99.99 %.1f, max %.1f us\n",
               name, us(hdr, 0.50), us(hdr, 0.90), us(hdr, 0.99), us(hdr, 0.999), us(hdr, 0.9999),
               (double)hdr->max_ns / 1e3);
    }
}

static void
print_thousands(const struct load_hdr *p99)
{
    if (p99->count > 1) {
        printf("            p99 of the median thousand %.1f us, of the best quarter's %.1f, of the "
               "worst quarter's %.1f\n",
               us(p99, 0.50), us(p99, 0.25), us(p99, 0.75));
    }
}

static void
print_what(const struct load_options *o)
{
    printf("%u publishers, %u consumers, %u queues", o->publishers, o->consumers, o->queues);
    if (o->exchange != LOAD_EXCHANGE_DEFAULT) {
        printf(" behind a %s exchange%s", load_exchange_word(o->exchange),
               o->to_all ? ", each message to all" : "");
    }
    for (uint32_t i = 0; i < o->size_count; i++) {
        printf("%s%u", i ? " or " : ", ", o->sizes[i]);
    }
    printf(" bytes a message%s%s%s\n", o->persistent ? ", persistent" : ", transient",
           o->confirm ? ", confirmed" : "", o->auto_ack ? ", auto-ack" : "");
}

static void
print_loop(const struct load_run *run, const struct load_figures *f)
{
    const struct load_options *o = &run->options;
    if (o->publishers == 0) {
        return;
    }
    if (o->rate <= 0) {
        printf("  loop      closed: publishers wait (%u unconfirmed, %u not consumed), so a slow\n"
               "            broker is offered less; latency is that of the messages sent\n",
               o->confirm ? o->window : 0, o->backlog);
        return;
    }
    printf(
        "  loop      open, %s: %.0f a second were due, %.0f were sent; latency counts from due\n",
        o->poisson ? "Poisson" : "fixed intervals", o->rate, f->sent_rate);
    printf("  schedule  %llu late starts (over %.0f us after due, by this program's own fault), "
           "start p99 %.1f us\n",
           (unsigned long long)run->tally.late, (double)LOAD_LATE_NS / 1e3,
           us(run->tally.start, 0.99));
    if (run->tally.held != 0 || run->tally.unsent != 0) {
        printf("            %llu waited for window or socket; %llu still did at the end\n",
               (unsigned long long)run->tally.held, (unsigned long long)run->tally.unsent);
    }
}

static void
print_costs(const struct load_run *run, const struct load_figures *f)
{
    if (run->tree.count != 0) {
        printf("  CPU       broker %.3f us a %s (%.0f %% of a processor), this program %.3f us "
               "(%.0f %%)\n",
               f->broker_us, run->options.consumers != 0 ? "delivery" : "message",
               f->broker_share * 100, f->own_us, f->own_share * 100);
        printf("  memory    broker %.1f MB, %.1f MB before this run\n",
               (double)run->bytes_after / 1e6, (double)run->bytes_before / 1e6);
    } else {
        printf("  CPU       this program %.3f us a message (%.0f %% of a processor); the broker's: "
               "--broker-pid\n",
               f->own_us, f->own_share * 100);
    }
    printf("  machine   others used %.0f %% of a processor, the hypervisor took %.1f %%\n",
           f->others_share * 100, f->steal_share * 100);
}

void
load_report_table(const struct load_run *run, const struct load_figures *f)
{
    const struct load_options *o = &run->options;
    const struct load_tally *t = &run->tally;
    print_what(o);
    if (run->open_s > 1) {
        printf("  opened    in %.1f s\n", run->open_s);
    }
    if (o->publishers != 0) {
        printf("  sent      %.0f a second for %.2f s, %llu in all\n", f->sent_rate, f->seconds,
               (unsigned long long)t->sent);
    }
    if (o->consumers != 0) {
        printf("  delivered %.0f a second, %llu in all\n", f->received_rate,
               (unsigned long long)t->received);
    }
    print_latency("delivery", t->delivery);
    print_thousands(t->thousands.p99);
    print_latency("confirm", t->confirm);
    print_costs(run, f);
    printf("  check     %llu lost, %llu duplicates, %llu out of order, %llu damaged, %llu refused, "
           "%llu returned; %llu redelivered\n",
           (unsigned long long)f->lost, (unsigned long long)t->duplicates,
           (unsigned long long)t->out_of_order, (unsigned long long)t->corrupt,
           (unsigned long long)t->nacked, (unsigned long long)t->returned,
           (unsigned long long)t->redelivered);
    if (t->foreign != 0) {
        printf("  note      %llu messages of another run were in the queues\n",
               (unsigned long long)t->foreign);
    }
    print_loop(run, f);
}
