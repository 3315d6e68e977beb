/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method_table.c - which function does which method of an open channel.
 */
#include "dataplane/protocol/amqp091/amqp091.h"

static enum amqp091_flow
channel_open_again(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if (channel->opening) {
        return amqp091_channel_open_run(channel);
    }
    return amqp091_channel_fault_text(channel, LP_FAULT_CHANNEL_ERROR, "second 'channel.open' seen",
                                      method->id);
}

static enum amqp091_flow
channel_flow(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if ((method->bits & 1u) == 0) {
        return amqp091_channel_fault_text(channel, LP_FAULT_NOT_IMPLEMENTED, "active=false",
                                          method->id);
    }
    struct amqp091_out out;
    amqp091_out_begin(&out, channel->number, AMQP091_CHANNEL_FLOW_OK);
    lp_writer_u8(&out.writer, 1);
    amqp091_out_send(channel->connection, &out);
    return AMQP091_NEXT;
}

/* Access tickets are a relic: everyone gets the same one. */
static enum amqp091_flow
access_request(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    (void)method;
    struct amqp091_out out;
    amqp091_out_begin(&out, channel->number, AMQP091_ACCESS_REQUEST_OK);
    lp_writer_u16be(&out.writer, 1);
    amqp091_out_send(channel->connection, &out);
    return AMQP091_NEXT;
}

static amqp091_method_fn *
function_of(uint32_t method_id)
{
    switch (method_id) {
    case AMQP091_BASIC_PUBLISH:
        return amqp091_basic_publish;
    case AMQP091_BASIC_ACK:
        return amqp091_basic_ack;
    case AMQP091_BASIC_NACK:
        return amqp091_basic_nack;
    case AMQP091_BASIC_REJECT:
        return amqp091_basic_reject;
    case AMQP091_BASIC_RECOVER:
        return amqp091_basic_recover;
    case AMQP091_BASIC_RECOVER_ASYNC:
        return amqp091_basic_recover_async;
    case AMQP091_BASIC_QOS:
        return amqp091_basic_qos;
    case AMQP091_BASIC_CONSUME:
        return amqp091_basic_consume;
    case AMQP091_BASIC_CANCEL:
        return amqp091_basic_cancel;
    case AMQP091_BASIC_GET:
        return amqp091_basic_get;
    case AMQP091_CONFIRM_SELECT:
        return amqp091_confirm_select;
    case AMQP091_EXCHANGE_DECLARE:
        return amqp091_exchange_declare;
    case AMQP091_EXCHANGE_DELETE:
        return amqp091_exchange_delete;
    case AMQP091_EXCHANGE_BIND:
    case AMQP091_EXCHANGE_UNBIND:
        return amqp091_exchange_bind;
    case AMQP091_QUEUE_DECLARE:
        return amqp091_queue_declare;
    case AMQP091_QUEUE_DELETE:
        return amqp091_queue_delete;
    case AMQP091_QUEUE_PURGE:
        return amqp091_queue_purge;
    case AMQP091_QUEUE_BIND:
    case AMQP091_QUEUE_UNBIND:
        return amqp091_queue_bind;
    case AMQP091_CHANNEL_OPEN:
        return channel_open_again;
    case AMQP091_CHANNEL_FLOW:
        return channel_flow;
    case AMQP091_ACCESS_REQUEST:
        return access_request;
    case AMQP091_TX_SELECT:
        return amqp091_tx_select;
    case AMQP091_TX_COMMIT:
        return amqp091_tx_commit;
    case AMQP091_TX_ROLLBACK:
        return amqp091_tx_rollback;
    default:
        return NULL;
    }
}

bool
amqp091_method_may_park(uint32_t method_id)
{
    switch (method_id) {
    case AMQP091_BASIC_CONSUME:
    case AMQP091_BASIC_CANCEL:
    case AMQP091_BASIC_GET:
    case AMQP091_EXCHANGE_DECLARE:
    case AMQP091_EXCHANGE_DELETE:
    case AMQP091_EXCHANGE_BIND:
    case AMQP091_EXCHANGE_UNBIND:
    case AMQP091_QUEUE_DECLARE:
    case AMQP091_QUEUE_DELETE:
    case AMQP091_QUEUE_PURGE:
    case AMQP091_QUEUE_BIND:
    case AMQP091_QUEUE_UNBIND:
    case AMQP091_TX_SELECT:
    case AMQP091_TX_COMMIT:
    case AMQP091_TX_ROLLBACK:
        return true;
    default:
        return false;
    }
}

enum amqp091_flow
amqp091_method_run(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    amqp091_method_fn *function = function_of(method->id);
    if (!function) {
        return amqp091_channel_fault_text(channel, LP_FAULT_COMMAND_INVALID, "unimplemented method",
                                          method->id);
    }
    return function(channel, method);
}
