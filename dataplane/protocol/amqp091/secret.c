/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.c - connection.update-secret (C30), and what it means for consumers:
 * those whose queue the user may not read any more are cancelled (C118).
 *
 * Consumers are looked at one by one, with one question to the control process
 * at a time; what the connection knows already is not asked.
 */
#include "dataplane/link/link.h"

#include "dataplane/protocol/amqp091/amqp091.h"

static struct amqp091_connection *
connection_of(void *context, lp_handle owner)
{
    struct lp_broker *broker = context;
    struct lp_connection *base = lp_pool_get(&broker->connections, owner);
    struct amqp091_connection *connection =
        base && base->protocol == &lp_protocol_amqp091 ? base->state : NULL;
    return connection && connection->state == AMQP091_CONN_OPEN ? connection : NULL;
}

/* ---- consumers, one by one ---- */

static void
ask(struct amqp091_connection *connection, uint16_t type, const struct lp_writer *writer,
    lp_link_reply_fn *reply)
{
    LP_ASSERT(!writer->failed);
    connection->recheck_asks =
        lp_link_request(&connection->shard->broker->link, type, lp_writer_bytes(writer),
                        connection->base->self, reply);
    if (!connection->recheck_asks) {
        connection->work_ns = connection->shard->broker->now_ns + AMQP091_RETRY_NS;
        amqp091_timer_update(connection);
    }
}

static void
recheck_done(struct amqp091_consumer *consumer)
{
    lp_list_remove(&consumer->in_recheck);
}

/* It may not read this queue any more.  False: no room to say so now. */
static bool
revoke(struct amqp091_consumer *consumer)
{
    struct amqp091_connection *connection = consumer->channel->connection;
    consumer->revoked = true;
    if (lp_session_cancel(consumer->channel->session, consumer->consumer) != LP_WAIT) {
        recheck_done(consumer); /* told when the queue has answered: amqp091_cancelled() */
        return true;
    }
    connection->work_ns = connection->shard->broker->now_ns + AMQP091_RETRY_NS;
    amqp091_timer_update(connection);
    return false;
}

static void
rights_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_connection *connection = connection_of(context, owner);
    if (!connection) {
        return;
    }
    struct lp_reader reader = reply->more;
    connection->recheck_asks = false;
    if (reply->code != 0 || !amqp091_rights_take(connection, &reader)) {
        return; /* not answered: the next method asks again, for itself */
    }
    amqp091_recheck_step(connection);
}

static void
permit_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_connection *connection = connection_of(context, owner);
    if (!connection) {
        return;
    }
    connection->recheck_asks = false;
    struct amqp091_consumer *consumer = connection->rechecked;
    connection->rechecked = NULL;
    if (consumer && reply->code == LP_FAULT_ACCESS_REFUSED) {
        consumer->revoked = true;
    } else if (consumer) {
        recheck_done(consumer);
    }
    amqp091_recheck_step(connection);
}

/* True: asked, or waiting for room; false: it may go on. */
static bool
recheck_one(struct amqp091_connection *connection, struct amqp091_consumer *consumer)
{
    const struct lp_broker *broker = connection->shard->broker;
    struct lp_access *access = &connection->base->access;
    if (consumer->revoked) {
        return !revoke(consumer);
    }
    const struct lp_queue_ref *queue =
        lp_topology_queue_by_id(&broker->topology, consumer->consumer->queue_id);
    if ((lp_access_rights(access, broker->permission_epoch) & LP_ACCESS_UNKNOWN) != 0) {
        const struct lp_writer writer = amqp091_control_begin(connection);
        ask(connection, LP_CONTROL_RIGHTS, &writer, rights_reply);
        return true;
    }
    const struct lp_access_right right = {LP_PERMISSION_READ, LP_RESOURCE_QUEUE,
                                          queue ? lp_queue_ref_name(queue) : lp_bytes_of(NULL, 0)};
    if (!queue || lp_access_allowed(access, broker->permission_epoch, &broker->key, &right)) {
        recheck_done(consumer);
        return false;
    }
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_u8(&writer, LP_PERMISSION_READ);
    lp_writer_u8(&writer, LP_RESOURCE_QUEUE);
    lp_writer_short(&writer, right.name);
    connection->rechecked = consumer;
    ask(connection, LP_CONTROL_PERMIT, &writer, permit_reply);
    return true;
}

void
amqp091_recheck_step(struct amqp091_connection *connection)
{
    while (!connection->recheck_asks && !lp_list_empty(&connection->rechecks)) {
        if (recheck_one(connection, LP_LIST_ITEM(connection->rechecks.next, struct amqp091_consumer,
                                                 in_recheck))) {
            return;
        }
    }
}

void
amqp091_recheck_forget(struct amqp091_consumer *consumer)
{
    struct amqp091_connection *connection = consumer->channel->connection;
    lp_list_remove(&consumer->in_recheck);
    if (connection->rechecked == consumer) {
        connection->rechecked = NULL;
    }
}

static void
recheck_begin(struct amqp091_connection *connection)
{
    for (struct lp_list *at = connection->channels.next; at != &connection->channels;
         at = at->next) {
        const struct amqp091_channel *channel =
            LP_LIST_ITEM(at, struct amqp091_channel, in_connection);
        for (struct lp_list *link = channel->consumers.next; link != &channel->consumers;
             link = link->next) {
            struct amqp091_consumer *consumer =
                LP_LIST_ITEM(link, struct amqp091_consumer, in_channel);
            const bool consumes =
                consumer->consumer && consumer->consumer->state == LP_CONSUMER_ACTIVE;
            if (consumes && !consumer->reply && !lp_list_linked(&consumer->in_recheck)) {
                lp_list_push_back(&connection->rechecks, &consumer->in_recheck);
            }
        }
    }
    amqp091_recheck_step(connection);
}

/* ---- the method ---- */

static void
secret_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct amqp091_connection *connection = connection_of(context, owner);
    if (!connection) {
        return;
    }
    if (reply->code != 0) {
        struct lp_fault fault;
        amqp091_text_begin(&fault, reply->code);
        amqp091_text_add_bytes(&fault, reply->text);
        amqp091_connection_fault(connection, &fault, AMQP091_CONNECTION_UPDATE_SECRET);
        return;
    }
    amqp091_out_plain(connection, 0, AMQP091_CONNECTION_UPDATE_SECRET_OK);
    recheck_begin(connection);
}

enum amqp091_flow
amqp091_connection_update_secret(struct amqp091_connection *connection,
                                 const struct amqp091_method *method)
{
    struct lp_writer writer = amqp091_control_begin(connection);
    lp_writer_short(&writer, lp_bytes_of(connection->user, connection->user_bytes));
    lp_writer_long_le(&writer, method->text);
    if (writer.failed) {
        struct lp_fault fault;
        amqp091_text_make(&fault, LP_FAULT_NOT_ALLOWED, "the secret is too long");
        amqp091_connection_fault(connection, &fault, method->id);
        return AMQP091_NEXT;
    }
    if (!lp_link_request(&connection->shard->broker->link, LP_CONTROL_UPDATE_SECRET,
                         lp_writer_bytes(&writer), connection->base->self, secret_reply)) {
        amqp091_connection_stall(connection);
        return AMQP091_STALL;
    }
    return AMQP091_NEXT;
}
