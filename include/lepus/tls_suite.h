/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_suite.h - what Erlang, and so RabbitMQ, calls the parts of a cipher suite
 * (ssl_cipher_format of OTP): of a connection's in the data plane, of all of
 * them in the control process.
 *
 *   Memory    texts live for ever; where Erlang has no word, OpenSSL's own name
 */
#pragma once

#include <string.h>

#include <openssl/ssl.h>

#include <lepus/base.h>

static inline const char *
lp_tls_suite_exchange(const SSL_CIPHER *cipher)
{
    const int auth = SSL_CIPHER_get_auth_nid(cipher);
    switch (SSL_CIPHER_get_kx_nid(cipher)) {
    case NID_kx_ecdhe:
        return auth == NID_auth_ecdsa ? "ecdhe_ecdsa" : "ecdhe_rsa";
    case NID_kx_dhe:
        return auth == NID_auth_dss ? "dhe_dss" : "dhe_rsa";
    case NID_kx_rsa:
        return "rsa";
    default:
        return "any";
    }
}

static inline const char *
lp_tls_suite_cipher(const SSL_CIPHER *cipher)
{
    static const struct {
        int nid;
        const char *name;
        const char *short_tag; /* with a tag of eight bytes */
    } names[] = {
        {NID_aes_128_gcm, "aes_128_gcm", NULL},
        {NID_aes_256_gcm, "aes_256_gcm", NULL},
        {NID_aes_128_cbc, "aes_128_cbc", NULL},
        {NID_aes_256_cbc, "aes_256_cbc", NULL},
        {NID_aes_128_ccm, "aes_128_ccm", "aes_128_ccm_8"},
        {NID_aes_256_ccm, "aes_256_ccm", "aes_256_ccm_8"},
        {NID_des_ede3_cbc, "3des_ede_cbc", NULL},
        {NID_chacha20_poly1305, "chacha20_poly1305", NULL},
        {NID_camellia_128_cbc, "camellia_128_cbc", NULL},
        {NID_camellia_256_cbc, "camellia_256_cbc", NULL},
    };
    const char *whole = SSL_CIPHER_get_name(cipher);
    const int nid = SSL_CIPHER_get_cipher_nid(cipher);
    const bool eight = strstr(whole, "CCM8") != NULL || strstr(whole, "CCM_8") != NULL;
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        if (names[i].nid == nid) {
            return eight && names[i].short_tag != NULL ? names[i].short_tag : names[i].name;
        }
    }
    return whole; /* ARIA and the like, which Erlang has not */
}

static inline const char *
lp_tls_suite_mac(const SSL_CIPHER *cipher)
{
    switch (SSL_CIPHER_get_digest_nid(cipher)) {
    case NID_sha1:
        return "sha";
    case NID_sha256:
        return "sha256";
    case NID_sha384:
        return "sha384";
    default:
        return "aead";
    }
}
