/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terms that somebody wrote, and bytes that a wrong passphrase made: refused, or
 * printed so that what is printed is read again and says the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* NULL: it cannot be. */
static char *
printed(struct lp_bytes term, bool json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    LP_ASSERT(out != NULL);
    const bool good = json ? lp_secret_term_json(term, out) : lp_secret_term_print(term, out);
    LP_ASSERT(fclose(out) == 0);
    if (!good) {
        LP_ASSERT(size == 0); /* nothing is printed of what is refused */
        free(text);
        return NULL;
    }
    return text;
}

static void
term_use(struct lp_bytes term)
{
    struct lp_secret secret = {0};
    struct lp_bytes base64;
    char *json = printed(term, true);
    char *text = printed(term, false);
    LP_ASSERT((json == NULL) == (text == NULL));
    if (lp_secret_term_bytes(term, &secret)) {
        LP_ASSERT(secret.data[secret.size] == '\0');
        lp_secret_fini(&secret);
    }
    if (lp_secret_term_base64(term, &base64)) {
        LP_ASSERT(base64.size <= term.size);
    }
    free(json);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct lp_secret term = {0};
    if (bytes == 0 || bytes > 4096) {
        return 0;
    }
    term_use(lp_bytes_of(data, (uint32_t)bytes));
    char *source = calloc(1, bytes + 1);
    LP_ASSERT(source != NULL);
    memcpy(source, data, bytes);
    if (lp_secret_term_parse(source, &term)) {
        const struct lp_bytes first = lp_bytes_of(term.data, (uint32_t)term.size);
        char *text = printed(first, false);
        struct lp_secret again = {0};
        LP_ASSERT(text != NULL);
        if (lp_secret_term_parse(text, &again)) {
            char *second = printed(lp_bytes_of(again.data, (uint32_t)again.size), false);
            LP_ASSERT(second != NULL && strcmp(text, second) == 0);
            free(second);
        } else {
            LP_ASSERT(strlen(text) >
                      60000 / 4); /* numbers take more room than what they stand for */
        }
        lp_secret_fini(&again);
        term_use(first);
        free(text);
    }
    lp_secret_fini(&term);
    free(source);
    return 0;
}
