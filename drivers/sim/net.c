/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/sim/net.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drivers/sim/sim.h>

#define DIGEST_PRIME 0x100000001b3u

/* The near end is the shard's, the far end the test's. */
enum near_state {
    NEAR_PENDING, /* connected, ACCEPTED not delivered */
    NEAR_OPEN,
    NEAR_CLOSING, /* close() was called, CLOSED not delivered */
    NEAR_CLOSED,
};

/* One direction's bytes in flight; a ring of window_bytes. */
struct pipe {
    uint8_t *data;
    uint32_t head;
    uint32_t used;
    uint64_t due_ns; /* the next piece is not there before */
};

struct send {
    bool active;
    uint32_t count;
    uint32_t piece; /* the first one not taken in full */
    size_t offset;  /* taken of that one */
    uint64_t taken;
    uint64_t due_ns;
    uint64_t sum_promised; /* of the memory when send() was called */
    uint64_t sum_taken;    /* of the bytes as they were read, late */
    struct lp_iovec pieces[LP_TRANSPORT_IOV_MAX];
};

struct stream {
    lp_handle handle; /* of both ends */
    uint64_t user;
    uint32_t shard;
    uint32_t listener;
    enum near_state near;
    bool live;
    bool receiving;
    bool ended;            /* ENDED was delivered */
    bool reset;            /* failed: for both ends */
    bool far_quiet;        /* the far end sends no more */
    bool far_gone;         /* the far end's handle is dead */
    uint64_t state_due_ns; /* PENDING: accept; CLOSING: CLOSED */
    struct pipe in;        /* far to near */
    struct pipe out;       /* near to far */
    struct send send;
};

/* A receive buffer out on loan. */
struct loan {
    struct loan *next;
    uint32_t bytes;
    uint8_t data[];
};

struct port {
    struct lp_sim_net *net;
    struct loan *loans;
    uint64_t refused;
    uint32_t shard;
    uint32_t streams;
    bool accept_stopped;
    bool woken;
};

struct lp_sim_net {
    struct lp_sim_net_config config;
    struct lp_sim_random random;
    uint64_t now_ns;
    uint64_t digest;
    struct stream **streams; /* by index; slots are reused, never freed before the end */
    uint32_t stream_count;
    uint32_t stream_capacity;
    struct port *ports;
};

/* Where poll() writes, and how much room there is. */
struct sink {
    struct lp_transport_event *events;
    uint32_t count;
    uint32_t max;
};

struct lp_sim_net_config
lp_sim_net_config_default(uint64_t seed, uint32_t shard_count)
{
    return (struct lp_sim_net_config){
        .seed = seed,
        .shard_count = shard_count,
        .listener_count = 1,
        .streams_max = 4096,
        .window_bytes = 65536,
        .faults = {.split = 300,
                   .stall = 50,
                   .send_hold = 200,
                   .close_hold = 200,
                   .reset = 0,
                   .stall_ns_max = 5 * 1000 * 1000,
                   .delay_ns_max = 50 * 1000},
    };
}

static void *
allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    LP_ASSERT(memory != NULL);
    return memory;
}

struct lp_sim_net *
lp_sim_net_create(const struct lp_sim_net_config *config)
{
    LP_ASSERT(config->shard_count > 0);
    LP_ASSERT(config->window_bytes > 0);
    struct lp_sim_net *net = allocate(sizeof(*net));
    net->config = *config;
    net->digest = 0xcbf29ce484222325u;
    lp_sim_random_seed(&net->random, config->seed);
    net->ports = allocate(config->shard_count * sizeof(*net->ports));
    for (uint32_t i = 0; i < config->shard_count; i++) {
        net->ports[i].net = net;
        net->ports[i].shard = i;
    }
    return net;
}

static void
loans_return(struct port *port)
{
    while (port->loans != NULL) {
        struct loan *loan = port->loans;
        port->loans = loan->next;
        /* Without ASan a late reader at least finds nonsense. */
        memset(loan->data, 0xdd, loan->bytes);
        free(loan);
    }
}

void
lp_sim_net_destroy(struct lp_sim_net *net)
{
    for (uint32_t i = 0; i < net->stream_count; i++) {
        free(net->streams[i]->in.data);
        free(net->streams[i]->out.data);
        free(net->streams[i]);
    }
    for (uint32_t i = 0; i < net->config.shard_count; i++) {
        loans_return(&net->ports[i]);
    }
    free(net->streams);
    free(net->ports);
    free(net);
}

struct lp_sim_net_faults *
lp_sim_net_faults(struct lp_sim_net *net)
{
    return &net->config.faults;
}

void
lp_sim_net_advance(struct lp_sim_net *net, uint64_t now_ns)
{
    LP_ASSERT(now_ns >= net->now_ns);
    net->now_ns = now_ns;
}

bool
lp_sim_net_wake_take(struct lp_sim_net *net, uint32_t shard)
{
    LP_ASSERT(shard < net->config.shard_count);
    const bool woken = net->ports[shard].woken;
    net->ports[shard].woken = false;
    return woken;
}

uint64_t
lp_sim_net_digest(const struct lp_sim_net *net)
{
    return net->digest;
}

uint32_t
lp_sim_net_streams(const struct lp_sim_net *net, uint32_t shard)
{
    LP_ASSERT(shard < net->config.shard_count);
    return net->ports[shard].streams;
}

uint64_t
lp_sim_net_refused(const struct lp_sim_net *net, uint32_t shard)
{
    LP_ASSERT(shard < net->config.shard_count);
    return net->ports[shard].refused;
}

/* --- Chance. --------------------------------------------------------------------------------- */

static uint64_t
due_soon(struct lp_sim_net *net)
{
    return net->now_ns + lp_sim_random_below(&net->random, net->config.faults.delay_ns_max + 1);
}

static uint64_t
due_after(struct lp_sim_net *net, uint32_t stall_per_mille)
{
    uint64_t due = due_soon(net);
    if (lp_sim_random_chance(&net->random, stall_per_mille)) {
        due += lp_sim_random_below(&net->random, net->config.faults.stall_ns_max + 1);
    }
    return due;
}

/* How much of `available` goes in one piece. */
static uint32_t
piece_bytes(struct lp_sim_net *net, uint32_t available)
{
    if (available <= 1 || !lp_sim_random_chance(&net->random, net->config.faults.split)) {
        return available;
    }
    if (lp_sim_random_chance(&net->random, 500)) {
        return 1;
    }
    return (uint32_t)lp_sim_random_between(&net->random, 1, available);
}

/* --- Pipes. ---------------------------------------------------------------------------------- */

static uint32_t
pipe_write(const struct lp_sim_net *net, struct pipe *pipe, const uint8_t *data, uint32_t bytes)
{
    const uint32_t capacity = net->config.window_bytes;
    const uint32_t taken = LP_MIN(bytes, capacity - pipe->used);
    const uint32_t at = (pipe->head + pipe->used) % capacity;
    const uint32_t first = LP_MIN(taken, capacity - at);
    if (taken > 0) {
        memcpy(pipe->data + at, data, first);
        memcpy(pipe->data, data + first, taken - first);
    }
    pipe->used += taken;
    return taken;
}

static void
pipe_read(const struct lp_sim_net *net, struct pipe *pipe, uint8_t *buffer, uint32_t bytes)
{
    LP_ASSERT(bytes <= pipe->used);
    const uint32_t capacity = net->config.window_bytes;
    const uint32_t first = LP_MIN(bytes, capacity - pipe->head);
    memcpy(buffer, pipe->data + pipe->head, first);
    memcpy(buffer + first, pipe->data, bytes - first);
    pipe->head = (pipe->head + bytes) % capacity;
    pipe->used -= bytes;
}

static void
pipe_clear(struct pipe *pipe)
{
    pipe->head = 0;
    pipe->used = 0;
    pipe->due_ns = 0;
}

/* --- Streams. -------------------------------------------------------------------------------- */

static struct stream *
stream_find(const struct lp_sim_net *net, lp_handle handle)
{
    const uint32_t index = lp_handle_index(handle);
    if (handle == LP_HANDLE_NONE || index >= net->stream_count) {
        return NULL;
    }
    struct stream *stream = net->streams[index];
    return stream->live && stream->handle == handle ? stream : NULL;
}

/* The shard's side of a handle: only between ACCEPTED and close(). */
static struct stream *
near_find(const struct port *port, lp_handle handle)
{
    struct stream *stream = stream_find(port->net, handle);
    if (stream == NULL || stream->shard != port->shard || stream->near != NEAR_OPEN) {
        return NULL;
    }
    return stream;
}

static struct stream *
far_find(const struct lp_sim_net *net, lp_handle handle)
{
    struct stream *stream = stream_find(net, handle);
    return stream != NULL && !stream->far_gone ? stream : NULL;
}

static struct stream *
stream_slot(struct lp_sim_net *net)
{
    for (uint32_t i = 0; i < net->stream_count; i++) {
        if (!net->streams[i]->live) {
            return net->streams[i];
        }
    }
    if (net->stream_count == net->stream_capacity) {
        net->stream_capacity = LP_MAX(64u, net->stream_capacity * 2);
        net->streams = realloc(net->streams, net->stream_capacity * sizeof(*net->streams));
        LP_ASSERT(net->streams != NULL);
    }
    struct stream *stream = allocate(sizeof(*stream));
    stream->in.data = allocate(net->config.window_bytes);
    stream->out.data = allocate(net->config.window_bytes);
    stream->handle = lp_handle_make(net->stream_count, 0);
    net->streams[net->stream_count++] = stream;
    return stream;
}

/* Both ends are done: the slot may be used again, under another generation. */
static void
stream_retire(struct stream *stream)
{
    if (stream->near == NEAR_CLOSED && stream->far_gone) {
        stream->live = false;
    }
}

static void
stream_fail(struct stream *stream)
{
    stream->reset = true;
    pipe_clear(&stream->in);
    pipe_clear(&stream->out);
}

static void
digest_add(struct lp_sim_net *net, uint64_t word)
{
    net->digest = (net->digest ^ word) * DIGEST_PRIME;
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
    if (port->accept_stopped || port->streams == net->config.streams_max) {
        port->refused += port->accept_stopped ? 0 : 1;
        stream_fail(stream);
        stream->near = NEAR_CLOSED;
        stream_retire(stream);
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
        sum = (sum ^ data[i]) * DIGEST_PRIME;
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
        const uint32_t taken = stream->far_gone ? n : pipe_write(net, &stream->out, from, n);
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
    send_take(net, stream, piece_bytes(net, net->config.window_bytes));
    if (stream->out.used > 0 && stream->out.due_ns < net->now_ns) {
        stream->out.due_ns = due_soon(net);
    }
    send->due_ns = due_after(net, net->config.faults.stall);
    if (send->piece < send->count) {
        return;
    }
    /* Whoever touched the memory before SENT broke the contract. */
    LP_ASSERT(send->sum_taken == send->sum_promised);
    send->active = false;
    emit(net, sink, stream, LP_TRANSPORT_SENT, (uint32_t)send->taken);
    if (stream->far_gone && lp_sim_random_chance(&net->random, 500)) {
        stream_fail(stream); /* bytes to an end that has closed are answered with a reset */
    }
}

static void
poll_receive(struct port *port, struct stream *stream, struct sink *sink)
{
    struct lp_sim_net *net = port->net;
    const uint32_t bytes = piece_bytes(net, stream->in.used);
    struct loan *loan = allocate(sizeof(*loan) + bytes);
    loan->bytes = bytes;
    loan->next = port->loans;
    port->loans = loan;
    pipe_read(net, &stream->in, loan->data, bytes);
    digest_add(net, sum_add(0, loan->data, bytes));
    emit(net, sink, stream, LP_TRANSPORT_RECEIVED, bytes)->data = loan->data;
    /* Now and then the next piece comes in the same poll. */
    if (!lp_sim_random_chance(&net->random, 300)) {
        stream->in.due_ns = due_after(net, net->config.faults.stall);
    }
}

static bool
send_due(const struct lp_sim_net *net, const struct stream *stream)
{
    const struct send *send = &stream->send;
    if (!send->active) {
        return false;
    }
    return stream->reset || stream->far_gone || stream->out.used < net->config.window_bytes ||
           send->piece == send->count;
}

static bool
end_due(const struct stream *stream)
{
    if (stream->ended || stream->send.active) {
        /* A send in flight is answered first: SENT, then ENDED; an orderly end waits for it no
         * longer than that. */
        return !stream->ended && stream->far_quiet && !stream->reset && stream->receiving &&
               stream->in.used == 0;
    }
    return stream->reset || (stream->far_quiet && stream->receiving && stream->in.used == 0);
}

static void
poll_open(struct port *port, struct stream *stream, struct sink *sink)
{
    struct lp_sim_net *net = port->net;
    const bool send_ready = send_due(net, stream) && stream->send.due_ns <= net->now_ns;
    const bool in_ready =
        stream->receiving && stream->in.used > 0 && stream->in.due_ns <= net->now_ns;
    if ((send_ready || in_ready) && !stream->reset &&
        lp_sim_random_chance(&net->random, net->config.faults.reset)) {
        stream_fail(stream);
    }
    if (send_due(net, stream) && (stream->reset || stream->send.due_ns <= net->now_ns)) {
        poll_send(port, stream, sink);
    }
    while (sink->count < sink->max && stream->receiving && stream->in.used > 0 &&
           stream->in.due_ns <= net->now_ns) {
        poll_receive(port, stream, sink);
    }
    if (sink->count < sink->max && end_due(stream) &&
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
        send_take(port->net, stream, piece_bytes(port->net, port->net->config.window_bytes));
        stream->send.active = false;
    }
    stream->near = NEAR_CLOSED;
    LP_ASSERT(port->streams > 0);
    port->streams--;
    emit(port->net, sink, stream, LP_TRANSPORT_CLOSED, 0);
    stream_retire(stream);
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
    loans_return(port);
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
        send->due_ns = due_after(net, 1000);
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
    pipe_clear(&stream->in);
    stream->state_due_ns = net->now_ns;
    if (lp_sim_random_chance(&net->random, net->config.faults.close_hold)) {
        stream->state_due_ns = due_after(net, 1000);
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
    .wait = port_wait,
    .wake_any = port_wake_any,
};

struct lp_transport
lp_sim_net_transport(struct lp_sim_net *net, uint32_t shard)
{
    LP_ASSERT(shard < net->config.shard_count);
    return (struct lp_transport){.ops = &sim_ops, .self = &net->ports[shard]};
}

/* --- When. ----------------------------------------------------------------------------------- */

static uint64_t
near_next_ns(const struct lp_sim_net *net, const struct stream *stream)
{
    if (stream->near == NEAR_PENDING || stream->near == NEAR_CLOSING) {
        return stream->state_due_ns;
    }
    uint64_t next = UINT64_MAX;
    if (stream->near != NEAR_OPEN) {
        return next;
    }
    if (send_due(net, stream)) {
        next = LP_MIN(next, stream->reset ? net->now_ns : stream->send.due_ns);
    }
    if (stream->receiving && stream->in.used > 0) {
        next = LP_MIN(next, stream->in.due_ns);
    }
    if (end_due(stream)) {
        next = LP_MIN(next, stream->reset ? net->now_ns : stream->in.due_ns);
    }
    return next;
}

uint64_t
lp_sim_net_shard_next_ns(const struct lp_sim_net *net, uint32_t shard)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < net->stream_count; i++) {
        const struct stream *stream = net->streams[i];
        if (stream->live && stream->shard == shard) {
            next = LP_MIN(next, near_next_ns(net, stream));
        }
    }
    return next;
}

uint64_t
lp_sim_net_next_ns(const struct lp_sim_net *net)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < net->stream_count; i++) {
        const struct stream *stream = net->streams[i];
        if (!stream->live) {
            continue;
        }
        next = LP_MIN(next, near_next_ns(net, stream));
        if (!stream->far_gone && stream->out.used > 0) {
            next = LP_MIN(next, stream->out.due_ns);
        }
    }
    return next;
}

/* --- The far ends. --------------------------------------------------------------------------- */

lp_handle
lp_sim_net_connect(struct lp_sim_net *net, uint32_t shard, uint32_t listener)
{
    LP_ASSERT(shard < net->config.shard_count);
    LP_ASSERT(listener < net->config.listener_count);
    struct stream *slot = stream_slot(net);
    const struct stream old = *slot;
    *slot = (struct stream){
        .handle = lp_handle_make(lp_handle_index(old.handle), lp_handle_generation(old.handle) + 1),
        .shard = shard,
        .listener = listener,
        .near = NEAR_PENDING,
        .live = true,
        .receiving = true,
        .state_due_ns = due_soon(net),
        .in = {.data = old.in.data},
        .out = {.data = old.out.data},
    };
    return slot->handle;
}

enum lp_sim_far_state
lp_sim_net_far_state(const struct lp_sim_net *net, lp_handle far)
{
    const struct stream *stream = far_find(net, far);
    if (stream == NULL) {
        return LP_SIM_FAR_NONE;
    }
    if (stream->reset) {
        return LP_SIM_FAR_RESET;
    }
    if (stream->near == NEAR_PENDING) {
        return LP_SIM_FAR_CONNECTING;
    }
    if (stream->near == NEAR_CLOSED && stream->out.used == 0) {
        return LP_SIM_FAR_ENDED;
    }
    return LP_SIM_FAR_OPEN;
}

uint32_t
lp_sim_net_far_send(struct lp_sim_net *net, lp_handle far, const void *data, uint32_t bytes)
{
    struct stream *stream = far_find(net, far);
    if (stream == NULL || stream->reset || stream->far_quiet) {
        return 0;
    }
    if (stream->near == NEAR_CLOSING || stream->near == NEAR_CLOSED) {
        return bytes; /* nobody will read it, and this end cannot know yet */
    }
    if (stream->in.used == 0) {
        stream->in.due_ns = due_soon(net);
    }
    return pipe_write(net, &stream->in, data, bytes);
}

uint32_t
lp_sim_net_far_receive(struct lp_sim_net *net, lp_handle far, void *buffer, uint32_t bytes_max)
{
    struct stream *stream = far_find(net, far);
    if (stream == NULL || stream->out.used == 0 || stream->out.due_ns > net->now_ns) {
        return 0;
    }
    const uint32_t bytes = piece_bytes(net, LP_MIN(bytes_max, stream->out.used));
    pipe_read(net, &stream->out, buffer, bytes);
    if (lp_sim_random_chance(&net->random, net->config.faults.stall)) {
        stream->out.due_ns = due_after(net, 1000);
    }
    return bytes;
}

void
lp_sim_net_far_half_close(struct lp_sim_net *net, lp_handle far)
{
    struct stream *stream = far_find(net, far);
    if (stream != NULL) {
        stream->far_quiet = true;
    }
}

void
lp_sim_net_far_close(struct lp_sim_net *net, lp_handle far)
{
    struct stream *stream = far_find(net, far);
    if (stream != NULL) {
        stream->far_quiet = true;
        stream->far_gone = true;
        pipe_clear(&stream->out);
        stream_retire(stream);
    }
}

void
lp_sim_net_far_reset(struct lp_sim_net *net, lp_handle far)
{
    struct stream *stream = far_find(net, far);
    if (stream != NULL) {
        stream->far_quiet = true;
        stream->far_gone = true;
        stream_fail(stream);
        stream_retire(stream);
    }
}
