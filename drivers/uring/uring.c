/* SPDX-License-Identifier: Apache-2.0 */
#include "uring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "compat.h"
#include "driver.h"
#include "ring.h"

#define SQ_ENTRIES 1024u

LP_STATIC_ASSERT(offsetof(struct uring_driver, port) == 0, "transport.h's self is the port's too");
LP_STATIC_ASSERT(offsetof(struct uring_stream, base) == 0, "the table's streams are ours");

struct io_uring_sqe *
uring_sqe_get(struct uring_driver *driver)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&driver->ring);
    if (sqe == NULL) {
        driver->port.counters.kernel_enters++;
        (void)io_uring_submit(&driver->ring); /* whether it helped shows in the next line */
        sqe = io_uring_get_sqe(&driver->ring);
    }
    return sqe;
}

/* --- Accepting, and being woken. ------------------------------------------------------------- */

static void
listeners_push(struct uring_driver *driver)
{
    for (uint32_t i = 0; i < driver->port.listeners->count; i++) {
        struct uring_listener *listener = &driver->listener[i];
        if (listener->armed || listener->dead || !lp_port_accepts(&driver->port, i)) {
            continue;
        }
        struct io_uring_sqe *sqe = uring_sqe_get(driver);
        if (sqe == NULL) {
            return;
        }
        io_uring_prep_multishot_accept(sqe, lp_port_listen_fd(&driver->port, i), NULL, NULL,
                                       SOCK_CLOEXEC);
        sqe->user_data = uring_tag_make(URING_KIND_ACCEPT, lp_handle_make(i, 0));
        listener->armed = true;
    }
}

static void
wake_push(struct uring_driver *driver)
{
    if (driver->wake_armed) {
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe_get(driver);
    if (sqe == NULL) {
        return;
    }
    io_uring_prep_poll_multishot(sqe, driver->port.wake_fd, POLLIN);
    sqe->user_data = uring_tag_make(URING_KIND_WAKE, LP_HANDLE_NONE);
    driver->wake_armed = true;
}

/* Once each: what is readable is read by somebody else, and looked at again before the next wait.
 */
static void
watches_push(struct uring_driver *driver)
{
    struct lp_port *port = &driver->port;
    for (uint32_t i = 0; i < port->watch_count; i++) {
        struct io_uring_sqe *sqe = port->watch_armed[i] ? NULL : uring_sqe_get(driver);
        if (sqe != NULL) {
            io_uring_prep_poll_add(sqe, port->watch_fd[i], POLLIN);
            sqe->user_data = uring_tag_make(URING_KIND_WATCH, lp_handle_make(i, 0));
            port->watch_armed[i] = true;
        }
    }
}

static void
accept_completed(struct uring_driver *driver, const struct io_uring_cqe *cqe, struct lp_sink *sink)
{
    const uint32_t i = lp_handle_index(uring_tag_handle(cqe->user_data));
    LP_ASSERT(i < driver->port.listeners->count);
    struct uring_listener *listener = &driver->listener[i];
    const bool paused = listener->paused; /* this may be the end of an accept from before */
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        listener->armed = false; /* listeners_push() arms it again */
        listener->paused = false;
    }
    if (cqe->res < 0) {
        lp_socket_accept_failed(-cqe->res, &driver->port.reserve_fd);
        listener->dead = !paused && (cqe->res == -EINVAL || cqe->res == -EBADF);
        return;
    }
    struct lp_stream *stream = lp_port_accept(&driver->port, cqe->res);
    if (stream != NULL) {
        lp_port_accepted(&driver->port, stream, i, sink);
        /* The kernel hears of it at flush(): the shard attaches before anything is received. */
        uring_stream_wants(driver, stream);
    }
}

/* --- Polling. -------------------------------------------------------------------------------- */

static void
completed(struct uring_driver *driver, const struct io_uring_cqe *cqe, struct lp_sink *sink)
{
    const enum uring_kind kind = uring_tag_kind(cqe->user_data);
    if (kind > URING_KIND_DISK_SYNC) {
        uring_stream_completed(driver, cqe, sink);
    } else if (kind >= URING_KIND_DISK) {
        uring_disk_completed(driver, cqe);
    } else if (kind == URING_KIND_ACCEPT) {
        accept_completed(driver, cqe, sink);
    } else if (kind == URING_KIND_WATCH) {
        driver->port.watch_armed[lp_handle_index(uring_tag_handle(cqe->user_data))] = false;
    } else {
        driver->wake_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
        lp_socket_wake_drain(driver->port.wake_fd);
    }
}

/* Completions that wait in the kernel are fetched only when it says that there are some. */
static void
fetch(struct uring_driver *driver)
{
    if (io_uring_cq_ready(&driver->ring) == 0 && uring_kernel_waits(&driver->ring)) {
        driver->port.counters.kernel_enters++;
        (void)io_uring_get_events(&driver->ring); /* what it brought shows in the queue */
    }
}

void
uring_enable_once(struct uring_driver *driver)
{
    if (!driver->enabled) {
        driver->enabled = true;
        LP_ASSERT(uring_enable(&driver->ring) == 0);
        (void)io_uring_register_ring_fd(
            &driver->ring); /* saves a look-up an enter; refused: no harm */
    }
}

static uint32_t
driver_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct uring_driver *driver = self;
    struct lp_streams *streams = &driver->port.streams;
    struct lp_sink sink = {.events = events, .max = events_max};
    uring_enable_once(driver);
    uring_buffers_return(&driver->buffers);
    listeners_push(driver);
    wake_push(driver);
    driver->flushed = false;
    fetch(driver);
    struct io_uring_cqe *cqe;
    while (!lp_sink_full(&sink) && io_uring_peek_cqe(&driver->ring, &cqe) == 0) {
        completed(driver, cqe, &sink);
        io_uring_cqe_seen(&driver->ring, cqe);
    }
    for (uint32_t n = streams->queue_count; n > 0 && !lp_sink_full(&sink); n--) {
        struct lp_stream *stream = lp_streams_pop(streams);
        if (uring_stream_step(driver, stream, &sink)) {
            lp_streams_push(streams, stream);
        }
    }
    if (driver->disk != NULL) {
        uring_disk_push(driver->disk);
    }
    return sink.count;
}

void
uring_flush(void *self)
{
    struct uring_driver *driver = self;
    uring_enable_once(driver);
    driver->flushed = true;
    if (uring_unsubmitted(&driver->ring)) {
        driver->port.counters.kernel_enters++;
        /* What it could not take stays in the queue for the next time. */
        (void)io_uring_submit_and_get_events(&driver->ring);
    }
}

static void
driver_wait(void *self, uint64_t timeout_ns)
{
    struct uring_driver *driver = self;
    uring_enable_once(driver);
    listeners_push(driver);
    wake_push(driver);
    watches_push(driver);
    if (driver->port.streams.queue_count > 0 || io_uring_cq_ready(&driver->ring) > 0 ||
        (driver->disk != NULL && uring_disk_waiting(driver->disk))) {
        return;
    }
    struct __kernel_timespec timeout = {.tv_sec = (int64_t)(timeout_ns / 1000000000u),
                                        .tv_nsec = (long long)(timeout_ns % 1000000000u)};
    struct io_uring_cqe *cqe;
    driver->port.counters.kernel_enters++;
    /* Time is up, a signal, a completion: poll() sees which. */
    (void)io_uring_submit_and_wait_timeout(&driver->ring, &cqe, 1,
                                           timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
}

static void
accept_cancel(struct uring_driver *driver, uint32_t i)
{
    struct io_uring_sqe *sqe = driver->listener[i].armed ? uring_sqe_get(driver) : NULL;
    if (sqe != NULL) {
        io_uring_prep_cancel64(sqe, uring_tag_make(URING_KIND_ACCEPT, lp_handle_make(i, 0)), 0);
        sqe->user_data = uring_tag_make(URING_KIND_CANCEL, LP_HANDLE_NONE);
    }
}

static void
driver_accept_stop(void *self)
{
    struct uring_driver *driver = self;
    if (!driver->port.accepting) {
        return;
    }
    uring_enable_once(driver);
    for (uint32_t i = 0; i < driver->port.listeners->count; i++) {
        accept_cancel(driver, i);
    }
    /* Also ends an accept whose cancellation found no room. */
    lp_port_accept_stop(&driver->port);
}

static void
driver_accept_pause(void *self, bool paused)
{
    struct uring_driver *driver = self;
    if (!driver->port.accepting || driver->port.paused == paused) {
        return;
    }
    uring_enable_once(driver);
    for (uint32_t i = 0; paused && i < driver->port.listeners->count; i++) {
        if (lp_port_is_pausing(&driver->port, i)) {
            driver->listener[i].paused = driver->listener[i].armed;
            accept_cancel(driver, i);
        }
    }
    lp_port_accept_pause(&driver->port, paused);
}

static const struct lp_transport_ops uring_ops = {
    .name = "io_uring",
    .attach = lp_port_attach,
    .poll = driver_poll,
    .send = uring_stream_send,
    .receive_stop = uring_stream_receive_stop,
    .receive_start = uring_stream_receive_start,
    .close = uring_stream_close,
    .flush = uring_flush,
    .accept_stop = driver_accept_stop,
    .accept_pause = driver_accept_pause,
    .wait = driver_wait,
    .wake_any = lp_port_wake_any,
};

/* --- Opening and closing. -------------------------------------------------------------------- */

static enum lp_err
driver_open(struct uring_driver *driver, const struct lp_socket_options *options)
{
    const enum lp_err err = lp_port_open_boot(&driver->port, options, sizeof(struct uring_stream));
    if (err != LP_OK) {
        return err;
    }
    int error;
    if (uring_ring_init_boot(&driver->ring, SQ_ENTRIES, &error) != LP_OK) {
        return LP_ERR_UNSUPPORTED;
    }
    driver->ring_made = true;
    return uring_buffers_init_boot(&driver->buffers, &driver->ring,
                                   options->receive_buffers > 0 ? options->receive_buffers
                                                                : URING_BUFFERS_DEFAULT);
}

static void
driver_free(struct uring_driver *driver)
{
    uring_disk_close(driver);
    /* The ring goes before the memory that its operations point into. */
    if (driver->ring_made) {
        io_uring_queue_exit(&driver->ring);
    }
    uring_buffers_fini(&driver->buffers);
    lp_port_close(&driver->port);
    free(driver);
}

enum lp_err
lp_uring_open_boot(const struct lp_socket_options *options, struct lp_transport *ret_transport)
{
    LP_ASSERT(options->streams_max <= URING_INDEX_MAX);
    struct uring_driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    const enum lp_err err = driver_open(driver, options);
    if (err != LP_OK) {
        driver_free(driver);
        return err;
    }
    *ret_transport = (struct lp_transport){.ops = &uring_ops, .self = driver};
    return LP_OK;
}

void
lp_uring_close(struct lp_transport *transport)
{
    LP_ASSERT(transport->ops == &uring_ops);
    driver_free(transport->self);
    *transport = (struct lp_transport){0};
}

void
lp_uring_counters(const struct lp_transport *transport, struct lp_socket_counters *ret_counters)
{
    LP_ASSERT(transport->ops == &uring_ops);
    const struct uring_driver *driver = transport->self;
    *ret_counters = driver->port.counters;
}
