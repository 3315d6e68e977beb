/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel_park.c - a channel that waits: its operation, and the frames that
 * came after it.
 *
 * An operation that cannot be finished at once is kept as the method that
 * asked for it, and run again from its beginning when what it waits for has
 * come.  Frames that follow on the same channel are copied aside, so that the
 * connection's other channels go on.  When a connection has kept aside more
 * than AMQP091_PARKED_BYTES_MAX, it is not read until a channel goes on.
 */
#include "dataplane/protocol/amqp091/amqp091.h"

/* One block of memory: records one after the other. */
struct amqp091_parked {
    struct amqp091_parked *next;
    uint64_t block_bytes; /* what it counts for */
    uint32_t room;
    uint32_t used;
    uint32_t taken; /* records before this are done with */
    uint32_t pad;
    uint8_t data[];
};

#define PARKED_BLOCK_BYTES 2048u

struct record {
    uint32_t size; /* of the piece that follows */
    uint32_t payload_bytes;
    uint8_t type;
    bool first;
    bool last;
    uint8_t pad;
};

static struct amqp091_parked *
block_make(struct amqp091_channel *channel, uint32_t record_bytes)
{
    const uint64_t want =
        LP_MAX((uint64_t)PARKED_BLOCK_BYTES, sizeof(struct amqp091_parked) + record_bytes);
    struct amqp091_parked *block =
        lp_memory_alloc(channel->connection->shard->broker->memory, want);
    if (!block) {
        return NULL;
    }
    memset(block, 0, sizeof(*block));
    block->block_bytes = lp_memory_block_bytes(want);
    block->room = (uint32_t)(want - sizeof(*block));
    if (channel->parked_tail) {
        channel->parked_tail->next = block;
    } else {
        channel->parked_head = block;
    }
    channel->parked_tail = block;
    channel->connection->parked_bytes += block->block_bytes;
    lp_memory_aside(channel->connection->shard->broker->memory, block->block_bytes);
    return block;
}

static void
block_free_first(struct amqp091_channel *channel)
{
    struct amqp091_parked *block = channel->parked_head;
    channel->connection->parked_bytes -= block->block_bytes;
    lp_memory_aside_end(channel->connection->shard->broker->memory, block->block_bytes);
    channel->parked_head = block->next;
    if (!channel->parked_head) {
        channel->parked_tail = NULL;
    }
    void *memory = block;
    lp_memory_release(channel->connection->shard->broker->memory, &memory);
}

enum amqp091_flow
amqp091_channel_park_frame(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    struct amqp091_connection *connection = channel->connection;
    const uint32_t bytes = (uint32_t)sizeof(struct record) + frame->payload.size;
    struct amqp091_parked *block = channel->parked_tail;

    if (!block || block->room - block->used < bytes) {
        const uint64_t most = connection->shard->broker->aside_full ? 0 : AMQP091_PARKED_BYTES_MAX;
        if (connection->parked_bytes > 0 && connection->parked_bytes + bytes > most) {
            lp_connection_pause(connection->base, LP_PAUSE_PARKED);
            return AMQP091_STALL;
        }
        block = block_make(channel, bytes);
        if (!block) {
            amqp091_connection_stall(connection);
            return AMQP091_STALL;
        }
    }
    const struct record record = {
        .size = frame->payload.size,
        .payload_bytes = frame->payload_bytes,
        .type = frame->type,
        .first = frame->first,
        .last = frame->last,
    };
    struct lp_writer writer = lp_writer_of(block->data + block->used, block->room - block->used);
    lp_writer_copy(&writer, &record, sizeof(record));
    lp_writer_copy(&writer, frame->payload.data, frame->payload.size);
    LP_ASSERT(!writer.failed);
    block->used += bytes;
    return AMQP091_NEXT;
}

static void
pending_free(struct amqp091_channel *channel)
{
    if (channel->pending && channel->pending != channel->pending_small) {
        void *memory = channel->pending;
        lp_memory_release(channel->connection->shard->broker->memory, &memory);
    }
    channel->pending = NULL;
    channel->pending_bytes = 0;
}

void
amqp091_channel_parked_free(struct amqp091_channel *channel)
{
    while (channel->parked_head) {
        block_free_first(channel);
    }
    lp_list_remove(&channel->in_replay);
    amqp091_ahead_drop(channel);
    pending_free(channel);
}

/* ---- the operation ---- */

bool
amqp091_channel_keep_method(struct amqp091_channel *channel, struct lp_bytes payload)
{
    LP_ASSERT(!channel->pending);
    channel->pending = channel->pending_small;
    if (payload.size > sizeof(channel->pending_small)) {
        channel->pending =
            lp_memory_alloc(channel->connection->shard->broker->memory, payload.size);
        if (!channel->pending) {
            return false;
        }
    }
    memcpy(channel->pending, payload.data, payload.size);
    channel->pending_bytes = payload.size;
    channel->stage = 0;
    return true;
}

uint32_t
amqp091_channel_pending_id(const struct amqp091_channel *channel)
{
    if (channel->publishing) {
        return AMQP091_BASIC_PUBLISH;
    }
    struct lp_reader reader = lp_reader_of(channel->pending, channel->pending_bytes);
    return lp_reader_u32be(&reader);
}

void
amqp091_channel_unpark(struct amqp091_channel *channel)
{
    pending_free(channel);
    channel->publishing = false;
    channel->permitted = false;
    channel->stage = 0;
    channel->waiting = AMQP091_WAIT_NONE;
    if (amqp091_ahead_next(channel)) {
        return;
    }
    if (channel->parked_head && !lp_list_linked(&channel->in_replay)) {
        lp_list_push_back(&channel->connection->replay, &channel->in_replay);
        amqp091_connection_wake(channel->connection);
    }
    if (channel->connection->state == AMQP091_CONN_DRAINING) {
        amqp091_connection_schedule(channel->connection); /* it may be all it waited for */
    }
}

void
amqp091_channel_continue(struct amqp091_channel *channel)
{
    const struct amqp091_shard *shard = channel->connection->shard;
    const lp_handle self = channel->self;
    enum amqp091_flow flow;

    channel->waiting = AMQP091_WAIT_NONE;
    if (channel->publishing) {
        flow = amqp091_publish_run(channel);
    } else {
        struct amqp091_method method;
        const enum amqp091_decode decoded =
            amqp091_method_decode(lp_bytes_of(channel->pending, channel->pending_bytes), &method);
        LP_ASSERT(decoded == AMQP091_DECODED); /* it was when it was kept */
        flow = amqp091_method_run(channel, &method);
    }
    if (flow == AMQP091_PARK) {
        return; /* it may even have been answered by now */
    }
    LP_ASSERT(flow == AMQP091_NEXT);
    /* A fault may have closed the channel, and the channel may be gone with it. */
    if (lp_pool_get(&shard->channels, self) == channel) {
        amqp091_channel_unpark(channel);
    }
}

/* ---- replay ---- */

/* The next record as the frame that it was; false: there is none. */
static bool
record_look(struct amqp091_channel *channel, struct amqp091_frame *ret_frame)
{
    struct amqp091_parked *block = channel->parked_head;
    while (block && block->taken == block->used) {
        block_free_first(channel);
        block = channel->parked_head;
    }
    if (!block) {
        return false;
    }
    struct lp_reader reader = lp_reader_of(block->data + block->taken, block->used - block->taken);
    struct record record;
    const uint8_t *header = lp_reader_take(&reader, sizeof(record));
    LP_ASSERT(header);
    memcpy(&record, header, sizeof(record));
    const struct amqp091_frame frame = {
        .type = record.type,
        .first = record.first,
        .last = record.last,
        .channel = channel->number,
        .payload_bytes = record.payload_bytes,
        .payload = lp_reader_bytes(&reader, record.size),
    };
    LP_ASSERT(!reader.failed);
    *ret_frame = frame;
    return true;
}

static void
record_taken(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    channel->parked_head->taken += (uint32_t)sizeof(struct record) + frame->payload.size;
}

void
amqp091_parked_ask_ahead(struct amqp091_channel *channel)
{
    struct amqp091_frame frame;
    bool asked = false;
    while (channel->ahead_count < AMQP091_AHEAD_MAX && record_look(channel, &frame) &&
           amqp091_ahead_ask(channel, &frame)) {
        record_taken(channel, &frame);
        asked = true;
    }
    if (asked) {
        (void)record_look(channel, &frame);           /* frees what is empty now */
        amqp091_connection_wake(channel->connection); /* there is room to read on */
    }
}

/* Run one record of the channel.  False: stalled. */
static bool
record_run(struct amqp091_connection *connection, struct amqp091_channel *channel)
{
    struct amqp091_frame frame;
    if (channel->waiting != AMQP091_WAIT_NONE) { /* for an answer that may have come */
        lp_list_remove(&channel->in_replay);
        (void)amqp091_ahead_step(channel);
        return true;
    }
    if (!record_look(channel, &frame)) {
        lp_list_remove(&channel->in_replay);
        return true;
    }
    const lp_handle self = channel->self;
    if (amqp091_channel_take(channel, &frame) == AMQP091_STALL) {
        return false;
    }
    if (lp_pool_get(&connection->shard->channels, self) != channel || !channel->parked_head) {
        return true; /* closed, and what was parked with it */
    }
    record_taken(channel, &frame);
    if (channel->waiting != AMQP091_WAIT_NONE) {
        lp_list_remove(&channel->in_replay); /* it waits again */
        amqp091_parked_ask_ahead(channel);
    }
    return true;
}

bool
amqp091_replay(struct amqp091_connection *connection, uint32_t *budget)
{
    while (!lp_list_empty(&connection->replay)) {
        if (connection->state != AMQP091_CONN_OPEN && connection->state != AMQP091_CONN_DRAINING) {
            return true; /* closing: it ends with the channels */
        }
        if (*budget == 0) {
            return false;
        }
        (*budget)--;
        struct amqp091_channel *channel =
            LP_LIST_ITEM(connection->replay.next, struct amqp091_channel, in_replay);
        if (!record_run(connection, channel)) {
            return false;
        }
    }
    return true;
}
