/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amqp091.c - the protocol as the shard sees it: boot, open, input, gone.
 */
#include "dataplane/protocol/amqp091/amqp091.h"

#include "dataplane/link/link.h"
#include "dataplane/protocol/amqp091/declare.h"
#include "dataplane/protocol/amqp091/properties.h"
#include "dataplane/protocol/amqp091/whole.h"

#define NS_PER_MS             1000000u
#define PROTOCOL_HEADER_BYTES 8u
#define CHANNELS_MAX          1048576u /* of a shard; connections that want more are refused channels */

static bool
protocol_boot(struct lp_broker *broker, void **ret_state)
{
    struct amqp091_shard *shard = lp_memory_alloc(broker->memory, sizeof(*shard));
    if (!shard) {
        return false;
    }
    memset(shard, 0, sizeof(*shard));
    shard->broker = broker;
    shard->scratch = lp_memory_alloc(broker->memory, LP_CONTROL_PAYLOAD_MAX_BYTES);
    if (!shard->scratch || lp_hash_init(&shard->consumers, broker->memory) ||
        lp_pool_init_boot(&shard->channels, "amqp091 channels", broker->memory,
                          sizeof(struct amqp091_channel), CHANNELS_MAX) ||
        amqp091_ahead_boot(shard)) {
        return false;
    }
    *ret_state = shard;
    return true;
}

static bool
protocol_open(struct lp_connection *base)
{
    struct amqp091_connection *connection = base->state;
    connection->base = base;
    connection->shard = lp_broker_protocol_state(base->broker, &lp_protocol_amqp091);
    connection->state = AMQP091_CONN_WAIT_HEADER;
    connection->opened_ms = base->broker->wall_ns / NS_PER_MS;
    lp_list_init(&connection->channels);
    lp_list_init(&connection->replay);
    lp_list_init(&connection->rechecks);
    amqp091_parser_init(&connection->parser, AMQP091_FRAME_MIN_BYTES);
    connection->shard->connections++;
    amqp091_timer_deadline(connection,
                           (uint64_t)base->broker->limits.handshake_timeout_ms * NS_PER_MS);
    return true;
}

void
amqp091_connection_schedule(struct amqp091_connection *connection)
{
    connection->work_ns = LP_MAX(connection->shard->broker->now_ns, 1);
    amqp091_timer_update(connection);
}

void
amqp091_connection_wake(struct amqp091_connection *connection)
{
    if (connection->stalled || connection->gone) {
        return; /* the retry timer will, or nobody */
    }
    if ((connection->base->pauses & LP_PAUSE_PARKED) != 0) {
        lp_connection_resume(connection->base, LP_PAUSE_PARKED);
    }
    /* Input that is kept is offered again; parked frames may be due without any. */
    lp_connection_again(connection->base);
    if (!lp_list_empty(&connection->replay)) {
        amqp091_connection_schedule(connection);
    }
}

void
amqp091_connection_stall(struct amqp091_connection *connection)
{
    connection->stalled = true;
    lp_connection_pause(connection->base, LP_PAUSE_PARKED);
    connection->retry_ns = connection->shard->broker->now_ns + AMQP091_RETRY_NS;
    amqp091_timer_update(connection);
}

static enum amqp091_flow
frame_run(struct amqp091_connection *connection, const struct amqp091_frame *frame)
{
    switch (frame->type) {
    case AMQP091_FRAME_HEARTBEAT:
        if (frame->payload_bytes != 0) {
            amqp091_frame_unknown(connection, frame);
        } else if (frame->channel != 0) {
            amqp091_frame_unexpected(connection, frame);
        }
        return AMQP091_NEXT;
    case AMQP091_FRAME_METHOD:
    case AMQP091_FRAME_HEADER:
    case AMQP091_FRAME_BODY:
        break;
    default:
        amqp091_frame_unknown(connection, frame);
        return AMQP091_NEXT;
    }
    if (frame->channel == 0) {
        return amqp091_connection_frame(connection, frame);
    }
    if (connection->state == AMQP091_CONN_OPEN) {
        return amqp091_channel_dispatch(connection, frame);
    }
    if (connection->state < AMQP091_CONN_OPEN) {
        amqp091_frame_unexpected(connection, frame);
    }
    return AMQP091_NEXT;
}

/* Nothing that arrives counts any more. */
static bool
is_deaf(const struct amqp091_connection *connection)
{
    return connection->deaf || connection->dead || connection->gone ||
           connection->state == AMQP091_CONN_SILENT || connection->state == AMQP091_CONN_CLOSED;
}

static bool
is_asking(const struct amqp091_connection *connection)
{
    return connection->state == AMQP091_CONN_LOGIN || connection->state == AMQP091_CONN_OPENING;
}

/* One frame, or a piece of one.  False: go on later, or when there is more. */
static bool
input_step(struct amqp091_connection *connection, struct lp_bytes *input)
{
    if (connection->state == AMQP091_CONN_WAIT_HEADER) {
        if (input->size < PROTOCOL_HEADER_BYTES) {
            return false;
        }
        amqp091_connection_header(connection, lp_bytes_of(input->data, PROTOCOL_HEADER_BYTES));
        *input =
            lp_bytes_of(input->data + PROTOCOL_HEADER_BYTES, input->size - PROTOCOL_HEADER_BYTES);
        return true;
    }
    if (is_asking(connection)) {
        lp_connection_pause(connection->base, LP_PAUSE_PARKED);
        return false;
    }
    struct amqp091_frame frame;
    const enum amqp091_frame_result result =
        amqp091_parser_look(&connection->parser, *input, &frame);
    if (result == AMQP091_FRAME_MORE) {
        return false;
    }
    if (result != AMQP091_FRAME_FOUND) {
        amqp091_frame_fault(connection, result, &frame);
        return true;
    }
    if (frame_run(connection, &frame) == AMQP091_STALL) {
        return false;
    }
    amqp091_parser_take(&connection->parser, &frame);
    *input = lp_bytes_of(input->data + frame.used, input->size - frame.used);
    return true;
}

static uint32_t
protocol_input(struct lp_connection *base, const uint8_t *data, uint32_t bytes)
{
    struct amqp091_connection *connection = base->state;
    struct lp_bytes left = lp_bytes_of(data, bytes);
    uint32_t budget = AMQP091_FRAMES_PER_INPUT;

    if (connection->state == AMQP091_CONN_OPEN && !amqp091_replay(connection, &budget)) {
        if (!connection->stalled) {
            lp_connection_again(base);
        }
        return 0;
    }
    /* Who is not open yet has no queue to call: what the turn hands out is not its concern. */
    while (budget > 0 && bytes - left.size < AMQP091_BYTES_PER_INPUT &&
           (base->broker->near_left > 0 || connection->state != AMQP091_CONN_OPEN)) {
        if (is_deaf(connection)) {
            return bytes;
        }
        if (left.size == 0 || connection->stalled) {
            return bytes - left.size;
        }
        const uint32_t whole =
            connection->state == AMQP091_CONN_OPEN && !connection->parser.body_open
                ? amqp091_whole_take(connection, left)
                : 0;
        if (whole > 0) {
            left = lp_bytes_of(left.data + whole, left.size - whole);
        } else if (!input_step(connection, &left)) {
            return bytes - left.size;
        }
        budget--;
    }
    if (left.size > 0) {
        lp_connection_again(base);
    }
    return bytes - left.size;
}

static void
protocol_output_ready(struct lp_connection *base)
{
    struct amqp091_connection *connection = base->state;
    struct lp_list *next = NULL;
    for (struct lp_list *link = connection->channels.next; link != &connection->channels;
         link = next) {
        next = link->next;
        struct amqp091_channel *channel = LP_LIST_ITEM(link, struct amqp091_channel, in_connection);
        if (channel->session && !channel->session_closing) {
            lp_session_output_ready(channel->session);
        }
    }
}

static void
protocol_force_close(struct lp_connection *base, const struct lp_fault *fault)
{
    struct amqp091_connection *connection = base->state;
    switch ((enum amqp091_conn_state)connection->state) {
    case AMQP091_CONN_WAIT_HEADER:
    case AMQP091_CONN_WAIT_START_OK:
    case AMQP091_CONN_LOGIN:
    case AMQP091_CONN_WAIT_TUNE_OK:
    case AMQP091_CONN_SILENT:
        /* A stranger is owed no explanation. */
        connection->state = AMQP091_CONN_CLOSED;
        lp_connection_drop(base);
        return;
    case AMQP091_CONN_WAIT_OPEN:
    case AMQP091_CONN_OPENING:
    case AMQP091_CONN_OPEN:
        amqp091_connection_fault(connection, fault, AMQP091_METHOD_NONE);
        return;
    case AMQP091_CONN_ANSWERED:
        connection->state = AMQP091_CONN_CLOSED;
        lp_connection_close(base); /* all is said but close-ok, perhaps, which goes first */
        return;
    case AMQP091_CONN_DRAINING:
    case AMQP091_CONN_CLOSING:
    case AMQP091_CONN_CLOSED:
    case AMQP091_CONN_COUNT:
        return;
    }
}

static void
protocol_gone(struct lp_connection *base)
{
    struct amqp091_connection *connection = base->state;
    connection->gone = true;
    connection->dead = true;
    connection->deadline_ns = 0;
    connection->beat_send_ns = 0;
    connection->beat_check_ns = 0;
    connection->retry_ns = 0;
    amqp091_connection_event(connection, AMQP091_EV_GONE);
}

/* connection.blocked and unblocked, for clients that want to know (C102). */
static struct lp_bytes
held_reason(const struct lp_broker *broker)
{
    const bool memory = broker->pressed || lp_memory_pressed(broker->memory) ||
                        (broker->alarms & LP_ALARM_MEMORY) != 0;
    const bool disk = (broker->alarms & LP_ALARM_DISK) != 0;
    return lp_bytes_of_text(memory && disk ? "low on memory & disk"
                            : disk         ? "low on disk"
                                           : "low on memory");
}

static void
protocol_held(struct lp_connection *base, bool held)
{
    struct amqp091_connection *connection = base->state;
    if (!connection->can_blocked || connection->state != AMQP091_CONN_OPEN) {
        return;
    }
    if (!held) {
        amqp091_out_plain(connection, 0, AMQP091_CONNECTION_UNBLOCKED);
        return;
    }
    struct amqp091_out out;
    amqp091_out_begin(&out, 0, AMQP091_CONNECTION_BLOCKED);
    lp_writer_short(&out.writer, held_reason(base->broker));
    amqp091_out_send(connection, &out);
}

static void
protocol_row(const struct lp_connection *base, struct lp_protocol_row *ret_row)
{
    const struct amqp091_connection *connection = base->state;
    enum lp_connection_state state = LP_CONNECTION_STARTING;
    if (connection->state > AMQP091_CONN_OPEN) {
        state = LP_CONNECTION_CLOSING;
    } else if (connection->state == AMQP091_CONN_OPEN) {
        state =
            (base->pauses & LP_PAUSE_MEMORY) != 0 ? LP_CONNECTION_BLOCKED : LP_CONNECTION_RUNNING;
    }
    ret_row->channels = (uint16_t)LP_MIN(amqp091_channels_open(connection), (uint32_t)UINT16_MAX);
    ret_row->state = (uint8_t)state;
}

static bool
protocol_hello(const struct lp_connection *base, void *writer)
{
    struct amqp091_connection *connection = base->state;
    if (!connection->hello || connection->closed_sent) {
        return false;
    }
    connection->channels_told = AMQP091_UNTOLD; /* what follows the hello is the shard's to say */
    /* OPEN's payload begins with the connection's id, which the caller has written. */
    lp_writer_copy(writer, connection->hello + sizeof(uint64_t),
                   connection->hello_bytes - sizeof(uint64_t));
    lp_writer_u32le(writer, base->vhost_id);
    return true;
}

static bool
protocol_at_rest(const void *state)
{
    const struct amqp091_shard *shard = state;
    return shard->connections == 0 && shard->channels.used == 0 && shard->aheads.used == 0 &&
           shard->consumers.count == 0;
}

const struct lp_protocol lp_protocol_amqp091 = {
    .name = "amqp091",
    .id = LP_PROTOCOL_AMQP091,
    .connection_bytes = sizeof(struct amqp091_connection),
    .boot = protocol_boot,
    .open = protocol_open,
    .input = protocol_input,
    .output_ready = protocol_output_ready,
    .held = protocol_held,
    .force_close = protocol_force_close,
    .gone = protocol_gone,
    .row = protocol_row,
    .hello = protocol_hello,
    .well_formed = amqp091_properties_are,
    .headers = amqp091_properties_headers,
    .dead = amqp091_properties_dead,
    .delayed = amqp091_properties_delayed,
    .trace = amqp091_properties_trace,
    .at_rest = protocol_at_rest,
};
