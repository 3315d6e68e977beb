/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the two processes running, and ends them in order.
 *
 *             control died: start_control        data plane died: crash
 *              .---------.                      .------------------.
 *              v         |                      |                  v
 *   start --> RUNNING ---'----------------------'             REPLACING
 *              |  |  ^                                             |
 *              |  |  '------- both gone: new region, both again ---'
 *              |  '-- data plane exits 0 (lepusctl stop) ----.
 *              | SIGTERM, SIGINT, SIGHUP                     v
 *              '--> STOPPING -- data plane gone ---------> ENDING --> DONE
 *                                                   (waits for control)
 */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define DRAIN_MS 30000u /* for clients to be told, after SIGTERM */
/* timeout(1) tells its child and then the child's group, and a terminal's group may be told again
 * by whoever is in it: signals so near to each other are one wish. */
#define SAME_WISH_MS      250u
#define END_MS            5000u /* for a process that has nothing left to do */
#define QUICK_MS          1000u /* a life shorter than this is a crash loop's */
#define BACKOFF_FIRST_MS  10u   /* doubling to BACKOFF_MAX_MS */
#define BACKOFF_MAX_MS    1000u
#define BOOT_FAILURES_MAX 5u
#define CRASHES_MAX       5u /* of the data plane, in CRASHES_MS */
#define CRASHES_MS        60000u

enum phase {
    PHASE_RUNNING,
    PHASE_STOPPING,
    PHASE_REPLACING,
    PHASE_ENDING,
    PHASE_DONE,
};

struct supervisor {
    const struct launcher_plan *plan;
    struct launcher_region region;
    struct launcher_child dataplane;
    struct launcher_child control;
    enum phase phase;
    int exit_code;
    int signal_fd;
    uint32_t generation;  /* of control: how many were started */
    uint64_t deadline_ms; /* of the phase; 0: none */
    bool drained;         /* STOPPING: the grace is over and the data plane was told itself */
    uint64_t connections; /* when the stop began */
    bool asked;           /* a signal asked for the stop */
    uint64_t asked_ms;

    uint64_t control_at_ms; /* when to start control again */
    uint32_t backoff_ms;
    unsigned boot_failures;
    bool control_lived; /* one was ready, or ended by a signal: what it needs to start is there */

    bool was_ready;       /* a data plane once was */
    bool dataplane_ready; /* the one that runs is */
    bool control_ready;   /* lepusctl is heard */
    bool ready_said;      /* both, and the operator knows */
    int control_ready_fd; /* one byte; -1 when read */
    int ready_fd;         /* the data plane's first line; -1 when read */
    size_t ready_bytes;
    char ready[8192]; /* LAUNCHER_LISTENERS_MAX addresses of at most 120 bytes */

    unsigned crash_count;
    uint64_t crash_ms[CRASHES_MAX]; /* a ring of the latest */
};

static void
ready_close(int *ready_fd)
{
    if (*ready_fd >= 0) {
        (void)close(*ready_fd);
        *ready_fd = -1;
    }
}

/* Clients and administrators are both heard from here on. */
static void
ready_say(struct supervisor *supervisor)
{
    if (supervisor->dataplane_ready && supervisor->control_ready && !supervisor->ready_said) {
        supervisor->ready_said = true;
        launcher_say("ready on %s", supervisor->ready + strlen("ready "));
    }
}

static void
control_begin(struct supervisor *supervisor, bool fresh)
{
    int ready[2] = {-1, -1};

    supervisor->generation++;
    ready_close(&supervisor->control_ready_fd);
    if (!supervisor->ready_said && pipe2(ready, O_CLOEXEC | O_NONBLOCK) != 0) {
        launcher_warn("cannot make a pipe: %s", strerrordesc_np(errno));
    }
    supervisor->control_ready_fd = ready[0];
    const struct launcher_control_start how = {supervisor->generation, fresh, ready[1]};
    const bool good =
        launcher_start_control(&supervisor->control, supervisor->plan, &supervisor->region, &how);
    ready_close(&ready[1]);
    if (!good) {
        /* Its binary may be about to be replaced by an upgrade: try again. */
        supervisor->control_at_ms = launcher_now_ms() + BACKOFF_MAX_MS;
    }
}

static bool
both_begin(struct supervisor *supervisor)
{
    char why[LAUNCHER_WHY_BYTES];
    int ready[2];

    if (!launcher_region_open(&supervisor->region, supervisor->plan->shard_count, why,
                              sizeof(why))) {
        launcher_warn("%s", why);
        return false;
    }
    launcher_region_tell(&supervisor->region, supervisor->plan);
    if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) != 0) {
        launcher_warn("cannot make a pipe: %s", strerrordesc_np(errno));
        return false;
    }
    supervisor->ready_fd = ready[0];
    supervisor->ready_bytes = 0;
    supervisor->ready_said = false;
    supervisor->dataplane_ready = false;
    supervisor->control_ready = false;
    const bool good = launcher_start_dataplane(&supervisor->dataplane, supervisor->plan,
                                               &supervisor->region, ready[1]);
    (void)close(ready[1]); /* the child has its own: the end of the pipe is the end of the child */
    if (!good) {
        return false;
    }
    control_begin(supervisor, true);
    return true;
}

/* Control is to go: nothing is left that it could serve. */
static void
phase_end(struct supervisor *supervisor, enum phase phase)
{
    supervisor->phase = phase;
    supervisor->deadline_ms = launcher_now_ms() + END_MS;
    /* One that is replaced would first wait for shards that are dead, while clients wait for it.
     * What it had answered is on disk. */
    launcher_child_signal(&supervisor->control, phase == PHASE_REPLACING ? SIGKILL : SIGTERM);
}

static void
stop_begin(struct supervisor *supervisor)
{
    supervisor->asked = true;
    supervisor->asked_ms = launcher_now_ms();
    supervisor->connections = launcher_region_connections(&supervisor->region);
    if (supervisor->phase == PHASE_REPLACING || supervisor->dataplane.pid == 0) {
        phase_end(supervisor, PHASE_ENDING);
        return;
    }
    launcher_say("stopping: telling %llu connections; a second Ctrl-C ends it at once",
                 (unsigned long long)supervisor->connections);
    supervisor->phase = PHASE_STOPPING;
    supervisor->deadline_ms = launcher_now_ms() + DRAIN_MS;
    supervisor->drained = false;
    if (supervisor->control.pid != 0) {
        launcher_child_signal(&supervisor->control, SIGTERM);
    } else {
        launcher_child_signal(&supervisor->dataplane, SIGTERM);
    }
}

static void
on_stop_signal(struct supervisor *supervisor)
{
    if (supervisor->phase == PHASE_RUNNING || supervisor->phase == PHASE_REPLACING) {
        stop_begin(supervisor);
        return;
    }
    if (supervisor->asked && launcher_now_ms() - supervisor->asked_ms < SAME_WISH_MS) {
        return;
    }
    launcher_say("stopping at once");
    launcher_child_signal(&supervisor->dataplane, SIGKILL);
    launcher_child_signal(&supervisor->control, SIGKILL);
}

static void
both_gone(struct supervisor *supervisor)
{
    launcher_region_close(&supervisor->region);
    ready_close(&supervisor->ready_fd);
    ready_close(&supervisor->control_ready_fd);
    if (supervisor->phase == PHASE_ENDING) {
        supervisor->phase = PHASE_DONE;
        return;
    }
    LP_ASSERT(supervisor->phase == PHASE_REPLACING);
    supervisor->phase = PHASE_RUNNING;
    supervisor->deadline_ms = 0;
    if (!both_begin(supervisor)) {
        supervisor->exit_code = 1;
        phase_end(supervisor, PHASE_ENDING);
    }
}

static void
control_again(struct supervisor *supervisor, uint64_t lived_ms, const char *how)
{
    const bool quick = lived_ms < QUICK_MS;

    supervisor->backoff_ms =
        !quick ? 0 : LP_MIN(LP_MAX(supervisor->backoff_ms * 2, BACKOFF_FIRST_MS), BACKOFF_MAX_MS);
    supervisor->control_at_ms = launcher_now_ms() + supervisor->backoff_ms;
    launcher_warn("lepus-control %s; starting it again%s (messages keep flowing)", how,
                  supervisor->backoff_ms > 0 ? " in a moment" : "");
}

static void
on_control_end(struct supervisor *supervisor)
{
    char how[128];
    const uint64_t lived_ms = launcher_now_ms() - supervisor->control.started_ms;
    const struct launcher_ending ending = launcher_child_reap(&supervisor->control);

    launcher_ending_print(ending, how, sizeof(how));
    /* Not how long it lived: to fail takes a slow machine longer. */
    supervisor->control_lived |= supervisor->control_ready || ending.signalled;
    switch (supervisor->phase) {
    case PHASE_RUNNING:
        supervisor->boot_failures += supervisor->control_lived ? 0 : 1;
        if (supervisor->boot_failures < BOOT_FAILURES_MAX) {
            control_again(supervisor, lived_ms, how);
            return;
        }
        launcher_warn("lepus-control %s, %u times in a row from the start; giving up: its own "
                      "message above says why",
                      how, supervisor->boot_failures);
        supervisor->exit_code = 1;
        supervisor->phase = PHASE_STOPPING;
        supervisor->drained = true;
        supervisor->deadline_ms = launcher_now_ms() + END_MS;
        launcher_child_signal(&supervisor->dataplane, SIGTERM);
        return;
    case PHASE_STOPPING:
        if (ending.signalled || ending.number != 0) {
            /* Nobody is left to drain the shards. */
            supervisor->drained = true;
            launcher_child_signal(&supervisor->dataplane, SIGTERM);
        }
        supervisor->deadline_ms = LP_MIN(supervisor->deadline_ms, launcher_now_ms() + END_MS);
        return;
    case PHASE_REPLACING:
    case PHASE_ENDING:
    case PHASE_DONE:
        return;
    }
}

/* At most CRASHES_MAX in CRASHES_MS: more than that will not get better by itself. */
static bool
crash_tolerable(struct supervisor *supervisor)
{
    const uint64_t now_ms = launcher_now_ms();
    uint64_t *oldest = &supervisor->crash_ms[supervisor->crash_count % CRASHES_MAX];
    const bool often = supervisor->crash_count >= CRASHES_MAX && now_ms - *oldest < CRASHES_MS;

    *oldest = now_ms;
    supervisor->crash_count++;
    return !often;
}

static void
on_dataplane_crash(struct supervisor *supervisor, const char *how)
{
    ready_close(&supervisor->ready_fd);
    if (!supervisor->was_ready) {
        launcher_warn("lepus-dataplane %s before it was ready; its own message above says why",
                      how);
        supervisor->exit_code = 1;
        phase_end(supervisor, PHASE_ENDING);
        return;
    }
    if (!crash_tolerable(supervisor)) {
        launcher_warn("lepus-dataplane %s, more than %u times in a minute; giving up", how,
                      CRASHES_MAX);
        supervisor->exit_code = 1;
        phase_end(supervisor, PHASE_ENDING);
        return;
    }
    launcher_warn("lepus-dataplane %s; starting both processes again: connections are lost, "
                  "durable queues come back",
                  how);
    phase_end(supervisor, PHASE_REPLACING);
}

static void
on_dataplane_end(struct supervisor *supervisor)
{
    char how[128];
    const struct launcher_ending ending = launcher_child_reap(&supervisor->dataplane);

    launcher_ending_print(ending, how, sizeof(how));
    const bool graceful = !ending.signalled && ending.number == 0;
    if (supervisor->phase == PHASE_RUNNING && !graceful) {
        on_dataplane_crash(supervisor, how);
        return;
    }
    if (supervisor->phase == PHASE_RUNNING) {
        launcher_say("stopping, as lepusctl asked");
    } else if (!graceful && !(ending.signalled && ending.number == SIGTERM)) {
        launcher_warn("lepus-dataplane %s while stopping", how);
        supervisor->exit_code = 1;
    }
    phase_end(supervisor, PHASE_ENDING);
}

static void
on_deadline(struct supervisor *supervisor)
{
    supervisor->deadline_ms = launcher_now_ms() + END_MS;
    if (supervisor->phase == PHASE_STOPPING && !supervisor->drained) {
        launcher_warn("the data plane has not stopped by itself; telling it to end");
        supervisor->drained = true;
        launcher_child_signal(&supervisor->dataplane, SIGTERM);
        return;
    }
    launcher_child_signal(&supervisor->dataplane, SIGKILL);
    launcher_child_signal(&supervisor->control, SIGKILL);
}

/* "ready tcp:0.0.0.0:5672 ... transport=io_uring\n" */
static void
on_ready_line(struct supervisor *supervisor)
{
    const size_t room = sizeof(supervisor->ready) - 1 - supervisor->ready_bytes;
    const ssize_t bytes =
        read(supervisor->ready_fd, supervisor->ready + supervisor->ready_bytes, room);

    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (bytes <= 0) {
        ready_close(&supervisor->ready_fd); /* its end comes by pidfd */
        return;
    }
    supervisor->ready_bytes += (size_t)bytes;
    supervisor->ready[supervisor->ready_bytes] = '\0';
    char *end = strchr(supervisor->ready, '\n');
    if (end == NULL) {
        return;
    }
    *end = '\0';
    ready_close(&supervisor->ready_fd);
    if (strncmp(supervisor->ready, "ready ", strlen("ready ")) == 0) {
        supervisor->was_ready = true;
        supervisor->dataplane_ready = true;
        ready_say(supervisor);
    }
}

static void
on_control_ready(struct supervisor *supervisor)
{
    char byte;
    const ssize_t bytes = read(supervisor->control_ready_fd, &byte, sizeof(byte));

    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    ready_close(&supervisor->control_ready_fd);
    if (bytes > 0) {
        supervisor->control_ready = true;
        ready_say(supervisor);
    }
}

static int
wait_ms(const struct supervisor *supervisor)
{
    const uint64_t now_ms = launcher_now_ms();
    uint64_t until_ms = supervisor->deadline_ms;

    if (supervisor->phase == PHASE_RUNNING && supervisor->control.pid == 0) {
        until_ms = supervisor->control_at_ms;
    }
    if (until_ms == 0) {
        return -1;
    }
    return until_ms > now_ms ? (int)LP_MIN(until_ms - now_ms, 60000u) : 0;
}

static void
on_time(struct supervisor *supervisor)
{
    const uint64_t now_ms = launcher_now_ms();
    const bool over = supervisor->deadline_ms != 0 && now_ms >= supervisor->deadline_ms;

    if (over && supervisor->phase != PHASE_DONE) {
        on_deadline(supervisor);
    }
    if (supervisor->phase == PHASE_RUNNING && supervisor->control.pid == 0 &&
        now_ms >= supervisor->control_at_ms) {
        control_begin(supervisor, false);
    }
    const bool ending = supervisor->phase == PHASE_ENDING || supervisor->phase == PHASE_REPLACING;
    if (ending && supervisor->control.pid == 0 && supervisor->dataplane.pid == 0) {
        both_gone(supervisor);
    }
}

static void
turn(struct supervisor *supervisor)
{
    enum { SIGNAL, READY, CONTROL_READY, DATAPLANE, CONTROL, COUNT };
    struct pollfd polls[COUNT] = {
        [SIGNAL] = {supervisor->signal_fd, POLLIN, 0},
        [READY] = {supervisor->ready_fd, POLLIN, 0},
        [CONTROL_READY] = {supervisor->control_ready_fd, POLLIN, 0},
        [DATAPLANE] = {supervisor->dataplane.pid ? supervisor->dataplane.pidfd : -1, POLLIN, 0},
        [CONTROL] = {supervisor->control.pid ? supervisor->control.pidfd : -1, POLLIN, 0},
    };
    struct signalfd_siginfo info;

    const int ready = poll(polls, COUNT, wait_ms(supervisor));
    LP_ASSERT(ready >= 0 || errno == EINTR);
    if (ready < 0) {
        return;
    }
    /* The line before the end of the process that wrote it. */
    if (polls[READY].revents != 0) {
        on_ready_line(supervisor);
    }
    if (polls[CONTROL_READY].revents != 0) {
        on_control_ready(supervisor);
    }
    if (polls[DATAPLANE].revents != 0) {
        on_dataplane_end(supervisor);
    }
    if (polls[CONTROL].revents != 0) {
        on_control_end(supervisor);
    }
    if (polls[SIGNAL].revents != 0 &&
        read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        on_stop_signal(supervisor);
    }
    on_time(supervisor);
}

static int
signals_open(void)
{
    sigset_t set;
    const bool good = sigemptyset(&set) == 0 && sigaddset(&set, SIGTERM) == 0 &&
                      sigaddset(&set, SIGINT) == 0 && sigaddset(&set, SIGHUP) == 0 &&
                      pthread_sigmask(SIG_BLOCK, &set, NULL) == 0;
    return good ? signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
}

int
launcher_supervise(const struct launcher_plan *plan)
{
    struct supervisor supervisor = {
        .plan = plan,
        .dataplane = {.name = "lepus-dataplane", .pidfd = -1},
        .control = {.name = "lepus-control", .pidfd = -1, .bare = true},
        .phase = PHASE_RUNNING,
        .ready_fd = -1,
        .control_ready_fd = -1,
        .signal_fd = signals_open(),
    };

    if (supervisor.signal_fd < 0) {
        launcher_warn("cannot wait for signals: %s", strerrordesc_np(errno));
        return 1;
    }
    if (!both_begin(&supervisor)) {
        supervisor.exit_code = 1;
        phase_end(&supervisor, PHASE_ENDING);
    }
    while (supervisor.phase != PHASE_DONE) {
        turn(&supervisor);
    }
    if (supervisor.exit_code == 0 && supervisor.asked) {
        launcher_say("stopping: %llu connections closed, goodbye",
                     (unsigned long long)supervisor.connections);
    } else if (supervisor.exit_code == 0) {
        launcher_say("stopped, goodbye");
    }
    (void)close(supervisor.signal_fd);
    return supervisor.exit_code;
}
