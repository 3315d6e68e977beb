/* SPDX-License-Identifier: Apache-2.0 */
/* report.c - one text about a node: what other commands say, one after the other. */
#include "cli.h"
#include "cli_local.h"

#include <string.h>

static const char *const node_commands[] = {
    "status",        "cluster_status", "environment", "list_connections",
    "list_channels", "list_users",     "list_vhosts", NULL,
};
static const char *const vhost_commands[] = {
    "list_queues",
    "list_exchanges",
    "list_bindings",
    "list_consumers",
    "list_permissions",
    "list_policies",
    NULL,
};

#define WORDS_MAX 8

/* The words of a command to the same broker; the options that were given are kept. */
static int
words_make(const struct cli_request *request, const char *command, const char *vhost,
           char *ret_words[WORDS_MAX])
{
    /* getopt wants to be able to move words, never to change them. */
    const char *words[WORDS_MAX] = {request->program, command};
    int count = 2;
    if (request->data) {
        words[count++] = "--data";
        words[count++] = request->data;
    }
    if (request->socket) {
        words[count++] = "--socket";
        words[count++] = request->socket;
    }
    if (vhost) {
        words[count++] = "--vhost";
        words[count++] = vhost;
    }
    memcpy(ret_words, words, sizeof(words));
    return count;
}

static int
commands_run(const struct cli_request *request, const struct cli_io *io,
             const char *const *commands, const char *vhost)
{
    for (; *commands != NULL; commands++) {
        char *words[WORDS_MAX];
        const int count = words_make(request, *commands, vhost, words);
        const int code = cli_run(io, count, words);
        if (code != CLI_EXIT_OK) {
            return code;
        }
        (void)fputc('\n', io->out);
    }
    return CLI_EXIT_OK;
}

/* The names of virtual hosts, a row each; NULL after a message. */
static json_t *
vhosts_ask(const struct cli_request *request, const struct cli_io *io, int *ret_exit)
{
    struct cli_request listing;
    struct cli_client client;
    char *words[WORDS_MAX];
    const int count = words_make(request, "list_vhosts", NULL, words);
    *ret_exit = cli_request_parse(&listing, io, count, words);
    if (*ret_exit == CLI_EXIT_OK) {
        *ret_exit = cli_client_open(&client, &listing, io);
    }
    if (*ret_exit != CLI_EXIT_OK) {
        return NULL;
    }
    json_t *answer = cli_ask(&client, &listing, io, false, ret_exit);
    cli_client_close(&client);
    json_t *rows = json_incref(json_object_get(answer, "rows"));
    json_decref(answer);
    return rows;
}

int
cli_local_report(struct cli_request *request, const struct cli_io *io)
{
    size_t i;
    const json_t *row;
    cli_banner_print(io->out, request);
    int code = commands_run(request, io, node_commands, NULL);
    if (code != CLI_EXIT_OK) {
        return code;
    }
    json_t *vhosts = vhosts_ask(request, io, &code);
    json_array_foreach(vhosts, i, row)
    {
        const char *name = json_string_value(json_array_get(row, 0));
        if (code == CLI_EXIT_OK && name != NULL) {
            code = commands_run(request, io, vhost_commands, name);
        }
    }
    json_decref(vhosts);
    return code;
}
