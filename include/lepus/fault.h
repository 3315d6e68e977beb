/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - the peer's fault as a value: what to say to it, and what to close.
 *
 * Codes and scopes are AMQP 0-9-1's (specification 1.2.1, reply constants),
 * which RabbitMQ uses for every protocol internally; other protocols map them
 * at their edge.
 */
#pragma once

#include <lepus/base.h>

#define LP_FAULT_CODE_LIST(X)          \
    X(CONTENT_TOO_LARGE, 311, false)   \
    X(NO_ROUTE, 312, false)            \
    X(NO_CONSUMERS, 313, false)        \
    X(CONNECTION_FORCED, 320, true)    \
    X(INVALID_PATH, 402, true)         \
    X(ACCESS_REFUSED, 403, false)      \
    X(NOT_FOUND, 404, false)           \
    X(RESOURCE_LOCKED, 405, false)     \
    X(PRECONDITION_FAILED, 406, false) \
    X(FRAME_ERROR, 501, true)          \
    X(SYNTAX_ERROR, 502, true)         \
    X(COMMAND_INVALID, 503, true)      \
    X(CHANNEL_ERROR, 504, true)        \
    X(UNEXPECTED_FRAME, 505, true)     \
    X(RESOURCE_ERROR, 506, true)       \
    X(NOT_ALLOWED, 530, true)          \
    X(NOT_IMPLEMENTED, 540, true)      \
    X(INTERNAL_ERROR, 541, true)

enum lp_fault_code {
    LP_FAULT_NONE = 0,
#define X(name, code, hard) LP_FAULT_##name = code,
    LP_FAULT_CODE_LIST(X)
#undef X
};

/* "NOT_FOUND" for 404; "INTERNAL_ERROR" for a number outside the list. */
static inline const char *
lp_fault_name(unsigned code)
{
    switch (code) {
#define X(name, number, hard) \
    case number:              \
        return #name;
        LP_FAULT_CODE_LIST(X)
#undef X
    default:
        return "INTERNAL_ERROR";
    }
}

/* A hard code closes the connection, a soft one the channel. */
static inline bool
lp_fault_is_hard(unsigned code)
{
    switch (code) {
#define X(name, number, hard) \
    case number:              \
        return hard;
        LP_FAULT_CODE_LIST(X)
#undef X
    default:
        return true;
    }
}

/* Room for the longest explanation that leaves room for "CODE_NAME - " in a short string. */
#define LP_FAULT_TEXT_BYTES 256

struct lp_fault {
    uint16_t code; /* enum lp_fault_code; LP_FAULT_NONE: no fault */
    uint16_t text_bytes;
    char
        text[LP_FAULT_TEXT_BYTES]; /* the explanation without the code's name; not NUL-terminated */
};
