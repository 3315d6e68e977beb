/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records.h - what shards say to each other over the mesh.
 *
 * C is the shard of a client's connection, H the home shard of a queue.
 * Handles of consumers and sessions are C's, of subscriptions and entries H's;
 * a message's handle is its owner's (the publisher's shard).
 */
#pragma once

#include "dataplane/mesh/mesh.h"

enum lp_mesh_op {
    /* C->H request.  a queue, w0 message, w1 session (0: no confirm wanted), w2 confirm number,
     * w3 body bytes, w4 expiration in ms, w5 priority (its low 8 bits), w6 the key of a reply queue
     * (reply.h), or w5's rest and w6: times (stamps.h); flags: enum lp_message_flag. */
    LP_MESH_ENQUEUE = 1,
    /* H->C reply.  Taken.  a: how many numbers, w0 session, w1..: numbers' low 32 bits, two a word.
     */
    LP_MESH_ENQUEUED,
    /* H->C reply.  Not taken: the loan comes back.  w0 message, w1 session, w2 number; flag NACK:
     * refused (else the queue was gone, which counts as taken: C105); flag KEPT: the loan stays,
     * the queue dead-letters what it refused. */
    LP_MESH_REFUSED,
    /* H->owner news.  Loans come back.  a: how many, w0..w6 messages. */
    LP_MESH_RELEASE,
    /* C->H request.  a queue, w0 consumer, w1 prefetch (0: no limit), w2 connection, w3 priority
     * (signed), flags NO_ACK EXCLUSIVE LIMITED SHARED. */
    LP_MESH_CONSUME,
    /* H->C reply.  a fault code or 0, w0 consumer, w1 subscription. */
    LP_MESH_CONSUMED,
    /* C->H request.  w0 subscription, w1 consumer.  No more deliveries; what is unacknowledged
       stays. */
    LP_MESH_CANCEL,
    LP_MESH_CANCELLED, /* H->C reply.  w0 consumer */
    /* C->H request.  w0 subscription, w1 consumer.  C is done with it: everything unacknowledged is
     * requeued, or, when the queue was deleted, given back (until then C may still read what was
     * delivered). */
    LP_MESH_DETACH,
    LP_MESH_DETACHED, /* H->C reply.  w0 consumer */
    /* H->C news.  a owner shard of the message, w0 consumer, w1 entry, w2 message, w6 how often it
     * came back, where the queue counts that; flags REDELIVERED, LIMITED (it used up a grant),
     * STAMPED (w3..w5 are times: stamps.h). */
    LP_MESH_DELIVER,
    /* C->H news.  a: how many deliveries C has written out since the last CREDIT, w0 subscription.
     * For NO_ACK subscriptions they are settled with it, oldest first. */
    LP_MESH_CREDIT,
    /* C->H news.  a: how many, w0 subscription, w1..w6 entries; flags: enum lp_settle, and MANY: of
     * one method that settles many, of which there may be more in the next record. */
    LP_MESH_SETTLE,
    /* H->C news.  A LIMITED subscription could deliver: a how many, w0 consumer. */
    LP_MESH_WANT,
    /* C->H news.  It may deliver a more, w0 subscription. */
    LP_MESH_GRANT,
    /* H->C news.  a grants were not used, w0 consumer. */
    LP_MESH_UNGRANT,
    /* C->H request.  basic.get: a queue, w0 consumer (a getter), w1 its subscription or 0, w2
     * connection; flag NO_ACK. */
    LP_MESH_GET,
    /* H->C reply.  a owner shard, w0 consumer, w1 entry, w2 message, w3 ready messages left, w4
     * subscription, w5 fault code or 0, w6 as DELIVER; flags EMPTY REDELIVERED. */
    LP_MESH_GOT,
    /* C->H request.  a queue, w0 session, w1 connection, w6 the key of a reply queue.  Count (and
     * PURGE: drop) ready messages. */
    LP_MESH_STAT,
    LP_MESH_PURGE,
    /* H->C reply.  a fault code or 0, w0 session, w1 ready messages (before a purge), w2 consumers.
     */
    LP_MESH_COUNTS,
    /* H->C news.  The queue was deleted under the consumer w0: C answers with DETACH. */
    LP_MESH_GONE,
    /* H->C news.  Deliveries to the consumer w0 wait for their acknowledgement for more than w1 ms;
     * said again while that is so. */
    LP_MESH_TIMEOUT,
    /* C->H request.  w1 session, w2 confirm number: answered, as an ENQUEUE, when all that was
     * said to H before is on disk.  With flag STAGED: w3 session, also where none is answered; flag
     * DROP. */
    LP_MESH_SYNC,
    LP_MESH_OP_COUNT,
};

/* Those that are for H; all others are for C. */
#define LP_MESH_OPS_HOME                                                                           \
    (1u << LP_MESH_ENQUEUE | 1u << LP_MESH_CONSUME | 1u << LP_MESH_CANCEL | 1u << LP_MESH_DETACH | \
     1u << LP_MESH_CREDIT | 1u << LP_MESH_SETTLE | 1u << LP_MESH_GRANT | 1u << LP_MESH_GET |       \
     1u << LP_MESH_STAT | 1u << LP_MESH_PURGE | 1u << LP_MESH_SYNC)
LP_STATIC_ASSERT(LP_MESH_OP_COUNT <= 32, "a bit an op");

enum lp_mesh_flag {
    LP_MESH_NO_ACK = 1,
    LP_MESH_EXCLUSIVE = 2,
    LP_MESH_LIMITED = 4, /* deliver only what was granted (prefetch shared by a channel) */
    LP_MESH_REDELIVERED = 8,
    LP_MESH_EMPTY = 16,
    LP_MESH_NACK = 32,
    LP_MESH_KEPT = 64,
    LP_MESH_SHARED =
        128, /* its channel has a shared prefetch, whether it counts against it or not */
};

/* In the flags of a SETTLE beside enum lp_settle. */
#define LP_MESH_MANY 128u

/*
 * In the flags of an ENQUEUE beside enum lp_message_flag: it came by a call, not by the mesh.  It
 * used no credit up, and is answered by a call.
 */
#define LP_MESH_NEAR 128u

/* In the flags of ENQUEUE and SETTLE: with what follows, up to a SYNC, it is one transaction, on
 * disk wholly or not at all. */
#define LP_MESH_TX 64u
/* ... that is too large to be said in one go, and is kept aside until its SYNC, which has this
 * flag, too.  A SETTLE has one entry less then, and the session in its place. */
#define LP_MESH_STAGED 32u
/* In the flags of such a SYNC: none of it is to be done. */
#define LP_MESH_DROP 16u

/* In the flags of a DELIVER: it is measured. */
#define LP_MESH_STAMPED 128u

#define LP_MESH_RELEASES_MAX 7u
#define LP_MESH_SETTLES_MAX  6u
#define LP_MESH_CONFIRMS_MAX 12u

/* Deliveries that may be on their way to, or waiting at, C for one subscription. */
#define LP_DELIVERY_WINDOW 256u
