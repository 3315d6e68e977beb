/* SPDX-License-Identifier: Apache-2.0 */
/*
 * properties.h - what the broker itself reads in a message's basic properties.
 *
 * The properties travel as they came, flags and list; this finds the few that
 * matter to routing and acceptance.
 *
 *   Memory    borrowed views into the raw bytes
 *   Runs on   owner core
 */
#pragma once

#include <lepus/bytes.h>

struct lp_message;
struct lp_trace;

/* Bits of the property flags, first to last as they are on the wire. */
enum amqp091_property {
    AMQP091_CONTENT_TYPE = 1u << 15,
    AMQP091_CONTENT_ENCODING = 1u << 14,
    AMQP091_HEADERS = 1u << 13,
    AMQP091_DELIVERY_MODE = 1u << 12,
    AMQP091_PRIORITY = 1u << 11,
    AMQP091_CORRELATION_ID = 1u << 10,
    AMQP091_REPLY_TO = 1u << 9,
    AMQP091_EXPIRATION = 1u << 8,
    AMQP091_MESSAGE_ID = 1u << 7,
    AMQP091_TIMESTAMP = 1u << 6,
    AMQP091_TYPE = 1u << 5,
    AMQP091_USER_ID = 1u << 4,
    AMQP091_APP_ID = 1u << 3,
    AMQP091_CLUSTER_ID = 1u << 2,
    AMQP091_PROPERTY_UNKNOWN = (1u << 1) | 1u, /* bit 0: more flags follow; neither is defined */
};

struct amqp091_properties {
    uint16_t flags;          /* enum amqp091_property bits that are there */
    uint8_t delivery_mode;   /* 0 when absent */
    uint8_t priority;        /* 0 when absent */
    bool has_copies;         /* a CC or BCC header */
    struct lp_bytes headers; /* field table without its length */
    struct lp_bytes reply_to;
    struct lp_bytes expiration;
    struct lp_bytes user_id;
};

/* Copy what comes from `at` to the short string `was`, then `now` in its place; gives what is
 * behind it. */
const uint8_t *amqp091_property_replace(struct lp_writer *writer, const uint8_t *at,
                                        struct lp_bytes was, struct lp_bytes now);

/* False: not a well-formed list. */
bool amqp091_properties_read(struct lp_bytes raw, struct amqp091_properties *ret_properties);
bool amqp091_properties_are(struct lp_bytes raw);

#define AMQP091_COUNT_HEADER "x-delivery-count"
/* Its name and its value, a 64-bit integer. */
#define AMQP091_COUNT_HEADER_BYTES (1u + sizeof(AMQP091_COUNT_HEADER) - 1u + 1u + 8u)

/* Properties with one header more than they came with: pieces to be sent one after the other. */
struct amqp091_counted {
    struct lp_bytes piece[4]; /* of the properties as they came, and of the arrays below */
    uint8_t flags[2];
    uint8_t table[4 + AMQP091_COUNT_HEADER_BYTES];
};

/* By how much that makes them longer. */
uint32_t amqp091_properties_count_bytes(struct lp_bytes raw);
/* Put x-delivery-count before the other headers (C132).  The result refers to itself and to `raw`:
 * well-formed properties (those of a message are). */
void amqp091_properties_count(struct lp_bytes raw, uint32_t count,
                              struct amqp091_counted *ret_counted);

/* ---- deaths.c, trace.c: of messages that are here, so of well-formed properties (protocol.h) ----
 */

struct lp_bytes amqp091_properties_headers(const struct lp_message *message);
void amqp091_properties_dead(const struct lp_message *message, struct lp_bytes deaths,
                             struct lp_writer *writer);
void amqp091_properties_delayed(const struct lp_message *message, uint64_t delay_ms,
                                struct lp_writer *writer);
void amqp091_properties_trace(const struct lp_message *message, const struct lp_trace *trace,
                              struct lp_writer *writer);
