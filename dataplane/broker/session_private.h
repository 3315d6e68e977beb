/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_private.h - what the files that implement session.h share.
 */
#pragma once

#include <string.h>

#include "dataplane/broker/broker.h"
#include "dataplane/broker/records.h"
#include "dataplane/broker/session.h"
#include "dataplane/broker/trace.h"

/* Put the session on the list of those whose ops->room() is called next step. */
void session_wait(struct lp_session *session);

/* A request, behind the settlements that came before it on this session (C48).  False: no room,
 * the session waits for some. */
bool session_request(struct lp_session *session, uint32_t home_shard,
                     const struct lp_mesh_record *record);

/* The answer's addressee, if that is where this publish goes. */
bool session_reply_address(const struct lp_session *session, const struct lp_publish *publish,
                           struct lp_reply_address *ret_address);
bool session_reply_room(struct lp_session *session, const struct lp_reply_address *address);
/* Lend the message once more, and send; false: no room. */
bool session_reply_send(struct lp_session *session, const struct lp_reply_address *address,
                        lp_handle message, uint64_t number);
void session_reply_close(struct lp_session *session);

/* Where a publish goes, by all of its keys: topology->route.  False: memory is short. */
static inline bool
session_publish_route(struct lp_session *session, const struct lp_publish *publish,
                      const struct lp_message *message)
{
    const struct lp_route_input input = {
        .key = lp_message_key(message),
        .headers = publish->headers,
        .more_keys = lp_message_annotation(message, LP_ANNOTATION_KEYS),
    };
    return lp_topology_route(&session->broker->topology, publish->exchange, &input);
}

/* The firehose has a copy of it: it waits for room in lp_broker.own first (C163). */
static inline bool
session_publish_traced(const struct lp_session *session, const struct lp_publish *publish,
                       const struct lp_message *message)
{
    return LP_UNLIKELY(session->broker->topology.traced > 0) &&
           lp_trace_wanted(session->broker, publish->exchange->vhost_id, message);
}

/* A number's queue answered. */
void session_confirm_answer(struct lp_session *session, uint64_t number, bool nack);

/* Send the open settle record; false: no room. */
bool session_settles_send(struct lp_session *session);
/* Like _send(), but acknowledgements for a near queue are handed to it by a call, as what is
 * published behind them is. */
bool session_settles_hand(struct lp_session *session);

/* May queues of this shard be called for it?  Not before what our own ring still has for them. */
bool session_is_near_still(struct lp_session *session);

static inline bool
session_is_near(struct lp_session *session)
{
    return LP_LIKELY(!session->gave_back && !session->acked) || session_is_near_still(session);
}

/* Settle one open delivery; false: no room. */
bool session_settle_one(struct lp_session *session, uint64_t number, const struct lp_unacked *slot,
                        enum lp_settle outcome);

/* All queues have answered a publish of a transaction's commit. */
void session_tx_answered(struct lp_session *session, bool refused);
/* Drop what waits for a commit; false: there is more than one step does. */
bool session_tx_close(struct lp_session *session);

/* ---- session_tx_publish.c: a transaction's publishes; false: more than a step's, or no room ----
 */
bool session_tx_publishes_send(struct lp_session *session);
bool session_tx_publishes_drop(struct lp_session *session);
/* Records that they are; `most` when it is as many, or when one of them has nowhere to go. */
uint32_t session_tx_publish_records(const struct lp_session *session, uint32_t most);
/* What its records to queues say of a commit that is under way. */
static inline uint8_t
session_tx_flags(const struct lp_session *session)
{
    const struct lp_tx *tx = session->tx;
    return LP_LIKELY(!tx || !tx->whole) ? 0
                                        : (uint8_t)(LP_MESH_TX | (tx->staged ? LP_MESH_STAGED : 0));
}

struct lp_consumer *session_consumer_alloc(struct lp_session *session,
                                           const struct lp_queue_ref *queue);
void session_consumer_free(struct lp_consumer *consumer);

/* The consumer has credits or grants to tell its home shard. */
void session_consumer_news(struct lp_consumer *consumer);

/* A cancelled consumer without open deliveries, or one whose queue is gone, is given back. */
void session_consumer_retire(struct lp_consumer *consumer);

/* Hand grants of the shared prefetch to consumers that want them. */
void session_grants_serve(struct lp_session *session);

/* Grants that a consumer will not use are free again. */
void session_grants_return(struct lp_consumer *consumer, uint32_t count);

/* Try pending deliveries again, oldest first. */
void session_pending_retry(struct lp_session *session);
/* Forget a consumer's pending deliveries: their entries were requeued, or went with the queue.
 * True: one of them was the answer to a get. */
bool session_pending_forget(struct lp_consumer *consumer);

/* No delivery comes any more: what was granted and not used is for others. */
void session_grants_stop(struct lp_consumer *consumer);

/* CANCEL was answered, and every delivery before it was written. */
void session_consumer_cancelled(struct lp_consumer *consumer);

/* CONSUMED, CANCELLED, DETACHED, GONE. */
bool session_record_answer(struct lp_broker *broker, const struct lp_mesh_record *record);
/* DELIVER, GOT. */
void session_record_deliver(struct lp_broker *broker, const struct lp_mesh_record *record);
void session_record_got(struct lp_broker *broker, const struct lp_mesh_record *record);
/* Tell every session's confirms that are ready. */
void session_confirms_flush(struct lp_broker *broker);
