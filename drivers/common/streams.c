/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/streams.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct lp_stream *
stream_at(const struct lp_streams *streams, uint32_t index)
{
    return (void *)((uint8_t *)streams->table + index * streams->stride);
}

enum lp_err
lp_streams_init_boot(struct lp_streams *streams, uint32_t capacity, size_t stride)
{
    LP_ASSERT(stride >= sizeof(struct lp_stream));
    *streams = (struct lp_streams){.stride = stride};
    if (lp_slots_init_boot(&streams->slots, capacity) != LP_OK) {
        return LP_ERR_NO_MEMORY;
    }
    streams->table = calloc(capacity, stride);
    return streams->table == NULL ? LP_ERR_NO_MEMORY : LP_OK;
}

void
lp_streams_fini(struct lp_streams *streams)
{
    for (uint32_t i = 0; i < streams->slots.capacity && streams->table != NULL; i++) {
        if (lp_slots_used(&streams->slots, i) && stream_at(streams, i)->fd >= 0) {
            (void)close(stream_at(streams, i)->fd);
        }
    }
    lp_slots_fini(&streams->slots);
    free(streams->table);
    *streams = (struct lp_streams){0};
}

struct lp_stream *
lp_streams_alloc(struct lp_streams *streams, int fd)
{
    const uint32_t index = lp_slots_alloc(&streams->slots);
    if (index == LP_SLOT_NONE) {
        return NULL;
    }
    struct lp_stream *stream = stream_at(streams, index);
    memset(stream, 0, streams->stride);
    stream->handle = lp_slots_handle(&streams->slots, index);
    stream->fd = fd;
    stream->send = LP_SLOT_NONE;
    stream->receiving = true;
    return stream;
}

void
lp_streams_release(struct lp_streams *streams, struct lp_stream *stream)
{
    LP_ASSERT(!stream->queued);
    lp_slots_release(&streams->slots, lp_handle_index(stream->handle));
}

struct lp_stream *
lp_streams_find(const struct lp_streams *streams, lp_handle handle)
{
    const uint32_t index = lp_slots_find(&streams->slots, handle);
    return index == LP_SLOT_NONE ? NULL : stream_at(streams, index);
}

struct lp_stream *
lp_streams_find_open(const struct lp_streams *streams, lp_handle handle)
{
    struct lp_stream *stream = lp_streams_find(streams, handle);
    return stream == NULL || stream->closing ? NULL : stream;
}

void
lp_streams_push(struct lp_streams *streams, struct lp_stream *stream)
{
    if (stream->queued) {
        return;
    }
    stream->queued = true;
    stream->queue_next = NULL;
    if (streams->queue_count == 0) {
        streams->queue_head = stream;
    } else {
        streams->queue_tail->queue_next = stream;
    }
    streams->queue_tail = stream;
    streams->queue_count++;
}

struct lp_stream *
lp_streams_pop(struct lp_streams *streams)
{
    LP_ASSERT(streams->queue_count > 0);
    struct lp_stream *stream = streams->queue_head;
    streams->queue_head = stream->queue_next;
    stream->queued = false;
    streams->queue_count--;
    return stream;
}

void
lp_stream_fail(struct lp_stream *stream)
{
    stream->failed = true;
    stream->end_due = !stream->ended;
}

struct lp_transport_event *
lp_sink_emit(struct lp_sink *sink, const struct lp_stream *stream,
             enum lp_transport_event_kind kind)
{
    LP_ASSERT(sink->count < sink->max);
    /* Field by field: the addresses, most of the struct, are for ACCEPTED alone. */
    struct lp_transport_event *event = &sink->events[sink->count++];
    event->kind = kind;
    event->stream = stream->handle;
    event->user = stream->user;
    event->data = NULL;
    event->bytes = 0;
    event->listener = 0;
    return event;
}

void
lp_sink_ended(struct lp_sink *sink, struct lp_stream *stream)
{
    stream->end_due = false;
    stream->ended = true;
    lp_sink_emit(sink, stream, LP_TRANSPORT_ENDED);
}
