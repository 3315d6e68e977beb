/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - the contract of durable storage: numbered files of one folder,
 * written and read by one shard's log.
 *
 *   Memory    what an operation reads into or writes from is the log's, inside
 *             the arena it named at boot, and untouched until its completion
 *   Runs on   owner core; a driver may have threads of its own behind it
 *   Blocking  never: operations are submitted, and complete in any order
 *   Errors    each operation completes once.  A short write is a failed one.  A
 *             failed write or create says nothing about what is on disk; the
 *             caller fences its log and never tries again.
 *
 * What a driver promises: when a WRITE has completed, its bytes survive a loss
 * of power, whatever else was in flight; when a CREATE has, the file, its name
 * and its size do.  Until then any sector of a write (LP_DISK_SECTOR_BYTES)
 * may be new, old or unreadable, in any combination.  A file that was created
 * holds zeros, or what an earlier file of this folder held: whoever reads must
 * recognise its own.
 */
#pragma once

#include <lepus/base.h>
#include <lepus/err.h>

#define LP_DISK_SECTOR_BYTES 512u
/* Offsets, sizes and addresses of all operations are multiples of it. */
#define LP_DISK_ALIGN_BYTES 4096u
/* Operations that may be in flight. */
#define LP_DISK_OPS_MAX 64u
/* Of one READ or WRITE. */
#define LP_DISK_BYTES_MAX (1024u * 1024u)

enum lp_disk_op_kind {
    LP_DISK_READ,
    LP_DISK_WRITE,  /* durable when it completes */
    LP_DISK_CREATE, /* file `file` of `bytes` bytes; LP_ERR_EXISTS when there is one */
    LP_DISK_REMOVE, /* nothing will be read from it again; the driver may keep it for CREATE */
};

struct lp_disk_op {
    enum lp_disk_op_kind kind;
    uint32_t file;
    uint64_t offset;
    void *data;
    uint32_t bytes;
    uint64_t user; /* comes back in the completion */
};

struct lp_disk_completion {
    uint64_t user;
    enum lp_err err; /* LP_OK, LP_ERR_IO, LP_ERR_NO_SPACE, LP_ERR_EXISTS, LP_ERR_NOT_FOUND */
};

struct lp_disk_file {
    uint32_t number;
    uint64_t bytes;
};

struct lp_disk_ops {
    const char *name; /* "io_uring, direct, dsync" */
    /* All data of later operations lies in here: a driver may register it.  Once, at boot. */
    void (*arena)(void *self, void *base, uint64_t bytes);
    /* The files there are, in ascending order; gives how many, which may be more than `max`.  They
     * are durable when it returns, and so is all that is in them: whatever a process that died has
     * left there is built upon.  At boot only: it may block. */
    uint32_t (*files)(void *self, struct lp_disk_file *ret_files, uint32_t max);
    /* False: LP_DISK_OPS_MAX are in flight, and nothing was taken. */
    bool (*submit)(void *self, const struct lp_disk_op *op);
    /* What was submitted may wait for this: once a turn, after the last submit, and before the
     * transport's flush(), which then takes both to the kernel. */
    void (*flush)(void *self);
    /* After the transport's poll() of the same turn, which may fetch completions, or forget a wake
     * that told of one. */
    uint32_t (*poll)(void *self, struct lp_disk_completion *completions, uint32_t max);
    /* Bytes that files may still take on this device; some seconds old. */
    uint64_t (*free_bytes)(void *self);
};

struct lp_disk {
    const struct lp_disk_ops *ops; /* NULL: there is none, and nothing is kept */
    void *self;
};
