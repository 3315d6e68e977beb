/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - the command line, read as Elixir's OptionParser reads it for rabbitmqctl. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum option {
    OPTION_NODE,
    OPTION_HARMLESS,
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
    {"-l", OPTION_HARMLESS, false},
    {"--longnames", OPTION_HARMLESS, false},
    {"--print-stacktrace", OPTION_HARMLESS, false},
    {"--erlang-cookie", OPTION_HARMLESS, true},
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

static const char unmade[] = "Invalid options for this command:";

struct cursor {
    int argc;
    char **argv;
    int at;
    bool literal;  /* after "--" */
    FILE *invalid; /* lines about options that cannot be */
};

/* ---- what an option may be ---- */

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

/* An entry of a command's `options`: "d=description:string". */
struct spec {
    char letter; /* 0: no short form */
    char name[32];
    bool value;
    bool integer;
};

/* The next entry; false: no more. */
static bool
spec_next(const char **at, struct spec *ret_spec)
{
    const char *from = *at;
    if (from == NULL || *from == '\0') {
        return false;
    }
    const size_t bytes = strcspn(from, " ");
    *ret_spec = (struct spec){0};
    *at = from[bytes] == ' ' ? from + bytes + 1 : from + bytes;
    const char *name = from;
    if (bytes > 2 && from[1] == '=') {
        ret_spec->letter = from[0];
        name += 2;
    }
    const char *colon = memchr(name, ':', (size_t)(from + bytes - name));
    const size_t name_bytes = colon ? (size_t)(colon - name) : (size_t)(from + bytes - name);
    LP_ASSERT(name_bytes < sizeof(ret_spec->name));
    memcpy(ret_spec->name, name, name_bytes);
    ret_spec->value = colon != NULL;
    ret_spec->integer = colon != NULL && colon[1] == 'i';
    return true;
}

/* Where the list of commands spells this option; NULL: the command has none such. */
static const char *
spec_find(const struct lp_command *command, const char *word, size_t word_bytes,
          struct spec *ret_spec)
{
    const char *at = command != NULL ? command->options : NULL;
    for (const char *from = at; spec_next(&at, ret_spec); from = at) {
        const bool is_short = word_bytes == 2 && word[0] == '-' && word[1] == ret_spec->letter;
        const bool is_long = word_bytes > 2 && strlen(ret_spec->name) == word_bytes - 2 &&
                             memcmp(ret_spec->name, word + 2, word_bytes - 2) == 0;
        if (is_short || is_long) {
            return from + (ret_spec->letter != 0 ? 2 : 0);
        }
    }
    return NULL;
}

static bool
formatter_parse(const char *value, enum cli_formatter *ret_formatter)
{
    static const char *const names[CLI_FORMATTER_COUNT] = {"table", "json", "json_stream",
                                                           "pretty_table", "csv"};
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

static bool
is_integer(const char *text)
{
    if (!text) {
        return false;
    }
    text += *text == '-' || *text == '+';
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* "rabbit" is rabbit on this machine. */
static void
node_set(struct cli_request *request, const char *name)
{
    char host[256] = "localhost";
    (void)gethostname(host, sizeof(host) - 1); /* keeps "localhost" if it fails */
    host[strcspn(host, ".")] = '\0';
    if (strchr(name, '@') != NULL) {
        (void)snprintf(request->node, sizeof(request->node), "%s", name);
    } else {
        (void)snprintf(request->node, sizeof(request->node), "%s@%s", name, host);
    }
}

/* What is wrong with it, or NULL.  `value` is "" for an option that takes none. */
static const char *
general_apply(struct cli_request *request, enum option option, const char *value)
{
    switch (option) {
    case OPTION_NODE:
        node_set(request, value);
        return NULL;
    case OPTION_HARMLESS:
        return NULL;
    case OPTION_TIMEOUT:
        request->timeout_given = true;
        return timeout_parse(value, &request->timeout_s) ? NULL : unmade;
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
                   : "--formatter must be one of table, json, json_stream, pretty_table, csv";
    case OPTION_NO_HEADERS:
        request->headers = -1;
        return NULL;
    case OPTION_HEADERS:
        request->headers = 1;
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

/* ---- words ---- */

/* The word after the option, which is its value; NULL: there is none. */
static const char *
value_take(struct cursor *cursor)
{
    return cursor->at + 1 < cursor->argc ? cursor->argv[++cursor->at] : NULL;
}

static void
invalid_note(struct cursor *cursor, const char *word, size_t bytes, const char *value)
{
    (void)fprintf(cursor->invalid, "\n%.*s : %s", (int)bytes, word, value != NULL ? value : "");
}

/* An option of the command's own. */
static void
special_take(struct cli_request *request, struct cursor *cursor)
{
    const char *word = cursor->argv[cursor->at];
    const size_t bytes = strcspn(word, "=");
    const char *value = word[bytes] == '=' ? word + bytes + 1 : NULL;
    struct spec spec;
    struct cli_option *option = &request->option[request->option_count];
    const bool off = strncmp(word, "--no-", 5) == 0;
    char positive[64];

    const char *name = spec_find(request->command, word, bytes, &spec);
    if (name == NULL && off && bytes < sizeof(positive)) {
        (void)snprintf(positive, sizeof(positive), "--%.*s", (int)(bytes - 5), word + 5);
        name = spec_find(request->command, positive, strlen(positive), &spec);
        name = name != NULL && !spec.value ? name : NULL;
    } else if (name != NULL && spec.value && value == NULL) {
        value = value_take(cursor);
    }
    const bool whole = name != NULL && (spec.value == (value != NULL));
    if (!whole || (spec.integer && !is_integer(value))) {
        invalid_note(cursor, word, bytes, value);
        return;
    }
    *option = (struct cli_option){.name = name,
                                  .value = value,
                                  .off = off && !spec.value && strncmp(spec.name, "no-", 3) != 0,
                                  .integer = spec.integer};
    request->option_count++;
}

static const char *
option_take(struct cli_request *request, struct cursor *cursor, char *room, size_t room_bytes)
{
    const char *word = cursor->argv[cursor->at];
    const char *value = NULL;
    const struct general *general = general_find(word, &value);

    if (general == NULL) {
        special_take(request, cursor);
        return NULL;
    }
    if (general->value && value == NULL) {
        value = value_take(cursor);
        if (value == NULL) {
            (void)snprintf(room, room_bytes, "%s needs a value", word);
            return room;
        }
    }
    const char *wrong = general_apply(request, general->option, value != NULL ? value : "");
    if (wrong == unmade) {
        invalid_note(cursor, word, strcspn(word, "="), value);
        return NULL;
    }
    return wrong;
}

static const char *
word_take(struct cli_request *request, struct cursor *cursor, char *room, size_t room_bytes)
{
    const char *word = cursor->argv[cursor->at];
    const bool number = word[0] == '-' && word[1] >= '0' && word[1] <= '9';

    if (request->argument_count + request->option_count + 1 >= CLI_ARGUMENTS_MAX) {
        return "too many arguments.";
    }
    if (!cursor->literal && strcmp(word, "--") == 0) {
        cursor->literal = true;
        return NULL;
    }
    if (!cursor->literal && word[0] == '-' && word[1] != '\0' && !number) {
        return option_take(request, cursor, room, room_bytes);
    }
    if (request->command_name == NULL) {
        request->command_name = word;
    } else {
        request->argument[request->argument_count++] = word;
    }
    return NULL;
}

/* The first word that is no option, nor the value of a general one: what the others belong to. */
static const struct lp_command *
command_look(const struct cli_request *request, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        const struct general *general = general_find(argv[i], &value);
        if (general != NULL) {
            i += general->value && value == NULL;
        } else if (argv[i][0] != '-' || argv[i][1] == '\0') {
            const struct lp_command *command = lp_command_find(argv[i]);
            return command != NULL && (command->scopes & request->scopes) ? command : NULL;
        }
    }
    return NULL;
}

static uint8_t
scopes_of(const char *program)
{
    if (strcmp(program, "rabbitmqctl") == 0) {
        return LP_SCOPE_CTL;
    }
    return strcmp(program, "rabbitmq-diagnostics") == 0 ? LP_SCOPE_DIAGNOSTICS
                                                        : LP_SCOPE_CTL | LP_SCOPE_DIAGNOSTICS;
}

/* The last one counts. */
static const struct cli_option *
option_given(const struct cli_request *request, const char *name)
{
    const size_t bytes = strlen(name);
    for (size_t i = request->option_count; i > 0; i--) {
        const struct cli_option *option = &request->option[i - 1];
        if (strncmp(option->name, name, bytes) == 0 && strchr(": ", option->name[bytes]) != NULL) {
            return option;
        }
    }
    return NULL;
}

const char *
cli_option_value(const struct cli_request *request, const char *name)
{
    const struct cli_option *option = option_given(request, name);
    if (option == NULL || option->off) {
        return NULL;
    }
    return option->value != NULL ? option->value : "";
}

bool
cli_option_is_off(const struct cli_request *request, const char *name)
{
    const struct cli_option *option = option_given(request, name);
    return option != NULL && option->off;
}

int
cli_request_parse(struct cli_request *request, const struct cli_io *io, int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    char room[256];
    char *invalid = NULL;
    size_t invalid_bytes = 0;
    struct cursor cursor = {argc, argv, 1, false, open_memstream(&invalid, &invalid_bytes)};
    const char *wrong = NULL;

    LP_ASSERT(cursor.invalid != NULL);
    *request = (struct cli_request){
        .program = slash != NULL ? slash + 1 : argv[0],
        .timeout_s = CLI_DEFAULT_TIMEOUT_S,
        .word_count = (size_t)argc - 1,
        .word = (const char *const *)argv + 1,
    };
    request->scopes = scopes_of(request->program);
    node_set(request, "lepus");
    request->command = command_look(request, argc, argv);
    (void)fputs(unmade, cursor.invalid);
    for (; cursor.at < argc && wrong == NULL; cursor.at++) {
        wrong = word_take(request, &cursor, room, sizeof(room));
    }
    (void)fclose(cursor.invalid);
    LP_ASSERT(invalid != NULL);
    if (wrong == NULL && invalid_bytes >= sizeof(unmade)) {
        wrong = invalid;
    }
    /* An unknown command is the worse mistake, and is reported by the caller. */
    const bool known = request->command != NULL || request->command_name == NULL;
    const int code =
        wrong != NULL && known ? cli_invalid(io, request, wrong, CLI_EXIT_USAGE) : CLI_EXIT_OK;
    free(invalid);
    if (request->command != NULL && (request->command->flags & LP_COMMAND_PATIENT) &&
        !request->timeout_given) {
        request->timeout_s = 0;
    }
    return code;
}
