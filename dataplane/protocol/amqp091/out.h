/* SPDX-License-Identifier: Apache-2.0 */
/*
 * out.h - encoding one method frame to send.
 *
 *   Memory    the struct is the caller's, on the stack
 *   Runs on   owner core
 *   Limits    AMQP091_OUT_BYTES a frame
 */
#pragma once

#include <lepus/bytes.h>

#include "dataplane/protocol/amqp091/frame.h"

/* connection.start is the largest: its server properties and a cluster name. */
#define AMQP091_OUT_BYTES 1280u

struct amqp091_connection;

struct amqp091_out {
    struct lp_writer writer; /* append arguments here */
    uint8_t data[AMQP091_OUT_BYTES];
};

/* The frame's header and the method's number. */
static inline void
amqp091_frame_open(struct lp_writer *writer, uint16_t channel, uint32_t method_id)
{
    lp_writer_u8(writer, AMQP091_FRAME_METHOD);
    lp_writer_u16be(writer, channel);
    lp_writer_u32be(writer, 0); /* the payload's size: amqp091_frame_close() */
    lp_writer_u32be(writer, method_id);
}

/* The end octet, and the size of the frame that began at `offset`. */
static inline void
amqp091_frame_close(struct lp_writer *writer, size_t offset)
{
    const size_t payload = lp_writer_size(writer) - offset - AMQP091_FRAME_HEADER_BYTES;
    lp_writer_patch_u32be(writer, offset + 3, (uint32_t)payload);
    lp_writer_u8(writer, AMQP091_FRAME_END);
}

static inline void
amqp091_out_begin(struct amqp091_out *out, uint16_t channel, uint32_t method_id)
{
    out->writer = lp_writer_of(out->data, sizeof(out->data));
    amqp091_frame_open(&out->writer, channel, method_id);
}

/* Finish the frame and write it to the connection. */
void amqp091_out_send(struct amqp091_connection *connection, struct amqp091_out *out);

/* A method without arguments. */
void amqp091_out_plain(struct amqp091_connection *connection, uint16_t channel, uint32_t method_id);
