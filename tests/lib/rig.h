/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig.h - a whole broker in one thread: shards, a control process over a store
 * in memory, and a transport that lends bytes in place and drops what is sent.
 *
 * For what needs the real thing and nothing around it: the gate of the message
 * path (bench/gate) and fuzz targets.  There is no network: a piece of input
 * becomes one RECEIVED event, a send is complete at the next poll().  For
 * networks with weather see drivers/sim.
 *
 *   Memory    heap; input is the caller's and is lent to the shard for one turn
 *   Runs on   one thread
 *   Limits    RIG_SHARDS_MAX, RIG_CLIENTS_MAX
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/control_region.h>
#include <lepus/transport.h>

#define RIG_SHARDS_MAX  2u
#define RIG_CLIENTS_MAX 16u

struct lp_control;
struct rig;

/* A client's end of a stream. */
struct rig_client {
    struct rig *rig;
    uint32_t shard;
    uint32_t generation;
    uint64_t user; /* what attach() said */
    enum {
        RIG_CLIENT_FREE,
        RIG_CLIENT_NEW, /* ACCEPTED is owed */
        RIG_CLIENT_OPEN,
        RIG_CLIENT_CLOSED, /* CLOSED is owed */
    } state;
    bool stopped;          /* the shard does not want to read */
    bool slow;             /* the caller's: sends are not completed while it is set */
    bool ended;            /* ENDED is owed, behind what is to be read */
    bool ended_told;       /* and was delivered */
    struct lp_bytes input; /* to be read; empty: the shard has had it */
    uint64_t sending;      /* bytes of the send in flight */
    uint64_t sent;         /* bytes sent so far */
    /* What is sent, as it is sent; NULL: nobody looks. */
    void (*sink)(void *context, struct lp_bytes piece);
    void *sink_context;
    /* For a client of another transport, made by the caller: what rig_say() does; NULL: feeds. */
    bool (*say)(void *context, struct lp_bytes bytes);
    void *say_context;
};

struct rig_options {
    uint32_t shard_count;
    uint64_t memory_bytes; /* a shard's */
};

struct rig *rig_open(const struct rig_options *options);
/* One shard over a transport of the caller's, which outlives it. */
struct rig *rig_open_over(const struct lp_transport *transport, uint64_t memory_bytes);
void rig_close(struct rig **rig);

/* The death of the control process, and its return over the same rings and store. */
void rig_control_stop(struct rig *rig);
void rig_control_start(struct rig *rig);
bool rig_control_runs(const struct rig *rig);
/* For administrators' requests; NULL while it does not run. */
struct lp_control *rig_control(struct rig *rig);

/* Within a turn every look of a shard at its clock finds it so much later (0, at first). */
void rig_clock_tick(struct rig *rig, uint64_t tick_ns);

/* One turn of each shard, a fixed step of time between them; gives the work that was found. */
uint32_t rig_shards_turn(struct rig *rig);
/* The same, and a turn of control when it runs. */
uint32_t rig_turn(struct rig *rig);
/* Turns until nobody finds work or will soon; asserts that this comes. */
void rig_settle(struct rig *rig);
void rig_time_pass(struct rig *rig, uint64_t by_ns);

struct lp_shard *rig_shard(struct rig *rig, uint32_t index);
struct lp_stats_page *rig_stats(struct rig *rig, uint32_t index);
void *rig_region(struct rig *rig);
/* Every invariant of every shard, walked. */
void rig_check(const struct rig *rig);
/* NULL: every shard is; else what is not. */
const char *rig_at_rest(const struct rig *rig);

/* A new stream to a shard; it is the caller's until rig_client_gone(). */
struct rig_client *rig_connect(struct rig *rig, uint32_t shard);
/* Bytes for the shard's next poll(); what was there before has been read. */
void rig_feed(struct rig_client *client, struct lp_bytes bytes);
/* Feed, and turn until it was read and everything is quiet; false: the shard closed the stream. */
bool rig_say(struct rig_client *client, struct lp_bytes bytes);
/* No more bytes: the shard hears the end, and closes. */
void rig_hang_up(struct rig_client *client);
bool rig_client_gone(const struct rig_client *client);

/* ---- conversations (rig_say.c) ---- */

/* Protocol header to open-ok as guest in "/", then channel.open of channel 1. */
void rig_open_channel(struct rig_client *client);

/* One method frame under way on a channel. */
struct rig_method {
    struct lp_writer writer;
    uint8_t bytes[1024];
};
/* Begin one; append its arguments to `writer`; then rig_method_say() it. */
void rig_method_begin(struct rig_method *method, uint16_t channel, uint32_t method_id);
bool rig_method_say(struct rig_client *client, struct rig_method *method);

/* These expect to succeed, and assert it by the stream's being open. */
void rig_declare_queue(struct rig_client *client, const char *name);
void rig_declare_exchange(struct rig_client *client, const char *name, const char *type);
void rig_bind_queue(struct rig_client *client, const char *queue, const char *exchange,
                    const char *key);
/* Prefetch 0 and auto-acknowledged, or with a prefetch and to be acknowledged. */
void rig_consume(struct rig_client *client, const char *queue, uint16_t prefetch);
void rig_confirm_select(struct rig_client *client);

/* basic.publish, its header and body, appended to a writer. */
void rig_publish(struct lp_writer *writer, const char *exchange, const char *key,
                 struct lp_bytes body);
/* With these properties: the header frame's flags and list. */
void rig_publish_with(struct lp_writer *writer, const char *exchange, const char *key,
                      struct lp_bytes properties, struct lp_bytes body);
void rig_ack(struct lp_writer *writer, uint64_t tag, bool multiple);
