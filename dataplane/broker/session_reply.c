/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_reply.c - direct reply-to: a session that waits for answers, and
 * publishes to one.
 *
 * A publish that no queue takes goes to the first address among its keys, the
 * one in its method or those in CC and BCC.  (RabbitMQ serves all of them, and
 * beside queues.  Nobody is known to ask for that.)
 */
#include "dataplane/broker/queue.h"
#include "dataplane/broker/session_private.h"

enum lp_result
lp_session_reply_consume(struct lp_session *session, void *user, struct lp_consumer **ret_consumer)
{
    LP_ASSERT(!session->reply_queue);
    session->reply_queue = lp_reply_queue_open(session->broker);
    if (!session->reply_queue) {
        session_wait(session);
        return LP_WAIT;
    }
    const struct lp_consume consume = {
        .queue = session->reply_queue->ref, .no_ack = true, .user = user};
    const enum lp_result result = lp_session_consume(session, &consume, ret_consumer);
    if (result == LP_WAIT) {
        session_reply_close(session);
    } else {
        (*ret_consumer)->reply = true;
    }
    return result;
}

void
session_reply_close(struct lp_session *session)
{
    if (session->reply_queue) {
        lp_reply_queue_close(session->reply_queue);
        session->reply_queue = NULL;
    }
}

void
lp_session_reply_name(const struct lp_session *session,
                      uint8_t ret_name[static LP_REPLY_ADDRESS_BYTES])
{
    const struct lp_reply_address address = lp_reply_queue_address(session->reply_queue);
    lp_reply_address_write(&address, ret_name);
}

bool
session_reply_address(const struct lp_session *session, const struct lp_publish *publish,
                      struct lp_reply_address *ret_address)
{
    const struct lp_broker *broker = session->broker;
    const struct lp_message *message = lp_message_of(&broker->messages, publish->message);
    LP_ASSERT(message);
    if (!publish->exchange->is_default) {
        return false;
    }
    if (lp_reply_address_read(lp_message_key(message), broker->mesh.count, ret_address)) {
        return true;
    }
    struct lp_reader keys = lp_reader_of_bytes(lp_message_annotation(message, LP_ANNOTATION_KEYS));
    while (lp_reader_left(&keys) > 0) {
        if (lp_reply_address_read(lp_reader_long_le(&keys), broker->mesh.count, ret_address)) {
            return true;
        }
    }
    return false;
}

bool
session_reply_send(struct lp_session *session, const struct lp_reply_address *address,
                   lp_handle handle, uint64_t number)
{
    struct lp_broker *broker = session->broker;
    struct lp_message *message = lp_message_of(&broker->messages, handle);
    LP_ASSERT(message);
    const struct lp_mesh_record record = {
        .op = LP_MESH_ENQUEUE,
        .flags = message->flags,
        .a = address->queue_id,
        .w = {handle, number ? session->self : LP_HANDLE_NONE, number, message->body_bytes,
              lp_message_expiration_ms(message), message->priority, address->key},
    };
    if (!session_reply_room(session, address) ||
        !lp_mesh_request(&broker->mesh, address->shard, &record)) {
        return false;
    }
    message->loans++;
    return true;
}

bool
session_reply_room(struct lp_session *session, const struct lp_reply_address *address)
{
    return lp_mesh_request_room(&session->broker->mesh, address->shard) > LP_MESH_CREDITS_KEPT;
}

enum lp_result
lp_session_reply_stat(struct lp_session *session, const struct lp_reply_address *address)
{
    const struct lp_mesh_record record = {
        .op = LP_MESH_STAT,
        .a = address->queue_id,
        .w = {session->self, session->connection, 0, 0, 0, 0, address->key},
    };
    return session_request(session, address->shard, &record) ? LP_LATER : LP_WAIT;
}
