/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How connections end: TIME-WAIT and what may follow it, time-outs of states,
 * and who has to go when memory is short.
 */
#include "tests/unit/net/lone.h"

static void
open_with(struct lone *lone, struct lone_peer *peer, const struct lp_net_config *config)
{
    lone_open(lone, config);
    lone_accept(lone, peer);
}

/* We close first; the peer acknowledges and ends, too. */
static void
to_time_wait(struct lone *lone, struct lone_peer *peer)
{
    lone->transport.ops->close(lone->net, peer->stream);
    lone_settle(lone);
    assert_int_equal(lone_last(lone)->flags, TCP_FIN | TCP_ACK);
    peer->ack = lone_last(lone)->seq + 1;
    const struct lone_in fin = lone_of(peer, TCP_FIN | TCP_ACK, 0);
    lone_in(lone, &fin);
    peer->seq++;
    lone_forget(lone);
    lone_settle(lone);
    assert_int_equal(lone_last(lone)->flags, TCP_ACK);
    assert_int_equal(lone_last(lone)->ack, peer->seq);
    assert_int_equal(lone->net->tcp->streams.used, 0);
    lone_forget(lone);
}

static struct net_path
path_of(const struct lone_peer *peer)
{
    struct net_path path = {.family = LP_ADDRESS_IPV4, .local = {10, 0, 0, 1}};
    (void)lp_put_u32be(path.remote, peer->address);
    return path;
}

static bool
waits(const struct lone *lone, const struct lone_peer *peer)
{
    const struct net_path path = path_of(peer);
    return tcp_time_wait_has(lone->net, &path, LONE_PORT, peer->port);
}

static void
time_wait_lasts_a_minute_from_the_last_fin(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.address = 0xac100001u, .port = 3000, .seq = 99};
    open_with(&lone, &peer, NULL);
    to_time_wait(&lone, &peer);
    lone_pass(&lone, 40 * LONE_S, LONE_S);
    assert_true(waits(&lone, &peer));
    /* The last acknowledgement was lost: it is said again, and the time begins anew. */
    struct lone_in fin = lone_of(&peer, TCP_FIN | TCP_ACK, 0);
    fin.seq--;
    lone_in(&lone, &fin);
    lone_settle(&lone);
    assert_int_equal(lone_last(&lone)->ack, peer.seq);
    lone_pass(&lone, 40 * LONE_S, LONE_S);
    assert_true(waits(&lone, &peer));
    lone_pass(&lone, 22 * LONE_S, LONE_S);
    assert_false(waits(&lone, &peer));
    lone_close(&lone);
}

/* RFC 6191 2, case by case; RFC 1122 4.2.2.13. */
static void
a_syn_may_follow_when_it_is_newer(void **unused)
{
    (void)unused;
    static const struct {
        bool before; /* the one before had timestamps */
        bool now;
        int32_t timestamp; /* against the last one */
        int32_t seq;       /* against the number behind the last one */
        bool follows;
    } cases[] = {
        {false, false, 0, 1, true},   {false, false, 0, -1, false},  {false, false, 0, 0, false},
        {true, true, 1, -1000, true}, {true, true, -1, 1000, false}, {true, true, 0, 1, true},
        {true, true, 0, -1, false},   {true, false, 0, 1, true},     {true, false, 0, -1, false},
        {false, true, 0, -1, true},
    };
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        struct lone lone;
        struct lone_peer peer = {.address = 0xac100001u,
                                 .port = 3000,
                                 .seq = 99,
                                 .timestamps = cases[i].before,
                                 .timestamp = 1000};
        open_with(&lone, &peer, NULL);
        to_time_wait(&lone, &peer);
        peer.timestamps = cases[i].now;
        peer.timestamp = 1000 + (uint32_t)cases[i].timestamp;
        struct lone_in syn = lone_of(&peer, TCP_SYN, 0);
        syn.seq += (uint32_t)cases[i].seq;
        lone_in(&lone, &syn);
        lone_settle(&lone);
        assert_int_equal(lone.out_count, 1);
        const uint8_t flags = cases[i].follows ? TCP_SYN | TCP_ACK : TCP_ACK;
        assert_int_equal(lone_last(&lone)->flags, flags);
        assert_int_equal(waits(&lone, &peer), !cases[i].follows);
        if (cases[i].follows) {
            /* Above every number of the one before. */
            assert_true(tcp_le(peer.ack, lone_last(&lone)->seq));
        }
        lone_close(&lone);
    }
}

/* RFC 9293 3.6.1: whatever the clock of first numbers says. */
static void
who_follows_has_numbers_above_all_of_the_one_before(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    const struct lone_peer peer = {.address = 0xac100001u, .port = 3000, .seq = 500};
    struct tcp_stream gone = {
        .path = path_of(&peer), .local_port = LONE_PORT, .remote_port = peer.port};
    gone.send_next = tcp_isn(lone.net, &gone.path, LONE_PORT, peer.port) + 0x20000000u;
    tcp_time_wait_begin(lone.net, &gone);
    const struct lone_in syn = lone_of(&peer, TCP_SYN, 0);
    lone_in(&lone, &syn);
    lone_settle(&lone);
    assert_int_equal(lone_last(&lone)->flags, TCP_SYN | TCP_ACK);
    assert_int_equal(lone_last(&lone)->seq, gone.send_next + 1);
    lone_close(&lone);
}

/* RFC 1337. */
static void
nothing_assassinates_time_wait(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.address = 0xac100001u, .port = 3000, .seq = 99};
    open_with(&lone, &peer, NULL);
    to_time_wait(&lone, &peer);
    const struct lone_in reset = lone_of(&peer, TCP_RST, 0);
    const struct lone_in ack = lone_of(&peer, TCP_ACK, 0);
    struct lone_in old = lone_of(&peer, TCP_ACK, 10);
    old.seq -= 500;
    lone_in(&lone, &reset);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone.out_count, 0);
    lone_in(&lone, &old); /* is told where we are */
    lone_settle(&lone);
    assert_int_equal(lone.out_count, 1);
    assert_int_equal(lone_last(&lone)->flags, TCP_ACK);
    assert_true(waits(&lone, &peer));
    lone_close(&lone);
}

static void
many_wait_in_bounded_memory_and_the_oldest_goes_first(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    struct tcp_stream gone = {.local_port = LONE_PORT};
    const uint32_t room = LONE_MEMORY_BYTES / 1024;
    struct lone_peer first = {.port = 1};
    struct lone_peer last = {.port = (uint16_t)(room + 5)};
    gone.path = path_of(&first);
    uint64_t used = 0;
    for (uint32_t i = 1; i <= room + 5; i++) {
        gone.remote_port = (uint16_t)i;
        tcp_time_wait_begin(lone.net, &gone);
        used = i == room ? lp_memory_used_bytes(lone.net->memory) : used;
    }
    assert_int_equal(lone_counters(&lone)->tcp_time_wait_full, 5);
    assert_int_equal(lp_memory_used_bytes(lone.net->memory), used);
    assert_false(waits(&lone, &first));
    assert_true(waits(&lone, &last));
    lone_pass(&lone, 61 * LONE_S, LONE_S);
    lone_pass(&lone, 100 * LONE_MS, LONE_MS); /* a share of them in each turn */
    assert_false(waits(&lone, &last));
    lone_close(&lone);
}

/* --- Time-outs. ------------------------------------------------------------------------------ */

static void
fin_wait_2_ends_after_a_minute(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.port = 3000, .seq = 99};
    open_with(&lone, &peer, NULL);
    lone.transport.ops->close(lone.net, peer.stream);
    lone_settle(&lone);
    peer.ack++;
    const struct lone_in ack = lone_of(&peer, TCP_ACK, 0);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    lone_pass(&lone, 55 * LONE_S, LONE_S);
    assert_int_equal(lone.net->tcp->streams.used, 1);
    lone_pass(&lone, 8 * LONE_S, LONE_S);
    assert_int_equal(lone.net->tcp->streams.used, 0);
    lone_close(&lone);
}

/* A peer that keeps its window shut and acknowledges probes: transport.h has forgotten it. */
static void
who_takes_nothing_after_close_is_reset_in_the_end(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.port = 3000, .seq = 99};
    static const uint8_t data[100];
    open_with(&lone, &peer, NULL);
    struct lone_in shut = lone_of(&peer, TCP_ACK, 0);
    shut.window = 0;
    lone_in(&lone, &shut);
    lone_settle(&lone);
    const struct lp_iovec piece = {data, sizeof(data)};
    assert_true(lone.transport.ops->send(lone.net, peer.stream, &piece, 1));
    lone.transport.ops->close(lone.net, peer.stream);
    for (uint32_t i = 0; i < 400 && lone.net->tcp->streams.used > 0; i++) {
        lone_in(&lone, &shut);
        lone_pass(&lone, LONE_S, LONE_S / 4);
        lone.event_count = 0;
    }
    assert_int_equal(lone.net->tcp->streams.used, 0);
    assert_int_equal(lone_counters(&lone)->tcp_timeouts, 1);
    assert_true(lone_counters(&lone)->tcp_persist > 3);
    assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
    lone_close(&lone);
}

static void
an_open_that_nobody_answers_ends_after_three_minutes(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    const struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = 1, .ip = {172, 16, 0, 1}};
    assert_true(lp_net_connect(lone.net, &to) != LP_HANDLE_NONE);
    lone_pass(&lone, 179 * LONE_S, LONE_S / 2);
    assert_int_equal(lone.event_count, 0);
    assert_in_range(lone.out_count, 7, 9); /* SYNs: 1, 2, 4, ... seconds apart */
    lone_pass(&lone, 70 * LONE_S, LONE_S / 2);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_ENDED);
    assert_int_equal(lone_counters(&lone)->tcp_timeouts, 1);
    lone_close(&lone);
}

static void
keepalive_asks_and_gives_up(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.port = 3000, .seq = 99};
    const struct lp_net_config config = {.keepalive_s = 60};
    open_with(&lone, &peer, &config);
    lone_pass(&lone, 62 * LONE_S, LONE_S);
    assert_int_equal(lone_counters(&lone)->tcp_keepalive, 1);
    const struct lone_in ack = lone_of(&peer, TCP_ACK, 0);
    lone_in(&lone, &ack); /* it lives */
    lone_pass(&lone, 50 * LONE_S, LONE_S);
    assert_int_equal(lone_counters(&lone)->tcp_keepalive, 1);
    assert_int_equal(lone.event_count, 0);
    lone_pass(&lone, 900 * LONE_S, LONE_S);
    assert_int_equal(lone_counters(&lone)->tcp_keepalive, 10);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_ENDED);
    lone_close(&lone);
}

/* --- Memory. --------------------------------------------------------------------------------- */

/* `count` kilobytes behind a gap. */
static void
hoard(struct lone *lone, const struct lone_peer *peer, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct lone_in in = lone_of(peer, TCP_ACK, 1000);
        in.seq += 1000 + 1000 * i;
        lone_in(lone, &in);
        lone_turn(lone, LONE_EVENTS_MAX);
    }
    lone_settle(lone);
}

/* RFC 2018 8: it may be taken back. */
static void
what_is_out_of_order_goes_before_what_is_in_order(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.port = 3000, .seq = 99};
    open_with(&lone, &peer, NULL);
    hoard(&lone, &peer, 10);
    struct arena arena = {.memory = lone.net->memory};
    void *chain = arena_exhaust(&arena);
    lone.transport.ops->receive_stop(lone.net, peer.stream);
    const struct lone_in in = lone_of(&peer, TCP_ACK, 800);
    lone_in(&lone, &in);
    lone_settle(&lone);
    assert_int_equal(lone_stream(&lone, &peer)->received.bytes, 800);
    assert_null(lone_stream(&lone, &peer)->reassembly);
    assert_int_equal(lone_counters(&lone)->tcp_no_memory, 0);
    assert_int_equal(lone_counters(&lone)->tcp_evicted, 0);
    arena_relax(&arena, chain);
    lone_close(&lone);
}

static void
the_greediest_goes_when_what_is_promised_cannot_be_kept(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer hoarder = {.port = 3000, .seq = 99};
    struct lone_peer good = {.port = 3001, .seq = 99};
    struct lone_peer modest = {.port = 3002, .seq = 99};
    lone_open(&lone, NULL);
    lone.check_places = false;
    lone_accept(&lone, &hoarder);
    lone_accept(&lone, &good);
    lone_accept(&lone, &modest);
    hoard(&lone, &hoarder, 40);
    hoard(&lone, &modest, 20);
    lone_forget(&lone);
    /* Now memory ends, and the other has bytes that must wait. */
    struct arena arena = {.memory = lone.net->memory};
    void *chain = arena_exhaust(&arena);
    lone.transport.ops->receive_stop(lone.net, good.stream);
    const struct lone_in in = lone_of(&good, TCP_ACK, 1000);
    lone_in(&lone, &in);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_evicted, 1);
    assert_int_equal(lone_stream(&lone, &hoarder)->state, TCP_CLOSED);
    assert_int_equal(lone_stream(&lone, &modest)->state, TCP_ESTABLISHED);
    assert_int_equal(lone_stream(&lone, &good)->received.bytes, 1000);
    assert_int_equal(lone_counters(&lone)->tcp_no_memory, 0);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_ENDED);
    arena_relax(&arena, chain);
    lone_close(&lone);
}

/* Who needs the memory is not the one to go for it. */
static void
nobody_goes_for_the_sake_of_his_own_bytes(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.port = 3000, .seq = 99};
    static const uint8_t data[50000];
    const struct lp_iovec piece = {data, sizeof(data)};
    open_with(&lone, &peer, NULL);
    struct lone_in shut = lone_of(&peer, TCP_ACK, 0);
    shut.window = 0;
    lone_in(&lone, &shut);
    lone_settle(&lone);
    assert_true(lone.transport.ops->send(lone.net, peer.stream, &piece, 1));
    struct arena arena = {.memory = lone.net->memory};
    void *chain = arena_exhaust(&arena);
    lone.transport.ops->receive_stop(lone.net, peer.stream);
    struct lone_in in = lone_of(&peer, TCP_ACK, 1000);
    in.window = 0;
    lone_in(&lone, &in);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_no_memory, 1);
    assert_int_equal(lone_counters(&lone)->tcp_evicted, 0);
    assert_int_equal(lone_stream(&lone, &peer)->state, TCP_ESTABLISHED);
    arena_relax(&arena, chain);
    lone_close(&lone);
}

/* Newcomers wait for those who are there, but nobody keeps them out by doing nothing. */
static void
nothing_done_for_a_minute(uint16_t window)
{
    struct lone lone;
    struct lone_peer hoarder = {.port = 3000, .seq = 99};
    struct lone_peer busy = {.port = 3001, .seq = 99};
    static const uint8_t data[50000];
    const struct lp_iovec piece = {data, sizeof(data)};
    lone_open(&lone, NULL);
    lone_accept(&lone, &hoarder);
    lone_accept(&lone, &busy);
    struct lone_in shut = lone_of(&hoarder, TCP_ACK, 0);
    shut.window = window;
    lone_in(&lone, &shut);
    lone_settle(&lone);
    assert_true(lone.transport.ops->send(lone.net, hoarder.stream, &piece, 1));
    const struct lone_in syn = {.peer = 0xac100009u, .seq = 5, .flags = TCP_SYN, .window = 1000};
    for (uint32_t seconds = 0; seconds < 100; seconds += 10) {
        lp_memory_watermark_set(lone.net->memory, LP_SPAN_BYTES);
        lone_in(&lone, &syn);
        lone_settle(&lone);
        assert_true(seconds >= 60 || lone_counters(&lone)->tcp_evicted == 0);
        lone_in(&lone, &shut);
        lone_pass(&lone, 10 * LONE_S, LONE_S / 4);
        lone_forget(&lone);
    }
    assert_int_equal(lone_counters(&lone)->tcp_evicted, 1);
    assert_int_equal(lone_stream(&lone, &hoarder)->state, TCP_CLOSED);
    assert_int_equal(lone_stream(&lone, &busy)->state, TCP_ESTABLISHED);
    lone_close(&lone);
}

/* With its window shut, and with an open one through which nothing goes. */
static void
who_does_nothing_for_a_minute_makes_room_for_newcomers(void **unused)
{
    (void)unused;
    nothing_done_for_a_minute(0);
    nothing_done_for_a_minute(60000);
}

static void
without_any_memory_bytes_are_not_acknowledged(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.port = 3000, .seq = 99};
    open_with(&lone, &peer, NULL);
    struct arena arena = {.memory = lone.net->memory};
    void *chain = arena_exhaust(&arena);
    lone.transport.ops->receive_stop(lone.net, peer.stream);
    const struct lone_in in = lone_of(&peer, TCP_ACK | TCP_FIN, 1000);
    struct lone_in late = in;
    late.seq += 5000;
    lone_in(&lone, &in);
    lone_in(&lone, &late);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_no_memory, 1);
    assert_int_equal(lone_counters(&lone)->tcp_out_of_order_dropped, 1);
    assert_int_equal(lone_last(&lone)->ack, peer.seq);
    assert_int_equal(lone_stream(&lone, &peer)->state, TCP_ESTABLISHED);
    arena_relax(&arena, chain);
    lone_in(&lone, &in);
    lone.transport.ops->receive_start(lone.net, peer.stream);
    lone_settle(&lone);
    assert_int_equal(lone.received_bytes, 1000);
    assert_int_equal(lone_stream(&lone, &peer)->state, TCP_CLOSE_WAIT);
    lone_close(&lone);
}

/* No scoreboard for it: nothing is in flight that would bring it up again, so time has to. */
static void
a_fin_without_memory_is_sent_when_there_is_some(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer = {.port = 3000, .seq = 99};
    open_with(&lone, &peer, NULL);
    struct arena arena = {.memory = lone.net->memory};
    void *chain = arena_exhaust(&arena);
    lone_forget(&lone);
    lone.transport.ops->close(lone.net, peer.stream);
    lone_settle(&lone);
    lp_net_check(lone.net);
    assert_int_equal(lone.out_count, 0);
    lone_pass(&lone, 5 * LONE_S, LONE_S / 10);
    lp_net_check(lone.net);
    assert_int_equal(lone.out_count, 0);
    arena_relax(&arena, chain);
    lone_pass(&lone, 2 * LONE_S, LONE_S / 10);
    assert_int_equal(lone.out[0].segment.flags, TCP_FIN | TCP_ACK);
    lone_close(&lone);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_wait_lasts_a_minute_from_the_last_fin),
        cmocka_unit_test(a_syn_may_follow_when_it_is_newer),
        cmocka_unit_test(who_follows_has_numbers_above_all_of_the_one_before),
        cmocka_unit_test(nothing_assassinates_time_wait),
        cmocka_unit_test(what_is_out_of_order_goes_before_what_is_in_order),
        cmocka_unit_test(many_wait_in_bounded_memory_and_the_oldest_goes_first),
        cmocka_unit_test(fin_wait_2_ends_after_a_minute),
        cmocka_unit_test(who_takes_nothing_after_close_is_reset_in_the_end),
        cmocka_unit_test(an_open_that_nobody_answers_ends_after_three_minutes),
        cmocka_unit_test(keepalive_asks_and_gives_up),
        cmocka_unit_test(the_greediest_goes_when_what_is_promised_cannot_be_kept),
        cmocka_unit_test(nobody_goes_for_the_sake_of_his_own_bytes),
        cmocka_unit_test(who_does_nothing_for_a_minute_makes_room_for_newcomers),
        cmocka_unit_test(without_any_memory_bytes_are_not_acknowledged),
        cmocka_unit_test(a_fin_without_memory_is_sent_when_there_is_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
