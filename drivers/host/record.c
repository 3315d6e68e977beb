/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wrapper around a shard's disk that writes down what is asked of it and
 * what it answers, in the order in which both happen, for tests that rebuild
 * what a loss of power could have left (tests/crash/powerloss.py).
 *
 * Entries of all shards, and of clients that append their own, are in one
 * file: each is one write with O_APPEND.  An operation is written down before
 * the disk is given it, a completion before the log hears of it; so what is
 * not in front of an entry had not happened when that was written.
 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC 0x4b534944u /* "DISK" */

enum what {
    WHAT_SUBMIT = 1,
    WHAT_COMPLETE = 2,
    /* 3 and more: the tests' own */
};

/* Little-endian, as the build demands. */
struct entry {
    uint32_t magic;
    uint8_t what;
    uint8_t kind; /* enum lp_disk_op_kind */
    uint16_t shard;
    uint64_t op; /* numbers of a shard's operations, from 1 */
    uint64_t offset;
    uint32_t file;
    uint32_t bytes;
    int32_t err;
    uint32_t data_bytes; /* that follow */
};
LP_STATIC_ASSERT(sizeof(struct entry) == 40, "tests/crash/recording.py reads it");

struct host_record {
    struct lp_disk inner;
    int fd;
    uint32_t shard;
    uint64_t ops;                     /* given so far */
    uint64_t number[LP_DISK_OPS_MAX]; /* of the one in this place; 0: none */
    struct lp_disk_op op[LP_DISK_OPS_MAX];
};

static void
entry_write(const struct host_record *record, const struct entry *entry, const void *data)
{
    const struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)entry, .iov_len = sizeof(*entry)},
        {.iov_base = (void *)(uintptr_t)data, .iov_len = entry->data_bytes}};
    const ssize_t written = writev(record->fd, parts, entry->data_bytes > 0 ? 2 : 1);
    /* A recording with holes would accuse the broker of what it did not do. */
    LP_ASSERT(written == (ssize_t)(sizeof(*entry) + entry->data_bytes));
}

static struct entry
entry_of(const struct host_record *record, uint32_t place, enum what what)
{
    const struct lp_disk_op *op = &record->op[place];
    return (struct entry){.magic = MAGIC,
                          .what = (uint8_t)what,
                          .kind = (uint8_t)op->kind,
                          .shard = (uint16_t)record->shard,
                          .op = record->number[place],
                          .offset = op->offset,
                          .file = op->file,
                          .bytes = op->bytes};
}

static bool
record_submit(void *self, const struct lp_disk_op *op)
{
    struct host_record *record = self;
    uint32_t place = 0;
    while (place < LP_DISK_OPS_MAX && record->number[place] != 0) {
        place++;
    }
    if (place == LP_DISK_OPS_MAX) {
        return false;
    }
    struct lp_disk_op mine = *op;
    mine.user = place;
    record->op[place] = *op;
    record->number[place] = ++record->ops;
    struct entry entry = entry_of(record, place, WHAT_SUBMIT);
    entry.data_bytes = op->kind == LP_DISK_WRITE ? op->bytes : 0;
    entry_write(record, &entry, op->data);
    if (record->inner.ops->submit(record->inner.self, &mine)) {
        return true;
    }
    entry.what = WHAT_COMPLETE; /* it never was */
    entry.err = LP_ERR_NO_SPACE;
    entry.data_bytes = 0;
    entry_write(record, &entry, NULL);
    record->number[place] = 0;
    return false;
}

static uint32_t
record_poll(void *self, struct lp_disk_completion *completions, uint32_t max)
{
    struct host_record *record = self;
    const uint32_t count = record->inner.ops->poll(record->inner.self, completions, max);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t place = (uint32_t)completions[i].user;
        struct entry entry = entry_of(record, place, WHAT_COMPLETE);
        entry.err = (int32_t)completions[i].err;
        entry_write(record, &entry, NULL);
        completions[i].user = record->op[place].user;
        record->number[place] = 0;
    }
    return count;
}

static void
record_arena(void *self, void *base, uint64_t bytes)
{
    const struct host_record *record = self;
    record->inner.ops->arena(record->inner.self, base, bytes);
}

static uint32_t
record_files(void *self, struct lp_disk_file *ret_files, uint32_t max)
{
    const struct host_record *record = self;
    return record->inner.ops->files(record->inner.self, ret_files, max);
}

static void
record_flush(void *self)
{
    const struct host_record *record = self;
    record->inner.ops->flush(record->inner.self);
}

static uint64_t
record_free_bytes(void *self)
{
    const struct host_record *record = self;
    return record->inner.ops->free_bytes(record->inner.self);
}

static const struct lp_disk_ops record_ops = {
    .name = "recorded",
    .arena = record_arena,
    .files = record_files,
    .submit = record_submit,
    .flush = record_flush,
    .poll = record_poll,
    .free_bytes = record_free_bytes,
};

struct lp_disk
host_record_wrap(const struct host_shard *shard)
{
    /* Before any thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    const char *path = getenv(HOST_RECORD_VARIABLE);
    if (path == NULL || shard->disk.ops == NULL) {
        return shard->disk;
    }
    struct host_record *record = calloc(1, sizeof(*record));
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (record == NULL || fd < 0) {
        (void)fprintf(stderr, "lepus-dataplane: cannot record to %s: %s\n", path,
                      strerrordesc_np(errno));
        exit(1); /* NOLINT(concurrency-mt-unsafe): before any thread */
    }
    *record = (struct host_record){.inner = shard->disk, .fd = fd, .shard = shard->index};
    return (struct lp_disk){.ops = &record_ops, .self = record}; /* as long as the process */
}
