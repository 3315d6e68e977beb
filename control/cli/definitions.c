/* SPDX-License-Identifier: Apache-2.0 */
/* definitions.c - files of definitions: the broker knows what is in them, the tool where they are.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)48 << 20) /* as a line to the broker it is a little longer */

static bool
is_standard(const char *path)
{
    return path == NULL || strcmp(path, "-") == 0;
}

/* CLI_EXIT_OK, or the exit status after a message. */
static int
format_check(const struct cli_request *request, const struct cli_io *io)
{
    const char *format = cli_option_value(request, "format");
    if (format == NULL || strcasecmp(format, "json") == 0) {
        return CLI_EXIT_OK;
    }
    return cli_invalid(io, request, "Bad argument: Format should be json", CLI_EXIT_DATA);
}

static int
problem(const struct cli_io *io, const char *before, const char *path, const char *after)
{
    (void)fprintf(io->err, "Error:\n%s%s%s\n", before, path, after);
    return CLI_EXIT_DATA;
}

static int
file_problem(const struct cli_io *io, const char *path, int why, bool reading)
{
    switch (why) {
    case ENOENT:
        return problem(io, "Parent directory or file ", path, " does not exist");
    case ENOTDIR:
        return problem(io, "Parent directory of file ", path, " is not a directory");
    case EACCES:
        return problem(
            io, reading ? "No permissions to read from file " : "No permissions to write to file ",
            path, " or its parent directory");
    case EISDIR:
        return problem(io, "Path ", path, " is a directory");
    case ENOSPC:
        return problem(io, "No space left on device hosting ", path, "");
    default:
        (void)fprintf(io->err, "Error:\nCould not %s file %s: %s\n",
                      reading ? "read from" : "write to", path, strerrordesc_np(why));
        return CLI_EXIT_DATA;
    }
}

/* ---- export ---- */

static int
directory_check(const struct cli_request *request, const struct cli_io *io, const char *path)
{
    char folder[PATH_MAX];
    char what[PATH_MAX + 64];
    struct stat status;
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return CLI_EXIT_OK; /* where we are */
    }
    /* "/" itself keeps its slash. */
    (void)snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (stat(folder, &status) == 0) {
        return CLI_EXIT_OK;
    }
    (void)snprintf(what, sizeof(what), "Bad argument: Directory %s does not exist", folder);
    return cli_invalid(io, request, what, CLI_EXIT_DATA);
}

/* For the owner alone: hashes of passwords are in it. */
static int
file_write(const struct cli_io *io, const char *path, const char *text)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        return file_problem(io, path, EISDIR, false);
    }
    (void)unlink(path); /* there may be none */
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        return file_problem(io, path, errno, false);
    }
    const bool written = fputs(text, file) >= 0 && fflush(file) == 0;
    const int why = errno;
    const bool closed = fclose(file) == 0;
    return written && closed ? CLI_EXIT_OK : file_problem(io, path, written ? errno : why, false);
}

int
cli_export_run(struct cli_request *request, const struct cli_io *io)
{
    struct cli_client client;
    const char *path = request->argument[0];
    int code = format_check(request, io);
    if (code == CLI_EXIT_OK && !is_standard(path)) {
        code = directory_check(request, io, path);
    }
    if (code == CLI_EXIT_OK) {
        code = cli_client_open(&client, request, io);
    }
    if (code != CLI_EXIT_OK) {
        return code;
    }
    code = cli_check_ask(&client, request, io);
    json_t *answer = NULL;
    if (code == CLI_EXIT_OK) {
        if (!is_standard(path)) {
            cli_banner_print(io->out, request);
        }
        answer = cli_ask(&client, request, io, false, &code);
    }
    cli_client_close(&client);
    if (answer == NULL) {
        return code;
    }
    if (!json_is_true(json_object_get(answer, "ok"))) {
        code = cli_answer_print(request, io, answer);
    } else if (is_standard(path)) {
        cli_json_print(io->out, json_object_get(answer, "data"));
    } else {
        char *text = json_dumps(json_object_get(answer, "data"), JSON_COMPACT);
        LP_ASSERT(text != NULL);
        code = file_write(io, path, text);
        free(text);
    }
    json_decref(answer);
    return code;
}

/* ---- import ---- */

/* The whole of it; NULL after a message.  The caller frees it. */
static char *
file_read(const struct cli_io *io, const char *path)
{
    FILE *file = is_standard(path) ? io->in : fopen(path, "re");
    size_t used = 0;
    char *text = NULL;
    if (file == NULL) {
        (void)file_problem(io, path, errno, true);
        return NULL;
    }
    size_t got = 0;
    errno = 0;
    do {
        char *more = realloc(text, used + 65537);
        LP_ASSERT(more != NULL);
        text = more;
        got = fread(text + used, 1, 65536, file);
        used += got;
    } while (got > 0 && used < FILE_MAX_BYTES);
    const int why = ferror(file) ? errno : 0;
    if (!is_standard(path)) {
        (void)fclose(file);
    }
    text[used] = '\0';
    if (why == 0 && used > 0 && used < FILE_MAX_BYTES) {
        return text;
    }
    free(text);
    if (why != 0) {
        (void)file_problem(io, is_standard(path) ? "-" : path, why, true);
    } else if (used > 0) {
        (void)problem(io, "File ", is_standard(path) ? "-" : path, " is too large");
    } else if (is_standard(path)) {
        (void)fprintf(io->err, "Error:\nnot_enough_args\n");
    } else {
        (void)problem(io, "File ", path, " is zero-sized");
    }
    return NULL;
}

static int
import_say(const struct cli_request *request, const struct cli_io *io, const json_t *answer)
{
    if (!json_is_true(json_object_get(answer, "ok")) || !cli_for_people(request)) {
        return cli_answer_print(request, io, answer);
    }
    if (!request->quiet && !request->silent) {
        (void)fprintf(io->out, "Successfully imported definitions.\n");
    }
    return CLI_EXIT_OK;
}

/* The broker gets the content in the place of the path. */
static int
content_send(struct cli_client *client, struct cli_request *request, const struct cli_io *io)
{
    json_error_t why;
    int code = CLI_EXIT_DATA;
    char *text = file_read(io, request->argument[0]);
    if (text == NULL) {
        return code;
    }
    json_t *parsed = json_loads(text, 0, &why);
    if (parsed == NULL) {
        (void)fprintf(io->err,
                      "Error:\nFailed to deserialise input (format: JSON) (error: line %d: %s)\n",
                      why.line, why.text);
        free(text);
        return code;
    }
    json_decref(parsed);
    const char *path = request->argument[0];
    const size_t count = request->argument_count;
    request->argument[0] = text;
    request->argument_count = 1;
    json_t *answer = cli_ask(client, request, io, false, &code);
    request->argument[0] = path;
    request->argument_count = count;
    free(text);
    if (answer != NULL) {
        code = import_say(request, io, answer);
        json_decref(answer);
    }
    return code;
}

int
cli_import_run(struct cli_request *request, const struct cli_io *io)
{
    char what[PATH_MAX + 64];
    struct cli_client client;
    const char *path = request->argument[0];
    int code = format_check(request, io);
    if (code == CLI_EXIT_OK && !is_standard(path) && access(path, F_OK) != 0) {
        (void)snprintf(what, sizeof(what), "Bad argument: File %s does not exist", path);
        code = cli_invalid(io, request, what, CLI_EXIT_DATA);
    }
    if (code == CLI_EXIT_OK) {
        code = cli_client_open(&client, request, io);
    }
    if (code != CLI_EXIT_OK) {
        return code;
    }
    code = cli_check_ask(&client, request, io);
    if (code == CLI_EXIT_OK) {
        cli_banner_print(io->out, request);
        code = content_send(&client, request, io);
    }
    cli_client_close(&client);
    return code;
}
