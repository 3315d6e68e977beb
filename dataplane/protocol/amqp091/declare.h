/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declare.h - what declare.c, bind.c and ahead.c share: replies that carry
 * nothing, the rule about the default exchange, and questions.
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

/* What the control process is to be asked for a method. */
struct amqp091_question {
    struct lp_writer writer; /* over the shard's scratch */
    lp_link_reply_fn *reply;
    struct lp_bytes last_queue; /* the channel's, when it is the method's turn; empty: as it was */
    uint16_t type;
};

/* Ends the payload of a declare or bind: whose it is, and whether it follows one whose answer is
 * not there yet. */
void amqp091_question_end(struct amqp091_channel *channel, struct lp_writer *writer, bool follows);

/* The question of a method before its turn; false: it needs what is not known yet, or fails by
 * itself.  No fault is raised. */
bool amqp091_queue_declare_ahead(struct amqp091_channel *channel,
                                 const struct amqp091_method *method,
                                 struct amqp091_question *ret_question);
bool amqp091_exchange_declare_ahead(struct amqp091_channel *channel,
                                    const struct amqp091_method *method,
                                    struct amqp091_question *ret_question);
bool amqp091_bind_ahead(struct amqp091_channel *channel, const struct amqp091_method *method,
                        struct amqp091_question *ret_question);
/* Room for them, at boot. */
enum lp_err amqp091_ahead_boot(struct amqp091_shard *shard);
