/* SPDX-License-Identifier: Apache-2.0 */
#include "control/base/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/base/heap.h"

#define PATTERN_MATCH_LIMIT 100000u

struct lp_pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* RabbitMQ's words are those of the older PCRE, which called some things by other names. */
static const char *
older_words(int error)
{
    switch (error) {
    case PCRE2_ERROR_QUANTIFIER_INVALID:
        return "nothing to repeat";
    case PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS:
        return "missing )";
    case PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS:
        return "unmatched parentheses";
    default:
        return NULL;
    }
}

static void
why_write(int error, PCRE2_SIZE at, char *ret_why)
{
    PCRE2_UCHAR words[200];
    if (pcre2_get_error_message(error, words, sizeof(words)) < 0) {
        words[0] = '\0';
    }
    const char *older = older_words(error);
    (void)snprintf(ret_why, LP_PATTERN_WHY_BYTES, "{\"%s\",%zu}",
                   older ? older : (const char *)words, at); /* fits */
}

struct lp_pattern *
lp_pattern_open(struct lp_bytes text, char *ret_why)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile(text.size > 0 ? text.data : (PCRE2_SPTR) "", text.size, 0, &error, &at, NULL);
    if (!code) {
        if (ret_why) {
            why_write(error, at, ret_why);
        }
        return NULL;
    }
    /* Where the machine has no JIT the interpreter does it. */
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    struct lp_pattern *pattern = lp_heap_alloc(sizeof(*pattern));
    pattern->code = code;
    pattern->data = pcre2_match_data_create(1, NULL);
    pattern->context = pcre2_match_context_create(NULL);
    LP_ASSERT(pattern->data && pattern->context);
    (void)pcre2_set_match_limit(pattern->context, PATTERN_MATCH_LIMIT); /* always gives 0 */
    return pattern;
}

void
lp_pattern_close(struct lp_pattern **pattern)
{
    struct lp_pattern *self = *pattern;
    *pattern = NULL;
    if (self) {
        pcre2_match_context_free(self->context);
        pcre2_match_data_free(self->data);
        pcre2_code_free(self->code);
        free(self);
    }
}

bool
lp_pattern_matches(struct lp_pattern *pattern, struct lp_bytes subject)
{
    return pcre2_match(pattern->code, subject.size > 0 ? subject.data : (PCRE2_SPTR) "",
                       subject.size, 0, 0, pattern->data, pattern->context) >= 0;
}
