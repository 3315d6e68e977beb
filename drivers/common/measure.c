/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/measure.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <lepus/disk.h>

#define PAGES      LP_MEASURE_WRITES_MAX
#define PAGE_BYTES LP_DISK_ALIGN_BYTES
#define SCRATCH    "measure"

/* One is chosen for being this much faster, in percent; else the usual one stays. */
#define MARGIN_PERCENT 10u

struct samples {
    uint32_t count;
    int error;
    uint64_t ns[LP_MEASURE_WRITES_MAX];
};

struct measuring {
    lp_measure_write write_page;
    void *context;
    void *page;
    int fd;
};

static uint64_t
now_ns(void)
{
    struct timespec now;
    const int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    LP_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A file without a name, so that nothing is left of it.  -1: see errno. */
static int
scratch_open(const char *folder, bool direct)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", folder, SCRATCH) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int fd = open(
        path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | (direct ? O_DIRECT : 0), 0600);
    const int error = errno;
    (void)unlink(
        path); /* of an O_DIRECT that was refused, too; what stays is truncated next time */
    errno = error;
    return fd;
}

/* Blocks that were written before: what a log's files have.  0, or an errno. */
static int
scratch_fill(const struct measuring *measuring)
{
    for (uint32_t i = 0; i < PAGES; i++) {
        const ssize_t done =
            pwrite(measuring->fd, measuring->page, PAGE_BYTES, (off_t)i * (off_t)PAGE_BYTES);
        if (done != (ssize_t)PAGE_BYTES) {
            return done < 0 ? errno : ENOSPC;
        }
    }
    return fdatasync(measuring->fd) == 0 ? 0 : errno;
}

static void
sample_take(const struct measuring *measuring, struct samples *samples, bool dsync)
{
    const uint64_t began = now_ns();
    if (samples->error != 0) {
        return;
    }
    samples->error = measuring->write_page(measuring->context, measuring->fd, measuring->page,
                                           (uint64_t)samples->count * PAGE_BYTES, dsync);
    if (samples->error == 0) {
        samples->ns[samples->count++] = now_ns() - began;
    }
}

static int
ns_compare(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static uint64_t
median(struct samples *samples)
{
    if (samples->count == 0) {
        return UINT64_MAX;
    }
    qsort(samples->ns, samples->count, sizeof(samples->ns[0]), ns_compare);
    return samples->ns[samples->count / 2];
}

/* By turns, so that whatever else the device does meanwhile is shared. */
static int
compare(const struct measuring *measuring, struct lp_measure *ret_measure)
{
    struct samples dsync = {0};
    struct samples sync = {0};
    const uint64_t end = now_ns() + LP_MEASURE_BUDGET_NS;
    for (uint32_t i = 0; i < LP_MEASURE_WRITES_MAX && (i == 0 || now_ns() < end); i++) {
        sample_take(measuring, &dsync, true);
        sample_take(measuring, &sync, false);
    }
    ret_measure->dsync_ns = median(&dsync);
    ret_measure->fdatasync_ns = median(&sync);
    ret_measure->writes = LP_MAX(dsync.count, sync.count);
    if (ret_measure->writes == 0) {
        return sync.error;
    }
    const uint64_t usual = ret_measure->dsync_ns;
    ret_measure->dsync =
        ret_measure->fdatasync_ns == UINT64_MAX ||
        (usual != UINT64_MAX && ret_measure->fdatasync_ns + usual / 100 * MARGIN_PERCENT >= usual);
    return 0;
}

static int
try(const char *folder, struct measuring *measuring, struct lp_measure *measure)
{
    measuring->fd = scratch_open(folder, measure->direct);
    if (measuring->fd < 0) {
        return errno;
    }
    int error = scratch_fill(measuring);
    if (error == ENOSPC || error == EDQUOT) {
        error = 0; /* a full device can still be read, and may have files to write into */
    } else if (error == 0) {
        error = compare(measuring, measure);
    }
    (void)close(measuring->fd); /* it has no name, so nothing of it matters */
    return error;
}

int
lp_measure_run(const char *folder, lp_measure_write write_page, void *context,
               struct lp_measure *ret_measure)
{
    struct measuring measuring = {.write_page = write_page, .context = context, .fd = -1};
    struct lp_measure measure = {
        .direct = true, .dsync = true, .dsync_ns = UINT64_MAX, .fdatasync_ns = UINT64_MAX};
    measuring.page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    if (measuring.page == NULL) {
        return ENOMEM;
    }
    memset(measuring.page, 0, PAGE_BYTES);
    int error = try(folder, &measuring, &measure);
    if (error == EINVAL || error == EOPNOTSUPP) {
        measure.direct = false;
        error = try(folder, &measuring, &measure);
    }
    free(measuring.page);
    if (error == 0) {
        *ret_measure = measure;
    }
    return error;
}
