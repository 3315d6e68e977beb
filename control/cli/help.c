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
    "                 | --formatter <name> | json, pretty_table, table, csv\n";

void
cli_usage_print(FILE *out, const struct cli_request *request)
{
    const struct cli_command *command = request->command;
    if (command == NULL) {
        (void)fprintf(out,
                      "%s [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> "
                      "[<command options>]\n",
                      request->program);
        return;
    }
    (void)fprintf(out, "%s [--node <node>] [--longnames] [--quiet] %s%s%s%s\n", request->program,
                  command->name, *command->usage != '\0' ? " " : "", command->usage,
                  command->timeout_line ? " [--timeout <timeout>]" : "");
}

void
cli_help_print(FILE *out, const struct cli_request *request)
{
    const char *group = "";
    struct cli_request general = *request;

    general.command = NULL;
    (void)fprintf(out, "\nUsage\n\n");
    cli_usage_print(out, &general);
    (void)fprintf(out, "\nAvailable commands:\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];
        if (strcmp(command->group, group) != 0) {
            group = command->group;
            (void)fprintf(out, "\n%s:\n\n", group);
        }
        (void)fprintf(out, "   %-29s %s\n", command->name, command->summary);
    }
    (void)fprintf(out,
                  "\nExamples\n\n"
                  "   %s status\n"
                  "   %s add_user ada 'a secret' && %s set_permissions ada '.*' '.*' '.*'\n"
                  "   %s list_queues name messages_ready consumers --formatter json\n"
                  "   %s --data /tmp/try stop\n"
                  "\nUse '%s help <command>' to learn more about a specific command\n",
                  request->program, request->program, request->program, request->program,
                  request->program, request->program);
}

void
cli_command_help_print(FILE *out, const struct cli_request *request,
                       const struct cli_command *command)
{
    struct cli_request about = *request;
    const size_t bytes = strlen(command->summary);

    about.command = command;
    (void)fprintf(out, "\nUsage\n\n");
    cli_usage_print(out, &about);
    (void)fprintf(out, "\n%s%s\n\n", command->summary,
                  bytes > 0 && command->summary[bytes - 1] == '.' ? "" : ".");
    if (*command->help != '\0') {
        (void)fprintf(out, "\nArguments and Options\n\n%s\n\n", command->help);
    }
    (void)fprintf(out, "\n%s\n", general_options);
}

int
cli_invalid(const struct cli_io *io, const struct cli_request *request, const char *what)
{
    (void)fprintf(io->err, "Error (argument validation): %s\nArguments given:\n\t%s", what,
                  request->command_name != NULL ? request->command_name : "");
    for (size_t i = 0; i < request->argument_count; i++) {
        /* A password in a log is worse than a shorter message. */
        const bool secret = request->command != NULL && request->command->secret != NULL && i == 1;
        (void)fprintf(io->err, " %s", secret ? "<password>" : request->argument[i]);
    }
    for (size_t i = 0; i < request->switch_count; i++) {
        (void)fprintf(io->err, " %s", request->switched[i]);
    }
    (void)fprintf(io->err, "\n\nUsage\n\n");
    cli_usage_print(io->err, request);
    return CLI_EXIT_USAGE;
}
