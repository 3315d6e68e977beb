/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - the contract of durable storage: files opened by the host at boot,
 * written by the shard's log.  One instance belongs to one shard.
 *
 * No driver implements it yet; the write-ahead log brings the first two
 * (drivers/uring, drivers/sim).  It is fixed now so that queue code is
 * written against "durable later" from the start.
 *
 *   Memory    The shard owns buffers; they are untouched until completion.
 *   Errors    A failed or short write, or a failed sync, is reported once with
 *             `failed`; the caller fences the log and never retries.
 */
#pragma once

#include <lepus/base.h>

enum lp_disk_op_kind {
    LP_DISK_READ,
    LP_DISK_WRITE_DURABLE, /* complete only when the bytes survive a power loss */
};

struct lp_disk_op {
    enum lp_disk_op_kind kind;
    uint32_t file;   /* index given by the host at boot */
    uint64_t offset; /* a multiple of align_bytes */
    void *data;      /* aligned to align_bytes */
    uint32_t bytes;  /* a multiple of align_bytes */
    uint64_t user;   /* comes back in the completion */
};

struct lp_disk_completion {
    uint64_t user;
    bool failed;
};

struct lp_disk_ops {
    const char *name;
    uint32_t (*align_bytes)(void *self);
    /* False: the submission queue is full; nothing was taken. */
    bool (*submit)(void *self, const struct lp_disk_op *op);
    uint32_t (*poll)(void *self, struct lp_disk_completion *completions, uint32_t max);
};
