/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can bytes from a client break the frame parser, the method decoder or the
 * property reader?
 *
 * The first octet says in how large parts the rest is offered, so that bodies
 * are cut anywhere.  Whatever is decoded is touched, so that a sanitizer sees
 * a view that reaches too far.
 */
#include <stddef.h>
#include <stdint.h>

#include "dataplane/protocol/amqp091/frame.h"
#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/protocol/amqp091/properties.h"
#include "dataplane/protocol/amqp091/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint32_t
touch(struct lp_bytes view)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < view.size; i++) {
        sum += view.data[i];
    }
    return sum;
}

static uint32_t
method_touch(struct lp_bytes payload)
{
    struct amqp091_method method;
    if (amqp091_method_decode(payload, &method) != AMQP091_DECODED) {
        return 0;
    }
    uint32_t sum = touch(method.text) + touch(method.table) + touch(method.payload);
    for (uint32_t i = 0; i < LP_COUNT_OF(method.name); i++) {
        sum += touch(method.name[i]);
    }
    struct amqp091_credentials credentials;
    if (method.id == AMQP091_CONNECTION_START_OK &&
        amqp091_sasl_read(amqp091_sasl_find(method.name[0]), method.text, &credentials)) {
        sum += touch(credentials.user) + touch(credentials.password);
    }
    return sum;
}

static uint32_t
frame_touch(const struct amqp091_frame *frame)
{
    uint32_t sum = touch(frame->payload);
    if (frame->type == AMQP091_FRAME_METHOD) {
        sum += method_touch(frame->payload);
    } else if (frame->type == AMQP091_FRAME_HEADER && frame->payload.size >= 12) {
        struct amqp091_properties properties;
        const struct lp_bytes raw = lp_bytes_of(frame->payload.data + 12, frame->payload.size - 12);
        if (amqp091_properties_read(raw, &properties)) {
            sum +=
                touch(properties.headers) + touch(properties.reply_to) + touch(properties.user_id);
        }
    }
    return sum;
}

/* Parse all that is there; false: the stream is broken. */
static bool
parse(struct amqp091_parser *parser, struct lp_bytes *left, volatile uint32_t *sum)
{
    for (;;) {
        struct amqp091_frame frame;
        const enum amqp091_frame_result result = amqp091_parser_look(parser, *left, &frame);
        if (result == AMQP091_FRAME_MORE) {
            return true;
        }
        if (result != AMQP091_FRAME_FOUND) {
            *sum += touch(frame.snippet);
            return false;
        }
        LP_ASSERT(frame.used > 0 && frame.used <= left->size);
        *sum += frame_touch(&frame);
        amqp091_parser_take(parser, &frame);
        *left = lp_bytes_of(left->data + frame.used, left->size - frame.used);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    volatile uint32_t sum = 0;
    if (bytes == 0 || bytes > UINT32_MAX) {
        return 0;
    }
    const uint32_t part = data[0] == 0 ? UINT32_MAX : data[0];
    struct amqp091_parser parser;
    amqp091_parser_init(&parser, 4096);
    uint32_t used = 1;
    uint32_t have = 1;
    while (have < bytes) {
        have = (uint32_t)LP_MIN((uint64_t)have + part, (uint64_t)bytes);
        struct lp_bytes left = lp_bytes_of(data + used, have - used);
        if (!parse(&parser, &left, &sum)) {
            break;
        }
        used = have - left.size;
    }
    return 0;
}
