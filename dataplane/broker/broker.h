/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker.h - the broker's part of a shard: what protocols, queues and the
 * shard's turn share.
 *
 *   Memory    the shard's
 *   Runs on   owner core
 */
#pragma once

#include <lepus/control_region.h>
#include <lepus/entropy.h>
#include <lepus/protocol.h>
#include <lepus/transport.h>

#include "dataplane/base/hash.h"
#include "dataplane/base/list.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/wheel.h"
#include "dataplane/broker/dead_letter.h"
#include "dataplane/broker/delay.h"
#include "dataplane/broker/message.h"
#include "dataplane/broker/own.h"
#include "dataplane/broker/staging.h"
#include "dataplane/broker/stamps.h"
#include "dataplane/broker/topology.h"
#include "dataplane/link/link.h"
#include "dataplane/mesh/mesh.h"

struct lp_queue;
struct lp_store;

#define LP_PROTOCOLS_MAX 8u

/* Messages that a turn hands to near queues; then the others have theirs. */
#define LP_NEAR_PER_TURN 8192u

/* What must be left of a shard's memory when a delivery has been copied out. */
#define LP_DELIVERY_RESERVE_BYTES (256u * 1024u)

/* Confirms of one session that travel back to its shard in one record (per peer: the open one). */
struct lp_confirm_batch {
    lp_handle session;
    uint32_t count;
    uint32_t credits; /* of requests whose answer is only their credit */
    uint32_t own;     /* ... that no publisher made: not to be withheld */
    uint32_t number[12];
};

/* Loans on their way back to a shard: entries that are done with, on a list. */
struct lp_release_list {
    struct lp_list entries; /* struct lp_entry.link (broker/queue.h) */
};

struct lp_broker {
    struct lp_memory *memory;
    struct lp_hash_key key;
    struct lp_entropy entropy;
    struct lp_transport transport;
    struct lp_wheel wheel;
    struct lp_mesh mesh;
    struct lp_link link;
    struct lp_topology topology;
    struct lp_protocol_limits limits;
    struct lp_stats_page *stats;
    uint64_t now_ns;
    uint64_t wall_ns;
    uint32_t shard;
    uint32_t permission_epoch;
    bool stopping;
    bool refusing;   /* the application is stopped: no connection is taken */
    bool pressed;    /* memory is above the watermark */
    bool held;       /* that, or the node has an alarm: no content begins */
    uint8_t alarms;  /* enum lp_alarm, of the whole node */
    bool aside_full; /* input that waits fills its share of what is above the watermark */

    /* C's side */
    struct lp_pool connections;
    struct lp_pool sessions;
    struct lp_pool consumers;
    struct lp_pool deliveries; /* that found the output full */
    struct lp_list sessions_waiting;
    struct lp_list sessions_confirming;
    struct lp_list sessions_settling;
    struct lp_list consumers_news;
    struct lp_list connections_flush;
    struct lp_list connections_resume;
    struct lp_list connections_paused;
    uint32_t near_left;               /* calls to near queues (outgoing.h) left to this turn */
    uint64_t contents_promised_bytes; /* of contents that have begun: still to come */
    uint64_t contents_arrived_bytes;  /* ... and what has: nobody can consume it yet */
    uint32_t promise_cursor;          /* the connection whose promise is looked at next */
    uint64_t next_connection;
    uint64_t transaction_bytes; /* of messages that wait for a commit */

    /* H's side */
    struct lp_messages messages;
    struct lp_pool entries;
    struct lp_pool subscriptions;
    struct lp_pool queues;             /* items of lp_queue_item_bytes() */
    struct lp_queue *queue_last;       /* found last: the next record is often for it, too */
    struct lp_list subscriptions_gone; /* lp_subscription.in_news */
    struct lp_list
        queues_unused; /* lp_queue.in_unused: auto-delete, the control process not told yet */
    struct lp_list queues_dirty; /* struct lp_queue.in_dirty: dispatch has work */
    struct lp_confirm_batch confirm_batch[LP_SHARDS_MAX];
    uint32_t credits_withheld[LP_SHARDS_MAX]; /* of publishers, while memory here is above the
                                                 watermark */
    struct lp_release_list release[LP_SHARDS_MAX];
    struct lp_dying dying;
    struct lp_staging staging;
    struct lp_store *store; /* NULL: nothing is kept */

    /* of either side */
    struct lp_own own;
    struct lp_delay delay;
    struct lp_stamping stamping;

    const struct lp_protocol *protocols[LP_PROTOCOLS_MAX]; /* by enum lp_protocol_id */
    void *protocol_state[LP_PROTOCOLS_MAX];
};

/* The protocol that a message came in. */
static inline const struct lp_protocol *
lp_broker_protocol(const struct lp_broker *broker, uint8_t id)
{
    LP_ASSERT(id < LP_PROTOCOLS_MAX && broker->protocols[id]);
    return broker->protocols[id];
}

/* Seeded random bytes (names nobody must guess). */
static inline void
lp_broker_random(struct lp_broker *broker, void *data, size_t bytes)
{
    broker->entropy.fill(broker->entropy.self, data, bytes);
}
