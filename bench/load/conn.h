/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - one AMQP 0-9-1 connection with one channel, of the load program.
 *
 * Opening and calls block, with a deadline; afterwards the loop drives the
 * socket: fill, take frames, append, flush.
 *
 *   Memory    the connection owns its two buffers, sized once when it opens
 *   Limits    one frame fits the input buffer; appending is bounded by `out`
 */
#pragma once

#include <lepus/bytes.h>

struct load_options;

#define LOAD_FRAME_METHOD   1
#define LOAD_FRAME_HEADER   2
#define LOAD_FRAME_BODY     3
#define LOAD_FRAME_OVERHEAD 8 /* type, channel, size, end */
#define LOAD_FRAME_MAX      131072u

/* class << 16 | method */
#define LOAD_CONNECTION_START     0x000a000au
#define LOAD_CONNECTION_START_OK  0x000a000bu
#define LOAD_CONNECTION_TUNE      0x000a001eu
#define LOAD_CONNECTION_TUNE_OK   0x000a001fu
#define LOAD_CONNECTION_OPEN      0x000a0028u
#define LOAD_CONNECTION_OPEN_OK   0x000a0029u
#define LOAD_CONNECTION_CLOSE     0x000a0032u
#define LOAD_CONNECTION_CLOSE_OK  0x000a0033u
#define LOAD_CONNECTION_BLOCKED   0x000a003cu
#define LOAD_CONNECTION_UNBLOCKED 0x000a003du
#define LOAD_CHANNEL_OPEN         0x0014000au
#define LOAD_CHANNEL_OPEN_OK      0x0014000bu
#define LOAD_CHANNEL_CLOSE        0x00140028u
#define LOAD_QUEUE_DECLARE        0x0032000au
#define LOAD_QUEUE_DECLARE_OK     0x0032000bu
#define LOAD_QUEUE_DELETE         0x00320028u
#define LOAD_QUEUE_DELETE_OK      0x00320029u
#define LOAD_BASIC_QOS            0x003c000au
#define LOAD_BASIC_QOS_OK         0x003c000bu
#define LOAD_BASIC_CONSUME        0x003c0014u
#define LOAD_BASIC_CONSUME_OK     0x003c0015u
#define LOAD_BASIC_PUBLISH        0x003c0028u
#define LOAD_BASIC_RETURN         0x003c0032u
#define LOAD_BASIC_DELIVER        0x003c003cu
#define LOAD_BASIC_ACK            0x003c0050u
#define LOAD_BASIC_NACK           0x003c0078u
#define LOAD_CONFIRM_SELECT       0x0055000au
#define LOAD_CONFIRM_SELECT_OK    0x0055000bu

struct load_conn {
    int fd;
    bool broken;         /* `why` says what happened */
    bool closing;        /* the loop's: nothing more is expected */
    bool watching_write; /* the loop's: asked epoll for room */
    uint32_t frame_max;
    uint8_t *in;
    size_t in_start;
    size_t in_end;
    size_t in_room;
    uint8_t *out;
    size_t out_start;
    size_t out_end;
    size_t out_room;
    char why[300];
};

struct load_frame {
    uint8_t type;
    uint16_t channel;
    uint32_t method;       /* of a method frame, else 0 */
    struct lp_bytes bytes; /* of a method frame: its arguments */
};

/* Connect, log in, open channel 1.  `out_bytes` is what may wait to be sent. */
LP_MUST_CHECK bool load_conn_open(struct load_conn *conn, const struct load_options *options,
                                  size_t out_bytes);
/* Say goodbye without waiting, and free.  Safe on a zeroed connection. */
void load_conn_close(struct load_conn *conn);

/*
 * A blocking call: send a method with its arguments and wait for `answer`.
 * Only before load_conn_nonblocking().
 */
LP_MUST_CHECK bool load_conn_call(struct load_conn *conn, uint32_t method,
                                  struct lp_bytes arguments, uint32_t answer);
LP_MUST_CHECK bool load_conn_nonblocking(struct load_conn *conn);
LP_MUST_CHECK bool load_conn_blocking(struct load_conn *conn);

/* Take what the socket has.  False when the connection is broken. */
LP_MUST_CHECK bool load_conn_fill(struct load_conn *conn);
/*
 * The next whole frame, or false.  It points into the input buffer, valid
 * until the next fill.  Heartbeats are swallowed; a close from the broker
 * breaks the connection, with its text as the reason.
 */
LP_MUST_CHECK bool load_conn_take(struct load_conn *conn, struct load_frame *ret_frame);

/* A method frame at the end of what waits to be sent. */
void load_conn_append_method(struct load_conn *conn, uint32_t method, struct lp_bytes arguments);
/* Room for bytes that the caller has framed itself, or NULL. */
uint8_t *load_conn_reserve(struct load_conn *conn, size_t bytes);
/* Give the socket what it takes; true when nothing is left. */
bool load_conn_flush(struct load_conn *conn);
