/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - lepus-disk-bench: what does a durable write cost in this folder, by
 * each driver and each of its ways?  Written through disk.h, as a log does it:
 * one after the other over files' blocks that were written before.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <drivers/common/listeners.h>
#include <drivers/common/volume.h>
#include <drivers/epoll/epoll.h>
#include <drivers/file/file.h>
#include <drivers/uring/uring.h>

static const char help[] =
    "lepus-disk-bench FOLDER [--ms N] [--spin]\n"
    "\n"
    "Writes into files of 64 MiB in FOLDER, which it makes and deletes, each row for N\n"
    "milliseconds (300): time until a write is durable, MB/s, and CPU time of a write.\n"
    "--spin: never sleeps, as a busy shard does.\n";

#define FILE_BYTES  (64u * 1024u * 1024u)
#define DEPTH_MAX   4u
#define SAMPLES_MAX 200000u
#define WAIT_NS     30000000000u

struct way {
    bool uring;
    bool direct;
    bool dsync;
};

struct bench {
    const char *folder;
    uint64_t row_ns;
    bool spin;
    int wake_fd;
    uint8_t *arena;
    uint64_t *sample;
    struct lp_listeners listeners;
    struct lp_transport transport;
    struct lp_keeper *keeper;
    struct lp_disk disk;
    /* of a row */
    uint32_t bytes;
    uint64_t at;
    uint32_t count;
    uint64_t began_ns[DEPTH_MAX];
};

void
lp_panic(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "disk-bench: %s:%d: %s\n", file, line, expr);
    abort();
}

static void
give_up(const char *what)
{
    (void)fprintf(stderr, "disk-bench: %s\n", what);
    exit(1); /* NOLINT(concurrency-mt-unsafe): nothing is left to be tidied */
}

static uint64_t
now_ns(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t
cpu_ns(void)
{
    struct rusage used = {0};
    (void)getrusage(RUSAGE_SELF, &used); /* cannot fail for ourselves */
    return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000u;
}

/* --- A disk. --------------------------------------------------------------------------------- */

static void
disk_open(struct bench *bench, const struct way *way)
{
    const struct lp_socket_options sockets = {
        .listeners = &bench->listeners, .streams_max = 1, .wake_fd = bench->wake_fd};
    if (lp_keeper_open_boot(&bench->keeper) != LP_OK) {
        give_up("no thread to be had");
    }
    const struct lp_volume_options options = {.path = bench->folder,
                                              .keeper = bench->keeper,
                                              .direct = way->direct,
                                              .dsync = way->dsync,
                                              .lock_fd = -1,
                                              .wake_fd = bench->wake_fd};
    enum lp_err err = way->uring ? lp_uring_open_boot(&sockets, &bench->transport)
                                 : lp_epoll_open_boot(&sockets, &bench->transport);
    if (err == LP_OK) {
        err = way->uring ? lp_uring_disk_open_boot(&bench->transport, &options, &bench->disk)
                         : lp_file_disk_open_boot(&options, &bench->disk);
    }
    if (err != LP_OK) {
        give_up(lp_err_text(err));
    }
    bench->disk.ops->arena(bench->disk.self, bench->arena, DEPTH_MAX * LP_DISK_BYTES_MAX);
}

static void
disk_close(struct bench *bench, const struct way *way)
{
    lp_keeper_close(&bench->keeper);
    if (way->uring) {
        lp_uring_close(&bench->transport);
        return;
    }
    lp_file_disk_close(&bench->disk);
    lp_epoll_close(&bench->transport);
}

/* A turn: gives how many completions, of which all are good. */
static uint32_t
turn(struct bench *bench, struct lp_disk_completion *completions)
{
    struct lp_transport_event events[4];
    const struct lp_transport_ops *ops = bench->transport.ops;
    bench->disk.ops->flush(bench->disk.self);
    ops->flush(bench->transport.self);
    if (!bench->spin) {
        ops->wait(bench->transport.self, WAIT_NS);
    }
    (void)ops->poll(bench->transport.self, events, 4);
    const uint32_t count = bench->disk.ops->poll(bench->disk.self, completions, DEPTH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (completions[i].err != LP_OK) {
            give_up(lp_err_text(completions[i].err));
        }
    }
    return count;
}

static void
one(struct bench *bench, enum lp_disk_op_kind kind, uint32_t file)
{
    struct lp_disk_completion done[DEPTH_MAX];
    const struct lp_disk_op op = {.kind = kind, .file = file, .bytes = FILE_BYTES};
    if (!bench->disk.ops->submit(bench->disk.self, &op)) {
        give_up("the disk takes nothing");
    }
    while (turn(bench, done) == 0) {
        /* another wake */
    }
}

/* --- A row. ---------------------------------------------------------------------------------- */

static void
write_submit(struct bench *bench, uint32_t lane)
{
    const struct lp_disk_op op = {.kind = LP_DISK_WRITE,
                                  .file = 1,
                                  .offset = bench->at,
                                  .data = bench->arena + lane * LP_DISK_BYTES_MAX,
                                  .bytes = bench->bytes,
                                  .user = lane};
    bench->at = (bench->at + bench->bytes) % FILE_BYTES;
    bench->began_ns[lane] = now_ns();
    if (!bench->disk.ops->submit(bench->disk.self, &op)) {
        give_up("the disk takes nothing");
    }
}

static int
ns_compare(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void
row(struct bench *bench, uint32_t depth, uint32_t bytes)
{
    const uint64_t cpu = cpu_ns();
    const uint64_t began = now_ns();
    uint32_t out = depth;
    bench->bytes = bytes;
    bench->at = 0;
    bench->count = 0;
    for (uint32_t i = 0; i < depth; i++) {
        write_submit(bench, i);
    }
    while (out > 0) {
        struct lp_disk_completion done[DEPTH_MAX];
        const uint32_t count = turn(bench, done);
        const uint64_t now = now_ns();
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t lane = (uint32_t)done[i].user;
            bench->sample[bench->count++] = now - bench->began_ns[lane];
            if (now - began < bench->row_ns && bench->count + out <= SAMPLES_MAX) {
                write_submit(bench, lane);
            } else {
                out--;
            }
        }
    }
    const double seconds = (double)(now_ns() - began) / 1e9;
    const double micros = (double)(cpu_ns() - cpu) / 1e3 / bench->count;
    qsort(bench->sample, bench->count, sizeof(*bench->sample), ns_compare);
    const uint64_t p50_ns = bench->sample[bench->count / 2];
    const uint64_t p99_ns = bench->sample[(uint64_t)bench->count * 99 / 100];
    printf("| %s | %u KiB | %u | %.0f | %.0f | %.0f | %.0f | %.1f |\n", bench->disk.ops->name,
           bytes / 1024, depth, (double)p50_ns / 1e3, (double)p99_ns / 1e3, bench->count / seconds,
           bench->count / seconds * bytes / 1e6, micros);
    (void)fflush(stdout);
}

static void
way_measure(struct bench *bench, const struct way *way)
{
    disk_open(bench, way);
    one(bench, LP_DISK_CREATE, 1);
    row(bench, 1, 4096);
    for (uint32_t bytes = 64 * 1024; bytes <= 512 * 1024; bytes *= 8) {
        for (uint32_t depth = 1; depth <= DEPTH_MAX; depth *= 2) {
            row(bench, depth, bytes);
        }
    }
    one(bench, LP_DISK_REMOVE, 1);
    disk_close(bench, way);
}

/* --- The program. ---------------------------------------------------------------------------- */

static bool
direct_possible(const char *folder)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/probe", folder);
    const int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    (void)unlink(path); /* it has served */
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}

static void
spares_delete(const char *folder)
{
    for (unsigned i = 0; i < 64; i++) {
        char path[4096];
        (void)snprintf(path, sizeof(path), "%s/spare-%u", folder, i);
        (void)unlink(path); /* most are not there */
    }
}

static bool
arguments_take(struct bench *bench, int argc, char **argv)
{
    bench->row_ns = 300u * 1000000u;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--spin") == 0) {
            bench->spin = true;
        } else if (strcmp(argv[i], "--ms") == 0 && i + 1 < argc) {
            bench->row_ns = strtoull(argv[++i], NULL, 10) * 1000000u;
        } else if (argv[i][0] != '-' && bench->folder == NULL) {
            bench->folder = argv[i];
        } else {
            return false;
        }
    }
    return bench->folder != NULL;
}

static void
ways_measure(struct bench *bench)
{
    char why[LP_URING_WHY_BYTES];
    const bool uring = lp_uring_usable(why);
    const bool direct = direct_possible(bench->folder);
    printf("| way | bytes | in flight | p50 us | p99 us | writes/s | MB/s | CPU us a write |\n"
           "|---|---|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < 8; i++) {
        const struct way way = {(i & 4) == 0, (i & 2) == 0, (i & 1) == 0};
        if ((!way.uring || uring) && (!way.direct || direct)) {
            way_measure(bench, &way);
            spares_delete(bench->folder);
        }
    }
}

int
main(int argc, char **argv)
{
    static struct bench bench;
    if (!arguments_take(&bench, argc, argv)) {
        (void)fputs(help, stderr);
        return 1;
    }
    bench.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bench.arena = aligned_alloc(LP_DISK_ALIGN_BYTES, DEPTH_MAX * LP_DISK_BYTES_MAX);
    bench.sample = calloc(SAMPLES_MAX, sizeof(*bench.sample));
    if (bench.wake_fd < 0 || bench.arena == NULL || bench.sample == NULL) {
        give_up("out of memory");
    }
    memset(bench.arena, 0x5a, DEPTH_MAX * LP_DISK_BYTES_MAX);
    ways_measure(&bench);
    free(bench.arena);
    free(bench.sample);
    return 0;
}
