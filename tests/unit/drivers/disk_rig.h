/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_rig.h - one disk of any driver in a folder of its own, and a book of
 * what it answered.  Included by one file of a program.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <drivers/common/listeners.h>
#include <drivers/common/volume.h>
#include <drivers/epoll/epoll.h>
#include <drivers/file/file.h>
#include <drivers/uring/uring.h>

#define MEGABYTE    (1024u * 1024u)
#define ARENA_BYTES (2u * MEGABYTE)
#define DEADLINE_NS (20ull * 1000 * 1000 * 1000)
#define EVENTS_MAX  16

struct rig_kind {
    const char *driver;
    bool direct;
    bool dsync;
};

static const struct rig_kind rig_kinds[] = {
    {"io_uring", true, true},   {"io_uring", true, false}, {"io_uring", false, true},
    {"io_uring", false, false}, {"threads", true, true},   {"threads", true, false},
    {"threads", false, true},   {"threads", false, false},
};

/* cmocka gives a group's tests nothing of its own. */
static const struct rig_kind *rig_kind;

struct disk_rig {
    struct lp_transport transport;
    struct lp_listeners listeners;
    struct lp_keeper *keeper;
    struct lp_disk disk;
    bool uring;
    bool direct;
    bool dsync;
    bool mounted;
    int wake_fd;
    uint8_t *arena;
    char path[64];
    uint32_t submitted;
    uint32_t answered;
    uint64_t deadline_ns;
    enum lp_err last;
    enum lp_err wanted; /* of all, in rig_finish() */
};

static void
fill(uint8_t *data, size_t bytes, uint8_t value)
{
    memset(data, value, bytes);
}

static void
assert_filled(const uint8_t *data, size_t bytes, uint8_t value)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] != value) {
            fail_msg("byte %zu is 0x%02x, not 0x%02x", i, data[i], value);
        }
    }
}

static uint64_t
clock_now_ns(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- Opening and closing. -------------------------------------------------------------------- */

static bool
rig_possible(const struct rig_kind *kind)
{
    char why[LP_URING_WHY_BYTES];
    return strcmp(kind->driver, "io_uring") != 0 || lp_uring_usable(why);
}

static void
rig_open(struct disk_rig *rig)
{
    assert_int_equal(lp_keeper_open_boot(&rig->keeper), LP_OK);
    const struct lp_socket_options sockets = {
        .listeners = &rig->listeners, .streams_max = 4, .wake_fd = rig->wake_fd};
    const struct lp_volume_options options = {.path = rig->path,
                                              .keeper = rig->keeper,
                                              .direct = rig->direct,
                                              .dsync = rig->dsync,
                                              .lock_fd = -1,
                                              .wake_fd = rig->wake_fd};
    if (rig->uring) {
        assert_int_equal(lp_uring_open_boot(&sockets, &rig->transport), LP_OK);
        assert_int_equal(lp_uring_disk_open_boot(&rig->transport, &options, &rig->disk), LP_OK);
    } else {
        assert_int_equal(lp_epoll_open_boot(&sockets, &rig->transport), LP_OK);
        assert_int_equal(lp_file_disk_open_boot(&options, &rig->disk), LP_OK);
    }
    rig->disk.ops->arena(rig->disk.self, rig->arena, ARENA_BYTES);
}

static void
rig_close(struct disk_rig *rig)
{
    lp_keeper_close(&rig->keeper);
    if (rig->uring) {
        lp_uring_close(&rig->transport);
    } else {
        lp_file_disk_close(&rig->disk);
        lp_epoll_close(&rig->transport);
    }
    rig->submitted = 0;
    rig->answered = 0;
}

static void
rig_reopen(struct disk_rig *rig)
{
    assert_int_equal(rig->submitted, rig->answered);
    rig_close(rig);
    rig_open(rig);
}

static int
rig_setup(void **state)
{
    struct disk_rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    const char *base = getenv("TMPDIR");
    (void)snprintf(rig->path, sizeof(rig->path), "%s/lepus-disk-XXXXXX",
                   base != NULL && strlen(base) < 40 ? base : "/tmp");
    assert_non_null(mkdtemp(rig->path));
    (void)signal(SIGXFSZ, SIG_IGN);
    rig->uring = strcmp(rig_kind->driver, "io_uring") == 0;
    rig->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(rig->wake_fd >= 0);
    rig->direct = rig_kind->direct;
    rig->dsync = rig_kind->dsync;
    rig->arena = aligned_alloc(4096, ARENA_BYTES);
    assert_non_null(rig->arena);
    memset(rig->arena, 0, ARENA_BYTES);
    rig->deadline_ns = clock_now_ns() + DEADLINE_NS;
    rig_open(rig);
    *state = rig;
    return 0;
}

static void
folder_each(const struct disk_rig *rig,
            void (*found)(const struct disk_rig *, const char *, void *), void *context)
{
    DIR *dir = opendir(rig->path);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            found(rig, entry->d_name, context);
        }
    }
    assert_int_equal(closedir(dir), 0);
}

static void
path_make(const struct disk_rig *rig, const char *name, char *ret_path)
{
    (void)snprintf(ret_path, 512, "%s/%s", rig->path, name);
}

static void
file_delete(const struct disk_rig *rig, const char *name, void *context)
{
    char path[512];
    (void)context;
    path_make(rig, name, path);
    assert_int_equal(unlink(path), 0);
}

static int
rig_teardown(void **state)
{
    struct disk_rig *rig = *state;
    rig_close(rig);
    folder_each(rig, file_delete, NULL);
    if (rig->mounted) {
        assert_int_equal(umount(rig->path), 0);
    }
    assert_int_equal(rmdir(rig->path), 0);
    assert_int_equal(close(rig->wake_fd), 0);
    free(rig->arena);
    free(rig);
    return 0;
}

/* A file system of 4 MiB in place of the folder; false: we may not. */
static bool
rig_small_mount(struct disk_rig *rig)
{
    rig_close(rig);
    rig->mounted = mount("none", rig->path, "tmpfs", 0, "size=4m,mode=0700") == 0;
    rig_open(rig);
    return rig->mounted;
}

/* --- Operations. ----------------------------------------------------------------------------- */

static uint8_t *
rig_data(const struct disk_rig *rig, uint32_t half)
{
    return rig->arena + half * (ARENA_BYTES / 2);
}

static uint8_t *
rig_page(const struct disk_rig *rig, uint32_t page)
{
    return rig->arena + page * 4096;
}

static void
rig_submit(struct disk_rig *rig, enum lp_disk_op_kind kind, uint32_t file, uint64_t offset,
           void *data, uint32_t bytes)
{
    const struct lp_disk_op op = {.kind = kind,
                                  .file = file,
                                  .offset = offset,
                                  .data = data,
                                  .bytes = bytes,
                                  .user = rig->submitted};
    assert_true(rig->disk.ops->submit(rig->disk.self, &op));
    rig->submitted++;
}

/* One turn, as a shard has it: poll both, flush both, sleep. */
static void
rig_step(struct disk_rig *rig, uint64_t *seen)
{
    struct lp_transport_event events[EVENTS_MAX];
    struct lp_disk_completion completions[5];
    const struct lp_transport_ops *ops = rig->transport.ops;
    if (clock_now_ns() > rig->deadline_ns) {
        fail_msg("%u of %u operations have not ended", rig->submitted - rig->answered,
                 rig->submitted);
    }
    (void)ops->poll(rig->transport.self, events, EVENTS_MAX);
    const uint32_t count = rig->disk.ops->poll(rig->disk.self, completions, 5);
    assert_true(count <= 5);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(completions[i].user < rig->submitted);
        assert_true((*seen >> completions[i].user % 64 & 1) == 0);
        *seen |= UINT64_C(1) << completions[i].user % 64;
        rig->last = completions[i].err;
        rig->answered++;
        assert_true(rig->wanted == LP_ERR_COUNT || rig->wanted == rig->last);
    }
    rig->disk.ops->flush(rig->disk.self);
    ops->flush(rig->transport.self);
    if (count == 0) {
        ops->wait(rig->transport.self, DEADLINE_NS);
    }
}

/* Until all have ended, well; gives how many. */
static uint32_t
rig_finish(struct disk_rig *rig)
{
    uint64_t seen = 0;
    const uint32_t before = rig->answered;
    rig->wanted = LP_OK;
    while (rig->answered < rig->submitted) {
        rig_step(rig, &seen);
    }
    return rig->answered - before;
}

static enum lp_err
rig_one(struct disk_rig *rig, enum lp_disk_op_kind kind, uint32_t file, uint64_t offset, void *data,
        uint32_t bytes)
{
    uint64_t seen = 0;
    rig->wanted = LP_ERR_COUNT;
    rig_submit(rig, kind, file, offset, data, bytes);
    while (rig->answered < rig->submitted) {
        rig_step(rig, &seen);
    }
    return rig->last;
}

static enum lp_err
rig_read(struct disk_rig *rig, uint32_t file, uint64_t offset, void *data, uint32_t bytes)
{
    return rig_one(rig, LP_DISK_READ, file, offset, data, bytes);
}

static enum lp_err
rig_write(struct disk_rig *rig, uint32_t file, uint64_t offset, void *data, uint32_t bytes)
{
    return rig_one(rig, LP_DISK_WRITE, file, offset, data, bytes);
}

static enum lp_err
rig_create(struct disk_rig *rig, uint32_t file, uint32_t bytes)
{
    return rig_one(rig, LP_DISK_CREATE, file, 0, NULL, bytes);
}

static enum lp_err
rig_remove(struct disk_rig *rig, uint32_t file)
{
    return rig_one(rig, LP_DISK_REMOVE, file, 0, NULL, 0);
}

/* --- The folder, from outside. --------------------------------------------------------------- */

static uint64_t
rig_file_bytes(const struct disk_rig *rig, const char *name)
{
    char path[512];
    struct stat status;
    path_make(rig, name, path);
    assert_int_equal(stat(path, &status), 0);
    return (uint64_t)status.st_size;
}

static unsigned
rig_file_mode(const struct disk_rig *rig, const char *name)
{
    char path[512];
    struct stat status;
    path_make(rig, name, path);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void
rig_truncate(const struct disk_rig *rig, const char *name, off_t bytes)
{
    char path[512];
    path_make(rig, name, path);
    assert_int_equal(truncate(path, bytes), 0);
}

struct counting {
    const char *prefix;
    uint32_t count;
};

static void
file_count(const struct disk_rig *rig, const char *name, void *context)
{
    struct counting *counting = context;
    (void)rig;
    counting->count += strncmp(name, counting->prefix, strlen(counting->prefix)) == 0;
}

static uint32_t
rig_count(const struct disk_rig *rig, const char *prefix)
{
    struct counting counting = {.prefix = prefix};
    folder_each(rig, file_count, &counting);
    return counting.count;
}

/* What is none of the disk's, or was not finished. */
static void
rig_foreign_files(const struct disk_rig *rig)
{
    static const char *const names[] = {"making",       "notes",          "1.log",  "000000001.log",
                                        "00000000.log", "4294967296.log", "spare-x"};
    for (uint32_t i = 0; i < LP_COUNT_OF(names); i++) {
        char path[512];
        path_make(rig, names[i], path);
        const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(close(fd), 0);
    }
}

/* Files 1 to `count` of a page, as an earlier run may have left them. */
static void
rig_files_make(const struct disk_rig *rig, uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++) {
        char name[32];
        char path[512];
        (void)snprintf(name, sizeof(name), "%08u.log", i);
        path_make(rig, name, path);
        const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 4096), 0);
        assert_int_equal(close(fd), 0);
    }
}

static uint32_t
rig_descriptors(void)
{
    uint32_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    assert_int_equal(closedir(dir), 0);
    return count;
}

static void
rig_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
