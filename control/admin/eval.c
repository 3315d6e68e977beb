/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval.c - the few expressions that test suites of clients evaluate on a node
 * to see how they bear its alarms and limits.  Everything else is refused:
 * there is no Erlang machine.
 */
#include <ctype.h>

#include "control/admin/admin_checks.h"
#include "control/admin/admin_internal.h"
#include "control/topology/policy.h"

#define REFUSAL                                                                                 \
    "there is no Erlang machine to evaluate anything in. Settings are shown by 'environment', " \
    "state by 'status' and the list_ commands (--formatter json for scripts), and changed by "  \
    "the set_ commands; 'help' lists them all."

/* What stands where a form has one of these signs. */
struct eval_operands {
    uint32_t number;                              /* # */
    struct lp_bytes variable;                     /* ?, the same name each time */
    struct lp_bytes names[LP_LOOPBACK_USERS_MAX]; /* @, a list of binaries */
    size_t name_count;
};

typedef void eval_fn(struct admin_task *task, const struct eval_operands *operands);

/* ---- what is understood ---- */

static void
heard(struct lp_control *control, void *context, bool good)
{
    (void)control;
    struct admin_task *task = context;
    if (good) {
        admin_say(task, json_string("ok"), "ok");
    } else {
        admin_fail(task, ADMIN_EXIT_TEMPORARY, "the data plane did not answer in time");
    }
}

static void
alarm_ask(struct admin_task *task, enum lp_alarm alarm, bool on)
{
    control_alarm_ask(task->control, alarm, on);
    control_when_heard(task->control, heard, task);
}

static void
memory_alarm_set(struct admin_task *task, const struct eval_operands *operands)
{
    (void)operands;
    alarm_ask(task, LP_ALARM_MEMORY, true);
}

static void
memory_alarm_clear(struct admin_task *task, const struct eval_operands *operands)
{
    (void)operands;
    alarm_ask(task, LP_ALARM_MEMORY, false);
}

static void
disk_alarm_set(struct admin_task *task, const struct eval_operands *operands)
{
    (void)operands;
    alarm_ask(task, LP_ALARM_DISK, true);
}

static void
disk_alarm_clear(struct admin_task *task, const struct eval_operands *operands)
{
    (void)operands;
    alarm_ask(task, LP_ALARM_DISK, false);
}

static void
channel_max_set(struct admin_task *task, const struct eval_operands *operands)
{
    control_channel_max_set(task->control, operands->number);
    control_when_heard(task->control, heard, task);
}

/* Of the control process alone: the next login is asked about it. */
static void
loopback_users_set(struct admin_task *task, const struct eval_operands *operands)
{
    if (!control_loopback_set(task->control, operands->names, operands->name_count)) {
        admin_fail(task, ADMIN_EXIT_DATA,
                   "these are more names than there is room for: %u, of %u bytes together",
                   LP_LOOPBACK_USERS_MAX, LP_LOOPBACK_NAMES_BYTES);
        return;
    }
    admin_say(task, json_string("ok"), "ok");
}

static void
loopback_users_say(struct admin_task *task, const char *before, const char *after)
{
    const struct lp_control *control = task->control;
    struct lp_bytebuf text = {0};
    json_t *names = json_array();
    for (size_t i = 0; i < control->loopback_user_count; i++) {
        json_array_append_new(names, json_string(control->loopback_users[i]));
    }
    lp_bytebuf_append(&text, before, strlen(before));
    erlang_text_json(&text, names);
    lp_bytebuf_append(&text, after, strlen(after) + 1);
    admin_say(task, json_string((const char *)text.data), "%s", (const char *)text.data);
    lp_bytebuf_fini(&text);
    json_decref(names);
}

static void
loopback_users_get(struct admin_task *task, const struct eval_operands *operands)
{
    (void)operands;
    loopback_users_say(task, "{ok,", "}");
}

static void
loopback_users_of(struct admin_task *task, const struct eval_operands *operands)
{
    (void)operands;
    loopback_users_say(task, "", "");
}

/* One expression, token by token. */
static const struct eval_form {
    const char *tokens;
    eval_fn *run;
    uint32_t most; /* of its number */
} forms[] = {
    {"rabbit_alarm : set_alarm ( { { resource_limit , memory , node ( ) } , [ ] } )",
     memory_alarm_set, 0},
    {"rabbit_alarm : clear_alarm ( { resource_limit , memory , node ( ) } )", memory_alarm_clear,
     0},
    {"rabbit_alarm : set_alarm ( { { resource_limit , disk , node ( ) } , [ ] } )", disk_alarm_set,
     0},
    {"rabbit_alarm : clear_alarm ( { resource_limit , disk , node ( ) } )", disk_alarm_clear, 0},
    {"application : set_env ( rabbit , channel_max , # )", channel_max_set, UINT16_MAX},
    {"application : set_env ( rabbit , loopback_users , @ )", loopback_users_set, 0},
    {"application : get_env ( rabbit , loopback_users )", loopback_users_get, 0},
    {"{ ok , ? } = application : get_env ( rabbit , loopback_users ) , ?", loopback_users_of, 0},
};

/* ---- reading ---- */

static const char *
blank_skip(const char *at)
{
    while (isspace((unsigned char)*at) || *at == '%') {
        at = *at == '%' ? at + strcspn(at, "\n") : at + 1;
    }
    return at;
}

/* A token that is more than a character and no word. */
static size_t
token_size(const char *from)
{
    if ((*from == '<' || *from == '>') && from[1] == *from) {
        return 2;
    }
    const char *end = *from == '\'' || *from == '"' ? strchr(from + 1, *from) : NULL;
    return end ? (size_t)(end - from) + 1 : *from != '\0';
}

/* The next of Erlang's tokens as far as the forms have them; empty at the end. An atom in quotes is
 * the same as one without. */
static struct lp_bytes
token_next(const char **at)
{
    const char *from = blank_skip(*at);
    const bool word = isalnum((unsigned char)*from);
    const size_t size =
        word ? strspn(from, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@")
             : token_size(from);
    const size_t quotes = *from == '\'' && size > 2;
    *at = from + size;
    return lp_bytes_of(from + quotes, (uint32_t)(size - 2 * quotes));
}

static bool
token_take(const char **at, const char *wanted)
{
    const char *after = *at;
    if (!lp_bytes_equal_text(token_next(&after), wanted)) {
        return false;
    }
    *at = after;
    return true;
}

static bool
number_read(struct lp_bytes token, uint32_t most, uint32_t *ret_number)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < token.size; i++) {
        if (token.data[i] < '0' || token.data[i] > '9') {
            return false;
        }
        number = number * 10 + (token.data[i] - '0');
        if (number > most) {
            return false;
        }
    }
    *ret_number = number;
    return token.size > 0;
}

static bool
variable_read(struct lp_bytes token, struct eval_operands *operands)
{
    if (token.size == 0 || !isupper(token.data[0]) ||
        (operands->variable.size > 0 && !lp_bytes_equal(token, operands->variable))) {
        return false;
    }
    operands->variable = token;
    return true;
}

/* <<"name">> or <<"name"/utf8>>. Letters beyond ASCII need the latter, and escapes are not for
 * names. */
static bool
name_read(const char **at, struct lp_bytes *ret_name)
{
    bool ascii = true;
    if (!token_take(at, "<<")) {
        return false;
    }
    const struct lp_bytes quoted = token_next(at);
    for (uint32_t i = 0; i < quoted.size; i++) {
        ascii = ascii && quoted.data[i] < 128;
        if (quoted.data[i] == '\\') {
            return false;
        }
    }
    const bool utf8 = token_take(at, "/");
    if (quoted.size < 3 || quoted.data[0] != '"' || (utf8 && !token_take(at, "utf8"))) {
        return false;
    }
    *ret_name = lp_bytes_of(quoted.data + 1, quoted.size - 2);
    return (ascii || utf8) && token_take(at, ">>");
}

static bool
names_read(const char **at, struct eval_operands *operands)
{
    if (!token_take(at, "[")) {
        return false;
    }
    if (token_take(at, "]")) {
        return true;
    }
    do {
        if (operands->name_count == LP_COUNT_OF(operands->names) ||
            !name_read(at, &operands->names[operands->name_count])) {
            return false;
        }
        operands->name_count++;
    } while (token_take(at, ","));
    return token_take(at, "]");
}

static bool
operand_read(const struct eval_form *form, uint8_t sign, const char **at,
             struct eval_operands *operands)
{
    if (sign == '#') {
        return number_read(token_next(at), form->most, &operands->number);
    }
    return sign == '?' ? variable_read(token_next(at), operands) : names_read(at, operands);
}

static bool
form_matches(const struct eval_form *form, const char *expression, struct eval_operands *operands)
{
    const char *wanted_at = form->tokens;
    struct lp_bytes wanted = token_next(&wanted_at);
    *operands = (struct eval_operands){0};
    for (; wanted.size > 0; wanted = token_next(&wanted_at)) {
        const bool operand = strchr("#?@", *wanted.data) != NULL;
        const bool same = operand ? operand_read(form, *wanted.data, &expression, operands)
                                  : lp_bytes_equal(token_next(&expression), wanted);
        if (!same) {
            return false;
        }
    }
    return token_take(&expression, ".") && token_next(&expression).size == 0;
}

static const struct eval_form *
form_find(const char *expression, struct eval_operands *operands)
{
    for (size_t i = 0; i < LP_COUNT_OF(forms); i++) {
        if (form_matches(&forms[i], expression, operands)) {
            return &forms[i];
        }
    }
    return NULL;
}

/* ---- the command ---- */

void
admin_eval(struct admin_task *task)
{
    struct eval_operands operands;
    const struct eval_form *form = form_find(admin_arg(task, 0), &operands);
    if (!form) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "eval is not for Lepus: " REFUSAL);
        return;
    }
    form->run(task, &operands);
}
