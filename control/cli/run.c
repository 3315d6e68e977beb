/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#ifndef LP_VERSION
#define LP_VERSION "0.0.0"
#endif

#define PASSWORD_MAX_BYTES 1024

static void
rest_print(FILE *out, const struct cli_request *request)
{
    for (size_t i = 1; i < request->argument_count; i++) {
        (void)fprintf(out, "%s%s", i > 1 ? ", " : "", request->argument[i]);
    }
}

static void
placeholder_print(FILE *out, const struct cli_request *request, char which)
{
    switch (which) {
    case '1':
        (void)fputs(request->argument_count > 0 ? request->argument[0] : "", out);
        return;
    case '*':
        rest_print(out, request);
        return;
    case 'v':
        (void)fputs(request->vhost != NULL ? request->vhost : "/", out);
        return;
    case 'n':
        (void)fputs(request->node != NULL ? request->node : "lepus", out);
        return;
    case 't':
        (void)fprintf(out, "%.0f", request->timeout_s * 1000);
        return;
    case 'p':
        (void)fputs(request->program, out);
        return;
    default:
        LP_ASSERT(which == '%');
        (void)fputc('%', out);
    }
}

static void
template_print(FILE *out, const struct cli_request *request, const char *template)
{
    for (const char *at = template; *at != '\0'; at++) {
        if (*at == '%') {
            at++;
            placeholder_print(out, request, *at);
        } else {
            (void)fputc(*at, out);
        }
    }
    (void)fputc('\n', out);
}

static bool
for_people(const struct cli_request *request)
{
    return request->formatter == CLI_FORMATTER_TABLE ||
           request->formatter == CLI_FORMATTER_PRETTY_TABLE;
}

void
cli_banner_print(FILE *out, const struct cli_request *request)
{
    if (request->quiet || request->silent || !for_people(request)) {
        return;
    }
    if (request->command->timeout_line && request->timeout_s > 0) {
        (void)fprintf(out, "Timeout: %.1f seconds ...\n", request->timeout_s);
    }
    if (request->command->banner != NULL) {
        template_print(out, request, request->command->banner);
    }
    (void)fflush(out); /* before an error on the other stream */
}

/* From a terminal it is not shown while it is typed. */
static bool
password_read(const struct cli_io *io, char *ret_password, size_t password_bytes)
{
    struct termios shown;
    const int fd = fileno(io->in);
    const bool terminal = fd >= 0 && tcgetattr(fd, &shown) == 0;

    (void)fputs("Password: ", io->out);
    (void)fflush(io->out);
    if (terminal) {
        struct termios hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(fd, TCSAFLUSH, &hidden); /* at worst it is shown */
    }
    const bool good = fgets(ret_password, (int)password_bytes, io->in) != NULL;
    if (terminal) {
        (void)tcsetattr(fd, TCSAFLUSH, &shown);
    }
    (void)fputc('\n', io->out);
    if (good) {
        ret_password[strcspn(ret_password, "\r\n")] = '\0';
    }
    return good;
}

static void
error_print(const struct cli_request *request, const struct cli_io *io, const char *text, int code)
{
    if (request->formatter == CLI_FORMATTER_JSON) {
        json_t *object = json_pack("{s:s, s:s}", "message", text, "result", "error");
        char *dump = json_dumps(object, JSON_COMPACT);
        (void)fprintf(io->err, "%s\n", dump != NULL ? dump : "");
        free(dump);
        json_decref(object);
    } else if (code == CLI_EXIT_USAGE) {
        (void)cli_invalid(io, request, text);
    } else {
        (void)fprintf(io->err, "Error:\n%s\n", text);
    }
}

static void
success_print(const struct cli_request *request, const struct cli_io *io, const json_t *answer)
{
    const json_t *rows = json_object_get(answer, "rows");
    const json_t *data = json_object_get(answer, "data");
    const char *text = json_string_value(json_object_get(answer, "text"));
    const char *done = request->command->done;
    const bool hushed = (request->quiet || request->silent) && request->command->done_is_advice;

    if (json_is_array(rows)) {
        cli_listing_print(io->out, request, json_object_get(answer, "columns"), rows);
    } else if (request->formatter == CLI_FORMATTER_JSON) {
        json_t *object = json_is_object(data) ? json_deep_copy(data)
                         : text != NULL ? json_pack("{s:s, s:s}", "result", "ok", "message", text)
                                        : json_pack("{s:s}", "result", "ok");
        char *dump = json_dumps(object, JSON_COMPACT);
        (void)fprintf(io->out, "%s\n", dump != NULL ? dump : "{}");
        free(dump);
        json_decref(object);
    } else if (text != NULL && *text != '\0') {
        const bool ended = text[strlen(text) - 1] == '\n';
        (void)fprintf(io->out, "%s%s", text, ended ? "" : "\n");
    } else if (done != NULL && !hushed) {
        template_print(io->out, request, done);
    }
}

static int
ask_and_print(const struct cli_request *request, const struct cli_io *io)
{
    int code = CLI_EXIT_SOFTWARE;
    json_t *answer = cli_ask(request, io, &code);

    if (answer == NULL) {
        return code;
    }
    if (json_is_true(json_object_get(answer, "ok"))) {
        success_print(request, io, answer);
        code = CLI_EXIT_OK;
    } else {
        const json_int_t given = json_integer_value(json_object_get(answer, "exit"));
        const char *text = json_string_value(json_object_get(answer, "error"));
        code = given > 0 && given < 256 ? (int)given : CLI_EXIT_SOFTWARE;
        error_print(request, io, text != NULL ? text : "no reason was given", code);
    }
    json_decref(answer);
    return code;
}

static int
remote_run(struct cli_request *request, const struct cli_io *io)
{
    const struct cli_command *command = request->command;
    char password[PASSWORD_MAX_BYTES];
    const bool asks =
        command->secret != NULL && request->argument_count + 1 == command->arguments_min;

    if (request->argument_count + (asks ? 1 : 0) < command->arguments_min) {
        return cli_invalid(io, request, "not enough arguments.");
    }
    if (request->argument_count > command->arguments_max) {
        return cli_invalid(io, request, "too many arguments.");
    }
    cli_banner_print(io->out, request);
    if (asks) {
        if (!password_read(io, password, sizeof(password))) {
            (void)fprintf(io->err, "Error:\nPassword is not provided via argument or stdin\n");
            return CLI_EXIT_DATA;
        }
        request->argument[request->argument_count++] = password;
    }
    const int code = ask_and_print(request, io);
    if (asks) {
        request->argument[--request->argument_count] = NULL;
        explicit_bzero(password, sizeof(password));
    }
    return code;
}

static int
unknown_run(const struct cli_request *request, const struct cli_io *io)
{
    const struct cli_command *near = cli_command_nearest(request->command_name);

    (void)fprintf(io->err, "\nCommand '%s' not found. \n", request->command_name);
    if (near != NULL) {
        (void)fprintf(io->err, "Did you mean '%s'? \n\n", near->name);
    } else {
        cli_help_print(io->err, request);
    }
    return CLI_EXIT_USAGE;
}

static int
help_run(const struct cli_request *request, const struct cli_io *io)
{
    const bool asked = request->command != NULL && strcmp(request->command->name, "help") == 0;
    const char *name = asked ? request->argument[0] : NULL;

    if (asked && name == NULL) {
        cli_help_print(io->out, request);
        return CLI_EXIT_OK;
    }
    const struct cli_command *about = asked ? cli_command_find(name) : request->command;
    if (about == NULL) {
        (void)fprintf(io->err, "Error:\n\nCommand '%s' not found.\n", name);
        return CLI_EXIT_USAGE;
    }
    cli_command_help_print(io->out, request, about);
    return CLI_EXIT_OK;
}

int
cli_run(const struct cli_io *io, int argc, char **argv)
{
    struct cli_request request;
    const int code = cli_request_parse(&request, io, argc, argv);

    if (code != CLI_EXIT_OK) {
        return code;
    }
    if (request.version ||
        (request.command != NULL && strcmp(request.command->name, "version") == 0)) {
        (void)fprintf(io->out, "%s\n", LP_VERSION);
        return CLI_EXIT_OK;
    }
    if (request.command_name == NULL) {
        cli_help_print(request.help ? io->out : io->err, &request);
        return request.help ? CLI_EXIT_OK : CLI_EXIT_USAGE;
    }
    if (request.command == NULL) {
        return unknown_run(&request, io);
    }
    if (request.help || request.command->local) {
        return help_run(&request, io);
    }
    return remote_run(&request, io);
}
