/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.h - what the files of this folder know of each other: uring.c has
 * the ring and accepts, stream.c does what one stream wants, disk.c reads and
 * writes files through the same ring.
 *
 *   Memory    uring.c's
 *   Runs on   owner core
 */
#pragma once

#include <liburing.h>

#include <drivers/common/port.h>

#include "buffers.h"

/*
 * Tags of completions: the kind in the top byte, then 24 bits of index, then
 * the generation.  A late completion of a dead stream names nobody.
 */
enum uring_kind {
    URING_KIND_ACCEPT = 1,
    URING_KIND_WAKE,
    URING_KIND_WATCH,
    URING_KIND_DISK,
    URING_KIND_DISK_SYNC,
    /* From here on they are of streams. */
    URING_KIND_RECEIVE,
    URING_KIND_SEND,
    URING_KIND_CANCEL,
};

#define URING_INDEX_BITS 24
#define URING_INDEX_MAX  ((1u << URING_INDEX_BITS) - 1)

/*
 * Calls and completions change what is wanted; stream.c turns it into
 * submissions, and comes again later when the queue is full.
 *
 * Life:  OPEN -close()-> CLOSING: shutdown, cancel what runs
 *             -operations == 0-> CLOSED is delivered, the descriptor closed, the slot free
 */
struct uring_stream {
    struct lp_stream base;
    uint32_t operations;  /* in the kernel, cancellations included */
    bool armed;           /* a multishot receive runs */
    bool cancelling;      /* its cancellation was submitted */
    bool send_running;    /* a sendmsg runs */
    bool send_cancelling; /* its cancellation was submitted */
    bool send_over;       /* SENT is due */
};

struct uring_listener {
    bool armed;
    bool paused; /* an accept is armed that began before a pause */
    bool dead;   /* shut down under us */
};

struct uring_disk;

struct uring_driver {
    struct lp_port port;
    struct uring_disk *disk; /* NULL: there is none */
    struct io_uring ring;
    struct uring_buffers buffers;
    bool ring_made;
    bool enabled;
    bool wake_armed;
    bool flushed; /* since the last poll() */
    struct uring_listener listener[LP_LISTENERS_MAX];
};

static inline uint64_t
uring_tag_make(enum uring_kind kind, lp_handle handle)
{
    LP_ASSERT(lp_handle_index(handle) <= URING_INDEX_MAX);
    return (uint64_t)kind << 56 | (uint64_t)lp_handle_index(handle) << 32 |
           lp_handle_generation(handle);
}

static inline enum uring_kind
uring_tag_kind(uint64_t tag)
{
    return (enum uring_kind)(tag >> 56);
}

static inline lp_handle
uring_tag_handle(uint64_t tag)
{
    return lp_handle_make((uint32_t)(tag >> 32) & URING_INDEX_MAX, (uint32_t)tag);
}

/* NULL: the queue is full, and the kernel takes nothing now; try in the next poll(). */
struct io_uring_sqe *uring_sqe_get(struct uring_driver *driver);

/* Those of transport.h that the disk needs, too. */
void uring_enable_once(struct uring_driver *driver);
void uring_flush(void *self);

/* A read, a write or a sync has ended. */
void uring_disk_completed(struct uring_driver *driver, const struct io_uring_cqe *cqe);
/* Submit what found no room before. */
void uring_disk_push(struct uring_disk *disk);
/* Does its poll() have something to hand out? */
bool uring_disk_waiting(const struct uring_disk *disk);
/* Before the ring goes: what runs writes into memory that will not be there. */
void uring_disk_close(struct uring_driver *driver);

/* A receive, a send or a cancellation has got on or ended. */
void uring_stream_completed(struct uring_driver *driver, const struct io_uring_cqe *cqe,
                            struct lp_sink *sink);
/* Bring the kernel's side up to what is wanted, or queue the stream to try again. */
void uring_stream_wants(struct uring_driver *driver, struct lp_stream *base);
/* Whatever a stream has to say or submit; true: come again. */
bool uring_stream_step(struct uring_driver *driver, struct lp_stream *base, struct lp_sink *sink);

/* Those of transport.h. */
bool uring_stream_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count);
void uring_stream_receive_stop(void *self, lp_handle handle);
void uring_stream_receive_start(void *self, lp_handle handle);
void uring_stream_close(void *self, lp_handle handle);
