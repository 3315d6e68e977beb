/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.h - which files a disk has, by number, and which of them are open.
 *
 *   Memory    one allocation at boot; untouched pages of it cost nothing
 *   Runs on   the disk's owner
 *   Limits    LP_FILES_MAX files, LP_FILES_OPEN_MAX descriptors
 *   Overload  add says no
 *
 * Invariant: a number is in the table once.  What find() gives is valid until
 * the next add() or remove().
 */
#pragma once

#include <lepus/base.h>
#include <lepus/err.h>

#define LP_FILES_MAX      65536u /* of 64 MiB each: 4 TiB a shard */
#define LP_FILES_OPEN_MAX 128u   /* 8 GiB of a log without opening anything again */

enum lp_file_state {
    LP_FILE_NONE,
    LP_FILE_CREATING,
    LP_FILE_CLOSED,
    LP_FILE_OPENING,
    LP_FILE_OPEN,
    LP_FILE_REMOVING,
};

struct lp_file {
    uint32_t number;
    int fd; /* -1: not open */
    uint64_t bytes;
    uint32_t used_at; /* by lp_files.clock */
    uint16_t running; /* reads and writes under way */
    uint16_t state;   /* enum lp_file_state */
};

struct lp_files {
    struct lp_file *slot; /* by number, linear probing */
    uint32_t count;
    uint32_t clock;
    uint32_t open_count;
    uint32_t open[LP_FILES_OPEN_MAX + 1]; /* numbers of those with a descriptor */
};

LP_MUST_CHECK enum lp_err lp_files_init_boot(struct lp_files *files);
/* Also closes what is open. */
void lp_files_fini(struct lp_files *files);

/* NULL: there is none of that number. */
struct lp_file *lp_files_find(const struct lp_files *files, uint32_t number);
/* A new one; NULL: LP_FILES_MAX are there.  The number is not. */
struct lp_file *lp_files_add(struct lp_files *files, uint32_t number, uint64_t bytes,
                             enum lp_file_state state);
/* It has no descriptor any more. */
void lp_files_remove(struct lp_files *files, struct lp_file *file);

/* It has a descriptor now, and is the one that was used last. */
void lp_files_opened(struct lp_files *files, struct lp_file *file, int fd);
void lp_files_used(struct lp_files *files, struct lp_file *file);
/* Takes its descriptor away; -1: it has none. */
int lp_files_fd_take(struct lp_files *files, struct lp_file *file);
/* More than LP_FILES_OPEN_MAX are open: the one that has not been used for longest and could be
 * closed; NULL: all is well. */
struct lp_file *lp_files_victim(struct lp_files *files);
