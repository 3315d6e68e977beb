/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_rig.h - shards with disks in memory, which may be killed and started
 * again over what is on them.
 *
 * Queue "q" (and others, by store_queue()) are durable and at home on shard 0, where the clients
 * are, too.  Operations of the disks end with the next turn unless `hold` says otherwise.
 */
#pragma once

#include "dataplane/broker/store/store_private.h"
#include "tests/lib/mem_disk.h"
#include "tests/unit/shard/shard_client.h"

#define STORE_QUEUES_MAX   8u
#define STORE_MEMORY_BYTES (64u << 20)
#define STORE_QUEUE_ID     50u

struct store_queue {
    uint32_t id;
    const char *name;
    const char *type; /* NULL: classic */
    bool transient;   /* it is not durable; a start knows it all the same */
    struct lp_queue_settings settings;
};

struct store_rig {
    struct rig rig; /* first: on_turn() is given it */
    struct lp_mem_disk disk;
    struct store_queue queue[STORE_QUEUES_MAX];
    uint32_t queue_count;
    uint64_t memory_bytes;
    bool hold;    /* nothing that is in flight ends */
    bool limited; /* only so many operations end ... */
    uint32_t limit;
    uint32_t confirmed; /* by the client of the life before */
    struct rig_client *client;
    void (*on_topology)(struct store_rig *store); /* names what else there is */
};

static inline void
store_on_turn(struct rig *rig)
{
    struct store_rig *store = LP_CONTAINER_OF(rig, struct store_rig, rig);
    while (!store->hold && store->disk.flight_count > 0 && (!store->limited || store->limit > 0)) {
        lp_mem_disk_complete(&store->disk, 0, LP_OK);
        store->limit--;
    }
}

static inline struct lp_broker *
store_broker(const struct store_rig *store)
{
    return &store->rig.shard[0]->broker;
}

static inline struct lp_store *
store_of(const struct store_rig *store)
{
    return store_broker(store)->store;
}

static inline void
store_queue_up(struct store_rig *store, struct store_queue *queue)
{
    const struct rig_queue up = {
        .id = queue->id,
        .name = queue->name,
        .flags = queue->transient ? 0 : LP_OBJECT_DURABLE,
        .settings = &queue->settings,
        .type = queue->type,
    };
    rig_queue_up(&store->rig, &up);
    rig_bind_up(&store->rig, 100u + queue->id, 2, queue->id);
}

static inline void
store_control_say(struct store_rig *store, uint16_t type)
{
    uint8_t none[8];
    const struct lp_writer writer = lp_writer_of(none, sizeof(none));
    rig_say_all(&store->rig, type, &writer);
}

/* Shards come up, and hear of all queues that there are. */
static inline void
store_start(struct store_rig *store)
{
    rig_boot(&store->rig, 1, store->memory_bytes);
    store_control_say(store, LP_CONTROL_SYNC_BEGIN);
    rig_vhost_up(&store->rig);
    rig_exchange_up(&store->rig, 1, "", LP_EXCHANGE_DIRECT);
    rig_exchange_up(&store->rig, 2, "fan", LP_EXCHANGE_FANOUT);
    for (uint32_t i = 0; i < store->queue_count; i++) {
        store_queue_up(store, &store->queue[i]);
    }
    if (store->on_topology) {
        store->on_topology(store);
    }
    store_control_say(store, LP_CONTROL_SYNC_END);
    rig_settle(&store->rig);
    lp_store_check(store_broker(store));
    store->client = client_open(&store->rig, 0);
}

/* A queue that there will be, or is from now on. */
static inline struct store_queue *
store_queue_add(struct store_rig *store, const char *name)
{
    struct store_queue *queue = &store->queue[store->queue_count];
    *queue = (struct store_queue){.id = STORE_QUEUE_ID + store->queue_count,
                                  .name = name,
                                  .settings = lp_queue_settings_none()};
    store->queue_count++;
    return queue;
}

/* With the queue "q", which may be changed before store_start(). */
static inline void
store_open(struct store_rig *store)
{
    memset(store, 0, sizeof(*store));
    lp_mem_disk_init(&store->disk);
    store->memory_bytes = STORE_MEMORY_BYTES;
    store->rig.now_ns = 1000000000u;
    store->rig.wall_ns = 1700000000000000000ull;
    store->rig.on_turn = store_on_turn;
    store->rig.log_segment_bytes = 4u << 20;
    store->rig.log_backlog_bytes = 1ull << 40;
    store->rig.disk[0] = lp_mem_disk_contract(&store->disk);
    (void)store_queue_add(store, "q");
}

/* Nobody hears of it. */
static inline void
store_kill(struct store_rig *store)
{
    lp_store_check(store_broker(store));
    store->confirmed = store->client ? store->client->confirmed : 0;
    free(store->client);
    store->client = NULL;
    lp_mem_disk_drop(&store->disk);
    rig_free(&store->rig);
}

static inline void
store_kill_and_start(struct store_rig *store)
{
    store_kill(store);
    store->hold = false;
    store_start(store);
}

static inline void
store_close(struct store_rig *store)
{
    if (store->client) {
        client_close(store->client);
    }
    for (uint32_t i = 0; i < store->queue_count; i++) {
        rig_queue_down(&store->rig, store->queue[i].id);
    }
    rig_settle(&store->rig);
    assert_int_equal(store_of(store)->resident_bytes, 0);
    rig_close(&store->rig);
    lp_mem_disk_fini(&store->disk);
}

/* A clean end, and a start after it. */
static inline void
store_stop_and_start(struct store_rig *store)
{
    client_close(store->client);
    store->client = NULL;
    lp_store_close_begin(store_broker(store));
    for (uint32_t i = 0; i < 1000 && !lp_store_closed(store_broker(store)); i++) {
        (void)rig_turn(&store->rig);
    }
    assert_true(lp_store_closed(store_broker(store)));
    rig_settle(&store->rig);
    store_kill_and_start(store);
}

static inline struct lp_queue *
store_queue_of(const struct store_rig *store, const char *name)
{
    struct lp_queue_ref *ref = client_queue(store->client, name);
    assert_non_null(ref->local);
    return ref->local;
}

static inline struct lp_queue_counts
store_counts(const struct store_rig *store, const char *name)
{
    struct lp_queue_counts counts;
    struct lp_queue *queue = store_queue_of(store, name);
    queue->type->counts(queue, &counts);
    return counts;
}

/* Messages numbered from `first`, every `each`-th of them persistent; 0: none. */
static inline void
store_send_mixed(struct store_rig *store, const char *queue, uint64_t first, uint64_t count,
                 uint64_t each)
{
    for (uint64_t i = 0; i < count; i++) {
        const bool persistent = each > 0 && i % each == each - 1;
        const struct rig_extras extras = {.flags = persistent ? LP_MESSAGE_PERSISTENT : 0};
        client_send_with(store->client, queue, first + i, &extras);
        if (i % 256 == 255) {
            rig_settle(&store->rig);
        }
    }
    rig_settle(&store->rig);
}

/* Persistent messages, numbered from `first`. */
static inline void
store_send(struct store_rig *store, const char *queue, uint64_t first, uint64_t count)
{
    store_send_mixed(store, queue, first, count, 1);
}

/* basic.get: its number, or 0 for empty. */
static inline uint64_t
store_get(struct store_rig *store, const char *queue, bool no_ack)
{
    const uint32_t got = store->client->got;
    assert_int_equal(
        lp_session_get(store->client->session, client_queue(store->client, queue), no_ack),
        LP_LATER);
    rig_settle(&store->rig);
    return store->client->got == got ? 0 : store->client->got_last.value;
}

/* What is next in the queue is these, and they are taken. */
static inline void
store_expect(struct store_rig *store, const char *queue, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(store_get(store, queue, true), first + i);
    }
}

/* A client that has taken all that is in the queue, or, with `most`, as many, and then closed its
 * eyes.  It is the caller's. */
static inline struct rig_client *
store_drain(struct store_rig *store, const char *queue, bool no_ack, uint32_t most)
{
    struct rig_client *reader = client_open(&store->rig, 0);
    struct lp_consumer *consumer = NULL;
    const struct lp_consume consume = {
        .queue = client_queue(reader, queue), .no_ack = no_ack, .prefetch = most, .user = reader};
    assert_int_equal(lp_session_consume(reader->session, &consume, &consumer), LP_LATER);
    rig_settle(&store->rig);
    return reader;
}
