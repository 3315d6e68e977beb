/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - lepusctl: RabbitMQ's command line, spoken to the control process.
 *
 * A command is a row of the table in commands.c.  It is sent as one line of
 * JSON over the Unix socket in the data directory, and one line comes back:
 *
 *   {"command":"list_queues","args":["name","messages"],"options":{"vhost":"/"}}
 *   {"ok":true,"columns":["name","messages"],"rows":[["q",3]]}
 *   {"ok":true,"text":"..."}   {"ok":true}
 *   {"ok":false,"exit":67,"error":"User \"x\" does not exist"}
 *
 *   Memory    jansson's; the process ends after one command
 *   Runs on   a process of its own
 */
#pragma once

#include <limits.h>
#include <stdio.h>

#include <jansson.h>
#include <lepus/base.h>

#define CLI_ARGUMENTS_MAX     64u
#define CLI_DEFAULT_TIMEOUT_S 60

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
    CLI_FORMATTER_PRETTY_TABLE,
    CLI_FORMATTER_CSV,
    CLI_FORMATTER_COUNT,
};

struct cli_command {
    const char *name;
    const char *group;
    const char *usage; /* after the name */
    const char *summary;
    const char *help;     /* about the arguments; may be "" */
    const char *columns;  /* of a listing with a choice: the default ones, "a,b"; else NULL */
    const char *banner;   /* %1 %2: arguments, %*: those after the first, %v: vhost, %n: node */
    const char *done;     /* said after success when the broker says nothing; or NULL */
    const char *switches; /* "--online|--local": accepted beside the general ones; or NULL */
    const char *secret;   /* a last argument that may come from standard input; or NULL */
    uint8_t arguments_min;
    uint8_t arguments_max;
    bool timeout_line;   /* begins with "Timeout: 60.0 seconds ..." */
    bool local;          /* needs no broker */
    bool done_is_advice; /* --quiet drops it */
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;

struct cli_io {
    FILE *in;
    FILE *out;
    FILE *err;
};

struct cli_request {
    const char *program; /* as it was called: lepusctl, rabbitmqctl, rabbitmq-diagnostics */
    const char *command_name;
    const struct cli_command *command; /* NULL: none given, or unknown */
    const char *data;
    const char *socket;
    const char *vhost; /* NULL: not given */
    const char *node;
    double timeout_s;
    enum cli_formatter formatter;
    bool quiet;
    bool silent;
    bool no_headers;
    bool help;
    bool version;
    size_t argument_count;
    const char *argument[CLI_ARGUMENTS_MAX];
    size_t switch_count;
    const char *switched[CLI_ARGUMENTS_MAX]; /* without their dashes */
};

/* ---- commands.c ---- */
const struct cli_command *cli_command_find(const char *name);
/* The nearest command to a misspelt one, or NULL. */
const struct cli_command *cli_command_nearest(const char *name);

/* ---- options.c: CLI_EXIT_OK, or the exit status after a message on `err` ---- */
int cli_request_parse(struct cli_request *request, const struct cli_io *io, int argc, char **argv);

/* ---- help.c ---- */
void cli_usage_print(FILE *out, const struct cli_request *request);
void cli_help_print(FILE *out, const struct cli_request *request);
void cli_command_help_print(FILE *out, const struct cli_request *request,
                            const struct cli_command *command);
int cli_invalid(const struct cli_io *io, const struct cli_request *request, const char *what);

/* ---- client.c: one question, one answer; NULL after a message on `err` and `ret_exit` ---- */
LP_MUST_CHECK json_t *cli_ask(const struct cli_request *request, const struct cli_io *io,
                              int *ret_exit);

/* ---- format.c ---- */
void cli_listing_print(FILE *out, const struct cli_request *request, const json_t *columns,
                       const json_t *rows);
void cli_banner_print(FILE *out, const struct cli_request *request);

/* ---- run.c: the whole program; the exit status ---- */
int cli_run(const struct cli_io *io, int argc, char **argv);
