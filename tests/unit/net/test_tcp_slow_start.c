/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first slow start, and how it ends: RFC 9406.
 */
#include "tests/unit/base/base_test.h"

#include "dataplane/net/tcp/congestion.h"

#define MSS    1460u
#define MANY   12u
#define ROUNDS 20u

static struct tcp_stream
stream_begin(const struct tcp_congestion *congestion)
{
    struct tcp_stream stream = {
        .cwnd = 10 * MSS, .ssthresh = TCP_CWND_MAX, .send_mss = MSS, .send_una = 0xfffff000u};
    stream.send_next = stream.send_una;
    congestion->begin(&stream);
    return stream;
}

/* A round trip, `acks` of `rtt_us` each; gives how much the window grew. */
static uint32_t
round_trip(struct tcp_stream *stream, const struct tcp_congestion *congestion, uint32_t acks,
           uint32_t rtt_us)
{
    const uint32_t before = stream->cwnd;
    stream->send_next = stream->send_una + acks * MSS;
    for (uint32_t i = 0; i < acks; i++) {
        stream->send_una += MSS;
        /* The window is always used: what was sent last is far ahead. */
        stream->send_next += MSS;
        if (tcp_first_slow_start(stream)) {
            tcp_hystart_sample(stream, rtt_us);
        }
        congestion->grow(stream, MSS, 1);
    }
    return stream->cwnd - before;
}

static const struct tcp_congestion *const both[] = {&tcp_newreno, &tcp_cubic};

static void
as_long_as_round_trips_stay_the_same_the_window_doubles(void **unused)
{
    (void)unused;
    for (size_t c = 0; c < LP_COUNT_OF(both); c++) {
        struct tcp_stream stream = stream_begin(both[c]);
        for (uint32_t i = 0; i < ROUNDS; i++) {
            assert_int_equal(round_trip(&stream, both[c], MANY, 20000 + i % 2 * 3000), MANY * MSS);
        }
        assert_int_equal(stream.ssthresh, TCP_CWND_MAX);
    }
}

/* RFC 9406 4.2: MIN_RTT_THRESH, an eighth, MAX_RTT_THRESH; eight samples a round. */
static void
what_counts_as_longer_depends_on_the_round_trip(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t rtt_us;
        uint32_t more_us;
        uint32_t acks;
        bool cautious;
    } cases[] = {
        {100, 3999, MANY, false},   {100, 4000, MANY, true},      {80000, 9999, MANY, false},
        {80000, 10000, MANY, true}, {400000, 15999, MANY, false}, {400000, 16000, MANY, true},
        {400000, 100000, 7, false}, {100, 4000, 8, true},
    };
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        struct tcp_stream stream = stream_begin(&tcp_cubic);
        stream.send_next = stream.send_una + MSS;
        for (uint32_t a = 0; a < MANY; a++) {
            tcp_hystart_sample(&stream, cases[i].rtt_us);
        }
        stream.send_una = stream.send_next;
        stream.send_next += MSS;
        for (uint32_t a = 0; a < cases[i].acks; a++) {
            tcp_hystart_sample(&stream, cases[i].rtt_us + cases[i].more_us);
        }
        const uint32_t before = stream.cwnd;
        tcp_cubic.grow(&stream, 4 * MSS, 1);
        assert_int_equal(stream.cwnd - before, cases[i].cautious ? MSS : 4 * MSS);
    }
}

/* One round, as its samples come. */
static void
samples(struct tcp_stream *stream, uint32_t rtt_us)
{
    stream->send_una = stream->send_next;
    stream->send_next += MSS;
    for (uint32_t i = 0; i < 8; i++) {
        tcp_hystart_sample(stream, rtt_us);
    }
}

/* RFC 9406 4.2: CSS_ROUNDS. */
static void
after_five_cautious_rounds_slow_start_is_over(void **unused)
{
    (void)unused;
    for (size_t c = 0; c < LP_COUNT_OF(both); c++) {
        struct tcp_stream stream = stream_begin(both[c]);
        samples(&stream, 1000);
        for (uint32_t i = 0; i < 5; i++) {
            samples(&stream, 6000);
            assert_int_equal(stream.ssthresh, TCP_CWND_MAX);
            const uint32_t before = stream.cwnd;
            both[c]->grow(&stream, 4 * MSS, 1);
            assert_int_equal(stream.cwnd, before + MSS);
        }
        samples(&stream, 6000);
        assert_int_equal(stream.ssthresh, stream.cwnd);
        /* The algorithm's memory is its own, and empty. */
        const uint32_t before = stream.cwnd;
        both[c]->grow(&stream, MSS, 1000000000);
        assert_in_range(stream.cwnd, before, before + MSS / 4);
    }
}

static void
if_round_trips_become_shorter_again_it_was_chance(void **unused)
{
    (void)unused;
    struct tcp_stream stream = stream_begin(&tcp_cubic);
    samples(&stream, 1000);
    samples(&stream, 6000);
    samples(&stream, 7000); /* not shorter than when it began */
    uint32_t before = stream.cwnd;
    tcp_cubic.grow(&stream, 4 * MSS, 1);
    assert_int_equal(stream.cwnd, before + MSS);
    samples(&stream, 5999);
    before = stream.cwnd;
    tcp_cubic.grow(&stream, 4 * MSS, 1);
    assert_int_equal(stream.cwnd, before + 4 * MSS);
}

static void
after_a_chance_five_rounds_are_counted_anew(void **unused)
{
    (void)unused;
    struct tcp_stream stream = stream_begin(&tcp_cubic);
    samples(&stream, 1000);
    for (uint32_t i = 0; i < 4; i++) {
        samples(&stream, 6000);
    }
    samples(&stream, 5000); /* it was chance */
    for (uint32_t i = 0; i < 5; i++) {
        samples(&stream, 12000);
        assert_int_equal(stream.ssthresh, TCP_CWND_MAX);
    }
    samples(&stream, 12000);
    assert_int_equal(stream.ssthresh, stream.cwnd);
}

/* What the first slow start remembers is nothing of CUBIC's. */
static void
a_loss_in_the_first_slow_start_begins_with_nothing(void **unused)
{
    (void)unused;
    struct tcp_stream stream = stream_begin(&tcp_cubic);
    struct tcp_stream fresh = stream;
    samples(&stream, 1000);
    samples(&stream, 6000);
    tcp_hystart_end(&stream);
    assert_memory_equal(stream.congestion, fresh.congestion, sizeof(stream.congestion));
    stream.ssthresh = tcp_cubic.shrink(&stream, 10 * MSS);
    struct tcp_stream after = stream;
    tcp_hystart_end(&stream); /* it is over: this is CUBIC's */
    assert_memory_equal(stream.congestion, after.congestion, sizeof(stream.congestion));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_long_as_round_trips_stay_the_same_the_window_doubles),
        cmocka_unit_test(what_counts_as_longer_depends_on_the_round_trip),
        cmocka_unit_test(after_five_cautious_rounds_slow_start_is_over),
        cmocka_unit_test(if_round_trips_become_shorter_again_it_was_chance),
        cmocka_unit_test(after_a_chance_five_rounds_are_counted_anew),
        cmocka_unit_test(a_loss_in_the_first_slow_start_begins_with_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
