/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_host.c - what the host asks of a shard between its turns: how far it is
 * with what is kept, whether it may sleep, how long turns were.
 */
#include "dataplane/broker/store/store.h"
#include "dataplane/shard/shard.h"
#include "dataplane/shard/shard_private.h"
#include <lepus/turn_histogram.h>

/* A turn longer than this is counted as a fault of ours (or of a noisy neighbour). */
#define TURN_BOUND_NS 500000u

/* ---- what is kept ---- */

void
lp_shard_recovery(const struct lp_shard *shard, struct lp_shard_recovery *ret_recovery)
{
    const struct lp_log *log = lp_store_log(&shard->broker);
    *ret_recovery = (struct lp_shard_recovery){.state = LP_SHARD_RECOVERED};
    if (!log || lp_store_ready(&shard->broker)) {
        return;
    }
    const bool damaged = lp_log_state(log) == LP_LOG_DAMAGED;
    ret_recovery->state = damaged ? LP_SHARD_DAMAGED : LP_SHARD_RECOVERING;
    lp_log_progress(log, &ret_recovery->done_bytes, &ret_recovery->total_bytes);
    if (damaged) {
        ret_recovery->fault = *lp_log_fault(log);
        ret_recovery->no_memory = lp_memory_refusal_count(shard->broker.memory) > 0;
    }
}

void
lp_shard_close_begin(struct lp_shard *shard)
{
    lp_store_close_begin(&shard->broker);
}

bool
lp_shard_closed(const struct lp_shard *shard)
{
    return lp_store_closed(&shard->broker);
}

/* ---- sleeping ---- */

bool
lp_shard_sleep_begin(struct lp_shard *shard)
{
    struct lp_broker *broker = &shard->broker;
    uint32_t *mesh_flag = &shard->env.fabric->flag[broker->shard].sleeping;
    uint32_t *control_flag = &shard->region->shard_sleeping[broker->shard];
    lp_store_relaxed(mesh_flag, 1u);    /* pairs with W1, by the fence below */
    lp_store_relaxed(control_flag, 1u); /* pairs with the control process's fence after a push */
    /* S1, pairs with W1: whoever published before it saw the flag is seen by the look below. */
    lp_fence_full();
    const struct lp_control_end *end = &broker->link.to_shard;
    /* pairs with X1 of control_ring.h */
    const bool control = lp_load_acquire(&end->ring->tail) != end->own;
    if (control || lp_mesh_waiting(&broker->mesh)) {
        lp_shard_sleep_end(shard);
        return false;
    }
    return true;
}

void
lp_shard_sleep_end(struct lp_shard *shard)
{
    /* Flags down: a late wake-up is harmless, so nothing pairs with these. */
    lp_store_relaxed(&shard->env.fabric->flag[shard->broker.shard].sleeping, 0u);
    lp_store_relaxed(&shard->region->shard_sleeping[shard->broker.shard], 0u);
}

void
lp_shard_turn_measured(struct lp_shard *shard, uint64_t turn_ns)
{
    struct lp_stats_page *stats = shard->broker.stats;
    stats->turn_ns[lp_turn_bucket(turn_ns, LP_TURN_HISTOGRAM_BUCKETS)]++;
    stats->turn_over_budget += turn_ns > TURN_BOUND_NS;
}
