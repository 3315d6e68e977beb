/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method.h - the methods of AMQP 0-9-1: their numbers, their arguments'
 * layout, and one decoder for all of them.
 *
 *   Memory    decoded arguments borrow from the payload
 *   Runs on   owner core
 *   Limits    three short strings, one long string, one table and three
 *             numbers a method: no method has more
 */
#pragma once

#include <lepus/bytes.h>

/*
 * X(name, class, method, arguments).  Arguments, a letter each: h short, l
 * long, L longlong, b the octet of bits, s short string, S long string, t
 * table.  NULL: known, but never sent by a client.
 */
#define AMQP091_METHOD_LIST(X)                   \
    X(CONNECTION_START, 10, 10, NULL)            \
    X(CONNECTION_START_OK, 10, 11, "tsSs")       \
    X(CONNECTION_SECURE, 10, 20, NULL)           \
    X(CONNECTION_SECURE_OK, 10, 21, "S")         \
    X(CONNECTION_TUNE, 10, 30, NULL)             \
    X(CONNECTION_TUNE_OK, 10, 31, "hlh")         \
    X(CONNECTION_OPEN, 10, 40, "ssb")            \
    X(CONNECTION_OPEN_OK, 10, 41, NULL)          \
    X(CONNECTION_CLOSE, 10, 50, "hshh")          \
    X(CONNECTION_CLOSE_OK, 10, 51, "")           \
    X(CONNECTION_BLOCKED, 10, 60, NULL)          \
    X(CONNECTION_UNBLOCKED, 10, 61, NULL)        \
    X(CONNECTION_UPDATE_SECRET, 10, 70, "Ss")    \
    X(CONNECTION_UPDATE_SECRET_OK, 10, 71, NULL) \
    X(CHANNEL_OPEN, 20, 10, "s")                 \
    X(CHANNEL_OPEN_OK, 20, 11, NULL)             \
    X(CHANNEL_FLOW, 20, 20, "b")                 \
    X(CHANNEL_FLOW_OK, 20, 21, NULL)             \
    X(CHANNEL_CLOSE, 20, 40, "hshh")             \
    X(CHANNEL_CLOSE_OK, 20, 41, "")              \
    X(ACCESS_REQUEST, 30, 10, "sb")              \
    X(ACCESS_REQUEST_OK, 30, 11, NULL)           \
    X(EXCHANGE_DECLARE, 40, 10, "hssbt")         \
    X(EXCHANGE_DECLARE_OK, 40, 11, NULL)         \
    X(EXCHANGE_DELETE, 40, 20, "hsb")            \
    X(EXCHANGE_DELETE_OK, 40, 21, NULL)          \
    X(EXCHANGE_BIND, 40, 30, "hsssbt")           \
    X(EXCHANGE_BIND_OK, 40, 31, NULL)            \
    X(EXCHANGE_UNBIND, 40, 40, "hsssbt")         \
    X(EXCHANGE_UNBIND_OK, 40, 51, NULL)          \
    X(QUEUE_DECLARE, 50, 10, "hsbt")             \
    X(QUEUE_DECLARE_OK, 50, 11, NULL)            \
    X(QUEUE_BIND, 50, 20, "hsssbt")              \
    X(QUEUE_BIND_OK, 50, 21, NULL)               \
    X(QUEUE_PURGE, 50, 30, "hsb")                \
    X(QUEUE_PURGE_OK, 50, 31, NULL)              \
    X(QUEUE_DELETE, 50, 40, "hsb")               \
    X(QUEUE_DELETE_OK, 50, 41, NULL)             \
    X(QUEUE_UNBIND, 50, 50, "hssst")             \
    X(QUEUE_UNBIND_OK, 50, 51, NULL)             \
    X(BASIC_QOS, 60, 10, "lhb")                  \
    X(BASIC_QOS_OK, 60, 11, NULL)                \
    X(BASIC_CONSUME, 60, 20, "hssbt")            \
    X(BASIC_CONSUME_OK, 60, 21, NULL)            \
    X(BASIC_CANCEL, 60, 30, "sb")                \
    X(BASIC_CANCEL_OK, 60, 31, NULL)             \
    X(BASIC_PUBLISH, 60, 40, "hssb")             \
    X(BASIC_RETURN, 60, 50, NULL)                \
    X(BASIC_DELIVER, 60, 60, NULL)               \
    X(BASIC_GET, 60, 70, "hsb")                  \
    X(BASIC_GET_OK, 60, 71, NULL)                \
    X(BASIC_GET_EMPTY, 60, 72, NULL)             \
    X(BASIC_ACK, 60, 80, "Lb")                   \
    X(BASIC_REJECT, 60, 90, "Lb")                \
    X(BASIC_RECOVER_ASYNC, 60, 100, "b")         \
    X(BASIC_RECOVER, 60, 110, "b")               \
    X(BASIC_RECOVER_OK, 60, 111, NULL)           \
    X(BASIC_NACK, 60, 120, "Lb")                 \
    X(CONFIRM_SELECT, 85, 10, "b")               \
    X(CONFIRM_SELECT_OK, 85, 11, NULL)           \
    X(TX_SELECT, 90, 10, "")                     \
    X(TX_SELECT_OK, 90, 11, NULL)                \
    X(TX_COMMIT, 90, 20, "")                     \
    X(TX_COMMIT_OK, 90, 21, NULL)                \
    X(TX_ROLLBACK, 90, 30, "")                   \
    X(TX_ROLLBACK_OK, 90, 31, NULL)

/* The class in the upper 16 bits, the method in the lower. */
enum amqp091_method_id {
    AMQP091_METHOD_NONE = 0,
#define X(name, class_number, method_number, arguments) \
    AMQP091_##name = ((class_number) << 16) | (method_number),
    AMQP091_METHOD_LIST(X)
#undef X
};

#define AMQP091_CLASS_BASIC 60u

struct amqp091_method {
    uint32_t id; /* enum amqp091_method_id, or a number that is none of them */
    uint8_t bits;
    struct lp_bytes name[3]; /* short strings, in order */
    struct lp_bytes text;    /* the long string */
    struct lp_bytes table;   /* without its length */
    uint64_t number[3];      /* integers, in order */
    struct lp_bytes payload; /* the arguments undecoded */
};

enum amqp091_decode {
    AMQP091_DECODED,
    AMQP091_DECODE_NO_METHOD, /* too short to name one */
    AMQP091_DECODE_UNKNOWN,   /* no such class or method; `id` is set */
    AMQP091_DECODE_NOT_OURS,  /* known, but not one that clients send; `id` is set */
    AMQP091_DECODE_MALFORMED, /* its arguments are not what they should be; `id` is set */
    AMQP091_DECODE_NOT_UTF8,  /* a name is not UTF-8; `id` is set */
};

/* `payload` is a method frame's. */
enum amqp091_decode amqp091_method_decode(struct lp_bytes payload,
                                          struct amqp091_method *ret_method);

/* Well-formed UTF-8? */
bool amqp091_is_utf8(struct lp_bytes bytes);
