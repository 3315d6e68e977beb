/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password.h - password hashes as RabbitMQ stores them, so that they can be
 * moved between the two: base64 of a 4-byte salt and SHA-256(salt, password).
 *
 *   Runs on   control
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/entropy.h>

#define LP_PASSWORD_HASH_BYTES 48u /* base64 of 36 bytes */

void lp_password_hash(const struct lp_entropy *entropy, struct lp_bytes password,
                      uint8_t ret_hash[LP_PASSWORD_HASH_BYTES]);
/* False also for a hash that is not one, and for an empty password. */
bool lp_password_matches(struct lp_bytes hash, struct lp_bytes password);
