/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c - a stream that the shard knows: what arrives is decrypted as it
 * is lent, what is sent is encrypted a slice at a time, each slice sent before
 * the next is begun; and how it ends.
 */
#include "tls_private.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

/* Not worth a call of OpenSSL's below this. */
#define READ_LEAST 4096u
/* A record's header, nonce, tag, padding: more than any of them takes. */
#define RECORD_EXTRA 96u
/* AES-GCM is safe for 24 million records of a key, says RFC 8446. */
#define KEY_RECORDS (1u << 22)

/* Where in the shard's pieces a send is. */
struct cursor {
    const struct lp_iovec *pieces;
    uint32_t count;
    uint32_t piece;
    size_t offset;
};

static void
event_fill(struct lp_transport_event *event, const struct tls_stream *stream,
           enum lp_transport_event_kind kind)
{
    /* Field by field: the addresses, most of the struct, are for ACCEPTED alone. */
    event->kind = kind;
    event->stream = stream->handle;
    event->user = stream->user;
    event->data = NULL;
    event->bytes = 0;
    event->listener = 0;
}

void
tls_stream_receive_update(struct tls_driver *driver, struct tls_stream *stream)
{
    const struct lp_transport *inner = &driver->inner;
    const bool pause = stream->held || stream->stopped;
    if (pause == stream->paused || stream->state == TLS_GONE) {
        return;
    }
    stream->paused = pause;
    if (pause) {
        inner->ops->receive_stop(inner->self, stream->inner);
    } else {
        inner->ops->receive_start(inner->self, stream->inner);
    }
}

/* --- Its end. -------------------------------------------------------------------------------- */

static void
send_forget(struct tls_stream *stream)
{
    free(stream->send);
    stream->send = NULL;
}

void
tls_stream_leave(struct tls_driver *driver, struct tls_stream *stream)
{
    LP_ASSERT(stream->state != TLS_GONE);
    stream->state = TLS_GONE;
    lp_list_remove(&stream->in_time);
    if (!stream->busy) {
        tls_buffer_free(&stream->out);
    }
    driver->inner.ops->close(driver->inner.self, stream->inner);
}

void
tls_stream_last(struct tls_driver *driver, struct tls_stream *stream)
{
    stream->state = TLS_LAST;
    tls_time_set(driver, &driver->lasts, stream, TLS_LAST_NS);
    tls_stream_push(driver, stream);
    if (stream->state == TLS_LAST && !stream->flying) {
        tls_stream_leave(driver, stream);
    }
}

/* It can neither send nor receive any more; ENDED is due. */
void
tls_stream_fail(struct tls_driver *driver, struct tls_stream *stream)
{
    stream->failed = true;
    stream->more = false;
    stream->end_due = !stream->ended;
    send_forget(stream);
    stream->sent_due = stream->sending && !stream->flying;
    tls_ready_push(driver, stream);
}

void
tls_stream_close(struct tls_driver *driver, struct tls_stream *stream)
{
    const bool polite = !stream->sending && !stream->failed && !stream->inner_ended;
    stream->sent_due = false;
    stream->end_due = false;
    stream->more = false;
    lp_list_remove(&stream->in_ready);
    send_forget(stream);
    if (!polite) {
        tls_stream_leave(driver, stream);
        return;
    }
    ERR_clear_error();
    (void)SSL_shutdown(stream->ssl); /* our close_notify; the peer's is not waited for */
    tls_stream_last(driver, stream);
}

/* --- Sending. -------------------------------------------------------------------------------- */

void
tls_stream_push(struct tls_driver *driver, struct tls_stream *stream)
{
    const struct lp_transport *inner = &driver->inner;
    if (stream->flying || tls_buffer_bytes(&stream->out) == 0 || stream->state == TLS_GONE) {
        return;
    }
    tls_buffer_free(&stream->flight);
    stream->flight = stream->out;
    stream->out = (struct tls_buffer){0};
    const struct lp_iovec piece = {.data = stream->flight.data + stream->flight.from,
                                   .bytes = tls_buffer_bytes(&stream->flight)};
    stream->flying = inner->ops->send(inner->self, stream->inner, &piece, 1);
    if (!stream->flying && stream->state == TLS_OPEN) {
        tls_stream_fail(driver, stream);
    }
}

/* The next bytes for one record: in place, or gathered where pieces are small. */
static struct lp_iovec
cursor_take(struct cursor *cursor, uint8_t *gather)
{
    size_t used = 0;
    while (cursor->piece < cursor->count && used < TLS_RECORD_BYTES) {
        const struct lp_iovec *piece = &cursor->pieces[cursor->piece];
        const uint8_t *from = (const uint8_t *)piece->data + cursor->offset;
        const size_t left = piece->bytes - cursor->offset;
        const size_t taken = LP_MIN(left, TLS_RECORD_BYTES - used);
        const bool whole = taken == left;
        cursor->offset = whole ? 0 : cursor->offset + taken;
        cursor->piece += whole;
        if (used == 0 && (taken == TLS_RECORD_BYTES || cursor->piece == cursor->count)) {
            return (struct lp_iovec){.data = from, .bytes = taken};
        }
        if (taken > 0) {
            memcpy(gather + used, from, taken);
            used += taken;
        }
    }
    return (struct lp_iovec){.data = gather, .bytes = used};
}

/* A key has sealed enough: both sides take new ones.  TLS 1.2 has no way to do that. */
static void
key_renew(struct tls_stream *stream)
{
    stream->records = 0;
    if (SSL_version(stream->ssl) == TLS1_3_VERSION) {
        (void)SSL_key_update(stream->ssl, SSL_KEY_UPDATE_REQUESTED); /* with the next write */
    }
}

/* A slice into `out`; false: the stream has failed. */
static bool
slice_encrypt(struct tls_driver *driver, struct tls_stream *stream, struct cursor *cursor)
{
    uint32_t slice = 0;
    ERR_clear_error();
    while (cursor->piece < cursor->count && slice < TLS_SLICE_BYTES) {
        const struct lp_iovec text = cursor_take(cursor, driver->gather);
        size_t written;
        if (text.bytes == 0) {
            break;
        }
        if (++stream->records >= KEY_RECORDS) {
            key_renew(stream);
        }
        if (!tls_buffer_reserve(&stream->out, (uint32_t)text.bytes + RECORD_EXTRA) ||
            SSL_write_ex(stream->ssl, text.data, text.bytes, &written) != 1) {
            tls_stream_fail(driver, stream);
            return false;
        }
        slice += (uint32_t)text.bytes;
    }
    stream->slice_bytes = slice;
    return true;
}

/* What is left of it has to wait for this slice; false: there is no memory to remember it. */
static bool
send_keep(struct tls_stream *stream, const struct cursor *cursor)
{
    if (cursor->piece == cursor->count) {
        return true;
    }
    stream->send = malloc(sizeof(*stream->send));
    if (stream->send == NULL) {
        return false;
    }
    stream->send->count = cursor->count;
    stream->send->piece = cursor->piece;
    stream->send->offset = cursor->offset;
    memcpy(stream->send->pieces, cursor->pieces, cursor->count * sizeof(*cursor->pieces));
    return true;
}

bool
tls_stream_send(struct tls_driver *driver, struct tls_stream *stream, const struct lp_iovec *pieces,
                uint32_t count)
{
    struct cursor cursor = {.pieces = pieces, .count = count};
    size_t bytes = 0;
    LP_ASSERT(count > 0 && count <= LP_TRANSPORT_IOV_MAX);
    if (stream->sending) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        bytes += pieces[i].bytes;
    }
    LP_ASSERT(bytes <= UINT32_MAX);
    stream->sending = true;
    stream->send_bytes = (uint32_t)bytes;
    stream->sent_bytes = 0;
    stream->slice_bytes = 0;
    if (!stream->failed && slice_encrypt(driver, stream, &cursor)) {
        if (!send_keep(stream, &cursor)) {
            tls_stream_fail(driver, stream);
        }
        tls_stream_push(driver, stream);
    }
    if (!stream->flying) {
        stream->sent_due = true; /* it has failed, or had no bytes */
        tls_ready_push(driver, stream);
    }
    return true;
}

static void
sent_say(struct tls_stream *stream, struct lp_transport_event *event)
{
    event_fill(event, stream, LP_TRANSPORT_SENT);
    event->bytes = stream->failed ? stream->sent_bytes : stream->send_bytes;
    stream->sending = false;
    stream->sent_due = false;
}

/* The slice has gone: the next one. */
static void
slice_next(struct tls_driver *driver, struct tls_stream *stream)
{
    struct tls_send *send = stream->send;
    stream->sent_bytes += stream->slice_bytes;
    if (send == NULL) {
        return;
    }
    struct cursor cursor = {send->pieces, send->count, send->piece, send->offset};
    if (!slice_encrypt(driver, stream, &cursor)) {
        return;
    }
    send->piece = cursor.piece;
    send->offset = cursor.offset;
    if (cursor.piece == cursor.count) {
        send_forget(stream);
    }
}

static bool
stream_sent(struct tls_driver *driver, struct tls_stream *stream, struct lp_transport_event *event)
{
    const bool good = event->bytes == tls_buffer_bytes(&stream->flight);
    /* What was encrypted while something else was on its way has not gone yet. */
    const bool slice = !stream->busy && tls_buffer_bytes(&stream->out) == 0;
    stream->flying = false;
    tls_buffer_free(&stream->flight);
    if (stream->state == TLS_LAST) {
        if (good) {
            tls_stream_push(driver, stream);
        }
        if (stream->state == TLS_LAST && !stream->flying) {
            tls_stream_leave(driver, stream);
        }
        return false;
    }
    if (!good && stream->state == TLS_OPEN && !stream->failed) {
        tls_stream_fail(driver, stream);
    }
    if (good && slice && stream->sending && !stream->failed) {
        slice_next(driver, stream);
    }
    if (!stream->busy && !stream->failed) {
        tls_stream_push(driver, stream);
    }
    if (!stream->sending || stream->flying || stream->state != TLS_OPEN) {
        return false;
    }
    sent_say(stream, event);
    return true;
}

/* --- Receiving. ------------------------------------------------------------------------------ */

/* As much as there is, or as there is room for; false: nothing more will come. */
static bool
stream_decrypt(struct tls_driver *driver, struct tls_stream *stream)
{
    ERR_clear_error();
    while (TLS_ARENA_BYTES - driver->arena_used >= READ_LEAST) {
        size_t got;
        const int result =
            SSL_read_ex(stream->ssl, driver->arena + driver->arena_used,
                        LP_MIN(TLS_ARENA_BYTES - driver->arena_used, TLS_RECORD_BYTES), &got);
        if (result == 1) {
            driver->arena_used += (uint32_t)got;
            continue;
        }
        const int error = SSL_get_error(stream->ssl, result);
        stream->more = false;
        if (error == SSL_ERROR_WANT_READ) {
            return true;
        }
        stream->peer_closed = error == SSL_ERROR_ZERO_RETURN;
        return false;
    }
    stream->more = true;
    return true;
}

/* The source, into an event; false: there is nothing to say. */
static bool
stream_read(struct tls_driver *driver, struct tls_stream *stream, struct lp_transport_event *event)
{
    const uint32_t from = driver->arena_used;
    const bool goes_on = stream_decrypt(driver, stream);
    if (!goes_on && !stream->peer_closed) {
        tls_stream_fail(driver, stream);
    }
    tls_stream_push(driver, stream); /* an alert, or an answer to new keys */
    if (tls_buffer_bytes(&stream->out) > TLS_ANSWERS_MAX && !stream->failed) {
        tls_stream_fail(driver, stream);
    }
    if (!goes_on) {
        stream->end_due = !stream->ended;
        tls_ready_push(driver, stream);
    }
    if (driver->arena_used == from) {
        return false;
    }
    event_fill(event, stream, LP_TRANSPORT_RECEIVED);
    event->data = driver->arena + from;
    event->bytes = driver->arena_used - from;
    return true;
}

static bool
deaf(const struct tls_stream *stream)
{
    return stream->failed || stream->peer_closed;
}

/* For the next poll. */
static void
input_keep(struct tls_driver *driver, struct tls_stream *stream, const uint8_t *data,
           uint32_t bytes)
{
    if (tls_buffer_bytes(&stream->in) + bytes > TLS_INPUT_MAX ||
        !tls_buffer_add(&stream->in, data, bytes)) {
        tls_stream_fail(driver, stream);
        return;
    }
    stream->more = true;
    stream->held = tls_buffer_bytes(&stream->in) >= TLS_HOLD_BYTES;
    tls_stream_receive_update(driver, stream);
    tls_ready_push(driver, stream);
}

static bool
stream_received(struct tls_driver *driver, struct tls_stream *stream,
                struct lp_transport_event *event)
{
    if (deaf(stream)) {
        return false;
    }
    if (stream->more || !stream->known) {
        input_keep(driver, stream, event->data, event->bytes);
        return false;
    }
    stream->source = (struct tls_source){event->data, event->bytes};
    const bool said = stream_read(driver, stream, event);
    const struct tls_source rest = stream->source;
    stream->source = (struct tls_source){0};
    if (stream->more && !deaf(stream)) {
        input_keep(driver, stream, rest.data, rest.bytes);
    }
    return said;
}

/* What was kept. */
static bool
kept_read(struct tls_driver *driver, struct tls_stream *stream, struct lp_transport_event *event)
{
    struct tls_buffer *in = &stream->in;
    stream->source = (struct tls_source){in->data + in->from, tls_buffer_bytes(in)};
    const bool said = stream_read(driver, stream, event);
    in->from = in->used - stream->source.bytes;
    stream->source = (struct tls_source){0};
    if (in->from == in->used) {
        tls_buffer_free(in);
    }
    stream->held = tls_buffer_bytes(in) >= TLS_HOLD_BYTES;
    tls_stream_receive_update(driver, stream);
    return said;
}

/* --- Events. --------------------------------------------------------------------------------- */

static bool
ended_say(struct tls_stream *stream, struct lp_transport_event *event)
{
    event_fill(event, stream, LP_TRANSPORT_ENDED);
    stream->end_due = false;
    stream->ended = true;
    return true;
}

/* With or without a close_notify before it: nothing more will come. */
static bool
stream_ended(struct tls_driver *driver, struct tls_stream *stream, struct lp_transport_event *event)
{
    stream->inner_ended = true;
    switch ((enum tls_state)stream->state) {
    case TLS_HELLO:
        tls_hello_ended(driver, stream);
        return false;
    case TLS_LAST:
        tls_stream_leave(driver, stream);
        return false;
    case TLS_GONE:
        return false;
    case TLS_OPEN:
        break;
    }
    if (stream->ended) {
        return false;
    }
    const bool fresh = stream->told_poll == driver->polls; /* nothing follows ACCEPTED at once */
    if (stream->known && !stream->more && !fresh) {
        return ended_say(stream, event);
    }
    stream->end_due = true;
    tls_ready_push(driver, stream);
    return false;
}

static bool
stream_closed(struct tls_driver *driver, struct tls_stream *stream,
              struct lp_transport_event *event)
{
    const bool said = stream->known;
    stream->inner_closed = true;
    if (said) {
        event_fill(event, stream, LP_TRANSPORT_CLOSED);
    }
    if (!stream->busy) {
        tls_stream_release(driver, stream);
    }
    return said;
}

bool
tls_stream_event(struct tls_driver *driver, struct tls_stream *stream,
                 struct lp_transport_event *event)
{
    switch (event->kind) {
    case LP_TRANSPORT_RECEIVED:
        if (stream->state == TLS_HELLO) {
            tls_hello_received(driver, stream, event);
            return false;
        }
        return stream->state == TLS_OPEN && stream_received(driver, stream, event);
    case LP_TRANSPORT_SENT:
        return stream->state != TLS_GONE && stream_sent(driver, stream, event);
    case LP_TRANSPORT_ENDED:
        return stream_ended(driver, stream, event);
    case LP_TRANSPORT_CLOSED:
        return stream_closed(driver, stream, event);
    case LP_TRANSPORT_ACCEPTED:
    case LP_TRANSPORT_CONNECTED:
        return false;
    }
    return false;
}

bool
tls_stream_speaks(const struct tls_stream *stream)
{
    return stream->state == TLS_OPEN &&
           (!stream->known || stream->sent_due || stream->more || stream->end_due);
}

bool
tls_stream_say(struct tls_driver *driver, struct tls_stream *stream,
               struct lp_transport_event *event)
{
    if (!stream->known) {
        *event = stream->hello->accepted;
        tls_hello_free(&stream->hello);
        stream->known = true;
        stream->told_poll = driver->polls;
        return true;
    }
    if (stream->told_poll == driver->polls) {
        return false; /* nothing follows ACCEPTED in the same poll() */
    }
    if (stream->sent_due) {
        sent_say(stream, event);
        return true;
    }
    if (stream->more && kept_read(driver, stream, event)) {
        return true;
    }
    return !stream->more && stream->end_due && ended_say(stream, event);
}
