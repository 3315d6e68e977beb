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

void
tls_step_info(const SSL *ssl, int where, int value)
{
    struct tls_stream *stream = BIO_get_data(SSL_get_rbio(ssl));
    if ((where & SSL_CB_ALERT) == 0 || (value & 0xff) == SSL_AD_CLOSE_NOTIFY) {
        return;
    }
    uint16_t *count = (where & SSL_CB_READ) != 0 ? &stream->alerts_received : &stream->alerts_sent;
    *count = (uint16_t)LP_MIN(*count + 1, UINT16_MAX);
}

static enum tls_failure
failure_reason(int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER: /* of a record: plain AMQP, for one */
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_RECORD_TYPE:
        return TLS_FAILURE_NOT_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_UNKNOWN_PROTOCOL:
        return TLS_FAILURE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return TLS_FAILURE_CIPHER;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAILURE_NO_CERTIFICATE;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return TLS_FAILURE_CERTIFICATE;
    case ERR_R_MALLOC_FAILURE:
        return TLS_FAILURE_MEMORY;
    default:
        return reason >= SSL_AD_REASON_OFFSET ? TLS_FAILURE_ALERT : TLS_FAILURE_OTHER;
    }
}

/* Why, in words for the operator. */
static void
failure_say(const SSL *ssl, int error, struct tls_hello *hello)
{
    char *text = hello->failure;
    const unsigned long code = ERR_peek_last_error();
    hello->reason =
        error == SSL_ERROR_SSL ? failure_reason(ERR_GET_REASON(code)) : TLS_FAILURE_OTHER;
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
    hello->reason = TLS_FAILURE_MEMORY;
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
