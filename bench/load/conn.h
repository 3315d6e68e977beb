/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - one AMQP 0-9-1 connection with one channel, of the load program.
 *
 * What arrives is read into one large buffer that all connections share: what
 * is left of a frame that is not whole yet is kept with its connection. What
 * leaves is gathered behind `out` and flushed once a turn; publishers have
 * frames of their own to send (publisher.c).
 *
 *   Memory    an idle connection owns nothing but this struct
 *   Limits    one frame of LOAD_FRAME_MAX
 */
#pragma once

#include <sys/types.h>

#include <lepus/bytes.h>

#include "dataplane/protocol/amqp091/frame.h"
#include "dataplane/protocol/amqp091/method.h"

struct load_net;
struct load_options;
struct load_tls_stream;

#define LOAD_FRAME_MAX     131072u
#define LOAD_RECEIVE_BYTES (256u << 10) /* asked of the socket at once */
#define LOAD_ARENA_BYTES   (LOAD_RECEIVE_BYTES + LOAD_FRAME_MAX + AMQP091_FRAME_EXTRA_BYTES)
#define LOAD_CHANNEL       1u

/* The others make what there is, or do nothing. */
enum load_role { LOAD_ROLE_OTHER, LOAD_ROLE_PUBLISHER, LOAD_ROLE_CONSUMER };

struct load_conn {
    int fd;
    struct load_net *net;        /* whose number `fd` is; NULL: the kernel's */
    struct load_tls_stream *tls; /* NULL: it speaks plainly */
    uint8_t role;                /* enum load_role */
    uint8_t step;                /* of opening, see opening.c */
    bool mqtt;                   /* speaks that instead of AMQP, see mqtt.h */
    bool broken;                 /* `why` says what happened */
    bool blocked;                /* the broker said so */
    bool watching_write;         /* the loop's: asked epoll for room */
    uint32_t owed;               /* answers that opening waits for */
    uint32_t frame_max;
    uint32_t carry_bytes;
    uint32_t carry_room;
    uint8_t *carry; /* the beginning of a frame whose rest has not come */
    size_t out_start;
    size_t out_end;
    size_t out_room;
    uint8_t *out;
    char why[320];
};

struct load_frame {
    uint8_t type;
    uint16_t channel;
    uint32_t method;       /* of a method frame, else 0 */
    struct lp_bytes bytes; /* of a method frame: its arguments */
};

/* Connect without waiting for it; false: it cannot be. */
LP_MUST_CHECK bool load_conn_dial(struct load_conn *conn, const struct load_options *options);
/* Say goodbye without waiting, and free.  Safe on a zeroed connection. */
void load_conn_close(struct load_conn *conn);
/* Remember the first reason; always false. */
bool load_conn_broke(struct load_conn *conn, const char *what, const char *detail);

/*
 * One read into `arena` (LOAD_ARENA_BYTES): what was kept, then what the
 * socket has.  Nothing when there is nothing new, or when the connection broke.
 */
struct lp_reader load_conn_receive(struct load_conn *conn, uint8_t *arena);
/* What of it was kept from earlier, without a read. */
struct lp_reader load_conn_kept(struct load_conn *conn, uint8_t *arena);
/* Keep the rest of what was received until the next time. */
void load_conn_keep(struct load_conn *conn, const struct lp_reader *rest);
/*
 * The next whole frame, or false.  Heartbeats and notices of blocking are
 * swallowed; a close from the broker breaks the connection, with its text as
 * the reason.
 */
LP_MUST_CHECK bool load_conn_take(struct load_conn *conn, struct lp_reader *input,
                                  struct load_frame *ret_frame);

/* A method frame at the end of what waits to be sent. */
void load_conn_method(struct load_conn *conn, uint32_t method, struct lp_bytes arguments);
/* Room for bytes that the caller has framed itself, or NULL. */
uint8_t *load_conn_reserve(struct load_conn *conn, size_t bytes);
/* Give the socket what it takes of `out`; true when nothing is left. */
bool load_conn_flush(struct load_conn *conn);
/* As recv() and send() with MSG_DONTWAIT on its socket, whoever's that is. */
ssize_t load_conn_raw_receive(struct load_conn *conn, void *to, size_t room);
ssize_t load_conn_raw_send(struct load_conn *conn, const void *from, size_t bytes);
/* Give the socket what it takes of some bytes; gives how many that were. */
size_t load_conn_send(struct load_conn *conn, const uint8_t *bytes, size_t count);
