/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_play.h - a process that does nothing but write to its log, over a disk
 * that outlives it: many lives in a row, each ended by a kill, by a loss of
 * power, by a failed write or in order.
 *
 * It is what a store is: items are held, moved out of victims, listed at
 * checkpoints, and known again after recovery.  log_history.h says what must
 * hold.
 */
#pragma once

#include "drivers/sim/disk.h"
#include "drivers/sim/sim.h"
#include "tests/sim/log_history.h"
#include "tests/sim/scenario.h"

enum log_flavour {
    LOG_HEALTHY,
    LOG_BROKEN, /* operations fail, and the disk is full now and then */
    LOG_ROTTEN, /* bits change, operations go astray: that has to be seen */
};

#define LOG_GROUP_MAX 32u

struct log_step {
    uint8_t kind; /* enum history_kind */
    uint64_t item;
    uint32_t bytes;
};

/* A group that is being written; it may take several turns. */
struct log_writer {
    struct log_step step[LOG_GROUP_MAX];
    uint32_t count;
    uint32_t at;
    uint32_t written;
    uint64_t chain_bytes;
    bool open;  /* a batch is */
    bool large; /* several batches, where segments are large enough */
};

/* A checkpoint that is being written. */
struct log_snap {
    bool writing;
    uint32_t pieces;
    uint64_t serial; /* items up to it are to be listed */
    uint64_t next;   /* from this one on */
};

/* What the records of a group that is not committed say (recovery). */
struct log_staged {
    uint8_t kind;
    struct history_item it;
};

struct log_reading {
    bool busy;
    uint8_t kind;
    struct history_item item;
};

struct log_play {
    struct lp_sim_random random;
    struct lp_sim_disk_faults faults; /* while it works */
    struct lp_sim_disk *disk;
    struct history history;
    uint64_t now_ns;
    uint64_t digest;
    enum log_flavour flavour;
    uint64_t segment_bytes_first, segment_bytes;
    uint32_t items_wanted;
    uint32_t crash_one_in;
    uint64_t turns;
    uint64_t recovered, reads;
    uint32_t kills, losses, fences, ends, damages, checkpoints;
    /* Of this life. */
    void *block;
    struct lp_log *log;
    struct history_items items;
    struct log_staged *staged;
    uint32_t staged_count, staged_room;
    struct log_writer writer;
    struct log_snap snap;
    struct log_reading reading[LP_LOG_READS];
    uint64_t refused_ns;   /* since when it may not write; 0: it may */
    uint64_t checkpointed; /* as the log counts */
    bool opened;
    bool closing;
    bool fenced;
};

static inline uint32_t
log_below(struct log_play *play, uint32_t bound)
{
    return (uint32_t)lp_sim_random_below(&play->random, bound);
}

/* log_life.c: one life. */
void log_life_begin(struct log_play *play);
void log_life_turn(struct log_play *play);
/* The process is gone. */
void log_life_end(struct log_play *play);

/* log_write.c: what it writes in a turn, and reads. */
void log_write_turn(struct log_play *play);
/* A record says this of an item: hold what is needed, let go what is not. */
void log_write_apply(struct log_play *play, enum history_kind kind,
                     const struct history_item *item);
