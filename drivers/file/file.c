/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/file/file.h>

#include <errno.h>
#include <stdlib.h>

#include "worker.h"

/* One for reads while another waits for the device to have a write. */
#define WORKERS 2u

struct file_disk {
    struct lp_volume volume;
    struct file_worker worker[WORKERS];
};

LP_STATIC_ASSERT(offsetof(struct file_disk, volume) == 0, "disk.h's self is the volume's too");

/* The one with the least to do. */
static struct file_worker *
worker_choose(struct file_disk *disk)
{
    struct file_worker *least = &disk->worker[0];
    for (uint32_t i = 1; i < WORKERS; i++) {
        least = disk->worker[i].jobs_out < least->jobs_out ? &disk->worker[i] : least;
    }
    return least;
}

static void
push(struct file_disk *disk)
{
    struct lp_volume *volume = &disk->volume;
    for (uint32_t n = 0; n < LP_DISK_OPS_MAX; n++) {
        const uint32_t index = lp_volume_next(volume);
        if (index == LP_VOLUME_NONE) {
            return;
        }
        const struct lp_volume_op *slot = &volume->op[index];
        const struct file_job job = {.handle = lp_volume_handle(volume, index),
                                     .data = slot->op.data,
                                     .offset = slot->op.offset,
                                     .bytes = slot->op.bytes,
                                     .fd = slot->fd,
                                     .write = slot->op.kind == LP_DISK_WRITE,
                                     .dsync = volume->dsync};
        file_worker_give(worker_choose(disk), &job);
        lp_volume_started(volume, index);
    }
}

static void
call(struct file_disk *disk)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        file_worker_call(&disk->worker[i]);
    }
}

static bool
disk_submit(void *self, const struct lp_disk_op *op)
{
    struct file_disk *disk = self;
    if (!lp_volume_submit(&disk->volume, op)) {
        return false;
    }
    push(disk);
    return true;
}

static void
disk_flush(void *self)
{
    call(self);
}

static uint32_t
disk_poll(void *self, struct lp_disk_completion *completions, uint32_t max)
{
    struct file_disk *disk = self;
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct file_job job;
        while (file_worker_answer(&disk->worker[i], &job)) {
            const uint32_t index = lp_volume_find(&disk->volume, job.handle);
            LP_ASSERT(index != LP_VOLUME_NONE);
            lp_volume_ended(&disk->volume, index, lp_segments_err(job.error));
        }
    }
    const uint32_t count = lp_volume_poll(&disk->volume, completions, max);
    push(disk);
    call(disk); /* what was started just now has waited long enough */
    return count;
}

/* Threads have nothing to register it with. */
static void
disk_arena(void *self, void *base, uint64_t bytes)
{
    (void)self;
    (void)base;
    (void)bytes;
}

int
lp_file_meter_write(void *context, int fd, const void *page, uint64_t offset, bool dsync)
{
    (void)context;
    return file_write(fd, page, LP_DISK_ALIGN_BYTES, offset, dsync);
}

/* --- Opening and closing. -------------------------------------------------------------------- */

static void
workers_close(struct file_disk *disk)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        file_worker_close(&disk->worker[i]);
    }
}

static enum lp_err
workers_open(struct file_disk *disk, int wake_fd)
{
    enum lp_err err = LP_OK;
    for (uint32_t i = 0; i < WORKERS; i++) {
        disk->worker[i].wake_fd = -1;
    }
    for (uint32_t i = 0; i < WORKERS && err == LP_OK; i++) {
        err = file_worker_open_boot(&disk->worker[i], wake_fd);
    }
    return err;
}

enum lp_err
lp_file_disk_open_boot(const struct lp_volume_options *options, struct lp_disk *ret_disk)
{
    struct file_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    disk->volume.ops = (struct lp_disk_ops){.name = disk->volume.name,
                                            .arena = disk_arena,
                                            .files = lp_volume_files,
                                            .submit = disk_submit,
                                            .flush = disk_flush,
                                            .poll = disk_poll,
                                            .free_bytes = lp_volume_free_bytes};
    /* The volume last: the keeper has it from then on. */
    enum lp_err err = workers_open(disk, options->wake_fd);
    if (err == LP_OK) {
        err = lp_volume_open_boot(&disk->volume, "threads", options);
    }
    if (err != LP_OK) {
        const int error = errno;
        workers_close(disk);
        free(disk);
        errno = error;
        return err;
    }
    *ret_disk = (struct lp_disk){.ops = &disk->volume.ops, .self = disk};
    return LP_OK;
}

void
lp_file_disk_close(struct lp_disk *disk)
{
    struct file_disk *self = disk->self;
    LP_ASSERT(self->volume.ops.submit == disk_submit);
    lp_volume_closing(&self->volume);
    workers_close(self);
    lp_volume_close(&self->volume);
    free(self);
    *disk = (struct lp_disk){0};
}
