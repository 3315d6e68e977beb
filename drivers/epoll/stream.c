/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <errno.h>
#include <sys/socket.h>

/* One stream's share of a poll: a busy one must not keep the others waiting. */
#define RECEIVE_BYTES 65536u
/* Not worth a system call below this. */
#define RECEIVE_MIN_BYTES 4096u
#define LEND_ALIGN        64u

static struct epoll_stream *
stream_of(struct lp_stream *base)
{
    return (struct epoll_stream *)(void *)base;
}

void
epoll_stream_mark(struct epoll_driver *driver, const struct epoll_event *event)
{
    struct lp_stream *base = lp_streams_find_open(&driver->port.streams, event->data.u64);
    if (base == NULL) {
        return; /* fetched before it was closed */
    }
    struct epoll_stream *stream = stream_of(base);
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
    lp_streams_push(&driver->port.streams, base);
}

/* --- Sending. -------------------------------------------------------------------------------- */

static void
send_done(struct epoll_driver *driver, struct epoll_stream *stream)
{
    lp_sends_release(&driver->port.sends, &stream->base.send);
    stream->sent = true;
}

/* Give the kernel what it takes; true: the send is over, well or not. */
static bool
send_push(struct epoll_driver *driver, struct epoll_stream *stream, struct lp_send *send)
{
    while (!stream->base.failed) {
        driver->port.counters.kernel_enters++;
        const ssize_t done =
            sendmsg(stream->base.fd, lp_send_message(send), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done >= 0) {
            stream->base.taken += (uint32_t)done;
            if (lp_send_advance(send, (size_t)done)) {
                return true;
            }
        } else if (errno == EAGAIN) {
            stream->writable = false;
            return false;
        } else if (errno != EINTR && errno != ENOBUFS) {
            lp_stream_fail(&stream->base);
        }
    }
    return true;
}

bool
epoll_stream_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count)
{
    struct epoll_driver *driver = self;
    struct lp_stream *base = lp_streams_find_open(&driver->port.streams, handle);
    if (base == NULL || stream_of(base)->sending) {
        return false;
    }
    struct epoll_stream *stream = stream_of(base);
    struct lp_send now; /* not all of it: clearing 1 KiB a send would show */
    const uint64_t bytes = lp_send_fill(&now, pieces, count);
    LP_ASSERT(bytes <= UINT32_MAX);
    stream->sending = true;
    base->taken = 0;
    if (send_push(driver, stream, &now)) {
        send_done(driver, stream);
        lp_streams_push(&driver->port.streams, base);
        return true;
    }
    base->send = lp_sends_alloc(&driver->port.sends);
    driver->port.sends.send[base->send] = now;
    return true;
}

/* --- Receiving. ------------------------------------------------------------------------------ */

static void
stream_receive(struct epoll_driver *driver, struct epoll_stream *stream, struct lp_sink *sink)
{
    const uint32_t room = LP_MIN(RECEIVE_BYTES, EPOLL_ARENA_BYTES - driver->arena_used);
    uint8_t *at = driver->arena + driver->arena_used;
    ssize_t done;
    do {
        driver->port.counters.kernel_enters++;
        done = recv(stream->base.fd, at, room, MSG_DONTWAIT);
    } while (done < 0 && errno == EINTR);
    if (done > 0) {
        /* A short read has emptied the socket: the next bytes make a new edge.  An end does not. */
        stream->readable = (uint32_t)done == room || stream->hangup;
        driver->arena_used += ((uint32_t)done + LEND_ALIGN - 1) & ~(LEND_ALIGN - 1);
        struct lp_transport_event *event = lp_sink_emit(sink, &stream->base, LP_TRANSPORT_RECEIVED);
        event->data = at;
        event->bytes = (uint32_t)done;
        return;
    }
    stream->readable = false;
    if (done == 0) {
        stream->base.end_due = !stream->base.ended;
    } else if (errno != EAGAIN) {
        lp_stream_fail(&stream->base);
    }
}

static bool
receive_wanted(const struct epoll_stream *stream)
{
    return stream->base.receiving && stream->readable && !stream->base.end_due &&
           !stream->base.ended;
}

void
epoll_stream_receive_stop(void *self, lp_handle handle)
{
    struct epoll_driver *driver = self;
    struct lp_stream *stream = lp_streams_find_open(&driver->port.streams, handle);
    if (stream != NULL) {
        stream->receiving = false;
    }
}

void
epoll_stream_receive_start(void *self, lp_handle handle)
{
    struct epoll_driver *driver = self;
    struct lp_stream *stream = lp_streams_find_open(&driver->port.streams, handle);
    if (stream != NULL) {
        stream->receiving = true;
        lp_streams_push(&driver->port.streams, stream);
    }
}

/* --- Its turn, and its end. ------------------------------------------------------------------ */

static void
step_send(struct epoll_driver *driver, struct epoll_stream *stream, struct lp_sink *sink)
{
    struct lp_stream *base = &stream->base;
    if (base->send != LP_SLOT_NONE && (stream->writable || base->failed) &&
        send_push(driver, stream, &driver->port.sends.send[base->send])) {
        send_done(driver, stream);
    }
    if (stream->sent) {
        lp_sink_emit(sink, base, LP_TRANSPORT_SENT)->bytes = base->taken;
        stream->sent = false;
        stream->sending = false;
    }
}

bool
epoll_stream_step(struct epoll_driver *driver, struct lp_stream *base, struct lp_sink *sink)
{
    struct epoll_stream *stream = stream_of(base);
    if (base->closing) {
        lp_port_closed(&driver->port, base, sink);
        return false;
    }
    step_send(driver, stream, sink);
    if (stream->broken && !base->receiving && !base->failed) {
        lp_stream_fail(base); /* nobody reads, so nobody else would notice */
    }
    if (receive_wanted(stream)) {
        if (lp_sink_full(sink) || EPOLL_ARENA_BYTES - driver->arena_used < RECEIVE_MIN_BYTES) {
            return true;
        }
        stream_receive(driver, stream, sink);
    }
    if (base->end_due) {
        /* A send that failed is answered first; one that still runs does not hold up the end. */
        if (lp_sink_full(sink) || (base->failed && base->send != LP_SLOT_NONE)) {
            return true;
        }
        lp_sink_ended(sink, base);
    }
    return receive_wanted(stream);
}

void
epoll_stream_close(void *self, lp_handle handle)
{
    struct epoll_driver *driver = self;
    struct lp_stream *stream = lp_streams_find_open(&driver->port.streams, handle);
    if (stream == NULL) {
        return;
    }
    stream->closing = true;
    lp_sends_release(&driver->port.sends, &stream->send);
    lp_socket_close(stream->fd);
    stream->fd = -1;
    lp_streams_push(&driver->port.streams, stream);
}
