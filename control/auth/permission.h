/* SPDX-License-Identifier: Apache-2.0 */
/*
 * permission.h - permission patterns: PCRE, unanchored; the empty pattern
 * admits the empty name only (C83).
 *
 *   Memory    compiled patterns live in struct lp_catalog_permission and
 * lp_catalog_topic_permission Runs on   control
 */
#pragma once

#include "control/topology/catalog.h"

/* Does it compile?  `ret_why` gets PCRE's words if not. */
bool lp_permission_pattern_is_good(struct lp_bytes pattern, char *ret_why, size_t why_bytes);
/* Does the pattern of this right (enum lp_permission, one bit) admit the name? */
bool lp_permission_admits(struct lp_catalog_permission *permission, uint8_t right,
                          struct lp_bytes name);
/* The rights whose pattern admits every name. */
uint8_t lp_permission_unrestricted(const struct lp_catalog_permission *permission);
void lp_permission_code_drop(struct lp_catalog_permission *permission);

/* ---- rights on routing keys ---- */

/* {username} and {vhost} stand for the names, as they are (C85); `right` is LP_PERMISSION_WRITE or
 * LP_PERMISSION_READ. */
bool lp_topic_permission_admits(const struct lp_catalog_vhost *vhost,
                                struct lp_catalog_topic_permission *permission, uint8_t right,
                                struct lp_bytes routing_key);
void lp_topic_permission_code_drop(struct lp_catalog_topic_permission *permission);
