/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <string.h>

static const char general_options[] =
    "General Options\n"
    "\n"
    "The following options are accepted by most or all commands.\n"
    "\n"
    "short            | long               | description\n"
    "-----------------|--------------------|--------------------------------\n"
    "-?               | --help             | displays command help\n"
    "                 | --data <dir>       | the broker's data directory; default: $LEPUS_DATA,\n"
    "                 |                    | else that of 'lepus' without --data\n"
    "                 | --socket <path>    | its socket itself; default: $LEPUS_SOCKET, else\n"
    "                 |                    | lepus.sock in the data directory\n"
    "-n <node>        | --node <node>      | accepted; there is one node\n"
    "-l               | --longnames        | accepted; there is one node\n"
    "-t <n>           | --timeout <n>      | operation timeout in seconds\n"
    "-q               | --quiet            | suppress informational messages\n"
    "-s               | --silent           | suppress informational messages\n"
    "                 |                    | and table header row\n"
    "-p <vhost>       | --vhost <vhost>    | for commands that are scoped to a virtual host,\n"
    "                 |                    | virtual host to use\n"
    "                 | --no-table-headers | suppress the table header row\n"
    "                 | --formatter <name> | json, json_stream, pretty_table, table, csv\n";

void
cli_usage_print(FILE *out, const struct cli_request *request)
{
    const struct lp_command *command = request->command;
    if (command == NULL) {
        (void)fprintf(out,
                      "%s [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> "
                      "[<command options>]\n",
                      request->program);
        return;
    }
    (void)fprintf(out, "%s [--node <node>] [--longnames] [--quiet] %s%s%s%s\n", request->program,
                  command->name, *command->usage != '\0' ? " " : "", command->usage,
                  command->flags & LP_COMMAND_TIMEOUT ? " [--timeout <timeout>]" : "");
}

/* Its commands' names get this much room. */
static int
group_width(const struct cli_request *request, enum lp_command_group group)
{
    size_t width = 29;
    for (size_t i = 0; i < lp_command_count; i++) {
        const struct lp_command *command = &lp_commands[i];
        if (command->group == group && (command->scopes & request->scopes)) {
            width = LP_MAX(width, strlen(command->name));
        }
    }
    return (int)width;
}

/* Commands of one heading, by name. */
static void
group_print(FILE *out, const struct cli_request *request, enum lp_command_group group)
{
    const int width = group_width(request, group);
    const char *before = "";
    for (;;) {
        const struct lp_command *next = NULL;
        for (size_t i = 0; i < lp_command_count; i++) {
            const struct lp_command *command = &lp_commands[i];
            if (command->group == group && (command->scopes & request->scopes) &&
                strcmp(command->name, before) > 0 &&
                (next == NULL || strcmp(command->name, next->name) < 0)) {
                next = command;
            }
        }
        if (next == NULL) {
            return;
        }
        if (*before == '\0') {
            (void)fprintf(out, "\n%s:\n\n", lp_command_group_name(group));
        }
        before = next->name;
        (void)fprintf(out, "   %-*s %s\n", width, next->name, next->summary);
    }
}

void
cli_commands_print(FILE *out, const struct cli_request *request)
{
    for (unsigned group = 0; group < LP_COMMANDS_GROUPS; group++) {
        group_print(out, request, (enum lp_command_group)group);
    }
}

static void
examples_print(FILE *out, const struct cli_request *request)
{
    static const struct {
        const char *line;
        uint8_t scope;
    } examples[] = {
        {"status", LP_SCOPE_CTL | LP_SCOPE_DIAGNOSTICS},
        {"add_user ada 'a secret'", LP_SCOPE_CTL},
        {"set_permissions ada '.*' '.*' '.*'", LP_SCOPE_CTL},
        {"list_queues name messages_ready consumers --formatter json",
         LP_SCOPE_CTL | LP_SCOPE_DIAGNOSTICS},
        {"set_policy short '^logs-' '{\"max-length\": 1000}'", LP_SCOPE_CTL},
        {"check_local_alarms && echo well", LP_SCOPE_DIAGNOSTICS},
        {"--data /tmp/try stop", LP_SCOPE_CTL},
    };
    (void)fprintf(out, "\nExamples\n\n");
    for (size_t i = 0; i < LP_COUNT_OF(examples); i++) {
        if (examples[i].scope & request->scopes) {
            (void)fprintf(out, "   %s %s\n", request->program, examples[i].line);
        }
    }
}

void
cli_help_print(FILE *out, const struct cli_request *request)
{
    struct cli_request general = *request;

    general.command = NULL;
    (void)fprintf(out, "\nUsage\n\n");
    cli_usage_print(out, &general);
    (void)fprintf(out, "\nAvailable commands:\n");
    cli_commands_print(out, request);
    examples_print(out, request);
    (void)fprintf(out, "\nUse '%s help <command>' to learn more about a specific command\n",
                  request->program);
}

/* "a,b," as "<column>: must be one of a, b", with the default ones. */
static void
columns_print(FILE *out, const struct lp_command *command)
{
    (void)fprintf(out, "<column>\n\tmust be one of ");
    for (const char *at = command->columns; *at != '\0';) {
        const size_t bytes = strcspn(at, ",");
        (void)fprintf(out, "%s%.*s", at == command->columns ? "" : ", ", (int)bytes, at);
        at += bytes + (at[bytes] == ',');
    }
    (void)fprintf(out, "\n\tdefault: %s\n\n", command->preset);
}

void
cli_command_help_print(FILE *out, const struct cli_request *request,
                       const struct lp_command *command)
{
    struct cli_request about = *request;
    const size_t bytes = strlen(command->summary);

    about.command = command;
    (void)fprintf(out, "\nUsage\n\n");
    cli_usage_print(out, &about);
    (void)fprintf(out, "\n%s%s\n\n", command->summary,
                  bytes > 0 && command->summary[bytes - 1] == '.' ? "" : ".");
    if (command->help != NULL || command->columns != NULL) {
        (void)fprintf(out, "\nArguments and Options\n\n");
        if (command->columns != NULL) {
            columns_print(out, command);
        }
        (void)fprintf(out, "%s\n\n", command->help != NULL ? command->help : "");
    }
    (void)fprintf(out, "\n%s\n", general_options);
}

static int
complain(const struct cli_io *io, const struct cli_request *request, const char *what, int code)
{
    const char *secret = NULL;
    if (request->command != NULL && request->command->secret != NULL) {
        const size_t index = request->command->arguments_min - 1u;
        secret = index < request->argument_count ? request->argument[index] : NULL;
    }
    (void)fprintf(io->err, "%s\nArguments given:\n\t", what);
    for (size_t i = 0; i < request->word_count; i++) {
        /* A password in a log is worse than a shorter message. */
        (void)fprintf(io->err, "%s%s", i > 0 ? " " : "",
                      request->word[i] == secret ? "<password>" : request->word[i]);
    }
    (void)fprintf(io->err, "\n\nUsage\n\n");
    cli_usage_print(io->err, request);
    return code;
}

int
cli_invalid(const struct cli_io *io, const struct cli_request *request, const char *what, int code)
{
    (void)fprintf(io->err, "Error (argument validation): ");
    return complain(io, request, what, code);
}

int
cli_unfit(const struct cli_io *io, const struct cli_request *request, const char *what, int code)
{
    (void)fprintf(io->err, "Error: ");
    return complain(io, request, what, code);
}
