/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define OUT_BYTES (256u << 10)

static bool
subscribe(struct load_consumer *c, const char *queue)
{
    uint8_t memory[512];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u32be(&w, 0); /* no bound in bytes */
    lp_writer_u16be(&w, (uint16_t)c->options->prefetch);
    lp_writer_u8(&w, 0);
    if (!load_conn_call(&c->conn, LOAD_BASIC_QOS, lp_writer_bytes(&w), LOAD_BASIC_QOS_OK)) {
        return false;
    }
    w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_short(&w, lp_bytes_of_text("c"));
    lp_writer_u8(&w, c->options->auto_ack ? 2 : 0);
    lp_writer_u32be(&w, 0);
    LP_ASSERT(!w.failed);
    return load_conn_call(&c->conn, LOAD_BASIC_CONSUME, lp_writer_bytes(&w), LOAD_BASIC_CONSUME_OK);
}

bool
load_consumer_open(struct load_consumer *c, uint32_t index, const struct load_options *options,
                   struct load_tally *tally)
{
    char queue[256];
    load_queue_name(options, index % options->queues, queue);
    c->options = options;
    c->tally = tally;
    c->next = calloc(LP_MAX(tally->stream_count, 1u), sizeof(*c->next));
    return c->next != NULL && load_conn_open(&c->conn, options, OUT_BYTES) && subscribe(c, queue) &&
           load_conn_nonblocking(&c->conn);
}

void
load_consumer_close(struct load_consumer *c)
{
    load_conn_close(&c->conn);
    free(c->next);
    c->next = NULL;
}

/* A body is whole: whose is it, and is it the one that was due? */
static void
judge(struct load_consumer *c, uint64_t now_ns)
{
    struct load_tally *tally = c->tally;
    struct lp_reader r = lp_reader_of(c->stamp, c->stamp_bytes);
    const uint16_t run = lp_reader_u16le(&r);
    const uint16_t publisher = lp_reader_u16le(&r);
    const uint32_t sequence = lp_reader_u32le(&r);
    const uint64_t sent_ns = lp_reader_u64le(&r);

    tally->redelivered += c->redelivered ? 1 : 0;
    if (r.failed || (c->body_bytes > LOAD_STAMP_BYTES && c->last_byte != (uint8_t)sequence)) {
        tally->corrupt++;
        return;
    }
    if (c->options->publishers == 0) {
        /* Only consuming what an earlier run left: count it, and time it. */
        tally->received++;
        load_latency_add(&tally->delivery, now_ns - LP_MIN(now_ns, sent_ns));
        return;
    }
    if (run != tally->run) {
        tally->foreign++;
        return;
    }
    if (publisher >= tally->stream_count || sequence >= tally->streams[publisher].sent ||
        c->body_bytes != c->options->size) {
        tally->corrupt++;
        return;
    }
    if (!load_stream_mark(&tally->streams[publisher], sequence)) {
        tally->duplicates++;
        return;
    }
    tally->received++;
    load_latency_add(&tally->delivery, now_ns - LP_MIN(now_ns, sent_ns));
    if (sequence < c->next[publisher] && !c->redelivered) {
        tally->out_of_order++;
    }
    c->next[publisher] = LP_MAX(c->next[publisher], (uint64_t)sequence + 1);
}

static void
acknowledge(struct load_consumer *c)
{
    uint8_t memory[9];
    struct lp_writer w = lp_writer_of(memory, sizeof(memory));
    lp_writer_u64be(&w, c->tag);
    lp_writer_u8(&w, c->unacked > 1 ? 1 : 0);
    c->unacked = 0;
    load_conn_append_method(&c->conn, LOAD_BASIC_ACK, lp_writer_bytes(&w));
}

static void
finish(struct load_consumer *c)
{
    const uint64_t now_ns = load_now_ns();
    c->in_message = false;
    c->tally->last_event_ns = now_ns;
    judge(c, now_ns);
    if (!c->options->auto_ack && ++c->unacked == c->options->ack_every) {
        acknowledge(c);
    }
}

static void
begin(struct load_consumer *c, struct lp_bytes arguments)
{
    struct lp_reader r = lp_reader_of_bytes(arguments);
    (void)lp_reader_short(&r); /* consumer tag: there is one */
    c->tag = lp_reader_u64be(&r);
    c->redelivered = lp_reader_u8(&r) != 0;
    c->tally->corrupt += c->in_message || r.failed ? 1 : 0;
    c->in_message = true;
    c->stamp_bytes = 0;
}

static void
add_body(struct load_consumer *c, struct lp_bytes piece)
{
    const uint32_t wanted = LP_MIN(LOAD_STAMP_BYTES - c->stamp_bytes, piece.size);
    if (wanted > 0) {
        memcpy(c->stamp + c->stamp_bytes, piece.data, wanted);
        c->stamp_bytes += wanted;
    }
    if (piece.size > 0) {
        c->last_byte = piece.data[piece.size - 1];
    }
    c->body_left -= LP_MIN(c->body_left, piece.size);
}

static void
take_frame(struct load_consumer *c, const struct load_frame *frame)
{
    if (frame->method == LOAD_BASIC_DELIVER) {
        begin(c, frame->bytes);
        return;
    }
    if (!c->in_message) {
        return;
    }
    if (frame->type == LOAD_FRAME_HEADER) {
        struct lp_reader r = lp_reader_of_bytes(frame->bytes);
        (void)lp_reader_u32be(&r); /* class and weight */
        c->body_bytes = c->body_left = lp_reader_u64be(&r);
    } else if (frame->type == LOAD_FRAME_BODY) {
        add_body(c, frame->bytes);
    } else {
        return;
    }
    if (c->body_left == 0) {
        finish(c);
    }
}

void
load_consumer_take(struct load_consumer *c)
{
    struct load_frame frame;
    while (load_conn_take(&c->conn, &frame)) {
        take_frame(c, &frame);
    }
    load_conn_flush(&c->conn); /* the loop watches for room when something is left */
}

void
load_consumer_read(struct load_consumer *c)
{
    if (load_conn_fill(&c->conn)) {
        load_consumer_take(c);
    }
}

void
load_consumer_settle(struct load_consumer *c)
{
    if (c->unacked > 0 && !c->conn.broken) {
        acknowledge(c);
        load_conn_flush(&c->conn);
    }
}
