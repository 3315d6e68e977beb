/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.c - channels: the index by number, opening, closing, and what a
 * frame means in which state.
 */
#include "dataplane/protocol/amqp091/channel_index.h"

/* ---- opening ---- */

static void
resource_fault(struct amqp091_connection *connection, uint32_t method_id)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_RESOURCE_ERROR, "no memory for another channel");
    amqp091_connection_fault(connection, &fault, method_id);
}

static void
open_ok_send(struct amqp091_channel *channel)
{
    struct amqp091_out out;
    amqp091_out_begin(&out, channel->number, AMQP091_CHANNEL_OPEN_OK);
    lp_writer_long_be(&out.writer, lp_bytes_of(NULL, 0)); /* channel-id */
    amqp091_out_send(channel->connection, &out);
}

static void
channel_open(struct amqp091_connection *connection, uint16_t number)
{
    struct amqp091_shard *shard = connection->shard;
    lp_handle handle;
    struct amqp091_channel *channel = lp_pool_alloc(&shard->channels, &handle);
    if (!channel) {
        resource_fault(connection, AMQP091_CHANNEL_OPEN);
        return;
    }
    channel->connection = connection;
    channel->self = handle;
    channel->number = number;
    lp_list_init(&channel->consumers);
    lp_list_init(&channel->notices);
    lp_list_init(&channel->aheads);
    if (!amqp091_index_add(channel)) {
        lp_pool_release(&shard->channels, handle);
        resource_fault(connection, AMQP091_CHANNEL_OPEN);
        return;
    }
    channel->session =
        lp_session_open(shard->broker, &amqp091_session_ops, channel, connection->base->id);
    if (!channel->session) {
        amqp091_index_remove(channel);
        lp_pool_release(&shard->channels, handle);
        resource_fault(connection, AMQP091_CHANNEL_OPEN);
        return;
    }
    lp_list_push_back(&connection->channels, &channel->in_connection);
    shard->broker->stats->channels_opened++;
    const uint8_t rights =
        lp_access_rights(&connection->base->access, shard->broker->permission_epoch);
    if ((rights & (LP_ACCESS_UNKNOWN | LP_RIGHTS_CHANNELS_LIMITED)) == 0) {
        open_ok_send(channel);
        return;
    }
    static const uint8_t again[] = {0, 20, 0, 10, 0}; /* channel.open, as a parked method */
    const bool kept =
        amqp091_channel_keep_method(channel, lp_bytes_of(again, (uint32_t)sizeof(again)));
    LP_ASSERT(kept);
    channel->opening = true;
    connection->channels_opening++;
    amqp091_channel_continue(channel);
}

enum amqp091_flow
amqp091_channel_open_run(struct amqp091_channel *channel)
{
    const enum amqp091_flow known = amqp091_rights(channel);
    if (known != AMQP091_NEXT) {
        return known;
    }
    const enum amqp091_flow permitted = amqp091_permit_channel(channel);
    if (permitted != AMQP091_NEXT) {
        return permitted;
    }
    channel->opening = false;
    channel->connection->channels_opening--;
    amqp091_connection_schedule(channel->connection); /* amqp091_channels_tell() */
    open_ok_send(channel);
    return AMQP091_NEXT;
}

static bool
is_channel_open(const struct amqp091_frame *frame)
{
    struct lp_reader reader = lp_reader_of_bytes(frame->payload);
    return frame->type == AMQP091_FRAME_METHOD && lp_reader_u32be(&reader) == AMQP091_CHANNEL_OPEN;
}

/* The first frame for a number that no channel has. */
static enum amqp091_flow
unopened_take(struct amqp091_connection *connection, const struct amqp091_frame *frame)
{
    struct lp_fault fault;
    if (!frame->first) {
        return AMQP091_NEXT; /* the rest of a body whose channel is closed */
    }
    if (frame->channel == connection->closed_number &&
        connection->closed_ns == connection->shard->broker->now_ns && !is_channel_open(frame)) {
        return AMQP091_NEXT; /* sent before it can have heard that its close was done (C42) */
    }
    if (connection->index_count >= connection->channel_max) {
        amqp091_text_make(&fault, LP_FAULT_NOT_ALLOWED, "number of channels opened (");
        amqp091_text_add_number(&fault, connection->index_count);
        amqp091_text_add(&fault, ") has reached the negotiated channel_max (");
        amqp091_text_add_number(&fault, connection->channel_max);
        amqp091_text_add(&fault, ")");
        amqp091_connection_fault(connection, &fault, AMQP091_METHOD_NONE);
        return AMQP091_NEXT;
    }
    if (frame->type != AMQP091_FRAME_METHOD) {
        amqp091_text_make(&fault, LP_FAULT_UNEXPECTED_FRAME,
                          "expected method frame, got non method frame instead");
        amqp091_connection_fault(connection, &fault, AMQP091_METHOD_NONE);
        return AMQP091_NEXT;
    }
    struct amqp091_method method;
    const enum amqp091_decode decoded = amqp091_method_decode(frame->payload, &method);
    if (decoded != AMQP091_DECODED) {
        amqp091_decode_fault(connection, decoded, &method, frame);
    } else if (method.id == AMQP091_CHANNEL_OPEN) {
        channel_open(connection, frame->channel);
    } else {
        amqp091_text_make(&fault, LP_FAULT_CHANNEL_ERROR, "expected 'channel.open'");
        amqp091_connection_fault(connection, &fault, method.id);
    }
    return AMQP091_NEXT;
}

/* ---- closing ---- */

void
amqp091_channel_shut(struct amqp091_channel *channel)
{
    if (!channel->session || channel->session_closing) {
        if (!channel->session && channel->connection->state != AMQP091_CONN_OPEN) {
            amqp091_channel_free(channel); /* it waited for a close-ok that counts no more */
        }
        return;
    }
    if (channel->connection->shard->callback_depth > 0) {
        amqp091_connection_schedule(channel->connection);
        return;
    }
    channel->session_closing = true;
    lp_session_close(channel->session);
}

static void
block_release(struct amqp091_shard *shard, void *block)
{
    if (block) {
        lp_memory_release(shard->broker->memory, &block);
    }
}

void
amqp091_channel_free(struct amqp091_channel *channel)
{
    struct amqp091_shard *shard = channel->connection->shard;
    LP_ASSERT(!channel->session);
    amqp091_publish_discard(channel);
    amqp091_consumers_free(channel);
    amqp091_channel_parked_free(channel);
    amqp091_index_remove(channel);
    lp_list_remove(&channel->in_connection);
    lp_list_remove(&channel->in_replay);
    block_release(shard, channel->last_queue);
    block_release(shard, channel->names);
    shard->broker->stats->channels_closed++;
    lp_pool_release(&shard->channels, channel->self);
}

void
amqp091_channel_session_closed(struct amqp091_channel *channel)
{
    struct amqp091_connection *connection = channel->connection;
    channel->session = NULL;
    const bool ending = connection->state != AMQP091_CONN_OPEN;
    if (!ending && channel->state == AMQP091_CH_CLOSED_BY_PEER) {
        amqp091_out_plain(connection, channel->number, AMQP091_CHANNEL_CLOSE_OK);
        connection->closed_number = channel->number;
        connection->closed_ns = connection->shard->broker->now_ns;
    } else if (!ending && channel->state == AMQP091_CH_CLOSING) {
        return; /* its number is in use until the peer's close-ok */
    }
    amqp091_channel_free(channel);
    if (ending) {
        amqp091_connection_schedule(connection);
    }
}

/* What is left of a content that is on its way in is only counted off from here on. */
static void
content_give_up(struct amqp091_channel *channel)
{
    const uint8_t content = channel->content;
    const uint64_t body_left = channel->body_left;
    amqp091_publish_discard(channel);
    channel->discarding = true;
    channel->content = content;
    channel->body_left = body_left;
}

/* What is confirmed already is said before the channel closes, not lost with it. */
static void
confirms_tell(struct amqp091_channel *channel)
{
    struct lp_session *session = channel->session;
    if (session && session->confirming && !channel->session_closing) {
        lp_session_confirms_tell(session);
    }
}

enum amqp091_flow
amqp091_channel_fault(struct amqp091_channel *channel, const struct lp_fault *fault,
                      uint32_t method_id)
{
    struct amqp091_connection *connection = channel->connection;
    LP_ASSERT(fault->code != LP_FAULT_NONE);
    if (!amqp091_channel_runs(channel)) {
        return AMQP091_NEXT;
    }
    if (connection->state == AMQP091_CONN_DRAINING) { /* nobody listens any more */
        channel->state = AMQP091_CH_CLOSING;
        amqp091_channel_unpark(channel);
        amqp091_channel_parked_free(channel);
        amqp091_channel_shut(channel);
        return AMQP091_NEXT;
    }
    confirms_tell(channel);
    if (lp_fault_is_hard(fault->code)) {
        amqp091_connection_fault(connection, fault, method_id);
        return AMQP091_NEXT;
    }
    char text[AMQP091_REPLY_TEXT_BYTES];
    const uint32_t bytes = amqp091_text_reply(fault, text);
    struct amqp091_out out;
    amqp091_out_begin(&out, channel->number, AMQP091_CHANNEL_CLOSE);
    lp_writer_u16be(&out.writer, fault->code);
    lp_writer_short(&out.writer, lp_bytes_of(text, bytes));
    lp_writer_u32be(&out.writer, method_id);
    amqp091_out_send(connection, &out);

    channel->state = AMQP091_CH_CLOSING;
    content_give_up(channel);
    amqp091_channel_unpark(channel); /* close-ok may be among what is parked */
    amqp091_channel_shut(channel);
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_channel_fault_text(struct amqp091_channel *channel, uint16_t code, const char *text,
                           uint32_t method_id)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, code, text);
    return amqp091_channel_fault(channel, &fault, method_id);
}

/* The peer's close: answered when everything was given back. */
static void
channel_close(struct amqp091_channel *channel)
{
    confirms_tell(channel);
    channel->state = AMQP091_CH_CLOSED_BY_PEER;
    amqp091_channel_shut(channel);
}

static void
close_ok_take(struct amqp091_channel *channel)
{
    if (channel->session) {
        amqp091_index_remove(channel);
        channel->state = AMQP091_CH_LEAVING;
        amqp091_channel_parked_free(channel);
        amqp091_channel_shut(channel);
    } else {
        amqp091_channel_free(channel);
    }
}

/* After our close only the peer's close and close-ok count, and what it must not send (C5). */
static void
closing_method(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    struct amqp091_connection *connection = channel->connection;
    struct amqp091_method method;
    struct lp_fault fault;
    const enum amqp091_decode decoded = amqp091_method_decode(frame->payload, &method);
    if (decoded == AMQP091_DECODE_NOT_OURS) {
        return;
    }
    if (decoded != AMQP091_DECODED) {
        amqp091_decode_fault(connection, decoded, &method, frame);
        return;
    }
    switch (method.id) {
    case AMQP091_CHANNEL_CLOSE:
        amqp091_out_plain(connection, channel->number, AMQP091_CHANNEL_CLOSE_OK);
        return;
    case AMQP091_CHANNEL_CLOSE_OK:
        close_ok_take(channel);
        return;
    case AMQP091_CHANNEL_OPEN:
        amqp091_text_make(&fault, LP_FAULT_CHANNEL_ERROR, "second 'channel.open' seen");
        amqp091_connection_fault(connection, &fault, method.id);
        return;
    case AMQP091_BASIC_PUBLISH:
        channel->content = AMQP091_CONTENT_HEADER;
        return;
    default:
        return;
    }
}

/* ---- frames ---- */

static enum amqp091_flow
method_take(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    struct amqp091_connection *connection = channel->connection;
    struct amqp091_method method;
    enum amqp091_decode decoded = amqp091_method_decode(frame->payload, &method);
    if (decoded == AMQP091_DECODED && (method.id >> 16) == (AMQP091_CONNECTION_OPEN >> 16)) {
        decoded = AMQP091_DECODE_NOT_OURS; /* connection methods belong to channel 0 (C43) */
    }
    if (decoded != AMQP091_DECODED) {
        amqp091_decode_fault(connection, decoded, &method, frame);
        return AMQP091_NEXT;
    }
    if (method.id == AMQP091_CHANNEL_CLOSE) {
        channel_close(channel);
        return AMQP091_NEXT;
    }
    if (!amqp091_method_may_park(method.id)) {
        const enum amqp091_flow flow = amqp091_method_run(channel, &method);
        if (flow == AMQP091_PARK) {
            /* A settle without room: so small that keeping it cannot fail. */
            LP_ASSERT(frame->payload.size <= AMQP091_PENDING_SMALL_BYTES);
            const bool kept = amqp091_channel_keep_method(channel, frame->payload);
            LP_ASSERT(kept);
        }
        return flow;
    }
    /* An answer may come before the call returns: what it is for is kept first, and run from there.
     */
    if (!amqp091_channel_keep_method(channel, frame->payload)) {
        amqp091_connection_stall(connection);
        return AMQP091_STALL;
    }
    amqp091_channel_continue(channel);
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_content_fault(struct amqp091_channel *channel, const struct lp_fault *fault,
                      uint32_t method_id)
{
    if (!channel->discarding) {
        return amqp091_channel_fault(channel, fault, method_id);
    }
    amqp091_connection_fault(channel->connection, fault, method_id);
    return AMQP091_NEXT;
}

static enum amqp091_flow
unexpected(struct amqp091_channel *channel, const char *text, uint32_t method_id)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_UNEXPECTED_FRAME, text);
    return amqp091_content_fault(channel, &fault, method_id);
}

/* A piece of a body that nobody wants. */
static enum amqp091_flow
body_discard(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    channel->body_left -= frame->payload.size;
    if (channel->body_left == 0 && frame->last) {
        channel->content = AMQP091_CONTENT_METHOD;
    }
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_channel_take(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    if (channel->state != AMQP091_CH_OPEN && channel->state != AMQP091_CH_CLOSING) {
        return AMQP091_NEXT;
    }
    switch ((enum amqp091_content)channel->content) {
    case AMQP091_CONTENT_METHOD:
        if (frame->type != AMQP091_FRAME_METHOD) {
            return unexpected(channel, "expected method frame, got non method frame instead",
                              AMQP091_METHOD_NONE);
        }
        if (channel->state == AMQP091_CH_OPEN) {
            return method_take(channel, frame);
        }
        closing_method(channel, frame);
        return AMQP091_NEXT;
    case AMQP091_CONTENT_HEADER:
        if (frame->type != AMQP091_FRAME_HEADER) {
            return unexpected(channel,
                              "expected content header for class 60, got non content header "
                              "frame instead",
                              AMQP091_BASIC_PUBLISH);
        }
        return amqp091_publish_header(channel, frame);
    case AMQP091_CONTENT_BODY:
        if (frame->type != AMQP091_FRAME_BODY ||
            (frame->first && frame->payload_bytes > channel->body_left)) {
            return unexpected(channel, "expected content body, got non content body frame instead",
                              AMQP091_BASIC_PUBLISH);
        }
        return channel->discarding ? body_discard(channel, frame)
                                   : amqp091_publish_body(channel, frame);
    }
    LP_ASSERT(false);
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_channel_dispatch(struct amqp091_connection *connection, const struct amqp091_frame *frame)
{
    struct amqp091_channel *channel = amqp091_channel_find(connection, frame->channel);
    if (!channel) {
        return unopened_take(connection, frame);
    }
    if (channel->waiting != AMQP091_WAIT_NONE || channel->parked_head) {
        if (amqp091_tx_disturbed(channel, frame) ||
            (!channel->parked_head && amqp091_ahead_ask(channel, frame))) {
            return AMQP091_NEXT;
        }
        return amqp091_channel_park_frame(channel, frame);
    }
    return amqp091_channel_take(channel, frame);
}

struct lp_bytes
amqp091_vhost_name(const struct amqp091_connection *connection)
{
    const struct lp_vhost *vhost =
        lp_topology_vhost(&connection->shard->broker->topology, connection->base->vhost_id);
    return vhost ? lp_bytes_of(vhost->name, vhost->name_bytes) : lp_bytes_of(NULL, 0);
}
