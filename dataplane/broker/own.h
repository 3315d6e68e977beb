/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own.h - messages that the broker publishes itself, without a publisher:
 * dead letters, the firehose's copies, messages whose delay is over.
 *
 * A queue of messages of this shard, first come first served.  Each is routed
 * when its turn comes, by the topology of that moment, and then goes the way
 * of any other; nobody is told what became of it.  While a peer has no credits
 * the first one waits, and the others behind it.
 *
 *   Memory    the messages; the queue itself is part of the broker
 *   Runs on   owner core
 *   Limits    LP_OWN_MAX messages: who makes them asks lp_own_room() first,
 *             and keeps what it makes them from when there is none
 *   Overload  made above the watermark, too, since what they are made from
 *             goes, and up to what deliveries need; their credits are never
 *             withheld, or a shard that is short of memory could wait for
 *             itself (README.md)
 */
#pragma once

#include <lepus/base.h>

#include "dataplane/base/window.h"
#include "dataplane/broker/outgoing.h"
#include "dataplane/broker/store/records.h"

struct lp_broker;

#define LP_OWN_MAX 1024u

/* Instead of a session, in requests whose answer is for these messages; no pool gives it out. */
#define LP_OWN_SESSION ((lp_handle)UINT64_MAX)

/* What a dead letter was, until every queue that it went to has it on disk. */
struct lp_own_unstored {
    struct lp_store_source source;
    uint32_t remaining; /* answers */
};

struct lp_own {
    uint32_t first;
    uint32_t count;
    struct lp_outgoing outgoing; /* of the first, once it is on its way */
    struct lp_window unstored;   /* struct lp_own_unstored: dead letters that left this shard */
    bool answered;               /* the first one's source is in there */
    struct {
        lp_handle message;
        uint32_t vhost_id;
        struct lp_store_source source; /* what it was in the log, until it is stored */
        bool dead; /* just now: it does not enter queues that it went round through (C153) */
    } waiting[LP_OWN_MAX];
};

void lp_own_init(struct lp_own *own, struct lp_memory *memory);
/* What these messages were, as far as it is in the log still: each once.  Ends early, with false,
 * when `each` says so. */
bool lp_own_sources(const struct lp_own *own,
                    bool (*each)(void *context, const struct lp_store_source *source),
                    void *context);
/* An answer to a request of LP_OWN_SESSION. */
void lp_own_stored(struct lp_broker *broker, uint32_t number_low);

/* Is there room for one more? */
static inline bool
lp_own_room(const struct lp_own *own)
{
    return own->count < LP_OWN_MAX;
}

/* May a message with such a body be made now, so that deliveries still have what they need? */
bool lp_own_memory(const struct lp_broker *broker, uint64_t body_bytes);

/* The message, whole and with LP_MESSAGE_OWN, is the broker's from here on.  There must be room. */
void lp_own_publish(struct lp_broker *broker, uint32_t vhost_id, lp_handle message);
/* The same for one that was kept while it was delayed: `source` is settled when it is where it
 * goes. */
void lp_own_publish_delayed(struct lp_broker *broker, uint32_t vhost_id, lp_handle message,
                            const struct lp_store_source *source);
/* The same for a message that comes out of a queue where it died: `source` is settled when it is
 * where it goes. */
void lp_own_publish_dead(struct lp_broker *broker, uint32_t vhost_id, lp_handle message,
                         const struct lp_store_source *source);

/* Send what can be sent, at most `budget` messages; gives how many. */
uint32_t lp_own_step(struct lp_broker *broker, uint32_t budget);
