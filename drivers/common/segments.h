/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segments.h - the folder of one shard's log: its files by number, made so
 * that they survive a loss of power, and those that are kept for their next
 * use.
 *
 *   00000042.log  file 42          root.log  file 0
 *   spare-7       was a file, and will be one under another number
 *   making        was being made when something ended us
 *
 * Overwriting blocks that were written before takes half as long as writing
 * new ones, which is why a file is filled with zeros once, and kept.
 *
 *   Memory    the caller's; one mapping of zeros, which takes no memory
 *   Runs on   open: the host's thread.  After that the keeper's (keeper.h)
 *   Blocking  all of it
 *   Limits    LP_SEGMENTS_SPARES_MAX
 *
 * Invariant: a file has its number only when it is whole: a number is given by
 * renaming, after the content was synced.
 */
#pragma once

#include <lepus/disk.h>

/* Of one size; what is removed beyond that is deleted. */
#define LP_SEGMENTS_SPARES_OF_A_SIZE 2u
#define LP_SEGMENTS_SPARES_MAX       16u
#define LP_SEGMENTS_NAME_BYTES       32u

struct lp_segments_spare {
    uint32_t name;
    uint64_t bytes;
};

struct lp_segments {
    int dir_fd;
    bool direct;         /* files bypass the page cache */
    bool unsynced;       /* a file has become a spare, which the folder's disk may not know yet */
    uint32_t spare_name; /* the last that was given */
    uint32_t spare_count;
    struct lp_segments_spare spare[LP_SEGMENTS_SPARES_MAX];
    void *zeros;
};

/*
 * Opens the folder, which exists, deletes what was being made, and finds the
 * spares.  False: errno says why.
 */
LP_MUST_CHECK bool lp_segments_open_boot(struct lp_segments *segments, const char *path,
                                         bool direct);
void lp_segments_close(struct lp_segments *segments);

/* Calls `found` for each file, in no order.  False: the folder cannot be read, see errno. */
LP_MUST_CHECK bool lp_segments_each(const struct lp_segments *segments,
                                    void (*found)(void *context, const struct lp_disk_file *file),
                                    void *context);

/* What an earlier run has left in a file, and in the folder, is on disk when these return. */
LP_MUST_CHECK bool lp_segments_file_sync(const struct lp_segments *segments, uint32_t number);
LP_MUST_CHECK bool lp_segments_sync(struct lp_segments *segments);

/* A descriptor for reading and writing; -1: see errno. */
int lp_segments_file_open(const struct lp_segments *segments, uint32_t number);

/*
 * File `number` of `bytes` bytes, as LP_DISK_CREATE promises it, and opened.
 * `stop` becomes true when nobody waits for it any more.
 */
LP_MUST_CHECK enum lp_err lp_segments_create(struct lp_segments *segments, uint32_t number,
                                             uint64_t bytes, const bool *stop, int *ret_fd);
LP_MUST_CHECK enum lp_err lp_segments_remove(struct lp_segments *segments, uint32_t number,
                                             uint64_t bytes);

/* Bytes that files may still take on the device. */
uint64_t lp_segments_free_bytes(const struct lp_segments *segments);

/* What errno is to the log. */
enum lp_err lp_segments_err(int error);

/* The number that a file's name has; false: it is none of ours. */
bool lp_segments_name_parse(const char *name, uint32_t *ret_number);
