/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_letter.h - from an entry that died in a queue here to a message of this
 * shard that is published again (C145, C150 to C157).
 *
 * lp_queue_entry_dead() (queue.h) puts the entry on the shard's list of the
 * dying, with a reference to what its queue said at that moment about its dead.
 * Each turn some of them, in order, become messages of this shard: the body
 * copied out of its owner's memory, or moved when it is ours and nobody else
 * has it; the deaths noted and written into the properties by the protocol.
 * The copies go the way of the broker's own messages (own.h), the entries'
 * loans home.
 *
 *   Memory    the copies; an entry waits while there is none
 *   Runs on   the queue's home core
 *   Limits    a budget of messages and bytes a step
 *
 * Invariant: an entry is on the list, or is done with and its message was handed to own.h or
 * dropped and counted.
 */
#pragma once

#include <lepus/err.h>
#include <lepus/queue_settings.h>

#include "dataplane/base/list.h"
#include "dataplane/broker/message.h"

struct lp_broker;
struct lp_queue_ref;

/* What a queue says about its dead.  Outlives the queue while some of them are dying. */
struct lp_dead_letters {
    uint32_t references; /* the queue's, and each dying entry's */
    uint32_t vhost_id;
    uint32_t queue_id;
    bool has_key;          /* else the message's own keys (C152) */
    struct lp_bytes queue; /* these three lie in data */
    struct lp_bytes exchange;
    struct lp_bytes key;
    uint8_t data[];
};

/* LP_ERR_NO_MEMORY.  Names are copied. */
LP_MUST_CHECK enum lp_err lp_dead_letters_make(struct lp_memory *memory,
                                               const struct lp_queue_ref *queue,
                                               const struct lp_queue_settings *settings,
                                               struct lp_dead_letters **ret_letters);
/* One reference less; clears it. */
void lp_dead_letters_put(struct lp_memory *memory, struct lp_dead_letters **letters);

struct lp_dying {
    struct lp_list entries; /* lp_entry.link, in order of death */
    lp_handle message;      /* what the first of them becomes, while its body is copied; or NONE */
    struct lp_message_body body; /* what is left to copy */
};

void lp_dying_init(struct lp_dying *dying);

/* Make dead letters of the dying, at most `budget`; gives how many are done with. */
uint32_t lp_dead_letter_step(struct lp_broker *broker, uint32_t budget);

/*
 * The message was routed: take those queues out of topology->route in which it
 * died before without having been rejected anywhere since (C153).
 */
void lp_dead_letter_cycles(struct lp_broker *broker, uint32_t vhost_id,
                           const struct lp_message *message);
