/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/stamps.h"

#include <string.h>

#include "dataplane/broker/connection.h"
#include "dataplane/broker/queue.h"
#include "dataplane/broker/session.h"

LP_STATIC_ASSERT(sizeof(struct lp_stamps) <= 2 * LP_SPAN_BYTES, "as stamps.h says");
LP_STATIC_ASSERT(sizeof(struct lp_stamps_way) <= 2 * LP_SPAN_BYTES, "as stamps.h says");

/* In w5 of an ENQUEUE: the priority, and above it how long routing took. */
#define ROUTING_SHIFT 8u

static uint64_t
clock_ns(const struct lp_broker *broker)
{
    const struct lp_clock *clock = &broker->stamping.clock;
    return clock->monotonic_ns ? clock->monotonic_ns(clock->self) : broker->now_ns;
}

static struct lp_stamps *
stamps_find(const struct lp_broker *broker, uint32_t queue_id)
{
    const struct lp_stamping *stamping = &broker->stamping;
    for (uint32_t i = 0; i < LP_STAMPED_QUEUES_MAX && stamping->count > 0; i++) {
        if (stamping->queue[i] && stamping->queue[i]->queue_id == queue_id) {
            return stamping->queue[i];
        }
    }
    return NULL;
}

/* Clocks of two shards may differ by a little, on machines that do not keep them together. */
static uint64_t
between(struct lp_broker *broker, uint64_t from_ns, uint64_t to_ns)
{
    if (LP_UNLIKELY(to_ns < from_ns)) {
        broker->stamping.backwards++;
        return 0;
    }
    return to_ns - from_ns;
}

static void
times_add(struct lp_stamps *stamps, enum lp_latency which, uint64_t ns)
{
    struct lp_latency_times *times = &stamps->times[which];
    times->min_ns = times->count == 0 ? ns : LP_MIN(times->min_ns, ns);
    times->max_ns = LP_MAX(times->max_ns, ns);
    times->sum_ns += ns;
    times->count++;
    times->bucket[lp_latency_bucket(ns)]++;
}

/* ---- on and off ---- */

/* The queue on its home shard takes another way in while it has stamps. */
static void
queue_tell(const struct lp_queue_ref *ref, struct lp_stamps *stamps)
{
    struct lp_queue *queue = ref->local;
    if (queue) {
        queue->stamps = stamps;
        queue->type->configure(queue);
    }
}

static struct lp_stamps **
place_free(struct lp_stamping *stamping)
{
    for (uint32_t i = 0; i < LP_STAMPED_QUEUES_MAX; i++) {
        if (!stamping->queue[i]) {
            return &stamping->queue[i];
        }
    }
    return NULL;
}

static void *
block_make(struct lp_broker *broker, size_t bytes)
{
    void *block = lp_memory_alloc(broker->memory, bytes);
    if (block) {
        memset(block, 0, bytes);
    }
    return block;
}

static void
block_free(struct lp_broker *broker, void *block)
{
    if (block) {
        lp_memory_release(broker->memory, &block);
    }
}

bool
lp_stamps_on(struct lp_broker *broker, struct lp_queue_ref *queue)
{
    struct lp_stamping *stamping = &broker->stamping;
    struct lp_stamps **place = place_free(stamping);
    if (queue->stamped) {
        return true;
    }
    if (!place) {
        return false;
    }
    struct lp_stamps *stamps = block_make(broker, sizeof(*stamps));
    if (stamps && !stamping->way) {
        stamping->way = block_make(broker, sizeof(*stamping->way));
    }
    if (!stamping->way) {
        block_free(broker, stamps);
        return false;
    }
    if (!stamps) {
        return false;
    }
    stamps->queue_id = queue->id;
    *place = stamps;
    stamping->count++;
    queue->stamped = true;
    queue_tell(queue, stamps);
    return true;
}

void
lp_stamps_off(struct lp_broker *broker, struct lp_queue_ref *queue)
{
    struct lp_stamping *stamping = &broker->stamping;
    if (!queue->stamped) {
        return;
    }
    queue->stamped = false;
    queue_tell(queue, NULL);
    for (uint32_t i = 0; i < LP_STAMPED_QUEUES_MAX; i++) {
        if (stamping->queue[i] && stamping->queue[i]->queue_id == queue->id) {
            block_free(broker, stamping->queue[i]);
            stamping->queue[i] = NULL;
            stamping->count--;
        }
    }
    if (stamping->count == 0) {
        block_free(broker, stamping->way);
        stamping->way = NULL;
        stamping->written_count = 0;
    }
}

/* ---- to the queue ---- */

void
lp_stamps_routed(struct lp_broker *broker, struct lp_mesh_record *enqueue)
{
    enqueue->w[6] = broker->now_ns;
    enqueue->w[5] |= between(broker, broker->now_ns, clock_ns(broker)) << ROUTING_SHIFT;
}

struct lp_arrival
lp_stamps_arrived(const struct lp_queue *queue, const struct lp_mesh_record *enqueue)
{
    const struct lp_broker *broker = queue->broker;
    const uint64_t received_ns = enqueue->w[6];
    if (enqueue->flags & LP_MESH_NEAR) {
        return (struct lp_arrival){broker->now_ns, clock_ns(broker)};
    }
    return (struct lp_arrival){received_ns, received_ns + (enqueue->w[5] >> ROUTING_SHIFT)};
}

/* Does the message still wait where its probe says? */
static bool
entry_waits(const struct lp_broker *broker, lp_handle handle)
{
    const struct lp_entry *entry = lp_pool_get(&broker->entries, handle);
    return entry && (entry->flags & LP_ENTRY_STAMPED) != 0 && entry->state == LP_ENTRY_READY;
}

/*
 * A place for each index: found without a search.  What left its queue in
 * another way than to a consumer is not told here; its place is free when the
 * next one comes for it.
 */
void
lp_stamps_stored(struct lp_queue *queue, struct lp_entry *entry, struct lp_arrival arrival)
{
    struct lp_stamps *stamps = queue->stamps;
    struct lp_probe *probe = &stamps->stored[lp_handle_index(lp_pool_self(entry)) % LP_PROBES];
    if (arrival.received_ns == 0 || entry_waits(queue->broker, probe->key)) {
        stamps->missed++;
        return;
    }
    const uint64_t now_ns = clock_ns(queue->broker);
    stamps->measured++;
    times_add(stamps, LP_LATENCY_ROUTING,
              between(queue->broker, arrival.received_ns, arrival.routed_ns));
    times_add(stamps, LP_LATENCY_STORING, between(queue->broker, arrival.routed_ns, now_ns));
    *probe = (struct lp_probe){lp_pool_self(entry), arrival.received_ns, now_ns, 0};
    entry->flags |= LP_ENTRY_STAMPED;
}

/* ---- out of it ---- */

void
lp_stamps_taken(struct lp_queue *queue, struct lp_entry *entry, struct lp_mesh_record *deliver)
{
    struct lp_stamps *stamps = queue->stamps;
    entry->flags &= (uint8_t)~LP_ENTRY_STAMPED; /* only the first delivery is measured */
    if (!stamps) {
        return; /* switched off meanwhile */
    }
    struct lp_probe *probe = &stamps->stored[lp_handle_index(lp_pool_self(entry)) % LP_PROBES];
    if (probe->key != lp_pool_self(entry)) {
        return; /* and on again */
    }
    const uint64_t now_ns = clock_ns(queue->broker);
    const uint64_t waited_ns = between(queue->broker, probe->since_ns, now_ns);
    times_add(stamps, LP_LATENCY_WAITING, waited_ns);
    if (deliver) {
        deliver->flags |= LP_MESH_STAMPED;
        deliver->w[3] = waited_ns;
        deliver->w[4] = probe->received_ns;
        deliver->w[5] = now_ns;
    }
    probe->key = LP_HANDLE_NONE;
}

static struct lp_probe
probe_of(const struct lp_mesh_record *deliver)
{
    return (struct lp_probe){LP_HANDLE_NONE, deliver->w[4], deliver->w[5], deliver->w[3]};
}

static void
written(const struct lp_consumer *consumer, const struct lp_probe *probe)
{
    const struct lp_session *session = consumer->session;
    struct lp_broker *broker = session->broker;
    struct lp_stamping *stamping = &broker->stamping;
    struct lp_stamps *stamps = stamps_find(broker, consumer->queue_id);
    struct lp_session_who who = {0};
    if (!stamps) {
        return;
    }
    const uint64_t now_ns = clock_ns(broker);
    times_add(stamps, LP_LATENCY_WRITING, between(broker, probe->since_ns, now_ns));
    if (stamping->written_count == LP_WRITTEN_MAX) {
        return;
    }
    session->ops->who(session->owner, &who);
    stamping->way->written[stamping->written_count++] = (struct lp_written){
        .queue_id = stamps->queue_id,
        .connection = who.connection->self,
        .position = who.connection->sent_bytes + who.connection->output_bytes,
        .received_ns = probe->received_ns,
        .written_ns = now_ns,
        .waited_ns = probe->waited_ns,
    };
}

void
lp_stamps_hand_begin(struct lp_broker *broker, const struct lp_mesh_record *deliver)
{
    struct lp_stamping *stamping = &broker->stamping;
    LP_ASSERT(!stamping->in_hand); /* a session does not hand on */
    stamping->in_hand = (deliver->flags & LP_MESH_STAMPED) != 0 ? deliver : NULL;
}

/* What is still in hand was written, if there was a consumer who takes any more. */
void
lp_stamps_hand_end(struct lp_broker *broker)
{
    struct lp_stamping *stamping = &broker->stamping;
    const struct lp_mesh_record *deliver = stamping->in_hand;
    const struct lp_consumer *consumer =
        deliver ? lp_pool_get(&broker->consumers, deliver->w[0]) : NULL;
    stamping->in_hand = NULL;
    if (consumer && !consumer->session->closing && consumer->state != LP_CONSUMER_DETACHING) {
        const struct lp_probe probe = probe_of(deliver);
        written(consumer, &probe);
    }
}

/* A place for each index, as above. */
void
lp_stamps_kept(struct lp_broker *broker, struct lp_pending *pending)
{
    struct lp_stamps_way *way = broker->stamping.way;
    struct lp_probe *probe = way ? &way->kept[lp_handle_index(pending->self) % LP_PROBES] : NULL;
    pending->stamped = probe && !lp_pool_get(&broker->deliveries, probe->key);
    if (pending->stamped) {
        *probe = probe_of(broker->stamping.in_hand);
        probe->key = pending->self;
    }
    broker->stamping.in_hand = NULL;
}

void
lp_stamps_kept_written(const struct lp_consumer *consumer, const struct lp_pending *pending)
{
    struct lp_stamps_way *way = consumer->session->broker->stamping.way;
    struct lp_probe *probe = way ? &way->kept[lp_handle_index(pending->self) % LP_PROBES] : NULL;
    if (probe && probe->key == pending->self) {
        written(consumer, probe);
        probe->key = LP_HANDLE_NONE;
    }
}

/* ---- the flush ---- */

static void
written_forget(struct lp_stamping *stamping, uint32_t index)
{
    stamping->way->written[index] = stamping->way->written[--stamping->written_count];
}

/* Neighbours are mostly of one connection: it is asked once. */
void
lp_stamps_flush_begin(struct lp_broker *broker)
{
    struct lp_stamping *stamping = &broker->stamping;
    lp_handle asked = LP_HANDLE_NONE;
    uint64_t position = 0;
    for (uint32_t i = stamping->written_count; i-- > 0;) {
        struct lp_written *item = &stamping->way->written[i];
        const struct lp_connection *connection =
            lp_pool_get(&broker->connections, item->connection);
        if (!connection) {
            written_forget(stamping, i);
            continue;
        }
        if (item->connection != asked) {
            asked = item->connection;
            position = lp_connection_flush_position(connection);
        }
        item->going = item->position <= position;
    }
}

void
lp_stamps_flush_end(struct lp_broker *broker)
{
    struct lp_stamping *stamping = &broker->stamping;
    const uint64_t now_ns = clock_ns(broker);
    for (uint32_t i = stamping->written_count; i-- > 0;) {
        const struct lp_written item = stamping->way->written[i];
        struct lp_stamps *stamps = item.going ? stamps_find(broker, item.queue_id) : NULL;
        if (stamps) {
            const uint64_t total_ns = between(broker, item.received_ns, now_ns);
            times_add(stamps, LP_LATENCY_SENDING, between(broker, item.written_ns, now_ns));
            times_add(stamps, LP_LATENCY_TOTAL, total_ns);
            times_add(stamps, LP_LATENCY_OWN_WORK, between(broker, item.waited_ns, total_ns));
        }
        if (item.going) {
            written_forget(stamping, i);
        }
    }
}

/* ---- checks ---- */

static void
stamps_check(const struct lp_broker *broker, const struct lp_stamps *stamps)
{
    const struct lp_queue_ref *ref = lp_topology_queue_by_id(&broker->topology, stamps->queue_id);
    LP_ASSERT(ref && ref->stamped);
    const struct lp_queue *queue = ref->local;
    LP_ASSERT(!queue || queue->stamps == stamps);
    for (uint32_t i = 0; i < LP_LATENCY_COUNT; i++) {
        const struct lp_latency_times *times = &stamps->times[i];
        uint64_t count = 0;
        for (uint32_t k = 0; k < LP_LATENCY_BUCKETS; k++) {
            count += times->bucket[k];
        }
        LP_ASSERT(count == times->count);
        LP_ASSERT(times->min_ns <= times->max_ns);
        LP_ASSERT(times->sum_ns >= times->max_ns);
    }
    LP_ASSERT(stamps->times[LP_LATENCY_ROUTING].count == stamps->measured);
    LP_ASSERT(stamps->times[LP_LATENCY_STORING].count == stamps->measured);
    LP_ASSERT(stamps->times[LP_LATENCY_WAITING].count <= stamps->measured);
}

void
lp_stamps_check(const struct lp_broker *broker)
{
    const struct lp_stamping *stamping = &broker->stamping;
    uint32_t count = 0;
    for (uint32_t i = 0; i < LP_STAMPED_QUEUES_MAX; i++) {
        if (stamping->queue[i]) {
            stamps_check(broker, stamping->queue[i]);
            count++;
        }
    }
    LP_ASSERT(count == stamping->count);
    LP_ASSERT((stamping->way != NULL) == (count > 0));
    LP_ASSERT(stamping->written_count <= LP_WRITTEN_MAX);
    LP_ASSERT(!stamping->in_hand);
}
