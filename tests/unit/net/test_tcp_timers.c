/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is everything of the sending half sent when its RFC says, and not before?
 *
 * Method: the rig of sender_rig.h, a round trip of 10 ms, and a list of what
 * left and when.
 */
#include "tests/unit/net/sender_rig.h"

#define SECOND_NS (1000 * RIG_MS)
#define TICK_NS   (1ull << LP_WHEEL_TICK_SHIFT)

static void
assert_about(uint64_t value_ns, uint64_t expected_ns)
{
    /* A timer is never early, and late by a tick and what is rounded. */
    assert_in_range(value_ns, expected_ns, expected_ns + 3 * TICK_NS);
}

static uint64_t
sent_after(const struct rig *rig, uint32_t number, uint32_t earlier)
{
    assert_true(number < rig->segments);
    return rig->sent_at_ns[number] - rig->sent_at_ns[earlier];
}

/* RFC 6298 5.5, 2.5; RFC 9293 3.8.3. */
static void
a_time_out_doubles_up_to_a_minute_until_the_user_gives_up(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig->stream->sack = false; /* no probe before */
    rig->cut_from = 1;
    rig->cut_to = UINT64_MAX;
    rig_begin(rig);
    (void)rig_send(rig, 100);
    rig_run(rig, 850 * SECOND_NS);
    uint64_t wait_ns = 200 * RIG_MS;
    for (uint32_t i = 1; i < 20; i++) {
        assert_about(sent_after(rig, i, i - 1), LP_MIN(wait_ns, 60 * SECOND_NS));
        wait_ns *= 2;
    }
    assert_false(rig->failed);
    rig_run(rig, 120 * SECOND_NS);
    assert_true(rig->failed);
    assert_int_equal(rig->net.counters.tcp_timeouts, 1);
    rig_free(&rig);
}

/* RFC 8985 7.2, 7.4: the tail is mended before a time-out, and costs a reduction. */
static void
a_lost_tail_is_mended_by_a_probe(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->cut_from = 8;
    rig->cut_to = 8;
    (void)rig_send(rig, 8 * 1448);
    const uint64_t took_ns = rig_transfer(rig, 0, SECOND_NS);
    assert_int_equal(rig->segments, 9);
    assert_int_equal(rig->sent_seq[8], 7 * 1448);
    assert_int_equal(rig->net.counters.tcp_tlp, 1);
    assert_int_equal(rig->net.counters.tcp_rto, 0);
    /* 10 ms until the first seven are acknowledged; then 2 * SRTT, and 200 ms as only one segment
     * is left: but not later than the time-out would be. */
    assert_true(took_ns < 250 * RIG_MS);
    rig_free(&rig);

    rig = rig_make(1);
    rig_begin(rig);
    rig->cut_from = 6;
    rig->cut_to = 8;
    (void)rig_send(rig, 8 * 1448);
    assert_true(rig_transfer(rig, 0, SECOND_NS) < 70 * RIG_MS);
    /* The probe shows that two more are missing. */
    assert_about(sent_after(rig, 8, 0), 30 * RIG_MS);
    assert_int_equal(rig->sent_seq[8], 7 * 1448);
    assert_int_equal(rig->net.counters.tcp_rto, 0);
    assert_int_equal(rig->net.counters.tcp_fast_recoveries, 1);
    rig_free(&rig);
}

/* RFC 8985 7.4.2: only the acknowledgement was lost: the duplicate is told, and nothing shrinks. */
static void
a_probe_for_nothing_costs_no_window(void **unused)
{
    (void)unused;
    for (uint32_t dsack = 0; dsack < 2; dsack++) {
        struct rig *rig = rig_make(1);
        rig->sends_dsack = dsack == 1;
        rig_begin(rig);
        rig->wire.loss_ack = 10000;
        (void)rig_send(rig, 3 * 1448);
        rig_run(rig, 12 * RIG_MS);
        rig->wire.loss_ack = 0;
        rig_run(rig, 50 * RIG_MS);
        assert_int_equal(rig->net.counters.tcp_tlp, 1);
        assert_int_equal(rig->net.counters.tcp_retransmitted_spurious, dsack);
        assert_false(dsack == 1 && rig->stream->tlp_sent);
        (void)rig_transfer(rig, 3 * 1448, SECOND_NS);
        /* Without DSACK nobody can tell it from one that mended a loss. */
        assert_int_equal(rig->stream->ssthresh == TCP_CWND_MAX, dsack == 1);
        rig_free(&rig);
    }
}

/* RFC 8985 6.2: three that were sent later have arrived: at once. */
static void
a_hole_is_filled_a_round_trip_after_it_was_made(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->cut_from = 3;
    rig->cut_to = 3;
    (void)rig_send(rig, 10 * 1448);
    (void)rig_transfer(rig, 0, SECOND_NS);
    assert_int_equal(rig->segments, 11);
    assert_int_equal(rig->sent_seq[10], 2 * 1448);
    assert_about(sent_after(rig, 10, 0), 10 * RIG_MS);
    assert_int_equal(rig->net.counters.tcp_fast_recoveries, 1);
    assert_false(rig->stream->reordering);
    /* CUBIC: 0.7 of what was in flight when the first two had arrived. */
    assert_int_equal(rig->stream->ssthresh, 8 * 1448 * 7 / 10);
    rig_free(&rig);
}

/* RFC 8985 6.2.1: with only two behind it a quarter of a round trip is waited. */
static void
with_little_behind_it_a_hole_waits_for_reordering(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->cut_from = 1;
    rig->cut_to = 1;
    (void)rig_send(rig, 3 * 1448);
    (void)rig_transfer(rig, 0, SECOND_NS);
    assert_int_equal(rig->segments, 4);
    assert_about(sent_after(rig, 3, 0), 12 * RIG_MS + 500000);
    rig_free(&rig);
}

static void
reordering_is_learned_and_not_taken_for_loss(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(3);
    rig->wire.jitter_ns = 2 * RIG_MS;
    rig_begin(rig);
    assert_true(rig_transfer(rig, 4u << 20, 60 * SECOND_NS) < 3 * SECOND_NS);
    assert_true(rig->stream->reordering);
    assert_true(rig->net.counters.tcp_retransmitted < 10);
    assert_int_equal(rig->net.counters.tcp_rto, 0);
    rig_free(&rig);
}

/* RFC 9293 3.8.6.1, MUST-35 to MUST-37. */
static void
a_shut_window_is_probed_for_as_long_as_it_is_answered(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig->window = 10 * 1448;
    rig->stream->send_window = rig->window;
    rig_begin(rig);
    (void)rig_send(rig, 10 * 1448);
    rig_run(rig, 4 * RIG_MS);
    rig->window = 0; /* in what is acknowledged next */
    (void)rig_send(rig, 5000);
    rig_run(rig, 4 * 3600 * SECOND_NS);
    assert_false(rig->failed);
    assert_int_equal(rig->next, 10 * 1448);
    assert_int_equal(rig->net.counters.tcp_window_stalls, 1);
    assert_int_equal(rig->net.counters.tcp_rto, 0);
    assert_true(rig->net.counters.tcp_persist > 200);
    uint64_t wait_ns = 200 * RIG_MS;
    for (uint32_t i = 11; i < 15; i++) {
        assert_int_equal(rig->sent_bytes[i], 1);
        wait_ns *= 2;
        assert_about(sent_after(rig, i, i - 1), wait_ns);
    }
    /* It opens: the next probe hears of it. */
    rig->window = 65535;
    assert_true(rig_transfer(rig, 0, 61 * SECOND_NS) < 61 * SECOND_NS);
    assert_true(rig->stream->cwnd >= 10 * 1448);
    rig_free(&rig);
}

static void
a_shut_window_of_a_peer_that_is_gone_is_given_up(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig->stream->send_window = 0;
    rig_begin(rig);
    (void)rig_send(rig, 5000);
    rig->wire.loss_data = 10000;
    rig_run(rig, 800 * SECOND_NS);
    assert_false(rig->failed);
    rig_run(rig, 200 * SECOND_NS);
    assert_true(rig->failed);
    rig_free(&rig);
}

/* RFC 9293 3.8.6 SHLD-15: what was in flight is a probe now, and the congestion window stays. */
static void
a_window_that_is_taken_back_is_waited_for(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    (void)rig_transfer(rig, 1u << 20, 60 * SECOND_NS);
    const uint32_t cwnd = rig->stream->cwnd;
    rig->window = 0;
    rig->edge = rig->next; /* it refuses what it had promised */
    (void)rig_send(rig, 20000);
    rig_run(rig, 3600 * SECOND_NS);
    assert_false(rig->failed);
    assert_int_equal(rig->next, 1u << 20);
    assert_true(rig->net.counters.tcp_persist > 50);
    assert_int_equal(rig->stream->cwnd, cwnd);
    rig->window = 1u << 20;
    rig->edge = rig->next + rig->window;
    assert_true(rig_transfer(rig, 0, 62 * SECOND_NS) != UINT64_MAX);
    rig_free(&rig);
}

/* RFC 6429 3: memory is short, and a peer has kept its window shut for a minute. */
static void
who_keeps_us_waiting_goes_first_when_memory_is_short(void **unused)
{
    (void)unused;
    for (uint32_t pressed = 0; pressed < 2; pressed++) {
        struct rig *rig = rig_make(1);
        rig->stream->send_window = 0;
        rig_begin(rig);
        rig->window = 0;
        (void)rig_send(rig, 100000);
        rig_run(rig, 50 * SECOND_NS);
        lp_memory_watermark_set(rig->arena.memory, pressed == 0 ? RIG_MEMORY_BYTES / 2 : 0);
        rig_run(rig, 5 * SECOND_NS);
        assert_false(rig->failed);
        rig_run(rig, 120 * SECOND_NS);
        assert_int_equal(rig->failed, pressed == 1);
        assert_int_equal(rig->resets, pressed);
        assert_int_equal(rig->net.counters.tcp_evicted, pressed);
        rig_free(&rig);
    }
}

/* RFC 9293 3.8.6.2.1: (3), and the override. */
static void
a_small_window_is_not_filled_with_small_segments(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig->window = 4000;
    rig->stream->send_window = 4000;
    rig_begin(rig);
    (void)rig_send(rig, 4000);
    rig_run(rig, 4 * RIG_MS);
    rig->window = 640; /* less than half, and than a segment */
    (void)rig_send(rig, 3000);
    rig_run(rig, 100 * RIG_MS);
    assert_int_equal(rig->next, 4000);
    rig_run(rig, 150 * RIG_MS);
    assert_int_equal(rig->next, 4640); /* the override: a time-out later all that fits */
    rig_free(&rig);
}

static void
a_fin_follows_the_last_byte_and_is_sent_again(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->cut_from = 1;
    rig->cut_to = 1;
    (void)rig_send(rig, 1000);
    rig->stream->fin_queued = true;
    rig->stream->state = TCP_FIN_WAIT_1;
    rig_run(rig, SECOND_NS);
    assert_true(rig->fin);
    assert_true(tcp_fin_acknowledged(rig->stream));
    assert_int_equal(rig->segments, 2); /* with the data, both times */
    assert_null(rig->stream->scoreboard);
    rig_free(&rig);

    /* Alone, when everything had left before; and it needs no window. */
    rig = rig_make(1);
    rig_begin(rig);
    (void)rig_transfer(rig, 3000, SECOND_NS);
    rig->stream->fin_queued = true;
    rig->stream->state = TCP_LAST_ACK;
    rig->stream->send_window = 0;
    tcp_want(&rig->net, rig->stream, TCP_WANT_DATA);
    rig_run(rig, SECOND_NS);
    assert_true(tcp_fin_acknowledged(rig->stream));
    assert_int_equal(rig->segments, 4);
    rig_free(&rig);
}

static void
a_device_without_buffers_is_asked_again_next_turn(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->frames_left = 2;
    (void)rig_send(rig, 5 * 1448);
    tcp_flush(&rig->net);
    assert_int_equal(rig->segments, 2);
    assert_false(lp_list_empty(&rig->tcp.flush));
    tcp_flush(&rig->net);
    assert_int_equal(rig->segments, 2);
    rig->frames_left = UINT32_MAX;
    (void)rig_transfer(rig, 0, SECOND_NS);
    assert_int_equal(rig->segments, 5);
    assert_int_equal(rig->net.counters.tcp_retransmitted, 0);
    rig_free(&rig);
}

static void
without_memory_it_waits_and_goes_on(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    (void)rig_send(rig, 3000);
    void *chain = arena_exhaust(&rig->arena);
    assert_true(rig_send(rig, 100000) < 4096); /* what its last chunk has room for */
    tcp_flush(&rig->net);                      /* no scoreboard: nothing leaves */
    assert_int_equal(rig->segments, 0);
    rig_run(rig, 2 * SECOND_NS);
    assert_int_equal(rig->segments, 0);
    assert_false(rig->failed);
    arena_relax(&rig->arena, chain);
    rig_run(rig, 2 * SECOND_NS);
    assert_int_equal(rig->next, rig->queued);
    assert_true(rig_transfer(rig, 1u << 20, 10 * SECOND_NS) != UINT64_MAX);
    rig_free(&rig);
}

/* What is in flight is bounded, however small its pieces are. */
static void
a_stream_of_single_bytes_cannot_grow_the_scoreboard(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    rig->stream->cwnd = 1u << 20;
    rig->wire.delay_ns = 1000 * SECOND_NS;
    for (uint32_t i = 0; i < 6000; i++) {
        (void)rig_send(rig, 1);
        tcp_flush(&rig->net);
    }
    assert_int_equal(rig->stream->scoreboard->count, TCP_SENT_MAX);
    assert_true(rig->tcp.buffered_bytes < 200000);
    assert_true(lp_list_empty(&rig->tcp.flush)); /* acknowledgements will wake it */
    rig_free(&rig);
}

/* RFC 5681 4.1, RFC 7661. */
static void
a_window_that_is_not_used_does_not_grow_and_an_old_one_is_forgotten(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    for (uint32_t i = 0; i < 100; i++) {
        (void)rig_transfer(rig, 2000, SECOND_NS);
    }
    assert_int_equal(rig->stream->cwnd, 14480);
    (void)rig_transfer(rig, 1u << 20, 60 * SECOND_NS);
    const uint32_t grown = rig->stream->cwnd;
    assert_true(grown > 100000);
    rig_run(rig, 100 * RIG_MS);
    (void)rig_transfer(rig, 2000, SECOND_NS);
    assert_int_equal(rig->stream->cwnd, grown);
    rig_run(rig, SECOND_NS);
    (void)rig_transfer(rig, 2000, SECOND_NS);
    assert_int_equal(rig->stream->cwnd, 14480);
    rig_free(&rig);
}

/* RFC 5681 3.1: all acknowledgements of a round trip come in one turn here. */
static void
slow_start_doubles_each_round_trip(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    (void)rig_send(rig, 1u << 20);
    rig_run(rig, 5 * RIG_MS);
    for (uint32_t segments = 10; segments <= 160; segments *= 2) {
        assert_int_equal(rig->stream->cwnd, segments * 1448);
        rig_run(rig, 10 * RIG_MS);
    }
    rig_free(&rig);
}

/* RFC 3522, 4015: an echo from before the time-out. */
static void
a_delay_that_looked_like_a_loss_costs_no_window(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(1);
    rig_begin(rig);
    (void)rig_transfer(rig, 1u << 20, 60 * SECOND_NS);
    const uint32_t cwnd = rig->stream->cwnd;
    rig->wire.delay_ns = 400 * RIG_MS;
    (void)rig_send(rig, 100000);
    rig_run(rig, 300 * RIG_MS); /* a probe, and a time-out */
    rig->wire.delay_ns = 5 * RIG_MS;
    rig_run(rig, 2 * SECOND_NS);
    assert_int_equal(rig->next, rig->queued);
    assert_true(rig->net.counters.tcp_rto >= 1);
    assert_true(rig->stream->cwnd >= cwnd);
    assert_true(rig->net.counters.tcp_retransmitted <= 3);
    rig_free(&rig);
}

/* RFC 3708, and RFC 3522 where there are time stamps: the original arrives, only later. */
static void
a_retransmission_for_nothing_gives_the_window_back(void **unused)
{
    (void)unused;
    for (uint32_t timestamps = 0; timestamps < 2; timestamps++) {
        struct rig *rig = rig_make(1);
        rig->stream->timestamps = timestamps == 1;
        rig->wire.bytes_a_second = 4u << 20; /* so that they do not all arrive at once */
        rig->wire.queue_bytes = 1u << 20;
        rig->late_number = 30;
        rig->late_ns = timestamps == 1 ? 8 * RIG_MS : 25 * RIG_MS;
        rig_begin(rig);
        (void)rig_transfer(rig, 1u << 20, 10 * SECOND_NS);
        assert_int_equal(rig->net.counters.tcp_fast_recoveries, 1);
        assert_int_equal(rig->net.counters.tcp_retransmitted, 1);
        assert_int_equal(rig->net.counters.tcp_retransmitted_spurious, 1);
        assert_int_equal(rig->stream->ssthresh, TCP_CWND_MAX);
        rig_free(&rig);
    }
}

/* RFC 3708, when the duplicate is all that arrives: everything was acknowledged long before. */
static void
a_duplicate_that_is_told_when_all_is_acknowledged_gives_the_window_back(void **unused)
{
    (void)unused;
    for (uint32_t told = 0; told < 2; told++) {
        struct rig *rig = rig_make(1);
        rig->stream->timestamps = false;
        rig->sends_dsack = told == 1;
        rig->late_number = 3;
        rig->late_ns = 25 * RIG_MS;
        rig_begin(rig);
        (void)rig_send(rig, 8 * 1448);
        rig_run(rig, 28 * RIG_MS);
        assert_int_equal(tcp_flight(rig->stream), 0);
        assert_int_equal(rig->net.counters.tcp_fast_recoveries, 1);
        assert_true(rig->stream->ssthresh < TCP_CWND_MAX);
        rig_run(rig, 20 * RIG_MS);
        assert_int_equal(rig->net.counters.tcp_retransmitted_spurious, told);
        assert_int_equal(rig->stream->ssthresh == TCP_CWND_MAX, told == 1);
        assert_int_equal(rig->stream->undo_cwnd == 0, told == 1);
        rig_free(&rig);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_out_doubles_up_to_a_minute_until_the_user_gives_up),
        cmocka_unit_test(a_lost_tail_is_mended_by_a_probe),
        cmocka_unit_test(a_probe_for_nothing_costs_no_window),
        cmocka_unit_test(a_hole_is_filled_a_round_trip_after_it_was_made),
        cmocka_unit_test(with_little_behind_it_a_hole_waits_for_reordering),
        cmocka_unit_test(reordering_is_learned_and_not_taken_for_loss),
        cmocka_unit_test(a_shut_window_is_probed_for_as_long_as_it_is_answered),
        cmocka_unit_test(a_shut_window_of_a_peer_that_is_gone_is_given_up),
        cmocka_unit_test(a_window_that_is_taken_back_is_waited_for),
        cmocka_unit_test(who_keeps_us_waiting_goes_first_when_memory_is_short),
        cmocka_unit_test(a_small_window_is_not_filled_with_small_segments),
        cmocka_unit_test(a_fin_follows_the_last_byte_and_is_sent_again),
        cmocka_unit_test(a_device_without_buffers_is_asked_again_next_turn),
        cmocka_unit_test(without_memory_it_waits_and_goes_on),
        cmocka_unit_test(a_stream_of_single_bytes_cannot_grow_the_scoreboard),
        cmocka_unit_test(a_window_that_is_not_used_does_not_grow_and_an_old_one_is_forgotten),
        cmocka_unit_test(slow_start_doubles_each_round_trip),
        cmocka_unit_test(a_delay_that_looked_like_a_loss_costs_no_window),
        cmocka_unit_test(a_retransmission_for_nothing_gives_the_window_back),
        cmocka_unit_test(a_duplicate_that_is_told_when_all_is_acknowledged_gives_the_window_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
