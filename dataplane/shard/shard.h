/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.h - a shard: everything one core owns, and the turn that moves it.
 *
 * The data plane is a library without system calls.  A host (drivers/host, or
 * the simulator in tests/sim) maps memory, opens transports, makes the fabric
 * and calls lp_shard_turn() for each shard, from one thread a shard or from
 * one thread for all of them.
 *
 *   Memory    everything lives in the reservation given at boot
 *   Runs on   the shard's own thread; *_any from any
 *   Limits    struct lp_shard_config
 *
 * A turn: transport events -> protocol input -> control ring -> mesh inboxes
 * and queues -> timers -> what is owed to the control process -> flush.  See
 * README.md beside this file.
 */
#pragma once

#include <lepus/base.h>
#include <lepus/clock.h>
#include <lepus/control_region.h>
#include <lepus/disk.h>
#include <lepus/entropy.h>
#include <lepus/err.h>
#include <lepus/transport.h>

#include "dataplane/log/log.h"
#include "dataplane/mesh/mesh.h"

struct lp_shard;

/* What an operator can set; the host fills it from its arguments. */
struct lp_shard_config {
    uint32_t index;
    uint32_t count;
    uint32_t frame_max_bytes;      /* offered in tune: 131072 */
    uint16_t channel_max;          /* 2047 */
    uint16_t heartbeat_s;          /* 60 */
    uint32_t handshake_timeout_ms; /* 10000 */
    uint32_t consumers_max;        /* of a channel; 0: any number */
    uint32_t
        control_timeout_ms; /* how long a login or declare waits for the control process: 30000 */
    uint64_t message_bytes_max;       /* 16 MiB */
    uint32_t connections_max;         /* per shard */
    char cluster_name[128];           /* server property */
    uint8_t mechanisms;               /* enum lp_mechanism bits; 0: PLAIN and AMQPLAIN */
    uint64_t log_segment_bytes;       /* 64 MiB */
    uint64_t log_first_segment_bytes; /* 4 MiB */
    uint64_t log_backlog_bytes;       /* of this shard: stored backlogs in memory, 64 MiB */
    struct lp_shard_paging {
        uint32_t head_entries;
        uint32_t head_bytes;
        uint32_t page_entries;
        uint32_t ahead_ms;
    } log_paging;              /* struct lp_store_paging; zeros: as usual */
    uint32_t log_max_delay_us; /* 0 */
};

/* What the shard is given to live on; all of it outlives the shard. */
struct lp_shard_env {
    void *memory;          /* 64 KiB-aligned, zeroed or untouched */
    uint64_t memory_bytes; /* the hard limit */
    uint64_t watermark_bytes;
    struct lp_transport transport;
    struct lp_entropy entropy;
    struct lp_clock clock; /* the turn's, between turns: for queues with stamps (broker/stamps.h) */
    struct lp_fabric *fabric; /* the mesh, shared by all shards of the process */
    void *region;             /* control_region.h; mapped writable */
    struct lp_disk disk;      /* for its log; ops NULL: nothing is kept */
    /* Listeners in the transport's order, for the control process to list. */
    const struct lp_address *listeners;
    uint32_t listener_count;
    uint64_t tls_listeners; /* a bit for each that the transport encrypts */
    /* End another party's wait; called at most once a turn and party, after its sleeping flag was
     * seen. */
    void (*wake_shard)(void *context, uint32_t shard);
    void (*wake_control)(void *context);
    void *wake_context;
};

struct lp_turn_result {
    uint32_t work;    /* 0: the turn found nothing to do */
    uint64_t next_ns; /* nothing is due before this; UINT64_MAX: nothing is */
    bool stopped;     /* graceful stop is complete: the host leaves its loop */
    /* Not LP_OK: what there is does not fit, and some of what is kept would be lost if this went
     * on; nothing has been.  The host ends the process. */
    enum lp_err failed;
};

/*
 * Make a shard.  All shards of a fabric are made before the first turn of any.
 *
 * LP_ERR_BAD_CONFIG  limits contradict each other
 * LP_ERR_NO_MEMORY   the reservation is too small
 */
LP_MUST_CHECK enum lp_err lp_shard_init_boot(const struct lp_shard_config *config,
                                             const struct lp_shard_env *env, uint64_t now_ns,
                                             uint64_t wall_ns, struct lp_shard **ret_shard);

/*
 * The largest message that a shard with these bytes takes: `message_bytes_max`,
 * or less where memory is small.  What lies above the watermark must hold one
 * such message and two copies of it on their way out, or a queue of them could
 * never be drained.
 */
uint64_t lp_shard_message_bytes_max(uint64_t message_bytes_max, uint64_t memory_bytes,
                                    uint64_t watermark_bytes);

/* One pass of the loop. */
struct lp_turn_result lp_shard_turn(struct lp_shard *shard, uint64_t now_ns, uint64_t wall_ns);

enum lp_shard_recovery_state {
    LP_SHARD_RECOVERING, /* it reads its log, and answers nobody */
    LP_SHARD_RECOVERED,
    LP_SHARD_DAMAGED, /* its log is not what it wrote: see fault; it will never answer anybody */
};

struct lp_shard_recovery {
    enum lp_shard_recovery_state state;
    uint64_t done_bytes;
    uint64_t total_bytes;
    struct lp_log_fault fault;
    bool no_memory; /* DAMAGED: memory ran out meanwhile; the log may be as it was written */
};
void lp_shard_recovery(const struct lp_shard *shard, struct lp_shard_recovery *ret_recovery);

/*
 * After the graceful stop of all shards: what is kept is written down as it is
 * at rest.  Turns go on until lp_shard_closed().
 */
void lp_shard_close_begin(struct lp_shard *shard);
bool lp_shard_closed(const struct lp_shard *shard);

/*
 * About to block: raises the sleeping flags, fences, looks at every inbox
 * again.  False: work has arrived, do not sleep (flags are down again).
 */
bool lp_shard_sleep_begin(struct lp_shard *shard);
void lp_shard_sleep_end(struct lp_shard *shard);

/* The host measured a turn's length (it reads the clock, we do not). */
void lp_shard_turn_measured(struct lp_shard *shard, uint64_t turn_ns);

/*
 * For the simulator and tests: every invariant of the shard, walked; and
 * whether it is at rest: no connection, and every pool, window and block that
 * connections use given back.  `ret_why` names the first thing that is not.
 */
void lp_shard_check(const struct lp_shard *shard);
bool lp_shard_at_rest(const struct lp_shard *shard, const char **ret_why);
