/* SPDX-License-Identifier: Apache-2.0 */
#include "net_internal.h"

#include <stdlib.h>
#include <string.h>

/* Where poll() writes, and how much room there is. */
struct sink {
    struct lp_transport_event *events;
    uint32_t count;
    uint32_t max;
};

/* The shard's side of a handle: only between ACCEPTED and close(). */
static struct stream *
near_find(const struct port *port, lp_handle handle)
{
    struct stream *stream = sim_stream_find(port->net, handle);
    if (stream == NULL || stream->shard != port->shard || stream->near != NEAR_OPEN) {
        return NULL;
    }
    return stream;
}

static void
digest_add(struct lp_sim_net *net, uint64_t word)
{
    net->digest = (net->digest ^ word) * SIM_DIGEST_PRIME;
}

static struct lp_transport_event *
emit(struct lp_sim_net *net, struct sink *sink, struct stream *stream,
     enum lp_transport_event_kind kind, uint32_t bytes)
{
    LP_ASSERT(sink->count < sink->max);
    struct lp_transport_event *event = &sink->events[sink->count++];
    *event = (struct lp_transport_event){
        .kind = kind, .stream = stream->handle, .user = stream->user, .bytes = bytes};
    digest_add(net, (uint64_t)kind << 56 | bytes);
    digest_add(net, stream->handle);
    return event;
}

static void
addresses_fill(const struct stream *stream, struct lp_transport_event *event)
{
    const uint32_t index = lp_handle_index(stream->handle);
    event->listener = stream->listener;
    event->peer.family = LP_ADDRESS_IPV4;
    event->peer.ip[0] = 127;
    event->peer.ip[1] = (uint8_t)(index >> 16);
    event->peer.ip[2] = (uint8_t)(index >> 8);
    event->peer.ip[3] = (uint8_t)index;
    event->peer.port = (uint16_t)(1024 + lp_handle_generation(stream->handle) % 60000);
    event->local.family = LP_ADDRESS_IPV4;
    event->local.ip[0] = 127;
    event->local.ip[3] = 1;
    event->local.port = (uint16_t)(5672 + stream->listener);
}

static void
poll_pending(struct port *port, struct stream *stream, struct sink *sink)
{
    struct lp_sim_net *net = port->net;
    if (port->accept_stopped || port->accept_paused || port->streams == net->config.streams_max) {
        sim_stream_fail(stream);
        stream->near = NEAR_CLOSED;
        sim_stream_retire(stream);
        return;
    }
    stream->near = NEAR_OPEN;
    port->streams++;
    addresses_fill(stream, emit(net, sink, stream, LP_TRANSPORT_ACCEPTED, 0));
}

static uint64_t
sum_add(uint64_t sum, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        sum = (sum ^ data[i]) * SIM_DIGEST_PRIME;
    }
    return sum;
}

/* Move up to `bytes` of the send's memory into the window; the memory is read here and not before.
 */
static void
send_take(struct lp_sim_net *net, struct stream *stream, uint32_t bytes)
{
    struct send *send = &stream->send;
    while (bytes > 0 && send->piece < send->count) {
        const struct lp_iovec *piece = &send->pieces[send->piece];
        const uint8_t *from = (const uint8_t *)piece->data + send->offset;
        const uint32_t n = (uint32_t)LP_MIN((size_t)bytes, piece->bytes - send->offset);
        /* A far end that is gone swallows. */
        const uint32_t taken = stream->far_gone ? n : sim_pipe_write(net, &stream->out, from, n);
        send->sum_taken = sum_add(send->sum_taken, from, taken);
        send->offset += taken;
        send->taken += taken;
        bytes -= taken;
        if (send->offset == piece->bytes) {
            send->piece++;
            send->offset = 0;
        } else if (taken < n) {
            return;
        }
    }
    while (send->piece < send->count && send->pieces[send->piece].bytes == 0) {
        send->piece++;
    }
}

static void
poll_send(struct port *port, struct stream *stream, struct sink *sink)
{
    struct lp_sim_net *net = port->net;
    struct send *send = &stream->send;
    if (stream->reset) {
        send->active = false;
        emit(net, sink, stream, LP_TRANSPORT_SENT, (uint32_t)send->taken);
        return;
    }
    send_take(net, stream, sim_piece_bytes(net, net->config.window_bytes));
    if (stream->out.used > 0 && stream->out.due_ns < net->now_ns) {
        stream->out.due_ns = sim_due_soon(net);
    }
    send->due_ns = sim_due_after(net, net->config.faults.stall);
    if (send->piece < send->count) {
        return;
    }
    /* Whoever touched the memory before SENT broke the contract. */
    LP_ASSERT(send->sum_taken == send->sum_promised);
    send->active = false;
    emit(net, sink, stream, LP_TRANSPORT_SENT, (uint32_t)send->taken);
    if (stream->far_gone && lp_sim_random_chance(&net->random, 500)) {
        sim_stream_fail(stream); /* bytes to an end that has closed are answered with a reset */
    }
}

static void
poll_receive(struct port *port, struct stream *stream, struct sink *sink)
{
    struct lp_sim_net *net = port->net;
    const uint32_t bytes = sim_piece_bytes(net, stream->in.used);
    struct loan *loan = sim_allocate(sizeof(*loan) + bytes);
    loan->bytes = bytes;
    loan->next = port->loans;
    port->loans = loan;
    sim_pipe_read(net, &stream->in, loan->data, bytes);
    digest_add(net, sum_add(0, loan->data, bytes));
    emit(net, sink, stream, LP_TRANSPORT_RECEIVED, bytes)->data = loan->data;
    /* Now and then the next piece comes in the same poll. */
    if (!lp_sim_random_chance(&net->random, 300)) {
        stream->in.due_ns = sim_due_after(net, net->config.faults.stall);
    }
}

static void
poll_open(struct port *port, struct stream *stream, struct sink *sink)
{
    struct lp_sim_net *net = port->net;
    const bool send_ready = sim_send_due(net, stream) && stream->send.due_ns <= net->now_ns;
    const bool in_ready =
        stream->receiving && stream->in.used > 0 && stream->in.due_ns <= net->now_ns;
    if ((send_ready || in_ready) && !stream->reset &&
        lp_sim_random_chance(&net->random, net->config.faults.reset)) {
        sim_stream_fail(stream);
    }
    if (sim_send_due(net, stream) && (stream->reset || stream->send.due_ns <= net->now_ns)) {
        poll_send(port, stream, sink);
    }
    while (sink->count < sink->max && stream->receiving && stream->in.used > 0 &&
           stream->in.due_ns <= net->now_ns) {
        poll_receive(port, stream, sink);
    }
    if (sink->count < sink->max && sim_end_due(stream) &&
        (stream->reset || stream->in.due_ns <= net->now_ns)) {
        stream->ended = true;
        emit(net, sink, stream, LP_TRANSPORT_ENDED, 0);
    }
}

static void
poll_closing(struct port *port, struct stream *stream, struct sink *sink)
{
    /* A kernel may go on reading a send that was given up, until it says CLOSED. */
    if (stream->send.active && !stream->reset) {
        send_take(port->net, stream, sim_piece_bytes(port->net, port->net->config.window_bytes));
        stream->send.active = false;
    }
    stream->near = NEAR_CLOSED;
    LP_ASSERT(port->streams > 0);
    port->streams--;
    emit(port->net, sink, stream, LP_TRANSPORT_CLOSED, 0);
    sim_stream_retire(stream);
}

static void
poll_stream(struct port *port, struct stream *stream, struct sink *sink)
{
    const uint64_t now = port->net->now_ns;
    switch (stream->near) {
    case NEAR_PENDING:
        if (stream->state_due_ns <= now) {
            poll_pending(port, stream, sink);
        }
        return;
    case NEAR_OPEN:
        poll_open(port, stream, sink);
        return;
    case NEAR_CLOSING:
        if (stream->state_due_ns <= now) {
            poll_closing(port, stream, sink);
        }
        return;
    case NEAR_CLOSED:
        return;
    }
}

/* --- The transport contract. ----------------------------------------------------------------- */

static void
port_attach(void *self, lp_handle handle, uint64_t user)
{
    struct stream *stream = near_find(self, handle);
    if (stream != NULL) {
        stream->user = user;
    }
}

static uint32_t
port_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct port *port = self;
    struct lp_sim_net *net = port->net;
    struct sink sink = {.events = events, .max = events_max};
    sim_loans_return(port);
    /* Whose turn it is first differs from poll to poll. */
    const uint32_t start = (uint32_t)lp_sim_random_below(&net->random, net->stream_count);
    for (uint32_t i = 0; i < net->stream_count && sink.count < sink.max; i++) {
        struct stream *stream = net->streams[(start + i) % net->stream_count];
        if (stream->live && stream->shard == port->shard) {
            poll_stream(port, stream, &sink);
        }
    }
    return sink.count;
}

static bool
port_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count)
{
    struct port *port = self;
    struct lp_sim_net *net = port->net;
    struct stream *stream = near_find(port, handle);
    LP_ASSERT(count > 0 && count <= LP_TRANSPORT_IOV_MAX);
    if (stream == NULL || stream->send.active) {
        return false;
    }
    struct send *send = &stream->send;
    *send = (struct send){.active = true, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        send->pieces[i] = pieces[i];
        send->sum_promised = sum_add(send->sum_promised, pieces[i].data, pieces[i].bytes);
    }
    send->due_ns = net->now_ns;
    if (lp_sim_random_chance(&net->random, net->config.faults.send_hold)) {
        send->due_ns = sim_due_after(net, 1000);
    }
    return true;
}

static void
port_receive_stop(void *self, lp_handle handle)
{
    struct stream *stream = near_find(self, handle);
    if (stream != NULL) {
        stream->receiving = false;
    }
}

static void
port_receive_start(void *self, lp_handle handle)
{
    struct stream *stream = near_find(self, handle);
    if (stream != NULL) {
        stream->receiving = true;
    }
}

static void
port_close(void *self, lp_handle handle)
{
    struct port *port = self;
    struct lp_sim_net *net = port->net;
    struct stream *stream = near_find(port, handle);
    if (stream == NULL) {
        return;
    }
    stream->near = NEAR_CLOSING;
    sim_pipe_clear(&stream->in);
    stream->state_due_ns = net->now_ns;
    if (lp_sim_random_chance(&net->random, net->config.faults.close_hold)) {
        stream->state_due_ns = sim_due_after(net, 1000);
    }
}

static void
port_flush(void *self)
{
    (void)self; /* send() has said it all */
}

static void
port_accept_stop(void *self)
{
    struct port *port = self;
    port->accept_stopped = true;
}

static void
port_accept_pause(void *self, bool paused)
{
    struct port *port = self;
    port->accept_paused = paused;
}

static void
port_wait(void *self, uint64_t timeout_ns)
{
    (void)self; /* virtual time: the scheduler waits */
    (void)timeout_ns;
}

static void
port_wake_any(void *self)
{
    struct port *port = self;
    port->woken = true;
}

static const struct lp_transport_ops sim_ops = {
    .name = "sim",
    .attach = port_attach,
    .poll = port_poll,
    .send = port_send,
    .receive_stop = port_receive_stop,
    .receive_start = port_receive_start,
    .close = port_close,
    .flush = port_flush,
    .accept_stop = port_accept_stop,
    .accept_pause = port_accept_pause,
    .wait = port_wait,
    .wake_any = port_wake_any,
};

struct lp_transport
lp_sim_net_transport(struct lp_sim_net *net, uint32_t shard)
{
    LP_ASSERT(shard < net->config.shard_count);
    return (struct lp_transport){.ops = &sim_ops, .self = &net->ports[shard]};
}
