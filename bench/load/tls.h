/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h - connections over TLS: what conn.c reads from and writes to between
 * itself and a socket, the kernel's or our own stack's.
 *
 * Not drivers/tls: that is a server by its contract, hides a stream until its
 * handshake is done, and belongs to what is measured here.
 *
 *   Memory    OpenSSL's, and what the socket did not take of what was encrypted
 *   Runs on   the program's one thread
 *   Limits    LOAD_TLS_SLICE_BYTES are encrypted at once
 */
#pragma once

#include <sys/types.h>

#include <lepus/base.h>

#define LOAD_TLS_SLICE_BYTES (64u << 10)

struct load_conn;
struct load_options;
struct load_tls;        /* what all connections share */
struct load_tls_stream; /* one of them */

/* As the options say.  NULL: said why. */
struct load_tls *load_tls_open(const struct load_options *options);
void load_tls_close(struct load_tls *tls);

/* For a connection that is being dialled; false: it is broken. */
LP_MUST_CHECK bool load_tls_begin(struct load_tls *tls, struct load_conn *conn, const char *host);
/* Says goodbye if the socket takes it. */
void load_tls_end(struct load_conn *conn);

/* As recv() and send() with MSG_DONTWAIT; what was sent in part is to be sent again, from there on.
 */
ssize_t load_tls_receive(struct load_conn *conn, void *to, size_t room);
ssize_t load_tls_send(struct load_conn *conn, const void *from, size_t bytes);
