/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - the administrators' commands: one list for who types them (cli/)
 * and who carries them out (admin/).
 *
 * A command is an entry in one of the .inc files beside this, a family each:
 *
 *   COMMAND(name, fields...)   carried out by the broker: admin_<name>() in admin/
 *   LOCAL(name, fields...)     by the tool alone: local_<name>() in cli/
 *   REFUSED(name, "sentence")  RabbitMQ has it, and Lepus says what to do instead
 *
 * Names, columns and texts that scripts meet are rabbitmqctl's of RabbitMQ 4.0.
 *
 *   Memory    constant
 *   Runs on   any
 */
#pragma once

#include <lepus/base.h>

/* Headings of `help`, in its order. */
enum lp_command_group {
    LP_COMMANDS_HELP,
    LP_COMMANDS_NODES,
    LP_COMMANDS_CLUSTER,
    LP_COMMANDS_USERS,
    LP_COMMANDS_ACCESS,
    LP_COMMANDS_MONITORING,
    LP_COMMANDS_PARAMETERS,
    LP_COMMANDS_POLICIES,
    LP_COMMANDS_VHOSTS,
    LP_COMMANDS_CONFIGURATION,
    LP_COMMANDS_DEFINITIONS,
    LP_COMMANDS_FEATURES,
    LP_COMMANDS_OPERATIONS,
    LP_COMMANDS_QUEUES,
    LP_COMMANDS_DEPRECATED,
    LP_COMMANDS_GROUPS,
};

/* Which of RabbitMQ's tools has it; lepusctl has all. */
enum lp_command_scope {
    LP_SCOPE_CTL = 1,         /* rabbitmqctl */
    LP_SCOPE_DIAGNOSTICS = 2, /* rabbitmq-diagnostics */
};

enum lp_command_flag {
    LP_COMMAND_RUNNING = 1,     /* the application must run */
    LP_COMMAND_STOPPED = 2,     /* ... must be stopped (stop_app) */
    LP_COMMAND_TIMEOUT = 4,     /* usage shows --timeout */
    LP_COMMAND_STREAMED = 8,    /* an empty listing prints nothing, where others print a line */
    LP_COMMAND_VALUE = 16,      /* JSON: its text is a "value" beside result and node */
    LP_COMMAND_PATIENT = 32,    /* waits for ever unless --timeout says otherwise */
    LP_COMMAND_ADVICE = 64,     /* `done` is advice: --quiet drops it */
    LP_COMMAND_NO_HEADER = 128, /* a table without a header unless --table-headers asks for one */
    LP_COMMAND_CHECK = 256,     /* --silent: the exit status says it all */
};

#define LP_COMMAND_ARGUMENTS_MAX 64u

struct lp_command {
    const char *name;
    const char *usage;   /* after the name */
    const char *summary; /* a sentence without its stop */
    const char *help;    /* about arguments and options; NULL: nothing */
    const char *columns; /* that a listing offers, "a,b,"; NULL: no choice */
    const char *preset;  /* ... and shows when none is named, "a,b" */
    /* Beside the general ones, parted by spaces: "global limit:integer d=description:string";
     * a letter before = is the short form, without a type it is a switch. */
    const char *options;
    /* Templates: %1 %2 %3 arguments, %* those after the first, %v vhost, %n node, %t timeout in
     * milliseconds, %T in seconds, %p program, %<x=y> option x or y; %?x{...%} only with option x
     * (or argument x if it is a digit, or x=value), %!x{...%} only without. */
    const char *banner;
    const char *done;    /* after success, when the broker says nothing; NULL: nothing */
    const char *secret;  /* what the last argument is, if it may come from standard input */
    const char *refused; /* why not, and what instead */
    uint16_t flags;      /* enum lp_command_flag bits */
    uint8_t group;       /* enum lp_command_group */
    uint8_t scopes;      /* enum lp_command_scope bits */
    uint8_t arguments_min;
    uint8_t arguments_max;
    bool local;
};

/* By group as `help` shows them, and by name within a group's family. */
extern const struct lp_command lp_commands[];
extern const size_t lp_command_count;

const char *lp_command_group_name(enum lp_command_group group);
/* NULL: there is none. */
const struct lp_command *lp_command_find(const char *name);
/* The nearest of a scope's commands to a misspelt one, or NULL. */
const struct lp_command *lp_command_nearest(const char *name, uint8_t scopes);
