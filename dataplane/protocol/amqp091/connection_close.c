/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_close.c - what arrives on channel 0, faults of the connection,
 * and its end.
 */
#include "dataplane/link/link.h"

#include "dataplane/protocol/amqp091/amqp091.h"
#include "dataplane/protocol/amqp091/erlang_text.h"

/* However long exclusive queues take to go, this is the time to say why the connection closes. */
#define CLOSE_KEPT_NS 1000000000u

struct amqp091_kept_close {
    uint64_t until_ns;
    uint32_t bytes;
    bool answers; /* the peer has closed as well: a close-ok follows */
    uint8_t frame[];
};

/* Say why, unless that was said. */
static void
close_say(struct amqp091_connection *connection)
{
    struct amqp091_kept_close *kept = connection->kept_close;
    if (!kept) {
        return;
    }
    if (!connection->dead && !connection->gone) {
        connection->dead = !lp_connection_write(connection->base, kept->frame, kept->bytes);
        if (kept->answers) {
            amqp091_out_plain(connection, 0, AMQP091_CONNECTION_CLOSE_OK);
        }
    }
    void *block = kept;
    lp_memory_release(connection->shard->broker->memory, &block);
    connection->kept_close = NULL;
}

/*
 * A client that hears why it is closed may come back and declare its exclusive
 * queues anew, so they go first, as in RabbitMQ.  False: there is no memory to
 * keep what is to be said.
 */
static bool
close_keep(struct amqp091_connection *connection, struct lp_bytes frame)
{
    struct lp_broker *broker = connection->shard->broker;
    struct amqp091_kept_close *kept = lp_memory_alloc(broker->memory, sizeof(*kept) + frame.size);
    if (!kept) {
        return false;
    }
    LP_ASSERT(!connection->kept_close); /* a connection closes once */
    kept->until_ns = broker->now_ns + CLOSE_KEPT_NS;
    kept->bytes = frame.size;
    kept->answers = false;
    memcpy(kept->frame, frame.data, frame.size);
    connection->kept_close = kept;
    return true;
}

static void
close_send(struct amqp091_connection *connection, const struct lp_fault *fault, uint32_t method_id)
{
    char text[AMQP091_REPLY_TEXT_BYTES];
    const uint32_t bytes = amqp091_text_reply(fault, text);
    struct amqp091_out out;
    amqp091_out_begin(&out, 0, AMQP091_CONNECTION_CLOSE);
    lp_writer_u16be(&out.writer, fault->code);
    lp_writer_short(&out.writer, lp_bytes_of(text, bytes));
    lp_writer_u32be(&out.writer, method_id); /* class, then method */
    if (connection->has_exclusive) {
        amqp091_frame_close(&out.writer, 0);
        if (close_keep(connection, lp_writer_bytes(&out.writer))) {
            return;
        }
        amqp091_out_begin(&out, 0, AMQP091_CONNECTION_CLOSE);
        lp_writer_u16be(&out.writer, fault->code);
        lp_writer_short(&out.writer, lp_bytes_of(text, bytes));
        lp_writer_u32be(&out.writer, method_id);
    }
    amqp091_out_send(connection, &out);
}

/* How long the peer may take for what is left to it: close-ok, or closing the stream. */
static uint64_t
last_word_ns(const struct amqp091_connection *connection)
{
    const uint64_t beat_ns = (uint64_t)connection->heartbeat_s * 1000000000u;
    return beat_ns > 0 ? LP_MIN(beat_ns, AMQP091_CLOSE_OK_WAIT_NS) : AMQP091_CLOSE_OK_WAIT_NS;
}

/* What each step does that is not a matter of the method at hand. */
static void
step_act(struct amqp091_connection *connection, enum amqp091_conn_action action)
{
    switch (action) {
    case AMQP091_DO_ANSWER:
        amqp091_out_plain(connection, 0, AMQP091_CONNECTION_CLOSE_OK);
        connection->beat_send_ns = 0;
        connection->beat_check_ns = 0;
        amqp091_timer_deadline(connection, last_word_ns(connection));
        return;
    case AMQP091_DO_SEND_HEADER: /* it is written already */
    case AMQP091_DO_FINISH:
        lp_connection_close(connection->base);
        return;
    case AMQP091_DO_DROP:
        lp_connection_drop(connection->base);
        return;
    case AMQP091_DO_SEND_CLOSE_OK:
        if (connection->kept_close) {
            connection->kept_close->answers = true;
        } else {
            amqp091_out_plain(connection, 0, AMQP091_CONNECTION_CLOSE_OK);
        }
        return;
    case AMQP091_DO_DRAIN:
        amqp091_timer_deadline(connection, AMQP091_DRAIN_WAIT_NS);
        amqp091_connection_schedule(connection);
        return;
    case AMQP091_DO_SEND_CLOSE:
        amqp091_timer_deadline(connection, last_word_ns(connection));
        amqp091_connection_schedule(connection);
        return;
    case AMQP091_DO_RELEASE:
        amqp091_connection_schedule(connection);
        return;
    case AMQP091_DO_NOTHING:
    case AMQP091_DO_SEND_START:
    case AMQP091_DO_LOGIN:
    case AMQP091_DO_SEND_TUNE:
    case AMQP091_DO_TUNE:
    case AMQP091_DO_OPEN:
    case AMQP091_DO_SEND_OPEN_OK:
    case AMQP091_DO_METHOD:
        return;
    }
    LP_ASSERT(false);
}

/* Closed: no timer but the work's matters any more. */
static void
state_set(struct amqp091_connection *connection, enum amqp091_conn_state next)
{
    const bool entered = connection->state != next;
    connection->state = (uint8_t)next;
    if (entered && next == AMQP091_CONN_SILENT) {
        amqp091_timer_deadline(connection, AMQP091_SILENT_CLOSE_NS);
    } else if (entered && next == AMQP091_CONN_CLOSED) {
        connection->deadline_ns = 0;
        connection->beat_send_ns = 0;
        connection->beat_check_ns = 0;
        amqp091_timer_update(connection);
    }
}

void
amqp091_connection_event(struct amqp091_connection *connection, enum amqp091_conn_event event)
{
    const struct amqp091_conn_step step = amqp091_conn_step(connection->state, event);
    if (step.action == AMQP091_DO_SEND_CLOSE && step.code != 0) {
        struct lp_fault fault;
        amqp091_text_make(&fault, step.code, "unexpected method in connection state ");
        amqp091_text_add(&fault, amqp091_conn_state_name(connection->state));
        close_send(connection, &fault, AMQP091_METHOD_NONE);
    }
    state_set(connection, step.next);
    step_act(connection, step.action);
}

void
amqp091_connection_fault(struct amqp091_connection *connection, const struct lp_fault *fault,
                         uint32_t method_id)
{
    const struct amqp091_conn_step step = amqp091_conn_step(connection->state, AMQP091_EV_FAULT);
    if (step.action == AMQP091_DO_SEND_CLOSE) {
        close_send(connection, fault, method_id);
    }
    state_set(connection, step.next);
    step_act(connection, step.action);
}

/* ---- frames that cannot be taken ---- */

void
amqp091_frame_fault(struct amqp091_connection *connection, enum amqp091_frame_result result,
                    const struct amqp091_frame *frame)
{
    struct lp_fault fault;
    amqp091_text_begin(&fault, LP_FAULT_FRAME_ERROR);
    amqp091_text_add_frame(&fault, frame->type, frame->snippet);
    amqp091_text_add(&fault, ": ");
    if (result == AMQP091_FRAME_TOO_LARGE) {
        const uint32_t limit =
            connection->parser.payload_max - AMQP091_FRAME_EXTRA_BYTES; /* without the tolerance */
        const uint64_t numbers[] = {frame->payload_bytes, limit};
        amqp091_erlang_add_numbers(&fault, "frame_too_large", numbers, LP_COUNT_OF(numbers));
    } else {
        LP_ASSERT(result == AMQP091_FRAME_BAD_END);
        const uint64_t marker = frame->end_octet;
        amqp091_erlang_add_numbers(&fault, "invalid_frame_end_marker", &marker, 1);
    }
    amqp091_connection_fault(connection, &fault, AMQP091_METHOD_NONE);
    connection->deaf = true;
    if (connection->state == AMQP091_CONN_CLOSING) {
        /* Where frames begin is not known any more, so no close-ok will be seen: the peer gets
         * some time to read why (C31). */
        amqp091_timer_deadline(connection, AMQP091_SILENT_CLOSE_NS);
    }
}

void
amqp091_frame_unknown(struct amqp091_connection *connection, const struct amqp091_frame *frame)
{
    struct lp_fault fault;
    amqp091_text_begin(&fault, LP_FAULT_FRAME_ERROR);
    amqp091_text_add_frame(&fault, frame->type, frame->payload);
    amqp091_text_add(&fault, ": unknown_frame");
    amqp091_connection_fault(connection, &fault, AMQP091_METHOD_NONE);
}

void
amqp091_frame_unexpected(struct amqp091_connection *connection, const struct amqp091_frame *frame)
{
    struct lp_fault fault;
    amqp091_text_begin(&fault, LP_FAULT_UNEXPECTED_FRAME);
    amqp091_text_add_frame(&fault, frame->type, frame->payload);
    amqp091_connection_fault(connection, &fault, AMQP091_METHOD_NONE);
}

static void
unknown_method_text(struct lp_fault *fault, uint32_t id)
{
    amqp091_text_make(fault, LP_FAULT_COMMAND_INVALID, "unknown method {");
    amqp091_text_add_number(fault, id >> 16);
    amqp091_text_add(fault, ",");
    amqp091_text_add_number(fault, id & 0xffffu);
    amqp091_text_add(fault, "}");
}

void
amqp091_decode_fault(struct amqp091_connection *connection, enum amqp091_decode why,
                     const struct amqp091_method *method, const struct amqp091_frame *frame)
{
    struct lp_fault fault;
    uint32_t blame = AMQP091_METHOD_NONE;
    switch (why) {
    case AMQP091_DECODED:
        LP_ASSERT(false);
        return;
    case AMQP091_DECODE_NO_METHOD:
        amqp091_frame_unknown(connection, frame);
        return;
    case AMQP091_DECODE_UNKNOWN:
        unknown_method_text(&fault, method->id);
        blame = method->id;
        break;
    case AMQP091_DECODE_NOT_OURS:
        amqp091_text_make(&fault, LP_FAULT_COMMAND_INVALID, "unimplemented method");
        blame = method->id;
        break;
    case AMQP091_DECODE_MALFORMED:
        amqp091_text_make(&fault, LP_FAULT_FRAME_ERROR, "cannot decode ");
        amqp091_erlang_add_octets(&fault, method->payload);
        blame = method->id;
        break;
    case AMQP091_DECODE_NOT_UTF8:
        amqp091_text_make(&fault, LP_FAULT_FRAME_ERROR, "Malformed UTF-8 in shortstr");
        blame = frame->channel == 0 ? method->id : AMQP091_METHOD_NONE;
        break;
    }
    amqp091_connection_fault(connection, &fault, blame);
}

/* ---- channel 0 ---- */

static enum amqp091_conn_event
event_of(uint32_t method_id)
{
    switch (method_id) {
    case AMQP091_CONNECTION_START_OK:
        return AMQP091_EV_START_OK;
    case AMQP091_CONNECTION_TUNE_OK:
        return AMQP091_EV_TUNE_OK;
    case AMQP091_CONNECTION_OPEN:
        return AMQP091_EV_OPEN;
    case AMQP091_CONNECTION_CLOSE:
        return AMQP091_EV_CLOSE;
    case AMQP091_CONNECTION_CLOSE_OK:
        return AMQP091_EV_CLOSE_OK;
    default:
        return AMQP091_EV_OTHER;
    }
}

static void
out_of_turn(struct amqp091_connection *connection, uint32_t method_id)
{
    struct lp_fault fault;
    amqp091_text_make(&fault, LP_FAULT_CHANNEL_ERROR, "unexpected method in connection state ");
    amqp091_text_add(&fault, amqp091_conn_state_name(connection->state));
    amqp091_connection_fault(connection, &fault, method_id);
}

static enum amqp091_flow
method_run(struct amqp091_connection *connection, const struct amqp091_method *method)
{
    const enum amqp091_conn_event event = event_of(method->id);
    const struct amqp091_conn_step step = amqp091_conn_step(connection->state, event);
    switch (step.action) {
    case AMQP091_DO_LOGIN:
        return amqp091_connection_login(connection, method);
    case AMQP091_DO_TUNE:
        amqp091_connection_tune(connection, method);
        return AMQP091_NEXT;
    case AMQP091_DO_OPEN:
        return amqp091_connection_open_vhost(connection, method);
    case AMQP091_DO_METHOD:
        if (method->id == AMQP091_CONNECTION_UPDATE_SECRET) {
            return amqp091_connection_update_secret(connection, method);
        }
        out_of_turn(connection, method->id);
        return AMQP091_NEXT;
    case AMQP091_DO_SEND_CLOSE:
        out_of_turn(connection, method->id);
        return AMQP091_NEXT;
    case AMQP091_DO_FINISH:
        /* close-ok: the stream closes when everything was given back. */
        connection->close_ok_seen = true;
        amqp091_connection_schedule(connection);
        return AMQP091_NEXT;
    case AMQP091_DO_NOTHING:
    case AMQP091_DO_SEND_START:
    case AMQP091_DO_SEND_HEADER:
    case AMQP091_DO_SEND_TUNE:
    case AMQP091_DO_SEND_OPEN_OK:
    case AMQP091_DO_DRAIN:
    case AMQP091_DO_SEND_CLOSE_OK:
    case AMQP091_DO_ANSWER:
    case AMQP091_DO_DROP:
    case AMQP091_DO_RELEASE:
        amqp091_connection_event(connection, event);
        return AMQP091_NEXT;
    }
    LP_ASSERT(false);
    return AMQP091_NEXT;
}

enum amqp091_flow
amqp091_connection_frame(struct amqp091_connection *connection, const struct amqp091_frame *frame)
{
    const bool closing = connection->state > AMQP091_CONN_OPEN;
    if (frame->type != AMQP091_FRAME_METHOD) {
        if (!closing) {
            amqp091_frame_unexpected(connection, frame);
        }
        return AMQP091_NEXT;
    }
    struct amqp091_method method;
    const enum amqp091_decode decoded = amqp091_method_decode(frame->payload, &method);
    /* A method that only servers send is out of turn here, like any other. */
    if (decoded == AMQP091_DECODED || decoded == AMQP091_DECODE_NOT_OURS) {
        return method_run(connection, &method);
    }
    if (!closing) {
        amqp091_decode_fault(connection, decoded, &method, frame);
    }
    return AMQP091_NEXT;
}

/* ---- the end ---- */

static void
closed_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    (void)reply; /* refused or late, there is nothing more that could be done */
    struct lp_broker *broker = context;
    struct lp_connection *base = lp_pool_get(&broker->connections, owner);
    if (base && base->protocol == &lp_protocol_amqp091) {
        struct amqp091_connection *connection = base->state;
        connection->closed_done = true;
        amqp091_connection_schedule(connection);
    }
}

/* Exclusive queues go with the connection: the control process deletes them. */
static void
tell_closed(struct amqp091_connection *connection)
{
    struct lp_writer writer = amqp091_control_begin(connection);
    LP_ASSERT(!writer.failed);
    if (lp_link_request(&connection->shard->broker->link, LP_CONTROL_CLOSED,
                        lp_writer_bytes(&writer), connection->base->self, closed_reply)) {
        connection->closed_sent = true;
        return;
    }
    connection->work_ns = connection->shard->broker->now_ns + AMQP091_RETRY_NS;
    amqp091_timer_update(connection);
}

static void
block_release(struct lp_memory *memory, uint8_t **block)
{
    void *taken = *block;
    if (taken) {
        lp_memory_release(memory, &taken);
    }
    *block = NULL;
}

static void
release(struct amqp091_connection *connection)
{
    struct lp_memory *memory = connection->shard->broker->memory;
    LP_ASSERT(connection->index_count == 0);
    LP_ASSERT(connection->parked_bytes == 0);
    lp_timer_disarm(&connection->shard->broker->wheel, &connection->timer);
    block_release(memory, &connection->client_properties);
    block_release(memory, &connection->hello);
    block_release(memory, &connection->user);
    close_say(connection); /* to nobody */
    void *index = connection->index;
    if (index) {
        lp_memory_release(memory, &index);
    }
    connection->index = NULL;
    connection->shard->connections--;
    lp_connection_release(connection->base);
}

/* Has it anything left to do that the peer asked for before it closed? */
static bool
is_busy(const struct amqp091_channel *channel)
{
    return channel->state == AMQP091_CH_OPEN &&
           (channel->waiting != AMQP091_WAIT_NONE || channel->parked_head);
}

/* Channels whose closing was put off; when the connection ends all of them, but those that are
 * busy only when there is nobody left to be patient for. */
static void
channels_shut(struct amqp091_connection *connection, bool ending)
{
    const bool patient = connection->state == AMQP091_CONN_DRAINING && !connection->gone;
    struct lp_list *next = NULL;
    for (struct lp_list *link = connection->channels.next; link != &connection->channels;
         link = next) {
        next = link->next;
        struct amqp091_channel *channel = LP_LIST_ITEM(link, struct amqp091_channel, in_connection);
        if (channel->state != AMQP091_CH_OPEN || (ending && !(patient && is_busy(channel)))) {
            amqp091_channel_shut(channel);
        }
    }
}

/* Parked frames wait like input for what holds input back. */
static void
replay_step(struct amqp091_connection *connection)
{
    uint32_t budget = AMQP091_FRAMES_PER_INPUT;
    const uint32_t held = connection->base->pauses & ~(uint32_t)LP_PAUSE_PARKED;
    if (connection->gone || connection->stalled || lp_list_empty(&connection->replay)) {
        return;
    }
    if (held == 0 && amqp091_replay(connection, &budget)) {
        return;
    }
    if (!connection->stalled) {
        connection->work_ns =
            connection->shard->broker->now_ns + (held == 0 ? 0 : AMQP091_RETRY_NS);
        amqp091_timer_update(connection);
    }
}

/* What is kept is said when everything is given back, or when that takes too long. */
static void
close_step(struct amqp091_connection *connection, bool given_back)
{
    const struct amqp091_kept_close *kept = connection->kept_close;
    if (!kept) {
        return;
    }
    if (given_back || connection->shard->broker->now_ns >= kept->until_ns) {
        close_say(connection);
    } else if (connection->work_ns == 0) {
        connection->work_ns = kept->until_ns;
        amqp091_timer_update(connection);
    }
}

bool
amqp091_connection_progress(struct amqp091_connection *connection)
{
    const bool ending = connection->gone || connection->state == AMQP091_CONN_DRAINING ||
                        connection->state == AMQP091_CONN_ANSWERED ||
                        connection->state == AMQP091_CONN_CLOSING;
    if (connection->state == AMQP091_CONN_OPEN || connection->state == AMQP091_CONN_DRAINING) {
        replay_step(connection);
    }
    channels_shut(connection, ending);
    if (!ending) {
        amqp091_recheck_step(connection);
        if (!amqp091_channels_tell(connection)) {
            connection->work_ns = connection->shard->broker->now_ns + AMQP091_RETRY_NS;
            amqp091_timer_update(connection);
        }
        return true;
    }
    const bool empty = lp_list_empty(&connection->channels);
    /* In that order: what the channels held is back in its queues before those go (C57). */
    if (connection->login_sent && !connection->closed_sent && (empty || connection->gone)) {
        tell_closed(connection);
    }
    const bool told = !connection->login_sent || connection->closed_sent;
    const bool done = !connection->login_sent || connection->closed_done;
    close_step(connection, empty && done);
    if (connection->gone) {
        if (empty && told) {
            release(connection);
            return false;
        }
        return true;
    }
    if (empty && done && connection->state == AMQP091_CONN_DRAINING) {
        amqp091_connection_event(connection, AMQP091_EV_DRAINED);
    } else if (empty && done && connection->close_ok_seen) {
        amqp091_connection_event(connection, AMQP091_EV_CLOSE_OK);
    }
    return true;
}
