/* SPDX-License-Identifier: Apache-2.0 */
#include "control/auth/permission.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

/* A pattern that backtracks longer than this admits nothing. */
#define MATCH_LIMIT 100000u

static pcre2_code *
compile(struct lp_bytes pattern, int *ret_error)
{
    static const char only_empty[] = "^$";
    PCRE2_SIZE at;
    PCRE2_SPTR text = pattern.size > 0 ? pattern.data : (PCRE2_SPTR)only_empty;
    return pcre2_compile(text, pattern.size > 0 ? pattern.size : 2, 0, ret_error, &at, NULL);
}

bool
lp_permission_pattern_is_good(struct lp_bytes pattern, char *ret_why, size_t why_bytes)
{
    int error;
    pcre2_code *code = compile(pattern, &error);
    if (code) {
        pcre2_code_free(code);
        return true;
    }
    PCRE2_UCHAR words[256];
    if (pcre2_get_error_message(error, words, sizeof(words)) < 0) {
        words[0] = '\0';
    }
    (void)snprintf(ret_why, why_bytes, "%s", (const char *)words); /* cut words still help */
    return false;
}

static size_t
index_of(uint8_t right)
{
    LP_ASSERT(right == LP_PERMISSION_CONFIGURE || right == LP_PERMISSION_WRITE ||
              right == LP_PERMISSION_READ);
    return right == LP_PERMISSION_CONFIGURE ? 0 : right == LP_PERMISSION_WRITE ? 1 : 2;
}

static bool
code_matches(const pcre2_code *code, struct lp_bytes name)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int found = PCRE2_ERROR_NOMEMORY;
    if (context && data) {
        (void)pcre2_set_match_limit(context, MATCH_LIMIT); /* always gives 0 */
        found = pcre2_match(code, name.size > 0 ? name.data : (PCRE2_SPTR) "", name.size, 0, 0,
                            data, context);
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return found >= 0;
}

bool
lp_permission_admits(struct lp_catalog_permission *permission, uint8_t right, struct lp_bytes name)
{
    const size_t i = index_of(right);
    int error;
    if (lp_bytes_equal_text(permission->pattern[i], ".*")) {
        return true;
    }
    if (!permission->code[i]) {
        permission->code[i] = compile(permission->pattern[i], &error);
    }
    return permission->code[i] && code_matches(permission->code[i], name);
}

uint8_t
lp_permission_unrestricted(const struct lp_catalog_permission *permission)
{
    uint8_t rights = 0;
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        if (lp_bytes_equal_text(permission->pattern[i], ".*")) {
            rights |= (uint8_t)(1u << i);
        }
    }
    return rights;
}

void
lp_permission_code_drop(struct lp_catalog_permission *permission)
{
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        pcre2_code_free(permission->code[i]);
        permission->code[i] = NULL;
    }
}
