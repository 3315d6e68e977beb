/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - the broker's answers, as rabbitmqctl would print them. */
#include "cli.h"

#include <string.h>

static bool
wants_json(const struct cli_request *request)
{
    return request->formatter == CLI_FORMATTER_JSON ||
           request->formatter == CLI_FORMATTER_JSON_STREAM;
}

/* A result that is no listing, for scripts. */
static json_t *
result_json(const struct cli_request *request, const char *text)
{
    const struct lp_command *command = request->command;
    if (text != NULL && (command->flags & LP_COMMAND_VALUE)) {
        return json_pack("{s:s, s:s, s:s}", "node", request->node, "result", "ok", "value", text);
    }
    if (text != NULL) {
        return json_pack("{s:s}", "message", text);
    }
    if (command->done != NULL && (command->flags & LP_COMMAND_ADVICE)) {
        return json_pack("{s:s, s:s, s:s}", "message", command->done, "node", request->node,
                         "status", "ok");
    }
    if (command->done != NULL) {
        return json_pack("{s:s}", "message", command->done);
    }
    return json_pack("{s:s, s:s}", "node", request->node, "result", "ok");
}

static void
success_print(const struct cli_request *request, FILE *out, const json_t *answer)
{
    const json_t *rows = json_object_get(answer, "rows");
    const json_t *data = json_object_get(answer, "data");
    const char *text = json_string_value(json_object_get(answer, "text"));
    const char *done = request->command->done;
    const bool hushed =
        (request->quiet || request->silent) && (request->command->flags & LP_COMMAND_ADVICE);

    if (json_is_array(rows)) {
        cli_listing_print(out, request, json_object_get(answer, "columns"), rows);
    } else if (wants_json(request) && data != NULL) {
        cli_json_print(out, data);
    } else if (wants_json(request)) {
        json_t *result = result_json(request, text);
        cli_json_print(out, result);
        json_decref(result);
    } else if (text != NULL) {
        cli_text_print(out, request, text);
    } else if (done != NULL && !hushed) {
        cli_text_print(out, request, done);
    }
}

static int
failure_print(const struct cli_request *request, const struct cli_io *io, const json_t *answer)
{
    const json_int_t given = json_integer_value(json_object_get(answer, "exit"));
    const int code = given > 0 && given < 256 ? (int)given : CLI_EXIT_SOFTWARE;
    const char *validation = json_string_value(json_object_get(answer, "validation"));
    const char *environment = json_string_value(json_object_get(answer, "environment"));
    const char *text = json_string_value(json_object_get(answer, "error"));
    const json_t *data = json_object_get(answer, "data");

    if (validation != NULL) {
        return cli_invalid(io, request, validation, code);
    }
    if (environment != NULL) {
        return cli_unfit(io, request, environment, code);
    }
    if (wants_json(request) && data != NULL) {
        cli_json_print(io->err, data);
        return CLI_EXIT_UNAVAILABLE;
    }
    if (text == NULL || *text != '\0') {
        const bool bare = json_is_true(json_object_get(answer, "bare"));
        (void)fprintf(io->err, "%s%s\n", bare ? "" : "Error:\n",
                      text != NULL ? text : "no reason was given");
    }
    return code;
}

/* A check whose text nobody wants. */
static bool
is_hushed_check(const struct cli_request *request, const json_t *answer)
{
    const json_t *text = json_object_get(answer, "text");
    const json_t *error = json_object_get(answer, "error");
    return request->silent && !wants_json(request) &&
           (request->command->flags & LP_COMMAND_CHECK) && (text != NULL || error != NULL);
}

int
cli_answer_print(const struct cli_request *request, const struct cli_io *io, const json_t *answer)
{
    const bool hushed = is_hushed_check(request, answer);
    if (json_is_true(json_object_get(answer, "ok"))) {
        if (!hushed) {
            success_print(request, io->out, answer);
        }
        return CLI_EXIT_OK;
    }
    return hushed ? CLI_EXIT_UNAVAILABLE : failure_print(request, io, answer);
}
