/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_type.h - the contract of a queue type: what to do with what arrives
 * at a queue's home shard.
 *
 * One folder under dataplane/queue/ and one line in its list make a type.
 * The broker resolves records of the mesh to queues and subscriptions and
 * calls these; a type answers through broker/queue.h.
 *
 *   Runs on   the queue's home core, inside a turn; no waiting, no heap.
 *             Handlers never wait for room: replies always have it, news is
 *             kept as state and sent from dispatch().
 */
#pragma once

#include <lepus/bytes.h>

struct lp_broker;
struct lp_entry;
struct lp_log_place;
struct lp_mesh_record;
struct lp_queue;

struct lp_queue_counts {
    uint64_t ready;
    uint64_t unacked;
    uint32_t consumers;
    uint64_t bytes; /* bodies of ready messages */
    uint64_t unacked_bytes;
    uint64_t persistent; /* messages, ready and unacknowledged */
    uint64_t persistent_bytes;
    uint64_t paged_out; /* ready messages that are on disk only */
    uint64_t paged_out_bytes;
    uint64_t sole;       /* the exclusive or the single active consumer's handle; 0: none */
    uint16_t sole_shard; /* ... on this shard */
};

struct lp_queue_type {
    const char *name;     /* "classic" */
    uint32_t queue_bytes; /* size of the type's queue, struct lp_queue first */
    bool (*open)(struct lp_queue *queue);
    /* queue->settings are new: at once after open(), and whenever they change. */
    void (*configure)(struct lp_queue *queue);
    /* Ready messages are released; unacknowledged ones stay with their subscriptions, which the
     * broker ends. */
    void (*close)(struct lp_queue *queue);
    /* One record of the mesh for this queue, from shard `from`; requests must be answered, now or
     * later. */
    void (*handle)(struct lp_queue *queue, uint32_t from, const struct lp_mesh_record *record);
    /* Deliver what can be delivered, at most `budget` messages; false: there is more to do (call
     * again next turn). */
    bool (*dispatch)(struct lp_queue *queue, uint32_t budget);
    void (*counts)(const struct lp_queue *queue, struct lp_queue_counts *ret_counts);
    /* An administrator: ready messages are released, all or those that are not persistent; gives
     * how many. */
    uint64_t (*purge)(struct lp_queue *queue, bool transient);
    /* Asserts the type's invariants, as far as that takes no time. */
    void (*check)(const struct lp_queue *queue);
    /* ... those over all messages. NULL: there are none. */
    void (*audit)(struct lp_queue *queue);

    /* ---- of queues that are kept (dataplane/broker/store) ---- */

    /* Every entry that is the queue's, ready or not. */
    void (*visit)(struct lp_queue *queue, void (*each)(void *context, struct lp_entry *entry),
                  void *context);
    /* lp_store_read() has ended: `data` begins at `place`; size 0: it failed. */
    void (*read)(struct lp_queue *queue, const struct lp_log_place *place, struct lp_bytes data);
    /* Put entries that nobody will want soon on a page; false: there are no such. */
    bool (*spill)(struct lp_queue *queue);
    /* What the queue has in a segment of the log is to be written anew (lp_store_move()), as much
     * as `budget` bytes allow; true: there is nothing there. */
    bool (*move)(struct lp_queue *queue, uint32_t segment, uint64_t *budget);
};
