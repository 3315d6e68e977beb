/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bind.c - binding queues and exchanges to exchanges, and undoing it.
 */
#include "dataplane/protocol/amqp091/declare.h"

struct ends {
    struct lp_bytes source;
    struct lp_bytes destination;
    struct lp_bytes key;
    enum lp_resource resource; /* of the destination */
};

static uint16_t
question_type(const struct amqp091_method *method)
{
    const bool unbind = method->id == AMQP091_QUEUE_UNBIND || method->id == AMQP091_EXCHANGE_UNBIND;
    return unbind ? LP_CONTROL_UNBIND : LP_CONTROL_BIND;
}

static struct lp_writer
question_write(struct amqp091_channel *channel, const struct amqp091_method *method,
               const struct ends *ends, bool follows)
{
    struct lp_writer writer = amqp091_control_begin(channel->connection);
    lp_writer_u32le(&writer, channel->connection->base->vhost_id);
    lp_writer_short(&writer, ends->source);
    lp_writer_u8(&writer, (uint8_t)ends->resource);
    lp_writer_short(&writer, ends->destination);
    lp_writer_short(&writer, ends->key);
    lp_writer_long_le(&writer, method->table);
    amqp091_question_end(channel, &writer, follows);
    return writer;
}

static enum amqp091_flow
ask(struct amqp091_channel *channel, const struct amqp091_method *method, const struct ends *ends)
{
    const struct lp_writer writer = question_write(channel, method, ends, false);
    return amqp091_control_ask(channel, question_type(method), &writer, amqp091_reply_ok);
}

bool
amqp091_bind_ahead(struct amqp091_channel *channel, const struct amqp091_method *method,
                   struct amqp091_question *ret_question)
{
    uint8_t destination_room[AMQP091_NAME_BYTES_MAX];
    uint8_t source_room[AMQP091_NAME_BYTES_MAX];
    const bool queue = method->id == AMQP091_QUEUE_BIND || method->id == AMQP091_QUEUE_UNBIND;
    const struct ends ends = {
        .source = amqp091_name_clean(method->name[1], source_room),
        .destination = amqp091_name_clean(method->name[0], destination_room),
        .key = method->name[2],
        .resource = queue ? LP_RESOURCE_QUEUE : LP_RESOURCE_EXCHANGE,
    };
    /* An empty one is the queue declared last, or not allowed. */
    if (method->name[0].size == 0 || ends.source.size == 0 || ends.destination.size == 0) {
        return false;
    }
    ret_question->type = question_type(method);
    ret_question->writer = question_write(channel, method, &ends, true);
    return true;
}

enum amqp091_flow
amqp091_queue_bind(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    uint8_t queue_room[AMQP091_NAME_BYTES_MAX];
    uint8_t exchange_room[AMQP091_NAME_BYTES_MAX];
    struct ends ends = {
        .source = amqp091_name_clean(method->name[1], exchange_room),
        .key = method->name[2],
        .resource = LP_RESOURCE_QUEUE,
    };
    if (!amqp091_queue_name(channel, amqp091_name_clean(method->name[0], queue_room), method->id,
                            &ends.destination)) {
        return AMQP091_NEXT;
    }
    if (method->name[0].size == 0 && ends.key.size == 0) {
        ends.key = ends.destination; /* both left out: the queue's name is the key (C59) */
    }
    if (amqp091_default_exchange_fault(channel, ends.source, method->id)) {
        return AMQP091_NEXT;
    }
    return ask(channel, method, &ends);
}

enum amqp091_flow
amqp091_exchange_bind(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    uint8_t destination_room[AMQP091_NAME_BYTES_MAX];
    uint8_t source_room[AMQP091_NAME_BYTES_MAX];
    const struct ends ends = {
        .source = amqp091_name_clean(method->name[1], source_room),
        .destination = amqp091_name_clean(method->name[0], destination_room),
        .key = method->name[2],
        .resource = LP_RESOURCE_EXCHANGE,
    };
    if (amqp091_default_exchange_fault(channel, ends.source, method->id) ||
        amqp091_default_exchange_fault(channel, ends.destination, method->id)) {
        return AMQP091_NEXT;
    }
    return ask(channel, method, &ends);
}
