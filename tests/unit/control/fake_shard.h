/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_shard.h - the data plane's side of the control rings, for tests: says
 * hello, applies deltas to a small picture of the topology, asks, and keeps
 * what it asked until it is answered, as link.h demands.
 *
 *   Memory    struct world is a test's; everything in it is heap
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <lepus/control_records.h>
#include <lepus/fault.h>

#include "control/link/control.h"

#define FAKE_SHARDS_MAX      4u
#define FAKE_REQUESTS_MAX    64u
#define FAKE_OBJECTS_MAX     256u
#define FAKE_CONNECTIONS_MAX 8u

/* ---- clock and entropy ---- */

static uint64_t fake_now_ns;

static inline uint64_t
fake_clock(void *self)
{
    (void)self;
    return fake_now_ns += 1000;
}

static inline void
fake_fill(void *self, void *data, size_t bytes)
{
    static uint64_t state = 1;
    (void)self;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)data)[i] = (uint8_t)(state >> 56);
    }
}

static inline struct lp_entropy
fake_entropy(void)
{
    const struct lp_entropy entropy = {fake_fill, NULL};
    return entropy;
}

/* ---- the shard ---- */

struct fake_request {
    uint64_t sequence; /* 0: free */
    uint16_t type;
    bool answered;
    uint16_t code;
    char text[256];
    uint8_t payload[1024];
    uint32_t payload_bytes;
    uint8_t reply[256];
    uint32_t reply_bytes;
};

/* An object that a delta named. */
struct fake_object {
    uint16_t type; /* LP_CONTROL_*_UP; 0: free */
    uint64_t id;
    bool seen;
    char name[256];
    uint64_t source, destination; /* bindings */
    uint64_t owner;
    uint16_t home;
    uint8_t flags;
};

struct fake_shard {
    uint32_t index;
    struct lp_control_end out, in;
    uint64_t next_sequence;
    struct fake_request requests[FAKE_REQUESTS_MAX];
    struct fake_object objects[FAKE_OBJECTS_MAX];
    uint64_t connections[FAKE_CONNECTIONS_MAX];
    uint32_t connection_vhosts[FAKE_CONNECTIONS_MAX];
    uint32_t connection_count;
    uint32_t generation, epoch;
    uint64_t applied;
    uint8_t verdict; /* of delete checks */
    uint32_t count;
    uint32_t checks;
    bool deaf; /* does not answer APPLIED */
    bool mute; /* does not answer LIST_QUEUES */
    uint64_t closed_connection;
    uint32_t wakes;
    uint8_t alarms;
    uint64_t watermark_bytes;
    uint16_t channel_max;
    bool running;
    uint32_t purges, transient_purges;
    uint64_t purge_kept; /* an order that was not answered yet, when `lazy` */
    bool lazy;
};

struct world {
    void *region;
    uint32_t shard_count;
    struct fake_shard shard[FAKE_SHARDS_MAX];
    struct lp_store store;
    struct lp_control *control;
    uint32_t generation;
    bool has_disk, disk_broken;
    const char *data_id; /* NULL: not told */
    enum lp_err opens;   /* what the next start of control comes to */
    uint64_t disk_free_bytes, disk_limit_bytes;
    struct lp_control_node *region_node;
    uint8_t scratch[LP_CONTROL_PAYLOAD_MAX_BYTES];
    char log[1024];
};

static inline void
fake_shard_send(struct fake_shard *shard, uint16_t type, uint64_t sequence, struct lp_bytes payload)
{
    assert_true(lp_control_push(&shard->out, type, sequence, payload));
}

static inline void
fake_connection_write(struct lp_writer *w, uint64_t id, const char *user, const char *vhost)
{
    static const uint8_t ip[16] = {127, 0, 0, 1};
    lp_writer_u64le(w, id);
    lp_writer_short(w, lp_bytes_of_text(vhost));
    lp_writer_short(w, lp_bytes_of_text("AMQP 0-9-1"));
    for (int i = 0; i < 2; i++) {
        lp_writer_u8(w, 4);
        lp_writer_u16le(w, (uint16_t)(i == 0 ? 5672 : 40000));
        lp_writer_copy(w, ip, sizeof(ip));
    }
    lp_writer_long_le(w, lp_bytes_of(NULL, 0));
    lp_writer_u16le(w, 60);
    lp_writer_u32le(w, 131072);
    lp_writer_u16le(w, 2047);
    lp_writer_u64le(w, 1700000000000u);
    lp_writer_short(w, lp_bytes_of_text(user));
    lp_writer_short(w, lp_bytes_of_text("PLAIN"));
    lp_writer_u8(w, 0); /* no TLS */
}

static inline void
fake_shard_hello(struct fake_shard *shard)
{
    uint8_t room[1024];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u32le(&w, shard->generation);
    fake_shard_send(shard, LP_CONTROL_HELLO, 0, lp_writer_bytes(&w));
    for (uint32_t i = 0; i < shard->connection_count; i++) {
        w = lp_writer_of(room, sizeof(room));
        fake_connection_write(&w, shard->connections[i], "guest", "/");
        lp_writer_u32le(&w, shard->connection_vhosts[i]);
        fake_shard_send(shard, LP_CONTROL_HELLO_CONNECTION, 0, lp_writer_bytes(&w));
    }
    fake_shard_send(shard, LP_CONTROL_HELLO_END, 0, lp_bytes_of(NULL, 0));
    for (uint32_t i = 0; i < FAKE_REQUESTS_MAX; i++) {
        const struct fake_request *request = &shard->requests[i];
        if (request->sequence != 0 && !request->answered) {
            fake_shard_send(shard, request->type, request->sequence,
                            lp_bytes_of(request->payload, request->payload_bytes));
        }
    }
}

static inline struct fake_object *
fake_object(struct fake_shard *shard, uint16_t type, uint64_t id)
{
    for (uint32_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
        if (shard->objects[i].type == type && shard->objects[i].id == id) {
            return &shard->objects[i];
        }
    }
    return NULL;
}

static inline struct fake_object *
fake_object_named(struct fake_shard *shard, uint16_t type, const char *name)
{
    for (uint32_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
        if (shard->objects[i].type == type && strcmp(shard->objects[i].name, name) == 0) {
            return &shard->objects[i];
        }
    }
    return NULL;
}

static inline uint32_t
fake_object_count(const struct fake_shard *shard, uint16_t type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
        count += shard->objects[i].type == type;
    }
    return count;
}

static inline void
fake_shard_up(struct fake_shard *shard, uint16_t type, struct lp_reader *r)
{
    struct fake_object object = {.type = type, .seen = true};
    struct lp_bytes name = {0};
    if (type == LP_CONTROL_BIND_UP) {
        object.id = lp_reader_u64le(r);
        object.source = lp_reader_u32le(r);
        const uint8_t resource = lp_reader_u8(r);
        object.destination = lp_reader_u32le(r);
        name = lp_reader_short(r);
        assert_non_null(fake_object(shard, LP_CONTROL_EXCHANGE_UP, object.source));
        assert_non_null(fake_object(
            shard, resource == LP_RESOURCE_QUEUE ? LP_CONTROL_QUEUE_UP : LP_CONTROL_EXCHANGE_UP,
            object.destination));
    } else {
        object.id = lp_reader_u32le(r);
        if (type != LP_CONTROL_VHOST_UP) {
            assert_non_null(fake_object(shard, LP_CONTROL_VHOST_UP, lp_reader_u32le(r)));
        }
        name = lp_reader_short(r);
        if (type == LP_CONTROL_QUEUE_UP) {
            object.home = lp_reader_u16le(r);
            object.flags = lp_reader_u8(r);
            object.owner = lp_reader_u64le(r);
        }
    }
    assert_false(r->failed);
    memcpy(object.name, name.data, name.size);
    struct fake_object *slot = fake_object(shard, type, object.id);
    if (!slot) {
        slot = fake_object(shard, 0, 0);
        assert_non_null(slot);
    }
    *slot = object;
}

static inline void
fake_shard_down(struct fake_shard *shard, uint16_t type, struct lp_reader *r)
{
    const uint16_t up = type == LP_CONTROL_VHOST_DOWN      ? LP_CONTROL_VHOST_UP
                        : type == LP_CONTROL_EXCHANGE_DOWN ? LP_CONTROL_EXCHANGE_UP
                        : type == LP_CONTROL_QUEUE_DOWN    ? LP_CONTROL_QUEUE_UP
                                                           : LP_CONTROL_BIND_UP;
    const uint64_t id = type == LP_CONTROL_BIND_DOWN ? lp_reader_u64le(r) : lp_reader_u32le(r);
    struct fake_object *object = fake_object(shard, up, id);
    assert_non_null(object);
    for (uint32_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
        /* Bindings go before their ends. */
        const struct fake_object *binding = &shard->objects[i];
        if (binding->type == LP_CONTROL_BIND_UP && up != LP_CONTROL_BIND_UP) {
            assert_int_not_equal(binding->source, id);
            assert_int_not_equal(binding->destination, id);
        }
    }
    *object = (struct fake_object){0};
}

static inline void
fake_shard_sync(struct fake_shard *shard, bool begin)
{
    for (uint32_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
        if (begin) {
            shard->objects[i].seen = false;
        } else if (shard->objects[i].type != 0 && !shard->objects[i].seen) {
            shard->objects[i] = (struct fake_object){0};
        }
    }
}

static inline void
fake_shard_reply(struct fake_shard *shard, const struct lp_control_record *record)
{
    struct lp_reader r = lp_reader_of_bytes(record->payload);
    for (uint32_t i = 0; i < FAKE_REQUESTS_MAX; i++) {
        struct fake_request *request = &shard->requests[i];
        if (request->sequence != record->sequence || request->answered) {
            continue;
        }
        request->answered = true;
        request->code = lp_reader_u16le(&r);
        const struct lp_bytes text = lp_reader_short(&r);
        assert_false(r.failed);
        memcpy(request->text, text.data, text.size);
        request->text[text.size] = '\0';
        request->reply_bytes = (uint32_t)lp_reader_left(&r);
        memcpy(request->reply, r.at, request->reply_bytes);
        return;
    }
}

static inline void
fake_shard_list_queues(struct fake_shard *shard, uint64_t sequence)
{
    uint8_t room[96];
    for (uint32_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
        const struct fake_object *object = &shard->objects[i];
        if (object->type == LP_CONTROL_QUEUE_UP && object->home == shard->index) {
            struct lp_writer w = lp_writer_of(room, sizeof(room));
            lp_writer_u32le(&w, (uint32_t)object->id);
            lp_writer_u64le(&w, 3);
            lp_writer_u64le(&w, 2);
            lp_writer_u32le(&w, 1);
            lp_writer_u64le(&w, 500);
            lp_writer_u8(&w, 0);
            lp_writer_u64le(&w, 200);
            lp_writer_u64le(&w, 4);
            lp_writer_u16le(&w, 0);
            lp_writer_u64le(&w, 0);
            lp_writer_u64le(&w, 600);
            lp_writer_u64le(&w, 2);
            lp_writer_u64le(&w, 400);
            fake_shard_send(shard, LP_CONTROL_ROW_QUEUE, sequence, lp_writer_bytes(&w));
        }
    }
    fake_shard_send(shard, LP_CONTROL_ROWS_END, sequence, lp_bytes_of(NULL, 0));
}

static inline void
fake_shard_list_connections(struct fake_shard *shard, uint64_t sequence)
{
    uint8_t room[64];
    for (uint32_t i = 0; i < shard->connection_count; i++) {
        struct lp_writer w = lp_writer_of(room, sizeof(room));
        lp_writer_u64le(&w, shard->connections[i]);
        lp_writer_u16le(&w, 1);
        lp_writer_u64le(&w, 1000);
        lp_writer_u64le(&w, 2000);
        lp_writer_u8(&w, LP_CONNECTION_RUNNING);
        fake_shard_send(shard, LP_CONTROL_ROW_CONNECTION, sequence, lp_writer_bytes(&w));
    }
    fake_shard_send(shard, LP_CONTROL_ROWS_END, sequence, lp_bytes_of(NULL, 0));
}

static inline void
fake_shard_purge(struct fake_shard *shard, uint64_t sequence, struct lp_reader *r)
{
    uint8_t room[8];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    const struct fake_object *queue = fake_object(shard, LP_CONTROL_QUEUE_UP, lp_reader_u32le(r));
    const bool transient = lp_reader_u8(r) != 0;
    assert_false(r->failed);
    shard->purges += !transient;
    shard->transient_purges += transient;
    if (shard->lazy) {
        shard->purge_kept = sequence;
        return;
    }
    lp_writer_u16le(&w, queue ? 0 : 404);
    lp_writer_u32le(&w, shard->count);
    fake_shard_send(shard, LP_CONTROL_QUEUE_PURGED, sequence, lp_writer_bytes(&w));
}

/* What the whole node is told. */
static inline void
fake_shard_node(struct fake_shard *shard, uint16_t type, struct lp_reader *r)
{
    switch (type) {
    case LP_CONTROL_ALARMS:
        shard->alarms = lp_reader_u8(r);
        return;
    case LP_CONTROL_WATERMARK:
        shard->watermark_bytes = lp_reader_u64le(r);
        return;
    case LP_CONTROL_CHANNEL_MAX:
        shard->channel_max = lp_reader_u16le(r);
        return;
    case LP_CONTROL_RUNNING:
        shard->running = lp_reader_u8(r) != 0;
        return;
    default:
        fail_msg("record type %u", type);
    }
}

static inline void
fake_shard_record(struct fake_shard *shard, const struct lp_control_record *record)
{
    struct lp_reader r = lp_reader_of_bytes(record->payload);
    uint8_t room[64];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    switch (record->type) {
    case LP_CONTROL_ATTACH:
        shard->generation = lp_reader_u32le(&r);
        (void)lp_reader_u64le(&r);
        shard->epoch = lp_reader_u32le(&r);
        fake_shard_hello(shard);
        return;
    case LP_CONTROL_SYNC_BEGIN:
    case LP_CONTROL_SYNC_END:
        fake_shard_sync(shard, record->type == LP_CONTROL_SYNC_BEGIN);
        return;
    case LP_CONTROL_VHOST_UP:
    case LP_CONTROL_EXCHANGE_UP:
    case LP_CONTROL_QUEUE_UP:
    case LP_CONTROL_BIND_UP:
        fake_shard_up(shard, record->type, &r);
        return;
    case LP_CONTROL_VHOST_DOWN:
    case LP_CONTROL_EXCHANGE_DOWN:
    case LP_CONTROL_QUEUE_DOWN:
    case LP_CONTROL_BIND_DOWN:
        fake_shard_down(shard, record->type, &r);
        return;
    case LP_CONTROL_REVISION:
        shard->applied = record->sequence;
        if (!shard->deaf) {
            fake_shard_send(shard, LP_CONTROL_APPLIED, record->sequence, lp_bytes_of(NULL, 0));
        }
        return;
    case LP_CONTROL_PERMISSION_EPOCH:
        shard->epoch = lp_reader_u32le(&r);
        return;
    case LP_CONTROL_REPLY:
        fake_shard_reply(shard, record);
        return;
    case LP_CONTROL_DELETE_CHECK:
        assert_non_null(fake_object(shard, LP_CONTROL_QUEUE_UP, lp_reader_u32le(&r)));
        shard->checks++;
        lp_writer_u8(&w, shard->verdict);
        lp_writer_u32le(&w, shard->count);
        fake_shard_send(shard, LP_CONTROL_DELETE_CHECKED, record->sequence, lp_writer_bytes(&w));
        return;
    case LP_CONTROL_CLOSE_CONNECTION:
        shard->closed_connection = lp_reader_u64le(&r);
        return;
    case LP_CONTROL_LIST_QUEUES:
        if (!shard->mute) {
            fake_shard_list_queues(shard, record->sequence);
        }
        return;
    case LP_CONTROL_LIST_CONNECTIONS:
        fake_shard_list_connections(shard, record->sequence);
        return;
    case LP_CONTROL_QUEUE_PURGE:
        fake_shard_purge(shard, record->sequence, &r);
        return;
    case LP_CONTROL_STOP:
        lp_writer_u32le(&w, shard->connection_count);
        lp_writer_u64le(&w, 7);
        fake_shard_send(shard, LP_CONTROL_STOPPED, 0, lp_writer_bytes(&w));
        return;
    default:
        fake_shard_node(shard, record->type, &r);
    }
}

/* Take up to `budget` records; gives how many. */
static inline uint32_t
fake_shard_turn(struct world *world, struct fake_shard *shard, uint32_t budget)
{
    struct lp_control_record record;
    uint32_t count = 0;
    while (count < budget) {
        const enum lp_control_pop pop = lp_control_pop(&shard->in, world->scratch, &record);
        assert_int_not_equal(pop, LP_CONTROL_POP_BROKEN);
        if (pop == LP_CONTROL_POP_EMPTY) {
            break;
        }
        fake_shard_record(shard, &record);
        count++;
    }
    return count;
}

/* ---- the world ---- */

static inline void
fake_wake(void *context, uint32_t shard)
{
    ((struct world *)context)->shard[shard].wakes++;
}

static inline void
fake_log(void *context, enum lp_control_log_level level, const char *text)
{
    struct world *world = context;
    (void)level;
    (void)snprintf(world->log, sizeof(world->log), "%s", text);
}

static inline bool
fake_disk_free(void *context, uint64_t *ret_bytes)
{
    const struct world *world = context;
    *ret_bytes = world->disk_free_bytes;
    return !world->disk_broken;
}

/* A control process that died is replaced by the next. */
static inline void
world_control_start(struct world *world)
{
    struct lp_control_options options = {
        .region = world->region,
        .shard_count = world->shard_count,
        .generation = ++world->generation,
        .store = world->store,
        .clock = {fake_clock, fake_clock, NULL},
        .entropy = fake_entropy(),
        .wake_shard = fake_wake,
        .disk_free = world->has_disk ? fake_disk_free : NULL,
        .log = fake_log,
        .context = world,
    };
    lp_control_settings_default(&options.settings);
    options.settings.disk_limit_bytes = world->disk_limit_bytes;
    options.settings.data_id = world->data_id ? world->data_id : "";
    assert_int_equal(lp_control_open_boot(&options, &world->control), world->opens);
}

static inline void
world_control_kill(struct world *world)
{
    lp_control_close(&world->control);
}

static inline struct world *
world_open(uint32_t shard_count, struct lp_store store)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->shard_count = shard_count;
    world->store = store;
    world->region = calloc(1, lp_control_region_bytes(shard_count));
    assert_non_null(world->region);
    lp_control_region_init_boot(world->region, shard_count);
    world->region_node = &((struct lp_control_region *)world->region)->node;
    for (uint32_t i = 0; i < shard_count; i++) {
        struct fake_shard *shard = &world->shard[i];
        shard->index = i;
        shard->next_sequence = 1;
        assert_true(lp_control_end_init(&shard->out,
                                        lp_control_region_to_control(world->region, shard_count, i),
                                        LP_CONTROL_RING_CAPACITY_BYTES, true));
        assert_true(lp_control_end_init(&shard->in,
                                        lp_control_region_to_shard(world->region, shard_count, i),
                                        LP_CONTROL_RING_CAPACITY_BYTES, false));
    }
    return world;
}

static inline void
world_close(struct world *world)
{
    lp_control_close(&world->control);
    free(world->region);
    free(world);
}

/* Until nobody has anything to do. */
static inline void
world_settle(struct world *world)
{
    for (uint32_t turns = 0; turns < 10000; turns++) {
        bool work = lp_control_turn(world->control);
        for (uint32_t i = 0; i < world->shard_count; i++) {
            work = fake_shard_turn(world, &world->shard[i], 1000) > 0 || work;
        }
        if (!work) {
            return;
        }
    }
    fail_msg("the world does not come to rest");
}
