/* SPDX-License-Identifier: Apache-2.0 */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "conn.h"
#include "options.h"

/* What OpenSSL may still have of records before: they come out on top of what is read. */
#define PENDING_BYTES (32u << 10)

struct load_tls {
    SSL_CTX *context;
    BIO_METHOD *bio;
    uint8_t *input; /* one read of a socket's */
};

struct load_tls_stream {
    struct load_tls *tls;
    SSL *ssl;
    const uint8_t *source; /* of `input`, not decrypted yet */
    size_t source_bytes;
    uint8_t *held; /* encrypted, and not taken by the socket */
    size_t held_start;
    size_t held_end;
    size_t held_room;
    size_t owed; /* text in `held` that nobody was told is sent */
};

/* --- OpenSSL's way to a stream. -------------------------------------------------------------- */

static int
bio_read(BIO *bio, char *data, size_t bytes, size_t *ret_bytes)
{
    struct load_tls_stream *stream = BIO_get_data(bio);
    const size_t taken = LP_MIN(bytes, stream->source_bytes);
    BIO_clear_retry_flags(bio);
    *ret_bytes = taken;
    if (taken == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(data, stream->source, taken);
    stream->source += taken;
    stream->source_bytes -= taken;
    return 1;
}

static int
bio_write(BIO *bio, const char *data, size_t bytes, size_t *ret_bytes)
{
    struct load_tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *ret_bytes = 0;
    if (stream->held_start == stream->held_end) {
        stream->held_start = stream->held_end = 0;
    }
    if (stream->held_room - stream->held_end < bytes) {
        const size_t room = LP_MAX(2 * stream->held_room, stream->held_end + bytes);
        uint8_t *larger = realloc(stream->held, room);
        if (larger == NULL) {
            return 0;
        }
        stream->held = larger;
        stream->held_room = room;
    }
    memcpy(stream->held + stream->held_end, data, bytes);
    stream->held_end += bytes;
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

/* --- What all share. ------------------------------------------------------------------------- */

static bool
refuse(const char *what, const char *value)
{
    const unsigned long error = ERR_peek_error();
    const char *reason = ERR_SYSTEM_ERROR(error) ? strerrordesc_np(ERR_GET_REASON(error))
                                                 : ERR_reason_error_string(error);
    (void)fprintf(stderr, "lepus-bench: %s %s: %s\n", what, value,
                  reason != NULL ? reason : "OpenSSL refuses it");
    return false;
}

static bool
version_set(SSL_CTX *context, uint32_t version)
{
    const int only = version == LOAD_TLS_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
    return version == LOAD_TLS_ANY || (SSL_CTX_set_min_proto_version(context, only) == 1 &&
                                       SSL_CTX_set_max_proto_version(context, only) == 1);
}

static bool
context_fill(SSL_CTX *context, const struct load_options *o)
{
    const char *key = o->tls_key != NULL ? o->tls_key : o->tls_cert;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    if (o->tls_ca != NULL ? SSL_CTX_load_verify_file(context, o->tls_ca) != 1
                          : SSL_CTX_set_default_verify_paths(context) != 1) {
        return refuse("--tls-ca", o->tls_ca != NULL ? o->tls_ca : "(the system's)");
    }
    if (o->tls_cert != NULL && SSL_CTX_use_certificate_chain_file(context, o->tls_cert) != 1) {
        return refuse("--tls-cert", o->tls_cert);
    }
    if (o->tls_cert != NULL && (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
                                SSL_CTX_check_private_key(context) != 1)) {
        return refuse("--tls-key", key);
    }
    return version_set(context, o->tls_version) || refuse("--tls-version", "");
}

struct load_tls *
load_tls_open(const struct load_options *options)
{
    struct load_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return NULL;
    }
    ERR_clear_error();
    tls->input = malloc(LOAD_RECEIVE_BYTES);
    tls->bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lepus-bench");
    tls->context = SSL_CTX_new(TLS_client_method());
    const bool made = tls->input != NULL && tls->bio != NULL && tls->context != NULL &&
                      BIO_meth_set_read_ex(tls->bio, bio_read) == 1 &&
                      BIO_meth_set_write_ex(tls->bio, bio_write) == 1 &&
                      BIO_meth_set_ctrl(tls->bio, bio_control) == 1;
    if (!made || !context_fill(tls->context, options)) {
        load_tls_close(tls);
        return NULL;
    }
    return tls;
}

void
load_tls_close(struct load_tls *tls)
{
    if (tls != NULL) {
        SSL_CTX_free(tls->context);
        BIO_meth_free(tls->bio);
        free(tls->input);
        free(tls);
    }
}

/* --- A connection. --------------------------------------------------------------------------- */

/* As the certificate has to name it. */
static bool
host_expect(SSL *ssl, const char *host)
{
    uint8_t ip[16];
    if (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    /* SSL_set_tlsext_host_name() without its cast, which takes a const away. */
    void *name = (void *)(uintptr_t)host;
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) == 1;
}

bool
load_tls_begin(struct load_tls *tls, struct load_conn *conn, const char *host)
{
    struct load_tls_stream *stream = calloc(1, sizeof(*stream));
    BIO *bio = BIO_new(tls->bio);
    SSL *ssl = SSL_new(tls->context);
    if (stream == NULL || bio == NULL || ssl == NULL || !host_expect(ssl, host)) {
        free(stream);
        (void)BIO_free(bio);
        SSL_free(ssl);
        return load_conn_broke(conn, "out of memory", "");
    }
    stream->tls = tls;
    stream->ssl = ssl;
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    conn->tls = stream;
    return true;
}

/* What OpenSSL wants to be sent; true: all of it was taken. */
static bool
push(struct load_conn *conn)
{
    struct load_tls_stream *stream = conn->tls;
    while (stream->held_start < stream->held_end) {
        const ssize_t done = load_conn_raw_send(conn, stream->held + stream->held_start,
                                                stream->held_end - stream->held_start);
        if (done < 0) {
            return false; /* errno says why */
        }
        stream->held_start += (size_t)done;
    }
    return true;
}

void
load_tls_end(struct load_conn *conn)
{
    struct load_tls_stream *stream = conn->tls;
    if (!conn->broken && SSL_is_init_finished(stream->ssl)) {
        (void)SSL_shutdown(stream->ssl);
        (void)push(conn);
    }
    SSL_free(stream->ssl);
    free(stream->held);
    free(stream);
    conn->tls = NULL;
    ERR_clear_error();
}

/* It waits for the peer (errno is EAGAIN), has ended, or is broken. */
static ssize_t
stopped(struct load_conn *conn, int result)
{
    SSL *ssl = conn->tls->ssl;
    const int error = SSL_get_error(ssl, result);
    const long verdict = SSL_get_verify_result(ssl);
    char text[256] = "";
    errno = EAGAIN;
    if (error == SSL_ERROR_WANT_READ) {
        return -1;
    }
    if (error == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
    if (verdict != X509_V_OK) {
        (void)snprintf(text, sizeof(text), "the broker's certificate: %s",
                       X509_verify_cert_error_string(verdict));
    } else {
        ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    }
    ERR_clear_error();
    (void)push(conn); /* our alert */
    (void)load_conn_broke(conn, "TLS", text);
    errno = EAGAIN; /* the reason is told */
    return -1;
}

ssize_t
load_tls_receive(struct load_conn *conn, void *to, size_t room)
{
    struct load_tls_stream *stream = conn->tls;
    LP_ASSERT(room >= LOAD_RECEIVE_BYTES);
    const ssize_t raw =
        load_conn_raw_receive(conn, stream->tls->input, LOAD_RECEIVE_BYTES - PENDING_BYTES);
    if (raw <= 0) {
        return raw;
    }
    size_t used = 0;
    size_t got;
    int result;
    stream->source = stream->tls->input;
    stream->source_bytes = (size_t)raw;
    ERR_clear_error();
    while ((result = SSL_read_ex(stream->ssl, (uint8_t *)to + used, room - used, &got)) == 1) {
        used += got;
        LP_ASSERT(used < room); /* it is more than what came and what was pending */
    }
    const ssize_t end = stopped(conn, result);
    (void)push(conn); /* of a handshake */
    errno = EAGAIN;
    return used > 0 ? (ssize_t)used : end;
}

ssize_t
load_tls_send(struct load_conn *conn, const void *from, size_t bytes)
{
    struct load_tls_stream *stream = conn->tls;
    if (!push(conn)) {
        return -1;
    }
    if (stream->owed > 0) {
        const size_t owed = stream->owed;
        LP_ASSERT(owed <= bytes);
        stream->owed = 0;
        return (ssize_t)owed;
    }
    size_t wrote = 0;
    ERR_clear_error();
    const int result =
        SSL_write_ex(stream->ssl, from, LP_MIN(bytes, (size_t)LOAD_TLS_SLICE_BYTES), &wrote);
    if (result != 1) {
        (void)stopped(conn, result);
        (void)push(conn);
        errno = EAGAIN;
        return -1;
    }
    if (!push(conn)) {
        stream->owed = wrote;
        return -1;
    }
    return (ssize_t)wrote;
}
