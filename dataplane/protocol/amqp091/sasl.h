/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sasl.h - credentials out of start-ok's response.
 *
 *   Memory    borrowed views into the response
 *   Runs on   owner core
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/protocol.h>

struct amqp091_credentials {
    struct lp_bytes user;
    struct lp_bytes password;
};

/* Names are case-sensitive; 0: there is no such mechanism. */
uint8_t amqp091_sasl_find(struct lp_bytes mechanism);
const char *amqp091_sasl_name(uint8_t mechanism);
/* False: a malformed response, or a mechanism that has none. */
bool amqp091_sasl_read(uint8_t mechanism, struct lp_bytes response,
                       struct amqp091_credentials *ret_credentials);
