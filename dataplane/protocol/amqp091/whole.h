/* SPDX-License-Identifier: Apache-2.0 */
/*
 * whole.h - publishes that came in one piece.
 */
#pragma once

#include "dataplane/protocol/amqp091/amqp091.h"

/*
 * The publish that `input` begins with, if that is all here and a plain one;
 * gives the bytes that it took, or 0: nothing was done.  The connection is
 * open, and outside of any frame.
 */
uint32_t amqp091_publish_whole(struct amqp091_connection *connection, struct lp_bytes input);
