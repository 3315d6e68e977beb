/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - opening, waiting and closing.
 */
#include "dataplane/broker/session_private.h"

struct lp_session *
lp_session_open(struct lp_broker *broker, const struct lp_session_ops *ops, void *owner,
                uint64_t connection)
{
    lp_handle self;
    struct lp_session *session = lp_pool_alloc(&broker->sessions, &self);
    if (!session) {
        return NULL;
    }
    session->ops = ops;
    session->owner = owner;
    session->broker = broker;
    session->self = self;
    session->connection = connection;
    /* The last credits are not for publishing. */
    lp_outgoing_init(&session->outgoing, LP_MESH_CREDITS_KEPT);
    lp_list_init(&session->consumers);
    lp_list_init(&session->wanting);
    lp_list_init(&session->pending);
    lp_window_init(&session->unacked, broker->memory, sizeof(struct lp_unacked));
    lp_window_init(&session->confirms, broker->memory, sizeof(struct lp_unconfirmed));
    return session;
}

void
session_wait(struct lp_session *session)
{
    if (!lp_list_linked(&session->in_waiting)) {
        lp_list_push_back(&session->broker->sessions_waiting, &session->in_waiting);
    }
}

void
lp_session_want_room(struct lp_session *session)
{
    session_wait(session);
}

/* ---- closing ---- */

static bool
consumer_detach(struct lp_consumer *consumer)
{
    struct lp_broker *broker = consumer->session->broker;
    const struct lp_mesh_record record = {
        .op = LP_MESH_DETACH,
        .a = consumer->no_ack ? consumer->credit_owed : 0,
        .w = {consumer->subscription, consumer->self},
    };
    if (!lp_mesh_request(&broker->mesh, consumer->home_shard, &record)) {
        return false;
    }
    consumer->state = LP_CONSUMER_DETACHING;
    consumer->busy = true;
    lp_list_remove(&consumer->in_news);
    lp_list_remove(&consumer->in_wanting);
    return true;
}

static void
session_finish(struct lp_session *session)
{
    struct lp_broker *broker = session->broker;
    lp_list_remove(&session->in_waiting);
    lp_list_remove(&session->in_confirms);
    lp_list_remove(&session->in_settles);
    session_reply_close(session);
    lp_window_fini(&session->unacked);
    lp_window_fini(&session->confirms);
    const struct lp_session_ops *ops = session->ops;
    void *owner = session->owner;
    lp_pool_release(&broker->sessions, session->self);
    ops->closed(owner);
}

/* Go on closing as far as there is room; what is busy answers first. */
static void
session_close_step(struct lp_session *session)
{
    if (!session_settles_send(session) || !session_tx_close(session)) {
        session_wait(session);
        return;
    }
    struct lp_list *at = session->consumers.next;
    while (at != &session->consumers) {
        struct lp_consumer *consumer = LP_LIST_ITEM(at, struct lp_consumer, in_session);
        at = at->next;
        /* A CANCEL may wait for the control process: DETACH goes after it and does not wait. */
        if (consumer->state == LP_CONSUMER_DETACHING ||
            (consumer->busy && consumer->state != LP_CONSUMER_CANCELLING)) {
            continue;
        }
        if (consumer->subscription == LP_HANDLE_NONE) {
            session_consumer_free(consumer);
        } else if (!consumer_detach(consumer)) {
            session_wait(session);
            return;
        }
    }
    if (lp_list_empty(&session->consumers)) {
        session_finish(session);
    }
}

void
lp_session_close(struct lp_session *session)
{
    if (session->closing) {
        return;
    }
    session->closing = true;
    lp_outgoing_abandon(session->broker, &session->outgoing);
    session_close_step(session);
}

uint32_t
lp_session_retry(struct lp_broker *broker)
{
    uint32_t count = 0;
    struct lp_list round;
    struct lp_list *link;
    lp_list_init(&round);
    while ((link = lp_list_pop_front(&broker->sessions_waiting)) != NULL) {
        lp_list_push_back(&round, link);
    }
    while ((link = lp_list_pop_front(&round)) != NULL) {
        struct lp_session *session = LP_LIST_ITEM(link, struct lp_session, in_waiting);
        count++;
        if (session->closing) {
            session_close_step(session);
            continue;
        }
        if (session->starved) {
            session->starved = false;
            session_pending_retry(session);
        }
        session->ops->room(session->owner);
    }
    return count;
}

/* ---- consumers as objects ---- */

struct lp_consumer *
session_consumer_alloc(struct lp_session *session, const struct lp_queue_ref *queue)
{
    lp_handle self;
    struct lp_consumer *consumer = lp_pool_alloc(&session->broker->consumers, &self);
    if (!consumer) {
        return NULL;
    }
    consumer->self = self;
    consumer->session = session;
    consumer->queue_id = queue->id;
    consumer->home_shard = queue->home_shard;
    lp_list_push_back(&session->consumers, &consumer->in_session);
    return consumer;
}

void
session_consumer_free(struct lp_consumer *consumer)
{
    struct lp_session *session = consumer->session;
    (void)session_pending_forget(consumer); /* who waits for a get goes, too */
    if (consumer->limited) {
        /* What is open stays so, but settling it will find no consumer to count it for. */
        LP_ASSERT(session->limited_open >= consumer->open);
        session->limited_open -= consumer->open;
    }
    session_grants_stop(consumer);
    lp_list_remove(&consumer->in_session);
    lp_list_remove(&consumer->in_news);
    lp_pool_release(&session->broker->consumers, consumer->self);
}

void
session_consumer_retire(struct lp_consumer *consumer)
{
    struct lp_session *session = consumer->session;
    const bool finished = consumer->state == LP_CONSUMER_CANCELLED && consumer->open == 0;
    if (session->closing || consumer->busy || !(consumer->gone || finished)) {
        return;
    }
    LP_ASSERT(consumer->pending == 0);
    /* Its last settlement may still be in the batch, and must come first. */
    if (!session_settles_send(session) || !consumer_detach(consumer)) {
        session_consumer_news(consumer); /* tried again at the flush */
    }
}

void
session_consumer_news(struct lp_consumer *consumer)
{
    if (!lp_list_linked(&consumer->in_news)) {
        lp_list_push_back(&consumer->session->broker->consumers_news, &consumer->in_news);
    }
}

/* ---- answers of the home shard ---- */

static void
record_consumed(struct lp_consumer *consumer, const struct lp_mesh_record *record)
{
    struct lp_session *session = consumer->session;
    consumer->busy = false;
    consumer->subscription = record->w[1];
    if (session->closing) {
        session_close_step(session);
        return;
    }
    const uint16_t code = (uint16_t)record->a;
    if (code == 0) {
        consumer->state = LP_CONSUMER_ACTIVE;
    }
    session->ops->consumed(session->owner, consumer, code);
    if (code != 0) {
        if (consumer->reply) {
            session_reply_close(session);
        }
        session_consumer_free(consumer);
    }
}

void
session_consumer_cancelled(struct lp_consumer *consumer)
{
    struct lp_session *session = consumer->session;
    consumer->state = LP_CONSUMER_CANCELLED;
    session->ops->cancelled(session->owner, consumer);
    if (consumer->reply) {
        session_reply_close(session);
    }
    session_consumer_retire(consumer);
}

static void
record_cancelled(struct lp_consumer *consumer)
{
    struct lp_session *session = consumer->session;
    if (consumer->state == LP_CONSUMER_DETACHING) {
        return;
    }
    consumer->busy = false;
    session_grants_stop(consumer);
    if (session->closing) {
        session_close_step(session);
        return;
    }
    if (consumer->pending == 0) {
        session_consumer_cancelled(consumer);
    } /* else deliveries that came before are written first (C114) */
}

/*
 * The queue was deleted.  Its home keeps what it had delivered until our
 * DETACH, so that nothing is read here that its owner has freed.
 */
static void
record_gone(struct lp_consumer *consumer)
{
    struct lp_session *session = consumer->session;
    if (consumer->state == LP_CONSUMER_DETACHING) {
        return; /* DETACHED follows */
    }
    consumer->gone = true;
    const bool got = session_pending_forget(consumer);
    session_grants_stop(consumer);
    if (session->closing) {
        return; /* the closing detaches it */
    }
    if (consumer->state == LP_CONSUMER_CANCELLING && !consumer->busy) {
        session_consumer_cancelled(consumer); /* it waited for what was forgotten just now */
        return;
    }
    if (consumer->state == LP_CONSUMER_ACTIVE) {
        consumer->state = LP_CONSUMER_CANCELLED;
        session->ops->gone(session->owner, consumer);
    } else if (got) {
        session->ops->got(session->owner, NULL, 0);
    }
    session_consumer_retire(consumer);
}

static void
record_detached(struct lp_consumer *consumer)
{
    struct lp_session *session = consumer->session;
    session_consumer_free(consumer);
    if (session->closing) {
        session_close_step(session);
    }
}

/* Not said when nobody can act on it: it will be said again. */
static void
record_timeout(struct lp_consumer *consumer, uint64_t timeout_ms)
{
    struct lp_session *session = consumer->session;
    if (session->closing || consumer->state == LP_CONSUMER_DETACHING) {
        return;
    }
    session->ops->timed_out(session->owner, timeout_ms);
}

bool
session_record_answer(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_consumer *consumer = lp_pool_get(&broker->consumers, record->w[0]);
    if (!consumer) {
        return true;
    }
    switch (record->op) {
    case LP_MESH_CONSUMED:
        record_consumed(consumer, record);
        return true;
    case LP_MESH_CANCELLED:
        record_cancelled(consumer);
        return true;
    case LP_MESH_DETACHED:
        record_detached(consumer);
        return true;
    case LP_MESH_GONE:
        record_gone(consumer);
        return true;
    case LP_MESH_TIMEOUT:
        record_timeout(consumer, record->w[1]);
        return true;
    default:
        return false;
    }
}
