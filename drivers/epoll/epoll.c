/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/epoll/epoll.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <drivers/common/sends.h>
#include <drivers/common/slots.h>

#define FETCH_MAX 256
/* What one poll lends at most.  Streams that find it used up are read first in the next poll. */
#define ARENA_BYTES (1024u * 1024u)
/* One stream's share of a poll: a busy one must not keep the others waiting. */
#define RECEIVE_BYTES 65536u
/* Not worth a system call below this. */
#define RECEIVE_MIN_BYTES 4096u
#define LEND_ALIGN        64u

/* Tags in epoll_data: a stream's handle, or generation 0 and one of these. */
#define TAG_WAKE UINT32_MAX

/*
 * Life:  OPEN -close()-> CLOSING -poll() says CLOSED-> free.  The descriptor
 * is closed in close(): with epoll nothing in the kernel refers to a stream.
 */
struct stream {
    uint64_t user;
    int fd;
    uint32_t send;  /* index of driver->sends, or LP_SLOT_NONE */
    uint32_t taken; /* of the send */
    uint32_t ready_next;
    bool in_ready;
    bool receiving;
    bool readable; /* edge seen, and not read dry since */
    bool writable; /* likewise */
    bool hangup;   /* the peer has ended: a short read is not the last word */
    bool broken;   /* EPOLLERR was seen */
    bool failed;   /* no use to send or receive any more */
    bool sending;  /* send() was called, SENT not delivered */
    bool sent;     /* SENT is due */
    bool end_due;
    bool ended;
    bool closing;
};

struct epoll_driver {
    int epoll_fd;
    int wake_fd;
    bool wake_owned;
    bool accepting;
    int reserve_fd;
    const struct lp_listeners *listeners;
    uint32_t shard;
    struct lp_slots slots;
    struct stream *streams;
    struct lp_sends sends;
    uint8_t *arena;
    uint32_t arena_used;
    /* Streams with something to do, in the order in which they came. */
    uint32_t ready_head;
    uint32_t ready_tail;
    uint32_t ready_count;
    uint32_t fetched_at;
    uint32_t fetched_count;
    struct lp_socket_counters counters;
    struct epoll_event fetched[FETCH_MAX];
};

struct sink {
    struct lp_transport_event *events;
    uint32_t count;
    uint32_t max;
};

static struct lp_transport_event *
emit(struct epoll_driver *driver, struct sink *sink, uint32_t index,
     enum lp_transport_event_kind kind)
{
    LP_ASSERT(sink->count < sink->max);
    /* Field by field: the addresses, most of the struct, are for ACCEPTED alone. */
    struct lp_transport_event *event = &sink->events[sink->count++];
    event->kind = kind;
    event->stream = lp_slots_handle(&driver->slots, index);
    event->user = driver->streams[index].user;
    event->data = NULL;
    event->bytes = 0;
    event->listener = 0;
    return event;
}

static void
ready_push(struct epoll_driver *driver, uint32_t index)
{
    struct stream *stream = &driver->streams[index];
    if (stream->in_ready) {
        return;
    }
    stream->in_ready = true;
    stream->ready_next = LP_SLOT_NONE;
    if (driver->ready_count == 0) {
        driver->ready_head = index;
    } else {
        driver->streams[driver->ready_tail].ready_next = index;
    }
    driver->ready_tail = index;
    driver->ready_count++;
}

static uint32_t
ready_pop(struct epoll_driver *driver)
{
    LP_ASSERT(driver->ready_count > 0);
    const uint32_t index = driver->ready_head;
    driver->ready_head = driver->streams[index].ready_next;
    driver->streams[index].in_ready = false;
    driver->ready_count--;
    return index;
}

/* --- Accepting. ------------------------------------------------------------------------------ */

static bool
epoll_add(struct epoll_driver *driver, int fd, uint32_t events, uint64_t tag)
{
    struct epoll_event event = {.events = events, .data = {.u64 = tag}};
    return epoll_ctl(driver->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void
stream_accept(struct epoll_driver *driver, int fd, uint32_t listener, struct sink *sink)
{
    const uint32_t index = driver->reserve_fd < 0 ? LP_SLOT_NONE : lp_slots_alloc(&driver->slots);
    if (index == LP_SLOT_NONE) {
        driver->counters.refused++;
        (void)close(fd);
        return;
    }
    driver->streams[index] =
        (struct stream){.fd = fd, .send = LP_SLOT_NONE, .receiving = true, .writable = true};
    const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    if (!epoll_add(driver, fd, events, lp_slots_handle(&driver->slots, index))) {
        driver->counters.refused++;
        (void)close(fd);
        lp_slots_release(&driver->slots, index);
        return;
    }
    driver->counters.accepted++;
    struct lp_transport_event *event = emit(driver, sink, index, LP_TRANSPORT_ACCEPTED);
    event->listener = listener;
    lp_socket_addresses(fd, event);
}

/* Level-triggered: what does not fit into this poll is reported again. */
static void
listener_accept(struct epoll_driver *driver, uint32_t listener, struct sink *sink)
{
    const int listen_fd = driver->listeners->fd[driver->shard][listener];
    while (driver->accepting && sink->count < sink->max) {
        driver->counters.kernel_enters++;
        const int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            stream_accept(driver, fd, listener, sink);
            if (driver->reserve_fd < 0) {
                driver->reserve_fd = lp_socket_reserve();
                return;
            }
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) {
            continue;
        }
        const bool had_reserve = driver->reserve_fd >= 0;
        lp_socket_accept_failed(errno, &driver->reserve_fd);
        if (!had_reserve || driver->reserve_fd >= 0) {
            return;
        }
    }
}

/* --- Sending. -------------------------------------------------------------------------------- */

static void
stream_fail(struct stream *stream)
{
    stream->failed = true;
    stream->readable = false;
    stream->end_due = !stream->ended;
}

static void
send_done(struct epoll_driver *driver, struct stream *stream)
{
    lp_sends_release(&driver->sends, &stream->send);
    stream->sent = true;
}

/* Give the kernel what it takes; true: the send is over, well or not. */
static bool
send_push(struct epoll_driver *driver, struct stream *stream, struct lp_send *send)
{
    while (!stream->failed) {
        driver->counters.kernel_enters++;
        const ssize_t done =
            sendmsg(stream->fd, lp_send_message(send), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done >= 0) {
            stream->taken += (uint32_t)done;
            if (lp_send_advance(send, (size_t)done)) {
                return true;
            }
        } else if (errno == EAGAIN) {
            stream->writable = false;
            return false;
        } else if (errno != EINTR && errno != ENOBUFS) {
            stream_fail(stream);
        }
    }
    return true;
}

static bool
driver_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count)
{
    struct epoll_driver *driver = self;
    const uint32_t index = lp_slots_find(&driver->slots, handle);
    if (index == LP_SLOT_NONE || driver->streams[index].closing || driver->streams[index].sending) {
        return false;
    }
    struct stream *stream = &driver->streams[index];
    struct lp_send now; /* not all of it: clearing 1 KiB a send would show */
    const uint64_t bytes = lp_send_fill(&now, pieces, count);
    LP_ASSERT(bytes <= UINT32_MAX);
    stream->sending = true;
    stream->taken = 0;
    if (send_push(driver, stream, &now)) {
        send_done(driver, stream);
        ready_push(driver, index);
        return true;
    }
    stream->send = lp_sends_alloc(&driver->sends);
    driver->sends.send[stream->send] = now;
    return true;
}

/* --- Receiving. ------------------------------------------------------------------------------ */

static void
stream_receive(struct epoll_driver *driver, uint32_t index, struct sink *sink)
{
    struct stream *stream = &driver->streams[index];
    const uint32_t room = LP_MIN(RECEIVE_BYTES, ARENA_BYTES - driver->arena_used);
    uint8_t *at = driver->arena + driver->arena_used;
    ssize_t done;
    do {
        driver->counters.kernel_enters++;
        done = recv(stream->fd, at, room, MSG_DONTWAIT);
    } while (done < 0 && errno == EINTR);
    if (done > 0) {
        /* A short read has emptied the socket: the next bytes make a new edge.  An end does not. */
        stream->readable = (uint32_t)done == room || stream->hangup;
        driver->arena_used += ((uint32_t)done + LEND_ALIGN - 1) & ~(LEND_ALIGN - 1);
        struct lp_transport_event *event = emit(driver, sink, index, LP_TRANSPORT_RECEIVED);
        event->data = at;
        event->bytes = (uint32_t)done;
        return;
    }
    stream->readable = false;
    if (done == 0) {
        stream->end_due = !stream->ended;
    } else if (errno != EAGAIN) {
        stream_fail(stream);
    }
}

static bool
receive_wanted(const struct stream *stream)
{
    return stream->receiving && stream->readable && !stream->end_due && !stream->ended;
}

/* Whatever a stream has to say, as far as there is room; true: there is more. */
static bool
stream_step(struct epoll_driver *driver, uint32_t index, struct sink *sink)
{
    struct stream *stream = &driver->streams[index];
    if (stream->closing) {
        emit(driver, sink, index, LP_TRANSPORT_CLOSED);
        lp_slots_release(&driver->slots, index);
        return false;
    }
    if (stream->send != LP_SLOT_NONE && (stream->writable || stream->failed) &&
        send_push(driver, stream, &driver->sends.send[stream->send])) {
        send_done(driver, stream);
    }
    if (stream->sent) {
        emit(driver, sink, index, LP_TRANSPORT_SENT)->bytes = stream->taken;
        stream->sent = false;
        stream->sending = false;
    }
    if (stream->broken && !stream->receiving && !stream->failed) {
        stream_fail(stream); /* nobody reads, so nobody else would notice */
    }
    if (receive_wanted(stream)) {
        if (sink->count == sink->max || ARENA_BYTES - driver->arena_used < RECEIVE_MIN_BYTES) {
            return true;
        }
        stream_receive(driver, index, sink);
    }
    if (stream->end_due) {
        /* A send that failed is answered first; one that still runs does not hold up the end. */
        if (sink->count == sink->max || (stream->failed && stream->send != LP_SLOT_NONE)) {
            return true;
        }
        stream->end_due = false;
        stream->ended = true;
        emit(driver, sink, index, LP_TRANSPORT_ENDED);
    }
    return receive_wanted(stream);
}

/* --- Polling. -------------------------------------------------------------------------------- */

static void
fetch(struct epoll_driver *driver, const struct timespec *timeout)
{
    driver->counters.kernel_enters++;
    int count = epoll_pwait2(driver->epoll_fd, driver->fetched, FETCH_MAX, timeout, NULL);
    if (count < 0 && errno == ENOSYS) {
        /* Linux before 5.11 counts in milliseconds: rather too long than a loop of nothing. */
        const int64_t ms = timeout == NULL ? -1
                                           : (int64_t)timeout->tv_sec * 1000 +
                                                 (timeout->tv_nsec + 999999) / 1000000;
        count = epoll_wait(driver->epoll_fd, driver->fetched, FETCH_MAX,
                           (int)LP_MIN(ms, (int64_t)INT_MAX));
    }
    driver->fetched_at = 0;
    driver->fetched_count = count > 0 ? (uint32_t)count : 0;
}

static void
stream_mark(struct epoll_driver *driver, const struct epoll_event *event)
{
    const uint32_t index = lp_slots_find(&driver->slots, event->data.u64);
    if (index == LP_SLOT_NONE || driver->streams[index].closing) {
        return; /* fetched before it was closed */
    }
    struct stream *stream = &driver->streams[index];
    if ((event->events & EPOLLOUT) != 0) {
        stream->writable = true;
    }
    if ((event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        stream->readable = true;
    }
    if ((event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        stream->hangup = true;
    }
    if ((event->events & EPOLLERR) != 0) {
        stream->broken = true;
        stream->writable = true; /* so that a send in flight hears of it */
    }
    ready_push(driver, index);
}

static void
fetched_handle(struct epoll_driver *driver, struct sink *sink)
{
    while (driver->fetched_at < driver->fetched_count) {
        const struct epoll_event *event = &driver->fetched[driver->fetched_at++];
        const uint32_t tag = lp_handle_index(event->data.u64);
        if (lp_handle_generation(event->data.u64) != 0) {
            stream_mark(driver, event);
        } else if (tag == TAG_WAKE) {
            lp_socket_wake_drain(driver->wake_fd);
        } else {
            listener_accept(driver, tag, sink);
        }
    }
}

static uint32_t
driver_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct epoll_driver *driver = self;
    struct sink sink = {.events = events, .max = events_max};
    driver->arena_used = 0;
    if (driver->fetched_at == driver->fetched_count) {
        static const struct timespec at_once = {0};
        fetch(driver, &at_once);
    }
    fetched_handle(driver, &sink);
    for (uint32_t n = driver->ready_count; n > 0 && sink.count < sink.max; n--) {
        const uint32_t index = ready_pop(driver);
        if (stream_step(driver, index, &sink)) {
            ready_push(driver, index);
        }
    }
    return sink.count;
}

static void
driver_wait(void *self, uint64_t timeout_ns)
{
    struct epoll_driver *driver = self;
    if (driver->ready_count > 0 || driver->fetched_at < driver->fetched_count) {
        return;
    }
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                                     .tv_nsec = (long)(timeout_ns % 1000000000u)};
    fetch(driver, timeout_ns == UINT64_MAX ? NULL : &timeout);
}

/* --- The rest of the contract. --------------------------------------------------------------- */

static struct stream *
open_find(struct epoll_driver *driver, lp_handle handle, uint32_t *ret_index)
{
    const uint32_t index = lp_slots_find(&driver->slots, handle);
    if (index == LP_SLOT_NONE || driver->streams[index].closing) {
        return NULL;
    }
    *ret_index = index;
    return &driver->streams[index];
}

static void
driver_attach(void *self, lp_handle handle, uint64_t user)
{
    uint32_t index;
    struct stream *stream = open_find(self, handle, &index);
    if (stream != NULL) {
        stream->user = user;
    }
}

static void
driver_receive_stop(void *self, lp_handle handle)
{
    uint32_t index;
    struct stream *stream = open_find(self, handle, &index);
    if (stream != NULL) {
        stream->receiving = false;
    }
}

static void
driver_receive_start(void *self, lp_handle handle)
{
    uint32_t index;
    struct stream *stream = open_find(self, handle, &index);
    if (stream != NULL) {
        stream->receiving = true;
        ready_push(self, index);
    }
}

static void
driver_close(void *self, lp_handle handle)
{
    struct epoll_driver *driver = self;
    uint32_t index;
    struct stream *stream = open_find(driver, handle, &index);
    if (stream == NULL) {
        return;
    }
    stream->closing = true;
    lp_sends_release(&driver->sends, &stream->send);
    lp_socket_close(stream->fd);
    stream->fd = -1;
    ready_push(driver, index);
}

static void
driver_flush(void *self)
{
    (void)self; /* send() entered the kernel already */
}

static void
driver_accept_stop(void *self)
{
    struct epoll_driver *driver = self;
    if (!driver->accepting) {
        return;
    }
    driver->accepting = false;
    for (uint32_t i = 0; i < driver->listeners->count; i++) {
        const int fd = driver->listeners->fd[driver->shard][i];
        (void)epoll_ctl(driver->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        (void)shutdown(
            fd, SHUT_RDWR); /* a newcomer is refused at once instead of waiting in the backlog */
    }
}

static void
driver_wake_any(void *self)
{
    const struct epoll_driver *driver = self;
    lp_socket_wake_any(driver->wake_fd);
}

static const struct lp_transport_ops epoll_ops = {
    .name = "epoll",
    .attach = driver_attach,
    .poll = driver_poll,
    .send = driver_send,
    .receive_stop = driver_receive_stop,
    .receive_start = driver_receive_start,
    .close = driver_close,
    .flush = driver_flush,
    .accept_stop = driver_accept_stop,
    .wait = driver_wait,
    .wake_any = driver_wake_any,
};

/* --- Opening and closing. -------------------------------------------------------------------- */

static bool
listeners_add(struct epoll_driver *driver)
{
    for (uint32_t i = 0; i < driver->listeners->count; i++) {
        const int fd = driver->listeners->fd[driver->shard][i];
        const int flags = fcntl(fd, F_GETFL);
        /* Only the shared Unix socket has several waiters; one of them is enough. */
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
            !epoll_add(driver, fd, EPOLLIN | EPOLLEXCLUSIVE, lp_handle_make(i, 0))) {
            return false;
        }
    }
    return true;
}

static enum lp_err
driver_open(struct epoll_driver *driver, const struct lp_socket_options *options)
{
    if (lp_slots_init_boot(&driver->slots, options->streams_max) != LP_OK ||
        lp_sends_init_boot(&driver->sends, options->streams_max) != LP_OK) {
        return LP_ERR_NO_MEMORY;
    }
    driver->streams = calloc(options->streams_max, sizeof(*driver->streams));
    driver->arena = aligned_alloc(4096, ARENA_BYTES);
    if (driver->streams == NULL || driver->arena == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    driver->reserve_fd = lp_socket_reserve();
    driver->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    driver->wake_fd = lp_socket_wake_boot(options);
    if (driver->reserve_fd < 0 || driver->epoll_fd < 0 || driver->wake_fd < 0 ||
        !epoll_add(driver, driver->wake_fd, EPOLLIN, lp_handle_make(TAG_WAKE, 0)) ||
        !listeners_add(driver)) {
        return LP_ERR_IO;
    }
    return LP_OK;
}

static void
fd_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void
driver_free(struct epoll_driver *driver)
{
    for (uint32_t i = 0; i < driver->slots.capacity && driver->streams != NULL; i++) {
        if (lp_slots_used(&driver->slots, i)) {
            fd_close(driver->streams[i].fd);
        }
    }
    fd_close(driver->epoll_fd);
    fd_close(driver->reserve_fd);
    if (driver->wake_owned) {
        fd_close(driver->wake_fd);
    }
    lp_slots_fini(&driver->slots);
    lp_sends_fini(&driver->sends);
    free(driver->streams);
    free(driver->arena);
    free(driver);
}

enum lp_err
lp_epoll_open_boot(const struct lp_socket_options *options, struct lp_transport *ret_transport)
{
    struct epoll_driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    driver->epoll_fd = -1;
    driver->wake_fd = -1;
    driver->reserve_fd = -1;
    driver->wake_owned = options->wake_fd < 0;
    driver->listeners = options->listeners;
    driver->shard = options->shard;
    driver->accepting = true;
    const enum lp_err err = driver_open(driver, options);
    if (err != LP_OK) {
        driver_free(driver);
        return err;
    }
    *ret_transport = (struct lp_transport){.ops = &epoll_ops, .self = driver};
    return LP_OK;
}

void
lp_epoll_close(struct lp_transport *transport)
{
    LP_ASSERT(transport->ops == &epoll_ops);
    driver_free(transport->self);
    *transport = (struct lp_transport){0};
}

void
lp_epoll_counters(const struct lp_transport *transport, struct lp_socket_counters *ret_counters)
{
    LP_ASSERT(transport->ops == &epoll_ops);
    const struct epoll_driver *driver = transport->self;
    *ret_counters = driver->counters;
}
