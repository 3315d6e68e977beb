/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault_text.h - explanations of faults, built piece by piece.
 *
 * The wording is RabbitMQ's: clients match on it.
 *
 *   Memory    the caller's struct lp_fault
 *   Runs on   owner core
 *   Limits    LP_FAULT_TEXT_BYTES; what does not fit is cut
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/fault.h>

/* An empty explanation for `code`. */
void amqp091_text_begin(struct lp_fault *fault, uint16_t code);
void amqp091_text_add(struct lp_fault *fault, const char *text);
void amqp091_text_add_bytes(struct lp_fault *fault, struct lp_bytes bytes);
void amqp091_text_add_number(struct lp_fault *fault, uint64_t number);
/* `kind 'name' in vhost 'vhost'` */
void amqp091_text_add_resource(struct lp_fault *fault, const char *kind, struct lp_bytes name,
                               struct lp_bytes vhost);
/* `type T, all octets = <<...>>`, or the first 16 of them. */
void amqp091_text_add_frame(struct lp_fault *fault, uint8_t type, struct lp_bytes payload);

/* The whole of it at once. */
void amqp091_text_make(struct lp_fault *fault, uint16_t code, const char *text);
/* `no queue 'q' in vhost '/'` and the like. */
void amqp091_text_missing(struct lp_fault *fault, const char *kind, struct lp_bytes name,
                          struct lp_bytes vhost);
/* The queue belongs to another connection. */
void amqp091_text_locked(struct lp_fault *fault, struct lp_bytes name, struct lp_bytes vhost);

#define AMQP091_REPLY_TEXT_BYTES 255u

/* `CODE_NAME - explanation`; what is longer than 255 bytes is cut and ends in "..."; gives the
 * size. */
uint32_t amqp091_text_reply(const struct lp_fault *fault,
                            char ret_text[static AMQP091_REPLY_TEXT_BYTES]);
