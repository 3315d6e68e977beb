/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - what a protocol holds of the broker: an ordered conversation
 * (AMQP's channel) that publishes, consumes, gets and settles.
 *
 * Everything is asynchronous: queues may live on other shards.  An operation
 * answers DONE (nothing more comes), LATER (a callback of struct
 * lp_session_ops will come) or WAIT (nothing was done: there is no room now;
 * the session is put on a list, ops->room is called in a later step, and the
 * protocol repeats the operation).  A protocol that got LATER or WAIT must
 * hold back what follows on the same session (it parks the channel).
 *
 *   Memory    sessions, consumers and windows from the shard's pools
 *   Runs on   owner core
 *   Limits    LP_DELIVERY_WINDOW deliveries under way a consumer
 *   Overload  WAIT, see above; deliveries wait in the queue while the
 *             protocol's output is full
 */
#pragma once

#include <lepus/bytes.h>

#include "dataplane/base/list.h"
#include "dataplane/base/window.h"
#include "dataplane/broker/message.h"
#include "dataplane/broker/outgoing.h"
#include "dataplane/broker/reply.h"
#include "dataplane/broker/topology.h"

struct lp_broker;
struct lp_connection;
struct lp_entry;
struct lp_mesh_record;
struct lp_session;

enum lp_result {
    LP_DONE,
    LP_LATER,
    LP_WAIT,
    LP_UNKNOWN, /* settle: no such open delivery */
};

enum lp_settle {
    LP_SETTLE_ACK,
    LP_SETTLE_REQUEUE,
    LP_SETTLE_DISCARD, /* reject without requeue */
};

enum lp_consumer_state {
    LP_CONSUMER_ATTACHING, /* CONSUME sent */
    LP_CONSUMER_ACTIVE,
    LP_CONSUMER_CANCELLING,
    LP_CONSUMER_CANCELLED, /* only its unacknowledged deliveries are left */
    LP_CONSUMER_GETTER,    /* not a consumer: owns what basic.get took */
    LP_CONSUMER_DETACHING,
};

/* C's half of a consumer; the protocol's part hangs off `user`. */
struct lp_consumer {
    struct lp_list in_session;
    struct lp_list in_news;    /* lp_broker.consumers_news: credits or grants to send */
    uint32_t pending;          /* deliveries in lp_session.pending */
    struct lp_list in_wanting; /* lp_session.wanting */
    struct lp_session *session;
    lp_handle self;
    lp_handle subscription; /* H's; 0 until known */
    void *user;             /* the protocol's own (tag etc.); NULL for getters */
    uint32_t queue_id;
    uint16_t home_shard;
    uint8_t state; /* enum lp_consumer_state */
    bool no_ack;
    bool limited;         /* counts against the session's shared prefetch */
    bool reply;           /* of the session's reply queue: its deliveries use no numbers up */
    bool gone;            /* the queue was deleted */
    bool busy;            /* an answer is outstanding: CONSUME, CANCEL, GET or DETACH */
    bool limit_owed;      /* the home shard must be told that `limited` is on */
    uint32_t open;        /* unacknowledged deliveries in the session's window */
    uint32_t credit_owed; /* deliveries written out and not yet told */
    uint32_t wanted;      /* LIMITED: what H asked for */
    uint32_t granted;     /* LIMITED: granted, and no delivery has come for it yet */
    uint32_t grant_owed;  /* LIMITED: granted, news not sent yet */
};

/* A delivery, borrowed for the callback. */
struct lp_delivery {
    struct lp_consumer *consumer;
    const struct lp_message *message;
    uint64_t number; /* delivery number (tag), from 1, per session */
    bool redelivered;
    uint32_t ready_left; /* got: ready messages left */
    uint32_t returns;    /* how often it came back, where the queue counts that (C132) */
};

/* What a protocol knows of a session and of a consumer: for listings. */
struct lp_session_row {
    uint16_t channel; /* its number on the connection */
    uint32_t consumers;
    uint32_t prefetch; /* of consumers that start now */
};
struct lp_consumer_row {
    struct lp_bytes tag, arguments; /* borrowed */
    uint32_t prefetch;
    bool exclusive;
};

/* Whose session it is; borrowed for the call. */
struct lp_session_who {
    const struct lp_connection *connection;
    struct lp_bytes user;
    uint16_t channel;
};

/*
 * Only room(), counts() and confirm() may close their session before they return; the others are
 * called in the middle of a walk, and a protocol that has to close then does it in a later step.
 */
struct lp_session_ops {
    /* Room may have come: repeat what answered WAIT. */
    void (*room)(void *owner);
    /* Is there room to write a delivery of this message?  Asked before deliver() and got(). */
    bool (*can_deliver)(void *owner, const struct lp_message *message);
    /* Write it out now; it cannot fail any more. */
    void (*deliver)(void *owner, const struct lp_delivery *delivery);
    /* consume answered: code 0, or 403 exclusive use, 404 gone, 405 exclusive owner (then the
     * consumer is freed). */
    void (*consumed)(void *owner, struct lp_consumer *consumer, uint16_t code);
    /* cancel answered; no delivery follows.  `user` is not used by the broker after this. */
    void (*cancelled)(void *owner, struct lp_consumer *consumer);
    /* The queue was deleted under an active consumer (not asked for).  `user` as above. */
    void (*gone)(void *owner, struct lp_consumer *consumer);
    /* get answered: delivery NULL: empty.  code: as consumed. */
    void (*got)(void *owner, const struct lp_delivery *delivery, uint16_t code);
    /* stat or purge answered. */
    void (*counts)(void *owner, uint16_t code, uint64_t ready, uint64_t consumers);
    /* Publishes up to `number` (multiple) or `number` alone are confirmed, or refused (nack). */
    void (*confirm)(void *owner, uint64_t number, bool multiple, bool nack);
    /* tx_commit answered: everything was taken, or (partial) a queue refused something. */
    void (*committed)(void *owner, bool partial);
    /* A mandatory publish of the commit that is under way went nowhere: before committed(), and
     * only after can_deliver() said yes. */
    void (*returned)(void *owner, const struct lp_message *message);
    /* A delivery waits for its acknowledgement for longer than its queue's `timeout_ms` (C134);
     * told again while that is so. */
    void (*timed_out)(void *owner, uint64_t timeout_ms);
    /* For listings. */
    void (*describe)(const void *owner, struct lp_session_row *ret_row);
    void (*describe_consumer)(const void *user, struct lp_consumer_row *ret_row);
    /* For the firehose (trace.h). */
    void (*who)(void *owner, struct lp_session_who *ret_who);
    /* close is complete: everything is requeued and detached; the session is freed when this
     * returns. */
    void (*closed)(void *owner);
};

/* What waits for a commit.  Fields are session_tx.c's; protocols read counts. */
struct lp_tx {
    struct lp_list publishes; /* struct lp_tx_publish */
    uint32_t publish_count;
    uint32_t settle_count; /* deliveries with a mark */
    uint64_t settle_first; /* no marked one has a lower number */
    uint64_t settle_whole; /* every open one below has a mark */
    uint64_t settled;      /* shards that heard of settlements, a bit each: to be on disk there */
    bool begun;            /* the commit was asked for */
    bool whole;       /* the commit is said in one go, so that each shard has all of it or none */
    bool staged;      /* ... or as it goes, and each shard does it when it has all of it */
    bool ending;      /* ... which it is being told */
    bool answers_due; /* a commit waits for queues alone */
    bool refused;     /* one of them did not take what it got */
};

/* Fields are the broker's; protocols read `unacked` and `confirms` counters only. */
struct lp_session {
    const struct lp_session_ops *ops;
    void *owner;
    struct lp_broker *broker;
    lp_handle self;
    uint64_t connection;
    struct lp_list consumers;   /* lp_consumer.in_session */
    struct lp_list in_waiting;  /* lp_broker.sessions_waiting: wants room(), or goes on closing */
    struct lp_list in_confirms; /* lp_broker.sessions_confirming: confirms to flush this turn */
    struct lp_list in_settles;  /* lp_broker.sessions_settling: a settle record to send this turn */
    struct lp_list pending;   /* lp_pending.link: deliveries that found the output full, in order */
    struct lp_window unacked; /* slots: struct lp_unacked */
    struct lp_window confirms; /* slots: struct lp_unconfirmed */
    uint64_t confirm_told;     /* confirms up to here were told as a prefix */
    uint64_t confirm_ready;    /* ... and can be told up to here */
    struct lp_list wanting;    /* consumers of a shared prefetch that want grants */
    uint32_t prefetch_shared;  /* 0: no limit */
    uint32_t limited_open;     /* open + pending + granted, of all limited consumers */
    bool confirming;           /* confirm mode */
    bool closing;
    bool settling_many; /* a method that settles many is under way */
    bool gave_back; /* our own ring holds, or held, what this session gave back to a near queue */
    bool acked;     /* ... up to `acked_end`: what it acknowledged */
    bool starved;   /* a delivery waits for memory: tried again with room() */
    uint32_t acked_end;
    uint32_t getting; /* the queue that a get is under way to; 0: none */
    uint64_t
        settle_upto; /* what "all" meant when settling all found no room; 0: nothing under way */
    struct lp_outgoing outgoing;  /* the publish that found no room */
    struct lp_tx *tx;             /* NULL: not transactional */
    struct lp_queue *reply_queue; /* NULL: it does not wait for answers */
    /* Settlements of one subscription and outcome that share a record. */
    struct lp_settle_batch {
        lp_handle subscription;
        uint32_t queue_id;
        uint32_t home_shard;
        uint8_t outcome; /* enum lp_settle */
        bool many;       /* of one method */
        uint8_t count;
        lp_handle entry[6];
    } settles;
};

/* A delivery that found the output full. */
struct lp_pending {
    struct lp_list link; /* lp_session.pending */
    struct lp_consumer *consumer;
    lp_handle self;
    lp_handle entry;
    lp_handle message;
    union {
        uint64_t ready_left; /* got */
        bool stamped;        /* else: there may be a probe for it (stamps.h) */
    };
    uint32_t returns;
    uint16_t owner;
    bool redelivered;
    bool got; /* the answer to a get */
};

struct lp_unacked {
    lp_handle entry;
    lp_handle consumer;
};

struct lp_unconfirmed {
    uint32_t remaining; /* queues that have not answered */
    uint32_t nacked;    /* 1: one of them refused it */
};

/* NULL: no room for a session. */
struct lp_session *lp_session_open(struct lp_broker *broker, const struct lp_session_ops *ops,
                                   void *owner, uint64_t connection);

/*
 * Give everything back: consumers detached, unacknowledged requeued, parked
 * publish dropped.  ops->closed follows, perhaps before this returns; nothing
 * else does.
 */
void lp_session_close(struct lp_session *session);

/* Confirm mode on; publishes count from 1 from here on. */
void lp_session_confirm_select(struct lp_session *session);
/* Tell what is confirmed and was kept for the end of the turn: something follows that clients
 * expect behind it. */
void lp_session_confirms_tell(struct lp_session *session);

struct lp_publish {
    struct lp_exchange *exchange;
    lp_handle message; /* complete, no loans; the session's from here on, also when it says WAIT
                          (closing the session then drops it), unless unroutable */
    struct lp_bytes headers; /* field table of the properties, or empty */
    uint64_t number;         /* out: the confirm number, 0 when not in confirm mode */
    bool
        unroutable; /* out: no queue matched: the protocol may return it to its publisher.  The
                       message is NOT freed: the protocol calls lp_session_publish_drop(), unless */
    bool replied;   /* out: it went to who asked for it (C161) all the same */
    struct lp_entry *delayed; /* out, unroutable: it waits at an exchange from
                                 lp_session_publish_drop() on (delay.h); or NULL */
};

/*
 * Route and send to every queue.  DONE: out fields are set; unless unroutable
 * the message is out of our hands; confirms follow by ops->confirm.  WAIT:
 * repeat with lp_session_publish_resume() after ops->room.
 */
enum lp_result lp_session_publish(struct lp_session *session, struct lp_publish *publish);
enum lp_result lp_session_publish_resume(struct lp_session *session, struct lp_publish *publish);
/* The unroutable message has been dealt with: free it, and confirm its number. */
void lp_session_publish_drop(struct lp_session *session, struct lp_publish *publish);

struct lp_consume {
    struct lp_queue_ref *queue;
    uint32_t prefetch;
    int32_t priority;
    bool no_ack;
    bool exclusive;
    void *user;
};

/* LATER: ops->consumed comes; WAIT: no room. */
enum lp_result lp_session_consume(struct lp_session *session, const struct lp_consume *consume,
                                  struct lp_consumer **ret_consumer);
/* LATER: ops->cancelled comes; WAIT; DONE: it was gone already (user is not used any more). */
enum lp_result lp_session_cancel(struct lp_session *session, struct lp_consumer *consumer);
/* LATER: ops->got comes; WAIT. */
enum lp_result lp_session_get(struct lp_session *session, struct lp_queue_ref *queue, bool no_ack);
/* LATER: ops->counts comes; WAIT. */
enum lp_result lp_session_stat(struct lp_session *session, struct lp_queue_ref *queue);
enum lp_result lp_session_purge(struct lp_session *session, struct lp_queue_ref *queue);

/*
 * Settle delivery `number`; multiple: it and all open ones before it (0: all).
 * DONE; UNKNOWN: not open; WAIT: part of a multiple may have been sent; repeat
 * the same call after ops->room ("all" stays those of the first call).
 */
enum lp_result lp_session_settle(struct lp_session *session, uint64_t number, bool multiple,
                                 enum lp_settle outcome);

/* ---- transactions: publish and settle wait for a commit ---- */

/* Transactional from here on; false: no memory now, WAIT. */
LP_MUST_CHECK bool lp_session_tx_select(struct lp_session *session);
/*
 * What transactions of this shard hold back may be half of what publishers
 * may fill: so memory above the watermark is never theirs alone, and a commit
 * that waits for memory does not wait for itself.
 */
uint64_t lp_session_tx_bytes_max(const struct lp_session *session);
/* May this message wait with the others? */
bool lp_session_tx_fits(const struct lp_session *session, lp_handle message);
/* Routed now, sent with the commit.  DONE: the message is the session's; WAIT: it is not. */
enum lp_result lp_session_tx_publish(struct lp_session *session, struct lp_publish *publish,
                                     bool mandatory);
/* As lp_session_settle(), but never WAIT. */
enum lp_result lp_session_tx_settle(struct lp_session *session, uint64_t number, bool multiple,
                                    enum lp_settle outcome);
/* Requeue now what has not been settled in the transaction.  DONE or WAIT. */
enum lp_result lp_session_tx_recover(struct lp_session *session);
/* WAIT: repeat; LATER: ops->committed comes, perhaps before this returns.  Nothing else may be
 * asked of the session in between. */
enum lp_result lp_session_tx_commit(struct lp_session *session);
/* Publishes are dropped, settled deliveries are open again.  DONE or WAIT. */
enum lp_result lp_session_tx_rollback(struct lp_session *session);

/* ---- direct reply-to ---- */

/* Wait for answers: as lp_session_consume(), without acknowledgements; one at a time a session. */
enum lp_result lp_session_reply_consume(struct lp_session *session, void *user,
                                        struct lp_consumer **ret_consumer);
/* Where they are to be sent, while there is a reply_queue. */
void lp_session_reply_name(const struct lp_session *session,
                           uint8_t ret_name[static LP_REPLY_ADDRESS_BYTES]);
/* Is somebody there?  LATER: ops->counts comes, with one consumer, or 404; WAIT. */
enum lp_result lp_session_reply_stat(struct lp_session *session,
                                     const struct lp_reply_address *address);

/* Prefetch shared by all consumers started from now on (basic.qos global=true); 0: none. */
void lp_session_prefetch_shared(struct lp_session *session, uint32_t limit);

/* Call ops->room in a later step (something other than this header answered "no room": the link,
 * memory). */
void lp_session_want_room(struct lp_session *session);

/* The connection's output has drained: deliveries held back by can_deliver() are tried again. */
void lp_session_output_ready(struct lp_session *session);

/* ---- for queues on this shard: what else records say, by a call ---- */

/* A near ENQUEUE was taken, or not (LP_MESH_NACK, LP_MESH_KEPT: records.h). */
void lp_session_enqueued(struct lp_broker *broker, const struct lp_mesh_record *enqueue);
void lp_session_refused(struct lp_broker *broker, const struct lp_mesh_record *enqueue,
                        uint8_t flags);

/*
 * Can deliveries be handed to this consumer?  Not before it was told that it
 * is one, nor before its queue was told that it is `limited`, nor before its
 * session has what it got from the same queue.
 */
bool lp_session_near_ready(struct lp_broker *broker, lp_handle consumer, bool limited);
/*
 * The same as a DELIVER record.  True: it was written out, and no CREDIT
 * follows; false: it waits for room, or for its consumer's end.
 */
bool lp_session_deliver(struct lp_broker *broker, const struct lp_mesh_record *record);
/*
 * The same for a consumer that does not acknowledge, of a message that is in
 * no queue.  False: it cannot be written out now, and nothing was done.
 */
bool lp_session_deliver_now(struct lp_broker *broker, const struct lp_mesh_record *record);

/* ---- for the shard's turn ---- */

/* A record that is for sessions and consumers; false: it is not. */
bool lp_session_record(struct lp_broker *broker, uint32_t from,
                       const struct lp_mesh_record *record);
/* Sessions that waited for room try again, closing ones go on; gives how many. */
uint32_t lp_session_retry(struct lp_broker *broker);
/* Send settlements, credits and grants that wait; tell confirms. */
void lp_session_flush(struct lp_broker *broker);
