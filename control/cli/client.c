/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/config/config.h"

#define ANSWER_MAX_BYTES ((size_t)1 << 30) /* a million queues with long names */

static bool
socket_path(const struct cli_request *request, char *ret_path, size_t path_bytes)
{
    char data[PATH_MAX];
    const char *given = request->socket;

    if (given == NULL && request->data == NULL) {
        given = secure_getenv("LEPUS_SOCKET");
    }
    if (given != NULL && *given != '\0') {
        return snprintf(ret_path, path_bytes, "%s", given) < (int)path_bytes;
    }
    if (lp_config_data_dir(request->data, data, sizeof(data)) != LP_OK) {
        return false;
    }
    return snprintf(ret_path, path_bytes, "%s/lepus.sock", data) < (int)path_bytes;
}

/* A socket's address has room for 107 bytes; a longer path is reached by its folder's descriptor.
 */
static bool
address_make(const char *path, struct sockaddr_un *ret_address, int *ret_folder)
{
    char folder[PATH_MAX];

    *ret_folder = -1;
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) < sizeof(ret_address->sun_path)) {
        memcpy(ret_address->sun_path, path, strlen(path) + 1);
        return true;
    }
    const char *slash = strrchr(path, '/');
    if (slash == NULL || strlen(path) >= sizeof(folder)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    *ret_folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_folder < 0) {
        return false;
    }
    const int bytes = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path),
                               "/proc/self/fd/%d%s", *ret_folder, slash);
    return bytes > 0 && (size_t)bytes < sizeof(ret_address->sun_path);
}

static int
socket_connect(const char *path, double timeout_s)
{
    struct sockaddr_un address;
    int folder;
    int fd = -1;

    if (address_make(path, &address, &folder)) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    if (fd >= 0) {
        const struct timeval limit = {(time_t)timeout_s,
                                      (suseconds_t)((timeout_s - (double)(time_t)timeout_s) * 1e6)};
        const bool good = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
                          setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
                          connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
        if (!good) {
            const int why = errno;
            (void)close(fd);
            errno = why;
            fd = -1;
        }
    }
    if (folder >= 0) {
        const int why = errno;
        (void)close(folder);
        errno = why;
    }
    return fd;
}

/* Options of the command's own, as JSON. */
static bool
options_put(json_t *options, const struct cli_request *request)
{
    bool bad = false;
    for (size_t i = 0; i < request->option_count; i++) {
        const struct cli_option *option = &request->option[i];
        char name[64];
        const size_t bytes = strcspn(option->name, ": ");
        (void)snprintf(name, sizeof(name), "%.*s", (int)bytes, option->name);
        json_t *value = option->value == NULL ? json_boolean(!option->off)
                        : option->integer     ? json_integer(strtoll(option->value, NULL, 10))
                                              : json_string(option->value);
        bad |= json_object_set_new(options, name, value) != 0;
    }
    return !bad;
}

static json_t *
request_json(const struct cli_request *request, bool check)
{
    json_t *arguments = json_array();
    json_t *options = json_object();
    const char *vhost = request->vhost != NULL ? request->vhost : "/";
    bool bad = json_object_set_new(options, "vhost", json_string(vhost)) != 0;

    for (size_t i = 0; i < request->argument_count; i++) {
        bad |= json_array_append_new(arguments, json_string(request->argument[i])) != 0;
    }
    bad |= !options_put(options, request);
    if (request->timeout_s > 0) {
        bad |= json_object_set_new(options, "timeout", json_real(request->timeout_s)) != 0;
    }
    json_t *whole = json_pack("{s:s, s:o, s:o, s:s}", "command", request->command->name, "args",
                              arguments, "options", options, "node", request->node);
    if (bad || whole == NULL) {
        json_decref(whole);
        return NULL; /* a word that is not UTF-8 */
    }
    if (check) {
        bad = json_object_set_new(whole, "check", json_true()) != 0;
        LP_ASSERT(!bad);
    }
    return whole;
}

static bool
line_send(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        const ssize_t bytes = send(fd, text, left, MSG_NOSIGNAL);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes <= 0) {
            return false;
        }
        text += bytes;
        left -= (size_t)bytes;
    }
    return true;
}

struct line {
    char *text;
    size_t used;
    size_t room;
};

/* At least one more byte has room, and one for the end; false with errno. */
static bool
line_room(struct line *line)
{
    if (line->room - line->used > 1) {
        return true;
    }
    const size_t room = line->room == 0 ? 65536 : line->room * 2;
    char *more = room > ANSWER_MAX_BYTES ? NULL : realloc(line->text, room);
    if (more == NULL) {
        errno = ENOMEM;
        return false;
    }
    line->text = more;
    line->room = room;
    return true;
}

/* Up to the first newline; NULL with errno (0: the broker hung up).  The caller frees it. */
static char *
line_receive(int fd)
{
    struct line line = {0};
    int why = 0;

    while (line_room(&line)) {
        char *at = line.text + line.used;
        const ssize_t bytes = recv(fd, at, line.room - line.used - 1, 0);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes <= 0) {
            errno = bytes == 0 ? 0 : errno;
            break;
        }
        char *end = memchr(at, '\n', (size_t)bytes);
        if (end != NULL) {
            *end = '\0';
            return line.text;
        }
        line.used += (size_t)bytes;
    }
    why = errno;
    free(line.text);
    errno = why;
    return NULL;
}

static void
unreachable_print(const struct cli_request *request, const struct cli_io *io, const char *path,
                  int why)
{
    (void)fprintf(io->err,
                  "Error: unable to perform an operation on node '%s': no broker answers at %s "
                  "(%s).\n\nMost common reasons for this are:\n\n",
                  request->node, path, strerrordesc_np(why));
    if (why == EACCES || why == EPERM) {
        (void)fprintf(io->err,
                      " * Only the user that runs the broker may use its socket: run this as that "
                      "user, or with sudo\n");
        return;
    }
    (void)fprintf(io->err,
                  " * It is not running: start it with 'lepus%s%s'\n"
                  " * Its data directory is another one: say which with '%s --data DIR ...', or in "
                  "LEPUS_DATA\n"
                  " * It runs as another user, who has a directory of his own\n",
                  request->data != NULL ? " --data " : "",
                  request->data != NULL ? request->data : "", request->program);
}

/* What became of an exchange that brought no answer. */
static int
silence_explain(const struct cli_request *request, const struct cli_io *io, int why)
{
    if (why == EAGAIN || why == EWOULDBLOCK) {
        (void)fprintf(io->err,
                      "Error: operation %s on node %s timed out. Timeout value used: %.0f\n",
                      request->command->name, request->node, request->timeout_s * 1000);
        return CLI_EXIT_TEMPORARY;
    }
    (void)fprintf(io->err, "Error: the broker ended the connection without an answer; it may be "
                           "stopping, or its control process was just restarted. Try again.\n");
    return CLI_EXIT_UNAVAILABLE;
}

json_t *
cli_ask(struct cli_client *client, const struct cli_request *request, const struct cli_io *io,
        bool check, int *ret_exit)
{
    json_t *question = request_json(request, check);
    if (question == NULL) {
        *ret_exit = cli_invalid(io, request, "an argument is not valid UTF-8", CLI_EXIT_USAGE);
        return NULL;
    }
    char *text = json_dumps(question, JSON_COMPACT);
    json_decref(question);
    LP_ASSERT(text != NULL);
    const bool sent = line_send(client->fd, text) && line_send(client->fd, "\n");
    free(text);
    text = sent ? line_receive(client->fd) : NULL;
    if (text == NULL) {
        *ret_exit = silence_explain(request, io, errno);
        return NULL;
    }
    json_t *answer = json_loads(text, 0, NULL);
    free(text);
    if (!json_is_object(answer)) {
        (void)fprintf(io->err,
                      "Error: the broker's answer cannot be understood; are %s and lepus "
                      "of the same version?\n",
                      request->program);
        json_decref(answer);
        *ret_exit = CLI_EXIT_SOFTWARE;
        return NULL;
    }
    return answer;
}

bool
cli_client_try(struct cli_client *client, const struct cli_request *request)
{
    char path[PATH_MAX];
    client->fd =
        socket_path(request, path, sizeof(path)) ? socket_connect(path, request->timeout_s) : -1;
    return client->fd >= 0;
}

int
cli_client_open(struct cli_client *client, const struct cli_request *request,
                const struct cli_io *io)
{
    char path[PATH_MAX];

    client->fd = -1;
    if (!socket_path(request, path, sizeof(path))) {
        (void)fprintf(io->err, "Error: there is no home directory to look for the broker's socket "
                               "in; say where it is with --data DIR\n");
        return CLI_EXIT_UNAVAILABLE;
    }
    client->fd = socket_connect(path, request->timeout_s);
    if (client->fd < 0) {
        unreachable_print(request, io, path, errno);
        return CLI_EXIT_UNAVAILABLE;
    }
    return CLI_EXIT_OK;
}

void
cli_client_close(struct cli_client *client)
{
    if (client->fd >= 0) {
        (void)close(client->fd);
        client->fd = -1;
    }
}
