/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_private.h - what connection*.c share.
 */
#pragma once

#include "dataplane/broker/connection.h"

/* Stop or start reading from the socket, as what holds input back now says. */
void connection_receive_update(struct lp_connection *connection);
void connection_input_free(struct lp_connection *connection);
/* What was promised to the connection is promised no more. */
void connection_promise_end(struct lp_connection *connection);
