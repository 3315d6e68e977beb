/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The names beside the last one of `path` are on disk. */
static bool
parent_sync(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t bytes = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(parent, slash == NULL ? "." : path, bytes);
    parent[bytes] = '\0';
    return launcher_folder_sync(parent);
}

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
        if (mkdir(part, 0700) != 0) {
            if (errno != EEXIST) {
                return false;
            }
            continue;
        }
        /* What is kept in it is kept only if its name is. */
        if (!parent_sync(part)) {
            return false;
        }
    }
    return true;
}

/* It is a folder, and ours: whoever else owns it could not use what we make in it. */
static bool
folder_usable(const char *path, char *ret_why, size_t why_bytes)
{
    struct stat info;
    const bool there = folder_make(path) && stat(path, &info) == 0;
    if (!there || !S_ISDIR(info.st_mode)) {
        (void)snprintf(ret_why, why_bytes,
                       "cannot use the data directory %s: %s; choose another with --data DIR", path,
                       strerrordesc_np(there ? ENOTDIR : errno));
        return false;
    }
    if (info.st_uid != geteuid()) {
        (void)snprintf(ret_why, why_bytes,
                       "the data directory %s belongs to another user (%u; this is %u): start "
                       "lepus as that one, or choose another with --data DIR",
                       path, (unsigned)info.st_uid, (unsigned)geteuid());
        return false;
    }
    return true;
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

    if (!folder_usable(path, ret_why, why_bytes)) {
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
