/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - lepus-relay: the floor to compare a broker with, see relay.h. Ends
 * by a signal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "relay.h"

static const char help[] =
    "lepus-relay [--listen tcp:IP:PORT] [--cpu N] [--spin] [--connections N]\n"
    "\n"
    "No broker: each publish is parsed and framed again as a delivery, nothing is kept. What a\n"
    "broker costs beyond this is what it does; what it costs below this is not possible.\n"
    "Says `relay: ready on tcp:IP:PORT` (default: a free port of 127.0.0.1), runs until a "
    "signal.\n";

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "relay: %s:%d: %s\n", file, line, expr);
    abort();
}

static void
ready(void *context, uint16_t port)
{
    (void)context;
    printf("relay: ready on tcp:127.0.0.1:%u\n", port);
    (void)fflush(stdout);
}

static bool
parse(struct relay_options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const bool value = i + 1 < argc;
        if (strcmp(argv[i], "--spin") == 0) {
            options->spin = true;
        } else if (strcmp(argv[i], "--listen") == 0 && value) {
            options->address = argv[++i];
        } else if (strcmp(argv[i], "--cpu") == 0 && value) {
            options->cpu = (uint32_t)strtoul(argv[++i], NULL, 10) + 1u;
        } else if (strcmp(argv[i], "--connections") == 0 && value) {
            const unsigned long most = strtoul(argv[++i], NULL, 10);
            options->streams_max = (uint32_t)LP_MIN(LP_MAX(most, 1u), 1000000u);
        } else {
            return false;
        }
    }
    return true;
}

int
main(int argc, char **argv)
{
    struct relay_options options = {.address = "tcp:127.0.0.1:0", .streams_max = 20000};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        (void)fputs(help, stdout);
        return 0;
    }
    if (!parse(&options, argc, argv)) {
        (void)fputs(help, stderr);
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* as many as there may be */
    }
    return relay_run(&options, ready, NULL) ? 0 : 1;
}
