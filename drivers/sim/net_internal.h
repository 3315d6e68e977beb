/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_internal.h - the network's own structs: net.c (chance, pipes, far ends)
 * and port.c (the shards' ends) share them.
 */
#pragma once

#include <drivers/sim/net.h>
#include <drivers/sim/sim.h>

#define SIM_DIGEST_PRIME 0x100000001b3u

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
    uint32_t shard;
    uint32_t streams;
    bool accept_stopped;
    bool accept_paused;
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

void *sim_allocate(size_t bytes);

/* When the next piece of a direction is there; with a pause in `stall_per_mille` of the cases. */
uint64_t sim_due_soon(struct lp_sim_net *net);
uint64_t sim_due_after(struct lp_sim_net *net, uint32_t stall_per_mille);
/* How much of `available` goes in one piece. */
uint32_t sim_piece_bytes(struct lp_sim_net *net, uint32_t available);

uint32_t sim_pipe_write(const struct lp_sim_net *net, struct pipe *pipe, const uint8_t *data,
                        uint32_t bytes);
void sim_pipe_read(const struct lp_sim_net *net, struct pipe *pipe, uint8_t *buffer,
                   uint32_t bytes);
void sim_pipe_clear(struct pipe *pipe);

/* The live stream of a handle of either end, or NULL. */
struct stream *sim_stream_find(const struct lp_sim_net *net, lp_handle handle);
/* Both ends are done: the slot may be used again, under another generation. */
void sim_stream_retire(struct stream *stream);
void sim_stream_fail(struct stream *stream);

/* Could a poll() move the stream's send, or say that the stream has ended? */
bool sim_send_due(const struct lp_sim_net *net, const struct stream *stream);
bool sim_end_due(const struct stream *stream);

/* Spoil and free what a shard borrowed. */
void sim_loans_return(struct port *port);
