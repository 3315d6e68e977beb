/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "load.h"

struct figures {
    double seconds;
    double sent_rate;
    double received_rate;
    double broker_us; /* CPU per message */
    double own_us;
    uint64_t lost;
    uint64_t messages; /* that went all the way */
};

static struct figures
work_out(const struct load_options *options, const struct load_tally *tally, uint64_t broker_cpu_ns,
         uint64_t own_cpu_ns)
{
    struct figures f = {.seconds = 1e-9};
    const uint64_t end_ns = LP_MAX(tally->last_event_ns, tally->first_send_ns + 1);
    f.seconds = (double)(end_ns - tally->first_send_ns) / 1e9;
    f.sent_rate = (double)tally->sent / f.seconds;
    f.received_rate = (double)tally->received / f.seconds;
    f.messages = options->consumers != 0 ? tally->received : tally->sent;
    if (options->consumers != 0 && options->publishers != 0) {
        f.lost = tally->sent - tally->received;
    } else if (options->consumers != 0) {
        f.lost = options->messages - LP_MIN(options->messages, tally->received);
    } else if (options->confirm) {
        f.lost = tally->sent - tally->confirmed;
    }
    if (f.messages != 0) {
        f.broker_us = (double)broker_cpu_ns / 1e3 / (double)f.messages;
        f.own_us = (double)own_cpu_ns / 1e3 / (double)f.messages;
    }
    return f;
}

static double
us(const struct load_latency *latency, double share)
{
    return (double)load_latency_quantile(latency, share) / 1e3;
}

static void
print_latency(const char *name, const struct load_latency *latency)
{
    if (latency->count == 0) {
        return;
    }
    printf("  %-9s p50 %.0f us, p90 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us\n", name,
           us(latency, 0.50), us(latency, 0.90), us(latency, 0.99), us(latency, 0.999),
           (double)latency->max_ns / 1e3);
}

static void
print_text(const struct load_options *options, const struct load_tally *tally,
           const struct figures *f)
{
    printf("%u publishers, %u consumers, %u queues, %u bytes a message%s%s%s\n",
           options->publishers, options->consumers, options->queues, options->size,
           options->durable ? ", persistent" : "", options->confirm ? ", confirmed" : "",
           options->auto_ack ? ", auto-ack" : "");
    printf("  sent      %llu messages in %.2f s, %.0f a second\n", (unsigned long long)tally->sent,
           f->seconds, f->sent_rate);
    if (options->consumers != 0) {
        printf("  received  %llu, %.0f a second\n", (unsigned long long)tally->received,
               f->received_rate);
    }
    print_latency("delivery", &tally->delivery);
    print_latency("confirm", &tally->confirm);
    if (options->broker_pid_count != 0) {
        printf("  CPU       broker %.2f us a message, lepus-bench %.2f us\n", f->broker_us,
               f->own_us);
    }
    printf("  check     %llu lost, %llu duplicates, %llu out of order, %llu corrupt, %llu refused, "
           "%llu returned; %llu redelivered\n",
           (unsigned long long)f->lost, (unsigned long long)tally->duplicates,
           (unsigned long long)tally->out_of_order, (unsigned long long)tally->corrupt,
           (unsigned long long)tally->nacked, (unsigned long long)tally->returned,
           (unsigned long long)tally->redelivered);
    if (tally->foreign != 0) {
        printf("  note      %llu messages of another run were in the queues\n",
               (unsigned long long)tally->foreign);
    }
    if (options->rate != 0) {
        printf("  loop      at a rate: latency counts from when a message was due\n");
    } else {
        printf("  loop      closed: a publisher with a full window waits, so a slow broker is\n"
               "            offered less; latency is of the messages sent, see --help\n");
    }
}

static void
print_json(const struct load_options *options, const struct load_tally *tally,
           const struct figures *f)
{
    printf(
        "{\"loop\": \"%s\", \"publishers\": %u, \"consumers\": %u, \"queues\": %u, \"size\": %u, ",
        options->rate != 0 ? "rate" : "closed", options->publishers, options->consumers,
        options->queues, options->size);
    printf("\"persistent\": %s, \"confirm\": %s, \"auto_ack\": %s, \"window\": %u, "
           "\"prefetch\": %u, \"rate\": %llu, ",
           options->durable ? "true" : "false", options->confirm ? "true" : "false",
           options->auto_ack ? "true" : "false", options->window, options->prefetch,
           (unsigned long long)options->rate);
    printf("\"seconds\": %.6f, \"sent\": %llu, \"received\": %llu, \"confirmed\": %llu, "
           "\"sent_per_s\": %.1f, \"received_per_s\": %.1f, ",
           f->seconds, (unsigned long long)tally->sent, (unsigned long long)tally->received,
           (unsigned long long)tally->confirmed, f->sent_rate, f->received_rate);
    printf("\"delivery_us\": {\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}, ",
           us(&tally->delivery, 0.50), us(&tally->delivery, 0.99), us(&tally->delivery, 0.999),
           (double)tally->delivery.max_ns / 1e3);
    printf("\"confirm_us\": {\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}, ",
           us(&tally->confirm, 0.50), us(&tally->confirm, 0.99), us(&tally->confirm, 0.999),
           (double)tally->confirm.max_ns / 1e3);
    printf("\"broker_cpu_us_per_message\": %.3f, \"own_cpu_us_per_message\": %.3f, ", f->broker_us,
           f->own_us);
    printf("\"lost\": %llu, \"duplicates\": %llu, \"out_of_order\": %llu, \"corrupt\": %llu, "
           "\"refused\": %llu, \"returned\": %llu, \"redelivered\": %llu, \"foreign\": %llu}\n",
           (unsigned long long)f->lost, (unsigned long long)tally->duplicates,
           (unsigned long long)tally->out_of_order, (unsigned long long)tally->corrupt,
           (unsigned long long)tally->nacked, (unsigned long long)tally->returned,
           (unsigned long long)tally->redelivered, (unsigned long long)tally->foreign);
}

bool
load_report(const struct load_options *options, const struct load_tally *tally,
            uint64_t broker_cpu_ns, uint64_t own_cpu_ns)
{
    const struct figures f = work_out(options, tally, broker_cpu_ns, own_cpu_ns);
    if (options->json) {
        print_json(options, tally, &f);
    } else {
        print_text(options, tally, &f);
    }
    return f.lost == 0 && tally->duplicates == 0 && tally->out_of_order == 0 &&
           tally->corrupt == 0 && tally->nacked == 0 && tally->returned == 0;
}
