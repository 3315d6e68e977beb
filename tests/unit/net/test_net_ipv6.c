/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPv6 and ICMPv6: RFC 8200, 4443; extension headers and their bounds.
 */
#include "tests/unit/net/net_rig.h"

#define IP   FRAME_IP4
#define BODY (FRAME_IP4 + 40u)
#define TCP  6u
#define UDP  17u

static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};

/* The peer asks for us, and is known from now on. */
static void
introduce(struct rig *rig)
{
    struct frame frame;
    uint8_t solicitation[32] = {135, [24] = 1, [25] = 1, 2, 0, 0, 0, 0, 2};
    memcpy(solicitation + 8, our_ip6, 16);
    frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, solicitation, 32);
    frame.data[IP + 7] = 255;
    frame_icmp6_fix(&frame, BODY);
    rig_say(rig, &frame);
    assert_true(net_neighbour_find(rig->net, 0, LP_ADDRESS_IPV6, peer_ip6) != 0);
    rig_drain(rig);
}

static void
open_introduced(struct rig *rig)
{
    rig_open_settled(rig);
    introduce(rig);
}

/* Headers, of which the last names ICMPv6, and an echo request behind them. */
static void
echo_make(struct frame *frame, uint8_t first, const uint8_t *headers, uint32_t bytes)
{
    uint8_t body[1200];
    if (bytes > 0) {
        memcpy(body, headers, bytes);
    }
    (void)icmp_echo_make(body + bytes, 8);
    body[bytes] = 128;
    frame_ip6_make(frame, first, body, bytes + 16);
    frame_icmp6_fix(frame, BODY + bytes);
}

static bool
echo_answered(struct rig *rig, uint8_t first, const uint8_t *headers, uint32_t bytes)
{
    struct frame frame;
    echo_make(&frame, first, headers, bytes);
    rig_say(rig, &frame);
    const struct lp_nic_frame *reply = rig_hear(rig);
    const bool answered = reply != NULL && reply->data[BODY] == 129;
    return answered;
}

static void
an_echo_is_answered_with_the_same_data_from_the_address_asked(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    open_introduced(&rig);
    echo_make(&frame, NET_PROTOCOL_ICMP6, NULL, 0);
    rig_say(&rig, &frame);
    const struct lp_nic_frame *reply = rig_hear(&rig);
    assert_non_null(reply);
    assert_int_equal(reply->bytes, frame.bytes);
    const uint8_t *ip = reply->data + IP;
    assert_int_equal(get_u32(ip), 0x60000000u);
    assert_int_equal(ip[7], 64);
    assert_memory_equal(ip + 8, our_ip6, 16);
    assert_memory_equal(ip + 24, peer_ip6, 16);
    assert_int_equal(ip[40], 129);
    assert_memory_equal(ip + 44, frame.data + BODY + 4, 12);
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV6, our_ip6, peer_ip6, NET_PROTOCOL_ICMP6, 16);
    assert_int_equal(net_sum(ip + 40, 16, pseudo), 0xffff);
    frame.data[BODY + 9] ^= 4;
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    assert_int_equal(rig.net->counters.icmp_bad, 1);
    rig_close(&rig);
}

static void
what_ethernet_padded_is_not_the_packets(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    open_introduced(&rig);
    echo_make(&frame, NET_PROTOCOL_ICMP6, NULL, 0);
    const uint32_t bytes = frame.bytes;
    frame.bytes += 20;
    memset(frame.data + bytes, 0xaa, 20);
    rig_say(&rig, &frame);
    const struct lp_nic_frame *reply = rig_hear(&rig);
    assert_non_null(reply);
    assert_int_equal(reply->bytes, bytes);
    rig_close(&rig);
}

struct spoil {
    uint32_t at;
    uint8_t bytes;
    uint8_t value[16];
};

static void
what_is_no_packet_for_us_is_counted_and_dropped(void **state)
{
    (void)state;
    static const struct spoil bad[] = {
        {IP, 1, {0x50}},    /* another version */
        {IP + 5, 1, {17}},  /* longer than the frame */
        {IP + 4, 1, {0xff}} /* likewise */
    };
    static const struct spoil foreign[] = {
        {IP + 8, 16, {0}},                                /* from nobody */
        {IP + 8, 16, {[15] = 1}},                         /* from loopback */
        {IP + 8, 1, {0xff}},                              /* from a group */
        {IP + 8, 16, {[10] = 0xff, [11] = 0xff, 10, 9}},  /* from IPv4 */
        {IP + 23, 1, {1}},                                /* from ourselves */
        {IP + 39, 1, {9}},                                /* for somebody else */
        {IP + 24, 16, {0xff, 0x02, [15] = 2}},            /* for routers */
        {IP + 24, 16, {0xff, 0x05, [15] = 1}},            /* for a site */
        {IP + 24, 16, {0xff, 2, [11] = 1, 0xff, 0, 0, 9}} /* another's group */
    };
    struct rig rig;
    struct frame frame;
    open_introduced(&rig);
    for (uint32_t i = 0; i < LP_COUNT_OF(bad); i++) {
        echo_make(&frame, NET_PROTOCOL_ICMP6, NULL, 0);
        memcpy(frame.data + bad[i].at, bad[i].value, bad[i].bytes);
        rig_say(&rig, &frame);
        assert_int_equal(rig.net->counters.ip_bad, i + 1);
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(foreign); i++) {
        echo_make(&frame, NET_PROTOCOL_ICMP6, NULL, 0);
        memcpy(frame.data + foreign[i].at, foreign[i].value, foreign[i].bytes);
        frame_icmp6_fix(&frame, BODY);
        rig_say(&rig, &frame);
        assert_int_equal(rig.net->counters.ip_foreign, i + 1);
    }
    echo_make(&frame, NET_PROTOCOL_ICMP6, NULL, 0);
    for (frame.bytes = 14; frame.bytes < BODY; frame.bytes++) {
        rig_say(&rig, &frame);
    }
    assert_int_equal(rig.net->counters.ip_bad, LP_COUNT_OF(bad) + 40);
    assert_null(rig_hear(&rig));
    rig_close(&rig);
}

static void
extension_headers_that_ask_for_nothing_are_stepped_over(void **state)
{
    (void)state;
    /* Hop-by-hop, destination options, a routing header that has been everywhere, and a fragment
     * that is all (RFC 6946). */
    static const uint8_t headers[] = {
        60,   0, 5, 2, 0, 0, 1, 0, /* hop-by-hop: router alert, PadN */
        43,   1, 1, 4, 0, 0, 0, 0, /* destination: PadN, */
        0x1e, 6, 0, 0, 0, 0, 0, 0, /* ... and what may be skipped */
        44,   0, 3, 0, 0, 0, 0, 0, /* routing: type 3, nothing left */
        58,   0, 0, 0, 1, 2, 3, 4, /* fragment: first and last */
    };
    struct rig rig;
    open_introduced(&rig);
    assert_true(echo_answered(&rig, 0, headers, sizeof(headers)));
    assert_int_equal(rig.net->counters.ip_options, 0);
    rig_close(&rig);
}

struct refused {
    uint8_t first;
    uint8_t bytes;
    bool fragment; /* counted as one */
    int code;      /* of the parameter problem that answers; -1: none */
    uint32_t pointer;
    uint8_t headers[64];
};

static void
extension_headers_that_are_refused_are_counted_and_perhaps_answered(void **state)
{
    (void)state;
    static const struct refused all[] = {
        /* RFC 5095: type 0, with and without segments left. */
        {43, 8, false, 0, 42, {58, 0, 0, 1}},
        {43, 8, false, 0, 42, {58, 0, 0, 0}},
        /* RFC 8200 4.4: another type with segments left. */
        {43, 8, false, 0, 42, {58, 0, 4, 2}},
        /* RFC 8200 4.5: a first fragment, and another. */
        {44, 8, true, -1, 0, {58, 0, 0, 1}},
        {44, 8, true, -1, 0, {58, 0, 0, 8}},
        /* RFC 8200 4.1: hop-by-hop that is not the first. */
        {60, 16, false, 1, 40, {0, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4}},
        /* RFC 8200 4.2: unknown options that may not be skipped: silently, and not. */
        {60, 8, false, -1, 0, {58, 0, 0x40, 4}},
        {60, 8, false, 2, 42, {58, 0, 0x80, 4}},
        {60, 8, false, 2, 42, {58, 0, 0xc0, 4}},
        /* An option beyond its header. */
        {60, 8, false, -1, 0, {58, 0, 1, 5}},
        {60, 8, false, -1, 0, {58, 0, 0, 0, 0, 0, 0, 0x1e}},
        /* A header beyond the packet. */
        {60, 8, false, -1, 0, {58, 200, 1, 4}},
        /* RFC 8504 5.3: more padding than an alignment needs. */
        {60, 16, false, -1, 0, {58, 1, 1, 12}},
        {60, 16, false, -1, 0, {58, 1, 1, 2, 0, 0, 1, 2, 0, 0, 1, 4}},
        /* ... and more options. */
        {60, 32, false, -1, 0, {58,   3, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0,
                                0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 11}},
    };
    struct rig rig;
    open_introduced(&rig);
    uint64_t options = 0;
    uint64_t fragments = 0;
    for (uint32_t i = 0; i < LP_COUNT_OF(all); i++) {
        const struct refused *refused = &all[i];
        struct frame frame;
        echo_make(&frame, refused->first, refused->headers, refused->bytes);
        rig_say(&rig, &frame);
        options += !refused->fragment;
        fragments += refused->fragment;
        if (rig.net->counters.ip_options != options ||
            rig.net->counters.ip_fragments != fragments) {
            fail_msg("case %u is not counted", i);
        }
        const struct lp_nic_frame *answer = rig_hear(&rig);
        if ((answer != NULL) != (refused->code >= 0)) {
            fail_msg("case %u is answered, or is not", i);
        }
        if (answer != NULL) {
            assert_int_equal(answer->data[BODY], 4);
            assert_int_equal(answer->data[BODY + 1], refused->code);
            assert_int_equal(get_u32(answer->data + BODY + 4), refused->pointer);
            assert_memory_equal(answer->data + BODY + 8, frame.data + IP, frame.bytes - IP);
        }
    }
    rig_close(&rig);
}

static void
more_extension_headers_than_anybody_needs_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    open_introduced(&rig);
    for (uint32_t count = 1; count < 20; count++) {
        uint8_t headers[8 * 20] = {0};
        for (uint32_t i = 0; i < count; i++) {
            const uint8_t header[8] = {60, 0, 1, 4};
            memcpy(headers + (size_t)i * 8, header, 8);
        }
        headers[(count - 1) * 8] = 58;
        assert_int_equal(echo_answered(&rig, 60, headers, count * 8), count <= 6);
    }
    assert_int_equal(rig.net->counters.ip_options, 19 - 6);
    rig_close(&rig);
}

static void
nobody_speaks_that_protocol_and_nobody_has_that_port(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint8_t body[1400];
    memset(body, 0x5a, sizeof(body));
    open_introduced(&rig);
    frame_ip6_make(&frame, UDP, body, sizeof(body));
    rig_say(&rig, &frame);
    const struct lp_nic_frame *error = rig_hear(&rig);
    assert_non_null(error);
    assert_int_equal(error->data[BODY], 1);
    assert_int_equal(error->data[BODY + 1], 4);
    assert_int_equal(error->bytes - IP, 1280); /* RFC 4443 2.4 (c) */
    assert_memory_equal(error->data + BODY + 8, frame.data + IP, 1280 - 48);
    frame_ip6_make(&frame, 132, body, 20);
    rig_say(&rig, &frame);
    error = rig_hear(&rig);
    assert_non_null(error);
    assert_int_equal(error->data[BODY], 4);
    assert_int_equal(error->data[BODY + 1], 1);
    assert_int_equal(get_u32(error->data + BODY + 4), 6);
    assert_int_equal(rig.net->counters.ip_protocol, 2);
    frame_ip6_make(&frame, 59, body, 20); /* no next header: nothing, RFC 8200 4.7 */
    rig_say(&rig, &frame);
    assert_null(rig_hear(&rig));
    assert_int_equal(rig.net->counters.ip_protocol, 2);
    rig_close(&rig);
}

static void
what_goes_to_a_group_is_not_answered(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint8_t body[20] = {0};
    open_introduced(&rig);
    echo_make(&frame, NET_PROTOCOL_ICMP6, NULL, 0);
    memcpy(frame.data, all_nodes_mac, 6);
    memcpy(frame.data + IP + 24, all_nodes, 16);
    frame_icmp6_fix(&frame, BODY);
    rig_say(&rig, &frame);
    for (uint32_t next = 0; next < 256; next++) {
        frame_ip6_make(&frame, (uint8_t)next, body, sizeof(body));
        memcpy(frame.data, all_nodes_mac, 6);
        memcpy(frame.data + IP + 24, all_nodes, 16);
        rig_say(&rig, &frame);
    }
    assert_null(rig_hear(&rig));
    assert_int_equal(rig.net->counters.icmp_sent, 0);
    assert_int_equal(rig.net->counters.icmp_limited, 0); /* no answer was tried */
    rig_close(&rig);
}

static void
an_error_is_never_the_answer_to_an_error(void **state)
{
    (void)state;
    /* A parameter problem is due for the option, but what follows is an error itself, or a
     * redirect. */
    static const uint8_t types[] = {1, 2, 3, 4, 100, 127, 137};
    struct rig rig;
    struct frame frame;
    open_introduced(&rig);
    uint8_t body[24] = {58, 0, 0x80, 4};
    for (uint32_t i = 0; i < LP_COUNT_OF(types); i++) {
        body[8] = types[i];
        frame_ip6_make(&frame, 60, body, sizeof(body));
        frame_icmp6_fix(&frame, BODY + 8);
        rig_say(&rig, &frame);
        assert_null(rig_hear(&rig));
    }
    rig_close(&rig);
}

static void
errors_and_echoes_are_limited(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    uint32_t errors = 0;
    uint32_t echoes = 0;
    open_introduced(&rig);
    frame_ip6_make(&frame, UDP, "udp", 3);
    for (uint32_t i = 0; i < 150; i++) {
        rig_say(&rig, &frame);
        errors += rig_hear(&rig) != NULL;
    }
    for (uint32_t i = 0; i < 5100; i++) {
        echoes += echo_answered(&rig, NET_PROTOCOL_ICMP6, NULL, 0);
    }
    assert_int_equal(errors, 100);
    assert_int_equal(echoes, 5000);
    assert_int_equal(rig.net->counters.icmp_limited, 150);
    rig_close(&rig);
}

static void
a_port_without_ipv6_hears_none(void **state)
{
    (void)state;
    struct rig rig;
    struct frame frame;
    rig_init(&rig);
    rig.config.port[0].address_count = 1;
    rig_open(&rig);
    rig_pass(&rig, RIG_SETTLE_NS);
    for (const struct lp_nic_frame *sent = rig_hear(&rig); sent != NULL; sent = rig_hear(&rig)) {
        assert_int_equal(frame_type(sent), NET_TYPE_ARP); /* nor does it say any */
    }
    echo_make(&frame, NET_PROTOCOL_ICMP6, NULL, 0);
    rig_say(&rig, &frame);
    memcpy(frame.data, all_nodes_mac, 6);
    rig_say(&rig, &frame);
    assert_int_equal(rig.net->counters.ip_foreign, 1);
    assert_int_equal(rig.net->counters.frames_foreign, 1);
    rig_close(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_echo_is_answered_with_the_same_data_from_the_address_asked),
        cmocka_unit_test(what_ethernet_padded_is_not_the_packets),
        cmocka_unit_test(what_is_no_packet_for_us_is_counted_and_dropped),
        cmocka_unit_test(extension_headers_that_ask_for_nothing_are_stepped_over),
        cmocka_unit_test(extension_headers_that_are_refused_are_counted_and_perhaps_answered),
        cmocka_unit_test(more_extension_headers_than_anybody_needs_are_refused),
        cmocka_unit_test(nobody_speaks_that_protocol_and_nobody_has_that_port),
        cmocka_unit_test(what_goes_to_a_group_is_not_answered),
        cmocka_unit_test(an_error_is_never_the_answer_to_an_error),
        cmocka_unit_test(errors_and_echoes_are_limited),
        cmocka_unit_test(a_port_without_ipv6_hears_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
