/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define FRAME_END          0xce
#define CLASS_BASIC        60
#define FLAG_DELIVERY_MODE 0x1000
#define OUT_BYTES          (256u << 10)
/* What a publisher may send before the others and the consumers get their turn. */
#define TURN_BYTES (256u << 10)
/* How many confirm latencies are kept in mind when there is no window. */
#define RING_UNBOUNDED (1u << 20)

/* The frames before the body are the same for every message of a publisher. */
static void
build_head(struct load_publisher *p, const char *queue)
{
    struct lp_writer w = lp_writer_of(p->head, sizeof(p->head));
    lp_writer_u8(&w, LOAD_FRAME_METHOD);
    lp_writer_u16be(&w, 1);
    lp_writer_u32be(&w, (uint32_t)(4 + 2 + 1 + 1 + strlen(queue) + 1));
    lp_writer_u32be(&w, LOAD_BASIC_PUBLISH);
    lp_writer_u16be(&w, 0);
    lp_writer_u8(&w, 0); /* the default exchange */
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_u8(&w, 0); /* neither mandatory nor immediate */
    lp_writer_u8(&w, FRAME_END);

    lp_writer_u8(&w, LOAD_FRAME_HEADER);
    lp_writer_u16be(&w, 1);
    lp_writer_u32be(&w, p->options->durable ? 15 : 14);
    lp_writer_u16be(&w, CLASS_BASIC);
    lp_writer_u16be(&w, 0);
    lp_writer_u64be(&w, p->options->size);
    lp_writer_u16be(&w, p->options->durable ? FLAG_DELIVERY_MODE : 0);
    if (p->options->durable) {
        lp_writer_u8(&w, 2);
    }
    lp_writer_u8(&w, FRAME_END);
    LP_ASSERT(!w.failed);
    p->head_bytes = (uint32_t)lp_writer_size(&w);

    const uint32_t piece = p->conn.frame_max - LOAD_FRAME_OVERHEAD;
    const uint32_t pieces = (p->options->size + piece - 1) / piece;
    p->message_bytes = p->head_bytes + p->options->size + pieces * LOAD_FRAME_OVERHEAD;
}

bool
load_publisher_open(struct load_publisher *p, uint32_t index, const struct load_options *options,
                    struct load_tally *tally)
{
    char queue[256];
    load_queue_name(options, index % options->queues, queue);
    p->options = options;
    p->tally = tally;
    p->index = index;
    p->stream = &tally->streams[index];
    p->limit = UINT64_MAX;
    if (options->messages != 0) {
        const uint64_t spare = options->messages % options->publishers;
        p->limit = options->messages / options->publishers + (index < spare ? 1 : 0);
    }
    if (options->rate != 0) {
        p->interval_ns = LP_MAX(1u, 1000000000ull * options->publishers / options->rate);
    }

    const size_t slack = 1024u + options->size + options->size / 4;
    if (!load_conn_open(&p->conn, options, LP_MAX(OUT_BYTES, 2 * slack))) {
        return false;
    }
    build_head(p, queue);
    if (options->confirm) {
        p->ring = options->window != 0 ? options->window : RING_UNBOUNDED;
        p->sent_ns = calloc(p->ring, sizeof(*p->sent_ns));
        p->settled_early = calloc(p->ring, 1);
        if (p->sent_ns == NULL || p->settled_early == NULL ||
            !load_conn_call(&p->conn, LOAD_CONFIRM_SELECT, lp_bytes_of("", 1),
                            LOAD_CONFIRM_SELECT_OK)) {
            return false;
        }
    }
    return load_conn_nonblocking(&p->conn);
}

void
load_publisher_close(struct load_publisher *p)
{
    load_conn_close(&p->conn);
    free(p->sent_ns);
    free(p->settled_early);
    p->sent_ns = NULL;
    p->settled_early = NULL;
}

/* Messages of this publisher on the way, as the window counts them. */
static uint64_t
on_the_way(const struct load_publisher *p)
{
    if (p->options->confirm) {
        return p->stream->sent - p->settled;
    }
    return p->options->consumers != 0 ? p->stream->sent - p->stream->received : 0;
}

static void
encode_body(const struct load_publisher *p, uint64_t stamp_ns, struct lp_writer *w)
{
    const uint32_t piece_max = p->conn.frame_max - LOAD_FRAME_OVERHEAD;
    const uint64_t sequence = p->stream->sent;
    uint32_t at = 0;
    while (at < p->options->size) {
        const uint32_t piece = LP_MIN(p->options->size - at, piece_max);
        lp_writer_u8(w, LOAD_FRAME_BODY);
        lp_writer_u16be(w, 1);
        lp_writer_u32be(w, piece);
        uint8_t *room = lp_writer_take(w, piece);
        LP_ASSERT(room != NULL);
        memset(room, 'l', piece);
        if (at == 0) {
            struct lp_writer stamp = lp_writer_of(room, LOAD_STAMP_BYTES);
            lp_writer_u16le(&stamp, p->tally->run);
            lp_writer_u16le(&stamp, (uint16_t)p->index);
            lp_writer_u32le(&stamp, (uint32_t)sequence);
            lp_writer_u64le(&stamp, stamp_ns);
        }
        at += piece;
        if (at == p->options->size && at > LOAD_STAMP_BYTES) {
            room[piece - 1] = (uint8_t)sequence;
        }
        lp_writer_u8(w, FRAME_END);
    }
}

static bool
may_send(const struct load_publisher *p, uint64_t now_ns)
{
    if (p->conn.broken || p->stream->sent >= p->limit) {
        return false;
    }
    if (p->interval_ns != 0 && now_ns < p->due_ns) {
        return false;
    }
    if (p->ring != 0 && on_the_way(p) >= p->ring) {
        return false; /* even without a window no more confirms than we can tell apart */
    }
    return p->options->window == 0 || on_the_way(p) < p->options->window;
}

/* Room for one message, if need be by giving the socket what waits. */
static uint8_t *
make_room(struct load_publisher *p)
{
    uint8_t *room = load_conn_reserve(&p->conn, p->message_bytes);
    if (room == NULL && load_conn_flush(&p->conn)) {
        room = load_conn_reserve(&p->conn, p->message_bytes);
    }
    return room;
}

static void
send_one(struct load_publisher *p, uint8_t *room)
{
    /* Under a rate the clock starts when the message was due: waiting for the window or the
     * socket counts, or a stalled broker would look quick. */
    const uint64_t stamp_ns = p->interval_ns != 0 ? p->due_ns : load_now_ns();
    struct lp_writer w = lp_writer_of(room, p->message_bytes);
    lp_writer_copy(&w, p->head, p->head_bytes);
    encode_body(p, stamp_ns, &w);
    LP_ASSERT(!w.failed && lp_writer_room(&w) == 0);

    p->due_ns += p->interval_ns;
    p->stream->sent++;
    p->tally->sent++;
    if (p->ring != 0) {
        p->sent_ns[p->stream->sent % p->ring] = stamp_ns;
    }
    if (p->tally->first_send_ns == 0) {
        p->tally->first_send_ns = stamp_ns;
    }
}

bool
load_publisher_pump(struct load_publisher *p, uint64_t now_ns)
{
    if (p->interval_ns != 0 && p->due_ns == 0) {
        /* Spread the publishers over one interval. */
        p->due_ns = now_ns + p->interval_ns * p->index / p->options->publishers;
    }
    uint32_t left = TURN_BYTES;
    while (left > 0 && may_send(p, now_ns)) {
        uint8_t *room = make_room(p);
        if (room == NULL) {
            break;
        }
        send_one(p, room);
        left -= LP_MIN(left, p->message_bytes);
    }
    load_conn_flush(&p->conn); /* the loop watches for room when something is left */
    return left == 0;
}

/* Tags up to `tag` (multiple) or that one are settled; `settled` is the contiguous prefix. */
static void
settle(struct load_publisher *p, uint64_t tag, bool multiple, bool good)
{
    const uint64_t now_ns = load_now_ns();
    const uint64_t first = multiple ? p->settled + 1 : tag;
    if (tag > p->stream->sent || (!multiple && tag <= p->settled)) {
        p->tally->corrupt++; /* a confirm for what was never sent, or twice */
        return;
    }
    p->tally->last_event_ns = now_ns;
    for (uint64_t t = first; t <= tag; t++) {
        uint8_t *early = &p->settled_early[t % p->ring];
        if (*early != 0) {
            p->tally->corrupt += multiple ? 0 : 1;
            continue;
        }
        *early = 1;
        *(good ? &p->tally->confirmed : &p->tally->nacked) += 1;
        load_latency_add(&p->tally->confirm, now_ns - LP_MIN(now_ns, p->sent_ns[t % p->ring]));
    }
    while (p->settled < p->stream->sent && p->settled_early[(p->settled + 1) % p->ring] != 0) {
        p->settled++;
        p->settled_early[p->settled % p->ring] = 0;
    }
}

void
load_publisher_read(struct load_publisher *p)
{
    struct load_frame frame;
    if (!load_conn_fill(&p->conn)) {
        return;
    }
    while (load_conn_take(&p->conn, &frame)) {
        if (frame.method == LOAD_BASIC_RETURN) {
            p->tally->returned++;
        } else if (p->ring != 0 &&
                   (frame.method == LOAD_BASIC_ACK || frame.method == LOAD_BASIC_NACK)) {
            struct lp_reader r = lp_reader_of_bytes(frame.bytes);
            const uint64_t tag = lp_reader_u64be(&r);
            const bool multiple = (lp_reader_u8(&r) & 1) != 0;
            /* Tag 0 with multiple means everything so far. */
            settle(p, tag == 0 ? p->stream->sent : tag, multiple, frame.method == LOAD_BASIC_ACK);
        }
    }
}

bool
load_publisher_done(const struct load_publisher *p)
{
    return p->stream->sent >= p->limit && p->conn.out_start == p->conn.out_end &&
           (!p->options->confirm || p->settled == p->stream->sent);
}
