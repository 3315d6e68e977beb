/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - lepusctl: RabbitMQ's command line, spoken to the control process.
 *
 * A command is an entry of the list in control/command.  It is sent as one
 * line of JSON over the Unix socket in the data directory, and one line comes
 * back (control/admin/admin.h).  Before anything is printed the broker is
 * asked whether the command may run ("check"), as rabbitmqctl does: mistakes
 * come before banners.
 *
 *   Memory    jansson's; the process ends after one command
 *   Runs on   a process of its own
 */
#pragma once

#include <limits.h>
#include <stdio.h>

#include <jansson.h>
#include <lepus/base.h>

#include "control/command/command.h"

#define CLI_ARGUMENTS_MAX     LP_COMMAND_ARGUMENTS_MAX
#define CLI_DEFAULT_TIMEOUT_S 60
#define CLI_NODE_BYTES        320

/* sysexits.h, as RabbitMQ's tools use it. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_USAGE = 64,
    CLI_EXIT_DATA = 65,
    CLI_EXIT_UNAVAILABLE = 69,
    CLI_EXIT_SOFTWARE = 70,
    CLI_EXIT_TEMPORARY = 75,
};

enum cli_formatter {
    CLI_FORMATTER_TABLE,
    CLI_FORMATTER_JSON,
    CLI_FORMATTER_JSON_STREAM,
    CLI_FORMATTER_PRETTY_TABLE,
    CLI_FORMATTER_CSV,
    CLI_FORMATTER_COUNT,
};

struct cli_io {
    FILE *in;
    FILE *out;
    FILE *err;
};

/* An option of the command's own. */
struct cli_option {
    const char *name;  /* as the list of commands spells it */
    const char *value; /* NULL: a switch */
    bool off;          /* --no-name */
    bool integer;
};

struct cli_request {
    const char *program; /* as it was called: lepusctl, rabbitmqctl, rabbitmq-diagnostics */
    uint8_t scopes;      /* enum lp_command_scope bits of that program */
    const char *command_name;
    const struct lp_command *command; /* NULL: none given, or unknown */
    const char *data;
    const char *socket;
    const char *vhost; /* NULL: not given */
    char node[CLI_NODE_BYTES];
    double timeout_s; /* 0: for ever */
    bool timeout_given;
    enum cli_formatter formatter;
    bool quiet;
    bool silent;
    int8_t headers; /* -1: --no-table-headers, 1: --table-headers, 0: as the command has it */
    bool help;
    bool version;
    size_t argument_count;
    const char *argument[CLI_ARGUMENTS_MAX + 1];
    size_t option_count;
    struct cli_option option[CLI_ARGUMENTS_MAX];
    size_t word_count; /* everything after the program's name, for messages */
    const char *const *word;
};

/* ---- options.c: CLI_EXIT_OK, or the exit status after a message on `err` ---- */
int cli_request_parse(struct cli_request *request, const struct cli_io *io, int argc, char **argv);
/* The value of an option: NULL when it was not given; "" for a switch. */
const char *cli_option_value(const struct cli_request *request, const char *name);
/* Was --no-name given? */
bool cli_option_is_off(const struct cli_request *request, const char *name);

/* ---- template.c ---- */
/* The command's banner, unless nobody wants to see it. */
void cli_banner_print(FILE *out, const struct cli_request *request);
void cli_template_print(FILE *out, const struct cli_request *request, const char *template);
/* Is the output for people (and not --formatter json or csv)? */
bool cli_for_people(const struct cli_request *request);

/* ---- help.c ---- */
void cli_usage_print(FILE *out, const struct cli_request *request);
void cli_commands_print(FILE *out, const struct cli_request *request);
void cli_help_print(FILE *out, const struct cli_request *request);
void cli_command_help_print(FILE *out, const struct cli_request *request,
                            const struct lp_command *command);
/* "Error (argument validation): <what>" and how it would be right; gives `code` back. */
int cli_invalid(const struct cli_io *io, const struct cli_request *request, const char *what,
                int code);
/* The same about the node's state. */
int cli_unfit(const struct cli_io *io, const struct cli_request *request, const char *what,
              int code);

/* ---- client.c ---- */
struct cli_client {
    int fd;
};
/* CLI_EXIT_OK, or the exit status after a message on `err`. */
int cli_client_open(struct cli_client *client, const struct cli_request *request,
                    const struct cli_io *io);
/* The same without a message. */
bool cli_client_try(struct cli_client *client, const struct cli_request *request);
void cli_client_close(struct cli_client *client);
/* One question, one answer; NULL after a message on `err` and `ret_exit`. */
LP_MUST_CHECK json_t *cli_ask(struct cli_client *client, const struct cli_request *request,
                              const struct cli_io *io, bool check, int *ret_exit);

/* ---- term.c ---- */
/* A value as a table shows it; the caller frees it. */
char *cli_cell_text(const char *column, const json_t *value);

/* ---- format.c ---- */
void cli_listing_print(FILE *out, const struct cli_request *request, const json_t *columns,
                       const json_t *rows);
void cli_json_print(FILE *out, const json_t *value);
/* A single text, as the formatter wants it. */
void cli_text_print(FILE *out, const struct cli_request *request, const char *text);

/* ---- local.c: commands that the tool carries out by itself ---- */
int cli_local_run(struct cli_request *request, const struct cli_io *io);

/* ---- node.c ---- */
/* `stop`: the broker's command, and what the tool watches. */
int cli_stop_run(struct cli_request *request, const struct cli_io *io);

/* ---- definitions.c ---- */
int cli_export_run(struct cli_request *request, const struct cli_io *io);
int cli_import_run(struct cli_request *request, const struct cli_io *io);

/* ---- answer.c ---- */
/* Print an answer of the broker's; the exit status. */
int cli_answer_print(const struct cli_request *request, const struct cli_io *io,
                     const json_t *answer);

/* ---- run.c ---- */
/* May it run?  CLI_EXIT_OK, or the exit status after a message. */
int cli_check_ask(struct cli_client *client, const struct cli_request *request,
                  const struct cli_io *io);
/* A command that the broker carries out, from check to answer. */
int cli_remote_run(struct cli_request *request, const struct cli_io *io);
/* A password from standard input; false: there was none. */
bool cli_password_read(const struct cli_request *request, const struct cli_io *io,
                       char *ret_password, size_t password_bytes);
/* The same of something else. */
bool cli_secret_read(const struct cli_request *request, const struct cli_io *io, const char *prompt,
                     char *ret_text, size_t text_bytes);
/* The whole program; the exit status. */
int cli_run(const struct cli_io *io, int argc, char **argv);
