/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exception path: what is not ours goes to the kernel once, and what is
 * ours never does.
 *
 * Method: every frame is said to one shard, and to two with a card that deals
 * frames out by chance.
 */
#include "tests/unit/net/exception_rig.h"

static void
frames_of_the_link_go_once(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        frame_ethernet(&frame, lldp_mac, peer_mac, 0x88cc);
        frame.bytes = 60;
        expect(&both, &frame, 1, 0);
        frame_ethernet(&frame, our_mac, peer_mac, 0x88cc);
        frame.bytes = 60;
        expect(&both, &frame, 1, 0);
        frame_ethernet(&frame, other_mac, peer_mac, 0x88cc); /* another station's */
        frame.bytes = 60;
        expect(&both, &frame, 0, 0);
        udp_make(&frame, our_ip4);
        tag_put(&frame, 7);
        expect(&both, &frame, 1, 0);
        frame_ethernet(&frame, all_macs, our_mac, 0x88cc); /* ours, or the kernel's, come back */
        frame.bytes = 60;
        expect(&both, &frame, 0, 0);
        assert_true(COUNTED(&both, exception_echoed) > 0);
        frame_ethernet(&frame, all_macs, lldp_mac, 0x88cc); /* a group never sends */
        frame.bytes = 60;
        expect(&both, &frame, 0, 0);
        frame_ethernet(&frame, all_macs, peer_mac, 0x88cc);
        frame.bytes = 13;
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
who_asks_for_us_is_answered_by_us_alone_and_the_rest_of_arp_is_for_both(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
        both_init(&both, shards);
        both_open(&both);
        frame_arp_make(&frame, all_macs, &arp);
        expect(&both, &frame, 0, 1);
        arp.target = other_ip4;
        frame_arp_make(&frame, all_macs, &arp);
        expect(&both, &frame, 1, 0);
        const struct frame_arp reply = {2, peer_mac, peer_ip4, our_ip4};
        frame_arp_make(&frame, our_mac, &reply);
        expect(&both, &frame, 1, 0);
        const struct frame_arp announced = {1, peer_mac, peer_ip4, peer_ip4};
        frame_arp_make(&frame, all_macs, &announced);
        expect(&both, &frame, 1, 0);
        frame.data[IP] = 9; /* of another link */
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
an_address_that_was_given_up_is_the_kernels(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 2);
    both_open(&both);
    for (uint32_t i = 0; i < both.shards; i++) {
        both.net[i]->port[0].addresses[0].state = NET_DUPLICATE;
    }
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    frame_arp_make(&frame, all_macs, &arp);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
    expect(&both, &frame, 1, 0);
    both_close(&both);
}

static void
packets_that_are_not_ours_go_once(void **state)
{
    (void)state;
    static const uint8_t everybody[4] = {10, 0, 0, 255};
    static const uint8_t group[4] = {224, 0, 0, 251};
    static const uint8_t group_mac[6] = {1, 0, 0x5e, 0, 0, 251};
    static const uint8_t nobody[4] = {0};
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        udp_make(&frame, our_ip4);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, other_ip4);
        expect(&both, &frame, 1, 0);
        frame_ip4_make(&frame, 47, "data", 4);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, everybody);
        memcpy(frame.data, all_macs, 6);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, group);
        memcpy(frame.data, group_mac, 6);
        expect(&both, &frame, 1, 0);
        memcpy(frame.data, all_macs, 6); /* a client of DHCP */
        memcpy(frame.data + IP + 12, nobody, 4);
        memcpy(frame.data + IP + 16, all_macs, 4);
        frame_ip4_fix(&frame);
        expect(&both, &frame, 1, 0);
        udp_make(&frame, other_ip4); /* who says that he is us lies */
        memcpy(frame.data + IP + 12, our_ip4, 4);
        frame_ip4_fix(&frame);
        expect(&both, &frame, 0, 0);
        udp_make(&frame, our_ip4);
        frame.data[IP + 10] ^= 1; /* the header's checksum */
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
fragments_go_but_not_the_heads_of_what_is_for_a_listener(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 2);
    both_open(&both);
    udp_make(&frame, our_ip4);
    lp_put_u16be(frame.data + IP + 6, 0x2000);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 1, 0);
    lp_put_u16be(frame.data + IP + 6, 0x0010);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 22, SYN);
    lp_put_u16be(frame.data + IP + 6, 0x2000);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
    lp_put_u16be(frame.data + IP + 6, 0x2000);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 0, 0);
    /* What only looks like its port, in the middle of a packet. */
    lp_put_u16be(frame.data + IP + 6, 0x0010);
    frame_ip4_fix(&frame);
    expect(&both, &frame, 1, 0);
    uint8_t body[28] = {NET_PROTOCOL_TCP, 0, 0, 1, 0, 0, 0, 9, 0x9c, 0x40, 0x16, 0x28};
    frame_ip6_make(&frame, 44, body, sizeof(body)); /* the head, to port 5672 */
    expect(&both, &frame, 0, 0);
    body[11] = 22;
    body[10] = 0;
    frame_ip6_make(&frame, 44, body, sizeof(body));
    expect(&both, &frame, 1, 0);
    lp_put_u16be(body + 2, 0x0100);
    frame_ip6_make(&frame, 44, body, sizeof(body));
    expect(&both, &frame, 1, 0);
    both_close(&both);
}

static void
segments_for_nobody_go_and_those_for_a_listener_never_do(void **state)
{
    (void)state;
    static const uint8_t families[2] = {LP_ADDRESS_IPV4, LP_ADDRESS_IPV6};
    for (uint32_t i = 0; i < 2 * SHARDS_MAX; i++) {
        const uint8_t family = families[i % 2];
        struct both both;
        struct frame frame;
        both_init(&both, 1 + i / 2);
        both_open(&both);
        static const uint8_t kinds[4] = {SYN, SYN | ACK, ACK, RST};
        for (uint32_t k = 0; k < LP_COUNT_OF(kinds); k++) {
            tcp_make(&frame, family, 22, kinds[k]);
            expect(&both, &frame, 1, 0);
        }
        frame.bytes--; /* and a broken one to nobody */
        frame.data[frame.bytes - 1] ^= 0xff;
        expect(&both, &frame, 0, 0);
        tcp_make(&frame, family, 22, SYN);
        frame.data[frame.bytes - 1] ^= 1;
        expect(&both, &frame, 0, 0);
        tcp_make(&frame, family, 5672, ACK); /* we refuse it ourselves */
        expect(&both, &frame, 0, 1);
        tcp_make(&frame, family, 5672, RST);
        expect(&both, &frame, 0, 0);
        tcp_make(&frame, family, 5672, SYN); /* SYN-ACK; half-open afterwards */
        expect(&both, &frame, 0, 1);
        assert_int_equal(COUNTED(&both, tcp_refused), 0);
        both_close(&both);
    }
}

static void
a_flood_at_a_listener_is_answered_with_cookies_and_never_goes(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 2);
    both.rig.config.half_open_max = 1;
    both_open(&both);
    for (uint32_t i = 0; i < 100; i++) {
        tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
        lp_put_u16be(frame.data + L4, (uint16_t)(10000 + i));
        lp_put_u16be(frame.data + L4 + 16, 0);
        const uint32_t pseudo =
            net_sum_pseudo(LP_ADDRESS_IPV4, peer_ip4, our_ip4, NET_PROTOCOL_TCP, 20);
        lp_put_u16be(frame.data + L4 + 16, (uint16_t)~net_sum(frame.data + L4, 20, pseudo));
        both_say(&both, &frame);
    }
    assert_true(COUNTED(&both, tcp_cookies_sent) > 50);
    assert_int_equal(kernel_drain(&both), 0);
    both_close(&both);
}

static void
icmp_is_ours_as_far_as_it_is_about_us(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        icmp_make(&frame, 8, "data", 4);
        expect(&both, &frame, 0, 1);
        memcpy(frame.data + IP + 16, other_ip4, 4); /* the kernel's other address */
        frame_ip4_fix(&frame);
        expect(&both, &frame, 1, 0);
        icmp_make(&frame, 0, "data", 4); /* the kernel has asked */
        expect(&both, &frame, 1, 0);
        icmp_make(&frame, 13, "0123456789ab", 12);
        expect(&both, &frame, 1, 0);
        frame.data[L4 + 2] ^= 1; /* its checksum */
        expect(&both, &frame, 0, 0);
        unreachable_make(&frame, NET_PROTOCOL_TCP, 22);
        expect(&both, &frame, 1, 0);
        unreachable_make(&frame, NET_PROTOCOL_UDP, 53);
        expect(&both, &frame, 1, 0);
        /* About a handshake of ours, which errors do not end. */
        tcp_make(&frame, LP_ADDRESS_IPV4, 5672, SYN);
        both_say(&both, &frame);
        rig_drain(&both.rig);
        unreachable_make(&frame, NET_PROTOCOL_TCP, 5672);
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
neighbours_of_ipv6_are_for_both_but_who_asks_for_us(void **state)
{
    (void)state;
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    uint8_t group[16];
    for (uint32_t shards = 1; shards <= SHARDS_MAX; shards++) {
        struct both both;
        struct frame frame;
        both_init(&both, shards);
        both_open(&both);
        net_ndp_group(our_ip6, group);
        icmp6_make(&frame, 135, group, our_ip6);
        expect(&both, &frame, 0, 1);
        icmp6_make(&frame, 135, our_ip6, our_ip6);
        expect(&both, &frame, 0, 1);
        net_ndp_group(other_ip6, group);
        icmp6_make(&frame, 135, group, other_ip6);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 136, our_ip6, peer_ip6);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 134, all_nodes, peer_ip6); /* a router's advertisement */
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 129, our_ip6, peer_ip6);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 128, our_ip6, peer_ip6);
        expect(&both, &frame, 0, 1);
        icmp6_make(&frame, 128, other_ip6, peer_ip6);
        expect(&both, &frame, 1, 0);
        frame_ip6_make(&frame, NET_PROTOCOL_UDP, "01234567", 8);
        expect(&both, &frame, 1, 0);
        icmp6_make(&frame, 135, our_ip6, our_ip6);
        frame.data[IP + 7] = 64; /* came over a router: nobody's */
        expect(&both, &frame, 0, 0);
        both_close(&both);
    }
}

static void
a_connection_that_we_opened_is_ours(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = 40000};
    both_init(&both, 2);
    both_open(&both);
    memcpy(to.ip, peer_ip4, 4);
    assert_true(lp_net_connect(both.net[1], &to) != LP_HANDLE_NONE);
    both_turn(&both);
    const struct lp_nic_frame *syn = rig_hear(&both.rig);
    assert_non_null(syn);
    const uint16_t port = (uint16_t)get_u16(syn->data + L4);
    rig_drain(&both.rig);
    tcp_make(&frame, LP_ADDRESS_IPV4, port, ACK); /* acknowledges nothing of ours: reset */
    expect(&both, &frame, 0, 1);
    tcp_make(&frame, LP_ADDRESS_IPV4, (uint16_t)(port ^ 1u), ACK);
    expect(&both, &frame, 1, 0);
    both_close(&both);
}

static void
a_port_with_a_vlan_hands_over_frames_as_they_are(void **state)
{
    (void)state;
    struct both both;
    struct frame frame;
    both_init(&both, 1);
    both.rig.config.port[0].vlan = 42;
    both_open(&both);
    tcp_make(&frame, LP_ADDRESS_IPV4, 22, SYN);
    expect(&both, &frame, 1, 0); /* no tag: of another network */
    tag_put(&frame, 42);
    expect(&both, &frame, 1, 0);
    lp_put_u16be(frame.data + 14, 43);
    expect(&both, &frame, 1, 0);
    tcp_make(&frame, LP_ADDRESS_IPV4, 5672, RST);
    tag_put(&frame, 42);
    expect(&both, &frame, 0, 0);
    both_close(&both);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_the_link_go_once),
        cmocka_unit_test(who_asks_for_us_is_answered_by_us_alone_and_the_rest_of_arp_is_for_both),
        cmocka_unit_test(an_address_that_was_given_up_is_the_kernels),
        cmocka_unit_test(packets_that_are_not_ours_go_once),
        cmocka_unit_test(fragments_go_but_not_the_heads_of_what_is_for_a_listener),
        cmocka_unit_test(segments_for_nobody_go_and_those_for_a_listener_never_do),
        cmocka_unit_test(a_flood_at_a_listener_is_answered_with_cookies_and_never_goes),
        cmocka_unit_test(icmp_is_ours_as_far_as_it_is_about_us),
        cmocka_unit_test(neighbours_of_ipv6_are_for_both_but_who_asks_for_us),
        cmocka_unit_test(a_connection_that_we_opened_is_ours),
        cmocka_unit_test(a_port_with_a_vlan_hands_over_frames_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
