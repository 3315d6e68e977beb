/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h - TLS around any transport: streams of the listeners that are named so
 * are encrypted, those of the others pass through as they are.
 *
 * One struct lp_tls for a process has the certificate, the rules, and the
 * threads in which handshakes run; a wrapper a shard has the shard's streams.
 * A stream is ACCEPTED when its handshake is done: until then the shard does
 * not know of it.
 *
 *   Memory    tables at boot; a stream's TLS state, what it sends, and what a
 *             handshake needs come from the heap, as OpenSSL's own memory does
 *   Runs on   the wrapper as its inner transport does; handshakes in threads
 *             of their own, or in poll() with no workers
 *   Limits    streams_max streams; TLS_JOBS_MAX handshakes of a shard with the
 *             workers at once, the others wait
 *   Overload  more streams than streams_max, or handshakes than TLS_HELLOS_MAX,
 *             are closed and counted; a stream for which there is no memory ends
 *   Read      README.md
 */
#pragma once

#include <lepus/clock.h>
#include <lepus/err.h>
#include <lepus/tls_counters.h>
#include <lepus/transport.h>

#define LP_TLS_WHY_BYTES   512u
#define LP_TLS_CIPHERS_MAX 64u
#define LP_TLS_WORKERS_MAX 16u

enum lp_tls_version {
    LP_TLS_VERSION_1_2 = 1,
    LP_TLS_VERSION_1_3 = 2,
};

/* What of a client's certificate is the name that it logs in with. */
enum lp_tls_login {
    LP_TLS_LOGIN_DISTINGUISHED_NAME,
    LP_TLS_LOGIN_COMMON_NAME,
    LP_TLS_LOGIN_SUBJECT_ALTERNATIVE_NAME,
};

enum lp_tls_san {
    LP_TLS_SAN_DNS,
    LP_TLS_SAN_IP,
    LP_TLS_SAN_EMAIL,
    LP_TLS_SAN_URI,
    LP_TLS_SAN_OTHER_NAME,
};

/* RabbitMQ's ssl_options and what belongs to them; texts are the caller's and outlive the lp_tls.
 */
struct lp_tls_settings {
    const char *certfile;
    const char *keyfile;    /* NULL: it is in certfile */
    const char *cacertfile; /* NULL: none */
    const char *dhfile;     /* NULL: OpenSSL's own groups */
    const char *password;   /* of keyfile; NULL: none */
    uint32_t versions;      /* enum lp_tls_version bits; 0: all */
    uint32_t cipher_count;  /* 0: OpenSSL's choice */
    const char *cipher[LP_TLS_CIPHERS_MAX];
    uint32_t depth;
    bool verify_peer;
    bool fail_if_no_peer_cert;
    bool honor_cipher_order;
    bool reuse_sessions;
    enum lp_tls_login login_from;
    enum lp_tls_san san_type;
    uint32_t san_index;
    uint32_t handshake_timeout_ms;
    uint32_t workers; /* threads for handshakes; 0: they run in poll(), a few steps each */
};

/* RabbitMQ's defaults. */
extern const struct lp_tls_settings lp_tls_settings_default;

/*
 * One setting as an operator writes it, without "ssl_options." before it:
 * "certfile", "verify", "versions.1", "login_from", ...  False: `why`
 * (LP_TLS_WHY_BYTES) says what is wrong.
 */
LP_MUST_CHECK bool lp_tls_setting_put(struct lp_tls_settings *settings, const char *key,
                                      const char *value, char *why);

/* A line for the operator, without its end.  From any thread. */
typedef void lp_tls_log_fn(void *context, const char *line);

struct lp_tls_start {
    struct lp_tls_settings settings;
    struct lp_clock clock;
    lp_tls_log_fn *log;
    void *log_context;
};

struct lp_tls;

/*
 * Read the files and start the threads.  `why` has LP_TLS_WHY_BYTES.
 *
 * LP_ERR_BAD_CONFIG  a file or a setting cannot be used: `why` says which
 * LP_ERR_NO_MEMORY, LP_ERR_IO
 */
LP_MUST_CHECK enum lp_err lp_tls_start_boot(const struct lp_tls_start *start,
                                            struct lp_tls **ret_tls, char *why);
/* When no shard runs any more: waits for the threads.  Before the wrappers are closed. */
void lp_tls_stop(struct lp_tls *tls);
/* After them. */
void lp_tls_free(struct lp_tls **tls);

struct lp_tls_options {
    struct lp_tls *tls;
    uint64_t listeners; /* a bit for each whose streams are encrypted, by its index */
    uint32_t streams_max;
    struct lp_tls_counters *told; /* where others read them; NULL: nobody does */
};

/* LP_ERR_NO_MEMORY; `inner` stays the caller's to close, after the wrapper. */
LP_MUST_CHECK enum lp_err lp_tls_open_boot(const struct lp_tls_options *options,
                                           struct lp_transport inner,
                                           struct lp_transport *ret_transport);
/* When nothing runs on it any more, and the lp_tls is stopped; gives the inner one back. */
struct lp_transport lp_tls_close(struct lp_transport *transport);

/* For tests. */
void lp_tls_counters(const struct lp_transport *transport, struct lp_tls_counters *ret_counters);
