/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chains.c - declares and binds that channels send without waiting for answers.
 *
 * A channel's first fault ends it, so what it sent behind must not be done.  The
 * shard hears of the fault later than we read what is behind; so a channel
 * whose request failed is remembered until it asks something that follows
 * nothing (its number was opened anew), or its connection goes.  Requests that
 * a new process is asked again begin with the one that failed, if its answer
 * was not heard, and do not come if it was.
 */
#include <stdlib.h>

#include "control/link/requests.h"

struct failed {
    struct lp_map_node by_channel;
    struct lp_chain in_connection; /* control_connection.failed */
    uint64_t connection;
    uint16_t channel;
};

static uint64_t
hash_of(uint64_t connection, uint16_t channel)
{
    return lp_map_hash_number(lp_map_hash_number(connection) + channel);
}

static struct failed *
failed_find(const struct lp_control *control, uint64_t connection, uint16_t channel)
{
    struct lp_map_node *node =
        lp_map_first(&control->failed_channels, hash_of(connection, channel));
    for (; node; node = lp_map_next(node)) {
        struct failed *failed = LP_CONTAINER_OF(node, struct failed, by_channel);
        if (failed->connection == connection && failed->channel == channel) {
            return failed;
        }
    }
    return NULL;
}

static void
failed_free(struct lp_control *control, struct failed *failed)
{
    lp_map_remove(&control->failed_channels, &failed->by_channel);
    lp_chain_remove(&failed->in_connection);
    free(failed);
}

void
control_chain_read(struct control_request *request, uint64_t connection)
{
    request->connection = connection;
    request->channel = lp_reader_u16le(&request->fields);
    request->follows = lp_reader_u8(&request->fields) != 0;
}

bool
control_chain_goes_on(struct control_request *request)
{
    struct failed *failed = failed_find(request->control, request->connection, request->channel);
    if (!failed) {
        return true;
    }
    if (request->follows) {
        return lp_fault_set(&request->fault, LP_FAULT_INTERNAL_ERROR,
                            "what the channel asked before this has failed");
    }
    failed_free(request->control, failed);
    return true;
}

void
control_chain_answer(struct control_request *request, bool good)
{
    struct lp_control *control = request->control;
    struct control_connection *connection = control_connection(control, request->connection);
    if (!good && connection && !failed_find(control, request->connection, request->channel)) {
        struct failed *failed = lp_heap_alloc(sizeof(*failed));
        failed->connection = request->connection;
        failed->channel = request->channel;
        lp_map_insert(&control->failed_channels, &failed->by_channel,
                      hash_of(failed->connection, failed->channel));
        lp_chain_append(&connection->failed, &failed->in_connection);
    }
    control_answer_committed(request, good);
}

void
control_chains_forget(struct lp_control *control, struct control_connection *connection)
{
    LP_CHAIN_EACH(link, &connection->failed)
    {
        failed_free(control, LP_CONTAINER_OF(link, struct failed, in_connection));
    }
}
