/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logtool.h - the parts of `lepus-log`, an operator's tool for the logs of a
 * broker that does not run:
 *
 *   main.c     the command line       disk.c     a disk that only reads
 *   folder.c   folders, files, locks  scan.c     all batches of a segment
 *   inspect.c  what there is          verify.c   is all of it whole?
 *   repair.c   gives up what is not
 *
 *   Memory    the heap, and one reservation for the log that recovery runs on
 *   Runs on   one thread; it blocks
 */
#pragma once

#include <limits.h>
#include <stdio.h>

#include <lepus/disk.h>

#include "dataplane/log/format.h"
#include "dataplane/log/repair.h"

#define LOGTOOL_SHARDS_MAX 256u
#define LOGTOOL_NAME_BYTES 32u

struct logtool_file {
    uint32_t number;
    uint64_t bytes;
    char name[LOGTOOL_NAME_BYTES];
};

/* One shard's folder. */
struct logtool_folder {
    char path[PATH_MAX];
    uint32_t file_count;
    struct logtool_file *files; /* ascending */
    bool root_whole;            /* there is a root */
    struct log_root root;       /* the one that counts */
};

struct logtool_options {
    const char *verb;
    const char *path;
    bool batches;
    bool records;
    bool accept_loss;
    struct lp_log_place cut; /* segment 0: where recovery finds damage */
};

/* --- folder.c ------------------------------------------------------------- */

/*
 * The folders of shards in a data directory, or the one that `path` is itself.
 * Gives how many; 0 was complained about.
 */
uint32_t logtool_folders_find(const char *path, char (*ret_paths)[PATH_MAX], uint32_t max);
/* False was complained about. */
LP_MUST_CHECK bool logtool_folder_open(struct logtool_folder *folder, const char *path);
void logtool_folder_close(struct logtool_folder *folder);
/* A file's content, of whole blocks; blocks that cannot be read are zeros, and counted. */
uint8_t *logtool_file_read(const struct logtool_folder *folder, const struct logtool_file *file,
                           uint32_t *ret_unreadable);
/* Nobody writes there, and nobody begins to until we end.  False was complained about. */
LP_MUST_CHECK bool logtool_lock(const char *path);
/* Does a broker run there?  For a warning only. */
bool logtool_is_locked(const char *path);

/* --- scan.c --------------------------------------------------------------- */

struct logtool_batch {
    struct log_batch_header header;
    const uint8_t *data;
    uint32_t crc;
    bool whole;          /* every record is */
    uint64_t bad_offset; /* else where */
};

/* Calls `batch` for each batch of a segment, in order of offsets. */
void logtool_scan(const struct logtool_folder *folder, const struct logtool_file *file,
                  void (*batch)(void *context, const struct logtool_batch *batch), void *context);

/* --- disk.c, the real recovery on it ---------------------------------------- */

struct logtool_recovery {
    void *memory;
    struct logtool_disk *disk;
    struct lp_log *log;
    uint64_t records;
    struct lp_log_place cut;
    struct lp_log_end end;
};

/*
 * As far as it comes without writing: then lp_log_state() is RECOVERING (it is
 * whole) or DAMAGED.  From `cut` on, if that is a place, no record is accepted.
 */
LP_MUST_CHECK bool logtool_recover(struct logtool_recovery *recovery,
                                   const struct logtool_folder *folder, struct lp_log_place cut);
void logtool_recovery_end(struct logtool_recovery *recovery);

/* --- verbs: exit statuses ---------------------------------------------------- */

#define LOGTOOL_DAMAGED 1
#define LOGTOOL_FAILED  2
#define LOGTOOL_USAGE   64

int logtool_inspect(const struct logtool_folder *folder, const struct logtool_options *options);
int logtool_verify(const struct logtool_folder *folder);
int logtool_repair(const struct logtool_folder *folder, const struct logtool_options *options);
