/* SPDX-License-Identifier: Apache-2.0 */
#include "logtool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <drivers/common/segments.h>

#define READ_BYTES (1024u * 1024u)
/* As long as lepus-dataplane waits for the same lock. */
#define LOCK_WAIT_MS 5000
#define LOCK_LOOK_MS 5

static int
path_print(char *to, const char *folder, const char *name)
{
    return snprintf(to, PATH_MAX, "%s/%s", folder, name);
}

/* --- which folders --------------------------------------------------------- */

static bool
is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    return path_print(path, folder, name) < PATH_MAX && stat(path, &status) == 0;
}

static const struct dirent *
next_of(DIR *folder)
{
    return readdir(folder); /* NOLINT(concurrency-mt-unsafe): there is one thread */
}

/* Has it files of a log itself? */
static bool
has_log(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    const struct dirent *entry;
    while (folder && !found && (entry = next_of(folder)) != NULL) {
        uint32_t number;
        found = lp_segments_name_parse(entry->d_name, &number);
    }
    if (folder) {
        (void)closedir(folder); /* it was only read */
    }
    return found;
}

uint32_t
logtool_folders_find(const char *path, char (*ret_paths)[PATH_MAX], uint32_t max)
{
    if (has_log(path) && snprintf(ret_paths[0], PATH_MAX, "%s", path) < PATH_MAX) {
        return 1;
    }
    uint32_t count = 0;
    for (uint32_t shard = 0; shard < max; shard++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "log/shard-%u", shard);
        if (is_there(path, name) && path_print(ret_paths[count], path, name) < PATH_MAX) {
            count++;
        }
    }
    if (count == 0) {
        (void)fprintf(stderr,
                      "lepus-log: %s is neither a data directory with logs in it (log/shard-0) nor "
                      "the folder of a shard's log; 'lepus log --help' has examples\n",
                      path);
    }
    return count;
}

/* --- files ----------------------------------------------------------------- */

static int
by_number(const void *a, const void *b)
{
    const uint32_t one = ((const struct logtool_file *)a)->number;
    const uint32_t other = ((const struct logtool_file *)b)->number;
    return one < other ? -1 : one > other;
}

static bool
file_add(struct logtool_folder *folder, const char *name)
{
    struct logtool_file file = {0};
    struct stat status;
    char path[PATH_MAX];
    if (!lp_segments_name_parse(name, &file.number) || strlen(name) >= sizeof(file.name)) {
        return true; /* none of a log's */
    }
    if (path_print(path, folder->path, name) >= PATH_MAX || stat(path, &status) != 0) {
        return false;
    }
    file.bytes = (uint64_t)status.st_size;
    memcpy(file.name, name, strlen(name) + 1);
    struct logtool_file *files =
        realloc(folder->files, (folder->file_count + 1) * sizeof(*folder->files));
    if (!files) {
        errno = ENOMEM;
        return false;
    }
    folder->files = files;
    folder->files[folder->file_count++] = file;
    return true;
}

/* Both slots, if there are such; the later one counts. */
static void
root_read(struct logtool_folder *folder)
{
    if (folder->file_count == 0 || folder->files[0].number != LOG_ROOT_FILE ||
        folder->files[0].bytes < LOG_ROOT_BYTES) {
        return;
    }
    uint32_t unreadable;
    uint8_t *data = logtool_file_read(folder, &folder->files[0], &unreadable);
    for (uint32_t slot = 0; data && slot < 2; slot++) {
        struct log_root root;
        struct lp_reader shard = lp_reader_of(data + slot * LOG_ROOT_SLOT_BYTES + 12, 4);
        const struct lp_bytes bytes =
            lp_bytes_of(data + slot * LOG_ROOT_SLOT_BYTES, LOG_ROOT_SLOT_BYTES);
        if (log_root_parse(bytes, slot, lp_reader_u32le(&shard), &root) &&
            (!folder->root_whole || root.number > folder->root.number)) {
            folder->root = root;
            folder->root_whole = true;
        }
    }
    free(data);
}

bool
logtool_folder_open(struct logtool_folder *folder, const char *path)
{
    memset(folder, 0, sizeof(*folder));
    (void)snprintf(folder->path, sizeof(folder->path), "%s", path);
    DIR *names = opendir(path);
    bool good = names != NULL;
    const struct dirent *entry;
    while (good && (entry = next_of(names)) != NULL) {
        good = file_add(folder, entry->d_name);
    }
    if (!good) {
        (void)fprintf(stderr, "lepus-log: cannot read %s: %s\n", path, strerrordesc_np(errno));
    }
    if (names) {
        (void)closedir(names); /* it was only read */
    }
    if (folder->file_count > 0) {
        qsort(folder->files, folder->file_count, sizeof(*folder->files), by_number);
    }
    root_read(folder);
    return good;
}

void
logtool_folder_close(struct logtool_folder *folder)
{
    free(folder->files);
    memset(folder, 0, sizeof(*folder));
}

/* All of it, or else zeros. */
static bool
piece_read(int fd, uint8_t *to, uint64_t bytes, uint64_t offset)
{
    uint64_t done = 0;
    while (done < bytes) {
        const ssize_t got = pread(fd, to + done, bytes - done, (off_t)(offset + done));
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            memset(to, 0, bytes);
            return false;
        }
        done += got > 0 ? (uint64_t)got : 0;
    }
    return true;
}

uint8_t *
logtool_file_read(const struct logtool_folder *folder, const struct logtool_file *file,
                  uint32_t *ret_unreadable)
{
    char path[PATH_MAX];
    const uint64_t bytes = file->bytes - file->bytes % LP_DISK_ALIGN_BYTES;
    uint8_t *data = malloc(bytes + 1);
    const int fd = path_print(path, folder->path, file->name) < PATH_MAX
                       ? open(path, O_RDONLY | O_CLOEXEC)
                       : -1;
    *ret_unreadable = 0;
    if (!data || fd < 0) {
        (void)fprintf(stderr, "lepus-log: cannot read %s/%s: %s\n", folder->path, file->name,
                      strerrordesc_np(data ? errno : ENOMEM));
        free(data);
        exit(LOGTOOL_FAILED); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    }
    for (uint64_t at = 0; at < bytes; at += READ_BYTES) {
        const uint64_t piece = LP_MIN(bytes - at, READ_BYTES);
        if (piece_read(fd, data + at, piece, at)) {
            continue;
        }
        for (uint64_t block = at; block < at + piece; block += LP_DISK_ALIGN_BYTES) {
            *ret_unreadable += !piece_read(fd, data + block, LP_DISK_ALIGN_BYTES, block);
        }
    }
    (void)close(fd); /* it was only read */
    return data;
}

/* --- locks ----------------------------------------------------------------- */

/* -1: somebody else has it, or it cannot be had (`ret_error`). */
static int
lock_one(const char *path, const char *name, int *ret_error)
{
    char file[PATH_MAX];
    *ret_error = 0;
    if (path_print(file, path, name) >= PATH_MAX) {
        *ret_error = ENAMETOOLONG;
        return -1;
    }
    const int fd = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        *ret_error = errno;
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *ret_error = errno;
        (void)close(fd); /* nothing was written to it */
        return -1;
    }
    return fd;
}

/* As lock_one(); the kernel ends what a process that was killed was writing within milliseconds. */
static int
lock_wait(const char *path, const char *name, int *ret_error)
{
    int fd = lock_one(path, name, ret_error);
    for (int waited = 0; fd < 0 && *ret_error == EWOULDBLOCK && waited < LOCK_WAIT_MS;
         waited += LOCK_LOOK_MS) {
        (void)poll(NULL, 0, LOCK_LOOK_MS); /* only time passes */
        fd = lock_one(path, name, ret_error);
    }
    return fd;
}

/* The launcher's, the data plane's; and what a shard's own folder has two folders up. */
static const char *const lock_names[] = {"lepus.pid", "log/lock", "../lock", "../../lepus.pid"};

bool
logtool_lock(const char *path)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(lock_names); i++) {
        int error;
        if (lock_wait(path, lock_names[i], &error) < 0 && error != ENOENT) {
            (void)fprintf(stderr,
                          error == EWOULDBLOCK
                              ? "lepus-log: %s is in use: stop the broker first (lepusctl stop)\n"
                              : "lepus-log: cannot lock %s: %s\n",
                          path, strerrordesc_np(error));
            return false;
        }
    }
    return true; /* held until this process ends */
}

bool
logtool_is_locked(const char *path)
{
    for (uint32_t i = 0; i < LP_COUNT_OF(lock_names); i++) {
        int error;
        const int fd = lock_one(path, lock_names[i], &error);
        if (fd >= 0) {
            (void)close(fd); /* only to see whether it could be had */
        } else if (error == EWOULDBLOCK) {
            return true;
        }
    }
    return false;
}
