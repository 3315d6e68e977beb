/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/own.h"

#include "dataplane/broker/broker.h"
#include "dataplane/broker/dead_letter.h"
#include "dataplane/broker/message.h"
#include "dataplane/broker/store/store.h"

/* Names, properties and small blocks that a message takes beside its body. */
#define OWN_EXTRA_BYTES (64u * 1024u)

/* Publishers leave LP_MESH_CREDITS_KEPT alone, and may have used up all others: half of those are
 * for the broker's own. */
#define OWN_CREDITS_KEPT (LP_MESH_CREDITS_KEPT / 2u)

void
lp_own_init(struct lp_own *own, struct lp_memory *memory)
{
    lp_window_init(&own->unstored, memory, sizeof(struct lp_own_unstored));
    lp_outgoing_init(&own->outgoing, OWN_CREDITS_KEPT);
    /* By calls: by our own ring it would come after what it was is settled, and not tied to that.
     */
    own->outgoing.near = true;
}

bool
lp_own_memory(const struct lp_broker *broker, uint64_t body_bytes)
{
    /* Itself, and then its delivery, which is copied out, into blocks of another size. */
    return lp_memory_whole_bytes(broker->memory) >=
           LP_DELIVERY_RESERVE_BYTES + OWN_EXTRA_BYTES + 3 * body_bytes;
}

static void
own_add(struct lp_own *own, uint32_t vhost_id, lp_handle message,
        const struct lp_store_source *source, bool dead)
{
    LP_ASSERT(own->count < LP_OWN_MAX);
    const uint32_t last = (own->first + own->count) % LP_OWN_MAX;
    own->waiting[last].message = message;
    own->waiting[last].vhost_id = vhost_id;
    own->waiting[last].dead = dead;
    own->waiting[last].source = *source;
    own->count++;
}

void
lp_own_publish(struct lp_broker *broker, uint32_t vhost_id, lp_handle message)
{
    static const struct lp_store_source none = {0};
    own_add(&broker->own, vhost_id, message, &none, false);
}

void
lp_own_publish_delayed(struct lp_broker *broker, uint32_t vhost_id, lp_handle message,
                       const struct lp_store_source *source)
{
    own_add(&broker->own, vhost_id, message, source, false);
}

void
lp_own_publish_dead(struct lp_broker *broker, uint32_t vhost_id, lp_handle message,
                    const struct lp_store_source *source)
{
    own_add(&broker->own, vhost_id, message, source, true);
}

/* Where the message goes now.  False: memory was short. */
static bool
own_route(struct lp_broker *broker, uint32_t vhost_id, const struct lp_message *message)
{
    const struct lp_bytes start = lp_message_annotation(message, LP_ANNOTATION_START);
    struct lp_exchange *exchange = lp_topology_exchange(
        &broker->topology, vhost_id, start.size > 0 ? start : lp_message_exchange(message));
    if (!exchange) {
        lp_topology_route_none(&broker->topology);
        return true;
    }
    const struct lp_route_input input = {
        .key = lp_message_key(message),
        .headers = lp_broker_protocol(broker, message->protocol)->headers(message),
        .more_keys = lp_message_annotation(message, LP_ANNOTATION_KEYS),
    };
    return lp_topology_route(&broker->topology, exchange, &input);
}

/* False: there is no room, and nothing was done; or it goes on later. */
static bool
own_start(struct lp_broker *broker, lp_handle handle, struct lp_message *message)
{
    struct lp_outgoing *outgoing = &broker->own.outgoing;
    outgoing->message = handle;
    if (!lp_outgoing_aim(broker, outgoing)) {
        outgoing->message = LP_HANDLE_NONE;
        return false;
    }
    return lp_outgoing_start(broker, outgoing, message);
}

/* Does any of its ways leave the shard? */
static bool
own_leaves(const struct lp_broker *broker)
{
    for (uint32_t i = 0; i < broker->topology.route_count; i++) {
        if (!broker->topology.route[i]->local) {
            return true;
        }
    }
    return false;
}

/*
 * It is in the log, and is for other shards: the log here has what it was until they have
 * answered that it is on disk there.  False: as own_start().
 */
static bool
own_start_far(struct lp_broker *broker, lp_handle handle, struct lp_message *message)
{
    struct lp_own *own = &broker->own;
    uint64_t number;
    struct lp_own_unstored *slot = lp_window_append(&own->unstored, &number);
    if (!slot) {
        return false;
    }
    slot->source = own->waiting[own->first].source;
    slot->remaining = broker->topology.route_count;
    own->answered = true;
    own->outgoing.session = LP_OWN_SESSION;
    own->outgoing.number = number;
    const bool sent = own_start(broker, handle, message);
    if (!sent && !own->outgoing.targets) { /* nothing was done */
        lp_window_close(&own->unstored, number);
        own->answered = false;
    }
    return sent;
}

bool
lp_own_sources(const struct lp_own *own,
               bool (*each)(void *context, const struct lp_store_source *source), void *context)
{
    const bool first_is_unstored = own->answered && own->outgoing.targets;
    for (uint32_t i = first_is_unstored; i < own->count; i++) { /* else it is one of those below */
        if (!each(context, &own->waiting[(own->first + i) % LP_OWN_MAX].source)) {
            return false;
        }
    }
    uint64_t number = 0;
    const struct lp_own_unstored *unstored;
    while ((unstored = lp_window_next_open(&own->unstored, number, &number)) != NULL) {
        if (!each(context, &unstored->source)) {
            return false;
        }
        number++;
    }
    return true;
}

void
lp_own_stored(struct lp_broker *broker, uint32_t number_low)
{
    struct lp_window *unstored = &broker->own.unstored;
    const uint64_t newest = unstored->next - 1;
    const uint64_t number = newest - (uint32_t)((uint32_t)newest - number_low);
    struct lp_own_unstored *slot = lp_window_get(unstored, number);
    LP_ASSERT(slot && slot->remaining > 0);
    if (--slot->remaining == 0) {
        lp_store_source_settle(broker, &slot->source);
        lp_window_close(unstored, number);
    }
}

/* To queues.  False: as own_start(). */
static bool
own_enqueue(struct lp_broker *broker, lp_handle handle, struct lp_message *message)
{
    const struct lp_own *own = &broker->own;
    return own->waiting[own->first].source.queue_id != 0 && own_leaves(broker)
               ? own_start_far(broker, handle, message)
               : own_start(broker, handle, message);
}

/* Some of its ways lead to exchanges that delay it. */
static bool
own_delay(struct lp_broker *broker, lp_handle handle, struct lp_message *message)
{
    static const struct lp_delay_waiter nobody = {LP_HANDLE_NONE, 0};
    struct lp_entry *list;
    if (!lp_delay_make(broker, message, true, &list)) {
        return false;
    }
    const bool whole = lp_delay_whole(list);
    if (broker->topology.route_count == 0) {
        lp_delay_start(broker, &list, handle, &nobody);
        if (whole) {
            lp_message_free(&broker->messages, handle);
        }
        return true;
    }
    const bool sent = own_enqueue(broker, handle, message);
    if (!sent && !broker->own.outgoing.targets) {
        lp_delay_drop(broker, &list); /* tried again from the beginning */
        return false;
    }
    lp_delay_start(broker, &list, LP_HANDLE_NONE, &nobody);
    return sent;
}

/* The first message goes on its way.  False: it waits. */
static bool
own_send(struct lp_broker *broker)
{
    struct lp_own *own = &broker->own;
    struct lp_outgoing *outgoing = &own->outgoing;
    if (outgoing->targets) {
        return lp_outgoing_resume(broker, outgoing);
    }
    const lp_handle handle = own->waiting[own->first].message;
    own->answered = false;
    outgoing->session = LP_HANDLE_NONE;
    outgoing->number = 0;
    struct lp_message *message = lp_message_of(&broker->messages, handle);
    LP_ASSERT(message && message->loans == 0);
    if (!own_route(broker, own->waiting[own->first].vhost_id, message)) {
        return false;
    }
    if (own->waiting[own->first].dead) {
        lp_dead_letter_cycles(broker, own->waiting[own->first].vhost_id, message);
    }
    if (LP_UNLIKELY(broker->topology.delayed_count > 0)) {
        return own_delay(broker, handle, message);
    }
    if (broker->topology.route_count == 0) {
        broker->stats->messages_own_lost++;
        lp_message_free(&broker->messages, handle);
        return true;
    }
    return own_enqueue(broker, handle, message);
}

/* What it was goes, in the log, with what it is now. */
static bool
own_send_stored(struct lp_broker *broker)
{
    const struct lp_store_source *source = &broker->own.waiting[broker->own.first].source;
    lp_store_tie(broker);
    const bool sent = own_send(broker);
    if (sent && !broker->own.answered) {
        lp_store_source_settle(broker, source);
    }
    lp_store_untie(broker);
    return sent;
}

uint32_t
lp_own_step(struct lp_broker *broker, uint32_t budget)
{
    struct lp_own *own = &broker->own;
    uint32_t sent = 0;
    while (own->count > 0 && sent < budget && own_send_stored(broker)) {
        own->first = (own->first + 1) % LP_OWN_MAX;
        own->count--;
        sent++;
    }
    return sent;
}
