/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_feed.h - the watch of a store whose only writer is this process: a
 * queue of events that transactions fill and lp_store.next empties.
 *
 *   Memory    events are copied in
 *   Limits    history of LP_STORE_HISTORY_MAX revisions for watchers that come late
 */
#pragma once

#include "control/base/heap.h"
#include "control/topology/store.h"

#define LP_STORE_HISTORY_MAX 256u

/* Events of one revision, encoded. */
struct store_batch {
    uint64_t revision;
    struct lp_bytebuf events;
};

struct store_feed {
    struct lp_bytebuf pending; /* encoded events the watcher has not seen */
    size_t at;
    struct store_batch history[LP_STORE_HISTORY_MAX]; /* slot: revision modulo size */
    bool watching;
};

void store_feed_fini(struct store_feed *feed);
/* Put an event before the watcher (snapshots). */
void store_feed_push(struct store_feed *feed, const struct lp_store_event *event);
/* A transaction happened. */
void store_feed_committed(struct store_feed *feed, uint64_t revision, const struct lp_store_op *ops,
                          size_t count);
/* Start over after `revision`; `now` is the store's. LP_ERR_NOT_FOUND when history is too short. */
enum lp_err store_feed_watch(struct store_feed *feed, uint64_t revision, uint64_t now);
enum lp_err store_feed_next(struct store_feed *feed, struct lp_store_event *ret_event);
