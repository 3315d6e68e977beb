/* SPDX-License-Identifier: Apache-2.0 */
/* One durable write at a time, the way disk.c does it, for the measurement at start. */
#include "uring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include <lepus/disk.h>

#include "compat.h"
#include "ring.h"

#define METER_ENTRIES 8u

struct lp_uring_meter {
    struct io_uring ring;
};

struct lp_uring_meter *
lp_uring_meter_open_boot(void)
{
    int error;
    struct lp_uring_meter *meter = calloc(1, sizeof(*meter));
    if (meter == NULL) {
        return NULL;
    }
    if (uring_ring_init_boot(&meter->ring, METER_ENTRIES, &error) != LP_OK) {
        free(meter);
        return NULL;
    }
    if (uring_enable(&meter->ring) != 0) {
        lp_uring_meter_close(&meter);
        return NULL;
    }
    return meter;
}

void
lp_uring_meter_close(struct lp_uring_meter **meter)
{
    if (*meter != NULL) {
        io_uring_queue_exit(&(*meter)->ring);
        free(*meter);
        *meter = NULL;
    }
}

int
lp_uring_meter_write(void *context, int fd, const void *page, uint64_t offset, bool dsync)
{
    struct lp_uring_meter *meter = context;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&meter->ring);
    const unsigned parts = dsync ? 1 : 2;
    LP_ASSERT(sqe != NULL); /* one write at a time */
    io_uring_prep_write(sqe, fd, page, LP_DISK_ALIGN_BYTES, offset);
    if (dsync) {
        sqe->rw_flags = RWF_DSYNC;
    } else {
        sqe->flags |= IOSQE_IO_LINK;
        sqe = io_uring_get_sqe(&meter->ring);
        LP_ASSERT(sqe != NULL);
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    }
    int error = 0;
    bool whole = false;
    for (unsigned i = 0; i < parts; i++) {
        struct io_uring_cqe *cqe;
        int result;
        do {
            result = io_uring_submit_and_wait_timeout(&meter->ring, &cqe, 1, NULL, NULL);
        } while (result == -EINTR);
        if (result < 0 || io_uring_peek_cqe(&meter->ring, &cqe) != 0) {
            return EIO;
        }
        if (cqe->res < 0 && error == 0) {
            error = -cqe->res;
        }
        whole |= cqe->res == (int)LP_DISK_ALIGN_BYTES;
        io_uring_cqe_seen(&meter->ring, cqe);
    }
    return error != 0 || whole ? error : ENOSPC;
}
