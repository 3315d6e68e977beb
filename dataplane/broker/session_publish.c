/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_publish.c - from a complete message to every queue it is for, and
 * the confirms that come back.
 */
#include "dataplane/broker/session_private.h"

void
lp_session_confirm_select(struct lp_session *session)
{
    session->confirming = true;
}

/* A confirm number for this publish, with `queues` answers to wait for. */
static bool
publish_number(struct lp_session *session, uint32_t queues, uint64_t *ret_number)
{
    *ret_number = 0;
    if (!session->confirming) {
        return true;
    }
    struct lp_unconfirmed *slot = lp_window_append(&session->confirms, ret_number);
    if (!slot) {
        return false;
    }
    slot->remaining = queues;
    return true;
}

/* No queue matched: an answer may be sent all the same (C161). */
static enum lp_result
publish_nowhere(struct lp_session *session, struct lp_publish *publish)
{
    struct lp_reply_address address;
    const bool reply = session_reply_address(session, publish, &address);
    const uint32_t kept = lp_delay_kept(publish->delayed);
    if ((reply && !session_reply_room(session, &address)) ||
        !publish_number(session, reply + kept, &publish->number)) {
        session_wait(session);
        return LP_WAIT;
    }
    session->outgoing.message = LP_HANDLE_NONE;
    publish->unroutable = true;
    publish->replied = reply;
    if (reply) {
        const bool sent = session_reply_send(session, &address, publish->message, publish->number);
        LP_ASSERT(sent);
        session->broker->stats->messages_routed++;
    } else {
        session->broker->stats->messages_unroutable += !publish->delayed;
    }
    return LP_DONE;
}

/* Who waits until what is delayed is kept: the publish's number counts that, too. */
static struct lp_delay_waiter
publish_waiter(const struct lp_session *session, const struct lp_publish *publish)
{
    return (struct lp_delay_waiter){publish->number ? session->self : LP_HANDLE_NONE,
                                    publish->number};
}

/* What its exchanges delay was taken in, with the rest of it, or will be asked for again. */
static void
publish_delay_end(struct lp_session *session, struct lp_publish *publish, bool taken)
{
    if (!taken) {
        lp_delay_drop(session->broker, &publish->delayed);
    } else if (!publish->unroutable) {
        const struct lp_delay_waiter waiter = publish_waiter(session, publish);
        lp_delay_start(session->broker, &publish->delayed, LP_HANDLE_NONE, &waiter);
    } /* else with lp_session_publish_drop(), which has the body */
}

/* To queues, and perhaps to nobody: it was routed, and there is room. */
static enum lp_result
publish_send(struct lp_session *session, struct lp_publish *publish, struct lp_message *message,
             bool traced)
{
    struct lp_broker *broker = session->broker;
    struct lp_outgoing *outgoing = &session->outgoing;
    const uint32_t count = broker->topology.route_count;
    if (count == 0) {
        const enum lp_result result = publish_nowhere(session, publish);
        if (traced && result == LP_DONE) {
            lp_trace_published(session, publish, message);
        }
        return result;
    }
    if (!publish_number(session, count + lp_delay_kept(publish->delayed), &publish->number)) {
        lp_outgoing_unaim(broker, outgoing);
        session_wait(session);
        return LP_WAIT;
    }
    if (traced) {
        lp_trace_published(session, publish, message);
    }
    broker->stats->messages_routed++;
    outgoing->number = publish->number;
    outgoing->session = publish->number ? session->self : LP_HANDLE_NONE;
    if (!lp_outgoing_start(broker, outgoing, message)) {
        session_wait(session);
        return LP_WAIT;
    }
    return LP_DONE;
}

/* There is room for all of it. */
static inline enum lp_result
publish_hand(struct lp_session *session, struct lp_publish *publish, struct lp_message *message)
{
    struct lp_outgoing *outgoing = &session->outgoing;
    if (!publish_number(session, session->broker->topology.route_count, &publish->number)) {
        session_wait(session);
        return LP_WAIT;
    }
    session->broker->stats->messages_routed++;
    outgoing->number = publish->number;
    outgoing->session = publish->number ? session->self : LP_HANDLE_NONE;
    lp_outgoing_hand(session->broker, outgoing, message);
    return LP_DONE;
}

/* It was routed: on to where that is. */
static enum lp_result
publish_on(struct lp_session *session, struct lp_publish *publish, struct lp_message *message,
           bool traced)
{
    struct lp_broker *broker = session->broker;
    struct lp_outgoing *outgoing = &session->outgoing;
    const bool delays = LP_UNLIKELY(broker->topology.delayed_count > 0);
    if (!lp_outgoing_aim(broker, outgoing)) {
        session_wait(session);
        return LP_WAIT;
    }
    if (delays && !lp_delay_make(broker, message, true, &publish->delayed)) {
        lp_outgoing_unaim(broker, outgoing);
        session_wait(session);
        return LP_WAIT;
    }
    const enum lp_result result = publish_send(session, publish, message, traced);
    if (delays) {
        publish_delay_end(session, publish, result == LP_DONE || outgoing->targets);
    }
    return result;
}

/* It was routed: does it go to this queue? */
static bool
publish_goes_to(const struct lp_session *session, uint32_t queue_id)
{
    const struct lp_topology *topology = &session->broker->topology;
    for (uint32_t i = 0; i < topology->route_count; i++) {
        if (topology->route[i]->id == queue_id) {
            return true;
        }
    }
    return false;
}

enum lp_result
lp_session_publish(struct lp_session *session, struct lp_publish *publish)
{
    struct lp_broker *broker = session->broker;
    struct lp_outgoing *outgoing = &session->outgoing;
    struct lp_message *message = lp_message_of(&broker->messages, publish->message);
    LP_ASSERT(message && message->loans == 0);

    outgoing->message = publish->message; /* ours, until it is sent or handed back */
    publish->unroutable = false;
    publish->delayed = NULL;
    publish->number = 0;
    const bool traced = session_publish_traced(session, publish, message);
    /* What this channel gave back before it published is there before it (C48): a limit counts it.
     */
    const bool gave_back = session->settles.count > 0 && session->settles.outcome != LP_SETTLE_ACK;
    if (LP_UNLIKELY(gave_back) && !session_settles_send(session)) {
        session_wait(session);
        return LP_WAIT;
    }
    outgoing->near = session_is_near(session);
    if ((traced && !lp_own_room(&broker->own)) ||
        !session_publish_route(session, publish, message)) {
        session_wait(session);
        return LP_WAIT;
    }
    /* A queue hears of the channel's acknowledgements before it has what was published behind them
     * (C48): they make room for it at a consumer, perhaps at the only one.  Other queues need not
     * care, and most channels publish to others. */
    if (LP_UNLIKELY(session->settles.count > 0) &&
        publish_goes_to(session, session->settles.queue_id) && !session_settles_hand(session)) {
        session_wait(session);
        return LP_WAIT;
    }
    if (LP_LIKELY(!traced && broker->topology.delayed_count == 0 &&
                  lp_outgoing_may_hand(broker, outgoing))) {
        return publish_hand(session, publish, message);
    }
    return publish_on(session, publish, message, traced);
}

enum lp_result
lp_session_publish_resume(struct lp_session *session, struct lp_publish *publish)
{
    struct lp_outgoing *outgoing = &session->outgoing;
    if (!outgoing->targets) {
        return lp_session_publish(session, publish); /* it waited before anything was sent */
    }
    publish->number = outgoing->number;
    publish->unroutable = false;
    publish->delayed = NULL;
    if (!lp_outgoing_resume(session->broker, outgoing)) {
        session_wait(session);
        return LP_WAIT;
    }
    return LP_DONE;
}

void
lp_session_publish_drop(struct lp_session *session, struct lp_publish *publish)
{
    struct lp_unconfirmed *slot =
        publish->number ? lp_window_get(&session->confirms, publish->number) : NULL;
    const bool done = slot && slot->remaining == 0; /* else what is delayed is to be kept first */
    const bool whole = lp_delay_whole(publish->delayed);
    const struct lp_delay_waiter waiter = publish_waiter(session, publish);
    lp_delay_start(session->broker, &publish->delayed, publish->message, &waiter);
    if (whole) {
        lp_message_free(&session->broker->messages, publish->message);
    }
    if (done) {
        slot->remaining = 1;
        session_confirm_answer(session, publish->number, false);
    }
}

/* ---- confirms ---- */

/* Tell the prefix that is ready. */
static void
confirm_tell(struct lp_session *session)
{
    if (session->confirm_ready == session->confirm_told) {
        return;
    }
    const bool multiple = session->confirm_ready - session->confirm_told > 1;
    if (session->tx) {
        session->confirm_told = session->confirm_ready;
        session_tx_answered(session, false);
        return;
    }
    session->broker->stats->messages_confirmed += session->confirm_ready - session->confirm_told;
    session->confirm_told = session->confirm_ready;
    session->ops->confirm(session->owner, session->confirm_ready, multiple, false);
}

void
session_confirm_answer(struct lp_session *session, uint64_t number, bool nack)
{
    struct lp_unconfirmed *slot = lp_window_get(&session->confirms, number);
    if (!slot) {
        return;
    }
    slot->nacked |= nack;
    LP_ASSERT(slot->remaining > 0);
    if (--slot->remaining > 0) {
        return;
    }
    const bool refused = slot->nacked != 0;
    const bool prefix = session->confirms.first_open == number;
    lp_window_close(&session->confirms, number);
    if (session->closing) {
        return;
    }
    if (prefix && !refused) {
        /* In order: told together with its neighbours at the end of the turn (C104). */
        session->confirm_ready = session->confirms.first_open - 1;
        if (!lp_list_linked(&session->in_confirms)) {
            lp_list_push_back(&session->broker->sessions_confirming, &session->in_confirms);
        }
        return;
    }
    if (session->tx) {
        session_tx_answered(session, refused);
        return;
    }
    if (prefix) {
        confirm_tell(session);
        session->confirm_ready = session->confirms.first_open - 1;
        session->confirm_told = session->confirm_ready;
    }
    session->broker->stats->messages_confirmed++;
    session->ops->confirm(session->owner, number, false, refused);
}

/* Numbers travel as their low half; the window says which they are. */
static uint64_t
confirm_number(const struct lp_session *session, uint32_t low)
{
    const uint64_t newest = session->confirms.next - 1;
    return newest - (uint32_t)((uint32_t)newest - low);
}

static void
record_enqueued(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_session *session = lp_pool_get(&broker->sessions, record->w[0]);
    const bool own = LP_UNLIKELY(record->w[0] == LP_OWN_SESSION);
    if (!session && !own) {
        return;
    }
    LP_ASSERT(record->a <= LP_MESH_CONFIRMS_MAX);
    for (uint32_t i = 0; i < record->a; i++) {
        const uint32_t low = (uint32_t)(record->w[1 + i / 2] >> (32u * (i % 2)));
        if (own) {
            lp_own_stored(broker, low);
            continue;
        }
        session_confirm_answer(session, confirm_number(session, low), false);
    }
}

void
lp_session_enqueued(struct lp_broker *broker, const struct lp_mesh_record *enqueue)
{
    struct lp_session *session = lp_pool_get(&broker->sessions, enqueue->w[1]);
    if (session) {
        session_confirm_answer(session, enqueue->w[2], false);
    } else if (enqueue->w[1] == LP_OWN_SESSION) {
        lp_own_stored(broker, (uint32_t)enqueue->w[2]);
    }
}

void
lp_session_refused(struct lp_broker *broker, const struct lp_mesh_record *enqueue, uint8_t flags)
{
    if (!(flags & LP_MESH_KEPT)) {
        lp_message_unlend(&broker->messages, enqueue->w[0], 1);
    }
    struct lp_session *session = lp_pool_get(&broker->sessions, enqueue->w[1]);
    if (session) {
        session_confirm_answer(session, enqueue->w[2], (flags & LP_MESH_NACK) != 0);
    } else if (enqueue->w[1] == LP_OWN_SESSION) {
        lp_own_stored(broker, (uint32_t)enqueue->w[2]); /* it is lost, as without a disk */
    }
}

static void
record_release(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    LP_ASSERT(record->a <= LP_MESH_RELEASES_MAX);
    for (uint32_t i = 0; i < record->a; i++) {
        lp_message_unlend(&broker->messages, record->w[i], 1);
    }
}

/* ---- the turn ---- */

static void
record_counts(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_session *session = lp_pool_get(&broker->sessions, record->w[0]);
    if (session && !session->closing) {
        session->ops->counts(session->owner, (uint16_t)record->a, record->w[1], record->w[2]);
    }
}

static void
record_want(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_consumer *consumer = lp_pool_get(&broker->consumers, record->w[0]);
    if (!consumer || consumer->session->closing || consumer->state != LP_CONSUMER_ACTIVE) {
        return;
    }
    consumer->wanted = record->a;
    if (!lp_list_linked(&consumer->in_wanting)) {
        lp_list_push_back(&consumer->session->wanting, &consumer->in_wanting);
    }
    session_grants_serve(consumer->session);
}

static void
record_ungrant(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    struct lp_consumer *consumer = lp_pool_get(&broker->consumers, record->w[0]);
    if (consumer) {
        session_grants_return(consumer, record->a);
    }
}

static inline void
record_deliver(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    if (LP_LIKELY(!(record->flags & LP_MESH_STAMPED))) {
        session_record_deliver(broker, record);
        return;
    }
    lp_stamps_hand_begin(broker, record);
    session_record_deliver(broker, record);
    lp_stamps_hand_end(broker);
}

bool
lp_session_record(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record)
{
    (void)from;
    switch (record->op) {
    case LP_MESH_ENQUEUED:
        record_enqueued(broker, record);
        return true;
    case LP_MESH_REFUSED:
        lp_session_refused(broker, record, record->flags);
        return true;
    case LP_MESH_RELEASE:
        record_release(broker, record);
        return true;
    case LP_MESH_DELIVER:
        record_deliver(broker, record);
        return true;
    case LP_MESH_GOT:
        session_record_got(broker, record);
        return true;
    case LP_MESH_COUNTS:
        record_counts(broker, record);
        return true;
    case LP_MESH_WANT:
        record_want(broker, record);
        return true;
    case LP_MESH_UNGRANT:
        record_ungrant(broker, record);
        return true;
    default:
        return session_record_answer(broker, record);
    }
}

void
lp_session_confirms_tell(struct lp_session *session)
{
    lp_list_remove(&session->in_confirms);
    confirm_tell(session);
}

void
session_confirms_flush(struct lp_broker *broker)
{
    struct lp_list *link;
    while ((link = lp_list_pop_front(&broker->sessions_confirming)) != NULL) {
        struct lp_session *session = LP_LIST_ITEM(link, struct lp_session, in_confirms);
        if (!session->closing) {
            confirm_tell(session);
        }
    }
}
