/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_rig.h - one queue with settings under a shard_client.h: what it holds,
 * who reads it, and how much time has passed.
 */
#pragma once

#include "tests/unit/shard/shard_client.h"

#define RIG_QUEUE_ID 50u

struct queue_rig {
    struct rig rig;
    struct lp_queue_settings settings;
    const char *type;             /* NULL: classic */
    struct rig_client *publisher; /* shard 0; the queue is on shard 1 */
    struct rig_client *reader;    /* shard 2 */
};

/* Give the queue its settings, when it is new or again. */
static inline void
queue_rig_configure(struct queue_rig *rig)
{
    const struct rig_queue queue = {
        .id = RIG_QUEUE_ID, .name = "q", .home = 1, .settings = &rig->settings, .type = rig->type};
    rig_queue_up(&rig->rig, &queue);
    rig_settle(&rig->rig);
}

/* The queue "q" has no settings but those that the test sets before queue_rig_start(). */
static inline void
queue_rig_open(struct queue_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig_open(&rig->rig, RIG_SHARDS, RIG_MEMORY_BYTES);
    rig_topology(&rig->rig, 0);
    rig->settings = lp_queue_settings_none();
}

static inline void
queue_rig_start(struct queue_rig *rig)
{
    queue_rig_configure(rig);
    rig->publisher = client_open(&rig->rig, 0);
    rig->reader = client_open(&rig->rig, 2);
}

static inline void
queue_rig_close(struct queue_rig *rig)
{
    client_close(rig->publisher);
    client_close(rig->reader);
    rig_queue_down(&rig->rig, RIG_QUEUE_ID);
    rig_close(&rig->rig);
}

static inline struct lp_queue *
queue_rig_queue(struct queue_rig *rig)
{
    struct lp_queue *queue = lp_queue_find(&rig->rig.shard[1]->broker, RIG_QUEUE_ID);
    assert_non_null(queue);
    return queue;
}

static inline struct lp_stats_page *
queue_rig_stats(struct queue_rig *rig)
{
    return rig->rig.shard[1]->broker.stats;
}

static inline struct lp_queue_counts
queue_rig_counts(struct queue_rig *rig)
{
    struct lp_queue_counts counts;
    struct lp_queue *queue = queue_rig_queue(rig);
    queue->type->counts(queue, &counts);
    return counts;
}

static inline uint64_t
queue_rig_ready(struct queue_rig *rig)
{
    return queue_rig_counts(rig).ready;
}

/* Time passes; what is due happens. */
static inline void
queue_rig_wait(struct queue_rig *rig, uint64_t ms)
{
    rig->rig.now_ns += ms * 1000000u;
    rig_settle(&rig->rig);
}

/* Publish messages numbered from `first`. */
static inline void
queue_rig_send(struct queue_rig *rig, uint64_t first, uint64_t count)
{
    client_send_many(rig->publisher, "q", first, count);
    rig_settle(&rig->rig);
}

static inline void
queue_rig_send_ttl(struct queue_rig *rig, uint64_t value, uint64_t expiration_ms)
{
    const struct rig_extras extras = {.expiration_ms = expiration_ms, .flags = LP_MESSAGE_EXPIRES};
    client_send_with(rig->publisher, "q", value, &extras);
    rig_settle(&rig->rig);
}

/* basic.get: its number, or 0 for empty. */
static inline uint64_t
queue_rig_get(struct queue_rig *rig, bool no_ack)
{
    const uint32_t got = rig->reader->got;
    struct lp_queue_ref *queue = client_queue(rig->reader, "q");
    assert_int_equal(lp_session_get(rig->reader->session, queue, no_ack), LP_LATER);
    rig_settle(&rig->rig);
    return rig->reader->got == got ? 0 : rig->reader->got_last.value;
}

/* What the reader was delivered, from the `first`-th on, is this and no more. */
static inline void
queue_rig_expect(const struct queue_rig *rig, uint32_t first, const uint64_t *values,
                 uint32_t count)
{
    assert_int_equal(rig->reader->delivered, first + count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(rig->reader->delivery[first + i].value, values[i]);
    }
}
