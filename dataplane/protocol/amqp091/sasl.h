/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sasl.h - credentials out of start-ok's response.
 *
 *   Memory    borrowed views into the response
 *   Runs on   owner core
 */
#pragma once

#include <lepus/bytes.h>

struct amqp091_credentials {
    struct lp_bytes user;
    struct lp_bytes password;
};

/* Names are case-sensitive.  False: unknown mechanism, or a malformed response. */
bool amqp091_sasl_read(struct lp_bytes mechanism, struct lp_bytes response,
                       struct amqp091_credentials *ret_credentials);
