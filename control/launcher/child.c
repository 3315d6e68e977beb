/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between fork and exec: only calls that are safe after a fork.  Does not return. */
static void LP_NORETURN
child_become(const struct launcher_spawn *spawn, pid_t parent)
{
    sigset_t nothing;

    /* A Ctrl-C at the terminal is for the launcher, which stops the children in order. */
    bool good = setpgid(0, 0) == 0;
    /* And nothing is left behind when the launcher itself is killed; it may be gone already. */
    good = good && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    good = good && null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO;
    for (size_t i = 0; i < spawn->fd_count; i++) {
        good = good && fcntl(spawn->fds[i], F_SETFD, 0) == 0;
    }
    /* The launcher ignores SIGPIPE, and that would be inherited. */
    good = good && signal(SIGPIPE, SIG_DFL) != SIG_ERR;
    good = good && sigemptyset(&nothing) == 0 && pthread_sigmask(SIG_SETMASK, &nothing, NULL) == 0;
    if (spawn->bare) {
        /* A service's ambient capabilities are for the data plane, which binds ports and opens
         * devices.  Refused by kernels that have none to give. */
        (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    }
    if (good) {
        (void)execv(spawn->path, spawn->argv);
    }
    _exit(127);
}

bool
launcher_child_start(struct launcher_child *child, const struct launcher_spawn *spawn)
{
    LP_ASSERT(child->pid == 0);
    if (access(spawn->path, X_OK) != 0) {
        launcher_warn("%s cannot be run: %s; it belongs beside lepus, or where LEPUS_BIN_DIR says",
                      spawn->path, strerrordesc_np(errno));
        return false;
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
        child_become(spawn, parent);
    }
    if (pid < 0) {
        launcher_warn("%s cannot be started: %s", child->name, strerrordesc_np(errno));
        return false;
    }
    const int pidfd = pidfd_open(pid, 0); /* close-on-exec always */
    if (pidfd < 0) {
        launcher_warn("%s cannot be watched: %s", child->name, strerrordesc_np(errno));
        (void)kill(pid, SIGKILL); /* ours, and not reaped yet: the number is still its own */
        (void)waitpid(pid, NULL, 0);
        return false;
    }
    child->pid = pid;
    child->pidfd = pidfd;
    child->started_ms = launcher_now_ms();
    return true;
}

void
launcher_child_signal(const struct launcher_child *child, int number)
{
    if (child->pid != 0) {
        /* Fails only when it has ended already, which its pidfd will tell. */
        (void)pidfd_send_signal(child->pidfd, number, NULL, 0);
    }
}

struct launcher_ending
launcher_child_reap(struct launcher_child *child)
{
    siginfo_t info = {0};
    int failed;

    LP_ASSERT(child->pid != 0);
    do {
        failed = waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED);
    } while (failed != 0 && errno == EINTR);
    LP_ASSERT(failed == 0);
    (void)close(child->pidfd);
    child->pid = 0;
    child->pidfd = -1;
    return (struct launcher_ending){info.si_code != CLD_EXITED, info.si_status};
}

void
launcher_ending_print(struct launcher_ending ending, char *ret_text, size_t text_bytes)
{
    if (ending.signalled) {
        const char *name = sigabbrev_np(ending.number);
        (void)snprintf(ret_text, text_bytes, "was ended by signal %d (SIG%s)", ending.number,
                       name != NULL ? name : "?");
    } else if (ending.number == 127) {
        (void)snprintf(ret_text, text_bytes, "could not be executed (exit status 127)");
    } else {
        (void)snprintf(ret_text, text_bytes, "ended with exit status %d", ending.number);
    }
}
