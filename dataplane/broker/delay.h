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
 *   Memory    the messages, and a block for each; they count as memory in use
 *   Runs on   owner core
 *   Overload  no memory: nothing is taken in, the publisher waits; no room in
 *             own.h: due messages wait on
 */
#pragma once

#include "dataplane/base/binary_heap.h"
#include "dataplane/base/wheel.h"
#include "dataplane/broker/message.h"

struct lp_broker;

#define LP_DELAY_MS_MAX 4294967295u

struct lp_delayed {
    union {
        struct lp_heap_node in_heap; /* lp_delay.heap */
        struct lp_delayed *next;     /* before that, in a list of those made */
    };
    uint64_t due_ms;
    uint64_t number; /* order of arrival */
    lp_handle message;
    uint32_t vhost_id;
    bool whole; /* else its body is that of the message it was made from */
};

struct lp_delay {
    struct lp_binary_heap heap;
    struct lp_timer timer; /* for the first of them */
    uint64_t taken;        /* how many ever */
};

/* The delay that these headers ask for, 0: none. */
uint64_t lp_delay_of(struct lp_bytes headers);

/*
 * What `message` becomes at each exchange where its routing stopped, as a
 * list.  With `may_move` the body stays where it is when it goes nowhere else.
 * False: memory is short.
 */
LP_MUST_CHECK bool lp_delay_make(struct lp_broker *broker, const struct lp_message *message,
                                 bool may_move, struct lp_delayed **ret_list);
/* They begin to wait; clears the list.  One that is not whole gets the body of `message`, which is
 * freed: it is in no other list, has no loans, and goes nowhere else. */
void lp_delay_start(struct lp_broker *broker, struct lp_delayed **list, lp_handle message);
/* They will not; clears the list. */
void lp_delay_drop(struct lp_broker *broker, struct lp_delayed **list);
