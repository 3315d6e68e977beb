/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture.c - frames of a running broker's packet devices, as pcapng.
 *
 * Rings of shared memory in the data directory (drivers/common/capture_ring.h):
 * shards find them and write; whoever may write to that directory may look.
 */
#include "nettool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <drivers/common/capture_ring.h>

#define SHARDS     64u
#define PORTS      8u
#define PATH_BYTES 4200
#define POLL_NS    (20u * 1000u * 1000u)
#define NS_PER_S   UINT64_C(1000000000)

struct capture {
    const char *data;
    const char *file;
    uint64_t snap_bytes;
    uint64_t count; /* 0: no limit */
    double seconds; /* 0: until it is interrupted */
    int only_port;  /* -1: all */
    FILE *to;
    int lock;
    bool failed;
    uint64_t packets;
    uint32_t interfaces;
    uint32_t interface_of[PORTS]; /* plus one; 0: not seen yet */
    struct lp_capture_ring *ring[SHARDS];
    uint64_t read[SHARDS];
};

static volatile sig_atomic_t interrupted;

static void
interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static uint64_t
now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* always there */
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* --- Rings. ----------------------------------------------------------------------------------- */

static void
ring_path(const struct capture *capture, uint32_t shard, char ret_path[PATH_BYTES])
{
    (void)snprintf(ret_path, PATH_BYTES, "%s/" LP_CAPTURE_FOLDER "/shard-%u", capture->data, shard);
}

static bool
ring_make(struct capture *capture, uint32_t shard)
{
    char path[PATH_BYTES];
    char fresh[PATH_BYTES + 8];
    ring_path(capture, shard, path);
    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    const int fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    struct lp_capture_ring *ring = MAP_FAILED;
    if (ftruncate(fd, LP_CAPTURE_BYTES) == 0) {
        ring = mmap(NULL, LP_CAPTURE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    (void)close(fd);
    if (ring == MAP_FAILED) {
        return false;
    }
    ring->magic = LP_CAPTURE_MAGIC;
    ring->snap_bytes = capture->snap_bytes;
    capture->ring[shard] = ring;
    return rename(fresh, path) == 0; /* whole, or not there */
}

static bool
complain(const char *what, const char *path)
{
    (void)fprintf(stderr, "lepus capture: %s%s%s\n", what, path[0] != '\0' ? " " : "", path);
    return false;
}

static bool
folder_open(struct capture *capture)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/" LP_CAPTURE_FOLDER, capture->data);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return complain(errno == ENOENT ? "there is no data directory" : strerrordesc_np(errno),
                        capture->data);
    }
    capture->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (capture->lock < 0 || flock(capture->lock, LOCK_EX | LOCK_NB) != 0) {
        return complain("another capture is running on", capture->data);
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        if (!ring_make(capture, i)) {
            return complain(strerrordesc_np(errno), path);
        }
    }
    return true;
}

static void
folder_close(struct capture *capture)
{
    char path[PATH_BYTES];
    for (uint32_t i = 0; i < SHARDS && capture->ring[i] != NULL; i++) {
        lp_store_relaxed(&capture->ring[i]->closed, 1); /* a statistic: seen at the next look */
        ring_path(capture, i, path);
        (void)unlink(path); /* the shard's map of it ends by itself */
    }
    (void)snprintf(path, sizeof(path), "%s/" LP_CAPTURE_FOLDER, capture->data);
    (void)rmdir(path);
}

/* --- Frames. ---------------------------------------------------------------------------------- */

static void
ring_get(struct lp_capture_ring *ring, uint64_t at, void *to, uint32_t bytes)
{
    const uint8_t *base = lp_capture_bytes(ring);
    const uint32_t start = (uint32_t)(at % LP_CAPTURE_ROOM);
    const uint32_t first = LP_MIN(bytes, LP_CAPTURE_ROOM - start);
    memcpy(to, base + start, first);
    memcpy((uint8_t *)to + first, base, bytes - first);
}

static uint32_t
interface_of(struct capture *capture, uint32_t port)
{
    if (capture->interface_of[port] == 0) {
        char name[16];
        (void)snprintf(name, sizeof(name), "port%u", port);
        capture->failed =
            !pcapng_interface(capture->to, name, (uint32_t)capture->snap_bytes) || capture->failed;
        capture->interface_of[port] = ++capture->interfaces;
    }
    return capture->interface_of[port] - 1;
}

static void
frame_write(struct capture *capture, struct lp_capture_ring *ring,
            const struct lp_capture_record *record, const uint8_t *data)
{
    if (record->port >= PORTS ||
        (capture->only_port >= 0 && record->port != (uint32_t)capture->only_port)) {
        return;
    }
    const struct pcapng_packet packet = {
        .interface = interface_of(capture, record->port),
        .wall_ns = record->now_ns + (uint64_t)ring->wall_offset_ns,
        .bytes = record->bytes,
        .whole = record->whole,
        .sent = record->sent != 0,
    };
    capture->failed = !pcapng_packet(capture->to, &packet, data) || capture->failed;
    capture->packets++;
}

static bool
is_enough(const struct capture *capture)
{
    return capture->failed || (capture->count != 0 && capture->packets >= capture->count);
}

/* False: the data plane wrote what cannot be. */
static bool
ring_drain(struct capture *capture, uint32_t shard)
{
    static uint8_t data[LP_CAPTURE_SNAP_MAX];
    struct lp_capture_ring *ring = capture->ring[shard];
    /* Pairs with the shard's release: records up to here are whole. */
    const uint64_t written = lp_load_acquire(&ring->written);
    uint64_t at = capture->read[shard];
    while (at != written && !is_enough(capture)) {
        struct lp_capture_record record;
        if (written - at > LP_CAPTURE_ROOM) {
            return false;
        }
        ring_get(ring, at, &record, sizeof(record));
        if (record.bytes > sizeof(data) || sizeof(record) + record.bytes > written - at) {
            return false;
        }
        ring_get(ring, at + sizeof(record), data, record.bytes);
        frame_write(capture, ring, &record, data);
        at += (sizeof(record) + record.bytes + 7u) & ~UINT64_C(7);
    }
    capture->read[shard] = at;
    /* Pairs with the shard's acquire: we are done with what was there. */
    lp_store_release(&ring->read, at);
    return true;
}

static bool
turn(struct capture *capture, uint64_t *ret_attached)
{
    *ret_attached = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct lp_capture_ring *ring = capture->ring[i];
        lp_store_relaxed(&ring->alive, ring->alive + 1); /* a counter */
        /* Pairs with the shard's release: the offset of its clock is there. */
        if (lp_load_acquire(&ring->attached) != 1) {
            continue;
        }
        (*ret_attached)++;
        if (!ring_drain(capture, i)) {
            return complain("a shard wrote what no frame can be; stopping", "");
        }
    }
    return fflush(capture->to) == 0 || complain(strerrordesc_np(errno), capture->file);
}

static uint64_t
dropped(const struct capture *capture)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        sum += lp_load_relaxed(&capture->ring[i]->dropped); /* a counter */
    }
    return sum;
}

static int
run(struct capture *capture)
{
    const uint64_t begin_ns = now_ns();
    const uint64_t limit_ns = (uint64_t)(capture->seconds * 1e9);
    uint64_t attached = 0;
    bool told = false;
    bool good = pcapng_begin(capture->to);
    while (good && !is_enough(capture) && interrupted == 0 &&
           (limit_ns == 0 || now_ns() - begin_ns < limit_ns)) {
        const struct timespec pause = {.tv_nsec = POLL_NS};
        good = turn(capture, &attached);
        if (!told && attached > 0) {
            told = true;
            (void)fprintf(stderr, "lepus capture: %llu shards; Ctrl-C ends it\n",
                          (unsigned long long)attached);
        }
        (void)nanosleep(&pause, NULL); /* an interruption ends it sooner */
    }
    good = good && turn(capture, &attached); /* what came since the last look */
    if (!told) {
        (void)complain("nobody answered: is the broker of this data directory running, and has it "
                       "lepus.net ports that see traffic?",
                       capture->data);
    }
    (void)fprintf(stderr, "lepus capture: %llu frames, %llu dropped\n",
                  (unsigned long long)capture->packets, (unsigned long long)dropped(capture));
    return good && !capture->failed && told ? 0 : 1;
}

/* --- Words. ----------------------------------------------------------------------------------- */

static int
usage(int code)
{
    (void)fprintf(
        code == 0 ? stdout : stderr,
        "lepus capture [--data DIR] [--port N] [--snap BYTES] [--count N] [--seconds S] FILE\n"
        "\n"
        "Frames of a running broker's packet devices, both ways, as pcapng; FILE may be -, for\n"
        "  lepus capture - | tshark -r -\n"
        "\n"
        "  --data DIR     of the broker (default: as `lepus` without it)\n"
        "  --port N       only lepus.net.port.N, counted from 0 in the configuration's order\n"
        "  --snap BYTES   of each frame at most (65535)\n"
        "  --count N      so many frames, then end\n"
        "  --seconds S    so long, then end\n"
        "\n"
        "Sent frames are shown as they go to the device, which may fill in checksums and cut "
        "them.\n"
        "What comes faster than it can be written is counted as dropped; the broker never "
        "waits.\n");
    return code;
}

static bool
option_take(struct capture *capture, const char *name, const char *value)
{
    char *end = NULL;
    if (strcmp(name, "--data") == 0) {
        capture->data = value;
        return true;
    }
    const double number = strtod(value, &end);
    if (end == value || *end != '\0' || number < 0) {
        return false;
    }
    if (strcmp(name, "--port") == 0) {
        capture->only_port = (int)number;
    } else if (strcmp(name, "--snap") == 0) {
        capture->snap_bytes = (uint64_t)number;
    } else if (strcmp(name, "--count") == 0) {
        capture->count = (uint64_t)number;
    } else if (strcmp(name, "--seconds") == 0) {
        capture->seconds = number;
    } else {
        return false;
    }
    return true;
}

int
capture_run(int argc, char **argv)
{
    const char *data = getenv("LEPUS_DATA"); /* NOLINT(concurrency-mt-unsafe): one thread */
    struct capture capture = {.data = data != NULL ? data : "/var/lib/lepus",
                              .snap_bytes = LP_CAPTURE_SNAP_MAX,
                              .only_port = -1,
                              .lock = -1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return usage(0);
        }
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (i + 1 == argc || !option_take(&capture, argv[i], argv[i + 1])) {
                return usage(EX_USAGE);
            }
            i++;
        } else if (capture.file == NULL) {
            capture.file = argv[i];
        } else {
            return usage(EX_USAGE);
        }
    }
    if (capture.file == NULL || capture.snap_bytes == 0) {
        return usage(EX_USAGE);
    }
    capture.to = strcmp(capture.file, "-") == 0 ? stdout : fopen(capture.file, "wbe");
    if (capture.to == NULL) {
        (void)complain(strerrordesc_np(errno), capture.file);
        return 1;
    }
    const struct sigaction action = {.sa_handler = interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGPIPE, &action, NULL);
    int code = 1;
    if (folder_open(&capture)) {
        code = run(&capture);
    }
    if (capture.lock >= 0) {
        folder_close(&capture);
    }
    return fclose(capture.to) == 0 ? code : 1;
}
