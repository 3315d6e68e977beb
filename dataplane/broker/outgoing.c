/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/outgoing.h"

#include "dataplane/broker/queue.h"
#include "dataplane/broker/session_private.h"
#include "dataplane/broker/store/store.h"

static inline bool
outgoing_near(const struct lp_outgoing *outgoing, const struct lp_queue_ref *queue)
{
    return queue->local && outgoing->near;
}

/* Is there room for one more to that queue? */
static inline bool
outgoing_room(struct lp_broker *broker, const struct lp_outgoing *outgoing,
              const struct lp_queue_ref *queue)
{
    if (LP_LIKELY(outgoing_near(outgoing, queue))) {
        return broker->near_left > 0;
    }
    return lp_mesh_request_room(&broker->mesh, queue->home_shard) > outgoing->credits_kept;
}

LP_COLD static bool
outgoing_request_stamped(struct lp_broker *broker, const struct lp_queue_ref *queue,
                         const struct lp_mesh_record *record)
{
    struct lp_mesh_record stamped = *record;
    lp_stamps_routed(broker, &stamped);
    return lp_mesh_request(&broker->mesh, queue->home_shard, &stamped);
}

static inline bool
outgoing_request(struct lp_broker *broker, const struct lp_queue_ref *queue,
                 const struct lp_mesh_record *record)
{
    return LP_UNLIKELY(queue->stamped) ? outgoing_request_stamped(broker, queue, record)
                                       : lp_mesh_request(&broker->mesh, queue->home_shard, record);
}

/* What a queue is told of it; `a`, the queue, is still to come. */
static inline struct lp_mesh_record
outgoing_record(const struct lp_outgoing *outgoing, const struct lp_message *message)
{
    return (struct lp_mesh_record){
        .op = LP_MESH_ENQUEUE,
        .flags = (uint8_t)(message->flags | outgoing->tx),
        .w = {outgoing->message, outgoing->session, outgoing->number, message->body_bytes,
              lp_message_expiration_ms(message), message->priority},
    };
}

static bool
outgoing_send(struct lp_broker *broker, const struct lp_outgoing *outgoing,
              const struct lp_message *message, const struct lp_queue_ref *queue)
{
    struct lp_mesh_record record = outgoing_record(outgoing, message);
    record.a = queue->id;
    if (!outgoing_room(broker, outgoing, queue)) {
        return false;
    }
    if (LP_LIKELY(outgoing_near(outgoing, queue))) {
        record.flags |= LP_MESH_NEAR;
        broker->near_left--;
        struct lp_queue *local = queue->local;
        local->type->handle(local, broker->shard, &record);
        return true;
    }
    return outgoing_request(broker, queue, &record);
}

bool
lp_outgoing_may_hand(struct lp_broker *broker, const struct lp_outgoing *outgoing)
{
    const uint32_t count = broker->topology.route_count;
    if (count == 0 || broker->near_left < count) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct lp_queue_ref *queue = broker->topology.route[i];
        /* As if all of them went to that shard: mostly there is room enough. */
        if (!outgoing_near(outgoing, queue) &&
            !lp_mesh_request_fits(&broker->mesh, queue->home_shard,
                                  outgoing->credits_kept + count)) {
            return false;
        }
    }
    return true;
}

void
lp_outgoing_hand(struct lp_broker *broker, struct lp_outgoing *outgoing, struct lp_message *message)
{
    const uint32_t count = broker->topology.route_count;
    uint32_t near = 0;
    struct lp_mesh_record record = outgoing_record(outgoing, message);
    LP_ASSERT(message->loans == 0);
    message->loans = count;
    outgoing->message = LP_HANDLE_NONE;
    broker->near_left -= count;
    /* Others first: queues that are called may use room of the mesh for their deliveries. */
    for (uint32_t i = 0; i < count; i++) {
        const struct lp_queue_ref *queue = broker->topology.route[i];
        if (outgoing_near(outgoing, queue)) {
            near++;
            continue;
        }
        record.a = queue->id;
        const bool sent = outgoing_request(broker, queue, &record);
        LP_ASSERT(sent); /* there was room, and only these have used it since */
    }
    record.flags |= LP_MESH_NEAR;
    const bool several = near > 1;
    if (several) {
        lp_store_tie(broker);
    }
    for (uint32_t i = 0; near > 0; i++) {
        const struct lp_queue_ref *queue = broker->topology.route[i];
        if (outgoing_near(outgoing, queue)) {
            struct lp_queue *local = queue->local;
            record.a = queue->id;
            local->type->handle(local, broker->shard, &record);
            near--;
        }
    }
    if (several) {
        lp_store_untie(broker);
    }
}

bool
lp_outgoing_aim(struct lp_broker *broker, struct lp_outgoing *outgoing)
{
    const uint32_t count = broker->topology.route_count;
    LP_ASSERT(!outgoing->targets);
    /* The whole way or not at all, unless it is a fan-out that can never fit at once. */
    if (count == 1 && !outgoing_room(broker, outgoing, broker->topology.route[0])) {
        broker->mesh.full++;
        return false;
    }
    if (count <= 1) {
        return true;
    }
    outgoing->targets = lp_memory_alloc(broker->memory, (uint64_t)count * sizeof(uint32_t));
    if (!outgoing->targets) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        outgoing->targets[i] = broker->topology.route[i]->id;
    }
    outgoing->target_count = count;
    outgoing->target_next = 0;
    return true;
}

void
lp_outgoing_unaim(struct lp_broker *broker, struct lp_outgoing *outgoing)
{
    if (outgoing->targets) {
        void *block = outgoing->targets;
        lp_memory_release(broker->memory, &block);
        outgoing->targets = NULL;
    }
}

bool
lp_outgoing_start(struct lp_broker *broker, struct lp_outgoing *outgoing,
                  struct lp_message *message)
{
    const uint32_t count = broker->topology.route_count;
    LP_ASSERT(message->loans == 0);
    LP_ASSERT(count > 0);
    message->loans = count;
    if (count > 1) {
        return lp_outgoing_resume(broker, outgoing);
    }
    const bool sent = outgoing_send(broker, outgoing, message, broker->topology.route[0]);
    LP_ASSERT(sent); /* it was aimed, and nothing was sent since */
    outgoing->message = LP_HANDLE_NONE;
    return true;
}

/* Its queue was deleted meanwhile: that counts as taken (C105), but not in a transaction. */
static void
outgoing_skip(struct lp_broker *broker, const struct lp_outgoing *outgoing)
{
    lp_message_unlend(&broker->messages, outgoing->message, 1);
    struct lp_session *session = lp_pool_get(&broker->sessions, outgoing->session);
    if (session) {
        session_confirm_answer(session, outgoing->number, session->tx != NULL);
    } else if (outgoing->session == LP_OWN_SESSION) {
        lp_own_stored(broker, (uint32_t)outgoing->number);
    }
}

bool
lp_outgoing_resume(struct lp_broker *broker, struct lp_outgoing *outgoing)
{
    LP_ASSERT(outgoing->targets);
    while (outgoing->target_next < outgoing->target_count) {
        const uint32_t id = outgoing->targets[outgoing->target_next];
        const struct lp_queue_ref *queue = lp_topology_queue_by_id(&broker->topology, id);
        const struct lp_message *message = lp_message_of(&broker->messages, outgoing->message);
        LP_ASSERT(message && message->loans > 0);
        if (queue && !outgoing_send(broker, outgoing, message, queue)) {
            return false;
        }
        outgoing->target_next++;
        if (!queue) {
            outgoing_skip(broker, outgoing);
        }
    }
    lp_outgoing_unaim(broker, outgoing);
    outgoing->message = LP_HANDLE_NONE;
    return true;
}

void
lp_outgoing_abandon(struct lp_broker *broker, struct lp_outgoing *outgoing)
{
    if (outgoing->message == LP_HANDLE_NONE) {
        return;
    }
    if (outgoing->targets) {
        lp_message_unlend(&broker->messages, outgoing->message,
                          outgoing->target_count - outgoing->target_next);
        lp_outgoing_unaim(broker, outgoing);
    } else {
        lp_message_free(&broker->messages, outgoing->message);
    }
    outgoing->message = LP_HANDLE_NONE;
}
