/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel_index.h - a connection's channels by number.
 *
 *   Memory    a table in the shard's lp_memory, grown by doubling
 *   Runs on   owner core
 *   Limits    the negotiated channel_max entries; numbers up to 65535
 */
#pragma once

#include "dataplane/protocol/amqp091/amqp091.h"

/* False: no memory. */
bool amqp091_index_add(struct amqp091_channel *channel);
/* Harmless when it is not in. */
void amqp091_index_remove(struct amqp091_channel *channel);
