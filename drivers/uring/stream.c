/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <errno.h>
#include <sys/socket.h>

static struct uring_stream *
stream_of(struct lp_stream *base)
{
    return (struct uring_stream *)(void *)base;
}

/* --- Submitting. ----------------------------------------------------------------------------- */

static bool
submit_receive(struct uring_driver *driver, struct uring_stream *stream)
{
    struct io_uring_sqe *sqe = uring_sqe_get(driver);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_recv_multishot(sqe, stream->base.fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
    sqe->user_data = uring_tag_make(URING_KIND_RECEIVE, stream->base.handle);
    stream->armed = true;
    stream->operations++;
    return true;
}

static bool
submit_send(struct uring_driver *driver, struct uring_stream *stream)
{
    struct io_uring_sqe *sqe = uring_sqe_get(driver);
    if (sqe == NULL) {
        return false;
    }
    struct lp_send *send = &driver->port.sends.send[stream->base.send];
    io_uring_prep_sendmsg(sqe, stream->base.fd, lp_send_message(send), MSG_WAITALL | MSG_NOSIGNAL);
    sqe->user_data = uring_tag_make(URING_KIND_SEND, stream->base.handle);
    stream->send_running = true;
    stream->operations++;
    return true;
}

static bool
submit_cancel(struct uring_driver *driver, struct uring_stream *stream, enum uring_kind kind)
{
    struct io_uring_sqe *sqe = uring_sqe_get(driver);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_cancel64(sqe, uring_tag_make(kind, stream->base.handle), 0);
    sqe->user_data = uring_tag_make(URING_KIND_CANCEL, stream->base.handle);
    stream->operations++;
    return true;
}

/* Bring the kernel's side up to what is wanted; false: the queue is full. */
static bool
stream_push(struct uring_driver *driver, struct uring_stream *stream)
{
    const struct lp_stream *base = &stream->base;
    const bool receiving = base->receiving && !base->closing && !base->end_due && !base->ended;
    if (receiving && !stream->armed && !submit_receive(driver, stream)) {
        return false;
    }
    if (!receiving && stream->armed && !stream->cancelling) {
        stream->cancelling = submit_cancel(driver, stream, URING_KIND_RECEIVE);
        if (!stream->cancelling) {
            return false;
        }
    }
    if (base->send == LP_SLOT_NONE) {
        return true;
    }
    if (base->closing) {
        if (stream->send_running && !stream->send_cancelling) {
            stream->send_cancelling = submit_cancel(driver, stream, URING_KIND_SEND);
            return stream->send_cancelling;
        }
        return true;
    }
    return stream->send_running || stream->send_over || submit_send(driver, stream);
}

void
uring_stream_wants(struct uring_driver *driver, struct lp_stream *base)
{
    if (!stream_push(driver, stream_of(base))) {
        lp_streams_push(&driver->port.streams, base);
    }
}

/* --- Completions. ---------------------------------------------------------------------------- */

/* One that counts as an operation has ended. */
static void
operation_over(struct uring_driver *driver, struct uring_stream *stream)
{
    LP_ASSERT(stream->operations > 0);
    stream->operations--;
    lp_streams_push(&driver->port.streams, &stream->base);
}

static void
receive_completed(struct uring_driver *driver, struct uring_stream *stream,
                  const struct io_uring_cqe *cqe, struct lp_sink *sink)
{
    struct lp_stream *base = &stream->base;
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        stream->armed = false;
        stream->cancelling = false;
        operation_over(driver, stream);
    }
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        /* Lent also when nobody hears of it: the return puts it back. */
        const uint8_t *data =
            uring_buffers_lend(&driver->buffers, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
        if (cqe->res > 0 && !base->closing) {
            struct lp_transport_event *event = lp_sink_emit(sink, base, LP_TRANSPORT_RECEIVED);
            event->data = data;
            event->bytes = (uint32_t)cqe->res;
            return;
        }
    }
    if (cqe->res == 0) {
        base->end_due = !base->ended;
    } else if (cqe->res == -ENOBUFS) {
        /* Buffers are back with the next poll(), which arms it again. */
        driver->port.counters.starved++;
    } else if (cqe->res < 0 && cqe->res != -ECANCELED && cqe->res != -EINTR &&
               cqe->res != -EAGAIN) {
        lp_stream_fail(base);
    }
}

static void
send_completed(struct uring_driver *driver, struct uring_stream *stream, int result)
{
    struct lp_stream *base = &stream->base;
    LP_ASSERT(base->send != LP_SLOT_NONE);
    operation_over(driver, stream);
    stream->send_running = false;
    if (result >= 0) {
        base->taken += (uint32_t)result;
        /* Short in spite of MSG_WAITALL: the rest goes out by itself, or says why not. */
        stream->send_over = lp_send_advance(&driver->port.sends.send[base->send], (size_t)result);
    } else if (result != -EINTR && result != -EAGAIN && result != -ENOBUFS) {
        stream->send_over = true;
        lp_stream_fail(base);
    }
}

void
uring_stream_completed(struct uring_driver *driver, const struct io_uring_cqe *cqe,
                       struct lp_sink *sink)
{
    struct lp_stream *base =
        lp_streams_find(&driver->port.streams, uring_tag_handle(cqe->user_data));
    if (base == NULL) {
        return; /* a cancelled accept's echo, which has no stream */
    }
    switch (uring_tag_kind(cqe->user_data)) {
    case URING_KIND_RECEIVE:
        receive_completed(driver, stream_of(base), cqe, sink);
        return;
    case URING_KIND_SEND:
        send_completed(driver, stream_of(base), cqe->res);
        return;
    case URING_KIND_CANCEL:
        operation_over(driver, stream_of(base));
        return;
    case URING_KIND_ACCEPT:
    case URING_KIND_WAKE:
    case URING_KIND_WATCH:
    case URING_KIND_DISK:
    case URING_KIND_DISK_SYNC:
        return;
    }
}

/* --- Its turn. ------------------------------------------------------------------------------- */

bool
uring_stream_step(struct uring_driver *driver, struct lp_stream *base, struct lp_sink *sink)
{
    struct uring_stream *stream = stream_of(base);
    if (base->closing && stream->operations == 0) {
        lp_sends_release(&driver->port.sends, &base->send);
        lp_socket_close(base->fd);
        lp_port_closed(&driver->port, base, sink);
        return false;
    }
    if (stream->send_over && !base->closing) {
        stream->send_over = false;
        lp_sends_release(&driver->port.sends, &base->send);
        lp_sink_emit(sink, base, LP_TRANSPORT_SENT)->bytes = base->taken;
    }
    if (base->end_due && !base->closing) {
        /* A send on a stream that has failed is answered first. */
        if (lp_sink_full(sink) || (base->failed && base->send != LP_SLOT_NONE)) {
            return lp_sink_full(sink) || !stream_push(driver, stream);
        }
        lp_sink_ended(sink, base);
    }
    return !stream_push(driver, stream);
}

/* --- Calls. ---------------------------------------------------------------------------------- */

bool
uring_stream_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count)
{
    struct uring_driver *driver = self;
    struct lp_stream *base = lp_streams_find_open(&driver->port.streams, handle);
    if (base == NULL || base->send != LP_SLOT_NONE) {
        return false;
    }
    base->send = lp_sends_alloc(&driver->port.sends);
    const uint64_t bytes = lp_send_fill(&driver->port.sends.send[base->send], pieces, count);
    LP_ASSERT(bytes <= INT32_MAX);
    base->taken = 0;
    if (base->failed) {
        stream_of(base)->send_over = true;
        lp_streams_push(&driver->port.streams, base);
        return true;
    }
    uring_stream_wants(driver, base);
    return true;
}

void
uring_stream_receive_stop(void *self, lp_handle handle)
{
    struct uring_driver *driver = self;
    struct lp_stream *base = lp_streams_find_open(&driver->port.streams, handle);
    if (base != NULL) {
        base->receiving = false;
        uring_stream_wants(driver, base);
    }
}

void
uring_stream_receive_start(void *self, lp_handle handle)
{
    struct uring_driver *driver = self;
    struct lp_stream *base = lp_streams_find_open(&driver->port.streams, handle);
    if (base != NULL) {
        base->receiving = true;
        /* One that is being cancelled is armed again when that is done. */
        uring_stream_wants(driver, base);
    }
}

void
uring_stream_close(void *self, lp_handle handle)
{
    struct uring_driver *driver = self;
    struct lp_stream *base = lp_streams_find_open(&driver->port.streams, handle);
    if (base == NULL) {
        return;
    }
    struct uring_stream *stream = stream_of(base);
    base->closing = true;
    if (stream->send_running) {
        (void)shutdown(base->fd, SHUT_RDWR); /* wakes what a cancellation might miss */
    }
    (void)stream_push(driver, stream);
    lp_streams_push(&driver->port.streams, base);
}
