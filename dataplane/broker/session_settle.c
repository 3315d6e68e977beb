/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_settle.c - acknowledging, rejecting and requeueing by delivery number.
 */
#include "dataplane/broker/queue.h"
#include "dataplane/broker/session_private.h"

static struct lp_mesh_record
settles_record(const struct lp_session *session)
{
    const struct lp_settle_batch *batch = &session->settles;
    struct lp_mesh_record record = {
        .op = LP_MESH_SETTLE,
        .flags = (uint8_t)(batch->outcome | (batch->many ? LP_MESH_MANY : 0) |
                           session_tx_flags(session)),
        .a = batch->count,
        .w = {batch->subscription},
    };
    memcpy(&record.w[1], batch->entry, batch->count * sizeof(batch->entry[0]));
    return record;
}

static void
settles_sent(struct lp_session *session)
{
    session->settles.count = 0;
    lp_list_remove(&session->in_settles);
}

bool
session_settles_send(struct lp_session *session)
{
    struct lp_settle_batch *batch = &session->settles;
    if (batch->count == 0) {
        return true;
    }
    struct lp_mesh_record record = settles_record(session);
    if (record.flags & LP_MESH_STAGED) {
        LP_ASSERT(batch->count < LP_MESH_SETTLES_MAX);
        record.w[LP_MESH_SETTLES_MAX] = session->self;
    }
    if (!lp_mesh_news(&session->broker->mesh, batch->home_shard, &record)) {
        return false;
    }
    if (batch->home_shard == session->broker->shard) {
        session->gave_back |= batch->outcome != LP_SETTLE_ACK;
        session->acked = true;
        session->acked_end = lp_mesh_own_end(&session->broker->mesh);
    }
    settles_sent(session);
    return true;
}

bool
session_is_near_still(struct lp_session *session)
{
    const struct lp_mesh *mesh = &session->broker->mesh;
    session->gave_back = session->gave_back && !lp_mesh_own_empty(mesh);
    session->acked = session->acked && !lp_mesh_own_taken(mesh, session->acked_end);
    return !session->gave_back && !session->acked;
}

bool
session_settles_hand(struct lp_session *session)
{
    struct lp_broker *broker = session->broker;
    const struct lp_settle_batch *batch = &session->settles;
    if (batch->outcome != LP_SETTLE_ACK || batch->home_shard != broker->shard ||
        session_tx_flags(session) != 0 || !session_is_near(session)) {
        return session_settles_send(session);
    }
    const struct lp_mesh_record record = settles_record(session);
    settles_sent(session);
    const bool known = lp_queue_record(broker, broker->shard, &record);
    LP_ASSERT(known);
    return true;
}

/* Add one settlement to the open record; false: no room for the one before it. */
static bool
settle_add(struct lp_session *session, const struct lp_consumer *consumer, lp_handle entry,
           enum lp_settle outcome)
{
    struct lp_settle_batch *batch = &session->settles;
    LP_STATIC_ASSERT(LP_COUNT_OF(batch->entry) == LP_MESH_SETTLES_MAX, "one record holds a batch");
    /* Two home shards may use the same handle. */
    const bool other = batch->subscription != consumer->subscription ||
                       batch->home_shard != consumer->home_shard ||
                       batch->outcome != (uint8_t)outcome || batch->many != session->settling_many;
    const uint32_t most = LP_MESH_SETTLES_MAX - ((session_tx_flags(session) & LP_MESH_STAGED) != 0);
    if (batch->count > 0 && (other || batch->count >= most) && !session_settles_hand(session)) {
        return false;
    }
    batch->subscription = consumer->subscription;
    batch->queue_id = consumer->queue_id;
    batch->home_shard = consumer->home_shard;
    batch->outcome = (uint8_t)outcome;
    batch->many = session->settling_many;
    batch->entry[batch->count++] = entry;
    if (!lp_list_linked(&session->in_settles)) {
        lp_list_push_back(&session->broker->sessions_settling, &session->in_settles);
    }
    return true;
}

bool
session_settle_one(struct lp_session *session, uint64_t number, const struct lp_unacked *slot,
                   enum lp_settle outcome)
{
    struct lp_consumer *consumer = lp_pool_get(&session->broker->consumers, slot->consumer);
    if (consumer && !consumer->gone && !settle_add(session, consumer, slot->entry, outcome)) {
        return false;
    }
    lp_window_close(&session->unacked, number);
    if (outcome == LP_SETTLE_ACK) {
        session->broker->stats->messages_acknowledged++;
    }
    if (!consumer) {
        return true;
    }
    LP_ASSERT(consumer->open > 0);
    consumer->open--;
    if (consumer->limited) {
        LP_ASSERT(session->limited_open > 0);
        session->limited_open--;
        session_grants_serve(session);
    }
    session_consumer_retire(consumer);
    return true;
}

/* All that are open up to session->settle_upto; false: there was no room for all of them. */
static bool
settle_upto(struct lp_session *session, enum lp_settle outcome)
{
    uint64_t at = 0;
    const struct lp_unacked *slot;
    while ((slot = lp_window_next_open(&session->unacked, at, &at)) != NULL &&
           at <= session->settle_upto) {
        if (!session_settle_one(session, at, slot, outcome)) {
            return false;
        }
        at++;
    }
    return true;
}

enum lp_result
lp_session_settle(struct lp_session *session, uint64_t number, bool multiple,
                  enum lp_settle outcome)
{
    const uint64_t last = session->unacked.next - 1;
    if (!multiple) {
        const struct lp_unacked *slot = lp_window_get(&session->unacked, number);
        if (!slot) {
            return LP_UNKNOWN;
        }
        if (!session_settle_one(session, number, slot, outcome)) {
            session_wait(session);
            return LP_WAIT;
        }
        return LP_DONE;
    }
    if (number != 0 && !lp_window_get(&session->unacked, number)) {
        return LP_UNKNOWN;
    }
    if (session->settle_upto == 0) {
        session->settle_upto = number == 0 ? last : number;
    }
    session->settling_many = true;
    const bool all = settle_upto(session, outcome);
    session->settling_many = false;
    if (!all) {
        session_wait(session);
        return LP_WAIT; /* what is delivered before the repetition is not meant */
    }
    session->settle_upto = 0;
    if (outcome == LP_SETTLE_REQUEUE) {
        (void)session_settles_send(session); /* with the rest, if there is room */
    }
    return LP_DONE;
}
