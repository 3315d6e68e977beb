/* SPDX-License-Identifier: Apache-2.0 */
/* log_play.c - the scenarios log, log_broken and log_rotten: many lives of one log. */
#include "tests/sim/log_play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/scenario_list.h"
#include "tests/sim/world.h"

#define TURNS_MAX 2000000u
#define QUIET_NS  30000000000u

static void
play_init(struct log_play *play, uint64_t seed, enum log_flavour flavour)
{
    static const uint64_t firsts[] = {64u << 10, 128u << 10, 512u << 10};
    static const uint32_t crashes[] = {20, 100, 400, 2000};
    memset(play, 0, sizeof(*play));
    lp_sim_random_seed(&play->random, seed);
    struct lp_sim_disk_config config = lp_sim_disk_config_default(seed * 3 + 1);
    if (flavour == LOG_BROKEN) {
        config.faults.write_fail = 3;
        config.faults.create_fail = 10;
        config.faults.read_fail = 5;
    } else if (flavour == LOG_ROTTEN) {
        config.faults.rot = 300;
        config.faults.write_elsewhere = 1;
        config.faults.read_elsewhere = 3;
    }
    play->flavour = flavour;
    play->history.rotten = flavour == LOG_ROTTEN;
    play->faults = config.faults;
    play->disk = lp_sim_disk_create(&config);
    play->segment_bytes_first = firsts[log_below(play, LP_COUNT_OF(firsts))];
    play->segment_bytes = play->segment_bytes_first << log_below(play, 4);
    play->items_wanted = 1 + log_below(play, 400);
    play->crash_one_in = crashes[log_below(play, LP_COUNT_OF(crashes))];
}

static void
play_time(struct log_play *play)
{
    const uint64_t next_ns = lp_sim_disk_next_ns(play->disk);
    play->now_ns += log_below(play, 20000);
    if (log_below(play, 3) == 0 && next_ns != UINT64_MAX) {
        play->now_ns = LP_MAX(play->now_ns, next_ns);
    }
    lp_sim_disk_advance(play->disk, play->now_ns);
}

/* The process dies; the disk lives on. */
static void
play_crash(struct log_play *play, enum lp_sim_disk_crash how)
{
    lp_sim_disk_crash(play->disk, how);
    log_life_end(play);
    play->kills += how == LP_SIM_DISK_KILLED;
    play->losses += how == LP_SIM_DISK_POWER;
    /* It is full now and then, from the beginning of a life on. */
    const bool full = play->flavour == LOG_BROKEN && log_below(play, 4) == 0;
    lp_sim_disk_capacity_set(play->disk,
                             full ? play->segment_bytes * (4 + log_below(play, 12)) : 1ull << 30);
    play->now_ns += log_below(play, 1000000);
    lp_sim_disk_advance(play->disk, play->now_ns);
    log_life_begin(play);
}

/* A clean end, and the next life begins. */
static void
play_close(struct log_play *play)
{
    play->closing = true;
    lp_log_close_begin(play->log);
    while (!lp_log_closed(play->log) || !lp_log_idle(play->log)) {
        play_time(play);
        log_life_turn(play);
        LP_ASSERT(play->turns < TURNS_MAX);
    }
    if (lp_log_state(play->log) == LP_LOG_OPEN) {
        LP_ASSERT(play->history.durable == play->history.count); /* G7 */
        play->ends++;
    }
    lp_log_fini(&play->log);
    lp_sim_disk_crash(play->disk, LP_SIM_DISK_KILLED); /* in the middle of nothing */
    log_life_end(play);
    log_life_begin(play);
}

/* True: it is over, the damage was seen. */
static bool
play_turn(struct log_play *play)
{
    play_time(play);
    log_life_turn(play);
    const enum lp_log_state state = lp_log_state(play->log);
    if (state == LP_LOG_DAMAGED) {
        play->damages++;
        return true;
    }
    if (state == LP_LOG_FENCED && log_below(play, 10) == 0) {
        play->fences++;
        play_crash(play, log_below(play, 2) == 0 ? LP_SIM_DISK_KILLED : LP_SIM_DISK_POWER);
    } else if (log_below(play, play->crash_one_in) == 0) {
        play_crash(play, log_below(play, 3) == 0 ? LP_SIM_DISK_KILLED : LP_SIM_DISK_POWER);
    } else if (state == LP_LOG_OPEN && play->writer.count == 0 && log_below(play, 1000) == 0) {
        play_close(play);
    }
    return false;
}

/* Without accidents: everything can be read, and is there after a clean end. */
static bool
play_finish(struct log_play *play)
{
    struct lp_sim_disk_faults *faults = lp_sim_disk_faults(play->disk);
    faults->write_fail = faults->create_fail = faults->read_fail = 0;
    faults->write_elsewhere = faults->read_elsewhere = faults->rot = 0;
    play_crash(play, LP_SIM_DISK_POWER);
    lp_sim_disk_capacity_set(play->disk, 1ull << 30);
    const uint64_t until_ns = play->now_ns + QUIET_NS;
    for (uint32_t turns = 0; turns < 300 || !play->opened || play->writer.count > 0; turns++) {
        play_time(play);
        log_life_turn(play);
        if (lp_log_state(play->log) == LP_LOG_DAMAGED) {
            return false;
        }
        LP_ASSERT(play->now_ns < until_ns);
    }
    play_close(play);
    while (!play->opened) {
        play_time(play);
        log_life_turn(play);
        if (lp_log_state(play->log) == LP_LOG_DAMAGED) {
            return false;
        }
        LP_ASSERT(play->now_ns < until_ns);
    }
    return true;
}

static void
log_run(uint64_t seed, uint32_t flavour, struct world_result *result)
{
    struct log_play *play = calloc(1, sizeof(*play));
    LP_ASSERT(play);
    play_init(play, seed, (enum log_flavour)flavour);
    log_life_begin(play);
    const uint64_t turns = 1000 + log_below(play, 8000);
    bool over = false;
    while (play->turns < turns && !over) {
        over = play_turn(play);
    }
    if (!over && !play_finish(play)) {
        play->damages++;
    }
    LP_ASSERT(play->damages == 0 || play->flavour == LOG_ROTTEN);
    result->digest = play->digest * 31 + lp_sim_disk_digest(play->disk);
    (void)snprintf(
        result->said, sizeof(result->said),
        "%" PRIu64 " turns, %" PRIu64 " ms; %" PRIu64 " records, %" PRIu64 " recovered, %" PRIu64
        " read; %u checkpoints, %u kills, %u losses of power, %u clean ends, %u fences%s",
        play->turns, play->now_ns / 1000000, play->history.serial, play->recovered, play->reads,
        play->checkpoints, play->kills, play->losses, play->ends, play->fences,
        play->damages > 0 ? "; damaged" : "");
    log_life_end(play);
    lp_sim_disk_destroy(play->disk);
    history_fini(&play->history);
    free(play->items.list);
    free(play->staged);
    free(play);
}

#define LOG(identifier, text, which) \
    const struct scenario identifier = {.name = (text), .flavour = (which), .run = log_run}

LOG(scenario_log, "log", LOG_HEALTHY);
LOG(scenario_log_broken, "log_broken", LOG_BROKEN);
LOG(scenario_log_rotten, "log_rotten", LOG_ROTTEN);
