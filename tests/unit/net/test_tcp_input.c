/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 9293 3.10.7.4 and what RFC 5961 and 7323 add, segment by segment: each
 * rule, and its opposite.
 */
#include "tests/unit/net/lone.h"

#define WINDOW 65535u

static void
open_with(struct lone *lone, struct lone_peer *peer, bool timestamps)
{
    lone_open(lone, NULL);
    *peer = (struct lone_peer){
        .port = 3000, .seq = 0xffff0000u, .timestamps = timestamps, .timestamp = 1000};
    lone_accept(lone, peer);
}

/* What a segment with this offset from RCV.NXT, length and flags makes us send. */
enum reaction {
    NOTHING,
    ACK,
    DONE, /* the connection is over */
};

struct probe {
    int32_t offset;
    uint32_t bytes;
    uint8_t flags;
    enum reaction reaction;
    uint32_t received; /* bytes that reach the shard */
};

static void
probe_try(struct lone *lone, const struct lone_peer *peer, const struct probe *probe)
{
    struct lone_in in = lone_of(peer, probe->flags, probe->bytes);
    in.seq += (uint32_t)probe->offset;
    in.place = (uint32_t)probe->offset;
    const uint64_t before = lone->received_bytes;
    lone->check_places = false;
    lone_forget(lone);
    lone_in(lone, &in);
    lone_settle(lone);
    assert_int_equal(lone->received_bytes - before, probe->received);
    if (probe->reaction == DONE) {
        assert_int_equal(lone_stream(lone, peer)->state, TCP_CLOSED);
        return;
    }
    assert_int_not_equal(lone_stream(lone, peer)->state, TCP_CLOSED);
    assert_int_equal(lone->out_count, probe->reaction == ACK ? 1 : 0);
    if (probe->reaction == ACK) {
        assert_int_equal(lone_last(lone)->flags, TCP_ACK);
        assert_int_equal(lone_last(lone)->seq, peer->ack);
    }
}

/* Table 6 of RFC 9293, RFC 5961 3 and 4: each probe on a connection of its own. */
static void
segments_are_judged_by_their_numbers(void **unused)
{
    (void)unused;
    static const struct probe probes[] = {
        /* Length zero: RCV.NXT <= SEQ < RCV.NXT + RCV.WND. */
        {0, 0, TCP_ACK, NOTHING, 0},
        {WINDOW - 1, 0, TCP_ACK, NOTHING, 0},
        {WINDOW, 0, TCP_ACK, NOTHING, 0}, /* of a peer that has filled it */
        {WINDOW + 1, 0, TCP_ACK, ACK, 0},
        {-1, 0, TCP_ACK, ACK, 0}, /* keepalive's probe */
        /* Text: its first or its last byte is in the window. */
        {0, 10, TCP_ACK, ACK, 10},
        {-10, 10, TCP_ACK, ACK, 0},
        {-9, 10, TCP_ACK, ACK, 1},
        {WINDOW - 1, 10, TCP_ACK, ACK, 0},
        {WINDOW, 10, TCP_ACK, ACK, 0},
        {-70000, 10, TCP_ACK, ACK, 0},
        /* RST: exactly, within, without. */
        {0, 0, TCP_RST, DONE, 0},
        {0, 0, TCP_RST | TCP_ACK, DONE, 0},
        {1, 0, TCP_RST, ACK, 0},
        {WINDOW - 1, 0, TCP_RST, ACK, 0},
        {WINDOW, 0, TCP_RST, NOTHING, 0},
        {WINDOW, 0, TCP_RST | TCP_ACK, NOTHING, 0},
        {-1, 0, TCP_RST, NOTHING, 0},
        /* SYN: challenged, whatever its number. */
        {0, 0, TCP_SYN, ACK, 0},
        {100, 0, TCP_SYN, ACK, 0},
        {-1, 0, TCP_SYN | TCP_ACK, ACK, 0}, /* our last ACK was lost */
        {1000000, 0, TCP_SYN, ACK, 0},
        {0, 5, TCP_SYN | TCP_ACK, ACK, 0},
        /* Without ACK: dropped. */
        {0, 10, 0, NOTHING, 0},
        {0, 0, TCP_FIN, NOTHING, 0},
        /* FIN: in order, too early, behind the window. */
        {0, 0, TCP_ACK | TCP_FIN, ACK, 0},
        {0, 10, TCP_ACK | TCP_FIN, ACK, 10},
        {20, 0, TCP_ACK | TCP_FIN, ACK, 0},
        /* Urgent: ordinary bytes (RFC 6093). */
        {0, 10, TCP_ACK | TCP_URG, ACK, 10},
    };
    for (size_t i = 0; i < LP_COUNT_OF(probes); i++) {
        struct lone lone;
        struct lone_peer peer;
        open_with(&lone, &peer, false);
        probe_try(&lone, &peer, &probes[i]);
        lone_close(&lone);
    }
}

/* RFC 5961 5: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT. */
static void
acknowledgements_are_judged_by_their_numbers(void **unused)
{
    (void)unused;
    static const struct {
        int32_t offset; /* from SND.NXT */
        bool believed;
    } acks[] = {{0, true}, {-1, false}, {1, false}, {70000, false}, {-70000, false}};
    for (size_t i = 0; i < LP_COUNT_OF(acks); i++) {
        struct lone lone;
        struct lone_peer peer;
        open_with(&lone, &peer, false);
        struct lone_in in = lone_of(&peer, TCP_ACK, 10);
        in.ack += (uint32_t)acks[i].offset;
        lone_in(&lone, &in);
        lone_settle(&lone);
        assert_int_equal(lone.received_bytes, acks[i].believed ? 10 : 0);
        assert_int_equal(lone_counters(&lone)->tcp_challenges, acks[i].believed ? 0 : 1);
        assert_int_equal(lone.out_count, 1);
        lone_close(&lone);
    }
}

/* RFC 7323 5.3. */
static void
an_old_timestamp_is_acknowledged_and_dropped(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t timestamp;
        bool has;
        enum reaction reaction;
        uint32_t received;
    } stamps[] = {
        {1000, true, ACK, 10},
        {999, true, ACK, 0},
        {1000 + 0x7fffffffu, true, ACK, 10},
        {1000 + 0x80000001u, true, ACK, 0}, /* more than half of the circle ahead is old */
        {0, false, NOTHING, 0},             /* 3.2: dropped in silence */
    };
    for (size_t i = 0; i < LP_COUNT_OF(stamps); i++) {
        struct lone lone;
        struct lone_peer peer;
        open_with(&lone, &peer, true);
        peer.timestamps = stamps[i].has;
        peer.timestamp = stamps[i].timestamp;
        const struct probe probe = {0, 10, TCP_ACK, stamps[i].reaction, stamps[i].received};
        probe_try(&lone, &peer, &probe);
        assert_int_equal(lone_counters(&lone)->tcp_paws, stamps[i].received == 0);
        lone_close(&lone);
    }
}

/* RFC 7323 5.2: resets are none of PAWS's business. */
static void
a_reset_needs_no_timestamp(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    open_with(&lone, &peer, true);
    peer.timestamps = false;
    const struct probe probe = {0, 0, TCP_RST, DONE, 0};
    probe_try(&lone, &peer, &probe);
    lone_close(&lone);
}

/* RFC 7323 5.5. */
static void
after_24_days_of_silence_any_timestamp_is_good(void **unused)
{
    (void)unused;
    for (uint32_t days = 20; days <= 30; days += 10) {
        struct lone lone;
        struct lone_peer peer;
        open_with(&lone, &peer, true);
        lone_stream(&lone, &peer)->idle_ns = 0; /* without keepalive's probes */
        tcp_timer_update(lone.net, lone_stream(&lone, &peer));
        lone_pass(&lone, days * 86400 * LONE_S, 86400 * LONE_S);
        peer.timestamp = 1000 - 500;
        const struct probe probe = {0, 10, TCP_ACK, ACK, days == 30 ? 10 : 0};
        probe_try(&lone, &peer, &probe);
        lone_close(&lone);
    }
}

/* RFC 7323 4.3: what is echoed is of the segment that the next acknowledgement is about. */
static void
the_echo_is_of_the_segment_that_moved_the_window(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    open_with(&lone, &peer, true);
    peer.timestamp = 2000;
    const struct probe early = {500, 10, TCP_ACK, ACK, 0}; /* behind a gap: not its */
    probe_try(&lone, &peer, &early);
    assert_int_equal(lone_last(&lone)->echo, 1000);
    peer.timestamp = 1500;
    const struct probe next = {0, 10, TCP_ACK, ACK, 10};
    probe_try(&lone, &peer, &next);
    assert_int_equal(lone_last(&lone)->echo, 1500);
    lone_close(&lone);
}

/* RFC 5961 7: limited, by a number that differs, and by connection. */
static void
challenges_have_a_limit_that_nobody_can_guess(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    uint32_t differs = 0;
    uint32_t before = 0;
    for (uint32_t i = 0; i < 20; i++) {
        struct lone_peer peer = {.port = (uint16_t)(100 + i), .seq = 5};
        lone_accept(&lone, &peer);
        const uint64_t sent = lone_counters(&lone)->tcp_challenges;
        for (uint32_t n = 0; n < 50; n++) {
            const struct lone_in syn = lone_of(&peer, TCP_SYN, 0);
            lone_in(&lone, &syn);
            lone_turn(&lone, LONE_EVENTS_MAX);
        }
        const uint32_t limit = (uint32_t)(lone_counters(&lone)->tcp_challenges - sent);
        assert_in_range(limit, 5, 12);
        differs += i > 0 && limit != before;
        before = limit;
        lone_settle(&lone);
    }
    assert_true(differs > 5);
    assert_true(lone_counters(&lone)->tcp_challenges_limited > 20 * 30);
    lone_close(&lone);
}

/* MUST-66: a closed window takes acknowledgements and resets all the same. */
static void
a_closed_window_takes_acknowledgements_and_resets(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    open_with(&lone, &peer, false);
    const struct lp_iovec piece = {"0123456789", 10};
    assert_true(lone.transport.ops->send(lone.net, peer.stream, &piece, 1));
    lone.transport.ops->receive_stop(lone.net, peer.stream);
    struct tcp_stream *stream = lone_stream(&lone, &peer);
    for (uint32_t i = 0; i < 200 && stream->receive_edge != stream->receive_next; i++) {
        struct lone_in in = lone_of(&peer, TCP_ACK, 1000);
        in.bytes = LP_MIN(1000, stream->receive_edge - stream->receive_next);
        lone_in(&lone, &in);
        peer.seq += in.bytes;
        lone_pass(&lone, 50 * LONE_MS, 10 * LONE_MS);
    }
    lone_settle(&lone);
    assert_int_equal(stream->receive_edge, stream->receive_next);
    assert_int_equal(lone_last(&lone)->window, 0);
    assert_int_equal(stream->send_una, peer.ack);
    peer.ack += 10;
    struct lone_in in = lone_of(&peer, TCP_ACK, 100); /* a probe that also acknowledges */
    lone_forget(&lone);
    lone_in(&lone, &in);
    lone_settle(&lone);
    assert_int_equal(stream->send_una, peer.ack);
    assert_int_equal(stream->receive_next, peer.seq);
    assert_int_equal(lone_last(&lone)->window, 0);
    struct lone_in reset = lone_of(&peer, TCP_RST, 0);
    lone_in(&lone, &reset);
    lone_settle(&lone);
    assert_int_equal(stream->state, TCP_CLOSED);
    lone_close(&lone);
}

/* RFC 9293 3.8.6.2.1: whatever happens, the right edge never moves back by a unit or more. */
static void
the_right_edge_never_moves_back(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    struct random random = {5};
    open_with(&lone, &peer, false);
    lone.check_places = false;
    const uint32_t unit = 1u << lone_stream(&lone, &peer)->receive_shift;
    const uint32_t isn = peer.seq;
    uint32_t edge = isn + WINDOW;
    for (uint32_t i = 0; i < 3000; i++) {
        const struct tcp_stream *stream = lone_stream(&lone, &peer);
        const uint32_t room = stream->receive_edge - stream->receive_next;
        struct lone_in in = lone_of(&peer, TCP_ACK, 1 + random_below(&random, 1400));
        in.bytes = LP_MIN(in.bytes, room);
        if (random_below(&random, 20) == 0) {
            lone.transport.ops->receive_stop(lone.net, peer.stream);
        } else if (random_below(&random, 40) == 0) {
            lone.transport.ops->receive_start(lone.net, peer.stream);
        }
        if (random_below(&random, 200) == 0) {
            const bool pressed = lp_memory_pressed(lone.net->memory);
            lp_memory_watermark_set(lone.net->memory, pressed ? LONE_MEMORY_BYTES : LP_SPAN_BYTES);
        }
        lone_in(&lone, &in);
        peer.seq += in.bytes;
        lone_forget(&lone);
        lone_settle(&lone);
        for (uint32_t at = 0; at < lone.out_count; at++) {
            const struct tcp_segment *out = &lone.out[at].segment;
            const uint32_t told = out->ack + out->window * unit;
            assert_true(tcp_lt(edge, told + unit));
            edge = tcp_max(edge, told);
        }
        assert_true(stream->received.bytes <= stream->receive_bytes_max + unit);
    }
    assert_true(edge - isn > 4 * WINDOW);
    lone_close(&lone);
}

/* RFC 9293 3.8.6.3, RFC 5681 4.2. */
static void
acknowledgements_wait_for_a_second_segment_or_40_ms(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    open_with(&lone, &peer, false);
    lone.check_places = false;
    for (uint32_t i = 0; i < TCP_QUICK_ACKS; i++) {
        const struct probe quick = {0, 1000, TCP_ACK, ACK, 1000};
        probe_try(&lone, &peer, &quick);
        peer.seq += 1000;
    }
    const struct probe first = {0, 1000, TCP_ACK, NOTHING, 1000};
    const struct probe second = {1000, 1000, TCP_ACK, ACK, 1000};
    probe_try(&lone, &peer, &first);
    probe_try(&lone, &peer, &second);
    peer.seq += 2000;
    probe_try(&lone, &peer, &first);
    peer.seq += 1000;
    lone_pass(&lone, 35 * LONE_MS, LONE_MS);
    assert_int_equal(lone.out_count, 0);
    lone_pass(&lone, 8 * LONE_MS, LONE_MS);
    assert_int_equal(lone.out_count, 1);
    assert_int_equal(lone_last(&lone)->ack, peer.seq);
    lone_close(&lone);
}

/* What the shard takes in a round trip decides how much may be on its way. */
static void
the_window_grows_with_what_is_taken(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    open_with(&lone, &peer, false);
    lone.check_places = false;
    const struct tcp_stream *stream = lone_stream(&lone, &peer);
    assert_int_equal(stream->receive_bytes_max, 65536);
    for (uint32_t i = 0; i < 2000; i++) {
        const struct lone_in in = lone_of(&peer, TCP_ACK, 1400);
        lone_in(&lone, &in);
        peer.seq += 1400;
        lone_turn(&lone, LONE_EVENTS_MAX);
        lone.event_count = 0;
        lone.now_ns += 1000;
        lp_sim_wire_advance(lone.wire, lone.now_ns);
        lone_catch_all(&lone);
        lone.out_count = 0;
    }
    assert_true(stream->receive_bytes_max > 2 * 65536);
    assert_true(stream->receive_bytes_max <= LONE_MEMORY_BYTES / 8);
    assert_true(tcp_receive_window(lone.net, stream) > 2 * 65536);
    lone_close(&lone);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_are_judged_by_their_numbers),
        cmocka_unit_test(acknowledgements_are_judged_by_their_numbers),
        cmocka_unit_test(an_old_timestamp_is_acknowledged_and_dropped),
        cmocka_unit_test(a_reset_needs_no_timestamp),
        cmocka_unit_test(after_24_days_of_silence_any_timestamp_is_good),
        cmocka_unit_test(the_echo_is_of_the_segment_that_moved_the_window),
        cmocka_unit_test(challenges_have_a_limit_that_nobody_can_guess),
        cmocka_unit_test(a_closed_window_takes_acknowledgements_and_resets),
        cmocka_unit_test(the_right_edge_never_moves_back),
        cmocka_unit_test(acknowledgements_wait_for_a_second_segment_or_40_ms),
        cmocka_unit_test(the_window_grows_with_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
