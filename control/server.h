/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the Unix socket that lepusctl talks to: lines of JSON both ways.
 *
 *   Memory    heap
 *   Runs on   the control process's thread; driven by its epoll
 *   Limits    SERVER_CLIENTS_MAX at once, SERVER_LINE_MAX_BYTES a request
 */
#pragma once

#include <sys/epoll.h>

#include "control/link/control.h"

#define SERVER_CLIENTS_MAX    64u
#define SERVER_LINE_MAX_BYTES (64u * 1024u * 1024u) /* a file of definitions */

struct server;

/*
 * Listen at FOLDER/lepus.sock, for the owner alone.  Events come back with
 * data.ptr of the server's own; server_event() takes them.
 *
 * LP_ERR_IO  with a sentence in `ret_why`
 */
LP_MUST_CHECK enum lp_err server_open(const char *folder, int epoll_fd, struct server **ret_server,
                                      char *ret_why, size_t why_bytes);
/*
 * What was answered is sent first, as far as the clients take it.  The control
 * process must be closed before: it answers what is still under way.
 */
void server_close(struct server **server);
void server_event(struct server *server, struct lp_control *control,
                  const struct epoll_event *event);
/* After a turn: send what was answered meanwhile. */
void server_flush(struct server *server, struct lp_control *control);
