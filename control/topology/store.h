/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - the contract of what keeps the topology: a map of byte keys to
 * byte values with a revision, and exactly two operations.
 *
 *   transact   all of a list of puts and deletes, if the revision is still the
 *              one the caller decided on; the revision grows by one
 *   watch      every change in order of revision, from a revision on; from 0
 *              it gives what exists first
 *
 * Keys are durable or transient.  Durable ones survive anything once transact
 * has returned; transient ones survive the death of this process but not that
 * of the broker, and a transaction of transient keys alone never waits for a
 * disk.  A key keeps its kind until it is deleted.
 *
 * Implementations: store_sqlite.c for one node, store_memory.c for simulations.
 * The contract is tests/unit/control/test_store.c, which runs over each.
 *
 *   Memory    keys and values are borrowed during a call; an event's are
 *             borrowed until the next call
 *   Runs on   control, one thread
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/err.h>

struct lp_store_op {
    struct lp_bytes key;
    struct lp_bytes value; /* put only */
    bool remove;
    bool durable;
};

enum lp_store_event_kind {
    LP_STORE_PUT,
    LP_STORE_DELETE,
    LP_STORE_REVISION, /* all of `revision` was given; after it the view is consistent */
};

struct lp_store_event {
    enum lp_store_event_kind kind;
    uint64_t revision;
    struct lp_bytes key;
    struct lp_bytes value;
};

struct lp_store {
    /*
     * Do all of it or nothing; a delete of what is not there is nothing.
     *
     * LP_ERR_CONFLICT  the revision is not `expected`
     * LP_ERR_NO_SPACE  there is no room; nothing happened
     * LP_ERR_IO        it may or may not have happened: watch from 0 to find out
     */
    enum lp_err (*transact)(void *self, uint64_t expected, const struct lp_store_op *ops,
                            size_t count, uint64_t *ret_revision);
    /*
     * Watch from after `revision`; replaces the watch before it.  Revision 0
     * gives every key in ascending order as LP_STORE_PUT, then LP_STORE_REVISION.
     *
     * LP_ERR_NOT_FOUND  so old that it is forgotten: watch from 0
     * LP_ERR_IO
     */
    enum lp_err (*watch)(void *self, uint64_t revision);
    /*
     * The next event.
     *
     * LP_ERR_NOT_FOUND  nothing now
     * LP_ERR_IO
     */
    enum lp_err (*next)(void *self, struct lp_store_event *ret_event);
    void *self;
};

/*
 * In memory; the struct outlives the control process that a simulation kills.
 * lp_store_memory_crash() is what the loss of the machine leaves: durable keys.
 */
struct lp_store_memory;
struct lp_store_memory *lp_store_memory_open(void);
void lp_store_memory_close(struct lp_store_memory **store);
void lp_store_memory_crash(struct lp_store_memory *store);
/* The n-th transaction from now fails with LP_ERR_IO: before (false) or after (true) it took
 * effect. */
void lp_store_memory_fail(struct lp_store_memory *store, uint32_t countdown, bool after);
/* From now on there is no room for any (true), or there is again. */
void lp_store_memory_fill(struct lp_store_memory *store, bool full);
/* How many transactions had to be durable. */
uint64_t lp_store_memory_syncs(const struct lp_store_memory *store);
struct lp_store lp_store_memory_store(struct lp_store_memory *store);

/*
 * Two SQLite files in `folder`: topology.db and transient.db.  `fresh`: a new
 * run of the broker begins, transient keys are gone.
 *
 * LP_ERR_IO  with a sentence for the operator in `ret_why`
 */
struct lp_store_sqlite;
LP_MUST_CHECK enum lp_err lp_store_sqlite_open(const char *folder, bool fresh,
                                               struct lp_store_sqlite **ret_store, char *ret_why,
                                               size_t why_bytes);
void lp_store_sqlite_close(struct lp_store_sqlite **store);
struct lp_store lp_store_sqlite_store(struct lp_store_sqlite *store);
