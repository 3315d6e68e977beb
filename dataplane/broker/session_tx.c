/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_tx.c - transactions: publishes and settlements that wait for their
 * commit (C110, C111, C112).
 *
 * A publish is routed when it comes, and sent with the commit.  A delivery
 * that is settled keeps its slot in the window of unacknowledged ones, with
 * the outcome as a mark in it: so a rollback forgets marks, and a second
 * acknowledgement finds that there has been one.  With the commit settlements
 * run in order of delivery, whatever their outcomes.
 */
#include "dataplane/broker/session_private.h"

/* Deliveries looked at in one step. */
#define STEP_MAX 1024u
/* Records that a commit may be, to each shard, and still be said in one go. */
#define WHOLE_MAX 512u

/* Outcomes + 1, in bits of a consumer's handle that no pool's index reaches. */
#define MARK_SHIFT 30u
#define MARK_MASK  ((lp_handle)3u << MARK_SHIFT)
LP_STATIC_ASSERT(LP_SETTLE_DISCARD + 1 <= 3, "an outcome and none fit two bits");

/* ---- marks ---- */

static bool
is_marked(const struct lp_unacked *slot)
{
    return (slot->consumer & MARK_MASK) != 0;
}

static enum lp_settle
mark_outcome(const struct lp_unacked *slot)
{
    return (enum lp_settle)((slot->consumer & MARK_MASK) >> MARK_SHIFT) - 1;
}

static void
mark(struct lp_tx *tx, struct lp_unacked *slot, uint64_t number, enum lp_settle outcome)
{
    LP_ASSERT(!is_marked(slot));
    slot->consumer |= (lp_handle)(outcome + 1) << MARK_SHIFT;
    tx->settle_first = tx->settle_count == 0 ? number : LP_MIN(tx->settle_first, number);
    tx->settle_count++;
}

/* ---- settlements that wait ---- */

enum lp_result
lp_session_tx_settle(struct lp_session *session, uint64_t number, bool multiple,
                     enum lp_settle outcome)
{
    struct lp_tx *tx = session->tx;
    struct lp_unacked *slot = lp_window_get(&session->unacked, number);
    const bool all = multiple && number == 0;
    if (!all && (!slot || is_marked(slot))) {
        return LP_UNKNOWN;
    }
    if (!multiple) {
        mark(tx, slot, number, outcome);
        return LP_DONE;
    }
    const uint64_t upto = all ? session->unacked.next - 1 : number;
    uint64_t at = tx->settle_whole;
    while ((slot = lp_window_next_open(&session->unacked, at, &at)) != NULL && at <= upto) {
        if (!is_marked(slot)) {
            mark(tx, slot, at, outcome);
        }
        at++;
    }
    tx->settle_whole = upto + 1;
    return LP_DONE;
}

/* The next marked delivery; NULL: none is left, or enough was looked at. */
static struct lp_unacked *
marked_next(struct lp_session *session, uint32_t *budget)
{
    struct lp_tx *tx = session->tx;
    while (tx->settle_count > 0 && *budget > 0) {
        struct lp_unacked *slot =
            lp_window_next_open(&session->unacked, tx->settle_first, &tx->settle_first);
        LP_ASSERT(slot); /* what is marked is open */
        (*budget)--;
        if (is_marked(slot)) {
            return slot;
        }
        tx->settle_first++;
    }
    return NULL;
}

/* One mark less, at settle_first. */
static void
marked_done(struct lp_tx *tx)
{
    tx->settle_first++;
    tx->settle_count--;
}

/* False: no room, or enough for one step. */
static bool
marked_settle(struct lp_session *session)
{
    struct lp_tx *tx = session->tx;
    uint32_t budget = STEP_MAX;
    const struct lp_unacked *slot;
    while ((slot = marked_next(session, &budget)) != NULL) {
        const struct lp_unacked plain = {slot->entry, slot->consumer & ~MARK_MASK};
        const struct lp_consumer *consumer =
            lp_pool_get(&session->broker->consumers, plain.consumer);
        tx->settled |= consumer ? 1ull << consumer->home_shard : 0;
        if (!session_settle_one(session, tx->settle_first, &plain, mark_outcome(slot))) {
            return false;
        }
        marked_done(tx);
    }
    return tx->settle_count == 0;
}

static uint64_t
shards_all(const struct lp_session *session)
{
    const uint32_t count = session->broker->mesh.count;
    return count >= 64 ? UINT64_MAX : (1ull << count) - 1;
}

/* Not all could be said, for want of memory: what was has an end, on these shards, all the same. */
static void
commit_cut(struct lp_session *session, uint64_t shards)
{
    const struct lp_mesh_record end = {.op = LP_MESH_SYNC};
    if (!session->tx->whole || session->tx->staged) {
        return;
    }
    session->tx->whole = false;
    for (; shards != 0; shards &= shards - 1) {
        const bool sent =
            lp_mesh_request(&session->broker->mesh, (uint32_t)__builtin_ctzll(shards), &end);
        LP_ASSERT(sent); /* there was room for it */
    }
}

/* What was settled is committed when it is on disk.  False: no room to ask now. */
static bool
settled_ask(struct lp_session *session)
{
    struct lp_tx *tx = session->tx;
    if (!session->broker->store) {
        tx->settled = 0; /* there is no disk */
    }
    if (!session_settles_send(session)) {
        return false;
    }
    if (tx->whole && !tx->ending) {
        tx->settled = shards_all(session); /* each must hear its end */
        tx->ending = tx->staged;
    }
    while (tx->settled != 0) {
        const uint32_t shard = (uint32_t)__builtin_ctzll(tx->settled);
        uint64_t number;
        struct lp_unconfirmed *slot =
            lp_mesh_request_room(&session->broker->mesh, shard) > session->outgoing.credits_kept
                ? lp_window_append(&session->confirms, &number)
                : NULL;
        if (!slot) {
            commit_cut(session, tx->settled);
            return false;
        }
        slot->remaining = 1;
        const struct lp_mesh_record record = {
            .op = LP_MESH_SYNC,
            .flags = tx->staged ? LP_MESH_STAGED : 0,
            .w = {LP_HANDLE_NONE, session->self, number, session->self},
        };
        const bool sent = lp_mesh_request(&session->broker->mesh, shard, &record);
        LP_ASSERT(sent);
        tx->settled &= tx->settled - 1;
    }
    tx->whole = false;
    tx->staged = false;
    return true;
}

static bool
marked_forget(struct lp_session *session)
{
    uint32_t budget = STEP_MAX;
    struct lp_unacked *slot;
    while ((slot = marked_next(session, &budget)) != NULL) {
        slot->consumer &= ~MARK_MASK;
        marked_done(session->tx);
    }
    return session->tx->settle_count == 0;
}

enum lp_result
lp_session_tx_recover(struct lp_session *session)
{
    struct lp_tx *tx = session->tx;
    const struct lp_unacked *slot;
    uint64_t at = tx->settle_whole;
    if (session->settle_upto == 0) {
        session->settle_upto = session->unacked.next - 1;
    }
    while ((slot = lp_window_next_open(&session->unacked, at, &at)) != NULL &&
           at <= session->settle_upto) {
        if (!is_marked(slot) && !session_settle_one(session, at, slot, LP_SETTLE_REQUEUE)) {
            session_wait(session);
            return LP_WAIT;
        }
        at++;
    }
    session->settle_upto = 0;
    return LP_DONE;
}

/* ---- the transaction ---- */

bool
lp_session_tx_select(struct lp_session *session)
{
    if (session->tx) {
        return true;
    }
    session->tx = lp_memory_alloc(session->broker->memory, sizeof(*session->tx));
    if (!session->tx) {
        session_wait(session);
        return false;
    }
    memset(session->tx, 0, sizeof(*session->tx));
    lp_list_init(&session->tx->publishes);
    return true;
}

static void
tx_begin_anew(struct lp_tx *tx)
{
    tx->settle_whole = 0;
    tx->settled = 0;
    tx->whole = false;
    tx->staged = false;
    tx->ending = false;
    tx->begun = false;
    tx->answers_due = false;
    tx->refused = false;
}

void
session_tx_answered(struct lp_session *session, bool refused)
{
    struct lp_tx *tx = session->tx;
    tx->refused = tx->refused || refused;
    if (tx->answers_due && session->confirms.open_count == 0) {
        const bool partial = tx->refused;
        tx_begin_anew(tx);
        session->ops->committed(session->owner, partial);
    }
}

/* Records that it is, each settlement one at the most; more than a commit in one go may be:
 * WHOLE_MAX + 1. */
static uint32_t
commit_records(const struct lp_session *session)
{
    const uint64_t count =
        session->tx->settle_count + session_tx_publish_records(session, WHOLE_MAX + 1);
    return (uint32_t)LP_MIN(count, (uint64_t)WHOLE_MAX + 1);
}

/*
 * Is there room for all of it on the way to every shard?  What is then said in
 * one turn is noted there in one turn, and is one chain of the log.  Else, of a
 * commit that is not too large for it: false, it waits.  One that is goes as
 * there is room, and is kept aside by each shard until all of it is there.
 */
static bool
commit_whole(struct lp_session *session)
{
    struct lp_broker *broker = session->broker;
    struct lp_tx *tx = session->tx;
    const uint32_t records = commit_records(session);
    if (!broker->store || records == 0 || tx->begun ||
        session->outgoing.message != LP_HANDLE_NONE) {
        return true;
    }
    if (records > WHOLE_MAX) {
        if (!session_settles_send(session)) { /* what comes before it */
            return false;
        }
        tx->staged = true;
        tx->whole = true;
        return true;
    }
    for (uint32_t i = 0; i < broker->mesh.count; i++) {
        if (!lp_mesh_request_fits(&broker->mesh, i, records + session->outgoing.credits_kept + 2)) {
            return false;
        }
    }
    tx->whole = true;
    return true;
}

enum lp_result
lp_session_tx_commit(struct lp_session *session)
{
    LP_ASSERT(session->tx);
    if (!commit_whole(session)) {
        session_wait(session);
        return LP_WAIT;
    }
    session->tx->begun = true;
    if (!session_tx_publishes_send(session) || !marked_settle(session) || !settled_ask(session)) {
        commit_cut(session, shards_all(session));
        session_wait(session);
        return LP_WAIT;
    }
    session->tx->answers_due = true;
    session_tx_answered(session, false); /* perhaps it was all it waited for */
    return LP_LATER;
}

enum lp_result
lp_session_tx_rollback(struct lp_session *session)
{
    LP_ASSERT(session->tx);
    if (!session_tx_publishes_drop(session) || !marked_forget(session)) {
        session_wait(session);
        return LP_WAIT;
    }
    tx_begin_anew(session->tx);
    return LP_DONE;
}

/* The shards that keep something of a commit aside, and have not heard its end, never will hear
 * all of it.  False: no room to say so to all of them now. */
static bool
staged_drop(struct lp_session *session)
{
    struct lp_tx *tx = session->tx;
    const struct lp_mesh_record record = {
        .op = LP_MESH_SYNC,
        .flags = LP_MESH_STAGED | LP_MESH_DROP,
        .w = {LP_HANDLE_NONE, LP_HANDLE_NONE, 0, session->self},
    };
    if (!tx->staged) {
        return true;
    }
    if (!tx->ending) {
        tx->settled = shards_all(session);
        tx->ending = true;
    }
    while (tx->settled != 0) {
        if (!lp_mesh_request(&session->broker->mesh, (uint32_t)__builtin_ctzll(tx->settled),
                             &record)) {
            return false;
        }
        tx->settled &= tx->settled - 1;
    }
    tx->staged = false;
    return true;
}

bool
session_tx_close(struct lp_session *session)
{
    if (!session->tx) {
        return true;
    }
    if (!staged_drop(session) || !session_tx_publishes_drop(session)) {
        return false;
    }
    void *block = session->tx;
    lp_memory_release(session->broker->memory, &block);
    session->tx = NULL;
    return true;
}
