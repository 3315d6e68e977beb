/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_deliver.c - consuming: from a DELIVER record to the protocol's
 * output, credits back, and the prefetch that consumers share.
 */
#include "dataplane/broker/session_private.h"

/* Credits are told when this many are owed: a quarter of the window keeps the home shard going. */
#define CREDIT_BATCH (LP_DELIVERY_WINDOW / 4u)

/* The most grants one consumer gets at a time, so that its neighbours are not starved. */
#define GRANT_BATCH 16u

/* ---- writing deliveries out ---- */

/* It is memory that is short, so no output_ready() may ever come: try again with room(). */
static void
delivery_starved(struct lp_session *session)
{
    const struct lp_memory *memory = session->broker->memory;
    const uint64_t limit = lp_memory_limit_bytes(memory);
    if (lp_memory_pressed(memory) || limit - lp_memory_used_bytes(memory) < limit / 4) {
        session->starved = true;
        session_wait(session);
    }
}

/* The queue of a delivery of which the firehose has a copy (C163), or NULL. */
static const struct lp_queue_ref *
delivery_traced(const struct lp_consumer *consumer, const struct lp_message *message)
{
    const struct lp_broker *broker = consumer->session->broker;
    const struct lp_queue_ref *queue =
        consumer->reply ? NULL : lp_topology_queue_by_id(&broker->topology, consumer->queue_id);
    return queue && lp_trace_wanted(broker, queue->vhost_id, message) ? queue : NULL;
}

/* Without room for that copy the delivery waits. */
static bool
delivery_trace_room(const struct lp_consumer *consumer, const struct lp_message *message)
{
    struct lp_session *session = consumer->session;
    if (lp_own_room(&session->broker->own) || !delivery_traced(consumer, message)) {
        return true;
    }
    session->starved = true;
    session_wait(session);
    return false;
}

static void
delivery_trace(const struct lp_consumer *consumer, const struct lp_message *message,
               bool redelivered)
{
    const struct lp_queue_ref *queue = delivery_traced(consumer, message);
    if (queue) {
        lp_trace_delivered(consumer->session, queue, message, redelivered);
    }
}

/* It was written, and its home shard is to hear of it. */
static void
delivery_credit(struct lp_consumer *consumer)
{
    consumer->credit_owed++;
    if (consumer->no_ack || consumer->credit_owed >= CREDIT_BATCH) {
        session_consumer_news(consumer);
    }
}

/* It waited for its turn under the limit like those that are acknowledged, and is no part of it now
 * (C125). */
LP_COLD static void
delivery_uncount(struct lp_session *session)
{
    LP_ASSERT(session->limited_open > 0);
    session->limited_open--;
    session_grants_serve(session);
}

/* Write it now; false: no room in the protocol's output, or no memory for its number. */
static bool
delivery_write(struct lp_consumer *consumer, const struct lp_pending *pending, bool force)
{
    struct lp_session *session = consumer->session;
    struct lp_broker *broker = session->broker;
    const struct lp_message *message =
        lp_message_of(broker->mesh.fabric->messages[pending->owner], pending->message);
    if (!force && !session->ops->can_deliver(session->owner, message)) {
        delivery_starved(session);
        return false;
    }
    if (LP_UNLIKELY(broker->topology.traced > 0) && !force &&
        !delivery_trace_room(consumer, message)) {
        return false;
    }
    struct lp_delivery delivery = {
        .consumer = consumer,
        .message = message,
        .redelivered = pending->redelivered,
        .ready_left = (uint32_t)LP_MIN(pending->ready_left, (uint64_t)UINT32_MAX),
        .returns = pending->returns,
    };
    if (consumer->no_ack) {
        delivery.number = session->unacked.next;
        if (!consumer->reply) {
            lp_window_skip(&session->unacked);
        }
        if (LP_UNLIKELY(consumer->limited)) {
            delivery_uncount(session);
        }
    } else {
        struct lp_unacked *slot = lp_window_append(&session->unacked, &delivery.number);
        if (!slot) {
            delivery_starved(session);
            return false;
        }
        slot->entry = pending->entry;
        slot->consumer = consumer->self;
        consumer->open++;
    }
    if (LP_UNLIKELY(broker->topology.traced > 0)) {
        delivery_trace(consumer, message, pending->redelivered);
    }
    if (pending->got) {
        session->ops->got(session->owner, &delivery, 0);
    } else {
        broker->stats->messages_delivered++;
        session->ops->deliver(session->owner, &delivery);
    }
    return true;
}

/* A cancel was answered while deliveries were pending; the last of them is out (C114). */
static void
pending_cancel_done(struct lp_consumer *consumer)
{
    if (consumer->pending == 0 && consumer->state == LP_CONSUMER_CANCELLING && !consumer->busy) {
        session_consumer_cancelled(consumer);
    }
}

void
session_pending_retry(struct lp_session *session)
{
    while (!session->closing && !lp_list_empty(&session->pending)) {
        struct lp_pending *pending = LP_LIST_ITEM(session->pending.next, struct lp_pending, link);
        struct lp_consumer *consumer = pending->consumer;
        if (!delivery_write(consumer, pending, false)) {
            return;
        }
        delivery_credit(consumer);
        if (!pending->got && LP_UNLIKELY(pending->stamped)) {
            lp_stamps_kept_written(consumer, pending);
        }
        lp_list_remove(&pending->link);
        lp_pool_release(&session->broker->deliveries, pending->self);
        consumer->pending--;
        pending_cancel_done(consumer);
    }
}

bool
session_pending_forget(struct lp_consumer *consumer)
{
    struct lp_session *session = consumer->session;
    struct lp_list *at = session->pending.next;
    bool got = false;
    if (consumer->limited) {
        LP_ASSERT(session->limited_open >= consumer->pending);
        session->limited_open -= consumer->pending;
    }
    while (consumer->pending > 0 && at != &session->pending) {
        struct lp_pending *pending = LP_LIST_ITEM(at, struct lp_pending, link);
        at = at->next;
        if (pending->consumer == consumer) {
            got = got || pending->got;
            lp_list_remove(&pending->link);
            lp_pool_release(&session->broker->deliveries, pending->self);
            consumer->pending--;
        }
    }
    LP_ASSERT(consumer->pending == 0);
    return got;
}

void
lp_session_output_ready(struct lp_session *session)
{
    session_pending_retry(session);
}

/* Not a byte is left to number it: it stays unacknowledged at its queue until the channel goes. */
static void
delivery_lost(struct lp_consumer *consumer, const struct lp_pending *what)
{
    struct lp_session *session = consumer->session;
    if (consumer->limited) {
        session->limited_open--;
        session_grants_serve(session);
    }
    if (what->got) {
        session->ops->got(session->owner, NULL, LP_FAULT_RESOURCE_ERROR);
    }
}

/* Keep it until there is room.  Without memory even for that it is written past the mark. */
static void
delivery_keep(struct lp_consumer *consumer, const struct lp_pending *what)
{
    struct lp_session *session = consumer->session;
    lp_handle self;
    struct lp_pending *pending = lp_pool_alloc(&session->broker->deliveries, &self);
    if (!pending) {
        if (delivery_write(consumer, what, true)) {
            delivery_credit(consumer);
        } else {
            delivery_lost(consumer, what);
        }
        return;
    }
    *pending = *what;
    pending->link = (struct lp_list){NULL, NULL};
    pending->self = self;
    lp_list_push_back(&session->pending, &pending->link);
    consumer->pending++;
    if (LP_UNLIKELY(session->broker->stamping.in_hand != NULL)) {
        lp_stamps_kept(session->broker, pending);
    }
}

static void
record_got_nothing(struct lp_consumer *consumer, uint16_t code)
{
    struct lp_session *session = consumer->session;
    if (consumer->subscription == LP_HANDLE_NONE) {
        session_consumer_free(consumer);
    } else {
        session_consumer_retire(consumer); /* its queue may be gone */
    }
    session->ops->got(session->owner, NULL, code);
}

/* It comes for a grant, or was on its way when the limit came: one more that is under way either
 * way. */
static void
delivery_count(struct lp_consumer *consumer, bool granted)
{
    if (granted) {
        LP_ASSERT(consumer->granted > 0);
        consumer->granted--;
    } else if (consumer->limited) {
        consumer->session->limited_open++;
    }
}

/* True: it is written; false: it is kept until there is room. */
static inline bool
delivery_take(struct lp_consumer *consumer, const struct lp_mesh_record *record, bool got)
{
    struct lp_session *session = consumer->session;
    const struct lp_pending pending = {
        .consumer = consumer,
        .entry = record->w[1],
        .message = record->w[2],
        .ready_left = record->w[3],
        .returns = (uint32_t)record->w[6],
        .owner = (uint16_t)record->a,
        .redelivered = (record->flags & LP_MESH_REDELIVERED) != 0,
        .got = got,
    };
    LP_ASSERT(record->a < session->broker->mesh.count);
    delivery_count(consumer, (record->flags & LP_MESH_LIMITED) != 0);
    if (LP_LIKELY(lp_list_empty(&session->pending)) && delivery_write(consumer, &pending, false)) {
        return true;
    }
    delivery_keep(consumer, &pending);
    return false;
}

void
session_record_deliver(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_consumer *consumer = lp_pool_get(&broker->consumers, record->w[0]);
    /* Detached: its home shard requeues what was on its way. */
    if (LP_LIKELY(consumer && !consumer->session->closing &&
                  consumer->state != LP_CONSUMER_DETACHING) &&
        delivery_take(consumer, record, false)) {
        delivery_credit(consumer);
    }
}

void
session_record_got(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_consumer *consumer = lp_pool_get(&broker->consumers, record->w[0]);
    if (!consumer) {
        return;
    }
    struct lp_session *session = consumer->session;
    const bool empty = (record->flags & LP_MESH_EMPTY) != 0;
    consumer->busy = false;
    session->getting = 0;
    if (!empty) {
        consumer->subscription = record->w[4];
    }
    if (session->closing || consumer->state == LP_CONSUMER_DETACHING) {
        session_wait(session); /* goes on closing */
    } else if (empty) {
        record_got_nothing(consumer, (uint16_t)record->w[5]);
    } else if (delivery_take(consumer, record, true)) {
        delivery_credit(consumer);
    }
}

bool
lp_session_near_ready(struct lp_broker *broker, lp_handle handle, bool limited)
{
    const struct lp_consumer *consumer = lp_pool_get(&broker->consumers, handle);
    return !consumer || (consumer->state != LP_CONSUMER_ATTACHING && consumer->limited == limited &&
                         consumer->session->getting != consumer->queue_id);
}

bool
lp_session_deliver_now(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_consumer *consumer = lp_pool_get(&broker->consumers, record->w[0]);
    if (!consumer || consumer->state != LP_CONSUMER_ACTIVE || consumer->limited ||
        consumer->session->closing || consumer->session->getting == consumer->queue_id ||
        !lp_list_empty(&consumer->session->pending)) {
        return false;
    }
    const struct lp_pending now = {
        .consumer = consumer,
        .message = record->w[2],
        .owner = (uint16_t)record->a,
    };
    return delivery_write(consumer, &now, false);
}

bool
lp_session_deliver(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_consumer *consumer = lp_pool_get(&broker->consumers, record->w[0]);
    if (!consumer || consumer->session->closing || consumer->state == LP_CONSUMER_DETACHING) {
        return false;
    }
    return delivery_take(consumer, record, false);
}

/* ---- the prefetch that consumers share ---- */

static bool
grants_left(const struct lp_session *session, uint32_t *ret_left)
{
    if (session->prefetch_shared == 0) {
        *ret_left = GRANT_BATCH;
        return true;
    }
    *ret_left = session->prefetch_shared > session->limited_open
                    ? session->prefetch_shared - session->limited_open
                    : 0;
    return *ret_left > 0;
}

void
session_grants_serve(struct lp_session *session)
{
    uint32_t left;
    while (!session->closing && grants_left(session, &left)) {
        struct lp_list *link = lp_list_pop_front(&session->wanting);
        if (!link) {
            return;
        }
        struct lp_consumer *consumer = LP_LIST_ITEM(link, struct lp_consumer, in_wanting);
        const uint32_t grant = LP_MIN(LP_MIN(consumer->wanted, left), GRANT_BATCH);
        consumer->wanted = 0;
        consumer->granted += grant;
        consumer->grant_owed += grant;
        session->limited_open += grant;
        session_consumer_news(consumer);
    }
}

void
session_grants_return(struct lp_consumer *consumer, uint32_t count)
{
    struct lp_session *session = consumer->session;
    LP_ASSERT(consumer->granted >= count);
    LP_ASSERT(session->limited_open >= count);
    consumer->granted -= count;
    session->limited_open -= count;
    session_grants_serve(session);
}

void
session_grants_stop(struct lp_consumer *consumer)
{
    /* First off the list: what comes back is not for itself. */
    lp_list_remove(&consumer->in_wanting);
    session_grants_return(consumer, consumer->granted);
    consumer->grant_owed = 0;
}

void
lp_session_prefetch_shared(struct lp_session *session, uint32_t limit)
{
    session->prefetch_shared = limit;
    for (struct lp_list *at = session->consumers.next; at != &session->consumers; at = at->next) {
        struct lp_consumer *consumer = LP_LIST_ITEM(at, struct lp_consumer, in_session);
        const bool delivers =
            consumer->state == LP_CONSUMER_ATTACHING || consumer->state == LP_CONSUMER_ACTIVE;
        if (limit > 0 && delivers && !consumer->reply && !consumer->limited) {
            consumer->limited = true;
            consumer->limit_owed = true;
            session->limited_open += consumer->open + consumer->pending;
            session_consumer_news(consumer);
        }
    }
    session_grants_serve(session);
}

/* ---- news to home shards ---- */

/* Everything this consumer has to tell; false: no room for all of it. */
static bool
consumer_tell(struct lp_consumer *consumer)
{
    struct lp_mesh *mesh = &consumer->session->broker->mesh;
    if (consumer->subscription == LP_HANDLE_NONE) {
        return !consumer->limit_owed;
    }
    if (consumer->credit_owed > 0) {
        const struct lp_mesh_record credit = {
            .op = LP_MESH_CREDIT, .a = consumer->credit_owed, .w = {consumer->subscription}};
        if (!lp_mesh_news(mesh, consumer->home_shard, &credit)) {
            return false;
        }
        consumer->credit_owed = 0;
    }
    if (consumer->grant_owed > 0 || consumer->limit_owed) {
        const struct lp_mesh_record grant = {
            .op = LP_MESH_GRANT, .a = consumer->grant_owed, .w = {consumer->subscription}};
        if (!lp_mesh_news(mesh, consumer->home_shard, &grant)) {
            return false;
        }
        consumer->grant_owed = 0;
        consumer->limit_owed = false;
    }
    return true;
}

static void
consumers_flush(struct lp_broker *broker)
{
    struct lp_list again;
    struct lp_list *link;
    lp_list_init(&again);
    while ((link = lp_list_pop_front(&broker->consumers_news)) != NULL) {
        lp_list_push_back(&again, link);
    }
    while ((link = lp_list_pop_front(&again)) != NULL) {
        struct lp_consumer *consumer = LP_LIST_ITEM(link, struct lp_consumer, in_news);
        if (consumer->state == LP_CONSUMER_DETACHING) {
            continue;
        }
        if (!consumer_tell(consumer)) {
            session_consumer_news(consumer);
        } else {
            session_consumer_retire(consumer);
        }
    }
}

void
lp_session_flush(struct lp_broker *broker)
{
    session_confirms_flush(broker);
    struct lp_list *at = broker->sessions_settling.next;
    while (at != &broker->sessions_settling) {
        struct lp_session *session = LP_LIST_ITEM(at, struct lp_session, in_settles);
        at = at->next;
        (void)session_settles_send(session); /* false: it stays on the list */
    }
    consumers_flush(broker);
}
