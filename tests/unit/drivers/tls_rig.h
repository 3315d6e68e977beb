/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_rig.h - TLS around the simulator's network: a server that echoes, on
 * listener 1 with TLS and on 0 without, and clients of OpenSSL's at the far
 * ends.  Included by one file of a program.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <drivers/sim/net.h>
#include <drivers/tls/tls.h>

#define STREAMS_MAX  64u
#define EVENTS_MAX   7u
#define BUFFER_BYTES (4u * 1024u * 1024u)
#define STEPS_MAX    2000000u

/* --- Certificates. --------------------------------------------------------------------------- */

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
    char folder[64];
};

static void
name_set(X509 *certificate, bool issuer, const char *common)
{
    X509_NAME *name = X509_NAME_new();
    assert_non_null(name);
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "C", MBSTRING_ASC, (const unsigned char *)"GB", -1, -1, 0),
        1);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                                (const unsigned char *)"#Ex, Ltd\xc3\xbc ", -1, -1,
                                                0),
                     1);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                (const unsigned char *)common, -1, -1, 0),
                     1);
    assert_int_equal(issuer ? X509_set_issuer_name(certificate, name)
                            : X509_set_subject_name(certificate, name),
                     1);
    X509_NAME_free(name);
}

/* Signed by `issuer`, or by itself. */
static X509 *
certificate_make(EVP_PKEY *key, const char *common, const struct authority *issuer)
{
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    assert_int_equal(X509_set_version(certificate, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 86400));
    name_set(certificate, false, common);
    name_set(certificate, true, issuer != NULL ? "ca" : common);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    X509_EXTENSION *extension =
        issuer == NULL ? X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "CA:TRUE")
                       : X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
                                             "DNS:a.example,DNS:b.example,IP:10.0.0.1,"
                                             "email:me@example,URI:urn:x,"
                                             "otherName:1.2.3.4;UTF8:other one");
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(certificate, issuer != NULL ? issuer->key : key, EVP_sha256()) > 0);
    return certificate;
}

static void
pem_write(const struct authority *authority, const char *name, EVP_PKEY *key, X509 *certificate)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", authority->folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    if (key != NULL) {
        assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    }
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
}

static void
authority_open(struct authority *authority)
{
    (void)snprintf(authority->folder, sizeof(authority->folder),
                   "/tmp/lepus-test-tls-X"
                   "XXXXX");
    assert_non_null(mkdtemp(authority->folder));
    authority->key = EVP_EC_gen("P-256");
    authority->certificate = certificate_make(authority->key, "ca", NULL);
    pem_write(authority, "ca.pem", NULL, authority->certificate);
    static const char *const names[] = {"server", "client"};
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        char file[16];
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *certificate = certificate_make(key, names[i], authority);
        (void)snprintf(file, sizeof(file), "%s.pem", names[i]);
        pem_write(authority, file, key, certificate);
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
}

static void
authority_close(struct authority *authority)
{
    static const char *const names[] = {"ca", "server", "client"};
    char path[128];
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s.pem", authority->folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(authority->folder), 0);
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
}

/* --- The world. ------------------------------------------------------------------------------ */

/* The server's side of a stream. */
struct echo {
    lp_handle stream;
    uint32_t listener;
    bool sending;
    bool ended;
    bool closed;
    uint8_t *bytes; /* all that came */
    uint32_t received;
    uint32_t answered;
};

struct client {
    lp_handle far;
    SSL *ssl; /* NULL: it speaks plainly */
    BIO *in;
    BIO *out;
    uint8_t held[16384]; /* of `out`, on its way */
    uint32_t held_from;
    uint32_t held_used;
    uint8_t *got;
    uint32_t got_bytes;
    int error; /* of SSL_read, when it was not WANT_READ */
};

struct world {
    struct authority authority;
    struct lp_sim_net *net;
    struct lp_tls *tls;
    struct lp_transport transport;
    struct lp_tls_start start;
    SSL_CTX *context; /* the clients' */
    uint64_t now_ns;
    uint32_t echo_count;
    struct echo echo[STREAMS_MAX];
    bool echoes;
    char log[1024]; /* its last line */
    uint32_t log_lines;
    char path[3][128];
};

static struct world world;

static uint64_t
world_clock(void *self)
{
    (void)self;
    return world.now_ns;
}

static void
world_log(void *context, const char *line)
{
    (void)context;
    (void)snprintf(world.log, sizeof(world.log), "%s", line);
    world.log_lines++;
}

static void
world_settings(void)
{
    static const char *const names[] = {"server", "ca", "client"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(world.path[i], sizeof(world.path[i]), "%s/%s.pem", world.authority.folder,
                       names[i]);
    }
    world.start = (struct lp_tls_start){
        .settings = lp_tls_settings_default,
        .clock = {.monotonic_ns = world_clock, .wall_ns = world_clock},
        .log = world_log,
    };
    world.start.settings.certfile = world.path[0];
    world.start.settings.workers = 0;
}

/* With what world.start says. */
static void
world_start(const struct lp_sim_net_config *config)
{
    char why[LP_TLS_WHY_BYTES] = "";
    if (lp_tls_start_boot(&world.start, &world.tls, why) != LP_OK) {
        fail_msg("%s", why);
    }
    world.net = lp_sim_net_create(config);
    const struct lp_tls_options options = {
        .tls = world.tls, .listeners = 2, .streams_max = STREAMS_MAX};
    assert_int_equal(
        lp_tls_open_boot(&options, lp_sim_net_transport(world.net, 0), &world.transport), LP_OK);
    world.context = SSL_CTX_new(TLS_client_method());
    assert_non_null(world.context);
    assert_int_equal(SSL_CTX_load_verify_file(world.context, world.path[1]), 1);
    SSL_CTX_set_verify(world.context, SSL_VERIFY_PEER, NULL);
    world.echoes = true;
}

static struct lp_sim_net_config
calm(void)
{
    struct lp_sim_net_config config = lp_sim_net_config_default(1, 1);
    config.listener_count = 2;
    config.faults = (struct lp_sim_net_faults){0};
    return config;
}

static int
world_open(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.now_ns = 1;
    authority_open(&world.authority);
    world_settings();
    return 0;
}

static void
world_stop(void)
{
    lp_tls_stop(world.tls);
    (void)lp_tls_close(&world.transport);
    lp_tls_free(&world.tls);
    lp_sim_net_destroy(world.net);
    SSL_CTX_free(world.context);
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        free(world.echo[i].bytes);
        world.echo[i].bytes = NULL;
    }
    world.echo_count = 0;
}

static int
world_close(void **state)
{
    (void)state;
    if (world.tls != NULL) {
        world_stop();
    }
    authority_close(&world.authority);
    return 0;
}

static void
echo_event(const struct lp_transport_event *event)
{
    if (event->kind == LP_TRANSPORT_ACCEPTED) {
        assert_true(world.echo_count < STREAMS_MAX);
        struct echo *fresh = &world.echo[world.echo_count++];
        *fresh = (struct echo){.stream = event->stream, .listener = event->listener};
        fresh->bytes = malloc(BUFFER_BYTES);
        assert_int_equal(event->local.port, 5672 + event->listener);
        world.transport.ops->attach(world.transport.self, event->stream, world.echo_count);
        return;
    }
    assert_in_range(event->user, 1, world.echo_count);
    struct echo *echo = &world.echo[event->user - 1];
    assert_true(echo->stream == event->stream && !echo->closed);
    if (event->kind == LP_TRANSPORT_RECEIVED) {
        assert_true(event->bytes > 0 && !echo->ended);
        assert_true(echo->received + event->bytes <= BUFFER_BYTES);
        memcpy(echo->bytes + echo->received, event->data, event->bytes);
        echo->received += event->bytes;
    } else if (event->kind == LP_TRANSPORT_SENT) {
        assert_true(echo->sending);
        echo->sending = false;
        echo->answered += event->bytes;
    } else if (event->kind == LP_TRANSPORT_ENDED) {
        assert_false(echo->ended);
        echo->ended = true;
    } else {
        assert_int_equal(event->kind, LP_TRANSPORT_CLOSED);
        echo->closed = true;
    }
}

static void
echo_answer(struct echo *echo)
{
    if (echo->closed) {
        return;
    }
    if (echo->ended) {
        world.transport.ops->close(world.transport.self, echo->stream);
        return;
    }
    if (echo->sending || echo->received == echo->answered) {
        return;
    }
    /* In two pieces, one of them small. */
    const uint32_t bytes = echo->received - echo->answered;
    const uint32_t first = LP_MIN(bytes, 3u);
    const struct lp_iovec pieces[2] = {
        {.data = echo->bytes + echo->answered, .bytes = first},
        {.data = echo->bytes + echo->answered + first, .bytes = bytes - first}};
    assert_true(world.transport.ops->send(world.transport.self, echo->stream, pieces, 2));
    echo->sending = true;
}

static void
world_step(void)
{
    struct lp_transport_event events[EVENTS_MAX];
    const uint64_t next = lp_sim_net_next_ns(world.net);
    world.now_ns += 1000;
    if (next != UINT64_MAX && next > world.now_ns) {
        world.now_ns = next;
    }
    lp_sim_net_advance(world.net, world.now_ns);
    const uint32_t count = world.transport.ops->poll(world.transport.self, events, EVENTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        echo_event(&events[i]);
    }
    for (uint32_t i = 0; world.echoes && i < world.echo_count; i++) {
        echo_answer(&world.echo[i]);
    }
    world.transport.ops->flush(world.transport.self);
}

/* --- Clients. -------------------------------------------------------------------------------- */

static void
client_open(struct client *client, uint32_t listener)
{
    memset(client, 0, sizeof(*client));
    client->far = lp_sim_net_connect(world.net, 0, listener);
    client->got = malloc(BUFFER_BYTES);
    if (listener == 0) {
        return;
    }
    client->ssl = SSL_new(world.context);
    client->in = BIO_new(BIO_s_mem());
    client->out = BIO_new(BIO_s_mem());
    assert_true(client->ssl != NULL && client->in != NULL && client->out != NULL);
    SSL_set_bio(client->ssl, client->in, client->out);
    SSL_set_connect_state(client->ssl);
}

static void
client_close(struct client *client)
{
    lp_sim_net_far_close(world.net, client->far);
    SSL_free(client->ssl);
    free(client->got);
    memset(client, 0, sizeof(*client));
}

/* Bytes between OpenSSL and the network, and what can be read. */
static void
client_move(struct client *client)
{
    uint8_t buffer[4096];
    uint32_t bytes;
    while ((bytes = lp_sim_net_far_receive(world.net, client->far, buffer, sizeof(buffer))) > 0) {
        assert_int_equal(BIO_write(client->in, buffer, (int)bytes), bytes);
    }
    ERR_clear_error(); /* the server is in the same thread */
    while (client->error == 0) {
        const int got = SSL_read(client->ssl, client->got + client->got_bytes,
                                 (int)(BUFFER_BYTES - client->got_bytes));
        if (got > 0) {
            client->got_bytes += (uint32_t)got;
            continue;
        }
        const int error = SSL_get_error(client->ssl, got);
        client->error = error == SSL_ERROR_WANT_READ ? 0 : error;
        break;
    }
    for (;;) {
        if (client->held_from == client->held_used) {
            const int got = BIO_read(client->out, client->held, sizeof(client->held));
            client->held_from = 0;
            client->held_used = got > 0 ? (uint32_t)got : 0;
        }
        bytes = lp_sim_net_far_send(world.net, client->far, client->held + client->held_from,
                                    client->held_used - client->held_from);
        client->held_from += bytes;
        if (bytes == 0) {
            return;
        }
    }
}

static void
client_step(struct client *client)
{
    client_move(client);
    world_step();
}

static void
client_handshake(struct client *client)
{
    for (uint32_t i = 0; i < STEPS_MAX && !SSL_is_init_finished(client->ssl); i++) {
        assert_int_equal(client->error, 0);
        client_step(client);
    }
    assert_true(SSL_is_init_finished(client->ssl));
}

/* All of them at once, with worker threads that take the time they take. */
static inline void
clients_handshake(struct client *clients, uint32_t count, time_t seconds)
{
    struct timespec now;
    uint32_t done = 0;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    const time_t deadline = now.tv_sec + seconds;
    for (uint32_t i = 0; i < count; i++) {
        client_open(&clients[i], 1);
    }
    while (done < count) {
        done = 0;
        for (uint32_t i = 0; i < count; i++) {
            client_step(&clients[i]);
            done += SSL_is_init_finished(clients[i].ssl) == 1;
        }
        (void)sched_yield();
        assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
        assert_true(now.tv_sec < deadline);
    }
}

static void
client_connect(struct client *client)
{
    client_open(client, 1);
    client_handshake(client);
}

static uint8_t
pattern(uint32_t at)
{
    return (uint8_t)(at * 131u + (at >> 8) * 7u);
}

/* Send `bytes` and wait for them to come back. */
static void
client_echo(struct client *client, uint32_t bytes)
{
    static uint8_t text[BUFFER_BYTES];
    const uint32_t from = client->got_bytes;
    for (uint32_t i = 0; i < bytes; i++) {
        text[i] = pattern(from + i);
    }
    assert_int_equal(SSL_write(client->ssl, text, (int)bytes), bytes);
    for (uint32_t i = 0; i < STEPS_MAX && client->got_bytes < from + bytes; i++) {
        assert_int_equal(client->error, 0);
        client_step(client);
    }
    assert_int_equal(client->got_bytes, from + bytes);
    assert_memory_equal(client->got + from, text, bytes);
}

/* Everything comes to rest: no stream is left at the shard's end. */
static void
world_empty(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        world_step(); /* who is on the way arrives */
    }
    for (uint32_t i = 0; i < STEPS_MAX && lp_sim_net_streams(world.net, 0) > 0; i++) {
        world_step();
    }
    assert_int_equal(lp_sim_net_streams(world.net, 0), 0);
    struct lp_tls_counters counters;
    lp_tls_counters(&world.transport, &counters);
    assert_int_equal(counters.handshaking, 0);
}
