/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake.c - a stream from its acceptance until the shard hears of it.
 *
 * A worker is asked for a step when a whole record is there, so that a peer
 * that sends a byte at a time costs a step a record, and one that sends
 * nothing costs none.
 */
#include "tls_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
tls_time_set(struct tls_driver *driver, struct lp_list *list, struct tls_stream *stream,
             uint64_t delay_ns)
{
    const struct lp_clock *clock = &driver->tls->clock;
    lp_list_remove(&stream->in_time);
    stream->deadline_ns = clock->monotonic_ns(clock->self) + delay_ns;
    lp_list_push_back(list, &stream->in_time); /* the delay is a list's own: it is in order */
}

void
tls_hello_free(struct tls_hello **hello)
{
    if (*hello != NULL) {
        tls_buffer_free(&(*hello)->late);
        free(*hello);
        *hello = NULL;
    }
}

bool
tls_hello_begin(struct tls_driver *driver, struct tls_stream *stream,
                const struct lp_transport_event *accepted)
{
    stream->hello = calloc(1, sizeof(*stream->hello));
    if (stream->hello == NULL) {
        return false;
    }
    stream->hello->accepted = *accepted;
    stream->hello->accepted.stream = stream->handle;
    tls_count(driver, &driver->counters.handshaking, 1);
    tls_time_set(driver, &driver->hellos, stream,
                 (uint64_t)driver->tls->settings.handshake_timeout_ms * 1000000u);
    return true;
}

/* It is over, well or not. */
static void
hello_end(struct tls_driver *driver, struct tls_stream *stream)
{
    lp_list_remove(&stream->in_time);
    lp_list_remove(&stream->in_wait);
    LP_ASSERT(driver->counters.handshaking > 0);
    tls_count(driver, &driver->counters.handshaking, -1);
}

static void
hello_wait(struct tls_driver *driver, struct tls_stream *stream)
{
    if (!stream->busy && !lp_list_linked(&stream->in_wait) && tls_buffer_records(&stream->in) > 0) {
        lp_list_push_back(&driver->waiting, &stream->in_wait);
    }
}

/* Somebody says why; the hello is theirs then. */
static void
hello_report(struct tls_driver *driver, struct tls_stream *stream)
{
    const struct tls_job job = {.kind = TLS_JOB_REPORT, .hello = stream->hello};
    if (driver->channel == NULL) {
        tls_report(driver->tls, stream->hello);
    } else if (tls_channel_give(driver, &job)) {
        stream->hello = NULL;
    }
}

void
tls_hello_refuse(struct tls_driver *driver, const struct lp_transport_event *accepted)
{
    struct tls_stream none = {.hello = calloc(1, sizeof(*none.hello))};
    if (none.hello == NULL) {
        return;
    }
    none.hello->accepted = *accepted;
    (void)snprintf(none.hello->failure, sizeof(none.hello->failure),
                   "there are too many streams or handshakes already");
    hello_report(driver, &none);
    tls_hello_free(&none.hello);
}

void
tls_hello_fail(struct tls_driver *driver, struct tls_stream *stream, enum tls_failure reason,
               const char *why)
{
    struct tls_hello *hello = stream->hello;
    tls_count_failed(driver, reason);
    hello_end(driver, stream);
    if (!stream->busy) {
        /* Who connects and goes without a word is a monitor: not worth a line. */
        if (hello->heard) {
            (void)snprintf(hello->failure, sizeof(hello->failure), "%s", why);
            hello_report(driver, stream);
        }
        tls_hello_free(&stream->hello);
    }
    tls_stream_leave(driver, stream);
}

void
tls_hello_ended(struct tls_driver *driver, struct tls_stream *stream)
{
    /* Its last record may say why it goes. */
    if (stream->inner_ended && !stream->busy && !lp_list_linked(&stream->in_wait)) {
        tls_hello_fail(driver, stream, TLS_FAILURE_CLOSED, "the peer closed the connection");
    }
}

void
tls_hello_received(struct tls_driver *driver, struct tls_stream *stream,
                   const struct lp_transport_event *event)
{
    struct tls_buffer *into = stream->busy ? &stream->hello->late : &stream->in;
    stream->hello->heard = true;
    if (tls_buffer_bytes(into) + event->bytes > TLS_INPUT_MAX ||
        !tls_buffer_add(into, event->data, event->bytes)) {
        tls_hello_fail(driver, stream, TLS_FAILURE_MEMORY, "it sends more than there is room for");
        return;
    }
    /* A whole record is there by then, so a step is due, which starts it again. */
    stream->held = tls_buffer_bytes(into) >= TLS_HELLO_HOLD_BYTES;
    tls_stream_receive_update(driver, stream);
    hello_wait(driver, stream);
}

/* --- What came of a step. -------------------------------------------------------------------- */

static void
step_failed(struct tls_driver *driver, struct tls_stream *stream)
{
    tls_count_failed(driver, stream->hello->reason);
    hello_end(driver, stream);
    tls_hello_free(&stream->hello);
    tls_stream_last(driver, stream); /* the alert */
}

static void
step_done(struct tls_driver *driver, struct tls_stream *stream)
{
    tls_count_done(driver, stream);
    hello_end(driver, stream);
    stream->state = TLS_OPEN;
    stream->more = true;
    stream->end_due = stream->inner_ended;
    tls_ready_push(driver, stream);
    tls_stream_push(driver, stream);
}

/* What came while a worker was at it belongs behind what it left. */
static bool
late_join(struct tls_stream *stream)
{
    struct tls_buffer *late = &stream->hello->late;
    const bool good = tls_buffer_bytes(late) == 0 ||
                      tls_buffer_add(&stream->in, late->data + late->from, tls_buffer_bytes(late));
    tls_buffer_free(late);
    return good;
}

static void
step_over(struct tls_driver *driver, struct tls_stream *stream)
{
    stream->busy = false;
    tls_count_alerts(driver, stream);
    if (stream->state == TLS_GONE) {
        tls_hello_free(&stream->hello); /* it was given up meanwhile */
        if (stream->inner_closed) {
            tls_stream_release(driver, stream);
        }
        return;
    }
    if (!late_join(stream)) {
        tls_hello_fail(driver, stream, TLS_FAILURE_MEMORY, "there is no memory for it");
        return;
    }
    stream->held = false;
    tls_stream_receive_update(driver, stream);
    switch (stream->hello->step) {
    case TLS_STEP_FAILED:
        step_failed(driver, stream);
        return;
    case TLS_STEP_DONE:
        step_done(driver, stream);
        return;
    case TLS_STEP_MORE:
        tls_stream_push(driver, stream);
        if (stream->state == TLS_HELLO) {
            hello_wait(driver, stream);
            tls_hello_ended(driver, stream);
        }
        return;
    }
}

/* --- In a poll. ------------------------------------------------------------------------------ */

static bool
step_give(struct tls_driver *driver, struct tls_stream *stream)
{
    const struct tls_job job = {.kind = TLS_JOB_STEP, .stream = stream, .hello = stream->hello};
    if (!tls_channel_give(driver, &job)) {
        return false;
    }
    stream->busy = true;
    return true;
}

static void
steps_begin(struct tls_driver *driver)
{
    for (uint32_t n = 0; n < TLS_JOBS_MAX && !lp_list_empty(&driver->waiting); n++) {
        struct tls_stream *stream = LP_LIST_ITEM(driver->waiting.next, struct tls_stream, in_wait);
        if (driver->channel != NULL) {
            if (!step_give(driver, stream)) {
                return;
            }
            lp_list_remove(&stream->in_wait);
        } else if (n < TLS_INLINE_STEPS) {
            lp_list_remove(&stream->in_wait);
            tls_count(driver, &driver->counters.steps_here, 1);
            tls_step(driver->tls, stream);
            step_over(driver, stream);
        }
    }
}

static struct tls_stream *
time_first(const struct lp_list *list)
{
    return lp_list_empty(list) ? NULL : LP_LIST_ITEM(list->next, struct tls_stream, in_time);
}

/* Those whose time is up. */
static void
times_check(struct tls_driver *driver)
{
    char why[64];
    struct tls_stream *stream;
    if (lp_list_empty(&driver->hellos) && lp_list_empty(&driver->lasts)) {
        return;
    }
    const struct lp_clock *clock = &driver->tls->clock;
    const uint64_t now_ns = clock->monotonic_ns(clock->self);
    while ((stream = time_first(&driver->hellos)) != NULL && stream->deadline_ns <= now_ns) {
        (void)snprintf(why, sizeof(why), "it was not done within %u ms",
                       driver->tls->settings.handshake_timeout_ms);
        tls_hello_fail(driver, stream, TLS_FAILURE_TIMEOUT, why);
    }
    while ((stream = time_first(&driver->lasts)) != NULL && stream->deadline_ns <= now_ns) {
        tls_stream_leave(driver, stream);
    }
}

bool
tls_hellos_due(const struct tls_driver *driver)
{
    const struct tls_channel *channel = driver->channel;
    return driver->counters.handshaking > 0 || !lp_list_empty(&driver->lasts) ||
           (channel != NULL && (channel->called || channel->jobs_out > 0));
}

void
tls_hellos_poll(struct tls_driver *driver)
{
    struct tls_job job;
    while (tls_channel_answer(driver, &job)) {
        step_over(driver, job.stream);
    }
    steps_begin(driver);
    times_check(driver);
    tls_channel_call(driver);
}

uint64_t
tls_driver_next_ns(const struct tls_driver *driver)
{
    const struct tls_stream *hello = time_first(&driver->hellos);
    const struct tls_stream *last = time_first(&driver->lasts);
    const uint64_t first = hello != NULL ? hello->deadline_ns : UINT64_MAX;
    return last != NULL ? LP_MIN(first, last->deadline_ns) : first;
}
