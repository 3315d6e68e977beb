/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer may make us hold and do: bytes before a handshake is done and
 * after, records that are none, steps of a poll, sealings with one key.
 */
#include "tls_rig.h"

#include <drivers/tls/tls_private.h>

static struct tls_driver *
driver_of_world(void)
{
    return world.transport.self;
}

/* The only one. */
static struct tls_stream *
stream_of_world(void)
{
    struct tls_driver *driver = driver_of_world();
    assert_int_equal(driver->counters.handshaking, 1);
    return LP_LIST_ITEM(driver->hellos.next, struct tls_stream, in_time);
}

/* What is no record is not waited for: a length can promise as much as it likes. */
static void
what_cannot_become_a_record_is_refused_at_once(void **state)
{
    (void)state;
    static const uint8_t wrong[][5] = {
        {'G', 'E', 'T', ' ', '/'}, /* a length of 8239, if it was one */
        {22, 3, 1, 0xff, 0xff},    /* longer than any */
    };
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    for (size_t i = 0; i < LP_COUNT_OF(wrong); i++) {
        const lp_handle far = lp_sim_net_connect(world.net, 0, 1);
        world_step();
        assert_int_equal(lp_sim_net_far_send(world.net, far, wrong[i], 5), 5);
        for (uint32_t step = 0; step < 100 && lp_sim_net_streams(world.net, 0) > 0; step++) {
            world_step();
        }
        assert_int_equal(lp_sim_net_streams(world.net, 0), 0);
        lp_sim_net_far_close(world.net, far);
    }
    assert_true(world.now_ns < UINT64_C(5000000000)); /* not by its time-out */
}

/* While a worker is at it, what comes waits; and after some of that, the peer. */
static void
a_handshake_holds_little_more_than_a_record(void **state)
{
    (void)state;
    static uint8_t junk[65536];
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    const lp_handle far = lp_sim_net_connect(world.net, 0, 1);
    world_step();
    world_step();
    struct tls_stream *stream = stream_of_world();
    stream->busy = true;
    uint64_t sent = 0;
    for (uint32_t i = 0; i < 200; i++) {
        sent += lp_sim_net_far_send(world.net, far, junk, sizeof(junk));
        world_step();
    }
    assert_true(sent >= 2 * sizeof(junk)); /* and more waits on the wire than is held here */
    const uint32_t held = tls_buffer_bytes(&stream->hello->late);
    assert_in_range(held, TLS_HELLO_HOLD_BYTES, 2 * sizeof(junk));
    assert_true(stream->paused);
    assert_int_equal(lp_sim_net_far_state(world.net, far), LP_SIM_FAR_OPEN);
    stream->busy = false;
    lp_sim_net_far_close(world.net, far);
    world.now_ns += UINT64_C(5001000000);
    world_empty();
}

/* In a shard's own thread others have their turn between the signatures. */
static void
a_poll_makes_only_some_steps_of_handshakes(void **state)
{
    (void)state;
    enum { CLIENTS = 12 };
    struct client client[CLIENTS];
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    const struct lp_tls_counters *counters = &driver_of_world()->counters;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        client_open(&client[i], 1);
    }
    uint32_t done = 0;
    for (uint32_t round = 0; round < STEPS_MAX && done < CLIENTS; round++) {
        done = 0;
        for (uint32_t i = 0; i < CLIENTS; i++) {
            client_move(&client[i]);
            done += SSL_is_init_finished(client[i].ssl) == 1;
        }
        const uint64_t before = counters->steps_here;
        world_step();
        assert_true(counters->steps_here - before <= TLS_INLINE_STEPS);
    }
    assert_int_equal(done, CLIENTS);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        client_close(&client[i]);
    }
    world_empty();
}

/* The shard takes nothing: what is decrypted for it has a bound, and so has what is not. */
static void
who_is_not_listened_to_waits(void **state)
{
    (void)state;
    static uint8_t text[16384];
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    struct client client;
    client_connect(&client);
    client_echo(&client, 10);
    world.transport.ops->receive_stop(world.transport.self, world.echo[0].stream);
    const uint32_t before = world.echo[0].received;
    for (uint32_t i = 0; i < 400; i++) {
        (void)SSL_write(client.ssl, text, sizeof(text));
        client_step(&client);
    }
    assert_int_equal(world.echo[0].received, before);
    const struct tls_stream *stream = &driver_of_world()->streams[0];
    assert_true(stream->paused);
    assert_true(tls_buffer_bytes(&stream->in) < 2 * TLS_HOLD_BYTES);
    client_close(&client);
    world.transport.ops->close(world.transport.self, world.echo[0].stream);
    world_empty();
}

int
main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        WITH(what_cannot_become_a_record_is_refused_at_once),
        WITH(a_handshake_holds_little_more_than_a_record),
        WITH(a_poll_makes_only_some_steps_of_handshakes),
        WITH(who_is_not_listened_to_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
