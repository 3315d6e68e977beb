/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ciphers.c - what OpenSSL offers here: versions and cipher suites, by
 * OpenSSL's names and in Erlang's forms.
 *
 * RabbitMQ's tools tell what Erlang's runtime has; here OpenSSL is the runtime.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/ssl.h>

#include "control/admin/admin_checks.h"
#include <lepus/tls_suite.h>

#include "control/admin/report.h"

/* Erlang breaks a term into lines before the 80th column. */
#define LINE_CHARACTERS 80u

enum format {
    FORMAT_OPENSSL,
    FORMAT_ERLANG,
    FORMAT_MAP,
    FORMAT_UNKNOWN,
};

/* A suite as Erlang takes it apart. */
struct suite {
    const char *exchange;
    const char *cipher;
    const char *mac;
    const char *prf;
};

static enum format
format_of(const struct admin_task *task)
{
    static const char *const names[] = {"openssl", "erlang", "map"};
    const char *given = admin_option(task, "format");
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        if (strcasecmp(names[i], given != NULL ? given : "openssl") == 0) {
            return (enum format)i;
        }
    }
    return FORMAT_UNKNOWN;
}

bool
admin_check_cipher_suites(struct admin_task *task)
{
    if (format_of(task) != FORMAT_UNKNOWN) {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_DATA,
                  "Bad argument: Format should be either openssl, erlang or map");
    return false;
}

/* ---- a suite ---- */

/* Erlang names the hash of those whose names do. */
static const char *
prf_of(const SSL_CIPHER *cipher)
{
    const char *name = SSL_CIPHER_get_name(cipher);
    const bool newest = strncmp(name, "TLS_", 4) == 0;
    const EVP_MD *hash = SSL_CIPHER_get_handshake_digest(cipher);
    if (!newest && (strstr(name, "CCM") != NULL || SSL_CIPHER_get_digest_nid(cipher) == NID_sha1)) {
        return "default_prf";
    }
    return hash != NULL && EVP_MD_get_type(hash) == NID_sha384 ? "sha384" : "sha256";
}

static struct suite
suite_of(const SSL_CIPHER *cipher)
{
    return (struct suite){lp_tls_suite_exchange(cipher), lp_tls_suite_cipher(cipher),
                          lp_tls_suite_mac(cipher), prf_of(cipher)};
}

static json_t *
tuple_text(const struct suite *suite)
{
    const bool named = strcmp(suite->prf, "default_prf") != 0;
    return json_sprintf("{%s,%s,%s%s%s}", suite->exchange, suite->cipher, suite->mac,
                        named ? "," : "", named ? suite->prf : "");
}

static json_t *
map_text(const struct suite *suite)
{
    json_t *text = NULL;
    for (int broken = 0; broken < 2; broken++) {
        json_decref(text);
        text =
            json_sprintf("#{cipher => %s,mac => %s,prf => %s,%skey_exchange => %s}", suite->cipher,
                         suite->mac, suite->prf, broken ? "\n  " : "", suite->exchange);
        if (json_string_length(text) < LINE_CHARACTERS) {
            break;
        }
    }
    return text;
}

static json_t *
suite_text(const SSL_CIPHER *cipher, enum format format)
{
    const struct suite suite = suite_of(cipher);
    if (format == FORMAT_OPENSSL) {
        return json_string(SSL_CIPHER_get_name(cipher));
    }
    return format == FORMAT_MAP ? map_text(&suite) : tuple_text(&suite);
}

static json_t *
suite_json(const SSL_CIPHER *cipher, enum format format)
{
    const struct suite suite = suite_of(cipher);
    switch (format) {
    case FORMAT_MAP:
        return json_pack("{s:s,s:s,s:s,s:s}", "cipher", suite.cipher, "mac", suite.mac, "prf",
                         suite.prf, "key_exchange", suite.exchange);
    case FORMAT_ERLANG:
        return json_pack("[s,s,s,s]", suite.exchange, suite.cipher, suite.mac, suite.prf);
    case FORMAT_OPENSSL:
    case FORMAT_UNKNOWN:
        break;
    }
    return json_string(SSL_CIPHER_get_name(cipher));
}

/* ---- all of them ---- */

/* What listeners offer by default, or all that ssl_options.ciphers may name; NULL: no memory. */
static SSL *
ssl_open(bool all)
{
    /* Not those without a certificate: neither Erlang's runtime nor the broker offers them. */
    static const char every_old[] = "ALL:!aNULL:!PSK:!SRP:@SECLEVEL=0";
    static const char every_new[] = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"
                                    "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:"
                                    "TLS_AES_128_CCM_8_SHA256";
    SSL *ssl = NULL;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    const bool good = context != NULL &&
                      SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
                      (!all || (SSL_CTX_set_cipher_list(context, every_old) == 1 &&
                                SSL_CTX_set_ciphersuites(context, every_new) == 1));
    if (good) {
        ssl = SSL_new(context);
    }
    SSL_CTX_free(context); /* the SSL has its own hold on it */
    return ssl;
}

void
admin_cipher_suites(struct admin_task *task)
{
    const enum format format = format_of(task);
    SSL *ssl = ssl_open(admin_switch(task, "all"));
    STACK_OF(SSL_CIPHER) *suites = ssl != NULL ? SSL_get1_supported_ciphers(ssl) : NULL;
    struct lp_bytebuf text = {0};
    json_t *data = json_array();
    const char *between = format == FORMAT_OPENSSL ? "\n" : "\n,";
    for (int i = 0; i < sk_SSL_CIPHER_num(suites); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(suites, i);
        json_t *line = suite_text(cipher, format);
        lp_bytebuf_append(&text, between, i > 0 ? strlen(between) : 0);
        lp_bytebuf_append(&text, json_string_value(line), json_string_length(line));
        json_decref(line);
        admin_append(data, suite_json(cipher, format));
    }
    sk_SSL_CIPHER_free(suites);
    SSL_free(ssl);
    json_t *words = admin_text_take(&text);
    const bool plain = format == FORMAT_OPENSSL;
    admin_say(task, data, "%s%s%s", plain ? "" : "[\n", json_string_value(words),
              plain ? "" : "\n]");
    json_decref(words);
}

/* Those that listeners can offer, the newest first, a line each. */
void
admin_tls_versions(struct admin_task *task)
{
    static const char *const versions[] = {"tlsv1.3", "tlsv1.2"};
    json_t *list = json_array();
    for (size_t i = 0; i < LP_COUNT_OF(versions); i++) {
        admin_append(list, json_string(versions[i]));
    }
    admin_say(task, json_pack("{s:o}", "versions", list), "%s\n%s", versions[0], versions[1]);
}
