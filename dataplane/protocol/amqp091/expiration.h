/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expiration.h - the `expiration` property: milliseconds, as text.
 *
 *   Memory    none
 *   Runs on   owner core
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/fault.h>

/* A sign and digits, from 0 to ten years.  False: it is not (C94). */
bool amqp091_expiration_read(struct lp_bytes text, uint64_t *ret_ms);
/* Is it such a number, but with a sign or zeros in front, and what it is without them. */
bool amqp091_expiration_is_odd(struct lp_bytes text);
struct lp_bytes amqp091_expiration_digits(struct lp_bytes text);
/* Why it is not. */
void amqp091_expiration_fault(struct lp_bytes text, struct lp_fault *ret_fault);
