/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - a process from afar: wait until it serves, and until it is gone. */
#include "cli.h"
#include "cli_local.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#define WAIT_TIMEOUT_S     10
#define SHUTDOWN_TIMEOUT_S 120
#define LOOK_NS            50000000 /* between two looks at what tells nobody when it changes */

json_t *
cli_local_ask(const struct cli_request *request, const struct cli_io *io, const char *command,
              int *ret_exit)
{
    struct cli_client client;
    struct cli_request asked = *request;
    asked.command = lp_command_find(command);
    asked.argument_count = 0;
    asked.option_count = 0;
    LP_ASSERT(asked.command != NULL);
    *ret_exit = cli_client_open(&client, &asked, io);
    if (*ret_exit != CLI_EXIT_OK) {
        return NULL;
    }
    json_t *answer = cli_ask(&client, &asked, io, false, ret_exit);
    cli_client_close(&client);
    if (answer != NULL && !json_is_true(json_object_get(answer, "ok"))) {
        *ret_exit = cli_answer_print(request, io, answer);
        json_decref(answer);
        return NULL;
    }
    return answer;
}

static uint64_t
now_ms(void)
{
    struct timespec now;
    const int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    LP_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
look_later(void)
{
    const struct timespec wait = {0, LOOK_NS};
    (void)nanosleep(&wait, NULL); /* a signal that ends it early does no harm */
}

/* ---- wait ---- */

__attribute__((format(printf, 3, 4))) static void
step_print(const struct cli_request *request, const struct cli_io *io, const char *format, ...)
{
    va_list arguments;
    if (request->quiet) {
        return;
    }
    va_start(arguments, format);
    (void)vfprintf(io->out, format, arguments);
    va_end(arguments);
    (void)fflush(io->out); /* somebody watches, and an error goes to the other stream */
}

static bool
is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno == EPERM;
}

static bool
is_heard(const struct cli_request *request)
{
    struct cli_client client;
    const bool heard = cli_client_try(&client, request);
    cli_client_close(&client);
    return heard;
}

static int
wait_timed_out(const struct cli_request *request, const struct cli_io *io)
{
    (void)fprintf(io->err, "Error: operation wait on node %s timed out. Timeout value used: %.0f\n",
                  request->node, request->timeout_s * 1000);
    return CLI_EXIT_TEMPORARY;
}

enum pid_file {
    PID_FILE_READ,
    PID_FILE_NOT_YET,
    PID_FILE_GARBAGE,
    PID_FILE_UNREADABLE, /* errno */
};

static enum pid_file
pid_file_read(const char *path, pid_t *ret_pid)
{
    char text[64];
    char *end;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return errno == ENOENT ? PID_FILE_NOT_YET : PID_FILE_UNREADABLE;
    }
    const size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    const int why = ferror(file) ? errno : 0;
    (void)fclose(file);
    text[bytes] = '\0';
    if (why != 0 || bytes == 0) {
        errno = why;
        return why != 0 ? PID_FILE_UNREADABLE : PID_FILE_NOT_YET;
    }
    const long pid = strtol(text, &end, 10);
    *ret_pid = (pid_t)pid;
    return end == text || pid <= 0 || pid > INT32_MAX ? PID_FILE_GARBAGE : PID_FILE_READ;
}

/* The process whose number is in the file, once it serves; or an exit status. */
static int
pid_file_wait(const struct cli_request *request, const struct cli_io *io, uint64_t until_ms,
              pid_t *ret_pid)
{
    step_print(request, io, "Waiting for pid file '%s' to appear\n", request->argument[0]);
    for (;;) {
        const enum pid_file found = pid_file_read(request->argument[0], ret_pid);
        if (found == PID_FILE_GARBAGE) {
            (void)fprintf(io->err, "Error:\nError: garbage in pid file.\n");
            return CLI_EXIT_UNAVAILABLE;
        }
        if (found == PID_FILE_UNREADABLE) {
            (void)fprintf(io->err, "Error:\nError: could not read pid. Detail: %s\n",
                          strerrordesc_np(errno));
            return CLI_EXIT_UNAVAILABLE;
        }
        if (found == PID_FILE_READ && is_alive(*ret_pid) && is_heard(request)) {
            step_print(request, io, "pid is %d\n", (int)*ret_pid);
            return CLI_EXIT_OK;
        }
        if (now_ms() >= until_ms) {
            return wait_timed_out(request, io);
        }
        look_later();
    }
}

static int
process_wait(const struct cli_request *request, const struct cli_io *io, uint64_t until_ms,
             pid_t pid)
{
    step_print(request, io,
               "Waiting for erlang distribution on node '%s' while OS process '%d' is running\n",
               request->node, (int)pid);
    while (!is_heard(request)) {
        if (!is_alive(pid)) {
            (void)fprintf(io->err, "Error:\nError: process is not running.\n");
            return CLI_EXIT_UNAVAILABLE;
        }
        if (now_ms() >= until_ms) {
            return wait_timed_out(request, io);
        }
        look_later();
    }
    return CLI_EXIT_OK;
}

/* RabbitMQ's words, which name what it is made of. */
int
cli_local_wait(struct cli_request *request, const struct cli_io *io)
{
    const char *given = cli_option_value(request, "pid");
    if (given != NULL && request->argument_count > 0) {
        return cli_invalid(io, request, "Cannot specify both pid and pidfile", CLI_EXIT_USAGE);
    }
    if (given == NULL && request->argument_count == 0) {
        return cli_invalid(io, request, "No pid or pidfile specified", CLI_EXIT_USAGE);
    }
    if (!request->timeout_given || request->timeout_s <= 0) {
        request->timeout_s = WAIT_TIMEOUT_S;
    }
    const uint64_t until_ms = now_ms() + (uint64_t)(request->timeout_s * 1000);
    pid_t pid = given != NULL ? (pid_t)strtol(given, NULL, 10) : 0;
    int code = given != NULL ? CLI_EXIT_OK : pid_file_wait(request, io, until_ms, &pid);
    if (code == CLI_EXIT_OK) {
        code = process_wait(request, io, until_ms, pid);
    }
    if (code != CLI_EXIT_OK) {
        return code;
    }
    step_print(request, io, "Waiting for applications 'rabbit_and_plugins' to start on node '%s'\n",
               request->node);
    request->timeout_s = 0;
    json_t *answer = cli_local_ask(request, io, "await_startup", &code);
    if (answer == NULL) {
        return code;
    }
    json_decref(answer);
    step_print(request, io, "Applications 'rabbit_and_plugins' are running on node '%s'\n",
               request->node);
    return CLI_EXIT_OK;
}

/* ---- shutdown ---- */

/* A descriptor that becomes readable at the broker's end; -1 after a message. */
static int
broker_watch(const struct cli_request *request, const struct cli_io *io, int *ret_pid,
             int *ret_exit)
{
    json_t *answer = cli_local_ask(request, io, "ping", ret_exit);
    if (answer == NULL) {
        return -1;
    }
    *ret_pid = (int)json_integer_value(json_object_get(answer, "pid"));
    json_decref(answer);
    const int fd = pidfd_open(*ret_pid, 0);
    if (fd < 0) {
        (void)fprintf(io->err, "Error:\nprocess %d cannot be watched: %s; use --no-wait\n",
                      *ret_pid, strerrordesc_np(errno));
        *ret_exit = CLI_EXIT_SOFTWARE;
    }
    return fd;
}

static void
end_wait(int fd)
{
    struct pollfd end = {fd, POLLIN, 0};
    while (fd >= 0 && poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
}

/* "process 1 (take from pid file /f) is no longer running", once that is so. */
static int
stop_watched(struct cli_request *request, const struct cli_io *io, const char *path)
{
    char text[PATH_MAX + 128];
    pid_t pid = 0;
    const enum pid_file found = pid_file_read(path, &pid);
    const char *why = found == PID_FILE_UNREADABLE ? strerrordesc_np(errno)
                      : found == PID_FILE_NOT_YET  ? "there is none, or it is empty"
                                                   : "there is no number in it";
    const int fd = found == PID_FILE_READ ? pidfd_open(pid, 0) : -1; /* -1: it is gone already */
    const int code = cli_remote_run(request, io);
    if (code == CLI_EXIT_OK && found != PID_FILE_READ) {
        (void)fprintf(io->err, "Error:\ncould not read pid from file %s. Error: %s\n", path, why);
        return CLI_EXIT_UNAVAILABLE;
    }
    if (code == CLI_EXIT_OK) {
        end_wait(fd);
        (void)snprintf(text, sizeof(text),
                       "process %d (take from pid file %s) is no longer running", (int)pid,
                       path); /* a cut path is still a path that was given */
        cli_text_print(io->out, request, text);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return code;
}

int
cli_stop_run(struct cli_request *request, const struct cli_io *io)
{
    char text[CLI_NODE_BYTES + 64];
    if (request->argument_count > 0) {
        return stop_watched(request, io, request->argument[0]);
    }
    if (cli_option_value(request, "idempotent") == NULL || is_heard(request)) {
        return cli_remote_run(request, io);
    }
    cli_banner_print(io->out, request);
    (void)snprintf(text, sizeof(text), "Node %s is no longer running", request->node); /* fits */
    cli_text_print(io->out, request, text);
    return CLI_EXIT_OK;
}

int
cli_local_shutdown(struct cli_request *request, const struct cli_io *io)
{
    int code = CLI_EXIT_OK;
    int pid = 0;
    if (!request->timeout_given) {
        request->timeout_s = SHUTDOWN_TIMEOUT_S;
    }
    const bool waits = !cli_option_is_off(request, "wait");
    const int fd = waits ? broker_watch(request, io, &pid, &code) : -1;
    if (code != CLI_EXIT_OK) {
        return code;
    }
    if (waits) {
        (void)fprintf(io->out, "Shutting down RabbitMQ node %s running at PID %d\n", request->node,
                      pid);
        (void)fflush(io->out); /* before an error on the other stream */
    }
    json_t *answer = cli_local_ask(request, io, "stop", &code);
    json_decref(answer);
    if (answer != NULL && waits) {
        (void)fprintf(io->out, "Waiting for PID %d to terminate\n", pid);
        (void)fflush(io->out);
        end_wait(fd);
        (void)fprintf(io->out, "RabbitMQ node %s running at PID %d successfully shut down\n",
                      request->node, pid);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return code;
}
