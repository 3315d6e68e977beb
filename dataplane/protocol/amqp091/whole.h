/* SPDX-License-Identifier: Apache-2.0 */
/*
 * whole.h - publishes that came in one piece, and acknowledgements.
 */
#pragma once

#include "dataplane/protocol/amqp091/amqp091.h"

/*
 * The publish or the acknowledgement that `input` begins with, if that is all
 * here and a plain one; gives the bytes that it took, or 0: take it frame by
 * frame.  The connection is open, and outside of any frame.
 */
uint32_t amqp091_whole_take(struct amqp091_connection *connection, struct lp_bytes input);
