/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECN as the sending half sees it (RFC 3168 6.1.2): what ECE does to windows.
 *
 * Method: the sender's rig; its receiver says ECE for a while, as one does whose
 * CWR is still on its way.
 */
#include "tests/unit/net/sender_rig.h"

/* The first `count` segments in flight are acknowledged, by one that has these flags. */
static void
acknowledge(struct rig *rig, uint32_t count, uint8_t flags)
{
    const uint32_t ack = rig->stream->send_una + count * 1448u;
    const struct tcp_segment segment = {
        .seq = 1000,
        .ack = ack,
        .window = rig->window >> rig->stream->send_shift,
        .flags = (uint8_t)(TCP_ACK | flags),
        .has_timestamp = true,
        .echo = tcp_now_ms(&rig->net) + rig->stream->timestamp_offset,
    };
    assert_true(tcp_ack_input(&rig->net, rig->stream, &segment));
    tcp_flush(&rig->net);
    tcp_send_check(rig->stream);
}

/* Ten segments in flight, the receiver is this function's caller. */
static struct rig *
rig_with_ecn(enum lp_net_congestion congestion)
{
    struct rig *rig = rig_make(1);
    rig->net.config.congestion = congestion;
    rig->stream->ecn = true;
    rig->stream->ecn_send = true;
    rig->wire.loss_data = 10000;
    rig_begin(rig);
    (void)rig_send(rig, 1u << 20);
    tcp_flush(&rig->net);
    assert_int_equal(tcp_flight(rig->stream), 14480);
    return rig;
}

/* NewReno's half, CUBIC's 0.7: of what was in flight. */
static void
a_mark_shrinks_the_window_as_a_loss_does(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < 2; i++) {
        struct rig *rig = rig_with_ecn(i == 0 ? LP_NET_NEWRENO : LP_NET_CUBIC);
        acknowledge(rig, 1, TCP_ECE);
        assert_int_equal(rig->stream->ssthresh, i == 0 ? 7240 : 10136);
        assert_int_equal(rig->stream->cwnd, rig->stream->ssthresh);
        assert_int_equal(rig->net.counters.tcp_ecn_reductions, 1);
        assert_true(rig->stream->ecn_cwr);
        rig_free(&rig);
    }
}

static void
a_window_shrinks_once_a_round_trip_and_does_not_grow_meanwhile(void **unused)
{
    (void)unused;
    struct rig *rig = rig_with_ecn(LP_NET_NEWRENO);
    const uint32_t end = rig->stream->send_next;
    acknowledge(rig, 1, TCP_ECE);
    const uint32_t cwnd = rig->stream->cwnd;
    for (uint32_t i = 0; i < 9; i++) {
        acknowledge(rig, 1, TCP_ECE);
        assert_int_equal(rig->stream->cwnd, cwnd);
    }
    assert_int_equal(rig->stream->send_una, end);
    assert_int_equal(rig->net.counters.tcp_ecn_reductions, 1);
    assert_false(rig->stream->ecn_cwr);
    /* The next one covers what had CWR. */
    acknowledge(rig, 1, TCP_ECE);
    assert_int_equal(rig->net.counters.tcp_ecn_reductions, 2);
    rig_free(&rig);
}

/* All of a window by one acknowledgement: it was that window that was too large. */
static void
an_acknowledgement_of_everything_shrinks_what_it_was(void **unused)
{
    (void)unused;
    struct rig *rig = rig_with_ecn(LP_NET_NEWRENO);
    acknowledge(rig, 10, TCP_ECE);
    assert_int_equal(rig->stream->ssthresh, 7240);
    rig_free(&rig);
}

static void
a_peer_that_always_says_so_leaves_two_segments(void **unused)
{
    (void)unused;
    struct rig *rig = rig_with_ecn(LP_NET_CUBIC);
    for (uint32_t i = 0; i < 200; i++) {
        assert_true(tcp_flight(rig->stream) >= 1448);
        acknowledge(rig, 1, TCP_ECE);
    }
    assert_int_equal(rig->stream->cwnd, 2 * 1448);
    assert_in_range(rig->net.counters.tcp_ecn_reductions, 10, 100);
    rig_free(&rig);
}

static void
without_ecn_the_bit_is_nothing(void **unused)
{
    (void)unused;
    struct rig *rig = rig_with_ecn(LP_NET_NEWRENO);
    rig->stream->ecn_send = false;
    acknowledge(rig, 5, TCP_ECE);
    assert_int_equal(rig->net.counters.tcp_ecn_reductions, 0);
    assert_int_equal(rig->stream->ssthresh, TCP_CWND_MAX);
    rig_free(&rig);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_shrinks_the_window_as_a_loss_does),
        cmocka_unit_test(a_window_shrinks_once_a_round_trip_and_does_not_grow_meanwhile),
        cmocka_unit_test(an_acknowledgement_of_everything_shrinks_what_it_was),
        cmocka_unit_test(a_peer_that_always_says_so_leaves_two_segments),
        cmocka_unit_test(without_ecn_the_bit_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
