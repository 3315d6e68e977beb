/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way: the longest prefix, over links and routes (RFC 1122 3.3.1), and
 * by the port that has the source (3.3.4.2).
 */
#include "tests/unit/net/net_rig.h"

static const uint8_t second_ip4[4] = {192, 168, 7, 1};
static const uint8_t gateway[4] = {10, 0, 0, 254};
static const uint8_t near_gateway[4] = {10, 0, 0, 253};
static const uint8_t second_gateway[4] = {192, 168, 7, 254};

static struct lp_net_route
route_make(const uint8_t *to, uint8_t bits, const uint8_t *by, uint8_t port)
{
    struct lp_net_route route = {.destination = rig_prefix(LP_ADDRESS_IPV4, to, bits),
                                 .port = port};
    memcpy(route.gateway, by, 4);
    return route;
}

/* Two ports, three routes: everything, 172.16/12 by another gateway, 172.20/16 by the other port.
 */
static void
two_open(struct rig *rig)
{
    rig_init(rig);
    rig->wire_config.end_count = 3;
    rig->config.port_count = 2;
    rig->config.port[1].address_count = 1;
    rig->config.port[1].address[0] = rig_prefix(LP_ADDRESS_IPV4, second_ip4, 24);
    rig->config.route_count = 3;
    rig->config.route[0] = route_make((const uint8_t[]){0, 0, 0, 0}, 0, gateway, 0);
    rig->config.route[1] = route_make((const uint8_t[]){172, 16, 0, 0}, 12, near_gateway, 0);
    rig->config.route[2] = route_make((const uint8_t[]){172, 20, 0, 0}, 16, second_gateway, 1);
    rig_open(rig);
}

struct way {
    uint8_t remote[4];
    const uint8_t *local; /* NULL: not said */
    bool found;
    uint8_t port;
    const uint8_t *source;
    uint8_t hop[4];
};

static void
the_longest_prefix_says_which_port_and_gateway(void **state)
{
    (void)state;
    static const struct way ways[] = {
        {{10, 0, 0, 9}, NULL, true, 0, our_ip4, {10, 0, 0, 9}},
        {{192, 168, 7, 9}, NULL, true, 1, second_ip4, {192, 168, 7, 9}},
        {{8, 8, 8, 8}, NULL, true, 0, our_ip4, {10, 0, 0, 254}},
        {{172, 16, 0, 1}, NULL, true, 0, our_ip4, {10, 0, 0, 253}},
        {{172, 31, 255, 255}, NULL, true, 0, our_ip4, {10, 0, 0, 253}},
        {{172, 32, 0, 0}, NULL, true, 0, our_ip4, {10, 0, 0, 254}},
        {{172, 20, 1, 1}, NULL, true, 1, second_ip4, {192, 168, 7, 254}},
        /* The source says the port. */
        {{172, 20, 1, 1}, our_ip4, true, 0, our_ip4, {10, 0, 0, 253}},
        {{192, 168, 7, 9}, second_ip4, true, 1, second_ip4, {192, 168, 7, 9}},
        {{192, 168, 7, 9}, our_ip4, true, 0, our_ip4, {10, 0, 0, 254}},
        {{8, 8, 8, 8}, second_ip4, false, 0, NULL, {0}},
        /* Not one machine's. */
        {{10, 0, 0, 255}, NULL, false, 0, NULL, {0}},
        {{10, 0, 0, 0}, NULL, false, 0, NULL, {0}},
        {{255, 255, 255, 255}, NULL, false, 0, NULL, {0}},
        {{224, 0, 0, 1}, NULL, false, 0, NULL, {0}},
        {{127, 0, 0, 1}, NULL, false, 0, NULL, {0}},
        {{0, 0, 0, 0}, NULL, false, 0, NULL, {0}},
        /* Ourselves, whichever port has it. */
        {{10, 0, 0, 1}, NULL, false, 0, NULL, {0}},
        {{192, 168, 7, 1}, NULL, false, 0, NULL, {0}},
        {{192, 168, 7, 1}, our_ip4, false, 0, NULL, {0}},
        /* Not ours. */
        {{8, 8, 8, 8}, peer_ip4, false, 0, NULL, {0}},
    };
    struct rig rig;
    two_open(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(ways); i++) {
        const struct way *way = &ways[i];
        struct net_path path;
        uint8_t hop[16];
        const bool found = net_path_find(rig.net, LP_ADDRESS_IPV4, way->remote, way->local, &path);
        assert_int_equal(found, way->found);
        if (!found) {
            continue;
        }
        assert_int_equal(path.port, way->port);
        assert_int_equal(path.mtu_bytes, 1500);
        assert_memory_equal(path.local, way->source, 4);
        assert_memory_equal(path.remote, way->remote, 4);
        assert_true(net_next_hop(rig.net, &path, hop));
        assert_memory_equal(hop, way->hop, 4);
    }
    rig_close(&rig);
}

static void
without_a_default_route_what_is_not_near_has_no_way(void **state)
{
    (void)state;
    static const uint8_t far4[4] = {8, 8, 8, 8};
    static const uint8_t far6[16] = {0x20, 0x01, [15] = 9};
    struct rig rig;
    struct net_path path;
    rig_init(&rig);
    rig_open(&rig);
    assert_false(net_path_find(rig.net, LP_ADDRESS_IPV4, far4, NULL, &path));
    assert_false(net_path_find(rig.net, LP_ADDRESS_IPV6, far6, NULL, &path));
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV4, peer_ip4, NULL, &path));
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV6, peer_ip6, NULL, &path));
    rig_close(&rig);
}

static void
a_source_has_the_destinations_scope_and_the_longest_match(void **state)
{
    (void)state;
    static const uint8_t other6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    static const uint8_t near_other6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
    static const uint8_t link_local[16] = {0xfe, 0x80, [15] = 9};
    static const uint8_t far_site[16] = {0xfe, 0xc0, [15] = 9};
    static const uint8_t gateway6[16] = {0xfd, [15] = 0xfe};
    static const uint8_t other4[4] = {10, 0, 0, 200};
    static const uint8_t near_other4[4] = {10, 0, 0, 201};
    struct rig rig;
    struct net_path path;
    rig_init(&rig);
    rig.config.port[0].address_count = 4;
    rig.config.port[0].address[2] = rig_prefix(LP_ADDRESS_IPV6, other6, 64);
    rig.config.port[0].address[3] = rig_prefix(LP_ADDRESS_IPV4, other4, 24);
    rig.config.route_count = 1;
    rig.config.route[0].destination.family = LP_ADDRESS_IPV6;
    memcpy(rig.config.route[0].gateway, gateway6, 16);
    rig_open(&rig);
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV6, peer_ip6, NULL, &path));
    assert_memory_equal(path.local, our_ip6, 16);
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV6, near_other6, NULL, &path));
    assert_memory_equal(path.local, other6, 16);
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV6, link_local, NULL, &path));
    assert_memory_equal(path.local, our_link_local, 16);
    /* It begins like the link's address, but that is of no use beyond the link. */
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV6, far_site, NULL, &path));
    assert_memory_equal(path.local, our_ip6, 16);
    assert_true(net_path_find(rig.net, LP_ADDRESS_IPV4, near_other4, NULL, &path));
    assert_memory_equal(path.local, other4, 4);
    rig_close(&rig);
}

static void
the_way_back_is_by_the_port_and_address_that_were_asked(void **state)
{
    (void)state;
    static const uint8_t near_second[4] = {192, 168, 7, 20};
    struct rig rig;
    struct net_path path;
    two_open(&rig);
    struct net_packet packet = {
        .port = 1, .family = LP_ADDRESS_IPV4, .from = near_second, .to = second_ip4};
    assert_true(net_path_back(rig.net, &packet, &path));
    assert_int_equal(path.port, 1);
    assert_memory_equal(path.local, second_ip4, 4);
    assert_memory_equal(path.remote, near_second, 4);
    /* The other port has no route there, and it has not got our first address. */
    static const uint8_t far[4] = {8, 8, 8, 8};
    packet.from = far;
    assert_false(net_path_back(rig.net, &packet, &path));
    packet.from = near_second;
    packet.to = our_ip4;
    assert_false(net_path_back(rig.net, &packet, &path));
    rig_close(&rig);
}

/* RFC 3021: neither of the two is a broadcast, or the network. */
static void
on_a_link_of_two_the_other_can_be_talked_to(void **state)
{
    (void)state;
    static const uint8_t first[4] = {192, 168, 9, 0};
    static const uint8_t second[4] = {192, 168, 9, 1};
    struct rig rig;
    struct net_path path;
    for (uint32_t i = 0; i < 2; i++) {
        rig_init(&rig);
        rig.config.port[0].address[0] = rig_prefix(LP_ADDRESS_IPV4, i == 0 ? first : second, 31);
        rig_open(&rig);
        assert_true(net_path_find(rig.net, LP_ADDRESS_IPV4, i == 0 ? second : first, NULL, &path));
        rig_close(&rig);
    }
}

static void
prefixes_agree_bit_by_bit(void **state)
{
    (void)state;
    const uint8_t a[2] = {0xff, 0x80};
    const uint8_t b[2] = {0xff, 0xc0};
    assert_true(net_prefix_equal(a, b, 0));
    assert_true(net_prefix_equal(a, b, 8));
    assert_true(net_prefix_equal(a, b, 9));
    assert_false(net_prefix_equal(a, b, 10));
    assert_false(net_prefix_equal(a, b, 16));
}

static void
frames_for_the_gateway_have_its_mac_address_and_the_peers_ip_address(void **state)
{
    (void)state;
    static const uint8_t far[4] = {8, 8, 8, 8};
    static const uint8_t gateway_mac[6] = {2, 0, 0, 0, 0, 0xfe};
    struct rig rig;
    struct frame frame;
    rig_init(&rig);
    rig.config.route_count = 1;
    rig.config.route[0] = route_make((const uint8_t[]){0, 0, 0, 0}, 0, gateway, 0);
    rig.wire_config.end[1].promiscuous = true;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    rig_drain(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, far));
    const struct lp_nic_frame *asked = rig_hear(&rig);
    assert_non_null(asked);
    assert_memory_equal(asked->data + 38, gateway, 4);
    const struct frame_arp arp = {2, gateway_mac, gateway, our_ip4};
    frame_arp_make(&frame, our_mac, &arp);
    rig_say(&rig, &frame);
    const struct lp_nic_frame *sent = rig_hear(&rig);
    assert_non_null(sent);
    assert_memory_equal(sent->data, gateway_mac, 6);
    assert_memory_equal(sent->data + 30, far, 4);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_prefix_says_which_port_and_gateway),
        cmocka_unit_test(without_a_default_route_what_is_not_near_has_no_way),
        cmocka_unit_test(a_source_has_the_destinations_scope_and_the_longest_match),
        cmocka_unit_test(the_way_back_is_by_the_port_and_address_that_were_asked),
        cmocka_unit_test(on_a_link_of_two_the_other_can_be_talked_to),
        cmocka_unit_test(prefixes_agree_bit_by_bit),
        cmocka_unit_test(frames_for_the_gateway_have_its_mac_address_and_the_peers_ip_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
