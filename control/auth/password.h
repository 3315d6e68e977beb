/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password.h - password hashes as RabbitMQ stores them, so that they can be
 * moved between the two: base64 of a 4-byte salt and digest(salt, password),
 * with SHA-256, SHA-512 or MD5; and rules for new passwords.
 *
 *   Runs on   control
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/entropy.h>

#include "control/topology/catalog.h"

#define LP_PASSWORD_HASH_BYTES_MAX 92u /* base64 of 4 + 64 bytes */

struct lp_password_hash {
    uint32_t bytes;
    uint8_t data[LP_PASSWORD_HASH_BYTES_MAX + 1]; /* with a NUL behind it */
};

void lp_password_hash(const struct lp_entropy *entropy, enum lp_password_algorithm algorithm,
                      struct lp_bytes password, struct lp_password_hash *ret_hash);
/* False also for a hash that is not one, and for an empty password. */
bool lp_password_matches(enum lp_password_algorithm algorithm, struct lp_bytes hash,
                         struct lp_bytes password);
/* Is it base64? */
bool lp_password_hash_is_good(struct lp_bytes hash);
/* "rabbit_password_hashing_sha256" */
const char *lp_password_algorithm_name(uint8_t algorithm);
LP_MUST_CHECK bool lp_password_algorithm_find(struct lp_bytes name,
                                              enum lp_password_algorithm *ret_algorithm);

/* Does the password keep the rules (credential_validator.*)?  `ret_why`: RabbitMQ's words. */
#define LP_PASSWORD_WHY_BYTES 128
LP_MUST_CHECK bool lp_password_permitted(const struct lp_catalog_rules *rules,
                                         struct lp_bytes password,
                                         char ret_why[LP_PASSWORD_WHY_BYTES]);
