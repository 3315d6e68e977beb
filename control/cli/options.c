/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

enum option {
    OPTION_NODE,
    OPTION_LONGNAMES,
    OPTION_TIMEOUT,
    OPTION_QUIET,
    OPTION_SILENT,
    OPTION_VHOST,
    OPTION_FORMATTER,
    OPTION_NO_HEADERS,
    OPTION_HEADERS,
    OPTION_DATA,
    OPTION_SOCKET,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct general {
    const char *name;
    enum option option;
    bool value;
} generals[] = {
    {"-n", OPTION_NODE, true},
    {"--node", OPTION_NODE, true},
    {"-l", OPTION_LONGNAMES, false},
    {"--longnames", OPTION_LONGNAMES, false},
    {"-t", OPTION_TIMEOUT, true},
    {"--timeout", OPTION_TIMEOUT, true},
    {"-q", OPTION_QUIET, false},
    {"--quiet", OPTION_QUIET, false},
    {"-s", OPTION_SILENT, false},
    {"--silent", OPTION_SILENT, false},
    {"-p", OPTION_VHOST, true},
    {"--vhost", OPTION_VHOST, true},
    {"--formatter", OPTION_FORMATTER, true},
    {"--no-table-headers", OPTION_NO_HEADERS, false},
    {"--table-headers", OPTION_HEADERS, false},
    {"--data", OPTION_DATA, true},
    {"--socket", OPTION_SOCKET, true},
    {"-?", OPTION_HELP, false},
    {"-h", OPTION_HELP, false},
    {"--help", OPTION_HELP, false},
    {"--version", OPTION_VERSION, false},
};

static const struct general *
general_find(const char *word, const char **ret_value)
{
    const size_t bytes = strcspn(word, "=");
    for (size_t i = 0; i < LP_COUNT_OF(generals); i++) {
        if (strlen(generals[i].name) == bytes && memcmp(generals[i].name, word, bytes) == 0) {
            *ret_value = word[bytes] == '=' ? word + bytes + 1 : NULL;
            return &generals[i];
        }
    }
    return NULL;
}

static bool
formatter_parse(const char *value, enum cli_formatter *ret_formatter)
{
    static const char *const names[CLI_FORMATTER_COUNT] = {"table", "json", "pretty_table", "csv"};
    for (unsigned i = 0; i < CLI_FORMATTER_COUNT; i++) {
        if (strcmp(names[i], value) == 0) {
            *ret_formatter = (enum cli_formatter)i;
            return true;
        }
    }
    return false;
}

static bool
timeout_parse(const char *value, double *ret_timeout_s)
{
    char *end;
    if (strcmp(value, "infinity") == 0) {
        *ret_timeout_s = 0;
        return true;
    }
    const double seconds = strtod(value, &end);
    if (end == value || *end != '\0' || !(seconds > 0) || seconds > 1e6) {
        return false;
    }
    *ret_timeout_s = seconds;
    return true;
}

/* What is wrong with it, or NULL.  `value` is "" for an option that takes none. */
static const char *
general_apply(struct cli_request *request, enum option option, const char *value)
{
    switch (option) {
    case OPTION_NODE:
        request->node = value;
        return NULL;
    case OPTION_LONGNAMES:
    case OPTION_HEADERS:
        return NULL;
    case OPTION_TIMEOUT:
        return timeout_parse(value, &request->timeout_s) ? NULL
                                                         : "--timeout must be seconds above 0";
    case OPTION_QUIET:
        request->quiet = true;
        return NULL;
    case OPTION_SILENT:
        request->silent = true;
        return NULL;
    case OPTION_VHOST:
        request->vhost = value;
        return NULL;
    case OPTION_FORMATTER:
        return formatter_parse(value, &request->formatter)
                   ? NULL
                   : "--formatter must be one of table, json, pretty_table, csv";
    case OPTION_NO_HEADERS:
        request->no_headers = true;
        return NULL;
    case OPTION_DATA:
        request->data = value;
        return NULL;
    case OPTION_SOCKET:
        request->socket = value;
        return NULL;
    case OPTION_HELP:
        request->help = true;
        return NULL;
    case OPTION_VERSION:
        request->version = true;
        return NULL;
    }
    return "unknown option";
}

static bool
switch_known(const char *switches, const char *word)
{
    const size_t bytes = strlen(word);
    for (const char *at = switches; at != NULL;) {
        const size_t span = strcspn(at, "|");
        if (span == bytes && memcmp(at, word, bytes) == 0) {
            return true;
        }
        at = at[span] == '|' ? at + span + 1 : NULL;
    }
    return false;
}

struct cursor {
    int argc;
    char **argv;
    int at;
    bool literal; /* after "--" */
};

static const char *
option_take(struct cli_request *request, struct cursor *cursor, char *room, size_t room_bytes)
{
    const char *word = cursor->argv[cursor->at];
    const char *value = NULL;
    const struct general *general = general_find(word, &value);

    if (general == NULL) {
        /* Switches of a command are checked when the command is known. */
        request->switched[request->switch_count++] = word;
        return NULL;
    }
    if (general->value && value == NULL) {
        if (cursor->at + 1 >= cursor->argc) {
            (void)snprintf(room, room_bytes, "%s needs a value", word);
            return room;
        }
        value = cursor->argv[++cursor->at];
    }
    return general_apply(request, general->option, value != NULL ? value : "");
}

static const char *
word_take(struct cli_request *request, struct cursor *cursor, char *room, size_t room_bytes)
{
    const char *word = cursor->argv[cursor->at];

    if (request->argument_count + request->switch_count + 1 >= CLI_ARGUMENTS_MAX) {
        return "too many arguments.";
    }
    if (!cursor->literal && strcmp(word, "--") == 0) {
        cursor->literal = true;
        return NULL;
    }
    if (!cursor->literal && word[0] == '-' && word[1] != '\0') {
        return option_take(request, cursor, room, room_bytes);
    }
    if (request->command_name == NULL) {
        request->command_name = word;
    } else {
        request->argument[request->argument_count++] = word;
    }
    return NULL;
}

static int
switches_check(struct cli_request *request, const struct cli_io *io)
{
    for (size_t i = 0; i < request->switch_count; i++) {
        char what[256];
        const char *word = request->switched[i];
        const char *switches = request->command != NULL ? request->command->switches : NULL;
        if (!switch_known(switches, word)) {
            (void)snprintf(what, sizeof(what), "Invalid options for this command:\n%s : ", word);
            return cli_invalid(io, request, what);
        }
        request->switched[i] = word + strspn(word, "-");
    }
    return CLI_EXIT_OK;
}

int
cli_request_parse(struct cli_request *request, const struct cli_io *io, int argc, char **argv)
{
    struct cursor cursor = {argc, argv, 1, false};
    const char *slash = strrchr(argv[0], '/');
    char room[256];

    *request = (struct cli_request){
        .program = slash != NULL ? slash + 1 : argv[0],
        .timeout_s = CLI_DEFAULT_TIMEOUT_S,
    };
    for (; cursor.at < argc; cursor.at++) {
        const char *wrong = word_take(request, &cursor, room, sizeof(room));
        if (wrong != NULL) {
            request->command =
                request->command_name != NULL ? cli_command_find(request->command_name) : NULL;
            return cli_invalid(io, request, wrong);
        }
    }
    if (request->command_name != NULL) {
        request->command = cli_command_find(request->command_name);
    }
    /* An unknown command is the worse mistake, and is reported by the caller. */
    return request->command == NULL && request->command_name != NULL ? CLI_EXIT_OK
                                                                     : switches_check(request, io);
}
