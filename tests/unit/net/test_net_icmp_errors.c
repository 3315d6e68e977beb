/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors about packets of ours: RFC 792, 1191, 4443, 8201, and what RFC 5927
 * wants them to prove.
 *
 * Method: we open a connection; the test quotes our SYN in an error, right or
 * wrong.  An error that is believed ends the connection (port unreachable); one
 * that is not, does not.
 */
#include "tests/unit/net/net_rig.h"

#define IP FRAME_IP4

struct opened {
    struct rig rig;
    uint8_t family;
    uint32_t header; /* of IP */
    struct frame syn;
};

static void
opened_open(struct opened *opened, uint8_t family)
{
    struct rig *rig = &opened->rig;
    struct frame frame;
    struct lp_address to = {.family = family, .port = 1234};
    opened->family = family;
    opened->header = family == LP_ADDRESS_IPV4 ? 20 : 40;
    rig_open_settled(rig);
    if (family == LP_ADDRESS_IPV4) {
        memcpy(to.ip, peer_ip4, 4);
        rig_introduce(rig);
    } else {
        uint8_t solicitation[32] = {135, [24] = 1, [25] = 1, 2, 0, 0, 0, 0, 2};
        memcpy(to.ip, peer_ip6, 16);
        memcpy(solicitation + 8, our_ip6, 16);
        frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, solicitation, 32);
        frame.data[IP + 7] = 255;
        frame_icmp6_fix(&frame, IP + 40);
        rig_say(rig, &frame);
        rig_drain(rig);
    }
    assert_true(lp_net_connect(rig->net, &to) != LP_HANDLE_NONE);
    rig_turn(rig);
    const struct lp_nic_frame *syn = rig_hear(rig);
    assert_non_null(syn);
    memcpy(opened->syn.data, syn->data, syn->bytes);
    opened->syn.bytes = syn->bytes;
    rig_drain(rig);
}

static void
opened_close(struct opened *opened)
{
    rig_close(&opened->rig);
}

/* The first connection's state, or TCP_CLOSED when there is none. */
static uint32_t
state_of(const struct opened *opened)
{
    uint32_t cursor = 0;
    lp_handle handle;
    const struct tcp_stream *stream =
        lp_pool_next(&opened->rig.net->tcp->streams, &cursor, &handle);
    return stream != NULL ? stream->state : TCP_CLOSED;
}

static uint16_t
pmtu_of(const struct opened *opened)
{
    uint32_t cursor = 0;
    lp_handle handle;
    const struct tcp_stream *stream =
        lp_pool_next(&opened->rig.net->tcp->streams, &cursor, &handle);
    return stream != NULL ? stream->pmtu : 0;
}

struct said {
    uint8_t type;
    uint8_t code;
    uint32_t word;         /* of the header, behind the checksum */
    uint32_t quoted_bytes; /* 0: all */
    uint32_t spoil_at;     /* of the quote; 0: nowhere */
    uint8_t spoil;
};

static void
error_say(struct opened *opened, const struct said *said)
{
    uint8_t icmp[256];
    struct frame frame;
    const uint32_t quoted = said->quoted_bytes != 0 ? said->quoted_bytes : opened->syn.bytes - IP;
    const uint32_t bytes = 8 + quoted;
    memset(icmp, 0, sizeof(icmp));
    icmp[0] = said->type;
    icmp[1] = said->code;
    lp_put_u32be(icmp + 4, said->word);
    memcpy(icmp + 8, opened->syn.data + IP, quoted);
    if (said->spoil_at != 0) {
        icmp[8 + said->spoil_at] = said->spoil;
    }
    if (opened->family == LP_ADDRESS_IPV4) {
        lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, bytes, 0));
        frame_ip4_make(&frame, NET_PROTOCOL_ICMP, icmp, bytes);
    } else {
        frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, icmp, bytes);
        frame_icmp6_fix(&frame, IP + 40);
    }
    rig_say(&opened->rig, &frame);
}

static void
that_a_port_is_unreachable_ends_what_is_being_opened(void **state)
{
    (void)state;
    static const struct said said[] = {
        {3, 3, 0, 28, 0, 0}, /* RFC 792: eight bytes of TCP will do */
        {3, 3, 0, 0, 0, 0},
        {3, 2, 0, 0, 0, 0},
    };
    static const struct said said6[] = {{1, 4, 0, 0, 0, 0}, {4, 1, 6, 0, 0, 0}};
    struct opened opened;
    for (uint32_t i = 0; i < LP_COUNT_OF(said); i++) {
        opened_open(&opened, LP_ADDRESS_IPV4);
        assert_int_equal(state_of(&opened), TCP_SYN_SENT);
        error_say(&opened, &said[i]);
        assert_int_equal(state_of(&opened), TCP_CLOSED);
        opened_close(&opened);
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(said6); i++) {
        opened_open(&opened, LP_ADDRESS_IPV6);
        assert_int_equal(state_of(&opened), TCP_SYN_SENT);
        error_say(&opened, &said6[i]);
        assert_int_equal(state_of(&opened), TCP_CLOSED);
        opened_close(&opened);
    }
}

static void
what_may_pass_ends_nothing(void **state)
{
    (void)state;
    static const struct said said[] = {
        {3, 0, 0, 0, 0, 0},  {3, 1, 0, 0, 0, 0},  {3, 5, 0, 0, 0, 0},
        {3, 13, 0, 0, 0, 0}, {11, 0, 0, 0, 0, 0}, {12, 0, 0, 0, 0, 0},
    };
    static const struct said said6[] = {
        {1, 0, 0, 0, 0, 0},
        {1, 3, 0, 0, 0, 0},
        {3, 0, 0, 0, 0, 0},
        {4, 0, 0, 0, 0, 0},
    };
    struct opened opened;
    opened_open(&opened, LP_ADDRESS_IPV4);
    for (uint32_t i = 0; i < LP_COUNT_OF(said); i++) {
        error_say(&opened, &said[i]);
        assert_int_equal(state_of(&opened), TCP_SYN_SENT);
    }
    assert_int_equal(opened.rig.net->counters.icmp_bad, 0);
    opened_close(&opened);
    opened_open(&opened, LP_ADDRESS_IPV6);
    for (uint32_t i = 0; i < LP_COUNT_OF(said6); i++) {
        error_say(&opened, &said6[i]);
        assert_int_equal(state_of(&opened), TCP_SYN_SENT);
    }
    assert_int_equal(opened.rig.net->counters.icmp_bad, 0);
    opened_close(&opened);
}

static void
an_error_about_what_we_did_not_send_is_not_believed(void **state)
{
    (void)state;
    static const struct said said[] = {
        {3, 3, 0, 27, 0, 0},    /* too little of it */
        {3, 3, 0, 19, 0, 0},    /* not even a header */
        {3, 3, 0, 0, 7, 1},     /* a fragment */
        {3, 3, 0, 0, 9, 17},    /* UDP */
        {3, 3, 0, 0, 15, 9},    /* from another's address */
        {3, 3, 0, 0, 24, 0xff}, /* a number that is not in flight */
    };
    static const struct said said6[] = {
        {1, 4, 0, 47, 0, 0}, {1, 4, 0, 39, 0, 0}, {1, 4, 0, 0, 6, 17},
        {1, 4, 0, 0, 6, 44}, {1, 4, 0, 0, 23, 9}, {1, 4, 0, 0, 44, 0xff},
    };
    struct opened opened;
    opened_open(&opened, LP_ADDRESS_IPV4);
    /* The number of the SYN may begin with 0xff by chance: then this shows nothing. */
    assert_int_not_equal(opened.syn.data[IP + 24], 0xff);
    for (uint32_t i = 0; i < LP_COUNT_OF(said); i++) {
        const uint64_t before = opened.rig.net->counters.icmp_bad;
        error_say(&opened, &said[i]);
        assert_int_equal(state_of(&opened), TCP_SYN_SENT);
        assert_int_equal(opened.rig.net->counters.icmp_bad, before + 1);
    }
    opened.syn.data[IP] = 0x44; /* a header of 16 bytes */
    error_say(&opened, &(struct said){3, 3, 0, 0, 0, 0});
    assert_int_equal(state_of(&opened), TCP_SYN_SENT);
    opened_close(&opened);
    opened_open(&opened, LP_ADDRESS_IPV6);
    for (uint32_t i = 0; i < LP_COUNT_OF(said6); i++) {
        const uint64_t before = opened.rig.net->counters.icmp_bad;
        error_say(&opened, &said6[i]);
        assert_int_equal(state_of(&opened), TCP_SYN_SENT);
        assert_int_equal(opened.rig.net->counters.icmp_bad, before + 1);
    }
    opened_close(&opened);
}

static void
of_connections_that_are_not_there_nothing_happens(void **state)
{
    (void)state;
    static const struct said said = {3, 3, 0, 0, 21, 1};
    struct opened opened;
    opened_open(&opened, LP_ADDRESS_IPV4);
    error_say(&opened, &said);
    assert_int_equal(state_of(&opened), TCP_SYN_SENT);
    opened_close(&opened);
}

/* The SYN is 60 bytes or so; an MTU is only believed when it is less than what it is about. */
static void
a_too_big_of_absurd_sizes_is_not_believed(void **state)
{
    (void)state;
    static const struct said said[] = {
        {3, 4, 1500, 0, 0, 0},  /* not less than the packet */
        {3, 4, 65535, 0, 0, 0}, /* likewise */
    };
    static const struct said said6[] = {
        {2, 0, 1279, 0, 0, 0},      /* RFC 8201 4 */
        {2, 0, 0, 0, 0, 0},         /* likewise */
        {2, 0, 1500, 0, 0, 0},      /* not less than the packet */
        {2, 0, UINT32_MAX, 0, 0, 0} /* likewise */
    };
    struct opened opened;
    opened_open(&opened, LP_ADDRESS_IPV4);
    const uint16_t pmtu = pmtu_of(&opened);
    for (uint32_t i = 0; i < LP_COUNT_OF(said); i++) {
        error_say(&opened, &said[i]);
        assert_int_equal(opened.rig.net->counters.icmp_bad, i + 1);
    }
    lp_put_u16be(opened.syn.data + IP + 2, 1500);
    /* RFC 791: no link has less than 68. */
    error_say(&opened, &(struct said){3, 4, 67, 28, 0, 0});
    assert_int_equal(opened.rig.net->counters.icmp_bad, LP_COUNT_OF(said) + 1);
    assert_int_equal(pmtu_of(&opened), pmtu);
    opened_close(&opened);
    opened_open(&opened, LP_ADDRESS_IPV6);
    for (uint32_t i = 0; i < LP_COUNT_OF(said6); i++) {
        error_say(&opened, &said6[i]);
        assert_int_equal(opened.rig.net->counters.icmp_bad, i + 1);
    }
    opened_close(&opened);
}

/* A quote that says it is of a packet of 1500: what it says of the MTU gets to TCP. */
static void
a_too_big_about_a_packet_of_ours_lowers_its_mtu(void **state)
{
    (void)state;
    struct opened opened;
    opened_open(&opened, LP_ADDRESS_IPV4);
    lp_put_u16be(opened.syn.data + IP + 2, 1500);
    error_say(&opened, &(struct said){3, 4, 1400, 28, 0, 0});
    assert_int_equal(opened.rig.net->counters.icmp_bad, 0);
    assert_int_equal(pmtu_of(&opened), 1400);
    /* RFC 1191 5: a router that is too old to say it; the next plateau is 1492. */
    opened_close(&opened);
    opened_open(&opened, LP_ADDRESS_IPV4);
    lp_put_u16be(opened.syn.data + IP + 2, 1500);
    error_say(&opened, &(struct said){3, 4, 0, 28, 0, 0});
    assert_int_equal(pmtu_of(&opened), 1492);
    lp_put_u16be(opened.syn.data + IP + 2, 1492);
    error_say(&opened, &(struct said){3, 4, 0, 28, 0, 0});
    assert_int_equal(pmtu_of(&opened), 1006);
    opened_close(&opened);
    opened_open(&opened, LP_ADDRESS_IPV6);
    lp_put_u16be(opened.syn.data + IP + 4, 1460);
    error_say(&opened, &(struct said){2, 0, 1300, 0, 0, 0});
    assert_int_equal(pmtu_of(&opened), 1300);
    opened_close(&opened);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(that_a_port_is_unreachable_ends_what_is_being_opened),
        cmocka_unit_test(what_may_pass_ends_nothing),
        cmocka_unit_test(an_error_about_what_we_did_not_send_is_not_believed),
        cmocka_unit_test(of_connections_that_are_not_there_nothing_happens),
        cmocka_unit_test(a_too_big_of_absurd_sizes_is_not_believed),
        cmocka_unit_test(a_too_big_about_a_packet_of_ours_lowers_its_mtu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
