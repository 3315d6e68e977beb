/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erlang_text.h - values in explanations, printed as Erlang prints them.
 *
 * RabbitMQ's texts show terms with `~tp`, which breaks lines, and with `~w`,
 * which does not.  Only what appears in texts to clients is here.
 *
 *   Memory    the caller's struct lp_fault
 *   Runs on   owner core
 *   Limits    LP_FAULT_TEXT_BYTES; what does not fit is cut
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/fault.h>

/* Room for any short string printed as a list of numbers. */
#define AMQP091_ERLANG_STRING_BYTES 1024u

/*
 * `{tag,leaf,...}` with leaves that are printed already: on one line when that
 * fits in what is left of 80 columns, else broken and indented as `~tp` does.
 */
void amqp091_erlang_add_tuple(struct lp_fault *fault, const char *tag, const struct lp_bytes *leaf,
                              uint32_t count);
/* The same with at most two numbers. */
void amqp091_erlang_add_numbers(struct lp_fault *fault, const char *tag, const uint64_t *number,
                                uint32_t count);
/* A binary of at most 16 octets by `~tp`: <<"text">> when it is printable, else <<1,2,3>>, perhaps
 * in several lines. */
void amqp091_erlang_add_binary(struct lp_fault *fault, struct lp_bytes bytes);
/* A binary by `~w`: <<1,2,3>>. */
void amqp091_erlang_add_octets(struct lp_fault *fault, struct lp_bytes bytes);
/* A list of at most 255 octets by `~tp`: "text" when they are printable, else [1,2,3]. */
struct lp_bytes amqp091_erlang_string(struct lp_bytes octets,
                                      char room[static AMQP091_ERLANG_STRING_BYTES]);
