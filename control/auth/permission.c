/* SPDX-License-Identifier: Apache-2.0 */
#include "control/auth/permission.h"

#include <stdio.h>

static struct lp_pattern *
compile(struct lp_bytes pattern, char *ret_why)
{
    return lp_pattern_open(pattern.size > 0 ? pattern : lp_bytes_of_text("^$"), ret_why);
}

bool
lp_permission_pattern_is_good(struct lp_bytes pattern, char *ret_why, size_t why_bytes)
{
    char why[LP_PATTERN_WHY_BYTES];
    struct lp_pattern *compiled = compile(pattern, why);
    if (compiled) {
        lp_pattern_close(&compiled);
        return true;
    }
    (void)snprintf(ret_why, why_bytes, "%s", why); /* cut words still help */
    return false;
}

/* Compiled when first asked. */
static bool
admits(struct lp_bytes pattern, struct lp_pattern **compiled, struct lp_bytes name)
{
    if (lp_bytes_equal_text(pattern, ".*")) {
        return true;
    }
    if (!*compiled) {
        *compiled = compile(pattern, NULL);
    }
    return *compiled && lp_pattern_matches(*compiled, name);
}

static size_t
index_of(uint8_t right)
{
    LP_ASSERT(right == LP_PERMISSION_CONFIGURE || right == LP_PERMISSION_WRITE ||
              right == LP_PERMISSION_READ);
    return right == LP_PERMISSION_CONFIGURE ? 0 : right == LP_PERMISSION_WRITE ? 1 : 2;
}

bool
lp_permission_admits(struct lp_catalog_permission *permission, uint8_t right, struct lp_bytes name)
{
    const size_t i = index_of(right);
    return admits(permission->pattern[i], &permission->code[i], name);
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
        lp_pattern_close(&permission->code[i]);
    }
}

/* ---- rights on routing keys ---- */

/* Each `{word}` replaced, appended to `out`. */
static void
replace(struct lp_bytes text, const char *word, struct lp_bytes with, struct lp_bytebuf *out)
{
    const size_t bytes = strlen(word);
    uint32_t at = 0;
    while (at < text.size) {
        if (text.size - at >= bytes && memcmp(text.data + at, word, bytes) == 0) {
            lp_bytebuf_append(out, with.data, with.size);
            at += (uint32_t)bytes;
        } else {
            lp_bytebuf_append(out, text.data + at, 1);
            at++;
        }
    }
}

/* In the order of the words, as RabbitMQ goes through them; {client_id} has no value in AMQP 0-9-1
 * and stays. */
static void
expand(struct lp_bytes pattern, struct lp_bytes user, struct lp_bytes vhost, struct lp_bytebuf *out)
{
    struct lp_bytebuf half = {0};
    replace(pattern, "{username}", user, &half);
    replace(lp_bytes_of(half.data, (uint32_t)half.size), "{vhost}", vhost, out);
    lp_bytebuf_fini(&half);
}

bool
lp_topic_permission_admits(const struct lp_catalog_vhost *vhost,
                           struct lp_catalog_topic_permission *permission, uint8_t right,
                           struct lp_bytes routing_key)
{
    const size_t i = right == LP_PERMISSION_WRITE ? 0 : 1;
    LP_ASSERT(right == LP_PERMISSION_WRITE || right == LP_PERMISSION_READ);
    if (!permission->code[i]) {
        struct lp_bytebuf expanded = {0};
        expand(permission->pattern[i], permission->user->name, vhost->name, &expanded);
        permission->code[i] = compile(lp_bytes_of(expanded.data, (uint32_t)expanded.size), NULL);
        lp_bytebuf_fini(&expanded);
    }
    /* A name may make nonsense of a pattern that was good: then it admits nothing. */
    return permission->code[i] && lp_pattern_matches(permission->code[i], routing_key);
}

void
lp_topic_permission_code_drop(struct lp_catalog_topic_permission *permission)
{
    for (size_t i = 0; i < LP_CATALOG_TOPIC_RIGHTS; i++) {
        lp_pattern_close(&permission->code[i]);
    }
}
