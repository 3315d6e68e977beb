/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_fsm.h - the life of a connection as a table: state x event -> next
 * state and what to do.
 *
 *   Memory    none
 *   Runs on   owner core
 */
#pragma once

#include <lepus/base.h>

enum amqp091_conn_state {
    AMQP091_CONN_WAIT_HEADER,
    AMQP091_CONN_WAIT_START_OK,
    AMQP091_CONN_LOGIN, /* the control process looks at the credentials */
    AMQP091_CONN_WAIT_TUNE_OK,
    AMQP091_CONN_WAIT_OPEN,
    AMQP091_CONN_OPENING, /* the control process looks for the vhost */
    AMQP091_CONN_OPEN,
    AMQP091_CONN_DRAINING, /* the peer closed; channels and exclusive queues go, then close-ok */
    AMQP091_CONN_ANSWERED, /* close-ok is said: the peer closes the stream */
    AMQP091_CONN_CLOSING,  /* we closed; close-ok is to come */
    AMQP091_CONN_SILENT,   /* refused without a word: the stream closes a little later */
    AMQP091_CONN_CLOSED,   /* nothing is said or heard any more */
    AMQP091_CONN_COUNT,
};

enum amqp091_conn_event {
    AMQP091_EV_HEADER_GOOD,
    AMQP091_EV_HEADER_BAD,
    AMQP091_EV_START_OK,
    AMQP091_EV_LOGIN_DONE,
    AMQP091_EV_REFUSED, /* what the peer sent in a handshake is refused without a word */
    AMQP091_EV_TUNE_OK,
    AMQP091_EV_OPEN,
    AMQP091_EV_OPEN_DONE,
    AMQP091_EV_CLOSE,    /* connection.close came */
    AMQP091_EV_CLOSE_OK, /* connection.close-ok came */
    AMQP091_EV_OTHER,    /* a method that no state but OPEN knows what to do with */
    AMQP091_EV_FAULT,    /* something else is wrong: the fault is at hand */
    AMQP091_EV_DRAINED,  /* everything the connection held was given back */
    AMQP091_EV_EXPIRED,  /* the state's time is up */
    AMQP091_EV_GONE,     /* the stream is closed */
    AMQP091_EV_COUNT,
};

enum amqp091_conn_action {
    AMQP091_DO_NOTHING,
    AMQP091_DO_SEND_START,
    AMQP091_DO_SEND_HEADER, /* our protocol header, then close the stream */
    AMQP091_DO_LOGIN,
    AMQP091_DO_SEND_TUNE,
    AMQP091_DO_TUNE,
    AMQP091_DO_OPEN,
    AMQP091_DO_SEND_OPEN_OK,
    AMQP091_DO_METHOD, /* a method of a running connection: see what it is */
    AMQP091_DO_DRAIN,
    AMQP091_DO_SEND_CLOSE_OK,
    AMQP091_DO_SEND_CLOSE, /* with the fault at hand, or `code` and the state's name */
    AMQP091_DO_FINISH,     /* flush, then close the stream */
    AMQP091_DO_ANSWER,     /* close-ok, and the peer has some time to close the stream */
    AMQP091_DO_DROP,       /* close the stream now */
    AMQP091_DO_RELEASE,    /* give everything back */
};

struct amqp091_conn_step {
    enum amqp091_conn_state next;
    enum amqp091_conn_action action;
    uint16_t code; /* fault for SEND_CLOSE when it follows from the state alone; else 0 */
};

/* Total: every pair has an answer. */
struct amqp091_conn_step amqp091_conn_step(enum amqp091_conn_state state,
                                           enum amqp091_conn_event event);

/* The state as RabbitMQ calls it in texts: "starting", "running", ... */
const char *amqp091_conn_state_name(enum amqp091_conn_state state);
