/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delay.h - messages that wait at an exchange of type x-delayed-message (C164).
 *
 * Routing stops at such an exchange when the message's header x-delay says so
 * (topology->delayed).  What goes on from there later is a message of its own:
 * the same body, moved where nobody else needs it and copied otherwise, and
 * x-delay negated, so that nothing delays it again.  It waits on its
 * publisher's shard, by due time and then arrival, and is published by the
 * broker (own.h), from that exchange on, by the topology of that moment.
 *
 * A persistent message that waits at a durable exchange is in the shard's log
 * as well (store/delayed.c), as an entry of a queue that there is not; it is
 * settled there with what is noted of the queues that it goes on to.  After a
 * start such messages are on disk only, and are read when they are due.
 *
 *   Memory    the messages, and an entry for each; they count as memory in use
 *   Runs on   owner core
 *   Overload  no memory: nothing is taken in, the publisher waits; no room in
 *             own.h, or no memory to read them: due messages wait on
 */
#pragma once

#include "dataplane/base/binary_heap.h"
#include "dataplane/base/list.h"
#include "dataplane/base/wheel.h"
#include "dataplane/broker/message.h"
#include "dataplane/log/log.h"

struct lp_broker;
struct lp_entry;

#define LP_DELAY_MS_MAX 4294967295u

/* Reads of delayed messages at a time. */
#define LP_DELAY_READS 4u

/*
 * Delayed messages are entries in state LP_ENTRY_DELAYED: position is the
 * order of their arrival, expires_ns when they are due, subscription the
 * vhost's id (if the message is in memory).  PERSISTENT: it is to be kept.
 */
struct lp_delay {
    struct lp_binary_heap heap;
    struct lp_list due; /* lp_entry.link: no longer in the heap; published in this order */
    uint32_t due_count;
    struct lp_timer timer;  /* for the first of them */
    uint64_t next_position; /* of the one that comes next */
    struct {
        lp_handle entry; /* NONE: free */
        struct lp_log_place place;
    } read[LP_DELAY_READS];
};

/* Whose publish it is: answered as by a queue when what is to be kept is on disk. */
struct lp_delay_waiter {
    lp_handle session; /* NONE: nobody waits */
    uint64_t number;
};

void lp_delay_init(struct lp_delay *delay);

/* The delay that these headers ask for, 0: none. */
uint64_t lp_delay_of(struct lp_bytes headers);

/*
 * What `message` becomes at each exchange where its routing stopped, as a
 * list.  With `may_move` the body stays where it is when it goes nowhere else.
 * False: memory is short.
 */
LP_MUST_CHECK bool lp_delay_make(struct lp_broker *broker, const struct lp_message *message,
                                 bool may_move, struct lp_entry **ret_list);
/* How many of them are to be kept: so many answers the waiter will have. */
uint32_t lp_delay_kept(const struct lp_entry *list);
/* All of them have their bodies. */
bool lp_delay_whole(const struct lp_entry *list);
/* They begin to wait; clears the list.  One that is not whole gets the body of `message`, which is
 * freed: it is in no other list, has no loans, and goes nowhere else. */
void lp_delay_start(struct lp_broker *broker, struct lp_entry **list, lp_handle message,
                    const struct lp_delay_waiter *waiter);
/* They will not; clears the list. */
void lp_delay_drop(struct lp_broker *broker, struct lp_entry **list);
/* How many wait. */
uint64_t lp_delay_count(const struct lp_delay *delay);

/* ---- for the store ---- */

/* One that was kept, from before the start, waits on. */
void lp_delay_restore(struct lp_broker *broker, struct lp_entry *entry);
/* What was read at a place; size 0: nothing. */
void lp_delay_read(struct lp_broker *broker, struct lp_log_place place, struct lp_bytes data);
