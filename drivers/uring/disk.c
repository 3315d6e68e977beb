/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write is durable when it completes: by RWF_DSYNC, or as a pair of linked
 * entries, the write and an fdatasync that is cancelled if the write is short
 * or fails.  Both answers carry the operation's tag.
 */
#include "uring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "compat.h"
#include "driver.h"

/* Waiting for the disk at the end: as long as a device may take before the kernel gives it up. */
#define DRAIN_TRIES     60
#define DRAIN_TIMEOUT_S 1

struct uring_disk {
    struct lp_volume volume;
    struct uring_driver *driver;
    const uint8_t *arena; /* NULL: not registered */
    uint64_t arena_bytes;
};

LP_STATIC_ASSERT(offsetof(struct uring_disk, volume) == 0, "disk.h's self is the volume's too");

/* --- Starting. ------------------------------------------------------------------------------- */

static bool
in_arena(const struct uring_disk *disk, const struct lp_disk_op *op)
{
    const uintptr_t from = (uintptr_t)disk->arena;
    const uintptr_t at = (uintptr_t)op->data;
    return disk->arena != NULL && at >= from && op->bytes <= disk->arena_bytes &&
           at - from <= disk->arena_bytes - op->bytes;
}

static void
transfer_prepare(const struct uring_disk *disk, const struct lp_volume_op *slot,
                 struct io_uring_sqe *sqe)
{
    const struct lp_disk_op *op = &slot->op;
    const bool registered = in_arena(disk, op);
    if (op->kind == LP_DISK_READ) {
        if (registered) {
            io_uring_prep_read_fixed(sqe, slot->fd, op->data, op->bytes, op->offset, 0);
        } else {
            io_uring_prep_read(sqe, slot->fd, op->data, op->bytes, op->offset);
        }
        return;
    }
    if (registered) {
        io_uring_prep_write_fixed(sqe, slot->fd, op->data, op->bytes, op->offset, 0);
    } else {
        io_uring_prep_write(sqe, slot->fd, op->data, op->bytes, op->offset);
    }
    if (disk->volume.dsync) {
        sqe->rw_flags = RWF_DSYNC;
    } else {
        sqe->flags |= IOSQE_IO_LINK;
    }
}

/* So many entries that go to the kernel together; false: not now. */
static bool
room_make(struct uring_driver *driver, unsigned entries)
{
    if (io_uring_sq_space_left(&driver->ring) >= entries) {
        return true;
    }
    driver->port.counters.kernel_enters++;
    (void)io_uring_submit(&driver->ring); /* whether it helped shows in the next line */
    return io_uring_sq_space_left(&driver->ring) >= entries;
}

static bool
start(struct uring_disk *disk, uint32_t index)
{
    struct lp_volume_op *slot = &disk->volume.op[index];
    const bool sync = slot->op.kind == LP_DISK_WRITE && !disk->volume.dsync;
    struct io_uring *ring = &disk->driver->ring;
    if (!room_make(disk->driver, sync ? 2 : 1)) {
        return false;
    }
    const lp_handle handle = lp_volume_handle(&disk->volume, index);
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    LP_ASSERT(sqe != NULL);
    transfer_prepare(disk, slot, sqe);
    sqe->user_data = uring_tag_make(URING_KIND_DISK, handle);
    if (sync) {
        sqe = io_uring_get_sqe(ring);
        LP_ASSERT(sqe != NULL);
        io_uring_prep_fsync(sqe, slot->fd, IORING_FSYNC_DATASYNC);
        sqe->user_data = uring_tag_make(URING_KIND_DISK_SYNC, handle);
    }
    slot->parts = sync ? 2 : 1;
    lp_volume_started(&disk->volume, index);
    return true;
}

void
uring_disk_push(struct uring_disk *disk)
{
    for (uint32_t n = 0; n < LP_DISK_OPS_MAX; n++) {
        const uint32_t index = lp_volume_next(&disk->volume);
        if (index == LP_VOLUME_NONE || !start(disk, index)) {
            return;
        }
    }
}

/* --- Completing. ----------------------------------------------------------------------------- */

void
uring_disk_completed(struct uring_driver *driver, const struct io_uring_cqe *cqe)
{
    struct uring_disk *disk = driver->disk;
    const uint32_t index = lp_volume_find(&disk->volume, uring_tag_handle(cqe->user_data));
    if (index == LP_VOLUME_NONE) {
        return;
    }
    struct lp_volume_op *slot = &disk->volume.op[index];
    const bool sync = uring_tag_kind(cqe->user_data) == URING_KIND_DISK_SYNC;
    const int64_t good = sync ? 0 : (int64_t)slot->op.bytes;
    LP_ASSERT(slot->parts > 0);
    /* A write that failed says more than the sync that was cancelled for it. */
    if (cqe->res != good && (!sync || slot->err == LP_OK)) {
        slot->err = cqe->res < 0 ? lp_segments_err(-cqe->res) : LP_ERR_IO;
    }
    if (--slot->parts == 0) {
        lp_volume_ended(&disk->volume, index, slot->err);
    }
}

static uint32_t
disk_poll(void *self, struct lp_disk_completion *completions, uint32_t max)
{
    struct uring_disk *disk = self;
    const uint32_t count = lp_volume_poll(&disk->volume, completions, max);
    uring_disk_push(disk); /* a file may have been opened */
    return count;
}

bool
uring_disk_waiting(const struct uring_disk *disk)
{
    return lp_volume_waiting(&disk->volume);
}

/* --- Calls. ---------------------------------------------------------------------------------- */

static bool
disk_submit(void *self, const struct lp_disk_op *op)
{
    struct uring_disk *disk = self;
    if (!lp_volume_submit(&disk->volume, op)) {
        return false;
    }
    uring_disk_push(disk);
    return true;
}

/* The transport's flush() of this turn takes it along, unless it was earlier. */
static void
disk_flush(void *self)
{
    struct uring_disk *disk = self;
    if (disk->driver->flushed) {
        uring_flush(disk->driver);
    }
}

/* Refused, most often, by the limit of locked memory: then pages are looked up each time. */
static void
disk_arena(void *self, void *base, uint64_t bytes)
{
    struct uring_disk *disk = self;
    const struct iovec memory = {.iov_base = base, .iov_len = bytes};
    LP_ASSERT(disk->arena == NULL);
    if (io_uring_register_buffers(&disk->driver->ring, &memory, 1) == 0) {
        disk->arena = base;
        disk->arena_bytes = bytes;
    }
}

/* --- Opening and closing. -------------------------------------------------------------------- */

enum lp_err
lp_uring_disk_open_boot(struct lp_transport *transport, const struct lp_volume_options *options,
                        struct lp_disk *ret_disk)
{
    struct uring_driver *driver = transport->self;
    LP_ASSERT(transport->ops->flush == uring_flush);
    LP_ASSERT(driver->disk == NULL);
    struct uring_disk *disk = calloc(1, sizeof(*disk));
    if (disk == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    struct lp_volume_options ours = *options;
    ours.wake_fd = driver->port.wake_fd;
    disk->driver = driver;
    disk->volume.ops = (struct lp_disk_ops){.name = disk->volume.name,
                                            .arena = disk_arena,
                                            .files = lp_volume_files,
                                            .submit = disk_submit,
                                            .flush = disk_flush,
                                            .poll = disk_poll,
                                            .free_bytes = lp_volume_free_bytes};
    const enum lp_err err = lp_volume_open_boot(&disk->volume, "io_uring", &ours);
    if (err != LP_OK) {
        const int error = errno;
        free(disk);
        errno = error;
        return err;
    }
    if (options->lock_fd >= 0) {
        /*
         * The ring holds the lock as well, until its last write has ended, which
         * may be after our process did.  Refused: then the lock ends with the process.
         */
        (void)io_uring_register_files(&driver->ring, &options->lock_fd, 1);
    }
    driver->disk = disk;
    *ret_disk = (struct lp_disk){.ops = &disk->volume.ops, .self = disk};
    return LP_OK;
}

void
lp_uring_disk_drain(const struct lp_disk *disk)
{
    struct uring_disk *self = disk->self;
    struct io_uring *ring = &self->driver->ring;
    struct __kernel_timespec timeout = {.tv_sec = DRAIN_TIMEOUT_S};
    uring_disk_push(self);
    for (int tries = 0; self->volume.running > 0 && tries < DRAIN_TRIES;) {
        struct io_uring_cqe *cqe;
        const int result = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL);
        if (result < 0 && result != -ETIME && result != -EINTR) {
            return; /* not our thread's ring */
        }
        tries += result == -ETIME;
        /* Streams hear of nothing any more: what was theirs is dropped. */
        while (io_uring_peek_cqe(ring, &cqe) == 0) {
            const enum uring_kind kind = uring_tag_kind(cqe->user_data);
            if (kind == URING_KIND_DISK || kind == URING_KIND_DISK_SYNC) {
                uring_disk_completed(self->driver, cqe);
            }
            io_uring_cqe_seen(ring, cqe);
        }
    }
}

void
uring_disk_close(struct uring_driver *driver)
{
    struct uring_disk *disk = driver->disk;
    if (disk == NULL) {
        return;
    }
    const struct lp_disk contract = {.ops = &disk->volume.ops, .self = disk};
    lp_volume_closing(&disk->volume);
    lp_uring_disk_drain(&contract);
    driver->disk = NULL;
    lp_volume_close(&disk->volume);
    free(disk);
}
