/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the host opens a disk for each shard in the data folder, or says what
 * is wrong with it in a sentence that helps.
 *
 * Method: the host's file is compiled into this one; transports are opened as
 * the host does it, folders are made wrong on purpose.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>

#include <drivers/common/socket.h>
#include <drivers/epoll/epoll.h>

/* NOLINTBEGIN(bugprone-suspicious-include): the program has no library to link. */
#include "drivers/host/disk.c"
/* NOLINTEND(bugprone-suspicious-include) */

static void
transports_open(struct host *host, bool uring)
{
    host->uring = uring;
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        const struct lp_socket_options options = {.listeners = &host->listeners,
                                                  .shard = i,
                                                  .streams_max = 4,
                                                  .wake_fd = host->options.shard_wake_fd[i]};
        struct lp_transport *transport = &host->shard[i].kernel;
        host->shard[i].host = host;
        assert_int_equal(uring ? lp_uring_open_boot(&options, transport)
                               : lp_epoll_open_boot(&options, transport),
                         LP_OK);
    }
}

static void
transports_close(struct host *host)
{
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        if (host->uring) {
            lp_uring_close(&host->shard[i].kernel);
        } else {
            lp_epoll_close(&host->shard[i].kernel);
        }
    }
}

static struct host *
host_make(const char *data, uint32_t shards)
{
    struct host *host = calloc(1, sizeof(*host));
    assert_non_null(host);
    host->options.data = data;
    host->disk_lock_wait_ms = 20000;
    host->options.shard.count = shards;
    for (uint32_t i = 0; i < shards; i++) {
        host->options.shard_wake_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    transports_open(host, false);
    return host;
}

static void
host_free(struct host *host)
{
    host_disks_close(host);
    transports_close(host);
    for (uint32_t i = 0; i < host->options.shard.count; i++) {
        assert_int_equal(close(host->options.shard_wake_fd[i]), 0);
    }
    free(host);
}

static char data_folder[64];

static int
setup(void **state)
{
    (void)snprintf(data_folder, sizeof(data_folder), "/tmp/lepus-host-disk-XXXXXX");
    assert_non_null(mkdtemp(data_folder));
    *state = data_folder;
    return 0;
}

static int
teardown(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", data_folder);
    return system(command);
}

static unsigned
mode_of(const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    (void)snprintf(path, sizeof(path), "%s/%s", data_folder, name);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void
each_shard_gets_a_disk_in_a_folder_of_its_own(void **state)
{
    char why[HOST_WHY_BYTES];
    for (uint32_t uring = 0; uring < 2; uring++) {
        struct host *host = host_make(*state, 2);
        if (uring == 1 && !lp_uring_usable(why)) {
            host_free(host);
            break;
        }
        transports_close(host);
        transports_open(host, uring == 1);
        assert_true(host_disks_open(host, why));
        assert_int_equal(mode_of("log"), 0700);
        assert_int_equal(mode_of("log/lock"), 0600);
        for (uint32_t i = 0; i < 2; i++) {
            const struct lp_disk *disk = &host->shard[i].disk;
            assert_non_null(strstr(disk->ops->name, uring == 1 ? "io_uring" : "threads"));
            assert_int_equal(disk->ops->files(disk->self, NULL, 0), 0);
            host_disk_drain(&host->shard[i]);
        }
        assert_int_equal(mode_of("log/shard-1"), 0700);
        host_free(host);
    }
}

static void
without_a_data_folder_there_is_no_disk(void **state)
{
    (void)state;
    char why[HOST_WHY_BYTES];
    struct host *host = host_make(NULL, 1);
    assert_true(host_disks_open(host, why));
    assert_null(host->shard[0].disk.ops);
    host_disk_drain(&host->shard[0]);
    host_free(host);
}

static void
file_make(const char *name)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", data_folder, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static void
the_logs_of_more_shards_are_refused_and_those_of_fewer_are_not(void **state)
{
    char why[HOST_WHY_BYTES] = "";
    struct host *host = host_make(*state, 4);
    assert_true(host_disks_open(host, why));
    host_free(host);
    file_make("log/shard-3/root.log");
    host = host_make(*state, 2);
    assert_false(host_disks_open(host, why));
    assert_non_null(strstr(why, "holds the logs of 4 shards, lepus.shards is 2: set it to 4"));
    assert_null(host->shard[0].disk.ops);
    host_free(host);
    host = host_make(*state, 8);
    assert_true(host_disks_open(host, why));
    host_free(host);
}

static void
what_cannot_be_used_is_named_with_what_to_do(void **state)
{
    char why[HOST_WHY_BYTES] = "";
    file_make("log");
    struct host *host = host_make(*state, 1);
    assert_false(host_disks_open(host, why));
    assert_non_null(strstr(why, "/log is no folder"));
    assert_non_null(strstr(why, "choose another --data DIR"));
    host->options.data = "/proc/1/none";
    assert_false(host_disks_open(host, why));
    assert_non_null(strstr(why, "cannot create /proc/1/none/log: "));
    assert_non_null(strstr(why, "choose another --data DIR"));
    host->options.data = "relative";
    assert_false(host_disks_open(host, why));
    assert_non_null(strstr(why, "absolute path"));
    host_free(host);
}

/* A second data plane is refused, in words, after it has waited for the first one's last writes. */
static void
two_data_planes_do_not_share_a_folder(void **state)
{
    char why[HOST_WHY_BYTES] = "";
    struct host *first = host_make(*state, 1);
    struct host *second = host_make(*state, 1);
    second->disk_lock_wait_ms = 50;
    assert_true(host_disks_open(first, why));
    assert_false(host_disks_open(second, why));
    assert_non_null(strstr(why, "log/lock is locked"));
    assert_non_null(strstr(why, "another data plane writes to this folder"));
    host_free(first);
    assert_true(host_disks_open(second, why));
    host_free(second);
}

/* --- A process that is killed while the kernel has writes of it. -------------------------------
 */

#define WRITE_BYTES (512u * 1024u)

/* Opens the disk, makes a file, says so, and writes until it is killed. */
static void
writer_run(const char *data, int say_fd)
{
    char why[HOST_WHY_BYTES];
    struct host *host = host_make(data, 1);
    transports_close(host);
    transports_open(host, true);
    assert_true(host_disks_open(host, why));
    const struct lp_disk *disk = &host->shard[0].disk;
    const struct lp_transport *transport = &host->shard[0].kernel;
    void *memory = aligned_alloc(4096, WRITE_BYTES);
    assert_non_null(memory);
    memset(memory, 1, WRITE_BYTES);
    const struct lp_disk_op create = {.kind = LP_DISK_CREATE, .file = 1, .bytes = 16 * WRITE_BYTES};
    assert_true(disk->ops->submit(disk->self, &create));
    for (uint32_t n = 0;; n++) {
        struct lp_disk_completion done[16];
        struct lp_transport_event events[4];
        (void)transport->ops->poll(transport->self, events, 4);
        const uint32_t count = disk->ops->poll(disk->self, done, 16);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(done[i].err, LP_OK);
            const struct lp_disk_op op = {.kind = LP_DISK_WRITE,
                                          .file = 1,
                                          .offset = (n + i) % 16 * WRITE_BYTES,
                                          .data = memory,
                                          .bytes = WRITE_BYTES};
            for (uint32_t more = 0; more < (op.offset == 0 ? 2u : 1u); more++) {
                (void)disk->ops->submit(disk->self, &op); /* sixty-four are enough */
            }
        }
        if (count > 0 && n % 64 == 63) {
            assert_int_equal(write(say_fd, "x", 1), 1);
        }
        disk->ops->flush(disk->self);
        transport->ops->flush(transport->self);
        transport->ops->wait(transport->self, UINT64_MAX);
    }
}

/*
 * The lock is free when the kernel has given up what the process had in flight,
 * and no earlier: so a new one reads what stays.
 */
static void
a_killed_writers_lock_comes_free(void **state)
{
    char why[HOST_WHY_BYTES] = "";
    int said[2];
    char byte;
    if (!lp_uring_usable(why)) {
        skip();
    }
    assert_int_equal(pipe(said), 0);
    (void)fflush(stdout);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        writer_run(*state, said[1]);
        _exit(1);
    }
    assert_int_equal(read(said[0], &byte, 1), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    struct host *host = host_make(*state, 1);
    const bool good = host_disks_open(host, why);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(good);
    host_free(host);
    assert_int_equal(close(said[0]), 0);
    assert_int_equal(close(said[1]), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_shard_gets_a_disk_in_a_folder_of_its_own, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_a_data_folder_there_is_no_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(
            the_logs_of_more_shards_are_refused_and_those_of_fewer_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_used_is_named_with_what_to_do, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(two_data_planes_do_not_share_a_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_writers_lock_comes_free, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
