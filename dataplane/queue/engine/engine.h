/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - what queues of messages have in common: records of the mesh,
 * consumers, who takes the next message, and what is unacknowledged.
 *
 * A type is an order of messages (struct lp_engine_order) and a struct that
 * begins with struct lp_engine; the functions at the end of this file are its
 * lp_queue_type.
 *
 *   Memory    entries and subscriptions are the broker's
 *   Runs on   the queue's home core
 *
 * Invariant: an entry is ready (in the type's order), or in one subscription's
 * `unacked`, or done.
 */
#pragma once

#include "dataplane/broker/queue.h"
#include "dataplane/broker/session.h"
#include "dataplane/broker/store/store.h"

/*
 * A message without any time to live goes to a consumer that could take it at
 * once in this turn, or as soon as the mesh, or a prefetch that channels share,
 * lets it; until then it may not expire.
 */
#define ENGINE_AT_ONCE_NS 2000000u

struct lp_engine;

/* Reads of one queue that may be under way. */
#define ENGINE_READS_MAX 4u

/* The order in which a type gives its messages. */
struct lp_engine_order {
    bool ranks; /* asks for the level of every message, not only where settings have priorities */
    /* The level of a message of this priority (lp_entry.level); false: there is no memory for it.
     * Asked only when the engine is guarded: else it is 0. */
    bool (*level_for)(struct lp_engine *engine, uint64_t priority, uint8_t *ret_level);
    /* A message that was never here before. */
    void (*add)(struct lp_engine *engine, struct lp_entry *entry);
    /* One that was delivered and comes back. */
    void (*add_returned)(struct lp_engine *engine, struct lp_entry *entry);
    /* The next one, left where it is; NULL: none. */
    struct lp_entry *(*peek)(const struct lp_engine *engine);
    /* The same, taken off.  Its link is clear. */
    struct lp_entry *(*pop)(struct lp_engine *engine);

    /* ---- of queues that are kept ---- */
    /* Messages that never were anybody's, by level, each in the order of arrival: lp_entry.link.
     * NULL: there is no such level, nor a higher one. */
    struct lp_list *(*fresh)(struct lp_engine *engine, uint32_t level);
    /* The level of one that comes from the disk, where it was this. */
    uint8_t (*level_again)(struct lp_engine *engine, uint8_t level);
    /* Those that came back. */
    void (*visit_returned)(struct lp_engine *engine,
                           void (*each)(void *context, struct lp_entry *entry), void *context);
    /* Asserts the order's invariants. */
    void (*check)(const struct lp_engine *engine);
};

/* What a type does its own way; classic queues have none of these. */
struct lp_engine_rules {
    bool keeps_all;         /* messages that are not persistent are kept, too, where the queue is */
    bool counts_returns;    /* lp_entry.returns is told to consumers, and limited (C132) */
    bool sole_by_priority;  /* single active: a consumer of a higher priority takes over (C120) */
    bool no_get_from_sole;  /* single active: no basic.get (C120) */
    bool no_exclusive;      /* the exclusive flag of consumers means nothing (C119) */
    bool no_shared;         /* no consumers of channels with a shared prefetch (C123) */
    bool no_use_by_declare; /* declaring it again is no use of it (C73) */
    bool cancels_early;     /* a cancel comes before what could be delivered until then */
    bool trims_late;        /* what comes back may be taken before there is too much */
    bool refuses_late;      /* reject-publish begins when there is too much, and ends well below */
    uint32_t prefetch_max;  /* of consumers without one; 0: they have none */
};

struct lp_engine {
    struct lp_queue base;
    const struct lp_engine_order *order;
    const struct lp_engine_rules *rules;
    struct lp_list round; /* lp_subscription.in_ready: who can take a message, in turn */
    uint64_t ready_count;
    uint64_t ready_bytes;
    uint64_t unacked_count;
    uint64_t unacked_bytes;
    uint64_t persistent_count; /* of both */
    uint64_t persistent_bytes;
    struct lp_timer head_timer; /* when the next message expires, or earlier */
    struct lp_timer look_timer; /* for deliveries that nobody acknowledges */

    struct lp_subscription *sole; /* the exclusive, or the single active consumer; NULL: none */
    uint32_t grants;              /* held by all subscriptions */
    bool single_active;
    bool quiescing; /* `sole` has to make way as soon as all that it has is acknowledged */
    bool refusing;  /* with refuses_late: publishes are refused */
    bool guarded;   /* settings, or stamps, make admission more than adding an entry */
    bool trims;     /* has a limit, and drops its head for it */
    bool returning; /* messages came back, and the limit was not looked at since */
    bool expiring;  /* messages that expire were here since it was last empty */

    /* Of a queue that may be longer than memory. */
    bool waits;            /* what is next cannot be handed out: it is made dirty when it can */
    bool unreadable;       /* what is next cannot be read */
    bool held;             /* ... is not read for want of memory: made dirty when there is some */
    bool loose;            /* there may be entries between pages */
    uint32_t reads;        /* under way */
    uint64_t long_count;   /* with more in memory, or larger bodies, it may be spilled; */
    uint64_t long_bytes;   /* UINT64_MAX: there is no disk */
    uint64_t absent_count; /* of the ready ones: on disk only, those on pages included */
    uint64_t absent_bytes;
    uint64_t ahead_bytes; /* read, or being read, and not taken yet */
    struct lp_entry
        *fetched; /* the last that is being read, or was, and was not taken; NULL: none */
    struct lp_entry *paged[2]; /* the page that was written last, of kept and of brief ones, if it
                                  is there; NULL: none */
    struct lp_entry *noted[2]; /* the last that was looked at to be written, of level 0 and of
                                  those above it; NULL: none */
    uint32_t above_level;      /* ... whose level, less 1, this is */
    bool above_done;           /* something was done in this round over those levels */
    uint32_t brief_unwritten;  /* fresh ones that are not to be written yet */
    uint32_t brief_written;    /* ... and that are, or will be, and on no page */
    struct lp_list gets; /* struct engine_get_waiting: basic.get that waits for what is next */
    struct engine_read {
        struct lp_log_place place;
        lp_handle first; /* the first entry of those it is for; NONE: there is no such read */
        uint32_t count;  /* of those */
    } read[ENGINE_READS_MAX];
};

static inline struct lp_engine *
engine_of(struct lp_queue *queue)
{
    return LP_CONTAINER_OF(queue, struct lp_engine, base);
}

static inline const struct lp_engine *
engine_of_const(const struct lp_queue *queue)
{
    return (const struct lp_engine *)(const void *)((const char *)queue -
                                                    offsetof(struct lp_engine, base));
}

/* ---- enqueue.c ---- */

void engine_enqueue(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record);

/* ---- expire.c ---- */

/* Expired messages that one basic.get or count looks past; dispatch() drops the rest. */
#define ENGINE_EXPIRE_BUDGET 1024u

static inline bool
engine_expired(const struct lp_engine *engine, const struct lp_entry *entry)
{
    return entry->expires_ns - 1 < engine->base.broker->now_ns; /* 0 is beyond every time */
}

/*
 * Drop what is expired until a live message is next (C142), or the budget is
 * spent; what it took is off it.  The timer is armed for the live one.
 */
void engine_expire(struct lp_engine *engine, uint32_t *budget);

/* ---- limit.c ---- */

/* One more with so large a body would be too much; and: there is too much now. */
bool engine_would_overflow(const struct lp_engine *engine, uint64_t body_bytes);
bool engine_over(const struct lp_engine *engine);
/* Is this message refused (reject-publish, C148)?  What could be handed out has been. */
bool engine_refuses(struct lp_engine *engine, uint64_t body_bytes);
/* Drop what is next until the queue is within its limits (C147), if it does that. */
void engine_trim(struct lp_engine *engine, uint32_t *budget);

/* ---- consume.c ---- */

void engine_consume(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record);
void engine_cancel(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record,
                   struct lp_subscription *subscription);
void engine_detach(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record,
                   struct lp_subscription *subscription);

/* ---- active.c ---- */

/* May a consumer come?  0, or why not. */
uint16_t engine_sole_fault(const struct lp_engine *engine, bool exclusive);
/* One has come: is it the one, and do messages go to it? */
void engine_sole_come(struct lp_engine *engine, struct lp_subscription *subscription);
/* One has left (it is cancelled): the next takes over, whatever it has unacknowledged. */
void engine_sole_leave(struct lp_engine *engine, const struct lp_subscription *subscription);
/* With sole_by_priority: should another be the one? */
void engine_sole_review(struct lp_engine *engine);
/* Something was settled: may the next one take over that was waiting for it? */
static inline void
engine_sole_drained(struct lp_engine *engine)
{
    if (LP_UNLIKELY(engine->quiescing) && engine->sole->unacked_count == 0) {
        engine_sole_review(engine);
    }
}
/* The settings may say otherwise than before. */
void engine_sole_configure(struct lp_engine *engine);

/* ---- timeout.c ---- */

/* There is a subscription: look after what it has unacknowledged. */
void engine_timeout_watch(struct lp_engine *engine);
/* The settings may have another time than before. */
void engine_timeout_configure(struct lp_engine *engine);

/* ---- settle.c ---- */

void engine_settle(struct lp_engine *engine, const struct lp_mesh_record *record,
                   struct lp_subscription *subscription);
void engine_credit(struct lp_engine *engine, const struct lp_mesh_record *record,
                   struct lp_subscription *subscription);
void engine_grant(struct lp_engine *engine, const struct lp_mesh_record *record,
                  struct lp_subscription *subscription);

/* ---- take.c ---- */

/* basic.get */
void engine_get(struct lp_engine *engine, uint32_t from, const struct lp_mesh_record *record);
/* Those that wait: as many as can be answered now, or all. */
void engine_gets_go_on(struct lp_engine *engine);
void engine_gets_end(struct lp_engine *engine);
/* STAT and PURGE */
void engine_counts_reply(struct lp_engine *engine, uint32_t from,
                         const struct lp_mesh_record *record);

/* ---- ready.c ---- */

/* How often the message came back, where that is counted. */
static inline uint64_t
engine_returns(const struct lp_engine *engine, const struct lp_entry *entry)
{
    return engine->rules->counts_returns ? entry->returns : 0;
}

/* The next message, off the queue; NULL when there is none. */
struct lp_entry *engine_pop(struct lp_engine *engine);
/* It leaves for good: settled, or dead. */
void engine_entry_done(struct lp_engine *engine, struct lp_entry *entry);
void engine_entry_dead(struct lp_engine *engine, struct lp_entry *entry, enum lp_death why);
/*
 * Unacknowledged messages come back: begin, any number, end.  What consumers
 * could take before is theirs, and what is too much afterwards goes before any
 * of them takes more.
 */
void engine_requeue_begin(struct lp_engine *engine);
/* `more`: of what one method gives back, more may follow with the next record; it counts as one. */
void engine_requeue_end(struct lp_engine *engine, bool more);
void engine_requeue(struct lp_engine *engine, struct lp_entry *entry);
/* Something else is next: what came back is all there. */
void engine_returned_trim(struct lp_engine *engine);
static inline void
engine_returned(struct lp_engine *engine)
{
    if (LP_UNLIKELY(engine->returning)) {
        engine_returned_trim(engine);
    }
}
/* A page, off the queue, with all that is on it. */
void engine_drop_page(struct lp_engine *engine, struct lp_entry *entry);
/* All of them; of a queue that is deleted nothing is noted. */
void engine_drop_ready(struct lp_engine *engine);

/* ---- fetch.c: messages that are on disk only ---- */

/* Is what is next in memory?  False: it is being fetched, and the queue is made dirty then. */
bool engine_fetch(struct lp_engine *engine);
void lp_engine_read(struct lp_queue *queue, const struct lp_log_place *place, struct lp_bytes data);
/* Read for another reason than that they are next: the entry at the link and those behind it, as
 * far as one read goes; gives where it ended, NULL: no more can be read now. */
struct lp_list *engine_read_run(struct lp_engine *engine, struct lp_list *list,
                                struct lp_list *link);
void engine_read_page(struct lp_engine *engine, struct lp_entry *page);
/* The entry is not ready any more. */
void engine_fetch_taken(struct lp_engine *engine, struct lp_entry *entry);

/* What is next is a message, though perhaps not in memory.  False: it is not known yet. */
static inline bool
engine_next_known(struct lp_engine *engine)
{
    const struct lp_entry *next = engine->absent_count > 0 ? engine->order->peek(engine) : NULL;
    return !next || (next->flags & LP_ENTRY_PAGE) == 0 || engine_fetch(engine);
}

/* It can die: where that makes a dead letter, its message must be there. */
static inline bool
engine_next_can_die(struct lp_engine *engine)
{
    return LP_LIKELY(engine->absent_count == 0) ||
           (engine->base.dead_letters ? engine_fetch(engine) : engine_next_known(engine));
}

/* It can be given to a client. */
static inline bool
engine_next_can_go(struct lp_engine *engine)
{
    const struct lp_entry *next = engine->order->peek(engine);
    engine->waits = next && !((engine->absent_count == 0 || engine_fetch(engine)) &&
                              lp_store_may_give(&engine->base, next));
    return !engine->waits;
}

/* What is next will not be given to anybody before the next start. */
bool engine_next_is_stuck(struct lp_engine *engine);

/* ---- restore.c ---- */

/* Entries that the store has of it. */
void engine_restore(struct lp_engine *engine);
/* One that comes from the disk is made to fit. */
void engine_again(struct lp_engine *engine, struct lp_entry *entry);
void lp_engine_visit(struct lp_queue *queue, void (*each)(void *context, struct lp_entry *entry),
                     void *context);

/* ---- move.c ---- */

bool lp_engine_move(struct lp_queue *queue, uint32_t segment, uint64_t *budget);

/* ---- spill.c: messages that nobody will want soon ---- */

bool lp_engine_spill(struct lp_queue *queue);
/* It is not on a list of the order's any more. */
static inline void
engine_spill_gone(struct lp_engine *engine, const struct lp_entry *entry)
{
    struct lp_entry **noted = &engine->noted[entry->level > 0];
    *noted = *noted == entry ? NULL : *noted;
    if (entry->flags & LP_ENTRY_PAGE) {
        struct lp_entry **paged = &engine->paged[entry->brief];
        *paged = *paged == entry ? NULL : *paged;
    } else if (entry->brief && (entry->flags & LP_ENTRY_REDELIVERED) == 0) {
        engine->brief_written -= entry->noted;
        engine->brief_unwritten -= !entry->noted;
    }
}
/* A body that is worth more than its entry. */
#define ENGINE_LARGE_BYTES (4u * 1024u)

/* Is it to be kept? */
static inline bool
engine_keeps(const struct lp_engine *engine, const struct lp_mesh_record *record)
{
    return engine->base.stored.on &&
           ((record->flags & LP_MESSAGE_PERSISTENT) != 0 || engine->rules->keeps_all);
}

/* ---- round.c ---- */

/* Do its prefetch and the delivery window let it take one more? */
static inline bool
engine_can_take(const struct lp_subscription *subscription)
{
    return subscription->takes &&
           (subscription->prefetch == 0 || subscription->no_ack ||
            subscription->unacked_count < subscription->prefetch) &&
           subscription->outstanding < LP_DELIVERY_WINDOW &&
           !(subscription->asked && subscription->grants == 0);
}

/* It had its turn: it is behind those of its priority, or out when it cannot take more. */
void engine_turn_over(struct lp_engine *engine, struct lp_subscription *subscription);
/* Its limits changed: join or leave the round. */
void engine_update(struct lp_engine *engine, struct lp_subscription *subscription);
/* Has it taken this entry, and not settled it? */
static inline bool
engine_has(const struct lp_subscription *subscription, const struct lp_entry *entry)
{
    return entry->state == LP_ENTRY_UNACKED &&
           entry->subscription == lp_handle_index(subscription->self);
}

/* The entry is this subscription's until it is settled; and is no more. */
void engine_take(struct lp_subscription *subscription, struct lp_entry *entry);
void engine_untake(struct lp_subscription *subscription, struct lp_entry *entry);
/* Settle the `count` oldest: they were written out to a consumer that does not acknowledge. */
void engine_settle_oldest(struct lp_subscription *subscription, uint32_t count);
void engine_requeue_all(struct lp_engine *engine, struct lp_subscription *subscription);

/* ---- dispatch.c ---- */

/*
 * A near message finds the queue empty and somebody in the round: when that is
 * a consumer on this shard that does not acknowledge, it goes by without ever
 * being in the queue.  False: it did not.
 */
bool engine_pass(struct lp_engine *engine, const struct lp_mesh_record *enqueue);
/* A record that came may find what consumers would have taken already: let them. */
void engine_hand_out(struct lp_engine *engine);

/* ---- for types: what lp_queue_type asks for ---- */

void lp_engine_open(struct lp_engine *engine, const struct lp_engine_order *order,
                    const struct lp_engine_rules *rules);
void lp_engine_configure(struct lp_queue *queue);
void lp_engine_close(struct lp_queue *queue);
void lp_engine_handle(struct lp_queue *queue, uint32_t from, const struct lp_mesh_record *record);
bool lp_engine_dispatch(struct lp_queue *queue, uint32_t budget);
void lp_engine_counts(const struct lp_queue *queue, struct lp_queue_counts *ret_counts);
uint64_t lp_engine_purge(struct lp_queue *queue, bool transient);
void lp_engine_check(const struct lp_queue *queue);
void lp_engine_audit(struct lp_queue *queue);
