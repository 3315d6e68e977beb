/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of the logs:
 *
 *   DIR/log/lock       held as long as anybody, or the kernel for a process that died, may write
 *   DIR/log/shard-N/   one shard's: drivers/common/segments.h
 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <drivers/common/folder.h>
#include <drivers/common/measure.h>
#include <drivers/file/file.h>
#include <drivers/uring/uring.h>

#define LOCK_LOOK_MS 5

/* What is left for a path that fits the others. */
#define FOLDER_BYTES (PATH_MAX - 64)

static bool __attribute__((format(printf, 2, 3))) complain(char *ret_why, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    (void)vsnprintf(ret_why, HOST_WHY_BYTES, format, list); /* a cut sentence is still one */
    va_end(list);
    return false;
}

static void
shard_folder(const struct host *host, uint32_t shard, char *ret_path)
{
    (void)snprintf(ret_path, PATH_MAX, "%s/log/shard-%u", host->options.data, shard);
}

/* --- Folders. -------------------------------------------------------------------------------- */

static bool
folder_make(const char *path, char *ret_why)
{
    struct stat status;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return complain(ret_why, "cannot create %s: %s; choose another --data DIR", path,
                        strerrordesc_np(errno));
    }
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        return complain(ret_why, "%s is no folder; move it away, or choose another --data DIR",
                        path);
    }
    return true;
}

static bool
folders_make(const struct host *host, char *ret_why)
{
    char path[PATH_MAX];
    const char *data = host->options.data;
    if (data[0] != '/' || strlen(data) > FOLDER_BYTES) {
        return complain(ret_why, "the data folder must have an absolute path of at most %d bytes",
                        FOLDER_BYTES);
    }
    (void)snprintf(path, sizeof(path), "%s/log", data);
    if (!folder_make(path, ret_why)) {
        return false;
    }
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        shard_folder(host, i, path);
        if (!folder_make(path, ret_why)) {
            return false;
        }
    }
    (void)snprintf(path, sizeof(path), "%s/log", data);
    if (!lp_folder_sync(path) || !lp_folder_sync(data)) {
        return complain(ret_why, "cannot sync %s: %s; choose another --data DIR", path,
                        strerrordesc_np(errno));
    }
    return true;
}

/* The number of shards that have files here, up to the last one. */
static uint32_t
logs_count(const struct host *host)
{
    for (uint32_t i = LP_SHARDS_MAX; i > 0; i--) {
        char path[PATH_MAX];
        struct stat status;
        (void)snprintf(path, sizeof(path), "%s/log/shard-%u/root.log", host->options.data, i - 1);
        if (stat(path, &status) == 0) {
            return i;
        }
    }
    return 0;
}

static bool
logs_check(const struct host *host, char *ret_why)
{
    const uint32_t logs = logs_count(host);
    const uint32_t shards = host->options.shard.count;
    if (logs <= shards) {
        return true;
    }
    return complain(ret_why,
                    "%s holds the logs of %u shards, lepus.shards is %u: set it to %u, as the "
                    "messages of the others would not be there",
                    host->options.data, logs, shards, logs);
}

static bool
lock_take(struct host *host, char *ret_why)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/log/lock", host->options.data);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return complain(ret_why, "cannot create %s: %s; choose another --data DIR", path,
                        strerrordesc_np(errno));
    }
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += LOCK_LOOK_MS) {
        const int error = errno;
        if (error != EINTR && (error != EWOULDBLOCK || waited_ms >= host->disk_lock_wait_ms)) {
            (void)close(fd); /* nothing was written to it */
            return complain(ret_why,
                            "%s is locked (%s): another data plane writes to this folder, or a "
                            "disk does not answer to one that died; stop that one, or choose "
                            "another --data DIR",
                            path, strerrordesc_np(error));
        }
        (void)poll(NULL, 0, LOCK_LOOK_MS); /* only time passes */
    }
    host->disk_lock_fd = fd;
    return true;
}

/* --- The device. ----------------------------------------------------------------------------- */

static bool
measure(const struct host *host, struct lp_measure *ret_measure, char *ret_why)
{
    char path[PATH_MAX];
    struct lp_uring_meter *meter = host->uring ? lp_uring_meter_open_boot() : NULL;
    if (host->uring && meter == NULL) {
        return complain(ret_why, "no io_uring to measure the disk with; try lepus.transport=epoll");
    }
    shard_folder(host, 0, path);
    const int error = lp_measure_run(
        path, meter != NULL ? lp_uring_meter_write : lp_file_meter_write, meter, ret_measure);
    lp_uring_meter_close(&meter);
    if (error != 0) {
        return complain(ret_why, "cannot write in %s: %s; choose another --data DIR", path,
                        strerrordesc_np(error));
    }
    return true;
}

static void
median_print(uint64_t ns, char *ret_text, size_t bytes)
{
    if (ns == UINT64_MAX) {
        (void)snprintf(ret_text, bytes, "refused");
    } else {
        (void)snprintf(ret_text, bytes, "%llu us", (unsigned long long)(ns / 1000));
    }
}

/* One line for the operator: what is used, and the figures that it follows from. */
static void
choice_print(const struct host *host, const struct lp_measure *measure)
{
    char dsync[48] = "";
    char sync[48] = "";
    median_print(measure->dsync_ns, dsync, sizeof(dsync));
    median_print(measure->fdatasync_ns, sync, sizeof(sync));
    if (measure->writes == 0) {
        (void)snprintf(dsync, sizeof(dsync), "not measured, as there is no room");
        (void)snprintf(sync, sizeof(sync), "neither");
    }
    (void)fprintf(stderr,
                  "lepus-dataplane: log: %s/log over %s%s; 4 KiB on disk by dsync: %s, by "
                  "fdatasync: %s (median of %u)\n",
                  host->options.data, host->shard[0].disk.ops->name,
                  measure->direct ? "" : " (direct is refused here)", dsync, sync, measure->writes);
}

static bool
disk_open(struct host *host, uint32_t shard, const struct lp_measure *measure, char *ret_why)
{
    char path[PATH_MAX];
    struct host_shard *self = &host->shard[shard];
    shard_folder(host, shard, path);
    const struct lp_volume_options options = {.path = path,
                                              .keeper = host->keeper,
                                              .direct = measure->direct,
                                              .dsync = measure->dsync,
                                              .lock_fd = host->disk_lock_fd,
                                              .wake_fd = host->options.shard_wake_fd[shard]};
    errno = 0;
    const enum lp_err err = host->uring
                                ? lp_uring_disk_open_boot(&self->kernel, &options, &self->disk)
                                : lp_file_disk_open_boot(&options, &self->disk);
    if (err == LP_OK) {
        return true;
    }
    return complain(ret_why,
                    "cannot open the log's folder %s: %s; mend it, or choose another "
                    "--data DIR",
                    path, errno != 0 ? strerrordesc_np(errno) : lp_err_text(err));
}

static bool
disks_open(struct host *host, char *ret_why)
{
    struct lp_measure measured = {0};
    if (!folders_make(host, ret_why) || !lock_take(host, ret_why) || !logs_check(host, ret_why) ||
        !measure(host, &measured, ret_why)) {
        return false;
    }
    if (lp_keeper_open_boot(&host->keeper) != LP_OK) {
        return complain(ret_why, "cannot start the thread that makes the log's files");
    }
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        if (!disk_open(host, i, &measured, ret_why)) {
            return false;
        }
    }
    choice_print(host, &measured);
    return true;
}

bool
host_disks_open(struct host *host, char *ret_why)
{
    host->disk_lock_fd = -1;
    if (host->options.data == NULL) {
        return true;
    }
    if (!disks_open(host, ret_why)) {
        host_disks_close(host);
        return false;
    }
    return true;
}

bool
host_disk_busy(const struct host_shard *self)
{
    return self->disk.ops != NULL && lp_volume_busy(self->disk.self);
}

void
host_disk_drain(const struct host_shard *self)
{
    if (self->disk.ops != NULL && self->host->uring) {
        lp_uring_disk_drain(&self->disk);
    }
}

void
host_disks_close(struct host *host)
{
    lp_keeper_close(&host->keeper);
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        struct lp_disk *disk = &host->shard[i].disk;
        if (disk->ops != NULL && !host->uring) {
            lp_file_disk_close(disk);
        }
        *disk = (struct lp_disk){0}; /* that of io_uring goes with its transport */
    }
    if (host->disk_lock_fd >= 0) {
        (void)close(host->disk_lock_fd); /* the lock is all there was */
        host->disk_lock_fd = -1;
    }
}
