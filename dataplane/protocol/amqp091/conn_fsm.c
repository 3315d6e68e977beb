/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/conn_fsm.h"

#include <lepus/fault.h>

/*
 *  WAIT_HEADER -> WAIT_START_OK -> LOGIN -> WAIT_TUNE_OK -> WAIT_OPEN -> OPENING -> OPEN
 *       | bad          |             | refused    |             |           |        |
 *       v              +-------------+------------+             | out of turn, fault |
 *     CLOSED                  v                                 v                    | close
 *       ^                  SILENT                            CLOSING                 v
 *       |                     | 3 s                             | close-ok        DRAINING
 *       |                     |                                 |                    v
 *       |                     |                                 |                 ANSWERED
 *       +---------------------+---------------------------------+--------------------+
 *
 * The stream of an ANSWERED peer is the peer's to close: it may have written more before it
 * heard, and closing with that unread would reset the stream and could take close-ok with it.
 *
 * A row is a thing that may happen; a pair without one is out of turn, and
 * what that costs depends on the state alone (out_of_turn below).
 */
static const struct {
    bool known;
    struct amqp091_conn_step step;
} table[AMQP091_CONN_COUNT][AMQP091_EV_COUNT] = {
/* clang-format off */
#define ROW(state, event, to, action) \
    [AMQP091_CONN_##state][AMQP091_EV_##event] = {true, {AMQP091_CONN_##to, AMQP091_DO_##action, 0}}
    ROW(WAIT_HEADER,   HEADER_GOOD, WAIT_START_OK, SEND_START),
    ROW(WAIT_HEADER,   HEADER_BAD,  CLOSED,        SEND_HEADER),
    ROW(WAIT_HEADER,   EXPIRED,     CLOSED,        DROP),
    ROW(WAIT_START_OK, START_OK,    LOGIN,         LOGIN),
    ROW(WAIT_START_OK, EXPIRED,     CLOSED,        DROP),
    ROW(LOGIN,         LOGIN_DONE,  WAIT_TUNE_OK,  SEND_TUNE),
    ROW(LOGIN,         FAULT,       CLOSING,       SEND_CLOSE),
    ROW(WAIT_TUNE_OK,  TUNE_OK,     WAIT_OPEN,     TUNE),
    ROW(WAIT_TUNE_OK,  EXPIRED,     CLOSED,        DROP),
    ROW(WAIT_OPEN,     OPEN,        OPENING,       OPEN),
    ROW(WAIT_OPEN,     FAULT,       CLOSING,       SEND_CLOSE),
    ROW(WAIT_OPEN,     EXPIRED,     CLOSED,        DROP),
    ROW(OPENING,       OPEN_DONE,   OPEN,          SEND_OPEN_OK),
    ROW(OPENING,       FAULT,       CLOSING,       SEND_CLOSE),
    ROW(OPENING,       EXPIRED,     CLOSED,        DROP),
    ROW(OPEN,          OTHER,       OPEN,          METHOD),
    ROW(OPEN,          FAULT,       CLOSING,       SEND_CLOSE),
    ROW(OPEN,          CLOSE,       DRAINING,      DRAIN),
    ROW(OPEN,          EXPIRED,     CLOSED,        DROP),
    ROW(DRAINING,      DRAINED,     ANSWERED,      ANSWER),
    ROW(DRAINING,      EXPIRED,     CLOSED,        DROP),
    ROW(ANSWERED,      CLOSE,       ANSWERED,      SEND_CLOSE_OK),
    ROW(ANSWERED,      CLOSE_OK,    CLOSED,        FINISH),
    ROW(ANSWERED,      EXPIRED,     CLOSED,        DROP),
    /* Both sides closed at once: each is answered. */
    ROW(CLOSING,       CLOSE,       CLOSING,       SEND_CLOSE_OK),
    ROW(CLOSING,       CLOSE_OK,    CLOSED,        FINISH),
    ROW(CLOSING,       EXPIRED,     CLOSED,        DROP),
    ROW(SILENT,        EXPIRED,     CLOSED,        DROP),
#undef ROW
    /* clang-format on */
};

static struct amqp091_conn_step
out_of_turn(enum amqp091_conn_state state)
{
    const struct amqp091_conn_step drop = {AMQP091_CONN_CLOSED, AMQP091_DO_DROP, 0};
    const struct amqp091_conn_step silent = {AMQP091_CONN_SILENT, AMQP091_DO_NOTHING, 0};
    const struct amqp091_conn_step ignore = {state, AMQP091_DO_NOTHING, 0};
    const struct amqp091_conn_step refuse = {AMQP091_CONN_CLOSING, AMQP091_DO_SEND_CLOSE,
                                             LP_FAULT_CHANNEL_ERROR};
    switch (state) {
    case AMQP091_CONN_WAIT_HEADER:
        return drop;
    case AMQP091_CONN_WAIT_START_OK:
    case AMQP091_CONN_LOGIN:
    case AMQP091_CONN_WAIT_TUNE_OK:
        /* Nobody has shown who they are: they get no answer, and no hurry. */
        return silent;
    case AMQP091_CONN_WAIT_OPEN:
    case AMQP091_CONN_OPENING:
    case AMQP091_CONN_OPEN:
        return refuse;
    case AMQP091_CONN_DRAINING:
    case AMQP091_CONN_ANSWERED:
    case AMQP091_CONN_CLOSING:
    case AMQP091_CONN_SILENT:
    case AMQP091_CONN_CLOSED:
        /* Frames that the peer sent before it heard are still arriving. */
        return ignore;
    case AMQP091_CONN_COUNT:
        break;
    }
    LP_ASSERT(false);
    return drop;
}

struct amqp091_conn_step
amqp091_conn_step(enum amqp091_conn_state state, enum amqp091_conn_event event)
{
    LP_ASSERT(state < AMQP091_CONN_COUNT);
    LP_ASSERT(event < AMQP091_EV_COUNT);

    if (event == AMQP091_EV_GONE) {
        const struct amqp091_conn_step release = {AMQP091_CONN_CLOSED, AMQP091_DO_RELEASE, 0};
        return release;
    }
    return table[state][event].known ? table[state][event].step : out_of_turn(state);
}

const char *
amqp091_conn_state_name(enum amqp091_conn_state state)
{
    switch (state) {
    case AMQP091_CONN_WAIT_HEADER:
    case AMQP091_CONN_WAIT_START_OK:
    case AMQP091_CONN_LOGIN:
        return "starting";
    case AMQP091_CONN_WAIT_TUNE_OK:
        return "tuning";
    case AMQP091_CONN_WAIT_OPEN:
    case AMQP091_CONN_OPENING:
        return "opening";
    case AMQP091_CONN_OPEN:
        return "running";
    case AMQP091_CONN_DRAINING:
    case AMQP091_CONN_CLOSING:
        return "closing";
    case AMQP091_CONN_ANSWERED:
    case AMQP091_CONN_SILENT:
    case AMQP091_CONN_CLOSED:
    case AMQP091_CONN_COUNT:
        break;
    }
    return "closed";
}
