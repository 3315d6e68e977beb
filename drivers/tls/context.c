/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context.c - the certificate and the rules as OpenSSL has them, made anew
 * when a file changes.
 *
 * A handshake looks at the files, at most once a second.  What cannot be used
 * is said once, and what was there before stays: a certificate is often
 * replaced before its key.  Connections keep what they began with.
 */
#include "tls_private.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#define LOOK_NS       1000000000u
#define SESSIONS_MAX  4096
#define CIPHERS_BYTES 4096

void
tls_error_text(const char *what, char *ret_text, size_t bytes)
{
    const unsigned long error = ERR_peek_error(); /* the first one is the cause */
    const char *reason = ERR_reason_error_string(error);
    if (ERR_SYSTEM_ERROR(error)) {
        reason = strerrordesc_np(ERR_GET_REASON(error));
    }
    (void)snprintf(ret_text, bytes, "%s: %s", what, reason != NULL ? reason : "OpenSSL refuses it");
    ERR_clear_error();
}

static bool
fault(char *why, const char *key, const char *path)
{
    char what[LP_TLS_WHY_BYTES];
    (void)snprintf(what, sizeof(what), "ssl_options.%s = %.300s", key, path);
    tls_error_text(what, why, LP_TLS_WHY_BYTES);
    return false;
}

/* --- Ciphers and versions. ------------------------------------------------------------------- */

/* Names of the one kind, with colons between them. */
struct names {
    char text[CIPHERS_BYTES];
    size_t used;
    uint32_t count;
};

static void
names_add(struct names *names, const char *name)
{
    const int wrote = snprintf(names->text + names->used, sizeof(names->text) - names->used, "%s%s",
                               names->count > 0 ? ":" : "", name);
    names->used += (size_t)wrote;
    names->count++;
}

/*
 * As OpenSSL calls it; NULL: it has no such thing, and one word is one cipher
 * here.  What needs no certificate is no cipher of ours: nobody could log in
 * over it who knows whom he talks to.
 */
static const char *
cipher_name(SSL_CTX *context, const char *given)
{
    static const char every_old[] = "ALL:!aNULL:!PSK:!SRP:@SECLEVEL=0";
    static const char every_new[] = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"
                                    "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:"
                                    "TLS_AES_128_CCM_8_SHA256";
    const char *name = strncmp(given, "TLS_", 4) == 0 ? OPENSSL_cipher_name(given) : given;
    STACK_OF(SSL_CIPHER) *all = NULL;
    const char *found = NULL;
    if (name == NULL || strcmp(name, "(NONE)") == 0) {
        return NULL;
    }
    if (SSL_CTX_set_ciphersuites(context, every_new) == 1 &&
        SSL_CTX_set_cipher_list(context, every_old) == 1) {
        all = SSL_CTX_get_ciphers(context);
    }
    for (int i = 0; found == NULL && i < sk_SSL_CIPHER_num(all); i++) {
        const char *theirs = SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i));
        found = strcmp(theirs, name) == 0 ? theirs : NULL;
    }
    return found;
}

static bool
ciphers_sort(SSL_CTX *context, const struct lp_tls_settings *settings, struct names *ret_new,
             struct names *ret_old, char *why)
{
    for (uint32_t i = 0; i < settings->cipher_count; i++) {
        const char *name = cipher_name(context, settings->cipher[i]);
        if (name == NULL || ret_old->used + ret_new->used + strlen(name) + 2 > CIPHERS_BYTES) {
            (void)snprintf(why, LP_TLS_WHY_BYTES,
                           "ssl_options.ciphers: OpenSSL has no \"%.100s\"; 'rabbitmq-diagnostics "
                           "cipher_suites --all' lists what can be offered",
                           settings->cipher[i]);
            return false;
        }
        names_add(strncmp(name, "TLS_", 4) == 0 ? ret_new : ret_old, name);
    }
    return true;
}

/* A list of ciphers is all there is: a version that has none of them is not offered. */
static bool
ciphers_set(SSL_CTX *context, const struct lp_tls_settings *settings, uint32_t *versions, char *why)
{
    struct names suites = {.text = ""}; /* of TLS 1.3 */
    struct names list = {.text = ""};
    if (settings->cipher_count == 0) {
        return true;
    }
    if (!ciphers_sort(context, settings, &suites, &list, why)) {
        return false;
    }
    *versions &= suites.count > 0 ? ~0u : ~(uint32_t)LP_TLS_VERSION_1_3;
    *versions &= list.count > 0 ? ~0u : ~(uint32_t)LP_TLS_VERSION_1_2;
    if (*versions == 0) {
        (void)snprintf(why, LP_TLS_WHY_BYTES,
                       "ssl_options.ciphers: none is of a version in ssl_options.versions");
        return false;
    }
    if (SSL_CTX_set_cipher_list(context, list.count > 0 ? list.text : "DEFAULT") != 1 ||
        (suites.count > 0 && SSL_CTX_set_ciphersuites(context, suites.text) != 1)) {
        return fault(why, "ciphers", list.text);
    }
    return true;
}

static bool
versions_set(SSL_CTX *context, uint32_t versions)
{
    const int least = (versions & LP_TLS_VERSION_1_2) != 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    const int most = (versions & LP_TLS_VERSION_1_3) != 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    return SSL_CTX_set_min_proto_version(context, least) == 1 &&
           SSL_CTX_set_max_proto_version(context, most) == 1;
}

/* --- Files. ---------------------------------------------------------------------------------- */

static int
password_get(char *buffer, int bytes, int writing, void *context)
{
    const char *password = context;
    (void)writing;
    /* Without one nobody is asked: there is no terminal to ask at. */
    const size_t size = password != NULL ? strlen(password) : 0;
    if (size == 0 || size > (size_t)bytes) {
        return -1;
    }
    /* Its length is told. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
    memcpy(buffer, password, size);
    return (int)size;
}

static bool
key_load(SSL_CTX *context, const struct lp_tls_settings *settings, char *why)
{
    const char *key = settings->keyfile != NULL ? settings->keyfile : settings->certfile;
    const char *name = settings->keyfile != NULL ? "keyfile" : "certfile";
    SSL_CTX_set_default_passwd_cb(context, password_get);
    SSL_CTX_set_default_passwd_cb_userdata(context, (void *)(uintptr_t)settings->password);
    if (SSL_CTX_use_certificate_chain_file(context, settings->certfile) != 1) {
        return fault(why, "certfile", settings->certfile);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        return fault(why, name, key);
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        return fault(why, name, key);
    }
    return true;
}

static bool
dh_load(SSL_CTX *context, const struct lp_tls_settings *settings, char *why)
{
    if (settings->dhfile == NULL) {
        return SSL_CTX_set_dh_auto(context, 1) == 1;
    }
    BIO *file = BIO_new_file(settings->dhfile, "r");
    EVP_PKEY *parameters = file != NULL ? PEM_read_bio_Parameters(file, NULL) : NULL;
    (void)BIO_free(file);
    if (parameters == NULL || SSL_CTX_set0_tmp_dh_pkey(context, parameters) != 1) {
        EVP_PKEY_free(parameters);
        return fault(why, "dhfile", settings->dhfile);
    }
    return true;
}

static bool
peers_set(SSL_CTX *context, const struct lp_tls_settings *settings, char *why)
{
    if (settings->cacertfile != NULL) {
        if (SSL_CTX_load_verify_file(context, settings->cacertfile) != 1) {
            return fault(why, "cacertfile", settings->cacertfile);
        }
    }
    if (!settings->verify_peer) {
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        return true;
    }
    /* Clients are told whom we trust. */
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(settings->cacertfile);
    if (names == NULL) {
        return fault(why, "cacertfile", settings->cacertfile);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context,
                       SSL_VERIFY_PEER |
                           (settings->fail_if_no_peer_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       tls_step_verify);
    SSL_CTX_set_verify_depth(context, (int)settings->depth);
    return true;
}

static bool
sessions_set(SSL_CTX *context, const struct lp_tls_settings *settings)
{
    static const unsigned char id[] = "lepus";
    if (!settings->reuse_sessions) {
        (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        (void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(context, 0) == 1;
    }
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
    (void)SSL_CTX_sess_set_cache_size(context, SESSIONS_MAX);
    return SSL_CTX_set_session_id_context(context, id, sizeof(id) - 1) == 1;
}

static bool
context_fill(SSL_CTX *context, const struct lp_tls_settings *settings, char *why)
{
    const uint32_t all = LP_TLS_VERSION_1_2 | LP_TLS_VERSION_1_3;
    uint32_t versions = settings->versions != 0 ? settings->versions : all;
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (settings->honor_cipher_order) {
        (void)SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    }
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_info_callback(context, tls_step_info);
    if (!ciphers_set(context, settings, &versions, why)) {
        return false;
    }
    if (!versions_set(context, versions) || !sessions_set(context, settings)) {
        return fault(why, "versions", "");
    }
    return key_load(context, settings, why) && dh_load(context, settings, why) &&
           peers_set(context, settings, why);
}

/* NULL with `why`. */
static SSL_CTX *
context_make(const struct lp_tls_settings *settings, char *why)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL) {
        (void)snprintf(why, LP_TLS_WHY_BYTES, "OpenSSL has no memory for a context");
        return NULL;
    }
    if (!context_fill(context, settings, why)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

/* --- Changes. -------------------------------------------------------------------------------- */

/* A file's size and time, or zeros. */
static void
stamp_add(struct tls_stamp *stamp, uint32_t *at, const char *path)
{
    struct stat status;
    if (path != NULL && stat(path, &status) == 0) {
        stamp->word[*at] =
            (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec;
        stamp->word[*at + 1] = (uint64_t)status.st_size;
        stamp->word[*at + 2] = (uint64_t)status.st_ino;
    }
    *at += 3;
}

static struct tls_stamp
stamp_read(const struct lp_tls_settings *settings)
{
    struct tls_stamp stamp = {0};
    uint32_t at = 0;
    stamp_add(&stamp, &at, settings->certfile);
    stamp_add(&stamp, &at, settings->keyfile);
    stamp_add(&stamp, &at, settings->cacertfile);
    stamp_add(&stamp, &at, settings->dhfile);
    LP_ASSERT(at == LP_COUNT_OF(stamp.word));
    return stamp;
}

/* With the lock held. */
static void
context_renew(struct lp_tls *tls)
{
    char why[LP_TLS_WHY_BYTES];
    const uint64_t now_ns = tls->clock.monotonic_ns(tls->clock.self);
    if (now_ns - tls->looked_ns < LOOK_NS) {
        return;
    }
    tls->looked_ns = now_ns;
    const struct tls_stamp stamp = stamp_read(&tls->settings);
    if (memcmp(&stamp, &tls->stamp, sizeof(stamp)) == 0) {
        return;
    }
    tls->stamp = stamp; /* one that cannot be used is not tried again until it changes again */
    SSL_CTX *context = context_make(&tls->settings, why);
    if (context == NULL) {
        tls_log(tls, "TLS: the changed files cannot be used, those of before still are: %s", why);
        return;
    }
    SSL_CTX_free(tls->context); /* streams have theirs */
    tls->context = context;
    tls_log(tls, "TLS: the certificate was read anew from %s", tls->settings.certfile);
}

SSL *
tls_context_ssl(struct lp_tls *tls)
{
    tls_lock(tls);
    context_renew(tls);
    SSL *ssl = SSL_new(tls->context);
    tls_unlock(tls);
    return ssl;
}

static bool
settings_check(const struct lp_tls_settings *settings, char *why)
{
    const char *wrong = NULL;
    if (settings->certfile == NULL) {
        wrong = "TLS listeners need ssl_options.certfile, and ssl_options.keyfile";
    } else if (settings->verify_peer && settings->cacertfile == NULL) {
        wrong = "ssl_options.verify = verify_peer needs ssl_options.cacertfile: whom to trust";
    } else if (settings->fail_if_no_peer_cert && !settings->verify_peer) {
        wrong = "ssl_options.fail_if_no_peer_cert = true needs ssl_options.verify = verify_peer";
    }
    if (wrong != NULL) {
        (void)snprintf(why, LP_TLS_WHY_BYTES, "%s", wrong);
    }
    return wrong == NULL;
}

bool
tls_context_open_boot(struct lp_tls *tls, char *why)
{
    if (!settings_check(&tls->settings, why)) {
        return false;
    }
    tls->looked_ns = tls->clock.monotonic_ns(tls->clock.self);
    tls->stamp = stamp_read(&tls->settings);
    tls->context = context_make(&tls->settings, why);
    return tls->context != NULL;
}
