/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <lepus/atomic.h>

#include <drivers/common/socket.h>
#include <drivers/common/thread.h>

LP_STATIC_ASSERT(sizeof(struct file_job) <= sizeof(struct lp_record), "a job is a record");

/* --- Reading and writing. -------------------------------------------------------------------- */

int
file_write(int fd, const void *data, uint32_t bytes, uint64_t offset, bool dsync)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    ssize_t done;
    do {
        done = dsync ? pwritev2(fd, &piece, 1, (off_t)offset, RWF_DSYNC)
                     : pwrite(fd, data, bytes, (off_t)offset);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        return errno;
    }
    if (done != (ssize_t)bytes) {
        return ENOSPC; /* a short write is a failed one */
    }
    return dsync || fdatasync(fd) == 0 ? 0 : errno;
}

static int
file_read(const struct file_job *job)
{
    ssize_t done;
    do {
        done = pread(job->fd, job->data, job->bytes, (off_t)job->offset);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        return errno;
    }
    return done == (ssize_t)job->bytes ? 0 : EIO;
}

/* --- The thread. ----------------------------------------------------------------------------- */

static void
job_do(struct file_worker *worker, const struct lp_record *record)
{
    struct file_job job;
    memcpy(&job, record, sizeof(job));
    lp_ring_give_back(worker->jobs);
    job.error = job.write ? file_write(job.fd, job.data, job.bytes, job.offset, job.dsync)
                          : file_read(&job);
    struct lp_record *answer = lp_ring_slot(worker->done);
    LP_ASSERT(answer != NULL); /* there are no more jobs than the ring holds */
    memcpy(answer, &job, sizeof(job));
    (void)lp_ring_publish(worker->done);
    lp_socket_wake_any(worker->owner_wake_fd);
}

static void *
worker_run(void *argument)
{
    struct file_worker *worker = argument;
    (void)pthread_setname_np(pthread_self(), "disk-worker"); /* fails only for longer names */
    /* W1, pairs with W2. */
    while (!lp_load_acquire(&worker->stop)) {
        const struct lp_record *record = lp_ring_take(worker->jobs);
        if (record != NULL) {
            job_do(worker, record);
        } else {
            lp_socket_wake_drain(worker->wake_fd); /* blocks */
        }
    }
    return NULL;
}

/* --- The owner's side. ----------------------------------------------------------------------- */

enum lp_err
file_worker_open_boot(struct file_worker *worker, int owner_wake_fd)
{
    const size_t bytes = lp_ring_bytes(LP_DISK_OPS_MAX);
    LP_ASSERT(bytes % LP_PAIR_BYTES == 0);
    *worker = (struct file_worker){.owner_wake_fd = owner_wake_fd, .wake_fd = -1};
    worker->memory = aligned_alloc(LP_PAIR_BYTES, 2 * bytes);
    if (worker->memory == NULL ||
        lp_ring_init_boot(worker->memory, bytes, LP_DISK_OPS_MAX, &worker->jobs) != LP_OK ||
        lp_ring_init_boot((uint8_t *)worker->memory + bytes, bytes, LP_DISK_OPS_MAX,
                          &worker->done) != LP_OK) {
        return LP_ERR_NO_MEMORY;
    }
    worker->wake_fd = eventfd(0, EFD_CLOEXEC); /* of the blocking kind */
    if (worker->wake_fd < 0) {
        return LP_ERR_IO;
    }
    worker->started = lp_thread_start_boot(&worker->thread, worker_run, worker);
    return worker->started ? LP_OK : LP_ERR_NO_MEMORY;
}

void
file_worker_close(struct file_worker *worker)
{
    if (worker->started) {
        /* W2, pairs with W1. */
        lp_store_release(&worker->stop, true);
        lp_socket_wake_any(worker->wake_fd);
        (void)pthread_join(worker->thread, NULL); /* fails only for a thread that is not ours */
    }
    if (worker->wake_fd >= 0) {
        (void)close(worker->wake_fd);
    }
    free(worker->memory);
}

void
file_worker_give(struct file_worker *worker, const struct file_job *job)
{
    struct lp_record *record = lp_ring_slot(worker->jobs);
    LP_ASSERT(record != NULL); /* LP_DISK_OPS_MAX of them */
    memcpy(record, job, sizeof(*job));
    (void)lp_ring_publish(worker->jobs);
    worker->jobs_out++;
    worker->called = true;
}

void
file_worker_call(struct file_worker *worker)
{
    if (worker->called) {
        worker->called = false;
        lp_socket_wake_any(worker->wake_fd);
    }
}

bool
file_worker_answer(struct file_worker *worker, struct file_job *ret_job)
{
    const struct lp_record *record = worker->jobs_out > 0 ? lp_ring_take(worker->done) : NULL;
    if (record == NULL) {
        return false;
    }
    memcpy(ret_job, record, sizeof(*ret_job));
    lp_ring_give_back(worker->done);
    worker->jobs_out--;
    return true;
}
