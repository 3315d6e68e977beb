/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_tx_publish.c - publishes that wait for their commit: routed when they
 * come, sent when it does (C110).
 */
#include "dataplane/broker/session_private.h"

/* Publishes sent or dropped in one step. */
#define STEP_MAX 1024u

/* A publish that waits for its commit. */
struct lp_tx_publish {
    struct lp_list link; /* lp_tx.publishes */
    lp_handle message;
    uint64_t bytes;
    uint32_t *targets; /* queue ids; NULL: nothing matched */
    uint32_t target_count;
    bool mandatory;
    bool lent; /* an answer, which did not wait: kept only to be returned */
};

static struct lp_message *
message_of(const struct lp_session *session, lp_handle handle)
{
    struct lp_message *message = lp_message_of(&session->broker->messages, handle);
    LP_ASSERT(message);
    return message;
}

static void
item_message_drop(struct lp_session *session, const struct lp_tx_publish *item)
{
    struct lp_messages *messages = &session->broker->messages;
    if (item->lent) {
        lp_message_unlend(messages, item->message, 1);
    } else {
        lp_message_free(messages, item->message);
    }
}

static void
item_free(struct lp_session *session, struct lp_tx_publish *item)
{
    struct lp_broker *broker = session->broker;
    lp_list_remove(&item->link);
    session->tx->publish_count--;
    broker->transaction_bytes -= item->bytes;
    if (item->targets) {
        void *targets = item->targets;
        lp_memory_release(broker->memory, &targets);
    }
    void *block = item;
    lp_memory_release(broker->memory, &block);
}

static struct lp_tx_publish *
item_first(const struct lp_tx *tx)
{
    return lp_list_empty(&tx->publishes)
               ? NULL
               : LP_LIST_ITEM(tx->publishes.next, struct lp_tx_publish, link);
}

/* False: more than a step's are left. */
bool
session_tx_publishes_drop(struct lp_session *session)
{
    struct lp_tx_publish *item;
    for (uint32_t i = 0; i < STEP_MAX && (item = item_first(session->tx)) != NULL; i++) {
        item_message_drop(session, item);
        item_free(session, item);
    }
    return lp_list_empty(&session->tx->publishes);
}

/* All that its publisher can make large counts: else what waits could fill the memory that the
 * commit needs, and the publisher would be held back before it can ask for it. */
static uint64_t
cost(const struct lp_message *message, uint32_t target_count)
{
    return sizeof(struct lp_message) + sizeof(struct lp_tx_publish) + message->exchange_bytes +
           message->key_bytes + message->properties_bytes + lp_message_annotations(message).size +
           message->body_bytes + target_count * sizeof(uint32_t);
}

uint64_t
lp_session_tx_bytes_max(const struct lp_session *session)
{
    return lp_memory_watermark_bytes(session->broker->memory) / 2;
}

bool
lp_session_tx_fits(const struct lp_session *session, lp_handle handle)
{
    /* Where it goes is not known yet, and counts from then on. */
    return session->broker->transaction_bytes + cost(message_of(session, handle), 0) <=
           lp_session_tx_bytes_max(session);
}

/* Where the last routing went; NULL: no memory. */
static uint32_t *
targets_copy(struct lp_broker *broker)
{
    const struct lp_topology *topology = &broker->topology;
    uint32_t *targets =
        lp_memory_alloc(broker->memory, (uint64_t)topology->route_count * sizeof(uint32_t));
    for (uint32_t i = 0; targets && i < topology->route_count; i++) {
        targets[i] = topology->route[i]->id;
    }
    return targets;
}

/* What is delayed begins to wait; the commit is answered when it is kept.  False: no memory. */
static bool
delay_start(struct lp_session *session, struct lp_entry **delayed)
{
    struct lp_delay_waiter waiter = {LP_HANDLE_NONE, 0};
    const uint32_t kept = lp_delay_kept(*delayed);
    if (kept > 0) {
        struct lp_unconfirmed *slot = lp_window_append(&session->confirms, &waiter.number);
        if (!slot) {
            return false;
        }
        slot->remaining = kept;
        waiter.session = session->self;
    }
    lp_delay_start(session->broker, delayed, LP_HANDLE_NONE, &waiter);
    return true;
}

enum lp_result
lp_session_tx_publish(struct lp_session *session, struct lp_publish *publish, bool mandatory)
{
    struct lp_broker *broker = session->broker;
    struct lp_tx *tx = session->tx;
    struct lp_message *message = message_of(session, publish->message);
    LP_ASSERT(tx && message->loans == 0);

    struct lp_reply_address address;
    struct lp_entry *delayed = NULL; /* begins to wait now, as in RabbitMQ, not with the commit */
    struct lp_tx_publish *item = lp_memory_alloc(broker->memory, sizeof(*item));
    const bool traced = session_publish_traced(session, publish, message);
    if (!item || (traced && !lp_own_room(&broker->own)) ||
        !session_publish_route(session, publish, message) ||
        !lp_delay_make(broker, message, false, &delayed)) {
        goto wait;
    }
    const struct lp_tx_publish fresh = {
        .message = publish->message,
        .bytes = cost(message, broker->topology.route_count),
        .target_count = broker->topology.route_count,
        .targets = broker->topology.route_count > 0 ? targets_copy(broker) : NULL,
        .mandatory = mandatory,
    };
    if (fresh.target_count > 0 && !fresh.targets) {
        goto wait;
    }
    *item = fresh;
    if (fresh.target_count == 0 && session_reply_address(session, publish, &address)) {
        /* Answers do not wait for a commit, in RabbitMQ and here; returns do. */
        if (!session_reply_send(session, &address, publish->message, 0)) {
            goto wait;
        }
        item->lent = true;
        message->loans++;
    }
    if (!delay_start(session, &delayed)) { /* then it is no answer */
        goto wait;
    }
    if (traced) {
        lp_trace_published(session, publish, message);
    }
    lp_list_push_back(&tx->publishes, &item->link);
    tx->publish_count++;
    broker->transaction_bytes += item->bytes;
    return LP_DONE;

wait:
    lp_delay_drop(broker, &delayed);
    if (item) {
        void *block = item;
        lp_memory_release(broker->memory, &block);
    }
    session_wait(session);
    return LP_WAIT;
}

/* Nothing matched: it comes back to who wants to know.  False: no room for that now. */
static bool
item_return(struct lp_session *session, struct lp_tx_publish *item)
{
    struct lp_broker *broker = session->broker;
    const struct lp_message *message = message_of(session, item->message);
    if (item->mandatory) {
        if (!session->ops->can_deliver(session->owner, message)) {
            return false;
        }
        session->ops->returned(session->owner, message);
    }
    broker->stats->messages_unroutable += !item->lent;
    item_message_drop(session, item);
    item_free(session, item);
    return true;
}

/* False: there is no room for all of it. */
static bool
item_send(struct lp_session *session, struct lp_tx_publish *item)
{
    struct lp_broker *broker = session->broker;
    uint64_t number;
    struct lp_unconfirmed *slot = lp_window_append(&session->confirms, &number);
    if (!slot) {
        return false;
    }
    struct lp_message *message = message_of(session, item->message);
    LP_ASSERT(message->loans == 0); /* nobody else has it yet */
    slot->remaining = item->target_count;
    message->loans = item->target_count;
    const struct lp_outgoing outgoing = {
        .message = item->message,
        .session = session->self,
        .number = number,
        .targets = item->targets,
        .target_count = item->target_count,
        .credits_kept = session->outgoing.credits_kept,
        .tx = session_tx_flags(session),
    };
    session->outgoing = outgoing;
    item->targets = NULL;
    item_free(session, item);
    broker->stats->messages_routed++;
    return lp_outgoing_resume(broker, &session->outgoing);
}

/* Go on publishing; false: no room, or enough for one step. */
bool
session_tx_publishes_send(struct lp_session *session)
{
    struct lp_outgoing *outgoing = &session->outgoing;
    if (outgoing->message != LP_HANDLE_NONE && !lp_outgoing_resume(session->broker, outgoing)) {
        return false;
    }
    struct lp_tx_publish *item;
    for (uint32_t i = 0; i < STEP_MAX; i++) {
        if ((item = item_first(session->tx)) == NULL) {
            return true;
        }
        if (!(item->target_count > 0 ? item_send(session, item) : item_return(session, item))) {
            return false;
        }
    }
    return lp_list_empty(&session->tx->publishes);
}

uint32_t
session_tx_publish_records(const struct lp_session *session, uint32_t most)
{
    const struct lp_list *publishes = &session->tx->publishes;
    uint32_t count = 0;
    for (const struct lp_list *at = publishes->next; at != publishes && count < most;
         at = at->next) {
        const struct lp_tx_publish *item =
            (const struct lp_tx_publish *)(const void *)((const char *)at -
                                                         offsetof(struct lp_tx_publish, link));
        if (item->target_count == 0) {
            return most; /* what comes back to its publisher may have to wait for him */
        }
        count += item->target_count;
    }
    return LP_MIN(count, most);
}
