/* SPDX-License-Identifier: Apache-2.0 */
#include "uring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <drivers/common/sends.h>
#include <drivers/common/slots.h>

#include "buffers.h"
#include "compat.h"
#include "ring.h"

#define SQ_ENTRIES 1024u

/*
 * Tags of completions: the kind in the top byte, then 24 bits of index, then
 * the generation.  A late completion of a dead stream names nobody.
 */
enum kind {
    KIND_ACCEPT = 1,
    KIND_WAKE,
    KIND_RECEIVE,
    KIND_SEND,
    KIND_CANCEL,
};

#define INDEX_BITS 24
#define INDEX_MAX  ((1u << INDEX_BITS) - 1)

/*
 * Calls and completions change what is wanted; stream_push() turns it into
 * submissions, and comes again later when the queue is full.
 *
 * Life:  OPEN -close()-> CLOSING: shutdown, cancel what runs
 *             -operations == 0-> CLOSED is delivered, the descriptor closed, the slot free
 */
struct stream {
    uint64_t user;
    int fd;
    uint32_t send;       /* index of driver->sends, or LP_SLOT_NONE */
    uint32_t taken;      /* of the send */
    uint32_t operations; /* in the kernel, cancellations included */
    uint32_t todo_next;
    bool in_todo;
    bool receiving;       /* wanted */
    bool armed;           /* a multishot receive runs */
    bool cancelling;      /* its cancellation was submitted */
    bool send_running;    /* a sendmsg runs */
    bool send_cancelling; /* its cancellation was submitted */
    bool send_over;       /* SENT is due */
    bool failed;
    bool end_due;
    bool ended;
    bool closing;
};

struct listener {
    bool armed;
    bool dead; /* shut down under us */
};

struct uring_driver {
    struct io_uring ring;
    struct uring_buffers buffers;
    bool ring_made;
    bool enabled;
    bool wake_owned;
    bool wake_armed;
    bool accepting;
    int wake_fd;
    int reserve_fd;
    const struct lp_listeners *listeners;
    uint32_t shard;
    struct lp_slots slots;
    struct stream *streams;
    struct lp_sends sends;
    uint32_t todo_head;
    uint32_t todo_tail;
    uint32_t todo_count;
    struct lp_socket_counters counters;
    struct listener listener[LP_LISTENERS_MAX];
};

struct sink {
    struct lp_transport_event *events;
    uint32_t count;
    uint32_t max;
};

static uint64_t
tag_make(enum kind kind, lp_handle handle)
{
    LP_ASSERT(lp_handle_index(handle) <= INDEX_MAX);
    return (uint64_t)kind << 56 | (uint64_t)lp_handle_index(handle) << 32 |
           lp_handle_generation(handle);
}

static lp_handle
tag_handle(uint64_t tag)
{
    return lp_handle_make((uint32_t)(tag >> 32) & INDEX_MAX, (uint32_t)tag);
}

static struct lp_transport_event *
emit(struct uring_driver *driver, struct sink *sink, uint32_t index,
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
todo_push(struct uring_driver *driver, uint32_t index)
{
    struct stream *stream = &driver->streams[index];
    if (stream->in_todo) {
        return;
    }
    stream->in_todo = true;
    stream->todo_next = LP_SLOT_NONE;
    if (driver->todo_count == 0) {
        driver->todo_head = index;
    } else {
        driver->streams[driver->todo_tail].todo_next = index;
    }
    driver->todo_tail = index;
    driver->todo_count++;
}

static uint32_t
todo_pop(struct uring_driver *driver)
{
    LP_ASSERT(driver->todo_count > 0);
    const uint32_t index = driver->todo_head;
    driver->todo_head = driver->streams[index].todo_next;
    driver->streams[index].in_todo = false;
    driver->todo_count--;
    return index;
}

/* --- Submitting. ----------------------------------------------------------------------------- */

/* NULL: the queue is full, and the kernel takes nothing now; try in the next poll(). */
static struct io_uring_sqe *
sqe_get(struct uring_driver *driver)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&driver->ring);
    if (sqe == NULL) {
        driver->counters.kernel_enters++;
        (void)io_uring_submit(&driver->ring); /* whether it helped shows in the next line */
        sqe = io_uring_get_sqe(&driver->ring);
    }
    return sqe;
}

static bool
submit_receive(struct uring_driver *driver, uint32_t index)
{
    struct stream *stream = &driver->streams[index];
    struct io_uring_sqe *sqe = sqe_get(driver);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_recv_multishot(sqe, stream->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
    sqe->user_data = tag_make(KIND_RECEIVE, lp_slots_handle(&driver->slots, index));
    stream->armed = true;
    stream->operations++;
    return true;
}

static bool
submit_send(struct uring_driver *driver, uint32_t index)
{
    struct stream *stream = &driver->streams[index];
    struct io_uring_sqe *sqe = sqe_get(driver);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_sendmsg(sqe, stream->fd, lp_send_message(&driver->sends.send[stream->send]),
                          MSG_WAITALL | MSG_NOSIGNAL);
    sqe->user_data = tag_make(KIND_SEND, lp_slots_handle(&driver->slots, index));
    stream->send_running = true;
    stream->operations++;
    return true;
}

static bool
submit_cancel(struct uring_driver *driver, uint32_t index, enum kind kind)
{
    struct io_uring_sqe *sqe = sqe_get(driver);
    if (sqe == NULL) {
        return false;
    }
    const lp_handle handle = lp_slots_handle(&driver->slots, index);
    io_uring_prep_cancel64(sqe, tag_make(kind, handle), 0);
    sqe->user_data = tag_make(KIND_CANCEL, handle);
    driver->streams[index].operations++;
    return true;
}

/* Bring the kernel's side up to what is wanted; false: the queue is full. */
static bool
stream_push(struct uring_driver *driver, uint32_t index)
{
    struct stream *stream = &driver->streams[index];
    const bool receiving =
        stream->receiving && !stream->closing && !stream->end_due && !stream->ended;
    if (receiving && !stream->armed && !submit_receive(driver, index)) {
        return false;
    }
    if (!receiving && stream->armed && !stream->cancelling) {
        stream->cancelling = submit_cancel(driver, index, KIND_RECEIVE);
        if (!stream->cancelling) {
            return false;
        }
    }
    if (stream->send == LP_SLOT_NONE) {
        return true;
    }
    if (stream->closing) {
        if (stream->send_running && !stream->send_cancelling) {
            stream->send_cancelling = submit_cancel(driver, index, KIND_SEND);
            return stream->send_cancelling;
        }
        return true;
    }
    return stream->send_running || stream->send_over || submit_send(driver, index);
}

static void
stream_wants(struct uring_driver *driver, uint32_t index)
{
    if (!stream_push(driver, index)) {
        todo_push(driver, index);
    }
}

/* --- Accepting. ------------------------------------------------------------------------------ */

static void
listeners_push(struct uring_driver *driver)
{
    for (uint32_t i = 0; i < driver->listeners->count; i++) {
        struct listener *listener = &driver->listener[i];
        if (listener->armed || listener->dead || !driver->accepting) {
            continue;
        }
        struct io_uring_sqe *sqe = sqe_get(driver);
        if (sqe == NULL) {
            return;
        }
        io_uring_prep_multishot_accept(sqe, driver->listeners->fd[driver->shard][i], NULL, NULL,
                                       SOCK_CLOEXEC);
        sqe->user_data = tag_make(KIND_ACCEPT, lp_handle_make(i, 0));
        listener->armed = true;
    }
}

static void
wake_push(struct uring_driver *driver)
{
    if (driver->wake_armed) {
        return;
    }
    struct io_uring_sqe *sqe = sqe_get(driver);
    if (sqe == NULL) {
        return;
    }
    io_uring_prep_poll_multishot(sqe, driver->wake_fd, POLLIN);
    sqe->user_data = tag_make(KIND_WAKE, LP_HANDLE_NONE);
    driver->wake_armed = true;
}

static void
stream_accept(struct uring_driver *driver, int fd, uint32_t listener, struct sink *sink)
{
    const bool shed = driver->reserve_fd < 0;
    const uint32_t index = shed ? LP_SLOT_NONE : lp_slots_alloc(&driver->slots);
    if (index == LP_SLOT_NONE || !driver->accepting) {
        driver->counters.refused++;
        (void)close(fd);
        if (shed) {
            driver->reserve_fd = lp_socket_reserve();
        }
        if (index != LP_SLOT_NONE) {
            lp_slots_release(&driver->slots, index);
        }
        return;
    }
    driver->streams[index] = (struct stream){.fd = fd, .send = LP_SLOT_NONE, .receiving = true};
    driver->counters.accepted++;
    struct lp_transport_event *event = emit(driver, sink, index, LP_TRANSPORT_ACCEPTED);
    event->listener = listener;
    lp_socket_addresses(fd, event);
    /* The kernel hears of it at flush(): the shard attaches before anything is received. */
    stream_wants(driver, index);
}

static void
accept_completed(struct uring_driver *driver, const struct io_uring_cqe *cqe, struct sink *sink)
{
    const uint32_t i = lp_handle_index(tag_handle(cqe->user_data));
    LP_ASSERT(i < driver->listeners->count);
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        driver->listener[i].armed = false; /* listeners_push() arms it again */
    }
    if (cqe->res >= 0) {
        stream_accept(driver, cqe->res, i, sink);
        return;
    }
    lp_socket_accept_failed(-cqe->res, &driver->reserve_fd);
    driver->listener[i].dead = cqe->res == -EINVAL || cqe->res == -EBADF;
}

/* --- Completions. ---------------------------------------------------------------------------- */

static void
stream_fail(struct stream *stream)
{
    stream->failed = true;
    stream->end_due = !stream->ended;
}

static void
receive_completed(struct uring_driver *driver, uint32_t index, const struct io_uring_cqe *cqe,
                  struct sink *sink)
{
    struct stream *stream = &driver->streams[index];
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        stream->armed = false;
        stream->cancelling = false;
        LP_ASSERT(stream->operations > 0);
        stream->operations--;
        todo_push(driver, index);
    }
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        /* Lent also when nobody hears of it: the return puts it back. */
        const uint8_t *data =
            uring_buffers_lend(&driver->buffers, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
        if (cqe->res > 0 && !stream->closing) {
            struct lp_transport_event *event = emit(driver, sink, index, LP_TRANSPORT_RECEIVED);
            event->data = data;
            event->bytes = (uint32_t)cqe->res;
            return;
        }
    }
    if (cqe->res == 0) {
        stream->end_due = !stream->ended;
    } else if (cqe->res == -ENOBUFS) {
        driver->counters.starved++; /* buffers are back with the next poll(), which arms it again */
    } else if (cqe->res < 0 && cqe->res != -ECANCELED && cqe->res != -EINTR &&
               cqe->res != -EAGAIN) {
        stream_fail(stream);
    }
}

static void
send_completed(struct uring_driver *driver, uint32_t index, int result)
{
    struct stream *stream = &driver->streams[index];
    LP_ASSERT(stream->operations > 0);
    LP_ASSERT(stream->send != LP_SLOT_NONE);
    stream->operations--;
    stream->send_running = false;
    todo_push(driver, index);
    if (result >= 0) {
        stream->taken += (uint32_t)result;
        /* Short in spite of MSG_WAITALL: the rest goes out by itself, or says why not. */
        stream->send_over = lp_send_advance(&driver->sends.send[stream->send], (size_t)result);
    } else if (result != -EINTR && result != -EAGAIN && result != -ENOBUFS) {
        stream->send_over = true;
        stream_fail(stream);
    }
}

static void
completed(struct uring_driver *driver, const struct io_uring_cqe *cqe, struct sink *sink)
{
    const enum kind kind = (enum kind)(cqe->user_data >> 56);
    if (kind == KIND_ACCEPT) {
        accept_completed(driver, cqe, sink);
        return;
    }
    if (kind == KIND_WAKE) {
        driver->wake_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
        lp_socket_wake_drain(driver->wake_fd);
        return;
    }
    const uint32_t index = lp_slots_find(&driver->slots, tag_handle(cqe->user_data));
    if (index == LP_SLOT_NONE) {
        return; /* a cancelled accept's echo, which has no stream */
    }
    switch (kind) {
    case KIND_RECEIVE:
        receive_completed(driver, index, cqe, sink);
        return;
    case KIND_SEND:
        send_completed(driver, index, cqe->res);
        return;
    case KIND_CANCEL:
        driver->streams[index].operations--;
        todo_push(driver, index);
        return;
    case KIND_ACCEPT:
    case KIND_WAKE:
        return;
    }
}

/* --- Polling. -------------------------------------------------------------------------------- */

/* Whatever a stream has to say or submit; true: come again. */
static bool
stream_step(struct uring_driver *driver, uint32_t index, struct sink *sink)
{
    struct stream *stream = &driver->streams[index];
    if (stream->closing && stream->operations == 0) {
        lp_sends_release(&driver->sends, &stream->send);
        lp_socket_close(stream->fd);
        emit(driver, sink, index, LP_TRANSPORT_CLOSED);
        lp_slots_release(&driver->slots, index);
        return false;
    }
    if (stream->send_over && !stream->closing) {
        stream->send_over = false;
        lp_sends_release(&driver->sends, &stream->send);
        emit(driver, sink, index, LP_TRANSPORT_SENT)->bytes = stream->taken;
    }
    if (stream->end_due && !stream->closing) {
        /* A send on a stream that has failed is answered first. */
        if (sink->count == sink->max || (stream->failed && stream->send != LP_SLOT_NONE)) {
            return sink->count == sink->max || !stream_push(driver, index);
        }
        stream->end_due = false;
        stream->ended = true;
        emit(driver, sink, index, LP_TRANSPORT_ENDED);
    }
    return !stream_push(driver, index);
}

/* Completions that wait in the kernel are fetched only when it says that there are some. */
static void
fetch(struct uring_driver *driver)
{
    if (io_uring_cq_ready(&driver->ring) == 0 && uring_kernel_waits(&driver->ring)) {
        driver->counters.kernel_enters++;
        (void)io_uring_get_events(&driver->ring); /* what it brought shows in the queue */
    }
}

static void
enable(struct uring_driver *driver)
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
    struct sink sink = {.events = events, .max = events_max};
    enable(driver);
    uring_buffers_return(&driver->buffers);
    listeners_push(driver);
    wake_push(driver);
    fetch(driver);
    struct io_uring_cqe *cqe;
    while (sink.count < sink.max && io_uring_peek_cqe(&driver->ring, &cqe) == 0) {
        completed(driver, cqe, &sink);
        io_uring_cqe_seen(&driver->ring, cqe);
    }
    for (uint32_t n = driver->todo_count; n > 0 && sink.count < sink.max; n--) {
        const uint32_t index = todo_pop(driver);
        if (stream_step(driver, index, &sink)) {
            todo_push(driver, index);
        }
    }
    return sink.count;
}

static void
driver_flush(void *self)
{
    struct uring_driver *driver = self;
    enable(driver);
    if (uring_unsubmitted(&driver->ring)) {
        driver->counters.kernel_enters++;
        /* What it could not take stays in the queue for the next time. */
        (void)io_uring_submit_and_get_events(&driver->ring);
    }
}

static void
driver_wait(void *self, uint64_t timeout_ns)
{
    struct uring_driver *driver = self;
    enable(driver);
    listeners_push(driver);
    wake_push(driver);
    if (driver->todo_count > 0 || io_uring_cq_ready(&driver->ring) > 0) {
        return;
    }
    struct __kernel_timespec timeout = {.tv_sec = (int64_t)(timeout_ns / 1000000000u),
                                        .tv_nsec = (long long)(timeout_ns % 1000000000u)};
    struct io_uring_cqe *cqe;
    driver->counters.kernel_enters++;
    /* Time is up, a signal, a completion: poll() sees which. */
    (void)io_uring_submit_and_wait_timeout(&driver->ring, &cqe, 1,
                                           timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
}

/* --- The rest of the contract. --------------------------------------------------------------- */

static struct stream *
open_find(struct uring_driver *driver, lp_handle handle, uint32_t *ret_index)
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

static bool
driver_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count)
{
    struct uring_driver *driver = self;
    uint32_t index;
    struct stream *stream = open_find(driver, handle, &index);
    if (stream == NULL || stream->send != LP_SLOT_NONE) {
        return false;
    }
    stream->send = lp_sends_alloc(&driver->sends);
    const uint64_t bytes = lp_send_fill(&driver->sends.send[stream->send], pieces, count);
    LP_ASSERT(bytes <= INT32_MAX);
    stream->taken = 0;
    if (stream->failed) {
        stream->send_over = true;
        todo_push(driver, index);
        return true;
    }
    stream_wants(driver, index);
    return true;
}

static void
driver_receive_stop(void *self, lp_handle handle)
{
    uint32_t index;
    struct stream *stream = open_find(self, handle, &index);
    if (stream != NULL) {
        stream->receiving = false;
        stream_wants(self, index);
    }
}

static void
driver_receive_start(void *self, lp_handle handle)
{
    uint32_t index;
    struct stream *stream = open_find(self, handle, &index);
    if (stream != NULL) {
        stream->receiving = true;
        stream_wants(self,
                     index); /* one that is being cancelled is armed again when that is done */
    }
}

static void
driver_close(void *self, lp_handle handle)
{
    struct uring_driver *driver = self;
    uint32_t index;
    struct stream *stream = open_find(driver, handle, &index);
    if (stream == NULL) {
        return;
    }
    stream->closing = true;
    if (stream->send_running) {
        (void)shutdown(stream->fd, SHUT_RDWR); /* wakes what a cancellation might miss */
    }
    (void)stream_push(driver, index);
    todo_push(driver, index);
}

static void
driver_accept_stop(void *self)
{
    struct uring_driver *driver = self;
    if (!driver->accepting) {
        return;
    }
    enable(driver);
    driver->accepting = false;
    for (uint32_t i = 0; i < driver->listeners->count; i++) {
        struct io_uring_sqe *sqe = driver->listener[i].armed ? sqe_get(driver) : NULL;
        if (sqe != NULL) {
            io_uring_prep_cancel64(sqe, tag_make(KIND_ACCEPT, lp_handle_make(i, 0)), 0);
            sqe->user_data = tag_make(KIND_CANCEL, LP_HANDLE_NONE);
        }
        /* Also ends an accept whose cancellation found no room; newcomers are refused at once. */
        (void)shutdown(driver->listeners->fd[driver->shard][i], SHUT_RDWR);
    }
}

static void
driver_wake_any(void *self)
{
    const struct uring_driver *driver = self;
    lp_socket_wake_any(driver->wake_fd);
}

static const struct lp_transport_ops uring_ops = {
    .name = "io_uring",
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

static enum lp_err
driver_open(struct uring_driver *driver, const struct lp_socket_options *options)
{
    if (lp_slots_init_boot(&driver->slots, options->streams_max) != LP_OK ||
        lp_sends_init_boot(&driver->sends, options->streams_max) != LP_OK) {
        return LP_ERR_NO_MEMORY;
    }
    driver->streams = calloc(options->streams_max, sizeof(*driver->streams));
    if (driver->streams == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    driver->reserve_fd = lp_socket_reserve();
    driver->wake_fd = lp_socket_wake_boot(options);
    if (driver->reserve_fd < 0 || driver->wake_fd < 0) {
        return LP_ERR_IO;
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
fd_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void
driver_free(struct uring_driver *driver)
{
    for (uint32_t i = 0; i < driver->slots.capacity && driver->streams != NULL; i++) {
        if (lp_slots_used(&driver->slots, i)) {
            fd_close(driver->streams[i].fd);
        }
    }
    /* The ring goes before the memory that its operations point into. */
    if (driver->ring_made) {
        io_uring_queue_exit(&driver->ring);
    }
    uring_buffers_fini(&driver->buffers);
    fd_close(driver->reserve_fd);
    if (driver->wake_owned) {
        fd_close(driver->wake_fd);
    }
    lp_slots_fini(&driver->slots);
    lp_sends_fini(&driver->sends);
    free(driver->streams);
    free(driver);
}

enum lp_err
lp_uring_open_boot(const struct lp_socket_options *options, struct lp_transport *ret_transport)
{
    LP_ASSERT(options->streams_max <= INDEX_MAX);
    struct uring_driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        return LP_ERR_NO_MEMORY;
    }
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
    *ret_counters = driver->counters;
}
