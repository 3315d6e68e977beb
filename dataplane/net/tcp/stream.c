/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h over connections.
 *
 * Events are due first (tcp_due) and given once a poll (tcp_stream_events);
 * only RECEIVED may be given at once, pointing into the frame.  A connection
 * is on the list of those that are ready exactly when something of it can be
 * given, so that nobody waits awake for what the shard does not want.
 *
 * close() is what close(2) is: what was copied is still sent, and then a FIN;
 * what was received and not taken means RST (RFC 9293 3.6.1, RFC 2525 2.17).
 * CLOSED follows at once, as nothing refers to the shard's memory; the
 * connection goes on without a handle.
 */
#include "inbound.h"

#define CHUNKS_A_POLL 16u /* one connection's share */

/* A send() of which not everything is copied. */
struct tcp_send_extra {
    uint32_t at;
    uint32_t count;
    uint32_t bytes; /* of memory */
    struct lp_iovec piece[];
};

/* --- Being there. ---------------------------------------------------------------------------- */

struct lp_address
tcp_address_of(uint8_t family, const uint8_t *ip, uint16_t port)
{
    struct lp_address address = {.family = family, .port = port};
    memcpy(address.ip, ip, net_ip_bytes(family));
    return address;
}

struct tcp_stream *
tcp_stream_create(struct lp_net *net, const struct tcp_birth *birth)
{
    lp_handle handle = LP_HANDLE_NONE;
    struct tcp_stream *stream = lp_pool_alloc(&net->tcp->streams, &handle);
    if (stream == NULL) {
        return NULL;
    }
    stream->state = TCP_SYN_SENT;
    stream->receiving = true;
    stream->path = *birth->path;
    stream->local_port = birth->local_port;
    stream->remote_port = birth->remote_port;
    stream->isn = birth->isn;
    stream->send_una = birth->isn;
    stream->send_next = birth->isn;
    stream->send_end = birth->isn;
    stream->timestamp_offset = tcp_timestamp_offset(net, birth->path);
    stream->heard_ns = net->now_ns;
    if (!tcp_insert(net, stream)) {
        lp_pool_release(&net->tcp->streams, handle);
        return NULL;
    }
    return stream;
}

/* The stream of a handle that is not stale and not closed. */
static struct tcp_stream *
stream_get(const struct lp_net *net, lp_handle handle)
{
    struct tcp_stream *stream = lp_pool_get(&net->tcp->streams, handle);
    return stream == NULL || stream->closing ? NULL : stream;
}

static bool
can_give(const struct tcp_stream *stream)
{
    if ((stream->due & ~(TCP_DUE_RECEIVED | TCP_DUE_ENDED)) != 0) {
        return true;
    }
    if ((stream->due & TCP_DUE_RECEIVED) != 0) {
        return stream->receiving;
    }
    return (stream->due & TCP_DUE_ENDED) != 0 && (stream->receiving || stream->failed);
}

static void
ready_update(struct lp_net *net, struct tcp_stream *stream)
{
    if (!stream->ready_linked && can_give(stream)) {
        stream->ready_linked = true;
        lp_list_push_back(&net->tcp->ready, &stream->ready);
    }
}

void
tcp_due(struct lp_net *net, struct tcp_stream *stream, uint8_t due)
{
    stream->due |= due;
    ready_update(net, stream);
}

static void
extra_free(struct lp_net *net, struct tcp_stream *stream)
{
    void *block = stream->extra;
    if (block == NULL) {
        return;
    }
    net->tcp->buffered_bytes -= stream->extra->bytes;
    stream->extra = NULL;
    lp_memory_release(net->memory, &block);
}

/* --- Ends. ----------------------------------------------------------------------------------- */

/* From here on nobody finds it but by its handle. */
static void
stream_end(struct lp_net *net, struct tcp_stream *stream)
{
    LP_ASSERT(stream->state != TCP_CLOSED);
    tcp_remove(net, stream);
    if (stream->cookie) {
        tcp_time_wait_bar(net, stream);
    }
    tcp_ledger_leave(net, stream);
    stream->idle_ns = 0;
    tcp_send_end(net, stream);
    tcp_reassembly_free(net, stream);
    stream->state = TCP_CLOSED;
    if (stream->extra != NULL) {
        extra_free(net, stream);
        stream->due |= TCP_DUE_SENT; /* short */
    }
    stream->due &= (uint8_t)~TCP_DUE_ROOM;
    if (stream->closing) {
        tcp_queue_free(net, &stream->received);
        stream->due &= TCP_DUE_CLOSED;
        tcp_due(net, stream, (stream->due & TCP_DUE_CLOSED) == 0 ? TCP_DUE_FREE : 0);
    }
}

void
tcp_stream_finish(struct lp_net *net, struct tcp_stream *stream)
{
    LP_ASSERT(stream->closing);
    stream_end(net, stream);
}

void
tcp_stream_fail(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->state == TCP_CLOSED) {
        return;
    }
    stream->failed = true;
    stream_end(net, stream);
    if (stream->closing) {
        return;
    }
    if (!stream->receiving) {
        /* Nobody reads, so nobody would hear of the end. */
        tcp_queue_free(net, &stream->received);
        stream->due &= (uint8_t)~TCP_DUE_RECEIVED;
    }
    tcp_due(net, stream, stream->ended ? 0 : TCP_DUE_ENDED);
}

void
tcp_stream_abort(struct lp_net *net, struct tcp_stream *stream)
{
    tcp_reset_send(net, stream);
    tcp_stream_fail(net, stream);
}

static void
stream_free(struct lp_net *net, struct tcp_stream *stream)
{
    LP_ASSERT(stream->state == TCP_CLOSED);
    LP_ASSERT(!stream->ready_linked);
    LP_ASSERT(!lp_list_linked(&stream->flush));
    tcp_queue_free(net, &stream->received);
    lp_pool_release(&net->tcp->streams, lp_pool_self(stream));
}

/* Is there something that RFC 9293 3.10.4 calls to be said to the peer? */
static void
stream_hang_up(struct lp_net *net, struct tcp_stream *stream)
{
    const bool greets = stream->state == TCP_SYN_SENT || stream->state == TCP_SYN_RECEIVED;
    if (greets || stream->received.bytes > 0) {
        if (stream->state != TCP_SYN_SENT) {
            tcp_reset_send(net, stream);
        }
        stream_end(net, stream);
        return;
    }
    LP_ASSERT(stream->state == TCP_ESTABLISHED || stream->state == TCP_CLOSE_WAIT);
    stream->state = stream->state == TCP_ESTABLISHED ? TCP_FIN_WAIT_1 : TCP_LAST_ACK;
    stream->fin_queued = true;
    stream->idle_ns = net->now_ns + TCP_ORPHAN_NS;
    stream->tune_ms = tcp_now_ms(net); /* idle.c */
    tcp_reassembly_free(net, stream);  /* it would be answered with RST, were it complete */
    tcp_timer_update(net, stream);
    tcp_want(net, stream, TCP_WANT_DATA);
}

void
tcp_stream_close(struct lp_net *net, lp_handle handle)
{
    struct tcp_stream *stream = stream_get(net, handle);
    if (stream == NULL) {
        return;
    }
    extra_free(net, stream);
    stream->closing = true;
    stream->due = 0;
    tcp_due(net, stream, TCP_DUE_CLOSED);
    if (stream->state != TCP_CLOSED) {
        stream_hang_up(net, stream);
    }
    tcp_queue_free(net, &stream->received);
}

void
tcp_streams_close(struct lp_net *net)
{
    uint32_t cursor = 0;
    lp_handle handle = LP_HANDLE_NONE;
    const struct tcp_stream *stream;
    while ((stream = lp_pool_next(&net->tcp->streams, &cursor, &handle)) != NULL) {
        if (!stream->closing) {
            tcp_stream_close(net, handle);
        }
    }
}

/* --- The shard's other calls. ---------------------------------------------------------------- */

void
tcp_stream_attach(struct lp_net *net, lp_handle handle, uint64_t user)
{
    struct tcp_stream *stream = stream_get(net, handle);
    if (stream != NULL) {
        stream->user = user;
    }
}

void
tcp_stream_receive_stop(struct lp_net *net, lp_handle handle)
{
    struct tcp_stream *stream = stream_get(net, handle);
    if (stream != NULL) {
        stream->receiving = false;
    }
}

void
tcp_stream_receive_start(struct lp_net *net, lp_handle handle)
{
    struct tcp_stream *stream = stream_get(net, handle);
    if (stream != NULL) {
        stream->receiving = true;
        ready_update(net, stream);
    }
}

/* What is left of a send() when the buffer is full.  False: not even that can be remembered. */
static bool
extra_keep(struct lp_net *net, struct tcp_stream *stream, const struct lp_iovec *pieces,
           uint32_t count)
{
    const uint32_t bytes =
        (uint32_t)(sizeof(struct tcp_send_extra) + count * sizeof(struct lp_iovec));
    struct tcp_send_extra *extra = lp_memory_alloc(net->memory, bytes);
    if (extra == NULL && tcp_evict(net, stream)) {
        extra = lp_memory_alloc(net->memory, bytes);
    }
    if (extra == NULL) {
        return false;
    }
    extra->at = 0;
    extra->count = count;
    extra->bytes = bytes;
    memcpy(extra->piece, pieces, count * sizeof(struct lp_iovec));
    net->tcp->buffered_bytes += bytes;
    stream->extra = extra;
    return true;
}

/* Copy one piece; gives how much is in the buffer now. */
static uint32_t
piece_copy(struct lp_net *net, struct tcp_stream *stream, const struct lp_iovec *piece)
{
    LP_ASSERT(piece->bytes <= UINT32_MAX);
    if (piece->bytes == 0) {
        return 0;
    }
    const uint32_t copied = tcp_buffer_append(net, stream, piece->data, (uint32_t)piece->bytes);
    stream->sent_bytes += copied;
    return copied;
}

/* Nothing is on its way whose acknowledgement would make room: look again at the next poll. */
static void
room_await(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->sending.bytes == 0) {
        (void)tcp_evict(net, stream);
        tcp_due(net, stream, TCP_DUE_ROOM);
    }
}

void
tcp_send_continue(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_send_extra *extra = stream->extra;
    if (extra == NULL || stream->state < TCP_ESTABLISHED || stream->state == TCP_CLOSED) {
        return;
    }
    tcp_want(net, stream, TCP_WANT_DATA);
    for (; extra->at < extra->count; extra->at++) {
        struct lp_iovec *piece = &extra->piece[extra->at];
        const uint32_t copied = piece_copy(net, stream, piece);
        if (copied < piece->bytes) {
            piece->data = (const uint8_t *)piece->data + copied;
            piece->bytes -= copied;
            room_await(net, stream);
            return;
        }
    }
    extra_free(net, stream);
    tcp_due(net, stream, TCP_DUE_SENT);
}

/* No memory to remember a send() with: it is this connection's end. */
static void
send_give_up(struct lp_net *net, struct tcp_stream *stream)
{
    net->counters.tcp_evicted++;
    stream->due |= TCP_DUE_SENT; /* short */
    tcp_stream_abort(net, stream);
}

bool
tcp_stream_send(struct lp_net *net, lp_handle handle, const struct lp_iovec *pieces, uint32_t count)
{
    struct tcp_stream *stream = stream_get(net, handle);
    if (stream == NULL || stream->extra != NULL || (stream->due & TCP_DUE_SENT) != 0) {
        return false;
    }
    LP_ASSERT(count <= LP_TRANSPORT_IOV_MAX);
    stream->sent_bytes = 0;
    if (stream->state == TCP_CLOSED) {
        tcp_due(net, stream, TCP_DUE_SENT);
        return true;
    }
    uint32_t at = 0;
    uint32_t copied = 0;
    if (LP_LIKELY(stream->state >= TCP_ESTABLISHED)) {
        tcp_want(net, stream, TCP_WANT_DATA);
        for (; at < count; at++) {
            copied = piece_copy(net, stream, &pieces[at]);
            if (copied < pieces[at].bytes) {
                break;
            }
        }
    }
    if (LP_LIKELY(at == count)) {
        tcp_due(net, stream, TCP_DUE_SENT);
        return true;
    }
    if (!extra_keep(net, stream, pieces + at, count - at)) {
        send_give_up(net, stream);
        return true;
    }
    stream->extra->piece[0].data = (const uint8_t *)pieces[at].data + copied;
    stream->extra->piece[0].bytes -= copied;
    if (stream->state >= TCP_ESTABLISHED) {
        room_await(net, stream);
    }
    return true;
}

/* --- Events. --------------------------------------------------------------------------------- */

static bool
sink_full(const struct lp_net *net)
{
    return net->sink.count == net->sink.max;
}

static struct lp_transport_event *
event_emit(struct lp_net *net, const struct tcp_stream *stream, enum lp_transport_event_kind kind)
{
    LP_ASSERT(!sink_full(net));
    struct lp_transport_event *event = &net->sink.events[net->sink.count++];
    event->kind = kind;
    event->stream = lp_pool_self(stream);
    event->user = stream->user;
    event->data = NULL;
    event->bytes = 0;
    event->listener = 0;
    return event;
}

bool
tcp_stream_lend(struct lp_net *net, struct tcp_stream *stream, const uint8_t *data, uint32_t bytes)
{
    const uint8_t first = TCP_DUE_ACCEPTED | TCP_DUE_CONNECTED | TCP_DUE_RECEIVED;
    const struct net_sink *sink = &net->sink;
    if (!stream->receiving || (stream->due & first) != 0 || sink->count >= sink->max) {
        return false;
    }
    struct lp_transport_event *event = event_emit(net, stream, LP_TRANSPORT_RECEIVED);
    event->data = data;
    event->bytes = bytes;
    return true;
}

static void
greeting_give(struct lp_net *net, struct tcp_stream *stream)
{
    const bool accepted = (stream->due & TCP_DUE_ACCEPTED) != 0;
    struct lp_transport_event *event =
        event_emit(net, stream, accepted ? LP_TRANSPORT_ACCEPTED : LP_TRANSPORT_CONNECTED);
    const struct net_path *path = &stream->path;
    event->listener = stream->listener;
    event->peer = tcp_address_of(path->family, path->remote, stream->remote_port);
    event->local = tcp_address_of(path->family, path->local, stream->local_port);
    stream->due &= (uint8_t) ~(TCP_DUE_ACCEPTED | TCP_DUE_CONNECTED);
}

/* Chunks of its queue, which are lent until the next poll(). */
static void
received_give(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_queue *queue = &stream->received;
    for (uint32_t i = 0; i < CHUNKS_A_POLL && queue->head != NULL && !sink_full(net); i++) {
        struct tcp_chunk *chunk = queue->head;
        const uint32_t bytes = chunk->end - chunk->start;
        LP_ASSERT(bytes > 0);
        struct lp_transport_event *event = event_emit(net, stream, LP_TRANSPORT_RECEIVED);
        event->data = chunk->bytes + chunk->start;
        event->bytes = bytes;
        queue->head = chunk->next;
        queue->bytes -= bytes;
        if (queue->head == NULL) {
            queue->tail = NULL;
        }
        chunk->next = net->tcp->lent.head;
        net->tcp->lent.head = chunk;
    }
    if (queue->head == NULL) {
        stream->due &= (uint8_t)~TCP_DUE_RECEIVED;
    }
    tcp_taken(net, stream);
}

static void
end_give(struct lp_net *net, struct tcp_stream *stream)
{
    if ((stream->due & TCP_DUE_ENDED) != 0 && (stream->due & TCP_DUE_RECEIVED) == 0 &&
        (stream->receiving || stream->failed) && !sink_full(net)) {
        event_emit(net, stream, LP_TRANSPORT_ENDED);
        stream->due &= (uint8_t)~TCP_DUE_ENDED;
        stream->ended = true;
    }
    if ((stream->due & TCP_DUE_CLOSED) != 0 && !sink_full(net)) {
        event_emit(net, stream, LP_TRANSPORT_CLOSED);
        stream->due &= (uint8_t)~TCP_DUE_CLOSED;
        stream->due |= stream->state == TCP_CLOSED ? TCP_DUE_FREE : 0;
    }
}

/* One connection's events; false: it is gone. */
static bool
stream_give(struct lp_net *net, struct tcp_stream *stream)
{
    if ((stream->due & TCP_DUE_ROOM) != 0) {
        stream->due &= (uint8_t)~TCP_DUE_ROOM;
        tcp_send_continue(net, stream);
    }
    if ((stream->due & (TCP_DUE_ACCEPTED | TCP_DUE_CONNECTED)) != 0) {
        if (!sink_full(net)) {
            greeting_give(net, stream);
        }
        return true; /* transport.h: nothing of it follows in this poll() */
    }
    if ((stream->due & TCP_DUE_SENT) != 0 && !sink_full(net)) {
        event_emit(net, stream, LP_TRANSPORT_SENT)->bytes = stream->sent_bytes;
        stream->due &= (uint8_t)~TCP_DUE_SENT;
    }
    if ((stream->due & TCP_DUE_RECEIVED) != 0 && stream->receiving) {
        received_give(net, stream);
    }
    end_give(net, stream);
    if ((stream->due & TCP_DUE_FREE) != 0) {
        stream_free(net, stream);
        return false;
    }
    return true;
}

static void
lent_free(struct lp_net *net)
{
    struct tcp_chunk *chunk = net->tcp->lent.head;
    net->tcp->lent.head = NULL;
    while (chunk != NULL) {
        struct tcp_chunk *next = chunk->next;
        tcp_chunk_free(net, chunk);
        chunk = next;
    }
}

void
tcp_stream_events(struct lp_net *net)
{
    struct tcp *tcp = net->tcp;
    lent_free(net);
    /* Up to here: what comes back behind the mark has its turn at the next poll. */
    struct lp_list mark = {0};
    lp_list_push_back(&tcp->ready, &mark);
    while (tcp->ready.next != &mark && !sink_full(net)) {
        struct lp_list *link = tcp->ready.next;
        lp_list_remove(link);
        struct tcp_stream *stream = LP_LIST_ITEM(link, struct tcp_stream, ready);
        stream->ready_linked = false;
        if (stream_give(net, stream)) {
            ready_update(net, stream);
        }
    }
    lp_list_remove(&mark);
}

bool
tcp_stream_waiting(const struct lp_net *net)
{
    return !lp_list_empty(&net->tcp->ready);
}
