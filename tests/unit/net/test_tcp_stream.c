/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h over our own TCP: what the shard is told, when, and what its
 * calls do.
 */
#include "tests/unit/net/lone.h"

static const struct lp_transport_ops *
ops_of(const struct lone *lone)
{
    return lone->transport.ops;
}

static void
peer_sends(struct lone *lone, struct lone_peer *peer, uint32_t bytes, uint32_t place)
{
    struct lone_in in = lone_of(peer, TCP_ACK | TCP_PSH, bytes);
    in.place = place;
    lone_in(lone, &in);
    peer->seq += bytes;
}

static uint32_t
events_of(const struct lone *lone, enum lp_transport_event_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lone->event_count; i++) {
        count += lone->events[i].kind == kind;
    }
    return count;
}

static void
nothing_of_a_stream_follows_its_accepted_in_the_same_poll(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    struct lone_peer peer = {.port = 3000, .seq = 99};
    struct lone_in syn = lone_of(&peer, TCP_SYN, 0);
    lone_in(&lone, &syn);
    lone_settle(&lone);
    peer.seq++;
    peer.ack = lone_last(&lone)->seq + 1;
    /* The end of the handshake, bytes and the end of the stream come in one burst. */
    struct lone_in ack = lone_of(&peer, TCP_ACK, 0);
    lone_in(&lone, &ack);
    peer_sends(&lone, &peer, 100, 0);
    struct lone_in fin = lone_of(&peer, TCP_ACK | TCP_FIN, 0);
    lone_in(&lone, &fin);
    lone_forget(&lone);
    lone_turn(&lone, LONE_EVENTS_MAX);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_ACCEPTED);
    assert_int_equal(lone.events[0].user, 0);
    ops_of(&lone)->attach(lone.net, lone.events[0].stream, 4711);
    assert_true(tcp_stream_waiting(lone.net));
    lone_forget(&lone);
    lone_turn(&lone, LONE_EVENTS_MAX);
    assert_int_equal(lone.event_count, 2);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_RECEIVED);
    assert_int_equal(lone.events[0].bytes, 100);
    assert_int_equal(lone.events[0].user, 4711);
    assert_int_equal(lone.events[1].kind, LP_TRANSPORT_ENDED);
    assert_false(tcp_stream_waiting(lone.net));
    lone_close(&lone);
}

static void
received_points_into_the_frame_when_it_can(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    const uint64_t before = lone.net->tcp->buffered_bytes;
    peer_sends(&lone, &peer, 1000, 0);
    lone_turn(&lone, LONE_EVENTS_MAX);
    assert_int_equal(lone.received_bytes, 1000);
    assert_int_equal(lone.net->tcp->buffered_bytes, before);
    assert_int_equal(lone.net->lent_count, 1);
    lone_turn(&lone, LONE_EVENTS_MAX);
    assert_int_equal(lone.net->lent_count, 0);
    lone_close(&lone);
}

/* One event a poll, of which none may be given at once: everything goes through the queue. */
static void
a_full_sink_delays_and_loses_nothing(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        peer_sends(&lone, &peer, 100, 100 * i);
    }
    struct lone_in fin = lone_of(&peer, TCP_ACK | TCP_FIN, 0);
    lone_in(&lone, &fin);
    lone_turn(&lone, 0);
    assert_int_equal(lone.event_count, 0);
    for (uint32_t i = 0; i < 40 && tcp_stream_waiting(lone.net); i++) {
        lone_turn(&lone, 1);
    }
    assert_int_equal(lone.received_bytes, 2000);
    assert_int_equal(events_of(&lone, LP_TRANSPORT_ENDED), 1);
    assert_int_equal(lone.events[lone.event_count - 1].kind, LP_TRANSPORT_ENDED);
    lone_close(&lone);
}

static void
a_stopped_stream_keeps_its_bytes_and_its_end(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    ops_of(&lone)->receive_stop(lone.net, peer.stream);
    peer_sends(&lone, &peer, 300, 0);
    struct lone_in fin = lone_of(&peer, TCP_ACK | TCP_FIN, 0);
    lone_in(&lone, &fin);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 0);
    assert_false(tcp_stream_waiting(lone.net)); /* nobody waits awake for it */
    ops_of(&lone)->receive_start(lone.net, peer.stream);
    lone_settle(&lone);
    assert_int_equal(lone.received_bytes, 300);
    assert_int_equal(events_of(&lone, LP_TRANSPORT_ENDED), 1);
    lone_close(&lone);
}

static void
a_reset_is_told_even_to_who_does_not_read(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    ops_of(&lone)->receive_stop(lone.net, peer.stream);
    peer_sends(&lone, &peer, 300, 0);
    struct lone_in reset = lone_of(&peer, TCP_RST, 0);
    lone_in(&lone, &reset);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_ENDED);
    /* transport.h: a stream that has failed takes a send and answers it with a short SENT. */
    const struct lp_iovec piece = {"x", 1};
    lone_forget(&lone);
    assert_true(ops_of(&lone)->send(lone.net, peer.stream, &piece, 1));
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_SENT);
    assert_int_equal(lone.events[0].bytes, 0);
    ops_of(&lone)->close(lone.net, peer.stream);
    lone_forget(&lone);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_CLOSED);
    assert_int_equal(lone.net->tcp->streams.used, 0);
    lone_close(&lone);
}

static void
what_was_received_before_a_reset_is_delivered_before_it(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    peer_sends(&lone, &peer, 300, 0);
    struct lone_in reset = lone_of(&peer, TCP_RST, 0);
    lone_in(&lone, &reset);
    lone_turn(&lone, 0); /* no room: it has to be kept */
    lone_settle(&lone);
    assert_int_equal(lone.received_bytes, 300);
    assert_int_equal(lone.events[lone.event_count - 1].kind, LP_TRANSPORT_ENDED);
    lone_close(&lone);
}

static void
one_send_is_in_flight_until_it_was_sent(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    const struct lp_net_config config = {.send_bytes_max = 4096};
    static uint8_t data[20000];
    lone_open_with(&lone, &peer, &config);
    const struct lp_iovec pieces[3] = {{data, 3000}, {data + 3000, 0}, {data + 3000, 17000}};
    assert_true(ops_of(&lone)->send(lone.net, peer.stream, pieces, 3));
    assert_false(ops_of(&lone)->send(lone.net, peer.stream, pieces, 1));
    lone_settle(&lone);
    assert_int_equal(events_of(&lone, LP_TRANSPORT_SENT), 0); /* 4096 bytes are copied */
    for (uint32_t i = 0; i < 40 && events_of(&lone, LP_TRANSPORT_SENT) == 0; i++) {
        peer.ack = lone_last(&lone)->seq + lone_last(&lone)->payload_bytes;
        struct lone_in ack = lone_of(&peer, TCP_ACK, 0);
        lone_in(&lone, &ack);
        lone_settle(&lone);
    }
    assert_int_equal(events_of(&lone, LP_TRANSPORT_SENT), 1);
    assert_int_equal(lone.events[lone.event_count - 1].bytes, 20000);
    assert_true(ops_of(&lone)->send(lone.net, peer.stream, pieces, 1));
    lone_close(&lone);
}

/* A send that is not copied yet when the stream fails is answered first, with less. */
static void
a_send_that_fails_is_answered_before_the_end(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    const struct lp_net_config config = {.send_bytes_max = 4096};
    static uint8_t data[20000];
    lone_open_with(&lone, &peer, &config);
    const struct lp_iovec piece = {data, sizeof(data)};
    assert_true(ops_of(&lone)->send(lone.net, peer.stream, &piece, 1));
    const struct lone_in reset = lone_of(&peer, TCP_RST, 0);
    lone_in(&lone, &reset);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 2);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_SENT);
    assert_int_equal(lone.events[0].bytes, 4096);
    assert_int_equal(lone.events[1].kind, LP_TRANSPORT_ENDED);
    lone_close(&lone);
}

static void
an_empty_send_is_sent(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    assert_true(ops_of(&lone)->send(lone.net, peer.stream, NULL, 0));
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_SENT);
    assert_int_equal(lone.events[0].bytes, 0);
    lone_close(&lone);
}

static void
after_close_there_is_nothing_but_closed(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    const struct lp_net_config config = {.send_bytes_max = 4096};
    static uint8_t data[20000];
    lone_open_with(&lone, &peer, &config);
    const struct lp_iovec piece = {data, sizeof(data)};
    assert_true(ops_of(&lone)->send(lone.net, peer.stream, &piece, 1));
    ops_of(&lone)->close(lone.net, peer.stream);
    ops_of(&lone)->close(lone.net, peer.stream);
    lone_turn(&lone, LONE_EVENTS_MAX);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_CLOSED);
    /* Its handle is dead; what was copied is still sent, and then a FIN. */
    assert_false(ops_of(&lone)->send(lone.net, peer.stream, &piece, 1));
    ops_of(&lone)->receive_stop(lone.net, peer.stream);
    ops_of(&lone)->receive_start(lone.net, peer.stream);
    ops_of(&lone)->attach(lone.net, peer.stream, 5);
    const uint32_t first = peer.ack;
    for (uint32_t i = 0; i < 10; i++) {
        lone_settle(&lone);
        const struct tcp_segment *last = lone_last(&lone);
        peer.ack = last->seq + tcp_segment_length(last);
        struct lone_in ack = lone_of(&peer, TCP_ACK, 0);
        lone_in(&lone, &ack);
    }
    assert_int_equal(peer.ack - first, 4096 + 1);
    struct lone_in fin = lone_of(&peer, TCP_ACK | TCP_FIN, 0);
    lone_in(&lone, &fin);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.net->tcp->streams.used, 0);
    lone_close(&lone);
}

static void
stale_handles_are_ignored(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    const lp_handle wrong[] = {LP_HANDLE_NONE, peer.stream + (2ull << 32), 12345, UINT64_MAX};
    const struct lp_iovec piece = {"x", 1};
    for (size_t i = 0; i < LP_COUNT_OF(wrong); i++) {
        assert_false(ops_of(&lone)->send(lone.net, wrong[i], &piece, 1));
        ops_of(&lone)->attach(lone.net, wrong[i], 1);
        ops_of(&lone)->receive_stop(lone.net, wrong[i]);
        ops_of(&lone)->receive_start(lone.net, wrong[i]);
        ops_of(&lone)->close(lone.net, wrong[i]);
    }
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 0);
    lone_close(&lone);
}

static void
a_connection_that_is_opened_may_be_closed_at_once(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    const struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = 1883, .ip = {172, 16, 0, 1}};
    const lp_handle stream = lp_net_connect(lone.net, &to);
    const struct lp_iovec piece = {"hello", 5};
    assert_true(ops_of(&lone)->send(lone.net, stream, &piece, 1));
    ops_of(&lone)->close(lone.net, stream);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 1);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_CLOSED);
    assert_int_equal(lone.net->tcp->streams.used, 0);
    lone_close(&lone);
}

static void
what_is_sent_before_connected_goes_when_it_is(void **unused)
{
    (void)unused;
    struct lone lone;
    lone_open(&lone, NULL);
    const struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = 1883, .ip = {172, 16, 0, 1}};
    const lp_handle stream = lp_net_connect(lone.net, &to);
    const struct lp_iovec piece = {"hello", 5};
    assert_true(ops_of(&lone)->send(lone.net, stream, &piece, 1));
    lone_settle(&lone);
    const struct tcp_segment *syn = lone_last(&lone);
    assert_int_equal(syn->flags, TCP_SYN);
    const struct lone_in answer = {
        .peer = 0xac100001u,
        .from = 1883,
        .to = syn->from_port,
        .seq = 7,
        .ack = syn->seq + 1,
        .flags = TCP_SYN | TCP_ACK,
        .window = 1000,
    };
    lone_in(&lone, &answer);
    lone_settle(&lone);
    assert_int_equal(lone.event_count, 2);
    assert_int_equal(lone.events[0].kind, LP_TRANSPORT_CONNECTED);
    assert_int_equal(lone.events[0].peer.port, 1883);
    assert_int_equal(lone.events[1].kind, LP_TRANSPORT_SENT);
    assert_int_equal(lone.events[1].bytes, 5);
    assert_int_equal(lone_last(&lone)->payload_bytes, 5);
    assert_memory_equal(lone_last(&lone)->payload, "hello", 5);
    lone_close(&lone);
}

/* RFC 9293 3.10.7.3; RFC 7323 2.2: the window of a SYN is not shifted. */
static void
the_answer_to_our_syn_has_to_fit_it(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t ack; /* against our SYN's number */
        uint8_t flags;
        bool connects;
        bool resets;
        bool ends;
    } answers[] = {
        {1, TCP_SYN | TCP_ACK, true, false, false},
        {0, TCP_SYN | TCP_ACK, false, true, false},
        {2, TCP_SYN | TCP_ACK, false, true, false},
        {1, TCP_ACK, false, false, false},
        {0, TCP_ACK, false, true, false},
        {1, TCP_RST | TCP_ACK, false, false, true},
        {0, TCP_RST | TCP_ACK, false, false, false},
        {1, TCP_RST, false, false, false},
    };
    for (size_t i = 0; i < LP_COUNT_OF(answers); i++) {
        struct lone lone;
        lone_open(&lone, NULL);
        const struct lp_address to = {
            .family = LP_ADDRESS_IPV4, .port = 1883, .ip = {172, 16, 0, 1}};
        const lp_handle handle = lp_net_connect(lone.net, &to);
        lone_settle(&lone);
        const struct tcp_segment *syn = lone_last(&lone);
        const struct lone_in answer = {
            .peer = 0xac100001u,
            .from = 1883,
            .to = syn->from_port,
            .seq = 7,
            .ack = syn->seq + answers[i].ack,
            .flags = answers[i].flags,
            .window = 1000,
            .has_shift = true,
            .shift = 7,
        };
        lone_in(&lone, &answer);
        lone_forget(&lone);
        lone_settle(&lone);
        assert_int_equal(events_of(&lone, LP_TRANSPORT_CONNECTED), answers[i].connects);
        assert_int_equal(events_of(&lone, LP_TRANSPORT_ENDED), answers[i].ends);
        const bool reset = lone.out_count > 0 && (lone_last(&lone)->flags & TCP_RST) != 0;
        assert_int_equal(reset, answers[i].resets);
        const struct tcp_stream *stream = lp_pool_get(&lone.net->tcp->streams, handle);
        if (answers[i].connects) {
            assert_int_equal(stream->send_window, 1000);
            assert_int_equal(stream->send_shift, 7);
        }
        lone_close(&lone);
    }
}

/* RFC 9293 3.6.1, RFC 2525 2.17. */
static void
closing_with_unread_bytes_is_a_reset(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    lone_open_with(&lone, &peer, NULL);
    ops_of(&lone)->receive_stop(lone.net, peer.stream);
    peer_sends(&lone, &peer, 10, 0);
    lone_settle(&lone);
    ops_of(&lone)->close(lone.net, peer.stream);
    lone_settle(&lone);
    assert_int_equal(lone_last(&lone)->flags & TCP_RST, TCP_RST);
    assert_int_equal(events_of(&lone, LP_TRANSPORT_CLOSED), 1);
    assert_int_equal(lone.net->tcp->streams.used, 0);
    assert_int_equal(lone.net->tcp->buffered_bytes, 0);
    lone_close(&lone);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_a_stream_follows_its_accepted_in_the_same_poll),
        cmocka_unit_test(received_points_into_the_frame_when_it_can),
        cmocka_unit_test(a_full_sink_delays_and_loses_nothing),
        cmocka_unit_test(a_stopped_stream_keeps_its_bytes_and_its_end),
        cmocka_unit_test(a_reset_is_told_even_to_who_does_not_read),
        cmocka_unit_test(what_was_received_before_a_reset_is_delivered_before_it),
        cmocka_unit_test(one_send_is_in_flight_until_it_was_sent),
        cmocka_unit_test(a_send_that_fails_is_answered_before_the_end),
        cmocka_unit_test(an_empty_send_is_sent),
        cmocka_unit_test(the_answer_to_our_syn_has_to_fit_it),
        cmocka_unit_test(after_close_there_is_nothing_but_closed),
        cmocka_unit_test(stale_handles_are_ignored),
        cmocka_unit_test(a_connection_that_is_opened_may_be_closed_at_once),
        cmocka_unit_test(what_is_sent_before_connected_goes_when_it_is),
        cmocka_unit_test(closing_with_unread_bytes_is_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
