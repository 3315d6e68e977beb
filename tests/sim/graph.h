/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph.h - queues with every kind of argument, whose dead letters go to each
 * other: the scenarios of dead-lettering, TTL, limits, priorities, single
 * active consumers, transactions, policies.
 *
 * graph_plan.c draws the queues, graph_keeper.c makes, changes and empties
 * them, graph_publisher.c and graph_consumer.c use them, book*.c says what may
 * become of a message.
 */
#pragma once

#include "tests/sim/book.h"
#include "tests/sim/pilot.h"

/* Flavours: which features a scenario draws from. */
enum graph_feature {
    GRAPH_DEAD = 1,
    GRAPH_TTL = 2,        /* of queues */
    GRAPH_EXPIRATION = 4, /* of messages */
    GRAPH_LIMIT = 8,
    GRAPH_PRIORITY = 16,
    GRAPH_SOLE = 32,
    GRAPH_QUORUM = 64,
    GRAPH_TX = 128,
    GRAPH_CC = 256,
    GRAPH_POLICY = 512,
    GRAPH_PURGE = 1024,
    GRAPH_CRASH = 2048,     /* all processes of the node die, and begin again */
    GRAPH_TRANSIENT = 4096, /* most messages are, and little of them stays in memory */
    GRAPH_MIX = 8192,       /* and any of the features above that the seed draws */
};
/* What a mix draws from. */
#define GRAPH_MIXED (GRAPH_CRASH - 1u)

#define GRAPH_CLIENTS_MAX 16u
/* A commit-ok says that acknowledgements are on disk. */
#define GRAPH_TX_KEPT true

struct graph_publisher {
    struct pilot pilot;
    struct graph *graph;
    uint32_t todo;
    uint32_t publisher; /* the book's number of this life */
    uint64_t published;
    uint64_t confirmed_upto;
    bool transactional;
    bool committing;
    uint64_t uncommitted_from; /* sequence of the transaction's first message */
};

struct graph_delivery {
    struct book_delivery it;
    uint64_t tag;
};

struct graph_deliveries {
    struct graph_delivery *list;
    uint32_t count, room;
};

struct graph_consumer {
    struct pilot pilot;
    struct graph *graph;
    uint32_t todo;
    uint32_t queues;    /* bits it consumes from */
    uint32_t told;      /* bits of those that it has a consume-ok for */
    uint32_t consuming; /* the one that consume-ok is awaited for; UINT32_MAX: none */
    uint32_t subscription[BOOK_QUEUES_MAX];
    uint32_t getter[BOOK_QUEUES_MAX]; /* a subscription of the book for what it gets; 0: none */
    uint32_t get_queue;
    uint64_t get_ns;
    uint32_t cancelling;
    uint32_t recovering; /* deliveries that were open when recover was said */
    uint64_t recover_ns;
    uint32_t prefetch;
    bool shared; /* the prefetch is the channel's */
    bool no_ack;
    bool gentle; /* never rejects, never requeues */
    bool transactional;
    bool committing;
    struct book_order order;
    struct graph_deliveries open;
    struct graph_deliveries uncommitted; /* acknowledged within the transaction */
    struct graph_deliveries acked;       /* certain when the connection closes in order */
};

enum keeper_state {
    KEEPER_MAKES,    /* queues, exchanges, bindings: one life on each shard, one for the rest */
    KEEPER_RULES,    /* policies */
    KEEPER_MEDDLES,  /* while others work: looks, purges, changes policies */
    KEEPER_WAITS,    /* they are gone: what expires may do so */
    KEEPER_AUDITS,   /* how many are left in each queue */
    KEEPER_CONSUMES, /* everything */
    KEEPER_DELETES,
    KEEPER_DONE,
};

/* Makes everything, changes and purges meanwhile, empties and deletes at the end. */
struct graph_keeper {
    struct pilot pilot;
    struct graph *graph;
    enum keeper_state state;
    uint32_t at;      /* queue that the state has come to */
    uint32_t looking; /* queue of the answer that is awaited */
    uint64_t quiet_ns;
    struct book_order order;
    uint32_t subscription[BOOK_QUEUES_MAX];
    uint64_t last_tag; /* 0: everything is acknowledged */
    bool asking;       /* the administrator's answer is awaited */
    uint32_t asked;    /* queue whose policy that is about */
    bool answered;     /* and it was yes */
    bool purging;
};

struct graph {
    struct scene *scene;
    uint32_t features;
    struct book book;
    struct graph_keeper keeper;
    struct graph_publisher publisher[GRAPH_CLIENTS_MAX];
    struct graph_consumer consumer[GRAPH_CLIENTS_MAX];
    uint32_t publishers, consumers;
    uint32_t deaths; /* of the node, that the book knows of */
    bool draining;
};

/* graph_plan.c */
void graph_plan(struct graph *graph);
/* "g<i>", "x.fan<i>.<v>"; into 24 octets. */
const char *graph_queue_name(uint32_t queue, char *scratch);
uint32_t graph_queue_of(struct lp_bytes name);
/* The arguments of a queue; a table without its length. */
struct lp_bytes graph_arguments(const struct book_queue *queue, uint8_t *scratch, uint32_t bytes);
/* The same as a policy's definition, quotes escaped; "" when nothing is set. */
void graph_policy(const struct book_settings *settings, char *text, size_t bytes);

void graph_publisher_init(struct graph_publisher *publisher, struct graph *graph);
void graph_consumer_init(struct graph_consumer *consumer, struct graph *graph);
void graph_keeper_init(struct graph_keeper *keeper, struct graph *graph);
void graph_consumer_fini(struct graph_consumer *consumer);
/* Has the keeper emptied and deleted everything? */
bool graph_keeper_drained(const struct graph_keeper *keeper);
