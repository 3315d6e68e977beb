/* SPDX-License-Identifier: Apache-2.0 */
/* local.c - commands that need no broker, and the table of those that the tool carries out. */
#include <string.h>
#include <sys/random.h>

#include "cli.h"
#include "cli_local.h"

#include "control/auth/password.h"

#ifndef LP_VERSION
#define LP_VERSION "0.0.0"
#endif

static const struct {
    const char *name;
    cli_local_fn *run;
} locals[] = {
#define COMMAND(id, ...)
#define LOCAL(id, ...) {#id, cli_local_##id},
#define REFUSED(id, why)
#include "control/command/all.inc"
};

int
cli_local_run(struct cli_request *request, const struct cli_io *io)
{
    for (size_t i = 0; i < LP_COUNT_OF(locals); i++) {
        if (strcmp(locals[i].name, request->command->name) == 0) {
            return locals[i].run(request, io);
        }
    }
    LP_ASSERT(!"a local command that no list holds");
    return CLI_EXIT_SOFTWARE;
}

static int
answer_and_free(const struct cli_request *request, const struct cli_io *io, json_t *answer)
{
    LP_ASSERT(answer != NULL);
    const int code = cli_answer_print(request, io, answer);
    json_decref(answer);
    return code;
}

int
cli_local_version(struct cli_request *request, const struct cli_io *io)
{
    return answer_and_free(request, io, json_pack("{s:b, s:s}", "ok", 1, "text", LP_VERSION));
}

int
cli_local_help(struct cli_request *request, const struct cli_io *io)
{
    const char *name = request->argument[0];
    if (name == NULL && cli_option_value(request, "list-commands") != NULL) {
        cli_commands_print(io->out, request);
        return CLI_EXIT_OK;
    }
    if (name == NULL) {
        cli_help_print(io->out, request);
        return CLI_EXIT_OK;
    }
    const struct lp_command *about = lp_command_find(name);
    if (about != NULL && (about->scopes & request->scopes)) {
        cli_command_help_print(io->out, request, about);
        return CLI_EXIT_OK;
    }
    const struct lp_command *near = lp_command_nearest(name, request->scopes);
    (void)fprintf(io->err, "Error:\n\nCommand '%s' not found.%s", name, near ? " \n" : "\n");
    if (near != NULL) {
        (void)fprintf(io->err, "Did you mean '%s'? \n\n", near->name);
    }
    return CLI_EXIT_USAGE;
}

int
cli_local_autocomplete(struct cli_request *request, const struct cli_io *io)
{
    const char *prefix = request->argument_count > 0 ? request->argument[0] : "";
    for (size_t i = 0; i < lp_command_count; i++) {
        const struct lp_command *command = &lp_commands[i];
        if (command->refused == NULL && (command->scopes & request->scopes) &&
            strncmp(command->name, prefix, strlen(prefix)) == 0) {
            (void)fprintf(io->out, "%s\n", command->name);
        }
    }
    return CLI_EXIT_OK;
}

/* ---- hash_password ---- */

static void
entropy_fill(void *self, void *data, size_t bytes)
{
    (void)self;
    const ssize_t got = getrandom(data, bytes, 0);
    LP_ASSERT(got == (ssize_t)bytes); /* small requests are never cut */
}

int
cli_local_hash_password(struct cli_request *request, const struct cli_io *io)
{
    char room[1024];
    struct lp_password_hash hash;
    const struct lp_entropy entropy = {entropy_fill, NULL};
    const char *password = request->argument[0];

    if (password == NULL) {
        if (!cli_password_read(request, io, room, sizeof(room))) {
            (void)fprintf(io->err, "Error:\nnot_enough_args\n");
            return CLI_EXIT_UNAVAILABLE;
        }
        password = room;
    } else {
        cli_banner_print(io->out, request);
    }
    lp_password_hash(&entropy, LP_PASSWORD_SHA256, lp_bytes_of_text(password), &hash);
    (void)fprintf(io->out, "%s\n", (const char *)hash.data);
    explicit_bzero(room, sizeof(room));
    return CLI_EXIT_OK;
}
