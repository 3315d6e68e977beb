/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.c - transport.h around another one of its kind: which events and
 * which handles are ours.
 *
 * A stream of ours is known to the inner transport by a `user` with a tag, and
 * to the shard by a handle whose index has a bit that no inner one has.  All
 * others pass as they are: a look at `user` or at that bit is what they pay.
 */
#include "tls_private.h"

#include <stdlib.h>
#include <string.h>

/* --- Streams. -------------------------------------------------------------------------------- */

static bool
is_ours(lp_handle handle)
{
    return (handle & TLS_INDEX_BIT) != 0;
}

static struct tls_stream *
stream_find(struct tls_driver *driver, lp_handle handle)
{
    const uint32_t index = lp_slots_find(&driver->slots, handle & ~(lp_handle)TLS_INDEX_BIT);
    return index == LP_SLOT_NONE ? NULL : &driver->streams[index];
}

/* One that the shard may still do something with. */
static struct tls_stream *
stream_find_open(struct tls_driver *driver, lp_handle handle)
{
    struct tls_stream *stream = stream_find(driver, handle);
    return stream != NULL && stream->known && stream->state == TLS_OPEN ? stream : NULL;
}

/* The stream of an event of the inner transport's; NULL: it is not one of ours. */
static struct tls_stream *
stream_of_event(struct tls_driver *driver, const struct lp_transport_event *event)
{
    const uint32_t index = (uint32_t)event->user;
    if (event->user >> 32 != TLS_USER_TAG || !lp_slots_used(&driver->slots, index)) {
        return NULL;
    }
    struct tls_stream *stream = &driver->streams[index];
    return stream->inner == event->stream ? stream : NULL;
}

void
tls_ready_push(struct tls_driver *driver, struct tls_stream *stream)
{
    if (!lp_list_linked(&stream->in_ready)) {
        lp_list_push_back(&driver->ready, &stream->in_ready);
    }
}

void
tls_stream_release(struct tls_driver *driver, struct tls_stream *stream)
{
    LP_ASSERT(!stream->busy);
    tls_count_gone(driver, stream);
    lp_list_remove(&stream->in_ready);
    lp_list_remove(&stream->in_wait);
    lp_list_remove(&stream->in_time);
    SSL_free(stream->ssl);
    free(stream->identity);
    free(stream->send);
    tls_hello_free(&stream->hello);
    tls_buffer_free(&stream->in);
    tls_buffer_free(&stream->out);
    tls_buffer_free(&stream->flight);
    lp_slots_release(&driver->slots, lp_handle_index(stream->handle) & ~TLS_INDEX_BIT);
}

static void
stream_refuse(struct tls_driver *driver, const struct lp_transport_event *event)
{
    tls_count(driver, &driver->counters.refused, 1);
    tls_hello_refuse(driver, event);
    driver->inner.ops->attach(driver->inner.self, event->stream, TLS_USER_NOBODY);
    driver->inner.ops->close(driver->inner.self, event->stream);
}

static void
stream_accept(struct tls_driver *driver, const struct lp_transport_event *event)
{
    const bool full = driver->counters.handshaking >= TLS_HELLOS_MAX;
    const uint32_t index = full ? LP_SLOT_NONE : lp_slots_alloc(&driver->slots);
    if (index == LP_SLOT_NONE) {
        stream_refuse(driver, event);
        return;
    }
    struct tls_stream *stream = &driver->streams[index];
    const lp_handle slot = lp_slots_handle(&driver->slots, index);
    *stream = (struct tls_stream){.handle = slot | TLS_INDEX_BIT, .inner = event->stream};
    if (!tls_hello_begin(driver, stream, event)) {
        lp_slots_release(&driver->slots, index);
        stream_refuse(driver, event);
        return;
    }
    driver->inner.ops->attach(driver->inner.self, event->stream,
                              (uint64_t)TLS_USER_TAG << 32 | index);
}

/* --- Polling. -------------------------------------------------------------------------------- */

/* An event of the inner transport's is one for the shard, changed or not. */
static bool
event_pass(struct tls_driver *driver, struct lp_transport_event *event)
{
    if (LP_UNLIKELY(event->kind == LP_TRANSPORT_ACCEPTED)) {
        const bool encrypted =
            event->listener < 64 && (driver->listeners >> event->listener & 1u) != 0;
        if (encrypted) {
            stream_accept(driver, event);
        }
        return !encrypted;
    }
    if (LP_LIKELY(event->user >> 32 != TLS_USER_TAG)) {
        return true;
    }
    struct tls_stream *stream = stream_of_event(driver, event);
    if (stream == NULL) {
        return event->user != TLS_USER_NOBODY;
    }
    return tls_stream_event(driver, stream, event);
}

static void
event_move(struct lp_transport_event *to, const struct lp_transport_event *from)
{
    if (to == from) {
        return;
    }
    if (from->kind == LP_TRANSPORT_ACCEPTED || from->kind == LP_TRANSPORT_CONNECTED) {
        *to = *from;
        return;
    }
    to->kind = from->kind; /* and not the addresses, most of the struct */
    to->stream = from->stream;
    to->user = from->user;
    to->data = from->data;
    to->bytes = from->bytes;
    to->listener = from->listener;
}

static uint32_t
inner_poll(struct tls_driver *driver, struct lp_transport_event *events, uint32_t events_max)
{
    const uint32_t count = driver->inner.ops->poll(driver->inner.self, events, events_max);
    uint32_t passed = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (event_pass(driver, &events[i])) {
            event_move(&events[passed++], &events[i]);
        }
    }
    return passed;
}

/* What our streams have to say, each in turn. */
static uint32_t
ready_poll(struct tls_driver *driver, struct lp_transport_event *events, uint32_t events_max)
{
    struct lp_list round;
    struct lp_list *link;
    uint32_t count = 0;
    lp_list_init(&round);
    while ((link = lp_list_pop_front(&driver->ready)) != NULL) {
        lp_list_push_back(&round, link);
    }
    while (count < events_max && (link = lp_list_pop_front(&round)) != NULL) {
        struct tls_stream *stream = LP_LIST_ITEM(link, struct tls_stream, in_ready);
        while (count < events_max && tls_stream_speaks(stream) &&
               tls_stream_say(driver, stream, &events[count])) {
            count++;
        }
        if (tls_stream_speaks(stream)) {
            tls_ready_push(driver, stream);
        }
    }
    /* Who had no turn is before the others. */
    struct lp_list *behind = driver->ready.next;
    while ((link = lp_list_pop_front(&round)) != NULL) {
        lp_list_insert_before(behind, link);
    }
    return count;
}

static uint32_t
driver_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct tls_driver *driver = self;
    uint32_t count = 0;
    driver->polls++;
    driver->arena_used = 0;
    if (LP_UNLIKELY(!lp_list_empty(&driver->ready))) {
        /* Half of it, so that neither kind waits for the other; of one event, every second time. */
        const uint32_t share = events_max > 1 ? events_max / 2 : (uint32_t)(driver->polls & 1);
        count = ready_poll(driver, events, share);
    }
    if (count < events_max) {
        count += inner_poll(driver, events + count, events_max - count);
    }
    /* After the inner poll, which may have swallowed the worker's wake. */
    if (LP_UNLIKELY(tls_hellos_due(driver))) {
        tls_hellos_poll(driver);
    }
    return count;
}

static void
driver_wait(void *self, uint64_t timeout_ns)
{
    struct tls_driver *driver = self;
    const bool steps = driver->channel == NULL && !lp_list_empty(&driver->waiting);
    if (!lp_list_empty(&driver->ready) || steps) {
        return;
    }
    const uint64_t next_ns = tls_driver_next_ns(driver);
    if (next_ns != UINT64_MAX) {
        const struct lp_clock *clock = &driver->tls->clock;
        const uint64_t now_ns = clock->monotonic_ns(clock->self);
        timeout_ns = LP_MIN(timeout_ns, next_ns > now_ns ? next_ns - now_ns : 0);
    }
    driver->inner.ops->wait(driver->inner.self, timeout_ns);
}

/* --- The rest of transport.h. ---------------------------------------------------------------- */

static void
driver_attach(void *self, lp_handle handle, uint64_t user)
{
    struct tls_driver *driver = self;
    if (!is_ours(handle)) {
        driver->inner.ops->attach(driver->inner.self, handle, user);
        return;
    }
    struct tls_stream *stream = stream_find_open(driver, handle);
    if (stream != NULL) {
        stream->user = user;
    }
}

static bool
driver_send(void *self, lp_handle handle, const struct lp_iovec *pieces, uint32_t count)
{
    struct tls_driver *driver = self;
    if (!is_ours(handle)) {
        return driver->inner.ops->send(driver->inner.self, handle, pieces, count);
    }
    struct tls_stream *stream = stream_find_open(driver, handle);
    return stream != NULL && tls_stream_send(driver, stream, pieces, count);
}

static void
receive_want(struct tls_driver *driver, lp_handle handle, bool wanted)
{
    struct tls_stream *stream = stream_find_open(driver, handle);
    if (stream != NULL) {
        stream->stopped = !wanted;
        tls_stream_receive_update(driver, stream);
    }
}

static void
driver_receive_stop(void *self, lp_handle handle)
{
    struct tls_driver *driver = self;
    if (!is_ours(handle)) {
        driver->inner.ops->receive_stop(driver->inner.self, handle);
        return;
    }
    receive_want(driver, handle, false);
}

static void
driver_receive_start(void *self, lp_handle handle)
{
    struct tls_driver *driver = self;
    if (!is_ours(handle)) {
        driver->inner.ops->receive_start(driver->inner.self, handle);
        return;
    }
    receive_want(driver, handle, true);
}

static void
driver_close(void *self, lp_handle handle)
{
    struct tls_driver *driver = self;
    if (!is_ours(handle)) {
        driver->inner.ops->close(driver->inner.self, handle);
        return;
    }
    struct tls_stream *stream = stream_find_open(driver, handle);
    if (stream != NULL) {
        tls_stream_close(driver, stream);
    }
}

static void
driver_flush(void *self)
{
    const struct tls_driver *driver = self;
    driver->inner.ops->flush(driver->inner.self);
}

static void
driver_accept_stop(void *self)
{
    const struct tls_driver *driver = self;
    driver->inner.ops->accept_stop(driver->inner.self);
}

static void
driver_accept_pause(void *self, bool paused)
{
    const struct tls_driver *driver = self;
    driver->inner.ops->accept_pause(driver->inner.self, paused);
}

static void
driver_wake_any(void *self)
{
    const struct tls_driver *driver = self;
    driver->inner.ops->wake_any(driver->inner.self);
}

static bool
driver_identity(void *self, lp_handle handle, struct lp_transport_identity *ret_identity)
{
    struct tls_driver *driver = self;
    const struct lp_transport *inner = &driver->inner;
    if (!is_ours(handle)) {
        return inner->ops->identity != NULL &&
               inner->ops->identity(inner->self, handle, ret_identity);
    }
    const struct tls_stream *stream = stream_find(driver, handle);
    if (stream == NULL || stream->identity == NULL) {
        return false;
    }
    *ret_identity = stream->identity->view;
    return true;
}

static const struct lp_transport_ops tls_ops = {
    .name = "tls",
    .attach = driver_attach,
    .poll = driver_poll,
    .send = driver_send,
    .receive_stop = driver_receive_stop,
    .receive_start = driver_receive_start,
    .close = driver_close,
    .flush = driver_flush,
    .accept_stop = driver_accept_stop,
    .accept_pause = driver_accept_pause,
    .wait = driver_wait,
    .wake_any = driver_wake_any,
    .identity = driver_identity,
};

/* --- Opening and closing. -------------------------------------------------------------------- */

static void
driver_free(struct tls_driver *driver)
{
    for (uint32_t i = 0; driver->streams != NULL && i < driver->slots.capacity; i++) {
        if (lp_slots_used(&driver->slots, i)) {
            driver->streams[i].busy = false; /* the workers have stopped */
            tls_stream_release(driver, &driver->streams[i]);
        }
    }
    tls_channel_close(driver);
    lp_slots_fini(&driver->slots);
    free(driver->streams);
    free(driver->arena);
    free(driver->gather);
    free(driver);
}

enum lp_err
lp_tls_open_boot(const struct lp_tls_options *options, struct lp_transport inner,
                 struct lp_transport *ret_transport)
{
    struct tls_driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    driver->tls = options->tls;
    driver->inner = inner;
    driver->listeners = options->listeners;
    driver->ops = tls_ops;
    driver->ops.name = inner.ops->name; /* what there is around it shows in its listeners */
    lp_list_init(&driver->ready);
    lp_list_init(&driver->waiting);
    lp_list_init(&driver->hellos);
    lp_list_init(&driver->lasts);
    driver->told = options->told;
    driver->streams = calloc(options->streams_max, sizeof(*driver->streams));
    driver->arena = malloc(TLS_ARENA_BYTES);
    driver->gather = malloc(TLS_RECORD_BYTES);
    if (lp_slots_init_boot(&driver->slots, options->streams_max) != LP_OK ||
        driver->streams == NULL || driver->arena == NULL || driver->gather == NULL ||
        tls_channel_open_boot(driver) != LP_OK) {
        driver_free(driver);
        return LP_ERR_NO_MEMORY;
    }
    *ret_transport = (struct lp_transport){.ops = &driver->ops, .self = driver};
    return LP_OK;
}

struct lp_transport
lp_tls_close(struct lp_transport *transport)
{
    LP_ASSERT(transport->ops->poll == driver_poll);
    struct tls_driver *driver = transport->self;
    const struct lp_transport inner = driver->inner;
    driver_free(driver);
    *transport = (struct lp_transport){0};
    return inner;
}

void
lp_tls_counters(const struct lp_transport *transport, struct lp_tls_counters *ret_counters)
{
    LP_ASSERT(transport->ops->poll == driver_poll);
    const struct tls_driver *driver = transport->self;
    *ret_counters = driver->counters;
}

/* --- What a process has once. ---------------------------------------------------------------- */

enum lp_err
lp_tls_start_boot(const struct lp_tls_start *start, struct lp_tls **ret_tls, char *why)
{
    struct lp_tls *tls = calloc(1, sizeof(*tls));
    why[0] = '\0';
    if (tls == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    tls->settings = start->settings;
    tls->clock = start->clock;
    tls->log = start->log;
    tls->log_context = start->log_context;
    const int error = pthread_mutex_init(&tls->lock, NULL);
    LP_ASSERT(error == 0); /* of the plain kind, on Linux */
    tls->bio = tls_bio_method_make();
    enum lp_err err = tls->bio != NULL ? LP_OK : LP_ERR_NO_MEMORY;
    if (err == LP_OK && !tls_context_open_boot(tls, why)) {
        err = LP_ERR_BAD_CONFIG;
    }
    if (err == LP_OK) {
        err = tls_workers_start_boot(tls);
    }
    if (err != LP_OK) {
        lp_tls_stop(tls);
        lp_tls_free(&tls);
        return err;
    }
    *ret_tls = tls;
    return LP_OK;
}

void
lp_tls_stop(struct lp_tls *tls)
{
    tls_workers_stop(tls);
}

void
lp_tls_free(struct lp_tls **tls)
{
    struct lp_tls *self = *tls;
    *tls = NULL;
    if (self == NULL) {
        return;
    }
    SSL_CTX_free(self->context);
    BIO_meth_free(self->bio);
    (void)pthread_mutex_destroy(&self->lock); /* nobody has it */
    free(self);
}
