/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h - a thread that reads and writes for a disk: jobs come through one
 * ring, and go back through another.
 *
 *   Memory    one allocation at boot
 *   Runs on   the disk's owner; worker.c has the thread
 *   Limits    LP_DISK_OPS_MAX jobs
 */
#pragma once

#include <pthread.h>

#include <lepus/disk.h>

#include "dataplane/base/ring.h"

struct file_job {
    lp_handle handle;
    void *data;
    uint64_t offset;
    uint32_t bytes;
    int fd;
    bool write;
    bool dsync;
    int error; /* of the answer: an errno, or 0 */
};

struct file_worker {
    pthread_t thread;
    struct lp_ring *jobs;
    struct lp_ring *done;
    void *memory; /* of both */
    int wake_fd;  /* ours */
    int owner_wake_fd;
    bool stop;
    bool started;
    uint32_t jobs_out; /* the owner's: those without an answer */
    bool called;       /* the owner's: there is a job that it has not been woken for */
};

/* LP_ERR_NO_MEMORY, LP_ERR_IO; file_worker_close() in either case. */
LP_MUST_CHECK enum lp_err file_worker_open_boot(struct file_worker *worker, int owner_wake_fd);
void file_worker_close(struct file_worker *worker);

void file_worker_give(struct file_worker *worker, const struct file_job *job);
/* Wake it, if it was given something. */
void file_worker_call(struct file_worker *worker);
/* False: there is no answer now. */
LP_MUST_CHECK bool file_worker_answer(struct file_worker *worker, struct file_job *ret_job);

/* The whole of it, durably; 0, or an errno. */
int file_write(int fd, const void *data, uint32_t bytes, uint64_t offset, bool dsync);
