/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_region.h - the shared memory between the data plane and the control
 * process: a header, a stats page a shard, two rings a shard.
 *
 * The launcher makes the memfd, lays it out and hands the same descriptor and
 * one eventfd a process and shard to its children.  Offsets follow from the
 * number of shards alone, so that nothing in the region has to be trusted to
 * find the rest of it.
 *
 *   region:  [lp_control_region | stats 0..N-1 | to-control 0..N-1 | to-shard 0..N-1]
 */
#pragma once

#include <lepus/control_ring.h>

#define LP_CONTROL_REGION_MAGIC        0x4c505247u
#define LP_CONTROL_REGION_VERSION      7
#define LP_CONTROL_RING_CAPACITY_BYTES (1024u * 1024u)
#define LP_SHARDS_MAX                  64u
#define LP_LOOPBACK_NAMES_BYTES        1024u
#define LP_STATS_PAGE_BYTES            16384u
#define LP_TURN_HISTOGRAM_BUCKETS      256u

/*
 * What the launcher saw, and what an administrator has set since: it outlives
 * the control process, and goes with the broker.
 */
struct lp_control_node {
    uint64_t machine_memory_bytes;       /* 0: not told */
    uint64_t configured_watermark_bytes; /* of all shards together; 0: not told */
    uint32_t launcher_pid;
    uint32_t stopped;              /* 1: the application is stopped (stop_app) */
    uint64_t watermark_bytes;      /* set by an administrator; 0: none was set */
    uint32_t watermark_millionths; /* ... as this share of the machine's memory; 0: as bytes */
    uint32_t watermark_set;        /* 1: these two say something */
    uint64_t disk_limit_bytes;     /* set by an administrator, if disk_limit_set */
    uint32_t disk_limit_set;
    uint32_t log_level;    /* set by an administrator, plus 1; 0: none was set */
    uint32_t alarms;       /* asked for by an administrator (enum lp_alarm) */
    uint32_t channel_max;  /* set by an administrator, plus 1; 0: none was set */
    uint32_t loopback_set; /* 1: an administrator said who may come from this machine only */
    char loopback_names[LP_LOOPBACK_NAMES_BYTES]; /* each with its 0, and one more 0 */
};

struct lp_control_region {
    uint32_t magic;
    uint32_t version;
    uint32_t shard_count;
    uint64_t started_ns; /* monotonic, when the run's first control process attached; 0 before */
    uint32_t
        control_sleeping; /* 1 while the control process blocks: shards then write its eventfd */
    uint32_t shard_sleeping[LP_SHARDS_MAX]; /* 1 while that shard's loop blocks */
    struct lp_control_node node;            /* the control process's, once it has attached */
};

/*
 * One shard's counters.  The shard stores them with relaxed stores once per
 * turn; the control process reads them whenever it likes and tolerates a torn
 * view: each is a number of its own.
 *
 * They count from the start on, but for these, which say how it is now:
 * memory_* (memory_alarm: 1 while publishers wait for memory), messages_held,
 * log_pending (operations that are not durable yet), log_segments,
 * log_segment_bytes and log_held_bytes.
 */
#define LP_STATS_LIST(X)      \
    X(turns)                  \
    X(turns_idle)             \
    X(connections_opened)     \
    X(connections_closed)     \
    X(connections_refused)    \
    X(channels_opened)        \
    X(channels_closed)        \
    X(messages_published)     \
    X(messages_routed)        \
    X(messages_unroutable)    \
    X(messages_returned)      \
    X(messages_confirmed)     \
    X(messages_delivered)     \
    X(messages_got)           \
    X(messages_acknowledged)  \
    X(messages_requeued)      \
    X(messages_dropped)       \
    X(messages_dead_lettered) \
    X(messages_dead_cycled)   \
    X(messages_own_lost)      \
    X(messages_delayed)       \
    X(messages_expired)       \
    X(messages_overflowed)    \
    X(messages_rejected)      \
    X(messages_overdelivered) \
    X(queues_expired)         \
    X(consumers_timed_out)    \
    X(bytes_received)         \
    X(bytes_sent)             \
    X(mesh_records_sent)      \
    X(mesh_full)              \
    X(publishers_paused)      \
    X(memory_used_bytes)      \
    X(memory_limit_bytes)     \
    X(memory_watermark_bytes) \
    X(memory_refusals)        \
    X(memory_alarm)           \
    X(messages_held)          \
    X(messages_stored)        \
    X(messages_paged_out)     \
    X(messages_paged_in)      \
    X(messages_recovered)     \
    X(messages_unreadable)    \
    X(log_pending)            \
    X(log_batches)            \
    X(log_bytes_written)      \
    X(log_bytes_records)      \
    X(log_bytes_read)         \
    X(log_bytes_copied)       \
    X(log_segments)           \
    X(log_segment_bytes)      \
    X(log_held_bytes)         \
    X(log_checkpoints)        \
    X(turn_over_budget)

struct lp_stats_page {
#define X(name) uint64_t name;
    LP_STATS_LIST(X)
#undef X
    /* Turn lengths: bucket b counts turns of [turn_histogram.h's lower bound of b, of b + 1)
     * nanoseconds. */
    uint64_t turn_ns[LP_TURN_HISTOGRAM_BUCKETS];
};

LP_STATIC_ASSERT(sizeof(struct lp_stats_page) <= LP_STATS_PAGE_BYTES, "a stats page fits its room");

static inline size_t
lp_control_region_header_bytes(void)
{
    return 4096;
}

static inline size_t
lp_control_region_ring_bytes(void)
{
    return (lp_control_ring_bytes(LP_CONTROL_RING_CAPACITY_BYTES) + 4095u) & ~(size_t)4095u;
}

static inline size_t
lp_control_region_bytes(uint32_t shard_count)
{
    return lp_control_region_header_bytes() +
           (size_t)shard_count * (LP_STATS_PAGE_BYTES + 2 * lp_control_region_ring_bytes());
}

static inline struct lp_stats_page *
lp_control_region_stats(void *base, uint32_t shard)
{
    return (struct lp_stats_page *)(void *)((uint8_t *)base + lp_control_region_header_bytes() +
                                            (size_t)shard * LP_STATS_PAGE_BYTES);
}

/* The ring that `shard` writes and the control process reads. */
static inline struct lp_control_ring *
lp_control_region_to_control(void *base, uint32_t shard_count, uint32_t shard)
{
    return (struct lp_control_ring *)(void *)((uint8_t *)base + lp_control_region_header_bytes() +
                                              (size_t)shard_count * LP_STATS_PAGE_BYTES +
                                              (size_t)shard * lp_control_region_ring_bytes());
}

/* The ring that the control process writes and `shard` reads. */
static inline struct lp_control_ring *
lp_control_region_to_shard(void *base, uint32_t shard_count, uint32_t shard)
{
    return (struct lp_control_ring *)(void *)((uint8_t *)base + lp_control_region_header_bytes() +
                                              (size_t)shard_count * LP_STATS_PAGE_BYTES +
                                              (size_t)(shard_count + shard) *
                                                  lp_control_region_ring_bytes());
}

/* Lay the whole region out in zeroed memory of lp_control_region_bytes(). */
static inline void
lp_control_region_init_boot(void *base, uint32_t shard_count)
{
    struct lp_control_region *region = (struct lp_control_region *)base;
    LP_ASSERT(shard_count > 0 && shard_count <= LP_SHARDS_MAX);
    region->magic = LP_CONTROL_REGION_MAGIC;
    region->version = LP_CONTROL_REGION_VERSION;
    region->shard_count = shard_count;
    for (uint32_t i = 0; i < shard_count; i++) {
        lp_control_ring_init_boot(lp_control_region_to_control(base, shard_count, i),
                                  LP_CONTROL_RING_CAPACITY_BYTES);
        lp_control_ring_init_boot(lp_control_region_to_shard(base, shard_count, i),
                                  LP_CONTROL_RING_CAPACITY_BYTES);
    }
}
