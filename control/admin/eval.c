/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval.c - the few expressions that test suites of clients evaluate on a node
 * to see how they bear its alarms and limits.  Everything else is refused:
 * there is no Erlang machine.
 */
#include <ctype.h>

#include "control/admin/admin_checks.h"
#include "control/admin/admin_internal.h"

#define REFUSAL                                                                                 \
    "there is no Erlang machine to evaluate anything in. Settings are shown by 'environment', " \
    "state by 'status' and the list_ commands (--formatter json for scripts), and changed by "  \
    "the set_ commands; 'help' lists them all."

/* ---- what is understood ---- */

typedef void eval_fn(struct lp_control *control, uint32_t number);

static void
memory_alarm_set(struct lp_control *control, uint32_t number)
{
    (void)number;
    control_alarm_ask(control, LP_ALARM_MEMORY, true);
}

static void
memory_alarm_clear(struct lp_control *control, uint32_t number)
{
    (void)number;
    control_alarm_ask(control, LP_ALARM_MEMORY, false);
}

static void
disk_alarm_set(struct lp_control *control, uint32_t number)
{
    (void)number;
    control_alarm_ask(control, LP_ALARM_DISK, true);
}

static void
disk_alarm_clear(struct lp_control *control, uint32_t number)
{
    (void)number;
    control_alarm_ask(control, LP_ALARM_DISK, false);
}

/* One expression, token by token; # stands for a whole number, the only one in it. */
static const struct eval_form {
    const char *tokens;
    eval_fn *run;
    uint32_t most; /* of that number */
} forms[] = {
    {"rabbit_alarm : set_alarm ( { { resource_limit , memory , node ( ) } , [ ] } )",
     memory_alarm_set, 0},
    {"rabbit_alarm : clear_alarm ( { resource_limit , memory , node ( ) } )", memory_alarm_clear,
     0},
    {"rabbit_alarm : set_alarm ( { { resource_limit , disk , node ( ) } , [ ] } )", disk_alarm_set,
     0},
    {"rabbit_alarm : clear_alarm ( { resource_limit , disk , node ( ) } )", disk_alarm_clear, 0},
    {"application : set_env ( rabbit , channel_max , # )", control_channel_max_set, UINT16_MAX},
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

/* The next of Erlang's tokens as far as the forms have them; empty at the end. An atom in quotes is
 * the same as one without. */
static struct lp_bytes
token_next(const char **at)
{
    const char *from = blank_skip(*at);
    size_t size = *from != '\0';
    size_t quotes = 0;
    if (isalnum((unsigned char)*from)) {
        size = strspn(from, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@");
    } else if (*from == '\'') {
        const char *end = strchr(from + 1, '\'');
        size = end ? (size_t)(end - from) + 1 : 1;
        quotes = size > 2;
    }
    *at = from + size;
    return lp_bytes_of(from + quotes, (uint32_t)(size - 2 * quotes));
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
form_matches(const struct eval_form *form, const char *expression, uint32_t *ret_number)
{
    const char *wanted_at = form->tokens;
    struct lp_bytes wanted = token_next(&wanted_at);
    for (; wanted.size > 0; wanted = token_next(&wanted_at)) {
        const struct lp_bytes token = token_next(&expression);
        const bool same = *wanted.data == '#' ? number_read(token, form->most, ret_number)
                                              : lp_bytes_equal(token, wanted);
        if (!same) {
            return false;
        }
    }
    return lp_bytes_equal_text(token_next(&expression), ".") && token_next(&expression).size == 0;
}

static const struct eval_form *
form_find(const char *expression, uint32_t *ret_number)
{
    for (size_t i = 0; i < LP_COUNT_OF(forms); i++) {
        if (form_matches(&forms[i], expression, ret_number)) {
            return &forms[i];
        }
    }
    return NULL;
}

/* ---- the command ---- */

static void
told(struct lp_control *control, void *context, bool good)
{
    (void)control;
    struct admin_task *task = context;
    if (good) {
        admin_say(task, json_string("ok"), "ok");
    } else {
        admin_fail(task, ADMIN_EXIT_TEMPORARY, "the data plane did not answer in time");
    }
}

void
admin_eval(struct admin_task *task)
{
    uint32_t number = 0;
    const struct eval_form *form = form_find(admin_arg(task, 0), &number);
    if (!form) {
        admin_fail(task, ADMIN_EXIT_UNAVAILABLE, "eval is not for Lepus: " REFUSAL);
        return;
    }
    form->run(task->control, number);
    control_when_heard(task->control, told, task);
}
