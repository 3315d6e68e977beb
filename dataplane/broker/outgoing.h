/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outgoing.h - one message on its way from the shard that owns it to the
 * queues that it was routed to.
 *
 * lp_topology_route() says where to.  lp_outgoing_aim() sees to it that the
 * rest can be done: room for a single queue, or a list of what is left of a
 * fan-out, which need not fit at once.  lp_outgoing_start() lends and sends;
 * what found no room goes on with lp_outgoing_resume().
 *
 * A queue on the message's own shard is near: where `near` allows it, the
 * message is handed to it by a call.  It then costs neither a record nor a
 * credit, and may be delivered, settled and freed before the call returns.
 *
 *   Memory    the list of queues from the shard's lp_memory
 *   Runs on   the message's owner
 *   Overload  "no room" leaves everything as it was; who publishes waits
 *
 * Invariant: message != NONE and targets: its loans count every queue that has it or is still
 * in the list.
 */
#pragma once

#include <lepus/base.h>

#include "dataplane/base/pool.h"

struct lp_broker;
struct lp_message;

struct lp_outgoing {
    lp_handle message; /* NONE: nothing is under way */
    lp_handle session; /* whom queues answer; NONE: nobody */
    uint64_t number;   /* its confirm number, 0: none */
    uint32_t *targets; /* queue ids; NULL: not aimed, or at one queue */
    uint32_t target_count;
    uint32_t target_next;  /* the first that has not been sent */
    uint32_t credits_kept; /* not for these messages: others need them more */
    bool near;             /* nothing in our own ring must come before it */
    uint8_t tx;            /* it is part of a transaction: LP_MESH_TX, LP_MESH_STAGED; else 0 */
};

static inline void
lp_outgoing_init(struct lp_outgoing *outgoing, uint32_t credits_kept)
{
    outgoing->credits_kept = credits_kept;
}

/* The usual case, without aiming: there is room for all of it.  _hand() cannot fail then. */
bool lp_outgoing_may_hand(struct lp_broker *broker, const struct lp_outgoing *outgoing);
void lp_outgoing_hand(struct lp_broker *broker, struct lp_outgoing *outgoing,
                      struct lp_message *message);
/*
 * The queues in topology->route are where `message` goes.  False: there is no
 * room now; nothing was done.
 */
LP_MUST_CHECK bool lp_outgoing_aim(struct lp_broker *broker, struct lp_outgoing *outgoing);
/* Undo that: something else did not fit. */
void lp_outgoing_unaim(struct lp_broker *broker, struct lp_outgoing *outgoing);

/*
 * Lend the message to each queue of topology->route (as it was aimed; at
 * least one) and send.  True: all of it is on its way, and `outgoing` is empty
 * again; false: resume.
 */
LP_MUST_CHECK bool lp_outgoing_start(struct lp_broker *broker, struct lp_outgoing *outgoing,
                                     struct lp_message *message);
LP_MUST_CHECK bool lp_outgoing_resume(struct lp_broker *broker, struct lp_outgoing *outgoing);

/* Give it up: the message is freed as far as no queue has it.  Harmless when empty. */
void lp_outgoing_abandon(struct lp_broker *broker, struct lp_outgoing *outgoing);
