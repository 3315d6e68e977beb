/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.h - what every queue type has in common at the queue's home shard (H):
 * the queue's frame, entries, subscriptions, and how answers leave.
 *
 *   Memory    entries and subscriptions from pools; a queue is a block of its type's size
 *   Runs on   the queue's home core
 *   Limits    LP_DELIVERY_WINDOW deliveries a subscription that C has not reported written
 */
#pragma once

#include <lepus/queue_settings.h>
#include <lepus/queue_type.h>

#include "dataplane/broker/broker.h"
#include "dataplane/broker/deaths.h"
#include "dataplane/broker/records.h"
#include "dataplane/log/log.h"

/* What a queue must know that is kept (store/store.h). */
struct lp_stored {
    struct lp_list in_long; /* lp_store.queues_long */
    struct lp_list in_held; /* lp_store.queues_held */
    uint64_t given;         /* entries of positions below may be handed to clients: that they may
                               have been is on disk */
    uint64_t given_asked;   /* ... will be */
    uint64_t given_fresh;   /* from here on and below given_asked: may be handed out at once */
    uint64_t redelivered_below; /* they may have been before the last start */
    uint64_t next_position;
    uint32_t slack;   /* positions that are asked for at a time */
    uint32_t sources; /* entries that died here, and are not stored as what they become */
    bool on;          /* it is durable, and there is a disk */
    bool away;        /* some of it may be on disk only */
    bool adopted;
};

struct lp_queue {
    const struct lp_queue_type *type;
    struct lp_broker *broker;
    struct lp_queue_ref *ref;
    struct lp_list in_dirty;              /* lp_broker.queues_dirty */
    struct lp_list in_unused;             /* lp_broker.queues_unused */
    struct lp_list subscriptions;         /* lp_subscription.in_queue */
    lp_handle self;                       /* in lp_broker.queues */
    struct lp_queue_settings settings;    /* names lie in dead_letters */
    struct lp_dead_letters *dead_letters; /* NULL: what dies is dropped */
    uint64_t reply_key;       /* of a reply queue (reply.h): who sends to it knows it; else 0 */
    struct lp_stamps *stamps; /* NULL: nobody asks where the time goes */
    struct lp_stored stored;
    uint32_t id;
    bool deleting;          /* DELETE_CHECK allowed it: takes nothing more */
    uint32_t deleted_ready; /* what that check counted */
    uint32_t consumers;     /* subscriptions that are active consumers */
    bool had_consumer;
    bool asking;            /* QUEUE_UNUSED or QUEUE_EXPIRED is with the control process */
    bool expired;           /* it is to be deleted because nobody used it for long enough */
    struct lp_timer expiry; /* with settings.expires_ms: when that will be */
    /* CANCEL whose answer waits for an auto-delete to be applied everywhere. */
    lp_handle cancel_consumer;
    uint32_t cancel_shard;
    bool cancel_waits;
};

enum lp_entry_state {
    LP_ENTRY_READY,
    LP_ENTRY_UNACKED,
    LP_ENTRY_DYING,   /* on lp_broker.dying: no queue's any more */
    LP_ENTRY_DONE,    /* on its way to the release list */
    LP_ENTRY_DELAYED, /* lp_broker.delay's (delay.h): never a queue's */
};

enum lp_entry_flag {
    LP_ENTRY_REDELIVERED = 1,
    LP_ENTRY_PERSISTENT = 2,
    LP_ENTRY_STAMPED = 4,  /* there may be a probe for it (stamps.h) */
    LP_ENTRY_STORED = 8,   /* the store knows of it; lp_entry.brief says for how long */
    LP_ENTRY_PAGE = 16,    /* no message: a page of them (struct lp_store_page) */
    LP_ENTRY_READING = 32, /* its message is on disk, and is being read */
    LP_ENTRY_READ = 64,    /* its message was on disk, and is in memory again */
    LP_ENTRY_PART = 128,   /* delayed: its body is still that of the message it was made from */
};

/* lp_entry.delivered counts in units of 2^28 ns: a little more than a quarter of a second. */
#define LP_ENTRY_DELIVERED_SHIFT 28u

/* A message in a queue: one loan, or the place of a message on disk. */
struct lp_entry {
    union {
        /* In a queue's list, a subscription's unacked list, the list of the dying, or a release
         * list. */
        struct lp_list link;
        struct lp_heap_node in_heap; /* while returned, or delayed */
        struct lp_entry *next;       /* of those that will be delayed (lp_delay_make()) */
    };
    lp_handle message;         /* NONE: on disk only; of a page: its struct */
    uint64_t position;         /* order of arrival in the queue */
    uint64_t expires_ns;       /* 0: never */
    struct lp_log_place place; /* of its message; segment 0: not in the log (yet) */
    uint32_t record_bytes;     /* there */
    uint32_t returns : 24;     /* how often it came back, where the queue counts that */
    uint32_t death : 6;        /* while dying: enum lp_death */
    uint32_t brief : 1;        /* stored: what the log has of it ends with this run */
    uint32_t noted : 1;        /* ... and it is, or will be, in the log */
    union {
        struct {
            uint32_t subscription; /* its index in lp_broker.subscriptions, while unacked; the
                                      vhost's id, while delayed */
            uint32_t delivered;    /* when, while unacked */
        };
        struct lp_dead_letters *dead_letters; /* while dying: a reference */
    };
    uint32_t body_bytes;
    uint8_t owner; /* the message's shard */
    uint8_t state; /* enum lp_entry_state */
    uint8_t flags; /* enum lp_entry_flag */
    uint8_t level; /* of priority, as its queue has them */
};
LP_STATIC_ASSERT(sizeof(struct lp_entry) + sizeof(struct lp_pool_header) == 80,
                 "there may be a great many");
LP_STATIC_ASSERT(LP_SHARDS_MAX <= UINT8_MAX + 1, "an owner fits");

/* H's half of a consumer or getter. */
struct lp_subscription {
    struct lp_list in_queue;
    struct lp_list in_ready; /* the type's round of those that can take a message */
    struct lp_list in_news;  /* lp_broker.subscriptions_gone */
    struct lp_list unacked;  /* lp_entry.link, in order of delivery */
    struct lp_queue *queue;  /* NULL: deleted; `unacked` stays until C, who is told, detaches */
    lp_handle self;
    lp_handle consumer; /* C's */
    uint32_t client_shard;
    uint32_t prefetch;
    uint32_t unacked_count;
    uint32_t outstanding; /* delivered, and C has not said it wrote them */
    uint32_t grants;
    int32_t priority;
    bool no_ack;
    bool exclusive;
    bool limited;
    bool asked; /* WANT is under way */
    bool getter;
    bool cancelled;
    bool takes; /* messages are for it, as far as its limits go */
};

/* Bytes of the largest queue of any type: what a slot of lp_broker.queues holds. */
uint32_t lp_queue_item_bytes(void);
/* The type called `name` (x-queue-type), or NULL. */
const struct lp_queue_type *lp_queue_type_find(struct lp_bytes name);

/* ---- hooks of topology.h; context is the broker ---- */
enum lp_err lp_queue_up(void *context, struct lp_queue_ref *ref);
void lp_queue_down(void *context, struct lp_queue_ref *ref);
/* The queue was named with these settings (encoded).  LP_ERR_BAD_RECORD, LP_ERR_NO_MEMORY: it keeps
 * those it has. */
enum lp_err lp_queue_configure(void *context, struct lp_queue_ref *ref, struct lp_bytes settings);

/* The queue of an id at its home, or NULL. */
struct lp_queue *lp_queue_find(struct lp_broker *broker, uint32_t id);

/* DELETE_CHECK (control_records.h): verdict, and how many messages it drops. */
uint8_t lp_queue_delete_check(struct lp_broker *broker, uint32_t id, bool if_unused, bool if_empty,
                              uint32_t *ret_count);

/* ---- for queue types ---- */

/* dispatch() has something to do. */
void lp_queue_dirty(struct lp_queue *queue);

/* An entry for an ENQUEUE from `from`; NULL: no memory. */
struct lp_entry *lp_queue_entry_alloc(struct lp_queue *queue, uint32_t from,
                                      const struct lp_mesh_record *record);
/* The entry is done with: its loan goes home with the flush. It must be on no list. */
void lp_queue_entry_done(struct lp_broker *broker, struct lp_entry *entry);

/*
 * The entry's time here is over: dead-lettered where the queue's settings say
 * so, done with otherwise.  It must be on no list, and is not the queue's any
 * more.
 */
void lp_queue_entry_dead(struct lp_queue *queue, struct lp_entry *entry, enum lp_death why);

/* Answer an ENQUEUE: taken. */
void lp_queue_confirm(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record);
/* Answer an ENQUEUE: not taken.  Flags: LP_MESH_NACK: refused (else the queue is gone);
 * LP_MESH_KEPT: an entry was made of it all the same. */
void lp_queue_refuse(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record,
                     uint8_t flags);

/* Is this connection kept out by another's exclusive ownership (C55)? */
static inline bool
lp_queue_locked(const struct lp_queue *queue, uint64_t connection)
{
    return queue->ref->owner != 0 && queue->ref->owner != connection;
}

struct lp_subscription *lp_queue_subscription_alloc(struct lp_queue *queue, uint32_t from,
                                                    lp_handle consumer);
/* Its entries are dealt with and it is on no ready list. */
void lp_queue_subscription_free(struct lp_subscription *subscription);

/*
 * A consumer left.  If that leaves an auto-delete queue without any, the
 * control process is asked to delete it; true: then a CANCEL is answered by
 * lp_queue_down(), not now.
 */
bool lp_queue_consumer_left(struct lp_queue *queue);

/* Somebody asked for a message, or for the queue itself: settings.expires_ms starts anew (C73). */
void lp_queue_used(struct lp_queue *queue);

/* ---- for the shard's turn ---- */

/* Messages that one queue may deliver before the next one has its turn. */
#define LP_QUEUE_DISPATCH_BUDGET 256u

/* A resync named this queue: a delete that was begun for the control process before begins anew. */
void lp_queue_synced(struct lp_queue *queue);
/* Ask the control process (again) to delete a queue that nobody uses, with the next flush. */
void lp_queue_unused_again(struct lp_queue *queue);
/* Ask for queues that the link had no room for. */
void lp_queue_unused_retry(struct lp_broker *broker);

/* Dispatch records that came for queues; true when the op was H's. */
bool lp_queue_record(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record);
/* Let dirty queues deliver; gives how many were worked on. */
uint32_t lp_queue_dispatch(struct lp_broker *broker);
/* Are credits of publishers withheld (memory)?  Then look again soon. */
bool lp_queue_credits_withheld(const struct lp_broker *broker);
/* Send confirms, releases and news that wait. */
void lp_queue_flush(struct lp_broker *broker);
