/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.h - what the files of this folder know of each other: epoll.c waits
 * and accepts, stream.c does what one stream wants.
 *
 *   Memory    epoll.c's
 *   Runs on   owner core
 */
#pragma once

#include <sys/epoll.h>

#include <drivers/common/port.h>

#define EPOLL_FETCH_MAX 256
/* What one poll lends at most.  Streams that find it used up are read first in the next poll. */
#define EPOLL_ARENA_BYTES (1024u * 1024u)

/*
 * Life:  OPEN -close()-> CLOSING -poll() says CLOSED-> free.  The descriptor
 * is closed in close(): with epoll nothing in the kernel refers to a stream.
 */
struct epoll_stream {
    struct lp_stream base; /* base.send: only while the kernel has not taken all */
    bool readable;         /* edge seen, and not read dry since */
    bool writable;         /* likewise */
    bool hangup;           /* the peer has ended: a short read is not the last word */
    bool broken;           /* EPOLLERR was seen */
    bool sending;          /* send() was called, SENT not delivered */
    bool sent;             /* SENT is due */
};

struct epoll_driver {
    struct lp_port port;
    int epoll_fd;
    uint8_t *arena;
    uint32_t arena_used;
    uint32_t fetched_at;
    uint32_t fetched_count;
    struct epoll_event fetched[EPOLL_FETCH_MAX];
};

/* What epoll says of a stream. */
void epoll_stream_mark(struct epoll_driver *driver, const struct epoll_event *event);
/* Whatever a stream has to say, as far as there is room; true: there is more. */
bool epoll_stream_step(struct epoll_driver *driver, struct lp_stream *base, struct lp_sink *sink);

/* Those of transport.h. */
bool epoll_stream_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count);
void epoll_stream_receive_stop(void *self, lp_handle handle);
void epoll_stream_receive_start(void *self, lp_handle handle);
void epoll_stream_close(void *self, lp_handle handle);
