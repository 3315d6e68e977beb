/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c - who the peer is, once its handshake is done. */
#include "tls_private.h"

#include <stdlib.h>
#include <string.h>

#include <lepus/tls_suite.h>

/* Offsets of its texts in one block. */
struct parts {
    size_t subject;
    size_t issuer;
    size_t validity;
    size_t login;
    size_t login_bytes;
};

static const char *
protocol_name(const SSL *ssl)
{
    return SSL_version(ssl) == TLS1_3_VERSION ? "tlsv1.3" : "tlsv1.2";
}

static bool
login_add(struct tls_text *text, const struct lp_tls_settings *settings, const X509 *certificate)
{
    switch (settings->login_from) {
    case LP_TLS_LOGIN_DISTINGUISHED_NAME:
        tls_name_distinguished(text, X509_get_subject_name(certificate));
        return true;
    case LP_TLS_LOGIN_COMMON_NAME:
        return tls_name_common(text, certificate);
    case LP_TLS_LOGIN_SUBJECT_ALTERNATIVE_NAME:
        return tls_name_alternative(text, certificate, settings->san_type, settings->san_index);
    }
    return false;
}

/* NULL: there is a name.  RabbitMQ's words, which go to its log. */
static const char *
login_find(struct tls_text *text, const struct lp_tls_settings *settings, const X509 *certificate)
{
    if (certificate == NULL) {
        return "connection peer presented no TLS (x.509) certificate";
    }
    if (!settings->verify_peer) {
        return "TLS configuration is unsafe";
    }
    return login_add(text, settings, certificate) ? NULL : "no name found";
}

static void
certificate_add(struct tls_text *text, const X509 *certificate, struct parts *parts)
{
    parts->subject = text->bytes;
    if (certificate != NULL) {
        tls_name_distinguished(text, X509_get_subject_name(certificate));
    }
    tls_text_end(text);
    parts->issuer = text->bytes;
    if (certificate != NULL) {
        tls_name_distinguished(text, X509_get_issuer_name(certificate));
    }
    tls_text_end(text);
    parts->validity = text->bytes;
    if (certificate != NULL) {
        tls_name_time(text, X509_get0_notBefore(certificate));
        tls_text_add(text, " - ", 3);
        tls_name_time(text, X509_get0_notAfter(certificate));
    }
    tls_text_end(text);
}

struct tls_identity *
tls_identity_make(const struct lp_tls_settings *settings, SSL *ssl)
{
    static const struct tls_identity nobody;
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    struct tls_text text = {0};
    struct parts parts = {0};
    tls_text_add(&text, &nobody, sizeof(nobody));
    certificate_add(&text, certificate, &parts);
    parts.login = text.bytes;
    const char *missing = login_find(&text, settings, certificate);
    parts.login_bytes = text.bytes - parts.login;
    if (text.failed) {
        free(text.data);
        return NULL;
    }
    struct tls_identity *identity = (struct tls_identity *)(void *)text.data;
    identity->view = (struct lp_transport_identity){
        .tls = true,
        .protocol = protocol_name(ssl),
        .key_exchange = lp_tls_suite_exchange(cipher),
        .cipher = lp_tls_suite_cipher(cipher),
        .hash = lp_tls_suite_mac(cipher),
        .subject = text.data + parts.subject,
        .issuer = text.data + parts.issuer,
        .validity = text.data + parts.validity,
        .login = lp_bytes_of(text.data + parts.login, (uint32_t)parts.login_bytes),
        .login_missing = missing,
    };
    return identity;
}
