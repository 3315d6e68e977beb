/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - lepus-bench: open everything, run the loop, report.
 *
 * The first SIGINT or SIGTERM ends sending; what is on its way is still waited
 * for, until the second. Everything declared is deleted.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "report.h"
#include "sink.h"
#include "tls.h"

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "lepus-bench: %s:%d: %s\n", file, line, expr);
    abort();
}

static bool
report(struct load_run *run)
{
    struct load_figures figures;
    load_figures_of(&figures, run);
    const struct load_options *o = &run->options;
    if (o->json_path == NULL || o->json_path[0] != '-') {
        load_report_table(run, &figures);
    }
    bool good = figures.whole;
    if (o->json_path != NULL) {
        good = load_report_json(run, &figures, o->json_path) && good;
    }
    if (o->svg_path != NULL) {
        good = load_report_svg(run, &figures, o->svg_path) && good;
    }
    return good;
}

static int
measure(struct load_run *run)
{
    const char *why = load_run_loop(run);
    run->bytes_after = load_tree_bytes(&run->tree);
    for (uint32_t i = 0; i < run->options.consumers; i++) {
        load_consumer_settle(&run->consumers[i]);
    }
    const bool good = report(run);
    if (why != NULL) {
        (void)fprintf(stderr, "lepus-bench: stopped early: %s\n", why);
    }
    return good && why == NULL ? 0 : 1;
}

/* The device is opened where its thread will run. */
static bool
net_open(struct load_options *options)
{
    if (options->net_device == NULL) {
        return true;
    }
    if (options->net_address == NULL) {
        (void)fprintf(stderr, "lepus-bench: --net wants --net-address, such as 10.0.0.1/24\n");
        return false;
    }
    options->stack = load_net_open(options->net_device, options->net_address);
    return options->stack != NULL;
}

static bool
prepare(struct load_run *run)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!load_watch_open(&run->watch, run->options.stack) || run->signals < 0 ||
        pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ||
        epoll_ctl(run->watch.epoll, EPOLL_CTL_ADD, run->signals, &event) != 0) {
        (void)fprintf(stderr, "lepus-bench: %s\n", strerrordesc_np(errno));
        return false;
    }
    (void)prctl(PR_SET_TIMERSLACK, 1); /* 50 us late by default */
    if (run->options.cpu != 0 && !load_machine_pin(run->options.cpu - 1)) {
        (void)fprintf(stderr, "lepus-bench: --cpu %u: %s\n", run->options.cpu - 1,
                      strerrordesc_np(errno));
        return false;
    }
    if (run->options.tls && (run->options.tls_shared = load_tls_open(&run->options)) == NULL) {
        return false;
    }
    run->watch.net = net_open(&run->options) ? run->options.stack : NULL;
    return run->options.net_device == NULL || run->watch.net != NULL;
}

int
main(int argc, char **argv)
{
    struct load_run *run = calloc(1, sizeof(*run));
    int code = 2;
    if (run == NULL) {
        return code;
    }
    run->watch.epoll = run->signals = run->admin.fd = -1;
    if (load_options_parse(&run->options, argc, argv, &code)) {
        char name[64];
        (void)snprintf(name, sizeof(name), "lepus-bench-%d", getpid());
        run->options.name = run->options.name ? run->options.name : name;
        struct load_sink sink = {0};
        /* Before signals are ours and the processor is chosen: the child wants neither. */
        const bool there = !run->options.sink || load_sink_start(&sink, &run->options);
        code = there && prepare(run) && load_run_open(run) ? measure(run) : 2;
        load_run_close(run);
        load_net_close(run->options.stack);
        load_tls_close(run->options.tls_shared);
        load_sink_stop(&sink);
    }
    free(run);
    return code;
}
