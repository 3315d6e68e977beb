/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel_index.c - open addressing, at most half full, no tombstones.
 */
#include "dataplane/protocol/amqp091/channel_index.h"

#define INDEX_ROOM_FIRST 8u

/*
 * Where a number would like to be.  Clients count their channels up: in a row
 * in the table, every removal would look at all that follow.
 */
static uint32_t
index_home(const struct amqp091_connection *connection, uint16_t number)
{
    const uint32_t spread = number * 2654435769u; /* 2^32 over the golden ratio */
    return spread >> (32u - (uint32_t)__builtin_ctz(connection->index_room));
}

static uint32_t
index_slot(const struct amqp091_connection *connection, uint16_t number)
{
    const uint32_t mask = connection->index_room - 1;
    uint32_t slot = index_home(connection, number);
    while (connection->index[slot] && connection->index[slot]->number != number) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

struct amqp091_channel *
amqp091_channel_find(const struct amqp091_connection *connection, uint16_t number)
{
    return connection->index_room == 0 ? NULL : connection->index[index_slot(connection, number)];
}

static bool
index_grow(struct amqp091_connection *connection)
{
    struct lp_memory *memory = connection->shard->broker->memory;
    const uint32_t old_room = connection->index_room;
    struct amqp091_channel **old = connection->index;
    const uint32_t room = old_room == 0 ? INDEX_ROOM_FIRST : old_room * 2;
    struct amqp091_channel **grown = lp_memory_alloc(memory, (uint64_t)room * sizeof(*grown));
    if (!grown) {
        return false;
    }
    memset(grown, 0, (size_t)room * sizeof(*grown));
    connection->index = grown;
    connection->index_room = room;
    for (uint32_t i = 0; i < old_room; i++) {
        if (old[i]) {
            grown[index_slot(connection, old[i]->number)] = old[i];
        }
    }
    void *block = old;
    if (block) {
        lp_memory_release(memory, &block);
    }
    return true;
}

bool
amqp091_index_add(struct amqp091_channel *channel)
{
    struct amqp091_connection *connection = channel->connection;
    if (connection->index_count * 2 >= connection->index_room && !index_grow(connection)) {
        return false;
    }
    const uint32_t slot = index_slot(connection, channel->number);
    LP_ASSERT(!connection->index[slot]);
    connection->index[slot] = channel;
    connection->index_count++;
    channel->indexed = true;
    amqp091_connection_schedule(connection); /* amqp091_channels_tell() */
    return true;
}

void
amqp091_index_remove(struct amqp091_channel *channel)
{
    struct amqp091_connection *connection = channel->connection;
    if (!channel->indexed) {
        return;
    }
    const uint32_t mask = connection->index_room - 1;
    uint32_t hole = index_slot(connection, channel->number);
    LP_ASSERT(connection->index[hole] == channel);
    connection->index[hole] = NULL;
    connection->index_count--;
    connection->channels_opening -= channel->opening;
    channel->opening = false;
    channel->indexed = false;
    if (connection->state == AMQP091_CONN_OPEN) {
        amqp091_connection_schedule(connection); /* amqp091_channels_tell() */
    }
    /* Close the gap: whoever was pushed past the hole moves up. */
    for (uint32_t at = (hole + 1) & mask; connection->index[at]; at = (at + 1) & mask) {
        const uint32_t home = index_home(connection, connection->index[at]->number);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            connection->index[hole] = connection->index[at];
            connection->index[at] = NULL;
            hole = at;
        }
    }
}
