/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's own recovery on a disk that reads and never writes: what it says
 * is what a start would say.
 */
#include "logtool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY_BYTES (256ull * 1024 * 1024)
#define FLIGHTS_MAX  LP_DISK_OPS_MAX

struct logtool_disk {
    const struct logtool_folder *folder;
    const struct logtool_file *file; /* whose content this is; NULL: of none */
    uint8_t *data;
    struct lp_disk_completion completions[FLIGHTS_MAX];
    uint32_t completion_count;
    bool would_write;
};

static void
disk_arena(void *self, void *base, uint64_t bytes)
{
    (void)self;
    (void)base;
    (void)bytes;
}

static uint32_t
disk_files(void *self, struct lp_disk_file *ret_files, uint32_t max)
{
    const struct logtool_folder *folder = ((struct logtool_disk *)self)->folder;
    for (uint32_t i = 0; i < LP_MIN(folder->file_count, max); i++) {
        ret_files[i].number = folder->files[i].number;
        ret_files[i].bytes = folder->files[i].bytes;
    }
    return folder->file_count;
}

/* Segments are read one after the other, so one is kept. */
static enum lp_err
disk_read(struct logtool_disk *disk, const struct lp_disk_op *op)
{
    if (!disk->file || disk->file->number != op->file) {
        uint32_t unreadable;
        free(disk->data);
        disk->data = NULL;
        disk->file = NULL;
        for (uint32_t i = 0; i < disk->folder->file_count; i++) {
            if (disk->folder->files[i].number == op->file) {
                disk->file = &disk->folder->files[i];
                disk->data = logtool_file_read(disk->folder, disk->file, &unreadable);
            }
        }
    }
    if (!disk->file || op->offset + op->bytes > disk->file->bytes) {
        return LP_ERR_IO;
    }
    memcpy(op->data, disk->data + op->offset, op->bytes);
    return LP_OK;
}

static bool
disk_submit(void *self, const struct lp_disk_op *op)
{
    struct logtool_disk *disk = self;
    if (op->kind != LP_DISK_READ) {
        disk->would_write = true;
        return false;
    }
    if (disk->completion_count == FLIGHTS_MAX) {
        return false;
    }
    struct lp_disk_completion *completion = &disk->completions[disk->completion_count++];
    completion->user = op->user;
    completion->err = disk_read(disk, op);
    return true;
}

static void
disk_flush(void *self)
{
    (void)self;
}

static uint32_t
disk_poll(void *self, struct lp_disk_completion *completions, uint32_t max)
{
    struct logtool_disk *disk = self;
    const uint32_t count = LP_MIN(max, disk->completion_count);
    memcpy(completions, disk->completions, count * sizeof(*completions));
    disk->completion_count -= count;
    memmove(disk->completions, disk->completions + count,
            disk->completion_count * sizeof(*completions));
    return count;
}

static uint64_t
disk_free_bytes(void *self)
{
    (void)self;
    return 0;
}

static bool
hook_record(void *context, const struct lp_log_record *record)
{
    struct logtool_recovery *recovery = context;
    recovery->records++;
    return recovery->cut.segment == 0 || lp_log_place_before(record->place, recovery->cut);
}

static bool
hook_commit(void *context)
{
    (void)context;
    return true;
}

static void
hook_read(void *context, uint64_t user, struct lp_bytes data, const struct lp_log_fault *fault)
{
    (void)context;
    (void)user;
    (void)data;
    (void)fault;
}

/* Aligned as lp_memory wants it. */
static void *
memory_map(void **ret_base)
{
    void *mapped = mmap(NULL, MEMORY_BYTES + LP_SPAN_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    const uintptr_t spare = (LP_SPAN_BYTES - (uintptr_t)mapped % LP_SPAN_BYTES) % LP_SPAN_BYTES;
    *ret_base = (uint8_t *)mapped + spare;
    return mapped;
}

bool
logtool_recover(struct logtool_recovery *recovery, const struct logtool_folder *folder,
                struct lp_log_place cut)
{
    static const struct lp_disk_ops ops = {
        .name = "read only",
        .arena = disk_arena,
        .files = disk_files,
        .submit = disk_submit,
        .flush = disk_flush,
        .poll = disk_poll,
        .free_bytes = disk_free_bytes,
    };
    struct lp_memory *memory;
    void *base;
    memset(recovery, 0, sizeof(*recovery));
    recovery->cut = cut;
    recovery->memory = memory_map(&base);
    recovery->disk = calloc(1, sizeof(*recovery->disk));
    if (!recovery->memory || !recovery->disk ||
        lp_memory_init_boot(base, MEMORY_BYTES, MEMORY_BYTES, &memory) != LP_OK) {
        (void)fprintf(stderr, "lepus-log: out of memory\n");
        return false;
    }
    recovery->disk->folder = folder;
    const struct lp_log_options options = {
        .disk = {&ops, recovery->disk},
        .memory = memory,
        .shard = folder->root.shard,
        .segment_bytes = 64u * 1024 * 1024,
        .segment_bytes_first = 4u * 1024 * 1024,
        .hooks = {hook_record, hook_commit, hook_read, recovery},
    };
    const enum lp_err err = lp_log_init_boot(&options, &recovery->log);
    if (err != LP_OK) {
        (void)fprintf(stderr, "lepus-log: %s: %s\n", folder->path, lp_err_text(err));
        return false;
    }
    while (lp_log_state(recovery->log) == LP_LOG_RECOVERING && !recovery->disk->would_write) {
        lp_log_flush(recovery->log);
        (void)lp_log_step(recovery->log);
    }
    lp_log_end(recovery->log, &recovery->end);
    return true;
}

void
logtool_recovery_end(struct logtool_recovery *recovery)
{
    if (recovery->disk) {
        free(recovery->disk->data);
        free(recovery->disk);
    }
    if (recovery->memory) {
        (void)munmap(recovery->memory, MEMORY_BYTES + LP_SPAN_BYTES); /* the log was in it */
    }
    memset(recovery, 0, sizeof(*recovery));
}
