/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of a burst that continue each other: which do, which do not, and
 * that nobody could tell from what is delivered, answered and counted.
 */
#include "tests/unit/net/lone.h"

#define BYTES 200u

static void
connect_peer(struct lone *lone, struct lone_peer *peer, bool timestamps)
{
    lone_open(lone, NULL);
    *peer = (struct lone_peer){
        .port = 3000, .seq = 0xffffff00u, .timestamps = timestamps, .timestamp = 1000};
    lone_accept(lone, peer);
}

/* What is wrong with the second of two frames; by its bytes, after its checksums were made. */
struct second {
    const char *what;
    int32_t seq;
    int32_t ack;
    int32_t stamp;
    uint32_t bytes;
    uint8_t flags;
    bool other_window;
    bool mss;     /* an option more */
    uint8_t at;   /* of the frame: this byte is changed ... */
    uint8_t flip; /* ... by this; 0: none is */
    bool padded;
    bool joins;
    uint32_t received; /* of the second */
};

static void
second_try(const struct second *second)
{
    struct lone lone;
    struct lone_peer peer;
    uint8_t frame[LONE_FRAME_BYTES] = {0};
    connect_peer(&lone, &peer, true);
    const struct lone_in first = lone_of(&peer, TCP_ACK, BYTES);
    struct lone_in in = lone_of(&peer, second->flags, second->bytes);
    in.seq += BYTES + (uint32_t)second->seq;
    in.place = BYTES + (uint32_t)second->seq;
    in.ack += (uint32_t)second->ack;
    in.timestamp += (uint32_t)second->stamp;
    in.window = second->other_window ? 1000 : in.window;
    in.mss = second->mss ? 1460 : 0;
    lone.check_places = second->seq == 0;
    lone_in(&lone, &first);
    const uint32_t bytes = lone_segment_write(frame, &in) + (second->padded ? 8u : 0u);
    frame[second->at] ^= second->flip;
    if (second->at > 13 && second->at < LONE_HEADERS && second->at != 24) {
        /* What is wrong is not found by the header's checksum. */
        (void)lp_put_u16be(frame + 24, 0);
        (void)lp_put_u16be(frame + 24, (uint16_t)~net_sum(frame + 14, NET_IPV4_BYTES, 0));
    }
    lp_sim_wire_inject(lone.wire, 0, frame, bytes);
    const uint64_t before = lone_counters(&lone)->tcp_joined;
    lone_turn(&lone, LONE_EVENTS_MAX);
    if (lone_counters(&lone)->tcp_joined - before != second->joins ||
        lone.received_bytes != BYTES + second->received) {
        fail_msg("%s: %d joined, %d received", second->what,
                 (int)(lone_counters(&lone)->tcp_joined - before), (int)lone.received_bytes);
    }
    lone_close(&lone);
}

static void
only_what_continues_the_first_is_joined(void **unused)
{
    (void)unused;
    static const struct second seconds[] = {
        {"the next", 0, 0, 0, BYTES, TCP_ACK, .joins = true, .received = BYTES},
        {"pushed", 0, 0, 0, BYTES, TCP_ACK | TCP_PSH, .joins = true, .received = BYTES},
        {"a newer time stamp", 0, 0, 5, BYTES, TCP_ACK, .joins = true, .received = BYTES},
        {"shorter", 0, 0, 0, 60, TCP_ACK, .joins = true, .received = 60},
        {"an older time stamp", 0, 0, -5, BYTES, TCP_ACK, .received = 0},
        {"a gap", 10, 0, 0, BYTES, TCP_ACK, .received = 0},
        {"again", -(int32_t)BYTES, 0, 0, BYTES, TCP_ACK, .received = 0},
        {"an overlap", -10, 0, 0, BYTES, TCP_ACK, .received = BYTES - 10},
        {"no text", 0, 0, 0, 0, TCP_ACK, .received = 0},
        {"a FIN", 0, 0, 0, BYTES, TCP_ACK | TCP_FIN, .received = BYTES},
        {"a reset", 0, 0, 0, BYTES, TCP_ACK | TCP_RST, .received = 0},
        {"a SYN", 0, 0, 0, BYTES, TCP_ACK | TCP_SYN, .received = 0},
        {"urgent", 0, 0, 0, BYTES, TCP_ACK | TCP_URG, .received = BYTES},
        {"no ACK", 0, 0, 0, BYTES, TCP_PSH, .received = 0},
        {"an older acknowledgement", 0, -1, 0, BYTES, TCP_ACK, .received = 0},
        {"of what was never sent", 0, 1, 0, BYTES, TCP_ACK, .received = 0},
        {"another window", 0, 0, 0, BYTES, TCP_ACK, .other_window = true, .received = BYTES},
        {"another option", 0, 0, 0, BYTES, TCP_ACK, .mss = true, .received = BYTES},
        {"larger than any before", 0, 0, 0, 1400, TCP_ACK, .received = 1400},
        {"padded", 0, 0, 0, BYTES, TCP_ACK, .padded = true, .received = BYTES},
        {"a broken byte", 0, 0, 0, BYTES, TCP_ACK, .at = 200, .flip = 1, .received = 0},
        {"a broken number", 0, 0, 0, BYTES, TCP_ACK, .at = 41, .flip = 1, .received = 0},
        {"a fragment", 0, 0, 0, BYTES, TCP_ACK, .at = 20, .flip = 0x20, .received = 0},
        {"a wrong checksum of IP", 0, 0, 0, BYTES, TCP_ACK, .at = 24, .flip = 1, .received = 0},
        {"a longer length", 0, 0, 0, BYTES, TCP_ACK, .at = 16, .flip = 1, .received = 0},
        {"a shorter length", 0, 0, 0, BYTES, TCP_ACK, .at = 17, .flip = 2, .received = 0},
        {"from somebody else", 0, 0, 0, BYTES, TCP_ACK, .at = 29, .flip = 8, .received = 0},
        {"to somebody else", 0, 0, 0, BYTES, TCP_ACK, .at = 33, .flip = 8, .received = 0},
        {"another port of theirs", 0, 0, 0, BYTES, TCP_ACK, .at = 34, .flip = 8, .received = 0},
        {"another port of ours", 0, 0, 0, BYTES, TCP_ACK, .at = 37, .flip = 8, .received = 0},
        {"another protocol", 0, 0, 0, BYTES, TCP_ACK, .at = 23, .flip = 1, .received = 0},
        {"of another link", 0, 0, 0, BYTES, TCP_ACK, .at = 5, .flip = 1, .received = 0},
        {"from a group", 0, 0, 0, BYTES, TCP_ACK, .at = 6, .flip = 1, .received = 0},
        {"another type", 0, 0, 0, BYTES, TCP_ACK, .at = 12, .flip = 1, .received = 0},
        {"from another station", 0, 0, 0, BYTES, TCP_ACK, .at = 11, .flip = 1, .received = BYTES},
        {"another service", 0, 0, 0, BYTES, TCP_ACK, .at = 15, .flip = 3, .received = BYTES},
        {"a longer header", 0, 0, 0, BYTES, TCP_ACK, .at = 46, .flip = 0x10, .received = 0},
        {"another option's kind", 0, 0, 0, BYTES, TCP_ACK, .at = 56, .flip = 1, .received = 0},
    };
    for (size_t i = 0; i < LP_COUNT_OF(seconds); i++) {
        second_try(&seconds[i]);
    }
}

/* What a device says of the second frame, which is as it should be otherwise. */
struct said {
    const char *what;
    uint16_t flags;
    uint16_t segment_bytes;
    uint32_t port;
    uint32_t padding;
    uint32_t short_of; /* so much of it is behind the window's edge */
    uint8_t at;        /* this byte is changed ... */
    uint8_t flip;
    bool joins;
};

static struct lp_nic_frame
frame_of(uint8_t *data, const struct lone_in *in)
{
    return (struct lp_nic_frame){.data = data, .bytes = lone_segment_write(data, in)};
}

static void
said_try(const struct said *said)
{
    struct lone lone;
    struct lone_peer peer;
    struct lp_transport_event events[4];
    uint8_t data[2][LONE_FRAME_BYTES] = {{0}};
    connect_peer(&lone, &peer, true);
    struct lone_in in = lone_of(&peer, TCP_ACK, BYTES);
    struct lp_nic_frame first = frame_of(data[0], &in);
    in.seq += BYTES;
    in.place = BYTES;
    struct lp_nic_frame second = frame_of(data[1], &in);
    data[1][said->at] ^= said->flip;
    second.bytes += said->padding;
    second.flags = said->flags;
    second.segment_bytes = said->segment_bytes;
    lone.net->sink = (struct net_sink){events, 0, LP_COUNT_OF(events)};
    lone.net->joining = true;
    tcp_gro_begin(lone.net);
    assert_true(net_frame_input(lone.net, 0, &first));
    if (said->short_of > 0) {
        lone_stream(&lone, &peer)->receive_edge = in.seq + BYTES - said->short_of;
    }
    if (tcp_gro_input(lone.net, said->port, &second) != said->joins) {
        fail_msg("%s", said->what);
    }
    assert_int_equal(lone.net->sink.count, said->joins ? 2 : 1);
    assert_true(!said->joins || events[1].bytes == BYTES);
    lone.net->joining = false;
    tcp_gro_begin(lone.net);
    assert_false(tcp_gro_input(lone.net, 0, &second)); /* another burst: nothing is remembered */
    lone_close(&lone);
}

static void
a_device_is_believed_as_far_as_it_goes(void **unused)
{
    (void)unused;
    static const uint16_t good = LP_NIC_IP_GOOD | LP_NIC_L4_GOOD;
    static const struct said said[] = {
        {.what = "nothing", .joins = true},
        {.what = "it is good", .flags = good, .joins = true},
        {.what = "it is good, unwritten", .flags = good, .at = 200, .flip = 1, .joins = true},
        {.what = "nothing, of a wrong one", .at = 200, .flip = 1},
        {.what = "it is good, with padding", .flags = good, .padding = 6},
        {.what = "it is good, another option", .flags = good, .at = 56, .flip = 1},
        {.what = "it is good, another length", .flags = good, .at = 17, .flip = 2},
        {.what = "IP is bad", .flags = LP_NIC_IP_BAD},
        {.what = "TCP is bad", .flags = LP_NIC_L4_BAD},
        {.what = "it was joined already", .flags = good, .segment_bytes = BYTES / 2},
        {.what = "it came by another port", .flags = good, .port = 1},
        {.what = "it is good, and more than was asked for", .flags = good, .short_of = 1},
    };
    for (size_t i = 0; i < LP_COUNT_OF(said); i++) {
        said_try(&said[i]);
    }
}

/* A frame of IPv6 that holds BYTES of text, vouched for. */
static struct lp_nic_frame
frame6_of(uint8_t *data, uint32_t seq)
{
    memset(data, 7, 14);
    uint8_t *at = lp_put_u16be(data + 12, NET_TYPE_IPV6);
    at = lp_put_u32be(at, 0x60000000u);
    at = lp_put_u32be(at, (TCP_HEADER_BYTES + BYTES) << 16 | NET_PROTOCOL_TCP << 8 | 64u);
    memset(at, 9, 32);
    at = lp_put_u32be(at + 32, 3000u << 16 | LONE_PORT);
    at = lp_put_u32be(at, seq);
    at = lp_put_u32be(at, 500);
    at = lp_put_u32be(at, 0x50100000u | 1000u);
    at = lp_put_u32be(at, 0);
    memset(at, 1, BYTES);
    return (struct lp_nic_frame){
        .data = data,
        .bytes = (uint32_t)(at - data) + BYTES,
        .flags = LP_NIC_IP_GOOD | LP_NIC_L4_GOOD,
    };
}

static bool
second6_joins(uint32_t at, uint8_t flip, uint32_t padding)
{
    struct lone lone;
    struct lone_peer peer;
    struct lp_transport_event events[4];
    uint8_t data[2][LONE_FRAME_BYTES] = {{0}};
    connect_peer(&lone, &peer, false);
    struct tcp_stream *stream = lone_stream(&lone, &peer);
    stream->last_ack_sent = 100;
    stream->receive_next = 101;
    stream->receive_edge = 10000;
    stream->send_una = 500;
    stream->send_window = 1000u << stream->send_shift;
    struct lp_nic_frame first = frame6_of(data[0], 101 - BYTES);
    struct lp_nic_frame second = frame6_of(data[1], 101);
    data[1][at] ^= flip;
    second.bytes += padding;
    struct net_packet packet = {.frame = &first,
                                .family = LP_ADDRESS_IPV6,
                                .l3 = first.data + 14,
                                .l4 = first.data + 14 + NET_IPV6_BYTES};
    const struct tcp_segment segment = {.packet = &packet, .from_port = 3000};
    lone.net->sink = (struct net_sink){events, 0, LP_COUNT_OF(events)};
    tcp_gro_begin(lone.net);
    tcp_gro_note(lone.net, stream, &segment);
    const bool joins = tcp_gro_input(lone.net, 0, &second);
    assert_true(!joins || events[0].bytes == BYTES);
    stream->send_una = stream->send_next;
    lone_close(&lone);
    return joins;
}

static void
of_ipv6_the_whole_header_is_compared(void **unused)
{
    (void)unused;
    assert_true(second6_joins(14, 0, 0));
    assert_false(second6_joins(14, 0, 4)); /* padding */
    for (uint32_t at = 14; at < 14 + NET_IPV6_BYTES; at++) {
        assert_false(second6_joins(at, 1, 0));
    }
}

/* --- Against itself, one by one. ------------------------------------------------------------- */

static uint32_t
dice(struct lone *lone, uint32_t sides)
{
    lone->seed = lone->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(lone->seed >> 33) % sides;
}

static void
frame_nothing(void *context, const struct lp_net_captured *frame)
{
    (void)context;
    (void)frame;
}

/* One frame of the burst, and what may be odd about it, into both. */
static void
pair_say(struct lone *dice_of, struct lone *lone[2], struct lone_peer *peer)
{
    uint8_t frame[LONE_FRAME_BYTES];
    struct lone_in in = lone_of(peer, TCP_ACK, 40 + dice(dice_of, 400));
    in.place = peer->seq - 0xffffff01u;
    const uint32_t odd = dice(dice_of, 40);
    in.flags |= dice(dice_of, 3) == 0 ? TCP_PSH : 0;
    in.bytes = odd == 0 ? 0 : in.bytes;
    in.seq -= odd == 1 ? 30 : 0;
    in.place -= odd == 1 ? 30 : 0;
    in.timestamp -= odd == 2 ? 20 : 0;
    in.window = odd == 3 ? 30000 : in.window;
    in.ack -= odd == 4 ? 1 : 0;
    in.from = odd == 5 ? 3001 : in.from;
    const bool gap = odd == 6;
    const uint32_t bytes = lone_segment_write(frame, &in);
    frame[60] ^= odd == 7 ? 4 : 0;
    const bool taken = odd > 8 || odd == 3 || odd == 8;
    for (uint32_t i = 0; i < 2 && !gap; i++) {
        lp_sim_wire_inject(lone[i]->wire, 0, frame, bytes);
    }
    peer->seq += taken ? in.bytes : 0;
    peer->timestamp += taken ? dice(dice_of, 2) : 0;
    if (gap) {
        struct lone_in late = in;
        late.seq += in.bytes;
        late.place += in.bytes;
        const uint32_t late_bytes = lone_segment_write(frame, &late);
        for (uint32_t i = 0; i < 2; i++) {
            lp_sim_wire_inject(lone[i]->wire, 0, frame, late_bytes);
        }
    }
}

static void
streams_agree(const struct tcp_stream *a, const struct tcp_stream *b)
{
    assert_int_equal(a->receive_next, b->receive_next);
    assert_int_equal(a->receive_edge, b->receive_edge);
    assert_int_equal(a->last_ack_sent, b->last_ack_sent);
    assert_int_equal(a->timestamp_recent, b->timestamp_recent);
    assert_int_equal(a->receive_bytes_max, b->receive_bytes_max);
    assert_int_equal(a->receive_mss, b->receive_mss);
    assert_int_equal(a->ack_quick, b->ack_quick);
    assert_int_equal(a->ack_ns, b->ack_ns);
    assert_int_equal(a->send_window, b->send_window);
    assert_int_equal(a->send_wl1, b->send_wl1);
    assert_int_equal(a->send_wl2, b->send_wl2);
    assert_int_equal(a->heard_ns, b->heard_ns);
}

static void
pair_agrees(const struct lone *a, const struct lone *b)
{
    struct lp_net_counters counters[2] = {*lone_counters(a), *lone_counters(b)};
    counters[0].tcp_joined = 0;
    assert_memory_equal(&counters[0], &counters[1], sizeof(counters[0]));
    assert_int_equal(a->received_bytes, b->received_bytes);
    assert_int_equal(a->event_count, b->event_count);
    assert_int_equal(a->out_count, b->out_count);
    for (uint32_t i = 0; i < a->out_count; i++) {
        assert_memory_equal(a->out[i].frame, b->out[i].frame, 54);
    }
}

static void
nobody_can_tell_that_they_were_joined(void **unused)
{
    (void)unused;
    struct lone one;
    struct lone two;
    struct lone *lone[2] = {&one, &two};
    struct lone_peer peers[2];
    const struct lp_net_capture capture = {.frame = frame_nothing};
    for (uint32_t i = 0; i < 2; i++) {
        connect_peer(lone[i], &peers[i], true);
    }
    assert_int_equal(peers[0].ack, peers[1].ack);
    lp_net_capture_set(two.net, &capture); /* what is looked at is not joined */
    struct lone dice_of = {.seed = 3};
    for (uint32_t round = 0; round < 3000; round++) {
        const uint32_t burst = 1 + dice(&dice_of, 20);
        for (uint32_t i = 0; i < burst; i++) {
            pair_say(&dice_of, lone, &peers[0]);
        }
        for (uint32_t i = 0; i < 2; i++) {
            lone_settle(lone[i]);
        }
        streams_agree(lone_stream(&one, &peers[0]), lone_stream(&two, &peers[1]));
        pair_agrees(&one, &two);
        for (uint32_t i = 0; i < 2; i++) {
            lone_forget(lone[i]);
        }
        peers[0].seq = lone_stream(&one, &peers[0])->receive_next;
    }
    assert_true(lone_counters(&one)->tcp_joined > 10000);
    assert_int_equal(lone_counters(&two)->tcp_joined, 0);
    lone_close(&one);
    lone_close(&two);
}

/* Two at once, and one that has no time stamps. */
static void
flows_that_alternate_are_joined_each_for_itself(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peers[2];
    connect_peer(&lone, &peers[0], true);
    peers[1] = (struct lone_peer){.port = 3001, .seq = 77};
    lone_accept(&lone, &peers[1]);
    lone.check_places = false;
    for (uint32_t i = 0; i < 10; i++) {
        struct lone_peer *peer = &peers[i % 2];
        const struct lone_in in = lone_of(peer, TCP_ACK, BYTES);
        lone_in(&lone, &in);
        peer->seq += BYTES;
    }
    lone_turn(&lone, LONE_EVENTS_MAX);
    assert_int_equal(lone.received_bytes, 10 * BYTES);
    assert_int_equal(lone_counters(&lone)->tcp_joined, 8);
    /* They are acknowledged with one each. */
    lone_settle(&lone);
    assert_int_equal(lone.out_count, 2);
    assert_int_equal(lone.out[0].segment.ack, peers[0].seq);
    assert_int_equal(lone.out[1].segment.ack, peers[1].seq);
    lone_close(&lone);
}

/* Room for events, a shard that does not want any, an end in between. */
static void
what_cannot_be_lent_is_not_joined(void **unused)
{
    (void)unused;
    struct lone lone;
    struct lone_peer peer;
    connect_peer(&lone, &peer, true);
    for (uint32_t i = 0; i < 8; i++) {
        const struct lone_in in = lone_of(&peer, TCP_ACK, BYTES);
        struct lone_in next = in;
        next.seq += i * BYTES;
        next.place = i * BYTES;
        lone_in(&lone, &next);
    }
    lone_turn(&lone, 4); /* three of them for frames */
    assert_int_equal(lone_counters(&lone)->tcp_joined, 2);
    lone_settle(&lone);
    assert_int_equal(lone.received_bytes, 8 * BYTES);
    lone.transport.ops->receive_stop(lone.net, peer.stream);
    for (uint32_t i = 8; i < 10; i++) {
        struct lone_in in = lone_of(&peer, TCP_ACK, BYTES);
        in.seq += i * BYTES;
        in.place = i * BYTES;
        lone_in(&lone, &in);
    }
    lone_settle(&lone);
    assert_int_equal(lone.received_bytes, 8 * BYTES);
    lone.transport.ops->receive_start(lone.net, peer.stream);
    lone_settle(&lone);
    assert_int_equal(lone.received_bytes, 10 * BYTES);
    assert_int_equal(lone_counters(&lone)->tcp_joined, 2);
    lone_close(&lone);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_continues_the_first_is_joined),
        cmocka_unit_test(a_device_is_believed_as_far_as_it_goes),
        cmocka_unit_test(of_ipv6_the_whole_header_is_compared),
        cmocka_unit_test(nobody_can_tell_that_they_were_joined),
        cmocka_unit_test(flows_that_alternate_are_joined_each_for_itself),
        cmocka_unit_test(what_cannot_be_lent_is_not_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
