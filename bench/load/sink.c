/* SPDX-License-Identifier: Apache-2.0 */
#include "sink.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/relay/relay.h"

/* In the child: its port, through the pipe. */
static void
ready(void *context, uint16_t port)
{
    const int fd = *(const int *)context;
    if (write(fd, &port, sizeof(port)) != (ssize_t)sizeof(port)) {
        _exit(1); /* nobody is there any more */
    }
    (void)close(fd);
}

static void
be_sink(const struct load_options *options, int fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive the one that asked for it */
    const struct relay_options relay = {
        .address = "tcp:127.0.0.1:0",
        .streams_max = options->publishers + options->consumers + options->idle_connections + 16u,
        .cpu = options->sink_cpu,
        .spin = options->spin,
    };
    _exit(relay_run(&relay, ready, &fd) ? 0 : 1);
}

bool
load_sink_start(struct load_sink *sink, struct load_options *options)
{
    int ends[2];
    uint16_t port = 0;
    if (pipe(ends) != 0 || (sink->pid = fork()) < 0) {
        (void)fprintf(stderr, "lepus-bench: --sink: %s\n", strerrordesc_np(errno));
        return false;
    }
    if (sink->pid == 0) {
        (void)close(ends[0]);
        be_sink(options, ends[1]);
    }
    (void)close(ends[1]);
    const bool good = read(ends[0], &port, sizeof(port)) == (ssize_t)sizeof(port);
    (void)close(ends[0]);
    (void)snprintf(sink->port, sizeof(sink->port), "%u", port);
    options->host = "127.0.0.1";
    options->port = sink->port;
    options->broker_pids[0] = sink->pid;
    options->broker_pid_count = 1;
    return good; /* else the child has said why */
}

void
load_sink_stop(struct load_sink *sink)
{
    if (sink->pid > 0) {
        (void)kill(sink->pid, SIGKILL); /* it keeps nothing */
        (void)waitpid(sink->pid, NULL, 0);
        sink->pid = 0;
    }
}
