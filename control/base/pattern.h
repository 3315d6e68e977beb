/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern.h - regular expressions that operators write: PCRE on bytes,
 * unanchored.  Rights, policies and rules for passwords use it, and nobody
 * else includes pcre2.h.
 *
 *   Memory    a pattern owns its code and its room for matching
 *   Runs on   control
 *   Limits    a pattern that backtracks longer than PATTERN_MATCH_LIMIT steps matches nothing
 */
#pragma once

#include <lepus/bytes.h>

struct lp_pattern;

#define LP_PATTERN_WHY_BYTES 256

/* NULL: it does not compile; `ret_why` (LP_PATTERN_WHY_BYTES, or NULL) says so as RabbitMQ does:
 * {"missing terminating ] for character class",2}. */
struct lp_pattern *lp_pattern_open(struct lp_bytes text, char *ret_why);
void lp_pattern_close(struct lp_pattern **pattern);
bool lp_pattern_matches(struct lp_pattern *pattern, struct lp_bytes subject);
