/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - lepus-control, as the launcher starts it:
 *
 *   lepus-control --region-fd=N --control-wake-fd=N --shard-wake-fds=N,N
 *                 --shards=N --data=DIR [--data-id=HEX] --generation=N [--fresh]
 *                 [--ready-fd=N]
 *                 [--config=FILE] [--set=KEY=VALUE]...
 *
 * Ends with 0 after SIGTERM or SIGINT, when every shard has drained (or does
 * not answer any more), with 1 on a failure that another start may mend.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "control/base/heap.h"
#include "control/config/config.h"
#include "control/link/control.h"
#include "control/server.h"
#include "control/settings.h"

/* For clients to take their leave. */
#define STOP_GRACE_MS 10000u
/* A shard that has not even read STOP after this long is not there any more. */
#define STOP_DEAF_NS 2000000000ull
/* After lepusctl asked: the data plane ends and the launcher then ends us. */
#define STOP_LINGER_NS 10000000000ull

#define SETTINGS_MAX 256u

struct program {
    int region_fd;
    int control_wake_fd;
    int shard_wake_fds[LP_SHARDS_MAX];
    uint32_t shard_wake_count;
    uint32_t shard_count;
    uint32_t generation;
    bool fresh;
    const char *data;
    const char *data_id;
    const char *config_path;
    const char *settings[SETTINGS_MAX];
    size_t setting_count;

    struct lp_config *config;
    void *region;
    int epoll_fd;
    int signal_fd;
    int ready_fd; /* -1: nobody waits */
    int log_level;
    bool signalled;
    uint64_t stop_ns;
    struct lp_store_sqlite *store;
    struct lp_control *control;
    struct server *server;
    struct settings *settings_read;
};

/* ---- drivers ---- */

static uint64_t
clock_read(clockid_t id)
{
    struct timespec now;
    const int failed = clock_gettime(id, &now);
    LP_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t
monotonic_ns(void *self)
{
    (void)self;
    return clock_read(CLOCK_MONOTONIC);
}

static uint64_t
wall_ns(void *self)
{
    (void)self;
    return clock_read(CLOCK_REALTIME);
}

static void
entropy_fill(void *self, void *data, size_t bytes)
{
    uint8_t *at = data;
    (void)self;
    while (bytes > 0) {
        const ssize_t got = getrandom(at, bytes, 0);
        LP_ASSERT(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            bytes -= (size_t)got;
        }
    }
}

static void
wake_shard(void *context, uint32_t shard)
{
    const struct program *program = context;
    const uint64_t one = 1;
    /* It can only fail when the count is at its limit, and then the shard is awake. */
    const ssize_t ignored = write(program->shard_wake_fds[shard], &one, sizeof(one));
    (void)ignored;
}

static bool
disk_free(void *context, uint64_t *ret_bytes)
{
    const struct program *program = context;
    struct statvfs disk;
    if (statvfs(program->data, &disk) != 0) {
        return false;
    }
    *ret_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    return true;
}

/* An administrator's word is in the region; before that, the configuration's. */
static int
log_level_now(const struct program *program)
{
    const struct lp_control_region *region = program->region;
    return region->node.log_level != 0 ? (int)region->node.log_level - 1 : program->log_level;
}

static void
log_line(void *context, enum lp_control_log_level level, const char *text)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    const struct program *program = context;
    if ((int)level >= log_level_now(program)) {
        (void)fprintf(stderr, "lepus-control: %s: %s\n", names[level], text);
    }
}

/* ---- options ---- */

static bool
number_read(const char *text, long max, long *ret_number)
{
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < 0 || number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool
wake_fds_read(struct program *program, char *list)
{
    char *rest = NULL;
    for (char *item = strtok_r(list, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        long fd;
        if (program->shard_wake_count == LP_SHARDS_MAX || !number_read(item, INT32_MAX, &fd)) {
            return false;
        }
        program->shard_wake_fds[program->shard_wake_count++] = (int)fd;
    }
    return true;
}

enum option_id {
    OPTION_REGION_FD = 1,
    OPTION_CONTROL_WAKE_FD,
    OPTION_SHARD_WAKE_FDS,
    OPTION_SHARDS,
    OPTION_DATA,
    OPTION_DATA_ID,
    OPTION_GENERATION,
    OPTION_FRESH,
    OPTION_CONFIG,
    OPTION_SET,
    OPTION_READY_FD,
};

static bool
option_take(struct program *program, int option, char *value)
{
    long number = 0;
    switch (option) {
    case OPTION_DATA:
        program->data = value;
        return true;
    case OPTION_DATA_ID:
        program->data_id = value;
        return true;
    case OPTION_CONFIG:
        program->config_path = value;
        return true;
    case OPTION_FRESH:
        program->fresh = true;
        return true;
    case OPTION_SHARD_WAKE_FDS:
        return wake_fds_read(program, value);
    case OPTION_SET:
        if (program->setting_count == SETTINGS_MAX) {
            return false;
        }
        program->settings[program->setting_count++] = value;
        return true;
    default:
        break;
    }
    /* An option that getopt does not know comes without a value. */
    if (!value || !number_read(value, INT32_MAX, &number)) {
        return false;
    }
    switch (option) {
    case OPTION_REGION_FD:
        program->region_fd = (int)number;
        return true;
    case OPTION_CONTROL_WAKE_FD:
        program->control_wake_fd = (int)number;
        return true;
    case OPTION_READY_FD:
        program->ready_fd = (int)number;
        return true;
    case OPTION_SHARDS:
        program->shard_count = (uint32_t)number;
        return true;
    case OPTION_GENERATION:
        program->generation = (uint32_t)number;
        return true;
    default:
        return false;
    }
}

static bool
options_read(struct program *program, int argc, char **argv)
{
    static const struct option options[] = {
        {"region-fd", required_argument, NULL, OPTION_REGION_FD},
        {"control-wake-fd", required_argument, NULL, OPTION_CONTROL_WAKE_FD},
        {"shard-wake-fds", required_argument, NULL, OPTION_SHARD_WAKE_FDS},
        {"shards", required_argument, NULL, OPTION_SHARDS},
        {"data", required_argument, NULL, OPTION_DATA},
        {"data-id", required_argument, NULL, OPTION_DATA_ID},
        {"generation", required_argument, NULL, OPTION_GENERATION},
        {"fresh", no_argument, NULL, OPTION_FRESH},
        {"config", required_argument, NULL, OPTION_CONFIG},
        {"set", required_argument, NULL, OPTION_SET},
        {"ready-fd", required_argument, NULL, OPTION_READY_FD},
        {NULL, 0, NULL, 0},
    };
    int option;
    /* One thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!option_take(program, option, optarg)) {
            (void)fprintf(stderr, "lepus-control: a bad option; 'lepus' starts this program\n");
            return false;
        }
    }
    const bool good = program->region_fd >= 0 && program->control_wake_fd >= 0 && program->data &&
                      program->shard_count > 0 && program->shard_count <= LP_SHARDS_MAX &&
                      program->shard_wake_count == program->shard_count && optind == argc;
    if (!good) {
        (void)fprintf(stderr, "lepus-control: options are missing; 'lepus' starts this program\n");
    }
    return good;
}

/* ---- configuration ---- */

static bool
config_open(struct program *program)
{
    char why[1024];
    enum lp_err err = lp_config_open(program->config_path, &program->config, why, sizeof(why));
    for (size_t i = 0; !err && i < program->setting_count; i++) {
        err = lp_config_set(program->config, program->settings[i], why, sizeof(why));
    }
    if (!err) {
        err = lp_config_decrypt(program->config, why, sizeof(why));
    }
    if (err) {
        (void)fprintf(stderr, "lepus-control: %s\n", why);
    }
    return !err;
}

static int
log_level_of(const struct lp_config *config)
{
    const char *name = lp_config_text(config, "log.console.level");
    if (!lp_config_bool(config, "log.console") || strcmp(name, "none") == 0) {
        return LP_CONTROL_LOG_NONE;
    }
    if (strcmp(name, "debug") == 0) {
        return LP_CONTROL_LOG_DEBUG;
    }
    if (strcmp(name, "warning") == 0) {
        return LP_CONTROL_LOG_WARNING;
    }
    return strcmp(name, "error") == 0 || strcmp(name, "critical") == 0 ? LP_CONTROL_LOG_ERROR
                                                                       : LP_CONTROL_LOG_INFO;
}

/* ---- boot ---- */

static bool
region_map(struct program *program)
{
    struct stat info;
    const size_t bytes = lp_control_region_bytes(program->shard_count);
    if (fstat(program->region_fd, &info) != 0 || (size_t)info.st_size < bytes) {
        (void)fprintf(stderr, "lepus-control: descriptor %d is no region for %u shards\n",
                      program->region_fd, program->shard_count);
        return false;
    }
    program->region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, program->region_fd, 0);
    if (program->region == MAP_FAILED) {
        (void)fprintf(stderr, "lepus-control: cannot map the region: %s\n", strerrordesc_np(errno));
        return false;
    }
    return true;
}

static bool
events_open(struct program *program)
{
    sigset_t set;
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &program->control_wake_fd};
    struct epoll_event signals = {.events = EPOLLIN, .data.ptr = &program->signal_fd};
    program->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    const bool masked =
        sigemptyset(&set) == 0 && sigaddset(&set, SIGTERM) == 0 && sigaddset(&set, SIGINT) == 0 &&
        pthread_sigmask(SIG_BLOCK, &set, NULL) == 0 && sigaction(SIGPIPE, &ignore, NULL) == 0;
    program->signal_fd = masked ? signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
    const bool good =
        program->epoll_fd >= 0 && program->signal_fd >= 0 &&
        epoll_ctl(program->epoll_fd, EPOLL_CTL_ADD, program->control_wake_fd, &wake) == 0 &&
        epoll_ctl(program->epoll_fd, EPOLL_CTL_ADD, program->signal_fd, &signals) == 0;
    if (!good) {
        (void)fprintf(stderr, "lepus-control: cannot watch descriptors: %s\n",
                      strerrordesc_np(errno));
    }
    return good;
}

static bool
control_open(struct program *program)
{
    char why[1024];
    struct lp_control_options options = {
        .region = program->region,
        .shard_count = program->shard_count,
        .generation = program->generation,
        .clock = {monotonic_ns, wall_ns, NULL},
        .entropy = {entropy_fill, NULL},
        .wake_shard = wake_shard,
        .disk_free = disk_free,
        .log = log_line,
        .context = program,
    };
    const struct settings_given given = {program->data, program->data_id, program->config_path};
    program->settings_read = settings_open(program->config, &given);
    options.settings = *settings_of(program->settings_read);
    program->log_level = log_level_of(program->config);
    if (lp_store_sqlite_open(program->data, program->fresh, &program->store, why, sizeof(why)) !=
        LP_OK) {
        (void)fprintf(stderr, "lepus-control: %s\n", why);
        return false;
    }
    options.store = lp_store_sqlite_store(program->store);
    const enum lp_err err = lp_control_open_boot(&options, &program->control);
    if (err) {
        (void)fprintf(stderr, "lepus-control: cannot start from %s: %s\n", program->data,
                      lp_err_text(err));
        return false;
    }
    if (server_open(program->data, program->epoll_fd, &program->server, why, sizeof(why)) !=
        LP_OK) {
        (void)fprintf(stderr, "lepus-control: %s\n", why);
        return false;
    }
    return true;
}

/* Whoever connects from now on gets an answer. */
static void
ready_say(struct program *program)
{
    if (program->ready_fd < 0) {
        return;
    }
    if (write(program->ready_fd, "\n", 1) != 1) {
        (void)fprintf(stderr, "lepus-control: nobody reads that we are ready\n");
    }
    (void)close(program->ready_fd);
    program->ready_fd = -1;
}

/* ---- the loop ---- */

static void
drain(int fd)
{
    uint8_t room[1024];
    while (read(fd, room, sizeof(room)) > 0) {
    }
}

static void
event_take(struct program *program, const struct epoll_event *event)
{
    if (event->data.ptr == &program->control_wake_fd) {
        uint64_t count;
        /* One read empties it, also when it blocks: epoll has said that there is something. */
        const ssize_t ignored = read(program->control_wake_fd, &count, sizeof(count));
        (void)ignored;
        return;
    }
    if (event->data.ptr == &program->signal_fd) {
        drain(program->signal_fd);
        program->signalled = true;
        lp_control_stop(program->control, STOP_GRACE_MS);
        return;
    }
    server_event(program->server, program->control, event);
}

static int
wait_ms(const struct program *program)
{
    uint64_t wait_ns = lp_control_wait_ns(program->control);
    if (program->stop_ns != 0) {
        wait_ns = LP_MIN(wait_ns, 100000000u); /* to look at the time */
    }
    if (wait_ns == UINT64_MAX) {
        return -1;
    }
    return (int)LP_MIN((wait_ns + 999999u) / 1000000u, 60000u);
}

/* Shards look at the flag after they have published; we look at the rings after we have raised it.
 */
static void
events_wait(struct program *program)
{
    struct lp_control_region *region = program->region;
    struct epoll_event events[16];
    /* S1, pairs with the shard's look after its push. */
    lp_store_relaxed(&region->control_sleeping, 1);
    lp_fence_full();
    const int timeout = lp_control_has_input(program->control) ? 0 : wait_ms(program);
    const int count = epoll_wait(program->epoll_fd, events, LP_COUNT_OF(events), timeout);
    /* S2, pairs with nothing: a needless wake does no harm. */
    lp_store_relaxed(&region->control_sleeping, 0);
    for (int i = 0; i < count; i++) {
        event_take(program, &events[i]);
    }
}

/* Is a stop complete, or hopeless? */
static bool
stop_is_over(struct program *program)
{
    struct lp_control_stopped totals;
    if (!lp_control_stopping(program->control)) {
        return false;
    }
    const uint64_t now = monotonic_ns(NULL);
    program->stop_ns = program->stop_ns != 0 ? program->stop_ns : now;
    const uint64_t since = now - program->stop_ns;
    if (lp_control_stopped(program->control, &totals)) {
        if (program->signalled) {
            char text[160];
            (void)snprintf(text, sizeof(text),
                           "stopped: %llu connections closed, %llu messages were in memory",
                           (unsigned long long)totals.connections_closed,
                           (unsigned long long)totals.messages_held); /* fits */
            log_line(program, LP_CONTROL_LOG_INFO, text);
        }
        return program->signalled || since > STOP_LINGER_NS;
    }
    if (since > STOP_DEAF_NS && !lp_control_heard(program->control)) {
        log_line(program, LP_CONTROL_LOG_WARNING, "stopping: the data plane does not answer");
        return true;
    }
    return since > (STOP_GRACE_MS + 5000u) * 1000000ull;
}

static int
loop_run(struct program *program)
{
    for (;;) {
        bool work = lp_control_turn(program->control);
        server_flush(program->server, program->control);
        if (lp_control_failed(program->control)) {
            return 1;
        }
        if (stop_is_over(program)) {
            return 0;
        }
        if (work) {
            /* Administrators and signals get a look between busy turns. */
            struct epoll_event events[4];
            const int count = epoll_wait(program->epoll_fd, events, LP_COUNT_OF(events), 0);
            for (int i = 0; i < count; i++) {
                event_take(program, &events[i]);
            }
            continue;
        }
        events_wait(program);
    }
}

static void
program_close(struct program *program)
{
    lp_control_close(&program->control);
    server_close(&program->server);
    lp_store_sqlite_close(&program->store);
    settings_close(&program->settings_read);
    lp_config_close(&program->config);
}

int
main(int argc, char **argv)
{
    struct program program = {
        .region_fd = -1, .control_wake_fd = -1, .epoll_fd = -1, .signal_fd = -1, .ready_fd = -1};
    /* The store holds password hashes, and its folder may be one that others can read. */
    (void)umask(077);
    /* The launcher's end is ours; what was committed is safe. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || !options_read(&program, argc, argv) ||
        !config_open(&program) || !region_map(&program) || !events_open(&program) ||
        !control_open(&program)) {
        program_close(&program);
        return 1;
    }
    ready_say(&program);
    const int status = loop_run(&program);
    program_close(&program);
    return status;
}
