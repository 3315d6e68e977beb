/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that is damaged is made to end before the damage: copies of what is cut
 * first, then a root of a new generation that begins there.  Nothing is written
 * into segments; a crash on the way leaves the log as it was, or as it is to be.
 */
#include "logtool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <drivers/common/folder.h>

#define COPY_BYTES (1024u * 1024u)

/* What is beyond the cut. */
struct loss {
    uint64_t from; /* LSN */
    uint32_t generation;
    uint64_t newest; /* LSN; 0: none is whole */
    uint64_t batches;
    uint64_t records;
};

static void
batch_seen(void *context, const struct logtool_batch *batch)
{
    struct loss *loss = context;
    loss->generation = LP_MAX(loss->generation, batch->header.generation);
    if (batch->header.lsn >= loss->from && batch->whole) {
        loss->newest = LP_MAX(loss->newest, batch->header.lsn);
        loss->batches++;
        loss->records += batch->header.records;
    }
}

static bool
complain(const char *what, const char *path)
{
    (void)fprintf(stderr, "lepus-log: cannot %s %s: %s\n", what, path, strerrordesc_np(errno));
    return false;
}

static bool
write_all(int fd, const uint8_t *data, size_t bytes, off_t offset)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t wrote = pwrite(fd, data + done, bytes - done, offset + (off_t)done);
        if (wrote < 0 && errno != EINTR) {
            return false;
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return true;
}

/* The first lost-N that is not there yet. */
static bool
lost_make(const struct logtool_folder *folder, char *ret_path)
{
    for (uint32_t n = 1; n < 1000; n++) {
        if (snprintf(ret_path, PATH_MAX, "%s/lost-%u", folder->path, n) >= PATH_MAX) {
            return false;
        }
        if (mkdir(ret_path, 0700) == 0) {
            return true;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return complain("create", ret_path);
}

static bool
file_copy(const struct logtool_folder *folder, const struct logtool_file *file, const char *to)
{
    char path[PATH_MAX];
    uint32_t unreadable;
    if (snprintf(path, sizeof(path), "%s/%s", to, file->name) >= PATH_MAX) {
        return false;
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint8_t *data = logtool_file_read(folder, file, &unreadable);
    bool good = fd >= 0;
    for (uint64_t at = 0; good && at < file->bytes; at += COPY_BYTES) {
        const uint64_t bytes =
            LP_MIN(file->bytes - file->bytes % LP_DISK_ALIGN_BYTES - at, (uint64_t)COPY_BYTES);
        good = write_all(fd, data + at, bytes, (off_t)at);
    }
    good = good && fsync(fd) == 0;
    if (fd >= 0) {
        good = close(fd) == 0 && good;
    }
    free(data);
    return good || complain("write", path);
}

/* The root, and all segments in which something is cut. */
static bool
lost_copy(const struct logtool_folder *folder, const struct lp_log_end *end, char *ret_path)
{
    if (!lost_make(folder, ret_path)) {
        return false;
    }
    for (uint32_t i = 0; i < folder->file_count; i++) {
        const struct logtool_file *file = &folder->files[i];
        if ((file->number == LOG_ROOT_FILE || file->number >= end->segment) &&
            !file_copy(folder, file, ret_path)) {
            return false;
        }
    }
    return (lp_folder_sync(ret_path) && lp_folder_sync(folder->path)) || complain("sync", ret_path);
}

static bool
root_put(const struct logtool_folder *folder, const uint8_t *slot, uint64_t offset)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", folder->path, folder->files[0].name) >= PATH_MAX) {
        return false;
    }
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool good = fd >= 0 && write_all(fd, slot, LOG_ROOT_SLOT_BYTES, (off_t)offset) &&
                      fsync(fd) == 0 && close(fd) == 0;
    return good || complain("write", path);
}

static void
loss_print(const struct lp_log_end *end, const struct loss *loss, const char *lost)
{
    (void)printf("  cut at segment %u, offset %" PRIu64 ": batch %" PRIu64 " and all behind it are "
                 "given up\n",
                 end->segment, end->offset, end->lsn);
    if (loss->newest > 0) {
        (void)printf("  lost: batches up to %" PRIu64 " at least; %" PRIu64 " of them were whole, "
                     "with %" PRIu64 " records\n",
                     loss->newest, loss->batches, loss->records);
    }
    (void)printf("  copies of what was cut: %s (delete them when you do not need them)\n", lost);
}

static int
cut(const struct logtool_folder *folder, const struct logtool_recovery *recovery)
{
    const struct lp_log_fault *fault = lp_log_fault(recovery->log);
    struct loss loss = {.from = recovery->end.lsn};
    char lost[PATH_MAX];
    uint8_t slot[LOG_ROOT_SLOT_BYTES];
    uint64_t offset;
    for (uint32_t i = 0; i < folder->file_count; i++) {
        if (folder->files[i].number != LOG_ROOT_FILE) {
            logtool_scan(folder, &folder->files[i], batch_seen, &loss);
        }
    }
    (void)printf("  %s in segment %u, offset %" PRIu64 ": %s\n",
                 recovery->cut.segment != 0 ? "to be cut" : "damage", fault->segment, fault->offset,
                 fault->what);
    if (!lp_log_cut(recovery->log, loss.generation, slot, &offset)) {
        (void)fprintf(stderr,
                      "lepus-log: %s cannot be repaired: there is no root to go by; restore "
                      "the folder from a copy\n",
                      folder->path);
        return LOGTOOL_DAMAGED;
    }
    if (!lost_copy(folder, &recovery->end, lost) || !root_put(folder, slot, offset)) {
        return LOGTOOL_FAILED;
    }
    loss_print(&recovery->end, &loss, lost);
    return 0;
}

int
logtool_repair(const struct logtool_folder *folder, const struct logtool_options *options)
{
    (void)printf("%s\n", folder->path);
    if (!folder->root_whole) {
        (void)fprintf(stderr,
                      "lepus-log: %s cannot be repaired: there is no root to go by; restore "
                      "the folder from a copy\n",
                      folder->path);
        return folder->file_count == 0 ? 0 : LOGTOOL_DAMAGED;
    }
    struct logtool_recovery recovery;
    int status = LOGTOOL_FAILED;
    if (logtool_recover(&recovery, folder, options->cut)) {
        status = 0;
        if (lp_log_state(recovery.log) == LP_LOG_DAMAGED) {
            status = cut(folder, &recovery);
        } else {
            (void)printf("  recovery finds no damage: nothing was changed\n");
        }
    }
    logtool_recovery_end(&recovery);
    return status;
}
