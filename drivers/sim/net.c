/* SPDX-License-Identifier: Apache-2.0 */
#include "net_internal.h"

#include <stdlib.h>
#include <string.h>

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

void *
sim_allocate(size_t bytes)
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
    struct lp_sim_net *net = sim_allocate(sizeof(*net));
    net->config = *config;
    net->digest = 0xcbf29ce484222325u;
    lp_sim_random_seed(&net->random, config->seed);
    net->ports = sim_allocate(config->shard_count * sizeof(*net->ports));
    for (uint32_t i = 0; i < config->shard_count; i++) {
        net->ports[i].net = net;
        net->ports[i].shard = i;
    }
    return net;
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
        sim_loans_return(&net->ports[i]);
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

void
sim_loans_return(struct port *port)
{
    while (port->loans != NULL) {
        struct loan *loan = port->loans;
        port->loans = loan->next;
        /* Without ASan a late reader at least finds nonsense. */
        memset(loan->data, 0xdd, loan->bytes);
        free(loan);
    }
}

/* What a stream's process leaves when it dies. */
static void
stream_crash(struct lp_sim_net *net, struct stream *stream)
{
    stream->send.active = false;
    if (stream->near == NEAR_CLOSED) {
        return;
    }
    if (stream->near == NEAR_PENDING || lp_sim_random_chance(&net->random, 500)) {
        sim_stream_fail(stream);
    }
    sim_pipe_clear(&stream->in);
    stream->near = NEAR_CLOSED;
    sim_stream_retire(stream);
}

void
lp_sim_net_crash(struct lp_sim_net *net)
{
    for (uint32_t i = 0; i < net->stream_count; i++) {
        if (net->streams[i]->live) {
            stream_crash(net, net->streams[i]);
        }
    }
    for (uint32_t i = 0; i < net->config.shard_count; i++) {
        struct port *port = &net->ports[i];
        sim_loans_return(port);
        *port = (struct port){.net = net, .shard = i};
    }
    net->digest = (net->digest ^ 'c') * SIM_DIGEST_PRIME;
}

/* --- Chance. --------------------------------------------------------------------------------- */

uint64_t
sim_due_soon(struct lp_sim_net *net)
{
    return net->now_ns + lp_sim_random_below(&net->random, net->config.faults.delay_ns_max + 1);
}

uint64_t
sim_due_after(struct lp_sim_net *net, uint32_t stall_per_mille)
{
    uint64_t due = sim_due_soon(net);
    if (lp_sim_random_chance(&net->random, stall_per_mille)) {
        due += lp_sim_random_below(&net->random, net->config.faults.stall_ns_max + 1);
    }
    return due;
}

/* How much of `available` goes in one piece. */
uint32_t
sim_piece_bytes(struct lp_sim_net *net, uint32_t available)
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

uint32_t
sim_pipe_write(const struct lp_sim_net *net, struct pipe *pipe, const uint8_t *data, uint32_t bytes)
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

void
sim_pipe_read(const struct lp_sim_net *net, struct pipe *pipe, uint8_t *buffer, uint32_t bytes)
{
    LP_ASSERT(bytes <= pipe->used);
    const uint32_t capacity = net->config.window_bytes;
    const uint32_t first = LP_MIN(bytes, capacity - pipe->head);
    memcpy(buffer, pipe->data + pipe->head, first);
    memcpy(buffer + first, pipe->data, bytes - first);
    pipe->head = (pipe->head + bytes) % capacity;
    pipe->used -= bytes;
}

void
sim_pipe_clear(struct pipe *pipe)
{
    pipe->head = 0;
    pipe->used = 0;
    pipe->due_ns = 0;
}

/* --- Streams. -------------------------------------------------------------------------------- */

struct stream *
sim_stream_find(const struct lp_sim_net *net, lp_handle handle)
{
    const uint32_t index = lp_handle_index(handle);
    if (handle == LP_HANDLE_NONE || index >= net->stream_count) {
        return NULL;
    }
    struct stream *stream = net->streams[index];
    return stream->live && stream->handle == handle ? stream : NULL;
}

void
sim_stream_retire(struct stream *stream)
{
    if (stream->near == NEAR_CLOSED && stream->far_gone) {
        stream->live = false;
    }
}

void
sim_stream_fail(struct stream *stream)
{
    stream->reset = true;
    sim_pipe_clear(&stream->in);
    sim_pipe_clear(&stream->out);
}

static struct stream *
far_find(const struct lp_sim_net *net, lp_handle handle)
{
    struct stream *stream = sim_stream_find(net, handle);
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
        net->streams = realloc(net->streams, net->stream_capacity * sizeof(void *));
        LP_ASSERT(net->streams != NULL);
    }
    struct stream *stream = sim_allocate(sizeof(*stream));
    stream->in.data = sim_allocate(net->config.window_bytes);
    stream->out.data = sim_allocate(net->config.window_bytes);
    stream->handle = lp_handle_make(net->stream_count, 0);
    net->streams[net->stream_count++] = stream;
    return stream;
}

bool
sim_send_due(const struct lp_sim_net *net, const struct stream *stream)
{
    const struct send *send = &stream->send;
    if (!send->active) {
        return false;
    }
    return stream->reset || stream->far_gone || stream->out.used < net->config.window_bytes ||
           send->piece == send->count;
}

bool
sim_end_due(const struct stream *stream)
{
    if (stream->ended || stream->send.active) {
        /* A send in flight is answered first: SENT, then ENDED; an orderly end waits for it no
         * longer than that. */
        return !stream->ended && stream->far_quiet && !stream->reset && stream->receiving &&
               stream->in.used == 0;
    }
    return stream->reset || (stream->far_quiet && stream->receiving && stream->in.used == 0);
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
    if (sim_send_due(net, stream)) {
        next = LP_MIN(next, stream->reset ? net->now_ns : stream->send.due_ns);
    }
    if (stream->receiving && stream->in.used > 0) {
        next = LP_MIN(next, stream->in.due_ns);
    }
    if (sim_end_due(stream)) {
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
        .state_due_ns = sim_due_soon(net),
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
        stream->in.due_ns = sim_due_soon(net);
    }
    return sim_pipe_write(net, &stream->in, data, bytes);
}

uint32_t
lp_sim_net_far_receive(struct lp_sim_net *net, lp_handle far, void *buffer, uint32_t bytes_max)
{
    struct stream *stream = far_find(net, far);
    if (stream == NULL || stream->out.used == 0 || stream->out.due_ns > net->now_ns) {
        return 0;
    }
    const uint32_t bytes = sim_piece_bytes(net, LP_MIN(bytes_max, stream->out.used));
    sim_pipe_read(net, &stream->out, buffer, bytes);
    if (lp_sim_random_chance(&net->random, net->config.faults.stall)) {
        stream->out.due_ns = sim_due_after(net, 1000);
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
        sim_pipe_clear(&stream->out);
        sim_stream_retire(stream);
    }
}

void
lp_sim_net_far_reset(struct lp_sim_net *net, lp_handle far)
{
    struct stream *stream = far_find(net, far);
    if (stream != NULL) {
        stream->far_quiet = true;
        stream->far_gone = true;
        sim_stream_fail(stream);
        sim_stream_retire(stream);
    }
}
