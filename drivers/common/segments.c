/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/segments.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <lepus/atomic.h>

#define ZEROS_BYTES (1024u * 1024u)
#define ROOT_NAME   "root.log"
#define MAKING_NAME "making"
#define SPARE_WORD  "spare-"
/* Numbers have eight digits, so that names sort as they do; those above 99999999 have more. */
#define DIGITS_MIN 8u
#define DIGITS_MAX 10u

enum lp_err
lp_segments_err(int error)
{
    switch (error) {
    case 0:
        return LP_OK;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* more than this process may write */
        return LP_ERR_NO_SPACE;
    case EEXIST:
        return LP_ERR_EXISTS;
    case ENOENT:
        return LP_ERR_NOT_FOUND;
    case ENOMEM:
        return LP_ERR_NO_MEMORY;
    default:
        return LP_ERR_IO;
    }
}

/* --- Names. ---------------------------------------------------------------------------------- */

static void
file_name(uint32_t number, char *ret_name)
{
    if (number == 0) {
        memcpy(ret_name, ROOT_NAME, sizeof(ROOT_NAME));
        return;
    }
    (void)snprintf(ret_name, LP_SEGMENTS_NAME_BYTES, "%08u.log", number);
}

static void
spare_file_name(uint32_t name, char *ret_name)
{
    (void)snprintf(ret_name, LP_SEGMENTS_NAME_BYTES, SPARE_WORD "%u", name);
}

/* A number in decimal digits and nothing else; gives how many there are, 0 for what is none. */
static size_t
digits_parse(const char *text, uint32_t *ret_number)
{
    uint64_t number = 0;
    size_t count = 0;
    while (count < DIGITS_MAX && text[count] >= '0' && text[count] <= '9') {
        number = number * 10 + (uint64_t)(text[count] - '0');
        count++;
    }
    if (number > UINT32_MAX) {
        return 0;
    }
    *ret_number = (uint32_t)number;
    return count;
}

bool
lp_segments_name_parse(const char *name, uint32_t *ret_number)
{
    uint32_t number = 0;
    char again[LP_SEGMENTS_NAME_BYTES];
    if (strcmp(name, ROOT_NAME) == 0) {
        *ret_number = 0;
        return true;
    }
    if (digits_parse(name, &number) < DIGITS_MIN || number == 0) {
        return false;
    }
    /* One number has one name, or two files could claim it. */
    file_name(number, again);
    if (strcmp(name, again) != 0) {
        return false;
    }
    *ret_number = number;
    return true;
}

/* --- The folder. ----------------------------------------------------------------------------- */

static bool
folder_each(int dir_fd, bool (*found)(void *context, const char *name, uint64_t bytes),
            void *context)
{
    const int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    bool good = true;
    errno = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
    for (struct dirent *entry = readdir(dir); good && entry != NULL; entry = readdir(dir)) {
        struct stat status;
        if (fstatat(dir_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode)) {
            good = found(context, entry->d_name, (uint64_t)status.st_size);
        }
        errno = 0;
    }
    good = good && errno == 0;
    (void)closedir(dir); /* only read from */
    return good;
}

static uint32_t
spares_of(const struct lp_segments *segments, uint64_t bytes)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < segments->spare_count; i++) {
        count += segments->spare[i].bytes == bytes;
    }
    return count;
}

static bool
spare_wanted(const struct lp_segments *segments, uint64_t bytes)
{
    return bytes > 0 && bytes % LP_DISK_ALIGN_BYTES == 0 &&
           segments->spare_count < LP_SEGMENTS_SPARES_MAX &&
           spares_of(segments, bytes) < LP_SEGMENTS_SPARES_OF_A_SIZE;
}

static void
spare_add(struct lp_segments *segments, uint32_t name, uint64_t bytes)
{
    segments->spare[segments->spare_count++] =
        (struct lp_segments_spare){.name = name, .bytes = bytes};
}

/* What an earlier run left: spares are counted, or deleted when there are enough. */
static bool
left_found(void *context, const char *name, uint64_t bytes)
{
    struct lp_segments *segments = context;
    uint32_t number = 0;
    if (strcmp(name, MAKING_NAME) == 0) {
        return unlinkat(segments->dir_fd, name, 0) == 0;
    }
    if (strncmp(name, SPARE_WORD, strlen(SPARE_WORD)) != 0) {
        return true;
    }
    const char *digits = name + strlen(SPARE_WORD);
    const size_t count = digits_parse(digits, &number);
    if (count == 0 || digits[count] != '\0') {
        return true;
    }
    segments->spare_name = LP_MAX(segments->spare_name, number);
    if (!spare_wanted(segments, bytes)) {
        return unlinkat(segments->dir_fd, name, 0) == 0;
    }
    spare_add(segments, number, bytes);
    return true;
}

bool
lp_segments_open_boot(struct lp_segments *segments, const char *path, bool direct)
{
    *segments = (struct lp_segments){.dir_fd = -1, .direct = direct, .unsynced = true};
    segments->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (segments->dir_fd < 0) {
        return false;
    }
    /* Never written: every page of it is the kernel's one page of zeros. */
    void *zeros = mmap(NULL, ZEROS_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    segments->zeros = zeros == MAP_FAILED ? NULL : zeros;
    if (zeros == MAP_FAILED || !folder_each(segments->dir_fd, left_found, segments)) {
        const int error = errno;
        lp_segments_close(segments);
        errno = error;
        return false;
    }
    return true;
}

void
lp_segments_close(struct lp_segments *segments)
{
    if (segments->dir_fd >= 0) {
        (void)close(segments->dir_fd);
    }
    if (segments->zeros != NULL) {
        (void)munmap(segments->zeros, ZEROS_BYTES);
    }
    *segments = (struct lp_segments){.dir_fd = -1};
}

struct each {
    void (*found)(void *context, const struct lp_disk_file *file);
    void *context;
};

static bool
each_found(void *context, const char *name, uint64_t bytes)
{
    const struct each *each = context;
    struct lp_disk_file file = {.bytes = bytes};
    if (lp_segments_name_parse(name, &file.number)) {
        each->found(each->context, &file);
    }
    return true;
}

bool
lp_segments_each(const struct lp_segments *segments,
                 void (*found)(void *context, const struct lp_disk_file *file), void *context)
{
    struct each each = {.found = found, .context = context};
    return folder_each(segments->dir_fd, each_found, &each);
}

static int
open_flags(const struct lp_segments *segments)
{
    return O_RDWR | O_CLOEXEC | O_NOFOLLOW | (segments->direct ? O_DIRECT : 0);
}

int
lp_segments_file_open(const struct lp_segments *segments, uint32_t number)
{
    char name[LP_SEGMENTS_NAME_BYTES];
    file_name(number, name);
    return openat(segments->dir_fd, name, open_flags(segments));
}

uint64_t
lp_segments_free_bytes(const struct lp_segments *segments)
{
    struct statvfs status;
    if (fstatvfs(segments->dir_fd, &status) != 0) {
        return 0;
    }
    return (uint64_t)status.f_bavail * status.f_frsize;
}

/* --- Making and keeping. --------------------------------------------------------------------- */

bool
lp_segments_file_sync(const struct lp_segments *segments, uint32_t number)
{
    const int fd = lp_segments_file_open(segments, number);
    const bool good = fd >= 0 && fdatasync(fd) == 0;
    const int error = errno;
    if (fd >= 0) {
        (void)close(fd); /* nothing was written through it */
    }
    errno = error;
    return good;
}

bool
lp_segments_sync(struct lp_segments *segments)
{
    if (fsync(segments->dir_fd) != 0 && errno != EINVAL) {
        return false; /* EINVAL: a file system without such a thing */
    }
    segments->unsynced = false;
    return true;
}

/* Never over a file that is there. */
static bool
rename_to(const struct lp_segments *segments, const char *from, const char *to)
{
    if (renameat2(segments->dir_fd, from, segments->dir_fd, to, RENAME_NOREPLACE) == 0) {
        return true;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return false;
    }
    /* This file system cannot promise it; nobody else writes here, and create() has looked. */
    return renameat(segments->dir_fd, from, segments->dir_fd, to) == 0;
}

/* Zeros from the beginning to the end, in blocks that are on the device when this returns. */
static bool
zeros_write(const struct lp_segments *segments, int fd, uint64_t bytes, const bool *stop)
{
    /* One extent instead of many, and a full device says so at once.  Not everywhere: then not. */
    if (fallocate(fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        return false;
    }
    for (uint64_t at = 0; at < bytes;) {
        const size_t want = (size_t)LP_MIN(bytes - at, (uint64_t)ZEROS_BYTES);
        const ssize_t done = pwrite(fd, segments->zeros, want, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0 || done % LP_DISK_ALIGN_BYTES != 0) {
            errno = done < 0 ? errno : ENOSPC;
            return false;
        }
        at += (uint64_t)done;
        /* K3, pairs with K5 in lp_keeper_close: the process ends, and what is half made is no loss.
         */
        if (lp_load_acquire(stop)) {
            errno = ECANCELED;
            return false;
        }
    }
    return fdatasync(fd) == 0;
}

static enum lp_err
file_make(struct lp_segments *segments, uint64_t bytes, const bool *stop, int *ret_fd)
{
    const int fd =
        openat(segments->dir_fd, MAKING_NAME, open_flags(segments) | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) {
        return errno == EMFILE || errno == ENFILE ? LP_ERR_NO_MEMORY : lp_segments_err(errno);
    }
    if (!zeros_write(segments, fd, bytes, stop)) {
        const enum lp_err err = lp_segments_err(errno);
        (void)close(fd);
        (void)unlinkat(segments->dir_fd, MAKING_NAME, 0); /* else the next start does */
        return err;
    }
    *ret_fd = fd;
    return LP_OK;
}

/* The spare of this size, under its new name and opened; false: there is none. */
static bool
spare_take(struct lp_segments *segments, uint64_t bytes, const char *name, int *ret_fd)
{
    for (uint32_t i = segments->spare_count; i > 0; i--) {
        const struct lp_segments_spare spare = segments->spare[i - 1];
        if (spare.bytes != bytes) {
            continue;
        }
        char from[LP_SEGMENTS_NAME_BYTES];
        spare_file_name(spare.name, from);
        segments->spare[i - 1] = segments->spare[--segments->spare_count];
        /* Before it gets a new number nobody may find it under its old one any more. */
        if (segments->unsynced && !lp_segments_sync(segments)) {
            return false;
        }
        const int fd = openat(segments->dir_fd, from, open_flags(segments));
        if (fd >= 0 && rename_to(segments, from, name)) {
            *ret_fd = fd;
            return true;
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    return false;
}

enum lp_err
lp_segments_create(struct lp_segments *segments, uint32_t number, uint64_t bytes, const bool *stop,
                   int *ret_fd)
{
    LP_ASSERT(bytes > 0 && bytes % LP_DISK_ALIGN_BYTES == 0);
    char name[LP_SEGMENTS_NAME_BYTES];
    file_name(number, name);
    if (faccessat(segments->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return LP_ERR_EXISTS;
    }
    int fd = -1;
    if (!spare_take(segments, bytes, name, &fd)) {
        const enum lp_err err = file_make(segments, bytes, stop, &fd);
        if (err != LP_OK) {
            return err;
        }
        if (!rename_to(segments, MAKING_NAME, name)) {
            const int error = errno;
            (void)close(fd);
            return lp_segments_err(error);
        }
    }
    if (!lp_segments_sync(segments)) {
        const int error = errno;
        (void)close(fd);
        return lp_segments_err(error);
    }
    *ret_fd = fd;
    return LP_OK;
}

enum lp_err
lp_segments_remove(struct lp_segments *segments, uint32_t number, uint64_t bytes)
{
    char name[LP_SEGMENTS_NAME_BYTES];
    char spare[LP_SEGMENTS_NAME_BYTES];
    file_name(number, name);
    if (!spare_wanted(segments, bytes)) {
        return unlinkat(segments->dir_fd, name, 0) == 0 ? LP_OK : lp_segments_err(errno);
    }
    spare_file_name(++segments->spare_name, spare);
    if (!rename_to(segments, name, spare)) {
        return lp_segments_err(errno);
    }
    segments->unsynced = true;
    spare_add(segments, segments->spare_name, bytes);
    return LP_OK;
}
