/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem_disk.h - a disk in memory for tests of what is above: operations end
 * when the test says so, in the order that it says, as well or badly as it says.
 *
 *   Memory    from the heap
 *   Runs on   one thread
 *
 * drivers/sim/disk.h has time and faults by seed; here nothing happens by itself.
 */
#pragma once

#include <lepus/disk.h>

#define LP_MEM_DISK_FILES 128u

struct lp_mem_disk_file {
    uint32_t number;
    uint64_t bytes;
    uint8_t *data;
    bool durable; /* its CREATE has completed */
};

struct lp_mem_disk_flight {
    struct lp_disk_op op;
    uint8_t *copy; /* of what is written: it must not change on its way */
};

struct lp_mem_disk {
    struct lp_mem_disk_file files[LP_MEM_DISK_FILES];
    uint32_t file_count;
    struct lp_mem_disk_flight flights[LP_DISK_OPS_MAX]; /* in the order of submission */
    uint32_t flight_count;
    struct lp_disk_completion completions[LP_DISK_OPS_MAX];
    uint32_t completion_count;
    uint8_t *arena;
    uint64_t arena_bytes;
    uint64_t flushes;
    uint64_t writes; /* completed */
    /* Of the last removed file: the next one that is created begins with it. */
    bool recycle;
    uint8_t *old;
    uint64_t old_bytes;
};

void lp_mem_disk_init(struct lp_mem_disk *disk);
void lp_mem_disk_fini(struct lp_mem_disk *disk);
struct lp_disk lp_mem_disk_contract(struct lp_mem_disk *disk);

/* The flight ends: with LP_OK it has done what it is to do, else nothing. */
void lp_mem_disk_complete(struct lp_mem_disk *disk, uint32_t flight, enum lp_err err);
/* A write fails, and any of its sectors are there all the same. */
void lp_mem_disk_fail(struct lp_mem_disk *disk, uint32_t flight, enum lp_err err, uint64_t *random);
/* All that are in flight, in the order of submission. */
void lp_mem_disk_complete_all(struct lp_mem_disk *disk);
/* The first flight of a kind, from `from` on; UINT32_MAX: none. */
uint32_t lp_mem_disk_find(const struct lp_mem_disk *disk, enum lp_disk_op_kind kind, uint32_t from);

/*
 * The power goes, and nobody hears of what was in flight: `random` (a state, never 0) decides for
 * each sector, each file that was to be made or removed.
 */
void lp_mem_disk_crash(struct lp_mem_disk *disk, uint64_t *random);

/* The same, but of what was in flight nothing is done, except that files are there. */
void lp_mem_disk_drop(struct lp_mem_disk *disk);

/* NULL: there is none. */
struct lp_mem_disk_file *lp_mem_disk_file(struct lp_mem_disk *disk, uint32_t number);
/* Puts a file there, zeroed, as if it had always been. */
struct lp_mem_disk_file *lp_mem_disk_put(struct lp_mem_disk *disk, uint32_t number, uint64_t bytes);
