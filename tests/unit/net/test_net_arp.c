/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet and ARP: RFC 826, RFC 5227; what a frame has to be to be looked at.
 */
#include "tests/unit/net/net_rig.h"

/* ---- Ethernet ---- */

static void
frames_that_are_cut_short_or_anothers_are_counted_and_dropped(void **state)
{
    (void)state;
    static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 9};
    static const uint8_t group_mac[6] = {1, 0, 0x5e, 0, 0, 1};
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    struct rig rig;
    struct frame frame;
    rig_open_settled(&rig);
    const struct lp_net_counters *counters = lp_net_counters_of(rig.net);
    frame_arp_make(&frame, all_macs, &arp);
    for (frame.bytes = 1; frame.bytes < 14; frame.bytes++) {
        rig_say(&rig, &frame);
        assert_int_equal(counters->frames_short, frame.bytes);
    }
    frame_arp_make(&frame, other_mac, &arp);
    rig_say(&rig, &frame);
    frame_arp_make(&frame, group_mac, &arp);
    rig_say(&rig, &frame);
    frame_arp_make(&frame, all_macs, &arp);
    frame.data[6] |= 1; /* a group never sends */
    rig_say(&rig, &frame);
    assert_int_equal(counters->frames_foreign, 3);
    frame_arp_make(&frame, all_macs, &arp);
    lp_put_u16be(frame.data + 12, 0x88cc);
    rig_say(&rig, &frame);
    lp_put_u16be(frame.data + 12, 46); /* 802.3 */
    rig_say(&rig, &frame);
    assert_int_equal(counters->frames_unknown, 2);
    assert_null(rig_hear(&rig));
    assert_int_equal(counters->arp_received, 0);
    rig_close(&rig);
}

/* The frame with a tag of 802.1Q. */
static void
tag_put(struct frame *frame, uint16_t tag)
{
    memmove(frame->data + 16, frame->data + 12, frame->bytes - 12);
    lp_put_u16be(frame->data + 12, NET_TYPE_VLAN);
    lp_put_u16be(frame->data + 14, tag);
    frame->bytes += 4;
}

static void
a_port_with_a_vlan_hears_and_speaks_that_vlan_only(void **state)
{
    (void)state;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    struct rig rig;
    struct frame frame;
    rig_init(&rig);
    rig.config.port[0].vlan = 42;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    rig_drain(&rig);
    frame_arp_make(&frame, all_macs, &arp);
    rig_say(&rig, &frame); /* no tag */
    tag_put(&frame, 43);
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    assert_int_equal(rig.net->counters.frames_foreign, 2);
    lp_put_u16be(frame.data + 14, 0xe000 | 42); /* whatever its priority */
    rig_say(&rig, &frame);
    const struct lp_nic_frame *reply = rig_hear(&rig);
    assert_non_null(reply);
    assert_int_equal(frame_type(reply), NET_TYPE_VLAN);
    assert_int_equal(get_u16(reply->data + 14), 42);
    assert_int_equal(get_u16(reply->data + 16), NET_TYPE_ARP);
    frame.bytes = 16; /* a tag, and nothing behind it */
    rig_say(&rig, &frame);
    assert_int_equal(rig.net->counters.frames_short, 1);
    rig_close(&rig);
}

static void
a_port_without_a_vlan_hears_priorities_but_no_vlans(void **state)
{
    (void)state;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    struct rig rig;
    struct frame frame;
    rig_open_settled(&rig);
    frame_arp_make(&frame, all_macs, &arp);
    tag_put(&frame, 42);
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    lp_put_u16be(frame.data + 14, 0x6000); /* number 0 is a priority only */
    rig_say(&rig, &frame);
    assert_non_null(rig_hear(&rig));
    rig_close(&rig);
}

/* ---- RFC 826 ---- */

static void
who_asks_for_our_address_is_answered_and_known(void **state)
{
    (void)state;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    struct rig rig;
    rig_open_settled(&rig);
    rig_say_arp(&rig, &arp);
    const struct lp_nic_frame *reply = rig_hear(&rig);
    assert_non_null(reply);
    assert_int_equal(frame_type(reply), NET_TYPE_ARP);
    assert_true(reply->bytes >= 60);
    assert_memory_equal(reply->data, peer_mac, 6);
    assert_memory_equal(reply->data + 6, our_mac, 6);
    static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 2};
    assert_memory_equal(reply->data + 14, head, 8);
    assert_memory_equal(reply->data + 22, our_mac, 6);
    assert_memory_equal(reply->data + 28, our_ip4, 4);
    assert_memory_equal(reply->data + 32, peer_mac, 6);
    assert_memory_equal(reply->data + 38, peer_ip4, 4);
    assert_true(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4) != 0);
    rig_close(&rig);
}

static void
who_asks_for_anothers_address_is_neither_answered_nor_known(void **state)
{
    (void)state;
    static const uint8_t other[4] = {10, 0, 0, 77};
    const struct frame_arp arp = {1, peer_mac, peer_ip4, other};
    struct rig rig;
    rig_open_settled(&rig);
    rig_say_arp(&rig, &arp);
    assert_null(rig_hear(&rig));
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, peer_ip4), 0);
    rig_close(&rig);
}

static void
an_address_of_another_link_is_not_learned(void **state)
{
    (void)state;
    static const uint8_t far[4] = {11, 0, 0, 2};
    const struct frame_arp arp = {1, peer_mac, far, our_ip4};
    struct rig rig;
    rig_open_settled(&rig);
    rig_say_arp(&rig, &arp);
    assert_non_null(rig_hear(&rig)); /* answered, but not remembered */
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, far), 0);
    rig_close(&rig);
}

struct spoil {
    uint32_t at;
    uint8_t value;
};

static void
what_is_not_arp_for_ipv4_over_ethernet_is_bad(void **state)
{
    (void)state;
    static const struct spoil spoils[] = {
        {15, 6},   /* another kind of link */
        {17, 1},   /* another protocol */
        {18, 8},   /* another length of MAC addresses */
        {19, 16},  /* ... of addresses */
        {21, 3},   /* reverse ARP */
        {21, 0},   /* nothing */
        {22, 3},   /* a group's MAC address */
        {28, 127}, /* loopback */
        {28, 224}, /* a group */
    };
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    struct rig rig;
    struct frame frame;
    rig_open_settled(&rig);
    const uint64_t *bad = &rig.net->counters.arp_bad;
    for (uint32_t i = 0; i < LP_COUNT_OF(spoils); i++) {
        frame_arp_make(&frame, all_macs, &arp);
        frame.data[spoils[i].at] = spoils[i].value;
        rig_say(&rig, &frame);
        assert_int_equal(*bad, i + 1);
    }
    for (uint32_t bytes = 14; bytes < 42; bytes++) {
        frame_arp_make(&frame, all_macs, &arp);
        frame.bytes = bytes;
        rig_say(&rig, &frame);
    }
    assert_int_equal(*bad, LP_COUNT_OF(spoils) + 28);
    /* A probe that answers is none. */
    const struct frame_arp probe = {2, peer_mac, (const uint8_t[]){0, 0, 0, 0}, our_ip4};
    frame_arp_make(&frame, our_mac, &probe);
    rig_say(&rig, &frame);
    assert_int_equal(*bad, LP_COUNT_OF(spoils) + 29);
    assert_null(rig_hear(&rig));
    rig_close(&rig);
}

/* ---- RFC 5227 ---- */

static uint32_t
count_arp(struct rig *rig, const uint8_t *sender)
{
    uint32_t count = 0;
    for (const struct lp_nic_frame *frame = rig_hear(rig); frame != NULL; frame = rig_hear(rig)) {
        count += frame_type(frame) == NET_TYPE_ARP && memcmp(frame->data + 28, sender, 4) == 0 &&
                 memcmp(frame->data + 38, our_ip4, 4) == 0 && frame->data[21] == 1 &&
                 memcmp(frame->data, all_macs, 6) == 0;
    }
    return count;
}

static const uint8_t nobody[4] = {0, 0, 0, 0};

static void
an_address_is_probed_three_times_and_announced_twice(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.config.addresses_wait = true;
    rig_open(&rig);
    uint32_t probes = 0;
    uint64_t passed_ns = 0;
    while (passed_ns < 20 * SECOND && rig.net->port[0].addresses[0].state == NET_TENTATIVE) {
        rig_pass(&rig, 100 * MILLISECOND);
        passed_ns += 100 * MILLISECOND;
        if (rig.net->port[0].addresses[0].state == NET_TENTATIVE) {
            probes += count_arp(&rig, nobody);
        }
    }
    assert_int_equal(probes, 3);
    /* PROBE_MIN twice and ANNOUNCE_WAIT at least; PROBE_WAIT and PROBE_MAX at most. */
    assert_in_range(passed_ns, 4 * SECOND, 7 * SECOND + 200 * MILLISECOND);
    uint32_t announced = count_arp(&rig, our_ip4);
    rig_pass(&rig, 1900 * MILLISECOND);
    assert_int_equal(announced + count_arp(&rig, our_ip4), 1);
    rig_pass(&rig, 200 * MILLISECOND);
    assert_int_equal(count_arp(&rig, our_ip4), 1);
    rig_pass(&rig, 30 * SECOND);
    assert_int_equal(count_arp(&rig, our_ip4), 0);
    rig_close(&rig);
}

static void
an_address_that_waits_is_not_used_and_not_answered_for(void **state)
{
    (void)state;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    struct rig rig;
    struct frame frame;
    rig_init(&rig);
    rig.config.addresses_wait = true;
    rig_open(&rig);
    frame_arp_make(&frame, all_macs, &arp);
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    assert_false(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    rig_pass(&rig, RIG_SETTLE_NS);
    rig_drain(&rig);
    rig_say(&rig, &frame);
    assert_non_null(rig_hear(&rig));
    assert_true(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    rig_close(&rig);
}

static void
an_address_that_does_not_wait_is_answered_for_at_once(void **state)
{
    (void)state;
    struct rig rig;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    rig_init(&rig);
    rig_open(&rig);
    rig_say_arp(&rig, &arp);
    assert_non_null(rig_hear(&rig));
    rig_close(&rig);
}

static void
an_address_that_another_has_is_given_up(void **state)
{
    (void)state;
    /* It answers our probe; or it speaks; or it probes for the same. */
    static const struct frame_arp words[] = {
        {2, peer_mac, our_ip4, nobody},
        {1, peer_mac, our_ip4, peer_ip4},
        {1, peer_mac, nobody, our_ip4},
    };
    for (uint32_t i = 0; i < LP_COUNT_OF(words); i++) {
        struct rig rig;
        rig_init(&rig);
        rig_open(&rig);
        rig_pass(&rig, SECOND);
        rig_say_arp(&rig, &words[i]);
        assert_int_equal(rig.net->counters.arp_conflicts, 1);
        assert_int_equal(rig.net->port[0].addresses[0].state, NET_DUPLICATE);
        rig_drain(&rig);
        rig_pass(&rig, RIG_SETTLE_NS);
        assert_int_equal(count_arp(&rig, our_ip4), 0);
        const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
        rig_say_arp(&rig, &arp);
        assert_null(rig_hear(&rig));
        assert_false(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
        rig_close(&rig);
    }
}

static uint8_t
state_of(const struct rig *rig)
{
    return rig->net->port[0].addresses[0].state;
}

/* RFC 5227 2.1.1: what was forged, or another's for a while, is ours again without an operator. */
static void
an_address_that_was_given_up_is_asked_for_again(void **state)
{
    (void)state;
    const struct frame_arp has = {2, peer_mac, our_ip4, nobody};
    const struct frame_arp asks = {1, peer_mac, peer_ip4, our_ip4};
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    rig_pass(&rig, SECOND);
    rig_say_arp(&rig, &has);
    assert_int_equal(state_of(&rig), NET_DUPLICATE);
    rig_drain(&rig);
    rig_pass(&rig, 9 * SECOND);
    assert_int_equal(count_arp(&rig, our_ip4), 0);
    rig_pass(&rig, 3 * SECOND);
    /* It is most likely another's still: asked for, and not used. */
    assert_int_equal(state_of(&rig), NET_RETRYING);
    rig_drain(&rig);
    rig_say_arp(&rig, &asks);
    assert_null(rig_hear(&rig));
    assert_false(rig_send(&rig, LP_ADDRESS_IPV4, peer_ip4));
    rig_pass(&rig, 10 * SECOND);
    assert_int_equal(state_of(&rig), NET_PREFERRED);
    rig_drain(&rig);
    rig_say_arp(&rig, &asks);
    assert_non_null(rig_hear(&rig));
    assert_int_equal(rig.net->port[0].addresses[0].conflicts, 0);
    rig_close(&rig);
}

/* RFC 5227 2.1.1, MAX_CONFLICTS and RATE_LIMIT_INTERVAL: the other one is not asked for ever
 * faster. */
static void
an_address_that_stays_anothers_is_asked_for_once_a_minute(void **state)
{
    (void)state;
    const struct frame_arp has = {2, peer_mac, our_ip4, nobody};
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    for (uint32_t conflicts = 1; conflicts <= 20; conflicts++) {
        const uint64_t least_ns = (conflicts == 1 ? 0 : conflicts <= 10 ? 10 : 60) * SECOND;
        const uint64_t before_ns = rig.clock.now_ns;
        const uint64_t probes = rig.net->counters.arp_sent;
        do {
            rig_pass(&rig, SECOND / 4);
            assert_true(rig.clock.now_ns - before_ns < least_ns + 4 * SECOND);
        } while (rig.net->counters.arp_sent == probes);
        assert_true(rig.clock.now_ns - before_ns >= least_ns);
        rig_say_arp(&rig, &has);
        assert_int_equal(state_of(&rig), NET_DUPLICATE);
        assert_int_equal(rig.net->counters.arp_conflicts, conflicts);
    }
    rig_close(&rig);
}

static void
our_own_probe_that_comes_back_is_no_conflict(void **state)
{
    (void)state;
    const struct frame_arp arp = {1, our_mac, nobody, our_ip4};
    struct rig rig;
    rig_init(&rig);
    rig_open(&rig);
    rig_say_arp(&rig, &arp);
    assert_int_equal(rig.net->counters.arp_conflicts, 0);
    rig_close(&rig);
}

static void
an_address_that_is_ours_is_defended_once_in_ten_seconds(void **state)
{
    (void)state;
    const struct frame_arp arp = {1, peer_mac, our_ip4, our_ip4};
    struct rig rig;
    struct frame frame;
    rig_open_settled(&rig);
    frame_arp_make(&frame, all_macs, &arp);
    for (uint32_t i = 0; i < 5; i++) {
        rig_say(&rig, &frame);
    }
    assert_int_equal(rig.net->counters.arp_conflicts, 5);
    assert_int_equal(count_arp(&rig, our_ip4), 1);
    assert_int_equal(rig.net->port[0].addresses[0].state, NET_PREFERRED);
    rig_pass(&rig, 10 * SECOND);
    rig_say(&rig, &frame);
    assert_int_equal(count_arp(&rig, our_ip4), 1);
    rig_close(&rig);
}

static void
a_probe_for_our_address_is_answered(void **state)
{
    (void)state;
    const struct frame_arp arp = {1, peer_mac, nobody, our_ip4};
    struct rig rig;
    rig_open_settled(&rig);
    rig_say_arp(&rig, &arp);
    const struct lp_nic_frame *reply = rig_hear(&rig);
    assert_non_null(reply);
    assert_memory_equal(reply->data + 28, our_ip4, 4);
    assert_memory_equal(reply->data, peer_mac, 6);
    assert_int_equal(net_neighbour_find(rig.net, 0, LP_ADDRESS_IPV4, nobody), 0);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_that_are_cut_short_or_anothers_are_counted_and_dropped),
        cmocka_unit_test(a_port_with_a_vlan_hears_and_speaks_that_vlan_only),
        cmocka_unit_test(a_port_without_a_vlan_hears_priorities_but_no_vlans),
        cmocka_unit_test(who_asks_for_our_address_is_answered_and_known),
        cmocka_unit_test(who_asks_for_anothers_address_is_neither_answered_nor_known),
        cmocka_unit_test(an_address_of_another_link_is_not_learned),
        cmocka_unit_test(what_is_not_arp_for_ipv4_over_ethernet_is_bad),
        cmocka_unit_test(an_address_is_probed_three_times_and_announced_twice),
        cmocka_unit_test(an_address_that_waits_is_not_used_and_not_answered_for),
        cmocka_unit_test(an_address_that_does_not_wait_is_answered_for_at_once),
        cmocka_unit_test(an_address_that_another_has_is_given_up),
        cmocka_unit_test(an_address_that_was_given_up_is_asked_for_again),
        cmocka_unit_test(an_address_that_stays_anothers_is_asked_for_once_a_minute),
        cmocka_unit_test(our_own_probe_that_comes_back_is_no_conflict),
        cmocka_unit_test(an_address_that_is_ours_is_defended_once_in_ten_seconds),
        cmocka_unit_test(a_probe_for_our_address_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
