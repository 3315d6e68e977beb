/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/frame.h"

/* Some clients take frame_max for the payload's limit: RabbitMQ lets them. */
#define PAYLOAD_TOLERANCE_BYTES 8u

void
amqp091_parser_init(struct amqp091_parser *parser, uint32_t frame_max)
{
    LP_ASSERT(frame_max > AMQP091_FRAME_EXTRA_BYTES);
    memset(parser, 0, sizeof(*parser));
    parser->payload_max = frame_max - AMQP091_FRAME_EXTRA_BYTES + PAYLOAD_TOLERANCE_BYTES;
}

static enum amqp091_frame_result
body_go_on(const struct amqp091_parser *parser, struct lp_reader *reader,
           struct amqp091_frame *ret_frame)
{
    struct amqp091_frame frame = {
        .type = AMQP091_FRAME_BODY,
        .channel = parser->body_channel,
        .payload_bytes = parser->body_bytes,
    };
    const uint32_t have = (uint32_t)lp_reader_left(reader);
    if (have == 0) {
        return AMQP091_FRAME_MORE;
    }
    frame.payload = lp_reader_bytes(reader, LP_MIN(have, parser->body_left));
    frame.used = frame.payload.size;
    if (frame.payload.size == parser->body_left && lp_reader_left(reader) > 0) {
        frame.end_octet = lp_reader_u8(reader);
        frame.used++;
        frame.last = true;
    }
    if (frame.last && frame.end_octet != AMQP091_FRAME_END) {
        frame.snippet = lp_bytes_of(parser->body_first, parser->body_first_bytes);
        *ret_frame = frame;
        return AMQP091_FRAME_BAD_END;
    }
    if (frame.used == 0) {
        return AMQP091_FRAME_MORE;
    }
    *ret_frame = frame;
    return AMQP091_FRAME_FOUND;
}

enum amqp091_frame_result
amqp091_parser_look(const struct amqp091_parser *parser, struct lp_bytes input,
                    struct amqp091_frame *ret_frame)
{
    struct lp_reader reader = lp_reader_of_bytes(input);
    if (parser->body_open) {
        return body_go_on(parser, &reader, ret_frame);
    }
    struct amqp091_frame frame = {.first = true};
    frame.type = lp_reader_u8(&reader);
    frame.channel = lp_reader_u16be(&reader);
    frame.payload_bytes = lp_reader_u32be(&reader);
    if (reader.failed) {
        return AMQP091_FRAME_MORE;
    }
    if (frame.payload_bytes > parser->payload_max) {
        *ret_frame = frame;
        return AMQP091_FRAME_TOO_LARGE;
    }
    const uint32_t have = (uint32_t)lp_reader_left(&reader);
    if (have > frame.payload_bytes) {
        frame.payload = lp_reader_bytes(&reader, frame.payload_bytes);
        frame.end_octet = lp_reader_u8(&reader);
        frame.last = true;
        frame.snippet = frame.payload;
    } else if (frame.type == AMQP091_FRAME_BODY && have > 0) {
        frame.payload = lp_reader_bytes(&reader, have);
    } else {
        return AMQP091_FRAME_MORE;
    }
    frame.used = input.size - (uint32_t)lp_reader_left(&reader);
    *ret_frame = frame;
    return frame.last && frame.end_octet != AMQP091_FRAME_END ? AMQP091_FRAME_BAD_END
                                                              : AMQP091_FRAME_FOUND;
}

void
amqp091_parser_take(struct amqp091_parser *parser, const struct amqp091_frame *frame)
{
    if (frame->last) {
        parser->body_open = false;
        return;
    }
    LP_ASSERT(frame->type == AMQP091_FRAME_BODY);
    if (frame->first) {
        parser->body_open = true;
        parser->body_bytes = frame->payload_bytes;
        parser->body_left = frame->payload_bytes;
        parser->body_channel = frame->channel;
        parser->body_first_bytes = 0;
    }
    LP_ASSERT(parser->body_open && parser->body_left >= frame->payload.size);
    parser->body_left -= frame->payload.size;
    const uint32_t room = AMQP091_SNIPPET_BYTES - parser->body_first_bytes;
    const uint32_t keep = LP_MIN(room, frame->payload.size);
    if (keep > 0) {
        memcpy(parser->body_first + parser->body_first_bytes, frame->payload.data, keep);
        parser->body_first_bytes = (uint8_t)(parser->body_first_bytes + keep);
    }
}
