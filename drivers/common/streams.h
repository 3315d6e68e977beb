/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streams.h - the streams of a driver of kernel sockets: their table, the
 * queue of those with something to do, and the events that they make.
 *
 * A driver's own struct begins with a struct lp_stream; the table is made of
 * those.
 *
 *   Memory    one allocation at boot
 *   Runs on   owner core
 *   Limits    lp_streams_init_boot()'s capacity
 */
#pragma once

#include <lepus/transport.h>

#include <drivers/common/slots.h>

struct lp_stream {
    lp_handle handle;
    uint64_t user;
    struct lp_stream *queue_next;
    int fd;
    uint32_t send;  /* index of a struct lp_send, or LP_SLOT_NONE */
    uint32_t taken; /* of the send */
    bool queued;
    bool receiving; /* wanted */
    bool failed;    /* no use to send or receive any more */
    bool end_due;
    bool ended;
    bool closing;
};

struct lp_streams {
    struct lp_slots slots;
    void *table;
    size_t stride; /* bytes of a driver's stream */
    /* Streams with something to do, in the order in which they came. */
    struct lp_stream *queue_head;
    struct lp_stream *queue_tail;
    uint32_t queue_count;
};

/* Where poll() puts its events. */
struct lp_sink {
    struct lp_transport_event *events;
    uint32_t count;
    uint32_t max;
};

LP_MUST_CHECK enum lp_err lp_streams_init_boot(struct lp_streams *streams, uint32_t capacity,
                                               size_t stride);
/* Closes the descriptors of those that are left. */
void lp_streams_fini(struct lp_streams *streams);

/* A stream of an accepted socket, receiving, the driver's part all zero; NULL: all are taken. */
struct lp_stream *lp_streams_alloc(struct lp_streams *streams, int fd);
void lp_streams_release(struct lp_streams *streams, struct lp_stream *stream);

/* The stream that a live handle names, or NULL. */
struct lp_stream *lp_streams_find(const struct lp_streams *streams, lp_handle handle);
/* The same, NULL also for one that is being closed. */
struct lp_stream *lp_streams_find_open(const struct lp_streams *streams, lp_handle handle);

/* To the end of the queue, unless it is in it. */
void lp_streams_push(struct lp_streams *streams, struct lp_stream *stream);
/* The head of the queue, which is not empty. */
struct lp_stream *lp_streams_pop(struct lp_streams *streams);

/* It can neither send nor receive any more; ENDED is due. */
void lp_stream_fail(struct lp_stream *stream);

static inline bool
lp_sink_full(const struct lp_sink *sink)
{
    return sink->count == sink->max;
}

/* The sink has room. */
struct lp_transport_event *lp_sink_emit(struct lp_sink *sink, const struct lp_stream *stream,
                                        enum lp_transport_event_kind kind);
/* The one ENDED. */
void lp_sink_ended(struct lp_sink *sink, struct lp_stream *stream);
