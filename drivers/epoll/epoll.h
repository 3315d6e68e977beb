/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll.h - transport.h over non-blocking sockets and epoll: for kernels and
 * containers that refuse io_uring, and the reference that it is compared with.
 *
 *   Memory    its tables, one allocation each at boot; 1 MiB to receive into
 *   Runs on   owner core; open and close on the host's thread
 *   Limits    lp_socket_options.streams_max
 *
 * Edge-triggered: a stream is registered once and never again.  send() enters
 * the kernel at once, so that most sends are done when it returns; SENT
 * follows with the next poll().
 */
#pragma once

#include <drivers/common/socket.h>

/*
 * LP_ERR_NO_MEMORY  the tables do not fit
 * LP_ERR_IO         the kernel refuses an epoll set or an eventfd
 */
LP_MUST_CHECK enum lp_err lp_epoll_open_boot(const struct lp_socket_options *options,
                                             struct lp_transport *ret_transport);
/* Closes every stream; the listeners stay the caller's. */
void lp_epoll_close(struct lp_transport *transport);

void lp_epoll_counters(const struct lp_transport *transport,
                       struct lp_socket_counters *ret_counters);
