/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_shard.h - a control process over a store in memory, and one shard
 * that the fuzzer is: for targets that want to break the control process.
 *
 * The shard says HELLO and answers every REVISION, so that changes go through;
 * what else it says is the target's.
 */
#pragma once

#include <stdlib.h>

#include <lepus/control_records.h>
#include <lepus/control_ring.h>

#include "control/link/control_internal.h"
#include "drivers/sim/sim.h"

struct hostile_shard {
    struct lp_sim_clock clock;
    struct lp_sim_random random;
    void *region;
    struct lp_store_memory *store;
    struct lp_control *control;
    struct lp_control_end say;
    struct lp_control_end hear;
    uint8_t *scratch;
};

static void
hostile_wake(void *context, uint32_t shard)
{
    (void)context;
    (void)shard;
}

static bool
hostile_say(struct hostile_shard *shard, uint16_t type, uint64_t sequence, struct lp_bytes payload)
{
    return lp_control_push(&shard->say, type, sequence, payload);
}

/* Hear everything; answer what has to be answered.  The DELETE_CHECK of a queue is allowed. */
static void
hostile_hear(struct hostile_shard *shard)
{
    static const uint8_t allowed[5] = {LP_DELETE_ALLOWED};
    struct lp_control_record record;
    while (lp_control_pop(&shard->hear, shard->scratch, &record) == LP_CONTROL_POP_RECORD) {
        bool said = true;
        if (record.type == LP_CONTROL_REVISION) {
            said = hostile_say(shard, LP_CONTROL_APPLIED, record.sequence, lp_bytes_of(NULL, 0));
        } else if (record.type == LP_CONTROL_DELETE_CHECK) {
            said = hostile_say(shard, LP_CONTROL_DELETE_CHECKED, record.sequence,
                               lp_bytes_of(allowed, sizeof(allowed)));
        } else if (record.type == LP_CONTROL_LIST_QUEUES ||
                   record.type == LP_CONTROL_LIST_CONNECTIONS ||
                   record.type == LP_CONTROL_LIST_CHANNELS ||
                   record.type == LP_CONTROL_LIST_CONSUMERS) {
            said = hostile_say(shard, LP_CONTROL_ROWS_END, record.sequence, lp_bytes_of(NULL, 0));
        }
        (void)said; /* the ring may be full: then the control process waits */
    }
}

static void
hostile_turns(struct hostile_shard *shard)
{
    for (uint32_t i = 0; i < 64; i++) {
        lp_sim_clock_advance(&shard->clock, 1000000);
        const bool worked =
            shard->control && !lp_control_failed(shard->control) && lp_control_turn(shard->control);
        hostile_hear(shard);
        if (!worked) {
            return;
        }
    }
}

static void
hostile_hello(struct hostile_shard *shard)
{
    uint8_t generation[4] = {1};
    hostile_turns(shard);
    bool said = hostile_say(shard, LP_CONTROL_HELLO, 0, lp_bytes_of(generation, 4));
    said = said && hostile_say(shard, LP_CONTROL_HELLO_END, 0, lp_bytes_of(NULL, 0));
    LP_ASSERT(said);
    hostile_turns(shard);
}

static void
hostile_open(struct hostile_shard *shard)
{
    memset(shard, 0, sizeof(*shard));
    lp_sim_clock_init(&shard->clock, 1000000000, 1700000000000000000u);
    lp_sim_random_seed(&shard->random, 1);
    const size_t bytes = lp_control_region_bytes(1);
    shard->region = aligned_alloc(LP_CACHE_LINE_BYTES, (bytes + 4095) & ~(size_t)4095);
    shard->scratch = malloc(LP_CONTROL_PAYLOAD_MAX_BYTES);
    LP_ASSERT(shard->region && shard->scratch);
    memset(shard->region, 0, bytes);
    lp_control_region_init_boot(shard->region, 1);
    shard->store = lp_store_memory_open();
    struct lp_control_options options = {
        .region = shard->region,
        .shard_count = 1,
        .generation = 1,
        .store = lp_store_memory_store(shard->store),
        .clock = lp_sim_clock_contract(&shard->clock),
        .entropy = lp_sim_random_entropy(&shard->random),
        .wake_shard = hostile_wake,
    };
    lp_control_settings_default(&options.settings);
    const enum lp_err err = lp_control_open_boot(&options, &shard->control);
    LP_ASSERT(err == LP_OK);
    bool good = lp_control_end_init(&shard->say, lp_control_region_to_control(shard->region, 1, 0),
                                    LP_CONTROL_RING_CAPACITY_BYTES, true);
    good =
        good && lp_control_end_init(&shard->hear, lp_control_region_to_shard(shard->region, 1, 0),
                                    LP_CONTROL_RING_CAPACITY_BYTES, false);
    LP_ASSERT(good);
    hostile_hello(shard);
}

static void
hostile_close(struct hostile_shard *shard)
{
    if (!lp_control_failed(shard->control)) {
        lp_catalog_check(shard->control->catalog);
    }
    lp_control_close(&shard->control);
    lp_store_memory_close(&shard->store);
    free(shard->scratch);
    free(shard->region);
}
