/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.h - what a driver of disks has, whichever way it reads and writes:
 * its folder, its files, its operations, and the way to the keeper.
 *
 * A driver's struct begins with a struct lp_volume, so that `self` of disk.h is
 * also that of the functions here which take one.  It adds how an operation is
 * started, and says when it has ended:
 *
 *   submit() -> waits for its file -> lp_volume_next() gives it -> the driver
 *     starts it -> lp_volume_ended() -> poll() hands it out, and it is free
 *
 *   Memory    the caller's, and a table of files
 *   Runs on   owner core; open and close on the host's thread
 *   Limits    LP_DISK_OPS_MAX
 *
 * Invariant: each operation is in one state, and in the list of it.
 */
#pragma once

#include <drivers/common/files.h>
#include <drivers/common/keeper.h>
#include <drivers/common/segments.h>

#define LP_VOLUME_NONE UINT32_MAX

enum lp_volume_state {
    LP_VOLUME_FREE,
    LP_VOLUME_FILE,    /* its file is being opened, or, for REMOVE, still in use */
    LP_VOLUME_READY,   /* can be started */
    LP_VOLUME_RUNNING, /* the driver has it */
    LP_VOLUME_CHORE,   /* the keeper has it */
    LP_VOLUME_DONE,
};

struct lp_volume_op {
    struct lp_disk_op op;
    uint32_t generation; /* of the slot: a late answer names nobody */
    uint16_t state;      /* enum lp_volume_state */
    uint16_t parts;      /* the driver's: answers that are still to come */
    int fd;
    enum lp_err err;
};

struct lp_volume_list {
    uint32_t head;
    uint32_t count;
    uint8_t item[LP_DISK_OPS_MAX];
};

struct lp_volume_options {
    const char *path; /* an existing folder */
    struct lp_keeper *keeper;
    bool direct;
    bool dsync;  /* a write is made durable by RWF_DSYNC; or else by fdatasync */
    int lock_fd; /* held as long as the kernel has an operation of ours; -1: none */
    int wake_fd; /* of the shard; drivers that know it themselves do not look */
};

struct lp_volume {
    struct lp_disk_ops ops; /* this disk's: the name is part of it */
    char name[40];
    bool direct;
    bool dsync;
    uint32_t free_count;
    uint32_t chores;         /* with the keeper */
    uint32_t running;        /* with the driver */
    uint32_t running_writes; /* of those */
    struct lp_segments segments;
    struct lp_files files;
    struct lp_keeper_channel *channel;
    struct lp_volume_list reads; /* READY */
    struct lp_volume_list writes;
    struct lp_volume_list done;
    uint8_t free[LP_DISK_OPS_MAX];
    struct lp_volume_op op[LP_DISK_OPS_MAX];
};

/*
 * LP_ERR_NO_MEMORY  no memory for its tables, or too many files
 * LP_ERR_IO         the folder cannot be read; see errno
 *
 * On failure nothing is left to close.
 */
LP_MUST_CHECK enum lp_err lp_volume_open_boot(struct lp_volume *volume, const char *way,
                                              const struct lp_volume_options *options);
/* The keeper is closed: what is with it has no answer any more, and what runs may still end. */
void lp_volume_closing(struct lp_volume *volume);
/* When nobody works for it any more. */
void lp_volume_close(struct lp_volume *volume);

/* files(), submit() and free_bytes() of disk.h. */
uint32_t lp_volume_files(void *self, struct lp_disk_file *ret_files, uint32_t max);
bool lp_volume_submit(void *self, const struct lp_disk_op *op);
uint64_t lp_volume_free_bytes(void *self);
/* poll() of disk.h, but for what the driver itself has to look at first. */
uint32_t lp_volume_poll(struct lp_volume *volume, struct lp_disk_completion *completions,
                        uint32_t max);

/* The operation to be started next, or LP_VOLUME_NONE; gives the same until started() or ended().
 */
uint32_t lp_volume_next(const struct lp_volume *volume);
void lp_volume_started(struct lp_volume *volume, uint32_t index);
/* One that was started has ended. */
void lp_volume_ended(struct lp_volume *volume, uint32_t index, enum lp_err err);
/* Are reads or writes under way?  `self` of either driver's disk. */
bool lp_volume_busy(const void *self);
/* Has poll() something to hand out, as far as is known? */
bool lp_volume_waiting(const struct lp_volume *volume);

static inline lp_handle
lp_volume_handle(const struct lp_volume *volume, uint32_t index)
{
    return lp_handle_make(index, volume->op[index].generation);
}

/* The index that a handle names, if it runs; or LP_VOLUME_NONE. */
uint32_t lp_volume_find(const struct lp_volume *volume, lp_handle handle);
