/* SPDX-License-Identifier: Apache-2.0 */
/*
 * staging.h - transactions that are too large to be said in one go: their
 * home shards keep what they hear of one aside until they have heard all of
 * it, and do it then, tied: it is on disk wholly or not at all.
 *
 *   Memory    80 bytes for each record, and an entry for each message
 *   Runs on   the queues' home core
 *   Overload  no memory: all of the transaction is given up here, and its session told
 *
 * What is kept aside is answered at once, so that it holds no credit: a
 * transaction may be larger than all credits there are.  Nothing of it is
 * tied, and nobody waits for it, before the last of it is here.
 */
#pragma once

#include "dataplane/base/list.h"
#include "dataplane/broker/records.h"
#include "dataplane/mesh/mesh.h"

struct lp_broker;

struct lp_staging {
    struct lp_list open;         /* struct staged.link: not all of it is here */
    struct lp_list complete;     /* being done, one after the other */
    lp_handle entry;             /* of the message that is enqueued now; NONE: it was used */
    bool tied;                   /* the first one is being done */
    bool refused;                /* ... and some queue did not take what it got */
    bool starved[LP_SHARDS_MAX]; /* something from there found no memory at all */
};

void lp_staging_init(struct lp_staging *staging);
/* An ENQUEUE or SETTLE with LP_MESH_STAGED. */
void lp_staging_record(struct lp_broker *broker, uint32_t from,
                       const struct lp_mesh_record *record);
/* A SYNC with it: that was all, or LP_MESH_DROP: it is nothing. */
void lp_staging_sync(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record);
/* A queue did not take an ENQUEUE of it: what lp_queue_refuse() would do. */
void lp_staging_refused(struct lp_broker *broker, uint8_t flags);
/* Goes on with those that are complete; gives how much was done. */
uint32_t lp_staging_step(struct lp_broker *broker);
