/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: TLS around a transport keeps that transport's contract, whatever the
 * network does to its bytes.
 *
 * Method: the simulator's network below it, OpenSSL's own client at the far
 * end, certificates made on the spot.  Handshakes run in poll(), but for one
 * test.
 */
#include "tls_rig.h"

static void
bytes_come_back_as_they_were_in_any_weather(void **state)
{
    (void)state;
    struct lp_sim_net_config config = calm();
    config.faults = lp_sim_net_config_default(1, 1).faults;
    config.faults.split = 900;
    config.window_bytes = 3000;
    world_start(&config);
    static const uint32_t sizes[] = {1, 100, 16384, 16385, 70000, 300000};
    for (uint32_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct client client;
        assert_int_equal(SSL_CTX_set_max_proto_version(world.context, (int)version), 1);
        client_connect(&client);
        assert_int_equal(SSL_version(client.ssl), version);
        for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
            client_echo(&client, sizes[i]);
        }
        client_close(&client);
        world_empty();
    }
}

/* Each record, of the handshake and after it, is cut at every byte. */
static void
a_byte_at_a_time_is_enough(void **state)
{
    (void)state;
    struct lp_sim_net_config config = calm();
    config.window_bytes = 1;
    world_start(&config);
    struct client client;
    client_connect(&client);
    client_echo(&client, 500);
    client_close(&client);
    world_empty();
}

/* After every number of the client's bytes. */
static void
a_reset_in_a_handshake_leaves_nothing(void **state)
{
    (void)state;
    struct lp_sim_net_config config = calm();
    config.window_bytes = 64;
    world_start(&config);
    for (uint32_t steps = 0; steps < 120; steps++) {
        struct client client;
        client_open(&client, 1);
        for (uint32_t i = 0; i < steps; i++) {
            client_step(&client);
        }
        lp_sim_net_far_reset(world.net, client.far);
        client_close(&client);
        world_empty();
        free(world.echo[0].bytes);
        world.echo[0].bytes = NULL;
        world.echo_count = 0;
    }
}

static void
a_silent_peer_is_given_up_in_time(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client silent;
    client_open(&silent, 1);
    world_step();
    world.now_ns += UINT64_C(4999000000);
    world_step();
    assert_int_equal(lp_sim_net_far_state(world.net, silent.far), LP_SIM_FAR_OPEN);
    world.now_ns += UINT64_C(2000000);
    world_empty();
    struct lp_tls_counters counters;
    lp_tls_counters(&world.transport, &counters);
    assert_int_equal(counters.failed_timeout, 1);
    assert_int_equal(world.log_lines, 0); /* it has said nothing: a monitor */
    client_close(&silent);

    /* One that begins and does not go on is worth a line. */
    client_open(&silent, 1);
    (void)SSL_do_handshake(silent.ssl);
    uint8_t hello[20];
    assert_int_equal(BIO_read(silent.out, hello, sizeof(hello)), sizeof(hello));
    world_step();
    assert_int_equal(lp_sim_net_far_send(world.net, silent.far, hello, sizeof(hello)),
                     sizeof(hello));
    world_step();
    world_step();
    world.now_ns += UINT64_C(5001000000);
    world_empty();
    assert_non_null(strstr(world.log, "failed: it was not done within 5000 ms"));
    client_close(&silent);
    assert_int_equal(world.echo_count, 0);
}

static void
what_is_no_tls_is_refused_with_a_line(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    static const char header[] = "AMQP\0\0\11\1GET / HTTP/1.1";
    for (uint32_t i = 0; i < 30; i++) {
        const lp_handle far = lp_sim_net_connect(world.net, 0, 1);
        world_step();
        (void)lp_sim_net_far_send(world.net, far, header, sizeof(header));
        world_empty();
        lp_sim_net_far_close(world.net, far);
    }
    assert_int_equal(world.echo_count, 0);
    assert_non_null(strstr(world.log, "TLS: the handshake with 127."));
    assert_int_equal(world.log_lines, 10); /* in one second */
    world.now_ns += UINT64_C(2000000000);
    const lp_handle far = lp_sim_net_connect(world.net, 0, 1);
    world_step();
    (void)lp_sim_net_far_send(world.net, far, header, sizeof(header));
    world_empty();
    lp_sim_net_far_close(world.net, far);
    assert_int_equal(world.log_lines, 12); /* how many were not said, and this one */
}

static void
streams_of_other_listeners_pass_as_they_are(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client tls;
    uint8_t back[8];
    const lp_handle plain = lp_sim_net_connect(world.net, 0, 0);
    client_connect(&tls);
    assert_int_equal(lp_sim_net_far_send(world.net, plain, "plainly", 7), 7);
    client_echo(&tls, 1000);
    uint32_t got = 0;
    for (uint32_t i = 0; i < STEPS_MAX && got < 7; i++) {
        world_step();
        got += lp_sim_net_far_receive(world.net, plain, back + got, 7 - got);
    }
    assert_memory_equal(back, "plainly", 7);
    struct lp_transport_identity identity;
    assert_int_equal(world.echo[0].listener, 0);
    assert_false(
        world.transport.ops->identity(world.transport.self, world.echo[0].stream, &identity));
    lp_sim_net_far_close(world.net, plain);
    client_close(&tls);
    world_empty();
    assert_true(world.echo[0].closed && world.echo[1].closed);
}

static void
a_slow_reader_gets_all_of_a_long_send_and_it_is_sent_once(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    static uint8_t big[3u * 1024u * 1024u];
    for (uint32_t i = 0; i < sizeof(big); i++) {
        big[i] = pattern(i);
    }
    struct client client;
    world.echoes = false;
    client_connect(&client);
    while (world.echo_count == 0) {
        client_step(&client);
    }
    struct echo *echo = &world.echo[0];
    const struct lp_iovec pieces[3] = {{.data = big, .bytes = 5},
                                       {.data = big + 5, .bytes = 0},
                                       {.data = big + 5, .bytes = sizeof(big) - 5}};
    const struct lp_transport_ops *ops = world.transport.ops;
    assert_true(ops->send(world.transport.self, echo->stream, pieces, 3));
    assert_false(ops->send(world.transport.self, echo->stream, pieces, 1));
    echo->sending = true;
    for (uint32_t i = 0; i < 1000; i++) {
        world_step(); /* nobody reads */
    }
    assert_true(echo->sending);
    for (uint32_t i = 0; i < STEPS_MAX && client.got_bytes < sizeof(big); i++) {
        client_step(&client);
    }
    assert_int_equal(client.got_bytes, sizeof(big));
    assert_memory_equal(client.got, big, sizeof(big));
    assert_false(echo->sending);
    assert_int_equal(echo->answered, sizeof(big));

    /* Given up in the middle, the memory is nobody's after CLOSED. */
    assert_true(ops->send(world.transport.self, echo->stream, pieces, 3));
    echo->sending = true;
    world_step();
    ops->close(world.transport.self, echo->stream);
    ops->close(world.transport.self, echo->stream);
    for (uint32_t i = 0; i < STEPS_MAX && !echo->closed; i++) {
        world_step();
    }
    assert_true(echo->closed);
    client_close(&client);
    world_empty();
}

static void
both_ends_say_that_they_close(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client client;
    client_connect(&client);
    client_echo(&client, 10);
    world.transport.ops->close(world.transport.self, world.echo[0].stream);
    world.echoes = false;
    for (uint32_t i = 0; i < STEPS_MAX && client.error == 0; i++) {
        client_step(&client);
    }
    assert_int_equal(client.error, SSL_ERROR_ZERO_RETURN);
    client_close(&client);
    world_empty();

    world.echoes = true;
    client_connect(&client);
    client_echo(&client, 10);
    assert_int_equal(SSL_write(client.ssl, "last", 4), 4);
    (void)SSL_shutdown(client.ssl);
    for (uint32_t i = 0; i < STEPS_MAX && client.error == 0; i++) {
        client_step(&client);
    }
    assert_int_equal(client.error, SSL_ERROR_ZERO_RETURN); /* answered in kind */
    assert_true(world.echo[1].ended);
    assert_int_equal(world.echo[1].received, 14);
    client_close(&client);
    world_empty();
}

static void
a_peer_that_leaves_without_a_word_has_ended(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client client;
    client_connect(&client);
    client_echo(&client, 10);
    client_close(&client);
    world_empty();
    assert_true(world.echo[0].ended && world.echo[0].closed);
    assert_int_equal(world.log_lines, 0);
}

static void
a_forged_record_ends_the_stream(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client client;
    static const uint8_t forged[] = {23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8,
                                     9,  1, 2, 3, 4,  5, 6, 7, 8, 9, 1, 2};
    client_connect(&client);
    client_echo(&client, 10);
    assert_int_equal(lp_sim_net_far_send(world.net, client.far, forged, sizeof(forged)),
                     sizeof(forged));
    for (uint32_t i = 0; i < STEPS_MAX && client.error == 0; i++) {
        client_step(&client);
    }
    assert_int_equal(client.error, SSL_ERROR_SSL); /* the alert */
    client_close(&client);
    world_empty();
    assert_int_equal(world.echo[0].received, 10);
}

static void
renegotiation_is_refused_and_new_keys_are_taken(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client client;
    client_connect(&client);
    client_echo(&client, 100);
    assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    client_echo(&client, 100);
    client_echo(&client, 100000);
    client_close(&client);
    world_empty();

    assert_int_equal(SSL_CTX_set_max_proto_version(world.context, TLS1_2_VERSION), 1);
    client_connect(&client);
    client_echo(&client, 100);
    assert_int_equal(SSL_renegotiate(client.ssl), 1);
    (void)SSL_do_handshake(client.ssl);
    for (uint32_t i = 0; i < 1000 && client.error == 0; i++) {
        client_step(&client);
    }
    assert_int_equal(client.error, SSL_ERROR_SSL); /* this client makes an end of it */
    client_close(&client);
    world_empty();
}

/* Each is answered, and the answers wait for as long as it does not read. */
static void
who_asks_for_new_keys_and_reads_nothing_is_ended(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client client;
    client_connect(&client);
    client_echo(&client, 10);
    uint32_t asked = 0;
    for (; asked < 40000 && !world.echo[0].ended; asked++) {
        uint8_t record[256];
        assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(client.ssl), 1);
        const int bytes = BIO_read(client.out, record, sizeof(record));
        assert_true(bytes > 0);
        for (uint32_t at = 0; at < (uint32_t)bytes;) {
            at += lp_sim_net_far_send(world.net, client.far, record + at, (uint32_t)bytes - at);
            world_step();
        }
    }
    assert_true(world.echo[0].ended);
    assert_true(asked > 1000); /* nobody needs so many */
    client_close(&client);
    world_empty();
}

static void
a_client_that_comes_back_has_a_short_handshake(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    world.start.settings.verify_peer = true;
    world.start.settings.cacertfile = world.path[1];
    world_start(&config);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(world.context, world.path[2]), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(world.context, world.path[2], SSL_FILETYPE_PEM),
                     1);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct client client;
        assert_int_equal(SSL_CTX_set_max_proto_version(world.context, version), 1);
        client_connect(&client);
        client_echo(&client, 10);
        SSL_SESSION *session = SSL_get1_session(client.ssl);
        (void)SSL_shutdown(client.ssl);
        client_close(&client);
        client_open(&client, 1);
        assert_int_equal(SSL_set_session(client.ssl, session), 1);
        SSL_SESSION_free(session);
        client_handshake(&client);
        client_echo(&client, 10);
        assert_int_equal(SSL_session_reused(client.ssl), 1);
        struct lp_transport_identity identity;
        const lp_handle stream = world.echo[world.echo_count - 1].stream;
        assert_true(world.transport.ops->identity(world.transport.self, stream, &identity));
        assert_non_null(strstr(identity.subject, "CN=client")); /* as it showed at first */
        client_close(&client);
        world_empty();
    }
    struct lp_tls_counters counters;
    lp_tls_counters(&world.transport, &counters);
    assert_int_equal(counters.resumed, 2);
    assert_int_equal(counters.handshakes, 4);
}

static void
login_expect(const char *from, const char *type, const char *index, const char *name)
{
    struct lp_transport_identity identity;
    struct client client;
    char why[LP_TLS_WHY_BYTES];
    const struct lp_sim_net_config config = calm();
    struct lp_tls_settings *settings = &world.start.settings;
    assert_true(lp_tls_setting_put(settings, "login_from", from, why));
    assert_true(lp_tls_setting_put(settings, "san_type", type, why));
    assert_true(lp_tls_setting_put(settings, "san_index", index, why));
    world_start(&config);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(world.context, world.path[2]), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(world.context, world.path[2], SSL_FILETYPE_PEM),
                     1);
    client_connect(&client);
    client_echo(&client, 1);
    const lp_handle stream = world.echo[world.echo_count - 1].stream;
    assert_true(world.transport.ops->identity(world.transport.self, stream, &identity));
    if (name != NULL) {
        assert_null(identity.login_missing);
        /* Of an address NULs are a part. */
        const uint32_t bytes = strcmp(type, "ip") == 0 ? 4 : (uint32_t)strlen(name);
        assert_true(lp_bytes_equal(identity.login, lp_bytes_of(name, bytes)));
    } else {
        assert_string_equal(identity.login_missing, "no name found");
    }
    assert_string_equal(identity.subject, "CN=client,O=\\#Ex\\, Ltd\\C3\\BC\\ ,C=GB");
    assert_string_equal(identity.issuer, "CN=ca,O=\\#Ex\\, Ltd\\C3\\BC\\ ,C=GB");
    assert_int_equal(strlen(identity.validity), 2 * strlen("2026-01-01T00:00:00Z") + 3);
    client_close(&client);
    world_empty();
    world_stop();
}

static void
a_client_s_name_is_what_rabbitmq_would_call_it(void **state)
{
    (void)state;
    world.start.settings.verify_peer = true;
    world.start.settings.cacertfile = world.path[1];
    login_expect("distinguished_name", "dns", "0", "CN=client,O=\\#Ex\\, Ltd\\C3\\BC\\ ,C=GB");
    login_expect("common_name", "dns", "0", "client");
    login_expect("subject_alternative_name", "dns", "0", "a.example");
    login_expect("subject_alternative_name", "dns", "1", "b.example");
    login_expect("subject_alternative_name", "dns", "2", NULL);
    login_expect("subject_alt_name", "ip", "0", "\12\0\0\1");
    login_expect("subject_alternative_name", "email", "0", "me@example");
    login_expect("subject_alternative_name", "uri", "0", "urn:x");
    login_expect("subject_alternative_name", "other_name", "0", "other one");
}

/* Real time passes here: the worker has a thread of its own. */
static void
a_worker_does_the_same(void **state)
{
    (void)state;
    const struct lp_sim_net_config config = calm();
    static struct client clients[20];
    world.start.settings.workers = 2;
    world.start.settings.handshake_timeout_ms = 3600000; /* of the network's time, which flies */
    world_start(&config);
    clients_handshake(clients, LP_COUNT_OF(clients), 20);
    lp_sim_net_far_reset(world.net, clients[0].far);
    client_close(&clients[0]);
    for (uint32_t i = 1; i < LP_COUNT_OF(clients); i++) {
        client_close(&clients[i]);
    }
}

int
main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        WITH(bytes_come_back_as_they_were_in_any_weather),
        WITH(a_byte_at_a_time_is_enough),
        WITH(a_reset_in_a_handshake_leaves_nothing),
        WITH(a_silent_peer_is_given_up_in_time),
        WITH(what_is_no_tls_is_refused_with_a_line),
        WITH(streams_of_other_listeners_pass_as_they_are),
        WITH(a_slow_reader_gets_all_of_a_long_send_and_it_is_sent_once),
        WITH(both_ends_say_that_they_close),
        WITH(a_peer_that_leaves_without_a_word_has_ended),
        WITH(a_forged_record_ends_the_stream),
        WITH(renegotiation_is_refused_and_new_keys_are_taken),
        WITH(who_asks_for_new_keys_and_reads_nothing_is_ended),
        WITH(a_client_that_comes_back_has_a_short_handshake),
        WITH(a_client_s_name_is_what_rabbitmq_would_call_it),
        WITH(a_worker_does_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
