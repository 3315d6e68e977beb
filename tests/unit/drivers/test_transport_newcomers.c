/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the drivers of byte streams take newcomers, refuse them and wait for
 * them alike; what they do with streams is in test_transport.c, which says how
 * it is tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "transport_rig.h"

static int
setup_few_buffers(void **state)
{
    return setup_with(state, STREAMS_MAX, 16);
}

static int
setup_few_streams(void **state)
{
    return setup_with(state, 5, 0);
}

/* With 16 receive buffers for 200 streams, which all send more than one buffer holds. */
static void
many_streams_share_few_receive_buffers(void **state)
{
    struct rig *rig = *state;
    enum { STREAMS = 200, BYTES = 60000 };
    static uint32_t sent[STREAMS];
    static uint32_t back[STREAMS];
    static uint8_t buffer[65536];
    memset(sent, 0, sizeof(sent));
    memset(back, 0, sizeof(back));
    rig->echo = true;
    for (uint32_t i = 0; i < STREAMS; i++) {
        (void)far_connect(rig, i % 3);
        rig_step(rig);
    }
    for (uint32_t done = 0; done < STREAMS;) {
        done = 0;
        for (uint32_t i = 0; i < STREAMS; i++) {
            sent[i] += far_send(rig, i, pattern_memory() + sent[i], BYTES - sent[i]);
        }
        rig_step(rig);
        for (uint32_t i = 0; i < STREAMS; i++) {
            const uint32_t n = far_receive(rig, i, buffer, sizeof(buffer));
            pattern_assert(buffer, back[i], n);
            back[i] += n;
            done += back[i] == BYTES ? 1 : 0;
        }
    }
    if (rig->driver == DRIVER_URING) {
        struct lp_socket_counters counters;
        lp_uring_counters(&rig->transport, &counters);
        assert_true(counters.starved > 0);
    }
}

static void
one_stream_too_many_is_closed_and_the_next_is_welcome(void **state)
{
    struct rig *rig = *state;
    while (rig->near_count < rig->streams_max) {
        (void)pair_open(rig, 0);
    }
    const uint32_t extra = far_connect(rig, 0);
    uint8_t byte;
    while (!rig->far[extra].ended && !rig->far[extra].reset) {
        rig_move(rig);
        (void)far_receive(rig, extra, &byte, 1);
    }
    assert_int_equal(rig->near_count, rig->streams_max);
    rig->transport.ops->close(rig->transport.self, rig->near[0].handle);
    rig_settle(rig);
    assert_int_equal(rig->near[0].closed, 1);
    (void)far_connect(rig, 0);
    while (rig->near_count == rig->streams_max) {
        rig_move(rig);
    }
}

static void
wake_any_ends_a_wait_before_or_after_it_began(void **state)
{
    struct rig *rig = *state;
    if (rig->driver == DRIVER_SIM) {
        assert_false(lp_sim_net_wake_take(rig->net, 0));
        rig->transport.ops->wake_any(rig->transport.self);
        assert_true(lp_sim_net_wake_take(rig->net, 0));
        assert_false(lp_sim_net_wake_take(rig->net, 0));
        return;
    }
    rig_settle(rig);
    for (uint32_t round = 0; round < 100; round++) {
        rig->transport.ops->wake_any(rig->transport.self);
        /* Without a limit: the test hangs, and its time-out tells, if the wake is lost. */
        rig->transport.ops->wait(rig->transport.self, UINT64_MAX);
        rig_step(rig);
    }
}

static void
a_wait_ends_by_itself_when_its_time_is_up(void **state)
{
    struct rig *rig = *state;
    if (rig->driver == DRIVER_SIM) {
        return;
    }
    rig_settle(rig);
    const uint64_t start = clock_now_ns();
    while (clock_now_ns() < start + 3 * 1000 * 1000) {
        rig->transport.ops->wait(rig->transport.self, 1000 * 1000);
        assert_int_equal(rig_step(rig), 0);
    }
}

static void
after_accept_stop_newcomers_are_refused_and_streams_live_on(void **state)
{
    struct rig *rig = *state;
    rig->echo = true;
    const uint32_t i = pair_open(rig, 0);
    rig->transport.ops->accept_stop(rig->transport.self);
    rig->transport.ops->accept_stop(rig->transport.self);
    rig_settle(rig);
    if (rig->driver == DRIVER_SIM) {
        const uint32_t refused = far_connect(rig, 0);
        rig_settle(rig);
        assert_int_equal(lp_sim_net_far_state(rig->net, rig->far[refused].sim), LP_SIM_FAR_RESET);
    }
    for (uint32_t listener = 0; rig->driver != DRIVER_SIM && listener < 3; listener++) {
        struct sockaddr_storage kernel;
        const socklen_t bytes = lp_address_to_kernel(&rig->listeners.address[listener], &kernel);
        const int fd = socket(kernel.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_not_equal(connect(fd, (const struct sockaddr *)&kernel, bytes), 0);
        assert_int_equal(close(fd), 0);
    }
    far_send_all(rig, i, 0, 2000);
    far_expect(rig, i, 0, 2000);
    assert_int_equal(rig->near_count, 1);
}

/* Whether the kernel, or the simulated one, takes a newcomer at this listener. */
static bool
is_reached(struct rig *rig, uint32_t listener)
{
    if (rig->driver == DRIVER_SIM) {
        const lp_handle far = rig->far[far_connect(rig, listener)].sim;
        while (lp_sim_net_far_state(rig->net, far) == LP_SIM_FAR_CONNECTING) {
            rig_move(rig);
        }
        return lp_sim_net_far_state(rig->net, far) == LP_SIM_FAR_OPEN;
    }
    struct sockaddr_storage kernel;
    const socklen_t bytes = lp_address_to_kernel(&rig->listeners.address[listener], &kernel);
    const int fd = socket(kernel.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool reached = connect(fd, (const struct sockaddr *)&kernel, bytes) == 0;
    assert_int_equal(close(fd), 0);
    return reached;
}

static void
a_pause_closes_the_ports_and_streams_live_on(void **state)
{
    struct rig *rig = *state;
    rig->echo = true;
    const uint32_t before = pair_open(rig, 0);
    uint32_t streams = 1;
    for (uint32_t round = 0; round < 3; round++) {
        rig->transport.ops->accept_pause(rig->transport.self, true);
        rig->transport.ops->accept_pause(rig->transport.self, true);
        assert_false(is_reached(rig, 0));
        rig_settle(rig);
        assert_false(is_reached(rig, 0));
        rig->transport.ops->accept_pause(rig->transport.self, false);
        if (round == 1) { /* the events of both come together */
            rig->transport.ops->accept_pause(rig->transport.self, true);
            rig->transport.ops->accept_pause(rig->transport.self, false);
        }
        far_send_all(rig, pair_open(rig, 0), 0, 2000);
        streams++;
        far_send_all(rig, before, round * 2000u, 2000);
        far_expect(rig, before, round * 2000u, 2000);
    }
    assert_int_equal(rig->near_count, streams);
    rig->transport.ops->accept_stop(rig->transport.self);
    rig->transport.ops->accept_pause(rig->transport.self, true);
    rig->transport.ops->accept_pause(rig->transport.self, false);
    assert_false(is_reached(rig, 0)); /* a stop is for good */
}

int
main(void)
{
    const struct CMUnitTest scripts[] = {
        SCRIPT(many_streams_share_few_receive_buffers, setup_few_buffers),
        SCRIPT(one_stream_too_many_is_closed_and_the_next_is_welcome, setup_few_streams),
        SCRIPT(wake_any_ends_a_wait_before_or_after_it_began, setup),
        SCRIPT(a_wait_ends_by_itself_when_its_time_is_up, setup),
        SCRIPT(after_accept_stop_newcomers_are_refused_and_streams_live_on, setup),
        SCRIPT(a_pause_closes_the_ports_and_streams_live_on, setup),
    };
    int failed = 0;
    for (current = 0; current < DRIVERS; current++) {
        if (driver_usable(current)) {
            failed += cmocka_run_group_tests_name(driver_name[current], scripts, NULL, NULL);
        }
    }
    return failed;
}
