/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lp_panic() of the tests: say it, abort.
 */
#include "tests/lib/panic.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lepus/base.h>

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expr);
    (void)fflush(stderr); /* on the way out: nobody left to tell */
    abort();
}

static LP_NORETURN void
child_run(void (*step)(void *context), void *context)
{
    static const struct rlimit no_core = {0, 0};
    const int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(null, STDERR_FILENO) < 0 || setrlimit(RLIMIT_CORE, &no_core) != 0 ||
        signal(SIGABRT, SIG_DFL) == SIG_ERR) {
        _exit(2);
    }
    step(context);
    _exit(0);
}

bool
lp_test_panics(void (*step)(void *context), void *context)
{
    (void)fflush(stdout); /* so that the child does not print it again */
    const pid_t child = fork();
    if (child == 0) {
        child_run(step, context);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("fork");
        abort();
    }
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
