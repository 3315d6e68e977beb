/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - from the command line to the exit status. */
#include "cli.h"

#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_MAX_BYTES 1024

/* From a terminal it is not shown while it is typed. */
bool
cli_password_read(const struct cli_request *request, const struct cli_io *io, char *ret_password,
                  size_t password_bytes)
{
    return cli_secret_read(request, io, "Password: ", ret_password, password_bytes);
}

bool
cli_secret_read(const struct cli_request *request, const struct cli_io *io, const char *prompt,
                char *ret_text, size_t text_bytes)
{
    struct termios shown;
    const int fd = fileno(io->in);
    const bool terminal = fd >= 0 && tcgetattr(fd, &shown) == 0;

    if (!request->quiet && !request->silent) {
        (void)fprintf(io->out, "%s\n", prompt);
        (void)fflush(io->out);
    }
    if (terminal) {
        struct termios hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(fd, TCSAFLUSH, &hidden); /* at worst it is shown */
    }
    const bool good = fgets(ret_text, (int)text_bytes, io->in) != NULL;
    if (terminal) {
        (void)tcsetattr(fd, TCSAFLUSH, &shown);
    }
    if (good) {
        ret_text[strcspn(ret_text, "\r\n")] = '\0';
    }
    return good;
}

int
cli_check_ask(struct cli_client *client, const struct cli_request *request, const struct cli_io *io)
{
    int code = CLI_EXIT_SOFTWARE;
    json_t *answer = cli_ask(client, request, io, true, &code);
    if (answer == NULL) {
        return code;
    }
    code = json_is_true(json_object_get(answer, "ok")) ? CLI_EXIT_OK
                                                       : cli_answer_print(request, io, answer);
    json_decref(answer);
    return code;
}

static int
exchange(struct cli_client *client, const struct cli_request *request, const struct cli_io *io)
{
    int code = CLI_EXIT_SOFTWARE;
    json_t *answer = cli_ask(client, request, io, false, &code);
    if (answer != NULL) {
        code = cli_answer_print(request, io, answer);
        json_decref(answer);
    }
    return code;
}

/* With the password that is missing on the command line. */
static int
exchange_secret(struct cli_client *client, struct cli_request *request, const struct cli_io *io)
{
    char password[PASSWORD_MAX_BYTES];
    if (!cli_password_read(request, io, password, sizeof(password))) {
        (void)fprintf(io->err, "Error:\nPassword is not provided via argument or stdin\n");
        return strcmp(request->command->name, "add_user") == 0 ? CLI_EXIT_DATA : CLI_EXIT_SOFTWARE;
    }
    request->argument[request->argument_count++] = password;
    const int code = exchange(client, request, io);
    request->argument[--request->argument_count] = NULL;
    explicit_bzero(password, sizeof(password));
    return code;
}

int
cli_remote_run(struct cli_request *request, const struct cli_io *io)
{
    struct cli_client client;
    const struct lp_command *command = request->command;
    const bool asks =
        command->secret != NULL && request->argument_count + 1 == command->arguments_min;

    int code = cli_client_open(&client, request, io);
    if (code != CLI_EXIT_OK) {
        return code;
    }
    code = cli_check_ask(&client, request, io);
    if (code == CLI_EXIT_OK) {
        cli_banner_print(io->out, request);
        code = asks ? exchange_secret(&client, request, io) : exchange(&client, request, io);
    }
    cli_client_close(&client);
    return code;
}

static int
unknown_run(const struct cli_request *request, const struct cli_io *io)
{
    const struct lp_command *near = lp_command_nearest(request->command_name, request->scopes);

    (void)fprintf(io->err, "\nCommand '%s' not found. \n", request->command_name);
    if (near != NULL) {
        (void)fprintf(io->err, "Did you mean '%s'? \n\n", near->name);
    } else {
        cli_help_print(io->err, request);
    }
    return CLI_EXIT_USAGE;
}

/* The broker's commands of which the tool does a part. */
static const struct {
    const char *name;
    int (*run)(struct cli_request *request, const struct cli_io *io);
} shared[] = {
    {"stop", cli_stop_run},
    {"export_definitions", cli_export_run},
    {"import_definitions", cli_import_run},
};

static int
command_run(struct cli_request *request, const struct cli_io *io)
{
    const struct lp_command *command = request->command;
    const bool asks =
        command->secret != NULL && request->argument_count + 1 == command->arguments_min;

    if (request->help) {
        cli_command_help_print(io->out, request, command);
        return CLI_EXIT_OK;
    }
    if (command->refused != NULL) {
        (void)fprintf(io->err, "Error:\n%s is not for Lepus: %s\n", command->name,
                      command->refused);
        return CLI_EXIT_UNAVAILABLE;
    }
    if (request->argument_count + (asks ? 1 : 0) < command->arguments_min) {
        return cli_invalid(io, request, "not enough arguments.", CLI_EXIT_USAGE);
    }
    if (request->argument_count > command->arguments_max) {
        return cli_invalid(io, request, "too many arguments.", CLI_EXIT_USAGE);
    }
    for (size_t i = 0; i < LP_COUNT_OF(shared); i++) {
        if (strcmp(shared[i].name, command->name) == 0) {
            return shared[i].run(request, io);
        }
    }
    return command->local ? cli_local_run(request, io) : cli_remote_run(request, io);
}

int
cli_run(const struct cli_io *io, int argc, char **argv)
{
    struct cli_request request;
    const int code = cli_request_parse(&request, io, argc, argv);

    if (code != CLI_EXIT_OK) {
        return code;
    }
    if (request.version && request.command_name == NULL) {
        request.command_name = "version";
        request.command = lp_command_find("version");
    }
    if (request.command_name == NULL) {
        cli_help_print(request.help ? io->out : io->err, &request);
        return request.help ? CLI_EXIT_OK : CLI_EXIT_USAGE;
    }
    return request.command == NULL ? unknown_run(&request, io) : command_run(&request, io);
}
