/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the drivers of byte streams keep one contract.
 *
 * Method: the same scripts, written against transport.h alone, run over
 * io_uring, epoll and the simulator.  The far ends are non-blocking sockets
 * on loopback, or the simulator's.  One thread: a step polls the transport,
 * keeps book of its events, and answers them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "transport_rig.h"

static void
a_stream_is_accepted_with_its_addresses(void **state)
{
    struct rig *rig = *state;
    for (uint32_t listener = 0; listener < 3; listener++) {
        const uint32_t i = pair_open(rig, listener);
        const struct near *near = &rig->near[i];
        assert_int_equal(near->listener, listener);
        if (rig->driver == DRIVER_SIM) {
            assert_int_equal(near->peer.family, LP_ADDRESS_IPV4);
            continue;
        }
        static const uint8_t family[] = {LP_ADDRESS_IPV4, LP_ADDRESS_IPV6, LP_ADDRESS_UNIX};
        assert_int_equal(near->peer.family, family[listener]);
        assert_int_equal(near->local.family, family[listener]);
        assert_int_equal(near->local.port, rig->listeners.address[listener].port);
        assert_true((near->peer.port != 0) == (listener != 2));
    }
    rig_settle(rig);
    assert_int_equal(rig->near_count, 3);
}

static void
what_is_sent_comes_back_in_any_size(void **state)
{
    struct rig *rig = *state;
    static const uint32_t sizes[] = {1, 2, 63, 4096, 16384, 16385, 65536, 100000, MEGABYTE};
    rig->echo = true;
    for (uint32_t s = 0; s < LP_COUNT_OF(sizes); s++) {
        const uint32_t i = pair_open(rig, s % 3);
        uint32_t sent = 0;
        uint32_t back = 0;
        static uint8_t buffer[65536];
        while (back < sizes[s]) {
            sent += far_send(rig, i, pattern_memory() + sent, sizes[s] - sent);
            rig_step(rig);
            const uint32_t n = far_receive(rig, i, buffer, sizeof(buffer));
            pattern_assert(buffer, back, n);
            back += n;
        }
        far_close(rig, i);
        while (rig->near[i].closed == 0) {
            rig_move(rig);
        }
        assert_int_equal(rig->near[i].received, sizes[s]);
        assert_int_equal(rig->near[i].sent_bytes, sizes[s]);
    }
}

static void
sixty_four_pieces_go_out_in_order_as_one_send(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    struct lp_iovec pieces[LP_TRANSPORT_IOV_MAX];
    uint32_t total = 0;
    for (uint32_t p = 0; p < LP_COUNT_OF(pieces); p++) {
        const uint32_t bytes = p % 7 == 3 ? 0 : p * 450;
        pieces[p] = (struct lp_iovec){.data = pattern_memory() + total, .bytes = bytes};
        total += bytes;
    }
    const struct lp_transport_ops *ops = rig->transport.ops;
    assert_true(ops->send(rig->transport.self, rig->near[i].handle, pieces, LP_COUNT_OF(pieces)));
    /* The array is the driver's own copy by now. */
    memset(pieces, 0xff, sizeof(pieces));
    far_expect(rig, i, 0, total);
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    rig_settle(rig);
    assert_int_equal(rig->near[i].sent, 1);
    assert_int_equal(rig->near[i].sent_bytes, total);
}

static void
a_second_send_is_refused_while_one_is_in_flight(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    const struct lp_transport_ops *ops = rig->transport.ops;
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 1000};
    assert_true(ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    assert_false(ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    assert_true(ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    far_expect(rig, i, 0, 1000);
    far_expect(rig, i, 0, 1000);
}

/* Far more than socket buffers hold: the send waits for the reader, and SENT comes once. */
static void
a_send_to_a_slow_reader_completes_when_it_reads(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    static uint8_t big[16u * MEGABYTE];
    for (uint32_t at = 0; at < sizeof(big); at += MEGABYTE) {
        memcpy(big + at, pattern_memory(), MEGABYTE);
    }
    const struct lp_iovec pieces[2] = {{.data = big, .bytes = 777},
                                       {.data = big + 777, .bytes = sizeof(big) - 777}};
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, pieces, 2));
    rig_settle(rig);
    assert_int_equal(rig->near[i].sent, 0);
    for (uint32_t at = 0; at < sizeof(big); at += MEGABYTE) {
        far_expect(rig, i, 0, MEGABYTE);
    }
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    assert_int_equal(rig->near[i].sent_bytes, sizeof(big));
}

static void
receiving_stops_and_goes_on_where_it_was(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    const struct lp_transport_ops *ops = rig->transport.ops;
    far_send_all(rig, i, 0, 5000);
    while (rig->near[i].received < 5000) {
        rig_move(rig);
    }
    for (uint32_t round = 0; round < 20; round++) {
        const uint32_t from = 5000 + round * 1000;
        ops->receive_stop(rig->transport.self, rig->near[i].handle);
        if (round % 2 == 0) {
            rig_settle(rig);
        }
        far_send_all(rig, i, from, 1000);
        if (round % 4 == 0) {
            rig_settle(rig);
            assert_int_equal(rig->near[i].received, from);
        }
        ops->receive_start(rig->transport.self, rig->near[i].handle);
        while (rig->near[i].received < from + 1000) {
            rig_move(rig);
        }
    }
    assert_int_equal(rig->near[i].received, 25000);
    pattern_assert(rig->near[i].bytes, 0, 25000);
}

/* Flipping within a turn must neither lose the receive nor double it. */
static void
stop_and_start_in_one_turn_leave_it_receiving(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    const struct lp_transport_ops *ops = rig->transport.ops;
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t flips = 0; flips <= round % 5; flips++) {
            ops->receive_stop(rig->transport.self, rig->near[i].handle);
            ops->receive_start(rig->transport.self, rig->near[i].handle);
        }
        far_send_all(rig, i, round * 100, 100);
        while (rig->near[i].received < (round + 1) * 100) {
            rig_move(rig);
        }
    }
    pattern_assert(rig->near[i].bytes, 0, 5000);
}

static void
a_peer_that_closes_is_read_to_the_end_then_ended_then_closed_once(void **state)
{
    struct rig *rig = *state;
    for (uint32_t listener = 0; listener < 3; listener++) {
        const uint32_t i = pair_open(rig, listener);
        uint32_t sent = 0;
        while (sent < 30000) {
            sent += far_send(rig, i, pattern_memory() + sent, 30000 - sent);
        }
        far_close(rig, i);
        while (rig->near[i].ended == 0) {
            rig_move(rig);
        }
        assert_int_equal(rig->near[i].received, 30000);
        pattern_assert(rig->near[i].bytes, 0, 30000);
        rig_settle(rig);
        assert_int_equal(rig->near[i].closed, 0);
        rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
        rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
        rig_settle(rig);
        assert_int_equal(rig->near[i].closed, 1);
        assert_int_equal(rig->near[i].ended, 1);
    }
}

static void
an_end_waits_behind_bytes_that_nobody_wanted_yet(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    rig->transport.ops->receive_stop(rig->transport.self, rig->near[i].handle);
    rig_settle(rig);
    assert_int_equal(far_send(rig, i, pattern_memory(), 3000), 3000);
    far_close(rig, i);
    rig_settle(rig);
    assert_int_equal(rig->near[i].ended, 0);
    rig->transport.ops->receive_start(rig->transport.self, rig->near[i].handle);
    while (rig->near[i].ended == 0) {
        rig_move(rig);
    }
    assert_int_equal(rig->near[i].received, 3000);
}

static void
a_half_closed_peer_can_still_be_answered(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    assert_int_equal(far_send(rig, i, pattern_memory(), 100), 100);
    far_half_close(rig, i);
    while (rig->near[i].ended == 0) {
        rig_move(rig);
    }
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 5000};
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    far_expect(rig, i, 0, 5000);
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
    uint8_t byte;
    while (!rig->far[i].ended) {
        (void)far_receive(rig, i, &byte, 1);
        rig_move(rig);
    }
}

static void
a_reset_peer_is_ended_also_with_a_send_in_flight(void **state)
{
    struct rig *rig = *state;
    static uint8_t big[8u * MEGABYTE];
    for (uint32_t sending = 0; sending < 2; sending++) {
        const uint32_t i = pair_open(rig, 0);
        if (sending == 1) {
            const struct lp_iovec piece = {.data = big, .bytes = sizeof(big)};
            assert_true(
                rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
            rig_settle(rig);
        }
        far_reset(rig, i);
        while (rig->near[i].ended == 0) {
            rig_move(rig);
        }
        rig_settle(rig);
        assert_int_equal(rig->near[i].sent, sending);
        assert_true(rig->near[i].sent_bytes < sizeof(big));
        rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
        rig_settle(rig);
        assert_int_equal(rig->near[i].closed, 1);
    }
}

/* The send's memory is freed at CLOSED: ASan tells whoever reads it later. */
static void
close_gives_up_a_send_in_flight_and_says_only_closed(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    uint8_t *big = calloc(8, MEGABYTE);
    const struct lp_iovec piece = {.data = big, .bytes = 8u * MEGABYTE};
    assert_int_equal(far_send(rig, i, pattern_memory(), 3000), 3000);
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    rig_settle(rig);
    const uint32_t received = rig->near[i].received;
    rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
    rig_settle(rig);
    assert_int_equal(rig->near[i].closed, 1);
    assert_int_equal(rig->near[i].sent, 0);
    assert_int_equal(rig->near[i].ended, 0);
    assert_int_equal(rig->near[i].received, received);
    free(big);
    rig_settle(rig);
}

/* What a peer sent and nobody read must not turn our last words into a reset. */
static void
last_words_arrive_before_the_end(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = pair_open(rig, 0);
    rig->transport.ops->receive_stop(rig->transport.self, rig->near[i].handle);
    rig_settle(rig);
    assert_int_equal(far_send(rig, i, pattern_memory(), 40000), 40000);
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 800};
    assert_true(rig->transport.ops->send(rig->transport.self, rig->near[i].handle, &piece, 1));
    while (rig->near[i].sent == 0) {
        rig_move(rig);
    }
    rig->transport.ops->close(rig->transport.self, rig->near[i].handle);
    far_expect(rig, i, 0, 800);
    uint8_t byte;
    while (!rig->far[i].ended) {
        assert_int_equal(far_receive(rig, i, &byte, 1), 0);
        assert_false(rig->far[i].reset);
        rig_move(rig);
    }
}

static void
a_stale_handle_is_ignored_by_every_call(void **state)
{
    struct rig *rig = *state;
    const struct lp_transport_ops *ops = rig->transport.ops;
    void *self = rig->transport.self;
    const uint32_t dead = pair_open(rig, 0);
    ops->close(self, rig->near[dead].handle);
    rig_settle(rig);
    assert_int_equal(rig->near[dead].closed, 1);
    const uint32_t alive = pair_open(rig, 0); /* in the same slot, as a rule */
    const struct lp_iovec piece = {.data = pattern_memory(), .bytes = 10};
    const lp_handle handles[] = {rig->near[dead].handle, LP_HANDLE_NONE, UINT64_MAX,
                                 lp_handle_make(0, 77777)};
    for (uint32_t h = 0; h < LP_COUNT_OF(handles); h++) {
        ops->attach(self, handles[h], 99);
        ops->receive_stop(self, handles[h]);
        ops->receive_start(self, handles[h]);
        assert_false(ops->send(self, handles[h], &piece, 1));
        ops->close(self, handles[h]);
    }
    rig->echo = true;
    far_send_all(rig, alive, 0, 1000);
    far_expect(rig, alive, 0, 1000);
    assert_int_equal(rig->near[alive].closed, 0);
}

int
main(void)
{
    const struct CMUnitTest scripts[] = {
        SCRIPT(a_stream_is_accepted_with_its_addresses, setup),
        SCRIPT(what_is_sent_comes_back_in_any_size, setup),
        SCRIPT(sixty_four_pieces_go_out_in_order_as_one_send, setup),
        SCRIPT(a_second_send_is_refused_while_one_is_in_flight, setup),
        SCRIPT(a_send_to_a_slow_reader_completes_when_it_reads, setup),
        SCRIPT(receiving_stops_and_goes_on_where_it_was, setup),
        SCRIPT(stop_and_start_in_one_turn_leave_it_receiving, setup),
        SCRIPT(a_peer_that_closes_is_read_to_the_end_then_ended_then_closed_once, setup),
        SCRIPT(an_end_waits_behind_bytes_that_nobody_wanted_yet, setup),
        SCRIPT(a_half_closed_peer_can_still_be_answered, setup),
        SCRIPT(a_reset_peer_is_ended_also_with_a_send_in_flight, setup),
        SCRIPT(close_gives_up_a_send_in_flight_and_says_only_closed, setup),
        SCRIPT(last_words_arrive_before_the_end, setup),
        SCRIPT(a_stale_handle_is_ignored_by_every_call, setup),
    };
    int failed = 0;
    for (current = 0; current < DRIVERS; current++) {
        if (driver_usable(current)) {
            failed += cmocka_run_group_tests_name(driver_name[current], scripts, NULL, NULL);
        }
    }
    return failed;
}
