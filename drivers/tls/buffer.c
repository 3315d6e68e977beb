/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_private.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_LEAST 1024u
#define HEADER_BYTES 5u
/* A record may be longer than its text: by this, says RFC 5246. */
#define RECORD_MAX (TLS_RECORD_BYTES + 2048u)

bool
tls_buffer_reserve(struct tls_buffer *buffer, uint32_t bytes)
{
    if (buffer->from > 0 && buffer->from == buffer->used) {
        buffer->from = 0;
        buffer->used = 0;
    }
    if (buffer->room - buffer->used >= bytes) {
        return true;
    }
    if (bytes > TLS_INPUT_MAX || buffer->used > TLS_INPUT_MAX) {
        return false;
    }
    const uint32_t room =
        LP_MAX(buffer->used + bytes, LP_MIN(2 * buffer->room, buffer->room + TLS_SLICE_BYTES));
    uint8_t *data = realloc(buffer->data, LP_MAX(room, BUFFER_LEAST));
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->room = LP_MAX(room, BUFFER_LEAST);
    return true;
}

bool
tls_buffer_add(struct tls_buffer *buffer, const uint8_t *data, uint32_t bytes)
{
    if (!tls_buffer_reserve(buffer, bytes)) {
        return false;
    }
    if (bytes > 0) {
        memcpy(buffer->data + buffer->used, data, bytes);
        buffer->used += bytes;
    }
    return true;
}

void
tls_buffer_free(struct tls_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct tls_buffer){0};
}

/* Of the first record, at `at`; 0: it is not whole. */
static uint32_t
record_bytes(const uint8_t *at, uint32_t bytes)
{
    if (at[0] < 20 || at[0] > 23) {
        return bytes; /* no TLS: it need not be whole to be refused */
    }
    if (bytes < HEADER_BYTES) {
        return 0;
    }
    const uint32_t length = (uint32_t)at[3] << 8 | at[4];
    if (length > RECORD_MAX) {
        return bytes; /* nor this */
    }
    return bytes >= HEADER_BYTES + length ? HEADER_BYTES + length : 0;
}

uint32_t
tls_buffer_records(const struct tls_buffer *buffer)
{
    uint32_t from = buffer->from;
    uint32_t bytes = 0;
    while (from < buffer->used &&
           (bytes = record_bytes(buffer->data + from, buffer->used - from)) > 0) {
        from += bytes;
    }
    return from - buffer->from;
}

/* --- OpenSSL's way to a stream. -------------------------------------------------------------- */

static int
bio_read(BIO *bio, char *data, size_t bytes, size_t *ret_bytes)
{
    struct tls_stream *stream = BIO_get_data(bio);
    struct tls_source *source = &stream->source;
    const uint32_t taken = (uint32_t)LP_MIN(bytes, (size_t)source->bytes);
    BIO_clear_retry_flags(bio);
    *ret_bytes = taken;
    if (taken == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(data, source->data, taken);
    source->data += taken;
    source->bytes -= taken;
    return 1;
}

static int
bio_write(BIO *bio, const char *data, size_t bytes, size_t *ret_bytes)
{
    struct tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *ret_bytes = 0;
    if (bytes > TLS_INPUT_MAX ||
        !tls_buffer_add(&stream->out, (const uint8_t *)data, (uint32_t)bytes)) {
        return 0;
    }
    *ret_bytes = bytes;
    return 1;
}

static long
bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *
tls_bio_method_make(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lepus stream");
    if (method == NULL || BIO_meth_set_read_ex(method, bio_read) != 1 ||
        BIO_meth_set_write_ex(method, bio_write) != 1 ||
        BIO_meth_set_ctrl(method, bio_control) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

bool
tls_bio_attach(const struct lp_tls *tls, struct tls_stream *stream)
{
    BIO *bio = BIO_new(tls->bio);
    if (bio == NULL) {
        return false;
    }
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->ssl, bio, bio);
    return true;
}
