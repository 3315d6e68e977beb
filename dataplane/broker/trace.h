/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - the firehose: copies of what is published and delivered in a vhost
 * that is traced, by the exchange amq.rabbitmq.trace (C163).
 *
 * Copies are messages of the broker's own (own.h), made of the message, its
 * properties as a table, and who did it; the protocol of the message writes
 * that down.  What went through the trace exchange is not traced.
 *
 *   Runs on   the client's shard
 *   Overload  without room in own.h the client waits; without memory there is
 *             no copy, which is counted: deliveries must go on, or nothing
 *             would ever become free
 *
 * Off, it costs a look at topology->traced.
 */
#pragma once

#include "dataplane/broker/session.h"

#define LP_TRACE_EXCHANGE "amq.rabbitmq.trace"

/* What a copy tells beside the message; all borrowed. */
struct lp_trace {
    bool delivered; /* else published */
    bool redelivered;
    uint16_t channel;
    struct lp_bytes node;
    struct lp_bytes vhost;
    struct lp_bytes connection;
    struct lp_bytes user;
    struct lp_bytes routed; /* published: the queues' names, long_le each */
};

/* Is this vhost traced, and are there such copies of the message? */
bool lp_trace_wanted(const struct lp_broker *broker, uint32_t vhost_id,
                     const struct lp_message *message);

/* Copy what is published; topology->route is where it goes.  There is room in own.h. */
void lp_trace_published(struct lp_session *session, const struct lp_publish *publish,
                        const struct lp_message *message);
/* Copy what is delivered out of a queue. */
void lp_trace_delivered(struct lp_session *session, const struct lp_queue_ref *queue,
                        const struct lp_message *message, bool redelivered);
