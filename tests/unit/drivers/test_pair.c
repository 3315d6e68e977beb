/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: two transports behave as one, and descriptors of others end a wait.
 *
 * Method: a pair of the simulator's networks echoes what far ends of both say;
 * its wait() is recorded instead of waiting.  For descriptors, the kernel's
 * two drivers with a pipe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include <drivers/common/address.h>
#include <drivers/common/pair.h>
#include <drivers/epoll/epoll.h>
#include <drivers/sim/net.h>
#include <drivers/sim/sim.h>
#include <drivers/uring/uring.h>

#define PEERS  8u
#define SECOND 0x80000000u

struct world {
    struct lp_sim_net *net[2];
    struct lp_transport_ops first_ops; /* the simulator's, but its wait() */
    struct lp_transport first;
    struct lp_pair pair;
    struct lp_transport transport;
    struct lp_sim_clock clock;
    uint32_t accepted[8]; /* of each listener of the shard's */
    uint32_t closed;
    uint64_t second_handles;
    /* wait() */
    uint64_t next_ns;
    bool work;
    uint32_t begun;
    uint32_t ended;
    uint32_t waits;
    uint64_t waited_ns;
};

static bool
sleep_begin(void *context, uint64_t *ret_next_ns)
{
    struct world *world = context;
    world->begun++;
    *ret_next_ns = world->next_ns;
    return !world->work;
}

static void
sleep_end(void *context)
{
    struct world *world = context;
    world->ended++;
}

static struct world *recording; /* whose wait() it is: the simulator's `self` is its own */

static void
wait_record(void *self, uint64_t timeout_ns)
{
    (void)self;
    recording->waits++;
    recording->waited_ns = timeout_ns;
}

static void
world_open(struct world *world)
{
    memset(world, 0, sizeof(*world));
    recording = world;
    world->next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < 2; i++) {
        struct lp_sim_net_config config = lp_sim_net_config_default(i + 1, 1);
        config.listener_count = 2;
        world->net[i] = lp_sim_net_create(&config);
    }
    world->first = lp_sim_net_transport(world->net[0], 0);
    world->first_ops = *world->first.ops;
    world->first_ops.wait = wait_record;
    world->first.ops = &world->first_ops;
    lp_sim_clock_init(&world->clock, 1000, 1000);
    const struct lp_pair_options options = {
        .first = world->first,
        .second = lp_sim_net_transport(world->net[1], 0),
        .sleep = {.begin = sleep_begin, .end = sleep_end, .context = world},
        .clock = lp_sim_clock_contract(&world->clock),
        .first_listener = {0, 1},
        .second_listener = {5, 1},
    };
    world->transport = lp_pair_init(&world->pair, &options);
}

static void
world_close(struct world *world)
{
    lp_sim_net_destroy(world->net[0]);
    lp_sim_net_destroy(world->net[1]);
}

static void
event_take(struct world *world, const struct lp_transport_event *event)
{
    static const uint8_t answer[3] = "yes";
    const struct lp_transport *transport = &world->transport;
    const struct lp_iovec piece = {.data = answer, .bytes = sizeof(answer)};
    switch (event->kind) {
    case LP_TRANSPORT_ACCEPTED:
        world->accepted[event->listener]++;
        world->second_handles += (event->stream & SECOND) != 0 ? 1 : 0;
        transport->ops->attach(transport->self, event->stream, event->stream);
        return;
    case LP_TRANSPORT_RECEIVED:
        assert_true(event->user == event->stream);
        assert_true(transport->ops->send(transport->self, event->stream, &piece, 1));
        return;
    case LP_TRANSPORT_ENDED:
        assert_true(event->user == event->stream);
        transport->ops->close(transport->self, event->stream);
        return;
    case LP_TRANSPORT_CLOSED:
        assert_true(event->user == event->stream);
        world->closed++;
        return;
    case LP_TRANSPORT_SENT:
    case LP_TRANSPORT_CONNECTED:
        return;
    }
}

static void
world_step(struct world *world, uint32_t events_max)
{
    struct lp_transport_event events[64];
    lp_sim_clock_advance(&world->clock, 100000);
    lp_sim_net_advance(world->net[0], world->clock.now_ns);
    lp_sim_net_advance(world->net[1], world->clock.now_ns);
    const uint32_t count = world->transport.ops->poll(world->transport.self, events, events_max);
    assert_true(count <= events_max);
    for (uint32_t i = 0; i < count; i++) {
        event_take(world, &events[i]);
    }
    world->transport.ops->flush(world->transport.self);
}

static void
streams_of_both_live_side_by_side(void **state)
{
    (void)state;
    struct world world;
    lp_handle far[2][PEERS];
    world_open(&world);
    assert_string_equal(world.transport.ops->name, "sim+sim");
    for (uint32_t i = 0; i < 2 * PEERS; i++) {
        far[i % 2][i / 2] = lp_sim_net_connect(world.net[i % 2], 0, i / PEERS);
        assert_int_equal(lp_sim_net_far_send(world.net[i % 2], far[i % 2][i / 2], "?", 1), 1);
    }
    uint32_t answered = 0;
    for (uint32_t step = 0; step < 100000 && answered < 2 * PEERS * 3; step++) {
        world_step(&world, 4);
        for (uint32_t i = 0; i < 2 * PEERS; i++) {
            uint8_t buffer[8];
            answered +=
                lp_sim_net_far_receive(world.net[i % 2], far[i % 2][i / 2], buffer, sizeof(buffer));
        }
    }
    assert_int_equal(answered, 2 * PEERS * 3);
    assert_int_equal(world.accepted[0], PEERS / 2);
    assert_int_equal(world.accepted[5], PEERS / 2);
    assert_int_equal(world.accepted[1], PEERS); /* both have it */
    assert_int_equal(world.second_handles, PEERS);
    for (uint32_t i = 0; i < 2 * PEERS; i++) {
        lp_sim_net_far_close(world.net[i % 2], far[i % 2][i / 2]);
    }
    for (uint32_t step = 0; step < 100000 && world.closed < 2 * PEERS; step++) {
        world_step(&world, 64);
    }
    assert_int_equal(world.closed, 2 * PEERS);
    world_close(&world);
}

static void
after_accept_stop_neither_takes_newcomers(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    world.transport.ops->accept_pause(world.transport.self, true);
    world.transport.ops->accept_pause(world.transport.self, false);
    world.transport.ops->accept_stop(world.transport.self);
    for (uint32_t i = 0; i < 2; i++) {
        const lp_handle far = lp_sim_net_connect(world.net[i], 0, 0);
        for (uint32_t step = 0; step < 1000; step++) {
            world_step(&world, 64);
        }
        assert_int_equal(lp_sim_net_far_state(world.net[i], far), LP_SIM_FAR_RESET);
    }
    world_close(&world);
}

static void
a_wait_lasts_until_the_first_of_both_wants(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    const struct lp_transport *transport = &world.transport;
    transport->ops->wait(transport->self, 5000);
    assert_int_equal(world.waited_ns, 5000);
    world.next_ns = world.clock.now_ns + 700;
    transport->ops->wait(transport->self, 5000);
    assert_int_equal(world.waited_ns, 700);
    transport->ops->wait(transport->self, 300);
    assert_int_equal(world.waited_ns, 300);
    transport->ops->wait(transport->self, UINT64_MAX);
    assert_int_equal(world.waited_ns, 700);
    world.next_ns = world.clock.now_ns - 1;
    transport->ops->wait(transport->self, 300);
    assert_int_equal(world.waited_ns, 0);
    world.next_ns = UINT64_MAX;
    transport->ops->wait(transport->self, UINT64_MAX);
    assert_true(world.waited_ns == UINT64_MAX);
    assert_int_equal(world.waits, 6);
    world.work = true;
    transport->ops->wait(transport->self, UINT64_MAX);
    assert_int_equal(world.waits, 6);
    assert_int_equal(world.begun, 7);
    assert_int_equal(world.ended, 6);
    assert_false(lp_sim_net_wake_take(world.net[0], 0));
    transport->ops->wake_any(transport->self);
    assert_true(lp_sim_net_wake_take(world.net[0], 0));
    world_close(&world);
}

/* --- Descriptors of others. ------------------------------------------------------------------ */

static void
watch(bool uring)
{
    char why[LP_LISTENERS_WHY_BYTES];
    struct lp_listeners listeners;
    struct lp_address address;
    struct lp_transport transport;
    int ends[2];
    assert_true(lp_address_parse("tcp:127.0.0.1:0", &address));
    assert_int_equal(lp_listeners_open_boot(&listeners, &address, 1, 1, why), LP_OK);
    assert_int_equal(pipe(ends), 0);
    const struct lp_socket_options options = {.listeners = &listeners,
                                              .streams_max = 4,
                                              .wake_fd = -1,
                                              .watch_count = 1,
                                              .watch_fd = {ends[0]}};
    assert_int_equal(uring ? lp_uring_open_boot(&options, &transport)
                           : lp_epoll_open_boot(&options, &transport),
                     LP_OK);
    struct lp_transport_event event;
    for (uint32_t round = 0; round < 20; round++) {
        uint8_t byte;
        assert_int_equal(transport.ops->poll(transport.self, &event, 1), 0);
        transport.ops->wait(transport.self, 1000); /* nothing yet */
        assert_int_equal(transport.ops->poll(transport.self, &event, 1), 0);
        assert_int_equal(write(ends[1], "x", 1), 1);
        /* No limit: the test hangs if nobody looks. */
        transport.ops->wait(transport.self, UINT64_MAX);
        assert_int_equal(transport.ops->poll(transport.self, &event, 1), 0);
        /* Nobody has read it: the next wait ends, too. */
        transport.ops->wait(transport.self, UINT64_MAX);
        assert_int_equal(transport.ops->poll(transport.self, &event, 1), 0);
        assert_int_equal(read(ends[0], &byte, 1), 1);
    }
    if (uring) {
        lp_uring_close(&transport);
    } else {
        lp_epoll_close(&transport);
    }
    lp_listeners_close(&listeners);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void
a_descriptor_that_is_readable_ends_a_wait_of_epoll(void **state)
{
    (void)state;
    watch(false);
}

static void
a_descriptor_that_is_readable_ends_a_wait_of_io_uring(void **state)
{
    (void)state;
    char why[LP_URING_WHY_BYTES];
    if (!lp_uring_usable(why)) {
        skip();
    }
    watch(true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_of_both_live_side_by_side),
        cmocka_unit_test(after_accept_stop_neither_takes_newcomers),
        cmocka_unit_test(a_wait_lasts_until_the_first_of_both_wants),
        cmocka_unit_test(a_descriptor_that_is_readable_ends_a_wait_of_epoll),
        cmocka_unit_test(a_descriptor_that_is_readable_ends_a_wait_of_io_uring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
