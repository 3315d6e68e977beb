/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.h - what was published, confirmed and delivered, and whether that is
 * what a broker may do.
 *
 * Invariants checked as things happen:
 *   L1  a delivered body is one that was published, whole, to that queue
 *   L2  per consumer, queue and publisher, first deliveries come in publish order
 *   L3  a message is handed out at most once without the redelivered mark
 *       (slow readers may see that one last)
 *   L4  what was acknowledged for certain is not delivered to a connection made later
 *       (one made earlier may have had it, unread, all along)
 *   L5  an unroutable mandatory message is returned before it is confirmed
 * and at the end, when every queue was drained:
 *   L6  every confirmed message was delivered from every queue it was for
 */
#pragma once

#include <lepus/bytes.h>

#define LEDGER_QUEUES_MAX 16u

struct ledger_message {
    uint32_t targets;    /* bit per queue */
    uint32_t handed;     /* delivered at least once */
    uint32_t first;      /* ... without the redelivered mark */
    uint32_t settled;    /* acknowledged on a connection that closed in order */
    uint64_t settled_ns; /* ... and when the last of those closed */
    bool confirmed;
    bool mandatory;
    bool returned;
};

struct ledger_publisher {
    struct ledger_message *message; /* sequence n is message[n - 1] */
    uint64_t count;
    uint64_t room;
};

struct ledger {
    struct ledger_publisher *publisher;
    uint32_t count;
    uint32_t room;
    uint32_t lossy; /* queues where a message may have been on its way to a consumer that does not
                       acknowledge and died */
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t confirmed;
    uint64_t digest; /* of everything above, in order */
};

void ledger_init(struct ledger *ledger);
void ledger_fini(struct ledger *ledger);
/* A new publisher (one channel's life); gives its number. */
uint32_t ledger_publisher_add(struct ledger *ledger);
/* It publishes its next message; gives its sequence number, from 1. */
uint64_t ledger_publish(struct ledger *ledger, uint32_t publisher, uint32_t targets,
                        bool mandatory);
void ledger_confirm(struct ledger *ledger, uint32_t publisher, uint64_t sequence);
void ledger_return(struct ledger *ledger, uint32_t publisher, uint64_t sequence);
/* `last_first`: the consumer's own note of its last first delivery from this queue and publisher.
 */
struct ledger_delivery {
    uint32_t queue;
    uint32_t publisher;
    uint64_t sequence;
    bool redelivered;
    uint64_t connected_ns; /* when the consumer's connection was made */
};
void ledger_deliver(struct ledger *ledger, const struct ledger_delivery *delivery,
                    uint64_t *last_first);
/* `queue`, `publisher`, `sequence` were acknowledged for certain, now. */
void ledger_settled(struct ledger *ledger, const struct ledger_delivery *delivery, uint64_t now_ns);
/* The end: L6. */
void ledger_close(const struct ledger *ledger);

/* Bodies carry who and which, and bytes that depend on both. */
#define LEDGER_BODY_BYTES_MIN 16u
void ledger_body_write(uint8_t *body, uint32_t bytes, uint32_t publisher, uint64_t sequence);
/* Checks L1's "whole". */
void ledger_body_read(struct lp_bytes body, uint32_t *ret_publisher, uint64_t *ret_sequence);
