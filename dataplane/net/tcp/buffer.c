/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was given to send() and is not acknowledged, in chunks.
 *
 * A chunk is as large as what it was made for, or as all that is queued
 * already, up to 16 KiB: little data has little, much has few chunks, and an
 * idle connection none.  Bytes never change once they are in: each frame that
 * carries them has its own copy.
 */
#include "send.h"

#define CHUNK_BYTES_MIN 256u
#define CHUNK_BYTES_MAX (16u * 1024u)
/* With memory short a connection goes on, but with no more than this. */
#define PRESSED_BYTES 4096u

static struct tcp_chunk *
chunk_make(struct lp_net *net, const struct tcp_queue *queue, uint32_t wanted)
{
    const uint32_t size = LP_MIN(LP_MAX(wanted, queue->bytes), CHUNK_BYTES_MAX);
    /* All of the block: its class rounds up. */
    const uint64_t block =
        lp_memory_block_bytes(LP_MAX(size + (uint32_t)sizeof(struct tcp_chunk), CHUNK_BYTES_MIN));
    struct tcp_chunk *chunk = lp_memory_alloc(net->memory, block);
    if (chunk == NULL) {
        return NULL;
    }
    net->tcp->buffered_bytes += block;
    *chunk = (struct tcp_chunk){.room = (uint32_t)(block - sizeof(struct tcp_chunk))};
    return chunk;
}

void
tcp_chunk_free(struct lp_net *net, struct tcp_chunk *chunk)
{
    net->tcp->buffered_bytes -= chunk->room + sizeof(struct tcp_chunk);
    void *block = chunk;
    lp_memory_release(net->memory, &block);
}

static void
chunk_link(struct tcp_queue *queue, struct tcp_chunk *chunk)
{
    if (queue->tail == NULL) {
        queue->head = chunk;
    } else {
        chunk->seq = queue->tail->seq + queue->tail->end;
        queue->tail->next = chunk;
    }
    queue->tail = chunk;
}

uint32_t
tcp_queue_append(struct lp_net *net, struct tcp_queue *queue, const void *data, uint32_t bytes)
{
    const uint8_t *from = data;
    uint32_t left = bytes;
    while (left > 0) {
        struct tcp_chunk *chunk = queue->tail;
        if (chunk == NULL || chunk->end == chunk->room) {
            chunk = chunk_make(net, queue, left);
            if (chunk == NULL) {
                break;
            }
            chunk_link(queue, chunk);
        }
        const uint32_t part = LP_MIN(left, chunk->room - chunk->end);
        memcpy(chunk->bytes + chunk->end, from, part);
        chunk->end += part;
        queue->bytes += part;
        from += part;
        left -= part;
    }
    return bytes - left;
}

void
tcp_queue_drop(struct lp_net *net, struct tcp_queue *queue, uint32_t bytes)
{
    LP_ASSERT(bytes <= queue->bytes);
    queue->bytes -= bytes;
    while (queue->head != NULL) {
        struct tcp_chunk *chunk = queue->head;
        const uint32_t part = LP_MIN(bytes, chunk->end - chunk->start);
        chunk->start += part;
        bytes -= part;
        if (chunk->start < chunk->end) {
            break;
        }
        queue->head = chunk->next;
        if (queue->head == NULL) {
            queue->tail = NULL;
        }
        tcp_chunk_free(net, chunk);
    }
}

void
tcp_queue_free(struct lp_net *net, struct tcp_queue *queue)
{
    while (queue->head != NULL) {
        struct tcp_chunk *chunk = queue->head;
        queue->head = chunk->next;
        tcp_chunk_free(net, chunk);
    }
    *queue = (struct tcp_queue){0};
}

/* What may be queued now: the connection's share, and less when memory is short. */
static uint32_t
buffer_room(const struct lp_net *net, const struct tcp_stream *stream)
{
    const uint32_t limit =
        lp_memory_pressed(net->memory) ? PRESSED_BYTES : net->config.send_bytes_max;
    return limit > stream->sending.bytes ? limit - stream->sending.bytes : 0;
}

uint32_t
tcp_buffer_append(struct lp_net *net, struct tcp_stream *stream, const void *data, uint32_t bytes)
{
    LP_ASSERT(!stream->fin_queued);
    const uint32_t part = LP_MIN(bytes, buffer_room(net, stream));
    const bool first = stream->sending.head == NULL;
    const uint32_t taken = tcp_queue_append(net, &stream->sending, data, part);
    if (taken == 0) {
        return 0;
    }
    if (first) {
        /* Chunks behind the first know their numbers from those before them. */
        uint32_t seq = stream->send_end;
        for (struct tcp_chunk *chunk = stream->sending.head; chunk != NULL; chunk = chunk->next) {
            chunk->seq = seq;
            seq += chunk->end;
        }
    }
    stream->send_end += taken;
    return taken;
}

void
tcp_send_end(struct lp_net *net, struct tcp_stream *stream)
{
    tcp_scoreboard_free(net, stream);
    tcp_queue_free(net, &stream->sending);
    stream->retransmit_ns = 0;
    stream->ack_ns = 0;
    stream->idle_ns = 0;
    stream->stalled_ns = 0;
    stream->want = 0;
    stream->in_recovery = false;
    stream->rto_recovery = false;
    stream->tlp_sent = false;
    lp_list_remove(&stream->flush);
    tcp_timer_update(net, stream);
}

static void
queue_check(const struct tcp_stream *stream)
{
    uint32_t seq = stream->send_una;
    for (const struct tcp_chunk *chunk = stream->sending.head; chunk != NULL; chunk = chunk->next) {
        LP_ASSERT(chunk->seq + chunk->start == seq);
        LP_ASSERT(chunk->start < chunk->end && chunk->end <= chunk->room);
        seq += chunk->end - chunk->start;
    }
    LP_ASSERT(seq - stream->send_una == stream->sending.bytes);
    LP_ASSERT(tcp_fin_acknowledged(stream) || seq == stream->send_end);
}

void
tcp_send_check(const struct tcp_stream *stream)
{
    const enum tcp_state state = (enum tcp_state)stream->state;
    if (state == TCP_CLOSED || state == TCP_SYN_SENT || state == TCP_SYN_RECEIVED) {
        return;
    }
    queue_check(stream);
    tcp_scoreboard_check(stream);
    LP_ASSERT(!stream->fin_sent || stream->send_next == stream->send_end + 1u);
    LP_ASSERT(stream->send_mss > 0 && stream->cwnd >= stream->send_mss / 2u);
    LP_ASSERT((stream->want != 0) == lp_list_linked(&stream->flush));
    /* What is in flight will be asked for again, and what waits will be looked at. */
    const bool in_flight = tcp_flight(stream) > 0;
    LP_ASSERT(!in_flight || stream->retransmit_ns != 0);
    const bool waits = tcp_unsent(stream) > 0 || (stream->fin_queued && !stream->fin_sent);
    LP_ASSERT(!waits || in_flight || stream->retransmit_ns != 0 || stream->want != 0);
    const uint64_t deadline_ns = stream->timer.deadline_ns;
    LP_ASSERT(stream->retransmit_ns == 0 ||
              (deadline_ns != 0 && deadline_ns <= stream->retransmit_ns));
    LP_ASSERT(stream->ack_ns == 0 || (deadline_ns != 0 && deadline_ns <= stream->ack_ns));
    LP_ASSERT(stream->idle_ns == 0 || (deadline_ns != 0 && deadline_ns <= stream->idle_ns));
}
