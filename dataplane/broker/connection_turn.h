/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_turn.h - what the shard's turn does with connections.
 */
#pragma once

#include "dataplane/broker/connection.h"

struct lp_broker;

/* A stream was accepted; false: no room, or stopping: the caller closes it. */
bool lp_connection_open(struct lp_broker *broker, const struct lp_protocol *protocol,
                        const struct lp_transport_event *event);
void lp_connection_received(struct lp_connection *connection, const uint8_t *data, uint32_t bytes);
/* Offer input that was kept. */
void lp_connection_input_kept(struct lp_connection *connection);
void lp_connection_sent(struct lp_connection *connection, uint32_t bytes);
/* Send what waits, or close when nothing does and it is time. */
void lp_connection_flush(struct lp_connection *connection);

/* The transport is done with the stream. */
void lp_connection_closed(struct lp_connection *connection);
