/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_settle.c - makes what an earlier process left in a database's log as
 * durable as it looks.
 *
 * It may have been killed between a write and its sync: the next process reads
 * from the kernel's memory what is not on the disk, and would answer for it
 * without a write of its own.  And after a sync that failed the kernel takes for
 * clean what it could not write, so another sync says nothing.  Hence the log is
 * written again as it is, and synced.  The file beside it needs nothing: what is
 * copied there stays in the log until it was synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/base/heap.h"
#include "control/topology/store_settle.h"

#define PIECE_BYTES (1u << 20)

static bool
write_again(int fd)
{
    uint8_t *piece = lp_heap_alloc(PIECE_BYTES);
    off_t at = 0;
    ssize_t bytes;
    bool good = true;
    while (good && (bytes = pread(fd, piece, PIECE_BYTES, at)) > 0) {
        good = pwrite(fd, piece, (size_t)bytes, at) == bytes;
        at += bytes;
    }
    free(piece);
    return good && bytes == 0;
}

static bool
folder_settle(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    const bool good = fsync(fd) == 0 || errno == EINVAL; /* a file system without such a thing */
    return close(fd) == 0 && good;
}

bool
store_settle(const char *folder, const char *log)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, log); /* cut: opening fails */
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT;
    }
    const bool good = write_again(fd) && fsync(fd) == 0;
    return close(fd) == 0 && good && folder_settle(folder);
}
