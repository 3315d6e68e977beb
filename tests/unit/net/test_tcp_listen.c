/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passive opens: half-open entries, cookies, admission.
 *
 * Goal: what is half-open costs 64 bytes and ends by itself; a flood costs
 * nothing that lasts; a cookie is believed when it is ours, fresh and for this
 * flow, and never else.
 */
#include "tests/unit/net/lone.h"

#include "dataplane/net/tcp/half_open.h"

static struct lone_in
syn_of(uint32_t i)
{
    return (struct lone_in){
        .peer = 0xac100000u + i,
        .seq = 1000 * i,
        .flags = TCP_SYN,
        .window = 60000,
        .mss = 1400,
        .has_shift = true,
        .shift = 5,
        .sack = true,
        .has_timestamp = true,
        .timestamp = 77,
    };
}

static void
syns(struct lone *lone, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        const struct lone_in syn = syn_of(i);
        lone_in(lone, &syn);
        lone_turn(lone, LONE_EVENTS_MAX);
    }
    lone_settle(lone);
}

/* The peer's answer to the last SYN-ACK that came out. */
static struct lone_in
answer_of(const struct lone *lone, uint32_t i)
{
    const struct tcp_segment *segment = lone_last(lone);
    struct lone_in ack = syn_of(i);
    assert_int_equal(segment->flags, TCP_SYN | TCP_ACK);
    ack.flags = TCP_ACK;
    ack.seq++;
    ack.ack = segment->seq + 1;
    ack.timestamp = 78;
    ack.echo = segment->timestamp;
    ack.mss = 0;
    ack.has_shift = false;
    ack.sack = false;
    return ack;
}

static void
what_is_half_open_is_asked_again_and_ends_by_itself(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    syns(&lone, 1, 3);
    assert_int_equal(lone.out_count, 3);
    assert_int_equal(tcp_half_open_count(lone.net), 3);
    lone_forget(&lone);
    lone_pass(&lone, 2 * LONE_S, 50 * LONE_MS);
    assert_int_equal(lone.out_count, 3);
    lone_pass(&lone, 2 * LONE_S, 50 * LONE_MS);
    assert_int_equal(lone.out_count, 6);
    lone_pass(&lone, 36 * LONE_S, 50 * LONE_MS);
    /* After 1, 3, 7 and 15 s. */
    assert_int_equal(lone.out_count, 3 * (HALF_OPEN_LEVELS - 1));
    assert_int_equal(tcp_half_open_count(lone.net), 0);
    assert_int_equal(lone_counters(&lone)->tcp_half_open_timeouts, 3);
    lone_close(&lone);
}

static void
a_flood_is_answered_with_cookies_and_keeps_nothing(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 8};
    lone_open(&lone, &config);
    syns(&lone, 0, 1);
    const uint64_t used = lp_memory_used_bytes(lone.net->memory);
    syns(&lone, 1, 1000);
    assert_int_equal(tcp_half_open_count(lone.net), 8);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_sent, 1001 - 8);
    assert_int_equal(lp_memory_used_bytes(lone.net->memory), used);
    lone_close(&lone);
}

static void
a_cookie_makes_a_connection_with_all_that_was_agreed(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 1};
    lone_open(&lone, &config);
    syns(&lone, 1, 2);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_sent, 1);
    const struct lone_in ack = answer_of(&lone, 2);
    lone_forget(&lone);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_accepted, 1);
    assert_int_equal(lone.event_count, 1);
    const struct lp_transport_event *event = &lone.events[0];
    assert_int_equal(event->kind, LP_TRANSPORT_ACCEPTED);
    assert_int_equal(event->peer.port, 40000);
    assert_int_equal(event->local.port, LONE_PORT);
    const struct tcp_stream *stream = lp_pool_get(&lone.net->tcp->streams, event->stream);
    assert_int_equal(stream->peer_mss, 1400);
    assert_int_equal(stream->send_shift, 5);
    assert_true(stream->sack);
    assert_true(stream->timestamps);
    assert_int_equal(stream->send_window, 60000u << 5);
    lone_close(&lone);
}

/* There was no room for its first SYN; the second found room, and crossed the answer to the first.
 */
static void
a_cookie_is_good_though_the_syn_came_again(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 1};
    lone_open(&lone, &config);
    syns(&lone, 1, 1);
    const struct lone_in first = answer_of(&lone, 1);
    syns(&lone, 2, 1);
    const struct lone_in ack = answer_of(&lone, 2);
    lone_in(&lone, &first);
    lone_settle(&lone);
    syns(&lone, 2, 1);
    assert_int_equal(tcp_half_open_count(lone.net), 1);
    lone_forget(&lone);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_accepted, 1);
    assert_int_equal(lone_counters(&lone)->tcp_accepted, 2);
    assert_int_equal(lone_counters(&lone)->tcp_resets_sent, 0);
    assert_int_equal(tcp_half_open_count(lone.net), 0);
    lone_close(&lone);
}

/* What was not offered is not agreed to, and our clock never runs ahead. */
static void
a_cookie_remembers_that_there_was_no_shift(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 1};
    lone_open(&lone, &config);
    syns(&lone, 1, 1);
    for (uint32_t i = 2; i < 40; i++) {
        struct lone_in syn = syn_of(i);
        syn.has_shift = false;
        syn.sack = false;
        lone_in(&lone, &syn);
        lone_forget(&lone);
        lone_pass(&lone, 3 * LONE_MS, LONE_MS);
        const struct net_path path =
            tcp_path_of(&(struct net_packet){.family = LP_ADDRESS_IPV4,
                                             .from = lone.out[0].packet.to,
                                             .to = lone.out[0].packet.from});
        const uint32_t now = tcp_now_ms(lone.net) + tcp_timestamp_offset(lone.net, &path);
        assert_true(tcp_le(lone_last(&lone)->timestamp, now));
        const struct lone_in ack = answer_of(&lone, i);
        lone_forget(&lone);
        lone_in(&lone, &ack);
        lone_settle(&lone);
        assert_int_equal(lone.event_count, 1);
        const struct tcp_stream *stream =
            lp_pool_get(&lone.net->tcp->streams, lone.events[0].stream);
        assert_int_equal(stream->send_shift, 0);
        assert_int_equal(stream->receive_shift, 0);
        assert_int_equal(stream->send_window, 60000);
        assert_false(stream->sack);
        assert_true(stream->timestamps);
    }
    lone_close(&lone);
}

/* RFC 5961 3.2 and RFC 9293 3.10.7.4 for what is half-open. */
static void
what_is_half_open_believes_exact_numbers_only(void **unused)
{
    (void)unused;
    static const struct {
        int32_t seq; /* against the number that is expected */
        int32_t ack;
        uint8_t flags;
        uint32_t left; /* half-open, afterwards */
        uint32_t accepted;
        bool reset;
    } answers[] = {
        {0, 0, TCP_RST, 0, 0, false},
        {1, 0, TCP_RST, 1, 0, false},
        {-1, 0, TCP_RST, 1, 0, false},
        {0, 0, TCP_ACK, 0, 1, false},
        {0, 1, TCP_ACK, 1, 0, true},
        {0, -1, TCP_ACK, 1, 0, true},
        {70000, 0, TCP_ACK, 1, 0, false},
        {-1, 0, TCP_ACK, 1, 0, false},
        {0, 0, TCP_SYN | TCP_ACK, 1, 0, false},
        {0, 0, 0, 1, 0, false},
    };
    for (size_t i = 0; i < LP_COUNT_OF(answers); i++) {
        struct lone lone;
        lone_open(&lone, NULL);
        syns(&lone, 1, 1);
        struct lone_in in = answer_of(&lone, 1);
        in.seq += (uint32_t)answers[i].seq;
        in.ack += (uint32_t)answers[i].ack;
        in.flags = answers[i].flags;
        lone_forget(&lone);
        lone_in(&lone, &in);
        lone_settle(&lone);
        assert_int_equal(tcp_half_open_count(lone.net), answers[i].left);
        assert_int_equal(lone_counters(&lone)->tcp_accepted, answers[i].accepted);
        const bool reset = lone.out_count > 0 && (lone_last(&lone)->flags & TCP_RST) != 0;
        assert_int_equal(reset, answers[i].reset);
        lone_close(&lone);
    }
}

static void
a_cookie_without_timestamps_agrees_to_nothing(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 1};
    lone_open(&lone, &config);
    syns(&lone, 1, 1);
    struct lone_in syn = syn_of(2);
    syn.has_timestamp = false;
    lone_in(&lone, &syn);
    lone_settle(&lone);
    assert_false(lone_last(&lone)->has_shift);
    assert_false(lone_last(&lone)->sack_permitted);
    struct lone_in ack = answer_of(&lone, 2);
    ack.has_timestamp = false;
    lone_forget(&lone);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    const struct tcp_stream *stream = lp_pool_get(&lone.net->tcp->streams, lone.events[0].stream);
    assert_int_equal(stream->send_shift, 0);
    assert_int_equal(stream->receive_shift, 0);
    assert_false(stream->sack);
    lone_close(&lone);
}

/* Each answer differs from the right one in one thing. */
static void
a_cookie_of_another_flow_number_or_time_is_reset(void **unused)
{
    (void)unused;
    for (uint32_t wrong = 0; wrong < 6; wrong++) {
        struct lone lone;
        const struct lp_net_config config = {.half_open_max = 1};
        lone_open(&lone, &config);
        syns(&lone, 1, 2);
        struct lone_in ack = answer_of(&lone, 2);
        ack.peer += wrong == 0;
        ack.from = wrong == 1 ? 40001 : 0;
        ack.seq += wrong == 2;
        ack.ack += wrong == 3;
        ack.ack ^= wrong == 4 ? 1u << 27 : 0; /* another segment size */
        if (wrong == 5) {
            /* Two epochs later, though cookies were sent meanwhile. */
            for (uint32_t i = 0; i < 3; i++) {
                lone_pass(&lone, 60 * LONE_S, LONE_S);
                syns(&lone, 10 + 2 * i, 2);
            }
        }
        /* While what shows a cookie may be late, nobody is reset. */
        lone_pass(&lone, 9 * LONE_S, LONE_S);
        lone_forget(&lone);
        lone_in(&lone, &ack);
        lone_settle(&lone);
        assert_int_equal(lone.event_count, 0);
        assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
        assert_int_equal(lone_counters(&lone)->tcp_cookies_accepted, 0);
        assert_int_equal(lone_counters(&lone)->tcp_cookies_bad, 1);
        lone_close(&lone);
    }
}

static void
nothing_is_a_cookie_while_none_was_sent(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 1};
    lone_open(&lone, &config);
    syns(&lone, 1, 2);
    struct lone_in ack = answer_of(&lone, 2);
    lone_pass(&lone, 200 * LONE_S, LONE_S);
    lone_forget(&lone);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_bad, 0); /* nobody even looked */
    lone_close(&lone);
}

/* RFC 7323 5.3: what is older than the SYN does not end its handshake; what is as old does. */
static void
an_answer_older_than_the_syn_is_asked_again(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    syns(&lone, 1, 1);
    struct lone_in ack = answer_of(&lone, 1);
    ack.timestamp = 76;
    lone_forget(&lone);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_paws, 1);
    assert_int_equal(lone_last(&lone)->flags, TCP_SYN | TCP_ACK);
    assert_int_equal(tcp_half_open_count(lone.net), 1);
    ack.timestamp = 77;
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_accepted, 1);
    lone_close(&lone);
}

/* Of the epoch before the first there is no key, so nothing can be made with it: not with zeros. */
static void
nobody_makes_a_cookie_of_before_the_first_epoch(void **unused)
{
    (void)unused;
    static const struct lp_hash_key zeros;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 1};
    lone_open(&lone, &config);
    syns(&lone, 1, 2);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_sent, 1);
    struct lone_in ack = answer_of(&lone, 3);
    uint8_t bytes[TCP_FLOW_BYTES_MAX + 16];
    const struct net_path path = {
        .family = LP_ADDRESS_IPV4, .local = {10, 0, 0, 1}, .remote = {0xac, 0x10, 0, 3}};
    const uint32_t count = tcp_flow_bytes(&path, LONE_PORT, 40000, bytes);
    uint8_t *to = lp_put_u32be(bytes + count, ack.seq - 1u);
    to = lp_put_u32be(to, 0); /* the smallest segments */
    to = lp_put_u64be(to, 0); /* epoch 0 */
    ack.ack = 1u + ((uint32_t)lp_hash_bytes(&zeros, bytes, (size_t)(to - bytes)) & 0x7ffffffu);
    lone_in(&lone, &ack);
    lone_settle(&lone);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_bad, 1);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_accepted, 0);
    lone_close(&lone);
}

static void
who_was_silent_for_long_is_pushed_out_by_newer_ones(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.half_open_max = 4};
    lone_open(&lone, &config);
    syns(&lone, 1, 4);
    lone_pass(&lone, 4 * LONE_S, 100 * LONE_MS); /* asked three times now */
    syns(&lone, 5, 2);
    assert_int_equal(lone_counters(&lone)->tcp_half_open_evicted, 2);
    assert_int_equal(lone_counters(&lone)->tcp_cookies_sent, 0);
    struct lone_in ack = answer_of(&lone, 6);
    lone_in(&lone, &ack);
    lone_forget(&lone);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    lone_close(&lone);
}

static void
no_more_than_streams_max_are_let_in(void **unused)
{
    (void)unused;
    struct lone lone;
    const struct lp_net_config config = {.streams_max = 2};
    lone_open(&lone, &config);
    for (uint32_t i = 0; i < 2; i++) {
        struct lone_peer peer = {.address = 0xac100000u + i, .port = 1000, .seq = 5};
        lone_accept(&lone, &peer);
    }
    syns(&lone, 9, 1);
    assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
    assert_int_equal(lone_counters(&lone)->tcp_refused_full, 1);
    lone_close(&lone);
}

static void
a_stopped_listener_refuses_and_a_paused_one_goes_on(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    syns(&lone, 1, 1);
    const struct lone_in late = answer_of(&lone, 1);
    lone.transport.ops->accept_pause(lone.net, true);
    lone_in(&lone, &late); /* what was half-open then is refused, too, as by a kernel */
    lone_settle(&lone);
    assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
    syns(&lone, 2, 1);
    assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
    lone.transport.ops->accept_pause(lone.net, false);
    syns(&lone, 3, 1);
    assert_int_equal(lone_last(&lone)->flags, TCP_SYN | TCP_ACK);
    lone.transport.ops->accept_stop(lone.net);
    syns(&lone, 4, 1);
    assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
    assert_int_equal(lone_counters(&lone)->tcp_refused, 3);
    assert_int_equal(lone_counters(&lone)->tcp_accepted, 0);
    lone_close(&lone);
}

static void
newcomers_are_refused_while_memory_is_short(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    lp_memory_watermark_set(lone.net->memory, LP_SPAN_BYTES);
    lone_turn(&lone, LONE_EVENTS_MAX);
    syns(&lone, 1, 1);
    assert_int_equal(lone.out_count, 0); /* silently: it asks again */
    assert_int_equal(lone_counters(&lone)->tcp_refused_full, 1);
    lp_memory_watermark_set(lone.net->memory, LONE_MEMORY_BYTES);
    syns(&lone, 1, 1);
    assert_int_equal(lone_last(&lone)->flags, TCP_SYN | TCP_ACK);
    lone_close(&lone);
}

/* RFC 6528: the clock goes on, and one flow says nothing about another. */
static void
first_numbers_differ_by_flow_and_grow_with_time(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    const struct net_path path = {.family = LP_ADDRESS_IPV4, .local = {10, 0, 0, 1}};
    const uint32_t one = tcp_isn(lone.net, &path, 1, 2);
    assert_int_not_equal(one, tcp_isn(lone.net, &path, 1, 3));
    assert_int_equal(one, tcp_isn(lone.net, &path, 1, 2));
    lone.net->now_ns += LONE_S;
    assert_int_equal(tcp_isn(lone.net, &path, 1, 2) - one, 250000);
    lone_close(&lone);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_half_open_is_asked_again_and_ends_by_itself),
        cmocka_unit_test(a_flood_is_answered_with_cookies_and_keeps_nothing),
        cmocka_unit_test(a_cookie_makes_a_connection_with_all_that_was_agreed),
        cmocka_unit_test(a_cookie_remembers_that_there_was_no_shift),
        cmocka_unit_test(a_cookie_is_good_though_the_syn_came_again),
        cmocka_unit_test(what_is_half_open_believes_exact_numbers_only),
        cmocka_unit_test(a_cookie_without_timestamps_agrees_to_nothing),
        cmocka_unit_test(a_cookie_of_another_flow_number_or_time_is_reset),
        cmocka_unit_test(nothing_is_a_cookie_while_none_was_sent),
        cmocka_unit_test(an_answer_older_than_the_syn_is_asked_again),
        cmocka_unit_test(nobody_makes_a_cookie_of_before_the_first_epoch),
        cmocka_unit_test(who_was_silent_for_long_is_pushed_out_by_newer_ones),
        cmocka_unit_test(no_more_than_streams_max_are_let_in),
        cmocka_unit_test(a_stopped_listener_refuses_and_a_paused_one_goes_on),
        cmocka_unit_test(newcomers_are_refused_while_memory_is_short),
        cmocka_unit_test(first_numbers_differ_by_flow_and_grow_with_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
