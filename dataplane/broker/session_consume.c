/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_consume.c - what a client asks of a queue beside its messages' way:
 * consume, cancel, get, counts.
 */
#include "dataplane/broker/session_private.h"

bool
session_request(struct lp_session *session, uint32_t home_shard,
                const struct lp_mesh_record *record)
{
    if (session_settles_send(session) &&
        lp_mesh_request(&session->broker->mesh, home_shard, record)) {
        return true;
    }
    session_wait(session);
    return false;
}

enum lp_result
lp_session_consume(struct lp_session *session, const struct lp_consume *consume,
                   struct lp_consumer **ret_consumer)
{
    struct lp_consumer *consumer = session_consumer_alloc(session, consume->queue);
    if (!consumer) {
        session_wait(session);
        return LP_WAIT;
    }
    consumer->no_ack = consume->no_ack;
    consumer->limited = session->prefetch_shared > 0;
    consumer->user = consume->user;
    consumer->state = LP_CONSUMER_ATTACHING;
    const struct lp_mesh_record record = {
        .op = LP_MESH_CONSUME,
        .flags = (uint8_t)((consume->no_ack ? LP_MESH_NO_ACK : 0) |
                           (consume->exclusive ? LP_MESH_EXCLUSIVE : 0) |
                           (consumer->limited ? LP_MESH_LIMITED : 0) |
                           (session->prefetch_shared > 0 ? LP_MESH_SHARED : 0)),
        .a = consume->queue->id,
        .w = {consumer->self, consume->prefetch, session->connection, (uint32_t)consume->priority},
    };
    if (!session_request(session, consumer->home_shard, &record)) {
        session_consumer_free(consumer);
        return LP_WAIT;
    }
    consumer->busy = true;
    *ret_consumer = consumer;
    return LP_LATER;
}

enum lp_result
lp_session_cancel(struct lp_session *session, struct lp_consumer *consumer)
{
    LP_ASSERT(consumer->session == session);
    if (consumer->gone || consumer->state != LP_CONSUMER_ACTIVE) {
        return LP_DONE;
    }
    const struct lp_mesh_record record = {
        .op = LP_MESH_CANCEL,
        .w = {consumer->subscription, consumer->self},
    };
    if (!session_request(session, consumer->home_shard, &record)) {
        return LP_WAIT;
    }
    consumer->busy = true;
    consumer->state = LP_CONSUMER_CANCELLING;
    return LP_LATER;
}

/* One getter for each queue and way of acknowledging. */
static struct lp_consumer *
session_getter(struct lp_session *session, const struct lp_queue_ref *queue, bool no_ack)
{
    for (struct lp_list *at = session->consumers.next; at != &session->consumers; at = at->next) {
        struct lp_consumer *consumer = LP_LIST_ITEM(at, struct lp_consumer, in_session);
        if (consumer->state == LP_CONSUMER_GETTER && consumer->queue_id == queue->id &&
            consumer->no_ack == no_ack && !consumer->gone) {
            return consumer;
        }
    }
    struct lp_consumer *getter = session_consumer_alloc(session, queue);
    if (getter) {
        getter->state = LP_CONSUMER_GETTER;
        getter->no_ack = no_ack;
    }
    return getter;
}

enum lp_result
lp_session_get(struct lp_session *session, struct lp_queue_ref *queue, bool no_ack)
{
    struct lp_consumer *getter = session_getter(session, queue, no_ack);
    if (!getter) {
        session_wait(session);
        return LP_WAIT;
    }
    LP_ASSERT(!getter->busy);
    const struct lp_mesh_record record = {
        .op = LP_MESH_GET,
        .flags = no_ack ? LP_MESH_NO_ACK : 0,
        .a = queue->id,
        .w = {getter->self, getter->subscription, session->connection},
    };
    if (!session_request(session, queue->home_shard, &record)) {
        if (getter->subscription == LP_HANDLE_NONE) {
            session_consumer_free(getter);
        }
        return LP_WAIT;
    }
    getter->busy = true;
    session->getting = queue->id;
    return LP_LATER;
}

static enum lp_result
session_count(struct lp_session *session, const struct lp_queue_ref *queue, enum lp_mesh_op op)
{
    const struct lp_mesh_record record = {
        .op = (uint8_t)op,
        .a = queue->id,
        .w = {session->self, session->connection},
    };
    if (!session_request(session, queue->home_shard, &record)) {
        return LP_WAIT;
    }
    return LP_LATER;
}

enum lp_result
lp_session_stat(struct lp_session *session, struct lp_queue_ref *queue)
{
    return session_count(session, queue, LP_MESH_STAT);
}

enum lp_result
lp_session_purge(struct lp_session *session, struct lp_queue_ref *queue)
{
    return session_count(session, queue, LP_MESH_PURGE);
}
