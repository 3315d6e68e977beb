/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - cutting a stream of bytes into frames.
 *
 * Method, header and heartbeat frames are given whole.  Body frames are given
 * in pieces, as they arrive.  Reading and taking are two steps, so that a
 * caller without room for a frame can leave it where it is.
 *
 *   Memory    frames borrow from the input
 *   Runs on   owner core
 *   Limits    payload_max bytes of payload a frame
 *
 * Invariant: body_left > 0 or body_end_due only inside a body frame.
 */
#pragma once

#include <lepus/bytes.h>

#define AMQP091_FRAME_HEADER_BYTES 7u
#define AMQP091_FRAME_EXTRA_BYTES  8u /* header and end octet */
#define AMQP091_FRAME_END          0xceu
#define AMQP091_SNIPPET_BYTES      16u

enum amqp091_frame_type {
    AMQP091_FRAME_METHOD = 1,
    AMQP091_FRAME_HEADER = 2,
    AMQP091_FRAME_BODY = 3,
    AMQP091_FRAME_HEARTBEAT = 8,
};

enum amqp091_frame_result {
    AMQP091_FRAME_MORE,      /* nothing whole yet */
    AMQP091_FRAME_FOUND,     /* a frame, or a piece of a body frame */
    AMQP091_FRAME_TOO_LARGE, /* payload_bytes says by how much; the stream cannot be read on */
    AMQP091_FRAME_BAD_END,   /* end_octet is not what it should be; as above */
};

struct amqp091_frame {
    uint8_t type;
    uint8_t end_octet;
    bool first; /* the frame's first piece */
    bool last;  /* its last: true for whole frames */
    uint16_t channel;
    uint32_t payload_bytes;  /* of the whole frame */
    uint32_t used;           /* input bytes that amqp091_parser_take() takes */
    struct lp_bytes payload; /* of this piece */
    struct lp_bytes snippet; /* after BAD_END: the payload's first bytes, as many as are known */
};

struct amqp091_parser {
    uint32_t payload_max;
    uint32_t body_left; /* payload bytes of the open body frame still to come */
    uint32_t body_bytes;
    uint16_t body_channel;
    bool body_open; /* inside a body frame */
    uint8_t body_first_bytes;
    uint8_t body_first[AMQP091_SNIPPET_BYTES]; /* for the text of a fault at its end */
};

void amqp091_parser_init(struct amqp091_parser *parser, uint32_t frame_max);

/* Look at the next frame; changes nothing. */
enum amqp091_frame_result amqp091_parser_look(const struct amqp091_parser *parser,
                                              struct lp_bytes input,
                                              struct amqp091_frame *ret_frame);

/* It was FOUND and dealt with. */
void amqp091_parser_take(struct amqp091_parser *parser, const struct amqp091_frame *frame);
