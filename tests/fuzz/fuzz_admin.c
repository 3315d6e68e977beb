/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_admin.c - can what lepusctl's socket brings break the control process,
 * or its catalog?  Definitions of policies, parameters and limits come this
 * way, too.
 *
 * Input: requests, an empty line between them.  One that begins with a brace
 * or bracket is JSON as it came; of any other the first line is the command,
 * the next ones are its arguments, and those that begin with '-' are options,
 * `-name=value`.
 */
#include "control/admin/admin.h"
#include "tests/fuzz/hostile_shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define INPUT_MAX (16u << 10)

static void
answered(void *context, json_t *answer)
{
    uint32_t *count = context;
    LP_ASSERT(json_is_object(answer));
    LP_ASSERT(json_object_get(answer, "ok") != NULL);
    json_decref(answer);
    (*count)++;
}

/* One line of a request: command, argument or option. */
static void
line_add(json_t *request, json_t *args, json_t *options, const char *line, size_t bytes)
{
    const char *equals = bytes > 1 ? memchr(line, '=', bytes) : NULL;
    if (!json_object_get(request, "command")) {
        json_object_set_new(request, "command", json_stringn(line, bytes));
    } else if (line[0] == '-' && equals) {
        char name[64];
        const size_t length = LP_MIN((size_t)(equals - line - 1), sizeof(name) - 1);
        memcpy(name, line + 1, length);
        name[length] = '\0';
        json_object_set_new(options, name,
                            json_stringn(equals + 1, bytes - (size_t)(equals + 1 - line)));
    } else {
        json_array_append_new(args, json_stringn(line, bytes));
    }
}

static json_t *
request_of_lines(const char *text, size_t bytes)
{
    json_t *args = json_array();
    json_t *options = json_object();
    json_t *request = json_object();
    const char *end = text + bytes;
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        line_end = line_end ? line_end : end;
        if (line_end > text) {
            line_add(request, args, options, text, (size_t)(line_end - text));
        }
        text = line_end + 1;
    }
    json_object_set_new(request, "args", args);
    json_object_set_new(request, "options", options);
    return request;
}

/* An answer may come as late as the end of control: `answers` is the whole input's. */
static void
ask(struct hostile_shard *shard, uint32_t *answers, const char *text, size_t bytes)
{
    const uint32_t before = *answers;
    const bool raw = bytes > 0 && (text[0] == '{' || text[0] == '[');
    json_t *request =
        raw ? json_loadb(text, bytes, JSON_ALLOW_NUL, NULL) : request_of_lines(text, bytes);
    if (!request) {
        return;
    }
    lp_admin_request(shard->control, request, answered, answers);
    json_decref(request);
    hostile_turns(shard);
    if (*answers == before) { /* it waits for what this shard does not say: the end of it answers */
        lp_sim_clock_advance(&shard->clock, 60000000000u);
        hostile_turns(shard);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes > INPUT_MAX) {
        return 0;
    }
    struct hostile_shard shard;
    uint32_t answers = 0;
    const char *at = (const char *)data;
    const char *end = at + bytes;
    hostile_open(&shard);
    while (at < end && !lp_control_failed(shard.control) && !lp_control_stopping(shard.control)) {
        const char *stop = memmem(at, (size_t)(end - at), "\n\n", 2);
        stop = stop ? stop : end;
        ask(&shard, &answers, at, (size_t)(stop - at));
        at = stop + 2;
    }
    hostile_close(&shard);
    return 0;
}
