/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book.h - the ledger of queues that let messages go: every message, its
 * copies, and which ends are legal for each.
 *
 * A message that dies in one queue may come to others, several times.  A copy
 * is told by its x-death header: (queue, reason, count) in order are its
 * lineage, and one message has no two copies of the same lineage in a queue.
 *
 * As it happens
 *   B1  a delivered body is one that was published, whole; its headers are those it was published
 *       with, without BCC, and those of its deaths
 *   B2  it was published to that queue, or died in one whose dead letters go there
 *   B3  each death was possible: the queue had a TTL or the message an expiration and the time had
 *       passed; a consumer had rejected it as often; the queue had a limit
 *   B4  exchange, routing keys, times, first and last death, order of deaths: RabbitMQ's
 *   B5  no copy twice without the redelivered mark; none after it was acknowledged for certain
 *   B6  per consumer, queue, publisher and priority, first deliveries come in publish order
 *   B7  nothing is handed out after its time (C141, C142)
 *   B8  no lower priority is handed out while a higher one is ready (C158)
 *   B9  nothing of a transaction before its commit, or after its rollback (C110, C112)
 *   B10 a second consumer of a single-active queue gets nothing while the first is there (C120)
 *   B16 nothing is dropped over a limit while an older message of its publisher is there (C147)
 *   B11 what is refused (nack) was for a queue that refuses (C106); a return before its confirm
 *   B12 no message comes back into a queue that is in its deaths, unless a consumer rejected it
 *       since (C153)
 * When all of a node's processes may die, killed or by a loss of power
 *   B17 no transient message is delivered after that, and of the persistent ones all that B13 says
 *   B18 what was acknowledged comes again only if it is not certain that this is on disk: by a
 *       commit-ok, or because a later persistent message to the queue was confirmed while nobody
 *       had had it
 *   B19 what a client has had comes again with the redelivered mark (C131): B5 outlives crashes
 *   B20 who comes last, alone, gets what is left in the order of publishing, marked or not
 * At the end
 *   B13 every confirmed or committed message is accounted for in each queue it was for:
 *       acknowledged there, or it could die there without a trace, or it is accounted for in every
 *       queue that its dead letter went to
 *   B14 of a transaction whose fate is unknown, all or nothing (per node)
 *   B15 each single-active queue's first deliveries are one run after the other for each consumer
 */
#pragma once

#include <lepus/bytes.h>

#include "tests/sim/amqp_client.h"

#define BOOK_QUEUES_MAX     8u
#define BOOK_VARIANTS_MAX   3u
#define BOOK_PRIORITIES_MAX 11u
#define BOOK_NONE           (-1)
#define BOOK_LINEAGE_FIRST  0u /* it never died */

/* What a queue's arguments or policies come to. */
struct book_settings {
    int64_t ttl_ms; /* BOOK_NONE: not set, here and below */
    int64_t max_length;
    int64_t max_bytes;
    uint8_t overflow; /* enum lp_overflow */
    bool dead;        /* it has a dead-letter exchange */
    bool has_key;
    char exchange[24];
    char key[24];
    uint32_t targets; /* bits of queues where its dead letters go */
};

/* The newest message of a publisher that is known to have been dropped over the limit. */
struct book_dropped {
    uint64_t sequence;
    uint64_t seen_ns;
};

struct book_queue {
    struct book_settings variant[BOOK_VARIANTS_MAX]; /* any of them may have been in force */
    uint64_t until_ns[BOOK_VARIANTS_MAX]; /* the last time that it may; 0: it never was asked for */
    uint32_t variants;
    uint32_t current;
    bool certain; /* the current one is in force */
    int64_t max_priority;
    int64_t delivery_limit;
    bool by_policy;
    bool quorum;
    bool sole;
    /* What has happened to it. */
    uint64_t purged_ns;           /* the last answer to a purge */
    struct book_dropped *dropped; /* [publisher] */
    uint32_t dropped_room;
    uint64_t lossy_ns;   /* until then it may have lost some to a consumer without acks that died */
    uint64_t durable_ns; /* what its home shard had done by then is on disk */
    bool requeued;       /* something came back */
};

enum book_state {
    BOOK_SENT,
    BOOK_OPEN,       /* of a transaction whose commit was not said */
    BOOK_COMMITTING, /* said, not answered */
    BOOK_CONFIRMED,  /* or committed */
    BOOK_REFUSED,
    BOOK_ROLLED_BACK,
};

struct book_copy {
    uint64_t lineage;
    uint8_t queue;
    uint8_t firsts; /* times it was handed out without the redelivered mark */
    bool settled;
    bool kept; /* ... and that is on disk */
    uint64_t settled_ns;
    uint32_t subscription; /* that had it first */
};

struct book_message {
    uint64_t sent_ns; /* of a transaction: when its commit was said */
    uint64_t confirmed_ns;
    uint64_t transaction; /* 0: none */
    const char *exchange;
    char key[24];
    uint32_t cc, bcc; /* bits of queues whose names are in the headers */
    uint32_t targets;
    uint32_t handed; /* bits of queues */
    uint32_t acked;  /* bits of queues: somebody said so */
    uint8_t rejects[BOOK_QUEUES_MAX];
    int64_t expiration_ms;
    int64_t priority;
    uint32_t crashes; /* of the node, before it was published */
    uint8_t state;    /* enum book_state */
    bool transient;
    bool mandatory;
    bool returned;
    bool headers; /* it has some: "kept" is among them */
    struct book_copy *copy;
    uint32_t copies, copy_room;
};

struct book_publisher {
    struct book_message *message; /* sequence n is message[n - 1] */
    uint64_t count, room;
};

/* A consumer's life at one queue, or of what a channel gets from it. */
struct book_subscription {
    uint32_t queue;
    uint32_t crashes;
    uint64_t said_ns;
    uint64_t ok_ns;    /* 0: not answered yet */
    uint64_t ended_ns; /* cancel or the end was said; 0: lives */
    bool getter;
    bool of_the_dead;  /* its node has died since */
    uint32_t prefetch; /* 0, or shared with others: decisions have no known earliest time */
    /* When each settlement was said: room for the next delivery. */
    uint64_t *settled_ns;
    uint32_t settled, settled_room;
    uint32_t delivered;
    uint64_t latest_ns[BOOK_PRIORITIES_MAX]; /* latest known decision for each priority */
};

struct book {
    struct book_queue queue[BOOK_QUEUES_MAX]; /* number n is at home on shard n % shards */
    uint32_t queues;
    uint32_t shards;
    struct book_publisher *publisher;
    uint32_t publishers, publisher_room;
    struct book_subscription *subscription; /* 1.. */
    uint32_t subscriptions, subscription_room;
    uint64_t transactions;
    uint64_t now_ns, wall_offset_ns;
    uint32_t crashes; /* of the node */
    bool kept;        /* it has disks: persistent messages outlive it */
    uint64_t delivered, redelivered, confirmed, deaths, refused;
};

/* A consumer's own notes of its last first deliveries (B6). */
struct book_order {
    uint64_t *last; /* [publisher][queue][priority] */
    uint32_t publishers;
    bool all; /* nobody else has anything: of all its deliveries (B20) */
};

struct book_delivery {
    uint32_t queue;
    uint32_t publisher;
    uint64_t sequence;
    uint64_t lineage;
    uint32_t subscription;
};

void book_init(struct book *book);
void book_fini(struct book *book);
void book_order_forget(struct book_order *order);
void book_order_fini(struct book_order *order);

/* The queue is to have its `current` variant; and that is done, or nobody knows. */
void book_variant_asked(struct book *book, uint32_t queue);
void book_variant_answered(struct book *book, uint32_t queue, bool certain);

uint32_t book_publisher_add(struct book *book);
/* Its next message, described by `message` (targets, exchange, key, ...); gives its number. */
uint64_t book_publish(struct book *book, uint32_t publisher, const struct book_message *message);
struct book_message *book_message(struct book *book, uint32_t publisher, uint64_t sequence);
void book_confirm(struct book *book, uint32_t publisher, uint64_t sequence);
void book_refuse(struct book *book, uint32_t publisher, uint64_t sequence);
void book_return(struct book *book, uint32_t publisher, uint64_t sequence);
/* Messages from `from` on of this publisher are one transaction, and this is its state now. */
void book_transaction(struct book *book, uint32_t publisher, uint64_t from, enum book_state state);

uint32_t book_subscribe(struct book *book, uint32_t queue, uint32_t prefetch, bool getter);
void book_subscribed(struct book *book, uint32_t subscription);
void book_unsubscribed(struct book *book, uint32_t subscription);
/* One of its deliveries is settled: it has room for another, not before `said_ns`. */
void book_room(struct book *book, uint32_t subscription, uint64_t said_ns);

/*
 * `content` came to `subscription`; gives what it is.  `decided_ns`: not
 * decided before (0: nothing is known beyond the subscription's own).
 */
struct book_delivery book_deliver(struct book *book, uint32_t subscription,
                                  const struct sim_content *content, uint64_t decided_ns,
                                  struct book_order *order);
void book_acked(struct book *book, const struct book_delivery *delivery);
void book_rejected(struct book *book, const struct book_delivery *delivery);
/* It was acknowledged for certain, now; `kept`: and that is on disk. */
void book_settled(struct book *book, const struct book_delivery *delivery, bool kept);

/* All processes of the node are dead.  book_crash.c */
void book_crash(struct book *book);
/* Could the message still be there after the crashes since it was published? */
bool book_outlives(const struct book *book, const struct book_message *message);
/* The message was confirmed: what does that say of its queues' logs? */
void book_confirm_durable(struct book *book, const struct book_message *message);

/* The end: B13 to B15.  book_close.c */
void book_close(struct book *book);

/* ---- shared by book*.c ---- */

struct book_deaths {
    uint32_t count;
    struct {
        uint8_t queue;
        uint8_t reason; /* enum book_reason */
        uint32_t count;
        uint64_t time_s;
        struct lp_bytes exchange;
        struct lp_bytes keys; /* the array's elements */
        bool has_expiration;
    } death[16];
};

enum book_reason {
    BOOK_REJECTED,
    BOOK_EXPIRED,
    BOOK_MAXLEN,
    BOOK_DELIVERY_LIMIT,
};

/* Read and check the headers of a delivery (B1, B3, B4, B12); gives its lineage.  book_deaths.c */
uint64_t book_headers_check(const struct book *book, const struct book_message *message,
                            uint32_t queue, const struct sim_content *content,
                            struct book_deaths *ret_deaths);
/* Has every (queue, reason) died once?  Then the list is the way that the message took. */
bool book_deaths_single(const struct book_deaths *deaths);
/* Are the queues where it died at home where this one is?  book_crash.c */
bool book_deaths_near(const struct book *book, const struct book_deaths *deaths, uint32_t queue);
/* The shortest and longest TTL that the queue may have had; INT64_MAX: none. */
int64_t book_ttl_least(const struct book_queue *queue);
int64_t book_ttl_most(const struct book_queue *queue);
bool book_refuses(const struct book_queue *queue);
