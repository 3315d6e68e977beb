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

/* Publishes sent or dropped, or deliveries looked at, in one step. */
#define STEP_MAX 1024u
/* Records that a commit may be, to each shard, and still be said in one go. */
#define WHOLE_MAX 512u

/* Outcomes + 1, in bits of a consumer's handle that no pool's index reaches. */
#define MARK_SHIFT 30u
#define MARK_MASK  ((lp_handle)3u << MARK_SHIFT)
LP_STATIC_ASSERT(LP_SETTLE_DISCARD + 1 <= 3, "an outcome and none fit two bits");

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
    tx->ack_count += outcome == LP_SETTLE_ACK;
}

/* ---- publishes that wait ---- */

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
static bool
publishes_drop(struct lp_session *session)
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
static bool
publishes_send(struct lp_session *session)
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
    tx->ack_count = 0;
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

/* Records that its publishes are, and each settlement one at the most; more than a commit in one go
 * may be: WHOLE_MAX + 1. */
static uint32_t
commit_records(const struct lp_session *session)
{
    const struct lp_tx *tx = session->tx;
    uint64_t count = tx->settle_count;
    for (const struct lp_list *at = tx->publishes.next; at != &tx->publishes && count <= WHOLE_MAX;
         at = at->next) {
        const struct lp_tx_publish *item =
            (const struct lp_tx_publish *)(const void *)((const char *)at -
                                                         offsetof(struct lp_tx_publish, link));
        if (item->target_count == 0) {
            return WHOLE_MAX + 1; /* what comes back to its publisher may have to wait for him */
        }
        count += item->target_count;
    }
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
    if (!publishes_send(session) || !marked_settle(session) || !settled_ask(session)) {
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
    if (!publishes_drop(session) || !marked_forget(session)) {
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
    if (!staged_drop(session) || !publishes_drop(session)) {
        return false;
    }
    void *block = session->tx;
    lp_memory_release(session->broker->memory, &block);
    session->tx = NULL;
    return true;
}
