/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_name.h - how RabbitMQ names a connection: by its two ends.
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/transport.h>

/* "[" 39 characters of IPv6 "]", ":" and a port, twice, and an arrow. */
#define LP_CONNECTION_NAME_BYTES_MAX 100u

/* "127.0.0.1:40000 -> 127.0.0.1:5672", "[::1]:40000 -> [::1]:5672". */
void lp_connection_name(struct lp_writer *writer, const struct lp_address *peer,
                        const struct lp_address *local);
