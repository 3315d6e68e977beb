/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours: RFC 4861 7.2 and 7.3 for ARP, RFC 1122 2.3.2; the same machine
 * over NDP is in test_net_ndp.c.
 */
#include "tests/unit/net/net_rig.h"

static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 9};

/* How many requests for the peer came, and whether the last was to all. */
static uint32_t
count_requests(struct rig *rig, bool *ret_to_all)
{
    uint32_t count = 0;
    for (const struct lp_nic_frame *frame = rig_hear(rig); frame != NULL; frame = rig_hear(rig)) {
        if (frame_type(frame) == NET_TYPE_ARP && frame->data[21] == 1 &&
            memcmp(frame->data + 38, peer_ip4, 4) == 0) {
            count++;
            *ret_to_all = memcmp(frame->data, all_macs, 6) == 0;
        }
    }
    return count;
}

/* How many data frames came to this MAC address. */
static uint32_t
count_data(struct rig *rig, const uint8_t *mac)
{
    uint32_t count = 0;
    for (const struct lp_nic_frame *frame = rig_hear(rig); frame != NULL; frame = rig_hear(rig)) {
        count += frame_type(frame) == NET_TYPE_IPV4 && memcmp(frame->data, mac, 6) == 0;
    }
    return count;
}

static void
peer_says(struct rig *rig, uint16_t op, const uint8_t *mac, const uint8_t *target)
{
    struct frame frame;
    const struct frame_arp arp = {op, mac, peer_ip4, target};
    frame_arp_make(&frame, op == 1 ? all_macs : our_mac, &arp);
    rig_say(rig, &frame);
}

static void
a_packet_waits_for_the_answer_and_goes_where_it_says(void **state)
{
    (void)state;
    struct rig rig;
    bool to_all = false;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    assert_int_equal(count_requests(&rig, &to_all), 1);
    assert_true(to_all);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 1);
    peer_says(&rig, 2, peer_mac, our_ip4);
    assert_int_equal(count_data(&rig, peer_mac), 1);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 0);
    rig_close(&rig);
}

static void
of_packets_that_wait_the_latest_is_kept(void **state)
{
    (void)state;
    struct rig rig;
    bool to_all = false;
    rig_open_promiscuous(&rig);
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    }
    assert_int_equal(count_requests(&rig, &to_all), 1); /* RFC 1122 2.3.2.1: no flood of them */
    assert_int_equal(rig.net->counters.neighbour_dropped, 4);
    peer_says(&rig, 2, peer_mac, our_ip4);
    assert_int_equal(count_data(&rig, peer_mac), 1);
    rig_close(&rig);
}

static void
who_does_not_answer_is_asked_three_times_a_second_apart_and_forgotten(void **state)
{
    (void)state;
    struct rig rig;
    bool to_all = false;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(count_requests(&rig, &to_all), 1);
        assert_int_equal(rig.net->counters.neighbour_dropped, 0);
        rig_pass(&rig, SECOND + 100 * MILLISECOND);
    }
    assert_int_equal(count_requests(&rig, &to_all), 0);
    assert_int_equal(rig.net->counters.neighbour_dropped, 1);
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4), 0);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 0);
    rig_close(&rig);
}

static void
only_so_many_frames_wait(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_promiscuous(&rig);
    for (uint32_t i = 2; i < 202; i++) {
        const uint8_t ip[4] = {10, 0, 0, (uint8_t)i};
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, ip));
        rig_drain(&rig);
    }
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), NET_PENDING_MAX);
    assert_int_equal(rig.net->counters.neighbour_dropped, 200 - NET_PENDING_MAX);
    rig_pass(&rig, 5 * SECOND);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 0);
    rig_close(&rig);
}

/* Used after half a minute, it is asked five seconds later if nobody confirms it. */
static void
a_stale_neighbour_is_used_and_asked_by_itself_then(void **state)
{
    (void)state;
    struct rig rig;
    bool to_all = true;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    peer_says(&rig, 2, peer_mac, our_ip4);
    rig_drain(&rig);
    rig_pass(&rig, 10 * SECOND);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    rig_pass(&rig, 6 * SECOND);
    assert_int_equal(count_requests(&rig, &to_all), 0); /* REACHABLE still: nobody asks */
    rig_pass(&rig, 46 * SECOND);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    assert_int_equal(count_data(&rig, peer_mac), 1);
    rig_pass(&rig, 4900 * MILLISECOND);
    assert_int_equal(count_requests(&rig, &to_all), 0);
    rig_pass(&rig, 200 * MILLISECOND);
    assert_int_equal(count_requests(&rig, &to_all), 1);
    assert_false(to_all);
    peer_says(&rig, 2, peer_mac, our_ip4);
    rig_pass(&rig, 10 * SECOND);
    assert_int_equal(count_requests(&rig, &to_all), 0);
    rig_close(&rig);
}

static void
a_stale_neighbour_that_does_not_answer_is_forgotten_and_looked_for(void **state)
{
    (void)state;
    struct rig rig;
    bool to_all = false;
    rig_open_promiscuous(&rig);
    peer_says(&rig, 1, peer_mac, our_ip4);
    rig_drain(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    assert_int_equal(count_data(&rig, peer_mac), 1); /* heard of, so it is used */
    rig_pass(&rig, 9 * SECOND);
    assert_int_equal(count_requests(&rig, &to_all), 3);
    assert_false(to_all);
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4), 0);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    assert_int_equal(count_requests(&rig, &to_all), 1);
    assert_true(to_all);
    rig_close(&rig);
}

static void
who_asks_us_while_we_ask_it_is_used_and_asked_by_itself_then(void **state)
{
    (void)state;
    struct rig rig;
    bool to_all = true;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    rig_drain(&rig);
    peer_says(&rig, 1, peer_mac, our_ip4);
    assert_int_equal(count_data(&rig, peer_mac), 1);
    rig_pass(&rig, 4900 * MILLISECOND);
    assert_int_equal(count_requests(&rig, &to_all), 0);
    rig_pass(&rig, 200 * MILLISECOND);
    assert_int_equal(count_requests(&rig, &to_all), 1);
    assert_false(to_all);
    rig_close(&rig);
}

static void
what_tcp_confirms_is_not_asked(void **state)
{
    (void)state;
    struct rig rig;
    struct net_path path;
    bool to_all = false;
    rig_open_promiscuous(&rig);
    peer_says(&rig, 1, peer_mac, our_ip4);
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV4, peer_ip4, NULL, &path));
    assert_true(path.neighbour != 0);
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
        net_path_confirm(rig.net, &path);
        rig_pass(&rig, SECOND);
        assert_int_equal(count_requests(&rig, &to_all), 0);
    }
    /* A path that was made before it was known learns it. */
    path.neighbour = 0;
    net_path_confirm(rig.net, &path);
    assert_int_equal(path.neighbour, net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4));
    rig_close(&rig);
}

static void
a_name_of_a_neighbour_that_is_gone_is_looked_up_again(void **state)
{
    (void)state;
    struct rig rig;
    struct net_path path;
    struct net_out out;
    rig_open_promiscuous(&rig);
    peer_says(&rig, 1, peer_mac, our_ip4);
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV4, peer_ip4, NULL, &path));
    const uint32_t name = path.neighbour;
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    rig_pass(&rig, 10 * SECOND); /* it does not answer, and is forgotten */
    peer_says(&rig, 1, other_mac, our_ip4);
    rig_drain(&rig);
    assert_int_not_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4), name);
    assert_true(net_out_begin(rig.net, &path, 99, 4, &out));
    net_out_send(rig.net, &out, 4, 0, 0);
    rig_turn(&rig);
    assert_int_equal(count_data(&rig, other_mac), 1);
    net_path_confirm(rig.net, &path);
    assert_int_not_equal(path.neighbour, name);
    rig_close(&rig);
}

/* That it hears us says nothing of where it is. */
static void
what_tcp_hears_of_a_neighbour_that_is_asked_for_makes_no_address(void **state)
{
    (void)state;
    struct rig rig;
    struct net_path path;
    bool to_all = false;
    rig_open_promiscuous(&rig);
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV4, peer_ip4, NULL, &path));
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    net_path_confirm(rig.net, &path);
    net_neighbours_check(rig.net, 0);
    assert_int_equal(count_requests(&rig, &to_all), 1);
    rig_pass(&rig, 1500 * MILLISECOND);
    assert_int_equal(count_requests(&rig, &to_all), 1); /* it still is */
    assert_true(to_all);
    rig_close(&rig);
}

static void
a_neighbour_may_move_and_is_asked_there(void **state)
{
    (void)state;
    struct rig rig;
    bool to_all = true;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    peer_says(&rig, 2, peer_mac, our_ip4);
    rig_drain(&rig);
    /* Gratuitous: for itself, to all. */
    peer_says(&rig, 1, other_mac, peer_ip4);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    assert_int_equal(count_data(&rig, other_mac), 1);
    rig_pass(&rig, 5200 * MILLISECOND);
    assert_int_equal(count_requests(&rig, &to_all), 1);
    assert_false(to_all);
    rig_close(&rig);
}

/* One spoofed packet, a request or an answer that nobody asked for, must not last: what was on its
 * way is acknowledged by the real one, which says nothing about the new address. */
static void
who_claims_a_neighbours_address_is_asked_soon_whatever_tcp_hears(void **state)
{
    (void)state;
    for (uint32_t op = 1; op <= 2; op++) {
        struct rig rig;
        struct net_path path;
        bool to_all = false;
        rig_open_promiscuous(&rig);
        peer_says(&rig, 1, peer_mac, our_ip4);
        assert_true(net_path_find(rig.net, LP_ADDRESS_IPV4, peer_ip4, NULL, &path));
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
        net_path_confirm(rig.net, &path);
        rig_drain(&rig);
        peer_says(&rig, (uint16_t)op, other_mac, our_ip4);
        net_path_confirm(rig.net, &path); /* of what was on its way */
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
        rig_drain(&rig);
        /* 5 s of DELAY, three questions to whoever it was, and then to all. */
        rig_pass(&rig, 9 * SECOND);
        assert_int_equal(count_requests(&rig, &to_all), 3);
        assert_false(to_all);
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
        assert_int_equal(count_requests(&rig, &to_all), 1);
        assert_true(to_all);
        rig_close(&rig);
    }
}

static void
an_answer_that_nobody_asked_for_makes_no_neighbour(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_promiscuous(&rig);
    peer_says(&rig, 2, peer_mac, our_ip4);
    peer_says(&rig, 1, peer_mac, peer_ip4);
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4), 0);
    rig_close(&rig);
}

static void
a_flood_of_newcomers_does_not_push_out_who_is_talked_to(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    rig_init(&rig);
    rig.config.port[0].address[0].bits = 8;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    rig_drain(&rig);
    peer_says(&rig, 1, peer_mac, our_ip4);
    const uint32_t name = net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4);
    for (uint32_t i = 0; i < 5 * NET_NEIGHBOURS_MAX; i++) {
        if (i % 128 == 0) {
            assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
        }
        const uint8_t ip[4] = {10, 1, (uint8_t)(i >> 8), (uint8_t)i};
        const struct frame_arp arp = {1, other_mac, ip, our_ip4};
        frame_arp_make(&frame, all_macs, &arp);
        rig_say(&rig, &frame);
        rig_drain(&rig);
    }
    assert_true(rig.net->counters.neighbour_full > 3 * NET_NEIGHBOURS_MAX);
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4), name);
    rig_close(&rig);
}

/* SYNs from made-up neighbours make us ask for them: 2000 that do not answer, between two words to
 * one who is there. */
static void
who_does_not_answer_pushes_out_nobody_who_did(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.config.port[0].address[0].bits = 8;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    rig_drain(&rig);
    peer_says(&rig, 1, peer_mac, our_ip4);
    const uint32_t name = net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4);
    for (uint32_t i = 0; i < 2 * NET_NEIGHBOURS_MAX; i++) {
        const uint8_t ip[4] = {10, 1, (uint8_t)(i >> 8), (uint8_t)i};
        assert_true(rig_send(&rig, LP_ADDRESS_IPV4, ip));
        rig_drain(&rig);
    }
    assert_int_equal(rig.net->counters.neighbour_full, 2 * NET_NEIGHBOURS_MAX - NET_ASKED_MAX);
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4), name);
    rig_pass(&rig, 5 * SECOND);
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 0);
    rig_close(&rig);
}

static void
frames_that_wait_go_back_when_the_instance_ends(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    assert_int_equal(lp_sim_wire_lent(rig.wire, 0, 0), 1);
    rig_close(&rig); /* which looks */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_waits_for_the_answer_and_goes_where_it_says),
        cmocka_unit_test(of_packets_that_wait_the_latest_is_kept),
        cmocka_unit_test(who_does_not_answer_is_asked_three_times_a_second_apart_and_forgotten),
        cmocka_unit_test(only_so_many_frames_wait),
        cmocka_unit_test(a_stale_neighbour_is_used_and_asked_by_itself_then),
        cmocka_unit_test(a_stale_neighbour_that_does_not_answer_is_forgotten_and_looked_for),
        cmocka_unit_test(who_asks_us_while_we_ask_it_is_used_and_asked_by_itself_then),
        cmocka_unit_test(what_tcp_confirms_is_not_asked),
        cmocka_unit_test(a_name_of_a_neighbour_that_is_gone_is_looked_up_again),
        cmocka_unit_test(what_tcp_hears_of_a_neighbour_that_is_asked_for_makes_no_address),
        cmocka_unit_test(a_neighbour_may_move_and_is_asked_there),
        cmocka_unit_test(who_claims_a_neighbours_address_is_asked_soon_whatever_tcp_hears),
        cmocka_unit_test(an_answer_that_nobody_asked_for_makes_no_neighbour),
        cmocka_unit_test(a_flood_of_newcomers_does_not_push_out_who_is_talked_to),
        cmocka_unit_test(who_does_not_answer_pushes_out_nobody_who_did),
        cmocka_unit_test(frames_that_wait_go_back_when_the_instance_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
