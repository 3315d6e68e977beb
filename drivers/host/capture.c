/* SPDX-License-Identifier: Apache-2.0 */
/* Frames for `lepus capture`, while somebody listens: see drivers/common/capture_ring.h. */
#include "host.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Looks at which the tool stood still before it is taken for dead. */
#define SILENT_MAX 50u
/* Of so many looks one asks the file system whether a tool is there: that takes some 20 us. */
#define OPEN_EVERY 10u

/* Into the ring, around its end; `at` counts for ever. */
static void
ring_put(struct lp_capture_ring *ring, uint64_t at, const void *from, uint32_t bytes)
{
    uint8_t *base = lp_capture_bytes(ring);
    const uint32_t start = (uint32_t)(at % LP_CAPTURE_ROOM);
    const uint32_t first = LP_MIN(bytes, LP_CAPTURE_ROOM - start);
    memcpy(base + start, from, first);
    memcpy(base, (const uint8_t *)from + first, bytes - first);
}

static void
frame_note(void *context, const struct lp_net_captured *frame)
{
    struct host_capture *capture = context;
    struct lp_capture_ring *ring = capture->ring;
    const struct lp_capture_record record = {
        .now_ns = frame->now_ns,
        .bytes = LP_MIN(frame->bytes, capture->snap_bytes),
        .whole = frame->bytes,
        .port = frame->port,
        .sent = frame->sent,
    };
    const uint64_t need = (sizeof(record) + record.bytes + 7u) & ~UINT64_C(7);
    /* Pairs with the tool's release of what it has read: its room is ours. */
    const uint64_t left = capture->written - lp_load_acquire(&ring->read);
    if (left > LP_CAPTURE_ROOM || LP_CAPTURE_ROOM - left < need) {
        capture->dropped++;
        lp_store_relaxed(&ring->dropped, capture->dropped); /* a counter */
        return;
    }
    ring_put(ring, capture->written, &record, sizeof(record));
    ring_put(ring, capture->written + sizeof(record), frame->data, record.bytes);
    capture->written += need;
    /* Pairs with the tool's acquire: the record is whole. */
    lp_store_release(&ring->written, capture->written);
}

static void
detach(struct host_shard *self)
{
    struct host_capture *capture = &self->capture;
    lp_net_capture_set(self->net, NULL);
    (void)munmap(capture->ring, LP_CAPTURE_BYTES); /* ours, mapped below */
    *capture = (struct host_capture){0};
}

static void
attach(struct host_shard *self, int fd)
{
    struct host_capture *capture = &self->capture;
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size != LP_CAPTURE_BYTES) {
        return;
    }
    void *map = mmap(NULL, LP_CAPTURE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return;
    }
    struct lp_capture_ring *ring = map;
    if (ring->magic != LP_CAPTURE_MAGIC || lp_load_relaxed(&ring->closed) != 0 || /* a statistic */
        ring->attached != 0) {
        (void)munmap(map, LP_CAPTURE_BYTES); /* somebody else's, or over */
        return;
    }
    capture->ring = ring;
    capture->snap_bytes = (uint32_t)LP_MIN(ring->snap_bytes, LP_CAPTURE_SNAP_MAX);
    const uint64_t now = host_monotonic_ns();
    ring->wall_offset_ns = (int64_t)(host_wall_ns(&self->wall, now) - now);
    /* Pairs with the tool's acquire: the offset is there. */
    lp_store_release(&ring->attached, 1);
    const struct lp_net_capture hook = {.frame = frame_note, .context = capture};
    lp_net_capture_set(self->net, &hook);
}

void
host_capture_look(struct host_shard *self)
{
    struct host_capture *capture = &self->capture;
    if (capture->ring != NULL) {
        const uint64_t alive = lp_load_relaxed(&capture->ring->alive); /* a counter */
        capture->silent = alive == capture->alive ? capture->silent + 1 : 0;
        capture->alive = alive;
        /* A statistic of the tool's: it may be seen a look later. */
        if (lp_load_relaxed(&capture->ring->closed) != 0 || capture->silent > SILENT_MAX) {
            detach(self);
        }
        return;
    }
    if (self->host->options.data == NULL || capture->looks++ % OPEN_EVERY != 0) {
        return;
    }
    char path[4200];
    (void)snprintf(path, sizeof(path), "%s/" LP_CAPTURE_FOLDER "/shard-%u",
                   self->host->options.data, self->index);
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        attach(self, fd);
        (void)close(fd);
    }
}
