/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_rig.h - a few shards over one fabric, in one thread, with no transport:
 * the control process is played by writing its records into the rings.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/broker/queue.h"
#include "dataplane/broker/session.h"
#include "dataplane/shard/shard_private.h"

#define RIG_SHARDS       3u
#define RIG_MEMORY_BYTES (8u << 20)
#define RIG_VHOST        1u

struct rig {
    uint32_t count;
    uint64_t now_ns;
    uint64_t revision;
    void *fabric_memory;
    void *region;
    void *memory[RIG_SHARDS];
    struct lp_shard *shard[RIG_SHARDS];
    struct lp_control_end control_out[RIG_SHARDS]; /* to the shard */
    struct lp_control_end control_in[RIG_SHARDS];  /* from it */
    uint8_t *scratch;
    /* The last request that a shard made, and how many. */
    uint16_t asked_type;
    uint64_t asked_sequence;
    uint32_t asked_shard;
    uint32_t asked_count;
    /* Disks of the shards, and what is done with them before each turn; none unless set. */
    struct lp_disk disk[RIG_SHARDS];
    void (*on_turn)(struct rig *rig);
    uint64_t log_segment_bytes, log_backlog_bytes;
    uint64_t wall_ns;
    /* Called by the next poll of any shard: what input would do. */
    void (*on_poll)(struct rig *rig);
    /* Called with every record that a shard says. */
    void (*on_record)(void *context, uint32_t shard, const struct lp_control_record *record);
    void *record_context;
};

/* ---- a transport and entropy that do nothing ---- */

static inline void
rig_attach(void *self, lp_handle stream, uint64_t user)
{
    (void)self;
    (void)stream;
    (void)user;
}

static inline uint32_t
rig_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct rig *rig = self;
    void (*on_poll)(struct rig *) = rig->on_poll;
    (void)events;
    (void)events_max;
    rig->on_poll = NULL;
    if (on_poll) {
        on_poll(rig);
    }
    return 0;
}

static inline bool
rig_send(void *self, lp_handle stream, const struct lp_iovec *pieces, uint32_t count)
{
    (void)self;
    (void)stream;
    (void)pieces;
    (void)count;
    return false;
}

static inline void
rig_stream_nothing(void *self, lp_handle stream)
{
    (void)self;
    (void)stream;
}

static inline void
rig_accept_pause(void *self, bool paused)
{
    (void)self;
    (void)paused;
}

static inline void
rig_nothing(void *self)
{
    (void)self;
}

static inline void
rig_wait(void *self, uint64_t timeout_ns)
{
    (void)self;
    (void)timeout_ns;
}

static inline void
rig_fill(void *self, void *data, size_t bytes)
{
    (void)self;
    memset(data, 0x5a, bytes);
}

static inline void
rig_wake_shard(void *context, uint32_t shard)
{
    (void)context;
    (void)shard;
}

static const struct lp_transport_ops rig_transport_ops = {
    .name = "none",
    .attach = rig_attach,
    .poll = rig_poll,
    .send = rig_send,
    .receive_stop = rig_stream_nothing,
    .receive_start = rig_stream_nothing,
    .close = rig_stream_nothing,
    .flush = rig_nothing,
    .accept_stop = rig_nothing,
    .accept_pause = rig_accept_pause,
    .wait = rig_wait,
    .wake_any = rig_nothing,
};

/* ---- boot ---- */

static inline void *
rig_map(size_t alignment, size_t bytes)
{
    const size_t rounded = (bytes + alignment - 1) & ~(alignment - 1);
    void *memory = aligned_alloc(alignment, rounded);
    assert_non_null(memory);
    memset(memory, 0, rounded);
    return memory;
}

static inline void
rig_shard_open(struct rig *rig, uint32_t index, uint64_t memory_bytes)
{
    const struct lp_shard_config config = {
        .index = index,
        .count = rig->count,
        .frame_max_bytes = 131072,
        .channel_max = 2047,
        .heartbeat_s = 60,
        .handshake_timeout_ms = 10000,
        .control_timeout_ms = 30000,
        .message_bytes_max = 1u << 20,
        .connections_max = 16,
        .log_segment_bytes = rig->log_segment_bytes,
        .log_first_segment_bytes = rig->log_segment_bytes,
        .log_backlog_bytes = rig->log_backlog_bytes,
    };
    rig->memory[index] = rig_map(LP_SPAN_BYTES, memory_bytes);
    const struct lp_shard_env env = {
        .memory = rig->memory[index],
        .memory_bytes = memory_bytes,
        .watermark_bytes = memory_bytes - memory_bytes / 8,
        .transport = {&rig_transport_ops, rig},
        .disk = rig->disk[index],
        .entropy = {rig_fill, NULL},
        .fabric = rig->fabric_memory,
        .region = rig->region,
        .wake_shard = rig_wake_shard,
        .wake_control = rig_nothing,
    };
    assert_int_equal(
        lp_shard_init_boot(&config, &env, rig->now_ns, rig->wall_ns, &rig->shard[index]), LP_OK);
    assert_true(lp_control_end_init(&rig->control_out[index],
                                    lp_control_region_to_shard(rig->region, rig->count, index),
                                    LP_CONTROL_RING_CAPACITY_BYTES, true));
    assert_true(lp_control_end_init(&rig->control_in[index],
                                    lp_control_region_to_control(rig->region, rig->count, index),
                                    LP_CONTROL_RING_CAPACITY_BYTES, false));
}

/* Shards over what `rig` has already: disks, and times. */
static inline void
rig_boot(struct rig *rig, uint32_t count, uint64_t memory_bytes)
{
    rig->count = count;
    rig->fabric_memory = rig_map(LP_PAIR_BYTES, lp_fabric_bytes(count));
    rig->region = rig_map(4096, lp_control_region_bytes(count));
    rig->scratch = rig_map(64, LP_CONTROL_PAYLOAD_MAX_BYTES);
    (void)lp_fabric_init_boot(rig->fabric_memory, count);
    lp_control_region_init_boot(rig->region, count);
    for (uint32_t i = 0; i < count; i++) {
        rig_shard_open(rig, i, memory_bytes);
    }
}

static inline void
rig_open(struct rig *rig, uint32_t count, uint64_t memory_bytes)
{
    memset(rig, 0, sizeof(*rig));
    rig->now_ns = 1000000000u;
    rig->wall_ns = 1;
    rig_boot(rig, count, memory_bytes);
}

/* ---- the control process ---- */

static inline void
rig_say(struct rig *rig, uint32_t shard, uint16_t type, uint64_t sequence,
        const struct lp_writer *writer)
{
    assert_false(writer->failed);
    assert_true(lp_control_push(&rig->control_out[shard], type, sequence, lp_writer_bytes(writer)));
}

static inline void
rig_say_all(struct rig *rig, uint16_t type, const struct lp_writer *writer)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        rig_say(rig, i, type, 0, writer);
    }
}

/* Read what the shards say; requests are remembered. */
static inline void
rig_listen(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        struct lp_control_record record;
        while (lp_control_pop(&rig->control_in[i], rig->scratch, &record) ==
               LP_CONTROL_POP_RECORD) {
            if (rig->on_record) {
                rig->on_record(rig->record_context, i, &record);
            }
            if (record.type < LP_CONTROL_HELLO) {
                rig->asked_type = record.type;
                rig->asked_sequence = record.sequence;
                rig->asked_shard = i;
                rig->asked_count++;
            }
        }
    }
}

static inline void
rig_reply(struct rig *rig, uint32_t shard, uint64_t sequence, uint16_t code)
{
    uint8_t payload[8];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u16le(&writer, code);
    lp_writer_u8(&writer, 0);
    rig_say(rig, shard, LP_CONTROL_REPLY, sequence, &writer);
}

static inline uint32_t
rig_turn(struct rig *rig)
{
    uint32_t work = 0;
    rig->now_ns += 1000;
    rig->wall_ns += 1000;
    if (rig->on_turn) {
        rig->on_turn(rig);
    }
    for (uint32_t i = 0; i < rig->count; i++) {
        work += lp_shard_turn(rig->shard[i], rig->now_ns, rig->wall_ns).work;
        lp_shard_check(rig->shard[i]);
    }
    rig_listen(rig);
    return work;
}

/* Turns until nothing happens any more. */
static inline void
rig_settle(struct rig *rig)
{
    uint32_t idle = 0;
    for (uint32_t turn = 0; turn < 10000 && idle < 4; turn++) {
        idle = rig_turn(rig) == 0 ? idle + 1 : 0;
    }
    assert_int_equal(idle, 4);
}

static inline void
rig_vhost_up(struct rig *rig)
{
    uint8_t payload[64];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text("/"));
    lp_writer_u8(&writer, false);
    rig_say_all(rig, LP_CONTROL_VHOST_UP, &writer);
}

static inline void
rig_exchange_up(struct rig *rig, uint32_t id, const char *name, uint8_t kind)
{
    uint8_t payload[128];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, id);
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text(name));
    lp_writer_u8(&writer, kind);
    lp_writer_u8(&writer, 0);
    lp_writer_short(&writer, lp_bytes_of(NULL, 0));
    lp_writer_long_le(&writer, lp_bytes_of(NULL, 0));
    rig_say_all(rig, LP_CONTROL_EXCHANGE_UP, &writer);
}

struct rig_queue {
    struct lp_queue_settings *settings; /* NULL: none */
    uint32_t id;
    const char *name;
    uint16_t home;
    uint8_t flags;
    uint64_t owner;
    const char *type; /* x-queue-type; NULL: none */
};

static inline void
rig_queue_up(struct rig *rig, const struct rig_queue *queue)
{
    uint8_t payload[256 + LP_QUEUE_SETTINGS_BYTES_MAX];
    uint8_t room[LP_QUEUE_SETTINGS_BYTES_MAX];
    struct lp_writer settings = lp_writer_of(room, sizeof(room));
    const struct lp_queue_settings none = lp_queue_settings_none();
    lp_queue_settings_write(&settings, queue->settings ? queue->settings : &none);
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, queue->id);
    lp_writer_u32le(&writer, RIG_VHOST);
    lp_writer_short(&writer, lp_bytes_of_text(queue->name));
    lp_writer_u16le(&writer, queue->home);
    lp_writer_u8(&writer, queue->flags);
    lp_writer_u64le(&writer, queue->owner);
    uint8_t table[64];
    struct lp_writer arguments = lp_writer_of(table, sizeof(table));
    if (queue->type) {
        lp_writer_short(&arguments, lp_bytes_of_text("x-queue-type"));
        lp_writer_u8(&arguments, 'S');
        lp_writer_long_be(&arguments, lp_bytes_of_text(queue->type));
    }
    lp_writer_long_le(&writer, lp_writer_bytes(&arguments));
    lp_writer_long_le(&writer, lp_writer_bytes(&settings));
    rig_say_all(rig, LP_CONTROL_QUEUE_UP, &writer);
}

static inline void
rig_bind_up(struct rig *rig, uint64_t id, uint32_t exchange, uint32_t queue)
{
    uint8_t payload[128];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u64le(&writer, id);
    lp_writer_u32le(&writer, exchange);
    lp_writer_u8(&writer, LP_RESOURCE_QUEUE);
    lp_writer_u32le(&writer, queue);
    lp_writer_short(&writer, lp_bytes_of(NULL, 0));
    lp_writer_long_le(&writer, lp_bytes_of(NULL, 0));
    rig_say_all(rig, LP_CONTROL_BIND_UP, &writer);
}

static inline void
rig_queue_down(struct rig *rig, uint32_t id)
{
    uint8_t payload[8];
    struct lp_writer writer = lp_writer_of(payload, sizeof(payload));
    lp_writer_u32le(&writer, id);
    rig_say_all(rig, LP_CONTROL_QUEUE_DOWN, &writer);
}

/* A vhost with the default exchange, and queues "q0", "q1", "q2", ... on the shards in turn: ids
 * 10, 11, 12 ... */
static inline void
rig_topology(struct rig *rig, uint32_t queues)
{
    rig_vhost_up(rig);
    rig_exchange_up(rig, 1, "", LP_EXCHANGE_DIRECT);
    rig_exchange_up(rig, 2, "fan", LP_EXCHANGE_FANOUT);
    for (uint32_t i = 0; i < queues; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "q%u", i);
        const struct rig_queue queue = {
            .id = 10 + i, .name = name, .home = (uint16_t)(i % rig->count)};
        rig_queue_up(rig, &queue);
        rig_bind_up(rig, 100 + i, 2, 10 + i);
    }
    rig_settle(rig);
}

static inline void
rig_free(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        struct lp_memory *memory = rig->shard[i]->broker.memory;
        lp_memory_fini(&memory);
        free(rig->memory[i]);
    }
    free(rig->scratch);
    free(rig->region);
    free(rig->fabric_memory);
}

/* Everything that clients used is given back. */
static inline void
rig_close(struct rig *rig)
{
    rig_settle(rig);
    for (uint32_t i = 0; i < rig->count; i++) {
        const char *why = "";
        if (!lp_shard_at_rest(rig->shard[i], &why)) {
            fail_msg("shard %u is not at rest: %s", i, why);
        }
    }
    rig_free(rig);
}
