/* SPDX-License-Identifier: Apache-2.0 */
/* lepus - the program that a user starts; launcher.h says how it is made. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef LP_VERSION
#define LP_VERSION "0.0.0"
#endif

/* From sysexits.h, which scripts know. */
#define EXIT_USAGE  64
#define EXIT_CONFIG 78

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "lepus: bug: %s does not hold (%s:%d)\n", expr, file, line);
    abort();
}

static void
banner_print(const struct launcher_plan *plan)
{
    launcher_say("Lepus %s, %s", LP_VERSION, plan->cluster_name);
    launcher_say("%u shard%s, %llu MiB of memory, publishers wait from %llu MiB on",
                 plan->shard_count, plan->shard_count == 1 ? "" : "s",
                 (unsigned long long)(plan->memory_bytes >> 20),
                 (unsigned long long)(plan->watermark_bytes >> 20));
    launcher_say("data in %s (%s)", plan->data, plan->record.id);
    for (size_t i = 0; i < plan->listener_count; i++) {
        launcher_say("will listen on %s", plan->listener[i]);
    }
}

/* Standard descriptors exist, and nothing else that we were started with reaches a child. */
static void
descriptors_tidy(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO) {
        fd = open("/dev/null", O_RDWR);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    /* Fails on kernels before 5.11 only. */
    (void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
}

static int
run(const struct launcher_options *options)
{
    struct launcher_plan plan;
    struct launcher_machine machine;
    char why[LAUNCHER_WHY_BYTES];

    launcher_machine_read(&machine, "");
    if (launcher_plan_make(&plan, options, &machine, why, sizeof(why)) != LP_OK) {
        launcher_warn("%s", why);
        launcher_plan_fini(&plan);
        return EXIT_CONFIG;
    }
    const int lock = launcher_data_lock(plan.data, why, sizeof(why));
    if (lock < 0) {
        launcher_warn("%s", why);
        launcher_plan_fini(&plan);
        return 1;
    }
    enum lp_err err = launcher_record_open(&plan, why);
    if (err == LP_OK) {
        err = launcher_net_plan(&plan, why, sizeof(why));
    }
    int code = err == LP_ERR_BAD_CONFIG ? EXIT_CONFIG : 1;
    if (err != LP_OK) {
        launcher_warn("%s", why);
    } else {
        banner_print(&plan);
        code = launcher_supervise(&plan);
        if (!launcher_record_logs_note(&plan, why)) {
            launcher_warn("%s", why); /* the next start sees to it */
        }
    }
    launcher_plan_fini(&plan);
    (void)close(lock);
    return code;
}

/* `lepus log` and its like are programs of their own: what is in logs the data plane's code knows.
 */
static int
tool_run(const char *tool, char **argv)
{
    char path[PATH_MAX];
    char why[LAUNCHER_WHY_BYTES];
    if (launcher_programs_find(path, why, sizeof(why)) != LP_OK) {
        launcher_warn("%s", why);
        return 1;
    }
    char data[PATH_MAX];
    if (lp_config_data_dir(NULL, data, sizeof(data)) == LP_OK) {
        /* They look nowhere else by themselves. */
        (void)setenv("LEPUS_DATA", data, 1); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
    const size_t bytes = strlen(path);
    (void)snprintf(path + bytes, sizeof(path) - bytes, "/%s", tool);
    (void)execv(path, argv);
    launcher_warn("cannot start %s: %s; is it where lepus is?", path, strerrordesc_np(errno));
    return 1;
}

int
main(int argc, char **argv)
{
    struct launcher_options options;
    char why[LAUNCHER_WHY_BYTES];

    static const struct {
        const char *word;
        const char *tool;
    } tools[] = {{"log", "lepus-log"}, {"capture", "lepus-net"}, {"nic", "lepus-net"}};
    for (size_t i = 0; argc > 1 && i < LP_COUNT_OF(tools); i++) {
        if (strcmp(argv[1], tools[i].word) == 0) {
            return tool_run(tools[i].tool, argv + 1);
        }
    }
    if (!launcher_options_parse(&options, argc, argv, why, sizeof(why))) {
        launcher_warn("%s", why);
        return EXIT_USAGE;
    }
    descriptors_tidy();
    (void)signal(SIGPIPE, SIG_IGN); /* whoever read our lines may go away; the broker stays */
    switch (options.verb) {
    case LAUNCHER_RUN:
        return run(&options);
    case LAUNCHER_CONFIG:
        return launcher_config_print(stdout, options.key);
    case LAUNCHER_HELP:
        launcher_help_print(stdout);
        return 0;
    case LAUNCHER_VERSION:
        (void)printf("lepus %s\n", LP_VERSION);
        return 0;
    }
    return EXIT_USAGE;
}
