/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPv4 and ICMP: RFC 791, 792, 1122 3.2; what comes in, what is answered, what
 * goes out.
 */
#include "tests/unit/net/net_rig.h"

#define IP  FRAME_IP4
#define L4  (FRAME_IP4 + 20u)
#define TCP 6u

static uint32_t
tcp_make(uint8_t *tcp)
{
    memset(tcp, 0, 20);
    lp_put_u16be(tcp, 4000);
    lp_put_u16be(tcp + 2, 81); /* nobody listens */
    tcp[12] = 0x50;
    tcp[13] = 0x02;
    const uint32_t pseudo = net_sum_pseudo(LP_ADDRESS_IPV4, peer_ip4, our_ip4, TCP, 20);
    lp_put_u16be(tcp + 16, (uint16_t)~net_sum(tcp, 20, pseudo));
    return 20;
}

static void
say_echo(struct rig *rig, struct frame *frame)
{
    uint8_t icmp[64];
    const uint32_t bytes = icmp_echo_make(icmp, 32);
    frame_ip4_make(frame, NET_PROTOCOL_ICMP, icmp, bytes);
    rig_say(rig, frame);
}

/* ---- what comes in ---- */

struct spoil {
    uint32_t at;
    uint8_t value;
    uint64_t counter_offset;
};
#define COUNTER(name) offsetof(struct lp_net_counters, name)

static uint64_t
counter(const struct rig *rig, uint64_t offset)
{
    uint64_t value;
    memcpy(&value, (const uint8_t *)&rig->net->counters + offset, sizeof(value));
    return value;
}

static void
what_is_no_packet_for_us_is_counted_and_dropped(void **state)
{
    (void)state;
    static const struct spoil spoils[] = {
        {IP, 0x55, COUNTER(ip_bad)},         /* RFC 1122 3.2.1.1: another version */
        {IP, 0x44, COUNTER(ip_bad)},         /* a header of 16 bytes */
        {IP, 0x4f, COUNTER(ip_bad)},         /* ... longer than the packet */
        {IP + 3, 19, COUNTER(ip_bad)},       /* a packet shorter than its header */
        {IP + 3, 61, COUNTER(ip_bad)},       /* ... longer than the frame */
        {IP + 12, 0, COUNTER(ip_foreign)},   /* from nobody */
        {IP + 12, 127, COUNTER(ip_foreign)}, /* from loopback */
        {IP + 12, 224, COUNTER(ip_foreign)}, /* from a group */
        {IP + 12, 255, COUNTER(ip_foreign)}, /* from what is reserved */
        {IP + 15, 255, COUNTER(ip_foreign)}, /* from everybody on the link */
        {IP + 15, 1, COUNTER(ip_foreign)},   /* from ourselves */
        {IP + 19, 9, COUNTER(ip_foreign)},   /* for somebody else */
        {IP + 16, 224, COUNTER(ip_foreign)}, /* for a group */
        {IP + 6, 0x20, COUNTER(ip_fragments)}, {IP + 6, 0x60, COUNTER(ip_fragments)},
        {IP + 7, 1, COUNTER(ip_fragments)},    {IP + 6, 0x1f, COUNTER(ip_fragments)},
    };
    struct rig rig;
    rig_open_settled(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(spoils); i++) {
        uint8_t icmp[16];
        struct frame frame;
        const uint64_t before = counter(&rig, spoils[i].counter_offset);
        frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, icmp_echo_make(icmp, 8));
        frame.data[spoils[i].at] = spoils[i].value;
        if (spoils[i].at != IP || spoils[i].value != 0x4f) {
            frame_ip4_fix(&frame);
        }
        rig_say(&rig, &frame);
        if (counter(&rig, spoils[i].counter_offset) != before + 1 || rig_hear(&rig) != NULL) {
            fail_msg("spoil %u", i);
        }
    }
    rig_close(&rig);
}

static void
a_packet_that_is_cut_anywhere_is_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint8_t icmp[16];
    rig_open_settled(&rig);
    rig_introduce(&rig);
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, icmp_echo_make(icmp, 8));
    const uint32_t whole = frame.bytes;
    for (frame.bytes = 14; frame.bytes < whole; frame.bytes++) {
        rig_say(&rig, &frame);
        assert_null(rig_hear(&rig));
    }
    assert_int_equal(rig.net->counters.ip_bad, whole - 14);
    frame.bytes = whole;
    rig_say(&rig, &frame);
    assert_non_null(rig_hear(&rig));
    rig_close(&rig);
}

static void
a_wrong_header_checksum_is_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint8_t icmp[16];
    rig_open_settled(&rig);
    rig_introduce(&rig);
    for (uint32_t bit = 0; bit < 160; bit++) {
        frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, icmp_echo_make(icmp, 8));
        frame.data[IP + bit / 8] ^= (uint8_t)(1u << bit % 8);
        rig_say(&rig, &frame);
        assert_null(rig_hear(&rig));
    }
    /* All but those of version, header length and total length. */
    assert_in_range(rig.net->counters.ip_checksum, 160 - 24, 160);
    rig_close(&rig);
}

static void
what_ethernet_padded_is_not_the_packets(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint8_t icmp[16];
    rig_open_settled(&rig);
    rig_introduce(&rig);
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, icmp_echo_make(icmp, 1));
    memset(frame.data + frame.bytes, 0xaa, 60 - frame.bytes);
    frame.bytes = 60;
    rig_say(&rig, &frame);
    const struct lp_nic_frame *reply = rig_hear(&rig);
    assert_non_null(reply);
    assert_int_equal(get_u16(reply->data + IP + 2), 29);
    rig_close(&rig);
}

/* An echo request with these options in front. */
static void
options_say(struct rig *rig, const uint8_t *options, uint32_t bytes)
{
    uint8_t body[64];
    struct frame frame;
    memcpy(body, options, bytes);
    const uint32_t icmp_bytes = icmp_echo_make(body + bytes, 8);
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, body, bytes + icmp_bytes);
    frame.data[IP] = (uint8_t)(0x45 + bytes / 4);
    frame_ip4_fix(&frame);
    rig_say(rig, &frame);
}

static void
options_are_stepped_over_and_source_routes_refused(void **state)
{
    (void)state;
    static const uint8_t good[][8] = {
        {1, 1, 1, 0, 0, 0, 0, 0},        /* nothing, and the end */
        {148, 4, 0, 0, 1, 1, 1, 1},      /* router alert */
        {7, 7, 4, 0, 0, 0, 0, 0},        /* record route */
        {68, 8, 5, 0, 0, 0, 0, 0},       /* timestamp */
        {0, 131, 131, 131, 131, 0, 0, 0} /* behind the end is nothing */
    };
    static const uint8_t bad[][8] = {
        {131, 7, 4, 10, 0, 0, 9, 0},  /* loose source route */
        {137, 7, 4, 10, 0, 0, 9, 0},  /* strict source route */
        {7, 0, 0, 0, 0, 0, 0, 0},     /* no length */
        {7, 1, 0, 0, 0, 0, 0, 0},     /* less than itself */
        {7, 9, 0, 0, 0, 0, 0, 0},     /* beyond the header */
        {1, 1, 1, 1, 1, 1, 1, 7},     /* a kind, and the header ends */
        {1, 131, 7, 4, 10, 0, 0, 9},  /* a source route behind something else */
        {148, 4, 0, 0, 137, 3, 4, 0}, /* likewise */
    };
    struct rig rig;
    rig_open_settled(&rig);
    rig_introduce(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(good); i++) {
        options_say(&rig, good[i], 8);
        assert_non_null(rig_hear(&rig));
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(bad); i++) {
        options_say(&rig, bad[i], 8);
        assert_null(rig_hear(&rig));
        assert_int_equal(rig.net->counters.ip_options, i + 1);
    }
    rig_close(&rig);
}

static void
tcp_and_echoes_to_everybody_are_ignored(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint8_t l4[32];
    rig_open_settled(&rig);
    rig_introduce(&rig);
    frame_ip4_make(&frame, TCP, l4, tcp_make(l4));
    memcpy(frame.data, all_macs, 6);
    frame.data[IP + 19] = 255;
    frame_ip4_fix(&frame);
    rig_say(&rig, &frame);
    assert_int_equal(rig.net->counters.tcp_bad, 1);
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, l4, icmp_echo_make(l4, 8));
    memcpy(frame.data, all_macs, 6);
    frame.data[IP + 19] = 255;
    frame_ip4_fix(&frame);
    rig_say(&rig, &frame);
    /* RFC 1122 3.3.6: by broadcast of the link to one machine. */
    frame_ip4_make(&frame, TCP, l4, tcp_make(l4));
    memcpy(frame.data, all_macs, 6);
    rig_say(&rig, &frame);
    assert_int_equal(rig.net->counters.ip_foreign, 1);
    assert_int_equal(rig.net->counters.ip_no_route, 0); /* no answer was tried */
    assert_null(rig_hear(&rig));
    rig_close(&rig);
}

/* ---- echoes ---- */

static void
an_echo_is_answered_with_the_same_data_from_the_address_asked(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    rig_open_settled(&rig);
    rig_introduce(&rig);
    say_echo(&rig, &frame);
    const struct lp_nic_frame *reply = rig_hear(&rig);
    assert_non_null(reply);
    assert_int_equal(reply->bytes, frame.bytes);
    assert_memory_equal(reply->data, peer_mac, 6);
    assert_memory_equal(reply->data + 6, our_mac, 6);
    const uint8_t *ip = reply->data + IP;
    assert_int_equal(ip[0], 0x45);
    assert_int_equal(get_u16(ip + 4), 0);      /* RFC 6864 4.1 */
    assert_int_equal(get_u16(ip + 6), 0x4000); /* DF */
    assert_int_equal(ip[8], 64);
    assert_memory_equal(ip + 12, our_ip4, 4);
    assert_memory_equal(ip + 16, peer_ip4, 4);
    assert_int_equal(net_sum(ip, 20, 0), 0xffff);
    assert_int_equal(net_sum(ip + 20, reply->bytes - L4, 0), 0xffff);
    assert_int_equal(ip[20], 0);
    assert_memory_equal(ip + 24, frame.data + L4 + 4, reply->bytes - L4 - 4);
    rig_close(&rig);
}

static void
a_wrong_checksum_of_icmp_is_dropped_unless_the_device_knows_better(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint8_t icmp[64];
    rig_open_settled(&rig);
    rig_introduce(&rig);
    const uint32_t bytes = icmp_echo_make(icmp, 32);
    icmp[20] ^= 1;
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, bytes);
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    assert_int_equal(rig.net->counters.icmp_bad, 1);
    for (uint32_t short_bytes = 0; short_bytes < 8; short_bytes++) {
        frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, short_bytes);
        rig_say(&rig, &frame);
    }
    assert_int_equal(rig.net->counters.icmp_bad, 9);
    /* A frame of this machine's memory: nobody has made its checksum. */
    struct lp_nic_frame given = {.data = frame.data, .flags = LP_NIC_L4_GOOD | LP_NIC_IP_GOOD};
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, bytes);
    lp_put_u16be(frame.data + IP + 10, 0x1111);
    given.bytes = frame.bytes;
    assert_false(net_frame_input(rig.net, 0, &given));
    rig_turn(&rig);
    assert_non_null(rig_hear(&rig));
    /* ... and one of which the device knows that it is wrong, whatever it looks like. */
    frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, icmp_echo_make(icmp, 32));
    given.flags = LP_NIC_L4_BAD;
    assert_false(net_frame_input(rig.net, 0, &given));
    assert_int_equal(rig.net->counters.icmp_bad, 10);
    given.flags = LP_NIC_IP_BAD;
    assert_false(net_frame_input(rig.net, 0, &given));
    assert_int_equal(rig.net->counters.ip_checksum, 1);
    rig_close(&rig);
}

static void
a_flood_of_echoes_is_answered_so_often_a_second(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint32_t answered = 0;
    rig_open_settled(&rig);
    rig_introduce(&rig);
    for (uint32_t i = 0; i < 6000; i++) {
        say_echo(&rig, &frame);
        answered += rig_hear(&rig) != NULL;
    }
    assert_int_equal(answered, 5000);
    assert_int_equal(rig.net->counters.icmp_limited, 1000);
    rig_pass(&rig, SECOND);
    say_echo(&rig, &frame);
    assert_non_null(rig_hear(&rig));
    rig_close(&rig);
}

static void
other_kinds_of_icmp_are_ignored(void **state)
{
    (void)state;
    static const uint8_t kinds[] = {0, 4, 5, 9, 10, 13, 15, 17, 30, 255};
    struct rig rig;
    rig_open_settled(&rig);
    rig_introduce(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(kinds); i++) {
        uint8_t icmp[40];
        struct frame frame;
        const uint32_t bytes = icmp_echo_make(icmp, 32);
        icmp[0] = kinds[i];
        lp_put_u16be(icmp + 2, 0);
        lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, bytes, 0));
        frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, bytes);
        rig_say(&rig, &frame);
        assert_null(rig_hear(&rig));
    }
    assert_int_equal(rig.net->counters.icmp_bad, 0);
    rig_close(&rig);
}

/* ---- errors that we send ---- */

static void
nobody_speaks_that_protocol_and_nobody_has_that_port(void **state)
{
    (void)state;
    static const uint8_t protocols[2][2] = {{17, 3}, {132, 2}};
    struct rig rig;
    rig_open_settled(&rig);
    rig_introduce(&rig);
    for (uint32_t i = 0; i < 2; i++) {
        struct frame frame;
        uint8_t body[1000];
        memset(body, 0x5a, sizeof(body));
        frame_ip4_make(&frame, protocols[i][0], body, sizeof(body));
        rig_say(&rig, &frame);
        const struct lp_nic_frame *error = rig_hear(&rig);
        assert_non_null(error);
        const uint8_t *icmp = error->data + L4;
        assert_int_equal(error->data[IP + 9], NET_PROTOCOL_ICMP);
        assert_int_equal(icmp[0], 3);
        assert_int_equal(icmp[1], protocols[i][1]);
        assert_int_equal(get_u32(icmp + 4), 0);
        assert_int_equal(net_sum(icmp, error->bytes - L4, 0), 0xffff);
        /* RFC 1812 4.3.2.3: it quotes as much as fits 576 bytes. */
        assert_int_equal(error->bytes - IP, 576);
        assert_memory_equal(icmp + 8, frame.data + IP, 576 - 28);
    }
    assert_int_equal(rig.net->counters.ip_protocol, 2);
    rig_close(&rig);
}

static void
errors_are_limited_and_never_about_what_everybody_got(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint32_t errors = 0;
    rig_open_settled(&rig);
    rig_introduce(&rig);
    frame_ip4_make(&frame, NET_PROTOCOL_UDP, "udp", 3);
    for (uint32_t i = 0; i < 250; i++) {
        rig_say(&rig, &frame);
        errors += rig_hear(&rig) != NULL;
    }
    assert_int_equal(errors, 100);
    assert_int_equal(rig.net->counters.icmp_limited, 150);
    rig_pass(&rig, SECOND);
    memcpy(frame.data, all_macs, 6);
    frame.data[IP + 19] = 255;
    frame_ip4_fix(&frame);
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_packet_for_us_is_counted_and_dropped),
        cmocka_unit_test(a_packet_that_is_cut_anywhere_is_dropped),
        cmocka_unit_test(a_wrong_header_checksum_is_dropped),
        cmocka_unit_test(what_ethernet_padded_is_not_the_packets),
        cmocka_unit_test(options_are_stepped_over_and_source_routes_refused),
        cmocka_unit_test(tcp_and_echoes_to_everybody_are_ignored),
        cmocka_unit_test(an_echo_is_answered_with_the_same_data_from_the_address_asked),
        cmocka_unit_test(a_wrong_checksum_of_icmp_is_dropped_unless_the_device_knows_better),
        cmocka_unit_test(a_flood_of_echoes_is_answered_so_often_a_second),
        cmocka_unit_test(other_kinds_of_icmp_are_ignored),
        cmocka_unit_test(nobody_speaks_that_protocol_and_nobody_has_that_port),
        cmocka_unit_test(errors_are_limited_and_never_about_what_everybody_got),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
