/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - the simulator's network: transport.h over byte streams whose far
 * ends the test holds, in virtual time and from a seed.
 *
 * One lp_sim_net for a whole simulation, one transport a shard attached to it.
 * Streams arrive split at every boundary, coalesced and late; sends are held,
 * and their memory is read as late as the contract allows; ends close, half
 * close and reset, on request or by chance.
 *
 *   Memory    from the heap, freed by lp_sim_net_destroy(); a lent receive
 *             buffer is overwritten and freed at the next poll(), so that ASan
 *             and checkers catch whoever kept it
 *   Runs on   the one thread that steps the simulation; no system calls
 *   Limits    struct lp_sim_net_config
 *
 * Time does not move here: the scheduler calls lp_sim_net_advance().  Nothing
 * is due before lp_sim_net_next_ns(), unless somebody acts.
 *
 * Invariant: bytes arrive in order, unchanged, each once, until an end resets.
 */
#pragma once

#include <lepus/transport.h>

struct lp_sim_net;

/* Chances are per mille.  They may be changed while the simulation runs (lp_sim_net_faults()). */
struct lp_sim_net_faults {
    uint32_t split;      /* a piece is shorter than what there is: half of those are one byte */
    uint32_t stall;      /* after a piece the direction pauses for up to stall_ns_max */
    uint32_t send_hold;  /* a send starts late, by up to stall_ns_max */
    uint32_t close_hold; /* CLOSED comes late, by up to stall_ns_max */
    uint32_t reset;      /* at a piece: the stream fails, what is in flight is lost */
    uint64_t stall_ns_max;
    uint64_t delay_ns_max; /* every piece takes up to this */
};

struct lp_sim_net_config {
    uint64_t seed;
    uint32_t shard_count;
    uint32_t listener_count; /* each shard listens on all of them */
    uint32_t streams_max;    /* per shard */
    uint32_t window_bytes;   /* per direction: a sender may be this far ahead of the reader */
    struct lp_sim_net_faults faults;
};

/* A mild weather to start from: splits, stalls, no resets; window 64 KiB, 4096 streams a shard. */
struct lp_sim_net_config lp_sim_net_config_default(uint64_t seed, uint32_t shard_count);

struct lp_sim_net *lp_sim_net_create(const struct lp_sim_net_config *config);
void lp_sim_net_destroy(struct lp_sim_net *net);

/* The transport of `shard`; borrows the net. */
struct lp_transport lp_sim_net_transport(struct lp_sim_net *net, uint32_t shard);

struct lp_sim_net_faults *lp_sim_net_faults(struct lp_sim_net *net);

/* Virtual time is now `now_ns`, which is not in the past. */
void lp_sim_net_advance(struct lp_sim_net *net, uint64_t now_ns);
/* When the next thing is due for anybody, or for a poll() of `shard`; <= now: at once; UINT64_MAX:
 * never. */
uint64_t lp_sim_net_next_ns(const struct lp_sim_net *net);
uint64_t lp_sim_net_shard_next_ns(const struct lp_sim_net *net, uint32_t shard);

/* Was wake_any() called on this shard's transport since the last look? */
bool lp_sim_net_wake_take(struct lp_sim_net *net, uint32_t shard);

/*
 * The process that held the shards' ends is gone: its streams end in order
 * (what it had sent still arrives) or with a reset.  Connections made before
 * the next process polls wait for it.
 */
void lp_sim_net_crash(struct lp_sim_net *net);

/* A hash of every event delivered so far: two runs of one seed agree. */
uint64_t lp_sim_net_digest(const struct lp_sim_net *net);

/* Streams a shard holds: accepted, CLOSED not yet delivered. */
uint32_t lp_sim_net_streams(const struct lp_sim_net *net, uint32_t shard);

/* --- The far ends. ------------------------------------------------------------------------- */

enum lp_sim_far_state {
    LP_SIM_FAR_CONNECTING, /* not accepted yet; sending is allowed */
    LP_SIM_FAR_OPEN,
    LP_SIM_FAR_ENDED, /* the shard closed and everything it sent was read */
    LP_SIM_FAR_RESET, /* refused, or failed */
    LP_SIM_FAR_NONE,  /* a handle that is closed */
};

/* Connect to a listener of a shard; gives the far end's handle, the test's until far_close() or
 * far_reset(). */
lp_handle lp_sim_net_connect(struct lp_sim_net *net, uint32_t shard, uint32_t listener);

enum lp_sim_far_state lp_sim_net_far_state(const struct lp_sim_net *net, lp_handle far);

/* How many of the bytes the window took: 0..bytes. */
uint32_t lp_sim_net_far_send(struct lp_sim_net *net, lp_handle far, const void *data,
                             uint32_t bytes);
/* Read what has arrived, up to `bytes_max`; 0: nothing now, see far_state() for whether ever. */
uint32_t lp_sim_net_far_receive(struct lp_sim_net *net, lp_handle far, void *buffer,
                                uint32_t bytes_max);
/* No more bytes from this end; it can still read. */
void lp_sim_net_far_half_close(struct lp_sim_net *net, lp_handle far);
/* Close both directions in order: what was sent still arrives; the handle is dead. */
void lp_sim_net_far_close(struct lp_sim_net *net, lp_handle far);
/* Fail: what is in flight may be lost; the handle is dead. */
void lp_sim_net_far_reset(struct lp_sim_net *net, lp_handle far);
