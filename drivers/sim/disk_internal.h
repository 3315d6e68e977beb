/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_internal.h - the disk's own structs: disk.c (life, crashes, what tests
 * ask for), disk_file.c (files and sectors) and disk_port.c (the contract).
 */
#pragma once

#include <drivers/sim/disk.h>
#include <drivers/sim/sim.h>

/* What a driver keeps of removed files. */
#define SIM_SPARES_MAX 4u

struct sim_block {
    uint8_t bad; /* bits: sectors that cannot be read */
    uint8_t data[LP_DISK_ALIGN_BYTES];
};

/* A name, or none: a removed file that is kept. */
struct sim_name {
    bool some;
    uint32_t number;
};

struct sim_file {
    struct sim_file *next;
    struct sim_name name;
    struct sim_name durable; /* the one that it has after a loss of power */
    uint64_t bytes;
    struct sim_block **block; /* NULL: zeros */
};

struct sim_place {
    struct sim_file *file;
    uint64_t offset;
};

struct sim_op {
    struct lp_disk_op op;
    bool active;
    bool started; /* flush() came */
    uint64_t due_ns;
    uint64_t sum; /* of what a WRITE writes, when it was submitted */
};

struct lp_sim_disk {
    struct lp_sim_disk_config config;
    struct lp_sim_random random;
    uint64_t now_ns;
    uint64_t digest;
    uint64_t slow_until_ns;
    uint64_t free_bytes; /* as of the last look */
    uint64_t free_look_ns;
    uintptr_t arena;
    uint64_t arena_bytes;
    struct sim_file *files;
    struct sim_op op[LP_DISK_OPS_MAX];
    uint32_t fail[LP_DISK_REMOVE + 1];
    struct lp_sim_disk_stats stats;
};

void sim_disk_note(struct lp_sim_disk *disk, uint64_t what, uint64_t a, uint64_t b);
uint64_t sim_disk_sum(const void *data, uint32_t bytes);

/* By name; NULL: there is none. */
struct sim_file *sim_file_find(const struct lp_sim_disk *disk, uint32_t number);
bool sim_file_has(const struct sim_file *file, uint64_t offset, uint64_t bytes);
/* Of those with a name. */
uint64_t sim_files_bytes(const struct lp_sim_disk *disk);
/* Makes one, out of a removed one now and then. */
struct sim_file *sim_file_make(struct lp_sim_disk *disk, uint32_t number, uint64_t bytes);
/* Its name goes; what is too much of those without is freed. */
void sim_file_remove(struct lp_sim_disk *disk, struct sim_file *file);
void sim_file_free(struct lp_sim_disk *disk, struct sim_file *file);

void sim_file_write(struct sim_file *file, uint64_t offset, const void *data, uint32_t bytes);
void sim_file_copy(const struct sim_file *file, uint64_t offset, void *data, uint32_t bytes);
bool sim_file_readable(const struct sim_file *file, uint64_t offset, uint32_t bytes);
void sim_file_spoil(struct sim_file *file, uint64_t offset);
/* Another aligned place for so many bytes, in any file; false: there is none. */
bool sim_file_elsewhere(struct lp_sim_disk *disk, struct sim_place *place, uint32_t bytes);

/* Each sector as it was, or as it is to be; `unreadable`: or neither, by that chance. */
void sim_disk_tear(struct lp_sim_disk *disk, struct sim_file *file, const struct lp_disk_op *op,
                   uint32_t unreadable);
