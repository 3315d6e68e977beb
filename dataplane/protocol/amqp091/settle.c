/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.c - ack, nack, reject, recover, qos and confirm.select.
 */
#include "dataplane/protocol/amqp091/amqp091.h"

/* One or many deliveries; PARK: no room now, the same again later. */
static enum amqp091_flow
settle(struct amqp091_channel *channel, const struct amqp091_method *method, bool multiple,
       enum lp_settle outcome)
{
    struct lp_session *session = channel->session;
    const uint64_t number = method->number[0];
    switch (session->tx ? lp_session_tx_settle(session, number, multiple, outcome)
                        : lp_session_settle(session, number, multiple, outcome)) {
    case LP_DONE:
        return AMQP091_NEXT;
    case LP_WAIT:
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    case LP_UNKNOWN:
        break;
    case LP_LATER:
        LP_ASSERT(false);
    }
    if (multiple && number == 0) {
        return AMQP091_NEXT; /* all of none */
    }
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_PRECONDITION_FAILED, "unknown delivery tag ");
    amqp091_text_add_number(&fault, number);
    return amqp091_channel_fault(channel, &fault, method->id);
}

enum amqp091_flow
amqp091_basic_ack(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    return settle(channel, method, (method->bits & 1u) != 0, LP_SETTLE_ACK);
}

enum amqp091_flow
amqp091_basic_nack(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    const bool requeue = (method->bits & 2u) != 0;
    return settle(channel, method, (method->bits & 1u) != 0,
                  requeue ? LP_SETTLE_REQUEUE : LP_SETTLE_DISCARD);
}

enum amqp091_flow
amqp091_basic_reject(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    const bool requeue = (method->bits & 1u) != 0;
    return settle(channel, method, false, requeue ? LP_SETTLE_REQUEUE : LP_SETTLE_DISCARD);
}

enum amqp091_flow
amqp091_basic_recover_async(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if ((method->bits & 1u) == 0) {
        return amqp091_channel_fault_text(channel, LP_FAULT_NOT_IMPLEMENTED, "requeue=false",
                                          method->id);
    }
    if (!channel->session->tx) {
        return settle(channel, method, true, LP_SETTLE_REQUEUE); /* number 0: all of them */
    }
    /* What waits for its commit is settled in a way, and not meant. */
    if (lp_session_tx_recover(channel->session) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    }
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_basic_recover(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    const enum amqp091_flow flow = amqp091_basic_recover_async(channel, method);
    if (flow == AMQP091_NEXT && channel->connection->state == AMQP091_CONN_OPEN) {
        amqp091_out_plain(channel->connection, channel->number, AMQP091_BASIC_RECOVER_OK);
    }
    return flow;
}

enum amqp091_flow
amqp091_basic_qos(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    const bool global = (method->bits & 1u) != 0;
    if (method->number[0] != 0) {
        struct lp_fault fault;
        amqp091_text_make(&fault, LP_FAULT_NOT_IMPLEMENTED, "prefetch_size!=0 (");
        amqp091_text_add_number(&fault, method->number[0]);
        amqp091_text_add(&fault, ")");
        return amqp091_channel_fault(channel, &fault, method->id);
    }
    if (global) {
        lp_session_prefetch_shared(channel->session, (uint32_t)method->number[1]);
    } else {
        channel->prefetch = (uint16_t)method->number[1];
        lp_session_prefetch_shared(channel->session, 0); /* as RabbitMQ: it takes that back */
    }
    amqp091_out_plain(channel->connection, channel->number, AMQP091_BASIC_QOS_OK);
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_confirm_select(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if (channel->session->tx) {
        return amqp091_channel_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                          "cannot switch from tx to confirm mode", method->id);
    }
    if (!channel->confirming) { /* a second one does not count from 1 again (C113) */
        lp_session_confirm_select(channel->session);
        channel->confirming = true;
    }
    if ((method->bits & 1u) == 0) {
        amqp091_out_plain(channel->connection, channel->number, AMQP091_CONFIRM_SELECT_OK);
    }
    return AMQP091_NEXT;
}
