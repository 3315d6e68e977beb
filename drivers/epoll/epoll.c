/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/epoll/epoll.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"

/* Tags in epoll_data: a stream's handle, or generation 0 and a listener's index or one of these. */
#define TAG_WAKE  UINT32_MAX
#define TAG_WATCH 0x80000000u /* + which */

LP_STATIC_ASSERT(offsetof(struct epoll_driver, port) == 0, "transport.h's self is the port's too");
LP_STATIC_ASSERT(offsetof(struct epoll_stream, base) == 0, "the table's streams are ours");

/* --- Accepting. ------------------------------------------------------------------------------ */

static bool
set_add(struct epoll_driver *driver, int fd, uint32_t events, uint64_t tag)
{
    struct epoll_event event = {.events = events, .data = {.u64 = tag}};
    return epoll_ctl(driver->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Only the shared Unix socket has several waiters; one of them is enough. */
static bool
listener_watch(struct epoll_driver *driver, uint32_t i)
{
    return set_add(driver, lp_port_listen_fd(&driver->port, i), EPOLLIN | EPOLLEXCLUSIVE,
                   lp_handle_make(i, 0));
}

static void
stream_accept(struct epoll_driver *driver, int fd, uint32_t listener, struct lp_sink *sink)
{
    struct lp_stream *base = lp_port_accept(&driver->port, fd);
    if (base == NULL) {
        return;
    }
    struct epoll_stream *stream = (struct epoll_stream *)(void *)base;
    stream->writable = true;
    if (!set_add(driver, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, base->handle)) {
        lp_port_refuse(&driver->port, base);
        return;
    }
    lp_port_accepted(&driver->port, base, listener, sink);
}

/* Level-triggered: what does not fit into this poll is reported again. */
static void
listener_accept(struct epoll_driver *driver, uint32_t listener, struct lp_sink *sink)
{
    struct lp_port *port = &driver->port;
    const int listen_fd = lp_port_listen_fd(port, listener);
    while (lp_port_accepts(port, listener) && !lp_sink_full(sink)) {
        port->counters.kernel_enters++;
        const int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        const bool had_reserve = port->reserve_fd >= 0;
        if (fd >= 0) {
            stream_accept(driver, fd, listener, sink);
            if (!had_reserve) {
                return;
            }
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) {
            continue;
        }
        lp_socket_accept_failed(errno, &port->reserve_fd);
        if (!had_reserve || port->reserve_fd >= 0) {
            return;
        }
    }
}

static void
driver_accept_stop(void *self)
{
    struct epoll_driver *driver = self;
    if (!driver->port.accepting) {
        return;
    }
    for (uint32_t i = 0; i < driver->port.listeners->count; i++) {
        (void)epoll_ctl(driver->epoll_fd, EPOLL_CTL_DEL, lp_port_listen_fd(&driver->port, i), NULL);
    }
    lp_port_accept_stop(&driver->port);
}

static void
driver_accept_pause(void *self, bool paused)
{
    struct epoll_driver *driver = self;
    struct lp_port *port = &driver->port;
    if (!port->accepting || port->paused == paused) {
        return;
    }
    lp_port_accept_pause(port, paused);
    for (uint32_t i = 0; i < port->listeners->count; i++) {
        if (!lp_port_is_pausing(port, i)) {
            continue;
        }
        if (paused) {
            (void)epoll_ctl(driver->epoll_fd, EPOLL_CTL_DEL, lp_port_listen_fd(port, i), NULL);
        } else {
            (void)listener_watch(driver, i); /* there was room for it before */
        }
    }
}

/* --- Polling. -------------------------------------------------------------------------------- */

static void
fetch(struct epoll_driver *driver, const struct timespec *timeout)
{
    driver->port.counters.kernel_enters++;
    int count = epoll_pwait2(driver->epoll_fd, driver->fetched, EPOLL_FETCH_MAX, timeout, NULL);
    if (count < 0 && errno == ENOSYS) {
        /* Linux before 5.11 counts in milliseconds: rather too long than a loop of nothing. */
        const int64_t ms = timeout == NULL ? -1
                                           : (int64_t)timeout->tv_sec * 1000 +
                                                 (timeout->tv_nsec + 999999) / 1000000;
        count = epoll_wait(driver->epoll_fd, driver->fetched, EPOLL_FETCH_MAX,
                           (int)LP_MIN(ms, (int64_t)INT_MAX));
    }
    driver->fetched_at = 0;
    driver->fetched_count = count > 0 ? (uint32_t)count : 0;
}

static void
fetched_handle(struct epoll_driver *driver, struct lp_sink *sink)
{
    while (driver->fetched_at < driver->fetched_count) {
        const struct epoll_event *event = &driver->fetched[driver->fetched_at++];
        const uint32_t tag = lp_handle_index(event->data.u64);
        if (lp_handle_generation(event->data.u64) != 0) {
            epoll_stream_mark(driver, event);
        } else if (tag == TAG_WAKE) {
            lp_socket_wake_drain(driver->port.wake_fd);
        } else if (tag >= TAG_WATCH) {
            driver->port.watch_armed[tag - TAG_WATCH] = false;
        } else {
            listener_accept(driver, tag, sink);
        }
    }
}

static uint32_t
driver_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct epoll_driver *driver = self;
    struct lp_streams *streams = &driver->port.streams;
    struct lp_sink sink = {.events = events, .max = events_max};
    driver->arena_used = 0;
    if (driver->fetched_at == driver->fetched_count) {
        static const struct timespec at_once = {0};
        fetch(driver, &at_once);
    }
    fetched_handle(driver, &sink);
    for (uint32_t n = streams->queue_count; n > 0 && !lp_sink_full(&sink); n--) {
        struct lp_stream *stream = lp_streams_pop(streams);
        if (epoll_stream_step(driver, stream, &sink)) {
            lp_streams_push(streams, stream);
        }
    }
    return sink.count;
}

/* Once each: what is readable is read by somebody else, and looked at again before the next wait.
 */
static void
watches_arm(struct epoll_driver *driver)
{
    struct lp_port *port = &driver->port;
    for (uint32_t i = 0; i < port->watch_count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
                                    .data = {.u64 = lp_handle_make(TAG_WATCH + i, 0)}};
        if (!port->watch_armed[i]) {
            port->watch_armed[i] =
                epoll_ctl(driver->epoll_fd, EPOLL_CTL_MOD, port->watch_fd[i], &event) == 0;
        }
    }
}

static void
driver_wait(void *self, uint64_t timeout_ns)
{
    struct epoll_driver *driver = self;
    if (driver->port.streams.queue_count > 0 || driver->fetched_at < driver->fetched_count) {
        return;
    }
    watches_arm(driver);
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                                     .tv_nsec = (long)(timeout_ns % 1000000000u)};
    fetch(driver, timeout_ns == UINT64_MAX ? NULL : &timeout);
}

static void
driver_flush(void *self)
{
    (void)self; /* send() entered the kernel already */
}

static const struct lp_transport_ops epoll_ops = {
    .name = "epoll",
    .attach = lp_port_attach,
    .poll = driver_poll,
    .send = epoll_stream_send,
    .receive_stop = epoll_stream_receive_stop,
    .receive_start = epoll_stream_receive_start,
    .close = epoll_stream_close,
    .flush = driver_flush,
    .accept_stop = driver_accept_stop,
    .accept_pause = driver_accept_pause,
    .wait = driver_wait,
    .wake_any = lp_port_wake_any,
};

/* --- Opening and closing. -------------------------------------------------------------------- */

static bool
listeners_add(struct epoll_driver *driver)
{
    for (uint32_t i = 0; i < driver->port.listeners->count; i++) {
        const int fd = lp_port_listen_fd(&driver->port, i);
        const int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
            !listener_watch(driver, i)) {
            return false;
        }
    }
    return true;
}

static bool
watches_add(struct epoll_driver *driver)
{
    for (uint32_t i = 0; i < driver->port.watch_count; i++) {
        if (!set_add(driver, driver->port.watch_fd[i], 0, lp_handle_make(TAG_WATCH + i, 0))) {
            return false;
        }
    }
    return true;
}

static enum lp_err
driver_open(struct epoll_driver *driver, const struct lp_socket_options *options)
{
    const enum lp_err err = lp_port_open_boot(&driver->port, options, sizeof(struct epoll_stream));
    if (err != LP_OK) {
        return err;
    }
    driver->arena = aligned_alloc(4096, EPOLL_ARENA_BYTES);
    if (driver->arena == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    driver->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (driver->epoll_fd < 0 ||
        !set_add(driver, driver->port.wake_fd, EPOLLIN, lp_handle_make(TAG_WAKE, 0)) ||
        !listeners_add(driver) || !watches_add(driver)) {
        return LP_ERR_IO;
    }
    return LP_OK;
}

static void
driver_free(struct epoll_driver *driver)
{
    if (driver->epoll_fd >= 0) {
        (void)close(driver->epoll_fd);
    }
    lp_port_close(&driver->port);
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
    *ret_counters = driver->port.counters;
}
