/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* mkdir -p; what is made is for this user alone, since it will hold password hashes. */
static bool
folder_make(const char *path)
{
    char part[PATH_MAX];
    const size_t bytes = strlen(path);

    for (size_t i = 1; i <= bytes && i < sizeof(part); i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) {
            return false;
        }
    }
    struct stat stat_now;
    if (stat(path, &stat_now) != 0) {
        return false;
    }
    errno = ENOTDIR;
    return S_ISDIR(stat_now.st_mode);
}

static void
taken_print(int fd, const char *path, char *ret_why, size_t why_bytes)
{
    char pid[32] = "";
    const ssize_t bytes = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[bytes > 0 ? bytes : 0] = '\0';
    (void)snprintf(ret_why, why_bytes,
                   "%s is in use by another lepus (process %d); stop that one with 'lepusctl "
                   "--data %s stop', or choose another --data DIR",
                   path, atoi(pid), path);
}

int
launcher_data_lock(const char *path, char *ret_why, size_t why_bytes)
{
    char file[PATH_MAX];
    char pid[32];

    if (!folder_make(path)) {
        (void)snprintf(ret_why, why_bytes,
                       "cannot use the data directory %s: %s; choose another with --data DIR", path,
                       strerrordesc_np(errno));
        return -1;
    }
    if (snprintf(file, sizeof(file), "%s/lepus.pid", path) >= (int)sizeof(file)) {
        (void)snprintf(ret_why, why_bytes, "the path of the data directory is too long");
        return -1;
    }
    const int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)snprintf(ret_why, why_bytes, "cannot write %s: %s; choose another --data DIR", file,
                       strerrordesc_np(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        taken_print(fd, path, ret_why, why_bytes);
        (void)close(fd);
        return -1;
    }
    const int bytes = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)bytes, 0) != bytes) {
        (void)snprintf(ret_why, why_bytes, "cannot write %s: %s", file, strerrordesc_np(errno));
        (void)close(fd);
        return -1;
    }
    return fd; /* held, and with it the lock, until the process ends */
}
