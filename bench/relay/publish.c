/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.c - the path of messages: three frames in, three frames out.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

/* A publish that has arrived whole. */
struct publish {
    struct lp_bytes method;  /* payload */
    struct lp_bytes content; /* header and body frames as they came */
    uint32_t bytes;          /* of input */
};

enum found { FOUND_ALL, FOUND_PART, FOUND_BAD };

/* The frame at `at`, only if it is whole. */
static enum found
frame_at(const struct relay *relay, struct lp_bytes input, uint32_t at,
         struct amqp091_frame *ret_frame)
{
    const struct lp_bytes rest = lp_bytes_of(input.data + at, input.size - at);
    switch (amqp091_parser_look(&relay->parser, rest, ret_frame)) {
    case AMQP091_FRAME_FOUND:
        return ret_frame->last ? FOUND_ALL : FOUND_PART;
    case AMQP091_FRAME_MORE:
        return FOUND_PART;
    case AMQP091_FRAME_TOO_LARGE:
    case AMQP091_FRAME_BAD_END:
        break;
    }
    return FOUND_BAD;
}

/* Header and body behind a publish whose own frame ends at `at`. */
static enum found
content_at(const struct relay *relay, struct lp_bytes input, uint32_t at, struct publish *publish)
{
    struct amqp091_frame frame;
    const uint32_t begin = at;
    enum found found = frame_at(relay, input, at, &frame);
    if (found != FOUND_ALL) {
        return found;
    }
    struct lp_reader header = lp_reader_of_bytes(frame.payload);
    (void)lp_reader_u32be(&header); /* class and weight */
    uint64_t left = lp_reader_u64be(&header);
    at += frame.used;
    if (frame.type != AMQP091_FRAME_HEADER || header.failed || left > RELAY_MESSAGE_MAX) {
        return FOUND_BAD;
    }
    while (left > 0) {
        found = frame_at(relay, input, at, &frame);
        if (found != FOUND_ALL) {
            return found;
        }
        if (frame.type != AMQP091_FRAME_BODY || frame.payload.size > left ||
            frame.payload.size == 0) {
            return FOUND_BAD;
        }
        left -= frame.payload.size;
        at += frame.used;
    }
    publish->content = lp_bytes_of(input.data + begin, at - begin);
    publish->bytes = at;
    return FOUND_ALL;
}

/* --- Out again. ------------------------------------------------------------------------------- */

static void
deliver_frame(struct relay_consumer *c, const struct relay_route *route)
{
    struct lp_writer w = lp_writer_of(c->deliver, sizeof(c->deliver));
    lp_writer_u8(&w, AMQP091_FRAME_METHOD);
    lp_writer_u16be(&w, 1);
    lp_writer_u32be(&w, 0);
    lp_writer_u32be(&w, AMQP091_BASIC_DELIVER);
    lp_writer_short(&w, c->tag);
    c->number_at = (uint32_t)lp_writer_size(&w);
    lp_writer_u64be(&w, 0);
    lp_writer_u8(&w, 0);
    lp_writer_short(&w, route->exchange);
    lp_writer_short(&w, route->key);
    lp_writer_u8(&w, AMQP091_FRAME_END);
    const uint32_t bytes = (uint32_t)lp_writer_size(&w);
    lp_writer_patch_u32be(&w, 3, bytes - AMQP091_FRAME_EXTRA_BYTES);
    LP_ASSERT(!w.failed);
    c->deliver_bytes = bytes;
    c->route_id = route->id;
}

static void
deliver(struct relay *relay, struct relay_consumer *c, const struct relay_route *route,
        struct lp_bytes content)
{
    if (c->route_id != route->id) {
        deliver_frame(c, route);
    }
    uint8_t *room = relay_reserve(relay, c->conn, c->deliver_bytes + content.size);
    LP_ASSERT(room != NULL); /* room_for_all() has looked */
    const uint64_t number = __builtin_bswap64(++c->delivered);
    memcpy(c->deliver + c->number_at, &number, sizeof(number));
    memcpy(room, c->deliver, c->deliver_bytes);
    memcpy(room + c->deliver_bytes, content.data, content.size);
}

static struct relay_consumer *
next_consumer(const struct relay_queue *queue)
{
    return queue->count == 0 ? NULL : queue->consumers[queue->turn % queue->count];
}

static bool
room_for_all(struct relay *relay, const struct relay_route *route, uint32_t content_bytes)
{
    const uint32_t most = (uint32_t)sizeof(((struct relay_consumer *)0)->deliver) + content_bytes;
    for (uint32_t i = 0; i < route->count; i++) {
        const struct relay_consumer *c = next_consumer(route->queues[i]);
        if (c != NULL && !relay_has_room(relay, c->conn, most)) {
            return false;
        }
    }
    return true;
}

/* False: a consumer has no room; the message stays where it is. */
static bool
forward(struct relay *relay, struct relay_conn *conn, const struct publish *publish)
{
    struct relay_route *route = &conn->route;
    if (route->epoch != relay->epoch || publish->method.size != conn->last_publish_bytes ||
        memcmp(publish->method.data, conn->last_publish, publish->method.size) != 0) {
        struct amqp091_method m;
        conn->last_publish_bytes = LP_MIN(publish->method.size, sizeof(conn->last_publish));
        memcpy(conn->last_publish, publish->method.data, conn->last_publish_bytes);
        if (amqp091_method_decode(lp_bytes_of(conn->last_publish, conn->last_publish_bytes), &m) !=
            AMQP091_DECODED) {
            conn->ending = true;
            return false;
        }
        relay_route_find(relay, route, m.name[0], m.name[1]);
    }
    if (!room_for_all(relay, route, publish->content.size)) {
        return false;
    }
    for (uint32_t i = 0; i < route->count; i++) {
        struct relay_consumer *c = next_consumer(route->queues[i]);
        if (c != NULL) {
            route->queues[i]->turn++;
            deliver(relay, c, route, publish->content);
        }
    }
    conn->published++;
    return true;
}

/* --- In. -------------------------------------------------------------------------------------- */

static uint32_t
method_id(struct lp_bytes payload)
{
    struct lp_reader r = lp_reader_of_bytes(payload);
    return lp_reader_u32be(&r);
}

/* One frame or message; FOUND_PART also when it has to wait for a consumer. */
static enum found
take_one(struct relay *relay, struct relay_conn *conn, struct lp_bytes input, uint32_t *ret_used)
{
    struct amqp091_frame frame;
    enum found found = frame_at(relay, input, 0, &frame);
    if (found != FOUND_ALL) {
        return found;
    }
    *ret_used = frame.used;
    if (frame.type != AMQP091_FRAME_METHOD) {
        return frame.type == AMQP091_FRAME_HEARTBEAT ? FOUND_ALL : FOUND_BAD;
    }
    struct publish publish = {.method = frame.payload};
    switch (method_id(frame.payload)) {
    case AMQP091_BASIC_ACK:
        return FOUND_ALL;
    case AMQP091_BASIC_PUBLISH:
        found = content_at(relay, input, frame.used, &publish);
        if (found == FOUND_ALL && !forward(relay, conn, &publish)) {
            conn->stalled = !conn->ending;
            return FOUND_PART;
        }
        *ret_used = publish.bytes;
        return found;
    default:
        relay_method(relay, conn, frame.payload, frame.channel);
        return FOUND_ALL;
    }
}

/* One confirm for all that came. */
static void
confirm(struct relay *relay, struct relay_conn *conn)
{
    static const uint8_t head[] = {AMQP091_FRAME_METHOD, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80};
    uint8_t *room = relay_reserve(relay, conn, sizeof(head) + 10);
    if (room == NULL) {
        return; /* the next one says it, too */
    }
    struct lp_writer w = lp_writer_of(room, sizeof(head) + 10);
    lp_writer_copy(&w, head, sizeof(head));
    lp_writer_u64be(&w, conn->published);
    lp_writer_u8(&w, 1);
    lp_writer_u8(&w, AMQP091_FRAME_END);
    conn->confirmed = conn->published;
}

void
relay_take(struct relay *relay, struct relay_conn *conn, struct lp_reader *input)
{
    while (lp_reader_left(input) > 0 && !conn->ending && !conn->stalled) {
        uint32_t used = 0;
        if (!conn->open) {
            if (lp_reader_left(input) < 8) {
                break;
            }
            (void)lp_reader_take(input, 8); /* which protocol it asks for: there is one */
            conn->open = true;
            relay_greet(relay, conn);
            continue;
        }
        const struct lp_bytes rest = lp_bytes_of(input->at, (uint32_t)lp_reader_left(input));
        const enum found found = take_one(relay, conn, rest, &used);
        conn->ending |= found == FOUND_BAD;
        if (found != FOUND_ALL) {
            break;
        }
        (void)lp_reader_take(input, used);
    }
    if (conn->confirms && conn->confirmed != conn->published) {
        confirm(relay, conn);
    }
}
