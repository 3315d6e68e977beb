/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamps.h - where the time goes: of queues that are asked for it, how long
 * messages took from stage to stage (lepus/latency.h).
 *
 * Each shard counts what it sees, and the control process adds up.  Nothing is
 * written into messages or entries, which have no room.  The times of a message
 * travel with the records that move it (ENQUEUE, DELIVER), and wait in tables
 * of probes where the message waits: in its queue, for a slow consumer's
 * output, and for the turn's flush.  Tables are small.  A message that finds
 * its place taken is not measured (`missed`); what it took is like that of its
 * neighbours, and a long queue must not cost memory for being looked at.
 *
 *   Memory    two spans a queue that has stamps, two for their ways; given back with them
 *   Runs on   owner core
 *   Limits    LP_STAMPED_QUEUES_MAX queues at once; LP_PROBES messages of each in the queue,
 *             LP_PROBES deliveries that wait for room, LP_WRITTEN_MAX for a flush
 *
 * Off, it costs a test of a bit beside what is read anyway; the clock is read,
 * and anything here called, for messages of queues that have stamps.
 */
#pragma once

#include <lepus/clock.h>
#include <lepus/latency.h>

struct lp_broker;
struct lp_consumer;
struct lp_entry;
struct lp_mesh_record;
struct lp_pending;
struct lp_queue;
struct lp_queue_ref;

#define LP_STAMPED_QUEUES_MAX 32u
#define LP_PROBES             64u
#define LP_WRITTEN_MAX        2048u

struct lp_latency_times {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t min_ns;
    uint64_t max_ns;
    uint64_t bucket[LP_LATENCY_BUCKETS];
};

/* A message that is measured, at a place where it waits. */
struct lp_probe {
    lp_handle key;        /* its entry, or its pending delivery; NONE: free */
    uint64_t received_ns; /* when */
    uint64_t since_ns;    /* when it got here: stored, or taken */
    uint64_t waited_ns;   /* for a consumer */
};

/* A queue's, on one shard. */
struct lp_stamps {
    uint32_t queue_id;
    uint64_t measured; /* at the queue's home: messages that came, and were */
    uint64_t missed;   /* ... and were not */
    struct lp_probe stored[LP_PROBES];
    struct lp_latency_times times[LP_LATENCY_COUNT];
};

/* Written, and not yet with the transport. */
struct lp_written {
    uint32_t queue_id;
    bool going; /* with the flush that is under way */
    lp_handle connection;
    uint64_t position; /* of its last byte in all that the connection sends */
    uint64_t received_ns;
    uint64_t written_ns;
    uint64_t waited_ns;
};

/* On their way out, of all queues. */
struct lp_stamps_way {
    struct lp_probe kept[LP_PROBES]; /* deliveries that found the output full */
    struct lp_written written[LP_WRITTEN_MAX];
};

/* A shard's. */
struct lp_stamping {
    struct lp_clock clock;
    uint32_t count;         /* queues that have stamps */
    uint32_t written_count; /* in `way` */
    uint64_t backwards;     /* times that would have been negative: clocks differ */
    struct lp_stamps *queue[LP_STAMPED_QUEUES_MAX]; /* a place of its own each; NULL: free */
    struct lp_stamps_way *way;                      /* NULL: no queue has stamps */
    const struct lp_mesh_record *in_hand; /* a measured DELIVER while its session has it, or NULL */
};

/* When a message came, and was routed. */
struct lp_arrival {
    uint64_t received_ns; /* 0: nobody knows, it is not measured */
    uint64_t routed_ns;
};

/* ---- on and off; harmless when it is so already ---- */

/* False: too many queues have them, or no memory. */
bool lp_stamps_on(struct lp_broker *broker, struct lp_queue_ref *queue);
void lp_stamps_off(struct lp_broker *broker, struct lp_queue_ref *queue);

/* ---- a message's way ---- */

/* It is about to go to a queue on another shard: its times go with it. */
void lp_stamps_routed(struct lp_broker *broker, struct lp_mesh_record *enqueue);
/* It is at its queue, which has stamps, and then in it. */
struct lp_arrival lp_stamps_arrived(const struct lp_queue *queue,
                                    const struct lp_mesh_record *enqueue);
void lp_stamps_stored(struct lp_queue *queue, struct lp_entry *entry, struct lp_arrival arrival);
/* A measured one is taken for a consumer, whom `deliver` will tell; NULL: for a basic.get. */
void lp_stamps_taken(struct lp_queue *queue, struct lp_entry *entry,
                     struct lp_mesh_record *deliver);
/* Around a call that hands a session a DELIVER with LP_MESH_STAMPED. */
void lp_stamps_hand_begin(struct lp_broker *broker, const struct lp_mesh_record *deliver);
void lp_stamps_hand_end(struct lp_broker *broker);
/* What is in hand found the output full, and `pending` is remembered; and it was written later. */
void lp_stamps_kept(struct lp_broker *broker, struct lp_pending *pending);
void lp_stamps_kept_written(const struct lp_consumer *consumer, const struct lp_pending *pending);
/* Around the turn's flush, when something was written. */
void lp_stamps_flush_begin(struct lp_broker *broker);
void lp_stamps_flush_end(struct lp_broker *broker);

/* Asserts what must hold between turns. */
void lp_stamps_check(const struct lp_broker *broker);
