/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.c - boot and the turn.
 */
#include "dataplane/shard/shard.h"

#include <string.h>

#include "dataplane/broker/connection.h"
#include "dataplane/broker/connection_turn.h"
#include "dataplane/broker/message.h"
#include "dataplane/broker/queue.h"
#include "dataplane/broker/session.h"
#include "dataplane/broker/store/store.h"
#include "dataplane/shard/shard_private.h"

/* The list in dataplane/protocol/meson.build makes this table. */
#define X(name) extern const struct lp_protocol lp_protocol_##name;
#include "dataplane/protocol/registry.inc"
#undef X

static const struct lp_protocol *const protocols[] = {
#define X(name) &lp_protocol_##name,
#include "dataplane/protocol/registry.inc"
#undef X
};
LP_STATIC_ASSERT(LP_COUNT_OF(protocols) <= LP_PROTOCOLS_MAX, "every protocol has a slot");

/* Records from the control process, timers, and inbox passes that one turn may take. */
#define CONTROL_BUDGET 512u
#define TIMER_BUDGET   256u
#define PASSES_MAX     4u
/* Messages that die, and messages of the broker's own, that one pass may send on. */
#define OWN_BUDGET 32u
/* Who waits for room is not told when a ring drains: look again this soon. */
#define RETRY_NS 1000000u
/* Of the memory above the watermark: what deliveries leave to everything else. */
#define OUTPUT_RESERVE_BYTES (512u * 1024u)
/* Of the memory above the watermark, one in so many bytes is for input that waits. */
#define ASIDE_SHARE 4u
/* However small the memory, a message of this size is taken. */
#define MESSAGE_BYTES_LEAST (128u * 1024u)
/* Deliveries that can wait for their client whatever memory is left. */
#define DELIVERIES_KEPT 1024u

/* ---- boot ---- */

static enum lp_err
shard_pools_init(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    const uint64_t bytes = shard->env.memory_bytes;
    /* As many as could ever fit: the limit is memory, not a table. */
    const uint32_t small = (uint32_t)LP_MIN(bytes / 96, (uint64_t)1u << 28);
    const struct {
        struct lp_pool *pool;
        const char *name;
        size_t item_bytes;
        uint32_t capacity;
    } pools[] = {
        {&broker->connections, "connections", sizeof(struct lp_connection),
         shard->config.connections_max},
        {&broker->sessions, "sessions", sizeof(struct lp_session), small / 4},
        {&broker->consumers, "consumers", sizeof(struct lp_consumer), small / 4},
        {&broker->deliveries, "pending deliveries", sizeof(struct lp_pending), small},
        {&broker->entries, "queue entries", sizeof(struct lp_entry), small},
        {&broker->subscriptions, "subscriptions", sizeof(struct lp_subscription), small / 4},
        {&broker->queues, "queues", lp_queue_item_bytes(), small / 4},
    };
    lp_messages_init(&broker->messages, broker->memory);
    for (size_t i = 0; i < LP_COUNT_OF(pools); i++) {
        const enum lp_err err =
            lp_pool_init_boot(pools[i].pool, pools[i].name, broker->memory,
                              (uint32_t)pools[i].item_bytes, LP_MAX(pools[i].capacity, 1u));
        if (err != LP_OK) {
            return err;
        }
    }
    return LP_OK;
}

/*
 * Deliveries that find a client's output full wait in a pool, which keeps the
 * memory that it once had.  It has some from the start: what waits because memory
 * is short must not need any.
 */
static enum lp_err
shard_deliveries_keep(struct lp_pool *deliveries)
{
    lp_handle kept[DELIVERIES_KEPT];
    uint32_t count = 0;
    while (count < LP_COUNT_OF(kept) && lp_pool_alloc(deliveries, &kept[count])) {
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        lp_pool_release(deliveries, kept[i]);
    }
    return count > 0 ? LP_OK : LP_ERR_NO_MEMORY;
}

static void
shard_lists_init(struct lp_broker *broker)
{
    lp_list_init(&broker->sessions_waiting);
    lp_list_init(&broker->sessions_confirming);
    lp_list_init(&broker->sessions_settling);
    lp_list_init(&broker->consumers_news);
    lp_list_init(&broker->connections_flush);
    lp_list_init(&broker->connections_resume);
    lp_list_init(&broker->connections_paused);
    lp_list_init(&broker->queues_dirty);
    lp_list_init(&broker->queues_unused);
    lp_list_init(&broker->subscriptions_gone);
    lp_dying_init(&broker->dying);
    lp_delay_init(&broker->delay);
    lp_staging_init(&broker->staging);
    lp_own_init(&broker->own, broker->memory);
    for (uint32_t i = 0; i < LP_SHARDS_MAX; i++) {
        lp_list_init(&broker->release[i].entries);
    }
}

static enum lp_err
shard_broker_init(struct lp_shard *shard, uint64_t now_ns, uint64_t wall_ns)
{
    struct lp_broker *broker = &shard->broker;
    const struct lp_shard_config *config = &shard->config;
    broker->entropy = shard->env.entropy;
    broker->stamping.clock = shard->env.clock;
    broker->transport = shard->env.transport;
    broker->shard = config->index;
    broker->now_ns = now_ns;
    broker->wall_ns = wall_ns;
    broker->stats = lp_control_region_stats(shard->env.region, config->index);
    broker->limits = shard->limits;
    lp_broker_random(broker, &broker->key, sizeof(broker->key));
    shard_lists_init(broker);
    lp_wheel_init(&broker->wheel, now_ns);
    lp_mesh_init(&broker->mesh, shard->env.fabric, config->index);

    enum lp_err err = shard_pools_init(shard);
    if (err != LP_OK) {
        return err;
    }
    err = shard_deliveries_keep(&broker->deliveries);
    if (err != LP_OK) {
        return err;
    }
    shard->env.fabric->messages[config->index] = &broker->messages;
    const struct lp_topology_hooks hooks = {lp_queue_up, lp_queue_configure, lp_queue_down, broker};
    err = lp_topology_init_boot(&broker->topology, broker->memory, &broker->key, &hooks);
    if (err != LP_OK) {
        return err;
    }
    const struct lp_link_options link = {
        .region = shard->env.region,
        .shard = config->index,
        .shard_count = config->count,
        .memory = broker->memory,
        .wheel = &broker->wheel,
        .timeout_ns = (uint64_t)config->control_timeout_ms * 1000000u,
        .context = broker,
        .record = shard_control_record,
    };
    err = lp_link_init_boot(&broker->link, &link);
    broker->link.now_ns = now_ns;
    if (err != LP_OK) {
        return err;
    }
    const struct lp_store_options store = {
        .disk = shard->env.disk,
        .segment_bytes = config->log_segment_bytes,
        .segment_bytes_first = config->log_first_segment_bytes,
        .backlog_bytes = config->log_backlog_bytes,
        .delay_ns = (uint64_t)config->log_max_delay_us * 1000u,
        .paging = {config->log_paging.head_entries, config->log_paging.head_bytes,
                   config->log_paging.page_entries, config->log_paging.ahead_ms},
    };
    return lp_store_init_boot(broker, &store);
}

uint64_t
lp_shard_message_bytes_max(uint64_t message_bytes_max, uint64_t memory_bytes,
                           uint64_t watermark_bytes)
{
    const uint64_t above = memory_bytes - LP_MIN(watermark_bytes, memory_bytes);
    const uint64_t fits = above > OUTPUT_RESERVE_BYTES ? (above - OUTPUT_RESERVE_BYTES) / 3 : 0;
    return LP_MIN(message_bytes_max, LP_MAX(fits, (uint64_t)MESSAGE_BYTES_LEAST));
}

enum lp_err
lp_shard_init_boot(const struct lp_shard_config *config, const struct lp_shard_env *env,
                   uint64_t now_ns, uint64_t wall_ns, struct lp_shard **ret_shard)
{
    struct lp_memory *memory;
    if (config->index >= config->count || config->count != env->fabric->shard_count ||
        config->frame_max_bytes < 4096 || config->connections_max == 0) {
        return LP_ERR_BAD_CONFIG;
    }
    enum lp_err err =
        lp_memory_init_boot(env->memory, env->memory_bytes, env->watermark_bytes, &memory);
    if (err != LP_OK) {
        return err;
    }
    struct lp_shard *shard = lp_memory_alloc(memory, sizeof(*shard));
    if (!shard) {
        return LP_ERR_NO_MEMORY;
    }
    memset(shard, 0, sizeof(*shard));
    shard->magic = SHARD_MAGIC;
    shard->config = *config;
    shard->env = *env;
    shard->region = env->region;
    shard->broker.memory = memory;
    shard->limits = (struct lp_protocol_limits){
        .frame_max_bytes = config->frame_max_bytes,
        .channel_max = config->channel_max,
        .heartbeat_s = config->heartbeat_s,
        .mechanisms = config->mechanisms != 0 ? config->mechanisms
                                              : LP_MECHANISM_PLAIN | LP_MECHANISM_AMQPLAIN,
        .handshake_timeout_ms = config->handshake_timeout_ms,
        .consumers_max = config->consumers_max,
        .message_bytes_max = lp_shard_message_bytes_max(config->message_bytes_max,
                                                        env->memory_bytes, env->watermark_bytes),
    };
    memcpy(shard->limits.cluster_name, config->cluster_name, sizeof(config->cluster_name));
    err = shard_broker_init(shard, now_ns, wall_ns);
    if (err != LP_OK) {
        return err;
    }
    for (size_t i = 0; i < LP_COUNT_OF(protocols); i++) {
        if (!protocols[i]->boot(&shard->broker, &shard->broker.protocol_state[i])) {
            return LP_ERR_NO_MEMORY;
        }
        LP_ASSERT(protocols[i]->id < LP_PROTOCOLS_MAX);
        shard->broker.protocols[protocols[i]->id] = protocols[i];
    }
    shard->listeners_owed = true;
    *ret_shard = shard;
    return LP_OK;
}

void *
lp_broker_protocol_state(struct lp_broker *broker, const struct lp_protocol *protocol)
{
    for (size_t i = 0; i < LP_COUNT_OF(protocols); i++) {
        if (protocols[i] == protocol) {
            return broker->protocol_state[i];
        }
    }
    LP_ASSERT(!"a protocol that is not in the list");
    return NULL;
}

/* ---- the turn ---- */

static void
turn_accepted(struct lp_shard *shard, const struct lp_transport_event *event)
{
    /* One protocol so far; with more, the listener tells which. */
    if (!lp_connection_open(&shard->broker, protocols[0], event)) {
        shard->broker.stats->connections_refused++;
        shard->env.transport.ops->close(shard->env.transport.self, event->stream);
    }
}

static void
turn_event(struct lp_shard *shard, const struct lp_transport_event *event)
{
    struct lp_broker *broker = &shard->broker;
    if (event->kind == LP_TRANSPORT_ACCEPTED) {
        turn_accepted(shard, event);
        return;
    }
    struct lp_connection *connection = lp_pool_get(&broker->connections, event->user);
    if (!connection || connection->stream != event->stream) {
        return; /* a stream that was refused */
    }
    switch (event->kind) {
    case LP_TRANSPORT_RECEIVED:
        lp_connection_received(connection, event->data, event->bytes);
        return;
    case LP_TRANSPORT_SENT:
        lp_connection_sent(connection, event->bytes);
        return;
    case LP_TRANSPORT_ENDED:
        lp_connection_drop(connection);
        return;
    case LP_TRANSPORT_CLOSED:
        lp_connection_closed(connection);
        return;
    case LP_TRANSPORT_ACCEPTED:
    case LP_TRANSPORT_CONNECTED: /* nothing here opens streams */
        return;
    }
}

static uint32_t
turn_transport(struct lp_shard *shard)
{
    const struct lp_transport *transport = &shard->env.transport;
    const uint32_t count = transport->ops->poll(transport->self, shard->events, SHARD_EVENTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        turn_event(shard, &shard->events[i]);
    }
    return count;
}

/*
 * Connections that asked for another go, or may read again: each once.  Those
 * that find that others have handed out what a turn may are the first of the next.
 */
static uint32_t
turn_resume(struct lp_broker *broker)
{
    uint32_t count = 0;
    struct lp_list round;
    struct lp_list *link;
    lp_list_init(&round);
    while ((link = lp_list_pop_front(&broker->connections_resume)) != NULL) {
        lp_list_push_back(&round, link);
    }
    while (broker->near_left > 0 && (link = lp_list_pop_front(&round)) != NULL) {
        lp_connection_input_kept(LP_LIST_ITEM(link, struct lp_connection, in_resume));
        count++;
    }
    /* Who had no turn is before those that ask anew. */
    struct lp_list *behind = broker->connections_resume.next;
    while ((link = lp_list_pop_front(&round)) != NULL) {
        lp_list_insert_before(behind, link);
    }
    return count;
}

static uint32_t
turn_inbox(struct lp_broker *broker, uint32_t from)
{
    uint32_t count = 0;
    const struct lp_mesh_record *record;
    while (count < LP_MESH_RING_SLOTS && (record = lp_mesh_take(&broker->mesh, from)) != NULL) {
        const bool home = (LP_MESH_OPS_HOME >> record->op & 1u) != 0;
        const bool known =
            home ? lp_queue_record(broker, from, record) : lp_session_record(broker, from, record);
        LP_ASSERT(known);
        count++;
    }
    lp_mesh_give_back(&broker->mesh, from);
    return count;
}

/*
 * Inboxes and queues, until our own ring is empty: what a client publishes to
 * a queue that lives here and is consumed here leaves in the same turn.
 */
static uint32_t
turn_mesh(struct lp_broker *broker)
{
    uint32_t count = 0;
    /* Others may know our queues before we do: what they say waits for us, and we have nothing to
     * say to them. */
    if (LP_UNLIKELY(!lp_store_all_known(broker))) {
        return 0;
    }
    for (uint32_t i = 0; i < broker->mesh.count; i++) {
        if (i != broker->mesh.self) {
            count += turn_inbox(broker, i);
        }
    }
    if (LP_UNLIKELY(!lp_list_empty(&broker->staging.complete))) {
        count += lp_staging_step(broker);
    }
    for (uint32_t pass = 0; pass < PASSES_MAX; pass++) {
        (void)lp_mesh_publish(&broker->mesh, broker->mesh.self);
        const uint32_t own = turn_inbox(broker, broker->mesh.self);
        uint32_t dispatched = lp_queue_dispatch(broker);
        if (!lp_list_empty(&broker->dying.entries)) {
            dispatched += lp_dead_letter_step(broker, OWN_BUDGET);
        }
        if (broker->own.count > 0) {
            dispatched += lp_own_step(broker, OWN_BUDGET);
        }
        lp_queue_flush(broker);
        lp_session_flush(broker);
        count += own + dispatched;
        if (own == 0 && dispatched == 0 && !lp_mesh_staged(&broker->mesh, broker->mesh.self)) {
            break;
        }
    }
    return count;
}

/* Memory went below the watermark again (with some slack): publishers go on. */
static void
turn_pressure(struct lp_broker *broker)
{
    const uint64_t mark = lp_memory_watermark_bytes(broker->memory);
    const uint64_t aside = lp_memory_aside_bytes(broker->memory);
    const uint64_t used = lp_memory_used_bytes(broker->memory) - aside;
    const uint64_t share = (lp_memory_limit_bytes(broker->memory) - mark) / ASIDE_SHARE;
    broker->aside_full = aside > (broker->aside_full ? share / 2 : share);
    if (lp_memory_pressed(broker->memory)) {
        broker->pressed = true;
    } else if (used <= mark - mark / 16) {
        broker->pressed = false;
    }
    broker->held = broker->pressed || broker->alarms != 0;
    if (broker->held) {
        return;
    }
    struct lp_list *link;
    while ((link = lp_list_pop_front(&broker->connections_paused)) != NULL) {
        lp_connection_resume(LP_LIST_ITEM(link, struct lp_connection, in_paused), LP_PAUSE_MEMORY);
    }
}

/* One send per connection, one publish per peer, one doorbell each. */
static void
turn_flush(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    struct lp_list *link;
    const bool stamps = LP_UNLIKELY(broker->stamping.written_count > 0);
    if (stamps) {
        lp_stamps_flush_begin(broker);
    }
    lp_store_flush(broker);
    while ((link = lp_list_pop_front(&broker->connections_flush)) != NULL) {
        lp_connection_flush(LP_LIST_ITEM(link, struct lp_connection, in_flush));
    }
    shard->env.transport.ops->flush(shard->env.transport.self);
    if (stamps) {
        lp_stamps_flush_end(broker);
    }
    lp_link_flush(&broker->link);

    bool published[LP_SHARDS_MAX];
    for (uint32_t i = 0; i < broker->mesh.count; i++) {
        published[i] = lp_mesh_publish(&broker->mesh, i) && i != broker->mesh.self;
    }
    /* W1, pairs with S1: what was published is visible before the flag is read. */
    lp_fence_full();
    for (uint32_t i = 0; i < broker->mesh.count; i++) {
        /* The flag may be stale by then; a needless wake-up is harmless. */
        if (published[i] &&
            lp_load_relaxed(&shard->env.fabric->flag[i].sleeping)) { /* pairs with S1 */
            shard->env.wake_shard(shard->env.wake_context, i);
        }
    }
    if (broker->link.pushed) {
        broker->link.pushed = false;
        /* pairs with the control process's fence before it sleeps */
        if (lp_load_relaxed(&shard->region->control_sleeping)) {
            shard->env.wake_control(shard->env.wake_context);
        }
    }
}

static void
turn_stats(struct lp_shard *shard, uint32_t work)
{
    struct lp_broker *broker = &shard->broker;
    struct lp_stats_page *stats = broker->stats;
    stats->turns++;
    stats->turns_idle += work == 0;
    stats->memory_used_bytes = lp_memory_used_bytes(broker->memory);
    stats->memory_limit_bytes = lp_memory_limit_bytes(broker->memory);
    stats->memory_alarm = broker->pressed;
    stats->memory_watermark_bytes = lp_memory_watermark_bytes(broker->memory);
    stats->memory_refusals = lp_memory_refusal_count(broker->memory);
    stats->messages_held = broker->messages.used;
    stats->messages_delayed = lp_delay_count(&broker->delay);
    stats->mesh_records_sent = broker->mesh.sent;
    stats->mesh_full = broker->mesh.full;
}

static uint64_t
turn_next(const struct lp_shard *shard)
{
    const struct lp_broker *broker = &shard->broker;
    uint64_t next = lp_wheel_next_ns(&broker->wheel);
    const bool retry =
        !lp_list_empty(&broker->sessions_waiting) || !lp_list_empty(&broker->sessions_settling) ||
        !lp_list_empty(&broker->consumers_news) || !lp_list_empty(&broker->subscriptions_gone) ||
        !lp_list_empty(&broker->queues_unused) || !lp_list_empty(&broker->queues_dirty) ||
        !lp_list_empty(&broker->dying.entries) || broker->own.count > 0 ||
        !lp_list_empty(&broker->staging.complete) || !lp_list_empty(&broker->connections_resume) ||
        /* An alarm's end comes as a record, which wakes us. */
        (!lp_list_empty(&broker->connections_paused) && broker->alarms == 0) ||
        broker->link.unsent > 0 || shard_control_owes(shard) || lp_queue_credits_withheld(broker) ||
        lp_store_goes_on(broker);
    if (retry) {
        next = LP_MIN(next, broker->now_ns + RETRY_NS);
    }
    next = LP_MIN(next, LP_MAX(lp_store_next_ns(broker), broker->now_ns));
    if (broker->stopping && !shard->stop_told) {
        next = LP_MIN(next, LP_MAX(shard->stop_deadline_ns, broker->now_ns + RETRY_NS));
    }
    if (shard->close_deadline_ns != 0) {
        next = LP_MIN(next, LP_MAX(shard->close_deadline_ns, broker->now_ns + RETRY_NS));
    }
    return next;
}

struct lp_turn_result
lp_shard_turn(struct lp_shard *shard, uint64_t now_ns, uint64_t wall_ns)
{
    LP_ASSERT(shard->magic == SHARD_MAGIC);
    struct lp_broker *broker = &shard->broker;
    broker->now_ns = now_ns;
    broker->wall_ns = wall_ns;
    broker->near_left = LP_NEAR_PER_TURN / 2;
    broker->link.now_ns = now_ns; /* time-outs of what this turn's input asks for start now */
    shard->turn_count++;

    /* Who waits goes before what has just come, which may use up what a turn hands out; half of
     * that is not for those who wait, who may want very much. */
    (void)lp_session_retry(broker); /* waiting is not work: it must not keep an idle shard awake */
    uint32_t work = broker->near_left < LP_NEAR_PER_TURN / 2; /* ... but to go on is */
    broker->near_left += LP_NEAR_PER_TURN / 2;
    work += turn_resume(broker);
    work += turn_transport(shard);
    work += lp_store_step(broker);
    const bool ready = lp_store_ready(broker); /* else what is kept is not known yet */
    if (LP_LIKELY(ready)) {
        work += lp_link_poll(&broker->link, now_ns, CONTROL_BUDGET);
    }
    work += turn_mesh(broker);
    work += lp_wheel_advance(&broker->wheel, now_ns, TIMER_BUDGET, broker);
    work += ready ? shard_control_step(shard) : 0;
    turn_pressure(broker);
    turn_flush(shard);
    turn_stats(shard, work);

    return (struct lp_turn_result){
        .work = work,
        .next_ns = turn_next(shard),
        .stopped = shard->stop_told,
        .failed = shard->failed,
    };
}

/* ---- checks ---- */

void
lp_shard_check(const struct lp_shard *shard)
{
    const struct lp_broker *broker = &shard->broker;
    uint32_t cursor = 0;
    lp_handle handle;
    const struct lp_queue *queue;
    lp_memory_check(broker->memory);
    lp_topology_check(&broker->topology);
    lp_stamps_check(broker);
    while ((queue = lp_pool_next(&broker->queues, &cursor, &handle)) != NULL) {
        queue->type->check(queue);
    }
}

bool
lp_shard_at_rest(const struct lp_shard *shard, const char **ret_why)
{
    const struct lp_broker *broker = &shard->broker;
    const struct lp_pool *const pools[] = {
        &broker->connections, &broker->sessions, &broker->consumers,
        &broker->deliveries,  &broker->entries,  &broker->subscriptions,
    };
    for (size_t i = 0; i < LP_COUNT_OF(pools); i++) {
        if (pools[i]->used != 0) {
            *ret_why = pools[i]->name;
            return false;
        }
    }
    if (broker->messages.used != 0) {
        *ret_why = "messages";
        return false;
    }
    for (uint32_t i = 0; i < broker->mesh.count; i++) {
        if (broker->mesh.port[i].credits != LP_MESH_CREDITS || broker->mesh.port[i].owed != 0) {
            *ret_why = "mesh credits";
            return false;
        }
    }
    for (size_t i = 0; i < LP_COUNT_OF(protocols); i++) {
        if (!protocols[i]->at_rest(broker->protocol_state[i])) {
            *ret_why = protocols[i]->name;
            return false;
        }
    }
    return true;
}
