/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/trace.h"

#include "dataplane/broker/connection.h"
#include "dataplane/broker/connection_name.h"
#include "dataplane/broker/session_private.h"

#define PUBLISH "publish."
#define DELIVER "deliver."

bool
lp_trace_wanted(const struct lp_broker *broker, uint32_t vhost_id, const struct lp_message *message)
{
    const struct lp_vhost *vhost = lp_topology_vhost(&broker->topology, vhost_id);
    return vhost && vhost->tracing &&
           !lp_bytes_equal_text(lp_message_exchange(message), LP_TRACE_EXCHANGE);
}

/* The names of the queues that the message was routed to.  The default exchange's are the keys, in
 * RabbitMQ and here: nobody looks whether there is such a queue, or an asker of that name. */
static void
routed_write(struct lp_writer *writer, const struct lp_topology *topology,
             const struct lp_publish *publish, const struct lp_message *message)
{
    if (publish->exchange->is_default) {
        const struct lp_bytes more = lp_message_annotation(message, LP_ANNOTATION_KEYS);
        lp_writer_long_le(writer, lp_message_key(message));
        lp_writer_copy(writer, more.data, more.size);
        return;
    }
    for (uint32_t i = 0; i < topology->route_count; i++) {
        lp_writer_long_le(writer, lp_queue_ref_name(topology->route[i]));
    }
}

static uint64_t
routed_bytes(const struct lp_topology *topology)
{
    uint64_t bytes = sizeof(uint32_t) + UINT8_MAX;
    for (uint32_t i = 0; i < topology->route_count; i++) {
        bytes += sizeof(uint32_t) + topology->route[i]->name_bytes;
    }
    return bytes;
}

/* The copy itself, its properties in `properties`.  False: memory is short. */
static bool
copy_publish(struct lp_broker *broker, uint32_t vhost_id, const struct lp_message_parts *parts,
             const struct lp_message *message)
{
    lp_handle handle;
    struct lp_message *copy = lp_message_make(&broker->messages, parts, &handle);
    if (!copy) {
        return false;
    }
    if (!lp_message_copy_body(&broker->messages, copy, message)) {
        lp_message_free(&broker->messages, handle);
        return false;
    }
    lp_own_publish(broker, vhost_id, handle);
    return true;
}

/* What one copy is made of. */
struct event {
    const struct lp_message *message;
    const struct lp_publish *publish; /* or NULL: delivered */
    uint32_t vhost_id;
    bool redelivered;
    struct lp_bytes name; /* of the exchange or queue */
};

static void
trace_fill(const struct lp_session *session, const struct event *event, struct lp_writer *writer,
           struct lp_trace *trace)
{
    const struct lp_broker *broker = session->broker;
    const struct lp_vhost *vhost = lp_topology_vhost(&broker->topology, event->vhost_id);
    struct lp_session_who who;
    session->ops->who(session->owner, &who);
    trace->delivered = event->publish == NULL;
    trace->redelivered = event->redelivered;
    trace->channel = who.channel;
    trace->user = who.user;
    trace->node = lp_bytes_of_text(broker->limits.cluster_name);
    trace->vhost = lp_bytes_of(vhost->name, vhost->name_bytes);
    const uint8_t *start = writer->at;
    lp_connection_name(writer, &who.connection->peer, &who.connection->local);
    trace->connection = lp_bytes_of(start, (uint32_t)(writer->at - start));
    start = writer->at;
    if (event->publish) {
        routed_write(writer, &broker->topology, event->publish, event->message);
    }
    trace->routed = lp_bytes_of(start, (uint32_t)(writer->at - start));
}

/* False: memory is short. */
static bool
trace_make(struct lp_session *session, const struct event *event)
{
    struct lp_broker *broker = session->broker;
    const struct lp_message *message = event->message;
    const uint64_t noted = lp_message_annotations(message).size;
    const uint64_t routed = event->publish ? noted + routed_bytes(&broker->topology) : 0;
    const uint64_t bytes = LP_CONNECTION_NAME_BYTES_MAX + routed +
                           lp_protocol_trace_bytes_max(message->properties_bytes, noted + routed);
    void *block =
        lp_own_memory(broker, message->body_bytes) ? lp_memory_alloc(broker->memory, bytes) : NULL;
    if (!block) {
        return false;
    }
    struct lp_trace trace;
    struct lp_writer writer = lp_writer_of(block, bytes);
    trace_fill(session, event, &writer, &trace);
    const uint8_t *start = writer.at;
    lp_broker_protocol(broker, message->protocol)->trace(message, &trace, &writer);
    LP_ASSERT(!writer.failed);
    uint8_t key[UINT8_MAX];
    struct lp_writer key_writer = lp_writer_of(key, sizeof(key));
    const char *kind = trace.delivered ? DELIVER : PUBLISH;
    lp_writer_copy(&key_writer, kind, strlen(kind));
    /* A longer one has no room in a delivery. */
    lp_writer_copy(&key_writer, event->name.data,
                   LP_MIN((size_t)event->name.size, lp_writer_room(&key_writer)));
    const struct lp_message_parts parts = {
        .exchange = lp_bytes_of_text(LP_TRACE_EXCHANGE),
        .key = lp_writer_bytes(&key_writer),
        .properties = lp_bytes_of(start, (uint32_t)(writer.at - start)),
        .body_bytes = message->body_bytes,
        .protocol = message->protocol,
        .flags = LP_MESSAGE_OWN,
    };
    const bool made = copy_publish(broker, event->vhost_id, &parts, message);
    lp_memory_release(broker->memory, &block);
    return made;
}

static void
trace_event(struct lp_session *session, const struct event *event)
{
    if (!lp_own_room(&session->broker->own) || !trace_make(session, event)) {
        session->broker->stats->messages_own_lost++;
    }
}

void
lp_trace_published(struct lp_session *session, const struct lp_publish *publish,
                   const struct lp_message *message)
{
    const struct event event = {
        .message = message,
        .publish = publish,
        .vhost_id = publish->exchange->vhost_id,
        .name = lp_message_exchange(message),
    };
    trace_event(session, &event);
}

void
lp_trace_delivered(struct lp_session *session, const struct lp_queue_ref *queue,
                   const struct lp_message *message, bool redelivered)
{
    const struct event event = {
        .message = message,
        .vhost_id = queue->vhost_id,
        .redelivered = redelivered,
        .name = lp_queue_ref_name(queue),
    };
    trace_event(session, &event);
}
