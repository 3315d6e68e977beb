/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step.c - what a handshake costs: signatures, key exchange, the peer's
 * certificate.  In a worker's thread, while the shard leaves the stream alone.
 */
#include "tls_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* What could not be verified, for the log; the verdict stays OpenSSL's. */
int
tls_step_verify(int good, X509_STORE_CTX *store)
{
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *stream = BIO_get_data(SSL_get_rbio(ssl));
    struct tls_text name = {0};
    if (good || certificate == NULL || stream->hello == NULL) {
        return good;
    }
    tls_name_distinguished(&name, X509_get_subject_name(certificate));
    if (!name.failed && name.bytes > 0) {
        (void)snprintf(stream->hello->subject, sizeof(stream->hello->subject), " (%.*s)",
                       (int)LP_MIN(name.bytes, (size_t)TLS_SUBJECT_BYTES), name.data);
    }
    free(name.data);
    return good;
}

/* Why, in words for the operator. */
static void
failure_say(const SSL *ssl, int error, struct tls_hello *hello)
{
    char *text = hello->failure;
    const unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    const long verdict = SSL_get_verify_result(ssl);
    if (error != SSL_ERROR_SSL || reason == NULL) {
        (void)snprintf(text, TLS_FAILURE_BYTES, "the handshake broke off");
    } else if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        (void)snprintf(text, TLS_FAILURE_BYTES, "its certificate is refused: %s%s",
                       X509_verify_cert_error_string(verdict), hello->subject);
    } else if (ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET) {
        (void)snprintf(text, TLS_FAILURE_BYTES, "it says: %s", reason);
    } else {
        (void)snprintf(text, TLS_FAILURE_BYTES, "%s", reason);
    }
    ERR_clear_error();
}

static bool
ssl_begin(struct lp_tls *tls, struct tls_stream *stream)
{
    stream->ssl = tls_context_ssl(tls);
    if (stream->ssl == NULL || !tls_bio_attach(tls, stream)) {
        return false;
    }
    SSL_set_accept_state(stream->ssl);
    return true;
}

static enum tls_step
handshake_step(struct lp_tls *tls, struct tls_stream *stream)
{
    struct tls_hello *hello = stream->hello;
    if (stream->ssl == NULL && !ssl_begin(tls, stream)) {
        (void)snprintf(hello->failure, sizeof(hello->failure), "there is no memory for it");
        return TLS_STEP_FAILED;
    }
    const int result = SSL_do_handshake(stream->ssl);
    if (result == 1) {
        hello->resumed = SSL_session_reused(stream->ssl) == 1;
        stream->identity = tls_identity_make(&tls->settings, stream->ssl);
        return stream->identity != NULL ? TLS_STEP_DONE : TLS_STEP_FAILED;
    }
    const int error = SSL_get_error(stream->ssl, result);
    if (error == SSL_ERROR_WANT_READ) {
        return TLS_STEP_MORE;
    }
    failure_say(stream->ssl, error, hello);
    return TLS_STEP_FAILED;
}

void
tls_step(struct lp_tls *tls, struct tls_stream *stream)
{
    struct tls_buffer *in = &stream->in;
    struct tls_hello *hello = stream->hello;
    ERR_clear_error();
    /* Whole records only: a part that OpenSSL took would leave the buffer beginning in the middle.
     */
    const uint32_t whole = tls_buffer_records(in);
    stream->source = (struct tls_source){in->data + in->from, whole};
    hello->step = handshake_step(tls, stream);
    in->from += whole - stream->source.bytes;
    stream->source = (struct tls_source){0};
    if (hello->step == TLS_STEP_FAILED) {
        tls_report(tls, hello);
    }
}
