/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declare.h - what declare.c and bind.c share: replies that carry nothing,
 * and the rule about the default exchange.
 *
 *   Memory    none
 *   Runs on   owner core
 */
#pragma once

#include "dataplane/link/link.h"
#include "dataplane/protocol/amqp091/amqp091.h"

/* A lp_link_reply_fn: sends the parked method's -ok, unless it is not wanted. */
void amqp091_reply_ok(void *context, lp_handle owner, const struct lp_link_reply *reply);

/* Nobody may touch the default exchange (C62).  True: a fault was raised. */
bool amqp091_default_exchange_fault(struct amqp091_channel *channel, struct lp_bytes name,
                                    uint32_t method_id);
