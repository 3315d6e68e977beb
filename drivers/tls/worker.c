/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - threads in which handshakes run, so that the signatures of a
 * thousand newcomers delay nobody's messages.  A shard's wrapper has a channel
 * to one of them: a ring of jobs and a ring of what came of them.
 *
 * A worker is less urgent than a shard that shares its processor, and takes a
 * job of each channel in turn.
 */
#include "tls_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <lepus/atomic.h>

#include <drivers/common/socket.h>
#include <drivers/common/thread.h>

#define WORKER_NICE 5

LP_STATIC_ASSERT(sizeof(struct tls_job) <= sizeof(struct lp_record), "a job is a record");

/* --- The thread. ----------------------------------------------------------------------------- */

static void
job_do(struct tls_worker *worker, struct tls_channel *channel, const struct tls_job *job)
{
    if (job->kind == TLS_JOB_REPORT) {
        tls_report(worker->tls, job->hello);
        struct tls_hello *hello = job->hello;
        tls_hello_free(&hello);
        return;
    }
    tls_step(worker->tls, job->stream);
    struct lp_record *answer = lp_ring_slot(channel->done);
    LP_ASSERT(answer != NULL); /* there are no more jobs than the ring holds */
    memcpy(answer, job, sizeof(*job));
    (void)lp_ring_publish(channel->done);
    channel->inner.ops->wake_any(channel->inner.self);
}

/* One of each channel's; true: there were. */
static bool
jobs_do(struct tls_worker *worker)
{
    bool any = false;
    /* T1, pairs with T2: a channel is whole before it is counted. */
    const uint32_t count = lp_load_acquire(&worker->channel_count);
    for (uint32_t i = 0; i < count; i++) {
        struct tls_channel *channel = worker->channel[i];
        const struct lp_record *record = lp_ring_take(channel->jobs);
        struct tls_job job;
        if (record == NULL) {
            continue;
        }
        memcpy(&job, record, sizeof(job));
        lp_ring_give_back(channel->jobs);
        job_do(worker, channel, &job);
        any = true;
    }
    return any;
}

static void *
worker_run(void *argument)
{
    struct tls_worker *worker = argument;
    (void)pthread_setname_np(pthread_self(), "tls"); /* fails only for longer names */
    /* Of this thread alone, as Linux has it; without it handshakes are as urgent as messages. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), WORKER_NICE);
    /* T3, pairs with T4. */
    while (!lp_load_acquire(&worker->stop)) {
        if (!jobs_do(worker)) {
            lp_socket_wake_drain(worker->wake_fd); /* blocks */
        }
    }
    return NULL;
}

/* --- Starting and stopping. ------------------------------------------------------------------ */

enum lp_err
tls_workers_start_boot(struct lp_tls *tls)
{
    for (uint32_t i = 0; i < tls->settings.workers; i++) {
        struct tls_worker *worker = &tls->worker[i];
        worker->tls = tls;
        worker->wake_fd = eventfd(0, EFD_CLOEXEC); /* of the blocking kind */
        if (worker->wake_fd < 0) {
            return LP_ERR_IO;
        }
        tls->worker_count++;
        worker->started = lp_thread_start_boot(&worker->thread, worker_run, worker);
        if (!worker->started) {
            return LP_ERR_NO_MEMORY;
        }
    }
    return LP_OK;
}

void
tls_workers_stop(struct lp_tls *tls)
{
    for (uint32_t i = 0; i < tls->worker_count; i++) {
        struct tls_worker *worker = &tls->worker[i];
        if (worker->started) {
            /* T4, pairs with T3. */
            lp_store_release(&worker->stop, true);
            lp_socket_wake_any(worker->wake_fd);
            (void)pthread_join(worker->thread, NULL); /* fails only for a thread that is not ours */
            worker->started = false;
        }
        if (worker->wake_fd >= 0) {
            (void)close(worker->wake_fd);
            worker->wake_fd = -1;
        }
    }
}

/* --- The shard's side. ----------------------------------------------------------------------- */

static bool
rings_make(struct tls_channel *channel)
{
    /* Reports have no answer and their own room beside the jobs'. */
    const size_t bytes = lp_ring_bytes(2 * TLS_JOBS_MAX);
    LP_ASSERT(bytes % LP_PAIR_BYTES == 0);
    channel->memory = aligned_alloc(LP_PAIR_BYTES, 2 * bytes);
    return channel->memory != NULL &&
           lp_ring_init_boot(channel->memory, bytes, 2 * TLS_JOBS_MAX, &channel->jobs) == LP_OK &&
           lp_ring_init_boot((uint8_t *)channel->memory + bytes, bytes, 2 * TLS_JOBS_MAX,
                             &channel->done) == LP_OK;
}

enum lp_err
tls_channel_open_boot(struct tls_driver *driver)
{
    struct lp_tls *tls = driver->tls;
    if (tls->worker_count == 0) {
        return LP_OK;
    }
    struct tls_worker *worker = &tls->worker[tls->driver_count++ % tls->worker_count];
    struct tls_channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL || worker->channel_count == TLS_CHANNELS_MAX) {
        free(channel);
        return LP_ERR_NO_MEMORY;
    }
    driver->channel = channel;
    channel->inner = driver->inner;
    if (!rings_make(channel)) {
        return LP_ERR_NO_MEMORY;
    }
    driver->worker = worker;
    worker->channel[worker->channel_count] = channel;
    /* T2, pairs with T1. */
    lp_store_release(&worker->channel_count, worker->channel_count + 1);
    return LP_OK;
}

void
tls_channel_close(struct tls_driver *driver)
{
    struct tls_channel *channel = driver->channel;
    if (channel == NULL) {
        return;
    }
    LP_ASSERT(driver->worker == NULL || !driver->worker->started);
    const struct lp_record *record;
    while (channel->jobs != NULL && (record = lp_ring_take(channel->jobs)) != NULL) {
        struct tls_job job;
        memcpy(&job, record, sizeof(job));
        if (job.kind == TLS_JOB_REPORT) {
            tls_hello_free(&job.hello);
        }
    }
    free(channel->memory);
    free(channel);
    driver->channel = NULL;
}

bool
tls_channel_give(struct tls_driver *driver, const struct tls_job *job)
{
    struct tls_channel *channel = driver->channel;
    const bool answered = job->kind == TLS_JOB_STEP;
    if (answered && channel->jobs_out == TLS_JOBS_MAX) {
        return false;
    }
    struct lp_record *record = lp_ring_slot(channel->jobs);
    if (record == NULL) {
        return false;
    }
    memcpy(record, job, sizeof(*job));
    (void)lp_ring_publish(channel->jobs);
    channel->jobs_out += answered;
    channel->called = true;
    return true;
}

void
tls_channel_call(struct tls_driver *driver)
{
    if (driver->channel != NULL && driver->channel->called) {
        driver->channel->called = false;
        lp_socket_wake_any(driver->worker->wake_fd);
    }
}

bool
tls_channel_answer(struct tls_driver *driver, struct tls_job *ret_job)
{
    struct tls_channel *channel = driver->channel;
    const struct lp_record *record =
        channel != NULL && channel->jobs_out > 0 ? lp_ring_take(channel->done) : NULL;
    if (record == NULL) {
        return false;
    }
    memcpy(ret_job, record, sizeof(*ret_job));
    lp_ring_give_back(channel->done);
    channel->jobs_out--;
    return true;
}
