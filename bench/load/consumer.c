/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consumer.c - takes deliveries apart, checks each, acknowledges.
 *
 * Most messages look like the one before: three frames of the same sizes. Those
 * are recognised by their frames' headers and checked in place (take_alike());
 * all others go through the frames one by one.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "mqtt.h"

#define FRAME_HEAD_BYTES AMQP091_FRAME_HEADER_BYTES

bool
load_consumer_init(struct load_consumer *c, uint32_t index, const struct load_options *options,
                   struct load_tally *tally)
{
    c->conn = (struct load_conn){.fd = -1, .role = LOAD_ROLE_CONSUMER};
    c->options = options;
    c->tally = tally;
    c->index = index;
    c->queue = index % options->queues;
    /* Streams of all publishers by queue, or of each publisher to its one queue. */
    c->streams = tally->streams + (options->to_all ? (size_t)c->queue * options->publishers : 0);
    const uint32_t publishers =
        options->to_all ? options->publishers : options->publishers / options->queues + 1;
    c->next = calloc(publishers + 1u, sizeof(*c->next));
    return c->next != NULL;
}

void
load_consumer_fini(struct load_consumer *c)
{
    load_conn_close(&c->conn);
    free(c->next);
    c->next = NULL;
}

void
load_consumer_begin(struct load_consumer *c)
{
    char queue[256];
    uint8_t memory[512];
    if (c->conn.mqtt) {
        load_mqtt_subscribe(c->options, &c->conn, c->queue);
        return;
    }
    if (c->options->place == LOAD_PLACE_CONSUMER && c->index < c->options->queues) {
        load_topology_queue(c->options, &c->conn, c->index);
    }
    load_queue_name(c->options, c->queue, queue);
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u32be(&w, 0); /* no bound in bytes */
    lp_writer_u16be(&w, (uint16_t)c->options->prefetch);
    lp_writer_u8(&w, 0);
    load_conn_method(&c->conn, AMQP091_BASIC_QOS, lp_writer_bytes(&w));

    w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_short(&w, lp_bytes_of_text("c"));
    lp_writer_u8(&w, c->options->auto_ack ? 2 : 0);
    lp_writer_u32be(&w, 0);
    LP_ASSERT(!w.failed);
    load_conn_method(&c->conn, AMQP091_BASIC_CONSUME, lp_writer_bytes(&w));
    c->conn.owed += 2;
}

/* --- Judging. --------------------------------------------------------------------------------- */

/* Which of the publishers that reach this queue; false: this one does not. */
static bool
place_of(const struct load_consumer *c, uint32_t publisher, uint32_t *ret_place)
{
    const uint32_t queues = c->options->queues;
    *ret_place = publisher;
    if (c->options->to_all || queues == 1) {
        return true;
    }
    *ret_place = publisher / queues;
    return publisher % queues == c->queue;
}

/* A body is whole and says so: is it the one that was due? */
static void
judge(struct load_consumer *c, const struct load_stamp *stamp, uint64_t size)
{
    struct load_tally *tally = c->tally;
    uint32_t place;
    if (stamp->run != tally->run) {
        tally->foreign++;
        return;
    }
    if (stamp->publisher >= c->options->publishers ||
        size != load_size_of(c->options, stamp->publisher) ||
        !place_of(c, stamp->publisher, &place)) {
        tally->corrupt++;
        return;
    }
    struct load_publisher *publisher = &c->publishers[stamp->publisher];
    if (stamp->sequence >= publisher->sent) {
        tally->corrupt++;
        return;
    }
    switch (load_stream_mark(&c->streams[stamp->publisher], stamp->sequence)) {
    case LOAD_SEEN_AGAIN:
        tally->duplicates++;
        return;
    case LOAD_SEEN_FAR:
        tally->corrupt++; /* hundreds of millions are missing before it */
        return;
    case LOAD_SEEN_FIRST:
        break;
    }
    tally->received++;
    if (stamp->sequence < c->next[place] && !c->redelivered) {
        tally->out_of_order++;
    }
    c->next[place] = LP_MAX(c->next[place], (uint64_t)stamp->sequence + 1);
    load_publisher_consumed(publisher);
}

static void
acknowledge(struct load_consumer *c)
{
    uint8_t memory[9];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u64be(&w, c->tag);
    lp_writer_u8(&w, c->unacked > 1 ? 1 : 0);
    c->unacked = 0;
    load_conn_method(&c->conn, AMQP091_BASIC_ACK, lp_writer_bytes(&w));
}

/* A message is whole. `tail` is NULL where there is none, `good` false when its filler is wrong. */
static void
finish(struct load_consumer *c, const uint8_t *body, const uint8_t *tail, bool good,
       uint64_t now_ns)
{
    struct load_stamp stamp;
    c->tally->redelivered += c->redelivered ? 1 : 0;
    if (!load_stamp_read(&stamp, (uint32_t)c->body_bytes, body, tail) || !good) {
        c->tally->corrupt++;
    } else {
        load_hdr_add(c->tally->delivery, load_since(now_ns, stamp.due_ns), 1);
        load_thousands_add(&c->tally->thousands, load_since(now_ns, stamp.due_ns));
        if (c->options->publishers == 0) {
            c->tally->received++; /* what an earlier run left */
        } else {
            judge(c, &stamp, c->body_bytes);
        }
    }
    if (!c->options->auto_ack && ++c->unacked == c->options->ack_every) {
        acknowledge(c);
    }
}

/* One message in LOAD_FULL_CHECK is compared whole. */
static bool
filler_due(const uint8_t *stamp)
{
    return stamp[8] % LOAD_FULL_CHECK == 0; /* the sequence's lowest byte */
}

/* `count` bytes from `at` on, of a body of `size`: what is between stamp and tail. */
static bool
filler_good(const struct load_consumer *c, uint64_t at, const uint8_t *bytes, size_t count,
            uint64_t size)
{
    const uint64_t end = size >= LOAD_TAILED_BYTES ? size - LOAD_TAIL_BYTES : size;
    const uint64_t from = LP_MAX(at, (uint64_t)LOAD_STAMP_BYTES);
    const uint64_t to = LP_MIN(at + count, end);
    return size > c->options->size || from >= to ||
           memcmp(bytes + (from - at), c->tally->filler + from, to - from) == 0;
}

void
load_consumer_message(struct load_consumer *c, struct lp_bytes body, uint64_t now_ns)
{
    const uint32_t size = body.size;
    c->body_bytes = size;
    c->redelivered = false;
    if (size < LOAD_STAMP_BYTES) {
        c->tally->corrupt++;
        return;
    }
    const uint8_t *tail = size >= LOAD_TAILED_BYTES ? body.data + size - LOAD_TAIL_BYTES : NULL;
    const bool good = !filler_due(body.data) || filler_good(c, 0, body.data, size, size);
    finish(c, body.data, tail, good, now_ns);
}

/* --- A message that looks like the one before. ------------------------------------------------ */

/* Remember how the frames of the message that is whole now began. */
static void
learn(struct load_consumer *c)
{
    c->alike_bytes = (uint32_t)c->body_bytes;
    const uint32_t payload[] = {c->deliver_bytes, c->header_bytes, c->alike_bytes};
    static const uint8_t types[] = {AMQP091_FRAME_METHOD, AMQP091_FRAME_HEADER, AMQP091_FRAME_BODY};
    for (uint32_t i = 0; i < LP_COUNT_OF(payload); i++) {
        struct lp_writer w = lp_writer_of(c->heads[i], sizeof(c->heads[i]));
        lp_writer_u8(&w, types[i]);
        lp_writer_u16be(&w, LOAD_CHANNEL);
        lp_writer_u32be(&w, payload[i]);
    }
}

static bool
frame_alike(const uint8_t *at, const uint8_t *head, uint32_t payload)
{
    return memcmp(at, head, FRAME_HEAD_BYTES) == 0 &&
           at[FRAME_HEAD_BYTES + payload] == AMQP091_FRAME_END;
}

/* Consume one whole message from `input`; false, and nothing taken: not that simple. */
static bool
take_alike(struct load_consumer *c, struct lp_reader *input, uint64_t now_ns)
{
    const uint32_t size = c->alike_bytes;
    const size_t deliver = c->deliver_bytes + AMQP091_FRAME_EXTRA_BYTES;
    const size_t header = c->header_bytes + AMQP091_FRAME_EXTRA_BYTES;
    struct lp_reader r = *input;
    const uint8_t *at = lp_reader_take(&r, deliver + header + size + AMQP091_FRAME_EXTRA_BYTES);
    if (at == NULL || c->deliver_bytes == 0 || size < LOAD_STAMP_BYTES) {
        return false;
    }
    const uint8_t *body = at + deliver + header + FRAME_HEAD_BYTES;
    if (!frame_alike(at, c->heads[0], c->deliver_bytes) ||
        !frame_alike(at + deliver, c->heads[1], c->header_bytes) ||
        !frame_alike(at + deliver + header, c->heads[2], size)) {
        return false;
    }
    struct lp_reader method = lp_reader_of(at + FRAME_HEAD_BYTES, c->deliver_bytes);
    struct lp_reader properties = lp_reader_of(at + deliver + FRAME_HEAD_BYTES + 4, 8);
    const uint32_t id = lp_reader_u32be(&method);
    (void)lp_reader_short(&method);
    const uint64_t tag = lp_reader_u64be(&method);
    const bool redelivered = lp_reader_u8(&method) != 0;
    if (id != AMQP091_BASIC_DELIVER || method.failed || lp_reader_u64be(&properties) != size) {
        return false;
    }
    *input = r;
    c->tag = tag;
    c->redelivered = redelivered;
    c->body_bytes = size;
    const uint8_t *tail = size >= LOAD_TAILED_BYTES ? body + size - LOAD_TAIL_BYTES : NULL;
    finish(c, body, tail, !filler_due(body) || filler_good(c, 0, body, size, size), now_ns);
    return true;
}

/* --- Frame by frame. -------------------------------------------------------------------------- */

static void
begin(struct load_consumer *c, struct lp_bytes arguments)
{
    struct lp_reader r = lp_reader_of_bytes(arguments);
    (void)lp_reader_short(&r); /* consumer tag: there is one */
    c->tag = lp_reader_u64be(&r);
    c->redelivered = lp_reader_u8(&r) != 0;
    c->tally->corrupt += c->in_message || r.failed ? 1 : 0;
    c->in_message = true;
    c->spoiled = false;
    c->body_at = 0;
    c->body_bytes = UINT64_MAX;
    c->deliver_bytes = arguments.size + 4;
}

static void
add_body(struct load_consumer *c, struct lp_bytes piece)
{
    const uint64_t at = c->body_at;
    if (at < LOAD_STAMP_BYTES) {
        const size_t wanted = LP_MIN((size_t)(LOAD_STAMP_BYTES - at), piece.size);
        memcpy(c->stamp + at, piece.data, wanted);
    }
    if (piece.size >= LOAD_TAIL_BYTES) {
        memcpy(c->tail, piece.data + piece.size - LOAD_TAIL_BYTES, LOAD_TAIL_BYTES);
    } else {
        memmove(c->tail, c->tail + piece.size, LOAD_TAIL_BYTES - piece.size);
        memcpy(c->tail + LOAD_TAIL_BYTES - piece.size, piece.data, piece.size);
    }
    c->body_at += piece.size;
    c->spoiled |= c->body_at >= LOAD_STAMP_BYTES && filler_due(c->stamp) &&
                  !filler_good(c, at, piece.data, piece.size, c->body_bytes);
}

static void
take_frame(struct load_consumer *c, const struct load_frame *frame, uint64_t now_ns)
{
    if (frame->method == AMQP091_BASIC_DELIVER) {
        begin(c, frame->bytes);
        return;
    }
    if (frame->method == AMQP091_BASIC_CANCEL) {
        (void)load_conn_broke(&c->conn, "the broker cancelled the consumer", "");
        return;
    }
    if (!c->in_message) {
        return;
    }
    if (frame->type == AMQP091_FRAME_HEADER) {
        struct lp_reader r = lp_reader_of_bytes(frame->bytes);
        (void)lp_reader_u32be(&r); /* class and weight */
        c->body_bytes = lp_reader_u64be(&r);
        c->header_bytes = frame->bytes.size;
    } else if (frame->type == AMQP091_FRAME_BODY && frame->bytes.size > 0) {
        add_body(c, frame->bytes);
    }
    if (c->body_at >= c->body_bytes) {
        c->in_message = false;
        const bool good =
            !c->spoiled && c->body_at == c->body_bytes && c->body_bytes >= LOAD_STAMP_BYTES;
        learn(c);
        finish(c, c->stamp, c->body_bytes >= LOAD_TAILED_BYTES ? c->tail : NULL, good, now_ns);
    }
}

static void
take_all(struct load_consumer *c, struct lp_reader *input, uint64_t now_ns)
{
    struct load_frame frame;
    for (;;) {
        if (!c->in_message && take_alike(c, input, now_ns)) {
            continue;
        }
        if (!load_conn_take(&c->conn, input, &frame)) {
            break;
        }
        take_frame(c, &frame, now_ns);
    }
}

void
load_consumer_take(struct load_consumer *c, struct lp_reader *input, uint64_t now_ns)
{
    if (c->conn.mqtt) {
        load_mqtt_consume(c, input, now_ns);
    } else {
        take_all(c, input, now_ns);
    }
    load_conn_keep(&c->conn, input);
    (void)load_conn_flush(&c->conn); /* the loop watches for room when something is left */
}

void
load_consumer_settle(struct load_consumer *c)
{
    if (c->unacked > 0 && !c->conn.broken) {
        acknowledge(c);
        (void)load_conn_flush(&c->conn);
    }
}
