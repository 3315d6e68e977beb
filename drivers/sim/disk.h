/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - the simulator's disk: lepus/disk.h over sectors in memory, in
 * virtual time and from a seed.
 *
 * One lp_sim_disk for each shard's folder.  It outlives the process that used
 * it: lp_sim_disk_crash() ends that process's operations as a kill or a loss of
 * power would, and the next one finds what is left.
 *
 *   Memory    from the heap, 4 KiB for each block that was ever written, freed by
 *             lp_sim_disk_destroy(); what a WRITE writes is read when it is done
 *             and must be what it was when it was submitted
 *   Runs on   the one thread that steps the simulation; no system calls
 *   Limits    struct lp_sim_disk_config
 *
 * Time does not move here: the scheduler calls lp_sim_disk_advance().
 *
 * Invariant: without faults, a sector holds what the last completed WRITE put
 * there, or, of one that a crash interrupted, what was there before, what was
 * to be there, or (power only) nothing that can be read.
 */
#pragma once

#include <lepus/disk.h>

struct lp_sim_disk;

/* Chances are per mille.  They may be changed while the simulation runs (lp_sim_disk_faults()). */
struct lp_sim_disk_faults {
    uint32_t write_fail;      /* each sector may be there all the same */
    uint32_t create_fail;     /* the file may be there all the same */
    uint32_t read_fail;       /* once: the same read may do next time */
    uint32_t read_elsewhere;  /* another place's bytes, and no error */
    uint32_t write_elsewhere; /* the bytes go to another place, and no error */
    uint32_t rot;             /* at a crash: a bit of something durable has changed */
    uint32_t unreadable;      /* a sector in flight at a loss of power */
    uint32_t slow;            /* an operation begins a phase in which all take ten times as long */
    uint64_t slow_ns_max;     /* of a phase */
    uint64_t latency_ns_min;
    uint64_t latency_ns_max;
};

struct lp_sim_disk_config {
    uint64_t seed;
    uint64_t capacity_bytes; /* of all files */
    struct lp_sim_disk_faults faults;
};

/* Healthy: 0.05 to 10 ms, now and then slow, 1 GiB; a loss of power may leave bad sectors. */
struct lp_sim_disk_config lp_sim_disk_config_default(uint64_t seed);

struct lp_sim_disk *lp_sim_disk_create(const struct lp_sim_disk_config *config);
void lp_sim_disk_destroy(struct lp_sim_disk *disk);

/* Borrows the disk. */
struct lp_disk lp_sim_disk_contract(struct lp_sim_disk *disk);

struct lp_sim_disk_faults *lp_sim_disk_faults(struct lp_sim_disk *disk);
/* May be less than what there is: then nothing can be created. */
void lp_sim_disk_capacity_set(struct lp_sim_disk *disk, uint64_t bytes);

/* Virtual time is now `now_ns`, which is not in the past. */
void lp_sim_disk_advance(struct lp_sim_disk *disk, uint64_t now_ns);
/* When the next operation completes; <= now: at once; UINT64_MAX: nothing is in flight. */
uint64_t lp_sim_disk_next_ns(const struct lp_sim_disk *disk);

enum lp_sim_disk_crash {
    LP_SIM_DISK_KILLED, /* what is in flight happens wholly or not at all */
    LP_SIM_DISK_POWER,  /* ... or in parts, and what was removed may be there again */
};
/* The process that used the disk is gone; its memory must still be there. */
void lp_sim_disk_crash(struct lp_sim_disk *disk, enum lp_sim_disk_crash how);

/* A hash of all completions and crashes so far: two runs of one seed agree. */
uint64_t lp_sim_disk_digest(const struct lp_sim_disk *disk);

struct lp_sim_disk_stats {
    uint64_t completed[LP_DISK_REMOVE + 1]; /* by kind, well or not */
    uint64_t failed;
    uint64_t torn;       /* WRITEs that a loss of power left in parts */
    uint64_t lost;       /* ... and that a crash undid */
    uint64_t unreadable; /* sectors made so */
    uint64_t recycled;   /* files created out of removed ones */
    uint64_t returned;   /* removed files that a loss of power brought back */
    uint64_t elsewhere;
    uint64_t rotten;
    uint32_t in_flight;
};
void lp_sim_disk_stats(const struct lp_sim_disk *disk, struct lp_sim_disk_stats *ret_stats);

/* ---- for tests: past the contract ---- */

/* The next operation of a kind fails; 2: the one after it; 0: none. */
void lp_sim_disk_fail(struct lp_sim_disk *disk, enum lp_disk_op_kind kind, uint32_t countdown);
/* What is in a file now; false: no such file, or it is shorter. Bad sectors are no hindrance. */
LP_MUST_CHECK bool lp_sim_disk_peek(const struct lp_sim_disk *disk, uint32_t file, uint64_t offset,
                                    void *data, uint32_t bytes);
/* The sector at `offset` cannot be read until it is written. */
LP_MUST_CHECK bool lp_sim_disk_spoil(struct lp_sim_disk *disk, uint32_t file, uint64_t offset);
