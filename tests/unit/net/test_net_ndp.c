/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbour discovery: RFC 4861 7, duplicate address detection: RFC 4862 5.4
 * and 4429, and reports of groups: RFC 3810.
 */
#include "tests/unit/net/net_rig.h"

#define IP   FRAME_IP4
#define ICMP (FRAME_IP4 + 40u)

#define SOLICITED 0x40000000u
#define OVERRIDE  0x20000000u

static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t unspecified[16] = {0};
static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t our_group[16] = {0xff, 0x02, [11] = 1, [12] = 0xff, 0, 0, 1};
static const uint8_t our_group_mac[6] = {0x33, 0x33, 0xff, 0, 0, 1};

struct ndp_frame {
    uint8_t type;
    uint32_t flags;
    const uint8_t *from;
    const uint8_t *to;
    const uint8_t *target;
    const uint8_t *mac; /* NULL: no option */
};

static void
ndp_make(struct frame *frame, const uint8_t *to_mac, const struct ndp_frame *ndp)
{
    uint8_t body[32] = {0};
    body[0] = ndp->type;
    lp_put_u32be(body + 4, ndp->flags);
    memcpy(body + 8, ndp->target, 16);
    if (ndp->mac != NULL) {
        body[24] = ndp->type == 135 ? 1 : 2;
        body[25] = 1;
        memcpy(body + 26, ndp->mac, 6);
    }
    frame_ip6_make(frame, NET_PROTOCOL_ICMP6, body, ndp->mac != NULL ? 32 : 24);
    memcpy(frame->data, to_mac, 6);
    frame->data[IP + 7] = 255;
    memcpy(frame->data + IP + 8, ndp->from, 16);
    memcpy(frame->data + IP + 24, ndp->to, 16);
    frame_icmp6_fix(frame, ICMP);
}

static void
ndp_say(struct rig *rig, const uint8_t *to_mac, const struct ndp_frame *ndp)
{
    struct frame frame;
    ndp_make(&frame, to_mac, ndp);
    rig_say(rig, &frame);
}

static const struct ndp_frame asks = {135, 0, peer_ip6, our_group, our_ip6, peer_mac};
static const struct ndp_frame answers = {136,     SOLICITED | OVERRIDE, peer_ip6, our_ip6, peer_ip6,
                                         peer_mac};

/* The next frame of ours that is of this type of ICMPv6, or NULL. */
static const struct lp_nic_frame *
hear_type(struct rig *rig, uint8_t type)
{
    for (const struct lp_nic_frame *frame = rig_hear(rig); frame != NULL; frame = rig_hear(rig)) {
        if (frame_type(frame) == NET_TYPE_IPV6 && frame->data[IP + 6] == NET_PROTOCOL_ICMP6 &&
            frame->data[ICMP] == type) {
            return frame;
        }
    }
    return NULL;
}

/* ---- solicited ---- */

static void
who_asks_for_our_address_is_answered_and_known(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_promiscuous(&rig);
    ndp_say(&rig, our_group_mac, &asks);
    const struct lp_nic_frame *reply = hear_type(&rig, 136);
    assert_non_null(reply);
    assert_memory_equal(reply->data, peer_mac, 6);
    assert_int_equal(reply->data[IP + 7], 255);
    assert_memory_equal(reply->data + IP + 8, our_ip6, 16);
    assert_memory_equal(reply->data + IP + 24, peer_ip6, 16);
    assert_int_equal(get_u32(reply->data + ICMP + 4), SOLICITED | OVERRIDE);
    assert_memory_equal(reply->data + ICMP + 8, our_ip6, 16);
    assert_int_equal(reply->data[ICMP + 24], 2);
    assert_memory_equal(reply->data + ICMP + 26, our_mac, 6);
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV6, our_ip6, peer_ip6, NET_PROTOCOL_ICMP6, 32);
    assert_int_equal(net_sum(reply->data + ICMP, 32, pseudo), 0xffff);
    assert_true(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV6, peer_ip6) != 0);
    rig_close(&rig);
}

static void
who_asks_for_anothers_address_is_neither_answered_nor_known(void **state)
{
    (void)state;
    static const uint8_t other[16] = {0xfd, [13] = 7, [15] = 1}; /* of no group of ours */
    static const uint8_t same_group[16] = {0xfd, [11] = 7, [15] = 1};
    struct rig rig;
    rig_open_promiscuous(&rig);
    ndp_say(&rig, our_mac, &(struct ndp_frame){135, 0, peer_ip6, our_ip6, other, peer_mac});
    ndp_say(&rig, our_group_mac,
            &(struct ndp_frame){135, 0, peer_ip6, our_group, same_group, peer_mac});
    assert_null(hear_type(&rig, 136));
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV6, peer_ip6), 0);
    rig_close(&rig);
}

static void
a_packet_waits_for_the_answer_and_goes_where_it_says(void **state)
{
    (void)state;
    static const uint8_t peer_group_mac[6] = {0x33, 0x33, 0xff, 0, 0, 2};
    static const uint8_t peer_group[16] = {0xff, 0x02, [11] = 1, [12] = 0xff, 0, 0, 2};
    struct rig rig;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV6, peer_ip6));
    const struct lp_nic_frame *request = hear_type(&rig, 135);
    assert_non_null(request);
    assert_memory_equal(request->data, peer_group_mac, 6);
    assert_memory_equal(request->data + IP + 8, our_ip6, 16);
    assert_memory_equal(request->data + IP + 24, peer_group, 16);
    assert_int_equal(request->data[IP + 7], 255);
    assert_memory_equal(request->data + ICMP + 8, peer_ip6, 16);
    assert_int_equal(request->data[ICMP + 24], 1);
    assert_memory_equal(request->data + ICMP + 26, our_mac, 6);
    ndp_say(&rig, our_mac, &answers);
    const struct lp_nic_frame *sent = rig_hear(&rig);
    assert_non_null(sent);
    assert_memory_equal(sent->data, peer_mac, 6);
    assert_memory_equal(sent->data + IP + 24, peer_ip6, 16);
    rig_close(&rig);
}

static void
what_did_not_come_from_the_link_or_is_malformed_is_bad(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    rig_open_promiscuous(&rig);
    const uint64_t *bad = &rig.net->counters.ndp_bad;
    ndp_make(&frame, our_group_mac, &asks);
    frame.data[IP + 7] = 254; /* RFC 4861 7.1.1: it came over a router */
    rig_say(&rig, &frame);
    ndp_make(&frame, our_group_mac, &asks);
    frame.data[ICMP + 1] = 1; /* a code */
    frame_icmp6_fix(&frame, ICMP);
    rig_say(&rig, &frame);
    ndp_make(&frame, our_group_mac, &asks);
    frame.data[ICMP + 25] = 0; /* an option without length */
    frame_icmp6_fix(&frame, ICMP);
    rig_say(&rig, &frame);
    ndp_make(&frame, our_group_mac, &asks);
    frame.data[ICMP + 25] = 2; /* ... beyond the packet */
    frame_icmp6_fix(&frame, ICMP);
    rig_say(&rig, &frame);
    ndp_make(&frame, our_group_mac, &asks);
    frame.data[ICMP + 26] |= 1; /* a group's MAC address */
    frame_icmp6_fix(&frame, ICMP);
    rig_say(&rig, &frame);
    assert_int_equal(*bad, 5);
    /* A target that is a group. */
    ndp_say(&rig, our_group_mac,
            &(struct ndp_frame){135, 0, peer_ip6, our_group, all_nodes, peer_mac});
    /* Detection with the asker's address; and not to the group. */
    ndp_say(&rig, our_group_mac,
            &(struct ndp_frame){135, 0, unspecified, our_group, our_ip6, peer_mac});
    ndp_say(&rig, all_nodes_mac,
            &(struct ndp_frame){135, 0, unspecified, all_nodes, our_ip6, NULL});
    /* Solicited, and to everybody. */
    ndp_say(&rig, all_nodes_mac,
            &(struct ndp_frame){136, SOLICITED, peer_ip6, all_nodes, peer_ip6, peer_mac});
    assert_int_equal(*bad, 9);
    /* An advertisement from nobody. */
    ndp_say(&rig, all_nodes_mac,
            &(struct ndp_frame){136, OVERRIDE, unspecified, all_nodes, peer_ip6, peer_mac});
    assert_int_equal(rig.net->counters.icmp_bad, 1);
    /* Cut anywhere. */
    ndp_make(&frame, our_group_mac, &asks);
    for (uint8_t bytes = 8; bytes < 24; bytes++) {
        frame.data[IP + 5] = bytes;
        frame.bytes = ICMP + bytes;
        frame_icmp6_fix(&frame, ICMP);
        rig_say(&rig, &frame);
    }
    assert_int_equal(*bad, 9 + 16);
    assert_null(hear_type(&rig, 136));
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV6, peer_ip6), 0);
    rig_close(&rig);
}

static void
unknown_options_are_stepped_over_but_not_without_end(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_promiscuous(&rig);
    for (uint32_t count = 0; count < 40; count += 13) {
        struct frame frame;
        uint8_t body[24 + 40 * 8] = {135};
        memcpy(body + 8, our_ip6, 16);
        for (uint32_t i = 0; i < count; i++) {
            body[24 + i * 8] = 200;
            body[25 + i * 8] = 1;
        }
        frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, body, 24 + count * 8);
        frame.data[IP + 7] = 255;
        frame_icmp6_fix(&frame, ICMP);
        rig_say(&rig, &frame);
        assert_int_equal(hear_type(&rig, 136) != NULL, count <= 32);
    }
    rig_close(&rig);
}

/* ---- RFC 4861 7.2.5: what an advertisement does to what is known ---- */

struct change {
    bool reachable;  /* before; else stale */
    uint32_t flags;  /* of an advertisement with another MAC address */
    bool other;      /* whether the other address is used then */
    bool asked_soon; /* whether it is asked itself, some seconds after it is used */
};

static void
an_advertisement_changes_what_its_flags_say(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {true, 0, false, true}, /* not overridden, but doubted */
        {true, OVERRIDE, true, true},
        {true, SOLICITED, false, true},
        {true, SOLICITED | OVERRIDE, true,
         true}, /* nobody had asked: stricter than RFC 4861 7.2.5 */
        {false, 0, false, true},
        {false, OVERRIDE, true, true},
        {false, SOLICITED, false, true},
        {false, SOLICITED | OVERRIDE, true, true},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(changes); i++) {
        const struct change *change = &changes[i];
        struct rig rig;
        rig_open_promiscuous(&rig);
        ndp_say(&rig, our_group_mac, &asks);
        if (change->reachable) {
            ndp_say(&rig, our_mac, &answers);
        }
        const bool solicited = (change->flags & SOLICITED) != 0;
        ndp_say(&rig, solicited ? our_mac : all_nodes_mac,
                &(struct ndp_frame){136, change->flags, peer_ip6, solicited ? our_ip6 : all_nodes,
                                    peer_ip6, other_mac});
        rig_drain(&rig);
        assert_true(rig_send(&rig, LP_ADDRESS_IPV6, peer_ip6));
        const struct lp_nic_frame *sent = rig_hear(&rig);
        assert_non_null(sent);
        assert_memory_equal(sent->data, change->other ? other_mac : peer_mac, 6);
        rig_pass(&rig, 5200 * MILLISECOND);
        const struct lp_nic_frame *asked = hear_type(&rig, 135);
        if ((asked != NULL) != change->asked_soon) {
            fail_msg("case %u", i);
        }
        rig_close(&rig);
    }
}

static void
an_advertisement_that_nobody_waits_for_makes_no_neighbour(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_promiscuous(&rig);
    ndp_say(&rig, our_mac, &answers);
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV6, peer_ip6), 0);
    rig_close(&rig);
}

static void
an_answer_without_an_address_ends_no_wait_but_confirms(void **state)
{
    (void)state;
    struct rig rig;
    struct ndp_frame without = answers;
    without.mac = NULL;
    rig_open_promiscuous(&rig);
    assert_true(rig_send(&rig, LP_ADDRESS_IPV6, peer_ip6));
    rig_drain(&rig);
    ndp_say(&rig, our_mac, &without);
    assert_null(rig_hear(&rig));
    ndp_say(&rig, our_mac, &answers);
    assert_non_null(rig_hear(&rig));
    for (uint32_t i = 0; i < 10; i++) {
        ndp_say(&rig, our_mac, &without);
        rig_pass(&rig, 8 * SECOND);
        assert_true(rig_send(&rig, LP_ADDRESS_IPV6, peer_ip6));
        assert_null(hear_type(&rig, 135));
    }
    rig_close(&rig);
}

static void
what_routers_say_changes_nothing(void **state)
{
    (void)state;
    static const uint8_t types[] = {133, 134, 137};
    struct rig rig;
    rig_open_promiscuous(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(types); i++) {
        struct frame frame;
        uint8_t body[56] = {types[i], [4] = 64, 0, 7, 8, [16] = 3, 4, 64, 0xc0};
        frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, body, sizeof(body));
        frame.data[IP + 7] = 255;
        frame_icmp6_fix(&frame, ICMP);
        rig_say(&rig, &frame);
    }
    assert_null(rig_hear(&rig));
    assert_int_equal(rig.net->port[0].address_count, 3);
    rig_close(&rig);
}

/* ---- RFC 4862 5.4 ---- */

static void
an_address_is_asked_for_once_and_announced_twice(void **state)
{
    (void)state;
    struct rig rig;
    uint32_t probes = 0;
    uint32_t announced = 0;
    rig_init(&rig);
    rig.wire_config.end[1].promiscuous = true;
    rig.config.addresses_wait = true;
    rig_open(&rig);
    for (uint32_t i = 0; i < 120; i++) {
        rig_pass(&rig, 100 * MILLISECOND);
        for (const struct lp_nic_frame *f = rig_hear(&rig); f != NULL; f = rig_hear(&rig)) {
            if (frame_type(f) != NET_TYPE_IPV6 || memcmp(f->data + ICMP + 8, our_ip6, 16) != 0) {
                continue;
            }
            if (f->data[ICMP] == 135) {
                assert_int_equal(announced, 0);
                assert_memory_equal(f->data, our_group_mac, 6);
                assert_memory_equal(f->data + IP + 8, unspecified, 16);
                assert_memory_equal(f->data + IP + 24, our_group, 16);
                assert_int_equal(f->bytes, ICMP + 24); /* no option */
                probes++;
            } else if (f->data[ICMP] == 136) {
                assert_int_equal(probes, 1);
                assert_memory_equal(f->data + IP + 24, all_nodes, 16);
                assert_int_equal(get_u32(f->data + ICMP + 4), OVERRIDE);
                announced++;
            }
        }
    }
    assert_int_equal(probes, 1);
    assert_int_equal(announced, 2);
    rig_close(&rig);
}

static void
an_address_that_another_has_or_wants_is_given_up(void **state)
{
    (void)state;
    static const struct ndp_frame has = {136, OVERRIDE, our_ip6, all_nodes, our_ip6, peer_mac};
    static const struct ndp_frame wants = {135, 0, unspecified, our_group, our_ip6, NULL};
    for (uint32_t i = 0; i < 2; i++) {
        struct rig rig;
        rig_init(&rig);
        rig.wire_config.end[1].promiscuous = true;
        rig_open(&rig);
        struct ndp_frame said = i == 0 ? has : wants;
        static const uint8_t from[16] = {0xfe, 0x80, [15] = 2};
        said.from = i == 0 ? from : unspecified;
        ndp_say(&rig, i == 0 ? all_nodes_mac : our_group_mac, &said);
        assert_int_equal(rig.net->port[0].addresses[1].state, NET_DUPLICATE);
        rig_pass(&rig, 8000 * MILLISECOND);
        rig_drain(&rig);
        ndp_say(&rig, our_group_mac, &asks);
        assert_null(hear_type(&rig, 136));
        /* The link's own address is another one. */
        assert_int_equal(rig.net->port[0].addresses[2].state, NET_PREFERRED);
        /* And after a while nobody has it any more. */
        rig_pass(&rig, 15000 * MILLISECOND);
        assert_int_equal(rig.net->port[0].addresses[1].state, NET_PREFERRED);
        rig_drain(&rig);
        ndp_say(&rig, our_group_mac, &asks);
        assert_non_null(hear_type(&rig, 136));
        rig_close(&rig);
    }
}

static void
our_own_words_that_come_back_are_no_conflict(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    rig_init(&rig);
    rig_open(&rig);
    ndp_make(&frame, our_group_mac,
             &(struct ndp_frame){135, 0, unspecified, our_group, our_ip6, NULL});
    memcpy(frame.data + 6, our_mac, 6);
    rig_say(&rig, &frame);
    assert_int_equal(rig.net->counters.arp_conflicts, 0);
    rig_close(&rig);
}

static void
who_wants_an_address_that_is_ours_is_told(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_promiscuous(&rig);
    ndp_say(&rig, our_group_mac,
            &(struct ndp_frame){135, 0, unspecified, our_group, our_ip6, NULL});
    const struct lp_nic_frame *told = hear_type(&rig, 136);
    assert_non_null(told);
    assert_memory_equal(told->data + IP + 24, all_nodes, 16);
    assert_int_equal(get_u32(told->data + ICMP + 4), OVERRIDE);
    assert_int_equal(rig.net->port[0].addresses[1].state, NET_PREFERRED);
    rig_close(&rig);
}

static void
while_it_may_be_anothers_an_address_does_not_override(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.wire_config.end[1].promiscuous = true;
    rig_open(&rig);
    ndp_say(&rig, our_group_mac, &asks);
    const struct lp_nic_frame *reply = hear_type(&rig, 136);
    assert_non_null(reply);
    assert_int_equal(get_u32(reply->data + ICMP + 4), SOLICITED); /* RFC 4429 3.3 */
    rig_close(&rig);
}

static void
the_links_own_address_is_made_from_the_mac_address(void **state)
{
    (void)state;
    static const uint8_t configured[16] = {0xfe, 0x80, [15] = 0x77};
    struct rig rig;
    rig_open_promiscuous(&rig);
    assert_int_equal(rig.net->port[0].address_count, 3);
    assert_memory_equal(rig.net->port[0].addresses[2].ip, our_link_local, 16);
    assert_int_equal(rig.net->port[0].addresses[2].bits, 64);
    rig_close(&rig);
    rig_init(&rig);
    rig.config.port[0].address[0] = rig_prefix(LP_ADDRESS_IPV6, configured, 64);
    rig_open(&rig);
    assert_int_equal(rig.net->port[0].address_count, 2); /* the operator's, then */
    rig_close(&rig);
}

/* ---- RFC 3810 ---- */

static void
groups_are_reported_before_they_are_used_and_when_a_router_asks(void **state)
{
    (void)state;
    static const uint8_t routers[16] = {0xff, 0x02, [15] = 0x16};
    static const uint8_t router[16] = {0xfe, 0x80, [15] = 0xfe};
    struct rig rig;
    struct frame frame;
    rig_open_promiscuous(&rig);
    uint8_t body[28] = {130};
    frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, body, sizeof(body));
    memcpy(frame.data, all_nodes_mac, 6);
    memcpy(frame.data + IP + 8, router, 16);
    memcpy(frame.data + IP + 24, all_nodes, 16);
    frame.data[IP + 7] = 1;
    frame_icmp6_fix(&frame, ICMP);
    rig_say(&rig, &frame);
    const struct lp_nic_frame *report = rig_hear(&rig);
    assert_non_null(report);
    const uint8_t *ip = report->data + IP;
    static const uint8_t alert[8] = {58, 0, 5, 2, 0, 0, 1, 0};
    assert_int_equal(ip[6], 0);
    assert_int_equal(ip[7], 1);
    assert_memory_equal(ip + 8, our_link_local, 16);
    assert_memory_equal(ip + 24, routers, 16);
    assert_memory_equal(ip + 40, alert, 8);
    assert_int_equal(ip[48], 143);
    assert_int_equal(get_u16(ip + 54), 2); /* ours, and the link's */
    assert_memory_equal(ip + 60, our_group, 16);
    const uint32_t bytes = report->bytes - IP - 48;
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV6, our_link_local, routers, NET_PROTOCOL_ICMP6, bytes);
    assert_int_equal(net_sum(ip + 48, bytes, pseudo), 0xffff);
    /* Not from beyond the link, and not as often as somebody likes. */
    frame.data[IP + 7] = 2;
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    frame.data[IP + 7] = 1;
    uint32_t reports = 0;
    for (uint32_t i = 0; i < 100; i++) {
        rig_say(&rig, &frame);
        reports += rig_hear(&rig) != NULL;
    }
    assert_in_range(reports, 1, 10);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_for_our_address_is_answered_and_known),
        cmocka_unit_test(who_asks_for_anothers_address_is_neither_answered_nor_known),
        cmocka_unit_test(a_packet_waits_for_the_answer_and_goes_where_it_says),
        cmocka_unit_test(what_did_not_come_from_the_link_or_is_malformed_is_bad),
        cmocka_unit_test(unknown_options_are_stepped_over_but_not_without_end),
        cmocka_unit_test(an_advertisement_changes_what_its_flags_say),
        cmocka_unit_test(an_advertisement_that_nobody_waits_for_makes_no_neighbour),
        cmocka_unit_test(an_answer_without_an_address_ends_no_wait_but_confirms),
        cmocka_unit_test(what_routers_say_changes_nothing),
        cmocka_unit_test(an_address_is_asked_for_once_and_announced_twice),
        cmocka_unit_test(an_address_that_another_has_or_wants_is_given_up),
        cmocka_unit_test(our_own_words_that_come_back_are_no_conflict),
        cmocka_unit_test(who_wants_an_address_that_is_ours_is_told),
        cmocka_unit_test(while_it_may_be_anothers_an_address_does_not_override),
        cmocka_unit_test(the_links_own_address_is_made_from_the_mac_address),
        cmocka_unit_test(groups_are_reported_before_they_are_used_and_when_a_router_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
